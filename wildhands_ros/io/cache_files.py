"""Cache files that are only used if they are intact and the user's own.

A damaged cache file can load without an error and give wrong results. Each file therefore has its SHA-256 beside it,
in ``<name>.sha256``. A file without it, or with another one, counts as missing and is removed with a warning.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .files import OutputFile
from .paths import cache_folder

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def own_cache_folder(*names: str) -> Path:
    """Returns a folder below ``cache_folder``, which is made for this user alone if it does not exist.

    Raises:
        PermissionError: it belongs to somebody else, who could put other files there.
        OSError: it cannot be made.
    """
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    for name in ("", *names):
        folder = folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        for state in (folder.lstat(), folder.stat()):  # of a link and of what it names
            if state.st_uid != os.geteuid():
                raise PermissionError(f"{folder} belongs to another user, so what is cached there is not used")
        if folder.stat().st_mode & _OTHERS_MAY_WRITE:
            folder.chmod(0o700)
    return folder


@contextmanager
def cached_output(path: Path) -> Iterator[Path]:
    """Context manager that writes a cache file completely or not at all, and its checksum with it.

    Args:
        path: the file, in a folder of ``own_cache_folder``.

    Yields:
        The path to write to.

    Raises:
        OSError: the file cannot be written.
    """
    # Under the lock, so that no reader sees one of the two files beside an earlier version of the other.
    with _locked(path.parent), OutputFile(path) as partial:
        yield partial
        _write_checksum(partial, _checksum_path(path))


def add_checksum(path: Path) -> None:
    """Writes the checksum of a file that another library has written completely.

    Raises:
        OSError: it cannot be written.
    """
    with _locked(path.parent):
        _write_checksum(path, _checksum_path(path))


def open_cached(path: Path) -> BinaryIO | None:
    """Opens a cache file if it is intact.

    Returns:
        The file; None if it is missing, damaged or not the user's own. A damaged one is removed with a warning.
    """
    try:
        with _locked(path.parent):
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
            expected = _read_checksum(_checksum_path(path))
    except OSError:
        return None
    problem = _problem(file, expected)
    if not problem:
        file.seek(0)
        return file
    file.close()
    logging.getLogger("wildhands").warning("wildhands: warning: %s %s: it is not used", path, problem)
    for each in (path, _checksum_path(path)):
        try:
            each.unlink(missing_ok=True)
        except OSError:
            break  # Others' files in a folder of ours; they are not used.
    return None


def is_cached(path: Path) -> bool:
    """Returns whether ``open_cached`` would open the file."""
    file = open_cached(path)
    if file is None:
        return False
    file.close()
    return True


def _problem(file: BinaryIO, expected: str | None) -> str:
    """Returns why a cache file must not be used; empty if it may."""
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode):
        return "is not a file"
    if state.st_uid != os.geteuid() or state.st_mode & _OTHERS_MAY_WRITE:
        return "can be written by other users"
    if expected is None:
        return "has no checksum"
    return "" if _digest(file) == expected else "is damaged: its checksum differs"


def _write_checksum(path: Path, checksum_path: Path) -> None:
    path.chmod(0o600)
    with path.open("rb") as file:
        digest = _digest(file)
    with OutputFile(checksum_path) as checksum:
        checksum.write_text(digest)


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _read_checksum(path: Path) -> str | None:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return file.read(64).decode("ascii", "replace")
    except FileNotFoundError:
        return None


def _digest(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks a folder; without support by its file system, such as some network drives, nothing is locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
