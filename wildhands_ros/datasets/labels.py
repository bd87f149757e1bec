"""One image with what a data set knows of its hands: the common form of every data set, for training and evaluation.

Labels are as exact as the data set gives them: nothing is cropped, augmented or filled in. Joints are in MediaPipe order, 3D values in
metres in the camera's optical frame, 2D values in pixels of the image that ``load_image`` returns.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..geometry.camera import Camera
from ..hand_model.asset import HandAsset
from ..types import Grasp, ManoParameters, Side


class Supervision(enum.Enum):
    """A loss of training that a data set's labels may feed (spec 3.2)."""

    KEYPOINTS = "keypoints"
    JOINTS = "joints"
    POSE = "pose"
    BETAS = "betas"
    CAMERA = "camera"
    GRASP = "grasp"
    MASK = "mask"


@dataclass(frozen=True, eq=False)
class ManoLabel:
    """MANO parameters as a data set stores them, turned into the camera frame.

    Two things cannot be stated without MANO at hand, so they stay as they were stored until ``parameters`` is given MANO: poses relative
    to its mean pose, and a translation that depends on where its shape directions put the wrist joint.
    """

    global_orient: np.ndarray
    """(3,) axis-angle, in the camera frame."""
    hand_pose: np.ndarray
    """(45,) axis-angle, MANO joint order; see ``pose_is_mean_relative``."""
    betas: np.ndarray
    """(10,)"""
    pose_is_mean_relative: bool
    """MANO's mean pose has to be added to ``hand_pose`` as axis-angles (``flat_hand_mean=False``), as in the released model."""
    wrist_offset: np.ndarray
    """(3,) metres; the wrist joint lies at ``wrist_rotation @ J0(betas) + wrist_offset``, J0 being its place in the rest pose."""
    wrist_rotation: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    """(3, 3), see ``wrist_offset``: zero where the wrist is known, else the rotation of the frame in which the translation was stored."""
    negate_left_shapedirs_x: bool = False
    """The betas belong to a left hand with corrected shape directions (``load_mano``'s option of that name)."""

    def parameters(self, mano: HandAsset) -> ManoParameters:
        """The parameters in this project's convention; ``mano`` is this side's MANO, loaded with this label's ``negate_left_shapedirs_x``.

        :raises ValueError: another hand model, whose betas mean something else.
        """
        if mano.name != "mano":
            raise ValueError(
                f"the data set's labels are parameters of MANO, not of {mano.name}; load MANO (hand_model.mano_files.load_mano)"
            )
        rest_wrist = mano.J_regressor[0] @ (mano.v_template + mano.shapedirs[..., : len(self.betas)] @ self.betas)
        return ManoParameters(
            transl=self.wrist_rotation @ rest_wrist + self.wrist_offset - rest_wrist,
            global_orient=self.global_orient,
            hand_pose=self.hand_pose + mano.hands_mean if self.pose_is_mean_relative else self.hand_pose,
            betas=self.betas,
        )


@dataclass(frozen=True, eq=False)
class HandLabels:
    """What is known of one hand; entries that are not valid are NaN, and valid ones are finite."""

    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max in pixels; with no margin."""
    keypoints: np.ndarray | None = None
    """(21, 2) pixels, which may lie outside of the image."""
    keypoints_valid: np.ndarray = field(default_factory=lambda: np.zeros(21, bool))
    """(21,) bool"""
    joints: np.ndarray | None = None
    """(21, 3)"""
    joints_valid: np.ndarray = field(default_factory=lambda: np.zeros(21, bool))
    """(21,) bool"""
    mano: ManoLabel | None = None
    load_mask: Callable[[], np.ndarray] | None = None
    """Returns (H, W) bool: the hand's visible pixels. Raises ``DatasetError`` where the data set's mask is damaged."""
    grasp: Grasp | None = None


@dataclass(frozen=True, eq=False)
class HandSample:
    """One labelled image."""

    name: str
    """Tells the sample apart within its data set: a path or number in the data set's own terms."""
    load_image: Callable[[], np.ndarray]
    """Returns (H, W, 3) RGB uint8, of the camera's size. Raises ``DatasetError`` with the path where the file is missing or damaged."""
    camera: Camera
    hands: dict[Side, HandLabels]
    """The hands that are labelled and at least partly in the image, so none at times; others may be in it unlabelled."""
    supervision: frozenset[Supervision]
    """The losses that these labels feed; empty for data that are for evaluation."""
    camera_is_known: bool = True
    """False: ``camera`` is the one that the paper's training assumed, and metric depth means nothing."""
    encode_camera: bool = True
    """False: KPE is to be computed without intrinsics (the paper's ``no_intrx`` for Ego4D, whose images are of many cameras)."""
