"""The network as graphs of plain tensors, from preprocessed inputs to MANO parameters.

Runtimes compile these graphs, and ``wildhands export-onnx`` writes them. The encoder (trunks and fusion) takes nearly
all of the time and tolerates lower precision; the decoder is small and determines the last digits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..network.config import IMAGE_SIZE, WildHandsConfig
from ..network.model import EncodedHands, WildHands, decode_pose
from .signature import DECODER_INPUTS, encoder_inputs


class Encoder(nn.Module):
    """``WildHands.encode`` with its feature maps pooled as the heads pool them."""

    def __init__(self, model: WildHands) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, crops: Tensor, kpe: Tensor, images: Tensor | None = None, image_index: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Returns the trunk's features (B, C, 1, 1), the fused features (B, F) and the position (B, K).

        If the grasp head sees image features, these follow, (B, C, 1, 1).
        """
        encoded = self.model.encode(crops, kpe, images, image_index)
        pooled = (encoded.features.mean(dim=(2, 3), keepdim=True), encoded.vector, encoded.position)
        return (
            pooled if encoded.seen_by_grasp is None else (*pooled, encoded.seen_by_grasp.sum(dim=(2, 3), keepdim=True))
        )


class Decoder(nn.Module):
    """``WildHands.decode`` with the landmark head; returns the values that ``signature.outputs`` names.

    Args:
        model: the network.
        mean_pose: (2, 45) mean poses of the left and the right hand model, which the network's rotations are relative
            to.
    """

    mean_pose: Tensor

    def __init__(self, model: WildHands, mean_pose: np.ndarray) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean_pose", torch.tensor(mean_pose), persistent=False)

    def forward(
        self,
        features: Tensor,
        vector: Tensor,
        position: Tensor,
        side: Tensor,
        focal: Tensor,
        anchor: Tensor,
        turn: Tensor,
        seen_by_grasp: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Decodes B hands.

        Args:
            features: output of ``Encoder``.
            vector: output of ``Encoder``.
            position: output of ``Encoder``.
            side: (B,) int64 ``signature.RIGHT``, ``LEFT`` or, if there is a landmark head, ``BY_LANDMARKS``.
            focal: (B,), as in ``WildHands.forward``.
            anchor: (B, 2), as in ``WildHands.forward``.
            turn: (B,), as in ``WildHands.forward``.
            seen_by_grasp: output of ``Encoder``, if it has this output.
        """
        landmarks = self.model.landmark_head(features) if self.model.landmark_head is not None else None
        is_right = side > 0
        if landmarks is not None:
            is_right = is_right | ((side < 0) & (landmarks.is_right_logit > 0))
        encoded = EncodedHands(features, vector, position, seen_by_grasp)
        output = self.model.decode(encoded, landmarks, is_right, focal, anchor, turn)
        global_orient, hand_pose = decode_pose(output.rotations, self.mean_pose[is_right.long()])
        values = [is_right, output.translation, global_orient, hand_pose, output.betas]
        if output.grasp_logits is not None:
            values.append(output.grasp_logits.softmax(dim=-1))
        if landmarks is not None:
            values += [
                landmarks.landmarks,
                landmarks.presence,
                landmarks.is_right,
                landmarks.world,
                features,
            ]
        return tuple(values)


class WholeNetwork(nn.Module):
    """Encoder and decoder in one; takes ``encoder_inputs``, then ``DECODER_INPUTS``."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, crops: Tensor, kpe: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        *images, side, focal, anchor, turn = rest
        features, vector, position, *seen = self.encoder(crops, kpe, *images)
        return self.decoder(features, vector, position, side, focal, anchor, turn, *seen)


def example_inputs(config: WildHandsConfig, hands: int = 2) -> dict[str, Tensor]:
    """Returns inputs of the right shapes, zero wherever zero is allowed."""
    kpe = sum(config.encoding.groups)
    size = config.kpe_map_size
    values = {
        "crops": torch.zeros(hands, 3, IMAGE_SIZE, IMAGE_SIZE),
        "kpe": torch.zeros((hands, kpe, size, size) if config.encoding.is_map else (hands, kpe)),
        "images": torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),
        "image_index": torch.zeros(hands, dtype=torch.int64),
        "side": torch.ones(hands, dtype=torch.int64),
        "focal": torch.full((hands,), float(IMAGE_SIZE)),
        "anchor": torch.zeros(hands, 2),
        "turn": torch.zeros(hands),
    }
    return {name: values[name] for name in (*encoder_inputs(config), *DECODER_INPUTS)}
