"""MediaPipe's hand landmark network in PyTorch: its trunk, and its landmark, presence and handedness heads.

Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020 (arXiv 2006.10214); weights Apache-2.0. The
trunk resembles EfficientNet-B0 (Tan and Le, ICML 2019) with ReLU6 and without squeeze-and-excitation. It was trained on
crops of real hands, turned so that the hand points up, from the wrist to the middle finger's base.

Batch normalisation is folded into the convolutions, so the network is trained without it, in small steps. To restore
one behind a convolution without changing the outputs, compute mean m and standard deviation s of the convolution's
outputs on real crops, and set running_mean = bias = m, running_var = s^2 and weight = s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mediapipe_weights import OUTPUTS, read_landmark_weights
from .trunk_kinds import TRUNKS

LANDMARK_CROP_SIZE = 224
"""Side in pixels of the crops on which the heads were trained."""
TRUNK_CHANNELS = TRUNKS["mediapipe_hand"].channels
NUM_LANDMARKS = 21


class Block(NamedTuple):
    """One inverted residual block (Sandler et al., CVPR 2018)."""

    expanded: int
    kernel: int
    stride: int
    out: int


STEM_CHANNELS = 24
BLOCKS = (
    Block(24, 3, 1, 16),
    Block(64, 3, 2, 24),
    Block(144, 3, 1, 24),
    Block(144, 5, 2, 40),
    Block(240, 5, 1, 40),
    Block(240, 3, 2, 80),
    Block(480, 3, 1, 80),
    Block(480, 3, 1, 80),
    Block(480, 5, 1, 112),
    Block(672, 5, 1, 112),
    Block(672, 5, 1, 112),
    Block(672, 5, 2, 192),
    Block(1152, 5, 1, 192),
    Block(1152, 5, 1, 192),
    Block(1152, 5, 1, 192),
)
"""The first block does not expand. ``LandmarkTrunk`` adds a last one without projection."""


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for inputs whose sides are multiples of the stride."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        total = kernel - stride
        is_even = total % 2 == 0
        super().__init__(in_channels, out_channels, kernel, stride, padding=total // 2 if is_even else 0, groups=groups)
        self._uneven_padding = None if is_even else (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self._uneven_padding is None else F.pad(x, self._uneven_padding))


class InvertedResidual(nn.Module):
    def __init__(self, in_channels: int, block: Block) -> None:
        super().__init__()
        layers = []
        if block.expanded != in_channels:
            layers += [SameConv2d(in_channels, block.expanded, 1), nn.ReLU6(inplace=True)]
        layers += [
            SameConv2d(block.expanded, block.expanded, block.kernel, block.stride, groups=block.expanded),
            nn.ReLU6(inplace=True),
        ]
        layers += [SameConv2d(block.expanded, block.out, 1)]
        self.layers = nn.Sequential(*layers)
        self._is_residual = block.stride == 1 and in_channels == block.out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self._is_residual else self.layers(x)


class LandmarkTrunk(nn.Module):
    """Maps (B, in_channels, 224, 224), of which the first three channels are RGB in 0..1, to (B, 1152, 7, 7) in 0..6.

    Other sizes that are multiples of 32 work as well. Weights are random until they are loaded; without normalisation,
    the trunk hardly trains from random weights: see ``LandmarkNet.from_mediapipe``.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(SameConv2d(in_channels, STEM_CHANNELS, 3, stride=2), nn.ReLU6(inplace=True))
        blocks, channels = [], STEM_CHANNELS
        for block in BLOCKS:
            blocks.append(InvertedResidual(channels, block))
            channels = block.out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(
            SameConv2d(channels, TRUNK_CHANNELS, 1),
            nn.ReLU6(inplace=True),
            SameConv2d(TRUNK_CHANNELS, TRUNK_CHANNELS, 3, groups=TRUNK_CHANNELS),
            nn.ReLU6(inplace=True),
        )

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The stages, in order."""
        return self.stem, *self.blocks, self.last

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        """Runs the stages from number ``first`` on, whose input ``x`` is."""
        for stage in self.stages[first:]:
            x = stage(x)
        return x.float()

    @torch.no_grad()
    def copy_from(self, trunk: LandmarkTrunk) -> None:
        """Copies the weights of ``trunk``, which sees colours only; weights of other input channels become zero."""
        state = trunk.state_dict()
        colours = state["stem.0.weight"]
        state["stem.0.weight"] = torch.zeros_like(self.stem.get_parameter("0.weight"))
        state["stem.0.weight"][:, : colours.shape[1]] = colours
        self.load_state_dict(state)


@dataclass(frozen=True)
class LandmarkOutput:
    """Outputs of the landmark network for B crops."""

    features: Tensor
    """(B, 1152, 7, 7) the trunk's features."""
    landmarks: Tensor
    """(B, 21, 2) pixels of the crop, MediaPipe order; pixel centres are at integer coordinates."""
    landmark_z: Tensor
    """(B, 21) depth relative to the wrist, positive behind it, on about the scale of ``landmarks``."""
    presence_logit: Tensor
    """(B,)"""
    is_right_logit: Tensor
    """(B,)"""
    world: Tensor
    """(B, 21, 3) metres, relative to about the hand's centre, along the axes of the crop, turned or not."""

    @property
    def presence(self) -> Tensor:
        """(B,) probability that the crop shows a hand."""
        return self.presence_logit.sigmoid()

    @property
    def is_right(self) -> Tensor:
        """(B,) probability that the hand, if there is one, is a right hand."""
        return self.is_right_logit.sigmoid()


class LandmarkHead(nn.Module):
    """Maps features of 224-pixel crops, (B, 1152, 7, 7), to a ``LandmarkOutput``."""

    def __init__(self) -> None:
        super().__init__()
        self.landmarks = nn.Linear(TRUNK_CHANNELS, 3 * NUM_LANDMARKS)
        self.presence = nn.Linear(TRUNK_CHANNELS, 1)
        self.is_right = nn.Linear(TRUNK_CHANNELS, 1)
        self.world = nn.Linear(TRUNK_CHANNELS, 3 * NUM_LANDMARKS)

    def forward(self, features: Tensor) -> LandmarkOutput:
        pooled = features.mean(dim=(2, 3))
        landmarks = self.landmarks(pooled).reshape(-1, NUM_LANDMARKS, 3)
        return LandmarkOutput(
            features=features,
            # The network measures from the crop's edge; pixel centres are half a pixel away from it.
            landmarks=landmarks[..., :2] - 0.5,
            landmark_z=landmarks[..., 2],
            presence_logit=self.presence(pooled).squeeze(-1),
            is_right_logit=self.is_right(pooled).squeeze(-1),
            world=self.world(pooled).reshape(-1, NUM_LANDMARKS, 3),
        )


class LandmarkNet(nn.Module):
    """The whole network. Its ``state_dict`` is complete: loading it needs neither mediapipe nor openvino."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = LandmarkTrunk()
        self.head = LandmarkHead()

    @classmethod
    def from_mediapipe(cls) -> LandmarkNet:
        """Returns the network with the weights in mediapipe's wheel, in evaluation mode.

        Raises:
            ImportError: mediapipe or openvino is not installed.
        """
        weights = read_landmark_weights()
        net = cls()
        convolutions = [module for module in net.trunk.modules() if isinstance(module, nn.Conv2d)]
        heads = [getattr(net.head, name) for name in OUTPUTS]
        layers = [*weights.convolutions, *(weights.heads[name] for name in OUTPUTS)]
        for module, layer in zip([*convolutions, *heads], layers, strict=True):
            module.load_state_dict({name: torch.from_numpy(value) for name, value in layer._asdict().items()})
        return net.eval()

    def forward(self, crops: Tensor) -> LandmarkOutput:
        """Runs the network on crops, (B, 3, 224, 224) RGB in 0..1.

        Raises:
            ValueError: the crops have another shape.
        """
        if crops.shape[1:] != (3, LANDMARK_CROP_SIZE, LANDMARK_CROP_SIZE):
            raise ValueError(
                f"expected crops (B, 3, {LANDMARK_CROP_SIZE}, {LANDMARK_CROP_SIZE}), got {tuple(crops.shape)}"
            )
        return self.head(self.trunk(crops))
