"""The visibility head: a file for one network, and the pooled features of every runtime."""

from __future__ import annotations

import numpy as np
import pytest

from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.network.network_file import DEFAULT_NAME, DEFAULT_NETWORK, open_network
from wildhands_ros.network.onnx_file import output_names, with_output
from wildhands_ros.network.preprocessing import NetworkInput
from wildhands_ros.runtime.network import run_network
from wildhands_ros.runtime.signature import POOLED, RIGHT, mean_pose
from wildhands_ros.runtime.visibility_head import VisibilityHead


def test_a_head_belongs_to_one_network(tmp_path):
    path = tmp_path / "head.npz"
    rng = np.random.default_rng(0)
    weights, bias = rng.normal(0, 0.01, (8, 21)), rng.normal(0, 1, 21)
    VisibilityHead(weights, bias).save(path, "ab12")
    assert VisibilityHead.of_network("cd34", path) is None and VisibilityHead.of_network(None, path) is None
    head = VisibilityHead.of_network("ab12", path)
    features = rng.normal(0, 1, (3, 8, 1, 1))
    np.testing.assert_allclose(head(features), features[..., 0, 0] @ weights + bias, atol=1e-3)
    assert np.abs(head(1e6 * features)).max() <= 6


def test_the_bundled_head_is_that_of_the_bundled_network():
    assert VisibilityHead.of_network(open_network(DEFAULT_NAME).digest) is not None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_give_the_pooled_features(runtime, monkeypatch):
    network = open_network(DEFAULT_NAME)
    rng = np.random.default_rng(0)
    crops, kpe = rng.random((1, 3, 224, 224), np.float32), rng.random((1, 20), np.float32)
    kpe = np.resize(kpe, (1, sum(network.config.encoding.groups)))
    zeros = np.zeros(1, np.float32)
    inputs = NetworkInput(crops, kpe, zeros + 224, np.zeros((1, 2), np.float32), zeros, None)
    side = np.array([RIGHT])
    found = [run_network(network, mean_pose(open_hands()), runtime, "float32", "cpu")(inputs, side)[POOLED]]
    if runtime == "onnxruntime":  # without the compiled decoder, too
        monkeypatch.setattr("wildhands_ros.runtime.onnxruntime.can_decode", lambda config: False)
    found.append(run_network(network, mean_pose(open_hands()), "onnxruntime", "float32", "cpu")(inputs, side)[POOLED])
    assert found[0].size == 1152
    np.testing.assert_allclose(found[0].ravel(), found[1].ravel(), atol=1e-3)


def test_an_output_is_added_to_an_onnx_file():
    content = DEFAULT_NETWORK.read_bytes()
    assert output_names(with_output(content, "features", (1152, 1, 1))) == [*output_names(content), "features"]
