"""Several synchronised cameras around the hands of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..types import ManoParameters
from .cameras import random_camera
from .composition import well_seen
from .config import SPLITS, WorldConfig
from .dressed_hands import mesh_box
from .hand_mesh import rotation, rotation_vector
from .scene import Geometry, Scene
from .solids import cross, unit
from .surroundings import random_background, random_photography

ANGLES = (60.0, 120.0)
"""Degrees between the directions from the hands to the first camera and to any other one."""
LEAST_ANGLE = 40.0
"""Least angle in degrees between the directions to any two cameras."""
ATTEMPTS = 60
_OFF_CENTRE = 0.22
"""Largest distance of the hands from the centre of the image, as a fraction of the field of view."""


@dataclass(frozen=True, eq=False)
class View:
    """A scene as one of several cameras sees it."""

    scene: Scene
    pose: Pose
    """Pose of the camera in the frame of the first one."""


def make_views(config: WorldConfig, scene: Scene, count: int) -> list[View]:
    """Places cameras around a scene. The same scene always has the same cameras.

    Args:
        config: World of the scene.
        scene: What the first camera sees.
        count: Number of cameras.

    Returns:
        The views; fewer than ``count`` if no further camera would see the hands.
    """
    views = [View(scene, Pose.identity())]
    rng = np.random.default_rng([config.seed, SPLITS.index(config.split), scene.index, count])
    joints = np.concatenate([hand.joints for hand in scene.hands if hand.joints is not None])
    centre = joints.mean(axis=0)
    for _ in range(ATTEMPTS):
        if len(views) == count:
            break
        camera = random_camera(config, rng)
        pose = _random_pose(scene, centre, camera, [view.pose for view in views], rng)
        if pose is None:
            continue
        seen = seen_from(scene, camera, pose, config, rng)
        if all(_in_image(hand, camera) for hand in seen.hands) and well_seen(camera, seen.geometry, seen.hands):
            views.append(View(seen, pose))
    return views


def seen_from(scene: Scene, camera: Camera, pose: Pose, config: WorldConfig, rng: np.random.Generator) -> Scene:
    """Returns a scene as another camera sees it, with the same light, and a background and settings of its own.

    Args:
        scene: The scene.
        camera: The other camera.
        pose: Its pose in the frame of the scene's camera.
        config: World of the scene.
        rng: Source of random numbers.
    """
    to_camera = pose.inverse()
    turn = to_camera.rotation
    geometry = scene.geometry
    moved = replace(
        geometry,
        positions=to_camera.apply(geometry.positions),
        normals=(geometry.normals @ turn.T).astype(np.float32),
    )
    light = scene.light.copy()
    light[0:3], light[12:15] = turn @ light[0:3], turn @ light[12:15]
    background, background_affine = random_background(config, camera, rng)
    return Scene(
        index=scene.index,
        camera=camera,
        egocentric=False,
        hands=tuple(_label(hand, number, camera, to_camera, moved) for number, hand in enumerate(scene.hands)),
        geometry=moved,
        light=light,
        background=background,
        background_affine=background_affine,
        photography=random_photography(config, camera, rng),
        shadow_size=scene.shadow_size,
    )


def _label(hand: LabelledHand, number: int, camera: Camera, to_camera: Pose, geometry: Geometry) -> LabelledHand:
    """Returns the label of a hand in the frame of another camera."""
    assert hand.joints is not None and isinstance(hand.mano, ManoParameters)
    joints = to_camera.apply(hand.joints)
    rest_wrist = hand.joints[0] - hand.mano.transl
    orient = to_camera.rotation @ rotation(hand.mano.global_orient)
    vertices = np.unique(geometry.faces[geometry.face_part == number + 1])
    return replace(
        hand,
        joints=joints,
        keypoints=camera.project(joints),
        box=mesh_box(camera, geometry.positions[vertices]),
        mano=replace(hand.mano, transl=joints[0] - rest_wrist, global_orient=rotation_vector(orient)),
    )


def _in_image(hand: LabelledHand, camera: Camera) -> bool:
    assert hand.joints is not None and hand.keypoints is not None
    inside = ((hand.keypoints >= 0) & (hand.keypoints <= (camera.width - 1, camera.height - 1))).all(axis=-1)
    return bool(hand.joints[:, 2].min() > 0.15 and inside.mean() > 0.8)


def _random_pose(
    scene: Scene, centre: np.ndarray, camera: Camera, others: Sequence[Pose], rng: np.random.Generator
) -> Pose | None:
    """Returns the pose of a random camera that looks at the hands; None if its angle to another one is unsuitable."""
    up = scene.light[12:15]
    toward = -unit(centre)
    around = rotation(up * np.radians(rng.uniform(30, 150)) * rng.choice([-1, 1]))
    direction = unit(around @ toward + up * rng.normal(0, 0.35))
    if direction @ up < -0.2:  # below the hands there may be a table
        return None
    position = centre + direction * np.linalg.norm(centre) * rng.uniform(0.75, 1.3)
    angles = [np.degrees(np.arccos(np.clip(direction @ unit(pose.position - centre), -1, 1))) for pose in others]
    if not ANGLES[0] <= angles[0] <= ANGLES[1] or min(angles) < LEAST_ANGLE:
        return None
    forward = -direction
    right = unit(cross(forward, up))
    looking = np.column_stack([right, cross(forward, right), forward])
    share = rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2)
    field_of_view = 2 * np.arctan(np.array([camera.width, camera.height]) / (2 * camera.focal))
    off = rotation([share[1] * field_of_view[1], share[0] * field_of_view[0], 0])
    roll = rotation([0, 0, np.radians(rng.normal(0, 5))])
    return Pose(looking @ off @ roll, position)
