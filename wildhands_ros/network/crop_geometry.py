"""Where the network's crops lie in an image, and the network inputs that follow from it. No pixels are touched here.

With ``Preprocessing.FULL_RESOLUTION`` crops are cut from the image itself, at sub-pixel positions.
``Preprocessing.RELEASED`` repeats the authors' demo (commit f99dfea): crops are cut at whole-number positions from the
image reduced to 224 pixels, the *frame*. Published weights expect exactly this.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.camera import Camera
from .config import IMAGE_SIZE, RELEASED_CROP_SCALE, CameraDecoding, Preprocessing, WildHandsConfig
from .kpe import kpe_values

RENDER_SIZE = 840
"""Side in pixels of the intermediate image of the authors' demo."""
MIN_RAY_Z = 0.05
"""Least z of a unit ray that a pinhole can represent: rays further off the axis have no useful place in its image."""
_FIT_POINTS = np.array([(x, y) for x in (0.3, 0.5, 0.7) for y in (0.3, 0.5, 0.7)])
"""Points, as fractions of a crop's sides, at which its pinhole is fitted to the lens."""


@dataclass(frozen=True, eq=False)
class CropGeometry:
    """Position and size of the N crops of one image, and the network inputs that follow from them."""

    camera: Camera
    """The image's camera."""
    preprocessing: Preprocessing
    affines: np.ndarray
    """(N, 2, 3) pixel maps to the crops: from the image, or (released preprocessing) from the 224-pixel frame."""
    kpe: np.ndarray
    """(N, C) or (N, C, size, size) float32, see ``kpe_values``."""
    focal: np.ndarray
    """(N,) float32, see ``WildHands.forward``, as are the next two."""
    anchor: np.ndarray
    """(N, 2) float32"""
    turn: np.ndarray
    """(N,) float32"""


def crop_geometry(
    camera: Camera,
    boxes: np.ndarray,
    config: WildHandsConfig,
    preprocessing: Preprocessing,
    turns: np.ndarray | None = None,
) -> CropGeometry:
    """Place the crops of the hands in ``boxes``.

    Args:
        camera: The image's camera; for released preprocessing a plain pinhole (see ``geometry.undistort``).
        boxes: (N, 4) x_min, y_min, x_max, y_max in pixels, N >= 1. Only the centre and the longer side count: for a
            turned crop, give a square of the size along the turned axes.
        config: The network's configuration.
        preprocessing: How crops are cut.
        turns: (N,) radians, positive clockwise as seen in the image: the direction that points up in the crop, relative
            to the image's up.

    Raises:
        ValueError: a box is empty or outside the image, or its centre is outside the lens's field of view and matters;
            turns are missing although ``config.upright``; or released preprocessing is given turns or a camera that is
            not a plain pinhole.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if not len(boxes):
        raise ValueError("there are no boxes")
    if not (overlapping := _overlap(camera, boxes)).all():
        raise ValueError(f"no part of the image lies in box {boxes[~overlapping][0].tolist()}")
    if config.upright and turns is None:
        raise ValueError("the network expects upright crops: give each hand's turn")
    is_released = preprocessing is Preprocessing.RELEASED
    if is_released and turns is not None:
        raise ValueError("released preprocessing does not support turned crops")
    if is_released and not (camera.is_pinhole and np.array_equal(camera.rotation, np.eye(3))):
        raise ValueError(
            "released preprocessing needs a pinhole camera: rectify the image first (geometry.undistort.Rectifier)"
        )
    angles = np.zeros(len(boxes)) if turns is None else np.asarray(turns, dtype=np.float64)
    if is_released:
        places = _released_places(camera, boxes)
    else:
        places = _full_resolution_places(camera, boxes, angles, config.crop_scale)
    focal, anchor = _decoding_frame(places, config.camera)
    return CropGeometry(
        camera,
        preprocessing,
        places.affines,
        _encode_positions(places, config),
        focal.astype(np.float32),
        anchor.astype(np.float32),
        angles.astype(np.float32),
    )


def usable_boxes(camera: Camera, boxes: np.ndarray) -> np.ndarray:
    """Tell which boxes can be cropped.

    Args:
        camera: The image's camera.
        boxes: (N, 4) pixels.

    Returns:
        (N,) bool: which boxes are finite, not empty, overlap the image and have a centre in front of the lens.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    inside = _overlap(camera, boxes)
    centers = np.where(inside[:, None], (boxes[:, :2] + boxes[:, 2:]) / 2, 0)
    return inside & (camera.rays(centers)[:, 2] > 0)  # False for NaN, too


def _overlap(camera: Camera, boxes: np.ndarray) -> np.ndarray:
    """Tell which of (N, 4) boxes are finite, not empty, and overlap the image."""
    x0, y0, x1, y1 = boxes.T
    inside = (x0 < x1) & (y0 < y1) & (x1 > 0) & (y1 > 0) & (x0 < camera.width - 1) & (y0 < camera.height - 1)
    return inside & np.isfinite(boxes).all(axis=1)


def crop_affine(box: np.ndarray, crop_scale: float, turn: float = 0.0) -> np.ndarray:
    """Map an image's pixels to those of a full-resolution crop.

    Args:
        box: (4,) pixels; only the centre and the longer side count.
        crop_scale: Side of the crop over the longer side of the box.
        turn: Radians, see ``crop_geometry``.

    Returns:
        (2, 3) affine map; pixel centres lie at whole numbers.
    """
    return _crop_affines(box[None], crop_scale, np.array([turn]))[0]


def frame_affine(width: int, height: int) -> np.ndarray:
    """(2, 3) map from an image's pixels to those of the 224-pixel frame: the whole image, padded to a square."""
    scale = IMAGE_SIZE / max(width, height)
    center = np.array([width - 1, height - 1]) / 2
    return np.column_stack([scale * np.eye(2), (IMAGE_SIZE - 1) / 2 - scale * center])


def crop_corners() -> np.ndarray:
    """(4, 2) outer corners of a crop in its own pixels, in the order of ``kpe_values``."""
    low, high = -0.5, IMAGE_SIZE - 0.5
    return np.array([(low, low), (low, high), (high, low), (high, high)])


def fit_crop_pinhole(camera: Camera, affine: np.ndarray) -> np.ndarray:
    """Return the (3, 3) pinhole matrix of a crop's pixels: exact for a pinhole camera, else the best fit around the
    crop's middle.

    Args:
        camera: The image's camera.
        affine: (2, 3) map from the image's pixels to the crop's.
    """
    in_crop = IMAGE_SIZE * _FIT_POINTS - 0.5
    rays = camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE).rays(in_crop)
    seen = rays[:, 2] > MIN_RAY_Z  # False for NaN, too
    k = np.eye(3)
    k[:2] = np.linalg.lstsq(rays[seen] / rays[seen, 2:], in_crop[seen], rcond=None)[0].T
    return k


class ReleasedCrop(NamedTuple):
    """Where the authors' demo cuts out a hand, in pixels of the 224-pixel frame."""

    box: np.ndarray
    """(4,) int"""
    center: np.ndarray
    """(2,) int, of the crop."""
    side: float
    """Of the crop."""
    kpe_box: np.ndarray
    """(4,) int, the crop clipped to the frame: the box that the positional encoding sees."""


def released_crop(box: np.ndarray, width: int, height: int) -> ReleasedCrop:
    """Place a crop as the authors' demo does.

    Args:
        box: (4,) in pixels of the image.
        width: The image's width.
        height: The image's height.
    """
    longer, last = max(width, height), IMAGE_SIZE - 1
    in_render = (np.reshape(box, (2, 2)) - (width / 2, height / 2)) * RENDER_SIZE / longer + RENDER_SIZE / 2
    # Truncation and the added pixel are artefacts of the demo's transform; its weights were evaluated with them.
    corners = np.trunc(IMAGE_SIZE / RENDER_SIZE * (in_render - RENDER_SIZE / 2) + IMAGE_SIZE / 2) + 1
    corners = corners.clip(0, last).astype(int)
    center = corners.sum(axis=0) // 2
    # The demo divides by zero for a box smaller than a pixel; here it counts as one pixel.
    side = max(1, (corners[1] - corners[0]).max()) * RELEASED_CROP_SCALE
    half = int(side / 2)
    return ReleasedCrop(
        corners.reshape(4), center, float(side), np.concatenate([center - half, center + half]).clip(0, last)
    )


def released_camera(camera: Camera) -> Camera:
    """The camera of the demo's 224-pixel frame; without half-pixel shifts, as in the demo."""
    longer = max(camera.width, camera.height)
    affine = released_affine((camera.width, camera.height), longer, IMAGE_SIZE)
    return camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE)


def released_affine(twice_center: tuple[float, float], side: float, size: int) -> np.ndarray:
    """Map a square window to ``size`` pixels as the demo does, without the half-pixel shift of pixel areas.

    Args:
        twice_center: x and y of the window's centre, times two.
        side: The window's side.
        size: The side of the result in pixels.

    Returns:
        (2, 3) affine map.
    """
    scale = size / side
    return np.array(
        [[scale, 0, (size - twice_center[0] * scale) / 2], [0, scale, (size - twice_center[1] * scale) / 2]]
    )


class _Places(NamedTuple):
    """Where the crops lie; positions in pixels of the 224-pixel frame."""

    camera: Camera
    """The frame's camera."""
    affines: np.ndarray
    """As in ``CropGeometry``."""
    corners: np.ndarray
    """(N, 4, 2) true outer corners of the crops, in the order of ``kpe_values``."""
    sparse_corners: np.ndarray
    """(N, 4, 2) the corners whose angles the sparse encodings use."""


def _full_resolution_places(camera: Camera, boxes: np.ndarray, turns: np.ndarray, crop_scale: float) -> _Places:
    affines, frame = _crop_affines(boxes, crop_scale, turns), _frame(camera)
    linear = affines[..., :2]
    # The inverse of the linear part is its transpose, divided by its determinant.
    determinants = np.linalg.det(linear)[:, None, None]
    in_image = (crop_corners() - affines[:, None, :, 2]) @ linear / determinants
    corners = _apply(frame.affine, in_image)
    return _Places(frame.camera, affines, corners, corners)


def _crop_affines(boxes: np.ndarray, crop_scale: float, turns: np.ndarray) -> np.ndarray:
    """(N, 2, 3) ``crop_affine`` of N boxes."""
    scales = IMAGE_SIZE / ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * crop_scale)
    affines = np.empty((len(boxes), 2, 3))
    affines[:, 0, 0] = affines[:, 1, 1] = scales * np.cos(turns)
    affines[:, 0, 1] = scales * np.sin(turns)
    affines[:, 1, 0] = -affines[:, 0, 1]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    affines[..., 2] = (IMAGE_SIZE - 1) / 2 - (affines[..., :2] @ centers[..., None])[..., 0]
    return affines


class _Frame(NamedTuple):
    """The 224-pixel frame of a camera's images."""

    affine: np.ndarray
    camera: Camera


@lru_cache(maxsize=8)
def _frame(camera: Camera) -> _Frame:
    """Kept for the next images of the camera."""
    affine = frame_affine(camera.width, camera.height)
    return _Frame(affine, camera.transformed(affine, IMAGE_SIZE, IMAGE_SIZE))


def _released_places(camera: Camera, boxes: np.ndarray) -> _Places:
    affines, corners, sparse_corners = [], [], []
    for box in boxes:
        crop = released_crop(box, camera.width, camera.height)
        affine = released_affine((2 * crop.center[0], 2 * crop.center[1]), crop.side, IMAGE_SIZE)
        affines.append(affine)
        corners.append(_apply(cv2.invertAffineTransform(affine), crop_corners()))
        x0, y0, x1, y1 = crop.kpe_box
        sparse_corners.append([(x0, y0), (x0, y1), (x1, y0), (x1, y1)])
    return _Places(
        released_camera(camera), np.stack(affines), np.stack(corners), np.array(sparse_corners, dtype=np.float64)
    )


def _encode_positions(places: _Places, config: WildHandsConfig) -> np.ndarray:
    camera = places.camera
    if config.fake_intrinsics:
        half = IMAGE_SIZE / 2
        camera = Camera.pinhole(half, half, half, half, IMAGE_SIZE, IMAGE_SIZE)
    corners = places.corners if config.encoding.is_map else places.sparse_corners
    return kpe_values(config.encoding, camera, corners, config.kpe_map_size)


def _decoding_frame(places: _Places, decoding: CameraDecoding) -> tuple[np.ndarray, np.ndarray]:
    """(N,) focal lengths and (N, 2) anchors that the camera output is relative to."""
    if decoding is CameraDecoding.FRAME:
        return np.full(len(places.corners), places.camera.focal), np.zeros((len(places.corners), 2))
    sides = np.linalg.norm(places.corners[:, 2] - places.corners[:, 0], axis=-1)
    centers = places.corners.mean(axis=1)
    rays = places.camera.rays(centers)
    if not (seen := rays[:, 2] > 0).all():  # False for NaN, too
        raise ValueError(f"the crop's centre, pixel {centers[~seen][0].tolist()}, is outside the lens's field of view")
    return places.camera.focal * IMAGE_SIZE / sides, rays[:, :2] / rays[:, 2:]


def _apply(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ affine[:, :2].T + affine[:, 2]
