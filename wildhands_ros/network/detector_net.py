"""The hand detector's network: MediaPipe's palm detector, and beside its palm heads one that sees whole hands.

The hand head is anchor-free, as in Zhou et al., "Objects as Points", 2019 (arXiv 1904.07850): at the cell of a hand's middle a peak, and
there the rest of what is known of the hand. It is trained on renders (``wildhands train-detector``); the palm heads stay MediaPipe's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from .checkpoint import save_tensors
from .palm_net import COARSE_CHANNELS, FINE_CHANNELS, STRIDES, PalmHead, PalmNet, PalmOutput, PalmTrunk, Separable

CELL = STRIDES[0]
"""Pixels between the hand head's cells."""
HAND_CHANNELS = 96
PRIOR = 0.01
"""What the head begins with: hardly any cell is a hand's middle (Lin et al., ICCV 2017)."""
DEFAULT_DETECTOR = Path(__file__).parent / "detector_weights" / "detector.safetensors"
SECOND_STAGE_DETECTOR = DEFAULT_DETECTOR.with_name("second_stage.safetensors")
"""The same network, taught on close-ups of what the first one proposes."""
KIND = "wildhands hand detector 1"
_MOST_BYTES = 50_000_000


@dataclass(frozen=True)
class HandMaps:
    """What the hand head says of B pictures, for each cell: H' = H / 8, W' = W / 8."""

    centre_logit: Tensor
    """(B, H', W') that a hand's middle lies in the cell."""
    offset: Tensor
    """(B, 2, H', W') x, y from the cell's middle to the hand's, in cells."""
    log_size: Tensor
    """(B, 2, H', W') natural logarithm of the box's width and height in cells."""
    right_logit: Tensor
    """(B, H', W') that it is a right hand."""
    up: Tensor
    """(B, 2, H', W') x, y of the direction from the wrist to the middle finger's base; about a unit vector."""

    @classmethod
    def of(cls, maps: Tensor) -> HandMaps:
        """(B, 8, H', W')"""
        return cls(maps[:, 0], maps[:, 1:3], maps[:, 3:5], maps[:, 5], maps[:, 6:8])


class HandHead(nn.Module):
    """Features of the trunk to (B, 8, H / 8, W / 8), see ``HandMaps``."""

    def __init__(self) -> None:
        super().__init__()
        self.gather = nn.Conv2d(2 * FINE_CHANNELS + COARSE_CHANNELS, HAND_CHANNELS, 1)
        self.relu = nn.PReLU(HAND_CHANNELS)
        self.blocks = nn.Sequential(*(Separable(HAND_CHANNELS, HAND_CHANNELS) for _ in range(3)))
        self.maps = nn.Conv2d(HAND_CHANNELS, 8, 1)
        nn.init.zeros_(self.maps.bias)
        with torch.no_grad():
            self.maps.bias[0] = torch.logit(torch.tensor(PRIOR))
            self.maps.bias[3:5] = 1.5  # hands of 36 pixels
            self.maps.weight[0] *= 0.1

    def forward(self, front: Tensor, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.maps(self.blocks(self.relu(self.gather(torch.cat([front, fine, coarse], dim=1)))))


class HandDetectorNet(nn.Module):
    """The whole network; its sides are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = PalmTrunk()
        self.palm_head = PalmHead()
        self.hand_head = HandHead()

    @classmethod
    def from_mediapipe(cls) -> HandDetectorNet:
        """MediaPipe's trunk and palm heads; the hand head knows nothing yet. Raises ImportError as ``PalmNet.from_mediapipe``."""
        palms, net = PalmNet.from_mediapipe(), cls()
        net.trunk.load_state_dict(palms.trunk.state_dict())
        net.palm_head.load_state_dict(palms.head.state_dict())
        return net.eval()

    def back(self, front: Tensor) -> tuple[PalmOutput, Tensor]:
        """From the result of ``PalmTrunk.front`` to palms and (B, 8, H / 8, W / 8) of ``HandMaps``."""
        fine, coarse = self.trunk.back(front)
        return self.palm_head(fine, coarse), self.hand_head(front, fine, coarse)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) RGB in 0..1 to palms' logits and boxes (see ``PalmOutput``) and (B, 8, H / 8, W / 8) of ``HandMaps``."""
        palms, maps = self.back(self.trunk.front(images))
        return palms.logits, palms.boxes, maps


def save_detector(net: HandDetectorNet, path: Path) -> None:
    """Writes the weights in half precision, readable without running code; whole or not at all. Raises OSError with the reason."""
    weights = {name: tensor.detach().cpu().half() for name, tensor in net.state_dict().items()}
    save_tensors(path, weights, {"kind": KIND})


def load_detector(path: Path = DEFAULT_DETECTOR) -> HandDetectorNet:
    """In evaluation mode. Raises ValueError for a file that holds something else, OSError where there is none."""
    if not path.is_file():
        raise OSError(f"there are no weights of a hand detector at {path}")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} is too large for the weights of a hand detector")
    net = HandDetectorNet()
    try:
        with safe_open(path, framework="pt") as file:
            kind = (file.metadata() or {}).get("kind")
        if kind != KIND:
            raise ValueError(f"{path} does not hold the weights of a hand detector")
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of a hand detector: {str(error).splitlines()[0]}"
        ) from error
    return net.eval()
