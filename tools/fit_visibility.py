#!/usr/bin/env python3
"""Fits the probability that the camera sees a joint, and prints the constants of ``geometry/visibility.py``.

The estimator runs on the synthetic recordings of the split val; their ground truth says which joints are seen. The fits
are logistic regressions on ``visibility_features``, without and with the log-odds of the network's visibility head.
"""

from __future__ import annotations

import argparse

import numpy as np
from logistic_regression import logistic_weights

from wildhands_ros.estimator import Estimator
from wildhands_ros.evaluation.recordings import RecordedHand, average_precision, matches
from wildhands_ros.geometry.camera import in_image
from wildhands_ros.geometry.visibility import Surface, visibility_features
from wildhands_ros.recording.image_stream import UnreadableImage
from wildhands_ros.ros.recording.image_streams import AnnotationOptions, open_stream
from wildhands_ros.ros.recording.synthetic_bags import cached_recording
from wildhands_ros.types import HandState


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4, help="recordings (default: 4)")
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each (default: 10)")
    parser.add_argument("--split", default="val", help="split of the synthetic world (default: val)")
    parser.add_argument("--every", type=int, default=1, help="use every n-th image (default: 1)")
    args = parser.parse_args()
    features, joints, network, seen = [], [], [], []
    for seed in range(args.count):
        bag, labels = cached_recording(seed, args.seconds, args.split)
        estimator = Estimator()
        with open_stream(bag, AnnotationOptions()) as stream:
            for image in stream.images(lambda index: index % args.every == 0):
                if isinstance(image, UnreadableImage):
                    continue
                frame = estimator(image.image, image.camera, image.stamp)
                surfaces = [Surface(hand.vertices, estimator.faces[hand.side]) for hand in frame.hands]
                found = [
                    RecordedHand(
                        image.stamp,
                        hand.side,
                        hand.joints,
                        None,
                        visibility=np.zeros(21),
                        contact=np.zeros(4),
                        object_contact=np.zeros(5),
                        state=HandState.SEEN,
                        doubts=0,
                        usable=False,
                    )
                    for hand in frame.hands
                ]
                number_of = {id(each): number for number, each in enumerate(found)}
                for match in matches(labels, found):
                    number = number_of[id(match.hand)]
                    hand = frame.hands[number]
                    inside = in_image(hand.joints_2d, image.camera.width, image.camera.height)
                    row = visibility_features(number, hand.joints, hand.score, surfaces)
                    features.append(row[inside])
                    joints.append(np.eye(21)[inside])
                    network.append((np.full(21, np.nan) if hand.seen is None else hand.seen)[inside])
                    seen.append(labels.visible[match.frame, match.label][inside])
    a, y = np.concatenate(features), np.concatenate(seen)
    print(f"{len(y)} joints, {100 * y.mean():.0f} % seen")
    weights = fitted("without the network", np.column_stack([a, np.concatenate(joints)]), y)
    count = a.shape[1]
    show("_WEIGHTS", weights[:count])
    show("_JOINTS", weights[count:])
    odds = np.concatenate(network)
    known = np.isfinite(odds)
    weights = fitted("with it", np.column_stack([a, odds, np.ones(len(a))])[known], y[known])
    show("_WEIGHTS_WITH_NETWORK", weights[:-1])
    print(f"_BIAS_WITH_NETWORK = {weights[-1]:.3g}")


def fitted(name: str, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the weights of a logistic regression."""
    weights = logistic_weights(a, y, 1.0)
    print(f"{name}: average precision {average_precision(y, a @ weights):.3f}")
    return weights


def show(name: str, values: np.ndarray) -> None:
    """Prints the constant with these values."""
    print(f"{name} = np.array([{', '.join(f'{value:.3g}' for value in values)}])")


if __name__ == "__main__":
    main()
