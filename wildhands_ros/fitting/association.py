"""Finds which hands of several calibrated cameras are the same hand, by the distances of their rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..tracking.assignment import cheapest_pairs
from .multiview_fit import HandView, misfit, triangulated

MOST_MISFIT = 0.12
"""Largest misfit of two views of one hand, as a fraction of the hand's extent in the image. In the synthetic world 99 %
of true pairs have less."""
MOST_MOTION = 0.5
"""Largest misfit of a view with the prediction of a track."""
_OTHER_SIDE = 0.03
"""Misfit that a certain disagreement about the side counts as."""
_OTHER_SHAPE = 0.1
"""Misfit that a difference of the triangulated and the estimated joints by the whole hand counts as."""
_PALM_LENGTHS = (0.05, 0.14)
"""Range of the distance from the wrist to the middle finger's MCP joint in metres, children included."""
_MOST_DISTANCE_RATIO = 1.8
"""Largest factor between a triangulated distance and a camera's own estimate of it."""

Member = tuple[str, int]
"""A hand of a camera: name of the camera and index of the hand."""


def pair_cost(first: HandView, second: HandView) -> float:
    """Returns how badly two hands of different cameras agree; infinite if they cannot be the same hand."""
    points = triangulated((first, second))
    cost = 0.0
    palm = np.linalg.norm(points[9] - points[0])
    if not _PALM_LENGTHS[0] < palm < _PALM_LENGTHS[1]:  # also if it is NaN
        return np.inf
    for view in (first, second):
        depths = ((points - view.origin) * view.rays).sum(1)
        if np.nanmin(depths) < 0.03:
            return np.inf
        own = float(np.linalg.norm(view.joints.mean(0) - view.origin))
        ratio = float(np.nanmedian(depths)) / own
        if not 1 / _MOST_DISTANCE_RATIO < ratio < _MOST_DISTANCE_RATIO:
            return np.inf
        cost = max(cost, misfit(view, points))
        shape = (points - points[0]) - (view.joints - view.joints[0]) * ratio
        cost += _OTHER_SHAPE * float(np.nanmedian(np.linalg.norm(shape, axis=1))) / (2 * palm)
    if first.side is not second.side:
        cost += _OTHER_SIDE * _confidence(first) * _confidence(second)
    return cost


def _confidence(view: HandView) -> float:
    return 0.8 if np.isnan(view.side_score) else float(np.clip(2 * view.side_score - 1, 0, 1))


def associate(views: Mapping[str, Sequence[HandView]]) -> list[list[Member]]:
    """Groups the hands of several cameras, at most one of each camera in a group.

    Args:
        views: The hands that each camera sees, in one common frame.

    Returns:
        The groups; a hand that agrees with no other one is a group of its own. All members of a group agree with one
        another.
    """
    members = [(name, index) for name, hands in views.items() for index in range(len(hands))]
    costs = {
        (i, j): pair_cost(views[a[0]][a[1]], views[b[0]][b[1]])
        for i, a in enumerate(members)
        for j, b in enumerate(members[:i])
        if a[0] != b[0]
    }
    groups = [{i} for i in range(len(members))]
    of_member = list(range(len(members)))
    for (i, j), cost in sorted(costs.items(), key=lambda item: item[1]):
        if cost > MOST_MISFIT:
            break
        first, second = of_member[i], of_member[j]
        if first == second:
            continue
        pairs = [(max(a, b), min(a, b)) for a in groups[first] for b in groups[second]]
        if all(costs.get(pair, np.inf) <= MOST_MISFIT for pair in pairs):
            groups[first] |= groups[second]
            for member in groups[second]:
                of_member[member] = first
            groups[second] = set()
    return [[members[i] for i in sorted(group)] for group in groups if group]


def assign_to_tracks(views: Mapping[str, Sequence[HandView]], predictions: Sequence[np.ndarray]) -> list[list[Member]]:
    """Finds the hands of known tracks.

    Args:
        views: The hands that each camera sees.
        predictions: (21, 3) expected joints of each track.

    Returns:
        The hands of each track, at most one of each camera.
    """
    found: list[list[Member]] = [[] for _ in predictions]
    for name, hands in views.items():
        if not hands or not predictions:
            continue
        costs = np.array([[misfit(view, joints) for joints in predictions] for view in hands])
        for row, column in cheapest_pairs(np.fmin(costs, 1e3)):
            if costs[row, column] < MOST_MOTION:
                found[column].append((name, row))
    return found
