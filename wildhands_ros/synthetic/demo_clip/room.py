"""The room of the demo clip: a desk with objects on it, and a wall behind it.

The camera is pitched down by ``PITCH``. Places in the room are metres to the right of the camera, above the desk, and
forward from the camera along the floor.
"""

from __future__ import annotations

import numpy as np

from ..hand_mesh import rotation
from ..scene import Meshes
from ..skin import to_linear
from ..solids import Solid, bottle, box, cone, cylinder, sphere
from ..textures import BRUSHED, LEATHER, MARBLE, PLAIN, WOOD, palette_material

PITCH = np.radians(34)
"""How far the camera looks down."""
DESK_DISTANCE = 0.56
"""Metres from the camera down to the desk."""
DESK_NEAR, DESK_FAR, DESK_HALF_WIDTH = 0.05, 1.25, 1.3
"""Metres: extent of the desk along the floor and to either side."""
WALL = 2.0
"""Metres from the camera to the wall."""

DOWN = np.array([0, np.cos(PITCH), np.sin(PITCH)])
FORWARD = np.array([0, -np.sin(PITCH), np.cos(PITCH)])
UPRIGHT = np.column_stack([[1.0, 0, 0], -DOWN, -FORWARD])
"""(3, 3) rotation from right, up, backward to the camera frame."""


class Room:
    """Adds objects to ``meshes`` at places of the room."""

    def __init__(self, meshes: Meshes):
        self._meshes = meshes

    def material(self, texture: int, repeat: float, *colours: tuple[int, int, int], **options: float) -> int:
        """Adds a material with one to three sRGB colours; see ``palette_material``."""
        linear = [to_linear(np.array(colour)) for colour in colours]
        return self._meshes.material(palette_material(texture, repeat, linear, **options))

    def put(
        self,
        solid: Solid,
        place: tuple[float, float, float],
        material: int,
        heading: float = 0.0,
        tilt: float = 0.0,
    ) -> None:
        """Puts a solid with its centre at ``place`` (right, up, forward).

        ``tilt`` rotates it about the axis to the right, ``heading`` then about the vertical, both in degrees.
        """
        points, faces, uv = solid.mesh()
        right, up, forward = place
        turned = points @ (rotation([0, np.radians(heading), 0]) @ rotation([np.radians(tilt), 0, 0])).T
        self._meshes.add(to_camera(turned + np.array([right, up, -forward])), faces, uv, material)

    def plane(self, corner: np.ndarray, u: np.ndarray, v: np.ndarray, cells: tuple[int, int], material: int) -> None:
        """Adds a rectangle that is visible from the side of u x v.

        Args:
            corner: (3,) right, up, backward.
            u: (3,) first side, in the same axes.
            v: (3,) second side.
            cells: Number of cells along each side.
            material: Index of the material.
        """
        # Small cells, because positions are interpolated linearly although the lens bends lines.
        s, t = np.meshgrid(np.linspace(0, 1, cells[0] + 1), np.linspace(0, 1, cells[1] + 1), indexing="ij")
        points = corner + s.reshape(-1, 1) * u + t.reshape(-1, 1) * v
        index = np.arange(s.size).reshape(s.shape)
        a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
        faces = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3).astype(np.int32)
        uv = np.column_stack([s.ravel() * np.linalg.norm(u), t.ravel() * np.linalg.norm(v), np.zeros(s.size)])
        self._meshes.add(to_camera(points), faces, uv, material)


def to_camera(points: np.ndarray) -> np.ndarray:
    """Maps (N, 3) points (right of the camera, above the desk, backward) to the camera frame."""
    return (points - [0, DESK_DISTANCE, 0]) @ UPRIGHT.T


def add_desk(meshes: Meshes) -> None:
    """Adds the desk and the objects on it."""
    room = Room(meshes)
    wood = room.material(WOOD, 0.45, (192, 151, 108), (172, 130, 90), grain=0.08, gloss=0.10, sharpness=30.0)
    room.plane(
        np.array([-DESK_HALF_WIDTH, 0, -DESK_FAR]),
        np.array([0, 0, DESK_FAR - DESK_NEAR]),
        np.array([2 * DESK_HALF_WIDTH, 0, 0]),
        (24, 48),
        wood,
    )
    _add_keyboard(room)
    paper = room.material(PLAIN, 0.2, (238, 236, 230), (232, 230, 224))
    ink = room.material(PLAIN, 0.1, (120, 122, 130))
    room.put(box(0.21, 0.001, 0.297), (0.44, 0.001, 0.62), paper, heading=12)
    rng = np.random.default_rng(4)
    for line in range(16):
        length = rng.uniform(0.09, 0.16)
        across, along = (length - 0.16) / 2, 0.11 - 0.014 * line
        heading = np.radians(12)
        right = 0.44 + across * np.cos(heading) + along * -np.sin(heading)
        forward = 0.62 - (across * -np.sin(heading) - along * np.cos(heading))
        room.put(box(length, 0.0006, 0.0028), (right, 0.0018, forward), ink, heading=12)
    cover = room.material(LEATHER, 0.06, (38, 92, 100), (30, 76, 84), relief=0.15)
    label = room.material(PLAIN, 0.1, (222, 212, 184))
    pages = room.material(PLAIN, 0.02, (226, 222, 208), (206, 202, 190))
    room.put(box(0.19, 0.004, 0.25), (-0.50, 0.014, 0.70), cover, heading=-9)
    room.put(box(0.185, 0.010, 0.245), (-0.50, 0.007, 0.70), pages, heading=-9)
    room.put(box(0.12, 0.001, 0.05), (-0.49, 0.0166, 0.75), label, heading=-9)
    glass = room.material(PLAIN, 0.1, (18, 19, 23), gloss=0.5, sharpness=80.0)
    metal = room.material(BRUSHED, 0.05, (120, 122, 126), (100, 102, 106), gloss=0.3, sharpness=25.0)
    room.put(box(0.075, 0.008, 0.15), (0.22, 0.004, 0.86), metal, heading=-20)
    room.put(box(0.071, 0.001, 0.146), (0.22, 0.0086, 0.86), glass, heading=-20)
    glaze = room.material(PLAIN, 0.1, (186, 76, 50), (178, 70, 46), gloss=0.35, sharpness=60.0)
    coffee = room.material(PLAIN, 0.1, (58, 34, 20), gloss=0.3, sharpness=80.0)
    room.put(cone(0.036, 0.043, 0.09), (-0.30, 0.045, 0.98), glaze)
    room.put(cylinder(0.037, 0.002), (-0.30, 0.0902, 0.98), coffee)
    for angle in np.radians(np.arange(-84, 85, 6)):
        place = (-0.30 + 0.036 + 0.026 * np.cos(angle), 0.048 + 0.028 * np.sin(angle), 0.98)
        room.put(sphere(0.0062), place, glaze)
    pencil = room.material(PLAIN, 0.1, (226, 168, 44), (220, 160, 40), gloss=0.1, sharpness=30.0)
    room.put(bottle(0.0036, 0.17, 0.0009, 0.88), (0.30, 0.004, 0.71), pencil, heading=70, tilt=90)
    _add_books(room)
    _add_plant(room)


def _add_keyboard(room: Room) -> None:
    body = room.material(PLAIN, 0.1, (52, 54, 60), (48, 50, 56))
    keys = room.material(PLAIN, 0.1, (78, 81, 88), (72, 75, 82), gloss=0.05, sharpness=15.0)
    accent = room.material(PLAIN, 0.1, (58, 98, 118), (54, 92, 112), gloss=0.05, sharpness=15.0)
    heading = -1.5
    cosine, sine = np.cos(np.radians(heading)), np.sin(np.radians(heading))

    def place(across: float, up: float, along: float) -> tuple[float, float, float]:
        return -0.02 + across * cosine - along * sine, up, 0.66 + across * sine + along * cosine

    room.put(box(0.46, 0.014, 0.165), place(0, 0.007, 0), body, heading=heading)
    for row in range(5):
        for column in range(15):
            is_space = row == 0 and 4 <= column <= 9
            if is_space and column != 4:
                continue
            width = 0.025 + 5 * 0.0295 if is_space else 0.025
            across = (column - 7) * 0.0295 + (2.5 * 0.0295 if is_space else 0)
            special = column in (0, 14) and not is_space
            room.put(
                box(width, 0.006, 0.025),
                place(across, 0.017, (row - 2) * 0.030),
                accent if special else keys,
                heading=heading,
            )


def _add_books(room: Room) -> None:
    rng = np.random.default_rng(2)
    colours = (
        (150, 58, 50),
        (64, 90, 120),
        (190, 166, 106),
        (80, 108, 82),
        (216, 208, 194),
        (96, 70, 92),
        (60, 62, 70),
    )
    pages = room.material(PLAIN, 0.02, (226, 222, 208), (206, 202, 190))
    right, number = -0.98, 0
    while right < -0.52:
        width, height = rng.uniform(0.022, 0.05), rng.uniform(0.17, 0.24)
        colour = colours[number % len(colours)]
        number += 1
        cover = room.material(LEATHER, 0.08, colour, _shade(colour, 0.9), relief=0.1)
        band = room.material(PLAIN, 0.1, _shade(colour, 0.55))
        middle = right + width / 2
        room.put(box(width, height, 0.15), (middle, height / 2, 1.15), cover)
        room.put(box(width - 0.004, 0.002, 0.145), (middle, height, 1.15), pages)
        room.put(box(width + 0.001, 0.012, 0.15), (middle, 0.75 * height, 1.1495), band)
        right += width + 0.0015


def _add_plant(room: Room) -> None:
    rng = np.random.default_rng(8)
    clay = room.material(PLAIN, 0.1, (214, 208, 196), (204, 198, 186))
    earth = room.material(MARBLE, 0.05, (62, 46, 34), (46, 34, 26))
    greens = [room.material(PLAIN, 0.1, colour, wrap=0.3) for colour in ((86, 124, 70), (104, 142, 82), (70, 106, 62))]
    right, forward = 0.86, 1.12
    room.put(cone(0.05, 0.068, 0.11), (right, 0.055, forward), clay)
    room.put(cylinder(0.062, 0.002), (right, 0.1105, forward), earth)
    for number in range(26):
        heading, tilt = rng.uniform(0, 360), rng.uniform(8, 62)
        length = rng.uniform(0.10, 0.19)
        lean, out = np.sin(np.radians(tilt)) * length / 2, np.radians(heading)
        place = (right + lean * np.sin(out), 0.11 + np.cos(np.radians(tilt)) * length / 2, forward - lean * np.cos(out))
        room.put(leaf(0.013, length), place, greens[number % 3], heading=heading, tilt=tilt)


def leaf(radius: float, length: float) -> Solid:
    """A spindle along y."""
    t = np.linspace(-1, 1, 9)
    return Solid(np.column_stack([radius * (1 - t * t), t * length / 2]))


def _shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    r, g, b = (round(factor * part) for part in colour)
    return r, g, b


def add_wall(meshes: Meshes) -> None:
    """Adds the wall behind the desk."""
    room = Room(meshes)
    paint = room.material(PLAIN, 1.0, (250, 244, 232), (245, 239, 227), grain=0.03)
    room.plane(np.array([-4.0, -1, -WALL]), np.array([8.0, 0, 0]), np.array([0, 4.0, 0]), (64, 32), paint)
