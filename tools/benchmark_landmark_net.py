"""Measures the landmark network on one thread, in milliseconds per crop: python tools/benchmark_landmark_net.py"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from wildhands_ros.network.landmark_net import LandmarkNet
from wildhands_ros.network.mediapipe_weights import landmark_model_path
from wildhands_ros.network.openvino_core import openvino_core

ROUNDS, REPEATS = 20, 3


def milliseconds(runs: dict[str, Callable[[], object]], batch: int) -> dict[str, float]:
    """Returns the time per crop in the fastest of several rounds, in which all runtimes take turns."""
    times = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            for _ in range(REPEATS):
                run()
            times[name].append((time.perf_counter() - start) * 1000 / REPEATS / batch)
    return {name: min(values) for name, values in times.items()}


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    net = LandmarkNet.from_mediapipe()
    channels_last = LandmarkNet.from_mediapipe().to(memory_format=torch.channels_last)
    core = openvino_core()
    for batch in (1, 2, 8):
        crops = torch.rand(batch, 3, 224, 224)
        reordered = crops.to(memory_format=torch.channels_last)
        model = core.read_model(landmark_model_path())
        model.reshape([batch, 224, 224, 3])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
        images = np.ascontiguousarray(crops.permute(0, 2, 3, 1).numpy())
        runs = {
            "torch": partial(net, crops),
            "torch channels_last": partial(channels_last, reordered),
            "openvino": partial(compiled, images),
        }
        print(f"batch {batch}: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in milliseconds(runs, batch).items()))


if __name__ == "__main__":
    main()
