"""What a training run of the hand detector is made of: the keys of ``config/training/detector.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import CheckpointConfig, LogConfig

START_MEDIAPIPE, START_DEFAULT = "mediapipe", "default"
PICTURES = ("frames", "second_stage")


@dataclass(frozen=True)
class DetectorLossWeights:
    centre: float = 1.0
    """Focal loss of the peaks, over the number of hands (Zhou et al. 2019, eq. 1)."""
    offset: float = 1.0
    log_size: float = 1.0
    right: float = 0.5
    up: float = 0.5
    palms: float = 1.0
    """Holds palms' logits and boxes to what MediaPipe's detector says of the same picture."""


@dataclass(frozen=True)
class DetectorTrainingConfig:
    """A training run. Everything that changes the result is here, so a run is resumed with the same values only."""

    steps: int
    batch_size: int
    pool: int
    """Pictures that are drawn once, kept in the cache folder and used again and again, each time cut, mirrored and coloured otherwise."""
    pictures: str = "frames"
    """What it learns from: whole frames, or close-ups of what the detector in the box proposes."""
    world: str = "frames"
    """Preset of the synthetic world."""
    seed: int = 1
    start: str = START_MEDIAPIPE
    """Weights to begin with: MediaPipe's palm detector, the detector in the box (``default``), or a file of an earlier run."""
    lr: float = 2e-3
    trunk_factor: float = 0.05
    """Learning rate of the trunk's last stages and of the palm heads, over ``lr``; its first stages never change."""
    trunk_frozen_until: int = 500
    """Steps before which only the hand head learns."""
    warmup_steps: int = 100
    final_share: float = 0.02
    """Of the learning rate, which falls along a cosine."""
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    ema_decay: float = 0.998
    losses: DetectorLossWeights = field(default_factory=DetectorLossWeights)
    workers: int = 0
    """Processes that prepare batches; 0: none besides the training process."""
    checkpoints: CheckpointConfig = field(default_factory=lambda: CheckpointConfig(every_steps=500))
    log: LogConfig = field(default_factory=lambda: LogConfig(images_every_steps=0))

    def __post_init__(self) -> None:
        if self.pictures not in PICTURES:
            raise ValueError(f"pictures are {' or '.join(PICTURES)}, not {self.pictures!r}")
        for name in ("steps", "batch_size", "pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("seed", "workers", "trunk_frozen_until", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        if not (self.lr > 0 and self.clip_norm > 0 and self.trunk_factor >= 0 and 0 <= self.ema_decay < 1):
            raise ValueError(
                "lr and clip_norm must be positive, trunk_factor not negative, ema_decay at least 0 and below 1"
            )


RESUMABLE_CHANGES = ("workers", "checkpoints", "log")
"""Keys that a run may be resumed with other values of."""
