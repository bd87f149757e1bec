"""``wildhands evaluate detection``: recall, precision and speed of detectors side by side."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..config import OWN, EstimatorConfig
from ..datasets.labels import LabelledImage
from ..datasets.real_images.reader import ALL, BoxedImage, read_boxed_images
from ..detection.proposals import ProposalNet
from ..detection.windows import whole
from ..estimator import Estimator
from ..geometry.camera import Camera
from ..io.progress import warn, with_progress
from ..runtime.processes import in_processes
from ..types import Side
from .annotated_boxes import BoxedVideo, boxed_videos, frames_of, world_frames
from .detection_figures import MIN_SCORE, SIZES, Counts, has_duplicates
from .detection_plot import draw_detection
from .main import outputs, text, write

PHOTOS = "photos"
"""Suite of all photographs but those that are only for evaluation."""
LEAST_SCORE = 0.05
"""Score of the detections from which average precision and calibration are computed."""
MANY, MANY_IN_VIDEO = 50, 8
"""Maximum number of hands per image where none is given."""
_TIMED = 8
"""Number of photographs on which the time of an image is measured, without other work beside it."""
_NO_TABLE = ("calibration", "side_calibration", "precision_recall", "recall_by_size")


@dataclass(frozen=True)
class DetectionOptions:
    """What to compare detectors on."""

    photos: Path | None = None
    """Folder of annotated photographs and videos, or of such folders."""
    boxes: Path | None = None
    """Its annotations, if they are not in the folder."""
    split: str = ALL
    """Split of the scenes of photographs, or "all"."""
    limit: int | None = None
    """Maximum number of photographs of each source, chosen by a hash of their names; None for all."""
    count: int = 0
    """Number of synthetic frames."""
    seed: int = 0
    """Seed of the synthetic frames."""
    detectors: Sequence[str] = ("mediapipe", "own", "auto")
    max_hands: int | None = None
    """Maximum number of hands per image; None for ``MANY`` in photographs and ``MANY_IN_VIDEO`` in videos."""
    workers: int = 1
    """Number of processes that search photographs."""


class Hand(NamedTuple):
    """A detection without what need not travel between processes."""

    box: np.ndarray
    side: Side | None
    score: float
    side_score: float


class Searched(NamedTuple):
    """A photograph and what a detector found in it."""

    number: int
    """Its place among the photographs."""
    width: int
    found: list[Hand]
    """The reported hands."""
    candidates: list[Hand]
    """Hands of any score."""
    error: str | None = None
    """Why the photograph could not be used."""


def evaluate_detection(options: DetectionOptions, json_path: Path | None, plot_path: Path | None = None) -> int:
    """Compare detectors on synthetic frames and on annotated photographs and videos.

    Args:
        options: What to compare, and on what.
        json_path: File for the figures: for each detector those of the photographs (of the synthetic frames if there
            are none) at the top level, with the time per video frame if there is a video, and those of each suite in
            ``suites``: all photographs, each source of them, videos, and synthetic frames.
        plot_path: File for precision-recall curves and reliability diagrams of the photographs.

    Returns:
        The exit code.

    Raises:
        ValueError: An image or its annotation cannot be used, or none of the detectors is available.
        OSError: A file cannot be read.
    """
    stills: list[BoxedImage] = []
    videos: list[BoxedVideo] = []
    if options.photos is not None:
        images = read_boxed_images(options.photos, options.boxes, options.split)
        for line in images.report():
            warn(line)
        stills = _sampled([image for image in images.images if image.frame is None], options.limit)
        videos = boxed_videos(images.images)
        if not stills and not videos:
            raise ValueError(
                f"{options.photos}: no annotated image in split {options.split!r}; --split all takes them all"
            )
    results: dict[str, dict] = {}
    with outputs(json_path, plot_path) as (json_file, plot_file):
        for name in options.detectors:
            try:
                suites = _suites(name, options, stills, videos)
            except ImportError as error:
                warn(f"{name} is skipped: {error}")
                continue
            results[name] = {**suites[PHOTOS if PHOTOS in suites else next(iter(suites))], "suites": suites}
            if streams := [suite["ms_median"] for suite in suites.values() if "lost_frames" in suite]:
                results[name]["ms_median"] = float(np.median(streams))
            if name == OWN:
                results[name]["ms_network"] = network_milliseconds()
                print(f"network of {name} on a 640 x 480 image: {results[name]['ms_network']:.1f} ms")
        if not results:
            raise ValueError("none of the detectors is available here")
        _print(results)
        write(json_file, results)
        if plot_file is not None:
            draw_detection(results, plot_file)
    return 0


def _suites(
    name: str, options: DetectionOptions, stills: Sequence[BoxedImage], videos: Sequence[BoxedVideo]
) -> dict[str, dict]:
    """Measure one detector on everything."""
    suites: dict[str, dict] = {}
    config = EstimatorConfig(detector=name, max_hands=options.max_hands or MANY)
    if options.count:
        estimator = Estimator(config)
        suites["synthetic"] = evaluate_images(
            estimator, with_progress(world_frames(options.count, options.seed), options.count, "image")
        )
        estimator.close()
    if stills:
        suites |= evaluate_photos(config, stills, options.workers)
    for video in videos:
        estimator = Estimator(replace(config, max_hands=options.max_hands or MANY_IN_VIDEO))
        suites[video.path.name] = evaluate_stream(estimator, video)
        estimator.close()
    return suites


def evaluate_photos(config: EstimatorConfig, images: Sequence[BoxedImage], workers: int = 1) -> dict[str, dict]:
    """Measure a detector on photographs.

    Images whose hands have no boxes are left out unless they are verified to show none.

    Args:
        config: Configuration of the estimator.
        images: The photographs.
        workers: Number of processes.

    Returns:
        Figures of all photographs, without those of sources that are only for evaluation, as ``PHOTOS``; if there are
        several sources, those of each as well.

    Raises:
        ValueError: None of the photographs can be used.
    """
    images = [image for image in images if image.hands_boxed or image.hand_free]
    counts: dict[str, Counts] = defaultdict(Counts)
    search = partial(_search, config)
    errors = 0
    for searched in with_progress(in_processes(search, enumerate(images), workers), len(images), "image"):
        image = images[searched.number]
        if searched.error is not None:
            errors += 1
            warn(searched.error)
            continue
        for suite in ([] if image.evaluate_only else [PHOTOS]) + [image.source]:
            counts[suite].add(
                searched.found,
                image.hands,
                searched.width,
                complete=image.hands_complete,
                hand_free=image.hand_free,
                candidates=searched.candidates,
                approximate=image.approximate,
            )
    if not counts:
        raise ValueError("none of the images can be measured: their hands have no boxes, or they cannot be read")
    for suite, seconds in _timed(config, [image for image in images if not image.evaluate_only] or images).items():
        counts[suite].seconds = seconds
    sources = sorted(set(counts) - {PHOTOS})
    suites = [PHOTOS] if PHOTOS in counts else []
    suites += sources if len(sources) > 1 or not suites else []
    figures = {suite: counts[suite].figures() for suite in suites}
    if len(sources) > 1 and PHOTOS in figures:
        trained = {image.source for image in images if not image.evaluate_only} & set(sources)
        known = [ap for source in sorted(trained) if (ap := figures[source]["average_precision"]) is not None]
        figures[PHOTOS]["average_precision_mean_of_sources"] = float(np.mean(known)) if known else None
    return figures


def _search(config: EstimatorConfig, item: tuple[int, BoxedImage]) -> Searched:
    """Search one photograph, as hands are reported by default and for hands of any score."""
    number, labelled = item
    try:
        image = labelled.load()
    except (ValueError, OSError) as error:
        return Searched(number, 0, [], [], f"left out: {error}")
    camera = Camera.guess(image.shape[1], image.shape[0])
    found, candidates = (
        [
            Hand(hand.box, hand.side, hand.score, hand.side_score)
            for hand in _estimator(replace(config, min_score=score)).find(image, camera)
        ]
        for score in (MIN_SCORE, LEAST_SCORE)
    )
    return Searched(number, image.shape[1], found, candidates)


@lru_cache(maxsize=2)
def _estimator(config: EstimatorConfig) -> Estimator:
    """Return the estimator of this process for a configuration."""
    return Estimator(config)


def _timed(config: EstimatorConfig, images: Sequence[BoxedImage]) -> dict[str, list[float]]:
    """Return the seconds per image of some photographs, for all of them and by source, with nothing else running."""
    estimator = _estimator(config)
    seconds: dict[str, list[float]] = defaultdict(list)
    for image in _sampled(images, max(1, _TIMED // len({image.source for image in images}))):
        try:
            pixels = image.load()
        except (ValueError, OSError):
            continue  # counted before
        camera = Camera.guess(pixels.shape[1], pixels.shape[0])
        start = time.perf_counter()
        estimator.find(pixels, camera)
        for suite in ([] if image.evaluate_only else [PHOTOS]) + [image.source]:
            seconds[suite].append(time.perf_counter() - start)
    return seconds


def _sampled(images: Sequence[BoxedImage], limit: int | None) -> list[BoxedImage]:
    """Return at most ``limit`` images of each source, by a hash of their names, in their original order.

    Only images that can be measured are chosen from.
    """
    if limit is None:
        return list(images)
    ranked = sorted(
        (i for i, image in enumerate(images) if image.hands_boxed or image.hand_free),
        key=lambda i: hashlib.sha256(f"{images[i].source}/{images[i].name}".encode()).hexdigest(),
    )
    taken: Counter[str] = Counter()
    chosen = []
    for i in ranked:
        if taken[images[i].source] < limit:
            taken[images[i].source] += 1
            chosen.append(i)
    return [images[i] for i in sorted(chosen)]


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
    """Measure the detector on still images in which every hand is labelled, at the estimator's own minimum score."""
    counts = Counts()
    for labelled in images:
        image = labelled.load_image()
        height, width = image.shape[:2]
        start = time.perf_counter()
        found = estimator.find(image, Camera.guess(width, height))
        counts.seconds.append(time.perf_counter() - start)
        counts.add(found, labelled.hands, width, candidates=found)
    return counts.figures()


def evaluate_stream(estimator: Estimator, video: BoxedVideo) -> dict:
    """Measure the detector on a whole video; ``lost_frames`` have no hand although frames before and after do."""
    counts, has_hands, duplicates = Counts(), [], 0
    for image, stamp, truths in frames_of(video):
        estimate = estimator(image, Camera.guess(image.shape[1], image.shape[0]), stamp)
        counts.seconds.append(sum(estimate.seconds[stage] for stage in ("find", "track", "predict")))
        has_hands.append(bool(estimate.hands))
        if truths is not None:
            counts.add(estimate.hands, truths, image.shape[1], candidates=estimate.hands)
        duplicates += has_duplicates(estimate.hands)
    seen = np.flatnonzero(has_hands)
    lost = 0 if len(seen) == 0 else int(len(has_hands[seen[0] : seen[-1] + 1]) - len(seen))
    return {**counts.figures(), "frames": len(has_hands), "lost_frames": lost, "frames_with_duplicates": duplicates}


def _print(results: dict[str, dict]) -> None:
    for suite in next(iter(results.values()))["suites"]:
        print(suite)
        rows = {name: result["suites"][suite] for name, result in results.items()}
        names = [key for key in next(iter(rows.values())) if key not in _NO_TABLE]
        for key in names:
            print(f"{key:>30}  " + "  ".join(f"{text(row[key]):>10}" for row in rows.values()))
        for size in SIZES:
            print(
                f"{'recall, ' + size:>30}  "
                + "  ".join(f"{text(row['recall_by_size'][size]):>10}" for row in rows.values())
            )
    print(f"{'':>30}  " + "  ".join(f"{name:>10}" for name in results))
