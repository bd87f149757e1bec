"""The only way in which this project reads pickles: nothing is called but what an explicit table allows."""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO


class UnsafePickleError(pickle.UnpicklingError, ValueError):
    """A pickle refers to something that its file format does not need; loading it could run foreign code."""


def _check_memo(file: BinaryIO) -> None:
    """Refuses places in the table of repeated objects that no pickler writes; leaves the position as it was.

    Python allocates the table up to the highest place, of which a file of ten bytes can name one beyond all memory.

    Raises:
        UnsafePickleError: there is such a place.
    """
    start = file.tell()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if opcode.name in _PUTS and (not isinstance(argument, int) or argument > number):
                raise UnsafePickleError(
                    f"refused: the pickle stores its object {number} at place {argument}, which would fill the memory; "
                    "no program writes this. Get the file from its original source."
                )
    except UnsafePickleError:
        raise
    except Exception as error:  # pickletools raises all kinds of errors on damaged data
        raise pickle.UnpicklingError(f"the pickle is damaged: {error}") from error
    file.seek(start)


_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler that resolves the globals of a table and refuses all others.

    A pickle is a program: it imports names and calls the objects behind them. Here no name is imported; it is
    looked up in ``allowed``. The values of that table are harmless callables, or inert stubs for classes of packages
    that need not be installed. A file can therefore only call these, with arguments of its choosing.

    Args:
        file: the pickle.
        allowed: what (module, name) stands for.
        persistent_load: reads objects that the container stores outside the pickle, such as PyTorch's tensor storages.
        encoding: encoding of Python 2 strings; "latin1" if they hold arrays.

    Raises:
        UnsafePickleError: on loading, if the file asks for any other global or persistent object. A damaged file raises
            whatever the pickle module raises (``UnpicklingError``, ``EOFError``, ``ValueError``, ...).
    """

    def __init__(
        self,
        file: BinaryIO,
        allowed: Mapping[tuple[str, str], Any],
        *,
        persistent_load: Callable[[Any], Any] | None = None,
        encoding: str = "ASCII",
    ):
        _check_memo(file)
        super().__init__(file, fix_imports=False, encoding=encoding)
        self._allowed = allowed
        self._load_persistent = persistent_load

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            wanted = f"{module}.{name}"[:100]
            raise UnsafePickleError(
                f"refused: the pickle asks for {wanted}, which this file format does not need; loading it could run "
                "foreign code. Nothing in it was executed. Get the file from its original source."
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        if self._load_persistent is None:
            raise UnsafePickleError(
                f"refused: the pickle refers to an external object ({repr(pid)[:100]}), which this file format does "
                "not use"
            )
        return self._load_persistent(pid)
