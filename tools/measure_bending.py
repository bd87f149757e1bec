"""Shows how far the landmark network's 3D joints bend fingers, compared to the truth, on synthetic images.

    python tools/measure_bending.py --count 100

For each joint of the four fingers it prints the mean predicted angle by the true one, and the line that best predicts
the truth. The network looks at upright crops around the true keypoints. See docs/training.md.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import linregress

from wildhands_ros.detection.landmarks import infer_around_keypoints
from wildhands_ros.detection.network_landmarks import NetworkLandmarks
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.network_file import DEFAULT_NAME, open_network
from wildhands_ros.runtime.predictor import Predictor
from wildhands_ros.synthetic.config import world_config
from wildhands_ros.synthetic.frames import make_frame
from wildhands_ros.synthetic.labelled_frames import label_frame

JOINTS = ("MCP", "PIP", "DIP")
LIMITS = (0, 10, 20, 40, 70, 180)
"""Limits in degrees of the classes of true angles."""


def bends(points: np.ndarray) -> np.ndarray:
    """Return the (4, 3) angles in degrees between consecutive bones of the four fingers, from the wrist on.

    Args:
        points: (21, 3) joints in MediaPipe's order.
    """
    chains = np.array([[0, *range(first, first + 4)] for first in (5, 9, 13, 17)])
    bones = np.diff(points[chains], axis=1)
    bones /= np.linalg.norm(bones, axis=-1, keepdims=True)
    return np.degrees(np.arccos(np.clip((bones[:, 1:] * bones[:, :-1]).sum(axis=-1), -1, 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="lab", help="preset of the synthetic world; default: lab")
    parser.add_argument("--count", type=int, default=100, help="number of images; default: 100")
    args = parser.parse_args()
    network = open_network(DEFAULT_NAME)
    infer = NetworkLandmarks(Predictor(network, network.config.preprocessing, open_hands()))
    config = world_config(args.world, "val")
    true, predicted = [], []
    for index in range(args.count):
        scene = make_frame(config, index)
        image = label_frame(scene, scene.camera.width, scene.camera.height)
        hands = [hand for hand in image.hands if not hand.ignore and hand.joints is not None]
        keypoints = [hand.keypoints for hand in hands if hand.keypoints is not None]
        found = infer_around_keypoints(infer, image.load_image(), image.camera, keypoints)
        for hand, seen in zip(hands, found, strict=True):
            if hand.joints is not None and seen is not None and seen.world is not None:
                true.append(bends(hand.joints))
                predicted.append(bends(seen.world))
    print(f"{len(true)} hands")
    report(np.array(true), np.array(predicted))


def report(true: np.ndarray, predicted: np.ndarray) -> None:
    """Print the figures of (N, 4, 3) angles."""
    for joint, name in enumerate(JOINTS):
        x, y = predicted[:, :, joint].ravel(), true[:, :, joint].ravel()
        for low, high in zip(LIMITS, LIMITS[1:], strict=False):
            if (inside := (y >= low) & (y < high)).any():
                print(f"{name} truly {y[inside].mean():.0f} degrees: {x[inside].mean():.0f} ({inside.sum()} fingers)")
        line = linregress(x, y)
        before, after = np.sqrt(np.mean((y - x) ** 2)), np.sqrt(np.mean((y - line.intercept - line.slope * x) ** 2))
        print(
            f"{name}: truth = {line.intercept:.0f} degrees + {line.slope:.2f} predicted; "
            f"RMS error {before:.0f} degrees, with this line {after:.0f}"
        )


if __name__ == "__main__":
    main()
