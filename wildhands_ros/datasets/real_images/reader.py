"""Reads photographs in which hands have boxes, from folders with COCO-style annotations.

A folder is one source (images and JSON files), or contains sources. Beyond COCO's own entries, an image may state:

- ``hands_boxed``: its hands have boxes. Without them nothing is known about its hands. Default: true.
- ``hands_complete``: every hand has its box, so that whatever else is found is false. Default: ``hands_boxed``.
- ``hand_free``: true if somebody looked and saw no hand, false if there are hands, null if unknown. Default: true for
  a completely boxed image without a box.
- ``approximate``: the boxes were drawn by eye and are good for an IoU of 0.3. Default: false.
- ``scene``: images of one scene are never in different splits. Default: the image is a scene of its own.
- ``egocentric``, ``annotation_origin``, ``license``: texts.
- ``frame``: the image is this frame of the video ``file_name``.

Annotations have a ``bbox``, may have a ``hand_type`` ("left" or "right", anatomical), and ``iscrowd`` is 1 for what
is hardly a hand and counts neither way. Only the categories "hand" and "gloved_hand" are hands, where a file names its
categories.

This project's own labels of known sources (``labels/*.json``) are added: the split, sides, keypoints and corrections.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...geometry.boxes import box_iou
from ...io.errors import InputError, foreign_bytes
from ...io.images import load_image
from ...io.paths import below
from ...types import Side
from ..coco_hands import AnnotationError
from ..labels import LabelledHand
from .own_labels import OwnHand, OwnLabels, own_labels
from .split import SPLITS, TEST, TRAIN

ALL = "all"
EVALUATE_ONLY = "evaluate_only"
"""Name of the folder whose sources are measured on and never trained on."""
_CATEGORIES = {"hand": False, "gloved_hand": True}
"""Whether the hands of a category wear gloves."""
_SAME_BOX = 0.9
"""IoU above which two boxes of an image are one box written twice."""
_OUTSIDE = 2.0
"""Pixels by which a box may exceed its image because of rounding."""


@dataclass(frozen=True, eq=False)
class BoxedImage:
    """A photograph, or frames of a video, with the boxes of its hands."""

    path: Path
    source: str
    """Name of the source: of the folder of its annotations."""
    name: str
    """File name within the source."""
    scene: str
    split: str | None
    """"train", "validation" or "test"; None if the split file does not know the scene."""
    size: tuple[int, int] | None
    """Width and height according to the annotations."""
    hands: tuple[LabelledHand, ...]
    hands_boxed: bool = True
    hands_complete: bool = True
    """Whether every hand has its box."""
    hand_free: bool | None = None
    """True: verified to show no hand. None: unknown; never a negative."""
    approximate: bool = False
    evaluate_only: bool = False
    licensed: bool = True
    """Whether a licence is stated."""
    egocentric: str = ""
    frame: int | None = None
    """Number of the frame of a video."""

    @property
    def is_for_training(self) -> bool:
        """Whether networks may learn from it: a photograph with a licence, outside of what is held out."""
        return self.licensed and not self.evaluate_only and self.split in (TRAIN, None) and self.frame is None

    def load(self) -> np.ndarray:
        """Load the image, (H, W, 3) RGB uint8.

        Raises:
            ValueError: It cannot be decoded, or does not have the size that its annotations state.
            OSError: It cannot be read.
        """
        image = load_image(self.path)
        if self.size is not None and image.shape[1::-1] != self.size:
            raise InputError(
                f"{self.path}: the image is {image.shape[1]}x{image.shape[0]}, "
                f"but its annotations are for {self.size[0]}x{self.size[1]}"
            )
        return image


@dataclass
class BoxedImages:
    """The images of one folder, and what was wrong with its annotations."""

    images: list[BoxedImage] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    """How often each problem occurred; the affected entries were left out or mended as the text says."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first case of each problem."""

    def note(self, problem: str, where: object) -> None:
        """Count a problem."""
        self.problems[problem] += 1
        self.examples.setdefault(problem, str(where))

    def report(self) -> list[str]:
        """Return one line for each kind of problem."""
        return [
            f"{count} x {problem} (first: {self.examples[problem]})" for problem, count in self.problems.most_common()
        ]


def read_boxed_images(
    folder: Path, boxes: Path | None = None, split: str = ALL, labels: OwnLabels | None = None
) -> BoxedImages:
    """Read the annotations of a source, or of all sources in a folder.

    Args:
        folder: Folder of images with JSON files, or folder of such folders.
        boxes: JSON file with the annotations of ``folder``; None for those in the folder.
        split: "train", "validation", "test", or "all".
        labels: Split, sides, keypoints and corrections to add; None for those of the package.

    Returns:
        The images in the order of the annotations, sources in alphabetical order.

    Raises:
        AnnotationError: There are no annotations, or a file is not of this kind.
        ValueError: Unknown split.
    """
    if split not in (*SPLITS, ALL):
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}, {ALL}")
    result, labels = BoxedImages(), labels or own_labels()
    for file, root in _annotation_files(folder, boxes):
        with foreign_bytes(file, "boxes of hands in the style of COCO", AnnotationError):
            _read(file, root, labels, result)
    if split == ALL:
        return result
    for image in result.images:
        if image.split is None:
            result.note("scene without a split: left out", f"{image.source}: {image.scene}")
    result.images = [image for image in result.images if image.split == split]
    return result


def is_boxed(folder: Path) -> bool:
    """Return whether a folder is a source of boxed images, or holds such sources: their images state what is boxed.

    Raises:
        AnnotationError: An annotation file is not JSON.
    """
    for file in folder.rglob("annotations.json"):
        with foreign_bytes(file, "boxes of hands in the style of COCO", AnnotationError):
            if any("hands_boxed" in image for image in json.loads(file.read_text())["images"]):
                return True
    return False


def _annotation_files(folder: Path, boxes: Path | None) -> list[tuple[Path, Path]]:
    """Return each annotation file with the folder of its images."""
    if boxes is not None:
        return [(boxes, folder)]
    files = [(file, folder) for file in sorted(folder.glob("*.json"))]
    files = files or [(file, file.parent) for file in sorted(folder.rglob("annotations.json"))]
    if not files:
        raise AnnotationError(
            f"{folder}: there is no .json file with the boxes of the hands in this folder; name one with --boxes"
        )
    return files


def _read(file: Path, root: Path, labels: OwnLabels, result: BoxedImages) -> None:
    content = json.loads(file.read_text())
    source = root.resolve().name
    evaluate_only = EVALUATE_ONLY in root.resolve().parts
    licensed = _is_licensed(source, root)
    categories = {entry["id"]: entry["name"] for entry in content.get("categories", ())}
    images = {image["id"]: image for image in content["images"]}
    of_image: dict[object, list[dict]] = {number: [] for number in images}
    for annotation in content["annotations"]:
        if categories.get(annotation.get("category_id"), "hand") not in _CATEGORIES:
            continue
        if annotation["image_id"] not in of_image:
            result.note("box of an image that is not listed: left out", f"{file}: annotation {annotation.get('id')}")
            continue
        of_image[annotation["image_id"]].append(annotation)
    seen: set[tuple[str, object]] = set()
    for number, entry in images.items():
        name = entry["file_name"]
        where = f"{source}/{name}"
        if (name, entry.get("frame")) in seen:
            result.note("image listed twice: the second one is left out", where)
            continue
        seen.add((name, entry.get("frame")))
        path = below(root, name)
        if not path.is_file():
            result.note("image file is missing: left out", where)
            continue
        size = (int(entry["width"]), int(entry["height"])) if "width" in entry else None
        hands = _hands(of_image[number], categories, size, where, result)
        boxed = bool(entry.get("hands_boxed", True))
        complete = boxed and bool(entry.get("hands_complete", True))
        hand_free = entry["hand_free"] if "hand_free" in entry else _hand_free(hands, complete)
        if hand_free and hands:
            result.note("image stated to be free of hands has a box: taken as unknown", where)
            hand_free, complete = None, False
        if not boxed:
            result.note("image without annotation of its hands: not measured", where)
        is_licensed = licensed or bool(entry.get("license"))
        if not is_licensed:
            result.note("image without a stated licence: measured, but not for training", where)
        scene = str(entry.get("scene") or name)
        image = BoxedImage(
            path=path,
            source=source,
            name=name,
            scene=scene,
            split=TEST if evaluate_only else labels.split_of(source, scene, name),
            size=size,
            hands=tuple(hands),
            hands_boxed=boxed,
            hands_complete=complete,
            hand_free=hand_free,
            approximate=bool(entry.get("approximate")),
            evaluate_only=evaluate_only,
            licensed=is_licensed,
            egocentric=str(entry.get("egocentric") or ""),
            frame=entry.get("frame"),
        )
        result.images.append(_with_own_labels(image, labels, result))


def _hand_free(hands: Sequence[LabelledHand], complete: bool) -> bool | None:
    if hands:
        return False
    return True if complete else None


def _is_licensed(source: str, root: Path) -> bool:
    """Return whether the table of LICENCES.md, in this or a parent folder, names the source."""
    for folder in (root, *root.resolve().parents[:2]):
        file = folder / "LICENCES.md"
        if file.is_file():
            return f"| {source} |" in file.read_text(errors="replace")
    return False


def _hands(
    annotations: Sequence[dict],
    categories: dict[object, str],
    size: tuple[int, int] | None,
    where: str,
    result: BoxedImages,
) -> list[LabelledHand]:
    hands: list[LabelledHand] = []
    for annotation in annotations:
        x, y, width, height = map(float, annotation["bbox"])
        box = np.array([x, y, x + width, y + height])
        if not np.isfinite(box).all() or width <= 0 or height <= 0:
            result.note("empty box: left out", where)
            continue
        if size is not None:
            inside = np.clip(box, 0, [*size, *size])
            if (inside[2:] - inside[:2]).min() <= 0:
                result.note("box outside its image: left out", where)
                continue
            if np.abs(inside - box).max() > _OUTSIDE:
                result.note("box partly outside its image: clipped", where)
            box = inside
        if any(box_iou(box, hand.box) > _SAME_BOX for hand in hands):
            result.note("box written twice: left out", where)
            continue
        side = Side(annotation["hand_type"]) if annotation.get("hand_type") in ("left", "right") else None
        category = categories.get(annotation.get("category_id"))
        hands.append(
            LabelledHand(
                box,
                side,
                gloved=_CATEGORIES.get(category) if category is not None else None,
                ignore=bool(annotation.get("iscrowd")),
            )
        )
    return hands


def _with_own_labels(image: BoxedImage, labels: OwnLabels, result: BoxedImages) -> BoxedImage:
    """Add this project's corrections, sides and keypoints; for the source's or the corrected box."""
    own = labels.of_image(image.source, image.name)
    where = f"{image.source}/{image.name}"
    hands, later = _labelled(image.hands, own.hands)
    complete = image.hands_complete
    for correction in own.corrections:
        result.note(f"correction of this project: {correction.action}", where)
        old = next((hand for hand in hands if _is_same(hand.box, correction.box)), None)
        hands = [hand for hand in hands if hand is not old]
        if correction.new_box is not None:
            new = old or LabelledHand(correction.new_box)
            hands.append(replace(new, box=correction.new_box, ignore=correction.action == "ignore"))
        complete = complete and correction.action != "incomplete"
    hands, lost = _labelled(hands, later)
    for _ in lost:
        result.note("label of this project without its box: left out", where)
    return replace(image, hands=tuple(hands), hands_complete=complete)


def _labelled(hands: Sequence[LabelledHand], labels: Sequence[OwnHand]) -> tuple[list[LabelledHand], list[OwnHand]]:
    """Return hands with the labels of their boxes, and the labels of other boxes."""
    labelled, rest = list(hands), []
    for label in labels:
        best = next((i for i, hand in enumerate(labelled) if _is_same(hand.box, label.box)), None)
        if best is None:
            rest.append(label)
            continue
        hand = labelled[best]
        labelled[best] = replace(
            hand,
            side=label.side or hand.side,
            keypoints=label.keypoints if label.keypoints is not None else hand.keypoints,
        )
    return labelled, rest


def _is_same(box: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and box_iou(box, other) > _SAME_BOX
