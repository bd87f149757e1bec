"""Reads large JSON files value by value, so that annotations of a gigabyte only need memory for one value at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

CHUNK = 1 << 22
_ENDS = frozenset(" \t\r\n,:]}")
"""Characters that may follow a value."""


def walk_json(path: Path, depth: int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the values ``depth`` levels below the top, in the file's order; plain values at lesser depths are left out.

    Args:
        path: The JSON file.
        depth: 0 yields the whole content.

    Yields:
        The path to the value (keys of objects and indices of arrays), and the value. Only one value is in memory at a
        time.

    Raises:
        json.JSONDecodeError: The file ends early or is not JSON.
    """
    with path.open(encoding="utf-8") as file:
        stream = _Stream(file)
        yield from _walk(stream, (), depth)
        if stream.peek():
            raise stream.error("data after the end")


def _walk(stream: _Stream, keys: tuple[str | int, ...], depth: int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    opening = stream.peek()
    if depth == 0:
        yield keys, stream.value()
    elif opening not in ("{", "["):
        stream.value()
    else:
        stream.take(opening)
        closing, index = {"{": "}", "[": "]"}[opening], 0
        while stream.peek() != closing:
            if index:
                stream.take(",")
            key: str | int = index
            if opening == "{":
                key = stream.value()
                stream.take(":")
            yield from _walk(stream, (*keys, key), depth - 1)
            index += 1
        stream.take(closing)


class _Stream:
    """A window onto the file that grows until it holds the next value."""

    def __init__(self, file: TextIO):
        self._file, self._text, self._at, self._ended = file, "", 0, False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._grow()

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            raise self.error(f"expected {expected!r}")
        self._at += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if self._ended:
                    raise
            else:
                # If the window cuts a number, as in "1.|5", its beginning is a number, too.
                if self._ended or self._text[end : end + 1] in _ENDS:
                    self._at = end
                    return value
            self._grow()

    def error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, min(self._at, len(self._text)))

    def _grow(self) -> None:
        chunk = self._file.read(max(CHUNK, len(self._text) - self._at))
        self._text, self._at, self._ended = self._text[self._at :] + chunk, 0, not chunk
