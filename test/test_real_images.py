"""The estimator finds the hands in the real images of this repository, and none in those without hands."""

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
    """For each file name: the annotations of the image, its camera, and the estimated hands."""
    content = json.loads((IMAGES / "boxes.json").read_text())
    results = {}
    estimator = Estimator()
    for entry in content["images"]:
        image = load_image(IMAGES / entry["file_name"])
        assert image.shape == (entry["height"], entry["width"], 3)
        camera = Camera.guess(entry["width"], entry["height"])
        labels = [label for label in content["annotations"] if label["image_id"] == entry["id"]]
        results[entry["file_name"]] = labels, camera, estimator(image, camera).hands
    estimator.close()
    return results


def best(hands, label):
    """Returns the hand that overlaps most with a label, and the IoU."""
    x, y, width, height = label["bbox"]
    box = np.array([x, y, x + width, y + height])
    overlaps = [
        box_iou(np.concatenate([hand.joints_2d.min(axis=0), hand.joints_2d.max(axis=0)]), box) for hand in hands
    ]
    return max(zip(hands, overlaps, strict=True), key=lambda pair: pair[1], default=(None, 0.0))


def test_every_image_has_its_licence():
    licences = (IMAGES / "LICENCES.md").read_text()
    assert all(f"`{path.name}`" in licences for path in IMAGES.glob("*.jpg"))


def test_every_hand_is_found(found):
    ious = {name: best(hands, label)[1] for name, (labels, _, hands) in found.items() for label in labels}
    assert len(ious) == 9
    assert min(ious.values()) > MIN_IOU, ious


def test_images_without_hands_have_no_estimates(found):
    empty = {name: len(hands) for name, (labels, _, hands) in found.items() if not labels}
    assert len(empty) == 4
    assert not any(empty.values()), empty


def test_there_is_at_most_one_false_positive(found):
    """Currently one: the tip of the pliers that lie on the palm."""
    assert sum(len(hands) - len(labels) for labels, _, hands in found.values()) <= 1


def test_left_hands_are_left(found):
    sides = {
        name: best(hands, label)[0].side.value
        for name, (labels, _, hands) in found.items()
        for label in labels
        if label.get("hand_type") == "left"
    }
    assert len(sides) == 5
    assert set(sides.values()) == {"left"}, sides


def test_hands_have_the_size_of_a_hand_and_project_onto_the_image(found):
    for labels, camera, hands in found.values():
        for label in labels:
            hand, _ = best(hands, label)
            # From the wrist to the farthest fingertip, in metres; fingers may be bent.
            assert 0.08 < np.linalg.norm(hand.joints - hand.joints[0], axis=-1).max() < 0.22
            # The camera's field of view is a guess, and so is the depth.
            assert 0.1 < hand.wrist_position[2] < 1.0
            np.testing.assert_allclose(camera.project(hand.joints), hand.joints_2d, atol=1e-3)
            assert np.linalg.norm(hand.vertices - hand.joints.mean(axis=0), axis=-1).max() < 0.2
