"""Sample estimates for the tests of the message builders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from builtin_interfaces.msg import Time
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.types import EstimateSource, FrameEstimate, HandEstimate, ManoParameters, Side

CAMERA = Camera(
    np.array([[610.0, 0, 322.5], [0, 612.0, 238.0], [0, 0, 1]]),
    640,
    480,
    "plumb_bob",
    np.array([0.1, -0.2, 0.001, 0.002, 0.0]),
)


def header(sec: int = 12, nanosec: int = 345, frame_id: str = "camera_optical") -> Header:
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def hand(side: Side = Side.RIGHT, seed: int = 0, **changes) -> HandEstimate:
    """Returns a hand of random numbers in which all fields are set."""
    rng = np.random.default_rng(seed)
    joints = rng.normal((0, 0, 0.5), 0.05, (21, 3))
    rotvecs = rng.normal(0, 0.5, (16, 3))
    probabilities = rng.random(9)
    spread = rng.normal(0, 0.01, (6, 6))
    vertices = rng.normal((0, 0, 0.5), 0.05, (len(open_hand(side).v_template), 3))
    estimate = HandEstimate(
        side=side,
        score=0.9,
        side_score=0.8,
        box=np.array([10.25, 20.5, 110.75, 140.0]),
        joints=joints,
        joints_2d=CAMERA.project(joints),
        wrist_position=joints[0],
        wrist_rotation=Rotation.from_rotvec(rotvecs[0]).as_matrix(),
        mano=ManoParameters(rng.normal(size=3), rotvecs[0], rotvecs[1:].ravel(), rng.normal(size=10)),
        pose_mesh=lambda *_: vertices,
        source=EstimateSource.NETWORK_AND_FIT,
        joints_stddev=rng.random((21, 3)),
        wrist_covariance=spread @ spread.T,
        reprojection_error=0.012,
        grasp_probabilities=0.4 * probabilities / probabilities.sum() + 0.6 * np.eye(9)[3],
        track_id="7",
    )
    return replace(estimate, **changes)


def frame(*hands: HandEstimate) -> FrameEstimate:
    return FrameEstimate(tuple(hands), CAMERA, unresolved=1)
