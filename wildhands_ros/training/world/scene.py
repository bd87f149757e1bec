"""One moment of the world: hands with what they hold, table, clutter, light, camera. Made from random numbers, not yet drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import cv2
import numpy as np

from ...geometry.camera import Camera
from ...hand_model.joints import MANO_TO_MEDIAPIPE
from ...structures import Grasp, ManoParameters, Side
from . import backgrounds, things
from .arms import tube
from .cameras import random_attitude, random_camera
from .config import SPLITS, WorldConfig
from .grasps import HandAction, act, overlap
from .hand_mesh import ARM_RINGS, hand_mesh, rotation, rotation_vector
from .raster import rasterise, vertex_normals
from .shading import LIGHT_COLUMNS
from .solids import cross
from .textures import CLOTH_TEXTURES, THING_TEXTURES, WOOD, glove_material, plain_material, skin_material

MIRROR = np.array([-1.0, 1, 1])
PALM_CENTRE = np.array([-0.085, -0.005, 0.0])
"""What is put on the chosen pixel, in the wrist's rest frame."""
NEAREST = 0.12
"""Metres from the camera to the nearest joint, at least."""
SHADOW_SIZE = 160
ATTEMPTS = 20
MOST_HIDDEN = 0.7
LOOK_SIZE = 112
"""Pixels of the look that finds out what hides the hands."""


@dataclass(frozen=True, eq=False)
class WorldHand:
    """The truth about one hand, in the camera frame."""

    side: Side
    grasp: Grasp
    mano: ManoParameters
    """Of the open hand."""
    joints: np.ndarray
    """(21, 3) metres, MediaPipe order."""
    keypoints: np.ndarray
    """(21, 2) pixels of the frame; they may lie outside of it, and are NaN where the lens does not see."""
    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max of the whole hand's mesh, cut off at the frame's edge."""
    gloved: bool


@dataclass(frozen=True, eq=False)
class Geometry:
    """All triangles; V vertices, F faces, M materials."""

    positions: np.ndarray
    """(V, 3) float64 metres, camera frame."""
    normals: np.ndarray
    """(V, 3) float32 unit."""
    uvw: np.ndarray
    """(V, 3) float32"""
    faces: np.ndarray
    """(F, 3) int32"""
    face_material: np.ndarray
    """(F,) uint8"""
    face_part: np.ndarray
    """(F,) uint8: 1 + the hand's number on hands, 0 elsewhere."""
    materials: np.ndarray
    """(M, MATERIAL_COLUMNS) float64"""
    num_casters: int
    """The first so many faces throw shadows."""


@dataclass(frozen=True, eq=False)
class Photography:
    """What the camera adds."""

    gains: np.ndarray
    """(3,) exposure and white balance."""
    read_noise: float
    """Standard deviation in grey levels, and that of light grey over dark."""
    shot_noise: float
    motion: np.ndarray
    """(2,) pixels of the frame over which the picture smears."""
    hands_move: bool
    """The smear is of the hands alone."""
    defocus: float
    """Standard deviation in pixels of the frame."""
    background_defocus: float
    jpeg_quality: int
    """0: none."""
    noise_seed: int


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that ``render`` needs."""

    index: int
    camera: Camera
    egocentric: bool
    hands: tuple[WorldHand, ...]
    geometry: Geometry
    light: np.ndarray
    """(LIGHT_COLUMNS,)"""
    background: np.ndarray
    """(h, w, 3) uint8"""
    background_affine: np.ndarray
    """(2, 3) from its pixels to the frame's."""
    photography: Photography

    @cached_property
    def shadow(self) -> tuple[np.ndarray, np.ndarray]:
        """The nearest surfaces as the key light sees them, and the (12,) map of points into that picture: three rows, three offsets.

        The (3, S, S) picture holds nearness, and its greatest and least values around.
        """
        joints = np.concatenate([hand.joints for hand in self.hands]) if self.hands else self.geometry.positions
        centre = joints.mean(axis=0)
        reach = min(float(np.linalg.norm(joints - centre, axis=-1).max()) + 0.05, 0.30)
        light = self.light[:3]
        side = cross(light, [0.0, 1, 0] if abs(light[1]) < 0.9 else [1.0, 0, 0])
        side = side / np.linalg.norm(side)
        rows = np.stack([side, cross(side, light), light])
        scale = SHADOW_SIZE / (2 * reach)
        rows[:2] *= scale
        offsets = -rows @ centre + np.array([SHADOW_SIZE / 2, SHADOW_SIZE / 2, 0])
        local = self.geometry.positions @ rows.T + offsets
        faces = self.geometry.faces[: self.geometry.num_casters]
        _, nearest = rasterise(np.ascontiguousarray(local[:, :2]), np.ascontiguousarray(local[:, 2]), faces, SHADOW_SIZE, SHADOW_SIZE)
        around = np.ones((2 * int(self.light[16]) + 1,) * 2, np.uint8)
        return np.stack([nearest, cv2.dilate(nearest, around), cv2.erode(nearest, around)]), np.concatenate([rows.ravel(), offsets])


class Meshes:
    """Collects meshes into one ``Geometry``."""

    def __init__(self):
        self._positions, self._normals, self._uvw, self._faces, self._face_material, self._face_part = [], [], [], [], [], []
        self._materials, self._vertices = [], 0

    def material(self, row: np.ndarray) -> int:
        self._materials.append(row)
        return len(self._materials) - 1

    def add(self, positions, faces, uvw, material, part=0, normals=None) -> None:
        """``material`` and ``part``: a number, or (F,) numbers."""
        self._positions.append(positions)
        self._normals.append(vertex_normals(positions, faces) if normals is None else normals)
        self._uvw.append(uvw)
        self._faces.append(faces + self._vertices)
        self._face_material.append(np.broadcast_to(np.asarray(material, np.uint8), len(faces)))
        self._face_part.append(np.broadcast_to(np.asarray(part, np.uint8), len(faces)))
        self._vertices += len(positions)

    @property
    def num_faces(self) -> int:
        return sum(map(len, self._faces))

    def lowest(self, up: np.ndarray) -> float:
        return min(float((positions @ up).min()) for positions in self._positions)

    def geometry(self, num_casters: int) -> Geometry:
        return Geometry(
            np.concatenate(self._positions),
            np.concatenate(self._normals).astype(np.float32),
            np.concatenate(self._uvw).astype(np.float32),
            np.concatenate(self._faces).astype(np.int32),
            np.concatenate(self._face_material),
            np.concatenate(self._face_part),
            np.stack(self._materials),
            num_casters,
        )


@dataclass(frozen=True, eq=False)
class Person:
    """What both hands of one person have in common: numbers of materials, and where the sleeves begin (metres from the wrist)."""

    skin: int
    glove: int | None
    glove_ends: int
    sleeve: int | None
    sleeve_start: float


@dataclass(eq=False)
class Actor:
    """A hand on its way into the scene; right-handed, in the camera frame mirrored where ``side`` is left."""

    side: Side
    betas: np.ndarray
    action: HandAction
    rotation: np.ndarray
    """(3, 3) rest frame to (mirrored) camera frame."""
    arm: np.ndarray
    """(3,) unit, to the elbow, in the wrist's rest frame."""
    wrist: np.ndarray
    """(3,) the wrist joint."""

    @property
    def mirror(self) -> np.ndarray:
        return np.ones(3) if self.side is Side.RIGHT else MIRROR

    def balls(self) -> np.ndarray:
        """(N, 4) flesh in the camera frame, the arm's included."""
        local = self.action.balls
        arm = np.arange(0.01, 0.20, 0.03)[:, None] * self.arm
        centres = np.concatenate([local[:, :3], arm]) @ self.rotation.T + self.wrist
        return np.column_stack([centres * self.mirror, np.concatenate([local[:, 3], np.full(len(arm), 0.030)])])

    def centre(self) -> np.ndarray:
        return (self.rotation @ PALM_CENTRE + self.wrist) * self.mirror


def make_scene(config: WorldConfig, index: int) -> Scene:
    """The scene of this number; the same for the same world, split, seed and number."""
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
        if _well_seen(camera, geometry, hands):
            break
    background, background_affine = make_background(config, camera, rng)
    return Scene(
        index=index,
        camera=camera,
        egocentric=egocentric,
        hands=hands,
        geometry=geometry,
        light=make_light(config, upright[:, 1], backgrounds.mean_light(background), rng),
        background=background,
        background_affine=background_affine,
        photography=make_photography(config, camera, rng),
    )


# ---------------------------------------------------------------------------------------------------------------- hands


def make_actors(config: WorldConfig, camera: Camera, upright: np.ndarray, egocentric: bool, rng: np.random.Generator) -> list[Actor]:
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
        action = act(grasp, betas, config.things, rng)
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
    """(3,) unit, from the wrist to the elbow in the hand's rest frame: how the wrist is bent."""
    flexion, deviation = np.radians(np.clip(rng.normal((-8, 0), (22, 10)), (-60, -22), (55, 22)))
    return rotation([0, deviation, 0]) @ rotation([0, 0, flexion]) @ np.array([1.0, 0, 0])


def _place(config: WorldConfig, camera: Camera, side: Side, egocentric: bool, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """The unit ray on which the palm lies, and how far along it."""
    x, y = 1.08 * rng.beta(1.4, 1.4, 2) - 0.04
    if egocentric:
        x = x + (0.10 if side is Side.RIGHT else -0.10)
        y = y + 0.06
    pixel = np.clip([x, y], -0.03, 1.03) * (camera.width, camera.height)
    ray = camera.rays(pixel)
    if not np.isfinite(ray).all() or ray[2] < 0.15:
        ray = camera.rays(np.array([camera.width, camera.height]) / 2)
    if egocentric:
        return ray, float(np.exp(rng.uniform(np.log(0.22), np.log(0.72))))
    share = np.exp(rng.uniform(*np.log(config.hand_shares)))
    return ray, float(np.clip(0.17 * camera.focal / (share * min(camera.width, camera.height)), 0.2, config.farthest))


def _orientation(centre: np.ndarray, arm: np.ndarray, body: np.ndarray, egocentric: bool, rng: np.random.Generator) -> np.ndarray:
    """(3, 3) rest frame to camera frame of a right hand. ``body``: upright frame to camera frame."""
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
    along = _unit(elbow - centre)
    # The palm looks to the body's middle, turned about the forearm.
    medial = -body[:, 0]
    palm = _unit(medial - medial @ along * along)
    turned = rotation(along * np.radians(rng.uniform(-115, 105))) @ palm
    frame = np.column_stack([along, -turned, cross(along, -turned)])
    # ``frame`` is that of a hand in line with its forearm: bend it so that ``arm`` comes to lie along x.
    axis = cross(arm, [1.0, 0, 0])
    sine = np.linalg.norm(axis)
    bend = rotation(axis / max(sine, 1e-9) * np.arctan2(sine, arm[0]))
    return frame @ bend


def _beside(other: Actor, centre: np.ndarray, camera: Camera, interacting: bool, rng: np.random.Generator) -> np.ndarray:
    """Where the second palm lies."""
    reference = other.centre()
    if interacting:
        return reference + rng.normal(0, 1, 3) * (0.05, 0.04, 0.04)
    # At a similar distance, but elsewhere in the picture.
    distance = np.linalg.norm(centre)
    return centre / distance * np.clip(distance, 0.75 * np.linalg.norm(reference), 1.35 * np.linalg.norm(reference))


def _move_apart(actor: Actor, other: Actor, touching: bool) -> None:
    """Moves a hand away from the other until they do not go into one another."""
    away = actor.centre() - other.centre()
    away = _unit(away) if np.linalg.norm(away) > 1e-6 else np.array([1.0, 0, 0])
    fixed, moving = other.balls(), actor.balls()
    # Things that the hands hold count as balls about their middles.
    if not touching:
        fixed, moving = np.concatenate([fixed, _thing_balls(other)]), np.concatenate([moving, _thing_balls(actor)])
    shift = 0.0
    for _ in range(60):
        moved = moving + np.array([*(shift * away), 0])
        depth = overlap(moved, fixed)
        if depth < 0.002:
            break
        shift += max(depth, 0.003)
    actor.wrist = actor.wrist + shift * away * actor.mirror


def _thing_balls(actor: Actor) -> np.ndarray:
    rows = []
    for thing in actor.action.things:
        for part in thing:
            centre = (actor.rotation @ part.position + actor.wrist) * actor.mirror
            rows.append([*centre, 0.6 * part.solid.extent])
    return np.array(rows).reshape(-1, 4)


def well_in_view(actor: Actor, camera: Camera, config: WorldConfig) -> bool:
    """Enough of the hand is in the picture, none of it at the lens, and it is large enough to be seen."""
    balls = actor.balls()[: len(actor.action.balls)]
    if balls[:, 2].min() < NEAREST:
        return False
    pixels = camera.project(balls[:, :3])
    inside = ((pixels >= 0) & (pixels <= (camera.width - 1, camera.height - 1))).all(axis=-1)
    if inside.mean() < 0.45:
        return False
    seen = pixels[np.isfinite(pixels).all(axis=-1)]
    return bool(np.ptp(seen, axis=0).max() > config.least_share * max(camera.width, camera.height))


def _well_seen(camera: Camera, geometry: Geometry, hands: tuple[WorldHand, ...]) -> bool:
    """Of each hand's part in the picture, something else hides no more than ``MOST_HIDDEN``."""
    scale = LOOK_SIZE / max(camera.width, camera.height)
    small = camera.scaled(scale, scale)
    pixels = small.project(geometry.positions)
    with np.errstate(divide="ignore"):
        nearness = np.where(geometry.positions[:, 2] > 0.03, 1 / geometry.positions[:, 2], np.nan)
    index, _ = rasterise(pixels, nearness, geometry.faces, small.width, small.height)
    seen = np.bincount(geometry.face_part[index[index >= 0]], minlength=len(hands) + 1)
    for number in range(1, len(hands) + 1):
        own = np.ascontiguousarray(geometry.faces[geometry.face_part == number])
        whole = np.count_nonzero(rasterise(pixels, nearness, own, small.width, small.height)[0] >= 0)
        if seen[number] < max((1 - MOST_HIDDEN) * whole, 8):
            return False
    return True


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt(vector @ vector)


def make_person(meshes: Meshes, config: WorldConfig, rng: np.random.Generator) -> Person:
    gloved, sleeved = rng.random() < config.gloves, rng.random() < config.sleeves
    return Person(
        skin=meshes.material(skin_material(rng, rng.uniform(*config.skin_tones))),
        glove=meshes.material(glove_material(rng)) if gloved else None,
        glove_ends=int(rng.integers(1, 6)),
        sleeve=meshes.material(plain_material(rng, CLOTH_TEXTURES, rng.uniform(0.02, 0.12), cloth=True)) if sleeved else None,
        sleeve_start=float(rng.uniform(*((0.004, 0.03) if rng.random() < 0.5 else (0.03, 0.12)))) if sleeved else 1.0,
    )


def add_hand(meshes: Meshes, actor: Actor, number: int, camera: Camera, person: Person, rng: np.random.Generator) -> WorldHand:
    mesh = hand_mesh()
    pose = actor.action.hand_pose.reshape(15, 3)
    vertices, joints, _ = mesh.pose(np.concatenate([np.eye(3)[None], actor.action.rotations]), actor.betas)
    rest_wrist = joints[0].copy()
    vertices, joints = vertices - rest_wrist, joints - rest_wrist
    whole, line = mesh.with_arm(vertices.astype(np.float64), actor.arm)

    def to_camera(points):
        return (points @ actor.rotation.T + actor.wrist) * actor.mirror

    left = actor.side is Side.LEFT

    def seen(faces):
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
    shown = seen(faces[keep])
    meshes.add(positions, shown, mesh.uvw, material[keep], np.where(rings[keep] == 0, number + 1, 0))
    if person.sleeve is not None:
        start = person.sleeve_start + rng.uniform(0, 0.006)
        piece = tube(line, start, ARM_RINGS[-1], line.radii, rng.uniform(0.003, 0.009), rng.uniform(0.0003, 0.0016), rng)
        meshes.add(to_camera(piece[0]), seen(piece[1]), piece[2], person.sleeve)
    elif rng.random() < 0.2:
        band = meshes.material(plain_material(rng, THING_TEXTURES, 0.03, cloth=False))
        start = rng.uniform(0.012, 0.05)
        piece = tube(line, start, start + rng.uniform(0.006, 0.03), line.radii, rng.uniform(0.002, 0.006), 0.0, rng)
        meshes.add(to_camera(piece[0]), seen(piece[1]), piece[2], band)
    for thing in actor.action.things:
        for part in thing:
            points, part_faces, uv = part.solid.mesh()
            row = meshes.material(plain_material(rng, THING_TEXTURES, rng.uniform(0.04, 0.2), cloth=False))
            meshes.add(to_camera(points @ part.rotation.T + part.position), seen(part_faces), uv, row)

    in_camera = to_camera(joints)[list(MANO_TO_MEDIAPIPE)]
    mirror = actor.mirror
    orient = rotation_vector(actor.rotation * mirror[:, None] * mirror[None, :])
    hand_vertices = positions[: mesh.num_vertices]
    return WorldHand(
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
        box=_box(camera, hand_vertices),
        gloved=person.glove is not None,
    )


def _box(camera: Camera, vertices: np.ndarray) -> np.ndarray:
    pixels = camera.project(vertices)
    last = (camera.width - 1, camera.height - 1)
    return np.concatenate([np.clip(np.nanmin(pixels, axis=0), 0, last), np.clip(np.nanmax(pixels, axis=0), 0, last)])


# ---------------------------------------------------------------------------------------------------------------- surroundings


def add_thing(meshes: Meshes, thing: things.Thing, rotation_: np.ndarray, position: np.ndarray, rng: np.random.Generator) -> None:
    for part in things.placed(thing, rotation_, position):
        points, faces, uv = part.solid.mesh()
        row = meshes.material(plain_material(rng, THING_TEXTURES, rng.uniform(0.04, 0.2), cloth=False))
        meshes.add(points @ part.rotation.T + part.position, faces, uv, row)


def add_clutter(meshes: Meshes, config: WorldConfig, actors: list[Actor], upright: np.ndarray, rng: np.random.Generator) -> None:
    """Occluders between the camera and a hand, and things beyond the hands."""
    if rng.random() < config.occluders:
        actor = actors[rng.integers(len(actors))]
        balls = actor.balls()[: len(actor.action.balls), :3]
        target = balls[rng.integers(len(balls))]
        thing = things.anything(rng, config.things)
        extent = thing[0].solid.extent
        toward = rng.uniform(0.45, 0.8)
        aside = _unit(rng.normal(size=3)) * min(extent, 0.5) * rng.uniform(0.2, 1.0) * toward
        # No larger in the picture than about a hand.
        if toward * np.linalg.norm(target) - extent > 0.05 and extent < 0.10:
            add_thing(meshes, thing, rotation(rng.normal(0, 1.5, 3)), target * toward + aside, rng)
    if rng.random() < config.clutter:
        for _ in range(rng.integers(1, 5)):
            anchor = actors[rng.integers(len(actors))].centre()
            position = anchor * rng.uniform(1.25, 1.9) + rng.normal(0, 0.12, 3)
            if position[2] > 0.25:
                add_thing(meshes, things.anything(rng, config.things), upright @ rotation([0, rng.uniform(0, 6.3), 0]), position, rng)


def add_table(meshes: Meshes, config: WorldConfig, upright: np.ndarray, rng: np.random.Generator) -> Geometry:
    """Puts a table below everything, by chance, and closes the scene."""
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
            textures = (WOOD, WOOD, *THING_TEXTURES)
            row = meshes.material(plain_material(rng, textures, rng.uniform(0.15, 0.6), cloth=False, vivid=0.6))
            uv = np.column_stack([x.ravel(), z.ravel(), np.zeros(x.size)])
            meshes.add(local @ upright.T, faces, uv, row, normals=np.broadcast_to(up.astype(np.float32), (len(local), 3)))
    return meshes.geometry(casters)


def make_light(config: WorldConfig, up: np.ndarray, surroundings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    light = np.zeros(LIGHT_COLUMNS)
    harsh = config.harsh_light
    # From above, and rather from the camera's side than from behind what it sees.
    direction = up * rng.uniform(0.1, 1.2) + rng.normal(0, 0.55, 3) + np.array([0, 0, -0.35])
    light[0:3] = _unit(direction)
    warmth = rng.normal(0, 0.05 + 0.10 * harsh)
    key = np.array([1 + warmth, 1.0, 1 - 1.3 * warmth]) * np.exp(rng.uniform(np.log(0.35), np.log(0.6 + 1.0 * harsh)))
    tint = 0.6 + 0.4 * surroundings / max(surroundings.mean(), 1e-3)
    ambient = np.exp(rng.uniform(np.log(0.30 - 0.16 * harsh), np.log(0.55)))
    # The whole neither dark nor burnt out; what is left is the exposure's.
    level = np.exp(rng.uniform(np.log(0.75 - 0.25 * harsh), np.log(1.15 + 0.25 * harsh))) / (0.65 * key.mean() + ambient)
    light[3:6] = np.clip(key, 0.02, None) * level
    light[6:9] = ambient * level * tint * np.array([1 - 0.3 * warmth, 1.0, 1 + 0.3 * warmth])
    light[9:12] = light[6:9] * rng.uniform(0.3, 0.9) * np.clip(rng.normal(1, 0.08, 3), 0.7, 1.3)
    light[12:15] = up
    light[15] = rng.uniform(0.6 * harsh, 1.0)
    light[16] = rng.integers(1, 4)
    return light


def make_background(config: WorldConfig, camera: Camera, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture, and the map from its pixels to the frame's."""
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


def make_photography(config: WorldConfig, camera: Camera, rng: np.random.Generator) -> Photography:
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
