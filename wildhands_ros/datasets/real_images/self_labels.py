"""Self-training labels: what the detector finds in many views of an unlabelled photograph becomes its label.

Each photograph is examined as it is, mirrored, reduced, turned both ways, and in four overlapping parts. A hand that
most of the views show, with about the same box and a high score, is labelled; one that only some of them show is marked
as a region that counts neither way. No image is stated to be completely labelled, so that hands that the detector does
not know yet are not taught as background.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from ...config import OWN, EstimatorConfig
from ...estimator import Estimator
from ...geometry.boxes import box_iou
from ...geometry.camera import Camera
from ...io.errors import InputError
from ...io.files import OutputFile
from ...io.images import IMAGE_SUFFIXES, load_image
from ...types import Detection, Side
from .label_files import coco, labelled, spread_evenly
from .reader import is_boxed, read_boxed_images

LEAST_SCORE = 0.3
"""Score from which a hand of one view counts."""
AGREEMENT = 0.7
"""Share of the views that must show a hand, of those whose field of view contains it."""
_DOUBTFUL = 0.25
"""Share of the views from which a hand is marked as doubtful."""
_MEAN_SCORE = 0.7
"""Minimum mean score of a labelled hand in the views that show it."""
_LEAST_VIEWS = 4
_SAME = 0.5
"""IoU above which boxes of two views are of one hand."""
_SAME_SIDE = 0.8
"""Share of the views that must agree about the side."""
_STEADY = 0.05
"""Maximum median distance of a view's keypoints from the label's, relative to the box; otherwise a hand gets none."""
_WITHIN = 0.9
"""Share of a hand's box that a view must contain to be asked about the hand."""
_REDUCED, _PART, _TURN = 0.7, 0.7, np.radians(12.0)
"""Scale of the reduced view; sides of the parts relative to the photograph's; angle of the turned views."""
_MOST_HANDS = 10


class View(NamedTuple):
    """A transformed copy of a photograph."""

    affine: np.ndarray
    """(2, 3) from the photograph's pixels to the view's."""
    size: tuple[int, int]
    """Width and height."""

    @property
    def is_mirrored(self) -> bool:
        return bool(np.linalg.det(self.affine[:, :2]) < 0)

    def of(self, image: np.ndarray) -> np.ndarray:
        """Cut the view out of an (H, W, 3) image."""
        return cv2.warpAffine(image, self.affine, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def contains(self, box: np.ndarray) -> bool:
        """Return whether the view shows nearly all of a (4,) box of the photograph."""
        corners = np.array([[x, y] for x in box[::2] for y in box[1::2]]) @ self.affine[:, :2].T + self.affine[:, 2]
        low, high = corners.min(axis=0), corners.max(axis=0)
        shown = np.clip(high, 0, self.size) - np.clip(low, 0, self.size)
        return bool(shown.prod() >= _WITHIN * (high - low).prod())

    def to_photograph(self, hand: Detection) -> Seen:
        """Convert a hand of the view to the photograph."""
        linear = np.linalg.inv(self.affine[:, :2])
        centre = linear @ ((hand.box[:2] + hand.box[2:]) / 2 - self.affine[:, 2])
        # A hand's extent along the axes hardly changes when it is turned by a few degrees.
        half = (hand.box[2:] - hand.box[:2]) / 2 * np.sqrt(abs(np.linalg.det(linear)))
        side = hand.side.other if hand.side is not None and self.is_mirrored else hand.side
        points = None if hand.keypoints is None else (hand.keypoints - self.affine[:, 2]) @ linear.T
        return Seen(np.concatenate([centre - half, centre + half]), hand.score, side, points)


class Seen(NamedTuple):
    """A hand of one view, in the photograph's pixels."""

    box: np.ndarray
    score: float
    side: Side | None
    keypoints: np.ndarray | None
    """(21, 2)"""


@dataclass(frozen=True)
class SelfLabel:
    """A hand on which the views agree, or a doubtful one."""

    box: np.ndarray
    """(4,) median of the views' boxes."""
    score: float
    """Mean score of the views that show it."""
    agreement: float
    """Share of the views that show it."""
    side: Side | None
    """None if the views disagree."""
    keypoints: np.ndarray | None
    """(21, 2) median of the views' keypoints; None if they are not steady."""
    doubtful: bool


def views(width: int, height: int) -> list[View]:
    """Return the views of a photograph; the first one is the photograph itself, the second one its mirror image."""
    size, middle = (width, height), np.array([width, height]) / 2

    def around(scale: float, turn: float = 0.0, mirror: float = 1.0) -> View:
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1])
        return View(np.column_stack([linear, middle - linear @ middle]), size)

    part = round(_PART * width), round(_PART * height)
    corners = [(x, y) for x in (0, width - part[0]) for y in (0, height - part[1])]
    return [
        around(1.0),
        around(1.0, mirror=-1.0),
        around(_REDUCED),
        around(1.0, _TURN),
        around(1.0, -_TURN, mirror=-1.0),
        *(View(np.array([[1.0, 0, -x], [0, 1.0, -y]]), part) for x, y in corners),
    ]


def agreed(found: Sequence[tuple[View, Sequence[Seen]]]) -> list[SelfLabel]:
    """Return the hands on which the views agree, and the doubtful ones, best first.

    Args:
        found: Each view with the hands that were found in it.
    """
    rest = sorted(((seen, i) for i, (_, hands) in enumerate(found) for seen in hands), key=lambda pair: -pair[0].score)
    labels = []
    while rest:
        best = rest[0][0]
        same = [(seen, i) for seen, i in rest if box_iou(seen.box, best.box) > _SAME]
        rest = [(seen, i) for seen, i in rest if box_iou(seen.box, best.box) <= _SAME]
        of_view = {i: seen for seen, i in reversed(same)}  # the best of each view
        box = np.median([seen.box for seen in of_view.values()], axis=0)
        asked = {i for i, (view, _) in enumerate(found) if view.contains(box)} | set(of_view)
        labels.append(_label(box, list(of_view.values()), len(asked)))
    return [label for label in labels if label.agreement >= _DOUBTFUL]


def _label(box: np.ndarray, seen: Sequence[Seen], asked: int) -> SelfLabel:
    score, agreement = float(np.mean([hand.score for hand in seen])), len(seen) / asked
    doubtful = len(seen) < _LEAST_VIEWS or agreement < AGREEMENT or score < _MEAN_SCORE
    right = np.mean([hand.side is Side.RIGHT for hand in seen])
    side = None
    if max(right, 1 - right) >= _SAME_SIDE:
        side = Side.RIGHT if right > 0.5 else Side.LEFT
    points = [hand.keypoints for hand in seen if hand.keypoints is not None]
    keypoints = None
    if side is not None and len(points) >= _LEAST_VIEWS:
        median = np.median(points, axis=0)
        distances = np.linalg.norm(np.array(points) - median, axis=2).mean(axis=1)
        if np.median(distances) < _STEADY * (box[2:] - box[:2]).max():
            keypoints = median
    return SelfLabel(box, score, agreement, side, keypoints, doubtful)


class SelfLabeller:
    """Labels photographs with the bundled detector. Not thread-safe."""

    def __init__(self) -> None:
        self._estimator = Estimator(EstimatorConfig(detector=OWN, max_hands=_MOST_HANDS, min_score=LEAST_SCORE))

    def __call__(self, image: np.ndarray) -> list[SelfLabel]:
        """Return the labels of an (H, W, 3) uint8 RGB image.

        If neither it nor its mirror image shows a hand, the other views are not examined.
        """
        height, width = image.shape[:2]
        found: list[tuple[View, list[Seen]]] = []
        for number, view in enumerate(views(width, height)):
            if number == 2 and not any(hands for _, hands in found):
                return []
            hands = self._estimator.find(view.of(image), Camera.guess(*view.size))
            found.append((view, [view.to_photograph(hand) for hand in hands]))
        return agreed(found)


def unlabelled_images(folder: Path) -> dict[Path, str]:
    """Return the images of a folder that may be labelled, each with its licence.

    In a folder of boxed images (``datasets.real_images``) these are images without boxes that may be trained on: with a
    licence, and not of the splits "validation" and "test". In any other folder they are all images, whose licence is
    unknown (empty).

    Raises:
        ValueError: There are none, or the annotations cannot be read.
    """
    if is_boxed(folder):
        found = {
            image.path: f"see LICENCES.md, {image.source}"
            for image in read_boxed_images(folder).images
            if image.is_for_training and not image.hands_boxed and image.hand_free is not True
        }
    else:
        found = {path: "" for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES}
    if not found:
        raise InputError(f"{folder}: there is no image without labels that may be trained on")
    return found


def label_image(folder: Path, item: tuple[Path, str]) -> dict:
    """Label an image.

    Args:
        folder: Folder to which its file name is relative in the result.
        item: Its path and its licence.

    Returns:
        Its COCO-style ``image`` entry and its ``annotations``; ``error`` if it cannot be read.
    """
    path, licence = item
    try:
        image = load_image(path)
    except (ValueError, OSError) as error:
        return {"error": str(error)}
    height, width = image.shape[:2]
    labels = _labeller()(image)
    entry = {
        "file_name": path.relative_to(folder).as_posix(),
        "width": width,
        "height": height,
        "hands_boxed": any(not label.doubtful for label in labels),
        "hands_complete": False,
        "hand_free": None,
        "approximate": True,
        "annotation_origin": "self-training",
    }
    if licence:
        entry["license"] = licence
    return {"image": entry, "annotations": [_annotation(label, width, height) for label in labels]}


@lru_cache(maxsize=1)
def _labeller() -> SelfLabeller:
    return SelfLabeller()


def _annotation(label: SelfLabel, width: int, height: int) -> dict:
    box = np.clip(label.box, 0, [width, height, width, height])
    annotation: dict = {
        "bbox": [round(float(value), 2) for value in (*box[:2], *(box[2:] - box[:2]))],
        "score": round(label.score, 4),
        "agreement": round(label.agreement, 3),
        "iscrowd": int(label.doubtful),
    }
    if label.side is not None:
        annotation["hand_type"] = label.side.value
    if label.keypoints is not None and not label.doubtful:
        annotation["keypoints"] = np.column_stack([np.round(label.keypoints, 2), np.full(21, 2)]).ravel().tolist()
    return annotation


def label_folder(folder: Path, output: Path, limit: int | None = None, workers: int = 1) -> str:
    """Label the photographs of a folder and write one COCO-style file.

    Args:
        folder: The photographs; see ``unlabelled_images``.
        output: The file. ``self_labels`` of the detector's training names it.
        limit: Label at most this many images, spread evenly over the folder.
        workers: Number of processes.

    Returns:
        What was labelled, in one sentence.

    Raises:
        ValueError: There is no image to label, or ``limit`` is not positive.
        OSError: The file cannot be written.
    """
    items = spread_evenly(list(unlabelled_images(folder).items()), limit)
    with OutputFile(output) as file:
        results = labelled(partial(label_image, folder), items, workers)
        content = coco(sorted(results, key=lambda result: result["image"]["file_name"]))
        file.write_text(json.dumps(content, indent=1), encoding="utf-8")
    hands = [annotation for annotation in content["annotations"] if not annotation["iscrowd"]]
    return (
        f"labelled {len(hands)} hands in {sum(image['hands_boxed'] for image in content['images'])} of {len(items)} "
        f"images, {sum('keypoints' in hand for hand in hands)} of them with keypoints; "
        f"{len(content['annotations']) - len(hands)} doubtful hands are ignored"
    )
