"""Reads YAML files into frozen dataclasses, strictly: unknown keys, duplicate keys, wrong types and impossible values
are errors that name the key."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from ..io.errors import InputError, foreign_bytes
from ..io.yaml_files import YamlFileError, load_yaml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_LONGEST = 1000
"""Characters of an error, which may quote values of any length."""

T = TypeVar("T", bound="DataclassInstance")


class ConfigError(InputError):
    """A configuration that cannot be used; the message names the key."""


def read_config(path: Path, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Read a configuration; keys that the file leaves out keep their defaults.

    Args:
        path: The YAML file.
        kind: The dataclass to create.
        overrides: ``path.to.key=value``, the value in YAML; items of a list are addressed by their index, from 0.

    Raises:
        ConfigError: The file cannot be read, or a key or value cannot be used.
    """
    try:
        values = load_yaml(path, unique_keys=True)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except YamlFileError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} contains no keys")
    try:
        with foreign_bytes(path, "a configuration", ConfigError):
            for override in overrides:
                _set(values, override)
            return from_mapping(kind, values)
    except ConfigError as error:
        text = str(error)[:_LONGEST]
        raise ConfigError(text if str(path) in text else f"{path}: {text}") from error


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Create a dataclass from plain values.

    Args:
        kind: The dataclass.
        values: Its fields.
        where: Prefix of the keys in messages.

    Raises:
        ConfigError: A key or value cannot be used.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'the configuration'} must contain keys, not {values!r}")
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(hints)}"
            raise ConfigError(f"there is no key {prefix}{key}; {hint}")
    required = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing := [prefix + name for name in required if name not in values]:
        raise ConfigError(f"{', '.join(missing)} must be given")
    parsed = {key: _parse(hints[key], value, prefix + key) for key, value in values.items()}
    try:
        return kind(**parsed)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def to_mapping(config: Any) -> Any:
    """Convert a dataclass to plain values for YAML and JSON; ``from_mapping`` reads them back."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_mapping(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, enum.Enum):
        return config.value
    if isinstance(config, tuple):
        return [to_mapping(value) for value in config]
    return config


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """List the keys, with dots, in which two results of ``to_mapping`` differ."""
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(prefix + key)
    return found


def _parse(kind: Any, value: Any, key: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (kind,) = (choice for choice in typing.get_args(kind) if choice is not type(None))
        return _parse(kind, value, key)
    if origin is tuple:
        item, *rest = typing.get_args(kind)
        if not isinstance(value, list) or (rest != [...] and len(value) != 1 + len(rest)):
            raise ConfigError(f"{key} must be a list{'' if rest == [...] else f' of {1 + len(rest)}'}, not {value!r}")
        return tuple(_parse(item, entry, f"{key}[{i}]") for i, entry in enumerate(value))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return from_mapping(kind, value, key)
    if issubclass(kind, enum.Enum):
        choices = {member.value: member for member in kind}
        if value not in choices:
            raise ConfigError(f"{key} must be one of {', '.join(map(str, choices))}, not {value!r}")
        return choices[value]
    if kind is float:
        number = _number(value)
        if number is None:
            raise ConfigError(f"{key} must be a number, not {value!r}")
        return number
    if type(value) is not kind:
        names = {str: "a text", int: "a whole number", bool: "true or false"}
        raise ConfigError(f"{key} must be {names[kind]}, not {value!r}")
    return value


def _number(value: Any) -> float | None:
    # In YAML 1.1, which PyYAML reads, 1e-5 is a string.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _set(values: dict, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"{override!r} is not of the form key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{override!r}: the value is not YAML") from error
    *parents, last = path.strip().split(".")
    node: Any = values
    for parent in parents:
        node = _item(node, parent, override) if isinstance(node, list) else node.setdefault(parent, {})
        if not isinstance(node, dict | list):
            raise ConfigError(f"{override!r}: {parent} contains no keys")
    if isinstance(node, list):
        _item(node, last, override)
        node[int(last)] = value
    else:
        node[last] = value


def _item(values: list, place: str, override: str) -> Any:
    if not place.isdecimal() or int(place) >= len(values):
        raise ConfigError(f"{override!r}: {place} is not an index from 0 to {len(values) - 1}")
    return values[int(place)]
