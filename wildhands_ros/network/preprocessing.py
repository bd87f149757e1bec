"""From a frame, its camera and boxes of hands to network inputs.

``Preprocessing.RELEASED`` repeats the authors' demo (commit f99dfea, spec 2.1): the whole frame is warped to 840 pixels, blurred, warped to
224, and the crops are cut from those 224 pixels at whole-number positions. Published weights expect exactly this. With
``Preprocessing.FULL_RESOLUTION`` crops come from the frame itself at sub-pixel positions.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..geometry.camera import Camera
from .config import IMAGE_SIZE, RELEASED_CROP_SCALE, CameraDecoding, Preprocessing, WildHandsConfig
from .kpe import kpe_values
from .trunks import TRUNKS, TrunkKind
from .warp import warp_antialiased

_RENDER_SIZE = 840
"""Side of the demo's intermediate image."""


@dataclass(frozen=True)
class NetworkInput:
    """Arguments of ``WildHands.forward`` for the B hands of one frame; see there."""

    crops: Tensor
    kpe: Tensor
    focal: Tensor
    anchor: Tensor
    turn: Tensor
    images: Tensor | None

    def tensors(self) -> dict[str, Tensor]:
        """Those that there are, by name."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


def preprocess(
    image_rgb: np.ndarray,
    camera: Camera,
    boxes: np.ndarray,
    config: WildHandsConfig,
    preprocessing: Preprocessing,
    turns: np.ndarray | None = None,
) -> NetworkInput:
    """Network inputs for the hands in ``boxes`` (N, 4: x_min, y_min, x_max, y_max in pixels of the image), N >= 1.

    ``turns`` (N,) radians, positive clockwise as seen in the image: the direction that points up in the crop, from the image's up.
    Of a box, only its centre and its longer side count: for a turned crop, give a square of the size along the turned axes.
    Raises ValueError for an image that is not (H, W, 3) uint8 of the camera's size, for boxes that ``usable_boxes`` says no to, for
    missing turns where ``config.upright``, and, where ``preprocessing`` is RELEASED, for turns and for a camera that is not a plain pinhole
    (see ``geometry.undistort``).
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    if image_rgb.dtype != np.uint8 or image_rgb.shape != (camera.height, camera.width, 3):
        raise ValueError(
            f"expected a ({camera.height}, {camera.width}, 3) uint8 image, as the camera says; got {image_rgb.shape} {image_rgb.dtype}"
        )
    if not len(boxes) or not (usable := usable_boxes(camera, boxes)).all():
        raise ValueError(
            f"no part of the image lies in box {boxes[~usable][0].tolist()}" if len(boxes) else "there are no boxes"
        )
    if config.upright and turns is None:
        raise ValueError("the network wants its crops upright: give each hand's turn")
    if preprocessing is Preprocessing.RELEASED and turns is not None:
        raise ValueError("released preprocessing knows no turned crops")
    turns = np.zeros(len(boxes)) if turns is None else np.asarray(turns, dtype=np.float64)
    if preprocessing is Preprocessing.RELEASED:
        if not camera.is_pinhole or not np.array_equal(camera.rotation, np.eye(3)):
            raise ValueError(
                "released preprocessing needs a pinhole camera: rectify the image first (geometry.undistort.Rectifier)"
            )
        views = _released_views(image_rgb, camera, boxes, config)
    else:
        views = _full_resolution_views(image_rgb, camera, boxes, turns, config)

    frame_camera, kpe_camera = views.camera, views.camera
    if config.fake_intrinsics:
        half = IMAGE_SIZE / 2
        kpe_camera = Camera.pinhole(half, half, half, half, IMAGE_SIZE, IMAGE_SIZE)
    kpe = [
        kpe_values(
            config.encoding, kpe_camera, corners if config.encoding.is_map else sparse_corners, config.kpe_map_size
        )
        for corners, sparse_corners in zip(views.corners, views.sparse_corners, strict=True)
    ]
    if config.camera is CameraDecoding.FRAME:
        focal, anchor = np.full(len(boxes), frame_camera.focal), np.zeros((len(boxes), 2))
    else:
        sides = np.linalg.norm(views.corners[:, 2] - views.corners[:, 0], axis=-1)
        rays = frame_camera.rays(views.corners.mean(axis=1))
        focal, anchor = frame_camera.focal * IMAGE_SIZE / sides, rays[:, :2] / rays[:, 2:]
    kind = TRUNKS[config.trunk]
    return NetworkInput(
        crops=_to_tensor(views.crops, kind),
        kpe=torch.from_numpy(np.stack(kpe)),
        focal=torch.from_numpy(focal.astype(np.float32)),
        anchor=torch.from_numpy(anchor.astype(np.float32)),
        turn=torch.from_numpy(turns.astype(np.float32)),
        images=_to_tensor(views.frame[None], kind) if config.full_image_trunk else None,
    )


def usable_boxes(camera: Camera, boxes: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the (N, 4) boxes are finite, not empty, overlap the image and have a centre in front of the lens."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    x0, y0, x1, y1 = boxes.T
    with np.errstate(invalid="ignore"):
        inside = (x0 < x1) & (y0 < y1) & (x1 > 0) & (y1 > 0) & (x0 < camera.width - 1) & (y0 < camera.height - 1)
    inside &= np.isfinite(boxes).all(axis=1)
    centers = np.where(inside[:, None], (boxes[:, :2] + boxes[:, 2:]) / 2, 0)
    return inside & (np.nan_to_num(camera.rays(centers)[:, 2], nan=-1.0) > 0)


class _Views(NamedTuple):
    """What the network sees, before normalisation; colours in 0..255, uint8 or float32, positions in pixels of the 224-pixel frame."""

    frame: np.ndarray
    """(224, 224, 3) the whole frame, padded to a square."""
    camera: Camera
    """The camera of ``frame``."""
    crops: np.ndarray
    """(N, 224, 224, 3)"""
    corners: np.ndarray
    """(N, 4, 2) true outer corners of the crops, in ``kpe_values``'s order."""
    sparse_corners: np.ndarray
    """(N, 4, 2) the corners of which the sparse encodings take the angles."""


def _full_resolution_views(
    image: np.ndarray, camera: Camera, boxes: np.ndarray, turns: np.ndarray, config: WildHandsConfig
) -> _Views:
    scale = IMAGE_SIZE / max(camera.width, camera.height)
    frame_affine = _window_affine(np.array([camera.width - 1, camera.height - 1]) / 2, scale, 0.0)
    frame = (
        warp_antialiased(image, frame_affine, IMAGE_SIZE, replicate=False)
        if config.full_image_trunk
        else np.zeros((0, 0, 3), dtype=np.uint8)
    )
    centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(axis=1) * config.crop_scale
    affines = [_window_affine(c, IMAGE_SIZE / s, t) for c, s, t in zip(centers, sides, turns, strict=True)]
    # As MediaPipe's landmark network was trained.
    crops = np.stack([warp_antialiased(image, affine, IMAGE_SIZE, replicate=True) for affine in affines])
    corners = np.stack(
        [_apply(frame_affine, _apply(cv2.invertAffineTransform(affine), _crop_corners())) for affine in affines]
    )
    return _Views(frame, camera.transformed(frame_affine, IMAGE_SIZE, IMAGE_SIZE), crops, corners, corners)


def _window_affine(center: np.ndarray, scale: float, turn: float) -> np.ndarray:
    """(2, 3) from image pixels to those of a 224-pixel window around ``center``; pixel centres at whole numbers."""
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    linear = np.array([[cosine, sine], [-sine, cosine]])
    return np.column_stack([linear, (IMAGE_SIZE - 1) / 2 - linear @ center])


def _crop_corners() -> np.ndarray:
    low, high = -0.5, IMAGE_SIZE - 0.5
    return np.array([(low, low), (low, high), (high, low), (high, high)])


def _apply(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ affine[:, :2].T + affine[:, 2]


class ReleasedCrop(NamedTuple):
    """Where the demo cuts out a hand, in pixels of the 224-pixel frame (spec 2.1 e to g)."""

    box: np.ndarray
    """(4,) int"""
    center: np.ndarray
    """(2,) int, of the crop window."""
    side: float
    """Of the crop window."""
    kpe_box: np.ndarray
    """(4,) int, the window clipped to the frame: the positional encoding sees this."""


def released_crop(box: np.ndarray, width: int, height: int) -> ReleasedCrop:
    """``box`` (4,) in pixels of a width x height image."""
    longer, last = max(width, height), IMAGE_SIZE - 1
    in_render = (np.reshape(box, (2, 2)) - (width / 2, height / 2)) * _RENDER_SIZE / longer + _RENDER_SIZE / 2
    # Truncation and the added pixel are artefacts of the demo's transform; its weights were evaluated with them.
    corners = np.trunc(IMAGE_SIZE / _RENDER_SIZE * (in_render - _RENDER_SIZE / 2) + IMAGE_SIZE / 2) + 1
    corners = corners.clip(0, last).astype(int)
    center = corners.sum(axis=0) // 2
    # The demo divides by zero for a box without a pixel of its own; here it is one pixel.
    side = max(1, (corners[1] - corners[0]).max()) * RELEASED_CROP_SCALE
    half = int(side / 2)
    return ReleasedCrop(
        corners.reshape(4), center, float(side), np.concatenate([center - half, center + half]).clip(0, last)
    )


def released_camera(camera: Camera) -> Camera:
    """The camera of the demo's 224-pixel frame (spec 2.1 b and i); without half-pixel shifts, as there."""
    longer = max(camera.width, camera.height)
    return camera.transformed(
        _released_affine((camera.width, camera.height), longer, IMAGE_SIZE), IMAGE_SIZE, IMAGE_SIZE
    )


def _released_affine(twice_center: tuple[float, float], side: float, size: int) -> np.ndarray:
    """(2, 3) map of the window with this centre and side to ``size`` pixels, without the half-pixel shift of pixel areas."""
    scale = size / side
    return np.array(
        [[scale, 0, (size - twice_center[0] * scale) / 2], [0, scale, (size - twice_center[1] * scale) / 2]]
    )


def _released_views(image: np.ndarray, camera: Camera, boxes: np.ndarray, config: WildHandsConfig) -> _Views:
    height, width = image.shape[:2]
    to_render = _released_affine((width, height), max(width, height), _RENDER_SIZE).astype(np.float32)
    render = _cubic(image.astype(np.float32), to_render, _RENDER_SIZE).clip(0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(render, (5, 5), 8)
    to_frame = _released_affine((_RENDER_SIZE, _RENDER_SIZE), _RENDER_SIZE, IMAGE_SIZE)
    frame = _cubic(blurred.astype(np.float32), to_frame, IMAGE_SIZE).clip(0, 255)

    crops, corners, sparse_corners = [], [], []
    for box in boxes:
        place = released_crop(box, width, height)
        affine = _released_affine(tuple(2 * place.center), place.side, IMAGE_SIZE)
        crops.append(_cubic(frame, affine, IMAGE_SIZE).clip(0, 255))
        corners.append(_apply(cv2.invertAffineTransform(affine), _crop_corners()))
        x0, y0, x1, y1 = place.kpe_box
        sparse_corners.append([(x0, y0), (x0, y1), (x1, y0), (x1, y1)])
    return _Views(
        frame, released_camera(camera), np.stack(crops), np.stack(corners), np.array(sparse_corners, dtype=np.float64)
    )


def _cubic(image: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)


def _to_tensor(images: np.ndarray, kind: TrunkKind) -> Tensor:
    """(N, H, W, 3) to normalised (N, 3, H, W), channel by channel straight to where it goes."""
    tensor = np.empty((len(images), 3, *images.shape[1:3]), dtype=np.float32)
    for channel, (mean, std) in enumerate(zip(kind.mean, kind.std, strict=True)):
        plane = tensor[:, channel]
        np.multiply(images[..., channel], np.float32(1 / (255 * std)), out=plane)
        if mean:
            plane -= np.float32(mean / std)
    return torch.from_numpy(tensor)
