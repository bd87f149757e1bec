"""Message definitions for bags: a recording explains itself, also where this package is not installed."""

from __future__ import annotations

import re
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

_PACKAGE_TYPE = re.compile(r"^\s*(?:([A-Za-z]\w*)/)?([A-Z]\w*)(?:\[.*?\])?\s+\w", re.MULTILINE)


class UnknownTypeError(ValueError):
    """No definition of a message type is to be found."""


def typestore() -> Typestore:
    """The common types of ROS 2 and this package's."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted(_folder("wildhands_ros").glob("*.msg")):
        learn(store, f"wildhands_ros/msg/{file.stem}")
    return store


def learn(store: Typestore, name: str) -> None:
    """Adds a type such as ``my_msgs/msg/Thing``, with the types in it, from the installed packages' definitions.

    :raises UnknownTypeError: it, or one in it, is not installed.
    """
    if name in store.fielddefs:
        return
    package, _, kind = name.split("/")
    file = _folder(package) / f"{kind}.msg"
    if not file.is_file():
        raise UnknownTypeError(
            f"the definition of {name} is not installed: is the workspace that has {package} sourced?"
        )
    text = file.read_text()
    for owner, inner in _PACKAGE_TYPE.findall(text):
        if inner != "Header" or owner:
            learn(store, f"{owner or package}/msg/{inner}")
    store.register({key: value for key, value in get_types_from_msg(text, name).items() if key not in store.fielddefs})


def _folder(package: str) -> Path:
    """msg/ of the sources, or of the installed package."""
    beside = Path(__file__).resolve().parents[2] / "msg"
    if package == "wildhands_ros" and beside.is_dir():
        return beside
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(package), "msg")
    except PackageNotFoundError as error:
        raise UnknownTypeError(
            f"the package {package}, whose messages are to be recorded, is not installed or not sourced"
        ) from error
