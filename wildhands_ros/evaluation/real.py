"""The readers of real data sets as suites."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..datasets import DatasetError, HandDataset, LabelledImage


def default_split(dataset: type[HandDataset]) -> str:
    """The one that is not for training, where there is one."""
    return next((split for split in ("test", "val", "evaluation") if split in dataset.SPLITS), dataset.SPLITS[0])


def dataset_pictures(dataset: HandDataset, count: int | None = None) -> Iterator[LabelledImage | DatasetError]:
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


def _opened(dataset: HandDataset, index: int) -> LabelledImage | DatasetError:
    try:
        return dataset[index]
    except DatasetError as error:
        return error
