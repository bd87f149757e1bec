"""Teleoperation of the simulated robot: from the hands of the demo clip to the motion of arm and fingers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("dex_retargeting")

from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.teleop.arm import Arm, ArmConfig
from wildhands_ros.teleop.follower import FollowerConfig
from wildhands_ros.teleop.observation import HandObservation
from wildhands_ros.teleop.retargeting import ROBOTS, Retargeting, RobotHandError
from wildhands_ros.teleop.simulated_robot import SimulatedRobot
from wildhands_ros.types import Side
from wildhands_ros.visualization.robot_drawing import draw_robot, look_at

HAND = ROBOTS / "five_finger_hand.yaml"
TRUTH = Path(__file__).parents[1] / "demo" / "truth.json"
CAMERA = Pose(Rotation.from_quat((-0.5, 0.5, -0.5, 0.5)).as_matrix(), np.array([-0.2, 0.0, 1.0]))
"""Pose of the clip's camera in the base frame of the robot: it looks forward."""
FPS, TICK = 30, 0.02


@pytest.fixture
def robot() -> SimulatedRobot:
    return SimulatedRobot(HAND)


def clip_hands() -> list[HandObservation]:
    """Returns the right hand of each frame of the demo clip in the base frame."""
    hands = []
    for frame in json.loads(TRUTH.read_text())["frames"]:
        found = next(hand for hand in frame["hands"] if hand["side"] == "right")
        joints = np.array(found["joints"])
        wrist = Pose(Rotation.from_rotvec(found["mano"]["global_orient"]).as_matrix(), joints[0])
        hands.append(HandObservation(Side.RIGHT, "right_1", wrist, joints).transformed(CAMERA))
    return hands


def test_robot_follows_the_hands_of_the_demo_clip(robot):
    """Commands and robot keep within the speed limit, also when the hand is lost for half a second and comes back."""
    hands, retargeting = clip_hands(), Retargeting(HAND, Side.RIGHT)
    limits = FollowerConfig(max_speed=1.0, max_rotation_speed=4.0, ramp=0.3)
    arm = Arm(ArmConfig(Side.RIGHT, limits), retargeting, robot.home)
    assert arm.engage(0.0)
    lost = range(90, 105)
    errors, commanded, moved = [], [], [robot.pose.position]
    for tick in range(len(hands) * 50 // FPS):
        now = tick * TICK
        if (number := round(now * FPS)) != round((now - TICK) * FPS) and number < len(hands):
            arm.frame(now, [] if number in lost else [hands[number]])
        if (command := arm.tick(now)) is not None:
            robot.command(command.pose, dict(zip(retargeting.joint_names, command.joints, strict=True)))
            commanded.append((now, command.pose))
        arm.robot_at(now, robot.pose)
        robot.advance(TICK)
        moved.append(robot.pose.position)
        errors.append(np.linalg.norm(robot.pose.position - commanded[-1][1].position))
    assert np.median(errors) < 0.02 and np.max(errors) < 0.06
    speeds = np.linalg.norm(np.diff(moved, axis=0), axis=1) / TICK
    assert speeds.max() < 1.5 * limits.max_speed
    # While the hand is lost the robot rests; without the pause it moves as far as the hand, 26 cm forward.
    stopped = [now for now, _ in commanded if 3.0 + limits.watchdog <= now < 3.5 - TICK]
    assert not stopped and np.ptp(np.array(moved), axis=0)[0] > 0.15
    assert arm.status == "following"


def test_robot_reaches_poses_and_holds_them(robot):
    for shift, turn in (((0.2, -0.1, 0.05), (0, 0, 1.5)), ((0.05, 0.15, 0.0), (0.4, 0.2, -1.0))):
        goal = Pose(Rotation.from_rotvec(turn).as_matrix() @ robot.home.rotation, robot.home.position + np.array(shift))
        for _ in range(100):
            robot.command(goal)
            robot.advance(TICK)
        assert np.linalg.norm(robot.pose.position - goal.position) < 1e-3
        assert Rotation.from_matrix(robot.pose.rotation @ goal.rotation.T).magnitude() < 1e-2


def test_a_pose_out_of_reach_is_approached_without_a_failure(robot):
    goal = Pose(robot.home.rotation, robot.home.position + (3.0, 0.0, 0.0))
    for _ in range(100):
        robot.command(goal)
        robot.advance(TICK)
    assert np.isfinite(robot.positions).all() and robot.pose.position[0] > robot.home.position[0] + 0.2


def test_fingers_pinch_as_the_hand_does(robot):
    """The model in MuJoCo has the kinematics of the URDF: its fingertips are where retargeting puts them."""
    retargeting = Retargeting(HAND, Side.RIGHT)
    assert len(robot.hand_joints) == 13 and set(robot.hand_joints) <= set(retargeting.joint_names)
    gaps = []
    hands = sorted(clip_hands(), key=lambda hand: hand.pinch)
    for hand in (hands[0], hands[-1]):
        positions = retargeting(hand.local_joints)
        robot.command(robot.home, dict(zip(retargeting.joint_names, positions, strict=True)))
        robot.advance(1.0)
        gaps.append(robot.distance("thumb_tip", "index_tip"))
        assert gaps[-1] == pytest.approx(retargeting.tip_distance(positions, "thumb_tip", "index_tip"), abs=0.003)
    assert gaps[1] - gaps[0] > 0.03


def test_a_hand_without_a_urdf_is_rejected(tmp_path):
    (tmp_path / "hand.yaml").write_text("retargeting: {urdf_path: missing.urdf}")
    with pytest.raises(RobotHandError, match=r"missing\.urdf"):
        SimulatedRobot(tmp_path / "hand.yaml")


def test_robot_is_drawn_where_the_camera_sees_it(robot):
    camera = Camera(np.array([[120.0, 0, 60], [0, 120, 60], [0, 0, 1]]), 120, 120)
    view = look_at(robot.home.position + (-1.0, 0.0, 0.1), robot.home.position + (0.0, 0.0, 0.05))
    image = draw_robot(robot.shapes(robot.positions), camera, view)
    assert image.shape == (120, 120, 3) and image.dtype == np.uint8
    palm = camera.project(view.inverse().apply(robot.home.position[None] + (0, 0, 0.045)))[0]
    red, green, blue = image[tuple(palm.round().astype(int)[::-1])].astype(int)
    assert red > green > blue + 20  # the colour of the hand
    assert (image[:5] == image[0, 0]).all()  # above the robot there is only the background
    lifted = robot.positions
    lifted[1] -= 0.3
    assert (draw_robot(robot.shapes(lifted), camera, view) != image).any()
