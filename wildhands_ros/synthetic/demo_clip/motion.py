"""The motion of the two hands of the demo clip: key poses and the interpolation between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, RotationSpline

from ...hand_model.asset import HandAsset, joints_linear
from ...types import Side

FINGER_JOINTS = {"index": 1, "middle": 4, "ring": 10, "pinky": 7}
"""First joint of each finger, MANO order."""
THUMB = 13

REST_SPREAD = {"index": 4.0, "middle": 0.0, "ring": -4.0, "pinky": -9.0}
"""Degrees; positive towards the thumb."""


@dataclass(frozen=True)
class Posture:
    """A hand posture; angles in degrees.

    Each finger has the flexion of its knuckle, middle and end joint. The thumb has its rotation across the palm and
    out of the palm, and the flexion of its two other joints.
    """

    index: tuple[float, float, float]
    middle: tuple[float, float, float]
    ring: tuple[float, float, float]
    pinky: tuple[float, float, float]
    thumb: tuple[float, float, float, float]
    spread: float = 1.0
    """Factor on ``REST_SPREAD``."""

    def vector(self) -> np.ndarray:
        """Returns the posture as (17,) numbers, in the order of the fields."""
        return np.array([*self.index, *self.middle, *self.ring, *self.pinky, *self.thumb, self.spread])


FIST_FINGER = (78.0, 92.0, 52.0)
OPEN = Posture((2, 5, 3), (0, 4, 3), (2, 5, 3), (4, 6, 4), (-8, 0, 0, -4), 1.6)
RELAXED = Posture((14, 22, 10), (18, 26, 12), (22, 28, 13), (26, 28, 14), (4, 8, 8, 10), 0.9)
FIST = Posture(FIST_FINGER, FIST_FINGER, FIST_FINGER, FIST_FINGER, (22, 24, 34, 42), 0.0)
POINT = Posture((4, 6, 4), (74, 90, 50), FIST_FINGER, FIST_FINGER, (20, 24, 32, 36), 0.2)
PINCH = Posture((48, 44, 22), (30, 32, 16), (22, 26, 14), (16, 22, 12), (16, 30, 16, 22), 0.9)
CUP = Posture((36, 34, 18), (40, 36, 18), (42, 38, 20), (44, 38, 22), (10, 26, 14, 18), 1.1)


@dataclass(frozen=True)
class Key:
    """Where a hand is, and how it is posed, at a time."""

    time: float
    wrist: tuple[float, float, float]
    """Metres, camera frame."""
    fingers: tuple[float, float, float]
    """Direction in which the fingers point, of any length, camera frame."""
    palm: tuple[float, float, float]
    """Direction that the palm faces; made perpendicular to ``fingers``."""
    pose: Posture


AWAY, INWARDS, TOWARDS = (-0.15, 0.30, 0.95), (-0.95, 0.10, -0.15), (0.10, 0.05, -0.98)
"""Directions of the palm of the right hand: away from the camera, to the other hand, towards the camera."""
NEAR_AWAY = (0.15, 0.35, 0.90)

KEYS = {
    Side.RIGHT: (
        Key(0.0, (0.175, 0.165, 0.50), (-0.20, -0.92, 0.34), AWAY, RELAXED),
        Key(0.6, (0.165, 0.120, 0.47), (-0.30, -0.90, 0.30), AWAY, OPEN),
        Key(1.0, (0.170, 0.115, 0.47), (0.22, -0.92, 0.30), AWAY, OPEN),
        Key(1.4, (0.160, 0.118, 0.47), (-0.38, -0.88, 0.28), AWAY, OPEN),
        Key(1.8, (0.170, 0.120, 0.48), (0.10, -0.94, 0.30), AWAY, OPEN),
        Key(2.2, (0.175, 0.115, 0.50), (-0.15, -0.92, 0.30), AWAY, RELAXED),
        Key(2.6, (0.170, 0.110, 0.50), (-0.12, -0.95, 0.22), INWARDS, OPEN),
        Key(3.0, (0.175, 0.110, 0.50), (-0.10, -0.97, 0.12), TOWARDS, OPEN),
        Key(3.4, (0.180, 0.110, 0.51), (-0.10, -0.97, 0.12), TOWARDS, RELAXED),
        Key(3.8, (0.200, 0.112, 0.54), (-0.12, -0.94, 0.25), INWARDS, OPEN),
        Key(4.1, (0.225, 0.115, 0.60), (-0.20, -0.90, 0.30), AWAY, OPEN),
        Key(4.6, (0.280, 0.130, 0.74), (-0.45, -0.82, 0.30), AWAY, POINT),
        Key(5.2, (0.225, 0.140, 0.76), (-0.62, -0.72, 0.25), AWAY, POINT),
        Key(5.9, (0.190, 0.145, 0.60), (-0.25, -0.90, 0.30), AWAY, RELAXED),
        Key(6.2, (0.165, 0.150, 0.48), (-0.15, -0.93, 0.30), AWAY, OPEN),
    ),
    Side.LEFT: (
        Key(0.0, (-0.170, 0.170, 0.50), (0.24, -0.90, 0.34), NEAR_AWAY, OPEN),
        Key(0.7, (-0.165, 0.150, 0.47), (0.30, -0.88, 0.34), NEAR_AWAY, RELAXED),
        Key(1.3, (-0.150, 0.140, 0.44), (0.30, -0.88, 0.36), (0.45, 0.30, 0.80), PINCH),
        Key(1.9, (-0.145, 0.135, 0.43), (0.28, -0.90, 0.34), (0.35, 0.30, 0.85), CUP),
        Key(2.4, (-0.150, 0.130, 0.42), (0.28, -0.90, 0.34), (0.45, 0.30, 0.80), PINCH),
        Key(3.1, (-0.170, 0.130, 0.41), (0.20, -0.92, 0.30), NEAR_AWAY, OPEN),
        Key(3.8, (-0.235, 0.120, 0.44), (0.05, -0.95, 0.28), NEAR_AWAY, OPEN),
        Key(4.4, (-0.285, 0.110, 0.47), (-0.05, -0.95, 0.28), NEAR_AWAY, RELAXED),
        Key(5.0, (-0.225, 0.120, 0.50), (0.15, -0.94, 0.28), NEAR_AWAY, OPEN),
        Key(5.5, (-0.150, 0.135, 0.42), (0.25, -0.92, 0.28), NEAR_AWAY, OPEN),
        Key(5.9, (-0.120, 0.140, 0.36), (0.22, -0.92, 0.30), NEAR_AWAY, CUP),
        Key(6.2, (-0.135, 0.145, 0.38), (0.22, -0.92, 0.30), NEAR_AWAY, OPEN),
    ),
}

ELBOWS = {Side.RIGHT: np.array([0.30, 0.46, 0.24]), Side.LEFT: np.array([-0.30, 0.46, 0.24])}
"""Metres, camera frame. The elbows follow part of the motion of the wrists."""

DURATION = KEYS[Side.RIGHT][-1].time
"""Seconds, the same for both hands."""


class HandMotion:
    """Pose of one hand at any time of the clip, in seconds."""

    def __init__(self, asset: HandAsset, seed: int, keys: Sequence[Key]):
        """Prepares the motion of the hand of this hand model; ``seed`` determines its small random movements."""
        self.side = asset.side
        self._rest, self._duration = np.array(keys[0].wrist), keys[-1].time
        times = np.array([key.time for key in keys])
        self._wrist = PchipInterpolator(times, [key.wrist for key in keys])
        self._rotation = RotationSpline(times, Rotation.from_matrix([_rotation(key, asset.side) for key in keys]))
        self._pose = PchipInterpolator(times, [key.pose.vector() for key in keys])
        self._joints = joints_linear(asset.right_handed())[0]
        rng = np.random.default_rng(seed)
        # Small random movements as of a real hand: slow sway of the wrist, and a tremor of the fingers.
        self._sway = _Wobble(rng, 6, frequencies=(0.3, 1.3))
        self._tremor = _Wobble(rng, 17, frequencies=(0.5, 2.2))
        self._delays = rng.uniform(0, 0.07, 17)

    def wrist(self, time: float) -> np.ndarray:
        """Returns the (3,) position of the wrist joint in metres, camera frame."""
        return self._wrist(np.clip(time, 0, self._duration)) + 0.004 * self._sway(time)[:3]

    def rotation(self, time: float) -> np.ndarray:
        """Returns the (3, 3) rotation from the rest frame to the camera frame."""
        sway = Rotation.from_rotvec(0.035 * self._sway(time)[3:])
        return (sway * self._rotation(np.clip(time, 0, self._duration))).as_matrix()

    def hand_pose(self, time: float) -> np.ndarray:
        """Returns the (45,) axis-angles of the finger joints, MANO order."""
        times = np.clip(time - self._delays, 0, self._duration)
        angles = np.diagonal(self._pose(times)) + 1.6 * self._tremor(time) * (np.arange(17) < 16)
        pose = finger_rotations(angles, self._joints)
        if self.side is Side.LEFT:
            pose = pose * (1, -1, -1)
        return pose.ravel()

    def elbow(self, time: float) -> np.ndarray:
        """Returns the (3,) position of the elbow in metres, camera frame."""
        return ELBOWS[self.side] + 0.45 * (self.wrist(time) - self._rest)


def finger_rotations(angles: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Converts a posture to rotations of the finger joints of a right hand.

    Args:
        angles: (17,) degrees as in ``Posture.vector``.
        joints: (21, 3) joints of the hand at rest, MANO order.

    Returns:
        (15, 3) axis-angles, MANO order.
    """
    radians = np.radians(angles)
    pose = np.zeros((16, 3))
    palm = np.array([0.0, -1.0, 0.0])
    for finger, (name, first) in enumerate(FINGER_JOINTS.items()):
        bone = joints[first + 1] - joints[first]
        flexion = np.cross(bone, palm) / np.linalg.norm(np.cross(bone, palm))
        spread = Rotation.from_rotvec([0, np.radians(angles[16] * REST_SPREAD[name]), 0])
        for k in range(3):
            turn = Rotation.from_rotvec(flexion * radians[3 * finger + k])
            pose[first + k] = (spread * turn if k == 0 else turn).as_rotvec()
    across, out, middle, end = radians[12:16]
    bone = joints[THUMB + 1] - joints[THUMB]
    bone = bone / np.linalg.norm(bone)
    to_pinky = np.cross(bone, [0.0, -0.45, -0.9])
    to_palm = np.cross(bone, palm)
    to_pinky, to_palm = to_pinky / np.linalg.norm(to_pinky), to_palm / np.linalg.norm(to_palm)
    pose[THUMB] = (Rotation.from_rotvec(to_palm * out) * Rotation.from_rotvec(to_pinky * across)).as_rotvec()
    pose[THUMB + 1] = to_pinky * middle
    pose[THUMB + 2] = to_pinky * end
    return pose[1:]


def _rotation(key: Key, side: Side) -> np.ndarray:
    """Returns the (3, 3) wrist rotation of a key.

    At rest, the fingers of the right hand point to -x and its palm to -y; the left hand is the mirror image in x.
    """
    fingers = np.array(key.fingers) / np.linalg.norm(key.fingers)
    palm = np.array(key.palm) - np.dot(key.palm, fingers) * fingers
    palm = palm / np.linalg.norm(palm)
    x, y = (-fingers if side is Side.RIGHT else fingers), -palm
    return np.stack([x, y, np.cross(x, y)], axis=-1)


class _Wobble:
    """Smooth random functions of time with values of about -1 to 1."""

    def __init__(self, rng: np.random.Generator, count: int, frequencies: tuple[float, float]):
        self._frequencies = rng.uniform(*frequencies, (count, 3))
        self._phases = rng.uniform(0, 2 * np.pi, (count, 3))

    def __call__(self, time: float) -> np.ndarray:
        return np.sin(2 * np.pi * self._frequencies * time + self._phases).mean(axis=-1)
