"""Runs a node until a signal arrives, and ends it in order."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from . import process
from .declaration import ParameterError

N = TypeVar("N", bound=Node)


def spin_until_signal(
    name: str,
    make_node: Callable[[], N],
    arguments: list[str] | None = None,
    close: Callable[[N], None] = lambda node: None,
    errors: tuple[type[Exception], ...] = (ParameterError,),
) -> int:
    """Initialises rclpy, makes a node and spins it until SIGINT or SIGTERM.

    Args:
        name: Name of the program, for its error messages.
        make_node: Makes the node.
        arguments: ROS arguments; None to use those of the command line.
        close: Called before the node is destroyed.
        errors: Errors of the user's, which are printed without a traceback.

    Returns:
        The exit code.
    """
    process.init(partial(rclpy.init, args=arguments))
    node = None
    try:
        node = make_node()
        rclpy.spin(node)
    except errors as error:
        if not rclpy.ok():  # A signal arrived meanwhile.
            return 0
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():
            raise
        # A signal arrived during a callback, which could then no longer publish or respond.
    finally:
        if node is not None:
            close(node)
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
