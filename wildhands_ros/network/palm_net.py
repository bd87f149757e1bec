"""MediaPipe's palm detector in PyTorch: a trunk that has seen real hands in whole pictures, and its palm heads.

Zhang et al., "MediaPipe Hands: On-device Real-time Hand Tracking", 2020 (arXiv 2006.10214); weights Apache-2.0. An encoder of depthwise
separable residual blocks and two steps back up, at which palms are looked for: fully convolutional, so it takes pictures of any size whose
sides are multiples of 32. Palms are found from about a tenth of a 192-pixel picture on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .landmark_net import SameConv2d
from .mediapipe_weights import read_palm_weights

STRIDES = (8, 16)
"""Pixels between the fine cells, and between the coarse ones."""
ANCHORS = (2, 6)
"""Guesses of one palm at a cell of each."""
FINE_CHANNELS, COARSE_CHANNELS = 128, 256
PALM_KEYPOINTS = 7
"""Wrist; bases of index, middle, ring, little finger; two of the thumb's."""
FROZEN_STAGES = 3
"""Stages up to the fine cells' encoder features."""


class Separable(nn.Module):
    """A residual block: depthwise 5x5, pointwise, PReLU; with stride 2 the way past it is max-pooled, new channels begin at zero."""

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
    """Twice as fine: upsampled, brought to the channels of the encoder's features of that size, added to them, refined."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.lateral = SameConv2d(in_channels, channels, 1)
        self.relu = nn.PReLU(channels)
        self.blocks = nn.Sequential(Separable(channels, channels), Separable(channels, channels))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.blocks(skip + self.relu(self.lateral(x)))


class PalmTrunk(nn.Module):
    """(B, 3, H, W) RGB in 0..1 to features of the fine cells (B, 128, H / 8, W / 8) and of the coarse ones (B, 256, H / 16, W / 16)."""

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
        """The first ``FROZEN_STAGES`` stages: a picture to (B, 128, H / 8, W / 8)."""
        return self.stages[:FROZEN_STAGES]

    def back(self, front: Tensor) -> tuple[Tensor, Tensor]:
        """What the rest makes of ``front``'s result."""
        middle = self.stages[3](front)
        coarse = self.coarse(self.stages[4](middle), middle)
        return self.fine(coarse, front), coarse

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.back(self.front(x))


@dataclass(frozen=True)
class PalmOutput:
    """What the palm heads say of B pictures; the N anchors are the fine cells' and then the coarse ones', row by row."""

    logits: Tensor
    """(B, N) that there is a palm."""
    boxes: Tensor
    """(B, N, 18) pixels, from the middle of the anchor's cell: box centre x, y, box width, height, and x, y of each keypoint."""


class PalmHead(nn.Module):
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
        """With the weights in mediapipe's wheel, in evaluation mode. Raises ImportError where mediapipe or openvino is missing."""
        weights = read_palm_weights()
        net = cls()
        convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
        for module, layer in zip(convolutions, weights.convolutions, strict=True):
            module.load_state_dict({name: torch.from_numpy(value) for name, value in layer._asdict().items()})
        slopes = [module for module in net.modules() if isinstance(module, nn.PReLU)]
        for module, values in zip(slopes, weights.slopes, strict=True):
            module.load_state_dict({"weight": torch.from_numpy(values.copy())})
        return net.eval()

    def forward(self, images: Tensor) -> PalmOutput:
        """(B, 3, H, W) RGB in 0..1; the sides are multiples of 32."""
        return self.head(*self.trunk(images))


def anchor_cells(height: int, width: int) -> Tensor:
    """(N, 2) x, y in pixels of the middles of the anchors' cells, for a picture of this size; pixels counted from the picture's edge."""
    cells = []
    for stride, count in zip(STRIDES, ANCHORS, strict=True):
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        middles = (torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride
        cells.append(middles.repeat_interleave(count, dim=0))
    return torch.cat(cells)
