"""Objects that the hands of the synthetic world hold. Long axes are along y."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from .solids import PlacedSolid, Solid, bottle, box, cone, cylinder, sphere

T = TypeVar("T")
SceneObject = tuple[PlacedSolid, ...]
"""An object: one or more solids, of which hands hold the first."""

FAMILIES = ("plain", "varied")
"""plain: cylinders, boxes and balls. varied: these, and bottles, cups, tools, lids, fruit and cards."""


def single(solid: Solid) -> SceneObject:
    """Returns an object of one solid, in its local frame."""
    return (PlacedSolid(solid, np.eye(3), np.zeros(3)),)


def placed(item: SceneObject, rotation: np.ndarray, position: np.ndarray) -> SceneObject:
    """Returns the object transformed by a (3, 3) rotation and a (3,) position."""
    return tuple(part.placed(rotation, position) for part in item)


def bar(rng: np.random.Generator, family: str) -> SceneObject:
    """Returns a random object for a power grasp: a bar, bottle, cup or tool."""
    kind = _any(
        ["cylinder", "box"] if family == "plain" else ["cylinder", "box", "bottle", "bottle", "cup", "tool", "tool"],
        rng,
    )
    if kind == "cylinder":
        return single(cylinder(rng.uniform(0.010, 0.036), rng.uniform(0.12, 0.30)))
    if kind == "box":
        return single(box(rng.uniform(0.02, 0.055), rng.uniform(0.12, 0.26), rng.uniform(0.02, 0.06)))
    if kind == "bottle":
        radius = rng.uniform(0.022, 0.040)
        return single(bottle(radius, rng.uniform(0.16, 0.27), rng.uniform(0.3, 0.6) * radius, rng.uniform(0.5, 0.75)))
    if kind == "cup":
        radius = rng.uniform(0.026, 0.036)
        return single(cone(radius, radius * rng.uniform(1.0, 1.3), rng.uniform(0.08, 0.14)))
    return tool(rng, rng.uniform(0.009, 0.017))


def tool(rng: np.random.Generator, radius: float) -> SceneObject:
    """Returns a handle with a random head at its upper end: hammer, pan, brush, knife or screwdriver."""
    length = rng.uniform(0.13, 0.24)
    handle = PlacedSolid(cylinder(radius, length, 0.4 * radius), np.eye(3), np.zeros(3))
    if rng.random() < 0.4:
        handle = PlacedSolid(box(1.6 * radius, length, 2.2 * radius), np.eye(3), np.zeros(3))
    end = length / 2
    kind = rng.integers(5)
    if kind == 0:
        size = rng.uniform(0.02, 0.035)
        head = PlacedSolid(
            box(rng.uniform(0.08, 0.13), size, size), np.eye(3), np.array([0, end + size / 2 - 0.002, 0])
        )
    elif kind == 1:
        across = rng.uniform(0.07, 0.12)
        head = PlacedSolid(cylinder(across, 0.03), _tipped(), np.array([0, end + across - 0.002, 0]))
    elif kind == 2:
        head = PlacedSolid(
            box(rng.uniform(0.03, 0.10), rng.uniform(0.04, 0.07), 0.02), np.eye(3), np.array([0, end + 0.02, 0])
        )
    elif kind == 3:
        blade = rng.uniform(0.10, 0.20)
        head = PlacedSolid(
            box(0.003, blade, rng.uniform(0.018, 0.045)), np.eye(3), np.array([0, end + blade / 2 - 0.002, 0])
        )
    else:
        blade = rng.uniform(0.06, 0.15)
        head = PlacedSolid(
            cylinder(rng.uniform(0.0025, 0.005), blade), np.eye(3), np.array([0, end + blade / 2 - 0.002, 0])
        )
    return (handle, head)


def ball(rng: np.random.Generator, family: str, low: float, high: float) -> SceneObject:
    """Returns a random round object: a ball, or in the varied family also an egg, a fruit with its stalk or a bulb."""
    radius = rng.uniform(low, high)
    if family == "plain" or rng.random() < 0.4:
        return single(sphere(radius))
    body = PlacedSolid(sphere(radius, rng.uniform(0.8, 1.35)), np.eye(3), np.zeros(3))
    if rng.random() < 0.5:
        return (body,)
    return (body, PlacedSolid(cylinder(0.12 * radius, 0.5 * radius), np.eye(3), np.array([0, 1.15 * radius, 0])))


def disc(rng: np.random.Generator, low: float, high: float) -> SceneObject:
    """Returns a random lid, coin or knob with its axis along y."""
    radius = rng.uniform(low, high)
    return single(cylinder(radius, rng.uniform(0.15, 0.5) * radius + 0.004))


def stick(rng: np.random.Generator, family: str) -> SceneObject:
    """Returns a random thin object for fingertips: a pen, a rod, a small box or a brush."""
    kind = _any(["rod", "box"] if family == "plain" else ["rod", "box", "pen", "tool"], rng)
    if kind == "rod":
        return single(cylinder(rng.uniform(0.004, 0.013), rng.uniform(0.08, 0.18)))
    if kind == "box":
        return single(box(rng.uniform(0.006, 0.028), rng.uniform(0.04, 0.16), rng.uniform(0.008, 0.03)))
    if kind == "pen":
        radius = rng.uniform(0.0035, 0.006)
        return single(bottle(radius, rng.uniform(0.11, 0.16), 0.25 * radius, 0.85))
    return tool(rng, rng.uniform(0.004, 0.007))


def card(rng: np.random.Generator) -> SceneObject:
    """Returns a random flat object, thin along x: a card, a key, a sheet or a book."""
    return single(box(_any([0.0012, 0.002, 0.004, 0.009], rng), rng.uniform(0.04, 0.10), rng.uniform(0.025, 0.07)))


def slab(rng: np.random.Generator) -> SceneObject:
    """Returns a random large box to lay a hand on; its upper face points along y."""
    return single(box(rng.uniform(0.12, 0.34), rng.uniform(0.008, 0.12), rng.uniform(0.10, 0.30)))


def random_object(rng: np.random.Generator, family: str) -> SceneObject:
    """Returns an object of a random kind, for clutter and occluders."""
    kind = rng.integers(6)
    if kind == 0:
        return ball(rng, family, 0.015, 0.06)
    if kind == 1:
        return card(rng)
    if kind == 2:
        return stick(rng, family)
    if kind == 3:
        return slab(rng)
    if kind == 4:
        return disc(rng, 0.01, 0.06)
    return bar(rng, family)


def _tipped() -> np.ndarray:
    """Returns the rotation that maps the y axis to the x axis."""
    return np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])


def _any(options: list[T], rng: np.random.Generator) -> T:
    return options[rng.integers(len(options))]
