"""The base of the EPIC and Ego4D readers: boxes with grasps, and masks, on images of unknown cameras."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..geometry.camera import Camera
from ..io.errors import foreign_bytes
from ..io.safe_numpy import NpzFile, read_pickle
from ..types import Grasp, Side
from .base import DatasetError, HandDataset, clipped_box
from .labels import LabelledHand, LabelledImage, Supervision

ASSUMED_FOCAL = 1000.0
"""Pixels; the paper's training assumes this focal length for all image sizes."""

GRASPS = {
    "NP-Palm": Grasp.NON_PREHENSILE_PALM,
    "NP-Fin": Grasp.NON_PREHENSILE_FINGERTIP,
    "Pow-Pris": Grasp.POWER_PRISMATIC,
    "Pre-Pris": Grasp.PRECISION_PRISMATIC,
    "Pow-Circ": Grasp.POWER_CIRCULAR,
    "Pre-Circ": Grasp.PRECISION_CIRCULAR,
    "Later": Grasp.LATERAL,
    "Other": Grasp.OTHER,
    None: Grasp.NO_GRASP,
}
"""The grasps of Hands23 by their names in the label files."""

MASK_VALUES = {Side.RIGHT: 255, Side.LEFT: 127}
"""Values in the masks' first channel."""

VISIBLE = 1
"""Modal label of an uncovered hand."""


def assumed_camera(width: int, height: int) -> Camera:
    """Return the camera that the paper's training assumes for an image of this size."""
    return Camera.pinhole(ASSUMED_FOCAL, ASSUMED_FOCAL, (width - 1) / 2, (height - 1) / 2, width, height)


class BoxedHands(HandDataset):
    """Base of the readers of files that map image paths to ``{right,left}_bbox`` and ``{right,left}_grasp``."""

    BOXES: ClassVar[dict[str, str]]
    """The box file of each split."""
    ENCODE_CAMERA: ClassVar[bool] = True

    def _read_annotations(self) -> None:
        path = self._find(self.BOXES[self.split])
        with self._reading(path):
            self._boxes = {str(name): self._hand_boxes(entry) for name, entry in read_pickle(path).items()}
        self._read_labels()
        self._names = [name for name in self._boxes if self._sides(name)]
        self._skip("sample: no usable hand", len(self._boxes) - len(self._names))
        self._images = ImageFolder(self, self._names)

    def _hand_boxes(self, entry: dict[str, Any]) -> dict[Side, tuple[np.ndarray, Any]]:
        """Each hand's (4,) box and grasp name."""
        hands = {}
        for side in Side:
            if entry[f"{side.value}_bbox"] is None:
                continue
            box = np.array(entry[f"{side.value}_bbox"], np.float32).reshape(4)
            if np.isfinite(box).all() and (box[2:] > box[:2]).all():
                hands[side] = box, entry[f"{side.value}_grasp"]
            else:
                self._skip("hand: box that is not finite, or empty")
        return hands

    @abstractmethod
    def _read_labels(self) -> None:
        """Read and check the labels other than boxes."""

    @abstractmethod
    def _sides(self, name: str) -> list[Side]:
        """List the hands of an image that have a usable label."""

    @abstractmethod
    def _labels(self, name: str, side: Side, camera: Camera) -> dict[str, Any]:
        """Return the fields of ``LabelledHand`` other than the box and the side."""

    @abstractmethod
    def _open(self, path: Path) -> tuple[Camera, Callable[[], np.ndarray]]:
        """Return an image's camera and its loader."""

    def __len__(self) -> int:
        return len(self._names)

    def _sample_at(self, index: int) -> LabelledImage:
        name = self._names[index]
        camera, load = self._open(self._images[name])
        boxes = {side: clipped_box(self._boxes[name][side][0], camera) for side in self._sides(name)}
        hands = [
            LabelledHand(box, side, **self._labels(name, side, camera))
            for side, box in boxes.items()
            if box is not None
        ]
        return self._sample(name, load, camera, hands, camera_is_known=False, encode_camera=self.ENCODE_CAMERA)


class GraspedHands(BoxedHands):
    """Readers of grasps. A hand that has a box but no grasp name grasps nothing."""

    SUPERVISION = frozenset({Supervision.GRASP})

    def _read_labels(self) -> None:
        for hands in self._boxes.values():
            for side in [side for side, (_, grasp) in hands.items() if grasp not in GRASPS]:
                self._skip(f"hand: unknown grasp {hands.pop(side)[1]!r}")

    def _sides(self, name: str) -> list[Side]:
        return list(self._boxes[name])

    def _labels(self, name: str, side: Side, camera: Camera) -> dict[str, Any]:
        return {"grasp": GRASPS[self._boxes[name][side][1]]}


class MaskedHands(BoxedHands):
    """Readers of masks. With ``paper_labels``, a mask only counts if the *other* hand has a box, too, as in the
    reference code."""

    SUPERVISION = frozenset({Supervision.MASK})
    MASKS: ClassVar[str]

    def _read_labels(self) -> None:
        self._masks = MaskArchive(self._find(self.MASKS))
        with self._reading(self._masks.path):
            self._masked = self._masks.names()
        self._skip("sample: no mask", sum(name not in self._masked for name in self._boxes))
        for name in self._boxes.keys() - self._masked:
            del self._boxes[name]

    def _is_visible(self, name: str, side: Side) -> bool:
        """Whether the hand is uncovered according to the dataset's labels."""
        return True

    def _sides(self, name: str) -> list[Side]:
        boxes = self._boxes[name]
        return [
            side for side in boxes if self._is_visible(name, side) and (not self.paper_labels or side.other in boxes)
        ]

    def _labels(self, name: str, side: Side, camera: Camera) -> dict[str, Any]:
        box = self._boxes[name][side][0]
        return {
            "load_mask": partial(load_mask, self._masks, name, (camera.width, camera.height), MASK_VALUES[side], box)
        }


def load_mask(masks: MaskArchive, name: str, size: tuple[int, int], value: int, box: np.ndarray) -> np.ndarray:
    """Load a hand's mask.

    Args:
        masks: The archive.
        name: The image's name.
        size: The image's (width, height).
        value: The mask's value for this hand.
        box: (4,) the hand's box; pixels outside it do not count.

    Returns:
        (H, W) bool.

    Raises:
        DatasetError: The mask is damaged or not of the image's size.
    """
    mask = masks.read(name)
    if mask.shape[::-1] != size:
        raise DatasetError(
            f"the mask {name} in {masks.path} is {mask.shape[1]}x{mask.shape[0]}, but its image is {size[0]}x{size[1]}"
        )
    left, top, right, bottom = box.astype(int).clip(0)
    hand = np.zeros(mask.shape, bool)
    hand[top:bottom, left:right] = mask[top:bottom, left:right] == value
    return hand


class ImageFolder:
    """Image files whose names in the annotations start with folders of another machine.

    The leading folders of the first name are dropped until the rest exists below the root; all other names lose as many
    folders.
    """

    def __init__(self, dataset: HandDataset, names: Iterable[str]):
        self._root, self._dropped = dataset.root, 0
        first = next(iter(names), None)
        if first is None:
            return
        parts = _parts(first)
        found = next((count for count in range(len(parts)) if self._root.joinpath(*parts[count:]).is_file()), None)
        if found is None:
            raise DatasetError(
                f"{dataset.NAME}: the image {first} is neither {self._root.joinpath(*parts)} nor found without its "
                "leading folders.\n"
                f"{dataset.describe()}"
            )
        self._dropped = found

    def __getitem__(self, name: str) -> Path:
        return self._root.joinpath(*_parts(name)[self._dropped :])


class MaskArchive:
    """An ``.npz`` file with one (H, W, 3) mask per image; each process opens the file itself."""

    def __init__(self, path: Path):
        self.path = path
        self._file: NpzFile | None = None
        self._process = -1

    def names(self) -> set[str]:
        with NpzFile(self.path) as file:
            return set(file.names)

    def read(self, name: str) -> np.ndarray:
        """Read the first channel, (H, W), of a mask.

        Raises:
            DatasetError: It is damaged, as some of VISOR's masks are.
        """
        with foreign_bytes(f"the mask {name} in {self.path}", "(H, W, 3) uint8", DatasetError):
            # A file handle shared between a fork and its parent would be moved by both.
            if self._file is None or self._process != os.getpid():
                self._file, self._process = NpzFile(self.path), os.getpid()
            mask = self._file.read([name])[name]
            if mask.ndim != 3 or not mask.shape[2] or mask.dtype != np.uint8:
                raise ValueError(f"it is {mask.dtype} of shape {mask.shape}")
        return mask[..., 0]

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_process": -1}


def _parts(name: str) -> tuple[str, ...]:
    # Not PurePosixPath: two slashes at the beginning are a root of their own, "//", which would lead out of the folder.
    return tuple(part for part in name.split("/") if part not in ("", ".", ".."))
