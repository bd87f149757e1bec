"""The WildHands network: from crops of hands and their place in the field of view to MANO parameters.

Prakash, Tu, Chang and Gupta, "3D Hand Pose Estimation in Everyday Egocentric Images", ECCV 2024 (arXiv 2312.06583).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..geometry.rotation import matrix_to_axis_angle, rotation_6d_to_matrix
from .config import IMAGE_SIZE, CameraDecoding, Fusion, GraspInput, WildHandsConfig
from .heads import (
    NUM_ROTATIONS,
    DecodedHand,
    FeatureDropout,
    FeatureFusion,
    GraspHead,
    HandDecoder,
    LandmarkEncoder,
    PooledFusion,
)
from .kpe_channels import encode
from .landmark_net import LandmarkHead, LandmarkNet, LandmarkOutput, LandmarkTrunk
from .trunk_kinds import TRUNKS
from .trunks import build_trunk

MIN_SCALE = 0.1
"""Smallest scale s that is decoded, which limits the depth; as in the authors' code."""
FEATURE_DROPOUT = 0.25
"""Share of the hands that are decoded from their landmarks alone in training (``config.landmark_input``)."""


@dataclass(frozen=True)
class WildHandsOutput:
    """Outputs of the network for B hands. Metres, camera optical frame."""

    is_right: Tensor
    """(B,) bool: the side whose head decoded the hand."""
    rotations: Tensor
    """(B, 16, 3, 3) global orientation, then 15 finger rotations relative to the mean pose (see ``decode_pose``)."""
    betas: Tensor
    """(B, 10)"""
    camera: Tensor
    """(B, 3) s, tx, ty; tx and ty along the crop's axes."""
    initial_camera: Tensor
    """(B, 3) the decoder's initial estimate of ``camera``, for training."""
    translation: Tensor
    """(B, 3) of the hand model's origin, decoded from ``camera``."""
    grasp_logits: Tensor | None
    """(B, 9), or None without a grasp head."""
    landmarks: LandmarkOutput | None
    """Landmarks in the crops, from features without encoding and image; None if the trunk has no landmark head."""


@dataclass(frozen=True)
class EncodedHands:
    """Outputs of trunks and fusion for B crops."""

    features: Tensor
    """(B, C, h, w) the trunk's features of the crops."""
    vector: Tensor
    """(B, config.features) fused features of crop, image and position."""
    position: Tensor
    """(B, K) the encoded position, averaged if it is a map."""
    seen_by_grasp: Tensor | None
    """(B, C, h, w) image features for the grasp head; None if it sees only the hand."""


class WildHands(nn.Module):
    """The network; ``config`` determines its parts."""

    def __init__(self, config: WildHandsConfig) -> None:
        super().__init__()
        self.config = config
        kind, at_input = TRUNKS[config.trunk], config.encoding.at_input
        kpe_channels = config.encoding.channels(config.n_freq)
        self.hand_trunk = build_trunk(config.trunk, 3 + kpe_channels if at_input else 3)
        self.image_trunk = build_trunk(config.trunk) if config.full_image_trunk else None
        self.landmark_head = LandmarkHead() if kind.has_landmarks else None
        trunk_channels = kind.channels
        fused = trunk_channels if at_input else trunk_channels + kpe_channels
        pooled = config.fusion is Fusion.POOLED
        self.fusion = (
            PooledFusion(fused, config.features)
            if pooled
            else FeatureFusion(fused, config.feature_size, config.features)
        )
        features, self.landmark_encoder, self.feature_dropout = config.features, None, None
        if config.landmark_input:
            self.landmark_encoder, self.feature_dropout = (
                LandmarkEncoder(kpe_channels, config.features // 2),
                FeatureDropout(FEATURE_DROPOUT),
            )
            features += config.features // 2
        self.right_head = HandDecoder(features, config.camera.usual_scale)
        self.left_head = HandDecoder(features, config.camera.usual_scale)
        self.grasp_head = None
        if config.grasp_input is not GraspInput.NONE:
            self.grasp_head = GraspHead(0 if config.grasp_input is GraspInput.HAND else trunk_channels)

    def start_from(self, net: LandmarkNet) -> None:
        """Copies the weights of the trunks and the landmark head from ``net``.

        Raises:
            ValueError: this network has another kind of trunk.
        """
        if self.landmark_head is None:
            raise ValueError(f"a network on the trunk {self.config.trunk!r} cannot start from the landmark network")
        self.landmark_head.load_state_dict(net.head.state_dict())
        for trunk in (self.hand_trunk, self.image_trunk):
            if isinstance(trunk, LandmarkTrunk):
                trunk.copy_from(net.trunk)

    def forward(
        self,
        crops: Tensor,
        kpe: Tensor,
        is_right: Tensor | None,
        focal: Tensor,
        anchor: Tensor,
        images: Tensor | None = None,
        image_index: Tensor | None = None,
        turn: Tensor | None = None,
    ) -> WildHandsOutput:
        """Predicts all hands of one or more images.

        The hand's origin is decoded as z = 2 focal / (224 s) and (x, y) = z anchor + (tx, ty).

        Args:
            crops: (B, 3, 224, 224) RGB, normalised by the trunk's mean and standard deviation, like ``images``.
            kpe: (B, C) or (B, C, config.kpe_map_size, config.kpe_map_size), from ``kpe_values``.
            is_right: (B,) bool, side of each hand, whose head decodes it; left crops are not mirrored. None: the
                landmark head decides.
            focal: (B,) pixels. ``preprocessing`` sets it according to ``config.camera``.
            anchor: (B, 2) x/z, y/z of a ray. ``preprocessing`` sets it according to ``config.camera``.
            images: (N, 3, 224, 224) whole images, if and only if ``config.full_image_trunk``.
            image_index: (B,) int64, the image of each crop; may be omitted for a single image.
            turn: (B,) radians by which the crops are turned in the image, positive clockwise as seen; None if they are
                not. The global orientation and (tx, ty) are decoded along the crop's axes, then turned by this angle
                about the optical axis. With ``CameraDecoding.RAY``, the orientation is then rotated by the rotation
                that turns the optical axis to the crop's ray.
        """
        encoded = self.encode(crops, kpe, images, image_index)
        landmarks = self.landmark_head(encoded.features) if self.landmark_head is not None else None
        if is_right is None:
            if landmarks is None:
                raise ValueError("is_right is needed: the network has no landmark head that decides the side")
            is_right = landmarks.is_right_logit > 0
        return self.decode(encoded, landmarks, is_right, focal, anchor, turn)

    def encode(
        self, crops: Tensor, kpe: Tensor, images: Tensor | None = None, image_index: Tensor | None = None
    ) -> EncodedHands:
        """Runs trunks and fusion, which take nearly all of the time of ``forward``. Arguments as there."""
        if (images is None) is not (self.image_trunk is None):
            raise ValueError(
                f"full_image_trunk is {self.config.full_image_trunk}, but images is {type(images).__name__}"
            )
        encoding = self.config.encoding
        channels = encode(encoding, kpe, self.config.n_freq, self.config.kpe_map_size)
        crops = torch.cat([crops, channels], dim=1) if encoding.at_input else crops
        crop_features = features = self.hand_trunk(crops)
        seen_by_grasp = None
        if self.config.grasp_input is GraspInput.HAND_AND_CROP:
            # The mean, which the grasp head's sum leaves unchanged.
            seen_by_grasp = features.mean(dim=(2, 3), keepdim=True)
        if images is not None and self.image_trunk is not None:
            image_features = self.image_trunk(images)
            if image_index is not None:
                image_features = image_features[image_index]
            elif len(images) == 1:
                image_features = image_features.expand(len(crops), -1, -1, -1)
            else:
                raise ValueError(f"image_index is needed to tell which of {len(images)} images each crop belongs to")
            features = features + image_features
            if self.config.grasp_input is GraspInput.HAND_AND_IMAGE:
                seen_by_grasp = image_features
        position, fused = channels.mean(dim=(2, 3)), [features]
        if not encoding.at_input:
            fused.append(channels)
        if self.config.fusion is Fusion.POOLED:
            fused = [part.mean(dim=(2, 3)) for part in fused]
        return EncodedHands(crop_features, self.fusion(torch.cat(fused, dim=1)), position, seen_by_grasp)

    def decode(
        self,
        encoded: EncodedHands,
        landmarks: LandmarkOutput | None,
        is_right: Tensor,
        focal: Tensor,
        anchor: Tensor,
        turn: Tensor | None = None,
    ) -> WildHandsOutput:
        """Runs the heads on encoded hands.

        Args:
            encoded: output of ``encode``.
            landmarks: the landmark head's output for ``encoded.features``, if there is one.
            is_right: as in ``forward``.
            focal: as in ``forward``.
            anchor: as in ``forward``.
            turn: as in ``forward``.
        """
        vector = encoded.vector
        if self.landmark_encoder is not None and self.feature_dropout is not None:
            vector = torch.cat(
                [self.feature_dropout(vector), self.landmark_encoder(landmarks, encoded.position)], dim=-1
            )

        # Both heads run on every hand: they are small, and without data-dependent shapes the graph can be exported.
        right, left = self.right_head(vector), self.left_head(vector)
        hand = DecodedHand(*(torch.where(is_right[:, None], *sides) for sides in zip(right, left, strict=True)))
        rotations = rotation_6d_to_matrix(hand.pose_6d.reshape(-1, NUM_ROTATIONS, 6))
        grasp_logits = None
        if self.grasp_head is not None:
            grasp_logits = self.grasp_head(hand.betas, rotations, encoded.seen_by_grasp)
        if turn is not None:
            rotations = _turned(rotations, turn_matrix(turn))
        if self.config.camera is CameraDecoding.RAY:
            rotations = _turned(rotations, ray_rotation(anchor))
        return WildHandsOutput(
            is_right=is_right,
            rotations=rotations,
            betas=hand.betas,
            camera=hand.camera,
            initial_camera=hand.initial_camera,
            translation=decode_translation(hand.camera, focal, anchor, turn),
            grasp_logits=grasp_logits,
            landmarks=landmarks,
        )


def _turned(rotations: Tensor, by: Tensor) -> Tensor:
    """Rotates the global orientation of (B, 16, 3, 3) by (B, 3, 3)."""
    return torch.cat([by[:, None] @ rotations[:, :1], rotations[:, 1:]], dim=1)


def ray_rotation(anchor: Tensor) -> Tensor:
    """Returns the smallest rotations (B, 3, 3) that turn the optical axis to the rays (B, 2) x/z, y/z."""
    ray = normalize(torch.cat([anchor, torch.ones_like(anchor[:, :1])], dim=1), dim=1)
    x, y, z = ray.unbind(1)
    k = 1 / (1 + z)
    rows = [1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, z]
    return torch.stack(rows, dim=1).unflatten(1, (3, 3))


def turn_matrix(turn: Tensor) -> Tensor:
    """Returns rotations (B, 3, 3) from turned crops' axes to the camera's; ``turn`` as in ``WildHands.forward``."""
    cosine, sine, zero, one = turn.cos(), turn.sin(), torch.zeros_like(turn), torch.ones_like(turn)
    return torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def decode_translation(camera: Tensor, focal: Tensor, anchor: Tensor, turn: Tensor | None = None) -> Tensor:
    """Converts s, tx, ty (B, 3) to metres (B, 3); other arguments as in ``WildHands.forward``."""
    scale, offset = camera[:, 0].clamp(min=MIN_SCALE), camera[:, 1:]
    if turn is not None:
        offset = (turn_matrix(turn)[:, :2, :2] @ offset[..., None]).squeeze(-1)
    z = 2 * focal / (IMAGE_SIZE * scale + 1e-9)
    return torch.cat([z[:, None] * anchor + offset, z[:, None]], dim=1)


def decode_pose(rotations: Tensor, mean_pose: Tensor) -> tuple[Tensor, Tensor]:
    """Converts predicted rotations to MANO's pose.

    Args:
        rotations: (B, 16, 3, 3), see ``WildHandsOutput``.
        mean_pose: (B, 45) radians, the hand model's mean pose. The network's finger rotations are relative to it; it is
            added in axis-angle space, as in the authors' code.

    Returns:
        global_orient (B, 3) and hand_pose (B, 45), axis-angle in radians. The hand pose includes the mean pose
        (``flat_hand_mean=True``).
    """
    axis_angles = matrix_to_axis_angle(rotations)
    return axis_angles[:, 0], axis_angles[:, 1:].flatten(1) + mean_pose
