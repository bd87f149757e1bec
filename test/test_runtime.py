"""Every runtime returns the same values as the PyTorch network, and compiled networks are cached."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from wildhands_ros.detection.landmarks import hand_turn
from wildhands_ros.geometry.boxes import rotated_square
from wildhands_ros.geometry.compiled import native
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.io.camera_files import load_calibration
from wildhands_ros.io.sources import open_source
from wildhands_ros.network.checkpoint import load_model
from wildhands_ros.network.config import GraspInput, WildHandsConfig
from wildhands_ros.network.model import WildHands, decode_pose
from wildhands_ros.network.network_file import DEFAULT_NAME, DEFAULT_NETWORK, open_network
from wildhands_ros.network.onnx_file import OnnxError, graph_up_to
from wildhands_ros.network.openvino_core import openvino_core
from wildhands_ros.network.preprocessing import NetworkInput
from wildhands_ros.runtime.cores import divided_cores
from wildhands_ros.runtime.graph import example_inputs
from wildhands_ros.runtime.half_decoder import can_decode
from wildhands_ros.runtime.network import has_int8, network_graphs, run_network
from wildhands_ros.runtime.onnx import export_onnx
from wildhands_ros.runtime.predictor import Predictor, calibrated_grasps
from wildhands_ros.runtime.signature import BY_LANDMARKS, LEFT, RIGHT
from wildhands_ros.runtime.threads import available_cpus, network_threads

openvino = pytest.importorskip("openvino")

pytestmark = pytest.mark.slow

DEMO = Path(__file__).parent.parent / "demo"
MEAN_POSE = (0.1 * torch.arange(90.0).reshape(2, 45).sin()).numpy()
TWO_TRUNKS = WildHandsConfig(trunk="resnet18", features=64, grasp_input=GraspInput.HAND_AND_IMAGE)


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    """One cache for all tests that do not test the cache: converting a network takes seconds."""
    return tmp_path_factory.mktemp("shared_cache")


@pytest.fixture(autouse=True)
def folders(shared_cache, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "wildhands/openvino"


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
    arrays = {name: tensor.numpy() for name, tensor in values.items()}
    return NetworkInput(**{field.name: arrays.get(field.name) for field in dataclasses.fields(NetworkInput)})


@torch.inference_mode()
def expected(model, batch, is_right):
    tensors = {name: torch.from_numpy(array) for name, array in batch.arrays().items()}
    output = model(is_right=is_right, **tensors)
    orient, pose = decode_pose(output.rotations, torch.from_numpy(MEAN_POSE)[output.is_right.long()])
    values = {
        "is_right": output.is_right,
        "transl": output.translation,
        "global_orient": orient,
        "hand_pose": pose,
        "betas": output.betas,
    }
    values["grasp"] = output.grasp_logits.softmax(dim=-1)
    if output.landmarks is not None:
        values |= {name: getattr(output.landmarks, name) for name in ("landmarks", "presence", "world")}
    return {name: value.numpy() for name, value in values.items()}


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("which", ["default", "two_trunks"])
def test_runtimes_equal_the_pytorch_network(runtime, which, request):
    model = request.getfixturevalue(which)
    running = run_network(model, MEAN_POSE, runtime, "float32", "cpu")
    for sides in ([RIGHT, LEFT, RIGHT], [LEFT]):
        batch = inputs(model.config, len(sides))
        found = running(batch, np.array(sides))
        copies = {name: value.copy() for name, value in found.items()}
        running(inputs(model.config, len(sides), seed=1), np.array(sides))
        reference = expected(model, batch, torch.tensor(sides) == RIGHT)
        for name, value in reference.items():
            assert np.array_equal(found[name], copies[name]), "the next call must not overwrite results"
            np.testing.assert_allclose(found[name], value, atol=1e-3 if name == "landmarks" else 2e-5, err_msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_hands(default):
    batch, side = inputs(default.config, 3), np.array([RIGHT, LEFT, RIGHT])
    on_cpu, on_gpu = (
        run_network(load_model(DEFAULT_NAME).model, MEAN_POSE, "torch", "float32", device)(batch, side)
        for device in ("cpu", "cuda")
    )
    for name, value in on_cpu.items():
        # A GPU rounds the factors of products in convolutions to ten bits.
        np.testing.assert_allclose(on_gpu[name], value, atol=0.5 if name == "landmarks" else 0.02, err_msg=name)


def test_hands_that_run_side_by_side_are_those_of_one_batch(two_trunks, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    from wildhands_ros.runtime.onnxruntime import OnnxRuntimeNetwork

    path, side = tmp_path / "network.onnx", np.array([RIGHT, LEFT, RIGHT])
    export_onnx(two_trunks, MEAN_POSE, path)
    batch, found = inputs(two_trunks.config, 3), []
    for threads in (1, 2):
        monkeypatch.setattr("wildhands_ros.runtime.onnxruntime.inference_threads", lambda threads=threads: threads)
        found.append(OnnxRuntimeNetwork(open_network(path), "float32")(batch, side))
    for name, value in found[0].items():
        assert value.shape == found[1][name].shape and len(value) == 3
        np.testing.assert_allclose(found[1][name], value, atol=1e-3 if name == "landmarks" else 2e-5, err_msg=name)


def test_the_decoder_in_half_precision_equals_the_graph(default, monkeypatch):
    from wildhands_ros.runtime import onnxruntime

    file = open_network(DEFAULT_NAME)
    if not can_decode(file.config):
        pytest.skip("the compiled layer does not run here")
    halves = onnxruntime.OnnxRuntimeNetwork(file, "float32")
    monkeypatch.setattr(onnxruntime, "can_decode", lambda config: False)
    graph = onnxruntime.OnnxRuntimeNetwork(file, "float32")
    for sides in ([RIGHT, LEFT, BY_LANDMARKS, BY_LANDMARKS], [LEFT]):
        batch = inputs(file.config, len(sides))
        found, expected = halves(batch, np.array(sides)), graph(batch, np.array(sides))
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            np.testing.assert_allclose(found[name], value, atol=1e-3 if name == "landmarks" else 2e-5, err_msg=name)


def test_a_layer_in_half_precision_rejects_other_sizes():
    if native is None or not native.has_half_linear():
        pytest.skip("the compiled layer does not run here")
    weights, inputs = np.ones((3, 8), np.float16), np.arange(8, dtype=np.float32)
    bias, outputs = np.array([-30, 0, 1], np.float32), np.empty(3, np.float32)
    native.half_linear(weights, bias, inputs, outputs, True)
    assert outputs.tolist() == [0, 28, 29]
    for wrong in ((weights[:, :4], inputs[:4]), (weights, inputs[:4]), (weights[:2], inputs)):
        with pytest.raises(ValueError, match="expected sizes"):
            native.half_linear(np.ascontiguousarray(wrong[0]), bias, wrong[1], outputs, True)


def test_only_a_graph_with_these_tensors_can_be_cut():
    content = DEFAULT_NETWORK.read_bytes()
    with pytest.raises(OnnxError, match="cannot be cut at nothing"):
        graph_up_to(content, {"nothing": (3,)})
    with pytest.raises(OnnxError, match="not an ONNX file"):
        graph_up_to(content[:-1000], {"vector": (1024,)})


def test_the_landmark_head_decides_an_unknown_side(default):
    batch = inputs(default.config, 4)
    found = run_network(default, MEAN_POSE, "openvino", "float32")(batch, np.full(4, BY_LANDMARKS))
    reference = expected(default, batch, None)
    assert np.array_equal(found["is_right"], reference["is_right"])
    np.testing.assert_allclose(found["hand_pose"], reference["hand_pose"], atol=2e-5)


def test_bfloat16_is_close_to_float32(default):
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ValueError, match="no bfloat16"):
            run_network(default, MEAN_POSE, "openvino", "bfloat16")
        return
    image = next(iter(open_source(str(DEMO / "clip.mp4")))).image
    camera, _ = load_calibration(DEMO / "camera_info.yaml").camera(image.shape[1], image.shape[0], rectified=False)
    keypoints = [
        camera.project(np.array(hand["joints"]))
        for hand in json.loads((DEMO / "truth.json").read_text())["frames"][0]["hands"]
    ]
    turns = np.array([hand_turn(points) for points in keypoints])
    squares = np.stack([rotated_square(points, turn) for points, turn in zip(keypoints, turns, strict=True)])
    exact, lower = (
        Predictor(load_model(DEFAULT_NAME).model, default.config.preprocessing, open_hands(), precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert (exact.device, lower.device) == ("cpu (OpenVINO, float32)", "cpu (OpenVINO, bfloat16)")
    hands = [predictor.predict(image, camera, squares, turns=turns) for predictor in (exact, lower)]
    for a, b, square in zip(*hands, squares, strict=True):
        missed = np.linalg.norm(a.landmarks.keypoints - b.landmarks.keypoints, axis=1).mean() / (square[2] - square[0])
        assert 0 < missed < 0.01 and a.side is b.side, "the keypoints of a detector are accurate to 0.03"
        np.testing.assert_allclose(a.mano.transl, b.mano.transl, atol=0.005)
        np.testing.assert_allclose(a.mano.hand_pose, b.mano.hand_pose, atol=0.05)


def test_onnx_export_equals_the_pytorch_network(default, two_trunks, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    for model in (default, two_trunks):
        path = tmp_path / "network.onnx"
        export_onnx(model, MEAN_POSE, path)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        for sides in ([LEFT], [RIGHT, LEFT, RIGHT]):
            batch = inputs(model.config, len(sides))
            values = batch.arrays() | {"side": np.array(sides), "image_index": np.zeros(len(sides), np.int64)}
            feed = {wanted.name: values[wanted.name] for wanted in session.get_inputs()}
            found = dict(zip(names, session.run(None, feed), strict=True))
            for name, value in expected(model, batch, torch.tensor(sides) == RIGHT).items():
                np.testing.assert_allclose(found[name], value, atol=1e-3 if name == "landmarks" else 5e-5, err_msg=name)


def test_quantized_network_is_found_and_is_close_to_float32(two_trunks):
    pytest.importorskip("nncf")
    from wildhands_ros.runtime.int8 import quantize

    frames = [inputs(two_trunks.config, 2, seed) for seed in range(4)]
    path = quantize(network_graphs(two_trunks), frames)
    assert path.is_file() and has_int8(two_trunks)
    running, side = run_network(two_trunks, MEAN_POSE, precision="int8"), np.array([RIGHT, LEFT])
    found, reference = running(frames[0], side), expected(two_trunks, frames[0], torch.from_numpy(side == RIGHT))
    assert running.name == "cpu (OpenVINO, int8)"
    assert 0 < np.abs(found["betas"] - reference["betas"]).max() < 0.1 * np.abs(reference["betas"]).max()


def test_compiled_networks_are_cached_per_weights_and_repaired(two_trunks, cache, monkeypatch):
    batch, side = inputs(two_trunks.config, 1), np.array([RIGHT])
    first = run_network(two_trunks, MEAN_POSE, "openvino", "float32")(batch, side)
    (file,) = cache.glob("*.blob")
    written = file.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("wildhands_ros.runtime.openvino_torch.convert", None)  # nothing is converted again
        again = run_network(two_trunks, MEAN_POSE, "openvino", "float32")(batch, side)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert file.stat().st_mtime_ns == written
    whole = file.read_bytes()
    weights = bytearray(whole)
    weights[len(whole) // 2] ^= 0x40  # loads without an error, and gives other hands
    for damaged in (whole[:1000], weights):
        file.write_bytes(damaged)
        repaired = run_network(two_trunks, MEAN_POSE, "openvino", "float32")(batch, side)
        assert np.array_equal(first["betas"], repaired["betas"]) and file.stat().st_size > 1000

    changed = WildHands(two_trunks.config).eval()
    changed.load_state_dict(two_trunks.state_dict())
    with torch.no_grad():
        changed.right_head.shape.bias += 1
    other = run_network(changed, MEAN_POSE, "openvino", "float32")(batch, side)
    assert len(list(cache.glob("*.blob"))) == 2 and np.abs(other["betas"] - first["betas"]).min() > 0.5


def test_an_unwritable_cache_does_not_prevent_inference(two_trunks, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    batch = inputs(two_trunks.config, 1)
    assert np.isfinite(
        run_network(two_trunks, MEAN_POSE, "openvino", "float32")(batch, np.array([LEFT]))["transl"]
    ).all()


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
def test_unavailable_options_are_rejected_with_a_hint(two_trunks, choices, message):
    with pytest.raises(ValueError, match=message):
        run_network(two_trunks, MEAN_POSE, **choices)


def test_a_network_uses_up_to_eight_threads():
    assert [network_threads(cpus) for cpus in (1, 2, 4, 16)] == [1, 2, 3, 8]
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        ({0, 1}, [[0], [1]]),
        ({2, 3, 6, 7, 9}, [[2, 6, 9], [3, 7]]),
        ({4}, [[4], [4]]),
        ({0, 5}, [[0, 5], [0, 5], [0, 5]]),
    ],
)
def test_processes_divide_the_cores_among_themselves(monkeypatch, available, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: available)
    assert [divided_cores(i, len(expected)) for i in range(len(expected))] == expected


def test_grasp_probabilities_are_less_sure_than_the_networks():
    raw = np.array([0, 0, 0.9, 0.06, 0.01, 0.01, 0.01, 0.01, 0], np.float32)
    calibrated = calibrated_grasps(raw)
    assert calibrated.sum() == pytest.approx(1, abs=1e-6) and calibrated.dtype == np.float32
    assert 0.7 < calibrated[2] < 0.85 and np.array_equal(np.argsort(calibrated[2:4]), np.argsort(raw[2:4]))
    np.testing.assert_allclose(calibrated_grasps(np.full(9, 1 / 9, np.float32)), 1 / 9, rtol=1e-6)
