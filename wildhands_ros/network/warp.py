"""Antialiased affine warps."""

from __future__ import annotations

import math

import cv2
import numpy as np


def warp_antialiased(image: np.ndarray, affine: np.ndarray, size: int, *, replicate: bool) -> np.ndarray:
    """(H, W, 3) to (size, size, 3) uint8; outside of the image black, or with ``replicate`` its outermost pixels.

    ``affine`` (2, 3) maps source pixels to destination pixels, uniform in scale; any turn and sub-pixel shift. Where it shrinks, the
    source is first averaged over whole blocks and then smoothed for what remains, so that hardly any detail too fine for the destination
    is left.
    """
    step = 1 / math.sqrt(abs(np.linalg.det(affine[:, :2])))
    """Source pixels per destination pixel."""
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
    # A pixel is taken to be a Gaussian of half a pixel's deviation, before as after.
    sigma = 0.5 * math.sqrt(max(0.0, (step / block) ** 2 - 1))
    if sigma > 0.2:
        region = cv2.GaussianBlur(region, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    from_region = np.array([[block, 0, x0 + (block - 1) / 2], [0, block, y0 + (block - 1) / 2], [0, 0, 1]])
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    return cv2.warpAffine(region, affine @ from_region, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)


def cut_off(picture: np.ndarray, affine: np.ndarray, width: int, height: int, *, replicate: bool) -> np.ndarray:
    """Of a (size, size, 3) uint8 picture that also shows what lies outside of a width x height image: what ``warp_antialiased`` with the
    same arguments would have made of the image alone."""
    size = len(picture)
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    in_image = (pixels - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    if not replicate:
        seen = ((in_image > -1) & (in_image < (width, height))).all(axis=-1, keepdims=True)
        return np.where(seen, picture, 0).astype(np.uint8)
    nearest = np.clip(in_image, 0, (width - 1, height - 1))
    if np.array_equal(nearest, in_image):
        return picture
    places = (nearest @ affine[:, :2].T + affine[:, 2]).astype(np.float32)
    return cv2.remap(picture, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
