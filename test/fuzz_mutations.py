"""Damages valid inputs: at random places, and at the places where their format has numbers, texts and nesting."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

MAX_SIZE = 2**20
"""Bytes of a mutated input at most."""
_INTEGERS = (0, 1, 2, 10, *(2**bits - less for bits in (7, 8, 15, 16, 31, 32, 63, 64) for less in (1, 0)))
_TEXTS = (
    b"", b"0", b"-1", b"1e309", b"-1e309", b"1e-320", b".nan", b"NaN", b".inf", b"Infinity", b"9" * 30, b"9" * 5000,
    b"true", b"null", b"~", b"[]", b"{}", b"\"\"", b"\xff\xfe", b"\0", b"\xed\xa0\x80", b"2021-02-30", b"0x7fffffff",
    b"1:2:3:4", b"!!python/object/apply:os.system [true]", b"!!binary x", b"&a [*a]", b"<<: *a", b"../../etc/passwd",
    b"[" * 2000, b"{\"a\":" * 2000, b"- " * 500, b"? " * 500, b"%YAML 9.9", b"---", b"\r", b"\xe2\x80\xa8",
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+\.?\d*(?:e[-+]?\d+)?")


def mutated(data: bytes, rng: random.Random, others: tuple[bytes, ...] = ()) -> bytes:
    """Returns a damaged copy.

    Args:
        data: a valid input.
        rng: makes all choices.
        others: further valid inputs, of which parts are copied.
    """
    structured = _structured(data)
    if structured is not None and rng.random() < 0.6:
        return structured(data, rng)[:MAX_SIZE]
    for _ in range(1 + int(rng.expovariate(0.5))):
        data = rng.choice(_STEPS)(data, rng, others)
    return data[:MAX_SIZE]


def _structured(data: bytes) -> Callable[[bytes, random.Random], bytes] | None:
    """Returns what damages the values of a format and keeps its syntax."""
    if data.startswith(b"PK\x03\x04"):
        return _zip
    if data.startswith((b"{", b"[")):
        return _json
    if data[:1] == b"\x80" and data.endswith(b"."):
        return _pickle
    if b"\0" not in data[:2000]:
        return _text
    return None


def _place(data: bytes, rng: random.Random) -> int:
    """A place in the data; the first bytes, which hold the headers, are chosen more often."""
    return rng.randrange(min(len(data), rng.choice((32, 512, len(data)))) or 1) if data else 0


def _flip(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] if data else data


def _byte(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def _integer(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at, size = _place(data, rng), rng.choice((1, 2, 4, 8))
    value = (rng.choice(_INTEGERS) + rng.choice((0, 0, 0, 1, -1))) % 2 ** (8 * size)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def _double(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    value = rng.choice((float("nan"), float("inf"), -1e308, 1e-320, 1e30, -1.0))
    return data[:at] + struct.pack("<d", value) + data[at + 8 :]


def _delete(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 200)) :]


def _insert(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice(_TEXTS) + data[at:]


def _repeat(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    at, size = _place(data, rng), rng.choice((1, 8, 64, 1000))
    return data[:at] + data[at : at + size] * rng.choice((2, 3, 50)) + data[at + size :]


def _cut(data: bytes, rng: random.Random, _: tuple[bytes, ...]) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _splice(data: bytes, rng: random.Random, others: tuple[bytes, ...]) -> bytes:
    other = rng.choice(others) if others else data
    at, start, size = _place(data, rng), _place(other, rng), rng.choice((4, 32, 500))
    return data[:at] + other[start : start + size] + data[at + rng.choice((0, size)) :]


_STEPS = (_flip, _flip, _byte, _byte, _integer, _integer, _double, _delete, _insert, _repeat, _cut, _splice)


def _text(data: bytes, rng: random.Random) -> bytes:
    """Replaces a number, a word or a line."""
    pattern = rng.choice((_NUMBER, _NUMBER, re.compile(rb"[^\s,:\[\]]+"), re.compile(rb"[^\n]*\n")))
    found = list(pattern.finditer(data))
    if not found:
        return data + rng.choice(_TEXTS)
    for match in sorted(rng.sample(found, min(len(found), rng.choice((1, 1, 1, 3)))), key=lambda m: -m.start()):
        data = data[: match.start()] + rng.choice((*_TEXTS, match.group() * 2)) + data[match.end() :]
    return data


def odd_value(rng: random.Random) -> Any:
    """Returns a value that a file of labels should not have at the place where it stands."""
    deep: list = []
    for _ in range(rng.choice((3, 90))):
        deep = [deep]
    values = (
        None, True, "", "x", "nan", "\ud800", "../../x", 0, -1, 10**9, 2**63, 10**400, -1e308, 1e308, float("nan"),
        float("inf"), [], {}, [None], [[1, 2], [3]], {"a": 1}, deep, [0] * 1000, "9" * 5000, b"\xff" * 3, (1, 2), 1.5,
    )  # fmt: skip
    return rng.choice(values)


def with_odd_value(value: Any, rng: random.Random) -> Any:
    """Replaces, removes or repeats one part of nested dictionaries, lists and tuples, in place where it can."""
    node, path = value, []
    while isinstance(node, (dict, list)) and node and (not path or rng.random() < 0.85):
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        path.append((node, key))
        node = node[key]
    if not path:
        return odd_value(rng)
    parent, key = path[-1]
    choice = rng.random()
    if choice < 0.15:
        del parent[key]
    elif choice < 0.25 and isinstance(parent, list):
        parent.insert(key, parent[key])
    elif choice < 0.35 and isinstance(parent, dict):
        parent[rng.choice(("x", "", "0", next(iter(parent), "y")))] = parent.pop(key)
    elif choice < 0.6 and hasattr(node, "dtype"):
        parent[key] = _odd_array(node, rng)
    else:
        parent[key] = odd_value(rng)
    return value


def _odd_array(array: Any, rng: random.Random) -> Any:
    flat = array.reshape(-1).copy()
    if flat.size and rng.random() < 0.5:
        if flat.dtype.kind == "f":
            flat[rng.randrange(flat.size)] = rng.choice((float("nan"), float("inf"), -1e30, 1e30))
        return flat.reshape(array.shape)
    return rng.choice((flat, flat[:0], flat.astype(object), flat.astype("U8"), array[None], array.astype(complex)))


def _json(data: bytes, rng: random.Random) -> bytes:
    try:
        value = json.loads(data)
    except ValueError:
        return _text(data, rng)
    text = json.dumps(with_odd_value(value, rng), default=repr)
    return text.encode("utf-8", "surrogatepass")


def _pickle(data: bytes, rng: random.Random) -> bytes:
    try:
        return pickle.dumps(with_odd_value(pickle.loads(data), rng), protocol=rng.choice((2, 3, 4, 5)))  # noqa: S301
    except Exception:  # a class that only the reader knows
        return _flip(data, rng, ())


def _zip(data: bytes, rng: random.Random) -> bytes:
    """Damages a member, or the names and sizes of all, and keeps the checksums right."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    name = rng.choice(list(members))
    choice = rng.random()
    if choice < 0.1:
        del members[name]
    elif choice < 0.2:
        members[rng.choice(("x", "../x", name + "x", "archive/data.pkl"))] = members.pop(name)
    elif choice < 0.25:
        members[name] = bytes(rng.choice((0, 1, 10**6)))
    else:
        members[name] = mutated(members[name], rng, tuple(members.values()))
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)), compresslevel=1) as file:
        for member, content in members.items():
            file.writestr(member, content)
    return result.getvalue()
