"""Random scenes for detectors: hands of the wearer and of others, near and far, or only things that look like skin."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera
from .actors import Actor, make_actors, well_in_view
from .bodies import add_body, add_skin_like
from .cameras import random_attitude, random_camera
from .config import SPLITS, WorldConfig
from .dressed_hands import add_hand, make_person
from .scene import Meshes, Scene
from .surroundings import add_clutter, add_standing, add_table, photographed

WEARER = 0.8
"""Share of the scenes with hands that contain hands of the wearer."""
SKIN_LIKE = 0.35
"""Share of the scenes with skin-coloured objects that are not hands."""
_ATTEMPTS = 6


def make_frame(config: WorldConfig, index: int) -> Scene:
    """Returns the scene of an index, with any number of hands of any side.

    It depends only on the world, split, seed and index.
    """
    rng = np.random.default_rng([config.seed, SPLITS.index(config.split), crc32(config.name.encode()), index, 1])
    camera = random_camera(config, rng)
    upright = random_attitude(True, rng)
    meshes = Meshes()
    hands: list[LabelledHand] = []
    all_actors: list[Actor] = []
    for actors in _people(config, camera, upright, rng):
        person = make_person(meshes, config, rng)
        for actor in actors:
            hands.append(add_hand(meshes, actor, len(hands), camera, person, rng))
            all_actors.append(actor)
    if rng.random() < SKIN_LIKE:
        add_skin_like(meshes, config, rng)
    if config.bodies and rng.random() < config.bodies:
        for _ in range(rng.integers(1, 4)):
            add_body(meshes, config, upright, rng)
    if all_actors:
        add_clutter(meshes, config, all_actors, upright, rng)
    else:
        # Scenes without hands contain the same kinds of objects as scenes with hands.
        for _ in range(rng.integers(1, 6)):
            position = np.array([rng.normal(0, 0.25), rng.normal(0, 0.2), rng.uniform(0.35, 1.5)])
            add_standing(meshes, config, upright, position, rng)
    geometry = add_table(meshes, config, upright, rng)
    return photographed(config, index, camera, upright, True, tuple(hands), geometry, rng)


def _people(config: WorldConfig, camera: Camera, upright: np.ndarray, rng: np.random.Generator) -> list[list[Actor]]:
    """Returns the hands inside the image, for each person."""
    if rng.random() < config.hand_free:
        return []
    weights = np.cumsum(config.others)
    others = int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))
    people = []
    if rng.random() < WEARER or not others:
        people.append(_in_view(config, camera, upright, True, rng))
    while others > 0:
        found = _in_view(replace(config, two_hands=0.5 if others > 1 else 0.0), camera, upright, False, rng)
        people.append(found)
        others -= max(len(found), 1)
    return people


def _in_view(
    config: WorldConfig, camera: Camera, upright: np.ndarray, egocentric: bool, rng: np.random.Generator
) -> list[Actor]:
    for _ in range(_ATTEMPTS):
        actors = make_actors(config, camera, upright, egocentric, rng)
        if seen := [actor for actor in actors if well_in_view(actor, camera, config)]:
            return seen
    return []
