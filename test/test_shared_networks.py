"""Several estimators of one process share the networks, and may use them at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Barrier

import numpy as np
import pytest

from wildhands_ros import Camera
from wildhands_ros.detection.proposals import ProposalNet
from wildhands_ros.detection.windows import Window
from wildhands_ros.network.config import IMAGE_SIZE
from wildhands_ros.network.network_file import DEFAULT_NAME, open_network
from wildhands_ros.network.preprocessing import preprocess
from wildhands_ros.runtime.network import run_network
from wildhands_ros.runtime.shared import shared
from wildhands_ros.runtime.signature import BY_LANDMARKS

HANDS = 3
RUNTIMES = [runtime for runtime in ("onnxruntime", "openvino") if find_spec(runtime) is not None]


class Thing:
    pass


def test_what_is_in_use_is_not_made_again():
    made = []

    def make() -> Thing:
        made.append(1)
        return Thing()

    first = shared("a", make)
    assert shared("a", make) is first and len(made) == 1
    assert shared("b", make) is not first and len(made) == 2
    del first
    shared("a", make)
    assert len(made) == 3


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_shared_network_gives_the_same_results_in_several_threads(runtime, monkeypatch):
    monkeypatch.setattr("wildhands_ros.runtime.threads.available_cpus", lambda: 2)
    file = open_network(DEFAULT_NAME)
    network = run_network(file, file.mean_pose, runtime, "float32")
    assert run_network(file, file.mean_pose, runtime, "float32") is network
    side = 2 * IMAGE_SIZE
    images = np.random.default_rng(0).integers(0, 255, (3, side, side, 3), np.uint8)
    boxes = np.tile([[100.0, 100, 300, 300]], (HANDS, 1)) + 20 * np.arange(HANDS)[:, None]
    inputs = [
        preprocess(image, Camera.guess(side, side), boxes, file.config, file.config.preprocessing, np.zeros(HANDS))
        for image in images
    ]
    sides = np.full(HANDS, BY_LANDMARKS)
    alone = [network(one, sides) for one in inputs]
    start = Barrier(len(inputs))

    def run(one):
        start.wait(60)
        return network(one, sides)

    with ThreadPoolExecutor(len(inputs)) as pool:
        together = list(pool.map(run, inputs))
    for expected, found in zip(alone, together, strict=True):
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_shared_detector_gives_the_same_results_in_several_threads():
    nets, window = [ProposalNet() for _ in range(2)], Window(0, 0, 320, 240)
    images = np.random.default_rng(0).integers(0, 255, (2, 240, 320, 3), np.uint8)

    def scores(number: int) -> list[float]:
        return [proposal.score for proposal in nets[number](images[number], window)]

    alone = [scores(number) for number in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            assert list(pool.map(scores, range(2))) == alone
