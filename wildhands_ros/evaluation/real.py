"""Evaluation suites made of real datasets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..datasets import DatasetError, HandDataset, LabelledImage


def default_split(dataset: type[HandDataset]) -> str:
    """Return the dataset's split for testing, or its first split if it has none."""
    return next((split for split in ("test", "val", "evaluation") if split in dataset.SPLITS), dataset.SPLITS[0])


def dataset_images(dataset: HandDataset, count: int | None = None) -> Iterator[LabelledImage | DatasetError]:
    """Iterate over a dataset's images.

    Args:
        dataset: The dataset.
        count: Number of images, spread evenly over the dataset; None for all.

    Returns:
        The images; a ``DatasetError`` takes the place of each that cannot be opened.

    Raises:
        ValueError: The count is not positive.
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
