"""Checks and refines the poses of cameras by the hands that they see together.

The rays of two cameras to the same joint meet. How far they miss each other, along the direction perpendicular to both,
tells how far the pose of one camera is off. What moves a hand within the plane of both rays remains unseen, such as a
shift along the line between the cameras. Hands whose depth both cameras have measured tell that too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from ..geometry.pose import Pose
from .multiview_fit import HandView, triangulated

WINDOW = 5.0
"""Seconds of hands that are checked."""
INTERVAL = 0.1
"""Least seconds between two moments of one hand that are kept of a pair of cameras."""
LEAST_MOTION = 0.015
"""Metres between any two hands that are kept: of a hand at rest the keypoints are wrong in the same way all the
time."""
_ONE_HAND = 0.12
"""Metres by which one hand moves at most within ``INTERVAL``; what is farther away is another hand."""
WRONG, WRONG_WITH_DEPTH = 2.4, 3.6
"""Significance of a correction (see ``PairCorrection``) above which the extrinsics are wrong, by rays alone and with
depth. Chosen with the split val of ``wildhands evaluate multiview --rigs``, where right ones had at most 3.5 with depth
in 24 times 5 s."""
_FEWEST = 10
"""Least number of hands for a check."""
_ALIKE = 60.0
"""Number of ray distances that count as one: keypoints of a hand, and of the same hand a moment later, are wrong
together."""
_PRIOR = (np.radians(3.0), 0.03)
"""Standard deviation of a camera's pose, radians and metres."""
_USUAL_ERROR = (np.radians(1.0), 0.01)
"""The same of an error that is to be noticed: what only a large error would explain rather is the keypoints'."""
_LEAST_SINE = 0.1
"""Least sine of the angle between two rays; the perpendicular of parallel ones is unknown."""
_ROBUST = 2.0
"""Number of standard deviations at which Geman and McClure's weights have fallen to a quarter."""
_ITERATIONS = 5


@dataclass(frozen=True)
class SharedHand:
    """A hand that two cameras see at the same time."""

    stamp: float
    first: HandView
    second: HandView

    @cached_property
    def centre(self) -> np.ndarray:
        """(3,) mean of the triangulated keypoints."""
        return np.asarray(np.nanmean(triangulated((self.first, self.second)), axis=0))


@dataclass(frozen=True)
class PairCorrection:
    """How the pose of the second camera of a pair should change, if that of the first is right."""

    rotation: np.ndarray
    """(3,) rotation vector in the common frame, about the camera."""
    shift: np.ndarray
    """(3,) metres in the common frame."""
    significance: float
    """How much better the rays meet after the correction by an error of the usual size, in units of their variance."""
    miss_before: float
    """Median distance of the rays in metres."""
    miss_after: float
    hands: int
    """Number of hands that it follows from."""
    has_depth: bool
    """Whether both cameras have measured the depth of any of them."""

    @property
    def is_wrong(self) -> bool:
        """Whether the pose of one of the cameras is wrong."""
        return self.significance > (WRONG_WITH_DEPTH if self.has_depth else WRONG)

    def apply(self, pose: Pose) -> Pose:
        """Returns the corrected pose of the second camera in the common frame."""
        return Pose(_rotation(self.rotation) @ pose.rotation, pose.position + self.shift)


class _Misses(NamedTuple):
    """How far apart two cameras see a hand: rays to its joints and, if its depth was measured, the three coordinates
    of its centre, N distances in all."""

    distances: np.ndarray
    """(N,) metres from the first to the second: along the direction perpendicular to both rays, or along an axis."""
    by_first: np.ndarray
    """(N, 6) derivatives by a rotation and a shift of the first camera."""
    by_second: np.ndarray
    """(N, 6) the same for the second camera."""
    stddev: np.ndarray
    """(N,) of the distances."""
    joints: np.ndarray
    """(N,) number of joints from which a distance follows."""


def correction(hands: Sequence[SharedHand]) -> PairCorrection | None:
    """Returns how the second camera's pose should change; None if too few hands are known."""
    if len(hands) < _FEWEST:
        return None
    parts = [_misses(hand) for hand in hands]
    distances, _, jacobian, stddev, joints = (np.concatenate(values) for values in zip(*parts, strict=True))
    prior = np.diag(np.repeat(1 / np.square(_PRIOR), 3))
    step, _ = _solved(distances, jacobian, stddev, joints, prior)
    usual = np.diag(np.repeat(1 / np.square(_USUAL_ERROR), 3))
    likely, information = _solved(distances, jacobian, stddev, joints, usual)
    return PairCorrection(
        rotation=step[:3],
        shift=step[3:],
        significance=float(likely @ information @ likely),
        miss_before=float(np.median(np.abs(distances))),
        miss_after=float(np.median(np.abs(distances + jacobian @ step))),
        hands=len(hands),
        has_depth=any(hand.first.stddev is not None and hand.second.stddev is not None for hand in hands),
    )


class ExtrinsicsMonitor:
    """Collects the hands that pairs of cameras see together, and checks the cameras' poses with them.

    Args:
        window: Seconds for which hands are kept.
    """

    def __init__(self, window: float = WINDOW):
        self._window = window
        self._shared: dict[tuple[str, str], deque[SharedHand]] = {}

    @property
    def shared(self) -> dict[tuple[str, str], list[SharedHand]]:
        """The hands of each pair of cameras."""
        return {pair: list(hands) for pair, hands in self._shared.items()}

    def add(self, stamp: float, views: Mapping[str, HandView]) -> None:
        """Adds one hand as several cameras see it at the same time."""
        for pair in combinations(sorted(views), 2):
            shared = self._shared.setdefault(pair, deque())
            if shared and stamp < shared[-1].stamp:
                shared.clear()  # The clock was set back.
            while shared and stamp - shared[0].stamp > self._window:
                shared.popleft()
            hand = SharedHand(stamp, views[pair[0]], views[pair[1]])
            if _is_new(hand, shared):
                shared.append(hand)

    def corrections(self) -> dict[tuple[str, str], PairCorrection]:
        """Returns the correction of each pair of cameras that has seen enough hands."""
        found = {pair: correction(list(shared)) for pair, shared in self._shared.items()}
        return {pair: value for pair, value in found.items() if value is not None}

    def reset(self) -> None:
        """Forgets all hands, as when a camera has got another pose."""
        self._shared.clear()


def refined_poses(poses: Mapping[str, Pose], shared: Mapping[tuple[str, str], Sequence[SharedHand]]) -> dict[str, Pose]:
    """Refines the poses of cameras; the first one keeps its pose.

    Args:
        poses: Pose of each camera in the common frame.
        shared: The hands that each pair of cameras has seen, in that frame.

    Returns:
        The poses of the cameras that the hands connect with the first one.
    """
    names = list(poses)
    order = {name: 6 * number for number, name in enumerate(names)}
    equations = []
    for (first, second), hands in shared.items():
        for hand in hands:
            misses = _misses(hand)
            rows = np.zeros((len(misses.distances), 6 * len(names)))
            rows[:, order[first] : order[first] + 6] = misses.by_first
            rows[:, order[second] : order[second] + 6] = misses.by_second
            equations.append((misses.distances, rows, misses.stddev, misses.joints))
    if not equations:
        return {names[0]: poses[names[0]]}
    distances, rows, stddev, joints = (np.concatenate(part) for part in zip(*equations, strict=True))
    prior = np.diag(np.tile(np.repeat(1 / np.square(_PRIOR), 3), len(names)))
    prior[:6, :6] += 1e12 * np.eye(6)
    step, _ = _solved(distances, rows, stddev, joints, prior)
    connected = {names[0]} | {name for pair, hands in shared.items() if hands for name in pair}
    return {
        name: Pose(
            _rotation(step[order[name] : order[name] + 3]) @ poses[name].rotation,
            poses[name].position + step[order[name] + 3 : order[name] + 6],
        )
        for name in names
        if name in connected
    }


def _solved(
    distances: np.ndarray, jacobian: np.ndarray, stddev: np.ndarray, joints: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the (P,) changes of the poses that bring the hands together, and their (P, P) information without prior.

    Args:
        distances: (N,) as in ``_Misses``, like ``stddev`` and ``joints``.
        jacobian: (N, P) derivatives of the distances.
        stddev: (N,).
        joints: (N,).
        prior: (P, P) information.
    """
    step, information = np.zeros(len(prior)), np.zeros_like(prior)
    for _ in range(_ITERATIONS):
        whitened = (distances + jacobian @ step) / stddev
        weights = joints / (1 + (whitened / _ROBUST) ** 2) ** 2 / stddev**2 / _ALIKE
        weighted = (jacobian * weights[:, None]).T
        information = weighted @ jacobian
        step = -np.linalg.solve(information + prior, weighted @ distances)
    return step, information


def _misses(hand: SharedHand) -> _Misses:
    first, second = hand.first, hand.second
    normals = np.cross(first.rays, second.rays)
    sines = np.linalg.norm(normals, axis=1)
    points = triangulated((first, second))
    known = np.isfinite(points).all(1) & (sines > _LEAST_SINE)
    normals, points = normals[known] / sines[known, None], points[known]
    arms = [points - view.origin for view in (first, second)]
    by_first, by_second = (np.concatenate([np.cross(arm, normals), normals], axis=1) for arm in arms)
    spread = [view.sigma * np.linalg.norm(arm, axis=1) for view, arm in zip((first, second), arms, strict=True)]
    rays = _Misses(
        normals @ (second.origin - first.origin), -by_first, by_second, np.hypot(*spread), np.ones(len(normals))
    )
    if first.stddev is None or second.stddev is None:
        return rays
    centres = [view.joints.mean(axis=0) for view in (first, second)]
    axes = np.eye(3)
    of_first, of_second = (
        np.concatenate([np.cross(centre - view.origin, axes), axes], axis=1)
        for view, centre in zip((first, second), centres, strict=True)
    )
    stddev = np.full(3, np.hypot(first.stddev, second.stddev))
    depth = _Misses(centres[1] - centres[0], -of_first, of_second, stddev, np.full(3, 21.0))
    return _Misses(*(np.concatenate(pair) for pair in zip(rays, depth, strict=True)))


def _is_new(hand: SharedHand, kept: Iterable[SharedHand]) -> bool:
    """Returns whether a hand tells more than those that are kept: it is in another place, or another hand."""
    for other in kept:
        distance = float(np.linalg.norm(hand.centre - other.centre))
        soon = hand.stamp - other.stamp < INTERVAL
        if distance < LEAST_MOTION or (soon and distance < _ONE_HAND):
            return False
    return True


def _rotation(vector: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(vector).as_matrix()
