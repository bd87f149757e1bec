"""``wildhands demo --robot``: a simulated robot follows the hands of a stream, over the topics of a real one.

A camera process, wildhands_node and wildhands_teleop run as they do on a robot. This process is the robot: it receives
commands, simulates the arm and its hand in real time, and reports its pose. It leaves a video and prints figures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from bisect import bisect_left
from dataclasses import dataclass, field

import cv2
import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64
from std_srvs.srv import SetBool

from ...geometry.camera import Camera
from ...geometry.pose import Pose
from ...hand_model.joints import MEDIAPIPE_BONES
from ...io.progress import LOADING, Progress, busy, warn, with_progress
from ...io.sources import ASSUMED_FPS, open_source
from ...msg import HandArray
from ...teleop.retargeting import ROBOTS
from ...teleop.simulated_robot import SimulatedRobot
from ...visualization.overlay import SIDE_COLOURS, draw_bones
from ...visualization.overlay_writers import VideoOverlay
from ...visualization.robot_drawing import draw_robot, look_at
from ..isolated_graph import child_process, isolate_graph
from ..messages import SIDE_OF_VALUE
from ..shutdown import shut_down
from ..stamps import nanoseconds
from ..teleop.messages import pose, pose_stamped, time_message
from .processes import (
    OUTPUT,
    DemoInput,
    SentFrames,
    bundled_clip,
    camera_command,
    hand_node,
    make_output_folder,
    node_command,
    read_sent,
)
from .robot_figures import Motion, describe

HAND = ROBOTS / "five_finger_hand.yaml"
BASE, SIDE = "base", "right"
CAMERA = Pose(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.array([-0.2, 0.0, 1.0]))
"""Pose of the camera in the frame of the robot: behind its base, looking forward as the robot does."""
TELEOP_PARAMETERS = {
    "target_frame": BASE,
    "camera.position": "[-0.2,0.0,1.0]",
    "camera.orientation": "[-0.5,0.5,-0.5,0.5]",
    "robot_hand.right": str(HAND),
    "rate": "100.0",
    "max_speed": "1.0",
    "max_rotation_speed": "4.0",
    # The hands may come more slowly than 10 Hz on a small machine.
    "watchdog": "0.5",
    "max_age": "10.0",
}
TICK = 0.02
"""Seconds between two steps of the robot."""
COMMAND_TIMEOUT = 0.2
"""Seconds after the last command at which the robot stays where it was told to go."""
ENGAGE_INTERVAL = 1.5
"""Seconds without a command after which the clutch is engaged, again if necessary: longer than ``resume``."""
LONGEST_STEP = 0.2
"""Seconds that the robot is simulated at most at once, if this process was held up."""
START_TIMEOUT = 120.0
"""Seconds for both nodes to start."""
DRAIN = 1.0
"""Seconds for which the robot goes on after the last image."""
VIDEO_STEP = 2
"""Every second image of the stream is in the video: drawing takes longer than simulating."""
PANEL = Camera(np.array([[800.0, 0, 239.5], [0, 800, 269.5], [0, 0, 1]]), 480, 540)
"""Camera that draws the robot."""
VIEW = look_at((-0.75, 0.55, 1.15), (0.45, -0.03, 0.66))


@dataclass
class _Log:
    """What happened; times in nanoseconds of the system clock."""

    motion: Motion = field(default_factory=Motion)
    positions: list[np.ndarray] = field(default_factory=list)
    """Positions of the robot's joints at the times of ``motion``."""
    hands: dict[int, HandArray] = field(default_factory=dict)
    """By stamp."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from camera to command, as wildhands_teleop measures them."""


class RobotNode(Node):
    """A robot on the topics of wildhands_teleop, in simulation."""

    def __init__(self) -> None:
        super().__init__("simulated_robot")
        self.robot = SimulatedRobot(HAND)
        self.log = _Log()
        self._command: Pose | None = None
        self._commanded_at = -np.inf
        self._joints: dict[str, float] = {}
        self._advanced = time.monotonic()
        prefix = f"teleop/{SIDE}"
        self._reported = self.create_publisher(PoseStamped, f"{prefix}/robot_pose", 1)
        self.create_subscription(PoseStamped, f"{prefix}/pose", self._on_command, 10)
        self.create_subscription(JointState, f"{prefix}/joint_states", self._on_joints, 10)
        self.create_subscription(Float64, f"{prefix}/latency", self._on_latency, 100)
        self.create_subscription(PoseStamped, f"{prefix}/wrist", self._on_wrist, 10)
        self.create_subscription(HandArray, "hands", self._on_hands, 30)
        self._clutch = self.create_client(SetBool, f"{prefix}/engage")
        self._asked_at = -np.inf
        self.create_timer(TICK, self._on_timer)

    def is_connected(self) -> bool:
        """Returns whether wildhands_teleop runs and receives hands."""
        # This node subscribes to the hands, too.
        return self._clutch.service_is_ready() and self.count_subscribers("hands") >= 2

    def _on_timer(self) -> None:
        now = time.monotonic()
        fresh = now - self._commanded_at <= COMMAND_TIMEOUT
        if fresh and self._command is not None:
            self.robot.command(self._command, self._joints)
        self.robot.advance(min(now - self._advanced, LONGEST_STEP))
        self._advanced = now
        at, reached = time.time_ns(), self.robot.pose
        self._reported.publish(pose_stamped(reached, time_message(at), BASE))
        self.log.motion.add(at, reached, self._command if fresh else None)
        self.log.positions.append(self.robot.positions)

    def _on_command(self, message: PoseStamped) -> None:
        self._command, self._commanded_at = pose(message.pose), time.monotonic()

    def _on_joints(self, message: JointState) -> None:
        self._joints = dict(zip(message.name, message.position, strict=True))

    def _on_latency(self, message: Float64) -> None:
        self.log.latencies.append(message.data)

    def _on_hands(self, message: HandArray) -> None:
        self.log.hands[nanoseconds(message.header.stamp)] = message

    def _on_wrist(self, message: PoseStamped) -> None:
        """Engages the clutch as soon as there is a hand, and again after it was lost for long."""
        now = time.monotonic()
        if now - max(self._commanded_at, self._asked_at) > ENGAGE_INTERVAL:
            self._asked_at = now
            self._clutch.call_async(SetBool.Request(data=True))


def run_robot_demo(source: str | None) -> int:
    """Runs the demo and leaves the video in demo_output/.

    Args:
        source: video or folder of images; None for the bundled clip.

    Returns:
        The exit code: 0 if the robot was moved.

    Raises:
        ValueError: the source cannot be read.
        OSError: the output folder cannot be written.
    """
    demo_input = bundled_clip() if source is None else DemoInput(source)
    opened = open_source(demo_input.source)
    make_output_folder()
    isolate_graph()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        robot = RobotNode()
        with (
            hand_node(demo_input.calibration is not None),
            child_process(node_command("wildhands_ros.ros.teleop.node", TELEOP_PARAMETERS)),
        ):
            sent = _stream(demo_input, robot, opened.count)
    finally:
        shut_down()
    for problem in sent.problems:
        print(f"wildhands: {problem}", file=sys.stderr)
    log = robot.log
    if not log.latencies:
        print("wildhands: the robot was not moved: the messages above may say why", file=sys.stderr)
        return 1
    print(describe(log.motion, log.latencies, [frame.stamp for frame in sent.frames], demo_input.labels, CAMERA))
    video = OUTPUT / "robot.mp4"
    _write_video(demo_input.source, sent, log, robot.robot, video.name)
    print(f"video      {video}")
    return 0


def _stream(demo_input: DemoInput, robot: RobotNode, count: int | None) -> SentFrames:
    """Runs the camera process to its end, or until Ctrl-C, and simulates the robot."""
    deadline = time.monotonic() + START_TIMEOUT
    with busy(f"starting the nodes: {LOADING}"):
        while not robot.is_connected():
            if time.monotonic() > deadline:
                warn(f"wildhands_teleop has not started within {START_TIMEOUT:g} s")
                return SentFrames([], {}, [])
            rclpy.spin_once(robot, timeout_sec=0.1)
    with (
        child_process(camera_command(demo_input), stdout=subprocess.PIPE) as camera,
        Progress(count, "frame", "robot") as progress,
    ):
        end = time.monotonic() + DRAIN
        while time.monotonic() < end:
            rclpy.spin_once(robot, timeout_sec=0.1)
            progress.show(len(robot.log.hands))
            if camera.poll() is None:
                end = time.monotonic() + DRAIN
        return read_sent(camera)


def _write_video(source: str, sent: SentFrames, log: _Log, robot: SimulatedRobot, name: str) -> None:
    """Writes the images with their hands beside the robot at the times of the images."""
    frames = open_source(source)
    times = log.motion.times
    with VideoOverlay(OUTPUT / name, (frames.fps or ASSUMED_FPS) / VIDEO_STEP) as video:
        pairs = list(zip(sent.frames, frames, strict=False))[::VIDEO_STEP]
        for frame, image in with_progress(pairs, len(pairs), "frame of the video"):
            positions = log.positions[min(bisect_left(times, frame.stamp), len(times) - 1)]
            drawn = _with_hands(image.image, log.hands.get(frame.stamp))
            panel = draw_robot(robot.shapes(positions), PANEL, VIEW)
            scale = PANEL.height / drawn.shape[0]
            drawn = cv2.resize(drawn, (2 * round(drawn.shape[1] * scale / 2), PANEL.height))
            video.write(np.hstack([drawn, panel]), name)


def _with_hands(image: np.ndarray, hands: HandArray | None) -> np.ndarray:
    """Returns the image with the skeletons of its hands."""
    drawn = np.ascontiguousarray(image).copy()
    for hand in hands.hands if hands else ():
        colours = [SIDE_COLOURS[SIDE_OF_VALUE[hand.side]]] * len(MEDIAPIPE_BONES)
        draw_bones(drawn, np.reshape(hand.joints_2d, (21, 2)), colours, 2)
    return drawn
