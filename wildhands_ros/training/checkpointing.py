"""Saved states of a training run: written atomically, the last two kept, and loaded without executing code they
contain."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

KEPT = 2
_NAME = re.compile(r"step_(\d+)\.pt")


class Checkpoints:
    """The saved states in one folder."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if it does not exist.

        Raises:
            OSError: It cannot be created.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot create the folder {folder}: {error.strerror}") from error

    def steps(self) -> list[int]:
        """List the steps that have a saved state, the last one first."""
        matches = (_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def clean_up(self) -> None:
        """Remove what a killed run was writing."""
        for partial in self.folder.glob(".*.partial"):
            partial.unlink(missing_ok=True)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a state and remove all but the last ``KEPT``.

        Raises:
            OSError: It cannot be written; earlier states are unchanged.
        """
        path = self._path(step)
        partial = path.with_name(f".{path.name}.partial")
        writer = None
        try:
            with partial.open("wb") as file:
                writer = _Writer(file)
                torch.save(state, cast(IO[bytes], writer))  # torch only calls write and flush
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            self._sync_folder()
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            reason = error if writer is None else writer.error or error
            raise OSError(f"cannot save {path}: {getattr(reason, 'strerror', None) or reason}") from error
        for old in self.steps()[KEPT:]:
            self._path(old).unlink(missing_ok=True)

    def load_last(self, warn: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
        """Load the last state that can be read.

        Args:
            warn: Called with a message for each damaged state, which is passed over.

        Returns:
            The step and its state, or None if nothing was saved.

        Raises:
            OSError: All states are damaged.
        """
        steps = self.steps()
        for step in steps:
            try:
                return step, torch.load(self._path(step), map_location="cpu", weights_only=True)
            except Exception as error:  # A damaged archive may raise almost any error.
                warn(f"{self._path(step)} is damaged ({type(error).__name__}: {error}); trying the previous state")
        if steps:
            raise OSError(f"no saved state in {self.folder} can be read; remove that folder to start anew")
        return None

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.pt"

    def _sync_folder(self) -> None:
        """Make the new name survive a power cut."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Writer:
    """Keeps the reason of a failed write: torch only reports that its archive is incomplete."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()
