"""OpenVINO gives what PyTorch gives."""

import pytest
import torch

from wildhands_ros.network.checkpoint import DEFAULT_NAME, load_model

pytest.importorskip("openvino")

from wildhands_ros.runtime.openvino import OpenVinoTrunk


@torch.inference_mode()
def test_features_are_the_same():
    trunk = load_model(DEFAULT_NAME).model.hand_trunk
    fast = OpenVinoTrunk(trunk)
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 3):
        crops = torch.rand(batch, 3, 224, 224, generator=generator)
        expected, found = trunk(crops), fast(crops)
        kept = found.clone()
        fast(crops.flip(0))
        assert torch.equal(found, kept)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
        assert expected.std() > 0.1
