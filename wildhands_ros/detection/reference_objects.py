"""Finds objects of known size in an image: a sheet of A4 paper, or an ArUco marker."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..geometry.pose import Pose

A4 = (0.297, 0.210)
"""Metres."""
_DICTIONARIES = ("DICT_4X4_50", "DICT_5X5_100", "DICT_6X6_250", "DICT_APRILTAG_36h11", "DICT_ARUCO_ORIGINAL")
_LEAST_AREA = 0.02
"""Least share of the image that a sheet covers."""
_MOST_ERROR = 0.01
"""Largest reprojection error of the corners as a fraction of the object's extent in the image."""


def find_sheet(image_rgb: np.ndarray, camera: Camera) -> Pose:
    """Returns the pose of a sheet of A4 paper in the camera's frame: x and y along its sides, z perpendicular.

    Raises:
        ValueError: There is no sheet whose four corners are visible, or more than one object looks like one.
    """
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    found = []
    for corners in _quadrilaterals(grey):
        for width, height in (A4, A4[::-1]):
            pose, error = _pose(corners, width, height, camera)
            if error < _MOST_ERROR:
                found.append((error, pose))
    if not found:
        raise ValueError(
            "no sheet of A4 paper was found: all four corners must be visible on a darker table, and the hand beside it"
        )
    return min(found, key=lambda item: item[0])[1]


def find_marker(image_rgb: np.ndarray, camera: Camera, size: float) -> Pose:
    """Returns the pose of an ArUco or AprilTag marker in the camera's frame.

    Args:
        image_rgb: (H, W, 3) uint8.
        camera: Camera of the image.
        size: Length of the black square's side in metres.

    Raises:
        ValueError: There is no marker.
    """
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    for name in _DICTIONARIES:
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
        corners, _, _ = cv2.aruco.ArucoDetector(dictionary).detectMarkers(grey)
        if corners:
            return _pose(np.asarray(corners[0], np.float64).reshape(4, 2), size, size, camera)[0]
    raise ValueError(f"no marker was found; supported: {', '.join(_DICTIONARIES)}")


def _quadrilaterals(grey: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the (4, 2) corners of bright convex quadrilaterals."""
    blurred = cv2.GaussianBlur(grey, (5, 5), 0)
    _, bright = cv2.threshold(blurred, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(bright, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    height, width = grey.shape
    for contour in contours:
        if cv2.contourArea(contour) < _LEAST_AREA * grey.size:
            continue
        corners = cv2.approxPolyDP(contour, 0.02 * cv2.arcLength(contour, True), True).reshape(-1, 2)
        inside = ((corners > 2) & (corners < (width - 3, height - 3))).all()
        if len(corners) == 4 and inside and cv2.isContourConvex(corners):
            precise = cv2.cornerSubPix(
                grey,
                corners.astype(np.float32).reshape(-1, 1, 2),
                (5, 5),
                (-1, -1),
                (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01),
            )
            yield np.asarray(precise, np.float64).reshape(4, 2)


def _pose(corners: np.ndarray, width: float, height: float, camera: Camera) -> tuple[Pose, float]:
    """Returns the pose of a rectangle, and its reprojection error as a fraction of its extent in the image."""
    half = np.array([width, height]) / 2
    model = np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]]) * (*half, 0.0)
    rays = camera.rays(corners)
    seen = rays[:, :2] / rays[:, 2:]
    (ax, ay), (bx, by) = seen[1] - seen[0], seen[2] - seen[1]
    if ax * by - ay * bx < 0:  # clockwise in the image, as the model is
        seen = seen[::-1]
    extent = float(np.ptp(seen, axis=0).max())
    ok, turn, position = cv2.solvePnP(model, seen, np.eye(3), None, flags=cv2.SOLVEPNP_ITERATIVE)
    if not ok or position[2, 0] <= 0:
        return Pose.identity(), float("inf")
    pose = Pose(np.asarray(cv2.Rodrigues(turn)[0]), position[:, 0])
    points = pose.apply(model)
    error = float(np.linalg.norm(points[:, :2] / points[:, 2:] - seen, axis=1).max())
    return pose, error / extent
