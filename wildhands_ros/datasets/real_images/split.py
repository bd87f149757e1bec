"""Divides scenes of real images into train, validation and test, so that no scene is in two of them.

The result is written down once (``labels/split.json``, by ``tools/split_real_images.py``). Scenes with near-duplicate
images are one scene here, as are EgoHands' videos of the same people in the same place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np

K = TypeVar("K", bound=Hashable)

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
SINGLE = "single photo"
"""Scene of photographs that are scenes of their own."""
DUPLICATE = 4
"""Number of differing bits of two ``difference_hash`` values up to which images are near-duplicates."""
_SHARES = {"egohands": (0.5, 0.2, 0.3)}
"""Shares of train, validation and test. Of EgoHands, the source that is nearest to the network's purpose, more is for
the test."""
_USUAL_SHARES = (0.6, 0.2, 0.2)
_HAND_FREE_SHARES = (0.4, 0.3, 0.3)
"""Shares of the images without hands, which are few, and which training gets from elsewhere too."""
_EGOHANDS = re.compile(r"[A-Z]+_([A-Z]+)_([A-Z])_([A-Z])$")


@dataclass(frozen=True)
class SceneSize:
    """What a scene contributes to its split."""

    images: int = 0
    hands: int = 0
    hand_free: int = 0

    def __add__(self, other: SceneSize) -> SceneSize:
        return SceneSize(self.images + other.images, self.hands + other.hands, self.hand_free + other.hand_free)


def difference_hash(image: np.ndarray) -> np.ndarray:
    """Return the 64 bits of an (H, W, 3) RGB image's difference hash, (64,) uint8 of 0 and 1.

    The image is reduced to 9 x 8 grey values; each bit tells whether a value is greater than its left neighbour.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(int)
    return (small[:, 1:] > small[:, :-1]).ravel().astype(np.uint8)


def near_duplicates(hashes: np.ndarray, bits: int = DUPLICATE) -> list[tuple[int, int]]:
    """Return the pairs (i < j) among (N, 64) hashes that differ in at most ``bits`` bits."""
    signed = 2 * hashes.astype(np.int32) - 1
    distances = (hashes.shape[1] - signed @ signed.T) // 2
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(distances <= bits, 1)), strict=True)]


def scene_key(source: str, scene: str, name: str) -> str:
    """Return what an image is listed under in the split file: its scene, or its file name if it is its own scene."""
    return name if scene == SINGLE else scene


def place_and_people(source: str, key: str) -> str:
    """Return the scene to which a scene belongs: for EgoHands, all videos of two people in one place."""
    found = _EGOHANDS.match(key) if source == "egohands" else None
    return f"{found[1]}_{''.join(sorted((found[2], found[3])))}" if found else key


def merged(keys: Sequence[K], pairs: Sequence[tuple[K, K]]) -> dict[K, K]:
    """Return the representative of each key's group, where pairs belong together."""
    parent = {key: key for key in keys}

    def root(key: K) -> K:
        while parent[key] != key:
            key = parent[key]
        return key

    for a, b in pairs:
        first, second = sorted((root(a), root(b)), key=str)
        parent[second] = first
    return {key: root(key) for key in keys}


def divide(source: str, groups: Mapping[K, SceneSize], total: Mapping[str, SceneSize]) -> dict[K, str]:
    """Assign the groups of scenes of one source to splits.

    The largest groups come first, ties in the order of a hash of their names. Each goes to the split that is furthest
    below its share of this source's images, hands and hand-free images. A source of a single group goes to the split
    that is furthest below its share of all sources' hand-free images, or of everything if it has none.

    Args:
        source: Name of the source.
        groups: Size of each group of scenes.
        total: Size of each split so far, over all sources.
    """
    shares = _SHARES.get(source, _USUAL_SHARES)
    filled, whole = dict.fromkeys(SPLITS, SceneSize()), sum(groups.values(), SceneSize())
    if len(groups) == 1:
        filled, whole = dict(total), sum(total.values(), whole)
    result: dict[K, str] = {}
    for group in sorted(groups, key=lambda key: (-groups[key].images, _hash(source, key))):
        added = groups[group]
        counted = replace(added, images=0, hands=0) if len(groups) == 1 and added.hand_free else added
        best = max(SPLITS, key=lambda split: _deficit(filled[split], counted, whole, shares, SPLITS.index(split)))
        result[group] = best
        filled[best] = filled[best] + added
    return result


def _deficit(filled: SceneSize, added: SceneSize, whole: SceneSize, shares: Sequence[float], split: int) -> float:
    """Return how far a split would be below its share if it got a group, averaged over what the group contains."""
    parts = [
        share - (have + more / 2) / all_
        for share, have, more, all_ in (
            (shares[split], filled.images, added.images, whole.images),
            (shares[split], filled.hands, added.hands, whole.hands),
            (_HAND_FREE_SHARES[split], filled.hand_free, added.hand_free, whole.hand_free),
        )
        if more and all_
    ]
    return sum(parts) / max(len(parts), 1)


def _hash(source: str, key: Hashable) -> str:
    return hashlib.sha256(f"{source}/{key}".encode()).hexdigest()
