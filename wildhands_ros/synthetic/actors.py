"""Random hands for a scene: which hands there are, their place, orientation and action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.camera import Camera
from ..types import Grasp, Side
from .config import WorldConfig
from .grasps import HandAction, act, overlap
from .hand_mesh import rotation
from .solids import cross, unit

MIRROR = np.array([-1.0, 1, 1])
PALM_CENTRE = np.array([-0.085, -0.005, 0.0])
"""Centre of the palm in the rest frame of the wrist; this point is placed on the chosen pixel."""
NEAREST = 0.12
"""Smallest depth of a joint in metres."""


@dataclass(eq=False)
class Actor:
    """A hand to be drawn. Left hands are right hands in the camera frame mirrored in x."""

    side: Side
    betas: np.ndarray
    action: HandAction
    rotation: np.ndarray
    """(3, 3) rest frame to (mirrored) camera frame."""
    arm: np.ndarray
    """(3,) unit vector to the elbow, in the rest frame of the wrist."""
    wrist: np.ndarray
    """(3,) position of the wrist joint in the (mirrored) camera frame."""

    @property
    def mirror(self) -> np.ndarray:
        """(3,) factors from the frame of this hand to the camera frame."""
        return np.ones(3) if self.side is Side.RIGHT else MIRROR

    def balls(self) -> np.ndarray:
        """Returns the (N, 4) balls of hand and forearm in the camera frame: centres and radii."""
        local = self.action.balls
        arm = np.arange(0.01, 0.20, 0.03)[:, None] * self.arm
        centres = np.concatenate([local[:, :3], arm]) @ self.rotation.T + self.wrist
        return np.column_stack([centres * self.mirror, np.concatenate([local[:, 3], np.full(len(arm), 0.030)])])

    def centre(self) -> np.ndarray:
        """Returns the (3,) centre of the palm in the camera frame."""
        return (self.rotation @ PALM_CENTRE + self.wrist) * self.mirror


def make_actors(
    config: WorldConfig, camera: Camera, upright: np.ndarray, egocentric: bool, rng: np.random.Generator
) -> list[Actor]:
    """Returns one or two random hands of one person.

    Args:
        config: The world.
        camera: The camera of the scene.
        upright: (3, 3) rotation from the upright frame to the camera frame.
        egocentric: Whether the camera is on the head of this person.
        rng: Source of random numbers.
    """
    first = Side.RIGHT if rng.random() < 0.5 else Side.LEFT
    sides = [first, first.other] if rng.random() < config.two_hands else [first]
    interacting = len(sides) == 2 and rng.random() < config.interacting
    betas = _betas(config, rng)
    weights = np.cumsum(config.grasps)
    actors: list[Actor] = []
    for side in sides:
        grasp = Grasp(int(np.searchsorted(weights, rng.random() * weights[-1], side="right")))
        if interacting and (actors or rng.random() < 0.5):
            grasp = Grasp.NO_GRASP
        action = act(grasp, betas, config.objects, rng)
        arm = _arm_direction(rng)
        actor = Actor(side, betas, action, np.eye(3), arm, np.zeros(3))
        ray, depth = _place(config, camera, side, egocentric, rng)
        centre = ray * depth
        if actors:
            centre = _beside(actors[0], centre, camera, interacting, rng)
        mirrored = centre * actor.mirror
        body = upright * actor.mirror[:, None] * actor.mirror[None, :]
        actor.rotation = _orientation(mirrored, arm, body, egocentric, rng)
        actor.wrist = mirrored - actor.rotation @ PALM_CENTRE
        if actors:
            _move_apart(actor, actors[0], touching=interacting)
        actors.append(actor)
    return actors


def _betas(config: WorldConfig, rng: np.random.Generator) -> np.ndarray:
    betas = np.clip(rng.normal(0, config.betas_stddev, 10), -3, 3)
    if rng.random() < config.children:
        betas[0] -= rng.uniform(1, 3.5)
        betas[0] = max(betas[0], -4.2)
    return betas


def _arm_direction(rng: np.random.Generator) -> np.ndarray:
    """Returns a random flexion of the wrist: (3,) unit vector from the wrist to the elbow in the rest frame."""
    flexion, deviation = np.radians(np.clip(rng.normal((-8, 0), (22, 10)), (-60, -22), (55, 22)))
    return rotation([0, deviation, 0]) @ rotation([0, 0, flexion]) @ np.array([1.0, 0, 0])


def _place(
    config: WorldConfig, camera: Camera, side: Side, egocentric: bool, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Returns the unit ray to the palm and the distance along it."""
    x, y = 1.08 * rng.beta(1.4, 1.4, 2) - 0.04
    if egocentric:
        x = x + (0.10 if side is Side.RIGHT else -0.10)
        y = y + 0.06
    pixel = np.clip([x, y], -0.03, 1.03) * (camera.width, camera.height)
    ray = camera.rays(pixel)
    if not np.isfinite(ray).all() or ray[2] < 0.15:
        ray = camera.rays(np.array([camera.width, camera.height]) / 2)
    if egocentric:
        return ray, float(np.exp(rng.uniform(*np.log(config.wearer_distances))))
    share = np.exp(rng.uniform(*np.log(config.hand_shares)))
    return ray, float(np.clip(0.17 * camera.focal / (share * min(camera.width, camera.height)), 0.2, config.farthest))


def _orientation(
    centre: np.ndarray, arm: np.ndarray, body: np.ndarray, egocentric: bool, rng: np.random.Generator
) -> np.ndarray:
    """Returns the (3, 3) rotation of a right hand from the rest frame to the camera frame.

    ``body`` is the rotation from the upright frame to the camera frame.
    """
    if not egocentric:
        quaternion = rng.normal(size=4)
        w, x, y, z = quaternion / np.linalg.norm(quaternion)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
    elbow = body @ (np.array([0.27, -0.42, -0.12]) + rng.normal(0, 0.09, 3))
    along = unit(elbow - centre)
    # The palm faces the middle of the body, rotated about the forearm.
    medial = -body[:, 0]
    palm = unit(medial - medial @ along * along)
    turned = rotation(along * np.radians(rng.uniform(-115, 105))) @ palm
    frame = np.column_stack([along, -turned, cross(along, -turned)])
    # ``frame`` is that of a hand in line with its forearm. Bend it so that ``arm`` is along x.
    axis = cross(arm, [1.0, 0, 0])
    sine = np.linalg.norm(axis)
    bend = rotation(axis / max(sine, 1e-9) * np.arctan2(sine, arm[0]))
    return frame @ bend


def _beside(
    other: Actor, centre: np.ndarray, camera: Camera, interacting: bool, rng: np.random.Generator
) -> np.ndarray:
    """Returns the place of the second palm."""
    reference = other.centre()
    if interacting:
        return reference + rng.normal(0, 1, 3) * (0.05, 0.04, 0.04)
    # At a similar distance, but elsewhere in the image.
    distance = np.linalg.norm(centre)
    return centre / distance * np.clip(distance, 0.75 * np.linalg.norm(reference), 1.35 * np.linalg.norm(reference))


def _move_apart(actor: Actor, other: Actor, touching: bool) -> None:
    """Moves a hand away from the other until they do not intersect."""
    away = actor.centre() - other.centre()
    away = unit(away) if np.linalg.norm(away) > 1e-6 else np.array([1.0, 0, 0])
    fixed, moving = other.balls(), actor.balls()
    # Held objects are approximated by balls around their centres.
    if not touching:
        fixed, moving = np.concatenate([fixed, _object_balls(other)]), np.concatenate([moving, _object_balls(actor)])
    shift = 0.0
    for _ in range(60):
        moved = moving + np.array([*(shift * away), 0])
        depth = overlap(moved, fixed)
        if depth < 0.002:
            break
        shift += max(depth, 0.003)
    actor.wrist = actor.wrist + shift * away * actor.mirror


def _object_balls(actor: Actor) -> np.ndarray:
    rows = []
    for held in actor.action.objects:
        for part in held:
            centre = (actor.rotation @ part.position + actor.wrist) * actor.mirror
            rows.append([*centre, 0.6 * part.solid.extent])
    return np.array(rows).reshape(-1, 4)


def well_in_view(actor: Actor, camera: Camera, config: WorldConfig) -> bool:
    """Returns whether enough of the hand is in the image, not too near to the camera, and large enough."""
    balls = actor.balls()[: len(actor.action.balls)]
    if balls[:, 2].min() < NEAREST:
        return False
    pixels = camera.project(balls[:, :3])
    inside = ((pixels >= 0) & (pixels <= (camera.width - 1, camera.height - 1))).all(axis=-1)
    if inside.mean() < 0.45:
        return False
    seen = pixels[np.isfinite(pixels).all(axis=-1)]
    return bool(np.ptp(seen, axis=0).max() > config.least_share * max(camera.width, camera.height))
