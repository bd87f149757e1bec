"""The estimator on the real images of this repository: it finds the hands in them, and none where there is none."""

import json
from pathlib import Path

import numpy as np
import pytest

from wildhands_ros import Camera, Estimator, load_image
from wildhands_ros.geometry.boxes import box_iou

IMAGES = Path(__file__).parent / "data" / "images"
MIN_IOU = 0.3
"""The boxes are drawn by eye, and the joints' box lies inside the hand's."""


@pytest.fixture(scope="module")
def found():
    """By file name: the annotations of an image, its camera, and the hands that the estimator finds."""
    content = json.loads((IMAGES / "boxes.json").read_text())
    results = {}
    with_estimator = Estimator()
    for entry in content["images"]:
        image = load_image(IMAGES / entry["file_name"])
        assert image.shape == (entry["height"], entry["width"], 3)
        camera = Camera.guess(entry["width"], entry["height"])
        labels = [label for label in content["annotations"] if label["image_id"] == entry["id"]]
        results[entry["file_name"]] = labels, camera, with_estimator(image, camera).hands
    with_estimator.close()
    return results


def iou(hand, label) -> float:
    x, y, width, height = label["bbox"]
    box = np.concatenate([hand.joints_2d.min(axis=0), hand.joints_2d.max(axis=0)])
    return box_iou(box, np.array([x, y, x + width, y + height]))


def test_every_image_has_its_licence():
    licences = (IMAGES / "LICENCES.md").read_text()
    assert all(f"`{path.name}`" in licences for path in IMAGES.glob("*.jpg"))


def test_hands_are_found_where_they_are(found):
    missed = [
        name
        for name, (labels, _, hands) in found.items()
        if not all(any(iou(hand, label) > MIN_IOU for hand in hands) for label in labels)
    ]
    assert missed == []


def test_nothing_else_is_taken_for_a_hand(found):
    assert {name: len(hands) for name, (_, _, hands) in found.items()} == {
        name: len(labels) for name, (labels, _, _) in found.items()
    }


def test_the_left_hand_is_recognised(found):
    labelled = [(labels[0], hands) for labels, _, hands in found.values() if labels and "hand_type" in labels[0]]
    right = sum(max(hands, key=lambda hand: iou(hand, label)).side.value == label["hand_type"] for label, hands in labelled)
    assert len(labelled) == 5 and right == 5


def test_the_mesh_and_joints_are_those_of_a_hand_in_front_of_the_camera(found):
    for labels, camera, hands in found.values():
        assert len(hands) == len(labels)
        for hand in hands:
            # From the wrist to the tip of the middle finger, in metres, at most: fingers may be bent.
            assert 0.05 < np.linalg.norm(hand.joints - hand.joints[0], axis=-1).max() < 0.22
            assert 0.1 < hand.joints[0, 2] < 1.5
            np.testing.assert_allclose(camera.project(hand.joints), hand.joints_2d, atol=1e-3)
            assert np.linalg.norm(hand.vertices - hand.joints.mean(axis=0), axis=-1).max() < 0.2
