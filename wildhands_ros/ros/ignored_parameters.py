"""Finds parameters on the command line that a node does not use, because they are misspelt or meant for another node.

ROS ignores them in silence.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..io.yaml_files import YamlFileError, load_yaml

_SIMILAR = 0.8
"""Similarity of a name, from 0 to 1, above which it is considered misspelt."""


@dataclass(frozen=True)
class _Given:
    """Parameters that are given for certain nodes."""

    node: str
    """Name of the node, as in a parameter file: may contain ``*`` and ``**``."""
    names: tuple[str, ...]


def ignored_parameters(arguments: Sequence[str], node: str, known: Collection[str]) -> list[str]:
    """Returns a sentence about each parameter file that has nothing for a node, and about each unknown parameter.

    Of a file for all nodes, only names that look misspelt are reported: the others may be meant for another node.

    Args:
        arguments: the command line of the process.
        node: name of the node with its namespace, for example "/left/wildhands".
        known: names of the node's parameters.
    """
    found: list[str] = []
    for flag, value in _ros_arguments(arguments):
        if flag in ("-p", "--param"):
            found += _unknown(_from_argument(value), node, known)
        elif flag == "--params-file":
            groups = _from_file(Path(value))
            for group in groups:
                found += _unknown(group, node, known)
            if groups and not any(_applies(group.node, node) for group in groups):
                names = ", ".join(sorted({group.node for group in groups}))
                found.append(f"{value} is ignored: it has parameters for {names}, but this node is {node}")
    return list(dict.fromkeys(found))


def _ros_arguments(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields each argument that follows --ros-args with the one behind it."""
    is_ros = False
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument in ("--ros-args", "--"):
            is_ros = argument == "--ros-args"
        elif is_ros:
            yield argument, following


def _from_argument(text: str) -> _Given:
    """Reads ``[NODE:]NAME:=VALUE``."""
    node, _, name = text.partition(":=")[0].rpartition(":")
    return _Given(node or "/**", (name,))


def _from_file(file: Path) -> list[_Given]:
    try:
        return list(_groups(load_yaml(file), ""))
    except (OSError, YamlFileError):
        return []  # ROS reports it.


def _groups(tree: object, node: str) -> Iterator[_Given]:
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key == "ros__parameters":
            yield _Given(node, tuple(_names(value, "")))
        else:
            yield from _groups(value, f"{node}/{str(key).strip('/')}")


def _names(tree: object, prefix: str) -> Iterator[str]:
    if not isinstance(tree, dict):
        yield prefix
        return
    for key, value in tree.items():
        yield from _names(value, f"{prefix}.{key}" if prefix else str(key))


def _applies(pattern: str, node: str) -> bool:
    """Whether a name with ``*`` for a part of a node's name and ``**`` for any number of parts denotes a node."""
    parts = [{"*": "/[^/]+", "**": "(/[^/]+)*"}.get(part, f"/{re.escape(part)}") for part in pattern.split("/") if part]
    return re.fullmatch("".join(parts), node) is not None


def _unknown(given: _Given, node: str, known: Collection[str]) -> Iterator[str]:
    if not _applies(given.node, node):
        return
    for name in given.names:
        if name in known or name.startswith("qos_overrides."):
            continue
        similar = difflib.get_close_matches(name, known, 1, _SIMILAR)
        if similar:
            yield f"there is no parameter {name}: is {similar[0]} meant?"
        elif "*" not in given.node:
            yield f"there is no parameter {name}"
