"""Measures the soft silhouettes of two hands, forward and backward.

    python tools/bench_silhouette.py [--threads 2] [--device cpu] [--repeats 30]

Two open hands are drawn, each into its own image, at several sizes. The minimum is what the machine can do; the median
says little if the machine does other work.
"""

from __future__ import annotations

import argparse
import time

import torch

from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.training.soft_silhouette import soft_silhouettes
from wildhands_ros.types import Side

SIZE = 224
FOCAL = 200.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    hands = [open_hand(side) for side in (Side.RIGHT, Side.LEFT)]
    faces = torch.stack([torch.as_tensor(hand.faces) for hand in hands]).to(options.device)
    # The palm or the back of the hand faces the camera.
    rest = torch.stack([torch.as_tensor(hand.v_template) for hand in hands])[:, :, [0, 2, 1]]
    rest = rest - rest.mean(1, keepdim=True)
    k = torch.tensor([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]]).expand(2, 3, 3).to(options.device)
    for distance in (0.6, 0.4, 0.25, 0.15):
        vertices = (rest + torch.tensor([0, 0, distance])).to(options.device).requires_grad_()
        seconds = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            silhouettes = soft_silhouettes(vertices, faces, k, SIZE, SIZE)
            silhouettes.sum().backward()
            float(vertices.grad[0, 0, 0])  # waits for a GPU
            seconds.append(time.perf_counter() - start)
        covered = float((silhouettes > 0.5).float().mean())
        milliseconds = 1000 * torch.tensor(seconds)
        print(
            f"hands cover {100 * covered:3.0f} % of their images: "
            f"min {milliseconds.min():5.1f} ms, median {milliseconds.median():5.1f} ms"
        )


if __name__ == "__main__":
    main()
