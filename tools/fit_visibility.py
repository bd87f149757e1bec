#!/usr/bin/env python3
"""Fits the probability that the camera sees a joint, and prints the constants of ``geometry/visibility.py``.

The estimator runs on the synthetic recordings of the split val; their ground truth says which joints are seen. The fit
is a logistic regression on ``visibility_features``.
"""

from __future__ import annotations

import argparse

import numpy as np

from wildhands_ros.estimator import Estimator
from wildhands_ros.evaluation.recordings import RecordedHand, average_precision, matches
from wildhands_ros.geometry.camera import in_image
from wildhands_ros.geometry.visibility import Surface, visibility_features
from wildhands_ros.recording.image_stream import UnreadableImage
from wildhands_ros.ros.recording.image_streams import AnnotationOptions, open_stream
from wildhands_ros.ros.recording.synthetic_bags import cached_recording
from wildhands_ros.types import HandState

ITERATIONS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4, help="recordings (default: 4)")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each (default: 10)")
    args = parser.parse_args()
    features, seen = [], []
    for seed in range(args.count):
        bag, labels = cached_recording(seed, args.seconds, "val")
        estimator = Estimator()
        with open_stream(bag, AnnotationOptions()) as stream:
            for image in stream.images(lambda index: True):
                if isinstance(image, UnreadableImage):
                    continue
                frame = estimator(image.image, image.camera, image.stamp)
                surfaces = [Surface(hand.vertices, estimator.faces[hand.side]) for hand in frame.hands]
                found = [
                    RecordedHand(image.stamp, hand.side, hand.joints, None, np.zeros(21), np.zeros(4), HandState.SEEN, 0, False)
                    for hand in frame.hands
                ]
                number_of = {id(each): number for number, each in enumerate(found)}
                for match in matches(labels, found):
                    number = number_of[id(match.hand)]
                    hand = frame.hands[number]
                    inside = in_image(hand.joints_2d, image.camera.width, image.camera.height)
                    row = visibility_features(number, hand.joints, hand.score, surfaces)
                    features.append(np.column_stack([row, np.eye(21)])[inside])
                    seen.append(labels.visible[match.frame, match.label][inside])
    a, y = np.concatenate(features), np.concatenate(seen)
    weights = np.zeros(a.shape[1])
    for _ in range(ITERATIONS):
        p = 1 / (1 + np.exp(-a @ weights))
        hessian = (a * (p * (1 - p))[:, None]).T @ a + np.eye(a.shape[1])
        weights += np.linalg.solve(hessian, a.T @ (y - p) - weights)
    print(f"{len(y)} joints, {100 * y.mean():.0f} % seen; average precision {average_precision(y, a @ weights):.3f}")
    count = a.shape[1] - 21
    for name, values in (("_WEIGHTS", weights[:count]), ("_JOINTS", weights[count:])):
        print(f"{name} = np.array([{', '.join(f'{value:.3g}' for value in values)}])")


if __name__ == "__main__":
    main()
