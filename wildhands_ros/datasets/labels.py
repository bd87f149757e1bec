"""Labelled images: the ground truth that dataset readers, the synthetic world, training and evaluation share.

Labels are as exact as their source: nothing is cropped, augmented or filled in. Joints are in MediaPipe order, 3D
values are in metres in the camera's optical frame, and 2D values are in pixels of the image that ``load_image``
returns.
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
    """A kind of label that training can learn from; each feeds one or more losses (see ``docs/training.md``)."""

    KEYPOINTS = "keypoints"
    JOINTS = "joints"
    POSE = "pose"
    BETAS = "betas"
    CAMERA = "camera"
    GRASP = "grasp"
    MASK = "mask"


@dataclass(frozen=True, eq=False)
class ManoLabel:
    """MANO parameters as a dataset stores them, rotated into the camera frame.

    Two quantities can only be resolved with the MANO model at hand, so they are kept as stored until ``parameters`` is
    called: poses relative to MANO's mean pose, and translations that depend on where the shape directions put the wrist
    joint.
    """

    global_orient: np.ndarray
    """(3,) axis-angle, in the camera frame."""
    hand_pose: np.ndarray
    """(45,) axis-angle in MANO's joint order; see ``pose_is_mean_relative``."""
    betas: np.ndarray
    """(10,) shape coefficients."""
    pose_is_mean_relative: bool
    """Whether MANO's mean pose must be added to ``hand_pose`` (``flat_hand_mean=False``), as in the released model."""
    wrist_offset: np.ndarray
    """(3,) metres; the wrist joint lies at ``wrist_rotation @ J0(betas) + wrist_offset``, where J0 is its position in
    the rest pose."""
    wrist_rotation: np.ndarray = field(default_factory=lambda: np.zeros((3, 3)))
    """(3, 3), see ``wrist_offset``: zero where the wrist itself is known, else the rotation of the frame the
    translation was stored in."""
    negate_left_shapedirs_x: bool = False
    """Whether the betas belong to a left hand with corrected shape directions (the option of that name of
    ``load_mano``)."""

    def parameters(self, mano: HandAsset) -> ManoParameters:
        """Convert the label to this project's convention.

        Args:
            mano: The MANO model of this side, loaded with this label's ``negate_left_shapedirs_x``.

        Raises:
            ValueError: ``mano`` is another hand model, whose betas have another meaning.
        """
        if mano.name != "mano":
            raise ValueError(
                f"the dataset's labels are parameters of MANO, not of {mano.name}; load MANO "
                "(hand_model.mano_files.load_mano)"
            )
        rest_wrist = mano.J_regressor[0] @ (mano.v_template + mano.shapedirs[..., : len(self.betas)] @ self.betas)
        return ManoParameters(
            transl=self.wrist_rotation @ rest_wrist + self.wrist_offset - rest_wrist,
            global_orient=self.global_orient,
            hand_pose=self.hand_pose + mano.hands_mean if self.pose_is_mean_relative else self.hand_pose,
            betas=self.betas,
        )


@dataclass(frozen=True, eq=False)
class LabelledHand:
    """The ground truth of one hand. What is unknown is None, or NaN within an array."""

    box: np.ndarray
    """(4,) x_min, y_min, x_max, y_max in pixels, without a margin."""
    side: Side | None = None
    keypoints: np.ndarray | None = None
    """(21, 2) pixels, which may lie outside the image."""
    joints: np.ndarray | None = None
    """(21, 3) metres."""
    mano: ManoLabel | ManoParameters | None = None
    """Hand model parameters: a ``ManoLabel`` as a dataset stores it, or ``ManoParameters`` of a known hand model (the
    synthetic world's are those of the open hand)."""
    grasp: Grasp | None = None
    load_mask: Callable[[], np.ndarray] | None = None
    """Returns (H, W) bool, the hand's visible pixels. Raises ``DatasetError`` if the dataset's mask is damaged."""
    visible: np.ndarray | None = None
    """(21,) bool: which keypoints lie within the image and are not hidden."""
    box_fill: float = float("nan")
    """Fraction of the box that the hand's visible pixels fill."""
    gloved: bool | None = None
    ignore: bool = False
    """Whether too little of the hand is visible to count: neither missing it nor finding it is an error."""

    @property
    def known_keypoints(self) -> np.ndarray:
        """(21,) bool: which keypoints are labelled."""
        return _known(self.keypoints)

    @property
    def known_joints(self) -> np.ndarray:
        """(21,) bool: which 3D joints are labelled."""
        return _known(self.joints)

    @property
    def visible_fraction(self) -> float:
        """Fraction of the 21 keypoints that are visible; NaN where unknown."""
        return float("nan") if self.visible is None else float(self.visible.mean())


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """One image with the ground truth of its hands."""

    name: str
    """Identifies the image within its source: a path or a number in the source's own terms."""
    load_image: Callable[[], np.ndarray]
    """Returns (H, W, 3) RGB uint8 of the camera's size. Raises ``ValueError`` or ``OSError`` if the image cannot be
    read."""
    camera: Camera
    hands: tuple[LabelledHand, ...]
    """The labelled hands that lie at least partly within the image; the image may show others without labels."""
    supervision: frozenset[Supervision] = frozenset()
    """The kinds of labels that training may learn from; empty for data that is for evaluation."""
    camera_is_known: bool = True
    """If False, ``camera`` is a guess (the paper's assumed camera, say) and absolute positions mean nothing."""
    encode_camera: bool = True
    """If False, KPE is computed without the intrinsics (the paper's ``no_intrx`` for Ego4D, whose images come from many
    cameras)."""


def drop_unknown(points: np.ndarray) -> np.ndarray | None:
    """Return (21, D) points as they are, or None if not one of them is known."""
    return points if _known(points).any() else None


def _known(points: np.ndarray | None) -> np.ndarray:
    return np.zeros(21, bool) if points is None else np.isfinite(points).all(axis=-1)
