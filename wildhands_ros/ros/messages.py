"""Converts estimates to the messages of this package."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Pose
from std_msgs.msg import Header

from ..config import QualityThresholds
from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import in_image
from ..geometry.so3 import canonical_quaternions, quaternions_from_vectors
from ..hand_model.asset import HandAsset
from ..msg import Grasp as GraspMessage
from ..msg import Hand, HandArray, HandMeshTopology
from ..types import (
    DepthStatus,
    Doubt,
    EstimateSource,
    FrameEstimate,
    Grasp,
    HandEstimate,
    HandQuality,
    HandState,
    Side,
)

SIDES = {Side.RIGHT: Hand.SIDE_RIGHT, Side.LEFT: Hand.SIDE_LEFT}
SIDE_OF_VALUE = {value: side for side, value in SIDES.items()}

SOURCES = {
    EstimateSource.KEYPOINT_FIT: Hand.SOURCE_KEYPOINT_FIT,
    EstimateSource.NETWORK: Hand.SOURCE_NETWORK,
    EstimateSource.NETWORK_AND_FIT: Hand.SOURCE_NETWORK_AND_FIT,
    EstimateSource.FUSION: Hand.SOURCE_FUSION,
}

STATES = {state: getattr(Hand, f"STATE_{state.name}") for state in HandState}

DEPTH = {status: getattr(Hand, f"DEPTH_{status.name}") for status in DepthStatus}
DEPTH_OF_VALUE = {value: status for status, value in DEPTH.items()}

UNKNOWN_COVARIANCE = np.array([-1.0] + [0.0] * 35)


def hand_array(
    frame: FrameEstimate,
    header: Header,
    intrinsics: IntrinsicsSource,
    hand_model: str,
    vertices: bool = True,
    moved: Sequence[HandEstimate] = (),
) -> HandArray:
    """Returns the message with all hands of an image.

    Args:
        frame: the estimate.
        header: header of the image.
        intrinsics: source of ``frame.camera``.
        hand_model: name of the hand model.
        vertices: whether to include the meshes.
        moved: the hands of ``frame`` in the frame of ``header``; empty if that is the camera's.
    """
    camera = frame.camera
    return HandArray(
        header=header,
        k=camera.k.ravel(),
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=array.array("d", camera.d.tolist()),
        intrinsics_source=intrinsics.value,
        hand_model=hand_model,
        hands=[
            hand(estimate, camera.width, camera.height, vertices, visibility, contact)
            for estimate, visibility, contact in zip(
                moved or frame.hands, frame.visibility, frame.contacts, strict=True
            )
        ],
        unresolved=frame.unresolved,
    )


def hand(
    estimate: HandEstimate,
    width: int,
    height: int,
    vertices: bool = True,
    visibility: np.ndarray | None = None,
    contact: np.ndarray | None = None,
) -> Hand:
    """Returns the message of a hand in a ``width`` x ``height`` image.

    Args:
        estimate: the hand.
        width: width of the image in pixels.
        height: height of the image in pixels.
        vertices: whether to include the mesh.
        visibility: (21,) of ``FrameEstimate.visibility``; None if unknown.
        contact: (4,) of ``FrameEstimate.contacts``; None if unknown.
    """
    inside = in_image(estimate.joints_2d, width, height)
    quality = estimate.quality
    if quality is None:
        seen = np.full(21, np.nan) if visibility is None else visibility
        quality = HandQuality(HandState.of(seen, inside, QualityThresholds.min_seen), Doubt.UNCHECKED, usable=False)
    message = Hand(
        side=SIDES[estimate.side],
        id=estimate.track_id,
        score=float(estimate.score),
        side_score=float(estimate.side_score),
        source=SOURCES[estimate.source] | (Hand.SOURCE_DEPTH if estimate.depth is DepthStatus.USED else 0),
        depth=DEPTH[estimate.depth],
        bbox=_floats(estimate.box),
        joints=_floats(estimate.joints),
        joints_2d=_floats(estimate.joints_2d),
        keypoints=_floats(np.full((21, 2), np.nan) if estimate.keypoints is None else estimate.keypoints),
        joints_stddev=_floats(np.full((21, 3), np.nan) if estimate.joints_stddev is None else estimate.joints_stddev),
        joints_in_image=inside.tolist(),
        joints_visibility=_floats(np.full(21, np.nan) if visibility is None else visibility),
        contact=_floats(np.full(4, np.nan) if contact is None else contact),
        object_contact=_floats(np.full(5, np.nan) if estimate.object_contact is None else estimate.object_contact),
        reprojection_error=float(estimate.reprojection_error),
        views=list(estimate.views),
        state=STATES[quality.state],
        doubts=quality.doubts.value,
        usable=quality.usable,
        hand_length=float("nan") if estimate.hand_length is None else estimate.hand_length.metres,
        hand_length_stddev=float("nan") if estimate.hand_length is None else estimate.hand_length.stddev,
    )
    # Filling the existing nested messages is faster than creating and assigning new ones.
    set_pose(message.wrist.pose, estimate.wrist_position, quaternions_from_vectors(estimate.mano.global_orient))
    covariance = estimate.wrist_covariance
    message.wrist.covariance = UNKNOWN_COVARIANCE if covariance is None else np.asarray(covariance, float).ravel()
    for name in ("transl", "global_orient", "hand_pose", "betas"):
        setattr(message.mano, name, _floats(getattr(estimate.mano, name)))
    if vertices:
        message.vertices = array.array("f", _floats(estimate.vertices).tobytes())
    _set_grasp(message.grasp, estimate.grasp, estimate.grasp_probabilities)
    return message


def _set_grasp(message: GraspMessage, grasp: Grasp, probabilities: np.ndarray | None) -> None:
    """Sets a grasp class and the (9,) probabilities, which may be unknown."""
    message.label = int(grasp)
    if probabilities is None:
        return
    if grasp is not Grasp.UNKNOWN:
        message.score = float(probabilities[grasp])
    message.probabilities = array.array("f", _floats(probabilities).tobytes())


def set_pose(message: Pose, position: np.ndarray, quaternion: np.ndarray) -> None:
    """Sets a pose to a (3,) position in metres and a (4,) unit quaternion x, y, z, w."""
    p, q = message.position, message.orientation
    p.x, p.y, p.z = map(float, position)
    q.x, q.y, q.z, q.w = canonical_quaternions(quaternion).tolist()


def mesh_topology(side: Side, asset: HandAsset) -> HandMeshTopology:
    """Returns the message of the triangles of a side's mesh.

    Raises:
        ValueError: the mesh has more vertices than the message's indices can address.
    """
    vertices = len(asset.v_template)
    if vertices > 2**16:
        raise ValueError(
            f"HandMeshTopology holds indices up to {2**16 - 1}, but the hand model {asset.name} has {vertices} vertices"
        )
    indices = array.array("H", np.ascontiguousarray(asset.faces, dtype=np.uint16).tobytes())
    return HandMeshTopology(side=SIDES[side], hand_model=asset.name, num_vertices=vertices, faces=indices)


def _floats(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32).ravel()
