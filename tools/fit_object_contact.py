#!/usr/bin/env python3
"""Fits the probability that fingertips touch objects, and prints the constant of ``geometry/object_contact.py``.

Images of synthetic recordings are rendered with those of a stereo depth camera, and each is estimated by itself. The
fit is a logistic regression on ``object_contact_features`` of the good estimates that use the depth image. With
``--check``, nothing is fitted: the present constant is compared with the ground truth.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from logistic_regression import logistic_weights

from wildhands_ros.estimator import Estimator
from wildhands_ros.evaluation.recordings import DEEPEST, RecordedHand, RecordingLabels, average_precision, matches
from wildhands_ros.evaluation.reliability import calibration_error, reliability
from wildhands_ros.geometry.contact import TOUCHING
from wildhands_ros.geometry.depth_image import DepthImage
from wildhands_ros.geometry.object_contact import object_contact_features, object_contact_probability
from wildhands_ros.ros.recording.synthetic_bags import DEPTH_POSE
from wildhands_ros.synthetic.depth import STEREO
from wildhands_ros.synthetic.egocentric import EgocentricRecording
from wildhands_ros.types import DepthStatus, HandState

PENALTY = 0.3
SECONDS = 6.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20, help="recordings (default: 20)")
    parser.add_argument("--every", type=int, default=20, help="use every Nth image of each (default: 20)")
    parser.add_argument("--split", default="train", help="split of the synthetic world (default: train)")
    parser.add_argument("--check", action="store_true", help="check the present constant instead of fitting")
    args = parser.parse_args()
    estimator = Estimator()
    rows = [fingertips(estimator, seed, args.split, args.every) for seed in range(args.count)]
    recordings = [
        [np.concatenate(column) for column in zip(*of_recording, strict=True)]
        for of_recording in map(list, rows)
        if of_recording
    ]
    a, y, present = (np.concatenate(column) for column in zip(*recordings, strict=True))
    print(f"{len(y)} fingertips, {100 * y.mean():.1f} % touch")
    if args.check:
        show("the present constant", y, present)
        return
    held_out = []
    for number, (features, _, _) in enumerate(recordings):
        others = [each for i, each in enumerate(recordings) if i != number]
        columns = (np.concatenate([each[i] for each in others]) for i in range(2))
        weights = logistic_weights(*columns, PENALTY)
        held_out.append(1 / (1 + np.exp(-features @ weights)))
    show("fitted to the other recordings", y, np.concatenate(held_out))
    weights = logistic_weights(a, y, PENALTY)
    show("fitted to all", y, 1 / (1 + np.exp(-a @ weights)))
    print(f"_WEIGHTS = np.array([{', '.join(f'{value:.3g}' for value in weights)}])")


def fingertips(
    estimator: Estimator, seed: int, split: str, every: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields for the good estimates of a recording the features of their fingertips, which touch, and the present
    probabilities."""
    recording = EgocentricRecording(seed, SECONDS, split)
    for number in range(seed % every, recording.num_frames, every):
        frame = recording.frame(number)
        depth = DepthImage(recording.depth(number, STEREO), STEREO.camera, DEPTH_POSE, STEREO.noise)
        hands = estimator(frame.image, recording.camera, depth=depth).hands
        labels = RecordingLabels.of([frame], 0.0, recording.hand_length)
        found = [
            RecordedHand(
                frame.stamp,
                hand.side,
                hand.joints,
                None,
                np.zeros(21),
                np.zeros(4),
                np.zeros(5),
                HandState.SEEN,
                0,
                True,
            )
            for hand in hands
        ]
        number_of = {id(each): i for i, each in enumerate(found)}
        for match in matches(labels, found):
            i = number_of[id(match.hand)]
            if match.is_wrong or hands[i].depth is not DepthStatus.USED:
                continue
            others = [hand.joints for j, hand in enumerate(hands) if j != i]
            features = object_contact_features(hands[i].joints, others, depth)
            probabilities = object_contact_probability(hands[i].joints, others, depth)
            gaps = labels.object_gaps[0, match.label]
            chosen = np.isfinite(probabilities) & (gaps > DEEPEST)
            if chosen.any():
                yield features[chosen], gaps[chosen] < TOUCHING, probabilities[chosen]


def show(name: str, touching: np.ndarray, probability: np.ndarray) -> None:
    """Prints how good probabilities are."""
    error = calibration_error(reliability(probability, touching))
    print(f"{name}: average precision {average_precision(touching, probability):.3f}, calibration error {error:.3f}")
    for low, high in ((0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        chosen = (probability >= low) & (probability < high)
        if chosen.any():
            share = 100 * touching[chosen].mean()
            print(f"  {low} to {min(high, 1)}: {chosen.sum()} fingertips, {share:.0f} % touch")


if __name__ == "__main__":
    main()
