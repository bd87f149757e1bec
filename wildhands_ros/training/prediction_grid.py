"""Draws a network's predictions for a batch as one image, for TensorBoard."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ..hand_model.joints import MANO_TO_MEDIAPIPE, MEDIAPIPE_BONES
from ..network.config import Preprocessing
from .batches import Batch
from .objective import Objective

_MAX_CROPS, _COLUMNS = 12, 6
_LABEL_COLOUR, _PREDICTION_COLOUR = (80, 220, 80), (255, 90, 40)


@torch.no_grad()
def draw_predictions(objective: Objective, batch: Batch) -> np.ndarray:
    """Draw the first crops of a batch with the labelled skeletons in green and the predicted ones in orange.

    For networks whose 2D losses are computed in the whole image, like the released one, only the crops are shown.

    Returns:
        (H, W, 3) uint8.
    """
    if batch.crops is None:
        raise ValueError("the batch holds features instead of crops, so there is nothing to draw on")
    crops = batch.crops[:_MAX_CROPS].cpu().numpy().copy()
    k = batch.targets.k[:_MAX_CROPS].cpu().numpy()
    modes = {module: module.training for module in objective.modules()}
    objective.eval()
    output, _ = objective.predict(batch)
    joints = objective.hands(output, batch.targets).joints[:_MAX_CROPS].float().cpu().numpy()
    for module, mode in modes.items():
        module.training = mode
    if objective.model.config.preprocessing is Preprocessing.FULL_RESOLUTION:
        labels = _labelled_joints(batch)
        for i, crop in enumerate(crops):
            if labels is not None:
                _draw(crop, labels[i], _LABEL_COLOUR)
            rays = joints[i] / np.maximum(joints[i, :, 2:], 0.01)
            _draw(crop, (rays @ k[i].T)[:, :2], _PREDICTION_COLOUR)
    rows = -(-len(crops) // _COLUMNS)
    grid = np.zeros((rows * _COLUMNS, *crops.shape[1:]), np.uint8)
    grid[: len(crops)] = crops
    return grid.reshape(rows, _COLUMNS, *crops.shape[1:]).swapaxes(1, 2).reshape(rows * crops.shape[1], -1, 3)


def _labelled_joints(batch: Batch) -> np.ndarray | None:
    """(B, 21, 2) pixels in MANO order, NaN where unknown."""
    if batch.targets.joints_2d is None or batch.targets.has_j2d is None:
        return None
    known = batch.targets.has_j2d[:_MAX_CROPS].cpu().numpy()
    known = known if known.ndim == 2 else known[:, None]
    return np.where(known[..., None], batch.targets.joints_2d[:_MAX_CROPS].cpu().numpy(), np.nan)


def _draw(image: np.ndarray, joints: np.ndarray, colour: tuple[int, int, int]) -> None:
    """(21, 2) pixels in MANO order; NaN where unknown."""
    points = np.clip(np.nan_to_num(joints[list(MANO_TO_MEDIAPIPE)], nan=-1e3), -1e3, 1e3)
    for start, end in MEDIAPIPE_BONES:
        if (points[[start, end]] > -1e3).all():
            (x0, y0), (x1, y1) = np.round(points[[start, end]]).astype(int).tolist()
            cv2.line(image, (x0, y0), (x1, y1), colour, 1, cv2.LINE_AA)
