"""Runs the network on the hands of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..geometry.camera import Camera
from ..geometry.undistort import Rectifier, boxes_between
from ..hand_model.layer import HandLayer
from ..structures import ManoParameters, Side
from .config import Preprocessing
from .model import WildHands, decode_pose
from .preprocessing import preprocess, usable_boxes


@dataclass(frozen=True)
class NetworkPrediction:
    """What the network says of one hand."""

    mano: ManoParameters
    """In the camera's frame, of the ``layer``'s hand model."""
    grasp_probabilities: np.ndarray | None
    """(9,) float32 in the order of ``Grasp``; None where the network has no grasp head."""


class Predictor:
    """A network ready to run. Not thread-safe.

    ``layer`` is the hand model whose parameters the network predicts; it gives the mean pose that the predicted rotations are relative to.
    ``device`` is a torch device, or "auto" for a GPU where there is one.
    """

    def __init__(self, model: WildHands, preprocessing: Preprocessing, layer: HandLayer, device: str = "auto") -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        self._preprocessing = preprocessing
        self._mean_pose = layer.hands_mean.to(self._device)
        self._rectifier = Rectifier()

    @property
    def wants_upright(self) -> bool:
        """Whether ``predict`` needs ``turns``."""
        return self._model.config.upright

    def predict(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, sides: Sequence[Side], turns: np.ndarray | None = None
    ) -> list[NetworkPrediction | None]:
        """One prediction per box (N, 4) in pixels of the image (H, W, 3), uint8; any number of hands of either side.

        ``turns`` (N,) as in ``preprocess``, for a network that wants its crops upright.
        None where the network cannot see the hand: the box lies outside of the image, or (released preprocessing) of the pinhole image that
        a distorted one is rectified to.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if len(boxes) != len(sides):
            raise ValueError(f"{len(boxes)} boxes, but {len(sides)} sides")
        if self._preprocessing is Preprocessing.RELEASED:
            image_rgb, pinhole = self._rectifier(image_rgb, camera)
            if pinhole is not camera:
                boxes, camera = boxes_between(boxes, camera, pinhole), pinhole
        usable = np.flatnonzero(usable_boxes(camera, boxes))
        predictions: list[NetworkPrediction | None] = [None] * len(boxes)
        if len(usable):
            right = np.array([sides[i] is Side.RIGHT for i in usable])
            turns = None if turns is None else np.asarray(turns)[usable]
            for i, prediction in zip(usable, self._run(image_rgb, camera, boxes[usable], right, turns), strict=True):
                predictions[i] = prediction
        return predictions

    @torch.inference_mode()
    def _run(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, right: np.ndarray, turns: np.ndarray | None
    ) -> list[NetworkPrediction]:
        inputs = preprocess(image_rgb, camera, boxes, self._model.config, self._preprocessing, turns).to(self._device)
        is_right = torch.from_numpy(right).to(self._device)
        output = self._model(inputs.crops, inputs.kpe, is_right, inputs.focal, inputs.anchor, inputs.images, turn=inputs.turn)
        global_orient, hand_pose = decode_pose(output.rotations, self._mean_pose[is_right.long()])
        transl, orient, pose, betas = (t.cpu().numpy() for t in (output.translation, global_orient, hand_pose, output.betas))
        grasps = [None] * len(boxes) if output.grasp_logits is None else output.grasp_logits.softmax(dim=-1).cpu().numpy()
        return [
            NetworkPrediction(ManoParameters(transl=transl[i], global_orient=orient[i], hand_pose=pose[i], betas=betas[i]), grasps[i])
            for i in range(len(boxes))
        ]
