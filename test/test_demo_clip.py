"""The demo clip: its files agree with each other and with the open hand, and MediaPipe detects its hands."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from wildhands_ros.detection.mediapipe import MediaPipeDetector
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.io.camera_files import load_calibration
from wildhands_ros.io.sources import VideoSource
from wildhands_ros.types import Side

DEMO = Path(__file__).parent.parent / "demo"


@pytest.fixture(scope="module")
def ground_truth():
    return json.loads((DEMO / "truth.json").read_text())


@pytest.fixture(scope="module")
def camera():
    return load_calibration(DEMO / "camera_info.yaml").camera(960, 540, rectified=False)[0]


def hands(ground_truth, side):
    return [hand for frame in ground_truth["frames"] for hand in frame["hands"] if hand["side"] == side.value]


def test_clip_is_small_and_matches_the_stamps_of_its_ground_truth(ground_truth):
    clip = VideoSource(DEMO / "clip.mp4")
    assert (DEMO / "clip.mp4").stat().st_size < 1_100_000
    stamps = [frame.stamp for frame in clip]
    assert stamps == pytest.approx([frame["stamp"] for frame in ground_truth["frames"]], abs=1e-3)
    assert 6 <= stamps[-1] <= 8 and not clip.problems


def test_camera_differs_from_the_guessed_camera(ground_truth, camera):
    assert ground_truth["camera"]["k"] == pytest.approx(camera.k.ravel())
    guess = Camera.guess(960, 540)
    assert abs(camera.focal / guess.focal - 1) > 0.2
    assert np.abs(camera.k[:2, 2] - guess.k[:2, 2]).max() > 10
    assert not camera.is_pinhole


def test_ground_truth_is_consistent(ground_truth, camera):
    for frame in ground_truth["frames"]:
        assert [hand["side"] for hand in frame["hands"]] == ["right", "left"]
        for hand in frame["hands"]:
            joints = np.array(hand["joints"])
            assert np.abs(camera.project(joints) - hand["joints_2d"]).max() < 0.01
            assert hand["wrist"]["position"] == hand["joints"][0]
            turned = Rotation.from_rotvec(hand["mano"]["global_orient"]).inv() * Rotation.from_quat(
                hand["wrist"]["orientation"]
            )
            assert turned.magnitude() < 1e-4


def test_motion_covers_the_image_and_a_range_of_depths(ground_truth):
    depths = np.array([hand["wrist"]["position"][2] for side in Side for hand in hands(ground_truth, side)])
    assert depths.min() < 0.4 and depths.max() > 0.7
    across = np.concatenate([np.array(hand["joints_2d"])[:, 0] for side in Side for hand in hands(ground_truth, side)])
    assert across.min() < 60 and across.max() > 800


@pytest.mark.parametrize("side", Side)
def test_ground_truth_is_the_open_hand_of_this_repository(ground_truth, side):
    """If the open hand has changed, render the clip again (tools/render_demo_clip.py)."""
    layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))
    chosen = hands(ground_truth, side)[::20]
    names = ("global_orient", "hand_pose", "betas", "transl")
    tensors = (torch.tensor([hand["mano"][name] for hand in chosen], dtype=torch.float32) for name in names)
    output = layer(*tensors, is_right=torch.full((len(chosen),), side is Side.RIGHT))
    joints = output.joints.numpy()[:, list(MANO_TO_MEDIAPIPE)]
    assert np.abs(joints - [hand["joints"] for hand in chosen]).max() < 0.0005


def test_mediapipe_detects_each_visible_hand_with_its_side(ground_truth):
    detector = MediaPipeDetector(max_hands=2, min_score=0.5, tracking=True)
    seen, found = dict.fromkeys(Side, 0), dict.fromkeys(Side, 0)
    for frame, labelled_frame in zip(VideoSource(DEMO / "clip.mp4"), ground_truth["frames"], strict=True):
        detections = detector.detect(frame.image)
        for hand in labelled_frame["hands"]:
            points = np.array(hand["joints_2d"])
            if ((points > 0) & (points < (960, 540))).all(axis=1).mean() < 0.6:
                continue
            side = Side(hand["side"])
            seen[side] += 1
            size = np.ptp(points, axis=0).max()
            distances = [
                np.linalg.norm(d.keypoints - points, axis=1).mean() / size for d in detections if d.side is side
            ]
            if distances and min(distances) < 0.2:
                found[side] += 1
    detector.close()
    for side in Side:
        assert seen[side] > 150
        assert found[side] >= 0.95 * seen[side]
