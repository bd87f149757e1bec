"""A flat hand beside a sheet of paper or a marker."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from several_cameras import POSES, TrueHand

from wildhands_ros.detection.reference_objects import A4, find_marker, find_sheet
from wildhands_ros.evaluation.hand_photos import measure_photo
from wildhands_ros.fitting.flat_hand import HEIGHT, flat_hand_length
from wildhands_ros.fitting.keypoint_marks import SHRINKAGE, marks_matrix
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.hand_model.asset import joints_linear, open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.types import FrameEstimate, Side

CAMERA = Camera.from_fov(1280, 960, float(np.radians(65)))
TABLE = Pose(Rotation.from_euler("xyz", [205, 8, 20], degrees=True).as_matrix(), np.array([-0.1, 0.02, 0.65]))
BESIDE = np.array([0.25, 0.0, HEIGHT])
"""Place of the hand's middle on the table, beside the object."""


def flat_hand(bend: float = 0.0) -> tuple[np.ndarray, float]:
    """Returns (21, 3) joints of a flat hand on the table, and its length."""
    rest = joints_linear(open_hand(Side.RIGHT))[0][list(MANO_TO_MEDIAPIPE)].astype(np.float64)
    length = float(np.linalg.norm(rest[12] - rest[0]))
    # In the rest pose the fingers point along -x and the thumb along z; both lie on the table.
    local = (rest - rest.mean(0))[:, [2, 0, 1]]
    local[:, 2] = 0
    local[[11, 12]] += bend * np.array([1.0, 0, 0])
    return TABLE.apply(local + BESIDE), length


def rays_to(joints: np.ndarray) -> np.ndarray:
    """Returns the rays to the keypoints that a landmark network finds."""
    keypoints = CAMERA.project(marks_matrix() @ joints)
    centre = keypoints.mean(0)
    return CAMERA.rays(centre + (keypoints - centre) / (1 + SHRINKAGE))


def photo(kind):
    """Returns a photograph of the object on a dark table."""
    if kind == "sheet":
        texture, size = np.full((210, 297), 235, np.uint8), A4
    else:
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        marker = cv2.aruco.generateImageMarker(dictionary, 7, 240)
        texture, size = cv2.copyMakeBorder(marker, 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(255,)), (0.16, 0.16)
    height, width = texture.shape
    corners = np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]]) * (size[0] / 2, size[1] / 2, 0)
    pixels = CAMERA.project(TABLE.apply(corners)).astype(np.float32)
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    matrix = cv2.getPerspectiveTransform(source, pixels)
    mask = cv2.warpPerspective(np.full_like(texture, 255), matrix, (CAMERA.width, CAMERA.height))
    drawn = cv2.warpPerspective(texture, matrix, (CAMERA.width, CAMERA.height))
    grey = np.where(mask > 127, drawn, 60).astype(np.uint8)
    return np.repeat(cv2.GaussianBlur(grey, (3, 3), 0)[..., None], 3, axis=2)


def test_the_length_follows_from_the_table() -> None:
    joints, length = flat_hand()
    measured = flat_hand_length(rays_to(joints), TABLE)
    assert measured.metres == pytest.approx(length, rel=0.02)
    turned = Pose(TABLE.rotation @ np.diag([1.0, -1, -1]), TABLE.position)
    assert flat_hand_length(rays_to(joints), turned).metres == pytest.approx(measured.metres)


def test_a_bent_hand_is_refused() -> None:
    joints, _ = flat_hand(bend=0.05)
    with pytest.raises(ValueError, match="bent"):
        flat_hand_length(rays_to(joints), TABLE)
    grazing = Pose(Rotation.from_euler("x", 90, degrees=True).as_matrix(), np.array([0, 0.3, 0.6]))
    with pytest.raises(ValueError, match="from above"):
        flat_hand_length(rays_to(flat_hand()[0]), grazing)


@pytest.mark.parametrize("kind", ["sheet", "marker"])
def test_objects_are_found_and_give_the_length(kind: str) -> None:
    image = photo(kind)
    table = find_sheet(image, CAMERA) if kind == "sheet" else find_marker(image, CAMERA, 0.12)
    np.testing.assert_allclose(table.position, TABLE.position, atol=0.006)
    assert abs(table.rotation[:, 2] @ TABLE.rotation[:, 2]) > np.cos(np.radians(3))
    joints, length = flat_hand()
    hand = TrueHand(0).seen_by(POSES["left"], np.random.default_rng(0))
    seen = replace(hand, keypoints=CAMERA.project(rays_to(joints)))

    def estimator(image: np.ndarray, camera: Camera) -> FrameEstimate:
        return FrameEstimate((seen,), camera)

    measured = measure_photo(estimator, image, CAMERA, None if kind == "sheet" else 0.12)
    assert measured.metres == pytest.approx(length, rel=0.03)


def test_photographs_without_an_object_are_refused() -> None:
    empty = np.full((960, 1280, 3), 60, np.uint8)
    with pytest.raises(ValueError, match="no sheet of A4"):
        find_sheet(empty, CAMERA)
    with pytest.raises(ValueError, match="no marker"):
        find_marker(empty, CAMERA, 0.1)
