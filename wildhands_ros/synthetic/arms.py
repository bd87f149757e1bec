"""Sleeves and bracelets around a forearm."""

from __future__ import annotations

import numpy as np

from .hand_mesh import ArmLine

AROUND = 22


def tube(
    line: ArmLine,
    start: float,
    end: float,
    radii: tuple[float, float],
    thickness: float,
    folds: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Builds a tube of cloth around the forearm, whose first edge is turned inwards.

    Args:
        line: Centre line of the forearm.
        start: Start of the tube, in metres from the wrist.
        end: End of the tube, in metres from the wrist.
        radii: Radii of the wrist in metres, out of the palm and across.
        thickness: Distance from the skin in metres.
        folds: Height of the folds in metres.
        rng: Source of random numbers.

    Returns:
        Vertices (V, 3), faces (F, 3) and texture coordinates (V, 3) in metres.
    """
    rows = max(4, min(15, int((end - start) / 0.015) + 3))
    distance = np.concatenate(
        [[start + 0.004, start], start + 0.003 + (end - start - 0.003) * np.linspace(0, 1, rows) ** 1.7]
    )
    points, frames = line.frames(distance)
    turn = np.linspace(0, 2 * np.pi, AROUND + 1)
    wave = np.zeros((len(distance), len(turn)))
    for _ in range(5):
        wave += np.sin(
            rng.uniform(30, 140) * distance[:, None] + rng.integers(-2, 3) * turn + rng.uniform(0, 2 * np.pi)
        )
    outer = np.full(len(distance), thickness)
    outer[0], outer[1] = 0.001, 0.5 * thickness
    reach = np.minimum(distance, 0.16)
    sides = np.stack([radii[0] * (1 + 3.4 * reach), radii[1] * (1 + 1.9 * reach)], axis=-1)
    section = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    slack = folds * wave * np.clip((distance - start) / 0.05, 0, 1)[:, None] + outer[:, None] + folds * 2
    local = section[None] * (sides[:, None] + slack[..., None])
    vertices = points[:, None] + local @ np.swapaxes(frames[:, :, 1:], 1, 2)
    index = np.arange(vertices.shape[0] * vertices.shape[1]).reshape(vertices.shape[:2])
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([a, c, b, a, d, c], axis=-1).reshape(-1, 3)
    uv = np.stack(np.broadcast_arrays(turn * radii[1] * 1.2, distance[:, None], 0.0), axis=-1)
    return vertices.reshape(-1, 3), faces.astype(np.int32), uv.reshape(-1, 3)
