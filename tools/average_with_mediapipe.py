"""Averages the trunk and the landmark head of a trained network with MediaPipe's, from which training started.

    .venv/bin/python tools/average_with_mediapipe.py WEIGHTS OUT [--share 0.6]

Training on renders costs some accuracy on photographs; averaged weights keep most of both (Wortsman et al., "Robust
fine-tuning of zero-shot models", CVPR 2022). The features change, so the decoders must be trained further: see
docs/training.md.
"""

import argparse
from pathlib import Path

import torch

from wildhands_ros.network.checkpoint import load_model, save_checkpoint
from wildhands_ros.network.landmark_net import LandmarkNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", metavar="WEIGHTS")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--share", type=float, default=0.6, help="share of the trained weights; default: 0.6")
    args = parser.parse_args()
    model, first = load_model(args.weights).model, LandmarkNet.from_mediapipe()
    with torch.no_grad():
        for trained, origin in ((model.hand_trunk, first.trunk), (model.landmark_head, first.head)):
            for parameter, before in zip(trained.parameters(), origin.parameters(), strict=True):
                parameter.lerp_(before, 1 - args.share)
    save_checkpoint(args.out, model)


if __name__ == "__main__":
    main()
