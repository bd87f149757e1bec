"""The readers of real data sets as suites."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..datasets import DatasetError, HandDataset, HandLabels, HandSample
from ..types import Side
from .pictures import TrueHand, TruePicture


def default_split(dataset: type[HandDataset]) -> str:
    """The one that is not for training, where there is one."""
    return next((split for split in ("test", "val", "evaluation") if split in dataset.SPLITS), dataset.SPLITS[0])


def dataset_pictures(dataset: HandDataset, count: int | None = None) -> Iterator[TruePicture | DatasetError]:
    """All pictures, or ``count`` that are spread evenly over the data set; errors in place of those that cannot be opened.

    Raises ValueError where the count is not positive.
    """
    if count is not None and count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    total = len(dataset)
    indices = (
        range(total)
        if count is None or count >= total
        else np.linspace(0, total - 1, count).round().astype(int).tolist()
    )
    return (_opened(dataset, index) for index in indices)


def _opened(dataset: HandDataset, index: int) -> TruePicture | DatasetError:
    try:
        return picture_of(dataset[index])
    except DatasetError as error:
        return error


def picture_of(sample: HandSample) -> TruePicture:
    hands = tuple(_hand(side, labels) for side, labels in sample.hands.items())
    return TruePicture(sample.name, sample.load_image, sample.camera, hands, sample.camera_is_known)


def _hand(side: Side, labels: HandLabels) -> TrueHand:
    return TrueHand(
        box=labels.box,
        side=side,
        keypoints=_known(labels.keypoints, labels.keypoints_valid),
        joints=_known(labels.joints, labels.joints_valid),
        grasp=labels.grasp,
        load_mask=labels.load_mask,
    )


def _known(points: np.ndarray | None, valid: np.ndarray) -> np.ndarray | None:
    """(21, D) with NaN where not valid; None without any."""
    return None if points is None or not valid.any() else np.where(valid[:, None], points, np.nan)
