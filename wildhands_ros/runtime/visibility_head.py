"""A linear head on the trunk's pooled features: whether the camera sees each joint, or an object or a hand hides it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BUNDLED = Path(__file__).parents[1] / "network" / "default_weights" / "visibility.npz"
"""The head of the bundled network."""
_MOST = 6.0
"""Largest log-odds, of either sign: the recordings of the fit tell no more."""


class VisibilityHead:
    """Computes the log-odds that the camera sees the joints of hands.

    Args:
        weights: (C, 21), for C pooled features.
        bias: (21,)
    """

    def __init__(self, weights: np.ndarray, bias: np.ndarray):
        self._weights, self._bias = weights.astype(np.float32), bias.astype(np.float32)

    @classmethod
    def of_network(cls, digest: str | None, path: Path = BUNDLED) -> VisibilityHead | None:
        """Returns the head of a network; None if there is none for these weights.

        Args:
            digest: SHA-256 of the network's file; None for a checkpoint, which has no head.
            path: The head's file: ``weights``, ``bias``, and the ``network`` to which they belong.
        """
        if digest is None:
            return None
        with np.load(path, allow_pickle=False) as data:
            if str(data["network"]) != digest:
                return None
            return cls(data["weights"], data["bias"])

    def save(self, path: Path, digest: str) -> None:
        """Writes the head of the network with this digest."""
        half = self._weights.astype(np.float16)
        np.savez_compressed(path, weights=half, bias=self._bias, network=np.array(digest))

    def __call__(self, pooled: np.ndarray) -> np.ndarray:
        """Returns the (B, 21) log-odds for (B, C, 1, 1) pooled features."""
        logits = pooled.reshape(len(pooled), -1) @ self._weights + self._bias
        return np.clip(logits, -_MOST, _MOST)
