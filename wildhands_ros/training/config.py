"""What a training run is made of: the keys of the YAML files in ``config/training``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ..datasets.labels import Supervision
from ..network.config import WildHandsConfig
from .losses import LossStyle, LossWeights

START_MEDIAPIPE = "mediapipe"
OPEN_HAND = "open"
WORLD_PREFIX = "world/"
PHOTOGRAPHS = "photographs"
INSTALLED = "installed"
MODULES = (
    "hand_trunk",
    "image_trunk",
    "landmark_head",
    "landmark_encoder",
    "fusion",
    "right_head",
    "left_head",
    "grasp_head",
)
"""Parts of ``WildHands`` that a ``GroupConfig`` may name."""


class Precision(enum.Enum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """The trunks' and the fusion's convolutions under autocast; all the rest, losses and weights included, stays float32."""
    FROZEN_BFLOAT16 = "frozen_bfloat16"
    """Only the stages of the trunks that are frozen, and the teacher: on a CPU, where training in bfloat16 would be slower."""


class Decay(enum.Enum):
    CONSTANT = "constant"
    COSINE = "cosine"
    """From the learning rate to ``OptimizerConfig.final_share`` of it at the last step."""


@dataclass(frozen=True)
class SourceConfig:
    """One source of pictures."""

    name: str
    """A data set's name (``training.datasets.DATASETS``), ``world/`` with a preset of the synthetic world, or ``photographs``: a folder of
    pictures without labels, or with COCO-style keypoints that only say where the hands are, for distillation."""
    root: str = ""
    """The data set's folder, or that of the photographs; for these, ``installed`` stands for those of wallpaper packages, if any."""
    split: str = "train"
    weight: float = 1.0
    """Share of the pictures that come from here, relative to the other sources."""
    labels: tuple[Supervision, ...] = ()
    """What is learnt from these pictures; empty: all that the data set has for training. Of the world, which knows everything:
    keypoints, joints, pose, betas and camera, or grasp and mask where the preset has no 3D labels."""
    paper_labels: bool = False
    """The labels as the paper's training had them, mistakes included; of data sets only."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight must be positive, not {self.weight}")
        if not self.root and not self.name.startswith(WORLD_PREFIX):
            raise ValueError(f"{self.name!r} needs the root: the folder with its files")


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of labelled pictures; the synthetic world has its own looks and noise, but boxes and turns vary here."""

    box_shift: float = 0.1
    """Greatest shift of a crop's centre along each axis, over the box's longer side."""
    box_scale: float = 0.15
    """Greatest change of a crop's size: by a factor of up to 1 + this, either way."""
    turn_degrees: float = 10.0
    """Standard deviation by which a crop is turned off upright; for networks with upright crops."""
    roll_probability: float = 0.0
    """Share of the pictures that are rolled about the optical axis, labels included."""
    roll_degrees: float = 30.0
    """Standard deviation of the roll, cut off at twice as much."""
    colour: float = 0.2
    """Each channel is multiplied by up to 1 +- this."""
    true_landmarks: float = 0.0
    """Share of the labelled hands whose landmarks, as the decoders see them, are moved towards the true joints, by any part of the way:
    landmarks are better on photographs than on renders, and there the decoders have to follow them. For networks with
    ``landmark_input``."""

    def __post_init__(self) -> None:
        for name in ("box_shift", "box_scale", "turn_degrees", "roll_degrees"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("roll_probability", "colour", "true_landmarks"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class GroupConfig:
    """Parts of the network with a learning rate of their own."""

    modules: tuple[str, ...]
    """Names from ``MODULES``, or of parts of these, with dots, such as ``hand_trunk.blocks.0``; the longest name that fits counts."""
    lr_factor: float = 1.0
    """Times the optimizer's learning rate; with 0 the parts never change."""
    frozen_until: int = 0
    """Steps before which the parts do not change."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.modules if name.split(".")[0] not in MODULES]:
            raise ValueError(f"the network has no part {', '.join(unknown)}; it has {', '.join(MODULES)}")
        if not self.lr_factor >= 0 or self.frozen_until < 0:
            raise ValueError(
                f"lr_factor and frozen_until must not be negative, not {self.lr_factor} and {self.frozen_until}"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam (Kingma and Ba, ICLR 2015), with decoupled weight decay (Loshchilov and Hutter, ICLR 2019)."""

    lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip_norm: float = 150.0
    """Gradients are scaled down to this norm where they exceed it."""
    warmup_steps: int = 0
    """Linear rise of the learning rate, for each group from when it is no longer frozen."""
    decay: Decay = Decay.CONSTANT
    final_share: float = 0.01
    groups: tuple[GroupConfig, ...] = ()
    """Parts that are in none have factor 1 and are never frozen."""

    def __post_init__(self) -> None:
        if not (self.lr > 0 and self.clip_norm > 0):
            raise ValueError(f"lr and clip_norm must be positive, not {self.lr} and {self.clip_norm}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie between 0 and 1, not {self.betas}")
        if not (self.weight_decay >= 0 and self.warmup_steps >= 0 and 0 <= self.final_share <= 1):
            raise ValueError("weight_decay and warmup_steps must not be negative, final_share must lie between 0 and 1")
        named = [module for group in self.groups for module in group.modules]
        if twice := {module for module in named if named.count(module) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} is in more than one group")


@dataclass(frozen=True)
class DistillationConfig:
    """Weights of the terms that hold the landmark head to what it said before training (see ``training.distillation``)."""

    landmarks: float = 0.0
    """Image landmarks, mean distance over half a crop."""
    world: float = 0.0
    """World landmarks, mean distance in metres."""
    presence: float = 0.0
    side: float = 0.0
    others: float = 1.0
    """How much pictures with labels, such as renders, count in comparison with photographs."""
    tolerance: float = 0.0
    """Where there are labels, the share of a hand's length by which what was said may miss them: beyond that, the label takes its place.
    0: labels have no part in this."""

    @property
    def is_used(self) -> bool:
        return bool(self.landmarks or self.world or self.presence or self.side)


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state is saved: whichever comes first."""

    every_steps: int = 1000
    every_seconds: float = 600.0
    half: bool = False
    """Whether the exported weights are rounded to 16 bits."""

    def __post_init__(self) -> None:
        if self.every_steps < 1 or not self.every_seconds > 0:
            raise ValueError("every_steps and every_seconds must be positive")


@dataclass(frozen=True)
class LogConfig:
    every_steps: int = 50
    """Steps over which the losses are averaged."""
    images_every_steps: int = 2000
    """0: no pictures."""

    def __post_init__(self) -> None:
        if self.every_steps < 1 or self.images_every_steps < 0:
            raise ValueError("every_steps must be positive and images_every_steps not negative")


@dataclass(frozen=True)
class TrainingConfig:
    """A training run. Everything that changes the result is here, so a run is resumed with the same values only."""

    network: WildHandsConfig
    sources: tuple[SourceConfig, ...]
    steps: int
    batch_size: int
    """Pictures, which may show two hands, of all processes together."""
    pool: int = 0
    """Number of pictures that are used again and again, with what the trunk's frozen stages make of them kept in the cache folder: several
    times faster on a CPU. 0: every picture is new."""
    seed: int = 1
    start: str = ""
    """Weights to begin with: empty for random ones, ``mediapipe`` for its landmark network as the trunk, or a checkpoint."""
    hand_model: str = OPEN_HAND
    """``open``, or the folder with MANO's files."""
    dropout: float = 0.5
    """Of the decoders."""
    losses: LossWeights = field(default_factory=LossWeights)
    loss_style: LossStyle = LossStyle.CORRECTED
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema_decay: float = 0.999
    """Of the moving average of the weights, which is what is exported; it is less in the first steps. 0: the weights themselves."""
    precision: Precision = Precision.FLOAT32
    device: str = "auto"
    """A torch device; ``auto``: a GPU where there is one."""
    workers: int = 1
    """Processes that prepare pictures, for each training process; 0: none besides it."""
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("seed", "workers", "pool"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("dropout", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if not self.sources:
            raise ValueError("sources must name at least one source of pictures")


RESUMABLE_CHANGES = ("device", "workers", "checkpoints", "log")
"""Keys that a run may be resumed with other values of."""
