"""Skin that is not a hand: heads, bare limbs and feet.

A detector that is trained without them detects hands in all skin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .config import WorldConfig
from .hand_mesh import rotation
from .scene import Meshes
from .skin import skin_tone, to_linear
from .solids import Solid, cylinder, sphere, unit
from .textures import CLOTH_TEXTURES, LEATHER, MOTTLE, PLAIN, plain_material

LIPS, WHITES, IRIS = (
    to_linear(np.array([185, 90, 90])),
    to_linear(np.array([235, 230, 225])),
    to_linear(np.array([45, 32, 26])),
)
_TOES = (
    (0.034, 0.042, 0.0125),
    (0.014, 0.044, 0.0085),
    (-0.002, 0.038, 0.008),
    (-0.018, 0.031, 0.0075),
    (-0.032, 0.022, 0.007),
)
"""For each toe, big toe first: distance from the centre line of the foot, length and radius, in metres."""
_HAIR = to_linear(np.array([(25, 20, 18), (60, 40, 25), (120, 85, 50), (200, 165, 105), (150, 145, 140)], float))


@dataclass(frozen=True, eq=False)
class _Part:
    points: np.ndarray
    """(V, 3) metres in the body frame: x to the left as seen from the front, y up, z forward."""
    faces: np.ndarray
    uv: np.ndarray
    material: int


class _Body:
    """The body parts of one person, with the colours of that person."""

    def __init__(self, meshes: Meshes, config: WorldConfig, rng: np.random.Generator):
        tone = rng.uniform(*config.skin_tones)
        self.skin = meshes.material(_coloured(skin_tone(tone, rng), (PLAIN, MOTTLE, LEATHER), rng))
        self.cloth = meshes.material(plain_material(rng, CLOTH_TEXTURES, rng.uniform(0.02, 0.12), cloth=True))
        self.hair = meshes.material(_coloured((_HAIR[rng.integers(len(_HAIR))],) * 2, CLOTH_TEXTURES, rng))
        self.lips, self.whites, self.iris = (
            meshes.material(_coloured((colour, colour), (PLAIN,), rng)) for colour in (LIPS, WHITES, IRIS)
        )
        self.parts: list[_Part] = []

    def add(self, solid: Solid, scale, position, material: int, turn=(0.0, 0.0, 0.0)) -> None:
        points, faces, uv = solid.mesh()
        self.parts.append(_Part((points * scale) @ rotation(turn).T + position, faces, uv, material))

    def bone(self, start, end, radii: tuple[float, float], material: int) -> None:
        """Adds a rounded, tapered piece between two points."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        along = unit(end - start)
        side = unit(np.cross(along, [0.3, 0.1, 0.9] if abs(along[2]) < 0.9 else [1.0, 0, 0]))
        frame = np.column_stack([side, along, np.cross(side, along)])
        length = float(np.linalg.norm(end - start))
        angles = np.linspace(0, np.pi / 2, 5)
        low = np.column_stack([radii[0] * np.sin(angles), -radii[0] * np.cos(angles)])
        high = np.column_stack([radii[1] * np.cos(angles), length + radii[1] * np.sin(angles)])
        points, faces, uv = Solid(np.maximum(np.concatenate([low, high]), [0, -1])).mesh()
        self.parts.append(_Part(points @ frame.T + start, faces, uv, material))


def add_skin_like(meshes: Meshes, config: WorldConfig, rng: np.random.Generator) -> None:
    """Adds skin-coloured ellipsoids and cylinders."""
    for _ in range(rng.integers(1, 4)):
        tone = skin_tone(rng.uniform(*config.skin_tones), rng)
        solid = (
            sphere(rng.uniform(0.03, 0.11), rng.uniform(0.9, 1.4))
            if rng.random() < 0.5
            else cylinder(rng.uniform(0.02, 0.06), rng.uniform(0.2, 0.7))
        )
        row = _coloured(tone, (PLAIN, LEATHER), rng)
        depth = np.exp(rng.uniform(np.log(0.35), np.log(3.0)))
        position = np.array([rng.normal(0, 0.4) * depth, rng.normal(0, 0.3) * depth, depth])
        points, faces, uv = solid.mesh()
        meshes.add(points @ rotation(rng.normal(0, 1.5, 3)).T + position, faces, uv, meshes.material(row))


def add_body(meshes: Meshes, config: WorldConfig, upright: np.ndarray, rng: np.random.Generator) -> None:
    """Adds a head, a bare limb or a foot at a random place in front of the camera."""
    body = _Body(meshes, config, rng)
    kind = (_head, _limb, _foot)[int(rng.choice(3, p=[0.5, 0.3, 0.2]))]
    kind(body, rng)
    depth = np.exp(rng.uniform(np.log(0.5), np.log(4.0)))
    position = np.array([rng.normal(0, 0.35) * depth, rng.normal(0, 0.25) * depth, depth])
    tilt = rng.normal(0, 0.25, 3) if kind is _head else rng.normal(0, 0.9, 3)
    turn = (
        upright
        @ rotation([0, rng.uniform(0, 2 * np.pi) if kind is not _head else rng.normal(0, 0.9), 0])
        @ rotation(tilt)
    )
    size = rng.normal(1, 0.08)
    for part in body.parts:
        meshes.add(size * part.points @ turn.T + position, part.faces, part.uv, part.material)


def _head(body: _Body, rng: np.random.Generator) -> None:
    skull = np.array([0.072, 0.105, 0.092]) * rng.normal(1, 0.05, 3)
    ball = sphere(1.0)

    def egg(scale, position, material, turn=(0.0, 0.0, 0.0)):
        body.add(ball, np.asarray(scale, float), np.asarray(position, float), material, turn)

    egg(skull, (0, 0.02, 0), body.skin)
    egg((0.052, 0.055, 0.06), (0, -0.06, 0.025), body.skin)
    for side in (-1.0, 1.0):
        egg((0.030, 0.022, 0.020), (0.036 * side, -0.015, 0.068), body.skin)  # cheek
        egg((0.012, 0.008, 0.010), (0.031 * side, 0.022, 0.080), body.whites)
        egg((0.006, 0.006, 0.004), (0.031 * side + rng.normal(0, 0.002), 0.022, 0.088), body.iris)
        egg((0.020, 0.004, 0.008), (0.032 * side, 0.045, 0.082), body.hair, (0, 0, -0.15 * side))
        egg((0.010, 0.028, 0.018), (side * skull[0], 0.005, -0.005), body.skin)
    body.bone((0, 0.035, 0.085), (0, -0.012, 0.105), (0.008, 0.014), body.skin)
    egg((rng.uniform(0.018, 0.028), rng.uniform(0.006, 0.014), 0.012), (0, -0.050, 0.080), body.lips)
    if rng.random() < 0.85:
        egg(skull * (1.08, 1.06, 1.06), (0, 0.035, -0.022), body.hair)
        if rng.random() < 0.4:  # long
            egg((0.09, rng.uniform(0.13, 0.22), 0.06), (0, -0.07, -0.06), body.hair)
    elif rng.random() < 0.5:
        body.add(cylinder(1.0, 0.6, 0.1), skull * 1.1, np.array([0, 0.10, -0.01]), body.cloth)
    if rng.random() < 0.2:
        egg((0.055, 0.045, 0.05), (0, -0.068, 0.032), body.hair)  # beard
    body.bone((0, -0.06, -0.02), (0, -0.19, -0.035), (0.050, 0.058), body.skin)
    bare = body.skin if rng.random() < 0.4 else body.cloth
    for side in (-1.0, 1.0):
        body.bone((0.04 * side, -0.20, -0.03), (0.17 * side, -0.235, -0.03), (0.06, 0.055), bare)
        body.bone((0.17 * side, -0.235, -0.03), (0.22 * side, -0.50, -0.02), (0.055, 0.042), bare)
    body.add(
        ball, np.array([0.16, 0.24, 0.10]), np.array([0, -0.42, -0.03]), bare if rng.random() < 0.3 else body.cloth
    )


def _limb(body: _Body, rng: np.random.Generator) -> None:
    """Adds an arm or a leg around its elbow or knee. Its end is covered with cloth."""
    thick = rng.uniform(0.032, 0.085)
    bend = rng.uniform(0.1, 2.4)
    end = 5.5 * thick * np.array([np.sin(bend), np.cos(bend), 0])
    upper = body.skin if rng.random() < 0.6 else body.cloth
    body.bone((0, -5.5 * thick, 0), (0, 0, 0), (1.15 * thick, 0.9 * thick), upper)
    body.bone((0, 0, 0), end, (0.9 * thick, 0.65 * thick), body.skin)
    body.bone(0.92 * end, 1.5 * end, (0.8 * thick, 0.9 * thick), body.cloth)


def _foot(body: _Body, rng: np.random.Generator) -> None:
    """Adds a bare foot."""
    side = rng.choice([-1.0, 1.0])
    body.bone((0, 0.32, -0.02), (0, 0.06, 0), (0.050, 0.034), body.skin if rng.random() < 0.6 else body.cloth)
    body.bone((0, 0.10, 0), (0, 0.03, -0.02), (0.034, 0.032), body.skin)
    body.add(sphere(1.0), np.array([0.043, 0.030, 0.095]), np.array([0, 0.028, 0.085]), body.skin, (0.12, 0, 0))
    body.add(sphere(1.0), np.array([0.046, 0.020, 0.045]), np.array([0, 0.018, 0.135]), body.skin)
    for toe, (across, length, radius) in enumerate(_TOES):
        start = np.array([side * across, 0.016, 0.160 - 0.004 * toe])
        body.bone(
            start, start + [0.1 * side * across, -0.004, length * rng.uniform(0.8, 1.1)], (radius, radius), body.skin
        )


def _coloured(
    colours: tuple[np.ndarray, np.ndarray], textures: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    row = plain_material(rng, textures, rng.uniform(0.03, 0.1), cloth=True)
    row[3:6], row[6:9] = colours
    return row
