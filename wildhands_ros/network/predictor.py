"""Runs the network on the hands of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from ..geometry.boxes import turn_matrix_2d
from ..geometry.camera import Camera
from ..geometry.undistort import Rectifier, boxes_between
from ..hand_model.layer import HandLayer
from ..hand_model.posing import one_thread
from ..structures import Landmarks, ManoParameters, NetworkPrediction, Side
from .config import IMAGE_SIZE, Preprocessing
from .landmark_net import LandmarkOutput, LandmarkTrunk
from .model import WildHands, decode_pose
from .preprocessing import preprocess, usable_boxes


class Predictor:
    """A network ready to run. Not thread-safe.

    ``layer`` is the hand model whose parameters the network predicts; it gives the mean pose that the predicted rotations are relative to.
    ``device`` is a torch device, or "auto" for a GPU where there is one. Raises ValueError where the device cannot be used.
    """

    def __init__(self, model: WildHands, preprocessing: Preprocessing, layer: HandLayer, device: str = "auto") -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._device = torch.device(device)
            self._model = model.to(self._device).eval()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device {device!r} cannot be used here ({str(error).splitlines()[0]}): set auto or cpu") from error
        # What is left of such a network beside OpenVINO is small, and threads would only wait for one another.
        self._threads = nullcontext
        self.device = str(self._device)
        """Where it runs, for people: "cuda:0", "cpu", "cpu (OpenVINO)"."""
        if self._device.type == "cpu" and isinstance(model.hand_trunk, LandmarkTrunk):
            model.hand_trunk = _on_openvino(model.hand_trunk)
            self._threads = one_thread
            if not isinstance(model.hand_trunk, LandmarkTrunk):
                self.device += " (OpenVINO)"
        self._preprocessing = preprocessing
        self._mean_pose = layer.hands_mean.to(self._device)
        self._rectifier = Rectifier()

    @property
    def wants_upright(self) -> bool:
        """Whether ``predict`` needs ``turns``."""
        return self._model.config.upright

    @property
    def has_landmarks(self) -> bool:
        """Whether the predictions have ``landmarks``."""
        return self._model.landmark_head is not None

    def predict(
        self,
        image_rgb: np.ndarray,
        camera: Camera,
        boxes: np.ndarray,
        sides: Sequence[Side] | None = None,
        turns: np.ndarray | None = None,
    ) -> list[NetworkPrediction | None]:
        """One prediction per box (N, 4) in pixels of the image (H, W, 3), uint8; any number of hands of either side.

        ``sides``: which hands they are; None to go by the network's own landmarks.
        ``turns`` (N,) as in ``preprocess``, for a network that wants its crops upright.
        None where the network cannot see the hand: the box lies outside of the image, or (released preprocessing) of the pinhole image that
        a distorted one is rectified to.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if sides is not None and len(boxes) != len(sides):
            raise ValueError(f"{len(boxes)} boxes, but {len(sides)} sides")
        if self._preprocessing is Preprocessing.RELEASED:
            image_rgb, pinhole = self._rectifier(image_rgb, camera)
            if pinhole is not camera:
                boxes, camera = boxes_between(boxes, camera, pinhole), pinhole
        usable = np.flatnonzero(usable_boxes(camera, boxes))
        predictions: list[NetworkPrediction | None] = [None] * len(boxes)
        if len(usable):
            right = None if sides is None else np.array([sides[i] is Side.RIGHT for i in usable])
            turns = None if turns is None else np.asarray(turns)[usable]
            for i, prediction in zip(usable, self._run(image_rgb, camera, boxes[usable], right, turns), strict=True):
                predictions[i] = prediction
        return predictions

    def warm_up(self) -> None:
        """Runs the network once on nothing, so that the first hand takes no longer than the others."""
        side = 2 * IMAGE_SIZE
        turns = np.zeros(1) if self.wants_upright else None
        self.predict(np.zeros((side, side, 3), np.uint8), Camera.guess(side, side), [[0, 0, side, side]], [Side.RIGHT], turns)

    @torch.inference_mode()
    def _run(
        self, image_rgb: np.ndarray, camera: Camera, boxes: np.ndarray, right: np.ndarray | None, turns: np.ndarray | None
    ) -> list[NetworkPrediction]:
        inputs = preprocess(image_rgb, camera, boxes, self._model.config, self._preprocessing, turns).to(self._device)
        is_right = None if right is None else torch.from_numpy(right).to(self._device)
        with self._threads():
            output = self._model(inputs.crops, inputs.kpe, is_right, inputs.focal, inputs.anchor, inputs.images, turn=inputs.turn)
        global_orient, hand_pose = decode_pose(output.rotations, self._mean_pose[output.is_right.long()])
        transl, orient, pose, betas = (t.cpu().numpy() for t in (output.translation, global_orient, hand_pose, output.betas))
        grasps = [None] * len(boxes) if output.grasp_logits is None else output.grasp_logits.softmax(dim=-1).cpu().numpy()
        landmarks = [None] * len(boxes)
        if output.landmarks is not None:
            landmarks = _landmarks(output.landmarks, boxes, np.zeros(len(boxes)) if turns is None else turns, self._model.config.crop_scale)
        return [
            NetworkPrediction(
                side=Side.RIGHT if is_right else Side.LEFT,
                mano=ManoParameters(transl=transl[i], global_orient=orient[i], hand_pose=pose[i], betas=betas[i]),
                grasp_probabilities=grasps[i],
                landmarks=landmarks[i],
            )
            for i, is_right in enumerate(output.is_right.tolist())
        ]


def _on_openvino(trunk: LandmarkTrunk) -> nn.Module:
    """The same trunk, faster where openvino is installed."""
    try:
        from ..runtime.openvino import OpenVinoTrunk
    except ImportError:
        return trunk
    return OpenVinoTrunk(trunk)


def _landmarks(output: LandmarkOutput, boxes: np.ndarray, turns: np.ndarray, crop_scale: float) -> list[Landmarks]:
    """From the pixels and axes of turned crops to those of the image."""
    keypoints, world = output.landmarks.cpu().numpy().astype(np.float64), output.world.cpu().numpy().astype(np.float64)
    presence, is_right = output.presence.tolist(), output.is_right.tolist()
    results = []
    for i, (box, turn) in enumerate(zip(boxes, turns, strict=True)):
        axes, scale = turn_matrix_2d(turn).T, crop_scale * (box[2:] - box[:2]).max() / IMAGE_SIZE
        in_image = scale * (keypoints[i] - (IMAGE_SIZE - 1) / 2) @ axes + (box[:2] + box[2:]) / 2
        turned = np.column_stack([world[i, :, :2] @ axes, world[i, :, 2]])
        results.append(Landmarks(in_image, turned, presence[i], is_right[i]))
    return results
