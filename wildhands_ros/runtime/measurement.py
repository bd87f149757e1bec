"""Measures one runtime in this process: python -m wildhands_ros.runtime.measurement NETWORK RUNTIME PRECISION

``fastest`` starts it, so that a runtime that crashes ends this process only.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from ..geometry.camera import Camera
from ..network.config import IMAGE_SIZE
from ..network.network_file import open_network
from ..network.preprocessing import preprocess
from .network import choose, run_network
from .signature import RIGHT

_HANDS = 2
_WARM_UP, _REPEATS = 3, 10
_LEAST_SECONDS = 1.5
"""The shortest run is taken, and other work on the machine seldom leaves a gap: so ten runs may not be enough."""


def measured(path: Path, runtime: str, precision: str) -> tuple[str, float]:
    """Returns the precision and the milliseconds of one runtime."""
    file = open_network(path)
    if file.mean_pose is None:
        raise ValueError(f"{path} is not an ONNX file")
    runtime, precision, device = choose(file, runtime, precision, "cpu")
    network = run_network(file, file.mean_pose, runtime, precision, device)
    side = 2 * IMAGE_SIZE
    inputs = preprocess(
        np.zeros((side, side, 3), np.uint8),
        Camera.guess(side, side),
        np.tile([[0.0, 0.0, side, side]], (_HANDS, 1)),
        file.config,
        file.config.preprocessing,
        np.zeros(_HANDS) if file.config.upright else None,
    )
    seconds: list[float] = []
    end = time.perf_counter() + _LEAST_SECONDS
    while len(seconds) < _WARM_UP + _REPEATS or time.perf_counter() < end:
        start = time.perf_counter()
        network(inputs, np.full(_HANDS, RIGHT))
        seconds.append(time.perf_counter() - start)
    return precision, 1e3 * min(seconds[_WARM_UP:])


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
