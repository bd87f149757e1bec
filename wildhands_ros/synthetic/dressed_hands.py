"""Adds hands to a scene, with skin, gloves, sleeves, held objects and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera
from ..hand_model.joints import MANO_TO_MEDIAPIPE
from ..types import ManoParameters, Side
from .actors import Actor
from .arms import tube
from .config import WorldConfig
from .hand_mesh import ARM_RINGS, hand_mesh, rotation_vector
from .raster import vertex_normals
from .scene import Meshes
from .surroundings import add_object
from .textures import CLOTH_TEXTURES, OBJECT_TEXTURES, glove_material, plain_material, skin_material


@dataclass(frozen=True, eq=False)
class Person:
    """What both hands of a person have in common. Materials are indices in ``Meshes``."""

    skin: int
    glove: int | None
    glove_ends: int
    """Index of the ring of the arm at which gloves end."""
    sleeve: int | None
    sleeve_start: float
    """Metres from the wrist."""


def make_person(meshes: Meshes, config: WorldConfig, rng: np.random.Generator) -> Person:
    """Returns a random person and adds the materials to ``meshes``."""
    gloved, sleeved = rng.random() < config.gloves, rng.random() < config.sleeves
    return Person(
        skin=meshes.material(skin_material(rng, rng.uniform(*config.skin_tones))),
        glove=meshes.material(glove_material(rng)) if gloved else None,
        glove_ends=int(rng.integers(1, 6)),
        sleeve=meshes.material(plain_material(rng, CLOTH_TEXTURES, rng.uniform(0.02, 0.12), cloth=True))
        if sleeved
        else None,
        sleeve_start=float(rng.uniform(*((0.004, 0.03) if rng.random() < 0.5 else (0.03, 0.12)))) if sleeved else 1.0,
    )


def add_hand(
    meshes: Meshes, actor: Actor, number: int, camera: Camera, person: Person, rng: np.random.Generator
) -> LabelledHand:
    """Adds a hand with its arm, clothes and objects.

    Args:
        meshes: Collects the meshes.
        actor: The hand.
        number: Index of the hand in the scene.
        camera: The camera of the scene.
        person: The person to whom the hand belongs.
        rng: Source of random numbers.

    Returns:
        The labels of the hand.
    """
    mesh = hand_mesh()
    pose = actor.action.hand_pose.reshape(15, 3)
    vertices, joints, _ = mesh.pose(np.concatenate([np.eye(3)[None], actor.action.rotations]), actor.betas)
    rest_wrist = joints[0].copy()
    vertices, joints = vertices - rest_wrist, joints - rest_wrist
    whole, line = mesh.with_arm(vertices.astype(np.float64), actor.arm)

    def to_camera(points: np.ndarray) -> np.ndarray:
        return (points @ actor.rotation.T + actor.wrist) * actor.mirror

    left = actor.side is Side.LEFT

    def oriented(faces: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(faces[:, ::-1]) if left else faces

    faces, rings = mesh.faces, mesh.face_ring
    material = np.full(len(faces), person.skin, np.uint8)
    surface = whole
    if person.glove is not None:
        worn_faces = rings <= person.glove_ends
        material[worn_faces] = person.glove
        normals = vertex_normals(whole, faces)
        worn = np.zeros(len(whole))
        worn[np.unique(faces[worn_faces])] = rng.uniform(0.0006, 0.0022)
        surface = whole + worn[:, None] * normals
    keep = rings <= np.searchsorted(ARM_RINGS, person.sleeve_start + 0.012) + 1
    positions = to_camera(surface)
    shown = oriented(faces[keep])
    meshes.add(positions, shown, mesh.uvw, material[keep], np.where(rings[keep] == 0, number + 1, 0))
    if person.sleeve is not None:
        start = person.sleeve_start + rng.uniform(0, 0.006)
        piece = tube(
            line, start, ARM_RINGS[-1], line.radii, rng.uniform(0.003, 0.009), rng.uniform(0.0003, 0.0016), rng
        )
        meshes.add(to_camera(piece[0]), oriented(piece[1]), piece[2], person.sleeve)
    elif rng.random() < 0.2:
        band = meshes.material(plain_material(rng, OBJECT_TEXTURES, 0.03, cloth=False))
        start = rng.uniform(0.012, 0.05)
        piece = tube(line, start, start + rng.uniform(0.006, 0.03), line.radii, rng.uniform(0.002, 0.006), 0.0, rng)
        meshes.add(to_camera(piece[0]), oriented(piece[1]), piece[2], band)
    for held in actor.action.objects:
        add_object(meshes, held, rng, to_camera, oriented)

    in_camera = to_camera(joints)[list(MANO_TO_MEDIAPIPE)]
    mirror = actor.mirror
    orient = rotation_vector(actor.rotation * mirror[:, None] * mirror[None, :])
    hand_vertices = positions[: mesh.num_vertices]
    return LabelledHand(
        side=actor.side,
        grasp=actor.action.grasp,
        mano=ManoParameters(
            transl=actor.wrist * mirror - rest_wrist * mirror,
            global_orient=orient,
            hand_pose=(pose * (-mirror if left else 1)).ravel(),
            betas=actor.betas,
        ),
        joints=in_camera,
        keypoints=camera.project(in_camera),
        box=mesh_box(camera, hand_vertices),
        gloved=person.glove is not None,
    )


def mesh_box(camera: Camera, vertices: np.ndarray) -> np.ndarray:
    """Returns the (4,) box around the projection of a hand's mesh, clipped to the image."""
    pixels = camera.project(vertices)
    last = (camera.width - 1, camera.height - 1)
    return np.concatenate([np.clip(np.nanmin(pixels, axis=0), 0, last), np.clip(np.nanmax(pixels, axis=0), 0, last)])
