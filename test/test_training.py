"""Training: configuration, examples and labels, data order, resuming, several processes, full disks."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic_mano
import torch
from safetensors import safe_open

from wildhands_ros.datasets import DatasetError, LabelledHand, LabelledImage, ManoLabel, Supervision
from wildhands_ros.datasets.base import label_hand
from wildhands_ros.datasets.usable_labels import usable_hands
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.network.checkpoint import load_model, save_checkpoint
from wildhands_ros.network.config import MEDIAPIPE_HAND, RELEASED, WildHandsConfig
from wildhands_ros.network.landmark_net import LandmarkOutput
from wildhands_ros.network.model import WildHands, WildHandsOutput
from wildhands_ros.training.batches import Batches, load_batches
from wildhands_ros.training.checkpointing import Checkpoints
from wildhands_ros.training.config import (
    AugmentationConfig,
    Decay,
    DistillationConfig,
    GroupConfig,
    OptimizerConfig,
    Precision,
    SourceConfig,
    TrainingConfig,
)
from wildhands_ros.training.config_file import ConfigError, read_config
from wildhands_ros.training.distillation import distillation_losses
from wildhands_ros.training.ema import WeightAverage
from wildhands_ros.training.examples import ExampleMaker
from wildhands_ros.training.initialisation import hand_assets
from wildhands_ros.training.losses import LossWeights, camera_label, compute_losses
from wildhands_ros.training.main import run
from wildhands_ros.training.objective import FUSION_UNITS, Objective
from wildhands_ros.training.optimization import Optimization
from wildhands_ros.training.prediction_grid import draw_predictions
from wildhands_ros.training.runs import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from wildhands_ros.types import ManoParameters, Side

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EVERYTHING = tuple(Supervision)
ASSETS = {side: open_hand(side) for side in Side}


@pytest.fixture(scope="module")
def freihand(tmp_path_factory) -> Path:
    """Eight right hands in FreiHAND's format on random images; one image file is damaged."""
    root = tmp_path_factory.mktemp("freihand")
    (root / "evaluation/rgb").mkdir(parents=True)
    rng = np.random.default_rng(0)
    k, joints = [], []
    for i in range(8):
        camera = Camera.pinhole(300, 310, 108, 115, 224, 224)
        pose, betas = rng.normal(0, 0.2, (1, 45)), rng.normal(0, 1, (1, 10))
        layer = HandLayer(ASSETS[Side.RIGHT], ASSETS[Side.LEFT])
        numbers = [
            torch.tensor(v, dtype=torch.float32)
            for v in (rng.normal(0, 0.8, (1, 3)), pose, betas, [[0.02, 0.03, 0.45]])
        ]
        joints.append(
            layer(*numbers, is_right=torch.tensor([True])).joints[0].numpy()[list(MANO_TO_MEDIAPIPE)].tolist()
        )
        k.append(camera.k.tolist())
        cv2.imwrite(str(root / f"evaluation/rgb/{i:08d}.jpg"), rng.integers(0, 255, (224, 224, 3), np.uint8))
    (root / "evaluation/rgb/00000005.jpg").write_bytes(b"not an image")
    for name, values in (("K", k), ("xyz", joints), ("mano", [[0.0] * 61] * 8)):
        (root / f"evaluation_{name}.json").write_text(json.dumps(values))
    return root


def small_config(freihand: Path, **changes) -> TrainingConfig:
    values = {
        "network": WildHandsConfig(trunk="mediapipe_hand", full_image_trunk=False, crop_scale=1.5, upright=True),
        "sources": (SourceConfig("freihand", root=str(freihand), split="evaluation"),),
        "steps": 3,
        "batch_size": 4,
        "workers": 0,
    }
    return TrainingConfig(**(values | changes))


def write_config(folder: Path, freihand: Path, extra: str = "") -> Path:
    path = folder / "run.yaml"
    path.write_text(f"""
steps: 8
batch_size: 2
workers: 1
network: {{trunk: mediapipe_hand, full_image_trunk: false, crop_scale: 1.5, upright: true, features: 512}}
sources: [{{name: freihand, root: {freihand}, split: evaluation}}]
# A trunk that is frozen in the first steps: fast, and with a change of what is trained between the states.
optimizer: {{lr: 1e-4, groups: [{{modules: [hand_trunk, landmark_head], frozen_until: 4}}]}}
checkpoints: {{every_steps: 2}}
log: {{every_steps: 1, images_every_steps: 0}}
{extra}""")
    return path


# ---------------------------------------------------------------------------------------------------------
# configuration


@pytest.mark.parametrize("name", ["default", "gpu", "paper"])
def test_shipped_configurations_can_be_read(name):
    config = read_config(ROOT / f"config/training/{name}.yaml", TrainingConfig)
    expected = {
        "default": MEDIAPIPE_HAND,
        "gpu": dataclasses.replace(MEDIAPIPE_HAND, features=512),
        "paper": dataclasses.replace(RELEASED, grasp_input=config.network.grasp_input),
    }
    assert config.network == expected[name]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimiser: {lr: 1}", "no key optimiser; did you mean optimizer"),
        ("optimizer: {lrr: 1}", "no key optimizer.lrr; did you mean lr"),
        ("optimizer: {lr: fast}", "optimizer.lr must be a number, not 'fast'"),
        ("optimizer: {lr: -1}", "optimizer: lr and clip_norm must be positive"),
        ("optimizer: {groups: [{modules: [trunk]}]}", r"optimizer.groups\[0\]: the network has no part trunk"),
        ("steps: 3.5", "steps must be a whole number, not 3.5"),
        ("steps: true", "steps must be a whole number"),
        ("precision: half", "precision must be one of float32, bfloat16"),
        ("network: {trunk: vgg}", "network: unknown trunk 'vgg'"),
        ("sources: []", "sources must name at least one"),
        ("sources: [{name: arctic}]", r"sources\[0\]: 'arctic' needs the root"),
        ("steps: 1\nsteps: 2", "the key steps is given twice"),
        ("losses: [1]", "losses must contain keys"),
        ("steps: [", "not a YAML file"),
    ],
)
def test_wrong_configurations_name_the_key(tmp_path, line, message):
    path = tmp_path / "a.yaml"
    base = "network: {}\nsources: [{name: world/lab}]\nsteps: 1\nbatch_size: 1\n"
    key = line.split(":")[0]
    path.write_text("".join(row + "\n" for row in base.splitlines() if not row.startswith(key + ":")) + line)
    with pytest.raises(ConfigError, match=message):
        read_config(path, TrainingConfig)


def test_required_keys_and_overrides(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("steps: 1\n")
    with pytest.raises(ConfigError, match="network, sources, batch_size must be given"):
        read_config(path, TrainingConfig)
    path.write_text("network: {}\nsources: [{name: world/lab}]\nsteps: 1\nbatch_size: 1\n")
    config = read_config(path, TrainingConfig, ["optimizer.lr=1e-3", "optimizer.decay=cosine"])
    assert (config.optimizer.lr, config.optimizer.decay) == (1e-3, Decay.COSINE)
    groups = "optimizer.groups=[{modules: [hand_trunk]}, {modules: [fusion]}]"
    config = read_config(path, TrainingConfig, [groups, "optimizer.groups.1.lr_factor=0"])
    assert [group.lr_factor for group in config.optimizer.groups] == [1, 0]
    for place in ("2", "-1", "fusion"):
        with pytest.raises(ConfigError, match=f"{place} is not an index from 0 to 1"):
            read_config(path, TrainingConfig, [groups, f"optimizer.groups.{place}.lr_factor=0"])
    with pytest.raises(ConfigError, match="no key optimizer.rl"):
        read_config(path, TrainingConfig, ["optimizer.rl=1e-3"])
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "none.yaml", TrainingConfig)


# ------------------------------------------------------------------------------------------------- examples and labels


def losses_of_perfect_predictions(config: TrainingConfig, step: int = 1):
    """Losses, silhouettes and batch of a network whose predictions equal the labels."""
    objective, batch = Objective(WildHands(config.network), ASSETS, config), Batches(config, ASSETS)[step]
    targets = batch.targets
    camera = camera_label(targets.translation, targets.focal, targets.anchor, targets.turn)
    output = WildHandsOutput(
        targets.is_right, targets.rotations, targets.betas, camera, camera, targets.translation, None, None
    )
    hands = objective.hands(output, targets)
    silhouettes = objective._silhouettes(hands.vertices, targets)
    weights = LossWeights(grasp=0, pose=1, beta=1, j3d=1)
    losses = compute_losses(
        output, targets, config.network.camera, joints=hands.joints, silhouettes=silhouettes, weights=weights
    )
    return losses.terms, silhouettes, batch


@pytest.mark.parametrize("world", ["world/lab", "world/fisheye"])
def test_labels_of_the_world_are_consistent_with_the_hand_model(freihand, world):
    config = small_config(freihand, sources=(SourceConfig(world, labels=EVERYTHING),), batch_size=3)
    terms, silhouettes, batch = losses_of_perfect_predictions(config)
    assert terms.keys() >= {"pose", "beta", "j2d", "j3d", "cam", "cam_pair", "mask"}
    assert all(value < 1e-6 for name, value in terms.items() if name != "mask"), terms
    drawn, mask = silhouettes > 0.5, batch.targets.mask > 0
    # A mask is what is seen of the hand, so it lies within the silhouette.
    assert (drawn & mask).sum() > 0.9 * mask.sum()


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("is_distorted", [False, True])
def test_labels_of_rolled_images(released, is_distorted):
    """After a roll, the labels still describe one rigid hand and lie where the image shows it."""
    network = RELEASED if released else WildHandsConfig(full_image_trunk=False)
    lens = ("plumb_bob", np.array([-0.2, 0.05, 0, 0, 0])) if is_distorted else ("", np.zeros(0))
    camera = Camera(np.array([[500, 0, 300], [0, 540, 260], [0, 0, 1.0]]), 640, 480, *lens)
    mano = ManoParameters(np.array([0.03, 0.02, 0.5]), np.array([0.4, 1.0, 0.3]), np.full(45, 0.1), np.full(10, 0.5))
    layer = HandLayer(ASSETS[Side.RIGHT], ASSETS[Side.LEFT])
    numbers = [
        torch.tensor(v, dtype=torch.float32)[None]
        for v in (mano.global_orient, mano.hand_pose, mano.betas, mano.transl)
    ]
    joints = layer(*numbers, is_right=torch.tensor([False])).joints[0].numpy()[list(MANO_TO_MEDIAPIPE)].astype(float)
    keypoints = camera.project(joints)
    pixels = np.zeros((480, 640, 3), np.uint8)
    for x, y in keypoints[[4, 20]]:
        cv2.circle(pixels, (round(x * 8), round(y * 8)), 4 * 8, (255, 255, 255), -1, shift=3)
    box = np.concatenate([keypoints.min(0), keypoints.max(0)])
    labelled = LabelledHand(box, Side.LEFT, keypoints, joints, mano)
    image = LabelledImage("a", lambda: pixels, camera, (labelled,), frozenset(Supervision))
    augmentation = AugmentationConfig(box_shift=0, box_scale=0, roll_probability=1, roll_degrees=40, colour=0)
    maker = ExampleMaker(network, augmentation, ASSETS)
    (hand,) = maker.from_image(image, np.random.default_rng(3))[0].hands
    labels = {name: torch.tensor(value, dtype=torch.float32)[None] for name, value in hand.targets.items()}
    rotations = labels["rotations"]
    posed = layer(
        rotations[:, 0], rotations[:, 1:], labels["betas"], labels["translation"], is_right=torch.tensor([False])
    )  # fmt: skip
    assert torch.allclose(posed.joints, labels["joints_3d"], atol=1e-5)
    assert np.abs(hand.targets["joints_3d"] - joints[np.argsort(MANO_TO_MEDIAPIPE)]).max() > 0.01  # it was rolled
    rays = hand.targets["joints_3d"] / hand.targets["joints_3d"][:, 2:]
    assert np.allclose((rays @ hand.k.T)[:, :2], hand.targets["joints_2d"], atol=1e-3)
    if not released:
        tips = hand.targets["joints_2d"][[16, 20]]
        for x, y in np.round(tips).astype(int):
            assert hand.crop[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max() > 200


def test_mano_labels_pose_the_labelled_joints(tmp_path):
    """Rotations relative to the mean pose and the translation reproduce the joints, also after a roll."""
    for side, seed in ((Side.RIGHT, 1), (Side.LEFT, 2)):
        synthetic_mano.write_plain_pickle(tmp_path / f"MANO_{side.name}.pkl", synthetic_mano.numbers(seed))
    assets = hand_assets(small_config(tmp_path, hand_model=str(tmp_path)))
    layer = HandLayer(assets[Side.RIGHT], assets[Side.LEFT], flat_hand_mean=False)
    rng, left = np.random.default_rng(5), torch.tensor([False])
    orient, pose, betas = rng.normal(0, 0.5, 3), rng.normal(0, 0.2, 45), rng.normal(0, 0.5, 10)
    numbers = [torch.tensor(v, dtype=torch.float32)[None] for v in (orient, pose, betas, [0.02, 0.01, 0.6])]
    joints = layer(*numbers, is_right=left).joints[0].numpy()[list(MANO_TO_MEDIAPIPE)].astype(float)
    camera = Camera.from_fov(320, 240, 1.2)
    label = ManoLabel(orient, pose, betas, pose_is_mean_relative=True, wrist_offset=joints[0])
    image = LabelledImage(
        "1",
        lambda: np.zeros((240, 320, 3), np.uint8),
        camera,
        (label_hand(camera, Side.LEFT, joints, mano=label),),
        frozenset(Supervision),
    )
    hands, skipped = usable_hands(image, assets, "set")
    assert not skipped
    image = dataclasses.replace(image, hands=tuple(hands))
    for network, roll in ((RELEASED, 1.0), (WildHandsConfig(full_image_trunk=False), 0.0)):
        maker = ExampleMaker(network, AugmentationConfig(roll_probability=roll), assets)
        (hand,) = maker.from_image(image, np.random.default_rng(1))[0].hands
        labels = {name: torch.tensor(value, dtype=torch.float32)[None] for name, value in hand.targets.items()}
        rotations = labels["rotations"]
        posed = layer(rotations[:, 0], rotations[:, 1:], labels["betas"], labels["translation"], is_right=left)
        assert torch.allclose(posed.joints, labels["joints_3d"], atol=1e-5)


def test_unusable_labels_are_counted():
    camera = Camera.from_fov(100, 100, 1.0)
    box = np.array([10.0, 10, 50, 50])
    every = frozenset(Supervision)
    mano = ManoLabel(np.zeros(3), np.zeros(45), np.zeros(10), pose_is_mean_relative=True, wrist_offset=np.zeros(3))

    def skipped(*hands):
        image = LabelledImage("7", lambda: None, camera, hands, every)
        usable, reasons = usable_hands(image, ASSETS, "set")
        return len(usable), [reason.reason for reason in reasons]

    assert skipped() == (0, ["set: image without labelled hands"])
    some = LabelledHand(box, Side.LEFT, keypoints=np.zeros((21, 2)), mano=mano)
    assert skipped(some) == (1, ["set: hand with MANO labels, which are not used: hand_model is the open hand"])
    assert skipped(LabelledHand(box, Side.LEFT)) == (0, ["set: hand without a label to learn from"])
    nowhere = LabelledHand(box * np.nan, Side.LEFT)
    assert skipped(nowhere) == (0, ["set: hand with a box that is empty or not finite"])
    assert skipped(LabelledHand(box)) == (0, ["set: hand of unknown side"])


def test_batches_depend_neither_on_the_processes_nor_on_the_workers(freihand):
    config = small_config(freihand)
    whole = Batches(config, ASSETS)
    parts = [Batches(config, ASSETS, rank, 2)[2] for rank in range(2)]
    assert torch.equal(whole[2].crops, torch.cat([part.crops for part in parts]))
    assert whole[2].targets.names == parts[0].targets.names + parts[1].targets.names
    for step, batch in zip((2, 3), load_batches(whole, 2, 3, workers=2), strict=True):
        assert torch.equal(batch.crops, whole[step].crops)
        assert torch.equal(batch.targets.joints_2d, whole[step].targets.joints_2d)
    assert not torch.equal(whole[2].crops, whole[3].crops)
    with pytest.raises(ValueError, match="batch_size 4 cannot be divided evenly among 3"):
        Batches(config, ASSETS, 0, 3)


def test_unusable_images_are_counted_and_replaced(freihand):
    batches = Batches(small_config(freihand, batch_size=40), ASSETS)
    batch = batches[1]
    assert len(batch.crops) == 40
    assert batch.skipped["freihand: image or mask that cannot be read"] > 0
    assert batch.skipped["freihand: hand with MANO labels, which are not used: hand_model is the open hand"] >= 40
    assert "00000005.jpg" in batch.details["freihand: image or mask that cannot be read"]


def test_missing_sources(freihand, tmp_path, monkeypatch):
    from wildhands_ros.synthetic import backgrounds

    def opened(*sources):
        return Batches(small_config(freihand, sources=sources), ASSETS)

    with pytest.raises(DatasetError, match="no dataset 'freehand'"):
        opened(SourceConfig("freehand", root="x"))
    with pytest.raises(ValueError, match="unknown world 'moon'"):
        opened(SourceConfig("world/moon"))
    with pytest.raises(DatasetError, match="freihand has no labels for grasp"):
        opened(SourceConfig("freihand", root=str(freihand), split="evaluation", labels=(Supervision.GRASP,)))
    with pytest.raises(DatasetError, match="there is no image"):
        opened(SourceConfig("photographs", root=str(tmp_path)))
    backgrounds.photo_files.cache_clear()
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path))
    assert opened(SourceConfig("world/lab"), SourceConfig("photographs", root="installed")).missing == [
        "photographs (installed)"
    ]
    backgrounds.photo_files.cache_clear()


def test_photographs_have_no_labels(freihand):
    source = SourceConfig("photographs", root=str(freihand / "evaluation/rgb"))
    batch = Batches(small_config(freihand, sources=(source,)), ASSETS)[1]
    assert batch.is_real.all() and batch.targets.joints_2d is None and batch.targets.mask is None


@pytest.mark.parametrize("points", [[], [(30, 40)], [(30, 40), (30, 40)], [(500, 500), (540, 520)]])
def test_annotated_photographs_without_a_visible_hand_are_counted(freihand, tmp_path, points):
    cv2.imwrite(str(tmp_path / "bare.png"), np.zeros((224, 224, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "good.png"), np.full((224, 224, 3), 200, np.uint8))
    corners = [(40 + i, 60 + 4 * i) for i in range(21)]
    content = {"images": [], "annotations": []}
    for number, (name, visible) in enumerate((("bare.png", points), ("good.png", corners))):
        keypoints = [(x, y, 2) for x, y in visible] + [(0, 0, 0)] * (21 - len(visible))
        content["images"].append({"id": number, "file_name": name, "width": 224, "height": 224})
        content["annotations"].append(
            {"image_id": number, "bbox": [0, 0, 9, 9], "keypoints": np.ravel(keypoints).tolist()}
        )
    (tmp_path / "hands.json").write_text(json.dumps(content))
    source = SourceConfig("photographs", root=str(tmp_path))
    batch = Batches(small_config(freihand, sources=(source,), batch_size=8), ASSETS)[1]
    assert len(batch.crops) == 8 and {name.split(",")[0] for name in batch.targets.names} == {
        str(tmp_path / "good.png")
    }
    ((reason, count),) = batch.skipped.items()
    assert reason.startswith("photographs: hand with too few keypoints") and count > 0
    assert batch.details[reason] == str(tmp_path / "bare.png")


# ------------------------------------------------------------------------------------------------------------ the parts


def test_weight_average_forgets_the_initial_weights_and_then_decays_as_configured():
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.weight)
    average = WeightAverage(model, 0.998)
    torch.nn.init.ones_(model.weight)
    for step in range(1, 101):
        average.update(model, step)
    assert average.weights["weight"].item() > 0.999
    torch.nn.init.zeros_(model.weight)
    before = average.weights["weight"].item()
    average.update(model, 10**6)
    assert average.weights["weight"].item() == pytest.approx(0.998 * before)


def test_groups_freeze_and_have_their_own_rates():
    model = WildHands(WildHandsConfig(trunk="mediapipe_hand", full_image_trunk=False))
    group = GroupConfig(("hand_trunk",), lr_factor=0.1, frozen_until=10)
    config = OptimizerConfig(lr=1.0, warmup_steps=4, decay=Decay.COSINE, final_share=0.1, groups=(group,))
    optimization = Optimization(model, config, steps=100)
    assert optimization.prepare(1) and not optimization.prepare(2)
    assert not model.hand_trunk.stem[0].weight.requires_grad and not model.hand_trunk.training
    assert model.fusion.layers[0].weight.requires_grad and model.fusion.training
    assert optimization.prepare(11) and model.hand_trunk.stem[0].weight.requires_grad and model.hand_trunk.training
    assert optimization.learning_rate(2) == pytest.approx(0.5, rel=0.01)
    assert optimization.learning_rate(11, group) == pytest.approx(0.1 / 4, rel=0.05)
    assert optimization.learning_rate(100) == pytest.approx(0.1)
    for missing in ("grasp_head", "hand_trunk.blocks.99"):
        with pytest.raises(ValueError, match=f"names {missing}, which this network does not have"):
            Optimization(model, OptimizerConfig(groups=(GroupConfig((missing,)),)), 1)


def test_a_nested_part_may_stay_frozen():
    model = WildHands(WildHandsConfig(trunk="mediapipe_hand", full_image_trunk=False, features=512))
    groups = (
        GroupConfig(("hand_trunk.stem", "hand_trunk.blocks.1"), lr_factor=0),
        GroupConfig(("hand_trunk",), lr_factor=0.5),
    )
    optimization = Optimization(model, OptimizerConfig(lr=1.0, groups=groups), 10)
    optimization.prepare(1)
    trunk = model.hand_trunk
    frozen = {name for name, parameter in trunk.named_parameters() if not parameter.requires_grad}
    assert frozen and all(name.startswith(("stem.", "blocks.1.")) for name in frozen)
    assert not trunk.blocks[1].training and trunk.blocks[10].training
    assert [len(options["params"]) for options in optimization.adam.param_groups][0] == len(frozen)
    assert [options["lr"] for options in optimization.adam.param_groups] == [0, 0.5, 1]


def landmark_output(seed: int, presence: tuple[float, ...]) -> LandmarkOutput:
    generator = torch.Generator().manual_seed(seed)
    sizes = {
        "features": (2, 1, 7, 7),
        "landmarks": (2, 21, 2),
        "landmark_z": (2, 21),
        "is_right_logit": (2,),
        "world": (2, 21, 3),
    }
    values = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    return LandmarkOutput(presence_logit=torch.tensor(presence), **values)


def test_distillation_is_zero_for_equal_outputs_and_weighted_by_the_teachers_presence():
    weights = DistillationConfig(landmarks=1, world=1, presence=1, side=1, others=0.5)
    real = torch.tensor([True, True])
    teacher, student = landmark_output(0, (20.0, -20.0)), landmark_output(1, (20.0, -20.0))
    assert all(
        value < 1e-5 for value in distillation_losses(teacher, teacher, teacher.presence, real, weights).values()
    )
    first = distillation_losses(student, teacher, teacher.presence, real, weights)["distill_landmarks"]
    student.landmarks[1] += 100
    assert torch.isclose(
        distillation_losses(student, teacher, teacher.presence, real, weights)["distill_landmarks"], first
    )
    student.landmarks[0] += 100
    assert distillation_losses(student, teacher, teacher.presence, real, weights)["distill_landmarks"] > first + 0.5


def test_distillation_counts_photographs_more():
    weights = DistillationConfig(landmarks=112, others=0.25)
    teacher, student = landmark_output(0, (20.0, 20.0)), landmark_output(0, (20.0, 20.0))
    student.landmarks[0, :, 0] += 5
    for real, expected in (((True, False), 4.0), ((False, True), 1.0), ((True, True), 2.5), ((False, False), 2.5)):
        loss = distillation_losses(student, teacher, teacher.presence, torch.tensor(real), weights)["distill_landmarks"]
        assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_a_fusion_without_information_is_reported(freihand, tmp_path, capsys):
    config = write_config(tmp_path, freihand)
    model = WildHands(read_config(config, TrainingConfig).network)
    for dead in (False, True):
        if dead:
            torch.nn.init.constant_(model.fusion.layers[-2].bias, -100.0)
        save_checkpoint(tmp_path / "start.safetensors", model)
        assert run(config, tmp_path / f"out_{dead}", [f"start={tmp_path}/start.safetensors", "steps=2"]) == EXIT_OK
        assert ("the decoders see no image" in capsys.readouterr().err) is dead
        shares = [
            json.loads(line)[FUSION_UNITS] for line in (tmp_path / f"out_{dead}/log.jsonl").read_text().splitlines()
        ]
        assert all(share == 0 if dead else share > 0 for share in shares)


def test_masks_and_grasps_reach_the_network_and_half_precision_agrees(freihand):
    network = dataclasses.replace(MEDIAPIPE_HAND)
    config = small_config(freihand, network=network, sources=(SourceConfig("world/wild"),), batch_size=1, dropout=0.0)
    torch.manual_seed(0)
    model = WildHands(network)
    batch = Batches(config, ASSETS)[1]
    assert batch.targets.joints_2d is None and batch.targets.rotations is None
    losses = Objective(model, ASSETS, config)(batch)
    assert losses.keys() == {"loss", "mask", "grasp"}
    losses["loss"].backward()
    assert model.fusion.layers[1].weight.grad.abs().sum() > 0 and model.grasp_head.layers[0].weight.grad.abs().sum() > 0
    drawing = draw_predictions(Objective(model, ASSETS, config), batch)
    assert drawing.dtype == np.uint8 and drawing.shape == (224, 6 * 224, 3)
    half = Objective(model, ASSETS, dataclasses.replace(config, precision=Precision.BFLOAT16))(batch)
    assert half["loss"].dtype == torch.float32 and torch.isclose(half["loss"], losses["loss"], rtol=0.05)


def test_distillation_needs_a_landmark_head(freihand):
    config = small_config(
        freihand, network=WildHandsConfig(trunk="resnet18"), distillation=DistillationConfig(landmarks=1)
    )
    with pytest.raises(ValueError, match="network.trunk: mediapipe_hand"):
        Objective(WildHands(config.network), ASSETS, config)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_trains_on_a_gpu(freihand, tmp_path):
    path = write_config(tmp_path, freihand, "device: cuda\nprecision: bfloat16")
    assert run(path, tmp_path / "out") == EXIT_OK


# ---------------------------------------------------------------------------------------------------------- saved
# states


def test_last_two_states_are_kept_and_a_damaged_one_is_skipped(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {"step": step})
    assert checkpoints.steps() == [3, 2]
    path = tmp_path / "step_00000003.pt"
    path.write_bytes(path.read_bytes()[:100])
    warnings = []
    assert checkpoints.load_last(warnings.append) == (2, {"step": 2})
    assert "step_00000003.pt is damaged" in warnings[0]


def limit_file_size(size: int) -> None:
    """Writing more fails as on a full disk: in the middle of the file, with an OSError."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_a_full_disk_keeps_the_previous_state(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"weights": torch.ones(10)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limit_file_size(100_000)
    try:
        with pytest.raises(OSError, match=r"cannot save .*step_00000002.pt: File too large"):
            checkpoints.save(2, {"weights": torch.ones(1_000_000)})
    finally:
        limit_file_size(before)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001.pt"]
    checkpoints.save(2, {"weights": torch.ones(1_000_000)})
    assert checkpoints.steps() == [2, 1]


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot create the folder"):
        Checkpoints(tmp_path / "file/checkpoints")


# ----------------------------------------------------------------------------------------------------------- whole runs


def loss_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def command(path: Path, output: Path, before: str = "") -> list[str]:
    run = "sys.exit(m.run(*map(pathlib.Path, sys.argv[1:])))"
    code = f"import sys, pathlib, wildhands_ros.training.main as m; {before}{run}"
    return [sys.executable, "-c", code, str(path), str(output)]


LIST_LAST_THREADS = (
    "import atexit, glob; "
    "atexit.register(lambda: print('last threads:', [open(f).read() for f in glob.glob('/proc/self/task/*/comm')])); "
)
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def whole_run(freihand, tmp_path_factory) -> tuple[Path, Path]:
    """The configuration and the folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("run")
    path = write_config(folder, freihand)
    assert run(path, folder / "whole") == EXIT_OK
    return path, folder / "whole"


def test_killed_run_resumes_to_the_same_curve(whole_run, tmp_path):
    path, whole = whole_run
    process = subprocess.Popen(
        command(path, tmp_path), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    log = tmp_path / "log.jsonl"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/.step_00000007.pt.partial").touch()  # as if it had been killed before, while saving
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 5):
        time.sleep(0.01)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert run(path, tmp_path) == EXIT_OK
    expected, resumed = loss_log(whole), loss_log(tmp_path)
    assert [entry["step"] for entry in resumed] == list(range(1, 9))
    assert not list(tmp_path.glob("**/*.partial"))
    for a, b in zip(expected, resumed, strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    a, b = (load_model(folder / "weights.safetensors").model.state_dict() for folder in (whole, tmp_path))
    assert all(torch.allclose(a[key], b[key], atol=1e-6) for key in a)


def test_exported_weights_are_the_averaged_ones(whole_run):
    _, whole = whole_run
    _, state = Checkpoints(whole / "checkpoints").load_last(print)
    exported = load_model(whole / "weights.safetensors").model.state_dict()
    assert all(torch.equal(exported[key], value) for key, value in state["average"].items())
    assert not torch.equal(state["average"]["fusion.layers.0.weight"], state["model"]["fusion.layers.0.weight"])


def test_another_configuration_does_not_resume_a_run(whole_run):
    path, whole = whole_run
    with pytest.raises(ConfigError, match="other values of optimizer.lr;"):
        run(path, whole, ["optimizer.lr=1", "workers=0"])


def test_two_processes_train_like_one(freihand, tmp_path):
    # The masks of dropout differ with the batch.
    path = write_config(tmp_path, freihand, "dropout: 0.0")
    path.write_text(path.read_text().replace("steps: 8", "steps: 5").replace("workers: 1", "workers: 0"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    process = subprocess.Popen(
        [*launch, *command(path, tmp_path / "two", LIST_LAST_THREADS)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert run(path, tmp_path / "one") == EXIT_OK
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    # A thread of the group that is left when the interpreter ends now and then aborts the process.
    assert output.count("last threads:") == 2 and "gloo" not in output, output
    for one, two in zip(loss_log(tmp_path / "one"), loss_log(tmp_path / "two"), strict=True):
        assert one.pop(FUSION_UNITS) > 0 and FUSION_UNITS not in two, "each of two processes sees one hand"
        assert one == pytest.approx(two, rel=1e-4, abs=1e-5)


def test_stops_cleanly_and_survives_a_full_disk(freihand, tmp_path, capsys):
    path = write_config(tmp_path, freihand)
    overrides = ["steps=100000", "workers=0", "checkpoints.every_steps=1", "checkpoints.half=true"]
    output = tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    saved = threading.Event()

    def fill_the_disk_and_stop() -> None:
        while not (output / "checkpoints/step_00000001.pt").exists():
            time.sleep(0.01)
        limit_file_size(10_000_000)
        while len(loss_log(output)) < 3:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        saved.set()

    thread = threading.Thread(target=fill_the_disk_and_stop)
    thread.start()
    try:
        code = run(path, output, overrides)
    finally:
        thread.join()
        limit_file_size(before)
    errors = capsys.readouterr().err
    assert code == EXIT_FAILED and saved.is_set()
    assert (
        "File too large; training continues, and the previously" in errors
        and "the last state could not be saved" in errors
    )
    assert not list(output.glob("**/*partial"))
    checkpoints = Checkpoints(output / "checkpoints")
    step, _ = checkpoints.load_last(print)
    assert step < len(loss_log(output))

    # With room on the disk the next run goes on, and is stopped in order.
    def stop_when_going() -> None:
        while checkpoints.steps()[0] == step:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    # Not joined: a run that fails never gets going.
    threading.Thread(target=stop_when_going, daemon=True).start()
    assert run(path, output, overrides) == EXIT_INTERRUPTED
    errors = capsys.readouterr().err
    assert "run the same command to resume" in errors and "image or mask that cannot be read" in errors
    steps = [entry["step"] for entry in loss_log(output)]
    assert steps == list(range(1, steps[-1] + 1))
    assert checkpoints.steps()[0] == steps[-1]
    with safe_open(output / "weights.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118 - not a dict


def test_a_missing_hand_model(freihand, tmp_path):
    with pytest.raises(ValueError, match="MANO"):
        hand_assets(small_config(freihand, hand_model=str(tmp_path)))


def test_counts_add_up():
    from wildhands_ros.training.progress import Means, summary

    means = Means()
    means.add("a", 2.0, 1)
    means.add("a", 4.0, 1)
    assert Means(means.state()).take() == {"a": 3.0}
    assert summary(Counter({"few": 1, "many": 5})) == "  5 x many\n  1 x few"
