"""Compares MediaPipe's landmark network with that of a checkpoint, on annotated photographs and with ground-truth
boxes.

    .venv/bin/python tools/compare_landmarks.py FOLDER [--checkpoint NAME]

FOLDER contains photographs with COCO-style hand keypoints. The outputs are compared directly, without hand model and
fit.
"""

import argparse
from pathlib import Path

import numpy as np

from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.datasets.labels import LabelledImage
from wildhands_ros.detection.landmarks import LandmarkDetector
from wildhands_ros.detection.network_landmarks import NetworkLandmarks
from wildhands_ros.evaluation.mediapipe_landmarks import MediaPipeLandmarks
from wildhands_ros.evaluation.metrics import mpjpe, pa_mpjpe
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.network_file import DEFAULT_NAME, open_network
from wildhands_ros.runtime.predictor import Predictor

LEAST_PRESENCE = 0.01
"""Threshold so low that hands that are hardly recognised count, too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--checkpoint",
        default=DEFAULT_NAME,
        metavar="NAME",
        help="a network with landmarks; default: the bundled weights",
    )
    args = parser.parse_args()
    photos = read_coco_hands(args.folder)
    network = open_network(args.checkpoint)
    predictor = Predictor(network, network.config.preprocessing, open_hands())
    print(f"{'':>12}  {'found':>5}  {'presence':>8}  {'side':>5}  {'2D, % of box':>12}  {'MPJPE mm':>8}  {'PA mm':>6}")
    for name, look in (("MediaPipe", MediaPipeLandmarks()), (Path(args.checkpoint).stem, NetworkLandmarks(predictor))):
        detector = LandmarkDetector(look, LEAST_PRESENCE)
        rows = [row for photo in photos if (row := measure(detector, photo)) is not None]
        presence, side, pixels, error, aligned = np.ma.masked_invalid(rows).mean(axis=0).filled(np.nan)
        found = f"{len(rows)}/{len(photos)}"
        print(
            f"{name:>12}  {found:>5}  {presence:>8.2f}  {side:>5.2f}  {pixels:>12.2f}  {error:>8.1f}  {aligned:>6.1f}"
        )


def measure(detector: LandmarkDetector, photo: LabelledImage) -> tuple[float, ...] | None:
    """Returns presence, whether the side is correct, 2D error in percent of the box, MPJPE and PA-MPJPE in mm."""
    (hand,) = photo.hands
    found = detector.detect_in_box(photo.load_image(), photo.camera, hand.box)
    if found is None:
        return None
    apart = np.nanmean(np.linalg.norm(found.keypoints - hand.keypoints, axis=-1))
    errors = (np.nan, np.nan)
    if hand.joints is not None:
        errors = 1000 * mpjpe(found.world, hand.joints), 1000 * pa_mpjpe(found.world, hand.joints)
    side = np.nan if hand.side is None else float(found.side is hand.side)
    return found.score, side, 100 * apart / (hand.box[2:] - hand.box[:2]).max(), *errors


if __name__ == "__main__":
    main()
