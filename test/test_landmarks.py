"""The landmark network on boxes finds the same hands as MediaPipe's own pipeline, at any rotation."""

import importlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.detection.landmarks import LandmarkDetector, hand_turn
from wildhands_ros.detection.mediapipe import MediaPipeDetector
from wildhands_ros.detection.network_landmarks import NetworkLandmarks
from wildhands_ros.evaluation.mediapipe_landmarks import MediaPipeLandmarks
from wildhands_ros.evaluation.metrics import pa_mpjpe
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.network_file import DEFAULT_NAME, open_network
from wildhands_ros.runtime.predictor import Predictor

PHOTOS = Path(__file__).parents[2] / "shared/real_hands/onehand10k"
pytestmark = pytest.mark.skipif(not PHOTOS.exists(), reason="the photographs are not there")


@pytest.fixture(scope="module", params=["mediapipe", "default weights"])
def landmarks(request) -> LandmarkDetector:
    if request.param == "mediapipe":
        return LandmarkDetector(MediaPipeLandmarks())
    network = open_network(DEFAULT_NAME)
    return LandmarkDetector(NetworkLandmarks(Predictor(network, network.config.preprocessing, open_hands())))


def guessed(image: np.ndarray) -> Camera:
    return Camera.guess(image.shape[1], image.shape[0])


@pytest.mark.parametrize("index", range(4))
def test_the_hand_equals_that_of_mediapipes_pipeline(landmarks, index):
    photo = read_coco_hands(PHOTOS)[index]
    image, (hand,) = photo.load_image(), photo.hands
    detector = MediaPipeDetector(tracking=False, max_hands=1)
    expected = detector.detect(image)[0]
    detector.close()
    found = landmarks.detect_in_box(image, photo.camera, hand.box)
    size = (hand.box[2:] - hand.box[:2]).max()
    assert np.linalg.norm(found.keypoints - expected.keypoints, axis=-1).mean() < 0.06 * size
    assert found.side is expected.side
    # World landmarks are rotated back with the crop: they point the same way as the keypoints in the image.
    assert mean_cosine(found.world[:, :2], found.keypoints) > 0.95


def test_world_landmarks_are_at_least_as_accurate_as_mediapipes(landmarks):
    """The default weights must be at least as accurate as MediaPipe's."""
    photos = PHOTOS.parent / "rhd"
    if not photos.exists():
        pytest.skip("the photographs are not there")
    labelled = [(photo, photo.hands[0]) for photo in read_coco_hands(photos)]
    errors = {}
    for name, detector in (("ours", landmarks), ("MediaPipe's", LandmarkDetector(MediaPipeLandmarks()))):
        found = [detector.detect_in_box(photo.load_image(), photo.camera, hand.box) for photo, hand in labelled]
        errors[name] = np.mean(
            [pa_mpjpe(each.world, hand.joints) for each, (_, hand) in zip(found, labelled, strict=True)]
        )
    assert errors["ours"] <= errors["MediaPipe's"] < 0.02


def mean_cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the mean cosine between the directions from the wrist to the 20 other joints."""
    a, b = (points[1:] - points[0] for points in (a, b))
    return float(np.mean((a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)))


@pytest.mark.parametrize("code", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE])
def test_rotating_the_image_rotates_the_detection(landmarks, code):
    photo = read_coco_hands(PHOTOS)[0]
    image, (hand,) = photo.load_image(), photo.hands
    upright = landmarks.detect_in_box(image, photo.camera, hand.box)
    height, width = image.shape[:2]
    turn = {
        cv2.ROTATE_90_CLOCKWISE: lambda p: np.stack([height - 1 - p[..., 1], p[..., 0]], axis=-1),
        cv2.ROTATE_180: lambda p: np.array([width - 1, height - 1]) - p,
        cv2.ROTATE_90_COUNTERCLOCKWISE: lambda p: np.stack([p[..., 1], width - 1 - p[..., 0]], axis=-1),
    }[code]
    corners = turn(hand.box.reshape(2, 2))
    rotated = cv2.rotate(image, code)
    turned = landmarks.detect_in_box(rotated, guessed(rotated), np.concatenate([corners.min(0), corners.max(0)]))
    size = (hand.box[2:] - hand.box[:2]).max()
    assert np.linalg.norm(turned.keypoints - turn(upright.keypoints), axis=-1).max() < 0.04 * size
    # World landmarks rotate about the optical axis: compare their directions in the image.
    directions = turn(upright.world[:, :2]) - turn(np.zeros(2))
    np.testing.assert_allclose(turned.world[:, :2], directions, atol=0.01)


def test_a_known_hand_needs_one_forward_pass(landmarks):
    photo = read_coco_hands(PHOTOS)[0]
    image, (hand,) = photo.load_image(), photo.hands
    found = landmarks.detect_in_box(image, photo.camera, hand.box)
    (again,) = landmarks.follow(image, photo.camera, [found.keypoints])
    assert (
        np.linalg.norm(again.keypoints - found.keypoints, axis=-1).mean() < 0.03 * (hand.box[2:] - hand.box[:2]).max()
    )


def test_a_box_without_a_hand_gets_an_estimate_of_low_presence(landmarks):
    wall = np.full((200, 300, 3), 128, np.uint8)
    found = landmarks.detect_in_box(wall, guessed(wall), np.array([50, 50, 120, 120.0]))
    assert found.score < 0.5 and np.isfinite(found.keypoints).all()


def test_hand_turn_is_zero_for_an_upright_hand():
    keypoints = np.zeros((21, 2))
    keypoints[9] = (0, -5)
    assert hand_turn(keypoints) == 0
    keypoints[9] = (5, 0)
    assert hand_turn(keypoints) == pytest.approx(np.pi / 2)


def test_bends_are_the_angles_between_consecutive_bones(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "tools")
    bends = importlib.import_module("measure_bending").bends
    points = np.zeros((21, 3))
    for first in (1, 5, 9, 13, 17):
        points[first : first + 4, 1] = 1 + np.arange(4)
    # The tip of the little finger is bent by a right angle, and with it by nothing else.
    points[20] = points[19] + (0, 0, 1)
    expected = np.zeros((4, 3))
    expected[3, 2] = 90
    np.testing.assert_allclose(bends(points), expected, atol=1e-6)
