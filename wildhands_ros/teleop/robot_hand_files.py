"""Reads the files of a robot hand, and checks them completely before anything moves.

dex-retargeting and its URDF parser notice some mistakes only when the hand moves, and name neither the joint nor the
file in others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from ..io.errors import InputError
from ..io.yaml_files import YamlFileError, load_yaml

NUM_JOINTS = 21
"""Joints of the human hand, in MediaPipe order."""
MOVING = ("revolute", "prismatic")
"""Types of joints that have limits and one degree of freedom."""
LINK_KEYS = ("target_origin_link_names", "target_task_link_names", "target_link_names", "finger_tip_link_names")
"""Keys of dex-retargeting whose values are lists of links."""


_LONGEST = 1000
"""Characters of an error, which may quote names of any length from the files."""


class RobotHandError(InputError):
    """The configuration or its URDF cannot be used; the message says why."""


@dataclass(frozen=True)
class RobotHandFiles:
    """A checked configuration."""

    settings: Mapping[str, Any]
    """The whole file."""
    retargeting: dict[str, Any]
    """dex-retargeting's part of it, with the absolute path of the URDF."""


def read_robot_hand(config: Path) -> RobotHandFiles:
    """Reads and checks a configuration and its URDF.

    Raises:
        RobotHandError: one of them cannot be used.
    """
    try:
        settings = load_yaml(config)
    except OSError as error:
        raise RobotHandError(f"{config}: {error.strerror}") from error
    except YamlFileError as error:
        raise RobotHandError(f"{config}: {error}") from error
    if not isinstance(settings, dict):
        raise RobotHandError(f"{config}: expected a mapping with the key retargeting")
    retargeting = settings.get("retargeting")
    if not isinstance(retargeting, dict) or not isinstance(retargeting.get("urdf_path"), str):
        raise RobotHandError(
            f"{config}: expected a key retargeting with urdf_path and the rest of dex-retargeting's settings"
        )
    urdf = _urdf_path(config, retargeting["urdf_path"])
    try:
        robot = _Urdf(urdf)
        _check_names(retargeting, robot)
        _check_human_indices(retargeting)
    except RobotHandError as error:
        raise RobotHandError(f"{config}: {str(error)[:_LONGEST]}") from error
    return RobotHandFiles(settings, {**retargeting, "urdf_path": str(urdf)})


def _urdf_path(config: Path, text: str) -> Path:
    """Returns the absolute path of the URDF: relative to the configuration, with ~, or package://."""
    package, _, rest = text.removeprefix("package://").partition("/")
    if text.startswith("package://"):
        path = _share_folder(config, text, package) / rest
    else:
        try:
            path = config.parent / Path(text.removeprefix("file://")).expanduser()
        except RuntimeError as error:  # The home of an unknown user.
            raise RobotHandError(f"{config}: urdf_path {text}: {error}") from error
    if not path.is_file():
        raise RobotHandError(f"{config}: the URDF {path} does not exist (urdf_path: {text})")
    return path.resolve()


def _share_folder(config: Path, text: str, package: str) -> Path:
    try:
        from ament_index_python.packages import get_package_share_directory
    except ImportError as error:
        raise RobotHandError(f"{config}: urdf_path {text} needs ROS (ament_index_python): give a plain path") from error
    try:
        return Path(get_package_share_directory(package))
    except (LookupError, ValueError) as error:
        raise RobotHandError(
            f"{config}: urdf_path {text}: the package {package!r} was not found; source its workspace, or give a plain "
            "path"
        ) from error


class _Urdf:
    """The links and joints of a URDF, after they have been checked."""

    def __init__(self, path: Path):
        """Reads the file.

        Raises:
            RobotHandError: it is not a URDF that can be retargeted to.
        """
        try:
            root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, OSError, UnicodeError, ValueError) as error:
            raise RobotHandError(f"{path} is not a URDF: {error}") from error
        if root.tag != "robot":
            hint = (
                "; run xacro on it first" if "xacro" in path.name or any("xacro" in item.tag for item in root) else ""
            )
            raise RobotHandError(f"{path} is not a URDF: its first element is <{root.tag}>, not <robot>{hint}")
        if any("xacro" in item.tag for item in root.iter()):
            raise RobotHandError(f"{path} contains xacro macros: run xacro on it first")
        self.path = path
        self.links = {item.get("name", "") for item in root.findall("link")}
        self.joints: dict[str, ElementTree.Element] = {}
        for joint in root.findall("joint"):
            name = joint.get("name", "")
            if name in self.joints:
                raise RobotHandError(f"{path}: there are two joints of the name {name!r}")
            self.joints[name] = joint
        for name, joint in self.joints.items():
            for problem in self._problems(joint):
                raise RobotHandError(f"{path}: joint {name!r} {problem}")
        if not self.moving:
            raise RobotHandError(f"{path} has no moving joint")

    @property
    def moving(self) -> set[str]:
        """The names of the joints that move."""
        return {name for name, joint in self.joints.items() if joint.get("type") in MOVING}

    def _problems(self, joint: ElementTree.Element) -> Iterator[str]:
        for end in ("parent", "child"):
            link = _attribute(joint, end, "link")
            if link not in self.links:
                yield f"has the {end} link {link!r}, which the URDF does not have"
        kind = joint.get("type")
        if kind == "fixed":
            return
        if kind not in MOVING:
            yield (
                f"is of type {kind!r}; every moving joint needs a lower and an upper limit, so it must be "
                f"{' or '.join(MOVING)} (or fixed)"
            )
        lower, upper = (_number(_attribute(joint, "limit", name, "0")) for name in ("lower", "upper"))
        limit = joint.find("limit")
        if limit is None:
            yield "has no limit: add <limit lower=... upper=... effort=... velocity=.../>"
        elif not lower <= upper:  # NaN for text that is no number
            yield f"has the limits {_attribute(joint, 'limit', 'lower')} to {_attribute(joint, 'limit', 'upper')}"
        elif math.isnan(_number(limit.get("effort", ""))) or math.isnan(_number(limit.get("velocity", ""))):
            yield "has a limit without effort or velocity, which URDF requires"
        if joint.find("mimic") is None:
            return
        leader = _attribute(joint, "mimic", "joint")
        if leader not in self.joints:
            yield f"mimics {leader!r}, which the URDF does not have"
        elif self.joints[leader].get("type") not in MOVING:
            yield f"mimics {leader!r}, which does not move"
        elif self.joints[leader].find("mimic") is not None:
            yield f"mimics {leader!r}, which mimics another joint itself: name that one"
        for name, default in (("multiplier", "1"), ("offset", "0")):
            text = _attribute(joint, "mimic", name, default)
            if math.isnan(_number(text)):
                yield f"has the mimic {name} {text!r}, which is not a number"


def _attribute(joint: ElementTree.Element, element: str, name: str, default: str = "") -> str:
    found = joint.find(element)
    return default if found is None else found.get(name, default)


def _number(text: str) -> float:
    """Returns a finite number; NaN for anything else."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _check_names(retargeting: Mapping[str, Any], robot: _Urdf) -> None:
    """Raises RobotHandError if a joint or a link of the configuration is not in the URDF."""
    joints = _names(retargeting, "target_joint_names")
    wanted = [("target_joint_names", name, robot.moving, "moving joint") for name in joints]
    for key in LINK_KEYS:
        wanted += [(key, name, robot.links, "link") for name in _names(retargeting, key)]
    if retargeting.get("wrist_link_name") is not None:
        wanted.append(("wrist_link_name", str(retargeting["wrist_link_name"]), robot.links, "link"))
    for key, name, known, kind in wanted:
        dummy = retargeting.get("add_dummy_free_joint") and name.startswith("dummy_")
        if name not in known and not dummy:
            raise RobotHandError(
                f"{key} names {name!r}, but {robot.path} has no {kind} of that name; it has {_listed(known)}"
            )


def _names(retargeting: Mapping[str, Any], key: str) -> list[str]:
    value = retargeting.get(key) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise RobotHandError(f"{key} must be a list of names, not {value!r}")
    return value


def _listed(names: set[str], most: int = 30) -> str:
    return ", ".join(sorted(names)[:most]) + (", ..." if len(names) > most else "")


def _check_human_indices(retargeting: Mapping[str, Any]) -> None:
    """Raises RobotHandError if the indices of human joints do not fit the links, or exceed the joints of a hand."""
    key = "target_link_human_indices"
    given = retargeting.get(key)
    kind = str(retargeting.get("type", "")).lower()
    if given is None:
        if kind in ("vector", "position"):
            raise RobotHandError(f"retargeting of type {kind} needs {key}")
        return
    try:
        indices = np.asarray(given)
    except ValueError:
        indices = np.empty(0)
    if indices.dtype.kind not in "iu":
        raise RobotHandError(f"{key} must be lists of joint numbers of the same length, not {given!r}")
    wrong = sorted({int(index) for index in indices.ravel() if not 0 <= index < NUM_JOINTS})
    if wrong:
        raise RobotHandError(
            f"{key} contains {', '.join(map(str, wrong))}, but a hand has {NUM_JOINTS} joints, 0 to {NUM_JOINTS - 1} "
            "in MediaPipe order (files for the 25 joints of Apple's or OpenXR's hands must be renumbered)"
        )
    links = "target_link_names" if kind == "position" else "target_task_link_names"
    count = len(_names(retargeting, links))
    expected = {"vector": (2, count), "position": (count,)}.get(kind)
    shape = indices.squeeze().shape if kind == "position" and count != 1 else indices.shape
    if kind == "position" and count == 1:
        shape = (indices.size,)
    if expected is not None and shape != expected:
        raise RobotHandError(
            f"{key} has the shape {'x'.join(map(str, indices.shape))}; for {count} links of {links} it must be "
            f"{'x'.join(map(str, expected))}"
        )
    if kind == "dexpilot" and (indices.ndim != 2 or len(indices) != 2):
        raise RobotHandError(f"{key} must be two lists: origins and targets of the vectors")
