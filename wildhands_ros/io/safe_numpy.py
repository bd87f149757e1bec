"""Numpy arrays in pickles of strangers, read through ``RestrictedUnpickler`` with inert stubs: nothing that a file names is executed.

``NUMPY_GLOBALS`` is all that numpy puts into a pickle, for tables of ``RestrictedUnpickler``; ``resolved`` turns what was built into
arrays. ``read_pickle`` and ``read_npy`` do both for files of plain data and arrays.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .safe_pickle import RestrictedUnpickler


class Stub:
    """Stands for a pickled object: keeps its state and does nothing."""

    def __init__(self, *_args: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class PickledDtype(Stub):
    """numpy.dtype"""

    def __init__(self, code: str, *_flags: Any):
        super().__init__()
        self.code = code

    def resolve(self) -> np.dtype:
        dtype = np.dtype(self.code)
        order = self.state[1] if self.state else "|"
        return dtype.newbyteorder(order) if order in "<>" else dtype


class PickledArray(Stub):
    """numpy.ndarray; the state is (version, shape, dtype, column-major, bytes or list of objects)."""

    def resolve(self, known: dict[int, Any] | None = None) -> np.ndarray:
        """``known``: as in ``resolved``."""
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
    """``value`` with arrays in place of what ``NUMPY_GLOBALS`` built, within dicts, lists and tuples too.

    ``known``: by identity, what has been resolved already: a list that is found in many places stays one, or a small file could become
    as large as it likes.

    :raises ValueError, TypeError, ...: what the file's numbers lead to where they contradict one another.
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
    """A pickle of plain data and numpy arrays, of Python 2 or 3.

    :raises UnsafePickleError: it asks for anything else.
    :raises Exception: of any kind, where the file is damaged.
    """
    with path.open("rb") as file:
        return resolved(RestrictedUnpickler(file, NUMPY_GLOBALS, encoding="latin1").load())


def read_npy(path: Path) -> Any:
    """A ``.npy`` file; of an object array of one element, as ``numpy.save`` makes of a dictionary, that element.

    :raises UnsafePickleError: it asks for other objects than arrays.
    :raises Exception: of any kind, where the file is damaged.
    """
    with path.open("rb") as file:
        if not _holds_objects(file):
            return np.load(path, allow_pickle=False)
        array = resolved(RestrictedUnpickler(file, NUMPY_GLOBALS, encoding="latin1").load())
    if not isinstance(array, np.ndarray):
        raise ValueError(f"it holds a {type(array).__name__}, not an array")
    return array.item() if array.ndim == 0 else array


def _holds_objects(file: BinaryIO) -> bool:
    """Reads the header; the file then stands at the data."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read_header(file)[2].hasobject


def _reconstruct(*_args: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(data: bytes, dtype: PickledDtype, shape: tuple[int, ...], order: str) -> PickledArray:
    """Protocol 5's form of an array."""
    array = PickledArray()
    array.state = (1, shape, dtype, order == "F", data)
    return array


def _scalar(dtype: PickledDtype, data: str | bytes) -> Any:
    return np.frombuffer(_bytes(data), dtype.resolve())[0].item()


def _encode(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _bytes(data: str | bytes) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else data


NUMPY_GLOBALS = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledDtype,
    # How Python 3 writes bytes, and none at all, into pickles of protocol 2.
    ("_codecs", "encode"): _encode,
    **{(module, "bytes"): _empty_bytes for module in ("__builtin__", "builtins")},
}
"""Every name in a pickle of numpy arrays and scalars."""
