"""The decoder of the default network in NumPy, with weights that stay in half precision.

Decoding a hand takes as long as reading the weights: 15 MB of them here, where other runtimes read 40 MB (they convert
the weights to single precision when they load them, and compute the heads of both sides). The mathematics is that of
``graph.Decoder``, behind an encoder that ends with the pooled features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..geometry.compiled import native
from ..geometry.so3 import quaternions_from_matrices
from ..network.config import IMAGE_SIZE, CameraDecoding, Fusion, GraspInput, WildHandsConfig
from .signature import BY_LANDMARKS, POOLED, RIGHT, has_landmarks

ENCODER_OUTPUTS = ("features", "position")
"""What the decoder needs of the encoder, by the names of ``signature.encoder_outputs``."""
_LANES = 8
"""The compiled layer takes a multiple of this number of inputs."""
_ITERATIONS, _MIN_SCALE, _HAND_SIZE, _EPSILON = 3, 0.1, 0.1, 1e-5
_ROTATIONS, _BETAS, _LANDMARKS = 16, 10, 21


def can_decode(config: WildHandsConfig) -> bool:
    """Returns whether ``HalfDecoder`` has the layers of this network, and runs on this processor."""
    return (
        native is not None
        and bool(native.has_half_linear())
        and has_landmarks(config)
        and config.landmark_input
        and not config.full_image_trunk
        and config.fusion is Fusion.POOLED
        and config.grasp_input is GraspInput.HAND_AND_CROP
        and config.camera is CameraDecoding.RAY
    )


class HalfDecoder:
    """Decodes one hand at a time. May be called from several threads at once, which then run side by side.

    Args:
        weights: weights of the network by the keys of ``WildHands.state_dict()``.
        mean_pose: (2, 45) radians, mean poses of the left and the right hand model.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], mean_pose: np.ndarray) -> None:
        mean, variance = (weights[f"fusion.layers.0.running_{name}"].astype(np.float32) for name in ("mean", "var"))
        self._mean, self._scale = mean, 1 / np.sqrt(variance + np.float32(_EPSILON))
        self._fusion = [_layer(weights, f"fusion.layers.{i}", relu=True) for i in (1, 3)]
        heads = ("landmarks", "presence", "is_right", "world")
        self._landmarks = _Layer(*(_stacked(weights, [f"landmark_head.{name}" for name in heads])), relu=False)
        self._landmark_encoder = [_layer(weights, f"landmark_encoder.layers.{i}", relu=True) for i in (0, 2)]
        self._heads = [_Head(weights, side) for side in ("left_head", "right_head")]
        self._grasp = [_layer(weights, f"grasp_head.layers.{i}", relu=i < 6) for i in (0, 2, 4, 6)]
        self._mean_pose = mean_pose

    def __call__(
        self, features: np.ndarray, position: np.ndarray, side: int, focal: float, anchor: np.ndarray, turn: float
    ) -> dict[str, np.ndarray]:
        """Decodes one hand.

        Args:
            features: (1152,) pooled features of the trunk.
            position: (K,) encoded position.
            side: one of ``signature.RIGHT``, ``LEFT`` and ``BY_LANDMARKS``.
            focal: see ``WildHands.forward``, as for the following.
            anchor: (2,)
            turn: radians.

        Returns:
            The outputs that ``signature.outputs`` names, without their first axis.
        """
        vector = (np.concatenate([features, position]) - self._mean) * self._scale
        for layer in self._fusion:
            vector = layer(vector)
        seen = self._landmarks(features)
        points, world = seen[: 3 * _LANDMARKS].reshape(-1, 3), seen[3 * _LANDMARKS + 2 :]
        points[:, :2] -= 0.5
        presence, right = seen[3 * _LANDMARKS : 3 * _LANDMARKS + 2]
        in_crop = points / (IMAGE_SIZE / 2)
        in_crop[:, :2] -= 1
        landmarks = np.concatenate([in_crop.ravel(), world / _HAND_SIZE, position])
        for layer in self._landmark_encoder:
            landmarks = layer(landmarks)
        is_right = side == RIGHT or (side == BY_LANDMARKS and bool(right > 0))
        rows, betas, camera = self._heads[is_right](np.concatenate([vector, landmarks]))
        rotations = _rotations(rows)
        grasp = np.concatenate([betas, rotations.ravel(), features], dtype=np.float32)
        for layer in self._grasp:
            grasp = layer(grasp)
        cosine, sine = np.cos(turn), np.sin(turn)
        turned = np.array([(cosine, -sine, 0), (sine, cosine, 0), (0, 0, 1)])
        rotations[0] = _ray_rotation(anchor) @ turned @ rotations[0]
        z = 2 * focal / (IMAGE_SIZE * max(camera[0], _MIN_SCALE) + 1e-9)
        vectors = _long_vectors(rotations)
        odds = np.exp(grasp - grasp.max())
        found = {
            "is_right": is_right,
            "transl": np.append(z * anchor + turned[:2, :2] @ camera[1:], z),
            "global_orient": vectors[0],
            "hand_pose": vectors[1:].ravel() + self._mean_pose[int(is_right)],
            "betas": betas,
            "grasp": odds / odds.sum(),
            "landmarks": points[:, :2],
            "presence": 1 / (1 + np.exp(-presence)),
            "right": 1 / (1 + np.exp(-right)),
            "world": world.reshape(-1, 3),
            POOLED: features.reshape(-1, 1, 1),
        }
        return {name: np.asarray(value, bool if name == "is_right" else np.float32) for name, value in found.items()}


class _Layer:
    """A linear layer with weights in half precision."""

    def __init__(self, weights: np.ndarray, bias: np.ndarray, relu: bool) -> None:
        outputs, inputs = weights.shape
        self._weights = np.zeros((outputs, -(-inputs // _LANES) * _LANES), np.float16)
        self._weights[:, :inputs] = weights
        self._bias, self._relu, self._padding = bias.astype(np.float32), relu, self._weights.shape[1] - inputs

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        if self._padding:
            inputs = np.concatenate([inputs, np.zeros(self._padding, np.float32)])
        result = np.empty(len(self._bias), np.float32)
        assert native is not None
        native.half_linear(self._weights, self._bias, np.ascontiguousarray(inputs, np.float32), result, self._relu)
        return result


class _Hand(NamedTuple):
    """What a head regresses."""

    rows: np.ndarray
    """(96,) first two rows of each rotation."""
    betas: np.ndarray
    camera: np.ndarray
    """(3,) s, tx, ty."""


class _Head:
    """Regresses the hand of one side in three iterations, like ``network.heads.HandDecoder``."""

    def __init__(self, weights: Mapping[str, np.ndarray], side: str) -> None:
        self._initial_camera = [_layer(weights, f"{side}.initial_camera.{i}", relu=i < 4) for i in (0, 2, 4)]
        first, bias = weights[f"{side}.refine.0.weight"], weights[f"{side}.refine.0.bias"]
        outputs, second = _stacked(weights, [f"{side}.{name}" for name in ("pose", "shape", "camera")])
        features = first.shape[1] - len(outputs)
        self._of_features = _Layer(first[:, :features], bias, relu=False)
        self._of_hand = _Layer(first[:, features:], np.zeros_like(bias), relu=False)
        self._hidden = _layer(weights, f"{side}.refine.3", relu=True)
        self._change = _Layer(outputs, second, relu=False)

    def __call__(self, vector: np.ndarray) -> _Hand:
        camera = vector
        for layer in self._initial_camera:
            camera = layer(camera)
        of_features = self._of_features(vector)
        hand = np.concatenate([np.tile([1, 0, 0, 0, 1, 0], _ROTATIONS), np.zeros(_BETAS), camera], dtype=np.float32)
        for _ in range(_ITERATIONS):
            hand += self._change(self._hidden(np.maximum(of_features + self._of_hand(hand), 0)))
        return _Hand(hand[: 6 * _ROTATIONS], hand[6 * _ROTATIONS : -3], hand[-3:])


def _layer(weights: Mapping[str, np.ndarray], name: str, relu: bool) -> _Layer:
    return _Layer(weights[f"{name}.weight"], weights[f"{name}.bias"], relu)


def _stacked(weights: Mapping[str, np.ndarray], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns weights and bias of several layers with the same input as one."""
    weight, bias = (np.concatenate([weights[f"{name}.{part}"] for name in names]) for part in ("weight", "bias"))
    return weight, bias


def _rotations(rows: np.ndarray) -> np.ndarray:
    """Returns the (16, 3, 3) rotations of their first two rows, see ``geometry.rotation.rotation_6d_to_matrix``."""
    first, second = rows.astype(np.float64).reshape(-1, 2, 3).swapaxes(0, 1)
    first = first / np.sqrt((first * first).sum(-1, keepdims=True))
    second = second - (first * second).sum(-1, keepdims=True) * first
    second /= np.sqrt((second * second).sum(-1, keepdims=True))
    third = first[:, [1, 2, 0]] * second[:, [2, 0, 1]] - first[:, [2, 0, 1]] * second[:, [1, 2, 0]]
    return np.stack([first, second, third], axis=1)


def _long_vectors(rotations: np.ndarray) -> np.ndarray:
    """Returns (N, 3) rotation vectors of less than a turn, see ``geometry.rotation.matrix_to_axis_angle``."""
    quaternions = quaternions_from_matrices(rotations)
    axes, w = quaternions[:, :3], quaternions[:, 3:]
    sines = np.sqrt((axes * axes).sum(-1, keepdims=True))
    return axes * np.where(sines > 1e-9, 2 * np.arctan2(sines, w) / np.maximum(sines, 1e-9), 2)


def _ray_rotation(anchor: np.ndarray) -> np.ndarray:
    """Returns the smallest rotation of the optical axis to the ray through x/z, y/z."""
    x, y = anchor
    z = 1 / np.sqrt(1 + x * x + y * y)
    x, y, k = x * z, y * z, 1 / (1 + z)
    return np.array([(1 - k * x * x, -k * x * y, x), (-k * x * y, 1 - k * y * y, y), (-x, -y, z)])
