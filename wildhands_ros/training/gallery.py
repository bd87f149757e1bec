"""What the network makes of a batch, as one picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ..hand_model.joints import MANO_TO_MEDIAPIPE, MEDIAPIPE_BONES
from ..network.config import Preprocessing
from .batches import Batch
from .objective import Objective

_SHOWN, _COLUMNS = 12, 6
_TRUTH, _PREDICTED = (80, 220, 80), (255, 90, 40)


@torch.no_grad()
def gallery(objective: Objective, batch: Batch) -> np.ndarray:
    """(H, W, 3) uint8: the first crops of a batch with the true skeletons in green and the predicted ones in orange.

    Of networks whose 2D losses are in the whole picture, as the released one, only the crops are shown.
    """
    crops = batch.crops[:_SHOWN].cpu().numpy().copy()
    k = batch.targets.k[:_SHOWN].cpu().numpy()
    modes = {module: module.training for module in objective.modules()}
    objective.eval()
    output, _ = objective.predict(batch)
    joints = objective.hands(output, batch.targets).joints[:_SHOWN].float().cpu().numpy()
    for module, mode in modes.items():
        module.training = mode
    truth = None if batch.targets.joints_2d is None else batch.targets.joints_2d[:_SHOWN].cpu().numpy()
    if objective.model.config.preprocessing is Preprocessing.FULL_RESOLUTION:
        for i, crop in enumerate(crops):
            if truth is not None:
                known = batch.targets.has_j2d[i].cpu().numpy()
                _draw(crop, np.where(known[:, None], truth[i], np.nan), _TRUTH)
            rays = joints[i] / np.maximum(joints[i, :, 2:], 0.01)
            _draw(crop, (rays @ k[i].T)[:, :2], _PREDICTED)
    rows = -(-len(crops) // _COLUMNS)
    grid = np.zeros((rows * _COLUMNS, *crops.shape[1:]), np.uint8)
    grid[: len(crops)] = crops
    return grid.reshape(rows, _COLUMNS, *crops.shape[1:]).swapaxes(1, 2).reshape(rows * crops.shape[1], -1, 3)


def _draw(image: np.ndarray, joints: np.ndarray, colour: tuple[int, int, int]) -> None:
    """(21, 2) pixels in MANO order; NaN where there is none."""
    points = np.clip(np.nan_to_num(joints[list(MANO_TO_MEDIAPIPE)], nan=-1e3), -1e3, 1e3)
    for start, end in MEDIAPIPE_BONES:
        if (points[[start, end]] > -1e3).all():
            a, b = (tuple(int(value) for value in np.round(points[i])) for i in (start, end))
            cv2.line(image, a, b, colour, 1, cv2.LINE_AA)
