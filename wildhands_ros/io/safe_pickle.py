"""The one way in which this project reads pickles: nothing named in the file is called unless it stands in an explicit table."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO


class UnsafePickleError(pickle.UnpicklingError, ValueError):
    """A pickle refers to something that its format does not need, so that loading it could run foreign code."""


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler that resolves the globals of one table and refuses every other.

    A pickle is a program: it imports names and calls what they stand for. Here a name is never imported; it is looked up in
    ``allowed``, whose values (harmless callables, or inert stubs for classes of packages that need not be installed) are all that the
    file can ever call. A file can therefore do no more than the callables of the table do with arguments of its choosing.

    ``persistent_load`` reads the objects that a container keeps outside of the pickle, as PyTorch's files do with tensor storages.
    ``encoding`` is that of Python 2 strings ("latin1" where they hold arrays).

    Raises ``UnsafePickleError`` for any other global or persistent object. A damaged file raises whatever the pickle module raises
    (``UnpicklingError``, ``EOFError``, ``ValueError``, ...): callers that own the format say what it means.
    """

    def __init__(
        self,
        file: BinaryIO,
        allowed: Mapping[tuple[str, str], Any],
        *,
        persistent_load: Callable[[Any], Any] | None = None,
        encoding: str = "ASCII",
    ):
        super().__init__(file, fix_imports=False, encoding=encoding)
        self._allowed = allowed
        self._load_persistent = persistent_load

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise UnsafePickleError(
                f"refused: the pickle asks for {module}.{name}, which this file format does not need; loading it could run foreign code. "
                "Nothing of it was executed. Get the file from its original source."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        if self._load_persistent is None:
            raise UnsafePickleError(
                f"refused: the pickle refers to an object outside of itself ({pid!r}), which this file format does not do"
            )
        return self._load_persistent(pid)
