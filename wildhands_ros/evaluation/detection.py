"""``wildhands evaluate detection``: recall, precision and speed of detectors side by side."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..config import OWN, EstimatorConfig
from ..datasets.labels import LabelledHand, LabelledImage
from ..detection.proposals import ProposalNet
from ..detection.windows import whole
from ..estimator import Estimator
from ..geometry.boxes import box_iou
from ..geometry.camera import Camera
from .annotated_boxes import BoxedFolder, BoxedVideo, frames_of, world_frames
from .main import outputs, progress, text, write

MIN_IOU = 0.5
SIZES = {"under 4 %": 0.04, "4 to 8 %": 0.08, "8 to 15 %": 0.15, "over 15 %": np.inf}
"""Upper limits of the size classes: longer side of the box relative to the width of the image."""
CLEAR = 0.4
"""A hand is in clear view if its visible pixels fill at least this fraction of its box, about that of a bare open
hand."""
_SAME_SIDE = 0.1
"""Bonus, in IoU, for the correct side when overlapping hands are matched."""
_DUPLICATE_IOU = 0.7


class Counts:
    """Accumulates detections over images."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.true: Counter[str] = Counter()
        """Number of found hands and of all hands, by size class."""
        self.clear_found = self.clear = 0
        self.false = self.right_side = self.with_side = self.empty = self.empty_false = self.images = (
            self.duplicates
        ) = 0
        self.seconds: list[float] = []

    def add(self, found: Sequence, truths: Sequence[LabelledHand], width: int) -> None:
        """Add an image.

        Args:
            found: Detections or estimates, anything with ``box`` and ``side``.
            truths: The labelled hands.
            width: Width of the image in pixels.
        """
        self.images += 1
        overlaps = np.array([[box_iou(hand.box, truth.box) for hand in found] for truth in truths]).reshape(
            len(truths), len(found)
        )
        worth = overlaps + _SAME_SIDE * np.array(
            [[hand.side is truth.side for hand in found] for truth in truths]
        ).reshape(overlaps.shape)
        worth[overlaps < MIN_IOU] = 0
        # Hands that count come first: an ignored hand must not take a detection from them.
        worth += np.array([0.0 if truth.ignore else 1.0 for truth in truths]).reshape(-1, 1) * (overlaps >= MIN_IOU)
        rows, columns = linear_sum_assignment(worth, maximize=True)
        pairs = {i: j for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if overlaps[i, j] >= MIN_IOU}
        for i, truth in enumerate(truths):
            if truth.ignore:
                continue
            share = (truth.box[2:] - truth.box[:2]).max() / width
            size = next(name for name, most in SIZES.items() if share <= most)
            self.true[size] += 1
            is_clear = truth.box_fill >= CLEAR
            self.clear += is_clear
            self.clear_found += is_clear and i in pairs
            if i in pairs:
                self.found[size] += 1
                if truth.side is not None and found[pairs[i]].side is not None:
                    self.with_side += 1
                    self.right_side += found[pairs[i]].side is truth.side
        excused = {
            j for j, hand in enumerate(found) for truth in truths if truth.ignore and _mostly_in(hand.box, truth.box)
        }
        false = set(range(len(found))) - set(pairs.values()) - excused
        self.false += len(false)
        self.duplicates += has_duplicates(found)
        if not truths:
            self.empty += 1
            self.empty_false += bool(found)

    def figures(self) -> dict:
        """Return the figures (see docs/evaluation.md); None where one does not apply."""
        found, true = self.found.total(), self.true.total()
        return {
            "recall": _share(found, true),
            "precision": _share(found, found + self.false),
            "side_accuracy": _share(self.right_side, self.with_side),
            "recall_in_clear_view": _share(self.clear_found, self.clear),
            "ms_median": 1000 * float(np.median(self.seconds)) if self.seconds else None,
            "hands": true,
            "pictures": self.images,
            "recall_by_size": {name: _share(self.found[name], self.true[name]) for name in SIZES},
            "hand_free_pictures_with_hands": _share(self.empty_false, self.empty),
            "pictures_with_duplicates": self.duplicates,
        }


def has_duplicates(found: Sequence) -> bool:
    """Return whether one hand was found twice."""
    return any(
        a.side is b.side and box_iou(a.box, b.box) > _DUPLICATE_IOU for i, a in enumerate(found) for b in found[:i]
    )


def evaluate_detection(
    photos: Path | None,
    boxes: Path | None,
    count: int,
    seed: int,
    detectors: Sequence[str],
    max_hands: int,
    json_path: Path | None,
) -> int:
    """Compare detectors on synthetic frames and on annotated photographs and videos.

    Args:
        photos: Folder of annotated photographs and videos, if any.
        boxes: Its annotations, if they are not in the folder.
        count: Number of synthetic frames.
        seed: Seed of the synthetic frames.
        detectors: Names of the detectors.
        max_hands: Maximum number of hands per image.
        json_path: File for the figures: for each detector those of the photographs (of the synthetic frames if there
            are none) at the top level, with the time per video frame if there is a video, and those of each suite in
            ``suites``.

    Returns:
        The exit code.

    Raises:
        ValueError: An image or its annotation cannot be used, or none of the detectors is available.
        OSError: A file cannot be read.
    """
    folder = BoxedFolder(photos, boxes) if photos is not None else None
    results: dict[str, dict] = {}
    with outputs(json_path, None) as (json_file, _):
        for name in detectors:
            try:
                estimator = Estimator(EstimatorConfig(detector=name, max_hands=max_hands))
                suites = (
                    {"synthetic": evaluate_images(estimator, progress(world_frames(count, seed), count))}
                    if count
                    else {}
                )
                if folder is not None and len(folder):
                    suites["photos"] = evaluate_images(estimator, progress(folder, len(folder)))
                for video in folder.videos if folder is not None else ():
                    suites[video.path.name] = evaluate_stream(estimator, video)
                estimator.close()
            except ImportError as error:
                print(f"wildhands: {name} is skipped: {error}", file=sys.stderr)
                continue
            results[name] = {**suites["photos" if "photos" in suites else next(iter(suites))], "suites": suites}
            if streams := [suite["ms_median"] for suite in suites.values() if "lost_frames" in suite]:
                results[name]["ms_median"] = float(np.median(streams))
            if name == OWN:
                results[name]["ms_network"] = network_milliseconds()
                print(f"network of {name} on a 640 x 480 image: {results[name]['ms_network']:.1f} ms")
        if not results:
            raise ValueError("none of the detectors is available here")
        _print(results)
        write(json_file, results)
    return 0


def network_milliseconds() -> float:
    """Return the median time of the detector's first stage on a 640 x 480 image, in milliseconds."""
    propose, image = ProposalNet(), np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        propose(image, whole(640, 480)[0])
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def evaluate_images(estimator: Estimator, images: Iterable[LabelledImage]) -> dict:
    """Measure the detector on still images."""
    counts = Counts()
    for labelled in images:
        image = labelled.load_image()
        height, width = image.shape[:2]
        start = time.perf_counter()
        found = estimator.find(image, Camera.guess(width, height))
        counts.seconds.append(time.perf_counter() - start)
        counts.add(found, labelled.hands, width)
    return counts.figures()


def evaluate_stream(estimator: Estimator, video: BoxedVideo) -> dict:
    """Measure the detector on a whole video; ``lost_frames`` have no hand although frames before and after do."""
    counts, has_hands, duplicates = Counts(), [], 0
    for image, stamp, truths in frames_of(video):
        estimate = estimator(image, Camera.guess(image.shape[1], image.shape[0]), stamp)
        counts.seconds.append(sum(estimate.seconds[stage] for stage in ("find", "track", "predict")))
        has_hands.append(bool(estimate.hands))
        if truths is not None:
            counts.add(estimate.hands, truths, image.shape[1])
        duplicates += has_duplicates(estimate.hands)
    seen = np.flatnonzero(has_hands)
    lost = 0 if len(seen) == 0 else int(len(has_hands[seen[0] : seen[-1] + 1]) - len(seen))
    return {**counts.figures(), "frames": len(has_hands), "lost_frames": lost, "frames_with_duplicates": duplicates}


def _print(results: dict[str, dict]) -> None:
    for suite in next(iter(results.values()))["suites"]:
        print(suite)
        rows = {name: result["suites"][suite] for name, result in results.items()}
        names = [key for key, value in next(iter(rows.values())).items() if not isinstance(value, dict)]
        for key in names:
            print(f"{key:>30}  " + "  ".join(f"{text(row[key]):>10}" for row in rows.values()))
        for size in SIZES:
            print(
                f"{'recall, ' + size:>30}  "
                + "  ".join(f"{text(row['recall_by_size'][size]):>10}" for row in rows.values())
            )
    print(f"{'':>30}  " + "  ".join(f"{name:>10}" for name in results))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mostly_in(box: np.ndarray, other: np.ndarray) -> bool:
    middle = (box[:2] + box[2:]) / 2
    return bool((middle > other[:2]).all() and (middle < other[2:]).all())
