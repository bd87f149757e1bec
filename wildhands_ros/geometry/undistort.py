"""Converts images and boxes of a distorted or rotated camera to a pinhole, for stages that support only pinholes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .camera import Camera, rectification_maps, rectify

_OUTLINE = np.array([point for t in np.linspace(0, 1, 9) for point in ((t, 0), (t, 1), (0, t), (1, t))])
"""Points along the edges of the unit square."""


class Rectifier:
    """Converts images to pinhole images. The pixel maps of the last camera are cached for streams."""

    def __init__(self) -> None:
        self._source: Camera | None = None

    def __call__(self, image: np.ndarray, camera: Camera) -> tuple[np.ndarray, Camera]:
        """Rectifies an image.

        Args:
            image: (H, W, 3) image.
            camera: Its camera.

        Returns:
            The rectified image and its pinhole camera, which has the same ``k`` and size and no rotation. If
            ``camera`` is such a pinhole already, these are the arguments.
        """
        if camera.is_pinhole and np.array_equal(camera.rotation, np.eye(3)):
            return image, camera
        if self._source is None or not _same(self._source, camera):
            self._pinhole = replace(camera.undistorted(), rotation=np.eye(3))
            self._maps = rectification_maps(camera, self._pinhole)
            self._source = camera
        return rectify(image, self._maps), self._pinhole


def boxes_between(boxes: np.ndarray, source: Camera, target: Camera) -> np.ndarray:
    """Maps boxes from the image of one camera to the image of another.

    Args:
        boxes: (N, 4) boxes in the image of ``source``.
        source: Camera of the given boxes.
        target: Camera of the resulting boxes.

    Returns:
        (N, 4) bounding boxes of the mapped outlines; NaN if ``target`` sees no part of the outline of a box.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    outlines = boxes[:, None, :2] + _OUTLINE * (boxes[:, None, 2:] - boxes[:, None, :2])
    points = target.project(source.rays(outlines))
    unseen = np.isnan(points).any(axis=-1, keepdims=True)
    low = np.where(unseen, np.inf, points).min(axis=1)
    high = np.where(unseen, -np.inf, points).max(axis=1)
    result = np.concatenate([low, high], axis=-1)
    result[unseen.all(axis=(1, 2))] = np.nan
    return result


def _same(a: Camera, b: Camera) -> bool:
    return a is b or (
        (a.width, a.height, a.distortion_model) == (b.width, b.height, b.distortion_model)
        and all(np.array_equal(x, y) for x, y in ((a.k, b.k), (a.d, b.d), (a.rotation, b.rotation)))
    )
