"""The hand detector's network: MediaPipe's palm detector with an additional head that detects whole hands.

The hand head is anchor-free, as in Zhou et al., "Objects as Points", 2019 (arXiv 1904.07850): the heat map has a peak
in the cell of a hand's centre, and the other maps describe the hand there. It is trained on renders (``wildhands
train-detector``); the palm heads keep MediaPipe's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .network_file import DEFAULT_DETECTOR, detector_digest
from .onnx_file import OnnxError, read_weights
from .palm_net import COARSE_CHANNELS, FINE_CHANNELS, PalmHead, PalmNet, PalmOutput, PalmTrunk, Separable

HAND_CHANNELS = 96
PRIOR = 0.01
"""Initial score of all cells: hardly any cell is a hand's centre (Lin et al., ICCV 2017)."""


@dataclass(frozen=True)
class HandMaps:
    """The hand head's outputs for B images, per cell: H' = H / 8, W' = W / 8."""

    centre_logit: Tensor
    """(B, H', W') logit that a hand's centre lies in the cell."""
    offset: Tensor
    """(B, 2, H', W') x, y from the cell's centre to the hand's, in cells."""
    log_size: Tensor
    """(B, 2, H', W') natural logarithm of the box's width and height, in cells."""
    right_logit: Tensor
    """(B, H', W') logit that it is a right hand."""
    up: Tensor
    """(B, 2, H', W') direction from the wrist to the middle finger's base, x, y; about a unit vector."""

    @classmethod
    def of(cls, maps: Tensor) -> HandMaps:
        """Splits the head's output, (B, 8, H', W')."""
        return cls(maps[:, 0], maps[:, 1:3], maps[:, 3:5], maps[:, 5], maps[:, 6:8])


class HandHead(nn.Module):
    """Maps the trunk's features to (B, 8, H / 8, W / 8), see ``HandMaps``."""

    def __init__(self) -> None:
        super().__init__()
        self.gather = nn.Conv2d(2 * FINE_CHANNELS + COARSE_CHANNELS, HAND_CHANNELS, 1)
        self.relu = nn.PReLU(HAND_CHANNELS)
        self.blocks = nn.Sequential(*(Separable(HAND_CHANNELS, HAND_CHANNELS) for _ in range(3)))
        self.maps = nn.Conv2d(HAND_CHANNELS, 8, 1)
        bias = nn.init.zeros_(self.maps.get_parameter("bias"))
        with torch.no_grad():
            bias[0] = torch.logit(torch.tensor(PRIOR))
            bias[3:5] = 1.5  # hands of 36 pixels
            self.maps.weight[0] *= 0.1

    def forward(self, front: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.maps(self.blocks(self.relu(self.gather(torch.cat([front, fine, coarse], dim=1)))))


class HandDetectorNet(nn.Module):
    """The whole network, for images whose sides are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = PalmTrunk()
        self.palm_head = PalmHead()
        self.hand_head = HandHead()

    @classmethod
    def from_mediapipe(cls) -> HandDetectorNet:
        """Returns a network with MediaPipe's trunk and palm heads and an untrained hand head.

        Raises:
            ImportError: see ``PalmNet.from_mediapipe``.
        """
        palms, net = PalmNet.from_mediapipe(), cls()
        net.trunk.load_state_dict(palms.trunk.state_dict())
        net.palm_head.load_state_dict(palms.head.state_dict())
        return net.eval()

    def back(self, front: Tensor) -> tuple[PalmOutput, Tensor]:
        """Maps the result of ``PalmTrunk.front`` to palms and (B, 8, H / 8, W / 8), see ``HandMaps``."""
        fine, coarse = self.trunk.back(front)
        return self.palm_head(fine, coarse), self.hand_head(front, fine, coarse)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Detects palms and hands.

        Args:
            images: (B, 3, H, W) RGB in 0..1.

        Returns:
            The palms' logits and boxes (see ``PalmOutput``), and (B, 8, H / 8, W / 8), see ``HandMaps``.
        """
        palms, maps = self.back(self.trunk.front(images))
        return palms.logits, palms.boxes, maps


def load_detector(path: Path = DEFAULT_DETECTOR) -> HandDetectorNet:
    """Loads a hand detector's weights.

    Returns:
        The network in evaluation mode.

    Raises:
        ValueError: the file does not hold a hand detector's weights.
        OSError: there is no such file.
    """
    detector_digest(path)
    net = HandDetectorNet()
    try:
        weights = {name: torch.from_numpy(values).float() for name, values in read_weights(path).items()}
        net.load_state_dict({key: weights[key] for key in net.state_dict()})
    except (OnnxError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of a hand detector: {str(error).splitlines()[0]}"
        ) from error
    return net.eval()
