"""MediaPipe's palm detector in PyTorch: its trunk and its palm heads.

Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020 (arXiv 2006.10214); weights Apache-2.0. An
encoder of depthwise separable residual blocks, followed by two upsampling steps at which palms are detected. It is
fully convolutional and takes images of any size whose sides are multiples of 32. It finds palms from about a tenth of a
192-pixel image on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .detector_cells import ANCHORS, PALM_KEYPOINTS
from .landmark_net import SameConv2d
from .mediapipe_weights import read_palm_weights

FINE_CHANNELS, COARSE_CHANNELS = 128, 256
FROZEN_STAGES = 3
"""Number of stages up to the encoder features of the fine cells."""


class Separable(nn.Module):
    """Residual block: depthwise 5x5, pointwise, PReLU.

    The skip connection is max-pooled if the stride is 2, and padded with zeros for additional channels.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = SameConv2d(in_channels, in_channels, 5, stride, groups=in_channels)
        self.pointwise = SameConv2d(in_channels, channels, 1)
        self.relu = nn.PReLU(channels)
        self._stride, self._new = stride, channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        past = F.max_pool2d(x, 2) if self._stride == 2 else x
        if self._new:
            past = F.pad(past, (0, 0, 0, 0, 0, self._new))
        return self.relu(past + self.pointwise(self.depthwise(x)))


class UpStep(nn.Module):
    """Upsamples features by two, projects them, adds the encoder's features of that size, and refines the sum."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.lateral = SameConv2d(in_channels, channels, 1)
        self.relu = nn.PReLU(channels)
        self.blocks = nn.Sequential(Separable(channels, channels), Separable(channels, channels))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.blocks(skip + self.relu(self.lateral(x)))


class PalmTrunk(nn.Module):
    """Maps (B, 3, H, W) RGB in 0..1 to features of the fine and the coarse cells.

    These have the shapes (B, 128, H / 8, W / 8) and (B, 256, H / 16, W / 16).
    """

    def __init__(self) -> None:
        super().__init__()

        def stage(in_channels: int, channels: int) -> list[nn.Module]:
            return [Separable(in_channels, channels, 2), *(Separable(channels, channels) for _ in range(4))]

        stem = [SameConv2d(3, 32, 5, 2), nn.PReLU(32), *(Separable(32, 32) for _ in range(4))]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(*layers)
                for layers in (stem, stage(32, 64), stage(64, 128), stage(128, 256), stage(256, 256))
            )
        )
        self.coarse = UpStep(256, COARSE_CHANNELS)
        self.fine = UpStep(COARSE_CHANNELS, FINE_CHANNELS)

    @property
    def front(self) -> nn.Module:
        """The first ``FROZEN_STAGES`` stages, from images to (B, 128, H / 8, W / 8)."""
        return self.stages[:FROZEN_STAGES]

    def coarse_features(self, front: Tensor) -> Tensor:
        """Returns the features of the coarse cells, given the result of ``front``."""
        middle = self.stages[3](front)
        return self.coarse(self.stages[4](middle), middle)

    def back(self, front: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the remaining stages on the result of ``front``."""
        coarse = self.coarse_features(front)
        return self.fine(coarse, front), coarse

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.back(self.front(x))


@dataclass(frozen=True)
class PalmOutput:
    """Outputs of the palm heads for B images; N anchors: those of the fine, then the coarse cells, row by row."""

    logits: Tensor
    """(B, N) logit that there is a palm."""
    boxes: Tensor
    """(B, N, 18) pixels from the anchor's cell centre: box centre x, y, width, height, x, y of each keypoint."""


class PalmHead(nn.Module):
    """Maps features of the fine and the coarse cells to a ``PalmOutput``."""

    def __init__(self) -> None:
        super().__init__()
        channels = FINE_CHANNELS, COARSE_CHANNELS
        values = 4 + 2 * PALM_KEYPOINTS
        self.layers = nn.ModuleList(
            SameConv2d(c, count * n, 1) for c, count in zip(channels, ANCHORS, strict=True) for n in (1, values)
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> PalmOutput:
        outputs = [
            layer(fine if i < 2 else coarse).permute(0, 2, 3, 1).flatten(1) for i, layer in enumerate(self.layers)
        ]
        boxes = torch.cat([outputs[1], outputs[3]], dim=1).unflatten(1, (-1, 4 + 2 * PALM_KEYPOINTS))
        return PalmOutput(torch.cat([outputs[0], outputs[2]], dim=1), boxes)


class PalmNet(nn.Module):
    """The whole palm detector."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = PalmTrunk()
        self.head = PalmHead()

    @classmethod
    def from_mediapipe(cls) -> PalmNet:
        """Returns the network with the weights in mediapipe's wheel, in evaluation mode.

        Raises:
            ImportError: mediapipe or openvino is not installed.
        """
        weights = read_palm_weights()
        net = cls()
        convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
        for module, layer in zip(convolutions, weights.convolutions, strict=True):
            module.load_state_dict({name: torch.from_numpy(value) for name, value in layer._asdict().items()})
        activations = [module for module in net.modules() if isinstance(module, nn.PReLU)]
        for activation, values in zip(activations, weights.slopes, strict=True):
            activation.load_state_dict({"weight": torch.from_numpy(values.copy())})
        return net.eval()

    def forward(self, images: Tensor) -> PalmOutput:
        """Detects palms in images, (B, 3, H, W) RGB in 0..1, whose sides are multiples of 32."""
        return self.head(*self.trunk(images))
