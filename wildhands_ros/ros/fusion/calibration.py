"""Implements ``wildhands calibrate-cameras``: refines the poses of cameras by the hands that they see together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from scipy.spatial.transform import Rotation

from ...fitting.association import associate
from ...fitting.extrinsics import ExtrinsicsMonitor, SharedHand, correction, refined_poses
from ...fitting.multiview_fit import HandView
from ...geometry.pose import Pose
from ...io.extrinsics_files import Extrinsics, load_extrinsics, save_extrinsics
from ...msg import HandArray
from ..camera_motion import CameraMotion, TransformUnavailable
from ..rejections import InputRejected
from ..shutdown import shut_down
from ..stamps import nanoseconds
from .observations import check_array, observations
from .synchroniser import Stamped, Synchroniser

TOLERANCE = 0.01
"""Largest difference of stamps in seconds; a hand that moves at 1 m/s is then off by 1 cm."""
FEWEST = 20
"""Least number of hands that each pair of cameras must have seen."""


def run_calibration(cameras: Sequence[str], extrinsics: Path | None, frame: str, output: Path, seconds: float) -> int:
    """Listens to the hands of cameras, refines their poses, prints the changes and writes the file.

    Args:
        cameras: Names of the cameras; the first one keeps its pose.
        extrinsics: File with their poses; None to look them up in TF.
        frame: Common frame, if the poses are looked up in TF.
        output: File to write.
        seconds: Seconds for which hands are collected.

    Returns:
        The exit code.

    Raises:
        ValueError: The poses are unknown, or too few hands were seen by two cameras.
    """
    given = load_extrinsics(extrinsics) if extrinsics is not None else None
    if given is not None and (missing := [name for name in cameras if name not in given.poses]):
        raise ValueError(f"{extrinsics} has no camera {', '.join(missing)}")
    if given is None and not (frame and CameraMotion.is_available()):
        raise ValueError("the poses of the cameras are unknown: give --extrinsics FILE, or --frame and tf2_ros")
    rclpy.init()
    node = rclpy.create_node("wildhands_calibrate_cameras")
    try:
        collector = HandCollector(node, cameras, given.poses if given is not None else None, frame)
        print(f"move a hand slowly through the view of all cameras for {seconds:.0f} s", flush=True)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.02)
    finally:
        node.destroy_node()
        shut_down()
    refined = refine(collector.poses, collector.monitor.shared, cameras)
    for line in describe(collector.poses, refined, collector.monitor.shared):
        print(line)
    save_extrinsics(output, Extrinsics(given.frame if given is not None else frame, refined))
    print(f"written to {output}")
    return 0


class HandCollector:
    """Collects the hands that cameras see at the same time.

    Args:
        node: Node that subscribes.
        cameras: Names of the cameras.
        poses: Their poses in the common frame; None to look them up in TF.
        frame: Common frame, if the poses are looked up.
    """

    def __init__(self, node: Node, cameras: Sequence[str], poses: Mapping[str, Pose] | None, frame: str):
        self.poses: dict[str, Pose] = dict(poses or {})
        self.monitor = ExtrinsicsMonitor(window=np.inf)
        self.problems: set[str] = set()
        self._frame = frame
        self._motion = CameraMotion(node, frame) if poses is None else None
        self._synchroniser: Synchroniser[HandArray] = Synchroniser(cameras, TOLERANCE, 0.05)
        latest = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        for name in cameras:
            node.create_subscription(HandArray, f"{name}/hands", partial(self._on_hands, name), latest)

    def _on_hands(self, name: str, message: HandArray) -> None:
        now = time.monotonic()
        self._synchroniser.add(name, Stamped(nanoseconds(message.header.stamp) / 1e9, now, message))
        while (group := self._synchroniser.next(now)) is not None:
            self._collect(group)

    def _collect(self, group: Mapping[str, Stamped[HandArray]]) -> None:
        views: dict[str, list[HandView]] = {}
        for name, stamped in group.items():
            message = stamped.item
            try:
                if self._motion is not None:
                    self.poses[name] = self._motion.pose_in(self._frame, message.header)
                camera = check_array(name, message, message.hand_model)
            except (InputRejected, TransformUnavailable) as problem:
                if str(problem) not in self.problems:
                    self.problems.add(str(problem))
                    print(f"camera {name}: {problem}", flush=True)
                continue
            views[name] = [hand.view for hand in observations(message, camera, self.poses[name])[0]]
        stamp = max(stamped.stamp for stamped in group.values())
        for members in associate(views):
            if len(members) > 1:
                self.monitor.add(stamp, {name: views[name][index] for name, index in members})


def refine(
    poses: Mapping[str, Pose], shared: Mapping[tuple[str, str], Sequence[SharedHand]], cameras: Sequence[str]
) -> dict[str, Pose]:
    """Returns the refined poses of all cameras.

    Raises:
        ValueError: Too few hands connect a camera with the others.
    """
    enough = {pair: hands for pair, hands in shared.items() if len(hands) >= FEWEST}
    connected = {cameras[0]}
    for _ in cameras:
        connected |= {name for pair in enough if connected & set(pair) for name in pair}
    if missing := [name for name in cameras if name not in connected]:
        counts = ", ".join(f"{' and '.join(pair)}: {len(hands)}" for pair, hands in shared.items()) or "none"
        raise ValueError(
            f"too few hands were seen by camera {', '.join(missing)} together with the others (at least {FEWEST} are "
            f"needed, seen: {counts}): move one hand slowly where all cameras see it, and check that the cameras' "
            "clocks agree"
        )
    return refined_poses({name: poses[name] for name in cameras}, enough)


def describe(
    before: Mapping[str, Pose], after: Mapping[str, Pose], shared: Mapping[tuple[str, str], Sequence[SharedHand]]
) -> list[str]:
    """Returns lines that tell by how much each pose has changed, and by how much rays miss each other."""
    lines = []
    for name, pose in after.items():
        degrees = np.degrees(Rotation.from_matrix(pose.rotation @ before[name].rotation.T).magnitude())
        millimetres = 1000 * np.linalg.norm(pose.position - before[name].position)
        lines.append(f"{name}: turned by {degrees:.2f} degrees, moved by {millimetres:.1f} mm")
    for pair, hands in shared.items():
        found = correction(hands)
        if found is not None:
            lines.append(
                f"{pair[0]} and {pair[1]}: {found.hands} hands; rays miss each other by "
                f"{1000 * found.miss_before:.1f} mm, after the calibration {1000 * found.miss_after:.1f} mm"
            )
    return lines
