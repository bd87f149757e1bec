"""Stacks the records of several hands into one record of arrays, and takes them apart again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def stacked(values: Sequence[T]) -> T:
    """Returns one record whose arrays have a further first axis.

    Args:
        values: records (dataclasses or named tuples) of numbers, arrays or further records. A field that is None is
            None in all of them.
    """
    return _combined(lambda *parts: np.array(parts), values)  # faster than np.stack for small arrays


def rows(value: T, index: int | np.ndarray) -> T:
    """Returns some of the records of a stack: one without the first axis, or several."""
    return _combined(lambda part: part[index], [value])


def selected(use_first: np.ndarray, first: T, second: T) -> T:
    """Returns a stack with the records of ``first`` where (N,) ``use_first`` is true, of ``second`` elsewhere."""
    if use_first.all():
        return first
    if not use_first.any():
        return second

    def select(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(use_first.reshape(-1, *([1] * (a.ndim - 1))), a, b)

    return _combined(select, [first, second])


def _combined(combine: Callable[..., np.ndarray], values: Sequence[T]) -> T:
    first = values[0]
    if first is None:
        return first
    if isinstance(first, tuple):
        return type(first)(*(_combined(combine, parts) for parts in zip(*values, strict=True)))
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        return type(first)(**{name: _combined(combine, [getattr(value, name) for value in values]) for name in names})
    return combine(*values)  # type: ignore[return-value]  # an array takes the place of numbers
