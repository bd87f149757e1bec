"""MediaPipe's landmark network in PyTorch: equal to the model file in the wheel, and as a trunk of WildHands."""

import copy
import dataclasses
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from wildhands_ros.datasets.coco_hands import read_coco_hands
from wildhands_ros.detection.landmarks import hand_turn
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.network.checkpoint import load_model, save_checkpoint
from wildhands_ros.network.config import MEDIAPIPE_HAND, RELEASED, Fusion, Preprocessing, WildHandsConfig
from wildhands_ros.network.heads import FeatureDropout
from wildhands_ros.network.kpe import Encoding
from wildhands_ros.network.landmark_net import LandmarkNet
from wildhands_ros.network.mediapipe_weights import landmark_model_path
from wildhands_ros.network.model import WildHands, ray_rotation
from wildhands_ros.network.openvino_core import openvino_core
from wildhands_ros.network.preprocessing import preprocess
from wildhands_ros.training.initialisation import initialize_heads

REAL_HANDS = Path(__file__).parents[2] / "shared/real_hands"
SETS = ("onehand10k", "rhd")


@pytest.fixture(scope="module")
def net():
    return LandmarkNet.from_mediapipe()


@pytest.fixture(scope="module")
def model(net):
    torch.manual_seed(0)
    model = WildHands(MEDIAPIPE_HAND).eval()
    model.start_from(net)
    return model


@pytest.fixture(scope="module")
def reference():
    """MediaPipe's model: maps a crop, (224, 224, 3) RGB in 0..1, to landmarks (relative to the crop's edge), presence,
    handedness, world landmarks and feature map."""
    network = openvino_core().read_model(landmark_model_path())
    node = network.output("Identity").get_node()
    while node.get_type_name() != "ReduceMean":
        node = node.input_value(0).get_node()
    network.add_outputs([node.input_value(0)])
    compiled = openvino_core().compile_model(
        network, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    names = ("Identity", "Identity_1", "Identity_2", "Identity_3")
    return lambda crop: [compiled(crop[None])[output] for output in (*names, compiled.outputs[-1])]


def random_crops():
    """Noise of several sizes, a gradient, black, white."""
    rng = np.random.default_rng(0)
    noise = [
        np.kron(rng.random((n, n, 3), dtype=np.float32), np.ones((224 // n, 224 // n, 1), np.float32))
        for n in (224, 28, 7)
    ]
    ramp = np.linspace(0, 1, 224, dtype=np.float32)
    gradient = np.stack(np.broadcast_arrays(ramp[:, None], ramp, 1 - ramp), axis=-1)
    return np.stack([*noise, gradient, np.zeros_like(gradient), np.ones_like(gradient)])


def real_hands():
    return [photo for name in SETS for photo in read_coco_hands(REAL_HANDS / name)]


def as_tensors(inputs):
    """Inputs as tensors, as ``WildHands.forward`` takes them."""
    return SimpleNamespace(
        **{"images": None} | {name: torch.from_numpy(array) for name, array in inputs.arrays().items()}
    )


def real_input(photo):
    """Returns the network's input of an upright crop, and the (2, 3) affine map from the crop to the image."""
    (hand,) = photo.hands
    keypoints = hand.keypoints[hand.known_keypoints]
    turn = hand_turn(hand.keypoints) if hand.known_keypoints[[0, 9]].all() else 0.0
    to_image = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    along = keypoints @ to_image
    centre, side = to_image @ (along.min(0) + along.max(0)) / 2, (along.max(0) - along.min(0)).max()
    box = np.concatenate([centre - side / 2, centre + side / 2])
    image = photo.load_image()
    turns = np.array([turn])
    inputs = as_tensors(preprocess(image, photo.camera, box[None], MEDIAPIPE_HAND, MEDIAPIPE_HAND.preprocessing, turns))
    linear = to_image * MEDIAPIPE_HAND.crop_scale * side / 224
    return inputs, np.column_stack([linear, centre - linear @ np.full(2, 111.5)])


@torch.inference_mode()
def check_equal(net, reference, crops):
    output = net(torch.from_numpy(crops).permute(0, 3, 1, 2))
    for i, crop in enumerate(crops):
        landmarks, presence, is_right, world, features = reference(crop)
        landmarks = landmarks.reshape(21, 3)
        for ours, theirs in (
            (output.landmarks, landmarks[:, :2] - 0.5),
            (output.landmark_z, landmarks[:, 2]),
            (output.presence, presence.item()),
            (output.is_right, is_right.item()),
            (output.world, world.reshape(21, 3)),
            (output.features, features[0]),
        ):
            np.testing.assert_allclose(ours[i], theirs, atol=1e-3, rtol=0)
        np.testing.assert_allclose(output.world[i], world.reshape(21, 3), atol=1e-6)
    return output


def test_equals_mediapipes_model_on_random_images(net, reference):
    output = check_equal(net, reference, random_crops())
    assert output.features.shape == (6, 1152, 7, 7) and output.features.std() > 0.1
    assert (output.presence < 0.1).all()


@pytest.mark.skipif(not REAL_HANDS.exists(), reason="the photographs are not there")
def test_equals_mediapipes_model_on_real_hands_and_finds_them(net, reference):
    errors = []
    for photo in real_hands():
        (hand,) = photo.hands
        inputs, to_image = real_input(photo)
        output = check_equal(net, reference, inputs.crops.permute(0, 2, 3, 1).contiguous().numpy())
        assert output.presence > 0.6
        found = output.landmarks[0].numpy() @ to_image[:, :2].T + to_image[:, 2]
        errors.append(np.nanmean(np.linalg.norm(found - hand.keypoints, axis=-1)) / (hand.box[2:] - hand.box[:2]).max())
        if hand.side is not None:
            assert (output.is_right.item() > 0.5) is (hand.side.value == "right")
    assert np.median(errors) < 0.06 and max(errors) < 0.12


def test_crops_of_another_size_are_rejected(net):
    with pytest.raises(ValueError, match=r"\(1, 3, 256, 256\)"):
        net(torch.zeros(1, 3, 256, 256))


def test_saved_weights_load_without_the_mediapipe_wheel(net, tmp_path, monkeypatch):
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install mediapipe==0.10.21"):
        LandmarkNet.from_mediapipe()
    fresh = LandmarkNet()
    fresh.load_state_dict(load_file(tmp_path / "net.safetensors"))
    crops = torch.from_numpy(random_crops()[:1]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert torch.equal(fresh(crops).landmarks, net(crops).landmarks)


def synthetic_input(config=MEDIAPIPE_HAND, **changes):
    """Returns the network's input of two boxes, one of them rotated, on a random square image."""
    image = np.kron(
        np.random.default_rng(2).integers(0, 256, (40, 40, 3), dtype=np.uint8), np.ones((12, 12, 1), np.uint8)
    )
    camera = Camera.pinhole(400, 400, 239.5, 239.5, 480, 480)
    boxes = np.array([[100, 120, 220, 260], [300, 200, 440, 330]], dtype=float)
    arguments = {"image_rgb": image, "camera": camera, "boxes": boxes, "turns": np.array([0.0, 0.7])} | changes
    return as_tensors(preprocess(config=config, preprocessing=config.preprocessing, **arguments))


@torch.inference_mode()
def run(model, inputs, is_right=None):
    return model(inputs.crops, inputs.kpe, is_right, inputs.focal, inputs.anchor, inputs.images, turn=inputs.turn)


def test_one_pass_gives_landmarks_side_hand_camera_and_grasp(model, net):
    inputs = synthetic_input()
    output = run(model, inputs)
    assert inputs.crops.min() >= 0 and inputs.crops.max() <= 1, "this trunk takes colours in 0..1"
    with torch.inference_mode():
        alone = net(inputs.crops)
    for field in dataclasses.fields(alone):
        assert torch.equal(getattr(output.landmarks, field.name), getattr(alone, field.name))
    assert (
        output.rotations.shape == (2, 16, 3, 3)
        and output.grasp_logits.shape == (2, 9)
        and output.translation.isfinite().all()
    )
    # Without `is_right`, the side of the landmark head is decoded.
    said = alone.is_right > 0.5
    assert torch.equal(output.betas, run(model, inputs, said).betas)
    assert not torch.equal(output.betas, run(model, inputs, ~said).betas)


@pytest.mark.parametrize("encoding", [Encoding.DENSE, Encoding.CENTER_CORNER])
def test_encodings_at_the_input_leave_the_initial_landmarks_unchanged(net, encoding):
    config = dataclasses.replace(MEDIAPIPE_HAND, encoding=encoding)
    model = WildHands(config).eval()
    model.start_from(net)
    inputs = synthetic_input(config)
    with torch.inference_mode():
        expected = net(inputs.crops).landmarks
    torch.testing.assert_close(run(model, inputs).landmarks.landmarks, expected, atol=1e-3, rtol=0)
    model.hand_trunk(torch.rand(1, model.hand_trunk.stem[0].in_channels, 224, 224)).sum().backward()
    assert (model.hand_trunk.stem[0].weight.grad[:, 3:] != 0).any(), "the encoding's channels learn"


def test_other_trunks_have_no_landmarks(net):
    config = WildHandsConfig(trunk="resnet18", full_image_trunk=False)
    model = WildHands(config).eval()
    with pytest.raises(ValueError, match="resnet18"):
        model.start_from(net)
    with pytest.raises(ValueError, match="is_right"):
        run(model, synthetic_input(config))
    assert run(model, synthetic_input(config), torch.tensor([True, False])).landmarks is None


def test_rotating_the_image_rotates_the_hand(net):
    """The crop stays the same, and the hand rotates with the image about the optical axis."""
    torch.manual_seed(1)
    model = WildHands(dataclasses.replace(MEDIAPIPE_HAND, encoding=Encoding.NONE)).eval()
    model.start_from(net)
    image = cv2.resize(
        np.random.default_rng(3).integers(0, 256, (24, 24, 3), dtype=np.uint8),
        (480, 480),
        interpolation=cv2.INTER_CUBIC,
    )
    straight = synthetic_input(
        model.config, image_rgb=image, boxes=np.array([[100.0, 120, 220, 260]]), turns=np.array([0.3])
    )
    # A quarter turn clockwise moves the point (x, y) to (479 - y, x).
    box = np.array([[479.0 - 260, 100, 479 - 120, 220]])
    turned = synthetic_input(
        model.config, image_rgb=np.rot90(image, -1).copy(), boxes=box, turns=np.array([0.3 + np.pi / 2])
    )
    torch.testing.assert_close(turned.crops, straight.crops, atol=0.02, rtol=0)  # rounding of the interpolation
    before, after = run(model, straight), run(model, SimpleNamespace(**{**vars(turned), "crops": straight.crops}))
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    torch.testing.assert_close(after.rotations[:, 0], quarter @ before.rotations[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(after.rotations[:, 1:], before.rotations[:, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(after.translation, before.translation @ quarter.T, atol=1e-5, rtol=1e-5)


def test_checkpoint_round_trip(model, tmp_path):
    save_checkpoint(tmp_path / "hand.safetensors", model)
    loaded = load_model(tmp_path / "hand.safetensors").model
    inputs = synthetic_input()
    assert loaded.config == MEDIAPIPE_HAND
    a, b = run(loaded, inputs), run(model, inputs)
    assert torch.equal(a.translation, b.translation) and torch.equal(a.landmarks.world, b.landmarks.world)


def test_configuration_accepts_older_checkpoints_and_rejects_invalid_values():
    old = {
        name: value for name, value in json.loads(RELEASED.to_json()).items() if name not in ("crop_scale", "upright")
    }
    assert WildHandsConfig.from_json(json.dumps(old)) == RELEASED, "checkpoints from before these fields"
    assert WildHandsConfig.from_json(MEDIAPIPE_HAND.to_json().replace("1.5", "2")).crop_scale == 2.0
    for change in ({"crop_scale": 0.0}, {"crop_scale": float("nan")}, {"preprocessing": Preprocessing.RELEASED}):
        with pytest.raises(ValueError, match="crop_scale"):
            dataclasses.replace(MEDIAPIPE_HAND, **change)
    with pytest.raises(ValueError, match="turn"):
        synthetic_input(turns=None)


def test_fine_tuning_changes_unfrozen_parameters_only(net):
    torch.manual_seed(0)
    model = WildHands(MEDIAPIPE_HAND).eval()  # no dropout: the loss depends on the weights only
    model.start_from(net)
    frozen, tuned = model.hand_trunk.blocks[:10], model.hand_trunk.blocks[10:]
    for part in (model.hand_trunk.stem, frozen):
        part.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    inputs = synthetic_input()
    target = run(model, inputs).landmarks.landmarks + torch.tensor([6.0, -4.0])
    # Landmarks are hundreds of pixels from zero: the trunk needs a lower learning rate than the new parts.
    old = [p for p in (*model.hand_trunk.parameters(), *model.landmark_head.parameters()) if p.requires_grad]
    new = [p for name, p in model.named_parameters() if not name.startswith(("hand_trunk", "landmark_head"))]
    optimizer = torch.optim.Adam([{"params": new, "lr": 1e-3}, {"params": old, "lr": 1e-5}])
    losses = []
    for _ in range(6):
        output = model(
            inputs.crops, inputs.kpe, torch.tensor([True, False]), inputs.focal, inputs.anchor, turn=inputs.turn
        )
        hand = (output.betas - 1).square().mean() + (output.translation[:, 2] - 0.5).square().mean()
        loss = (
            (output.landmarks.landmarks - target).square().mean() / 26 + hand + output.grasp_logits.logsumexp(-1).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0] and np.isfinite(losses).all()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in tuned.parameters())
    after = model.state_dict()
    frozen_names = ("hand_trunk.stem.", *(f"hand_trunk.blocks.{i}." for i in range(10)))
    for name, tensor in before.items():
        if name.startswith("hand_trunk."):
            assert torch.equal(after[name], tensor) is name.startswith(frozen_names), name


def test_decoders_use_the_landmarks_but_do_not_train_them(model):
    inputs = synthetic_input()
    arguments = inputs.crops, inputs.kpe, torch.tensor([True]), inputs.focal, inputs.anchor
    output = model(*arguments, turn=inputs.turn)
    output.rotations.sum().backward()
    assert (
        model.landmark_head.world.weight.grad is None and model.landmark_encoder.layers[0].weight.grad.abs().sum() > 0
    )
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved.landmark_head.landmarks.bias += 20
        assert (moved(*arguments, turn=inputs.turn).rotations - output.rotations).abs().max() > 1e-5


def test_feature_dropout_drops_whole_hands_in_training_only():
    features, dropout = torch.ones(1000, 5), FeatureDropout(0.25)
    dropped = dropout.train()(features)
    assert set(dropped.sum(1).tolist()) == {0.0, 5.0} and 0.15 < (dropped == 0).float().mean() < 0.35
    assert torch.equal(dropout.eval()(features), features)


@pytest.mark.parametrize("fusion", Fusion)
def test_feature_vectors_differ_between_crops(net, fusion):
    """A fusion that has stopped working gives the same vector for all crops."""
    model = WildHands(dataclasses.replace(MEDIAPIPE_HAND, fusion=fusion))
    model.start_from(net)
    initialize_heads(model)
    inputs = synthetic_input()
    crops = torch.cat([inputs.crops, inputs.crops.flip(2), inputs.crops * 0.3])
    kpe = torch.cat([inputs.kpe] * 3)
    with torch.no_grad():
        model.encode(crops, kpe)  # in training mode, to update the running averages
        vector = model.eval().encode(crops, kpe).vector
    assert vector.shape == (6, 1024) and vector.std(0).mean() > 0.1 * vector.abs().mean() > 0


def test_default_weights_use_the_image():
    model, inputs = load_model("default").model, synthetic_input()
    with torch.inference_mode():
        encoded = model.encode(inputs.crops, inputs.kpe)
        landmarks = model.landmark_head(encoded.features)
        blind = dataclasses.replace(encoded, vector=torch.zeros_like(encoded.vector))
        rest = torch.tensor([True, True]), inputs.focal, inputs.anchor, inputs.turn
        with_image, without = (model.decode(encoding, landmarks, *rest) for encoding in (encoded, blind))
    assert (encoded.vector[0] - encoded.vector[1]).abs().max() > 0.1
    assert (with_image.rotations - without.rotations).abs().mean() > 0.01


def test_orientation_is_relative_to_the_ray_through_the_crop(model):
    inputs = synthetic_input()
    axis, aside = torch.zeros_like(inputs.anchor), torch.tensor([[0.7, -0.4]]).expand_as(inputs.anchor)
    right = torch.tensor([True] * len(inputs.crops))
    with torch.inference_mode():
        ahead, off = (
            model(inputs.crops, inputs.kpe, right, inputs.focal, anchor, turn=inputs.turn) for anchor in (axis, aside)
        )
    torch.testing.assert_close(ray_rotation(aside) @ ahead.rotations[:, 0], off.rotations[:, 0], atol=1e-5, rtol=0)
    assert torch.equal(ahead.rotations[:, 1:], off.rotations[:, 1:])
