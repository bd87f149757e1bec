"""Import of the published checkpoint: equality with the reference implementation, and rejection of invalid files."""

import collections
import io
import os
import pickle
import resource
import subprocess
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from published_checkpoint import random_hand, random_weights, save_published
from reference import reference_prediction
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.network.checkpoint import load_model
from wildhands_ros.network.config import RELEASED, GraspInput, Preprocessing
from wildhands_ros.network.import_checkpoint import import_checkpoint
from wildhands_ros.network.network_file import CheckpointError
from wildhands_ros.network.released import released_shapes
from wildhands_ros.runtime.predictor import Predictor
from wildhands_ros.types import Side

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A complete file with random weights, and its state dict."""
    state = random_weights()
    # torch.save stores a view together with its larger storage.
    weight, bias = "model.feature_conv.7.weight", "model.feature_conv.7.bias"
    state[weight] = state[weight].t().contiguous().t()
    state[bias] = torch.cat([torch.ones(5), state[bias]])[5:]
    path = tmp_path_factory.mktemp("published") / "wildhands.ckpt"
    extra = {
        "model.head_o.hmr_layer.refine.0.weight": torch.zeros(4, 4),
        "model.arti_head.rot.bias": torch.zeros(3),
    }
    save_published(path, state | extra)
    yield path, state
    path.unlink()


@pytest.fixture
def data_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def hollow_weights(config=RELEASED):
    """Returns tensors of the right keys and shapes, each a single repeated number, so that the file stays small."""
    state = {
        key: torch.tensor(1 if "num_batches" in key else 0.0).expand(shape)
        for key, shape in released_shapes(config).items()
    }
    for prefix in ("mano_r.", "mano_l.", "model.mano_r.mano.", "model.mano_l.mano."):
        state |= {prefix + name: tensor for name, tensor in random_hand(1).items()}
    return state


def test_imported_model_equals_the_reference_implementation(published, data_home):
    path, state = published
    report = import_checkpoint(path)
    assert report.output == data_home / "wildhands/released.safetensors"
    assert report.num_parameters == 69_182_816 and report.grasp_input is GraspInput.NONE and not report.is_published
    assert len(report.dropped) == 2 and not report.left_over
    assert (
        "CC BY-NC 4.0" in str(report)
        and "not the published file" in str(report)
        and "--checkpoint released" in str(report)
    )
    assert os.listdir(report.output.parent) == ["released.safetensors"]

    model, assets, preprocessing = load_model("released")
    assert model.config == RELEASED and preprocessing is Preprocessing.RELEASED
    np.testing.assert_array_equal(assets[Side.LEFT].shapedirs, state["mano_l.shapedirs"])
    image = cv2.resize(np.random.default_rng(3).integers(0, 256, (45, 80, 3), dtype=np.uint8), (1280, 720))
    camera = Camera.pinhole(912.16, 912.42, 649.5, 373.88, 1280, 720)
    boxes = np.array([[800, 300, 1000, 520], [150.5, 90.2, 420.7, 300.1], [900, 500, 1250, 760]])
    sides = [Side.RIGHT, Side.LEFT, Side.RIGHT]
    predictions = Predictor(model, preprocessing, assets, device="cpu", precision="float32").predict(
        image, camera, boxes, sides
    )
    for prediction, box, side in zip(predictions, boxes, sides, strict=True):
        with torch.inference_mode():
            rotations, pose, betas, translation = reference_prediction(state, image, camera.k, box, side.value[0])
        mano = prediction.mano
        assert np.abs(rotations - np.eye(3)).max() > 0.3, "the random weights should move the hand"
        np.testing.assert_allclose(mano.transl, translation, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(mano.betas, betas, atol=1e-3)
        applied = np.concatenate([mano.global_orient, mano.hand_pose]).reshape(16, 3)
        expected = Rotation.from_rotvec(pose.reshape(16, 3))
        np.testing.assert_allclose(Rotation.from_rotvec(applied).as_matrix(), expected.as_matrix(), atol=2e-3)


def test_grasp_head_is_imported_if_present(tmp_path, data_home):
    for grasp_input in (GraspInput.HAND, GraspInput.HAND_AND_IMAGE):
        path = save_published(tmp_path / "grasp.ckpt", hollow_weights(replace(RELEASED, grasp_input=grasp_input)))
        report = import_checkpoint(path)
        assert report.grasp_input is grasp_input and "a grasp head" in str(report)
        assert load_model("released").model.config.grasp_input is grasp_input


def test_unused_and_conflicting_tensors_are_reported(tmp_path, data_home):
    state = hollow_weights() | {"model.depth_head.bias": torch.zeros(2)}
    state["mano_r.v_template"] = state["mano_r.v_template"] + 1
    report = import_checkpoint(save_published(tmp_path / "more.ckpt", state), tmp_path / "mine.safetensors")
    assert report.left_over == ("model.depth_head.bias",)
    assert "model.depth_head.bias" in str(report) and "mano_r" in str(report) and "mine.safetensors" in str(report)
    assert not data_home.exists() and load_model(tmp_path / "mine.safetensors").assets


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model.feature_conv.0.weight": None, "mano_l.parents": None},
            "2 of 729 tensors are missing: mano_l.parents, model.feature",
        ),
        ({"model.feature_conv.7.bias": torch.zeros(7)}, r"model\.feature_conv\.7\.bias is \(7,\), not \(2048,\)"),
        (
            {"model.feature_conv.7.bias": torch.full((2048,), torch.nan)},
            r"NaN or infinite values in model\.feature_conv\.7\.bias",
        ),
        ({"model.feature_conv.7.bias": "a string"}, r"not tensors: model\.feature_conv\.7\.bias"),
        ({"model.mano_l.mano.parents": torch.arange(16)}, "left hand model is damaged"),
    ],
)
def test_invalid_tensors_are_named_and_nothing_is_written(change, message, tmp_path, data_home):
    state = {key: tensor for key, tensor in (hollow_weights() | change).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(save_published(tmp_path / "bad.ckpt", state))
    assert not any(data_home.rglob("*.*"))


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def marker_command(tmp_path):
    return f"touch {tmp_path / 'executed'}"


@pytest.mark.parametrize("place", ["state_dict", "hyper_parameters", "optimizer_states"])
@pytest.mark.parametrize(
    "attack",
    [
        lambda command: Call(os.system, command),
        lambda command: Call(eval, f"__import__('os').system({command!r})"),
        lambda command: [{"deep": (Call(exec, f"import os; os.system({command!r})"),)}],
        lambda command: Call(subprocess.Popen, command, -1, None, None, None, None, None, True, True),
        lambda command: Call(getattr, collections.OrderedDict, "fromkeys"),
        lambda command: Call(torch.storage._load_from_bytes, pickle.dumps(Call(os.system, command))),
        lambda command: Call(
            torch._utils._rebuild_wrapper_subclass, torch.Tensor, torch.float32, (1,), (1,), 0, None, "cpu", False
        ),
        lambda command: Call(torch.load, "other.ckpt"),
        lambda command: collections.defaultdict(list, {"x": Call(os.system, command)}),
    ],
)
def test_malicious_pickles_are_rejected_without_executing_them(attack, place, tmp_path, data_home):
    payload = attack(marker_command(tmp_path))
    path = tmp_path / "evil.ckpt"
    with io.BytesIO() as pickled, zipfile.ZipFile(path, "w") as archive:
        pickle.Pickler(pickled, protocol=2).dump({"state_dict": {}} | {place: {"w": payload}})
        archive.writestr("archive/data.pkl", pickled.getvalue())
    with pytest.raises(CheckpointError, match="refused: the file asks to call .*Nothing in it was executed"):
        import_checkpoint(path)
    assert not (tmp_path / "executed").exists() and not data_home.joinpath("wildhands/released.safetensors").exists()


def archive_with(tmp_path, pickled, **members):
    path = tmp_path / "odd.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, data in members.items():
            archive.writestr(f"archive/{name}", data)
    return path


def test_tensors_that_exceed_their_storage_are_rejected(tmp_path, data_home):
    state = hollow_weights()
    path = save_published(tmp_path / "whole.ckpt", state)
    with zipfile.ZipFile(path) as archive:
        folder = archive.namelist()[0].split("/")[0]
        members = {name.removeprefix(folder + "/"): archive.read(name) for name in archive.namelist()}
    largest = max((name for name in members if name.startswith("data/")), key=lambda name: len(members[name]))
    shortened = members | {largest: members[largest][:-4]}
    with pytest.raises(CheckpointError, match="is damaged: storage"):
        import_checkpoint(archive_with(tmp_path, pickled=shortened.pop("data.pkl"), **shortened))
    del members[largest]
    with pytest.raises(CheckpointError, match=f"is damaged: {'archive/' + largest} in it cannot be read"):
        import_checkpoint(archive_with(tmp_path, pickled=members.pop("data.pkl"), **members))
    # Abuse of as_strided: a tensor that claims more elements than its storage has.
    evil = {"state_dict": state | {"model.feature_conv.7.bias": torch.zeros(1).expand(2048)}}
    torch.save(evil, tmp_path / "stride.ckpt")
    with zipfile.ZipFile(tmp_path / "stride.ckpt") as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    pickled = members.pop("data.pkl")
    # Changes the stride of the (2048,) tensor from (0,) to (1,): M\x00\x08 is 2048, K\x00 is 0, \x85 makes a
    # one-element tuple.
    position = pickled.rindex(b"M\x00\x08\x85")
    stride = pickled.index(b"K\x00\x85", position)
    pickled = pickled[:stride] + b"K\x01\x85" + pickled[stride + 3 :]
    with pytest.raises(CheckpointError, match="reaches outside of its storage"):
        import_checkpoint(archive_with(tmp_path, pickled, **members))


def test_other_and_damaged_files_are_rejected_with_a_reason(published, tmp_path, data_home):
    path, _ = published
    bad = tmp_path / "bad.ckpt"
    legacy = io.BytesIO()
    torch.save({"state_dict": {}}, legacy, _use_new_zipfile_serialization=False)
    with path.open("rb") as file:
        beginning = file.read(1_000_000)
    cases = {
        b"": "not a PyTorch checkpoint",
        b"\x80\x02}q\x00.": "not a PyTorch checkpoint",
        b"<!DOCTYPE html><html>Virus scan warning</html>": "web page",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n": "git lfs pull",
        legacy.getvalue(): "of PyTorch before 1.6",
        beginning: "incomplete",
    }
    for content, message in cases.items():
        bad.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(bad)
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="no data.pkl"):
        import_checkpoint(bad)
    for pickled in (b"", b"\x80\x02}q\x00", b"\x80\x02cos\nsystem\n\x00."):
        with pytest.raises(CheckpointError, match=r"damaged: its data\.pkl"):
            import_checkpoint(archive_with(tmp_path, pickled))
    with pytest.raises(CheckpointError, match="no state_dict"):
        import_checkpoint(archive_with(tmp_path, pickle.dumps({"model": 1}, protocol=2)))
    with pytest.raises(CheckpointError, match="another byte order"):
        import_checkpoint(archive_with(tmp_path, pickle.dumps({}, protocol=2), byteorder="big"))
    with pytest.raises(CheckpointError, match="there is no file"):
        import_checkpoint(tmp_path / "absent.ckpt")


def test_flipped_bits_are_detected(tmp_path, data_home):
    path = save_published(tmp_path / "flipped.ckpt", hollow_weights())
    content = bytearray(path.read_bytes())
    template = random_hand(1)["v_template"].numpy().tobytes()
    for _ in range(4):  # the four copies
        position = content.index(template)
        content[position + 100] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged.*CRC"):
        import_checkpoint(path)


def test_unwritable_outputs_are_rejected_and_leave_no_files(tmp_path, data_home):
    path = save_published(tmp_path / "wildhands.ckpt", hollow_weights())
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to"):
        import_checkpoint(path, tmp_path / "file" / "out.safetensors")
    published = tmp_path / "published.ckpt"
    published.write_bytes(b"855 MB")
    with pytest.raises(CheckpointError, match="give another output"):
        import_checkpoint(published, tmp_path / "." / "published.ckpt")
    assert published.read_bytes() == b"855 MB"
    with pytest.raises(CheckpointError, match="is a folder"):
        import_checkpoint(path, tmp_path)
    # With a limit on the file size, writing fails halfway, as on a full disk.
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limit[1]))
    try:
        with pytest.raises(OSError, match="cannot write .*released.safetensors"):
            import_checkpoint(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not any((data_home / "wildhands").iterdir())


def test_a_compressed_archive_is_rejected(tmp_path, data_home):
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="is refused: its member archive/data.pkl is compressed"):
        import_checkpoint(path)
