"""The pictures of one segment as JPEGs, on disk: of a video, whose pictures are in no bag yet, until its bag is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..io.files import OutputFile


def save_jpegs(path: Path, jpegs: Sequence[bytes]) -> None:
    """Writes them; the file, an .npz, appears whole or not at all."""
    with OutputFile(path) as partial:
        np.savez(
            partial,
            sizes=np.array([len(jpeg) for jpeg in jpegs], np.int64),
            data=np.frombuffer(b"".join(jpegs), np.uint8),
        )


def load_jpegs(path: Path) -> Iterator[bytes]:
    """What ``save_jpegs`` wrote.

    :raises ValueError, OSError, KeyError: it is none.
    """
    with np.load(path, allow_pickle=False) as file:
        sizes, data = file["sizes"], file["data"]
    for size, end in zip(sizes, sizes.cumsum(), strict=True):
        yield data[end - size : end].tobytes()
