"""Cameras at rest around a person who works at a desk: the hands of ``egocentric`` as several cameras see them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from ..geometry.camera import Camera
from ..geometry.pose import Pose
from .config import SPLITS, VIEWS
from .egocentric import FPS, EgocentricRecording
from .scene import Scene
from .solids import cross, unit
from .views import seen_from

SIZE = 960, 540
CENTRE = np.array([0.0, -0.33, -0.42])
"""Middle of the space in which the hands work, in the world of ``egocentric``."""
_UP = np.array([0.0, 1.0, 0.0])
_ANGLES = 50.0, 130.0
"""Degrees between the directions from the hands to any two cameras."""
_ELEVATIONS = 15.0, 70.0
"""Degrees above the horizontal at which the cameras are."""
_DISTANCES = 0.5, 1.0
"""Metres between the cameras and ``CENTRE``."""
_FIELDS_OF_VIEW = 60.0, 80.0
_OFF_CENTRE = 0.06
"""Standard deviation in metres of the point at which a camera looks."""


@dataclass(frozen=True)
class RigCamera:
    """A camera at rest."""

    camera: Camera
    pose: Pose
    """Pose of the optical frame in the world."""


class RigRecording:
    """A recording of several cameras. The same arguments always give the same images.

    Args:
        seed: Seed of the rig, the person and the motion.
        seconds: Duration.
        count: Number of cameras.
        split: Split of the synthetic world.
    """

    def __init__(self, seed: int, seconds: float, count: int = 3, split: str = "test"):
        self._recording = EgocentricRecording(seed, seconds, split)
        self._entropy = [SPLITS.index(split), crc32(b"rig"), seed]
        self._config = replace(VIEWS, split=split, distorted=0.0)
        self.cameras: list[RigCamera] = _random_cameras(count, np.random.default_rng(self._entropy))

    @property
    def num_frames(self) -> int:
        """Number of frames, at ``egocentric.FPS``."""
        return self._recording.num_frames

    def scenes(self, number: int) -> list[Scene]:
        """Returns a frame as each camera sees it, not yet rendered."""
        scene, head = self._recording.scene(number), self._recording.camera_pose(number / FPS)
        scenes = []
        for i, each in enumerate(self.cameras):
            # The same random numbers in every frame: the background is at rest.
            rng = np.random.default_rng([*self._entropy, i])
            scenes.append(seen_from(scene, each.camera, head.inverse() @ each.pose, self._config, rng))
        return scenes


def _random_cameras(count: int, rng: np.random.Generator) -> list[RigCamera]:
    cameras: list[RigCamera] = []
    directions: list[np.ndarray] = []
    while len(cameras) < count:
        around, above = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*_ELEVATIONS))
        direction = np.array([np.cos(above) * np.sin(around), np.sin(above), np.cos(above) * np.cos(around)])
        angles = [np.degrees(np.arccos(np.clip(direction @ other, -1, 1))) for other in directions]
        if any(not _ANGLES[0] <= angle <= _ANGLES[1] for angle in angles):
            continue
        directions.append(direction)
        position = CENTRE + direction * rng.uniform(*_DISTANCES)
        forward = unit(CENTRE + rng.normal(0, _OFF_CENTRE, 3) - position)
        right = unit(cross(forward, _UP))
        focal = SIZE[0] / 2 / np.tan(np.radians(rng.uniform(*_FIELDS_OF_VIEW)) / 2)
        k = np.array([[focal, 0, (SIZE[0] - 1) / 2], [0, focal, (SIZE[1] - 1) / 2], [0, 0, 1.0]])
        turn = np.column_stack([right, cross(forward, right), forward])
        cameras.append(RigCamera(Camera(k, *SIZE), Pose(turn, position)))
    return cameras
