"""Converts the hands of a camera node, as they arrive in a message, to observations in the common frame."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from ...fitting.hand_fusion import ObservedHand, observe
from ...geometry.camera import Camera
from ...geometry.pose import Pose
from ...msg import Hand, HandArray
from ...types import DepthStatus, EstimateSource, HandEstimate, ManoParameters, Side
from ..messages import DEPTH_OF_VALUE, SIDE_OF_VALUE
from ..rejections import InputRejected
from ..stamps import nanoseconds

FARTHEST_HAND = 100.0
"""Metres from the camera beyond which a hand is invalid."""
MOST_BETAS = 50.0
"""Largest size of a shape coefficient; beyond it, a hand is invalid."""
MOST_HANDS = 16
"""Hands of a message that are used, the best ones by score; the time of the association grows with their square."""


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
    if message.header.stamp.sec < 0:
        raise InputRejected("invalid_stamp", f"a stamp of camera {camera} is {message.header.stamp.sec} s")
    if not message.header.stamp.sec and not message.header.stamp.nanosec:
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
    stamp = nanoseconds(message.header.stamp) / 1e9
    hands = sorted(message.hands, key=lambda hand: np.nan_to_num(hand.score, nan=0.5), reverse=True)[:MOST_HANDS]
    estimates = [_estimate(hand) for hand in hands]
    observed = [None if estimate is None else observe(estimate, camera, pose, stamp) for estimate in estimates]
    usable = [hand for hand in observed if hand is not None]
    return usable, len(message.hands) - len(usable)


def _estimate(hand: Hand) -> HandEstimate | None:
    """Returns the estimate of a message; None if a number is missing or impossible."""
    joints = np.reshape(np.asarray(hand.joints, np.float64), (21, 3))
    stddev = np.reshape(np.asarray(hand.joints_stddev, np.float64), (21, 3))
    covariance = np.reshape(np.asarray(hand.wrist.covariance, np.float64), (6, 6))
    mano = ManoParameters.from_message(hand.mano)
    numbers = (joints, stddev, covariance, mano.transl, mano.global_orient, mano.hand_pose, mano.betas)
    if hand.side not in SIDE_OF_VALUE or not all(np.isfinite(values).all() for values in numbers):
        return None
    if np.abs(mano.betas).max(initial=0) > MOST_BETAS or not (_is_score(hand.score) and _is_score(hand.side_score)):
        return None
    places = np.concatenate([joints, stddev, mano.transl[None]])
    if np.abs(places).max() > FARTHEST_HAND or stddev.min() <= 0 or not _is_covariance(covariance):
        return None
    grasp = np.asarray(hand.grasp.probabilities, np.float64)
    return HandEstimate(
        side=SIDE_OF_VALUE[hand.side],
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
        grasp_probabilities=grasp if len(grasp) == 9 and all(map(_is_score, grasp)) else None,
        track_id=hand.id,
        depth=DEPTH_OF_VALUE.get(hand.depth, DepthStatus.NONE),
    )


def _is_score(value: float) -> bool:
    """Whether a number can be a confidence, which is NaN if it is unknown."""
    return bool(np.isnan(value) or 0 <= value <= 1)


def _is_covariance(values: np.ndarray) -> bool:
    """Whether finite numbers can be the covariance of a pose."""
    variances = np.diag(values)
    if not (variances.min() > 0 and variances.max() < FARTHEST_HAND**2):
        return False
    correlations = values / np.sqrt(np.outer(variances, variances))
    return bool(np.allclose(values, values.T, atol=1e-6 * variances.max()) and np.abs(correlations).max() < 1.001)


def _no_mesh(mano: ManoParameters, side: Side) -> np.ndarray:
    raise NotImplementedError("the mesh of a received hand is not posed again")
