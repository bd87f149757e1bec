"""Compares the 2D keypoints of the estimator, given true boxes, with those of MediaPipe's landmark network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..datasets.labels import LabelledHand, LabelledImage
from ..datasets.real_images.reader import BoxedImage
from ..detection.landmarks import LandmarkDetector
from ..estimator import Estimator
from ..geometry.camera import Camera
from ..types import Detection
from .mediapipe_landmarks import MediaPipeLandmarks

ALL = "all"
NETWORK, FIT, MEDIAPIPE = METHODS = ("network", "fit", "mediapipe")
"""The estimator's keypoints, the projected joints of its hand model, and MediaPipe's keypoints."""
PCK_LIMITS = (5, 10)
"""Limits of the percentage of correct keypoints: distance from the label in percent of the longer side of the box."""
_LEAST_PRESENCE = 0.01
"""Every hand has a true box, so keypoints of hands that are hardly recognised count as well."""


def hands_with_keypoints(images: Iterable[BoxedImage]) -> list[LabelledImage]:
    """Return one image for each hand with labelled keypoints; its name is the path of the photograph."""
    samples = []
    for image in images:
        hands = [hand for hand in image.hands if hand.keypoints is not None and not hand.ignore]
        if not hands:
            continue
        if image.size is None:
            raise ValueError(f"{image.path}: the annotations do not state the size of the image")
        camera = Camera.guess(*image.size)
        samples += [
            LabelledImage(str(image.path), image.load, camera, (hand,), camera_is_known=False) for hand in hands
        ]
    return samples


def compare_keypoints(estimator: Estimator, samples: Iterable[LabelledImage]) -> dict[str, dict[str, dict]]:
    """Measure keypoints in the true boxes, without being told the side.

    Args:
        estimator: The estimator to measure.
        samples: Images of one hand with keypoints each; those that cannot be read are left out.

    Returns:
        Figures of each of ``METHODS`` for each source (the folder of a photograph, or the one that holds ``images``)
        and, if there are several, for all: ``hands``, ``found``, ``l2_box_percent`` (the mean distance from the label
        in percent of the longer side of the box, over hands) and ``pck_5``, ``pck_10``.

    Raises:
        ImportError: A package that MediaPipe's network needs is not installed.
    """
    mediapipe = LandmarkDetector(MediaPipeLandmarks(), _LEAST_PRESENCE)
    errors: dict[str, dict[str, list[np.ndarray | None]]] = defaultdict(lambda: {name: [] for name in METHODS})
    for sample in samples:
        (hand,) = sample.hands
        try:
            image = sample.load_image()
        except (ValueError, OSError):
            continue
        estimates = estimator(image, sample.camera, detections=[Detection(hand.box, None)]).hands
        found = mediapipe.detect_in_box(image, sample.camera, hand.box)
        points = {
            NETWORK: estimates[0].keypoints if estimates else None,
            FIT: estimates[0].joints_2d if estimates else None,
            MEDIAPIPE: found.keypoints if found is not None else None,
        }
        for name, predicted in points.items():
            errors[_source(sample.name)][name].append(None if predicted is None else _percent(predicted, hand))
    if len(errors) > 1:
        errors[ALL] = {name: [e for source in list(errors) for e in errors[source][name]] for name in METHODS}
    return {
        source: {name: _figures(of_hands) for name, of_hands in methods.items()} for source, methods in errors.items()
    }


def _source(name: str) -> str:
    folder = Path(name).parent
    return folder.parent.name if folder.name == "images" else folder.name


def _percent(predicted: np.ndarray, hand: LabelledHand) -> np.ndarray:
    """Return the distances of the labelled keypoints in percent of the longer side of the box."""
    assert hand.keypoints is not None  # chosen by the caller
    distances = np.linalg.norm(predicted - hand.keypoints, axis=-1)[hand.known_keypoints]
    return 100 * distances / float((hand.box[2:] - hand.box[:2]).max())


def _figures(of_hands: list[np.ndarray | None]) -> dict:
    """Return the figures of one method; keypoints of hands that were not found are not correct."""
    found = [error for error in of_hands if error is not None]
    pck = {
        f"pck_{limit}": float(np.mean([0.0 if e is None else float((e < limit).mean()) for e in of_hands]))
        if of_hands
        else None
        for limit in PCK_LIMITS
    }
    mean = float(np.mean([error.mean() for error in found])) if found else None
    return {"hands": len(of_hands), "found": len(found), "l2_box_percent": mean, **pck}
