"""Reads NumPy arrays from untrusted pickles with ``RestrictedUnpickler`` and inert stubs: nothing in the file is
executed.

``numpy_globals`` returns a table for ``RestrictedUnpickler`` with every name that NumPy writes to a pickle;
``resolved`` turns the stubs into arrays. ``read_pickle`` and ``read_npy`` do both for files of plain data and arrays.
``NpzFile`` reads archives of arrays, which need no pickle.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from .safe_pickle import RestrictedUnpickler, UnsafePickleError

MAX_ARRAYS = 150_000_000
"""Bytes of the arrays that are read from an archive of unknown origin at a time: an image of 50 megapixels. A small
archive can unfold to a thousand times its size."""
_FREE_TEXT = 2**24
"""Bytes that a pickle may make from texts, besides twice its own size."""


class Stub:
    """Placeholder for a pickled object: stores its state and does nothing else."""

    def __init__(self, *_args: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class PickledDtype(Stub):
    """Placeholder for ``numpy.dtype``."""

    def __init__(self, code: str, *_flags: Any):
        super().__init__()
        self.code = code

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.code)
        order = self.state[1] if self.state else "|"
        return dtype.newbyteorder("<" if order == "<" else ">") if order in ("<", ">") else dtype


class PickledArray(Stub):
    """Placeholder for ``numpy.ndarray``; state: (version, shape, dtype, column-major, bytes or list of objects)."""

    def resolve(self, known: dict[int, Any] | None = None) -> np.ndarray:
        """Returns the array. ``known`` as in ``resolved``."""
        known = {} if known is None else known
        _, shape, dtype, is_fortran, data = self.state
        dtype = dtype.resolve()
        if dtype.kind == "O":
            flat = np.empty(len(data), dtype=object)
            for index, item in enumerate(data):
                flat[index] = resolved(item, known)
        else:
            flat = np.frombuffer(_bytes(data), dtype)
        if flat.size != math.prod(shape):
            raise ValueError(f"{flat.size} values for shape {shape}")
        return flat.reshape(shape, order="F" if is_fortran else "C")


def resolved(value: Any, known: dict[int, Any] | None = None) -> Any:
    """Replaces the stubs of ``numpy_globals`` by arrays, also inside dicts, lists and tuples.

    Args:
        value: the unpickled object.
        known: objects that were resolved already, by identity. A list that is referred to many times is resolved once;
            otherwise a small file could fill the memory.

    Raises:
        ValueError: or TypeError and others, if the file contradicts itself.
    """
    known = {} if known is None else known
    if id(value) not in known:
        if isinstance(value, PickledArray):
            known[id(value)] = value.resolve(known)
        elif isinstance(value, dict):
            known[id(value)] = {key: resolved(item, known) for key, item in value.items()}
        elif isinstance(value, (list, tuple)):
            known[id(value)] = type(value)(resolved(item, known) for item in value)
        else:
            return value
    return known[id(value)]


def read_pickle(path: Path) -> Any:
    """Reads a pickle of plain data and NumPy arrays, written by Python 2 or 3.

    Raises:
        UnsafePickleError: the pickle asks for anything else.
        Exception: of any kind, if the file is damaged.
    """
    with path.open("rb") as file:
        return resolved(RestrictedUnpickler(file, numpy_globals(file), encoding="latin1").load())


def read_npy(path: Path) -> Any:
    """Reads a ``.npy`` file.

    Returns:
        The array, or the element of a zero-dimensional object array, which is how ``numpy.save`` stores a dictionary.

    Raises:
        UnsafePickleError: the file asks for other objects than arrays.
        Exception: of any kind, if the file is damaged.
    """
    with path.open("rb") as file:
        if not _holds_objects(file, path.stat().st_size):
            return np.load(path, allow_pickle=False)
        array = resolved(RestrictedUnpickler(file, numpy_globals(file), encoding="latin1").load())
    if not isinstance(array, np.ndarray):
        raise ValueError(f"the file holds a {type(array).__name__}, not an array")
    return array.item() if array.ndim == 0 else array


class NpzFile:
    """A context manager that opens an ``.npz`` file of unknown origin.

    Attributes:
        names: the names of the arrays.

    Raises:
        Exception: of any kind, if the file is damaged.
    """

    def __init__(self, path: Path):
        self._zip = zipfile.ZipFile(path)
        self._members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        self.names = frozenset(self._members)

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def read(self, names: Iterable[str], max_bytes: int = MAX_ARRAYS) -> dict[str, np.ndarray]:
        """Reads arrays; they cannot be changed.

        Args:
            names: the arrays.
            max_bytes: size of all of them together.

        Raises:
            ValueError: the arrays are larger, or hold objects.
            Exception: of any kind, if the file is damaged.
        """
        members = {name: self._members[name] for name in names}
        size = sum(info.file_size for info in members.values())
        if size > max_bytes:
            raise ValueError(f"it unfolds to {size / 1e6:.0f} MB, of which at most {max_bytes / 1e6:.0f} MB are read")
        return {name: self._array(info) for name, info in members.items()}

    def _array(self, info: zipfile.ZipInfo) -> np.ndarray:
        with self._zip.open(info) as file:
            shape, is_fortran, dtype = _read_header(file)
            if dtype.hasobject:
                raise ValueError("it holds objects, which are not read")
            data = file.read()
        # Not into a new array, so that the memory is only taken once.
        return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _holds_objects(file: BinaryIO, size: int) -> bool:
    """Reads the header and leaves the file's position at the data.

    Raises:
        ValueError: the array would be larger than the file.
    """
    shape, _, dtype = _read_header(file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"the header claims an array of {shape}, but the file has {size} bytes")
    return dtype.hasobject


def _read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads the header of an ``.npy`` file: shape, whether the order is column-major, and type."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read_header(file)


class _Globals:
    """The callables of one pickle: bound methods, because a pickle could set attributes of plain functions."""

    def __init__(self, budget: int):
        self._budget = budget

    def reconstruct(self, *_args: Any) -> PickledArray:
        return PickledArray()

    def from_buffer(self, data: bytes, dtype: PickledDtype, shape: tuple[int, ...], order: str) -> PickledArray:
        """How pickle protocol 5 stores an array."""
        array = PickledArray()
        array.state = (1, shape, dtype, order == "F", data)
        return array

    def scalar(self, dtype: PickledDtype, data: str | bytes) -> Any:
        self._spend(len(data))
        return np.frombuffer(_bytes(data), dtype.resolve())[0].item()

    def encode(self, text: str, _encoding: str) -> bytes:
        self._spend(len(text))
        return text.encode("latin1")

    def empty_bytes(self) -> bytes:
        return b""

    def _spend(self, size: int) -> None:
        """Counts the bytes of a copy; a text that is stored once can be copied any number of times."""
        self._budget -= size
        if self._budget < 0:
            raise UnsafePickleError(
                "refused: the pickle copies its texts until they fill the memory; no program writes this. Get the file "
                "from its original source."
            )


def _bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data


def numpy_globals(file: BinaryIO) -> dict[tuple[str, str], Any]:
    """Returns a table with every name in a pickle of NumPy arrays and scalars, for one pickle in a file."""
    table = _Globals(2 * os.fstat(file.fileno()).st_size + _FREE_TEXT)
    return {
        **{(f"numpy.{core}.multiarray", "_reconstruct"): table.reconstruct for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): table.scalar for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): table.from_buffer for core in ("core", "_core")},
        ("numpy", "ndarray"): PickledArray,
        ("numpy", "dtype"): PickledDtype,
        # How Python 3 writes bytes, and empty bytes, to pickles of protocol 2.
        ("_codecs", "encode"): table.encode,
        **{(module, "bytes"): table.empty_bytes for module in ("__builtin__", "builtins")},
    }
