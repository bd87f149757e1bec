"""Random postures of a hand with the object that it holds, for each class of ``Grasp``.

Everything is in the rest frame of a right wrist: fingers to -x, palm to -y, thumb side to +z, wrist joint at the
    origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from ..fitting.anatomy import LIMITS
from ..hand_model.asset import open_hand
from ..types import Grasp, Side
from . import objects
from .fingers import INDEX, MIDDLE, PAD, PINKY, RING, THUMB, FingerSolver
from .objects import SceneObject
from .solids import PlacedSolid, box, cross, cylinder, distance, unit

ALL_FINGERS = (INDEX, MIDDLE, RING, PINKY)
SPREAD = {INDEX: 4.0, MIDDLE: 0.0, RING: -4.0, PINKY: -9.0}
"""Degrees of abduction of a spread hand; positive towards the thumb."""

GESTURES = (
    # Flexion of index, middle, ring, pinky (knuckle, middle, end joint); thumb (CMC flexion, abduction, twist, MCP,
    # IP); spread.
    ((2, 5, 3), (0, 4, 3), (2, 5, 3), (4, 6, 4), (-10, 0, 0, 0, 0), 1.8),  # open
    ((14, 22, 10), (18, 26, 12), (22, 28, 13), (26, 28, 14), (5, 5, 0, 10, 12), 0.8),  # relaxed
    ((75, 92, 55), (78, 94, 55), (78, 94, 55), (76, 92, 50), (28, 12, 5, 35, 40), 0.0),  # fist
    ((5, 8, 5), (72, 90, 50), (76, 92, 52), (74, 90, 50), (28, 12, 5, 32, 38), 0.2),  # pointing
    ((5, 8, 5), (5, 6, 4), (70, 90, 50), (70, 88, 48), (28, 15, 8, 32, 38), 2.2),  # two
    ((70, 92, 52), (75, 94, 55), (75, 94, 55), (72, 90, 50), (-18, 0, -5, -5, -8), 0.0),  # thumb up
    ((45, 45, 22), (18, 16, 8), (12, 12, 8), (8, 12, 6), (22, 25, 15, 18, 25), 1.5),  # ring of thumb and index
    ((36, 34, 18), (40, 36, 18), (42, 38, 20), (44, 38, 22), (15, 18, 8, 12, 15), 0.8),  # cup
    ((10, 70, 45), (10, 72, 45), (12, 72, 45), (14, 70, 42), (10, 5, 0, 15, 25), 0.3),  # hook
    ((0, 4, 3), (0, 3, 3), (0, 4, 3), (0, 5, 4), (20, 5, 0, 25, 25), 0.0),  # fingers together
    ((8, 10, 6), (74, 92, 50), (76, 92, 52), (6, 8, 5), (25, 12, 5, 30, 35), 1.0),  # horns
    ((30, 20, 10), (28, 18, 10), (30, 20, 10), (32, 22, 12), (12, 10, 0, 10, 10), 1.0),  # typing
)
OPPOSED = np.radians(np.array([(12, 28, 22), (15, 0, 0), (15, 0, 0)], dtype=np.float64))
"""Thumb in opposition to the fingers: flexion, abduction and twist of its three joints."""


@dataclass(frozen=True, eq=False)
class HandAction:
    """A posed right hand and the objects that it holds or touches."""

    grasp: Grasp
    hand_pose: np.ndarray
    """(45,) axis-angle, MANO order."""
    rotations: np.ndarray
    """(15, 3, 3) the same as matrices."""
    objects: tuple[SceneObject, ...]
    balls: np.ndarray
    """(N, 4) centres and radii of balls that approximate the hand."""


def act(grasp: Grasp, betas: np.ndarray, family: str, rng: np.random.Generator) -> HandAction:
    """Returns a random hand of a grasp class.

    Args:
        grasp: The grasp class.
        betas: (10,) shape of the hand.
        family: One of ``objects.FAMILIES``.
        rng: Source of random numbers.
    """
    solver = FingerSolver(betas)
    held = _ACTIONS[grasp](solver, family, rng)
    return _action(grasp, solver, held)


def pinch(betas: np.ndarray, rng: np.random.Generator) -> HandAction:
    """Returns a hand without an object whose thumb touches the tip of a finger, or is up to 3 cm away from it.

    Args:
        betas: (10,) shape of the hand.
        rng: Source of random numbers.
    """
    solver = FingerSolver(betas)
    finger = int(rng.choice(ALL_FINGERS, p=(0.55, 0.25, 0.1, 0.1)))
    gap = rng.uniform(0, 0.03) if rng.random() < 0.5 else 0.0
    centre, across = _opposition(solver, rng, gap)
    centre[2] -= 0.012 * (finger - INDEX)
    bend = np.radians(rng.uniform(35, 50))
    posture = np.array([(bend, 0, 0), (0.9 * bend, 0, 0), (0.45 * bend, 0, 0)])
    target = centre + across * (gap / 2 + solver.pad_radius(finger))
    solver.solve(finger, posture, target=target, stiffness=0.4)
    # The pad of the finger is not exactly where it should be.
    target = solver.pad(finger) - across * (gap + solver.pad_radius(finger) + solver.pad_radius(THUMB))
    solver.solve(THUMB, OPPOSED + _noise(rng, 4), target=target, stiffness=0.2)
    curl = rng.uniform(0, 1)
    for other in ALL_FINGERS:
        if other != finger:
            posture = _beside(other, curl) + _noise(rng, 4)
            solver.solve(other, posture, others=solver.balls((THUMB, finger)))
    return _action(Grasp.NO_GRASP, solver, ())


def _action(grasp: Grasp, solver: FingerSolver, held: tuple[SceneObject, ...]) -> HandAction:
    hand_pose, rotations = solver.hand_pose()
    balls = np.concatenate([solver.balls(range(5)), _palm_balls(solver.size)])
    return HandAction(grasp, hand_pose, rotations, held, balls)


def _beside(finger: int, curl: float) -> np.ndarray:
    """Returns the (3, 3) radians of a finger that takes no part: extended (0) to curled (1)."""
    return np.radians([(18 + 45 * curl, 0.5 * SPREAD[finger], 0), (22 + 60 * curl, 0, 0), (12 + 30 * curl, 0, 0)])


# --- no grasp


def _no_grasp(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    if rng.random() < 0.3:
        angles = np.clip(rng.normal(LIMITS.mean, 0.8 * LIMITS.stddev), LIMITS.low, LIMITS.high).reshape(5, 3, 3)
        # Neighbouring fingers flex together.
        common = rng.normal(0, 0.8, (1, 3)) * LIMITS.stddev[3:6, 0]
        angles[1:, :, 0] = LIMITS.mean[3:6, 0] + common + 0.45 * (angles[1:, :, 0] - LIMITS.mean[3:6, 0])
    else:
        first, second = (_gesture(GESTURES[rng.integers(len(GESTURES))]) for _ in range(2))
        mix = rng.beta(0.4, 0.4)
        angles = first + mix * (second - first)
        angles += rng.normal(0, np.radians(1), (5, 3, 3)) * (5, 3, 2) * rng.uniform(0.4, 1.6)
    angles = _within_limits(angles)
    for finger in (MIDDLE, INDEX, RING, PINKY, THUMB):
        # Only fingers that intersect the fingers before them are moved.
        before = {MIDDLE: (), INDEX: (MIDDLE,), RING: (MIDDLE,), PINKY: (RING,), THUMB: ALL_FINGERS}[finger]
        others = solver.balls(before)
        if finger == THUMB:
            others = np.concatenate([others, _palm_balls(solver.size)[4:]])
        solver.set(finger, angles[finger])
        if overlap(solver.balls((finger,)), others) > 0.002:
            solver.solve(finger, angles[finger], others=others, stiffness=0.5)
    return ()


def _gesture(rows) -> np.ndarray:
    """Converts a row of ``GESTURES`` to (5, 3, 3) radians."""
    *fingers, thumb, spread = rows
    angles = np.zeros((5, 3, 3))
    angles[1:, :, 0] = fingers
    angles[1:, 0, 1] = [spread * SPREAD[finger] for finger in ALL_FINGERS]
    angles[0, 0] = thumb[:3]
    angles[0, 1, 0], angles[0, 2, 0] = thumb[3:]
    return np.radians(angles)


def _within_limits(angles: np.ndarray) -> np.ndarray:
    return np.clip(angles, LIMITS.low.reshape(5, 3, 3), LIMITS.high.reshape(5, 3, 3))


# --- power


def _power_prismatic(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    held = objects.bar(rng, family)
    slant = np.radians(rng.uniform(-8, 38))
    axis = np.array([-np.sin(slant), rng.normal(0, 0.08), np.cos(slant)])
    rotation = _frame(axis if rng.random() < 0.75 or len(held) > 1 else -axis, rng.uniform(0, 2 * np.pi))
    # Held anywhere along its length. The head of a tool is beyond the thumb.
    half = held[0].solid.profile.max() if held[0].solid.is_box else held[0].solid.profile[:, 1].max()
    along = rng.uniform(-0.35, 0.35) * half if len(held) == 1 else rng.uniform(0.0, 0.3) * half
    centre = (
        np.array([rng.uniform(-0.080, -0.062), -0.05, rng.uniform(-0.004, 0.006)]) * solver.size
        + along * rotation[:, 1]
    )
    held = _laid_into_palm(objects.placed(held, rotation, centre), solver.size)
    bend = np.radians(rng.uniform(20, 40))
    for finger in ALL_FINGERS:
        posture = np.array([(bend, np.radians(0.3 * SPREAD[finger]), 0), (bend, 0, 0), (0.6 * bend, 0, 0)])
        solver.solve(
            finger, posture, held[0], {1: 0.006, 3: 0.004, 5: 0.004, PAD: 0.004}, stiffness=0.6, initial=0.6 * posture
        )
    posture = OPPOSED + _noise(rng, 6)
    if rng.random() < 0.2:  # the thumb along the handle
        posture = np.radians(np.array([(0, 5, 0), (0, 0, 0), (0, 0, 0)], dtype=np.float64)) + _noise(rng, 6)
    solver.solve(THUMB, posture, held[0], {5: 0.006, PAD: 0.003}, stiffness=0.7, others=solver.balls((INDEX, MIDDLE)))
    return (held,)


def _power_circular(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    centre = np.array([rng.uniform(-0.096, -0.078), -0.06, rng.uniform(0.0, 0.012)]) * solver.size
    if rng.random() < 0.3:
        held = objects.disc(rng, 0.030, 0.046)
        axis = np.array([rng.normal(0, 0.15), -1, rng.normal(0, 0.15)])
    else:
        held = objects.ball(rng, family, 0.026, 0.046)
        axis = rng.normal(size=3)
    held = _laid_into_palm(objects.placed(held, _frame(axis, 0), centre), solver.size)
    bend = np.radians(rng.uniform(10, 25))
    spread = rng.uniform(1.2, 2.4)
    for finger in ALL_FINGERS:
        posture = np.array([(bend, np.radians(spread * SPREAD[finger]), 0), (1.3 * bend, 0, 0), (bend, 0, 0)])
        solver.solve(finger, posture, held[0], {3: 0.006, 5: 0.004, PAD: 0.003}, stiffness=0.6, initial=0.6 * posture)
    posture = np.radians(np.array([(5, 30, 15), (5, 0, 0), (10, 0, 0)], dtype=np.float64)) + _noise(rng, 6)
    solver.solve(
        THUMB, posture, held[0], {3: 0.008, 5: 0.005, PAD: 0.003}, stiffness=0.6, others=solver.balls((INDEX,))
    )
    return (held,)


# --- precision


def _opposition(solver: FingerSolver, rng: np.random.Generator, wide: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the fingertips meet, and the unit direction from the pad of the thumb to those of the fingers.

    ``wide`` is the thickness of the object.
    """
    centre = np.array([-0.094 - 0.25 * wide, -0.056, 0.030]) * solver.size + rng.normal(0, 0.005, 3)
    return centre, unit(np.array([-0.72, -0.10, -0.45]) + rng.normal(0, 0.12, 3))


def _precision_prismatic(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    held = objects.stick(rng, family)
    profile = held[0].solid.profile
    wide = 2 * float(profile[0, 0] if held[0].solid.is_box else profile[:, 0].max())
    centre, across = _opposition(solver, rng, wide)
    # The long axis is perpendicular to the opposition: along the row of fingertips, or like a pen.
    row = np.array([0.25, -0.15, 0.95]) if rng.random() < 0.5 else np.array([0.1, -0.9, 0.35])
    axis = row + rng.normal(0, 0.25, 3)
    axis = unit(axis - axis @ across * across)
    rotation = np.column_stack([across, axis, cross(across, axis)])
    length = float(profile[0, 1] if held[0].solid.is_box else profile[:, 1].max())
    object_centre = centre + axis * rng.uniform(-0.5, 0.7) * length
    held = objects.placed(held, rotation, object_centre)
    fingers = (INDEX, MIDDLE) if rng.random() < 0.65 else ((INDEX,) if rng.random() < 0.5 else (INDEX, MIDDLE, RING))
    _pinch(solver, rng, held[0], centre, across, wide / 2, fingers, [0.0, 0.016, 0.032], axis)
    return (held,)


def _precision_circular(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    held = objects.disc(rng, 0.008, 0.034) if rng.random() < 0.4 else objects.ball(rng, family, 0.006, 0.030)
    wide = 2 * float(held[0].solid.profile[:, 0].max())
    centre, across = _opposition(solver, rng, wide)
    # A disc is held by its rim, with its axis along the direction of approach.
    approach = np.array([-0.45, -0.85, 0.1]) + rng.normal(0, 0.25, 3)
    axis = unit(approach - approach @ across * across)
    held = objects.placed(held, np.column_stack([across, axis, cross(across, axis)]), centre)
    fingers = (INDEX, MIDDLE, RING, PINKY)[: int(np.clip(round(1.3 + wide / 0.014 + rng.normal(0, 0.5)), 1, 4))]
    step = min(0.018, 0.75 * wide + 0.006)
    _pinch(
        solver,
        rng,
        held[0],
        centre,
        across,
        wide / 2,
        fingers,
        [-0.4 * step, 0.6 * step, 1.4 * step, 2.0 * step],
        cross(across, axis),
    )
    return (held,)


def _pinch(solver, rng, held: PlacedSolid, centre, across, half, fingers, places, row) -> None:
    """Places the thumb opposite to ``fingers`` around ``held``.

    ``places`` are the metres of each finger along ``row``, which points towards the little finger.
    """
    row = row if row[2] < 0 else -row
    bend = np.radians(rng.uniform(35, 50))
    for finger, place in zip(fingers, places, strict=False):
        target = centre + across * (half + solver.pad_radius(finger)) + place * row
        posture = np.array([(bend, 0, 0), (0.9 * bend, 0, 0), (0.45 * bend, 0, 0)])
        solver.solve(finger, posture, held, {PAD: 0.002}, target if place < half + 0.02 else None, stiffness=0.4)
    target = centre - across * (half + solver.pad_radius(THUMB))
    others = solver.balls(fingers)
    solver.solve(THUMB, OPPOSED + _noise(rng, 4), held, {PAD: 0.002}, target, stiffness=0.35, others=others)
    # The other fingers are extended or curled.
    curl = rng.uniform(0, 1)
    for finger in ALL_FINGERS:
        if finger not in fingers:
            posture = _beside(finger, curl) + _noise(rng, 4)
            solver.solve(finger, posture, held, others=solver.balls((THUMB, finger - 1)))


def _lateral(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    curl = rng.uniform(0.55, 1.0)
    for finger in ALL_FINGERS:
        angles = np.radians(
            [
                (48 * curl + 6 * (finger - 1), 0.2 * SPREAD[finger], 0),
                (72 * curl + 5 * (finger - 1), 0, 0),
                (38 * curl, 0, 0),
            ]
        )
        solver.set(finger, _within_limits(np.stack([np.zeros((3, 3)), *[angles] * 4]) + _noise(rng, 3))[1])
    # The radial side of the middle bone of the index finger.
    bone = unit(solver.points[INDEX, 2] - solver.points[INDEX, 1])
    side = np.array([0.0, 0.25, 1.0])
    side = unit(side - side @ bone * bone)
    place = solver.points[INDEX, 1] + rng.uniform(0.5, 1.0) * (solver.points[INDEX, 2] - solver.points[INDEX, 1])
    held = objects.card(rng) if family == "plain" or rng.random() < 0.7 else objects.tool(rng, 0.004)
    solid = held[0].solid
    wide = float(solid.profile[0, 0] if solid.is_box else solid.profile[:, 0].max())
    touch = place + side * float(solver.radii[INDEX, 1])
    # The object extends beyond the thumb, away from the palm.
    out = np.array([-0.8, rng.normal(-0.1, 0.35), 0.0])
    out = unit(out - out @ side * side)
    rotation = np.column_stack([side, out, cross(side, out)])
    length = float(solid.profile[0, 1] if solid.is_box else solid.profile[:, 1].max())
    held = objects.placed(held, rotation, touch + side * wide + out * rng.uniform(0.45, 0.85) * length)
    target = touch + side * (2 * wide + solver.pad_radius(THUMB))
    posture = np.radians(np.array([(12, 0, 0), (15, 0, 0), (18, 0, 0)], dtype=np.float64)) + _noise(rng, 4)
    solver.solve(THUMB, posture, held[0], {PAD: 0.002}, target, stiffness=0.35, others=solver.balls((INDEX,)))
    return (held,)


# --- touching and other


def _palm_on(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    """Pushing, leaning on or carrying an object with the flat hand."""
    if rng.random() < 0.75:
        held = objects.slab(rng)
        low = held[0].solid.profile[0, 1]
        tilt = np.array([rng.normal(0, 0.06), 1.0, rng.normal(0, 0.06)])
        rotation = _frame(tilt, rng.uniform(0, 2 * np.pi))
        centre = np.array([rng.uniform(-0.11, -0.06), -low - 0.03, rng.uniform(-0.03, 0.03)])
    else:
        held = objects.ball(rng, family, 0.07, 0.13)
        rotation = _frame(rng.normal(size=3), 0)
        centre = np.array([rng.uniform(-0.10, -0.06), -held[0].solid.extent - 0.03, 0.0])
    held = _laid_into_palm(objects.placed(held, rotation, centre), solver.size)
    spread = rng.uniform(0.2, 2.0)
    flat = rng.uniform(0, 1)
    for finger in ALL_FINGERS:
        posture = np.radians([(6 * flat, spread * SPREAD[finger], 0), (8 * flat, 0, 0), (5 * flat, 0, 0)])
        solver.solve(finger, posture, held[0], {PAD: 0.004})
    posture = np.radians(np.array([(rng.uniform(-15, 5), rng.uniform(-5, 20), 0), (0, 0, 0), (2, 0, 0)])) + _noise(
        rng, 4
    )
    solver.solve(THUMB, posture, held[0], {PAD: 0.010}, others=solver.balls((INDEX,)))
    return (held,)


def _fingertip_on(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    """Pressing, touching, typing."""
    if rng.random() < 0.55:
        angles = _gesture(GESTURES[3])
        angles[1, :, 0] = np.radians([rng.uniform(5, 65), rng.uniform(5, 40), rng.uniform(0, 20)])
        tips: tuple[int, ...] = (INDEX,)
    else:
        angles = _gesture(GESTURES[11])
        angles[1:, 0, 0] += np.radians(rng.uniform(-12, 15))
        angles[1:, 1, 0] += np.radians(rng.uniform(-10, 25))
        tips = ALL_FINGERS
    angles = _within_limits(angles + _noise(rng, 3)[None])
    for finger in range(5):
        solver.set(finger, angles[finger])
    _thumb_out_of_the_way(solver, angles[THUMB])
    pads = solver.balls(tips)[PAD :: PAD + 1]
    flesh = np.concatenate([solver.balls(range(5)), _palm_balls(solver.size)])
    # Among surfaces across the direction of the finger, choose one that the rest of the hand does not touch.
    facing = unit(-solver.frames[INDEX] @ np.array([-0.6, -0.8, 0.0]))
    normals = np.concatenate([facing + rng.normal(0, 0.35, (16, 3)), [[0.0, 1, 0], [0.7, 0.7, 0], [1.0, 0, 0]]])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    surfaces = (pads[:, :3] @ normals.T - pads[:, 3:]).min(axis=0)
    depths = (surfaces - (flesh[:, :3] @ normals.T - flesh[:, 3:])).max(axis=0)
    best = int(np.argmax(depths < 0.003)) if (depths < 0.003).any() else int(np.argmin(depths))
    normal, surface = normals[best], surfaces[best]
    # If the hand intersects every large surface, the object is a button or a key.
    held = objects.slab(rng) if depths[best] < 0.003 else objects.single(box(*rng.uniform(0.012, 0.02, 3)))
    high = held[0].solid.profile[0, 1]
    rotation = _frame(normal, rng.uniform(0, 2 * np.pi))
    reach = pads[0, :3] - normal * (pads[0, :3] @ normal - surface + high)
    slack = 0.02 if depths[best] < 0.003 else 0.0
    shift = rotation[:, 0] * rng.normal(0, slack) + rotation[:, 2] * rng.normal(0, slack)
    held = objects.placed(held, rotation, reach + shift)
    for finger in ALL_FINGERS:
        if finger in tips:
            solver.solve(finger, angles[finger], held[0], {PAD: 0.003})
        else:
            solver.solve(finger, angles[finger], held[0])
    return (held,)


def _other(solver: FingerSolver, family: str, rng: np.random.Generator) -> tuple[SceneObject, ...]:
    """A hook grasp without the thumb, or an object between two fingers."""
    if rng.random() < 0.5:
        held = objects.single(cylinder(rng.uniform(0.005, 0.012), rng.uniform(0.10, 0.20)))
        axis = np.array([rng.normal(0, 0.15), rng.normal(0, 0.08), 1.0])
        centre = np.array([-0.112, -0.022, 0.0]) * solver.size
        held = objects.placed(held, _frame(axis, 0), centre)
        for finger in ALL_FINGERS:
            posture = np.radians([(12, 0.2 * SPREAD[finger], 0), (70, 0, 0), (45, 0, 0)]) + _noise(rng, 3)
            solver.solve(finger, posture, held[0], {3: 0.004, PAD: 0.005}, stiffness=0.6, initial=0.4 * posture)
        _thumb_out_of_the_way(
            solver, np.radians(np.array([(0, 0, 0), (5, 0, 0), (8, 0, 0)], dtype=np.float64)) + _noise(rng, 6)
        )
        return (held,)
    bend = rng.uniform(0, 40)
    for finger in ALL_FINGERS:
        curl = bend + (12 * (finger - 2) if finger > MIDDLE else 0)
        spread = {INDEX: 6, MIDDLE: -3}.get(finger, SPREAD[finger])
        solver.set(finger, np.radians([(curl, spread, 0), (curl + 8, 0, 0), (0.5 * curl, 0, 0)]) + _noise(rng, 2))
    share = rng.uniform(0.2, 1.0)
    a, b = (solver.points[f, 1] + share * (solver.points[f, 2] - solver.points[f, 1]) for f in (INDEX, MIDDLE))
    gap = max(np.linalg.norm(a - b) - solver.radii[INDEX, 1] - solver.radii[MIDDLE, 1], 0.002)
    bone = unit(solver.points[INDEX, 2] - solver.points[INDEX, 1])
    axis = cross(bone, a - b) + 0.3 * np.linalg.norm(a - b) * rng.normal(size=3)
    length = rng.uniform(0.07, 0.15)
    axis = unit(axis)
    held = objects.placed(
        objects.single(cylinder(gap / 2 + 0.001, length)),
        _frame(axis, 0),
        (a + b) / 2 + axis * length * rng.uniform(-0.3, 0.3),
    )
    _thumb_out_of_the_way(
        solver, np.radians(np.array([(10, 5, 0), (12, 0, 0), (15, 0, 0)], dtype=np.float64)) + _noise(rng, 6)
    )
    return (held,)


_ACTIONS = {
    Grasp.NON_PREHENSILE_PALM: _palm_on,
    Grasp.NON_PREHENSILE_FINGERTIP: _fingertip_on,
    Grasp.POWER_PRISMATIC: _power_prismatic,
    Grasp.PRECISION_PRISMATIC: _precision_prismatic,
    Grasp.POWER_CIRCULAR: _power_circular,
    Grasp.PRECISION_CIRCULAR: _precision_circular,
    Grasp.LATERAL: _lateral,
    Grasp.OTHER: _other,
    Grasp.NO_GRASP: _no_grasp,
}


def _thumb_out_of_the_way(solver: FingerSolver, posture: np.ndarray) -> None:
    others = solver.balls(ALL_FINGERS)
    solver.solve(THUMB, posture, others=others)


# --- placing


def _noise(rng: np.random.Generator, degrees: float) -> np.ndarray:
    """Returns (3, 3) random radians for one finger, mostly flexion and only in directions in which its joints move."""
    return rng.normal(0, np.radians(degrees), (3, 3)) * np.array([(1, 0.6, 0.3), (1, 0, 0), (1, 0, 0)])


def _frame(axis: np.ndarray, spin: float) -> np.ndarray:
    """Returns a rotation whose y axis is ``axis``, rotated about it by ``spin`` radians."""
    y = unit(axis)
    x = cross(y, [0.0, 0.0, 1.0] if abs(y[2]) < 0.9 else [1.0, 0.0, 0.0])
    x = unit(x)
    z = cross(x, y)
    cosine, sine = np.cos(spin), np.sin(spin)
    return np.column_stack([cosine * x - sine * z, y, sine * x + cosine * z])


def _laid_into_palm(held: SceneObject, size: float) -> SceneObject:
    """Returns the object moved along y until it touches the palm."""
    profile, rotation, position = held[0].shape
    shift = _palm_gap(_PALM * size, profile, rotation, position)
    return objects.placed(held, np.eye(3), np.array([0.0, shift, 0.0]))


@njit(cache=True, error_model="numpy")
def _palm_gap(points, profile, rotation, position):
    """Returns how far the solid can move along y before it contains one of the points."""
    shift = -0.10
    moved = position.copy()
    # Steps of the length of the distance never pass through a surface.
    for _ in range(40):
        moved[1] = position[1] + shift
        nearest = 1e9
        for i in range(points.shape[0]):
            nearest = min(nearest, distance(profile, rotation, moved, points[i, 0], points[i, 1], points[i, 2]))
        if nearest < 0.0005:
            break
        shift += nearest
    return shift


@njit(cache=True, error_model="numpy")
def overlap(balls, others):
    """Returns the penetration depth of two sets of balls, (N, 4) and (M, 4), in metres; 0 if they do not intersect."""
    deepest = 0.0
    for i in range(balls.shape[0]):
        for k in range(others.shape[0]):
            x, y, z = balls[i, 0] - others[k, 0], balls[i, 1] - others[k, 1], balls[i, 2] - others[k, 2]
            deepest = max(deepest, balls[i, 3] + others[k, 3] - np.sqrt(x * x + y * y + z * z))
    return deepest


def _palm_points() -> np.ndarray:
    """Returns (N, 3) points on the palm, without the base of the thumb, which is soft."""
    vertices = open_hand(Side.RIGHT).v_template.astype(np.float64)
    x, y, z = vertices.T
    palm = (x > -0.088) & (x < -0.012) & (y < -0.008) & (z < 0.022) & (z > -0.045)
    return vertices[palm][::6]


_PALM = _palm_points()


def _palm_balls(size: float) -> np.ndarray:
    """Returns (N, 4) balls of the palm, in four rows from the wrist to the knuckles."""
    ends = np.array(
        [(-0.086, -0.003, 0.022), (-0.089, -0.001, 0.002), (-0.084, -0.003, -0.017), (-0.075, -0.007, -0.034)]
    )
    starts = np.array(
        [(-0.012, -0.002, 0.012), (-0.012, -0.002, 0.002), (-0.012, -0.002, -0.008), (-0.012, -0.002, -0.016)]
    )
    t = np.linspace(0.1, 1, 5)[:, None, None]
    centres = (starts + t * (ends - starts)).reshape(-1, 3)
    return np.column_stack([centres, np.full(len(centres), 0.0125)]) * size
