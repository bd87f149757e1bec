"""Converts the hands of a camera node, as they arrive in a message, to observations in the common frame."""

from __future__ import annotations

import numpy as np
from rclpy.time import Time
from scipy.spatial.transform import Rotation

from ...fitting.hand_fusion import ObservedHand, observe
from ...geometry.camera import Camera
from ...geometry.pose import Pose
from ...msg import Hand, HandArray
from ...types import DepthStatus, EstimateSource, HandEstimate, ManoParameters, Side
from ..messages import DEPTH, SIDES
from ..rejections import InputRejected

FARTHEST_HAND = 100.0
"""Metres from the camera beyond which a hand is invalid."""

_SIDE_OF_VALUE = {value: side for side, value in SIDES.items()}
_DEPTH_OF_VALUE = {value: status for status, value in DEPTH.items()}


def check_array(camera: str, message: HandArray, hand_model: str) -> Camera:
    """Returns the camera of a message.

    Args:
        camera: name of the camera.
        message: the message.
        hand_model: name of the fusion's hand model.

    Raises:
        InputRejected: its hands cannot be fused.
    """
    if message.intrinsics_source == HandArray.INTRINSICS_GUESS:
        raise InputRejected(
            "guessed_intrinsics",
            f"the intrinsics of camera {camera} are guessed, so that its rays are wrong: calibrate it, or set "
            "horizontal_fov in its wildhands node",
        )
    if not message.header.frame_id:
        raise InputRejected("no_frame_id", f"the images of camera {camera} have no frame_id: set it in the driver")
    if message.header.stamp.sec <= 0 and not message.header.stamp.nanosec:
        raise InputRejected("no_stamp", f"the images of camera {camera} have no stamp: fix the camera driver")
    if message.hands and message.hand_model != hand_model:
        raise InputRejected(
            "other_hand_model",
            f"camera {camera} uses the hand model {message.hand_model!r}, the fusion {hand_model!r}: set the parameter "
            "hand_model of the fusion to that of the wildhands nodes",
        )
    try:
        return Camera(np.array(message.k), message.width, message.height, message.distortion_model, np.array(message.d))
    except ValueError as error:
        raise InputRejected("invalid_camera", f"camera {camera}: {error}") from error


def observations(message: HandArray, camera: Camera, pose: Pose) -> tuple[list[ObservedHand], int]:
    """Returns the usable hands of a message in the common frame, and the number of the others.

    Args:
        message: the message.
        camera: its camera.
        pose: pose of the camera in the common frame.
    """
    stamp = Time.from_msg(message.header.stamp).nanoseconds / 1e9
    estimates = [_estimate(hand) for hand in message.hands]
    observed = [None if estimate is None else observe(estimate, camera, pose, stamp) for estimate in estimates]
    usable = [hand for hand in observed if hand is not None]
    return usable, len(message.hands) - len(usable)


def _estimate(hand: Hand) -> HandEstimate | None:
    """Returns the estimate of a message; None if a number that the fusion needs is missing or impossible."""
    joints = np.reshape(np.asarray(hand.joints, np.float64), (21, 3))
    stddev = np.reshape(np.asarray(hand.joints_stddev, np.float64), (21, 3))
    covariance = np.reshape(np.asarray(hand.wrist.covariance, np.float64), (6, 6))
    mano = ManoParameters(
        *(
            np.asarray(getattr(hand.mano, name), np.float64)
            for name in ("transl", "global_orient", "hand_pose", "betas")
        )
    )
    numbers = (joints, stddev, covariance, mano.transl, mano.global_orient, mano.hand_pose, mano.betas)
    if hand.side not in _SIDE_OF_VALUE or not all(np.isfinite(values).all() for values in numbers):
        return None
    if np.abs(joints).max() > FARTHEST_HAND or stddev.min() <= 0 or covariance[0, 0] <= 0:
        return None
    return HandEstimate(
        side=_SIDE_OF_VALUE[hand.side],
        score=hand.score,
        side_score=hand.side_score,
        box=np.asarray(hand.bbox, np.float64),
        joints=joints,
        joints_2d=np.reshape(np.asarray(hand.joints_2d, np.float64), (21, 2)),
        wrist_position=joints[0],
        wrist_rotation=Rotation.from_rotvec(mano.global_orient).as_matrix(),
        mano=mano,
        pose_mesh=_no_mesh,
        source=EstimateSource.NETWORK_AND_FIT,
        joints_stddev=stddev,
        wrist_covariance=covariance,
        keypoints=np.reshape(np.asarray(hand.keypoints, np.float64), (21, 2)),
        grasp_probabilities=np.asarray(hand.grasp.probabilities) if len(hand.grasp.probabilities) == 9 else None,
        track_id=hand.id,
        depth=_DEPTH_OF_VALUE.get(hand.depth, DepthStatus.NONE),
    )


def _no_mesh(mano: ManoParameters, side: Side) -> np.ndarray:
    raise NotImplementedError("the mesh of a received hand is not posed again")
