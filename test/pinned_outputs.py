"""Fingerprints of everything that caches store, grouped by the version (``wildhands_ros.versions``) in the cache key.

``test_versions.py`` compares them with ``data/pinned_outputs.json``. ``python test/pinned_outputs.py`` pins the outputs
of each group whose version was raised, and refuses to change the others.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from dataset_files import make_interhand
from torch import nn

from wildhands_ros import versions
from wildhands_ros.datasets.detector_frames import Frame
from wildhands_ros.evaluation.ablation.features import FeatureRequest, FeatureSet, load_features, make_features
from wildhands_ros.evaluation.ablation.training import TrainingSet, measure, train
from wildhands_ros.evaluation.ablation.variants import LOSSES, NETWORK, Variant, View
from wildhands_ros.geometry.camera import scale_affine
from wildhands_ros.network.config import MEDIAPIPE_HAND, Encoding
from wildhands_ros.network.detector_net import HandDetectorNet
from wildhands_ros.network.model import WildHands
from wildhands_ros.network.preprocessing import NetworkInput
from wildhands_ros.synthetic.composition import make_scene
from wildhands_ros.synthetic.config import PRESETS, WorldConfig, world_config
from wildhands_ros.synthetic.egocentric import EgocentricRecording
from wildhands_ros.synthetic.frames import make_frame
from wildhands_ros.synthetic.render import render
from wildhands_ros.training.batches import Batches
from wildhands_ros.training.config import (
    AugmentationConfig,
    DistillationConfig,
    GroupConfig,
    OptimizerConfig,
    SourceConfig,
    TrainingConfig,
)
from wildhands_ros.training.detector.pool import KINDS
from wildhands_ros.training.initialisation import hand_assets
from wildhands_ros.training.pool import Pool
from wildhands_ros.types import Side

PINS = Path(__file__).parent / "data" / "pinned_outputs.json"
GREY_LEVELS = 0.25
"""Tolerance of mean colours: a single sample that another processor rounds to a neighbouring surface is no change."""


@dataclass(frozen=True)
class Output:
    """A few numbers that represent one output."""

    values: np.ndarray
    """(N,) float; NaN is a value like any other."""
    tolerance: float
    """Greatest absolute difference between processors."""


Outputs = dict[str, Output]


def exact(values: object, tolerance: float = 1e-4) -> Output:
    """Keeps all values of a small array."""
    return Output(np.asarray(values, dtype=np.float64).ravel(), tolerance)


def grid(values: np.ndarray, tolerance: float = GREY_LEVELS, cells: int = 4) -> Output:
    """Means over ``cells`` x ``cells`` parts of an (H, W, ...) array."""
    rows = np.array_split(np.asarray(values, dtype=np.float64), cells, axis=0)
    return exact([part.mean(axis=(0, 1)) for row in rows for part in np.array_split(row, cells, axis=1)], tolerance)


def spread(values: object, tolerance: float = 0.03, parts: int = 16) -> Output:
    """Means over ``parts`` parts of an array; the tolerance is relative to its standard deviation."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    means = [part.mean() for part in np.array_split(flat, min(parts, len(flat)))]
    return exact(means, tolerance * max(flat.std(), 1e-6))


def synthetic_outputs() -> Outputs:
    """Frames of each preset of the synthetic world, and of one world in which everything rare is common."""
    busy = dataclasses.replace(
        PRESETS["open"],
        **{
            name: 0.6 for name in ("gloves", "children", "distorted", "fisheye", "occluders", "clutter", "blur", "jpeg")
        },
    )
    found: Outputs = {}
    for name in PRESETS:
        make = make_frame if name in ("frames", "second_stage") else make_scene
        found |= _frames(name, world_config(name, "val"), make, 2)
    return found | _frames("busy", dataclasses.replace(busy, split="val", photos=False), make_scene, 3)


def recording_outputs() -> Outputs:
    """Two frames of a synthetic egocentric recording and their labels."""
    recording = EgocentricRecording(0, 2.0, "val")
    found: Outputs = {}
    for number in (0, 45):
        frame = recording.frame(number)
        found[f"{number} image"] = grid(frame.image)
        found[f"{number} pose"] = exact([*frame.camera_pose.position, *frame.camera_pose.rotation.ravel()])
        found[f"{number} joints"] = exact([hand.joints for hand in frame.hands])
        found[f"{number} seen"] = exact(frame.seen, tolerance=0.01)
    return found


def _frames(name: str, world: WorldConfig, make: Callable, frames: int) -> Outputs:
    found: Outputs = {}
    for index in range(frames):
        scene = make(world, index)
        camera = scene.camera
        scale = 320 / max(camera.width, camera.height)
        width, height = round(scale * camera.width), round(scale * camera.height)
        image = render(scene, scale_affine(width / camera.width, height / camera.height), width, height)
        prefix = f"{name}/{index}/"
        found[prefix + "image"] = grid(image.image)
        found[prefix + "camera"] = exact([*camera.k.ravel(), camera.width, camera.height, *camera.d], 0.01)
        for number, hand in enumerate(scene.hands):
            prefix = f"{name}/{index}/{number}/"
            mano = hand.mano
            pose = np.concatenate([mano.global_orient, mano.hand_pose, mano.betas])
            found[prefix + "labels"] = exact([hand.side is Side.RIGHT, hand.grasp.value, hand.gloved])
            found[prefix + "pose"] = exact(pose, 1e-3)
            found[prefix + "joints"] = exact([*mano.transl, *np.ravel(hand.joints)], 1e-4)
            found[prefix + "keypoints"] = exact([*hand.box, *np.ravel(hand.keypoints)], 0.05)
            found[prefix + "mask"] = grid(image.masks[number], 0.02)
    return found


def example_outputs() -> Outputs:
    """Training examples from each kind of source, a training pool and the ablation's features."""
    with tempfile.TemporaryDirectory() as folder:
        interhand = make_interhand(Path(folder) / "interhand")
        dataset = SourceConfig("interhand", root=str(interhand), split="val")
        photographs = SourceConfig("photographs", root=str(interhand / "images"))
        wild = SourceConfig("world/wild", split="val")
        plain = TrainingConfig(
            network=MEDIAPIPE_HAND, sources=(SourceConfig("world/lab", split="val"),), steps=1, batch_size=2
        )
        mapped = dataclasses.replace(MEDIAPIPE_HAND, encoding=Encoding.DENSE_LATENT, full_image_trunk=True)
        rolled = AugmentationConfig(roll_probability=1.0)
        configs = {
            "lab": plain,
            "wild": dataclasses.replace(plain, sources=(wild,)),
            "photographs": dataclasses.replace(plain, sources=(photographs,)),
            "dataset": dataclasses.replace(plain, sources=(dataset,)),
            "dataset, rolled": dataclasses.replace(plain, sources=(dataset,), augmentation=rolled),
            "dataset, whole images": dataclasses.replace(plain, sources=(dataset,), network=mapped),
        }
        found: Outputs = {}
        for name, config in configs.items():
            found |= _batch(name, Batches(config, hand_assets(config))[1])
        frozen = OptimizerConfig(groups=(GroupConfig(("hand_trunk.stem", "hand_trunk.blocks.0"), lr_factor=0),))
        taught = DistillationConfig(landmarks=1, world=1, presence=1, side=1)
        pooled = dataclasses.replace(
            plain,
            network=dataclasses.replace(MEDIAPIPE_HAND, features=64),
            sources=(photographs,),
            pool=2,
            start="mediapipe",
        )
        pooled = dataclasses.replace(pooled, optimizer=frozen, distillation=taught)
        with _cache_in(folder):
            batch = Pool(pooled, hand_assets(pooled))[1]
            request = FeatureRequest("lab", "val", 1, augmented=True, images=True)
            features = load_features(make_features(request, Path(folder), workers=1), images=True)
        found["pool/features"] = spread(batch.features)
        found["pool/taught"] = spread(batch.taught)
        found |= {
            f"features/{name}": _fingerprint(values)
            for name, values in features.arrays.items()
            if values.dtype.kind != "U"
        }
        return found


def _batch(name: str, batch: object) -> Outputs:
    """All arrays of a batch and of its targets."""
    arrays = {}
    for part in (batch, batch.targets):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if isinstance(value, torch.Tensor):
                arrays[field.name] = value.numpy()
    return {f"{name}/{field}": _fingerprint(values) for field, values in arrays.items()}


def _fingerprint(values: np.ndarray) -> Output:
    """Returns the fingerprint of an array whose first axis counts hands or images."""
    if values.dtype == np.uint8:
        return grid(np.moveaxis(values, 0, 2))
    if values[0].size > 200:
        return spread(values)
    return exact(values, 1e-3 * max(1.0, float(np.abs(np.nan_to_num(values)).max()) / 50))


@contextmanager
def _cache_in(folder: str) -> Iterator[None]:
    """Puts caches in ``folder``, so that nothing old is read, and keeps the pool from starting worker processes."""
    with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": folder, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1000"}):
        yield


def detector_example_outputs() -> Outputs:
    """Returns the frames that the training of the detector stores, for each stage.

    For the second stage, only crops around hands are pinned: crops around the first stage's mistakes differ between
    processors, because the first stage runs in bfloat16 where the processor has it.
    """
    found: Outputs = {}
    with tempfile.TemporaryDirectory() as folder, _cache_in(folder):
        for kind in KINDS:
            for index in range(20, 23):
                kept = KINDS[kind].drawn(world_config(kind, "val"), iter([index]))
                frames = [frame for frame in kept if kind == "frames" or _is_around_hand(frame)]
                for number, frame in enumerate(frames):
                    prefix = f"{kind}/{index}/{number}/"
                    found[prefix + "image"] = grid(frame.image)
                    found[prefix + "hands"] = exact(np.column_stack([frame.right, frame.up, frame.counts]), 1e-3)
                    found[prefix + "boxes"] = exact(frame.boxes, 0.05)
    return found


def _is_around_hand(frame: Frame) -> bool:
    """Tells whether a hand that is not ignored is at the centre of a square crop."""
    centres = (frame.boxes[:, :2] + frame.boxes[:, 2:]) / 2
    return bool((frame.counts & (np.abs(centres - frame.image.shape[0] / 2) < 1).all(axis=1)).any())


def graph_outputs() -> Outputs:
    """The graphs on fixed inputs, with weights that do not depend on training.

    Converting a graph takes seconds, so only the decoder is converted, whose weights are also quantized. PyTorch runs
    the others.
    """
    from wildhands_ros.runtime.graph import Encoder, example_inputs
    from wildhands_ros.runtime.network import network_graphs, run_network
    from wildhands_ros.runtime.openvino import compile_exactly
    from wildhands_ros.runtime.signature import DECODER_INPUTS, encoder_inputs, outputs
    from wildhands_ros.runtime.small_weights import with_small_weights

    rng = np.random.default_rng(1)
    model = _with_fixed_weights(WildHands(dataclasses.replace(MEDIAPIPE_HAND, features=256)))
    mean_pose = 0.1 * np.sin(np.arange(90.0, dtype=np.float32)).reshape(2, 45)
    values = example_inputs(model.config, hands=3)
    for name in ("crops", "kpe", "anchor", "turn"):
        values[name] = torch.from_numpy(rng.uniform(0, 1, values[name].shape).astype(np.float32))
    values["side"] = torch.tensor([1, 0, -1])
    arrays = {name: tensor.numpy() for name, tensor in values.items()}
    inputs = NetworkInput(**{field.name: arrays.get(field.name) for field in dataclasses.fields(NetworkInput)})
    with torch.inference_mode():
        encoded = [
            tensor.numpy() for tensor in Encoder(model)(*(values[name] for name in encoder_inputs(model.config)))
        ]
        detected = _with_fixed_weights(HandDetectorNet())(torch.from_numpy(rng.random((1, 3, 96, 128), np.float32)))
    decoder = compile_exactly(with_small_weights(network_graphs(model, mean_pose).decoder()))
    decoded = decoder(*encoded[:3], *(arrays[name] for name in DECODER_INPUTS), *encoded[3:])
    whole = run_network(model, mean_pose, "torch", "float32", "cpu")(inputs, arrays["side"])
    found = {f"encoder/{number}": spread(value) for number, value in enumerate(encoded)}
    found |= {
        f"decoder/{name}": spread(value, parts=24) for name, value in zip(outputs(model.config), decoded, strict=True)
    }
    found |= {f"network/{name}": spread(value, parts=24) for name, value in whole.items()}
    return found | {f"detector/{number}": spread(value) for number, value in enumerate(detected)}


def _with_fixed_weights(module: nn.Module) -> nn.Module:
    """Random weights that are the same for every version of PyTorch; names do not count."""
    rng = np.random.default_rng(2)
    for tensor in module.state_dict().values():
        if tensor.ndim >= 2:
            value = rng.normal(0, np.sqrt(1.5 / tensor[0].numel()), tensor.shape)
        else:
            value = rng.uniform(0.1, 0.4, tensor.shape)
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(np.asarray(value)))
    return module.eval()


def ablation_outputs() -> Outputs:
    """A few steps of training on made-up features, and the figures afterwards."""
    network = dataclasses.replace(NETWORK, features=64)
    seen = Variant("pinned", "pinned", network, dataclasses.replace(LOSSES, mask=1))
    whole = Variant("pinned_whole", "pinned", dataclasses.replace(network, encoding=Encoding.NONE), view=View.IMAGE)
    lab, wild = _features(1), _features(2)
    found: Outputs = {}
    for variant in (seen, whole):
        heads = train(variant, TrainingSet.of([lab], [wild]), steps=6, seed=0)
        figures = measure(variant, heads, lab).as_dict()
        numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
        found |= {f"{variant.key}/{name}": exact(value, 1e-3 * max(1.0, abs(value))) for name, value in numbers.items()}
    return found


def _features(seed: int, images: int = 4) -> FeatureSet:
    """Two hands in each image: anywhere, in any pose."""
    rng = np.random.default_rng(seed)
    hands = 2 * images
    k = np.tile(np.array([[300.0, 0, 112], [0, 300, 112], [0, 0, 1]], np.float32), (hands, 1, 1))
    joints = (rng.normal(0, 0.05, (hands, 21, 3)) + [0, 0, 0.5]).astype(np.float32)
    angle = rng.uniform(-0.5, 0.5, (hands, 16))
    rotations = np.zeros((hands, 16, 3, 3), np.float32)
    rotations[..., 0, 0] = rotations[..., 1, 1] = np.cos(angle)
    rotations[..., 1, 0], rotations[..., 0, 1] = np.sin(angle), -np.sin(angle)
    rotations[..., 2, 2] = 1
    corner = rng.uniform(20, 200, (hands, 1, 2))
    side = rng.uniform(60, 200, (hands, 1, 1))
    projected = np.einsum("nij,nkj->nki", k, joints)
    rows, columns = np.mgrid[:112, :112]
    mask = (rows - 56) ** 2 + (columns - 56) ** 2 < rng.uniform(20, 50, (hands, 1, 1)) ** 2
    return FeatureSet(
        {
            "features": rng.exponential(0.3, (hands, 1152, 7, 7)).astype(np.float16),
            "image_features": rng.exponential(0.3, (images, 1152, 7, 7)).astype(np.float16),
            "image_index": np.repeat(np.arange(images), 2),
            "is_right": np.arange(hands) % 2 == 0,
            "turn": rng.normal(0, 0.3, hands).astype(np.float32),
            "k": k,
            "corners": corner + side * np.array([(0, 0), (0, 1), (1, 0), (1, 1)]),
            "joints_2d": projected[..., :2] / projected[..., 2:],
            "joints_3d": joints,
            "rotations": rotations,
            "betas": rng.normal(0, 1, (hands, 10)).astype(np.float32),
            "translation": joints[:, 0],
            "grasp": rng.integers(0, 9, hands),
            "mask": np.where(mask, 255, 0).astype(np.uint8),
            "camera_k": np.tile(np.array([[450.0, 0, 320], [0, 450, 240], [0, 0, 1]]), (images, 1, 1)),
            "camera_size": np.tile([640, 480], (images, 1)),
            "camera_model": np.full(images, "plumb_bob"),
            "camera_d": np.full((images, 8), np.nan),
        }
    )


GROUPS: dict[str, Callable[[], Outputs]] = {
    "GRAPH": graph_outputs,
    "SYNTHETIC": synthetic_outputs,
    "RECORDINGS": recording_outputs,
    "EXAMPLES": example_outputs,
    "DETECTOR_EXAMPLES": detector_example_outputs,
    "ABLATION": ablation_outputs,
}
"""Functions that compute the outputs, by the name of the version."""


def read_pins() -> dict[str, dict]:
    """Reads the pins: for each group its ``version`` and ``outputs``, lists of numbers by name."""
    return json.loads(PINS.read_text())


def differences(outputs: Mapping[str, Output], pinned: Mapping[str, list[float]]) -> list[str]:
    """Describes each difference; returns an empty list if there is none."""
    found = [f"{name} is not pinned" for name in outputs.keys() - pinned.keys()]
    found += [f"{name} is pinned and no longer computed" for name in pinned.keys() - outputs.keys()]
    for name in outputs.keys() & pinned.keys():
        output, before = outputs[name], np.array(pinned[name], float)
        if output.values.shape != before.shape:
            found.append(f"{name} has {len(output.values)} values, {len(before)} are pinned")
        elif not np.allclose(output.values, before, rtol=0, atol=output.tolerance, equal_nan=True):
            largest = np.nanmax(np.abs(output.values - before))
            found.append(f"{name} differs by up to {largest:.3g}, more than {output.tolerance:.3g}")
    return sorted(found)


def problem(group: str, version: int, outputs: Mapping[str, Output], pins: Mapping[str, dict]) -> str | None:
    """Describes what is wrong with a group and how to fix it; None if its outputs equal the pinned ones."""
    pin = pins.get(group, {"version": None, "outputs": {}})
    if pin["version"] != version:
        return f"versions.{group} is {version}, pinned is {pin['version']}: run python test/pinned_outputs.py"
    if different := differences(outputs, pin["outputs"]):
        shown = "\n  ".join(different[:8] + ([f"and {len(different) - 8} more"] if len(different) > 8 else []))
        return (
            f"the outputs that versions.{group} stands for have changed: if this is intended, raise it in\n"
            f"wildhands_ros/versions.py, then run python test/pinned_outputs.py\n  {shown}"
        )
    return None


def updated(pins: Mapping[str, dict], groups: Iterable[str]) -> tuple[dict[str, dict], list[str]]:
    """Returns new pins for the ``groups`` whose version was raised, and the problems of the others."""
    after, wrong = dict(pins), []
    for group in groups:
        version, outputs = getattr(versions, group), GROUPS[group]()
        pinned = pins[group]["version"] if group in pins else 0
        if version > pinned:
            values = {name: [float(f"{value:.6g}") for value in output.values] for name, output in outputs.items()}
            after[group] = {"version": version, "outputs": values}
        elif text := problem(group, version, outputs, pins):
            wrong.append(text)
    return after, wrong


def main() -> int:
    pins = read_pins() if PINS.exists() else {}
    after, wrong = updated(pins, GROUPS)
    PINS.write_text(json.dumps(after, separators=(",", ":")).replace('],"', '],\n"') + "\n")
    for group in GROUPS:
        if after.get(group) != pins.get(group):
            print(f"{group}: pinned version {after[group]['version']}")
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
