"""Depth images of scenes, as a stereo and as a time-of-flight camera see them.

The sensors are a simplification of real ones, with the errors that matter for hands: noise that grows with the
distance, quantisation, holes, shadows and fattened edges of stereo matching; mixed (flying) pixels and multiple paths
of time of flight; a near limit; and a calibration that is slightly wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..geometry.depth_image import DepthImage, DepthNoise
from ..geometry.pose import Pose
from .hand_mesh import rotation
from .raster import rasterise
from .scene import Scene

WALL_DISTANCES = (1.6, 4.0)
"""Metres to the wall behind a scene; images of scenes show a photograph there."""


@dataclass(frozen=True, eq=False)
class DepthSensor:
    """A depth camera beside the colour camera."""

    name: str
    camera: Camera
    pose: Pose
    """In the frame of the colour camera."""
    noise: DepthNoise
    """What the user assumes, without the bias of the calibration."""
    nearest: float
    """Metres below which nothing is measured."""
    farthest: float
    baseline: float = 0.0
    """Metres between the two lenses of a stereo camera; 0 for time of flight."""


def _pinhole(width: int, height: int, fov_degrees: float) -> Camera:
    return Camera.from_fov(width, height, float(np.radians(fov_degrees)))


_STEREO_CAMERA = _pinhole(848, 480, 87)
STEREO = DepthSensor(
    name="stereo",
    camera=_STEREO_CAMERA,
    pose=Pose(np.eye(3), np.array([0.015, 0.0, 0.0])),
    noise=DepthNoise.stereo(_STEREO_CAMERA.focal, 0.05),
    nearest=0.26,
    farthest=6.0,
    baseline=0.05,
)
"""Like an active stereo camera with two infrared lenses, 50 mm apart."""

TIME_OF_FLIGHT = DepthSensor(
    name="time_of_flight",
    camera=replace(
        _pinhole(640, 576, 75), distortion_model="rational_polynomial", d=np.array([0.4, -0.1, 0, 0, 0, 0.75, -0.12, 0])
    ),
    pose=Pose(rotation([np.radians(-5), 0, 0]), np.array([-0.032, -0.002, 0.004])),
    noise=DepthNoise.time_of_flight(),
    nearest=0.25,
    farthest=4.0,
)
"""Like an indirect time-of-flight camera, tilted relative to the colour camera."""

SENSORS = (STEREO, TIME_OF_FLIGHT)


def scene_depth(scene: Scene, camera: Camera, pose: Pose, rng: np.random.Generator) -> np.ndarray:
    """Returns the exact depth of a scene, with a wall behind it.

    Args:
        scene: The scene.
        camera: Depth camera.
        pose: Its pose in the frame of the colour camera.
        rng: Source of random numbers, for the wall.

    Returns:
        (H, W) float32 metres along the optical axis.
    """
    points = pose.inverse().apply(scene.geometry.positions)
    with np.errstate(divide="ignore"):
        nearness = np.where(points[:, 2] > 0.05, 1 / points[:, 2], np.nan)
    _, nearest = rasterise(camera.project(points), nearness, scene.geometry.faces, camera.width, camera.height)
    rays = _rays(camera)
    normal = np.array([rng.normal(0, 0.15), rng.normal(0, 0.15), -1.0])
    wall = rng.uniform(*WALL_DISTANCES) * rays[..., 2] / np.maximum(-rays @ normal, 0.2)
    return np.where(nearest > 0, 1 / np.where(nearest > 0, nearest, 1), wall).astype(np.float32)


@cache
def _rays(camera: Camera) -> np.ndarray:
    """Returns (H, W, 3) unit directions of the pixels."""
    return camera.rays(np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1))


def measure(depth: np.ndarray, sensor: DepthSensor, rng: np.random.Generator) -> np.ndarray:
    """Returns what a sensor measures: (H, W) float32 metres in steps of a millimetre, 0 where unknown.

    Args:
        depth: (H, W) float32 exact depth.
        sensor: The sensor.
        rng: Source of random numbers.
    """
    measured = _stereo(depth, sensor, rng) if sensor.baseline else _time_of_flight(depth, sensor, rng)
    measured = np.round(measured * 1000) / 1000
    known = np.isfinite(measured) & (measured >= sensor.nearest) & (measured <= sensor.farthest)
    return np.where(known, measured, 0).astype(np.float32)


def depth_image(scene: Scene, sensor: DepthSensor, rng: np.random.Generator) -> DepthImage:
    """Returns a scene as a sensor sees it, with a calibration that is off by about 1 mm and 0.1 degrees."""
    measured = measure(scene_depth(scene, sensor.camera, sensor.pose, rng), sensor, rng)
    wrong = Pose(rotation(rng.normal(0, np.radians(0.1), 3)), rng.normal(0, 0.001, 3))
    return DepthImage(measured, sensor.camera, wrong @ sensor.pose, sensor.noise)


def smooth_noise(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> np.ndarray:
    """Returns (H, W) float32 normal noise whose neighbouring pixels are alike over ``size`` pixels."""
    step = max(int(round(size)), 1)
    coarse = rng.standard_normal((-(-shape[0] // step) + 1, -(-shape[1] // step) + 1), dtype=np.float32)
    fine = cv2.resize(coarse, (coarse.shape[1] * step, coarse.shape[0] * step), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[: shape[0], : shape[1]])


def _stereo(depth: np.ndarray, sensor: DepthSensor, rng: np.random.Generator) -> np.ndarray:
    scale = sensor.camera.focal * sensor.baseline
    disparity = scale / depth
    # Matching compares windows, so that the nearer surface covers a pixel or two beyond its edge.
    matched = cv2.medianBlur(cv2.dilate(disparity, np.ones((3, 3), np.uint8)), 5)
    noise = 0.8 * smooth_noise(depth.shape, 4, rng) + 0.6 * rng.standard_normal(depth.shape, dtype=np.float32)
    calibration = rng.normal(0, 0.05)  # pixels, everywhere
    matched = np.round((matched + 0.1 * noise + calibration) * 16) / 16
    unknown = _shadowed(disparity)
    edges = cv2.dilate(disparity, np.ones((5, 5), np.uint8)) - cv2.erode(disparity, np.ones((5, 5), np.uint8)) > 3
    unknown |= edges & (smooth_noise(depth.shape, 3, rng) > 0.3)
    unknown |= smooth_noise(depth.shape, 12, rng) > 2.0
    return np.where(unknown, 0, scale / np.maximum(matched, 1e-3))


def _shadowed(disparity: np.ndarray) -> np.ndarray:
    """Returns (H, W) bool: pixels that the other lens does not see."""
    height, width = disparity.shape
    columns = np.round(np.arange(width) - disparity).astype(np.int64)
    rows = np.broadcast_to(np.arange(height)[:, None], columns.shape)
    inside = columns >= 0
    nearest = np.zeros(disparity.shape, np.float32)
    np.maximum.at(nearest, (rows[inside], columns[inside]), disparity[inside])
    hidden = ~inside
    hidden[inside] = disparity[inside] < nearest[rows[inside], columns[inside]] - 1.5
    return hidden


def _time_of_flight(depth: np.ndarray, sensor: DepthSensor, rng: np.random.Generator) -> np.ndarray:
    # At an edge a pixel receives light from both surfaces.
    mixed = cv2.blur(depth, (3, 3))
    edges = cv2.dilate(depth, np.ones((3, 3), np.uint8)) - cv2.erode(depth, np.ones((3, 3), np.uint8)) > 0.03
    measured = np.where(edges, mixed, depth)
    # Light that takes several paths between near surfaces rounds off what is hollow, such as between fingers.
    near = np.abs(measured - cv2.blur(measured, (31, 31))) < 0.06
    weight = near.astype(np.float32)
    around = cv2.blur(measured * weight, (31, 31)) / np.maximum(cv2.blur(weight, (31, 31)), 1e-3)
    measured = measured + np.where(near, 0.15 * (around - measured), 0)
    # The phase is not exactly linear in the distance.
    measured = measured + 0.0025 * np.sin(measured * 2 * np.pi / 0.75 + rng.uniform(0, 2 * np.pi))
    noise = 0.4 * smooth_noise(depth.shape, 3, rng) + 0.9 * rng.standard_normal(depth.shape, dtype=np.float32)
    measured = measured + noise * sensor.noise.stddev(depth)
    # Most of the mixed pixels are recognised as such.
    unknown = edges & (rng.random(depth.shape) < 0.6)
    unknown |= smooth_noise(depth.shape, 10, rng) > 2.3
    return np.where(unknown, 0, measured)
