"""The base of the dataset readers: finding files, rejecting damaged ones, counting unusable entries, loading images.

A reader goes through its annotations once, when it is created: unusable entries are counted in ``skipped``, and the
rest is kept in compact arrays, which forked loader processes share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from ..geometry.camera import Camera
from ..io.errors import InputError, foreign_bytes
from ..io.images import load_image
from ..io.paths import below
from ..types import Side
from .labels import LabelledHand, LabelledImage, ManoLabel, Supervision, drop_unknown

_LONGEST_NAME = 500
"""Characters of a name that a message shows."""


class DatasetError(InputError):
    """A dataset, or one of its files, cannot be used; the message says which file, where it belongs and where to get
    it."""


class HandDataset(ABC):
    """A sequence of ``LabelledImage``.

    Images and masks are only opened when they are loaded, except that the first image must exist, so that a wrong root
    is noticed at once.
    """

    NAME: ClassVar[str]
    SPLITS: ClassVar[tuple[str, ...]]
    SUPERVISION: ClassVar[frozenset[Supervision]]
    LAYOUT: ClassVar[str]
    """The files below the root, one per line."""
    SOURCE: ClassVar[str]
    """Where to get the files."""
    LICENSE: ClassVar[str]

    def __init__(self, root: str | Path, split: str, paper_labels: bool = False):
        """Read the annotations.

        Args:
            root: The folder that ``LAYOUT`` describes.
            split: One of ``SPLITS``.
            paper_labels: Use the labels as the paper's training did even where it was wrong; the class says in which
                way.

        Raises:
            DatasetError: A file is missing or damaged, or there is nothing left to use.
        """
        self.root, self.split, self.paper_labels = Path(root).expanduser(), split, paper_labels
        self.skipped: Counter[str] = Counter()
        """Counts of annotated hands and samples that cannot be used, by reason."""
        if split not in self.SPLITS:
            raise DatasetError(f"{self.NAME} has no split {split!r}; it has {', '.join(self.SPLITS)}")
        if not self.root.is_dir():
            raise DatasetError(f"{self.NAME}: the folder {self.root} does not exist.\n{self.describe()}")
        with self._reading(self.root):
            self._read_annotations()
        if not len(self):
            reasons = "".join(f"\n  {count} x {reason}" for reason, count in self.skipped.most_common())
            raise DatasetError(
                f"{self.NAME}: no sample of the split {split!r} under {self.root} can be "
                f"used{reasons or ': it is empty'}"
            )

    @classmethod
    def describe(cls) -> str:
        """Describe the dataset: what to download, where to put it, and its licence."""
        summary = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        layout = "".join(f"\n  {line}" for line in cls.LAYOUT.strip().splitlines())
        labels = ", ".join(sorted(label.value for label in cls.SUPERVISION)) or "nothing: for evaluation"
        return (
            f"{cls.NAME}: {summary}\nSplits: {', '.join(cls.SPLITS)}. Trains: {labels}.\n"
            f"Files under the root:{layout}\nGet them: {cls.SOURCE}\nLicence: {cls.LICENSE}"
        )

    @abstractmethod
    def _read_annotations(self) -> None:
        """Read the annotation files of the split and count what cannot be used."""

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> LabelledImage:
        index = range(len(self))[index]
        with self._reading(self.root):
            return self._sample_at(index)

    @abstractmethod
    def _sample_at(self, index: int) -> LabelledImage:
        """Return the sample with this index, which lies between 0 and the length."""

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self[index] for index in range(len(self)))

    def _sample(
        self,
        name: str,
        load_image: Callable[[], np.ndarray],
        camera: Camera,
        hands: Iterable[LabelledHand | None],
        *,
        camera_is_known: bool = True,
        encode_camera: bool = True,
    ) -> LabelledImage:
        present = tuple(hand for hand in hands if hand is not None)
        return LabelledImage(name, load_image, camera, present, self.SUPERVISION, camera_is_known, encode_camera)

    def _skip(self, reason: str, count: int | np.integer = 1) -> None:
        if count:
            self.skipped[reason] += int(count)

    def _find(self, *paths: str) -> Path:
        """Return the first of these files or folders below the root that exists."""
        for path in paths:
            # Annotations, of which the names are parts, are no reason to read other files.
            try:
                file = below(self.root, path)
            except InputError as error:
                raise DatasetError(f"{self.NAME}: {error}") from error
            if file.exists():
                return file
        expected = " or ".join(_shortened(self.root / path) for path in paths)
        raise DatasetError(f"{self.NAME}: {expected} does not exist.\n{self.describe()}")

    def _require_image(self, path: Path) -> None:
        if not path.is_file():
            raise DatasetError(f"{self.NAME}: the image {_shortened(path)} does not exist.\n{self.describe()}")

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        """Convert any error that a damaged file causes into a ``DatasetError`` that names the file."""
        with foreign_bytes(path, f"a file of {self.NAME}", DatasetError, f"Download it again: {self.SOURCE}"):
            yield

    def _image_loader(self, path: Path, camera: Camera) -> Callable[[], np.ndarray]:
        return partial(load_dataset_image, path, (camera.width, camera.height), self._origin)

    @property
    def _origin(self) -> str:
        return f"{self.NAME}; get it: {self.SOURCE}"


class FileNames:
    """Many file names in little memory: each folder is stored once."""

    def __init__(self, names: Iterable[str]):
        """Takes the names, relative to the folder of the dataset.

        Raises:
            InputError: one of them leads out of the folder.
        """
        folders: dict[str, int] = {}
        indices, ends = [], []
        for name in names:
            folder, _, end = name.rpartition("/")
            if folder not in folders or end == "..":
                below(Path(), name)
            indices.append(folders.setdefault(folder, len(folders)))
            ends.append(end.encode())
        self._folders, self._indices, self._ends = list(folders), np.array(indices, np.int32), np.array(ends, bytes)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> str:
        return str(PurePosixPath(self._folders[self._indices[index]], self._ends[index].decode()))


def load_dataset_image(path: Path, size: tuple[int, int] | None, source: str) -> np.ndarray:
    """Load an image of a dataset.

    Args:
        path: The file.
        size: The expected (width, height), or None for any.
        source: Where to get the dataset, for messages.

    Returns:
        (H, W, 3) RGB uint8; grey images have three equal channels.

    Raises:
        DatasetError: The file is missing, damaged or of another size.
    """
    try:
        image = load_image(path)
    except OSError as error:
        raise DatasetError(f"the image {path} cannot be read: {error.strerror} ({source})") from error
    except InputError as error:
        raise DatasetError(f"{error} ({source})") from error
    if size is not None and image.shape[1::-1] != size:
        raise DatasetError(
            f"{path} is {image.shape[1]}x{image.shape[0]}, but its labels are for {size[0]}x{size[1]} ({source})"
        )
    return image


def label_hand(
    camera: Camera,
    side: Side,
    joints: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    box: np.ndarray | None = None,
    mano: ManoLabel | None = None,
) -> LabelledHand | None:
    """Label a hand by its joints, with their projections as keypoints.

    Args:
        camera: The image's camera.
        side: Which hand it is.
        joints: (21, 3) metres, MediaPipe order.
        valid: (21,) bool, which joints are labelled; by default all.
        box: (4,) pixels; by default that of the keypoints.
        mano: MANO parameters.

    Returns:
        The hand, or None if no part of it is in the image.
    """
    if valid is not None:
        joints = np.where(valid[:, None], joints, np.nan)
    keypoints = camera.project(joints)
    known = np.isfinite(keypoints).all(axis=1)
    box = clipped_box(keypoint_box(keypoints[known]) if box is None else box, camera)
    return None if box is None else LabelledHand(box, side, drop_unknown(keypoints), drop_unknown(joints), mano)


def keypoint_box(keypoints: np.ndarray) -> np.ndarray | None:
    """Return the (4,) box around (N, 2) pixels, or None if there are none."""
    return np.concatenate([keypoints.min(axis=0), keypoints.max(axis=0)]) if len(keypoints) else None


def clipped_box(box: np.ndarray | None, camera: Camera) -> np.ndarray | None:
    """Return the part of a box that is in the image, or None if there is none."""
    if box is None:
        return None
    limits = camera.width - 1, camera.height - 1
    clipped = np.clip(np.asarray(box, np.float64), 0, (*limits, *limits))
    return clipped if (clipped[2:] > clipped[:2]).all() else None


def _shortened(path: str | Path) -> str:
    """Returns a name for a message. Annotations, of which names are parts, may hold thousands of characters."""
    text = str(path)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."
