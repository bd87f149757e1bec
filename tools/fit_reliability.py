#!/usr/bin/env python3
"""Fits the probability that an estimate of a recording is wrong; prints the constants of ``recording/reliability.py``.

The synthetic recordings of a split are annotated; their ground truth says which wrists are off by more than 10 cm. The
fit is a logistic regression on ``reliability_features``. With ``--check``, nothing is fitted: the present constants are
compared with the ground truth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from wildhands_ros.config import EstimatorConfig
from wildhands_ros.estimator import hand_model
from wildhands_ros.evaluation.recordings import RecordingLabels, matches
from wildhands_ros.recording.annotation import Annotation
from wildhands_ros.recording.refinement import Refinement, RefinementOptions
from wildhands_ros.recording.reliability import FEATURES, probability_wrong, reliability_features
from wildhands_ros.recording.segments import AnnotatedFrame
from wildhands_ros.ros.recording.evaluation import frame_hands
from wildhands_ros.ros.recording.image_streams import AnnotationOptions, open_stream
from wildhands_ros.ros.recording.synthetic_bags import cached_recording
from wildhands_ros.runtime.processes import processes

DISTANCE_WEIGHT = 6.5
"""Weight of the distance, which is not fitted: the hands of these recordings are all within reach of a head, so a fit
would call every hand farther away wrong, which it is not before other cameras."""
ITERATIONS, PENALTY = 50, 0.3
GOOD_MASKED = (0.05, 0.1, 0.2, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=6, help="recordings (default: 6)")
    parser.add_argument("--seconds", type=float, default=6.0, help="duration of each (default: 6)")
    parser.add_argument("--split", default="train", help="split of the synthetic world (default: train)")
    parser.add_argument("--check", action="store_true", help="check the present constants instead of fitting")
    args = parser.parse_args()
    features, probability, wrong = annotated(args.split, args.count, args.seconds)
    if not args.check:
        a, weights = np.column_stack([features, np.ones(len(features))]), np.zeros(len(FEATURES) + 1)
        distance = FEATURES.index("distance")
        weights[distance] = DISTANCE_WEIGHT
        free = np.flatnonzero(np.arange(len(weights)) != distance)
        penalty = np.array([*np.full(len(free) - 1, PENALTY), 1e-3])
        for _ in range(ITERATIONS):
            probability = 1 / (1 + np.exp(-a @ weights))
            hessian = (a[:, free] * (probability * (1 - probability))[:, None]).T @ a[:, free] + np.diag(penalty)
            gradient = a[:, free].T @ (wrong - probability) - penalty * weights[free]
            weights[free] += np.linalg.solve(hessian, gradient)
        probability = 1 / (1 + np.exp(-a @ weights))
        print(f"_WEIGHTS, _BIAS = np.array({weights[:-1].round(2).tolist()}), {weights[-1]:.2f}")
    print(f"{len(wrong)} estimates, {100 * wrong.mean():.0f} % wrong")
    for share in GOOD_MASKED:
        limit = np.quantile(probability[~wrong], 1 - share)
        masked = 100 * (probability[wrong] > limit).mean()
        print(f"probability {limit:.2f}: {100 * share:.0f} % of the good ones, {masked:.0f} % of the wrong ones masked")


def annotated(split: str, count: int, seconds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (N, 5) features of the estimates of a split, (N,) their probabilities, and which of them are wrong."""
    features, probabilities = [np.zeros((0, len(FEATURES)))], [np.zeros(0)]
    wrong: list[bool] = []
    for labels, frames in annotated_frames(split, count, seconds):
        estimates = [(frame.stamp, hand) for frame in frames for hand in frame.estimate.hands]
        by_track: dict[str, list[int]] = {}
        for number, (_, hand) in enumerate(estimates):
            by_track.setdefault(hand.track_id, []).append(number)
        of_hands, probability = np.zeros((len(estimates), len(FEATURES))), np.zeros(len(estimates))
        for numbers in by_track.values():
            hands, stamps = [estimates[n][1] for n in numbers], np.array([estimates[n][0] for n in numbers])
            of_hands[numbers] = reliability_features(hands, stamps)
            probability[numbers] = probability_wrong(hands, stamps)
        found = frame_hands(frames)
        number_of = {id(each): number for number, each in enumerate(found)}
        matched = matches(labels, found)
        rows = [number_of[id(match.hand)] for match in matched]
        features.append(of_hands[rows])
        probabilities.append(probability[rows])
        wrong += [match.is_wrong for match in matched]
    return np.concatenate(features), np.concatenate(probabilities), np.array(wrong)


def annotated_frames(split: str, count: int, seconds: float) -> Iterator[tuple[RecordingLabels, list[AnnotatedFrame]]]:
    """Yields ground truth and refined estimates of the first recordings of a split."""
    config = EstimatorConfig()
    with processes(os.cpu_count() or 1, "wildhands_ros.recording.estimation") as workers:
        for seed in range(count):
            bag, labels = cached_recording(seed, seconds, split)
            with tempfile.TemporaryDirectory() as folder:
                annotation = Annotation(Path(folder), {})
                annotation.run(partial(open_stream, bag, AnnotationOptions()), len(labels.stamps), config, workers)
                yield labels, list(Refinement(hand_model(config), RefinementOptions())(list(annotation.frames())))


if __name__ == "__main__":
    main()
