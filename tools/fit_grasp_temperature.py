#!/usr/bin/env python3
"""Fits the temperature of the grasp probabilities (``GRASP_TEMPERATURE`` in ``runtime/predictor.py``).

    python tools/fit_grasp_temperature.py --count 150 --photos ../shared/real_images

The network runs in the true boxes of the synthetic world's split val, whose grasps are known, and of the validation
split of the photographs named in ``HOLDING``, of which it is known only whether the hand holds something. The
temperature minimises the negative log likelihood of both groups, which weigh the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from wildhands_ros import Camera, Detection, Estimator, EstimatorConfig, Grasp, Side
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.evaluation.synthetic import world_images
from wildhands_ros.runtime.predictor import GRASP_TEMPERATURE

WORLDS = ("lab", "open", "wild")
Group = tuple[np.ndarray, np.ndarray, Callable[[np.ndarray, np.ndarray], np.ndarray]]
"""Logits, labels, and the log probability of a label given logits."""
HOLDING = {"hands_dguzk": False, "lebanese_gestures": False, "hand_tools": True}
"""Sources of photographs by whether their hands hold something."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=150, help="images of each world (default: 150)")
    parser.add_argument("--photos", type=Path, help="folder of real images")
    args = parser.parse_args()
    estimator = Estimator(EstimatorConfig(refine=False, max_hands=8))
    rendered = list(_rendered(estimator, args.count))
    groups: dict[str, Group] = {
        "renders": (np.array([log for log, _ in rendered]), np.array([grasp for _, grasp in rendered]), _exact)
    }
    if args.photos is not None:
        seen = list(_photographed(estimator, args.photos))
        groups["photographs"] = np.array([log for log, _ in seen]), np.array([holds for _, holds in seen]), _holding

    def loss(temperature: float, names: tuple[str, ...]) -> float:
        return float(
            np.mean(
                [
                    -likelihood(logits / temperature, labels).mean()
                    for logits, labels, likelihood in (groups[name] for name in names)
                ]
            )
        )

    for names in (*((name,) for name in groups), tuple(groups)):
        best = minimize_scalar(loss, bounds=(0.2, 10), args=(names,), method="bounded").x
        print(
            f"{' and '.join(names)}: GRASP_TEMPERATURE = {best:.2f}, negative log likelihood {loss(best, names):.3f} "
            f"(at 1: {loss(1.0, names):.3f})"
        )
    for temperature in (1.0, best):
        for name, (logits, labels, _) in groups.items():
            probabilities = np.exp(log_softmax(logits / temperature, axis=1))
            chosen, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
            right = chosen == labels if name == "renders" else (chosen != Grasp.NO_GRASP) == labels
            rows = [(low, (sure >= low) & (sure < low + 0.1)) for low in np.arange(0.1, 1.0, 0.1)]
            cells = [
                f"{low:.1f}: {100 * right[inside].mean():.0f} % of {inside.sum()}"
                for low, inside in rows
                if inside.any()
            ]
            print(f"temperature {temperature:.2f}, {name}, right by probability: {', '.join(cells)}")


def _exact(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log probability of the true class."""
    return log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def _holding(logits: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Log probability that the hand holds something, or that it does not."""
    logs = log_softmax(logits, axis=1)
    return np.where(holds, logsumexp(np.delete(logs, Grasp.NO_GRASP, axis=1), axis=1), logs[:, Grasp.NO_GRASP])


def _rendered(estimator: Estimator, count: int) -> Iterator[tuple[np.ndarray, int]]:
    for world in WORLDS:
        for image in world_images(world, "val", 0, count):
            pixels = image.load_image()
            for hand in image.hands:
                if hand.ignore or hand.grasp is None:
                    continue
                if (logits := _logits(estimator, pixels, image.camera, hand.box, hand.side)) is not None:
                    yield logits, int(hand.grasp)


def _photographed(estimator: Estimator, folder: Path) -> Iterator[tuple[np.ndarray, bool]]:
    for image in read_boxed_images(folder, split="validation").images:
        if image.source in HOLDING and image.hands:
            pixels = image.load()
            camera = Camera.guess(pixels.shape[1], pixels.shape[0])
            for hand in image.hands:
                logits = None if hand.ignore else _logits(estimator, pixels, camera, hand.box, None)
                if logits is not None:
                    yield logits, HOLDING[image.source]


def _logits(
    estimator: Estimator, image: np.ndarray, camera: Camera, box: np.ndarray, side: Side | None
) -> np.ndarray | None:
    """Logits of the nine classes, as they are without a temperature; None without an estimate."""
    for hand in estimator(image, camera, detections=[Detection(box, side)]).hands:
        if hand.grasp_probabilities is not None:
            return GRASP_TEMPERATURE * np.log(np.maximum(hand.grasp_probabilities, 1e-9))
    return None


if __name__ == "__main__":
    main()
