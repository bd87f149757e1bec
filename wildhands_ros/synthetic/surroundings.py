"""Surroundings of the hands of a scene: objects, a table, light, the background and the camera settings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..datasets.labels import LabelledHand
from ..geometry.camera import Camera
from . import backgrounds, objects
from .actors import Actor
from .config import WorldConfig
from .hand_mesh import rotation
from .scene import Geometry, Meshes, Photography, Scene
from .shading import LIGHT_COLUMNS
from .solids import unit
from .textures import OBJECT_TEXTURES, WOOD, plain_material


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


def add_object(
    meshes: Meshes,
    added: objects.SceneObject,
    rng: np.random.Generator,
    to_camera: Callable[[np.ndarray], np.ndarray] = _unchanged,
    oriented: Callable[[np.ndarray], np.ndarray] = _unchanged,
) -> None:
    """Adds an object with random materials.

    Args:
        meshes: Collects the meshes.
        added: The object.
        rng: Source of random numbers.
        to_camera: Maps points (N, 3) from the frame of the object to the camera frame.
        oriented: Maps faces to faces that are counter-clockwise from outside, if ``to_camera`` mirrors.
    """
    for part in added:
        points, faces, uv = part.solid.mesh()
        row = meshes.material(plain_material(rng, OBJECT_TEXTURES, rng.uniform(0.04, 0.2), cloth=False))
        meshes.add(to_camera(points @ part.rotation.T + part.position), oriented(faces), uv, row)


def add_clutter(
    meshes: Meshes, config: WorldConfig, actors: list[Actor], upright: np.ndarray, rng: np.random.Generator
) -> None:
    """Adds random occluders between the camera and a hand, and objects beyond the hands."""
    if rng.random() < config.occluders:
        actor = actors[rng.integers(len(actors))]
        balls = actor.balls()[: len(actor.action.balls), :3]
        target = balls[rng.integers(len(balls))]
        occluder = objects.random_object(rng, config.objects)
        extent = occluder[0].solid.extent
        toward = rng.uniform(0.45, 0.8)
        aside = unit(rng.normal(size=3)) * min(extent, 0.5) * rng.uniform(0.2, 1.0) * toward
        # No larger in the image than about a hand.
        if toward * np.linalg.norm(target) - extent > 0.05 and extent < 0.10:
            placed = objects.placed(occluder, rotation(rng.normal(0, 1.5, 3)), target * toward + aside)
            add_object(meshes, placed, rng)
    if rng.random() < config.clutter:
        for _ in range(rng.integers(1, 5)):
            anchor = actors[rng.integers(len(actors))].centre()
            position = anchor * rng.uniform(1.25, 1.9) + rng.normal(0, 0.12, 3)
            if position[2] > 0.25:
                add_standing(meshes, config, upright, position, rng)


def add_standing(
    meshes: Meshes, config: WorldConfig, upright: np.ndarray, position: np.ndarray, rng: np.random.Generator
) -> None:
    """Adds a random upright object with a random heading."""
    standing = objects.random_object(rng, config.objects)
    add_object(meshes, objects.placed(standing, upright @ rotation([0, rng.uniform(0, 6.3), 0]), position), rng)


def add_table(meshes: Meshes, config: WorldConfig, upright: np.ndarray, rng: np.random.Generator) -> Geometry:
    """Adds a table below everything in some of the scenes, and returns the complete geometry."""
    casters = meshes.num_faces
    if rng.random() < config.tables:
        up = upright[:, 1]
        height = meshes.lowest(up) - (0.002 if rng.random() < 0.5 else rng.uniform(0.005, 0.15))
        if height < -0.12:  # below the camera
            cells = 24
            size = rng.uniform(0.8, 2.4)
            steps = np.linspace(-size / 2, size / 2, cells + 1)
            x, z = np.meshgrid(steps, steps, indexing="ij")
            local = np.column_stack([x.ravel(), np.zeros(x.size), z.ravel()]) @ rotation([0, rng.uniform(0, 6.3), 0]).T
            local += np.array([rng.normal(0, 0.2), height, -0.55 + rng.normal(0, 0.1)])
            index = np.arange(x.size).reshape(x.shape)
            a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
            faces = np.stack([a, c, b, a, d, c], axis=-1).reshape(-1, 3).astype(np.int32)
            textures = (WOOD, WOOD, *OBJECT_TEXTURES)
            row = meshes.material(plain_material(rng, textures, rng.uniform(0.15, 0.6), cloth=False, vivid=0.6))
            uv = np.column_stack([x.ravel(), z.ravel(), np.zeros(x.size)])
            meshes.add(
                local @ upright.T, faces, uv, row, normals=np.broadcast_to(up.astype(np.float32), (len(local), 3))
            )
    return meshes.geometry(casters)


def photographed(
    config: WorldConfig,
    index: int,
    camera: Camera,
    upright: np.ndarray,
    egocentric: bool,
    hands: tuple[LabelledHand, ...],
    geometry: Geometry,
    rng: np.random.Generator,
) -> Scene:
    """Returns a scene of this geometry with a random background, light and camera settings."""
    background, background_affine = random_background(config, camera, rng)
    return Scene(
        index=index,
        camera=camera,
        egocentric=egocentric,
        hands=hands,
        geometry=geometry,
        light=_light(config, upright[:, 1], backgrounds.mean_light(background), rng),
        background=background,
        background_affine=background_affine,
        photography=random_photography(config, camera, rng),
    )


def _light(config: WorldConfig, up: np.ndarray, surroundings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light = np.zeros(LIGHT_COLUMNS)
    harsh = config.harsh_light
    # From above, and rather from the side of the camera than from behind the scene.
    direction = up * rng.uniform(0.1, 1.2) + rng.normal(0, 0.55, 3) + np.array([0, 0, -0.35])
    light[0:3] = unit(direction)
    warmth = rng.normal(0, 0.05 + 0.10 * harsh)
    key = np.array([1 + warmth, 1.0, 1 - 1.3 * warmth]) * np.exp(rng.uniform(np.log(0.35), np.log(0.6 + 1.0 * harsh)))
    tint = 0.6 + 0.4 * surroundings / max(surroundings.mean(), 1e-3)
    ambient = np.exp(rng.uniform(np.log(0.30 - 0.16 * harsh), np.log(0.55)))
    # The brightness is neither dark nor overexposed; further variation comes from the exposure.
    level = np.exp(rng.uniform(np.log(0.75 - 0.25 * harsh), np.log(1.15 + 0.25 * harsh))) / (
        0.65 * key.mean() + ambient
    )
    light[3:6] = np.clip(key, 0.02, None) * level
    light[6:9] = ambient * level * tint * np.array([1 - 0.3 * warmth, 1.0, 1 + 0.3 * warmth])
    light[9:12] = light[6:9] * rng.uniform(0.3, 0.9) * np.clip(rng.normal(1, 0.08, 3), 0.7, 1.3)
    light[12:15] = up
    light[15] = rng.uniform(0.6 * harsh, 1.0)
    light[16] = rng.integers(1, 4)
    return light


def random_background(config: WorldConfig, camera: Camera, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns a random background image, and the map from its pixels to those of the frame."""
    number = int(rng.integers(1 << 20))
    photos = len(backgrounds.photo_files()) if config.photos else 0
    if photos and rng.random() < 0.6:
        image = backgrounds.photo(number % photos)
    else:
        image = backgrounds.room(number % backgrounds.NUM_ROOMS, bool(rng.random() < config.plain_background))
    height, width = image.shape[:2]
    scale = max(camera.width / width, camera.height / height) * rng.uniform(1.02, 1.8)
    turn = np.radians(rng.normal(0, 4))
    linear = (
        scale
        * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        @ np.diag([1.0 if rng.random() < 0.5 else -1.0, 1.0])
    )
    slack = np.maximum(scale * np.array([width, height]) - (camera.width, camera.height), 0) / 2
    centre = np.array([camera.width, camera.height]) / 2 + rng.uniform(-1, 1, 2) * slack
    return image, np.column_stack([linear, centre - linear @ (np.array([width, height]) / 2)])


def random_photography(config: WorldConfig, camera: Camera, rng: np.random.Generator) -> Photography:
    """Returns random camera settings."""
    exposure = np.exp(rng.normal(0, 0.12 + 0.1 * config.harsh_light))
    warmth, green = rng.normal(0, 0.05), rng.normal(0, 0.02)
    noisy = config.noise * rng.beta(1.0, 3.0)
    blur = rng.random(4) < np.array([0.5, 0.5, 0.25, 0.6]) * config.blur
    angle, pixel = rng.uniform(0, 2 * np.pi), camera.width / 640
    length = rng.uniform(1.5, 14.0) * pixel * blur[0]
    return Photography(
        gains=exposure * np.array([1 + warmth, 1 + green, 1 - warmth]),
        read_noise=1.0 + 9.0 * noisy,
        shot_noise=0.5 + 7.0 * noisy,
        motion=length * np.array([np.cos(angle), np.sin(angle)]),
        hands_move=bool(blur[1]),
        defocus=float((0.35 + rng.uniform(0.3, 1.8) * blur[2]) * pixel),
        background_defocus=float(rng.uniform(0.5, 5.0) * pixel * blur[3]),
        jpeg_quality=int(rng.integers(35, 96)) if rng.random() < config.jpeg else 0,
        noise_seed=int(rng.integers(1 << 31)),
    )
