"""Message definitions for bags, so that a recording can be read without this package."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

_PACKAGE_TYPE = re.compile(r"^\s*(?:([A-Za-z]\w*)/)?([A-Z]\w*)(?:\[.*?\])?\s+\w", re.MULTILINE)

_MOST_ELEMENTS = 10_000
"""Texts and messages in all arrays of fixed length of a definition."""
_MOST_LINES = 10_000
"""Lines of a definition together with those of its parts. The parser takes 0.1 ms for each."""


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


def parsed(text: str, name: str) -> Typesdict:
    """Returns the types of a definition in a recording.

    Raises:
        Exception: of any kind, if the definition is damaged or impossible.
    """
    check_length(text)
    types = get_types_from_msg(text, name)
    check_arrays(types)
    return types


def check_length(text: str) -> None:
    """Raises ValueError if a definition, in the language of .msg or .idl files, is longer than any can be."""
    if (lines := text.count("\n") + text.count(";")) > _MOST_LINES:
        raise ValueError(f"it has {lines} lines")


def check_arrays(types: Typesdict) -> None:
    """Refuses arrays that a message of a few bytes, or the code that reads it, could not be finished with.

    ROS has no arrays of the length 0, of which a few bytes could hold billions. rosbags writes a line of code for each
    text or message of an array.

    Raises:
        ValueError: a type has one.
    """
    elements = 0
    for name, (_, fields) in types.items():
        for field, description in fields:
            if description[0] is not Nodetype.ARRAY:
                continue
            element, length = description[1]
            elements += 0 if element[0] is Nodetype.BASE and element[1][0] != "string" else length
            if not length or elements > _MOST_ELEMENTS:
                raise ValueError(f"{name}: the array {field} has the length {length}")


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
