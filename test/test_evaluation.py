"""Metrics compared with known results, and the reader of COCO-style annotations on real files."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from wildhands_ros.datasets.coco_hands import TIP_TO_BASE, AnnotationError, read_coco_hands
from wildhands_ros.evaluation.metrics import mpjpe, pa_mpjpe, similarity_aligned
from wildhands_ros.geometry.boxes import box_iou
from wildhands_ros.hand_model.joints import MEDIAPIPE_BONES
from wildhands_ros.types import Side

REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"


@pytest.fixture
def joints() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(21, 3))


def test_mpjpe_ignores_translation_only(joints):
    assert mpjpe(joints + (1, 2, 3), joints) == pytest.approx(0)
    moved = joints.copy()
    moved[5] += (0, 0, 2.1)
    assert mpjpe(moved, joints) == pytest.approx(2.1 / 21)


def test_pa_mpjpe_ignores_similarity_but_not_reflection(joints):
    turned = 1.7 * joints @ Rotation.from_rotvec([0.3, -1, 2]).as_matrix().T + (4, 5, 6)
    assert pa_mpjpe(turned, joints) == pytest.approx(0, abs=1e-12)
    assert pa_mpjpe(joints * (-1, 1, 1), joints) > 0.1


def test_alignment_equals_scipy(joints):
    noisy = joints + np.random.default_rng(1).normal(scale=0.05, size=joints.shape)
    # scipy scales the ground truth to norm 1. It also allows reflections, which noise this small never needs.
    _, _, disparity = procrustes(joints, noisy)
    norm = np.linalg.norm(joints - joints.mean(axis=0))
    residual = similarity_aligned(noisy, joints) - joints
    assert (residual**2).sum() / norm**2 == pytest.approx(disparity, rel=1e-9)


def test_box_iou():
    assert box_iou(np.array([0, 0, 2, 2.0]), np.array([1, 1, 3, 3.0])) == pytest.approx(1 / 7)
    assert box_iou(np.array([0, 0, 1, 1.0]), np.array([2, 2, 3, 3.0])) == 0


@pytest.mark.skipif(not REAL_HANDS.exists(), reason="the photographs are not there")
def test_rhd_is_read_in_metres_and_mediapipe_order():
    photos = read_coco_hands(REAL_HANDS / "rhd")
    assert [photo.hands[0].side for photo in photos] == [Side.LEFT, Side.LEFT, Side.RIGHT]
    for photo in photos:
        (hand,) = photo.hands
        assert photo.camera_is_known
        np.testing.assert_allclose(photo.camera.project(hand.joints), hand.keypoints, atol=1.5)
        lengths = [np.linalg.norm(hand.joints[a] - hand.joints[b]) for a, b in MEDIAPIPE_BONES]
        # Only in base-to-tip order are all bones that are not metacarpals short.
        assert max(length for length, (a, _) in zip(lengths, MEDIAPIPE_BONES, strict=True) if a != 0) < 0.06


@pytest.mark.skipif(not REAL_HANDS.exists(), reason="the photographs are not there")
def test_onehand10k_marks_unannotated_keypoints():
    photos = read_coco_hands(REAL_HANDS / "onehand10k")
    assert len(photos) == 4
    assert [int(photo.hands[0].known_keypoints.sum()) for photo in photos] == [20, 7, 15, 21]
    assert not any(photo.camera_is_known or photo.hands[0].joints is not None for photo in photos)


def test_tip_to_base_order():
    assert TIP_TO_BASE[:9] == (0, 4, 3, 2, 1, 8, 7, 6, 5)


def test_invalid_annotations_are_rejected_with_a_reason(tmp_path):
    with pytest.raises(AnnotationError, match=r"no \.json file"):
        read_coco_hands(tmp_path)
    (tmp_path / "a.json").write_text("{nope")
    with pytest.raises(AnnotationError, match=r"a\.json"):
        read_coco_hands(tmp_path)
    hand = {"image_id": 1, "bbox": [0, 0, 1, 1], "keypoints": [0] * 51}
    (tmp_path / "a.json").write_text(
        json.dumps({"images": [{"id": 1, "width": 9, "height": 9, "file_name": "x"}], "annotations": [hand]})
    )
    with pytest.raises(AnnotationError, match="cannot reshape"):
        read_coco_hands(tmp_path)
