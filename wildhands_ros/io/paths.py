"""Folders of the user's own files."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Folder of imported checkpoints: ``$XDG_DATA_HOME/wildhands`` or ``~/.local/share/wildhands``. Not created here.

    A relative ``XDG_DATA_HOME`` is ignored, as the XDG base directory specification demands.
    """
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".local" / "share"
    return base / "wildhands"


def cache_folder() -> Path:
    """Folder of cached files: ``$XDG_CACHE_HOME/wildhands`` or ``~/.cache/wildhands``. Not created here."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path.home() / ".cache"
    return base / "wildhands"


def released_checkpoint() -> Path:
    """Path to which ``wildhands import-checkpoint`` writes the published model; ``--checkpoint released`` reads it."""
    return data_folder() / "released.safetensors"
