"""Whether the camera sees the joints of a hand: what the network says, and the depth order of the meshes of all hands.

A joint lies inside the hand, so a surface in front of it hides it only if it is farther away than the skin around the
joint. Objects have no mesh: that one hides a joint is what the network's visibility head sees
(``runtime.visibility_head``); without a head, it shows in the score of the detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .camera import Camera
from .compiled import native

SKIN = np.where(np.isin(np.arange(21), (0, 1, 2, 5, 9, 13, 17)), 0.034, 0.017)
"""(21,) most metres from the skin of the same part to a joint, MediaPipe order: in a finger, or in the palm, behind
whose skin the joints are deepest. What is farther in front is another part."""
_BORDER = 0.03
"""Uncertainty of a joint's place near the border of the image, as a fraction of the hand's extent."""

_MOST_RAYS = 64
"""Number of rays that the compiled code takes at once."""

# Logistic regression on recordings of the synthetic world, by `python tools/fit_visibility.py`.
_WEIGHTS = np.array([-7.56, -1.98, -0.442, -1.82, 0.483])
"""Weights of ``visibility_features``."""
_JOINTS = np.array(
    [-0.21, 1.42, 1.57, 0.737, -1.01, 0.381, 0.199, 0.053, -0.912, -0.359, -0.0869]
    + [-0.407, -0.744, -0.497, -0.492, 0.0142, 0.109, -0.541, -0.546, -0.129, -0.534]
)
"""(21,) log-odds of each joint of a hand on which nothing else is known."""
_WEIGHTS_WITH_NETWORK, _BIAS_WITH_NETWORK = np.array([-0.446, -1.25, -0.351, 0.0555, 0.0126, 0.894]), 0.545
"""Weights of ``visibility_features`` and of the network's log-odds, by the same tool on the split train."""
_USUAL_SCORE = 0.97
"""Stands for an unknown score."""
_LEAST_SCORE = 0.4
"""Stands for lower scores, such as that of an interpolated hand, which was not found because it was hidden."""
_MOST_HIDDEN = 0.04
"""Metres behind a surface beyond which a joint is not more hidden."""


@dataclass(frozen=True, eq=False)
class Surface:
    """The mesh of one hand."""

    vertices: np.ndarray
    """(V, 3) metres in the camera frame."""
    faces: np.ndarray
    """(F, 3) vertex indices."""

    @cached_property
    def _planes(self) -> tuple[np.ndarray, np.ndarray]:
        """(3, F, 3) normals of the planes through the camera and each edge, and (F,) volumes with the camera."""
        a, b, c = np.moveaxis(self.vertices[self.faces].astype(np.float32), 1, 0)
        normals = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
        return normals, (a * normals[0]).sum(-1)

    def distances(self, rays: np.ndarray) -> np.ndarray:
        """Returns the (N,) distances in metres from the camera to the mesh along (N, 3) unit rays; infinite where a ray
        passes the mesh."""
        if native is None:
            return self.distances_in_numpy(rays)
        distances = np.empty(len(rays), np.float32)
        vertices, faces, rays = (
            np.ascontiguousarray(array, kind)
            for array, kind in ((self.vertices, np.float32), (self.faces, np.int32), (rays, np.float32))
        )
        for start in range(0, len(rays), _MOST_RAYS):
            some = slice(start, start + _MOST_RAYS)
            native.ray_distances(vertices, faces, rays[some], distances[some])
        return distances

    def distances_in_numpy(self, rays: np.ndarray) -> np.ndarray:
        """Returns the same as ``distances``, for installations without compiled code; it takes ten times as long."""
        normals, volumes = self._planes
        sides = normals @ rays.T.astype(np.float32)
        hit = ((sides >= 0).all(axis=0) | (sides <= 0).all(axis=0)) & (volumes != 0)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = np.where(hit, volumes[:, None] / sides.sum(axis=0), np.inf)
        return np.where(distances > 0, distances, np.inf).min(axis=0)


def hidden_depths(number: int, joints: np.ndarray, surfaces: Sequence[Surface]) -> np.ndarray:
    """Returns how far each joint is behind surfaces that are not the skin around it.

    Args:
        number: Number of the hand in ``surfaces``.
        joints: (21, 3) its joints in metres, camera frame.
        surfaces: Meshes of all hands.

    Returns:
        (21, 2) metres behind the skin of the own hand and of other hands, 0 to 4 cm.
    """
    lengths = np.linalg.norm(joints, axis=1)
    rays = joints / np.maximum(lengths, 1e-6)[:, None]
    own = surfaces[number].distances(rays)
    others = [surface.distances(rays) for i, surface in enumerate(surfaces) if i != number]
    other = np.min(others, axis=0) if others else np.full(len(joints), np.inf)
    behind = np.stack([lengths - own - SKIN, lengths - other - SKIN], axis=-1)
    return np.clip(behind, 0.0, _MOST_HIDDEN)


def visibility_features(number: int, joints: np.ndarray, score: float, surfaces: Sequence[Surface]) -> np.ndarray:
    """Returns what the visibility of the joints inside the image depends on; arguments as of ``joint_visibility``.

    Returns:
        (21, 5): metres behind the own hand's surface, and whether it is at all; metres behind other hands; tenths of a
        metre that the joint is farther away than the hand's mean, because objects are mostly held on the far side; and
        the log-odds of the score.
    """
    behind = hidden_depths(number, joints, surfaces)
    farther = 10 * (joints[:, 2] - joints[:, 2].mean())
    known = _USUAL_SCORE if np.isnan(score) else max(score, _LEAST_SCORE)
    known = float(np.clip(known, 0.5, 0.999))
    odds = np.full(len(joints), np.log(known / (1 - known)))
    return np.column_stack([behind[:, 0], behind[:, 0] > 0, behind[:, 1], farther, odds])


def joint_visibility(
    number: int,
    joints: np.ndarray,
    joints_2d: np.ndarray,
    score: float,
    surfaces: Sequence[Surface],
    camera: Camera,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """Returns the (21,) probabilities that the camera sees the joints of a hand.

    Args:
        number: Number of the hand in ``surfaces``.
        joints: (21, 3) its joints in metres, camera frame.
        joints_2d: (21, 2) their pixels; NaN for what the lens does not see.
        score: Confidence in [0, 1] that it is a hand; NaN if unknown.
        surfaces: Meshes of all hands of the image.
        camera: Camera of the image.
        seen: (21,) log-odds of the network; None without.
    """
    features = visibility_features(number, joints, score, surfaces)
    if seen is None:
        logits = _JOINTS + features @ _WEIGHTS
    else:
        logits = _BIAS_WITH_NETWORK + np.column_stack([features, seen]) @ _WEIGHTS_WITH_NETWORK
    return _inside(joints_2d, camera) / (1 + np.exp(-logits))


def _inside(joints_2d: np.ndarray, camera: Camera) -> np.ndarray:
    """Returns the (21,) probabilities that the joints are inside the image."""
    is_known = np.isfinite(joints_2d).all(axis=1)
    known = joints_2d if is_known.all() else joints_2d[is_known]
    if not len(known):
        return np.zeros(len(joints_2d))
    blur = max(_BORDER * float((known.max(axis=0) - known.min(axis=0)).max()), 0.5)
    margins = np.minimum(joints_2d + 0.5, (camera.width - 0.5, camera.height - 0.5) - joints_2d).min(axis=1)
    margin = np.where(np.isnan(margins), -1e6, margins) / blur
    return 1 / (1 + np.exp(-np.clip(3 * margin, -50, 50)))
