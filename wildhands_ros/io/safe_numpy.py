"""Reads NumPy arrays from untrusted pickles with ``RestrictedUnpickler`` and inert stubs: nothing in the file is
executed.

``NUMPY_GLOBALS`` is a table for ``RestrictedUnpickler`` with every name that NumPy writes to a pickle; ``resolved``
turns the stubs into arrays. ``read_pickle`` and ``read_npy`` do both for files of plain data and arrays.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .safe_pickle import RestrictedUnpickler


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
    """Replaces the stubs of ``NUMPY_GLOBALS`` by arrays, also inside dicts, lists and tuples.

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
        return resolved(RestrictedUnpickler(file, NUMPY_GLOBALS, encoding="latin1").load())


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
        array = resolved(RestrictedUnpickler(file, NUMPY_GLOBALS, encoding="latin1").load())
    if not isinstance(array, np.ndarray):
        raise ValueError(f"the file holds a {type(array).__name__}, not an array")
    return array.item() if array.ndim == 0 else array


def _holds_objects(file: BinaryIO, size: int) -> bool:
    """Reads the header and leaves the file's position at the data.

    Raises:
        ValueError: the array would be larger than the file.
    """
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"the header claims an array of {shape}, but the file has {size} bytes")
    return dtype.hasobject


def _reconstruct(*_args: Any) -> PickledArray:
    return PickledArray()


def _from_buffer(data: bytes, dtype: PickledDtype, shape: tuple[int, ...], order: str) -> PickledArray:
    """How pickle protocol 5 stores an array."""
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
    # How Python 3 writes bytes, and empty bytes, to pickles of protocol 2.
    ("_codecs", "encode"): _encode,
    **{(module, "bytes"): _empty_bytes for module in ("__builtin__", "builtins")},
}
"""Every name in a pickle of NumPy arrays and scalars."""
