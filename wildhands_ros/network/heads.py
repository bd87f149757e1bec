"""Heads that map features to hand parameters: fusion, iterative decoder and grasp head.

Prakash et al., ECCV 2024 (arXiv 2312.06583), section 3; layers as in the authors' code.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .landmark_net import LANDMARK_CROP_SIZE, NUM_LANDMARKS, LandmarkOutput

NUM_ROTATIONS = 16
"""Global orientation and 15 finger joints, MANO order."""
NUM_BETAS = 10
NUM_GRASPS = 9

_ITERATIONS = 3
_HAND_VALUES = 6 * NUM_ROTATIONS + NUM_BETAS + 3
"""Number of values that an iteration refines: rotations, betas and camera."""
_HAND_SIZE = 0.1
"""Metres from a hand's centre to its fingertips, about."""


class FeatureFusion(nn.Module):
    """Maps features of a hand's crop, image and position, (B, in_channels, size, size), to (B, features)."""

    def __init__(self, in_channels: int, size: int, features: int) -> None:
        super().__init__()
        wide, middle, narrow = features // 2, features // 4, features // 8
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, wide, kernel_size=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, middle, kernel_size=3, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, narrow, kernel_size=3, bias=False),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(narrow * (size - 4) ** 2, features),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class PooledFusion(nn.Module):
    """Maps spatial averages of a hand's features and position, (B, in_channels), to (B, features).

    Inputs are standardised: after ReLU6, the mean of the features is far from zero, and gradients along this common
    direction would dominate those along differences between hands.
    """

    def __init__(self, in_channels: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(in_channels, affine=False),
            nn.Linear(in_channels, features),
            nn.ReLU(inplace=True),
            nn.Linear(features, features),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        norm, *others = self.layers
        assert isinstance(norm, nn.BatchNorm1d)
        # Written out because the ONNX export does not know the number of channels, and a single hand has no deviation.
        kept = (x - norm.get_buffer("running_mean")) * (norm.get_buffer("running_var") + norm.eps).rsqrt()
        x = norm(x) if self.training and len(x) > 1 else kept
        for layer in others:
            x = layer(x)
        return x


class LandmarkEncoder(nn.Module):
    """Maps the landmark head's outputs and the encoded position (B, position_channels) to (B, features)."""

    def __init__(self, position_channels: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(6 * NUM_LANDMARKS + position_channels, features),
            nn.ReLU(inplace=True),
            nn.Linear(features, features),
            nn.ReLU(inplace=True),
        )

    def forward(self, landmarks: LandmarkOutput, position: Tensor) -> Tensor:
        # All inputs have a magnitude of about one. The landmark head gets no gradient from here.
        half = LANDMARK_CROP_SIZE / 2
        in_crop = torch.cat([landmarks.landmarks / half - 1, landmarks.landmark_z[..., None] / half], dim=-1)
        seen = torch.cat([in_crop.flatten(1), landmarks.world.flatten(1) / _HAND_SIZE], dim=-1).detach()
        return self.layers(torch.cat([seen, position], dim=-1))


class FeatureDropout(nn.Module):
    """In training, sets all features (B, C) of some hands to zero: decoders learn to use their other inputs."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(len(x), 1, device=x.device) >= self.p) if self.training and self.p else x


class DecodedHand(NamedTuple):
    """Raw outputs of a ``HandDecoder``."""

    pose_6d: Tensor
    """(B, 96) sixteen rotations of six numbers each, see ``rotation_6d_to_matrix``."""
    betas: Tensor
    """(B, 10)"""
    camera: Tensor
    """(B, 3) s, tx, ty."""
    initial_camera: Tensor
    """(B, 3) the camera before the first iteration, which has a loss of its own in training."""


class HandDecoder(nn.Module):
    """Regresses one side's hand from (B, features) in three iterations (HMR, Kanazawa et al., CVPR 2018)."""

    def __init__(self, features: int, usual_scale: float) -> None:
        """``usual_scale`` is the initial value of the camera's s in training."""
        super().__init__()
        wide, middle = features // 2, features // 4
        first, second, last = nn.Linear(features, middle), nn.Linear(middle, middle), nn.Linear(middle, 3)
        self.initial_camera = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), last)
        self.refine = nn.Sequential(
            nn.Linear(features + _HAND_VALUES, wide),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(wide, wide),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
        )
        self.pose = nn.Linear(wide, 6 * NUM_ROTATIONS)
        self.shape = nn.Linear(wide, NUM_BETAS)
        self.camera = nn.Linear(wide, 3)
        for layer in (self.pose, self.shape, self.camera, last):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
        # Near zero, the hand would be at the far end of the range, where the scale is clipped and has no gradient.
        nn.init.constant_(last.bias[:1], usual_scale)

    def forward(self, features: Tensor) -> DecodedHand:
        count = features.shape[0]  # not len(), which tracing turns into a constant
        pose = features.new_tensor([1, 0, 0, 0, 1, 0]).repeat(count, NUM_ROTATIONS)
        betas = features.new_zeros(count, NUM_BETAS)
        camera = initial_camera = self.initial_camera(features)
        # The features' part of the first layer is the same in every iteration, and most of the work.
        weight = self.refine.get_parameter("0.weight")
        size = weight.shape[1] - _HAND_VALUES
        of_features = linear(features, weight[:, :size], self.refine.get_parameter("0.bias"))
        for _ in range(_ITERATIONS):
            of_hand = linear(torch.cat([pose, betas, camera], dim=-1), weight[:, size:])
            hidden = self.refine[1:](of_features + of_hand)
            pose = pose + self.pose(hidden)
            betas = betas + self.shape(hidden)
            camera = camera + self.camera(hidden)
        return DecodedHand(pose, betas, camera, initial_camera)


class GraspHead(nn.Module):
    """Predicts grasp logits (B, 9), ordered as ``types.Grasp``, from a decoded hand and image features."""

    def __init__(self, image_channels: int) -> None:
        """``image_channels`` is the number of image features; 0 for a head that sees only the hand."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(NUM_BETAS + 9 * NUM_ROTATIONS + image_channels, 1024),
            nn.ReLU(inplace=True),
            nn.Linear(1024, 512),
            nn.ReLU(inplace=True),
            nn.Linear(512, 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, NUM_GRASPS),
        )

    def forward(self, betas: Tensor, rotations: Tensor, image_features: Tensor | None = None) -> Tensor:
        """Takes betas (B, 10), rotations (B, 16, 3, 3) and image features (B, C, h, w), which are summed over space."""
        parts = [betas, rotations.flatten(1)]
        if image_features is not None:
            parts.append(image_features.sum(dim=(2, 3)))
        return self.layers(torch.cat(parts, dim=-1))
