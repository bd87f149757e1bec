"""The pixels of the network's crops: cut from an image where ``crop_geometry`` places them, and normalised.

``CropPixels`` come from NumPy and OpenCV. ``normalized_crops`` does the same in a single pass where the compiled module
is available (``native/crops.c``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from ..geometry.compiled import native
from .config import IMAGE_SIZE, Preprocessing
from .crop_geometry import RENDER_SIZE, CropGeometry, frame_affine, released_affine
from .trunk_kinds import TrunkKind


class CropPixels(NamedTuple):
    """What the network sees of one image, before normalisation: colours in 0..255, uint8 or (released preprocessing)
    float32."""

    crops: np.ndarray
    """(N, 224, 224, 3)"""
    frame: np.ndarray | None
    """(224, 224, 3) the whole image, padded to a square, if it was asked for."""


def cut_crops(image_rgb: np.ndarray, geometry: CropGeometry, with_frame: bool) -> CropPixels:
    """Cut out the crops of one image.

    Args:
        image_rgb: (H, W, 3) uint8.
        geometry: Where the crops lie.
        with_frame: Whether the network also sees the whole image.

    Raises:
        ValueError: The image is not uint8 or does not have the camera's size.
    """
    _check_image(image_rgb, geometry)
    if geometry.preprocessing is Preprocessing.RELEASED:
        whole = _released_frame(image_rgb)
        crops = [_warp_cubic(whole, affine, IMAGE_SIZE).clip(0, 255) for affine in geometry.affines]
        return CropPixels(np.stack(crops), whole if with_frame else None)
    # Border pixels are replicated, as in the training of MediaPipe's landmark network.
    crops = [warp_antialiased(image_rgb, affine, IMAGE_SIZE, replicate=True) for affine in geometry.affines]
    return CropPixels(np.stack(crops), cut_frame(image_rgb, geometry) if with_frame else None)


def cut_frame(image_rgb: np.ndarray, geometry: CropGeometry) -> np.ndarray:
    """Return the (224, 224, 3) whole image, padded to a square; see ``cut_crops``."""
    _check_image(image_rgb, geometry)
    if geometry.preprocessing is Preprocessing.RELEASED:
        return _released_frame(image_rgb)
    affine = frame_affine(geometry.camera.width, geometry.camera.height)
    return warp_antialiased(image_rgb, affine, IMAGE_SIZE, replicate=False)


def normalized_crops(image_rgb: np.ndarray, geometry: CropGeometry, kind: TrunkKind) -> np.ndarray:
    """Cut out the crops of one image and normalise them.

    The compiled code rounds as ``cut_crops`` does, but it places pixels exactly, where OpenCV does so to 1/32 pixel: of
    photographs, a few percent of the colours differ, by one of 255 levels.

    Args:
        image_rgb: (H, W, 3) uint8.
        geometry: Where the crops lie.
        kind: The trunk.

    Returns:
        (N, 3, 224, 224) float32.

    Raises:
        ValueError: The image is not uint8 or does not have the camera's size.
    """
    if native is None or geometry.preprocessing is Preprocessing.RELEASED:
        return normalize(cut_crops(image_rgb, geometry, with_frame=False).crops, kind)
    _check_image(image_rgb, geometry)
    camera = geometry.camera
    std, mean = np.array(kind.std, np.float32), np.array(kind.mean, np.float32)
    crops = np.empty((len(geometry.affines), 3, IMAGE_SIZE, IMAGE_SIZE), np.float32)
    native.cut_crops(
        np.ascontiguousarray(image_rgb),
        camera.height,
        camera.width,
        np.ascontiguousarray(geometry.affines),
        1 / (255 * std),
        -mean / std,
        crops,
        IMAGE_SIZE,
    )
    return crops


def normalize(images: np.ndarray, kind: TrunkKind) -> np.ndarray:
    """Normalise images as a trunk expects them.

    Args:
        images: (N, H, W, 3), colours in 0..255.
        kind: The trunk.

    Returns:
        (N, 3, H, W) float32.
    """
    normalized = np.empty((len(images), 3, *images.shape[1:3]), dtype=np.float32)
    # Channel by channel straight into its place, which is faster than transposing afterwards.
    for channel, (mean, std) in enumerate(zip(kind.mean, kind.std, strict=True)):
        plane = normalized[:, channel]
        np.multiply(images[..., channel], np.float32(1 / (255 * std)), out=plane)
        if mean:
            plane -= np.float32(mean / std)
    return normalized


def warp_antialiased(image: np.ndarray, affine: np.ndarray, size: int, *, replicate: bool) -> np.ndarray:
    """Warp an image without aliasing.

    Where the map shrinks the image, the image is first averaged over whole blocks and then smoothed for the remaining
    factor, so that hardly any detail too fine for the result is left.

    Args:
        image: (H, W, 3) uint8.
        affine: (2, 3) map from source to destination pixels, of uniform scale, with any turn and sub-pixel shift.
        size: Side of the result.
        replicate: Fill the area outside the image with its outermost pixels instead of black.

    Returns:
        (size, size, 3) uint8.
    """
    # Source pixels per destination pixel.
    step = 1 / math.sqrt(abs(np.linalg.det(affine[:, :2])))
    ends = np.array([-1, size])
    corners = np.stack(np.meshgrid(ends, ends), axis=-1).reshape(-1, 2)
    corners = (corners - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    limits = np.array([image.shape[1], image.shape[0]])
    x0, y0 = np.clip(np.floor(corners.min(axis=0) - step - 1), 0, limits).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(axis=0) + step + 2), 0, limits).astype(int)
    if x0 >= x1 or y0 >= y1:
        return np.zeros((size, size, 3), dtype=np.uint8)
    region = image[y0:y1, x0:x1]

    block = max(1, math.floor(step))
    if block > 1:
        height, width = region.shape[:2]
        region = cv2.copyMakeBorder(region, 0, -height % block, 0, -width % block, cv2.BORDER_REPLICATE)
        region = cv2.resize(region, (region.shape[1] // block, region.shape[0] // block), interpolation=cv2.INTER_AREA)
    # A pixel is modelled as a Gaussian with a standard deviation of half a pixel, before and after.
    sigma = 0.5 * math.sqrt(max(0.0, (step / block) ** 2 - 1))
    if sigma > 0.2:
        region = cv2.GaussianBlur(region, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    from_region = np.array([[block, 0, x0 + (block - 1) / 2], [0, block, y0 + (block - 1) / 2], [0, 0, 1]])
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    return cv2.warpAffine(region, affine @ from_region, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def hide_outside(crop: np.ndarray, affine: np.ndarray, width: int, height: int, *, replicate: bool) -> np.ndarray:
    """Remove from a rendered crop what lies outside the image, so that it looks like ``warp_antialiased`` of the image
    alone.

    Args:
        crop: (size, size, 3) uint8, rendered beyond the image's edges.
        affine: (2, 3) map from the image's pixels to the crop's.
        width: The image's width.
        height: The image's height.
        replicate: As in ``warp_antialiased``.
    """
    size = len(crop)
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    in_image = (pixels - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    if not replicate:
        seen = ((in_image > -1) & (in_image < (width, height))).all(axis=-1, keepdims=True)
        return np.where(seen, crop, 0).astype(np.uint8)
    nearest = np.clip(in_image, 0, (width - 1, height - 1))
    if np.array_equal(nearest, in_image):
        return crop
    places = (nearest @ affine[:, :2].T + affine[:, 2]).astype(np.float32)
    x, y = places[..., 0], places[..., 1]
    return cv2.remap(crop, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _check_image(image_rgb: np.ndarray, geometry: CropGeometry) -> None:
    camera = geometry.camera
    if image_rgb.dtype != np.uint8 or image_rgb.shape != (camera.height, camera.width, 3):
        raise ValueError(
            f"expected a ({camera.height}, {camera.width}, 3) uint8 image to match the camera, got "
            f"{image_rgb.shape} {image_rgb.dtype}"
        )


def _released_frame(image: np.ndarray) -> np.ndarray:
    """(224, 224, 3) float32: the demo's frame, warped to 840 pixels, blurred and warped again."""
    height, width = image.shape[:2]
    to_render = released_affine((width, height), max(width, height), RENDER_SIZE).astype(np.float32)
    render = _warp_cubic(image.astype(np.float32), to_render, RENDER_SIZE).clip(0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(render, (5, 5), 8)
    to_frame = released_affine((RENDER_SIZE, RENDER_SIZE), RENDER_SIZE, IMAGE_SIZE)
    return _warp_cubic(blurred.astype(np.float32), to_frame, IMAGE_SIZE).clip(0, 255)


def _warp_cubic(image: np.ndarray, affine: np.ndarray, size: int) -> np.ndarray:
    return cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
