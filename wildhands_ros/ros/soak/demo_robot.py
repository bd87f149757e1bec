"""A ``Robot`` that shows the demo clip, and the node as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor

from ...geometry.camera import Camera
from ...io.camera_files import load_calibration
from ...io.sources import open_source
from ..isolated_graph import isolate_graph
from ..share import share_folder
from ..shutdown import shut_down
from .robot import Robot

WIDTH, HEIGHT = 640, 360
FIRST_FRAME, NUM_FRAMES = 30, 30
"""Frames of the clip in which hands are in view."""
START_TIMEOUT = 300.0
"""Seconds to import and load everything on a busy machine."""


@dataclass(frozen=True)
class DemoImages:
    """Images of the demo clip, each (HEIGHT, WIDTH, 3) RGB, and their camera."""

    images: list[np.ndarray]
    camera: Camera


def load_demo_images() -> DemoImages:
    """Loads the images and scales them."""
    import cv2

    folder = share_folder("demo")
    frames = islice(open_source(str(folder / "clip.mp4")), FIRST_FRAME, FIRST_FRAME + NUM_FRAMES)
    images = [cv2.resize(frame.image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for frame in frames]
    camera, _ = load_calibration(folder / "camera_info.yaml").camera(WIDTH, HEIGHT, rectified=False)
    return DemoImages(images, camera)


@contextmanager
def demo_robot() -> Iterator[Robot]:
    """Creates the robot in a ROS graph of its own."""
    isolate_graph()
    demo = load_demo_images()
    rclpy.init()
    try:
        node = rclpy.create_node("soak_robot")
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        yield Robot(node, executor, "", demo.images, demo.camera)
    finally:
        shut_down()


def start_node() -> subprocess.Popen[bytes]:
    """Starts the node under test in a process of its own."""
    command = [sys.executable, "-m", "wildhands_ros.ros.soak.node", "--ros-args", "--log-level", "error"]
    return subprocess.Popen(command, start_new_session=True)
