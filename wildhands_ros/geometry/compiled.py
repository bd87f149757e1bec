"""The compiled module, which is missing where there was no C compiler; everything in it has an equal in NumPy."""

from __future__ import annotations

import logging
from types import ModuleType

VERSION = 8
"""Version of the arrays that compiled functions take; the same as in ``native/module.c``."""


def _load() -> ModuleType | None:
    try:
        import wildhands_ros._native as compiled
    except ImportError:
        return None
    if getattr(compiled, "VERSION", 1) != VERSION:
        logging.getLogger("wildhands").warning(
            "wildhands: warning: the compiled code is of another version and is not used, which makes fits slower: "
            "install the package again"
        )
        return None
    return compiled


native = _load()
"""The compiled module; None if it was not built, or is of another version."""
