"""Reads the metadata and the weights of ONNX files, and cuts off their ends, without the onnx package.

An ONNX file is a message of Protocol Buffers (github.com/onnx/onnx, onnx.proto3): tagged fields, most of which hold
messages themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..io.errors import InputError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types."""
_GRAPH, _METADATA = 7, 14
"""Fields of the whole model."""
_KEY, _VALUE = 1, 2
"""Fields of an item of metadata."""
_NODE, _INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
"""Fields of the graph."""
_NODE_INPUT, _NODE_OUTPUT = 1, 2
"""Fields of a node."""
_VALUE_NAME, _VALUE_TYPE = 1, 2
"""Fields of an input or output."""
_FLOAT = 1
"""Number of the type of float32 tensors."""
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9
"""Fields of a tensor."""
_TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
"""NumPy's types by ONNX's numbers."""


class OnnxError(InputError):
    """The file is not an ONNX file or is damaged."""


def unusable(path: Path, runtime: str, error: Exception) -> str:
    """Returns the message about a file whose graph a runtime rejects."""
    reason = " ".join(str(error).split())[:300]
    return f"{runtime} cannot use {path}: the file may be damaged, install or export it again ({reason})"


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


def graph_up_to(content: bytes, places: Mapping[str, tuple[int, ...]]) -> bytes:
    """Cuts off the end of a network.

    Args:
        content: an ONNX file.
        places: float32 tensors to compute, by name, with their sizes after the first axis, which is dynamic.

    Returns:
        An ONNX file with these outputs, and with the inputs and weights that they need.

    Raises:
        OnnxError: it is not an ONNX file or is damaged, or has no such tensors.
    """
    others = b"".join(_encoded(number, value) for number, value in _fields(content) if number != _GRAPH)
    graph = [field for part in _messages(content, _GRAPH) for field in _fields(part)]
    needed, nodes = set(places), []
    for node in reversed(_of(graph, _NODE)):
        names = list(_fields(node))
        made = {str(name, "utf-8") for number, name in names if number == _NODE_OUTPUT and not isinstance(name, int)}
        if not made.intersection(needed):
            continue
        nodes.append(_encoded(_NODE, node))
        needed |= {str(name, "utf-8") for number, name in names if number == _NODE_INPUT and not isinstance(name, int)}
        needed -= made
    if unknown := needed.intersection(places):
        raise OnnxError(f"the graph cannot be cut at {', '.join(sorted(unknown))}")
    kept = [_encoded(_INITIALIZER, one) for one in _of(graph, _INITIALIZER) if _name_of(one, _NAME) in needed]
    kept += [_encoded(_GRAPH_INPUT, one) for one in _of(graph, _GRAPH_INPUT) if _name_of(one, _VALUE_NAME) in needed]
    kept += [_encoded(_GRAPH_OUTPUT, _value_info(name, sizes)) for name, sizes in places.items()]
    replaced = (_NODE, _INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT)
    kept += [_encoded(number, value) for number, value in graph if number not in replaced]
    return others + _encoded(_GRAPH, b"".join([*reversed(nodes), *kept]))


def output_names(content: bytes) -> list[str]:
    """Returns the names of the outputs of an ONNX file, given its content.

    Raises:
        OnnxError: it is not an ONNX file or is damaged.
    """
    graph = [field for part in _messages(content, _GRAPH) for field in _fields(part)]
    return [_name_of(one, _VALUE_NAME) for one in _of(graph, _GRAPH_OUTPUT)]


def with_output(content: bytes, name: str, sizes: tuple[int, ...]) -> bytes:
    """Adds a float32 tensor inside a network to its outputs.

    Args:
        content: an ONNX file.
        name: name of the tensor.
        sizes: its sizes after the first axis, which is dynamic.

    Raises:
        OnnxError: it is not an ONNX file or is damaged.
    """
    # Fields of a message that occurs twice are merged, so that the output can be added at the end.
    return content + _encoded(_GRAPH, _encoded(_GRAPH_OUTPUT, _value_info(name, sizes)))


def _of(fields: list[tuple[int, int | memoryview]], number: int) -> list[memoryview]:
    return [value for found, value in fields if found == number and isinstance(value, memoryview)]


def _name_of(message: memoryview, number: int) -> str:
    return str(_message(message)[number][0], "utf-8")


def _value_info(name: str, sizes: tuple[int, ...]) -> bytes:
    """Describes a float32 tensor whose first axis is dynamic."""
    dims = [_encoded(1, _encoded(2, b"hand")), *(_encoded(1, _encoded(1, size)) for size in sizes)]
    tensor = _encoded(1, _FLOAT) + _encoded(2, b"".join(dims))
    return _encoded(_VALUE_NAME, name.encode()) + _encoded(_VALUE_TYPE, _encoded(1, tensor))


def _encoded(number: int, value: int | bytes | memoryview) -> bytes:
    """Returns a field with its tag."""
    if isinstance(value, int):
        return _encoded_varint(number << 3 | _VARINT) + _encoded_varint(value)
    return _encoded_varint(number << 3 | _BYTES) + _encoded_varint(len(value)) + bytes(value)


def _encoded_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


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
