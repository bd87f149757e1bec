"""Trains and tests one variant on cached features."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ...datasets.labels import LabelledHand, LabelledImage
from ...hand_model.asset import open_hands
from ...hand_model.joints import MANO_TO_MEDIAPIPE
from ...hand_model.layer import HandLayer
from ...network.model import WildHands, WildHandsOutput
from ...training.config import Decay, OptimizerConfig
from ...training.ema import WeightAverage
from ...training.initialisation import initialize_heads
from ...training.losses import LossStyle, LossWeights, compute_losses, masked_hands
from ...training.optimization import Optimization
from ...training.randomness import generator, seed_torch
from ...training.soft_silhouette import soft_silhouettes
from ...training.targets import Targets
from ...types import Grasp, Side
from ..figures import Figures, HandResult, Measurements
from .features import MASK_SIZE, FeatureSet
from .inputs import batch_targets, joined, mask_camera, trunk_features, variant_inputs
from .variants import Variant

LAB_IMAGES, WILD_IMAGES = 24, 8
"""Images per batch; no wild images if the variant has no wild worlds."""
OPTIMIZER = OptimizerConfig(lr=2e-3, weight_decay=1e-4, clip_norm=1e6, warmup_steps=100, decay=Decay.COSINE)
"""Gradient norms fall from thousands to tens. Clipping them early would make Adam underestimate the later ones, and its
large steps would then leave dead units; so the limit is too high to matter."""
DROPOUT, EMA_DECAY = 0.1, 0.99

_WEIGHTS, _ORDER = 0, 1
"""Streams of random numbers."""
_TEST_BATCH = 64


@dataclass(frozen=True)
class TrainingSet:
    """The training hands of a variant."""

    features: FeatureSet
    has_3d: np.ndarray
    """(H,) bool: hands with labelled joints, poses and cameras; the others have masks and grasps."""

    @classmethod
    def of(cls, lab: list[FeatureSet], wild: list[FeatureSet]) -> TrainingSet:
        """Join sets with 3D labels (``lab``) and sets without (``wild``)."""
        has_3d = np.concatenate(
            [np.full(len(features), True) for features in lab] + [np.full(len(features), False) for features in wild]
        )
        return cls(joined([*lab, *wild]), has_3d)


class _Heads(nn.Module):
    """A variant's network without its trunk."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.network = WildHands(variant.network)
        self.network.hand_trunk = nn.Identity()
        self.network.landmark_head = None
        initialize_heads(self.network)
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = DROPOUT
        assets = open_hands()
        self.layer = HandLayer(assets[Side.RIGHT], assets[Side.LEFT], flat_hand_mean=False)
        faces = torch.stack([torch.from_numpy(assets[side].faces).long() for side in (Side.LEFT, Side.RIGHT)])
        self.faces: Tensor
        self.register_buffer("faces", faces, persistent=False)

    def forward(self, features: Tensor, kpe: Tensor, targets: Targets) -> tuple[WildHandsOutput, Tensor, Tensor]:
        """Return the network's output, and vertices and joints in the camera frame."""
        output = self.network(features, kpe, targets.is_right, targets.focal, targets.anchor, turn=targets.turn)
        rotations = output.rotations
        hand = self.layer(
            rotations[:, 0], rotations[:, 1:], output.betas, output.translation, is_right=targets.is_right
        )
        return output, hand.vertices, hand.joints

    def loss(self, features: Tensor, kpe: Tensor, targets: Targets, weights: LossWeights) -> Tensor:
        """Return the weighted sum of all losses."""
        output, vertices, joints = self(features, kpe, targets)
        silhouettes = None
        if weights.mask and targets.mask is not None:
            chosen = masked_hands(targets, LossStyle.CORRECTED).nonzero().squeeze(1)
            faces, k = self.faces[targets.is_right[chosen].long()], mask_camera(targets.k[chosen])
            drawn = soft_silhouettes(vertices[chosen], faces, k, MASK_SIZE, MASK_SIZE)
            silhouettes = vertices.new_zeros(len(vertices), MASK_SIZE, MASK_SIZE).index_copy(0, chosen, drawn)
        network = self.network.config
        return compute_losses(
            output, targets, network.camera, joints=joints, silhouettes=silhouettes, weights=weights
        ).total


def train(variant: Variant, data: TrainingSet, steps: int, seed: int, bar_position: int | None = None) -> nn.Module:
    """Train a variant.

    Args:
        variant: The network and its losses.
        data: The training hands.
        steps: Number of optimisation steps.
        seed: Seed of the weights and of the order of the images.
        bar_position: Line of the progress bar; None for no bar.

    Returns:
        The network with the average of its weights, in evaluation mode.
    """
    inputs = variant_inputs(data.features, variant)
    seed_torch(seed, _WEIGHTS)
    heads = _Heads(variant)
    optimizer = replace(OPTIMIZER, warmup_steps=min(OPTIMIZER.warmup_steps, steps))
    optimization = Optimization(heads.network, optimizer, steps)
    average = WeightAverage(heads.network, EMA_DECAY)
    by_image = _hands_by_image(data)
    bar = tqdm(
        total=steps,
        desc=f"{variant.name} {seed}",
        position=bar_position,
        leave=False,
        file=sys.stderr,
        disable=bar_position is None,
    )
    with bar:
        for step in range(1, steps + 1):
            optimization.prepare(step)
            rows = _batch(by_image, generator(seed, _ORDER, step))
            seed_torch(seed, _ORDER, step)
            targets = batch_targets(data.features, inputs, rows, data.has_3d[rows])
            features = trunk_features(data.features, variant.view, rows)
            heads.loss(features, inputs.kpe[torch.from_numpy(rows)], targets, variant.losses).backward()
            optimization.update()
            average.update(heads.network, step)
            bar.update()
    heads.network.load_state_dict(average.weights)
    return heads.eval()


@torch.inference_mode()
def measure(variant: Variant, heads: nn.Module, features: FeatureSet) -> Figures:
    """Evaluate the network on a world, given the true boxes."""
    inputs = variant_inputs(features, variant)
    grasps, joints = [], []
    for rows in np.array_split(np.arange(len(features)), max(1, len(features) // _TEST_BATCH)):
        targets = batch_targets(features, inputs, rows, np.full(len(rows), True))
        output, _, found = heads(
            trunk_features(features, variant.view, rows), inputs.kpe[torch.from_numpy(rows)], targets
        )
        joints.append(found.double().numpy())
        grasps.append(output.grasp_logits.argmax(dim=-1).numpy())
    estimated, grasp = np.concatenate(joints)[:, MANO_TO_MEDIAPIPE], np.concatenate(grasps)
    truth = features["joints_3d"].astype(np.float64)[:, MANO_TO_MEDIAPIPE]
    measurements = Measurements()
    for number in range(features.num_images):
        camera = features.camera(number)
        hands, results = [], []
        for row in np.flatnonzero(features["image_index"] == number):
            keypoints = camera.project(truth[row])
            side = Side.RIGHT if features["is_right"][row] else Side.LEFT
            box = np.concatenate([np.nanmin(keypoints, axis=0), np.nanmax(keypoints, axis=0)])
            hands.append(LabelledHand(box, side, keypoints, truth[row], grasp=Grasp(int(features["grasp"][row]))))
            is_graded = bool(variant.wild) and bool(variant.losses.grasp)
            guess = Grasp(int(grasp[row])) if is_graded else None
            results.append(HandResult(estimated[row], camera.project(estimated[row]), side, guess))
        measurements.add(LabelledImage(str(number), _no_image, camera, tuple(hands)), results)
    return measurements.figures()


def _no_image() -> np.ndarray:
    raise ValueError("the features were kept, the images were not")


def _hands_by_image(data: TrainingSet) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the rows of each image's hands: of the images with 3D labels, and of the others."""
    order = np.argsort(data.features["image_index"], kind="stable")
    by_image = np.split(order, np.flatnonzero(np.diff(data.features["image_index"][order])) + 1)
    return [rows for rows in by_image if data.has_3d[rows[0]]], [rows for rows in by_image if not data.has_3d[rows[0]]]


def _batch(by_image: tuple[list[np.ndarray], list[np.ndarray]], rng: np.random.Generator) -> np.ndarray:
    """Draw the rows of a batch. The lab comes first, so that its images do not depend on whether there are wild
    ones."""
    chosen = [
        images[index]
        for images, count in zip(by_image, (LAB_IMAGES, WILD_IMAGES), strict=True)
        if images
        for index in rng.choice(len(images), min(count, len(images)), replace=False)
    ]
    return np.concatenate(chosen)
