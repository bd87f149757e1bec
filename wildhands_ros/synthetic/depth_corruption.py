"""Ways in which depth images are wrong in practice, to measure that estimates survive them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from ..geometry.depth_image import DepthImage
from ..geometry.pose import Pose
from .depth import smooth_noise
from .hand_mesh import rotation

Corruption = Callable[[DepthImage, np.ndarray, np.random.Generator], DepthImage]
"""Changes a depth image, given the (N, 3) joints of its hands in the colour camera's frame."""


def _with(image: DepthImage, depth: np.ndarray) -> DepthImage:
    return replace(image, depth=np.ascontiguousarray(depth, np.float32))


def _hand_depth(image: DepthImage, joints: np.ndarray) -> float:
    return float(np.median(image.pose.inverse().apply(joints)[:, 2]))


def _around_hands(image: DepthImage, joints: np.ndarray, margin: float) -> np.ndarray:
    """Returns (H, W) bool: pixels within ``margin`` metres of a joint."""
    points = image.pose.inverse().apply(joints)
    mask = np.zeros(image.depth.shape, np.uint8)
    for point, pixel in zip(points, image.camera.project(points), strict=True):
        if np.isfinite(pixel).all() and point[2] > 0.05:
            radius = int(np.ceil(margin * image.camera.focal / point[2]))
            cv2.circle(mask, tuple(np.clip(np.round(pixel), -10000, 10000).astype(int).tolist()), radius, (1,), -1)
    return mask.astype(bool)


def _drop(share: float) -> Corruption:
    return lambda image, joints, rng: _with(image, np.where(rng.random(image.depth.shape) < share, 0, image.depth))


def _constant(value: float) -> Corruption:
    return lambda image, joints, rng: _with(image, np.full_like(image.depth, value))


def _scaled(factor: float) -> Corruption:
    return lambda image, joints, rng: _with(image, image.depth * factor)


def _hole(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    return _with(image, np.where(_around_hands(image, joints, 0.03), 0, image.depth))


def _near_limit(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    limit = _hand_depth(image, joints) + rng.normal(0, 0.02)
    return _with(image, np.where(image.depth < limit, 0, image.depth))


def _object_in_front(share: float) -> Corruption:
    def corrupted(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
        columns = image.camera.project(image.pose.inverse().apply(joints))[:, 0]
        edge = np.nanmin(columns) - 20 + share * (np.nanmax(columns) - np.nanmin(columns) + 40)
        nearer = max(_hand_depth(image, joints) - rng.uniform(0.05, 0.15), 0.1)
        covered = np.arange(image.camera.width) < edge
        return _with(image, np.where(covered, nearer, image.depth))

    return corrupted


def _background(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    behind = _hand_depth(image, joints) + rng.uniform(0.03, 0.3)
    return _with(image, np.where(_around_hands(image, joints, 0.04), behind, image.depth))


def _flying_pixels(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    around = _around_hands(image, joints, 0.04) & (rng.random(image.depth.shape) < 0.4)
    farther = image.depth + rng.uniform(0, 0.5, image.depth.shape)
    return _with(image, np.where(around & (image.depth > 0), farther, image.depth))


def _salt_and_pepper(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    wrong = rng.random(image.depth.shape) < 0.3
    return _with(image, np.where(wrong, rng.uniform(0.1, 5, image.depth.shape), image.depth))


def _sunlight(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    kind = rng.random(image.depth.shape)
    noisy = image.depth + rng.normal(0, 0.1, image.depth.shape)
    return _with(image, np.where(kind < 0.6, 0, np.where(kind < 0.9, noisy, image.depth)))


def _noise(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    return _with(image, image.depth + 0.03 * smooth_noise(image.depth.shape, 8, rng))


def _late_sideways(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    shift = int(rng.choice([-1, 1]) * 0.08 * image.camera.focal / _hand_depth(image, joints))
    return _with(image, np.roll(image.depth, shift, axis=1))


def _late_nearer(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    moved = image.depth + np.where(_around_hands(image, joints, 0.05), rng.choice([-1, 1]) * 0.15, 0)
    return _with(image, np.where(image.depth > 0, moved, 0))


def _turned(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    wrong = Pose(rotation(rng.choice([-1, 1]) * np.radians([0, 3, 0])), np.zeros(3))
    return replace(image, pose=wrong @ image.pose)


def _displaced(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    step = rng.normal(size=3)
    return replace(image, pose=Pose(np.eye(3), 0.03 * step / np.linalg.norm(step)) @ image.pose)


def _quantised(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    return _with(image, np.round(image.depth / 0.05) * 0.05)


def _mirrored(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    return _with(image, image.depth[:, ::-1])


def _wrong_intrinsics(image: DepthImage, joints: np.ndarray, rng: np.random.Generator) -> DepthImage:
    k = image.camera.k.copy()
    k[:2, :2] *= 1.3
    return replace(image, camera=replace(image.camera, k=k))


CORRUPTIONS: dict[str, Corruption] = {
    "all zero": _constant(0.0),
    "all NaN": _constant(np.nan),
    "all infinite": _constant(np.inf),
    "all 65.535 m": _constant(65.535),
    "millimetres taken for metres": _scaled(1000.0),
    "unit of 0.25 mm taken for 1 mm": _scaled(4.0),
    "3 % too far": _scaled(1.03),
    "90 % of the pixels unknown": _drop(0.9),
    "hole at the hand": _hole,
    "nearer than the sensor's limit": _near_limit,
    "object in front of the hand": _object_in_front(1.0),
    "object in front of half the hand": _object_in_front(0.5),
    "only the background": _background,
    "flying pixels": _flying_pixels,
    "salt and pepper": _salt_and_pepper,
    "sunlight": _sunlight,
    "noise of 3 cm": _noise,
    "late, hand moved sideways": _late_sideways,
    "late, hand moved along the ray": _late_nearer,
    "depth camera turned by 3 degrees": _turned,
    "depth camera displaced by 3 cm": _displaced,
    "steps of 5 cm": _quantised,
    "mirrored": _mirrored,
    "intrinsics of another resolution": _wrong_intrinsics,
}
"""By description."""
