"""Labels of self-training: what many views of a photograph agree on."""

import json

import cv2
import numpy as np
import pytest

from wildhands_ros.datasets.real_images import self_labels
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.datasets.real_images.self_labels import AGREEMENT, Seen, SelfLabel, agreed, label_folder, views
from wildhands_ros.geometry.boxes import box_iou
from wildhands_ros.training.detector.config import DetectorTrainingConfig
from wildhands_ros.training.detector.real_images import RealImages
from wildhands_ros.types import Detection, Side

SIZE = 640, 480
BOX = np.array([260.0, 180, 380, 320])
POINTS = np.random.default_rng(0).uniform(BOX[:2], BOX[2:], (21, 2))


def detection(view, side=Side.RIGHT):
    """The hand in BOX as a perfect detector finds it in a view."""
    points = POINTS @ view.affine[:, :2].T + view.affine[:, 2]
    corners = np.array([[x, y] for x in BOX[::2] for y in BOX[1::2]]) @ view.affine[:, :2].T + view.affine[:, 2]
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return Detection(box, side.other if view.is_mirrored else side, 0.9, keypoints=points)


def seen(box=BOX, score=0.9, side=Side.RIGHT, points=POINTS):
    return Seen(np.asarray(box, float), score, side, points)


def test_hands_of_all_views_come_back_to_the_photograph():
    for view in views(*SIZE):
        hand = view.to_photograph(detection(view))
        assert box_iou(hand.box, BOX) > 0.65 and hand.side is Side.RIGHT
        np.testing.assert_allclose(hand.keypoints, POINTS, atol=1e-9)


def test_views_show_the_photograph_where_they_say():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[200:203, 300:303] = 255
    for view in views(*SIZE):
        expected = np.array([301, 201]) @ view.affine[:, :2].T + view.affine[:, 2]
        rows, columns = np.nonzero(view.of(image)[..., 0] > 60)
        assert np.hypot(columns.mean() - expected[0], rows.mean() - expected[1]) < 1


def test_a_hand_of_all_views_is_labelled():
    found = [(view, [view.to_photograph(detection(view))]) for view in views(*SIZE)]
    (label,) = agreed(found)
    assert label.agreement == 1 and not label.doubtful and label.side is Side.RIGHT
    assert label.score == pytest.approx(0.9)
    assert box_iou(label.box, BOX) > 0.9
    np.testing.assert_allclose(label.keypoints, POINTS, atol=1e-9)


def test_a_hand_of_few_views_is_doubtful_and_one_of_a_single_view_is_dropped():
    whole = views(*SIZE)[:5] * 2
    few = round(0.5 * AGREEMENT * len(whole))
    (label,) = agreed([(view, [seen()] if i < few else []) for i, view in enumerate(whole)])
    assert label.doubtful and label.agreement == few / len(whole)
    assert agreed([(view, [seen()] if i < 1 else []) for i, view in enumerate(whole)]) == []


def test_an_unsure_hand_is_doubtful_and_an_unsteady_one_has_no_keypoints():
    whole = views(*SIZE)[:5]
    (label,) = agreed([(view, [seen(score=0.5)]) for view in whole])
    assert label.doubtful
    noise = np.random.default_rng(1)
    (label,) = agreed([(view, [seen(points=POINTS + noise.normal(0, 30, (21, 2)))]) for view in whole])
    assert not label.doubtful and label.keypoints is None
    sides = [Side.RIGHT, Side.LEFT, Side.RIGHT, Side.LEFT, Side.RIGHT]
    (label,) = agreed([(view, [seen(side=side)]) for view, side in zip(whole, sides, strict=True)])
    assert not label.doubtful and label.side is None


def test_views_that_do_not_contain_a_hand_are_not_asked():
    corner = np.array([600.0, 440, 640, 480])
    found = [(view, [seen(corner)] if view.contains(corner) else []) for view in views(*SIZE)]
    assert 0 < sum(bool(hands) for _, hands in found) < len(found)
    (label,) = agreed(found)
    assert label.agreement == 1


@pytest.fixture
def photographs(tmp_path):
    """A folder with a boxed photograph, two that nobody labelled, and one that may not be trained on."""
    folder = tmp_path / "photographs"
    entries = []
    for name, more in (("boxed", {}), ("one", {"hands_boxed": False}), ("two", {"hands_boxed": False})):
        entries.append({"id": len(entries), "file_name": f"{name}.png", "width": 200, "height": 160, **more})
    content = {"images": entries, "annotations": [{"id": 0, "image_id": 0, "bbox": [60, 40, 60, 90]}]}
    for source in (folder / "mine", folder / "evaluate_only" / "mine"):
        source.mkdir(parents=True)
        (source / "annotations.json").write_text(json.dumps(content))
        for entry in entries:
            cv2.imwrite(str(source / entry["file_name"]), np.full((160, 200, 3), 90, np.uint8))
    (folder / "LICENCES.md").write_text("| mine | CC BY 4.0 | A |")
    return folder


def test_labels_of_a_folder_are_trained_on(photographs, tmp_path, monkeypatch, capsys):
    labels = [
        SelfLabel(np.array([20.0, 30, 80, 110]), 0.95, 1.0, Side.LEFT, None, doubtful=False),
        SelfLabel(np.array([120.0, 30, 190, 110]), 0.5, 0.4, None, None, doubtful=True),
    ]
    monkeypatch.setattr(self_labels, "_labeller", lambda: lambda image: labels)
    (photographs / "mine" / "two.png").write_bytes(b"damaged")
    output = tmp_path / "labels.json"
    assert label_folder(photographs, output).startswith("labelled 1 hands in 1 of 2 images, 0 of them with keypoints")
    assert "two.png" in capsys.readouterr().err
    (image,) = read_boxed_images(photographs, output).images
    assert image.name == "mine/one.png" and image.licensed and not image.hands_complete and image.hand_free is None
    sure, doubtful = image.hands
    assert sure.side is Side.LEFT and not sure.ignore and doubtful.ignore
    assert len(RealImages(photographs, "frames")) == 1
    assert len(RealImages(photographs, "frames", self_labels=output)) == 2
    with pytest.raises(ValueError, match="self_labels needs real_images"):
        DetectorTrainingConfig(steps=1, batch_size=1, pool=1, self_labels=str(output))


def test_a_folder_without_unlabelled_images_is_rejected(photographs, tmp_path):
    with pytest.raises(ValueError, match="no image without labels"):
        label_folder(photographs / "evaluate_only", tmp_path / "labels.json")
    with pytest.raises(ValueError, match="limit"):
        label_folder(photographs, tmp_path / "labels.json", limit=0)
    assert not (tmp_path / "labels.json").exists()
