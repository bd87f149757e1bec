"""Fits the rule by which proposals become hands (``detection/verification.py``) to boxed photographs.

    python tools/fit_acceptance.py ../shared/real_images --splits validation train

It prints the weights to copy there, precision and recall of several thresholds, and how well the score is calibrated.
Of the networks only the hand heads of the detector's stages have seen images of the training split.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from wildhands_ros import Camera, EstimatorConfig
from wildhands_ros.datasets.real_images.reader import BoxedImage, read_boxed_images
from wildhands_ros.detection.network_landmarks import NetworkLandmarks
from wildhands_ros.detection.proposals import ProposalNet
from wildhands_ros.detection.verification import Candidate, Effort, ProposalVerifier, hand_of
from wildhands_ros.detection.windows import whole
from wildhands_ros.geometry.boxes import box_iou
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.network_file import DEFAULT_DETECTOR, DEFAULT_NAME, SECOND_STAGE_DETECTOR, open_network
from wildhands_ros.runtime.predictor import Predictor

EFFORT = Effort(16, 16, 0.1, -3.1)
"""More than in use."""
MOST_OF_A_SOURCE = 60
"""Maximum number of images of one source, so that none dominates."""
RIDGE = 0.03
"""Penalty of the squared weights, which keeps them moderate where the data say little."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", nargs="+", default=["validation", "train"])
    parser.add_argument("--detector", type=Path, default=DEFAULT_DETECTOR)
    parser.add_argument("--second-stage", type=Path, default=SECOND_STAGE_DETECTOR)
    args = parser.parse_args()
    network = open_network(DEFAULT_NAME)
    infer = NetworkLandmarks(Predictor(network, network.config.preprocessing, open_hands()))
    propose = ProposalNet(args.detector, EFFORT.least_score)
    verifier = ProposalVerifier(ProposalNet(args.second_stage).hands, infer, EstimatorConfig().min_score)
    features, labels, hands = [], [], 0
    images = [image for split in args.splits for image in chosen(read_boxed_images(args.folder, split=split).images)]
    for image in images:
        pixels = image.load()
        height, width = pixels.shape[:2]
        proposals = [proposal for window in whole(width, height) for proposal in propose(pixels, window)]
        found = verifier.candidates(pixels, Camera.guess(width, height), proposals, [], EFFORT)
        right = matches(found, image)
        hands += sum(not hand.ignore for hand in image.hands)
        for candidate, is_right in zip(found, right, strict=True):
            if is_right or image.hands_complete:
                features.append(candidate.features)
                labels.append(is_right)
    weights, bias = fit(np.array(features), np.array(labels, float))
    print(f"WEIGHTS = np.array({np.round(weights, 2).tolist()})\nBIAS = {bias:.2f}")
    report(expit(np.array(features) @ weights + bias), np.array(labels, bool), hands)


def chosen(images: Sequence[BoxedImage]) -> list[BoxedImage]:
    """Return the boxed images of a split, at most ``MOST_OF_A_SOURCE`` of each source, evenly spread."""
    result = []
    for source in sorted({image.source for image in images}):
        boxed = [image for image in images if image.source == source and image.hands_boxed and image.frame is None]
        places = np.unique(np.linspace(0, len(boxed) - 1, min(len(boxed), MOST_OF_A_SOURCE)).astype(int))
        result += [boxed[i] for i in places] if boxed else []
    return result


def matches(candidates: Sequence[Candidate], image: BoxedImage) -> list[bool]:
    """Return for each candidate whether it is the best one of a hand that has a box."""
    least = 0.3 if image.approximate else 0.5
    boxes = [hand_of(candidate, *(image.size or (np.inf, np.inf))).box for candidate in candidates]
    overlaps = np.array([[box_iou(box, hand.box) for hand in image.hands] for box in boxes])
    overlaps = overlaps.reshape(len(boxes), len(image.hands))
    right = [False] * len(candidates)
    for _ in range(min(overlaps.shape)):
        i, j = np.unravel_index(int(np.argmax(overlaps)), overlaps.shape)
        if overlaps[i, j] < least:
            break
        right[int(i)] = True
        overlaps[i], overlaps[:, j] = 0, 0
    return right


def fit(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit a logistic regression with a ridge penalty; no evidence for a hand may count against it."""
    spread = features.std(axis=0) + 1e-6

    def loss(x: np.ndarray) -> float:
        logits = features @ (x[:-1] / spread) + x[-1]
        return float(np.logaddexp(0, -logits * (2 * labels - 1)).mean() + RIDGE / 2 * (x[:-1] ** 2).mean())

    bounds = [(0, None)] * features.shape[1] + [(None, None)]
    found = minimize(loss, np.zeros(features.shape[1] + 1), method="L-BFGS-B", bounds=bounds).x
    return found[:-1] / spread, float(found[-1])


def report(probabilities: np.ndarray, labels: np.ndarray, hands: int) -> None:
    """Print precision and recall, and how often a hand of a score is right."""
    print(f"{len(labels)} candidates of {hands} hands, {labels.sum()} of them right")
    for least in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        accepted = probabilities >= least
        right = (accepted & labels).sum()
        print(
            f"from {least}: recall {100 * right / hands:.0f} %, precision {100 * right / max(accepted.sum(), 1):.0f} %"
        )
    for low in np.arange(0, 1, 0.1):
        inside = (probabilities >= low) & (probabilities < low + 0.1)
        if inside.any():
            print(f"score {low:.1f} to {low + 0.1:.1f}: {100 * labels[inside].mean():.0f} % of {inside.sum()} right")


if __name__ == "__main__":
    main()
