"""Composes random scenes for ``World``. The same index always gives the same scene."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera
from .actors import make_actors, well_in_view
from .cameras import random_attitude, random_camera
from .config import SPLITS, WorldConfig
from .dressed_hands import add_hand, make_person
from .raster import rasterise
from .scene import Geometry, Meshes, Scene
from .surroundings import add_clutter, add_table, photographed

ATTEMPTS = 20
MAX_HIDDEN = 0.7
"""Largest share of the part of a hand inside the image that may be hidden."""
PREVIEW_SIZE = 112
"""Pixels of the longer side of the preview that determines what hides the hands."""


def make_scene(config: WorldConfig, index: int) -> Scene:
    """Returns the scene of an index. It depends only on the world, split, seed and index."""
    entropy = [config.seed, SPLITS.index(config.split), crc32(config.name.encode()), index]
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([*entropy, attempt])
        camera = random_camera(config, rng)
        egocentric = bool(rng.random() < config.egocentric)
        upright = random_attitude(egocentric, rng)
        actors = make_actors(config, camera, upright, egocentric, rng)
        if not all(well_in_view(actor, camera, config) for actor in actors) and attempt < ATTEMPTS - 1:
            continue
        meshes = Meshes()
        person = make_person(meshes, config, rng)
        hands = tuple(add_hand(meshes, actor, number, camera, person, rng) for number, actor in enumerate(actors))
        add_clutter(meshes, config, actors, upright, rng)
        geometry = add_table(meshes, config, upright, rng)
        if well_seen(camera, geometry, hands):
            break
    return photographed(config, index, camera, upright, egocentric, hands, geometry, rng)


def well_seen(camera: Camera, geometry: Geometry, hands: tuple[LabelledHand, ...]) -> bool:
    """Returns whether at most ``MAX_HIDDEN`` of the visible part of each hand is hidden by something else."""
    scale = PREVIEW_SIZE / max(camera.width, camera.height)
    small = camera.scaled(scale, scale)
    pixels = small.project(geometry.positions)
    with np.errstate(divide="ignore"):
        nearness = np.where(geometry.positions[:, 2] > 0.03, 1 / geometry.positions[:, 2], np.nan)
    index, _ = rasterise(pixels, nearness, geometry.faces, small.width, small.height)
    seen = np.bincount(geometry.face_part[index[index >= 0]], minlength=len(hands) + 1)
    for number in range(1, len(hands) + 1):
        own = np.ascontiguousarray(geometry.faces[geometry.face_part == number])
        whole = np.count_nonzero(rasterise(pixels, nearness, own, small.width, small.height)[0] >= 0)
        if seen[number] < max((1 - MAX_HIDDEN) * whole, 8):
            return False
    return True
