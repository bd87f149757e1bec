"""Output files and folders that are written completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_incomplete: dict[Path, Path] = {}
"""The partial files and folders of this process, with the paths that they are for."""


def remove_partial_files() -> list[Path]:
    """Removes the partial files and folders of all outputs that are being written, for a process that ends at once.

    Returns:
        The paths that are not written.
    """
    outputs = []
    for partial, path in list(_incomplete.items()):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
        outputs.append(path)
    return outputs


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Context manager for a new folder, which appears once it is complete and is removed after an exception.

    Returns:
        The path of the folder to create and fill.

    Raises:
        FileExistsError: the folder exists.
        OSError: it cannot be created, which is found before the work.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} already exists; remove it, or choose another --output")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    partial.rmdir()
    _incomplete[partial] = folder
    try:
        yield partial
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    finally:
        _incomplete.pop(partial, None)


@contextmanager
def kept_on_success(*paths: Path) -> Iterator[None]:
    """Context manager that removes files that exist already, unless the work that they need succeeds."""
    _incomplete.update({path: path for path in paths})
    try:
        yield
    except BaseException:
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    finally:
        for path in paths:
            _incomplete.pop(path, None)


class OutputFile:
    """Context manager that reserves an output path before the work begins and puts the file there once it is complete.

    Entering creates an empty ``partial`` file beside ``path``, so that a missing folder or permission is reported at
    once. Leaving moves it to ``path``, or removes it after an exception. A device or a pipe, such as /dev/stdout, is
    written to directly.
    """

    def __init__(self, path: Path):
        self.path = path
        # Links are followed, and devices are never replaced: root could do that, for everyone.
        self._target = path.resolve()
        self._is_device = path.exists() and not path.is_file() and not path.is_dir()
        # The suffix stays at the end because video writers choose the container by it.
        partial = f".{path.stem}.{secrets.token_hex(4)}{path.suffix}"
        self.partial = path if self._is_device else self._target.with_name(partial)

    def __enter__(self) -> Path:
        """Returns the path to write to.

        Raises:
            OSError: the path cannot be written to; the message gives the reason.
        """
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder; give the name of a file to write")
        if not self.path.parent.exists():
            raise FileNotFoundError(
                f"the folder {self.path.parent} does not exist, so {self.path.name} cannot be written there"
            )
        if self._is_device:
            return self.partial
        try:
            self.partial.touch(exist_ok=False)
        except OSError as error:
            raise OSError(f"cannot write to {self.path}: {error.strerror}") from error
        _incomplete[self.partial] = self.path
        return self.partial

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_device:
            _incomplete.pop(self.partial, None)
            if kind is None:
                os.replace(self.partial, self._target)
            else:
                self.partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            # The system does not say which file it was.
            raise OSError(f"cannot write {self.path}: {error.strerror}") from error
