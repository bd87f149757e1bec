"""Where the user's own files live."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """The folder of imported checkpoints: ``$XDG_DATA_HOME/wildhands``, or ``~/.local/share/wildhands``. Not created here.

    As the XDG base directory specification asks, a relative ``XDG_DATA_HOME`` is ignored.
    """
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".local" / "share"
    return base / "wildhands"


def cache_folder() -> Path:
    """The folder of what can be computed again: ``$XDG_CACHE_HOME/wildhands``, or ``~/.cache/wildhands``. Not created here."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".cache"
    return base / "wildhands"


def released_checkpoint() -> Path:
    """Where ``wildhands import-checkpoint`` puts the published model and where ``--checkpoint released`` looks for it."""
    return data_folder() / "released.safetensors"
