"""Every runtime gives what the network gives, and compiled networks are found again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from wildhands_ros.io.sources import open_source
from wildhands_ros.network.checkpoint import DEFAULT_NAME, load_model
from wildhands_ros.network.config import GraspInput, WildHandsConfig
from wildhands_ros.network.model import WildHands, decode_pose
from wildhands_ros.network.preprocessing import NetworkInput
from wildhands_ros.runtime.graph import BY_LANDMARKS, LEFT, RIGHT, example_inputs
from wildhands_ros.runtime.network import run_network
from wildhands_ros.runtime.threads import available_cpus, network_threads

openvino = pytest.importorskip("openvino")

CLIP = Path(__file__).parent.parent / "demo/clip.mp4"
MEAN_POSE = 0.1 * torch.arange(90.0).reshape(2, 45).sin()
TWO_TRUNKS = WildHandsConfig(trunk="resnet18", features=64, grasp_input=GraspInput.HAND_AND_IMAGE)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "cache/wildhands/openvino"


@pytest.fixture(scope="module")
def default():
    return load_model(DEFAULT_NAME).model


@pytest.fixture(scope="module")
def two_trunks():
    torch.manual_seed(0)
    return WildHands(TWO_TRUNKS).eval()


def inputs(config, hands, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = example_inputs(config, hands)
    for name in ("crops", "images", "anchor", "turn", "kpe"):
        if name in values:
            values[name] = torch.rand(values[name].shape, generator=generator)
    given = {field.name: values.get(field.name) for field in dataclasses.fields(NetworkInput)}
    return NetworkInput(**given)


@torch.inference_mode()
def expected(model, given, is_right):
    output = model(given.crops, given.kpe, is_right, given.focal, given.anchor, given.images, turn=given.turn)
    orient, pose = decode_pose(output.rotations, MEAN_POSE[output.is_right.long()])
    values = {"is_right": output.is_right, "transl": output.translation, "global_orient": orient, "hand_pose": pose, "betas": output.betas}
    values["grasp"] = output.grasp_logits.softmax(dim=-1)
    if output.landmarks is not None:
        values |= {name: getattr(output.landmarks, name) for name in ("landmarks", "presence", "world")}
    return {name: value.numpy() for name, value in values.items()}


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("which", ["default", "two_trunks"])
def test_runtimes_give_what_the_network_gives(runtime, which, request):
    model = request.getfixturevalue(which)
    running = run_network(model, MEAN_POSE, runtime, "float32", "cpu")
    for sides in ([RIGHT, LEFT, RIGHT], [LEFT]):
        given = inputs(model.config, len(sides))
        found = running(given, torch.tensor(sides))
        kept = {name: value.copy() for name, value in found.items()}
        running(inputs(model.config, len(sides), seed=1), torch.tensor(sides))
        truth = expected(model, given, torch.tensor(sides) == RIGHT)
        for name, value in truth.items():
            assert np.array_equal(found[name], kept[name]), "results outlive the next call"
            np.testing.assert_allclose(found[name], value, atol=1e-3 if name == "landmarks" else 2e-5, err_msg=name)


def test_the_landmarks_tell_the_side_where_it_is_not_given(default):
    given = inputs(default.config, 4)
    found = run_network(default, MEAN_POSE, "openvino", "float32")(given, torch.full((4,), BY_LANDMARKS))
    truth = expected(default, given, None)
    assert np.array_equal(found["is_right"], truth["is_right"])
    np.testing.assert_allclose(found["hand_pose"], truth["hand_pose"], atol=2e-5)


def test_bfloat16_stays_close(default):
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ValueError, match="no bfloat16"):
            run_network(default, MEAN_POSE, "openvino", "bfloat16")
        return
    crop = next(iter(open_source(str(CLIP)))).image[:, 210:750]  # about where a crop of both hands would be; more than noise in any case
    crops = torch.from_numpy(cv2.resize(crop, (224, 224))).permute(2, 0, 1)[None].float() / 255
    given = dataclasses.replace(inputs(default.config, 1), crops=crops)
    running = run_network(default, MEAN_POSE, precision="bfloat16")
    assert running.name == "cpu (OpenVINO, bfloat16)"
    found, truth = running(given, torch.tensor([LEFT])), expected(default, given, torch.tensor([False]))
    for name, limit in {"landmarks": 2.0, "transl": 0.01, "hand_pose": 0.05, "betas": 0.1, "presence": 0.02}.items():
        error = np.abs(found[name] - truth[name]).max()
        assert 0 < error < limit, (name, error)


def test_compiled_networks_are_kept_by_all_that_makes_them(two_trunks, cache, monkeypatch):
    given, side = inputs(two_trunks.config, 1), torch.tensor([RIGHT])
    first = run_network(two_trunks, MEAN_POSE, "openvino", "float32")(given, side)
    (file,) = cache.iterdir()
    written = file.stat().st_mtime_ns
    monkeypatch.setattr("wildhands_ros.runtime.openvino.convert", None)  # nothing is converted again
    again = run_network(two_trunks, MEAN_POSE, "openvino", "float32")(given, side)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert file.stat().st_mtime_ns == written
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parents[1]))
    file.write_bytes(file.read_bytes()[:1000])
    repaired = run_network(two_trunks, MEAN_POSE, "openvino", "float32")(given, side)
    assert np.array_equal(first["betas"], repaired["betas"]) and file.stat().st_size > 1000

    changed = WildHands(two_trunks.config).eval()
    changed.load_state_dict(two_trunks.state_dict())
    with torch.no_grad():
        changed.right_head.shape.bias += 1
    other = run_network(changed, MEAN_POSE, "openvino", "float32")(given, side)
    assert len(list(cache.iterdir())) == 2 and np.abs(other["betas"] - first["betas"]).min() > 0.5


def test_a_cache_that_cannot_be_written_only_costs_time(default, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    given = inputs(default.config, 1)
    assert np.isfinite(run_network(default, MEAN_POSE, "openvino", "float32")(given, torch.tensor([LEFT]))["transl"]).all()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (dict(runtime="tensorrt"), "torch, openvino"),
        (dict(precision="float8"), "bfloat16, int8"),
        (dict(runtime="openvino", device="cuda:0"), "set device to cpu"),
        (dict(runtime="torch", precision="int8"), "set runtime to openvino"),
        (dict(precision="int8"), "wildhands quantize"),
        (dict(runtime="torch", device="nonsense"), "set auto or cpu"),
    ],
)
def test_choices_that_cannot_be_had_are_refused_with_what_to_do(two_trunks, choices, message):
    with pytest.raises(ValueError, match=message):
        run_network(two_trunks, MEAN_POSE, **choices)


def test_threads():
    assert [network_threads(cpus) for cpus in (1, 2, 4, 16)] == [1, 2, 3, 8]
    assert 1 <= available_cpus() <= 1024
