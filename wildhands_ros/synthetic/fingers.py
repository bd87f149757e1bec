"""Places fingers on objects by damped least squares over the angles of one finger, compiled by Numba.

A finger is approximated by balls along its bones. Balls that penetrate the object or another finger are pushed out,
balls that should touch are pulled to the surface, and the angles stay near a posture and within the limits of
``fitting.anatomy``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np
from numba import njit

from ..fitting.anatomy import LIMITS, joint_axes
from ..fitting.kinematics import HandKinematics
from ..hand_model.asset import open_hand
from ..types import Side
from .solids import PlacedSolid, box, distance

THUMB, INDEX, MIDDLE, RING, PINKY = range(5)

RADII = np.array(
    [
        (0.0130, 0.0110, 0.0092),
        (0.0098, 0.0088, 0.0076),
        (0.0098, 0.0088, 0.0078),
        (0.0094, 0.0084, 0.0074),
        (0.0086, 0.0076, 0.0066),
    ]
)
"""Radius in metres around the three bones of each finger of the mean hand, thumb first."""
BALLS = np.array([(0, 0.45), (0, 0.8), (1, 0.2), (1, 0.55), (1, 0.9), (2, 0.4), (2, 0.72)])
"""Balls of a finger: index of the bone, and share of its length. The last ball is the pad of the fingertip."""
PAD = len(BALLS) - 1
ITERATIONS = 12
MANO_FINGERS = [INDEX, MIDDLE, PINKY, RING, THUMB]
FAR_AWAY = PlacedSolid(box(1e-3, 1e-3, 1e-3), np.eye(3), np.full(3, 1e3))
NO_BALLS = np.zeros((0, 4))


@njit(cache=True, error_model="numpy")
def _turn(axes, flexion, abduction, twist, out):
    """Computes the local rotation for the angles of one joint, as ``HandKinematics`` does."""
    sf, cf, sa, ca, st, ct = (
        np.sin(flexion),
        np.cos(flexion),
        np.sin(abduction),
        np.cos(abduction),
        np.sin(twist),
        np.cos(twist),
    )
    turn = np.empty((3, 3))
    turn[0, 0], turn[1, 0], turn[2, 0] = cf * ca, sa, -sf * ca
    turn[0, 1], turn[1, 1], turn[2, 1] = sf * st - cf * sa * ct, ca * ct, sf * sa * ct + cf * st
    turn[0, 2], turn[1, 2], turn[2, 2] = cf * sa * st + sf * ct, -ca * st, cf * ct - sf * sa * st
    for i in range(3):
        for j in range(3):
            total = 0.0
            for k in range(3):
                for m in range(3):
                    total += axes[i, k] * turn[k, m] * axes[j, m]
            out[i, j] = total


@njit(cache=True, error_model="numpy")
def _chain(angles, axes, offsets, points, frame):
    """Computes the four points of a finger. ``offsets`` (4, 3) are from the joint before, the first from the wrist."""
    local, previous = np.empty((3, 3)), np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            frame[i, j] = 1.0 if i == j else 0.0
        points[0, i] = offsets[0, i]
    for joint in range(3):
        _turn(axes[joint], angles[3 * joint], angles[3 * joint + 1], angles[3 * joint + 2], local)
        previous[:] = frame
        for i in range(3):
            for j in range(3):
                frame[i, j] = previous[i, 0] * local[0, j] + previous[i, 1] * local[1, j] + previous[i, 2] * local[2, j]
        for i in range(3):
            points[joint + 1, i] = (
                points[joint, i]
                + frame[i, 0] * offsets[joint + 1, 0]
                + frame[i, 1] * offsets[joint + 1, 1]
                + frame[i, 2] * offsets[joint + 1, 2]
            )


@njit(cache=True, error_model="numpy")
def _residuals(angles, axes, offsets, radii, balls, goal, solid, target, others, out, points, frame):
    mean, stddev, low, high, touch = goal
    profile, rotation, position = solid
    _chain(angles, axes, offsets, points, frame)
    n = 0
    for i in range(balls.shape[0]):
        bone, t, r = int(balls[i, 0]), balls[i, 1], radii[int(balls[i, 0])]
        x = points[bone, 0] + t * (points[bone + 1, 0] - points[bone, 0])
        y = points[bone, 1] + t * (points[bone + 1, 1] - points[bone, 1])
        z = points[bone, 2] + t * (points[bone + 1, 2] - points[bone, 2])
        gap = distance(profile, rotation, position, x, y, z) - r + 0.001
        # Balls should be outside the object, apart from a millimetre of soft tissue.
        out[n] = min(gap, 0.0) / 0.0012 if touch[i] == 0 else gap / (0.0012 if gap < 0 else touch[i])
        n += 1
        deepest = 0.0
        for k in range(others.shape[0]):
            dx, dy, dz = x - others[k, 0], y - others[k, 1], z - others[k, 2]
            deepest = min(deepest, np.sqrt(dx * dx + dy * dy + dz * dz) - r - others[k, 3] + 0.002)
        out[n] = deepest / 0.0015
        n += 1
    last = balls.shape[0] - 1
    t = balls[last, 1]
    for k in range(3):
        out[n] = (points[2, k] + t * (points[3, k] - points[2, k]) - target[k]) / target[3]
        n += 1
    for k in range(9):
        out[n] = (angles[k] - mean[k]) / stddev[k]
        n += 1
        out[n] = (min(angles[k] - low[k], 0.0) + max(angles[k] - high[k], 0.0)) / 0.03
        n += 1
    return n


@njit(cache=True, error_model="numpy")
def _solve(initial, axes, offsets, radii, balls, goal, solid, target, others, iterations):
    count = 2 * balls.shape[0] + 3 + 18
    points, frame = np.empty((4, 3)), np.empty((3, 3))
    residual, moved = np.empty(count), np.empty(count)
    jacobian = np.empty((count, 9))
    angles = initial.copy()
    _residuals(angles, axes, offsets, radii, balls, goal, solid, target, others, residual, points, frame)
    cost = np.sum(residual * residual)
    damping = 1.0
    for _ in range(iterations):
        for k in range(9):
            kept = angles[k]
            angles[k] = kept + 1e-4
            _residuals(angles, axes, offsets, radii, balls, goal, solid, target, others, moved, points, frame)
            angles[k] = kept
            for i in range(count):
                jacobian[i, k] = (moved[i] - residual[i]) / 1e-4
        normal = jacobian.T @ jacobian
        gradient = jacobian.T @ residual
        improved = False
        for _ in range(4):
            system = normal.copy()
            for k in range(9):
                system[k, k] += damping * (normal[k, k] * 0.1 + 1.0)
            step = np.linalg.solve(system, gradient)
            # At most 0.2 radians, because the linearisation of the distances is only valid locally.
            longest = np.max(np.abs(step))
            trial = angles - step * min(1.0, 0.2 / max(longest, 1e-9))
            _residuals(trial, axes, offsets, radii, balls, goal, solid, target, others, moved, points, frame)
            trial_cost = np.sum(moved * moved)
            if trial_cost < cost:
                improved = True
                angles, cost = trial, trial_cost
                residual[:] = moved
                damping = max(damping * 0.3, 1e-3)
                break
            damping *= 4.0
        if not improved:
            break
    _chain(angles, axes, offsets, points, frame)
    return angles, points, frame


@njit(cache=True, error_model="numpy")
def _flesh(points, radii, layout, out):
    """Computes the balls (N, 4) of a finger."""
    for i in range(layout.shape[0]):
        bone, t = int(layout[i, 0]), layout[i, 1]
        for k in range(3):
            out[i, k] = points[bone, k] + t * (points[bone + 1, k] - points[bone, k])
        out[i, 3] = radii[bone]


@njit(cache=True, error_model="numpy")
def _local_rotations(angles, axes):
    """Computes the (5, 3, 3, 3) rotations of the joints in the rest frame, and their (5, 3, 3) axis-angles."""
    rotations, vectors = np.empty((5, 3, 3, 3)), np.empty((5, 3, 3))
    for finger in range(5):
        for joint in range(3):
            a, r = angles[finger, joint], rotations[finger, joint]
            _turn(axes[finger, joint], a[0], a[1], a[2], r)
            x, y, z = 0.5 * (r[2, 1] - r[1, 2]), 0.5 * (r[0, 2] - r[2, 0]), 0.5 * (r[1, 0] - r[0, 1])
            sine, cosine = np.sqrt(x * x + y * y + z * z), 0.5 * (r[0, 0] + r[1, 1] + r[2, 2] - 1)
            factor = np.arctan2(sine, cosine) / sine if sine > 1e-12 else 1.0
            vectors[finger, joint, 0], vectors[finger, joint, 1], vectors[finger, joint, 2] = (
                factor * x,
                factor * y,
                factor * z,
            )
    return rotations, vectors


class FingerSolver:
    """Places the five fingers of a right hand, in its rest frame with the wrist joint at the origin."""

    def __init__(self, betas: np.ndarray):
        """Creates a flat hand of a shape, (10,) betas."""
        kinematics = _kinematics()
        rest = kinematics.rest_joints + kinematics.rest_dirs @ betas
        rest = rest - rest[0]
        chain = rest[1:].reshape(5, 4, 3)
        self._offsets = np.diff(chain, axis=1, prepend=np.zeros((5, 1, 3)))
        self._axes = _axes()
        self.size = float(
            np.linalg.norm(rest[9]) / np.linalg.norm(kinematics.rest_joints[9] - kinematics.rest_joints[0])
        )
        """Size of this hand over that of the mean hand."""
        self.radii = RADII * self.size * (1 + 0.08 * betas[8])
        self.angles = np.zeros((5, 3, 3))
        """Radians: finger (thumb first), joint, (flexion, abduction, twist)."""
        self.points = np.zeros((5, 4, 3))
        """Joints and tips of each finger."""
        self.frames = np.zeros((5, 3, 3))
        """Global rotation of each finger's last bone."""
        self._balls = np.zeros((5, len(BALLS), 4))
        for finger in range(5):
            self.set(finger, self.angles[finger])

    def set(self, finger: int, angles: np.ndarray) -> None:
        """Sets the angles of a finger, (3, 3) radians."""
        self.angles[finger] = angles
        _chain(
            self.angles[finger].ravel(),
            self._axes[finger],
            self._offsets[finger],
            self.points[finger],
            self.frames[finger],
        )
        _flesh(self.points[finger], self.radii[finger], BALLS, self._balls[finger])

    def pad(self, finger: int) -> np.ndarray:
        """Returns the (3,) centre of the ball of the pad of a fingertip."""
        return self.points[finger, 2] + BALLS[PAD, 1] * (self.points[finger, 3] - self.points[finger, 2])

    def pad_radius(self, finger: int) -> float:
        """Returns the radius of that ball."""
        return float(self.radii[finger, 2])

    def balls(self, fingers: Iterable[int]) -> np.ndarray:
        """Returns the (N, 4) centres and radii of the balls of these fingers."""
        return self._balls[list(fingers)].reshape(-1, 4)

    def solve(
        self,
        finger: int,
        posture: np.ndarray,
        solid: PlacedSolid = FAR_AWAY,
        touch: dict[int, float] | None = None,
        target: np.ndarray | None = None,
        stiffness: float = 1.0,
        others: np.ndarray = NO_BALLS,
        initial: np.ndarray | None = None,
    ) -> None:
        """Places one finger on a solid.

        Args:
            finger: The finger.
            posture: (3, 3) radians; the angles stay near this posture.
            solid: The solid to touch or to stay out of.
            touch: Balls that are pulled to the surface: index in ``BALLS`` to standard deviation in metres.
            target: (3,) target of the ball of the pad, with a standard deviation of 2 mm.
            stiffness: Factor on the strength of ``posture``.
            others: (N, 4) balls to stay out of.
            initial: (3, 3) initial angles; None for ``posture``.
        """
        rows = slice(3 * finger, 3 * finger + 3)
        stddev = np.minimum(LIMITS.stddev[rows], np.radians(22)) / stiffness
        pulls = np.zeros(len(BALLS))
        for ball, looseness in (touch or {}).items():
            pulls[ball] = looseness
        goal = (posture.ravel(), stddev.ravel(), LIMITS.low[rows].ravel(), LIMITS.high[rows].ravel(), pulls)
        aim = np.array([0.0, 0, 0, 1e3]) if target is None else np.array([*target, 0.002])
        begin = np.clip(posture if initial is None else initial, LIMITS.low[rows], LIMITS.high[rows]).ravel()
        angles, _, _ = _solve(
            begin,
            self._axes[finger],
            self._offsets[finger],
            self.radii[finger],
            BALLS,
            goal,
            solid.shape,
            aim,
            others,
            ITERATIONS,
        )
        self.set(finger, angles.reshape(3, 3))

    def hand_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns (45,) axis-angles and (15, 3, 3) local rotations, MANO order."""
        rotations, vectors = _local_rotations(self.angles, self._axes)
        return vectors[MANO_FINGERS].ravel(), rotations[MANO_FINGERS].reshape(15, 3, 3)


@cache
def _axes() -> np.ndarray:
    return joint_axes(_kinematics().rest_joints).reshape(5, 3, 3, 3)


@cache
def _kinematics() -> HandKinematics:
    return HandKinematics(open_hand(Side.RIGHT))
