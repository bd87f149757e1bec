"""Reads the metadata and the weights of ONNX files without the onnx package.

An ONNX file is a message of Protocol Buffers (github.com/onnx/onnx, onnx.proto3): tagged fields, most of which hold
messages themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..io.errors import InputError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_GRAPH, _METADATA = 7, 14
"""Fields of the whole model."""
_KEY, _VALUE = 1, 2
"""Fields of an item of metadata."""
_INITIALIZER = 5
"""Field of the graph."""
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
"""Fields of a tensor."""
_TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
"""NumPy's types by ONNX's numbers."""


class OnnxError(InputError):
    """The file is not an ONNX file or is damaged."""


def read_metadata(content: bytes) -> dict[str, str]:
    """Returns the metadata of an ONNX file, given its content.

    Raises:
        OnnxError: it is not an ONNX file or is damaged.
    """
    return {
        str(item[_KEY][0], "utf-8", "replace"): str(item[_VALUE][0], "utf-8", "replace")
        for item in map(_message, _messages(content, _METADATA))
        if item.keys() >= {_KEY, _VALUE}
    }


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns the initializers of an ONNX file by name, in the precision in which they are stored.

    Raises:
        OnnxError: the file is not an ONNX file or is damaged, or a tensor is stored in a way that is not known here.
        OSError: the file cannot be read.
    """
    return dict(
        _tensor(tensor) for graph in _messages(path.read_bytes(), _GRAPH) for tensor in _messages(graph, _INITIALIZER)
    )


def _tensor(data: bytes | memoryview) -> tuple[str, np.ndarray]:
    fields = list(_fields(data))
    shape = [size for number, value in fields if number == _DIMS for size in _integers(value)]
    single = dict(fields)
    name, data_type, raw = single.get(_NAME), single.get(_DATA_TYPE), single.get(_RAW_DATA)
    if not isinstance(name, memoryview) or not isinstance(raw, memoryview) or data_type not in _TYPES:
        raise OnnxError("a tensor has no name, no raw data, or a type that is not known here")
    try:
        return str(name, "utf-8"), np.frombuffer(raw, _TYPES[data_type]).reshape(shape).copy()
    except ValueError as error:
        raise OnnxError(f"a tensor is damaged ({error})") from error


def _integers(value: int | memoryview) -> list[int]:
    """Returns the integers of a repeated field, which are packed into bytes or come one by one."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _messages(data: bytes | memoryview, number: int) -> Iterator[memoryview]:
    """Yields the messages in the fields of this number."""
    for found, value in _fields(data):
        if found == number and isinstance(value, memoryview):
            yield value


def _message(data: memoryview) -> dict[int, list[memoryview]]:
    found: dict[int, list[memoryview]] = {}
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            found.setdefault(number, []).append(value)
    return found


def _fields(data: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and the value of each field of a message."""
    view, at = memoryview(data), 0
    while at < len(view):
        tag, at = _varint(view, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, at = _varint(view, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, at = _varint(view, at)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise OnnxError("it is not an ONNX file")
        if number == 0 or at + size > len(view):
            raise OnnxError("it is not an ONNX file, or is incomplete")
        yield number, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """Reads an integer of seven bits per byte, lowest first; returns it and the place behind it."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(view):
            break
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise OnnxError("it is not an ONNX file, or is incomplete")
