"""Configuration of a training run: the keys of the YAML files in ``config/training``."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from ..config import OPEN
from ..datasets.labels import Supervision
from ..network.config import WildHandsConfig
from .losses import LossStyle, LossWeights

START_MEDIAPIPE = "mediapipe"
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
    """Floating-point precision of training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    """Trunks and fusion run under autocast; everything else, including losses and weights, stays float32."""
    FROZEN_BFLOAT16 = "frozen_bfloat16"
    """Only the frozen stages of the trunks and the teacher: for CPUs, where training in bfloat16 is slower."""


class Decay(enum.Enum):
    """Course of the learning rate."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """Falls to ``OptimizerConfig.final_share`` of the initial rate at the last step."""


@dataclass(frozen=True)
class SourceConfig:
    """One source of training images."""

    name: str
    """A dataset's name (``datasets.DATASETS``), ``world/`` and a preset of the synthetic world, or ``photographs``: for
    distillation, a folder of images without labels, or with COCO-style keypoints that only state where the hands
    are."""
    root: str = ""
    """The dataset's or the photographs' folder; ``installed`` stands for the photographs of installed wallpaper
    packages, if any."""
    annotations: str = ""
    """COCO-style file with the hands of the photographs in ``root``; empty for the files in that folder."""
    split: str = "train"
    weight: float = 1.0
    """Share of the images that come from this source, relative to the other sources."""
    labels: tuple[Supervision, ...] = ()
    """Labels to learn from. Empty for all that the dataset has for training; for the world, which knows all labels,
    keypoints, joints, pose, betas and camera, or grasp and mask if the preset has no 3D labels."""
    paper_labels: bool = False
    """Use the labels as the paper's training did, including its mistakes; for datasets only."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight must be positive, not {self.weight}")
        if not self.root and not self.name.startswith(WORLD_PREFIX):
            raise ValueError(f"{self.name!r} needs the root: the folder with its files")


@dataclass(frozen=True)
class AugmentationConfig:
    """Random changes of labelled images. The synthetic world brings its own appearance and noise; boxes and turns are
    varied here."""

    box_shift: float = 0.1
    """Largest shift of a crop's centre along each axis, relative to the box's longer side."""
    box_scale: float = 0.15
    """Largest change of a crop's size: a factor of up to 1 + this, larger or smaller."""
    turn_degrees: float = 10.0
    """Standard deviation of a crop's turn away from upright; for networks with upright crops."""
    roll_probability: float = 0.0
    """Probability that an image, with its labels, is rolled about the optical axis."""
    roll_degrees: float = 30.0
    """Standard deviation of the roll, clipped at two standard deviations."""
    colour: float = 0.2
    """Each colour channel is multiplied by a factor between 1 - this and 1 + this."""
    true_landmarks: float = 0.0
    """Probability that a labelled hand's landmarks, as the decoders see them, are moved towards the labels by a random
    part of the way. Landmarks are better on photographs than on renders, and on photographs the decoders should follow
    them. For networks with ``landmark_input``."""

    def __post_init__(self) -> None:
        for name in ("box_shift", "box_scale", "turn_degrees", "roll_degrees"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("roll_probability", "colour", "true_landmarks"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class GroupConfig:
    """Parts of the network with their own learning rate."""

    modules: tuple[str, ...]
    """Names from ``MODULES`` or of their submodules, such as ``hand_trunk.blocks.0``; the longest matching name
    counts."""
    lr_factor: float = 1.0
    """Factor of the optimiser's learning rate; with 0 the parts are frozen."""
    frozen_until: int = 0
    """Number of initial steps in which the parts are frozen."""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.modules if name.split(".")[0] not in MODULES]:
            raise ValueError(f"the network has no part {', '.join(unknown)}; its parts are {', '.join(MODULES)}")
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
    """Gradients with a larger norm are scaled down to this norm."""
    warmup_steps: int = 0
    """Length of the linear rise of the learning rate, which starts for each group when it is unfrozen."""
    decay: Decay = Decay.CONSTANT
    final_share: float = 0.01
    groups: tuple[GroupConfig, ...] = ()
    """Parts that are in no group have the factor 1 and are never frozen."""

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
    """Weights of the terms that distil the landmark network into the landmark head (see ``training.distillation``)."""

    landmarks: float = 0.0
    """Image landmarks: mean distance relative to half a crop."""
    world: float = 0.0
    """World landmarks: mean distance in metres."""
    presence: float = 0.0
    side: float = 0.0
    others: float = 1.0
    """Weight of labelled images, such as renders, relative to photographs."""
    tolerance: float = 0.0
    """Error of the teacher relative to the labels, as a fraction of the hand's extent, above which labels take its
    place. With 0, labels are not used."""

    @property
    def is_used(self) -> bool:
        return bool(self.landmarks or self.world or self.presence or self.side)


@dataclass(frozen=True)
class CheckpointConfig:
    """When the state is saved: after so many steps or seconds, whichever comes first."""

    every_steps: int = 1000
    every_seconds: float = 600.0
    half: bool = False
    """Whether the exported weights are rounded to half precision."""

    def __post_init__(self) -> None:
        if self.every_steps < 1 or not self.every_seconds > 0:
            raise ValueError("every_steps and every_seconds must be positive")


@dataclass(frozen=True)
class LogConfig:
    """What is logged, and how often."""

    every_steps: int = 50
    """Number of steps over which the losses are averaged."""
    images_every_steps: int = 2000
    """Number of steps between images of predictions; 0 for none."""

    def __post_init__(self) -> None:
        if self.every_steps < 1 or self.images_every_steps < 0:
            raise ValueError("every_steps must be positive and images_every_steps not negative")


@dataclass(frozen=True)
class TrainingConfig:
    """A training run. It contains everything that affects the result, so a run can only be resumed with the same
    values."""

    network: WildHandsConfig
    sources: tuple[SourceConfig, ...]
    steps: int
    batch_size: int
    """Images per step, each with one or two hands, of all processes together."""
    pool: int = 0
    """Number of images that are reused in every epoch, with the outputs of the trunk's frozen stages stored in the
    cache folder: several times faster on a CPU. With 0, every image is new."""
    seed: int = 1
    start: str = ""
    """Initial weights: empty for random ones, ``mediapipe`` for its landmark network as the trunk, or a checkpoint."""
    hand_model: str = OPEN
    """``open``, or the folder that contains MANO's files."""
    dropout: float = 0.5
    """Dropout probability in the decoders."""
    losses: LossWeights = field(default_factory=LossWeights)
    loss_style: LossStyle = LossStyle.CORRECTED
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    ema_decay: float = 0.999
    """Decay of the moving average of the weights, which is what is exported; it is smaller in the first steps. With 0,
    the weights themselves are exported."""
    precision: Precision = Precision.FLOAT32
    device: str = "auto"
    """A torch device; ``auto`` uses a GPU if there is one."""
    workers: int = 1
    """Number of processes that prepare examples for each training process; with 0, it does so itself."""
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
            raise ValueError("sources must name at least one source of images")


RESUMABLE_CHANGES = ("device", "workers", "checkpoints", "log")
"""Keys that may change when a run is resumed."""
