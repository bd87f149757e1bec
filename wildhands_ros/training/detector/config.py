"""Configuration of the hand detector's training: the keys of ``config/training/detector.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import CheckpointConfig, LogConfig

START_MEDIAPIPE, START_DEFAULT, START_SECOND_STAGE = "mediapipe", "default", "second_stage"
IMAGES = ("frames", "second_stage")


@dataclass(frozen=True)
class DetectorLossWeights:
    """Weights of the loss terms."""

    centre: float = 1.0
    """Focal loss of the centres, divided by the number of hands (Zhou et al. 2019, eq. 1)."""
    offset: float = 1.0
    log_size: float = 1.0
    right: float = 0.5
    up: float = 0.5
    palms: float = 1.0
    """Distils the palms' logits and boxes from MediaPipe's detector on the same image."""


@dataclass(frozen=True)
class DetectorTrainingConfig:
    """A training run. It contains everything that affects the result, so a run can only be resumed with the same
    values."""

    steps: int
    batch_size: int
    pool: int
    """Number of images that are rendered once, stored in the cache folder and reused, each time with another
    augmentation."""
    images: str = "frames"
    """What it learns from: whole ``frames``, or ``second_stage`` crops around the bundled detector's proposals."""
    world: str = "frames"
    """Preset of the synthetic world."""
    real_images: str = ""
    """Folder of photographs with boxes of hands (see docs/training.md) to learn from as well; empty for none."""
    self_labels: str = ""
    """File of ``wildhands self-label`` with labels of further images of ``real_images``; empty for none."""
    real_share: float = 0.5
    """Share of the photographs in each batch."""
    worn_share: float = 0.0
    """Share of the images in which gloves, markers and devices are drawn on hands (see ``synthetic.worn_things``)."""
    moving_share: float = 0.0
    """Share of the images in which hands are blurred by motion."""
    cut_share: float = 0.0
    """Share of the images in which an image edge cuts a hand."""
    seed: int = 1
    start: str = START_MEDIAPIPE
    """Initial weights: ``mediapipe`` (its palm detector), ``default`` (the bundled detector), ``second_stage`` (the
    bundled second-stage detector) or a file of an earlier run."""
    lr: float = 2e-3
    trunk_factor: float = 0.05
    """Learning rate of the trunk's last stages and of the palm heads, relative to ``lr``; the first stages are
    frozen."""
    cached_batches: int = 0
    """Number of batches whose trunk features are computed once, kept in memory and reused in turn; 0 for new images in
    each step. With it, only the trunk's last upsampling step and the hand head are trained, at a tenth of the cost."""
    trunk_frozen_until: int = 500
    """Number of initial steps in which only the hand head is trained."""
    warmup_steps: int = 100
    final_share: float = 0.02
    """Final learning rate relative to ``lr``; it decays along a cosine."""
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    ema_decay: float = 0.998
    losses: DetectorLossWeights = field(default_factory=DetectorLossWeights)
    workers: int = 0
    """Number of processes that prepare batches; with 0, the training process does it."""
    checkpoints: CheckpointConfig = field(default_factory=lambda: CheckpointConfig(every_steps=500))
    log: LogConfig = field(default_factory=lambda: LogConfig(images_every_steps=0))

    def __post_init__(self) -> None:
        if self.images not in IMAGES:
            raise ValueError(f"images must be {' or '.join(IMAGES)}, not {self.images!r}")
        for name in ("steps", "batch_size", "pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("seed", "workers", "cached_batches", "trunk_frozen_until", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.cached_batches and self.losses.palms > 0:
            raise ValueError("cached_batches cannot train the palm heads: set losses.palms to 0")
        if self.self_labels and not self.real_images:
            raise ValueError("self_labels needs real_images: the folder whose images it labels")
        for name in ("real_share", "worn_share", "moving_share", "cut_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        if not (self.lr > 0 and self.clip_norm > 0 and self.trunk_factor >= 0 and 0 <= self.ema_decay < 1):
            raise ValueError(
                "lr and clip_norm must be positive, trunk_factor not negative, ema_decay at least 0 and below 1"
            )


RESUMABLE_CHANGES = ("workers", "checkpoints", "log")
"""Keys that may change when a run is resumed."""
