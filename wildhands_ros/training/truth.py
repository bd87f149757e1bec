"""What is known of one hand in one picture, checked, and in the terms of the hand model that is trained: crops are labelled from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from ..datasets import HandLabels, HandSample, Supervision
from ..hand_model.asset import HandAsset
from ..types import Grasp, ManoParameters, Side


class Skipped(NamedTuple):
    """Something that training does without."""

    reason: str
    """The same text for the same reason, to be counted by."""
    detail: str
    """The first of its kind is shown."""


@dataclass(frozen=True, eq=False)
class HandTruth:
    """Labels of one hand; metres in the camera's frame, pixels of the image, MediaPipe order. What is None or NaN is not known, or
    not to be learnt from."""

    side: Side
    box: np.ndarray
    """(4,) pixels."""
    pose_2d: np.ndarray | None
    """(21, 2) pixels, to place the crop by, whether they are learnt from or not."""
    keypoints: np.ndarray | None = None
    """(21, 2) pixels."""
    joints: np.ndarray | None = None
    """(21, 3)"""
    mano: ManoParameters | None = None
    rest_wrist: np.ndarray | None = None
    """(3,) where the hand model's wrist joint lies before it is turned and moved; with ``mano``."""
    learns_pose: bool = False
    learns_betas: bool = False
    learns_camera: bool = False
    """Which of the hand model's parameters are learnt from; they need ``mano``."""
    load_mask: Callable[[], np.ndarray] | None = None
    """(H, W) bool"""
    learns_mask: bool = False
    """Whether a mask that comes with the picture is learnt from, where none has to be loaded."""
    grasp: Grasp | None = None

    @property
    def is_empty(self) -> bool:
        labels = self.keypoints, self.joints, self.mano, self.load_mask, self.grasp
        return not self.learns_mask and all(label is None for label in labels)

    def rolled(self, angle: float, affine: np.ndarray) -> HandTruth:
        """After a turn of the camera: the picture's content, moved by the (2, 3) pixel map ``affine``, turns by ``angle`` radians clockwise
        as seen. The mask is that of the picture before."""
        turn = Rotation.from_rotvec([0, 0, angle])

        def moved(points: np.ndarray | None) -> np.ndarray | None:
            return None if points is None else points @ affine[:, :2].T + affine[:, 2]

        mano = self.mano
        if mano is not None:
            mano = replace(
                mano,
                transl=turn.apply(self.rest_wrist + mano.transl) - self.rest_wrist,
                global_orient=(turn * Rotation.from_rotvec(mano.global_orient)).as_rotvec(),
            )
        pose_2d = moved(self.pose_2d)
        corners = (
            pose_2d if pose_2d is not None else moved(np.array([(x, y) for x in self.box[::2] for y in self.box[1::2]]))
        )
        return replace(
            self,
            box=np.concatenate([np.nanmin(corners, axis=0), np.nanmax(corners, axis=0)]),
            pose_2d=pose_2d,
            keypoints=moved(self.keypoints),
            joints=None if self.joints is None else turn.apply(self.joints),
            mano=mano,
        )


def truths_of(
    sample: HandSample, assets: Mapping[Side, HandAsset], source: str
) -> tuple[list[HandTruth], list[Skipped]]:
    """The hands of a data set's sample that something can be learnt from, and what had to be left out.

    ``assets`` are the hand model that is trained. ``source`` goes before the reasons.
    """
    truths, skipped = [], []
    for side, labels in sample.hands.items():
        truth, reasons = _truth(side, labels, sample.supervision, assets[side])
        skipped += [Skipped(f"{source}: {reason}", f"{sample.name}, {side.value} hand") for reason in reasons]
        if truth is not None:
            truths.append(truth)
    if not sample.hands:
        skipped.append(Skipped(f"{source}: picture without labelled hands", sample.name))
    return truths, skipped


def _truth(
    side: Side, labels: HandLabels, supervision: frozenset[Supervision], asset: HandAsset
) -> tuple[HandTruth | None, list[str]]:
    skipped = []
    if not np.isfinite(labels.box).all() or (labels.box[2:] <= labels.box[:2]).any():
        return None, ["hand with a box that is empty or not finite"]
    keypoints = _valid(labels.keypoints, labels.keypoints_valid, "keypoints", skipped)
    joints = _valid(labels.joints, labels.joints_valid, "joints", skipped)
    mano, rest_wrist = _mano(labels, supervision, asset, skipped)
    truth = HandTruth(
        side,
        labels.box.astype(np.float64),
        keypoints,
        keypoints if Supervision.KEYPOINTS in supervision else None,
        joints if Supervision.JOINTS in supervision else None,
        mano,
        rest_wrist,
        mano is not None and Supervision.POSE in supervision,
        mano is not None and Supervision.BETAS in supervision,
        mano is not None and Supervision.CAMERA in supervision,
        load_mask=labels.load_mask if Supervision.MASK in supervision else None,
        grasp=labels.grasp if Supervision.GRASP in supervision and labels.grasp is not Grasp.UNKNOWN else None,
    )
    if truth.is_empty:
        return None, [*skipped, "hand without a label to learn from"]
    return truth, skipped


def _valid(points: np.ndarray | None, valid: np.ndarray, what: str, skipped: list[str]) -> np.ndarray | None:
    """(21, D) with NaN where not valid; None without any."""
    if points is None or not valid.any():
        return None
    if not np.isfinite(points[valid]).all():
        skipped.append(f"hand with NaN among its {what}, which are not used")
        return None
    return np.where(valid[:, None], points, np.nan).astype(np.float64)


def _mano(
    labels: HandLabels, supervision: frozenset[Supervision], asset: HandAsset, skipped: list[str]
) -> tuple[ManoParameters | None, np.ndarray | None]:
    label = labels.mano
    if label is None or not supervision & {Supervision.POSE, Supervision.BETAS, Supervision.CAMERA}:
        return None, None
    if asset.name != "mano":
        skipped.append("hand with MANO labels, which are not used: hand_model is the open hand")
        return None, None
    # Which shape directions the trained left hand has is for hand_model to say: the released model's are those as stored.
    if label.negate_left_shapedirs_x:
        skipped.append("hand with MANO labels for corrected left shape directions, which are not used")
        return None, None
    mano = label.parameters(asset)
    if not all(np.isfinite(values).all() for values in vars(mano).values()):
        skipped.append("hand with NaN among its MANO labels, which are not used")
        return None, None
    return mano, asset.J_regressor[0] @ (asset.v_template + asset.shapedirs[..., : len(mano.betas)] @ mano.betas)
