"""Runs the nodes of several cameras in one process, where they share the networks."""

from __future__ import annotations

if __name__ == "__main__":  # Before the imports, which take seconds: a signal may arrive meanwhile.
    from wildhands_ros.ros.process import run

    run("wildhands_ros.ros.several_cameras")

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args

from . import process
from .camera_names import camera_names, frame_prefix
from .declaration import ParameterError
from .loader import make_estimator
from .node import WildHandsNode, use_one_heap
from .parameters import Parameters
from .spinning import spin_nodes_until_signal

if TYPE_CHECKING:
    from ..estimator import Estimator

PROGRAM = "wildhands_cameras"


def main(arguments: list[str] | None = None, make_estimator: Callable[[Parameters], Estimator] = make_estimator) -> int:
    """Runs a node for each camera until SIGINT or SIGTERM.

    Args:
        arguments: name of the program, cameras and ROS arguments; None to use those of the command line.
        make_estimator: creates the estimator of a node in its worker's thread.

    Returns:
        The exit code.
    """
    arguments = sys.argv if arguments is None else arguments
    cameras = _cameras(remove_ros_args(arguments)[1:])
    use_one_heap()
    return spin_nodes_until_signal(
        PROGRAM,
        [partial(_node, camera, make_estimator) for camera in cameras],
        arguments,
        lambda node: node.close(process.CLOSING_TIME),
    )


def _cameras(arguments: Sequence[str]) -> list[str]:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Runs a WildHands node for each of several cameras, in the camera's namespace and with its own "
        "tf_prefix. The nodes share the networks, and so take less memory than in processes of their own.",
        epilog="Parameters and remappings (--ros-args) are those of wildhands_node and belong to all nodes. In a "
        "parameter file, the key /<camera>/wildhands holds those of a single camera.",
    )
    parser.add_argument("cameras", nargs="+", metavar="CAMERA", help="namespace of a camera, such as left")
    parsed = parser.parse_args(arguments)
    try:
        return camera_names(parsed.cameras)
    except ValueError as error:
        parser.error(f"CAMERA: {error}")


def _node(camera: str, make_estimator: Callable[[Parameters], Estimator]) -> WildHandsNode:
    node = WildHandsNode(
        make_estimator,
        namespace=f"/{camera}",
        parameter_overrides=[Parameter("tf_prefix", value=frame_prefix(camera))],
    )
    if node.get_namespace() != f"/{camera}":
        raise ParameterError("each camera has a namespace of its own: leave out __ns and __node")
    return node
