"""A change of what caches store needs a higher version (``wildhands_ros.versions``); names never change a cache key."""

import dataclasses
import enum

import numpy as np
import pinned_outputs
import pytest
from pinned_outputs import GROUPS, Output, differences, problem, read_pins, updated

from wildhands_ros import versions
from wildhands_ros.io.cache_key import cache_key

pytest.importorskip("openvino")


@pytest.mark.parametrize("group", GROUPS)
def test_outputs_are_the_pinned_ones(group):
    """If this fails, the message names the constant to raise."""
    assert (text := problem(group, getattr(versions, group), GROUPS[group](), read_pins())) is None, text


def test_every_version_is_pinned():
    assert set(GROUPS) == {name for name in vars(versions) if name.isupper()} == set(read_pins())


def output(*values, tolerance=0.1):
    return Output(np.array(values, float), tolerance)


def test_changes_beyond_the_tolerance_are_found():
    before = {"a": [1.0, 2.0], "b": [float("nan")]}
    assert differences({"a": output(1.05, 1.95), "b": output(np.nan)}, before) == []
    assert "a differs by up to 0.5" in differences({"a": output(1.5, 2), "b": output(np.nan)}, before)[0]
    assert "a has 1 values" in differences({"a": output(1), "b": output(np.nan)}, before)[0]
    assert "b is pinned and no longer" in differences({"a": output(1, 2)}, before)[0]
    assert "c is not pinned" in differences({"a": output(1, 2), "b": output(np.nan), "c": output(0)}, before)[0]


@pytest.fixture
def group(monkeypatch):
    """A group with the outputs of version 1 pinned, and new outputs."""
    monkeypatch.setattr(versions, "GROUP", 1, raising=False)
    monkeypatch.setitem(pinned_outputs.GROUPS, "GROUP", lambda: {"a": output(5.0)})
    return {"GROUP": {"version": 1, "outputs": {"a": [1.0]}}}


def test_changed_outputs_are_not_pinned_without_a_new_version(group):
    after, wrong = updated(group, ["GROUP"])
    assert after == group
    assert "versions.GROUP" in wrong[0] and "raise" in wrong[0]


def test_a_raised_version_needs_new_pins_and_gets_them(group, monkeypatch):
    monkeypatch.setattr(versions, "GROUP", 2)
    outputs = pinned_outputs.GROUPS["GROUP"]()
    assert "versions.GROUP is 2, pinned is 1" in problem("GROUP", 2, outputs, group)
    after, wrong = updated(group, ["GROUP"])
    assert wrong == [] and after == {"GROUP": {"version": 2, "outputs": {"a": [5.0]}}}
    assert problem("GROUP", 2, outputs, after) is None


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Before:
    size: int
    colour: Colour


class Paint(enum.Enum):
    SCARLET = "red"


@dataclasses.dataclass
class After:
    count: int
    paint: Paint


def test_cache_keys_depend_on_values_and_not_on_names():
    key = cache_key([1, Before(3, Colour.RED)])
    assert key == cache_key([1, After(3, Paint.SCARLET)])
    assert len({key, cache_key([2, Before(3, Colour.RED)]), cache_key([1, Before(4, Colour.RED)])}) == 3
