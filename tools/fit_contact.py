#!/usr/bin/env python3
"""Fits the probability that fingertips touch, and prints the constant of ``geometry/contact.py``.

The synthetic recordings of a split are annotated; their ground truth says which pads touch. The fit is a logistic
regression on ``contact_features`` of the good estimates whose tips are probably seen.
"""

from __future__ import annotations

import argparse

import numpy as np
from fit_reliability import annotated_frames
from logistic_regression import logistic_weights

from wildhands_ros.evaluation.recordings import average_precision, matches
from wildhands_ros.geometry.contact import MOST_HIDDEN, TOUCHING, contact_features, thumb_gaps
from wildhands_ros.ros.recording.evaluation import frame_hands

PENALTY = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=6, help="recordings (default: 6)")
    parser.add_argument("--seconds", type=float, default=6.0, help="duration of each (default: 6)")
    parser.add_argument("--split", default="train", help="split of the synthetic world (default: train)")
    args = parser.parse_args()
    features, touching = [], []
    for labels, frames in annotated_frames(args.split, args.count, args.seconds):
        for match in matches(labels, frame_hands(frames)):
            row = contact_features(match.hand.joints, match.hand.visibility)
            known = row[:, 2] <= MOST_HIDDEN
            if not match.is_wrong and known.any():
                features.append(row[known])
                touching.append((thumb_gaps(labels.joints[match.frame, match.label]) < TOUCHING)[known])
    a, y = np.concatenate(features), np.concatenate(touching)
    weights = logistic_weights(a, y, PENALTY)
    print(f"{len(y)} pairs, {100 * y.mean():.1f} % touch; average precision {average_precision(y, a @ weights):.3f}")
    print(f"_WEIGHTS = np.array([{', '.join(f'{value:.3g}' for value in weights)}])")


if __name__ == "__main__":
    main()
