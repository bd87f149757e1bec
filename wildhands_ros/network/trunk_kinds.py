"""Properties of the convolutional trunks, which ``trunks`` builds."""

from __future__ import annotations

from dataclasses import dataclass

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TrunkKind:
    """An entry of ``TRUNKS``."""

    channels: int
    stride: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colours are normalised as (RGB in 0..1 - mean) / std."""
    has_landmarks: bool = False
    """Whether the trunk has a ``LandmarkHead``."""


TRUNKS = {
    "resnet50": TrunkKind(2048, 32, IMAGENET_MEAN, IMAGENET_STD),
    "resnet18": TrunkKind(512, 32, IMAGENET_MEAN, IMAGENET_STD),
    "mediapipe_hand": TrunkKind(1152, 32, has_landmarks=True),
}
"""Known trunks by name."""
