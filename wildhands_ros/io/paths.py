"""Folders of the user's own files, and files in folders of strangers."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from .errors import InputError

_LONGEST = 200
"""Characters of a name that a message shows."""


def below(folder: Path, name: str) -> Path:
    """Returns the path of a file in a folder, whose name comes from a list of a stranger's.

    Raises:
        InputError: the name leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{folder}: the listed file {name[:_LONGEST]} does not lie below this folder")
    return folder / path


def data_folder() -> Path:
    """Folder of imported checkpoints: ``$XDG_DATA_HOME/wildhands``, usually in ``~/.local/share``. Not created here."""
    return _folder("XDG_DATA_HOME", ".local/share")


def cache_folder() -> Path:
    """Folder of cached files: ``$XDG_CACHE_HOME/wildhands``, usually in ``~/.cache``. Not created here."""
    return _folder("XDG_CACHE_HOME", ".cache")


def config_folder() -> Path:
    """Folder of the user's settings: ``$XDG_CONFIG_HOME/wildhands``, usually in ``~/.config``. Not created here."""
    return _folder("XDG_CONFIG_HOME", ".config")


def _folder(variable: str, default: str) -> Path:
    """Returns a folder below the one that a variable names, or below the home folder.

    A relative path in the variable is ignored, as the XDG base directory specification demands.
    """
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path.home() / default) / "wildhands"


def released_checkpoint() -> Path:
    """Path to which ``wildhands import-checkpoint`` writes the published model; ``--checkpoint released`` reads it."""
    return data_folder() / "released.safetensors"
