"""The images of one segment as JPEGs on disk. A video's images are kept this way until its bag is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..io.files import OutputFile


def save_jpegs(path: Path, jpegs: Sequence[bytes]) -> None:
    """Writes the images to an .npz file, which appears only when it is complete."""
    with OutputFile(path) as partial:
        np.savez(
            partial,
            sizes=np.array([len(jpeg) for jpeg in jpegs], np.int64),
            data=np.frombuffer(b"".join(jpegs), np.uint8),
        )


def load_jpegs(path: Path) -> Iterator[bytes]:
    """Yields the images that ``save_jpegs`` wrote.

    Raises:
        ValueError, OSError, KeyError: ``save_jpegs`` did not write this file.
    """
    with np.load(path, allow_pickle=False) as file:
        sizes, data = file["sizes"], file["data"]
    for size, end in zip(sizes, sizes.cumsum(), strict=True):
        yield data[end - size : end].tobytes()
