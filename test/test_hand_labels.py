"""Self-training labels of the 3D network: agreement of views, masks that start from the mesh, and training on them."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.cli.main import main
from wildhands_ros.config import TOPIC, EstimatorConfig
from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.datasets.labels import Supervision
from wildhands_ros.datasets.real_images import hand_labels
from wildhands_ros.datasets.real_images.hand_labels import HandLabel, HandLabeller, hand_mask
from wildhands_ros.estimator import Estimator
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.masks import mask_iou, mesh_mask
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.io.images import load_image
from wildhands_ros.network.config import MEDIAPIPE_HAND
from wildhands_ros.training.config import AugmentationConfig, SourceConfig
from wildhands_ros.training.examples import ExampleMaker
from wildhands_ros.training.sources import open_source
from wildhands_ros.types import Detection

IMAGE = Path(__file__).parent / "data" / "images" / "letter_k.jpg"
LABELS = (Supervision.KEYPOINTS, Supervision.JOINTS, Supervision.MASK)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return load_image(IMAGE)


@pytest.fixture(scope="module")
def box() -> np.ndarray:
    content = json.loads(IMAGE.with_name("boxes.json").read_text())
    (number,) = (image["id"] for image in content["images"] if image["file_name"] == IMAGE.name)
    (bbox,) = (entry["bbox"] for entry in content["annotations"] if entry["image_id"] == number)
    return np.array([*bbox[:2], bbox[0] + bbox[2], bbox[1] + bbox[3]], float)


@pytest.fixture(scope="module")
def labeller() -> HandLabeller:
    return HandLabeller()


@pytest.fixture(scope="module")
def label(labeller, photograph, box) -> HandLabel:
    found = labeller(photograph, box, None)
    assert found is not None
    return found


def test_views_of_a_clear_hand_agree(label, photograph):
    assert label.joints is not None
    projected = Camera.guess(*photograph.shape[1::-1]).project(label.joints)
    size = (label.box[2:] - label.box[:2]).max()
    assert np.linalg.norm(projected - label.keypoints, axis=1).mean() < 0.06 * size


def test_a_hand_of_another_side_than_annotated_or_another_place_gets_no_label(labeller, label, photograph, box):
    assert labeller(photograph, box, label.side.other) is None
    assert labeller(photograph, np.array([0.0, 0, 12, 12]), None) is None


def test_a_mirrored_photograph_has_the_mirrored_label(labeller, label, photograph, box):
    width = photograph.shape[1]
    mirrored_box = np.array([width - box[2], box[1], width - box[0], box[3]])
    mirrored = labeller(np.ascontiguousarray(photograph[:, ::-1]), mirrored_box, None)
    assert mirrored is not None and mirrored.side is label.side.other
    size = (box[2:] - box[:2]).max()
    np.testing.assert_allclose(mirrored.keypoints * [-1, 1] + [width - 1, 0], label.keypoints, atol=0.05 * size)
    relative = [joints - joints[0] for joints in (mirrored.joints * [-1, 1, 1], label.joints)]
    assert np.linalg.norm(relative[0] - relative[1], axis=1).mean() < 0.01


def test_a_mask_follows_the_image_where_the_mesh_is_wrong(label, photograph, box):
    assert label.mask is not None and label.mask[tuple(label.keypoints[9].astype(int)[::-1])]
    estimator = Estimator(EstimatorConfig(detector=TOPIC))
    camera = Camera.guess(*photograph.shape[1::-1])
    (hand,) = estimator(photograph, camera, detections=[Detection(box, None)]).hands
    faces = estimator.faces[hand.side]
    mesh = mesh_mask(hand.vertices, faces, camera)
    size = (box[2:] - box[:2]).max()
    # A hand in the image that is moved a little; the mesh stays where it was.
    shift = np.float32([[1, 0, 0.04 * size], [0, 1, 0]])
    skin = cv2.warpAffine(mesh.astype(np.uint8), shift, mesh.shape[::-1]).astype(bool)
    image = np.where(skin[..., None], (220, 170, 140), (20, 60, 90)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(-8, 9, image.shape)
    mask = hand_mask((image + noise).clip(0, 255).astype(np.uint8), box, hand, faces)
    assert mask is not None and mask_iou(mask, skin) > mask_iou(mesh, skin) + 0.02
    assert hand_mask(image[:, : int(label.keypoints[9, 0])], box, hand, faces) is None


@pytest.fixture
def labelled_photographs(label, tmp_path, monkeypatch):
    """The labels of a folder of three photographs, one of which cannot be read, as the command writes them."""
    source, output = tmp_path / "photographs" / "mine", tmp_path / "labels.json"
    source.mkdir(parents=True)
    (source.parent / "LICENCES.md").write_text("| mine | CC BY 4.0 | A |")
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(IMAGE, source / name)
    (source / "damaged.jpg").write_bytes(b"damaged")
    x, y = label.box[:2].tolist()
    bbox = [x, y, *(label.box[2:] - label.box[:2]).tolist()]
    names = [path.name for path in sorted(source.glob("*.jpg"))]
    content = {
        "images": [{"id": i, "file_name": name, "width": 416, "height": 416} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, "bbox": bbox, "iscrowd": int(i == 2)} for i in range(3)],
    }
    (source / "annotations.json").write_text(json.dumps(content))
    monkeypatch.setattr(hand_labels, "_labeller", lambda: lambda image, box, side: label)
    assert main(["self-label", str(source.parent), "--hands", "--output", str(output), "--workers", "1"]) == 0
    return source.parent, output


def test_labels_of_a_folder_are_read_as_they_were_written(labelled_photographs, label, capsys):
    (photo,) = read_coco_hands(*labelled_photographs)
    (hand,) = photo.hands
    assert hand.side is label.side and not photo.camera_is_known
    np.testing.assert_allclose(hand.keypoints, label.keypoints, atol=0.01)
    np.testing.assert_allclose(hand.joints, label.joints, atol=1e-4)
    assert mask_iou(hand.load_mask(), label.mask) > 0.99


def test_photographs_teach_what_is_known_about_them_and_no_distance(labelled_photographs, label):
    hands = open_hands()
    maker = ExampleMaker(MEDIAPIPE_HAND, AugmentationConfig(), hands)

    def targets(*labels):
        config = SourceConfig("photographs", *map(str, labelled_photographs), labels=labels)
        source = open_source(config, MEDIAPIPE_HAND, hands, 1)
        example, skipped = source.draw(np.random.default_rng(0), maker)
        assert not skipped
        return example.hands[0].targets

    assert set(targets(*LABELS)) == {"joints_2d", "joints_3d", "mask"}
    assert set(targets(Supervision.KEYPOINTS, Supervision.POSE, Supervision.CAMERA)) == {"joints_2d"}
    assert not targets()  # without kinds of labels, photographs are for distillation
    assert 0.1 < targets(*LABELS)["mask"].mean() < 0.6


def test_photographs_without_labels_cannot_teach_labels(tmp_path):
    shutil.copy(IMAGE, tmp_path)
    with pytest.raises(ValueError, match="no COCO-style .json file with labels"):
        open_source(SourceConfig("photographs", str(tmp_path), labels=LABELS), MEDIAPIPE_HAND, open_hands(), 1)
