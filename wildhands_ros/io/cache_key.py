"""Names for cached files."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json


def cache_key(values: object) -> str:
    """Returns a short name that changes whenever ``values`` change.

    Args:
        values: everything that the cached content depends on, including the versions (``wildhands_ros.versions``) of
            the code that computes it. Only the values of dataclasses and enums count, not the names of classes and
            fields.
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=_plain).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return str(value)
