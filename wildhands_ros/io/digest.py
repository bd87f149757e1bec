"""Names for what is kept in the cache: they change with anything that would change its content."""

from __future__ import annotations

import enum
import hashlib
import json
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def digest(values: object, code: tuple[str, ...]) -> str:
    """Of a configuration and of the files or folders of this package that work on it."""
    state = hashlib.sha256(json.dumps(values, sort_keys=True, default=_plain).encode())
    state.update(_code_digest(code))
    return state.hexdigest()[:16]


@cache
def _code_digest(code: tuple[str, ...]) -> bytes:
    state = hashlib.sha256()
    for name in code:
        path = _PACKAGE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            state.update(file.read_bytes())
    return state.digest()


def _plain(value: object) -> object:
    return value.value if isinstance(value, enum.Enum) else str(value)
