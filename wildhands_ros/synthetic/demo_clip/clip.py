"""The clip of ``wildhands demo``: two hands above a desk as a head-mounted camera sees them, with ground truth.

The renderer of the synthetic world draws it. Everything follows from ``SEED``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import cv2
import numpy as np
import torch

from ...geometry.camera import Camera
from ...hand_model.asset import joints_linear, open_hands
from ...hand_model.joints import MANO_TO_MEDIAPIPE
from ...hand_model.layer import HandLayer
from ...types import EstimateSource, FrameEstimate, Grasp, HandEstimate, ManoParameters, Side
from ..actors import MIRROR, Actor
from ..dressed_hands import Person, add_hand
from ..grasps import HandAction
from ..hand_mesh import rotation
from ..render import render
from ..scene import Meshes, Photography, Scene
from ..shading import LIGHT_COLUMNS
from ..skin import to_linear
from ..solids import unit
from ..textures import KNIT, palette_material, skin_material
from .motion import KEYS, HandMotion, Key
from .room import DOWN, add_desk, add_wall

CAMERA = Camera(
    np.array([[692.4, 0, 466.3], [0, 690.9, 283.1], [0, 0, 1]]),
    960,
    540,
    "plumb_bob",
    np.array([-0.062, 0.021, 0.0007, -0.0005, 0.0]),
)
FPS = 30
SEED = 1
SHUTTER = 0.5
"""Share of the frame interval during which the shutter is open."""
EXPOSURES = 3
"""Images that are averaged into a frame, for motion blur."""
BETAS_STDDEV = 0.6
"""The hands have a shape of their own, so that an estimator cannot assume the mean shape."""
SKIN_TONE = 0.27
SLEEVE_COLOURS = [to_linear(np.array(colour)) for colour in ((58, 78, 112), (44, 60, 90))]
SHADOW_SIZE = 512


class DemoClip:
    """Ground truth and image of the clip at any time.

    Args:
        keys: Where the hand of each side is at which time; that of the clip unless given.
    """

    def __init__(self, keys: Mapping[Side, Sequence[Key]] = KEYS) -> None:
        rng = np.random.default_rng(SEED)
        hand_model = open_hands()
        self._layer = HandLayer(hand_model[Side.RIGHT], hand_model[Side.LEFT])
        self._betas = rng.normal(0, BETAS_STDDEV, self._layer.num_betas)
        self._motions = [
            HandMotion(hand_model[side], SEED + number, keys[side]) for number, side in enumerate(Side, start=1)
        ]
        self._rest_wrists = {}
        for side, asset in hand_model.items():
            template, dirs = joints_linear(asset)
            self._rest_wrists[side] = (template + dirs @ self._betas)[0]

    def ground_truth(self, time: float) -> FrameEstimate:
        """Returns both hands at ``time`` in seconds, whether the camera sees them or not."""
        return FrameEstimate(tuple(self._hand(motion, time) for motion in self._motions), CAMERA)

    def frame(self, time: float) -> np.ndarray:
        """Draws the (H, W, 3) uint8 RGB frame whose exposure is centred at ``time`` in seconds."""
        times = time + (np.arange(EXPOSURES) - (EXPOSURES - 1) / 2) / EXPOSURES * SHUTTER / FPS
        exposures = [render(self.scene(moment)).image for moment in times.tolist()]
        return np.round(np.stack(exposures).mean(axis=0)).astype(np.uint8)

    def _hand(self, motion: HandMotion, time: float) -> HandEstimate:
        wrist_rotation = motion.rotation(time)
        mano = ManoParameters(
            # The hand rotates about its wrist joint, which coincides with the wrist of the motion.
            transl=motion.wrist(time) - self._rest_wrists[motion.side],
            global_orient=cv2.Rodrigues(wrist_rotation)[0].ravel(),
            hand_pose=motion.hand_pose(time),
            betas=self._betas,
        )
        output = self._layer(
            *(
                torch.from_numpy(value.astype(np.float32))[None]
                for value in (mano.global_orient, mano.hand_pose, mano.betas, mano.transl)
            ),
            is_right=torch.tensor([motion.side is Side.RIGHT]),
        )
        vertices, joints = (value[0].numpy().astype(np.float64) for value in output)
        joints = joints[list(MANO_TO_MEDIAPIPE)]
        joints_2d = CAMERA.project(joints)
        return HandEstimate(
            side=motion.side,
            score=1.0,
            side_score=1.0,
            box=np.concatenate([joints_2d.min(axis=0), joints_2d.max(axis=0)]),
            joints=joints,
            joints_2d=joints_2d,
            wrist_position=joints[0],
            wrist_rotation=wrist_rotation,
            mano=mano,
            pose_mesh=lambda *_: vertices,
            source=EstimateSource.KEYPOINT_FIT,
        )

    def scene(self, time: float) -> Scene:
        """Returns the scene at ``time`` in seconds, not yet rendered."""
        meshes = Meshes()
        person = Person(
            skin=meshes.material(_skin()),
            glove=None,
            glove_ends=0,
            sleeve=meshes.material(palette_material(KNIT, 0.11, SLEEVE_COLOURS, relief=1.0, wrap=0.1)),
            sleeve_start=0.05,
        )
        hands = tuple(
            # The same random numbers in every frame, so that the folds of the sleeves do not change.
            add_hand(meshes, self._actor(motion, time), number, CAMERA, person, np.random.default_rng(SEED + number))
            for number, motion in enumerate(self._motions)
        )
        add_desk(meshes)
        return Scene(
            index=0,
            camera=CAMERA,
            egocentric=True,
            hands=hands,
            geometry=meshes.geometry(meshes.num_faces),
            light=LIGHT,
            background=self._wall,
            background_affine=np.eye(2, 3),
            photography=PHOTOGRAPHY,
            shadow_size=SHADOW_SIZE,
        )

    def _actor(self, motion: HandMotion, time: float) -> Actor:
        """Returns the hand for the renderer, which draws left hands as mirrored right hands."""
        left = motion.side is Side.LEFT
        mirror = MIRROR if left else np.ones(3)
        hand_pose = (motion.hand_pose(time).reshape(15, 3) * (-mirror if left else 1)).reshape(15, 3)
        wrist_rotation = motion.rotation(time) * np.outer(mirror, mirror)
        wrist = motion.wrist(time) * mirror
        return Actor(
            side=motion.side,
            betas=self._betas,
            action=HandAction(
                Grasp.NO_GRASP,
                hand_pose.ravel(),
                np.stack([rotation(vector) for vector in hand_pose]),
                (),
                np.zeros((0, 4)),
            ),
            rotation=wrist_rotation,
            arm=unit(wrist_rotation.T @ (motion.elbow(time) * mirror - wrist)),
            wrist=wrist,
        )

    @cached_property
    def _wall(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB image of the wall behind the desk."""
        meshes = Meshes()
        add_wall(meshes)
        scene = Scene(
            index=0,
            camera=CAMERA,
            egocentric=True,
            hands=(),
            geometry=meshes.geometry(0),
            light=LIGHT,
            background=np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8),
            background_affine=np.eye(2, 3),
            photography=PHOTOGRAPHY,
        )
        return render(scene).image


def _skin() -> np.ndarray:
    skin = skin_material(np.random.default_rng(SEED), SKIN_TONE)
    skin[20] *= 0.5  # less mottling, which costs bytes in the video
    return skin


def _light() -> np.ndarray:
    light = np.zeros(LIGHT_COLUMNS)
    light[0:3] = unit(np.array([-0.50, -0.72, -0.48]))
    light[3:6] = 0.86 * np.array([1.0, 0.965, 0.90])
    light[6:9] = 0.38, 0.40, 0.44
    light[9:12] = 0.24, 0.20, 0.16
    light[12:15] = -DOWN
    light[15] = 0.9
    light[16] = 4
    return light


LIGHT = _light()
PHOTOGRAPHY = Photography(
    gains=np.full(3, 1.1),
    # Without noise, which costs bytes in the video.
    read_noise=0.0,
    shot_noise=0.0,
    motion=np.zeros(2),
    hands_move=False,
    defocus=0.8,
    background_defocus=3.0,
    jpeg_quality=0,
    noise_seed=0,
)
