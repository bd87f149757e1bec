"""The network's layout and options, this package's checkpoints, and the predictor."""

import csv
import dataclasses
import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand, open_hands
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.io import paths
from wildhands_ros.network.checkpoint import load_model, save_checkpoint
from wildhands_ros.network.config import RELEASED, CameraDecoding, GraspInput, Preprocessing, WildHandsConfig
from wildhands_ros.network.kpe import Encoding
from wildhands_ros.network.model import WildHands, decode_pose, decode_translation
from wildhands_ros.network.network_file import CheckpointError
from wildhands_ros.network.preprocessing import preprocess
from wildhands_ros.network.released import from_released_key, released_shapes, to_released_key
from wildhands_ros.runtime.predictor import Predictor
from wildhands_ros.types import Side

SHARED = Path(__file__).parents[2] / "shared"
SMALL = WildHandsConfig(trunk="resnet18", grasp_input=GraspInput.HAND_AND_IMAGE)
CAMERA = Camera.pinhole(500, 500, 319.5, 239.5, 640, 480)
BOXES = np.array([[100, 120, 220, 260], [300, 200, 460, 330], [420, 40, 500, 150]], dtype=float)
IMAGE = cv2.resize(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8), (640, 480))


@pytest.fixture(scope="module")
def small_model():
    torch.manual_seed(0)
    return WildHands(SMALL).eval()


@pytest.fixture(scope="module")
def layer():
    return HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))


def as_tensors(inputs):
    """Inputs as tensors, as ``WildHands.forward`` takes them."""
    return SimpleNamespace(
        **{"images": None} | {name: torch.from_numpy(array) for name, array in inputs.arrays().items()}
    )


def run(model, boxes, right, image=IMAGE):
    x = as_tensors(preprocess(image, CAMERA, boxes, model.config, model.config.preprocessing))
    with torch.inference_mode():
        return model(x.crops, x.kpe, torch.tensor(right), x.focal, x.anchor, x.images)


def test_released_layout_has_729_keys():
    shapes = released_shapes()
    assert len(shapes) == 729
    listing = "\n".join(f"{key}\t{shapes[key]}" for key in sorted(shapes))
    assert (
        hashlib.sha256(listing.encode()).hexdigest()
        == "eaa540bd6d6253b51705b5ad4ebbc84e340d00bf177c8192b2f1b77879053e55"
    )


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_released_layout_equals_the_key_listing():
    with (SHARED / "spec/state_dict_keys.tsv").open() as file:
        listed = {
            row[0]: tuple(json.loads(f"[{row[1].strip('(),')}]"))
            for row in csv.reader(file, delimiter="\t")
            if row[0][0] != "#"
        }
    assert released_shapes(dataclasses.replace(RELEASED, grasp_input=GraspInput.HAND_AND_IMAGE)) == listed


def test_key_map_is_one_to_one():
    for key in released_shapes():
        if not key.startswith("mano_"):
            assert to_released_key(from_released_key(key)) == key
    with pytest.raises(KeyError):
        from_released_key("model.head_o.weight")


def test_released_model_has_69_million_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in WildHands(RELEASED).parameters()) == 69_182_816
        head = WildHands(dataclasses.replace(RELEASED, grasp_input=GraspInput.HAND)).grasp_head
    assert sum(p.numel() for p in head.parameters()) == 750_345


@pytest.mark.parametrize("encoding", Encoding)
def test_every_encoding_except_none_affects_the_output(encoding):
    torch.manual_seed(0)
    config = WildHandsConfig(trunk="resnet18", encoding=encoding, full_image_trunk=False)
    model = WildHands(config).eval()
    output = run(model, BOXES[:1], [True])
    assert (
        output.rotations.shape == (1, 16, 3, 3) and output.translation.isfinite().all() and output.grasp_logits is None
    )
    x = as_tensors(preprocess(IMAGE, CAMERA, BOXES[:1], config, config.preprocessing))
    with torch.inference_mode():
        other = model(x.crops, x.kpe + 0.3, torch.tensor([True]), x.focal, x.anchor, x.images)
    assert torch.equal(output.camera, other.camera) is (encoding is Encoding.NONE)


def test_hands_in_a_batch_are_independent(small_model):
    right = [True, False, True]
    together = run(small_model, BOXES, right)
    assert together.rotations.shape == (3, 16, 3, 3) and together.grasp_logits.shape == (3, 9)
    for i in range(3):
        alone = run(small_model, BOXES[i : i + 1], right[i : i + 1])
        assert alone.landmarks is None
        for field in dataclasses.fields(alone)[:-1]:
            a, b = getattr(alone, field.name)[0], getattr(together, field.name)[i]
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(run(small_model, BOXES[:1], [False]).rotations, together.rotations[:1])


def test_crops_use_the_image_that_image_index_names(small_model):
    a, b = (
        as_tensors(preprocess(image, CAMERA, BOXES[:1], SMALL, SMALL.preprocessing))
        for image in (IMAGE, IMAGE[::-1].copy())
    )
    both = [
        torch.cat(pair)
        for pair in ((b.crops, a.crops), (b.kpe, a.kpe), (b.focal, a.focal), (b.anchor, a.anchor), (a.images, b.images))
    ]
    right = torch.tensor([True, True])
    with torch.inference_mode():
        output = small_model(*both[:2], right, *both[2:4], both[4], torch.tensor([1, 0]))
        with pytest.raises(ValueError, match="image_index"):
            small_model(*both[:2], right, *both[2:4], both[4])
        with pytest.raises(ValueError, match="full_image_trunk"):
            small_model(*both[:2], right, *both[2:4])
    torch.testing.assert_close(output.camera[1], run(small_model, BOXES[:1], [True]).camera[0], atol=1e-4, rtol=1e-4)


def test_translation_is_decoded_with_focal_length_and_anchor():
    camera = torch.tensor([[2.0, 0.1, -0.2], [0.01, 0.0, 0.0]])
    focal, anchor = torch.tensor([160.0, 116.7]), torch.tensor([[0.3, -0.1], [0.0, 0.0]])
    z = 2 * 160 / (224 * 2)
    expected = [(0.3 * z + 0.1, -0.1 * z - 0.2, z), (0, 0, 2 * 116.7 / 22.4)]
    np.testing.assert_allclose(decode_translation(camera, focal, anchor), expected, atol=1e-5)


def test_mean_pose_is_added_to_the_finger_pose_as_axis_angles():
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).expand(1, 16, 3, 3)
    mean = torch.arange(45.0)[None] / 10
    orient, pose = decode_pose(quarter, mean)
    np.testing.assert_allclose(orient, [[0, 0, np.pi / 2]], atol=1e-6)
    np.testing.assert_allclose(pose.reshape(15, 3), mean.reshape(15, 3) + torch.tensor([0, 0, np.pi / 2]), atol=1e-6)


def test_invalid_configurations_are_rejected_with_a_reason():
    with pytest.raises(ValueError, match="resnet18"):
        WildHandsConfig(trunk="vgg")
    with pytest.raises(ValueError, match="full_image_trunk"):
        WildHandsConfig(full_image_trunk=False, grasp_input=GraspInput.HAND_AND_IMAGE)
    assert WildHandsConfig.from_json(SMALL.to_json()) == SMALL
    values = json.loads(SMALL.to_json())
    for change, message in (
        ({"depth": 3}, "depth"),
        ({"encoding": "dct"}, "dct"),
        ({"n_freq": "4"}, "n_freq"),
        ({"n_freq": 0}, "n_freq"),
    ):
        with pytest.raises(ValueError, match=message):
            WildHandsConfig.from_json(json.dumps(values | change))
    del values["trunk"]
    with pytest.raises(ValueError, match="trunk"):
        WildHandsConfig.from_json(json.dumps(values))


def test_checkpoint_round_trip(small_model, tmp_path):
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, small_model)
    model, assets, preprocessing = load_model(path)
    assert (
        model.config == SMALL
        and assets is None
        and preprocessing is Preprocessing.FULL_RESOLUTION
        and not model.training
    )
    assert torch.equal(
        run(model, BOXES, [True, False, False]).rotations, run(small_model, BOXES, [True, False, False]).rotations
    )
    assert os.listdir(tmp_path) == ["small.safetensors"]


def test_damaged_checkpoints_are_rejected_with_a_reason(small_model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small_model)
    whole, intact = path.read_bytes(), load_file(path)
    metadata = {"format": "wildhands_ros checkpoint 1", "config": SMALL.to_json()}
    key = "network.right_head.pose.bias"

    def check(message, metadata=metadata, **changes):
        tensors = {name: tensor for name, tensor in (intact | changes).items() if tensor is not None}
        save_file(tensors, tmp_path / "bad.safetensors", metadata)
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "bad.safetensors")

    check(r"missing: right_head\.pose\.bias", **{key: None})
    check(r"right_head\.pose\.bias is \(7,\), not \(96,\)", **{key: torch.zeros(7)})
    check(r"NaN.*right_head\.pose\.bias", **{key: torch.full((96,), float("nan"))})
    check(r"no place for tail\.bias", **{"network.tail.bias": torch.zeros(7)})
    check("one side only", **{"mano.left.parents": torch.zeros(16)})
    check("unexpected tensor optimizer", **{"optimizer.step": torch.zeros(1)})
    check("not a checkpoint of this version", metadata=None)
    check("dct", metadata=metadata | {"config": SMALL.to_json().replace("center+corner_latent", "dct")})
    for content, message in (
        (whole[: len(whole) // 2], "damaged or not a safetensors file"),
        (b"", "damaged or not a safetensors file"),
        (b"PK\x03\x04" + whole, "import-checkpoint"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            load_model(path)


def test_missing_checkpoint_error_names_the_import_command(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert paths.released_checkpoint() == tmp_path / "wildhands/released.safetensors"
    with pytest.raises(CheckpointError, match="wildhands import-checkpoint wildhands.ckpt"):
        load_model("released")
    with pytest.raises(CheckpointError, match="'realeased'"):
        load_model("realeased")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert paths.data_folder() == Path.home() / ".local/share/wildhands"


def test_predictor_returns_one_prediction_per_box(small_model):
    predictor = Predictor(small_model, SMALL.preprocessing, open_hands(), precision="float32")
    boxes = np.concatenate([BOXES, [[700, 100, 800, 200]]])
    predictions = predictor.predict(IMAGE, CAMERA, boxes, [Side.RIGHT, Side.LEFT, Side.LEFT, Side.RIGHT])
    assert predictions[3] is None, "the box lies outside of the image"
    output = run(small_model, BOXES, [True, False, False])
    for i, prediction in enumerate(predictions[:3]):
        np.testing.assert_allclose(prediction.mano.transl, output.translation[i], atol=1e-4)
        np.testing.assert_allclose(prediction.mano.betas, output.betas[i], atol=1e-4)
        assert abs(prediction.grasp_probabilities.sum() - 1) < 1e-5
    assert predictor.predict(IMAGE, CAMERA, np.zeros((0, 4)), []) == []
    with pytest.raises(ValueError, match="sides"):
        predictor.predict(IMAGE, CAMERA, BOXES, [Side.LEFT])


def test_released_preprocessing_rectifies_distorted_images(small_model):
    """A scene gives nearly the same prediction through a distorting lens as through a pinhole camera."""
    lens = dataclasses.replace(CAMERA, distortion_model="plumb_bob", d=np.array([-0.2, 0.03, 0, 0, 0.0]))
    grid = np.stack(np.meshgrid(np.arange(640), np.arange(480)), axis=-1)
    source = CAMERA.project(lens.rays(grid)).astype(np.float32)
    distorted = cv2.remap(IMAGE, source, None, cv2.INTER_LINEAR)
    center = lens.project(CAMERA.rays(BOXES[:1].reshape(2, 2)))
    model = WildHands(dataclasses.replace(SMALL, camera=CameraDecoding.FRAME)).eval()
    model.load_state_dict(small_model.state_dict())
    predictor = Predictor(model, Preprocessing.RELEASED, open_hands())
    straight = predictor.predict(IMAGE, CAMERA, BOXES[:1], [Side.RIGHT])[0].mano
    bent = predictor.predict(distorted, lens, center.reshape(1, 4), [Side.RIGHT])[0].mano
    as_pinhole = predictor.predict(distorted, CAMERA, center.reshape(1, 4), [Side.RIGHT])[0].mano
    error = lambda mano: np.abs(mano.hand_pose - straight.hand_pose).max()  # noqa: E731
    assert error(bent) < 0.3 * error(as_pinhole)


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared")
def test_released_configuration_runs_on_a_photograph(layer):
    torch.manual_seed(0)
    image = cv2.cvtColor(cv2.imread(str(SHARED / "real_hands/photo_1.jpg")), cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    predictor = Predictor(WildHands(RELEASED), RELEASED.preprocessing, open_hands())
    boxes = np.array([[0.2, 0.2, 0.5, 0.6], [0.5, 0.3, 0.8, 0.9]]) * (width, height, width, height)
    predictions = predictor.predict(image, Camera.guess(width, height), boxes, [Side.RIGHT, Side.LEFT])
    stack = lambda name: torch.from_numpy(np.stack([getattr(p.mano, name) for p in predictions]))  # noqa: E731
    values = [stack(name) for name in ("global_orient", "hand_pose", "betas", "transl")]
    hands = layer(*values, is_right=torch.tensor([True, False]))
    assert hands.joints.shape == (2, 21, 3) and hands.joints.isfinite().all() and hands.vertices.isfinite().all()
    assert predictions[0].grasp_probabilities is None
