"""Runs the network on the hands of one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..config import AUTO
from ..geometry.boxes import rotation_matrix_2d
from ..geometry.camera import Camera
from ..geometry.undistort import Rectifier, boxes_between
from ..hand_model.asset import HandAsset
from ..network.config import IMAGE_SIZE, Preprocessing
from ..network.crop_geometry import usable_boxes
from ..network.network_file import NetworkFile
from ..network.preprocessing import preprocess
from ..types import Landmarks, ManoParameters, NetworkPrediction, Side
from .network import run_network
from .signature import BY_LANDMARKS, LEFT, POOLED, RIGHT, has_landmarks, mean_pose
from .visibility_head import VisibilityHead

if TYPE_CHECKING:
    from ..network.model import WildHands

GRASP_TEMPERATURE = 1.44
"""Temperature of the grasp probabilities (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017), fitted by
``tools/fit_grasp_temperature.py``."""


class Predictor:
    """Predicts the hands in given boxes. Not thread-safe.

    Args:
        network: see ``network.run_network``.
        preprocessing: how crops are made.
        hand_model: the hand model whose parameters the network predicts, of both sides. The predicted rotations are
            relative to its mean pose.
        device: see ``network.run_network``.
        runtime: see ``network.run_network``.
        precision: see ``network.run_network``.

    Raises:
        ValueError: the device, runtime or precision is not available here.
    """

    def __init__(
        self,
        network: NetworkFile | WildHands,
        preprocessing: Preprocessing,
        hand_model: Mapping[Side, HandAsset],
        device: str = AUTO,
        runtime: str = AUTO,
        precision: str = AUTO,
    ) -> None:
        self._network = run_network(network, mean_pose(hand_model), runtime, precision, device)
        self._config, self._preprocessing = network.config, preprocessing
        self.has_landmarks = has_landmarks(network.config)
        """Whether the predictions have ``landmarks``."""
        digest = network.digest if isinstance(network, NetworkFile) else None
        self._visibility_head = VisibilityHead.of_network(digest) if self.has_landmarks else None
        self._rectifier = Rectifier()

    @property
    def device(self) -> str:
        """Device, runtime and precision, for display: "cpu (OpenVINO, bfloat16)"."""
        return self._network.name

    @property
    def wants_upright(self) -> bool:
        """Whether ``predict`` needs ``turns``."""
        return self._config.upright

    def predict(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        boxes: np.ndarray,
        sides: Sequence[Side] | None = None,
        turns: np.ndarray | None = None,
    ) -> list[NetworkPrediction | None]:
        """Predicts the hand in each box.

        Args:
            image_rgb: (H, W, 3) uint8.
            camera: the image's camera.
            boxes: (N, 4) pixels.
            sides: side of each hand; None to let the network's landmarks decide.
            turns: (N,) radians, as in ``preprocess``; for a network with upright crops.

        Returns:
            One prediction per box, or None if the network cannot see the hand: the box lies outside the image or, with
            released preprocessing, outside the pinhole image to which a distorted image is rectified.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if sides is not None and len(boxes) != len(sides):
            raise ValueError(f"{len(boxes)} boxes, but {len(sides)} sides")
        if self._preprocessing is Preprocessing.RELEASED:
            image_rgb, pinhole = self._rectifier(image_rgb, camera)
            if pinhole is not camera:
                boxes, camera = boxes_between(boxes, camera, pinhole), pinhole
        usable = np.flatnonzero(usable_boxes(camera, boxes)).tolist()
        predictions: list[NetworkPrediction | None] = [None] * len(boxes)
        if usable:
            known_sides = None if sides is None else [sides[i] for i in usable]
            turns = None if turns is None else np.asarray(turns)[usable]
            for i, prediction in zip(
                usable, self._run(image_rgb, camera, boxes[usable], known_sides, turns), strict=True
            ):
                predictions[i] = prediction
        return predictions

    def warm_up(self) -> None:
        """Runs the network once on a black image, so that the first hand takes no longer than the others."""
        side = 2 * IMAGE_SIZE
        turns = np.zeros(1) if self.wants_upright else None
        self.predict(
            np.zeros((side, side, 3), np.uint8),
            Camera.guess(side, side),
            np.array([[0, 0, side, side]]),
            [Side.RIGHT],
            turns,
        )

    def _run(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        boxes: np.ndarray,
        sides: list[Side] | None,
        turns: np.ndarray | None,
    ) -> list[NetworkPrediction]:
        inputs = preprocess(image_rgb, camera, boxes, self._config, self._preprocessing, turns)
        side = (
            [BY_LANDMARKS] * len(boxes) if sides is None else [RIGHT if side is Side.RIGHT else LEFT for side in sides]
        )
        found = self._network(inputs, np.array(side))
        grasps = found.get("grasp")
        landmarks: Sequence[Landmarks | None] = [None] * len(boxes)
        if self.has_landmarks:
            landmarks = _landmarks(
                found, boxes, np.zeros(len(boxes)) if turns is None else turns, self._config.crop_scale
            )
        seen: Sequence[np.ndarray | None] = [None] * len(boxes)
        if self._visibility_head is not None:
            seen = list(self._visibility_head(found[POOLED]))
        return [
            NetworkPrediction(
                side=Side.RIGHT if is_right else Side.LEFT,
                mano=ManoParameters(
                    **{name: found[name][i] for name in ("transl", "global_orient", "hand_pose", "betas")}
                ),
                grasp_probabilities=None if grasps is None else calibrated_grasps(grasps[i]),
                landmarks=landmarks[i],
                seen=seen[i],
            )
            for i, is_right in enumerate(found["is_right"].tolist())
        ]


def calibrated_grasps(probabilities: np.ndarray) -> np.ndarray:
    """Applies ``GRASP_TEMPERATURE`` to the network's (9,) float32 probabilities, which are too sure."""
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)) / GRASP_TEMPERATURE
    odds = np.exp(logits - logits.max())
    return (odds / odds.sum()).astype(np.float32)


def _landmarks(
    found: dict[str, np.ndarray], boxes: np.ndarray, turns: np.ndarray, crop_scale: float
) -> list[Landmarks]:
    """Converts landmarks from the pixels and axes of turned crops to those of the image."""
    keypoints, world = found["landmarks"].astype(np.float64), found["world"].astype(np.float64)
    presence, is_right = found["presence"].tolist(), found["right"].tolist()
    results = []
    for i, (box, turn) in enumerate(zip(boxes, turns, strict=True)):
        axes, scale = rotation_matrix_2d(turn).T, crop_scale * (box[2:] - box[:2]).max() / IMAGE_SIZE
        in_image = scale * (keypoints[i] - (IMAGE_SIZE - 1) / 2) @ axes + (box[:2] + box[2:]) / 2
        turned = np.column_stack([world[i, :, :2] @ axes, world[i, :, 2]])
        results.append(Landmarks(in_image, turned, presence[i], is_right[i]))
    return results
