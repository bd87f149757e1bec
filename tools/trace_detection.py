"""Shows at which stage of the bundled detector the hands of boxed photographs are lost.

    python tools/trace_detection.py ../shared/real_images --split test --sources dexwild

For each source it prints the share of the hands of which a box with an IoU of at least 0.3 and 0.5 is left after each
stage: ``proposed`` by the first stage, among the ``possible`` places if many are examined, among those that are
``examined`` in use, and ``accepted``. It only measures.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wildhands_ros import Camera, EstimatorConfig
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.detection.network_landmarks import NetworkLandmarks
from wildhands_ros.detection.proposals import ProposalNet
from wildhands_ros.detection.verification import STILL, Effort, ProposalVerifier, hand_of
from wildhands_ros.detection.windows import whole
from wildhands_ros.geometry.boxes import box_iou
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.network_file import DEFAULT_NAME, SECOND_STAGE_DETECTOR, open_network
from wildhands_ros.runtime.predictor import Predictor

MUCH = Effort(16, 16, 0.1, -np.inf)
STAGES = ("proposed", "possible", "examined", "accepted")
LEAST = (0.3, 0.5)


class Tracer:
    """Runs the stages of the bundled detector one by one."""

    def __init__(self) -> None:
        network = open_network(DEFAULT_NAME)
        infer = NetworkLandmarks(Predictor(network, network.config.preprocessing, open_hands()))
        self._min_score = EstimatorConfig().min_score
        self._propose = ProposalNet()
        self._verifier = ProposalVerifier(
            ProposalNet(SECOND_STAGE_DETECTOR, side_by_side=True).hands, infer, self._min_score
        )

    def boxes(self, image: np.ndarray) -> tuple[list[np.ndarray], ...]:
        """Return the boxes after each of ``STAGES`` in an (H, W, 3) RGB image."""
        height, width = image.shape[:2]
        camera = Camera.guess(width, height)
        proposals = [proposal for window in whole(width, height) for proposal in self._propose(image, window)]
        possible, examined = (
            self._verifier.candidates(image, camera, proposals, [], effort) for effort in (MUCH, STILL)
        )
        accepted = [candidate for candidate in examined if candidate.probability >= self._min_score]
        left = (
            [hand_of(candidate, width, height).box for candidate in stage] for stage in (possible, examined, accepted)
        )
        return [proposal.box for proposal in proposals], *left


def best_overlap(boxes: Sequence[np.ndarray], box: np.ndarray) -> float:
    """Return the largest IoU with a (4,) box; 0 without boxes."""
    return max((box_iou(other, box) for other in boxes), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", type=Path, help="annotations, if they are not in the folder")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--sources", nargs="+", help="only these sources")
    args = parser.parse_args()
    tracer = Tracer()
    overlaps: dict[str, list[list[float]]] = defaultdict(list)
    for image in read_boxed_images(args.folder, args.boxes, args.split).images:
        hands = [hand for hand in image.hands if not hand.ignore]
        if hands and image.frame is None and (args.sources is None or image.source in args.sources):
            stages = tracer.boxes(image.load())
            overlaps[image.source] += [[best_overlap(boxes, hand.box) for boxes in stages] for hand in hands]
    for source, rows in sorted(overlaps.items()):
        for least in LEAST:
            shares = 100 * (np.array(rows) >= least).mean(axis=0)
            cells = ", ".join(f"{stage} {share:.0f} %" for stage, share in zip(STAGES, shares, strict=True))
            print(f"{source}, {len(rows)} hands, IoU {least}: {cells}")


if __name__ == "__main__":
    main()
