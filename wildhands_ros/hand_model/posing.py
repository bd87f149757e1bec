"""From the parameters of estimated hands to their meshes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from ..structures import ManoParameters, Side
from .asset import HandAsset
from .joints import MANO_TO_MEDIAPIPE
from .layer import HandLayer


@torch.inference_mode()
def pose_hands(layer: HandLayer, manos: Sequence[ManoParameters], sides: Sequence[Side]) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, V, 3) and joints (N, 21, 3) in MediaPipe order of N hands, at least one. ``layer`` takes poses as they are."""
    orient, pose, betas, transl = (
        torch.tensor(np.stack([getattr(mano, name) for mano in manos]), dtype=torch.float32)
        for name in ("global_orient", "hand_pose", "betas", "transl")
    )
    with one_thread():
        output = layer(orient, pose, betas, transl, is_right=torch.tensor([side is Side.RIGHT for side in sides]))
    return output.vertices.numpy(), output.joints.numpy()[:, MANO_TO_MEDIAPIPE]


def flat_layer(assets: Mapping[Side, HandAsset]) -> HandLayer:
    """The layer of a right and a left hand that ``pose_hands`` takes."""
    return HandLayer(assets[Side.RIGHT], assets[Side.LEFT], flat_hand_mean=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """For work of a millisecond, which threads only delay: on a busy machine they wait for one another for tens of milliseconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
