"""Synthetic recordings of a head-mounted camera that moves: two hands that work at a desk, with ground truth.

The world frame has its origin at the head's first position: x right, y up, z backward. The hands and the head move in
it along smooth random curves. Hands leave the image, cross, hold objects, pinch, and pass behind things on the desk.
They are as long as the hands of adults.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from zlib import crc32

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation, RotationSpline

from ..datasets.labels import LabelledHand
from ..fitting.hand_length import ADULTS, hand_length
from ..geometry.camera import Camera, in_image
from ..geometry.contact import pad_radii, pads
from ..geometry.pose import Pose
from ..geometry.visibility import SKIN
from ..hand_model.asset import open_hand
from ..types import Grasp, Side
from .actors import MIRROR, Actor
from .config import SPLITS, WorldConfig, world_config
from .depth import DepthSensor, measure, scene_depth
from .dressed_hands import add_hand, make_person
from .grasps import HandAction, act, pinch
from .objects import SceneObject, placed, random_object
from .raster import rasterise
from .render import RenderedImage, render
from .scene import Meshes, Scene
from .solids import PlacedSolid, box, distance, unit
from .surroundings import add_object, photographed
from .textures import OBJECT_TEXTURES, WOOD, plain_material

FPS = 30
SIZE = 640, 480
DESK = -0.55
"""Height of the desk in metres."""
_DESK_THICKNESS = 0.5
"""Metres; a hand that is lower than the desk is inside it."""
_OPTICAL = np.diag([1.0, -1.0, -1.0])
"""Axes of the camera in the frame of the head, which is upright as the world."""
_SHUTTER = 0.35
"""Share of the frame interval during which the shutter is open."""
_HOME = {Side.RIGHT: np.array([0.13, -0.33, -0.42]), Side.LEFT: np.array([-0.13, -0.33, -0.42])}
_SPREAD = np.array([0.11, 0.07, 0.09])
_REST = np.array([0.25, -0.85, -0.15])
"""Place of a hand that hangs down; x is mirrored for the left hand."""
_RESTS, _CROSSES = 0.12, 0.15
"""Shares of the key positions at which a hand hangs down, or is on the other side."""
_PREVIEW = 0.25
"""Scale of the image in which the seen fraction of a hand is measured."""


@dataclass(frozen=True, eq=False)
class EgocentricFrame:
    """One frame of a recording."""

    stamp: float
    """Seconds."""
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    camera_pose: Pose
    """Pose of the camera's optical frame in the world."""
    hands: tuple[LabelledHand, ...]
    """Both hands in the camera frame, whether they are in the image or not."""
    seen: tuple[float, ...]
    """For each hand the fraction of its outline that is inside the image and not hidden."""
    object_gaps: tuple[np.ndarray, ...]
    """For each hand the (5,) metres between the skin of each fingertip's pad, thumb first, and the nearest object: what
    a hand holds, the desk, or what stands on it. Negative inside an object."""


class EgocentricRecording:
    """A recording. The same arguments always give the same frames.

    Args:
        seed: Seed of all that is random.
        seconds: Duration.
        split: Split of the synthetic world, which has own people and rooms.
    """

    def __init__(self, seed: int, seconds: float, split: str = "test"):
        self.config: WorldConfig = replace(
            world_config("open", split), frame_sizes=(SIZE,), gloves=0.0, occluders=0.0, distorted=0.0, children=0.0
        )
        self.num_frames = round(seconds * FPS)
        self._entropy = [SPLITS.index(split), crc32(b"egocentric"), seed]
        rng = self._rng(0)
        focal = SIZE[0] / 2 / np.tan(np.radians(rng.uniform(62, 90)) / 2)
        k = np.array([[focal, 0, (SIZE[0] - 1) / 2], [0, focal, (SIZE[1] - 1) / 2], [0, 0, 1.0]])
        self.camera = Camera(k, *SIZE)
        betas = _adult(rng)
        self.hand_length = hand_length(open_hand(Side.RIGHT), betas)
        """Length of both hands in metres."""
        self._head = _HeadMotion(rng)
        self._hands = [
            _HandMotion(side, betas, seconds, self.config.objects, self._rng(1 + i)) for i, side in enumerate(Side)
        ]

    def camera_pose(self, time: float) -> Pose:
        """Returns the pose of the camera's optical frame in the world."""
        head = self._head(time)
        return Pose(head.rotation @ _OPTICAL, head.position)

    def frame(self, number: int) -> EgocentricFrame:
        """Renders a frame."""
        scene = self.scene(number)
        rendered = render(scene)
        hands = tuple(replace(hand, visible=_visible(scene, rendered, i)) for i, hand in enumerate(scene.hands))
        seen = tuple(_seen_fraction(scene, i) for i in range(len(hands)))
        gaps = self._object_gaps(number, hands)
        return EgocentricFrame(number / FPS, rendered.image, self.camera_pose(number / FPS), hands, seen, gaps)

    def depth(self, number: int, sensor: DepthSensor) -> np.ndarray:
        """Returns what a depth camera on the head measures in a frame: (H, W) float32 metres, 0 where unknown."""
        exact = scene_depth(self.scene(number), sensor.camera, sensor.pose, self._rng(50))
        return measure(exact, sensor, self._rng(1000 + number))

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([*self._entropy, number])

    def _actors(self, number: int) -> list[Actor]:
        in_camera = self.camera_pose(number / FPS).inverse()
        return [motion.actor(number / FPS, in_camera) for motion in self._hands]

    def _object_gaps(self, number: int, hands: Sequence[LabelledHand]) -> tuple[np.ndarray, ...]:
        """Returns ``EgocentricFrame.object_gaps`` of the hands of a frame."""
        in_camera = self.camera_pose(number / FPS).inverse()
        at_rest = [part.placed(in_camera.rotation, in_camera.position) for item in self._desk for part in item]
        actors = self._actors(number)
        gaps = []
        for hand in hands:
            assert hand.joints is not None
            centres = pads(hand.joints)
            nearest = _distances(at_rest, centres)
            for actor in actors:
                held = [part for item in actor.action.objects for part in item]
                in_rest_frame = (centres * actor.mirror - actor.wrist) @ actor.rotation
                nearest = np.minimum(nearest, _distances(held, in_rest_frame))
            gaps.append(nearest - pad_radii(hand.joints))
        return tuple(gaps)

    @cached_property
    def _desk(self) -> list[SceneObject]:
        """The desk and what stands on it, in the world."""
        top = PlacedSolid(box(2.0, _DESK_THICKNESS, 1.45), np.eye(3), np.array([0, DESK - _DESK_THICKNESS / 2, -0.775]))
        return [(top,), *self._add_desk(Meshes(), Pose.identity())]

    def scene(self, number: int) -> Scene:
        """Returns the scene of a frame in the frame of the camera, not yet rendered."""
        time = number / FPS
        camera_pose = self.camera_pose(time)
        in_camera = camera_pose.inverse()
        rng = self._rng(10)  # the same in every frame
        meshes = Meshes()
        person = make_person(meshes, self.config, rng)
        hands = tuple(
            add_hand(meshes, actor, i, self.camera, person, self._rng(20 + i))
            for i, actor in enumerate(self._actors(number))
        )
        self._add_desk(meshes, in_camera)
        geometry = meshes.geometry(meshes.num_faces)
        upright = in_camera.rotation
        scene = photographed(self.config, number, self.camera, upright, True, hands, geometry, self._rng(30))
        after = self.camera_pose(time + _SHUTTER / FPS)
        ahead = camera_pose.rotation[:, 2]
        moved, first = (self.camera.project(pose.rotation.T @ ahead) for pose in (after, camera_pose))
        # A turn of the head moves the background, which is far away, and blurs everything.
        start = self.camera_pose(0.0).rotation[:, 2]
        far = np.clip(self._background_shift(camera_pose, start), -3 * SIZE[0], 3 * SIZE[0])
        affine = scene.background_affine.copy()
        affine[:, 2] += far
        photography = replace(
            scene.photography,
            motion=moved - first,
            hands_move=False,
            noise_seed=scene.photography.noise_seed + 7919 * number,
        )
        return replace(scene, background_affine=affine, photography=photography)

    def _background_shift(self, pose: Pose, direction: np.ndarray) -> np.ndarray:
        """Returns the pixels by which what is in a direction has moved since the first frame."""
        x, y, z = pose.rotation.T @ direction
        return self.camera.focal * np.array([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))])

    def _add_desk(self, meshes: Meshes, in_camera: Pose) -> list[SceneObject]:
        """Adds the desk and what stands on it, and returns the latter in the world."""
        rng = self._rng(40)
        cells = 30
        x, z = np.meshgrid(np.linspace(-1, 1, cells + 1), np.linspace(-1.5, -0.05, cells + 1), indexing="ij")
        points = np.column_stack([x.ravel(), np.full(x.size, DESK), z.ravel()])
        index = np.arange(x.size).reshape(x.shape)
        a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
        faces = np.stack([a, c, b, a, d, c], axis=-1).reshape(-1, 3).astype(np.int32)
        row = meshes.material(plain_material(rng, (WOOD, *OBJECT_TEXTURES), 0.4, cloth=False, vivid=0.5))
        up = in_camera.rotation[:, 1].astype(np.float32)
        meshes.add(
            in_camera.apply(points),
            faces,
            np.column_stack([x.ravel(), z.ravel(), np.zeros(x.size)]),
            row,
            normals=np.broadcast_to(up, points.shape),
        )
        items = []
        for number in range(7):
            item = random_object(rng, self.config.objects)
            tall = 0.10 if number < 2 else 0.02
            place = np.array([rng.uniform(-0.4, 0.4), DESK + tall + rng.uniform(0, 0.05), -rng.uniform(0.3, 0.9)])
            items.append(placed(item, Rotation.from_euler("y", rng.uniform(0, 6.3)).as_matrix(), place))
            add_object(meshes, items[-1], rng, in_camera.apply)
        return items


class _Wander:
    """A smooth random function of time with values of about -1 to 1."""

    def __init__(self, rng: np.random.Generator, count: int, low: float, high: float):
        self._frequencies = rng.uniform(low, high, (count, 3))
        self._phases = rng.uniform(0, 2 * np.pi, (count, 3))

    def __call__(self, time: float) -> np.ndarray:
        return 0.6 * np.sin(2 * np.pi * self._frequencies * time + self._phases).sum(axis=-1)


class _HeadMotion:
    """The pose of the head at any time."""

    def __init__(self, rng: np.random.Generator):
        self._pitch = np.radians(-rng.uniform(34, 46))
        self._turns = _Wander(rng, 3, 0.08, 0.6)
        self._moves = _Wander(rng, 3, 0.08, 0.4)

    def __call__(self, time: float) -> Pose:
        yaw, pitch, roll = self._turns(time) * np.radians([16, 7, 4])
        turn = Rotation.from_euler("YXZ", [yaw, self._pitch + pitch, roll]).as_matrix()
        return Pose(turn, 0.06 * self._moves(time))


class _HandMotion:
    """One hand in the world at any time."""

    def __init__(self, side: Side, betas: np.ndarray, seconds: float, objects: str, rng: np.random.Generator):
        self.side, self._betas = side, betas
        mirror = 1.0 if side is Side.RIGHT else -1.0
        times = [0.0]
        while times[-1] < seconds + 1:
            times.append(times[-1] + rng.uniform(0.5, 1.4))
        wrists, turns = [], []
        for _ in times:
            place = _HOME[side] + rng.normal(0, 1, 3) * _SPREAD
            chance = rng.random()
            if chance < _RESTS:
                place = _REST * (mirror, 1, 1)
            elif chance < _RESTS + _CROSSES:
                place[0] -= 0.24 * mirror
            wrists.append(np.maximum(place, (-1, DESK + 0.07 if chance >= _RESTS else -1, -1)))
            fingers = np.array([-0.35 * mirror, rng.uniform(-0.3, 0.8), -1.0]) + rng.normal(0, 0.25, 3)
            palm = np.array([-mirror * rng.uniform(0, 1.2), -rng.uniform(-0.3, 1.0), -0.2]) + rng.normal(0, 0.3, 3)
            turns.append(_wrist_rotation(side, fingers, palm))
        self._wrist = PchipInterpolator(times, wrists)
        self._turn = RotationSpline(times, Rotation.from_matrix(turns))
        self._times, self._actions = _actions(betas, seconds, objects, rng)
        self._elbow = np.array([0.28 * mirror, -0.45, 0.05])

    def actor(self, time: float, in_camera: Pose) -> Actor:
        """Returns the hand for the renderer."""
        mirror = MIRROR if self.side is Side.LEFT else np.ones(3)
        world = Pose(self._turn(time).as_matrix(), self._wrist(time))
        pose = in_camera @ world
        rotation = pose.rotation * np.outer(mirror, mirror)
        wrist = pose.position * mirror
        elbow = in_camera.apply(self._elbow + 0.4 * (world.position - self._elbow) * (1, 0.5, 0.5)) * mirror
        return Actor(self.side, self._betas, self._action(time), rotation, unit(rotation.T @ (elbow - wrist)), wrist)

    def _action(self, time: float) -> HandAction:
        """Returns the action of a time; between two, the posture is blended and nothing is held."""
        number = int(np.searchsorted(self._times, time, "right")) - 1
        number = min(max(number, 0), len(self._actions) - 1)
        action = self._actions[number]
        left = self._times[number + 1] - time if number + 1 < len(self._times) else np.inf
        if left >= _BLEND:
            return action
        following = self._actions[min(number + 1, len(self._actions) - 1)]
        share = float(np.clip(1 - left / _BLEND, 0, 1))
        start, end = Rotation.from_matrix(action.rotations), Rotation.from_matrix(following.rotations)
        turned = start * Rotation.from_rotvec(share * (start.inv() * end).as_rotvec())
        return HandAction(Grasp.NO_GRASP, turned.as_rotvec().ravel(), turned.as_matrix(), (), action.balls)


_PINCHES = 0.4
"""Share of the actions without an object that bring the thumb and a fingertip together, or nearly so."""
_BLEND = 0.4
"""Seconds of the change between two actions."""


def _actions(
    betas: np.ndarray, seconds: float, objects: str, rng: np.random.Generator
) -> tuple[np.ndarray, list[HandAction]]:
    """Returns the times at which the actions of a hand begin, and the actions: every other one holds an object."""
    times, actions = [0.0], []
    holds = bool(rng.random() < 0.5)
    while times[-1] < seconds + 1:
        grasp = Grasp(int(rng.integers(0, 8))) if holds else Grasp.NO_GRASP
        pinches = not holds and rng.random() < _PINCHES
        actions.append(pinch(betas, rng) if pinches else act(grasp, betas, objects, rng))
        times.append(times[-1] + (rng.uniform(2.0, 4.0) if holds else rng.uniform(0.8, 1.8)))
        holds = not holds if rng.random() < 0.8 else holds
    return np.array(times), actions


def _adult(rng: np.random.Generator) -> np.ndarray:
    """Returns the (10,) shape of a random hand whose length is that of an adult."""
    asset = open_hand(Side.RIGHT)
    betas = np.clip(rng.normal(0, 1, 10), -2, 2)
    length = ADULTS.metres + ADULTS.stddev * np.clip(rng.normal(), -2.5, 2.5)
    larger = np.eye(10)[0]  # the first coefficient is the size
    for _ in range(3):
        now = hand_length(asset, betas)
        betas = betas + larger * (length - now) / (hand_length(asset, betas + larger) - now)
    return betas


def _distances(solids: Sequence[PlacedSolid], points: np.ndarray) -> np.ndarray:
    """Returns the (N,) metres from points (N, 3) to the nearest of some solids, negative inside; infinite without."""
    return np.array([min((distance(*solid.shape, *point) for solid in solids), default=np.inf) for point in points])


def _wrist_rotation(side: Side, fingers: np.ndarray, palm: np.ndarray) -> np.ndarray:
    """Returns the (3, 3) rotation of a wrist whose fingers and palm point in these directions.

    At rest, the fingers of the right hand point to -x and its palm to -y; the left hand is the mirror image in x.
    """
    along = unit(fingers)
    facing = unit(palm - (palm @ along) * along)
    x, y = (-along if side is Side.RIGHT else along), -facing
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _visible(scene: Scene, rendered: RenderedImage, hand: int) -> np.ndarray:
    """Returns (21,) which joints are inside the image and hidden by nothing but the skin around them."""
    joints = scene.hands[hand].joints
    assert joints is not None
    pixels = rendered.camera.project(joints)
    samples = np.nan_to_num(pixels @ rendered.to_samples[:, :2].T + rendered.to_samples[:, 2])
    height, width = rendered.face_at.shape
    x, y = np.clip(np.round(samples).astype(int), 0, (width - 1, height - 1)).T
    face = rendered.face_at[y, x]
    own = (face >= 0) & (scene.geometry.face_part[face] == hand + 1)
    own[0] |= face[0] >= 0  # the skin over the wrist is that of the arm
    depth = 1 / np.where(own, rendered.nearest[y, x], 1)
    return in_image(pixels, rendered.camera.width, rendered.camera.height) & own & (joints[:, 2] - depth < SKIN)


def _seen_fraction(scene: Scene, hand: int) -> float:
    """Returns the fraction of a hand's outline that is inside the image and not hidden."""
    camera = scene.camera
    # Twice the image in each direction, so that the part outside is counted too.
    shift = np.array([[1, 0, camera.width / 2], [0, 1, camera.height / 2]])
    wide = camera.transformed(shift, 2 * camera.width, 2 * camera.height).scaled(_PREVIEW, _PREVIEW)
    positions = scene.geometry.positions
    with np.errstate(divide="ignore"):
        nearness = np.where(positions[:, 2] > 0.03, 1 / positions[:, 2], np.nan)
    pixels = wide.project(positions)
    own = np.ascontiguousarray(scene.geometry.faces[scene.geometry.face_part == hand + 1])
    whole = int(np.count_nonzero(rasterise(pixels, nearness, own, wide.width, wide.height)[0] >= 0))
    if not whole:
        return 0.0
    index, _ = rasterise(pixels, nearness, scene.geometry.faces, wide.width, wide.height)
    is_hand = np.zeros(index.shape, bool)
    is_hand[index >= 0] = scene.geometry.face_part[index[index >= 0]] == hand + 1
    top, side = wide.height // 4, wide.width // 4
    return float(is_hand[top : top + wide.height // 2, side : side + wide.width // 2].sum() / whole)
