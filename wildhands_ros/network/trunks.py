"""Convolutional trunks: images (B, in_channels, 224, 224) to features (B, channels, 224 / stride, 224 / stride)."""

from __future__ import annotations

from torch import Tensor, nn

from .landmark_net import LandmarkTrunk
from .trunk_kinds import TRUNKS


class ResNetTrunk(nn.Module):
    """A torchvision ResNet (He et al. 2016, v1.5) without pooling and classifier; random weights, no download."""

    def __init__(self, name: str, in_channels: int) -> None:
        """``name`` is the network's name in torchvision."""
        # Imported late: torchvision takes seconds, and most users never build a ResNet.
        from torchvision.models import get_model

        super().__init__()
        net = get_model(name, weights=None)
        self.conv1 = net.conv1
        if in_channels != 3:
            self.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.bn1, self.relu, self.maxpool = net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def build_trunk(name: str, in_channels: int = 3) -> nn.Module:
    """Builds a trunk of ``TRUNKS`` for a number of input channels, of which the first three are RGB."""
    return LandmarkTrunk(in_channels) if TRUNKS[name].has_landmarks else ResNetTrunk(name, in_channels)
