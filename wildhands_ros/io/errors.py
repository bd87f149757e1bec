"""The error of every reader of files and messages, and the one place where the errors of parsers become it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .safe_pickle import UnsafePickleError

_LONGEST = 300
"""Characters of a parser's text in a message."""
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000))
"""Code points that a terminal obeys instead of showing them, those that reverse text, and halves of code points."""
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _CONTROLS if chr(code) not in "\t\n"}


class InputError(ValueError):
    """An input cannot be used; the message says which one, why, and what to do.

    Example:
        >>> from wildhands_ros import InputError, load_image
        >>> try:
        ...     load_image("camera.yaml")
        ... except InputError:
        ...     print("not an image")
        not an image
    """


def printable(text: str) -> str:
    """Returns a text with control characters as escapes such as ``\\x1b``; tabs and line breaks stay.

    Names of topics, frames and files come from strangers, and a terminal would obey the sequences in them.
    """
    return text.translate(_ESCAPES)


@contextmanager
def foreign_bytes(
    path: str | Path, kind: str, error_type: type[ValueError] = InputError, advice: str = ""
) -> Iterator[None]:
    """Context manager that turns whatever the reading of a file raises into one error that names the file.

    The content of a file of unknown origin makes parsers, and the code that looks into their results, raise anything:
    ``KeyError``, ``RecursionError``, ``struct.error`` and others. An ``OSError`` with a number passes, because the
    file cannot be opened, and so does an error of ``error_type``.

    Args:
        path: the file.
        kind: what it should hold, such as "hand keypoints in COCO's style".
        error_type: the error to raise.
        advice: what to do, a sentence.

    Raises:
        ValueError: an ``error_type``, or an UnsafePickleError that names the file.
    """
    try:
        yield
    except error_type:
        raise
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error} {advice}".rstrip()) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        text = f"{path} is damaged or not {kind} ({reason(error)})"
        raise error_type(f"{text}. {advice}" if advice else text) from error


def reason(error: BaseException) -> str:
    """Returns why a parser failed, in one line, with the place in the file if the parser knows it."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not {error.encoding}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, EOFError):
        return "it ends too early"
    text = " ".join(str(error).split())[:_LONGEST]
    if isinstance(error, KeyError):
        return f"{text} is missing"
    # The text of an InputError is a sentence of ours; others need their names.
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")
