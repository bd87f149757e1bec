#!/usr/bin/env python3
"""Fits the visibility head of the bundled network (``runtime/visibility_head.py``) and writes its file.

Hands of synthetic recordings of the split train are cropped as a tracker would crop them, with an error of a few
percent. The fit is a logistic regression for each joint on the main components of the network's pooled features.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from wildhands_ros.detection.landmarks import hand_turn
from wildhands_ros.evaluation.recordings import average_precision
from wildhands_ros.evaluation.reliability import calibration_error, reliability
from wildhands_ros.geometry.boxes import rotated_square
from wildhands_ros.geometry.camera import in_image
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.crop_geometry import usable_boxes
from wildhands_ros.network.network_file import DEFAULT_NAME, NetworkFile, open_network
from wildhands_ros.network.preprocessing import preprocess
from wildhands_ros.runtime.network import run_network
from wildhands_ros.runtime.signature import POOLED, RIGHT, mean_pose
from wildhands_ros.runtime.visibility_head import BUNDLED, VisibilityHead
from wildhands_ros.synthetic.egocentric import EgocentricRecording

SEED = 100
"""Seed of the first recording; those of smaller seeds are for the other fits."""
LEAST_SEEN, LEAST_INSIDE = 0.1, 6
"""Fraction of a hand's outline, and number of its joints, that must be seen and inside the image."""
COMPONENTS, PENALTY, ITERATIONS = 48, 30.0, 8
SECONDS, EVERY = 6, 6
VALIDATION = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="recordings of 6 s, every sixth image (default: 30)")
    parser.add_argument("--output", type=Path, default=BUNDLED, help="file of the head (default: that of the package)")
    args = parser.parse_args()
    network = open_network(DEFAULT_NAME)
    parts = [_hands_of(SEED + number, network) for number in range(args.count)]
    kept = round((1 - VALIDATION) * len(parts))
    head = fitted(*map(np.concatenate, zip(*parts[:kept], strict=True)))
    features, visible, inside = map(np.concatenate, zip(*parts[kept:], strict=True))
    probability, seen = 1 / (1 + np.exp(-head(features)[inside])), visible[inside]
    print(
        f"{len(features)} hands of other recordings: average precision {average_precision(seen, probability):.3f}, "
        f"calibration error {calibration_error(reliability(probability, seen)):.3f}"
    )
    fitted(*map(np.concatenate, zip(*parts, strict=True))).save(args.output, str(network.digest))


def fitted(features: np.ndarray, visible: np.ndarray, inside: np.ndarray) -> VisibilityHead:
    """Fits the head to (N, C) features and (N, 21) labels of the joints inside the image."""
    mean, stddev = features.mean(axis=0), features.std(axis=0) + 1e-3
    scaled = (features - mean) / stddev
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(scaled))
    components = vectors[:, : -COMPONENTS - 1 : -1] / np.sqrt(values[: -COMPONENTS - 1 : -1])
    inputs = np.column_stack([scaled @ components, np.ones(len(scaled))])
    penalty = PENALTY * np.diag([*np.ones(COMPONENTS), 1e-3])
    weights = np.zeros((COMPONENTS + 1, visible.shape[1]))
    for joint in range(visible.shape[1]):
        a, y, w = inputs[inside[:, joint]], visible[inside[:, joint], joint], weights[:, joint]
        for _ in range(ITERATIONS):
            p = 1 / (1 + np.exp(-a @ w))
            hessian = (a * np.maximum(p * (1 - p), 1e-4)[:, None]).T @ a + penalty
            w += np.linalg.solve(hessian, a.T @ (y - p) - penalty @ w)
    of_features = (components @ weights[:-1]) / stddev[:, None]
    return VisibilityHead(of_features, weights[-1] - mean @ of_features)


def _hands_of(seed: int, network: NetworkFile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (N, C) features of the hands of a recording, and (N, 21) which joints are seen and inside the image."""
    rng = np.random.default_rng(seed)
    run = run_network(network, mean_pose(open_hands()))
    recording = EgocentricRecording(seed, SECONDS, "train")
    features, visible, inside = [], [], []
    for number in range(seed % EVERY, recording.num_frames, EVERY):
        frame = recording.frame(number)
        for hand, seen in zip(frame.hands, frame.seen, strict=True):
            assert hand.joints is not None
            points = recording.camera.project(hand.joints)
            within = in_image(points, recording.camera.width, recording.camera.height)
            if seen < LEAST_SEEN or within.sum() < LEAST_INSIDE or not np.isfinite(points).all():
                continue
            size = np.ptp(points, axis=0).max()
            centre = points.mean(axis=0)
            rough = centre + rng.uniform(0.92, 1.1) * (points - centre)
            rough = rough + rng.normal(0, 0.04 * size, 2) + rng.normal(0, 0.015 * size, (21, 2))
            turn = hand_turn(rough)
            box = rotated_square(rough, turn)[None]
            if not usable_boxes(recording.camera, box).all():
                continue
            crop = preprocess(
                frame.image, recording.camera, box, network.config, network.config.preprocessing, np.array([turn])
            )
            features.append(run(crop, np.array([RIGHT]))[POOLED].ravel())
            visible.append(hand.visible)
            inside.append(within)
    print(f"recording {seed}: {len(features)} hands", flush=True)
    return np.array(features, np.float64), np.array(visible), np.array(inside)


if __name__ == "__main__":
    main()
