"""Message definitions for bags, so that a recording can be read without this package."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

_PACKAGE_TYPE = re.compile(r"^\s*(?:([A-Za-z]\w*)/)?([A-Z]\w*)(?:\[.*?\])?\s+\w", re.MULTILINE)


class UnknownTypeError(ValueError):
    """The definition of a message type is not installed."""


def typestore() -> Typestore:
    """Returns a new store with the common types of ROS 2 and the types of this package."""
    store = get_typestore(Stores.EMPTY)
    add_types(store, _common_types())
    return store


def add_types(store: Typestore, others: Typestore) -> None:
    """Adds the types that a store lacks. Unlike ``register``, this generates no code again."""
    for name in others.fielddefs.keys() - store.fielddefs.keys():
        store.fielddefs[name], store.types[name] = others.fielddefs[name], others.types[name]


@cache
def _common_types() -> Typestore:
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted(_folder("wildhands_ros").glob("*.msg")):
        learn(store, f"wildhands_ros/msg/{file.stem}")
    return store


def learn(store: Typestore, name: str) -> None:
    """Adds a message type and the types of its fields, from the definitions of the installed packages.

    Args:
        store: the types known so far.
        name: such as ``my_msgs/msg/Cup``.

    Raises:
        UnknownTypeError: the type, or the type of a field, is not installed.
    """
    if name in store.fielddefs:
        return
    package, _, kind = name.split("/")
    file = _folder(package) / f"{kind}.msg"
    if not file.is_file():
        raise UnknownTypeError(
            f"the definition of {name} is not installed; source the workspace that contains {package}"
        )
    text = file.read_text()
    for owner, inner in _PACKAGE_TYPE.findall(text):
        if inner != "Header" or owner:
            learn(store, f"{owner or package}/msg/{inner}")
    store.register({key: value for key, value in get_types_from_msg(text, name).items() if key not in store.fielddefs})


def _folder(package: str) -> Path:
    """Returns the folder with the message definitions of a package."""
    sources = Path(__file__).resolve().parents[2] / "msg"
    if package == "wildhands_ros" and sources.is_dir():
        return sources
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        return Path(get_package_share_directory(package), "msg")
    except PackageNotFoundError as error:
        raise UnknownTypeError(
            f"the messages of {package} cannot be recorded: the package is not installed or its workspace not sourced"
        ) from error
