"""Runs nodes until a signal arrives, and ends them in order."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node

from . import process
from .declaration import ParameterError
from .ignored_parameters import ignored_parameters
from .shutdown import shut_down

N = TypeVar("N", bound=Node)

_REFUSED: tuple[type[Exception], ...] = (
    rclpy_implementation.RCLError,
    rclpy_implementation.UnknownROSArgsError,
    NameValidationException,
    ParameterException,
)
"""What rclpy raises at the start of a node if its arguments or environment variables cannot be used."""
_HINTS = {
    "remap rule": "a rule is FROM:=TO; names consist of letters, digits and _, do not begin with a digit, and a "
    "namespace (__ns) begins with /",
    "parameter override": "an override is NAME:=VALUE",
    "params file": "a file has NODE: {ros__parameters: {NAME: VALUE}}, and the items of a list have one type",
    "log level": "it is debug, info, warn, error or fatal",
    "ROS_DOMAIN_ID": "it is a number from 0 to 101",
}
"""Explanations of rcl's messages, by a part of the message."""


def spin_until_signal(
    name: str,
    make_node: Callable[[], N],
    arguments: list[str] | None = None,
    close: Callable[[N], None] = lambda node: None,
    errors: tuple[type[Exception], ...] = (ParameterError,),
) -> int:
    """Initialises rclpy, makes a node and spins it until SIGINT or SIGTERM; see ``spin_nodes_until_signal``."""
    return spin_nodes_until_signal(name, [make_node], arguments, close, errors)


def spin_nodes_until_signal(
    name: str,
    make_nodes: Sequence[Callable[[], N]],
    arguments: list[str] | None = None,
    close: Callable[[N], None] = lambda node: None,
    errors: tuple[type[Exception], ...] = (ParameterError,),
) -> int:
    """Initialises rclpy, makes nodes and spins them until SIGINT or SIGTERM.

    Args:
        name: Name of the program, for its error messages.
        make_nodes: Each makes a node.
        arguments: ROS arguments; None to use those of the command line.
        close: Called with each node before it is destroyed.
        errors: Errors of the user's, which are printed without a traceback.

    Returns:
        The exit code.
    """
    try:
        process.init(partial(rclpy.init, args=arguments))
    except _REFUSED as error:
        print(f"{name}: {_explained(error)}", file=sys.stderr)
        return 1
    nodes: list[N] = []
    try:
        for make_node in make_nodes:
            nodes.append(_made(make_node))
            _warn_about_ignored_parameters(nodes[-1], sys.argv if arguments is None else arguments)
        _spin(nodes)
    except errors + (_StartError,) as error:  # mypy does not accept (*errors, ...)
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
        for node in nodes:
            close(node)
            node.destroy_node()
        shut_down()
    return 0


def _spin(nodes: Sequence[Node]) -> None:
    """Spins each node in a thread of its own: a message takes an executor longer the more services its nodes have."""
    first, *others = nodes
    if not others:
        rclpy.spin(first)
        return
    pool = ThreadPoolExecutor(len(nodes), "wildhands executor")
    spinning = [pool.submit(_spin_in_thread, node) for node in nodes]
    ended, _ = wait(spinning, return_when=FIRST_COMPLETED)
    if not rclpy.ok():  # A signal ends them all.
        wait(spinning)
    for one in ended:
        one.result()


def _spin_in_thread(node: Node) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.spin()


class _StartError(Exception):
    """The node cannot be made with its arguments."""


def _made(make_node: Callable[[], N]) -> N:
    try:
        return make_node()
    except _REFUSED as error:
        raise _StartError(_explained(error)) from error


def _explained(error: Exception) -> str:
    """Returns the message of rclpy without places in its sources, and what would be right."""
    if isinstance(error, rclpy_implementation.UnknownROSArgsError):
        return f"unknown arguments after --ros-args: {error}"
    text = re.sub(r", at \S+:\d+", "", str(error)).removeprefix("failed to initialize rcl: ")
    text = text.replace(". Error: error not set", "")
    hints = [hint for part, hint in _HINTS.items() if part in text]
    return "; ".join([text, *hints])


def _warn_about_ignored_parameters(node: Node, arguments: Sequence[str]) -> None:
    known = node.get_parameters_by_prefix("").keys()
    for text in ignored_parameters(arguments, node.get_fully_qualified_name(), known):
        node.get_logger().warning(text)
