"""Averages the weights of two detectors of one architecture, such as those before and after training on photographs.

    python tools/average_detectors.py BEFORE AFTER OUT [--share 0.3]

Averaged weights keep most of what either network knows (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR
2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from wildhands_ros.network.detector_net import HandDetectorNet, load_detector
from wildhands_ros.runtime.onnx import save_detector


def averaged(before: HandDetectorNet, after: HandDetectorNet, share: float) -> HandDetectorNet:
    """Return a network with the weighted mean of the weights; ``share`` is that of ``after``."""
    result = HandDetectorNet()
    with torch.no_grad():
        for mean, first, second in zip(result.parameters(), before.parameters(), after.parameters(), strict=True):
            mean.copy_(torch.lerp(first, second, share))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.3, help="share of the weights of AFTER; default: 0.3")
    args = parser.parse_args()
    save_detector(averaged(load_detector(args.before), load_detector(args.after), args.share), args.out)


if __name__ == "__main__":
    main()
