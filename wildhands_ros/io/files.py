"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from types import TracebackType


class OutputFile:
    """Reserves an output path before the work begins and puts the file there once it is complete.

    As a context manager: entering writes an empty ``partial`` file beside ``path``, so a missing folder or permission shows at once;
    leaving moves it to ``path``, or removes it when an exception passes.
    """

    def __init__(self, path: Path):
        self.path = path
        # The suffix stays last: video writers choose the container by it.
        self.partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")

    def __enter__(self) -> Path:
        """Returns the path to write to.

        :raises OSError: nothing can be written there, with the reason.
        """
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder; give the name of a file to write")
        if not self.path.parent.exists():
            raise FileNotFoundError(f"the folder {self.path.parent} does not exist, so {self.path.name} cannot be written there")
        try:
            self.partial.touch(exist_ok=False)
        except OSError as error:
            raise OSError(f"cannot write to {self.path}: {error.strerror}") from error
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink(missing_ok=True)
