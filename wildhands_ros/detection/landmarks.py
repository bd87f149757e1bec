"""Keypoints for a box that is already known: from another detector, or from the last frame.

Runs the landmark network of MediaPipe Hands (from its wheel) on a crop of the box. It knows hands that MediaPipe's own palm detector
misses, but it wants its crop upright: the wrist below the middle finger's base. Where the turn is not known, four are tried and the
best is refined. OpenVINO reads the file as it is; OpenCV's reader gives other world landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..geometry.boxes import turn_matrix_2d, turned_square
from ..network.mediapipe_weights import OUTPUTS, landmark_model_path
from ..structures import Detection, Side

CROP_SIZE = 224
CROP_SCALE = 1.5
"""Side of the crop over the longer side of the hand's box. MediaPipe takes 2.0 of a box without fingertips; on annotated photographs 1.5 of
the whole hand's box gives the same keypoints, while 2.0 of it loses hands."""
WRIST, MIDDLE_MCP = 0, 9
QUARTER_TURNS = tuple(np.radians([0, 90, 180, 270]))
# bfloat16, OpenVINO's default where the CPU has it, would round landmarks to whole pixels. One thread: the crop is small.
OPENVINO_CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


class LandmarkDetector:
    """Finds the 21 keypoints of the hand in a given box. Not for use from two threads at once.

    ``min_score`` is the presence in (0, 1) below which a box holds no hand.

    :raises ImportError: openvino, or mediapipe, whose wheel holds the network, is not installed.
    """

    def __init__(self, min_score: float = 0.5):
        model = landmark_model_path()
        try:
            import openvino
        except ImportError as error:
            raise ImportError("keypoints in given boxes need openvino: pip install openvino") from error
        self._network = openvino.Core().compile_model(model, "CPU", OPENVINO_CONFIG)
        self._min_score = min_score

    def detect_in_box(self, image_rgb: np.ndarray, box: np.ndarray, turn: float | None = None) -> Detection | None:
        """The hand in ``box`` (4,) of an (H, W, 3) uint8 image, or None where the network sees none.

        ``turn`` is the angle (radians, clockwise in the image) from upright to the hand's direction, where it is known.
        """
        centre, longer_side = (box[:2] + box[2:]) / 2, max(float((box[2:] - box[:2]).max()), 1.0)
        first = [self._look(image_rgb, centre, longer_side, angle) for angle in (QUARTER_TURNS if turn is None else (turn,))]
        best = max(first, key=lambda detection: detection.score)
        if turn is None:
            best = max(best, self._look_again(image_rgb, best), key=lambda detection: detection.score)
        return best if best.score >= self._min_score else None

    def _look_again(self, image_rgb: np.ndarray, detection: Detection) -> Detection:
        """Looks with the crop that belongs to the keypoints: upright, and centred on their box in the turned frame."""
        turn = hand_turn(detection.keypoints)
        square = turned_square(detection.keypoints, turn)
        return self._look(image_rgb, (square[:2] + square[2:]) / 2, float(square[2] - square[0]), turn)

    def _look(self, image_rgb: np.ndarray, centre: np.ndarray, longer_side: float, turn: float) -> Detection:
        scale = CROP_SIZE / (CROP_SCALE * longer_side)
        linear = scale * turn_matrix_2d(turn).T
        affine = np.hstack([linear, ((CROP_SIZE - 1) / 2 - linear @ centre)[:, None]])
        # Shrinking by warpAffine alone would alias.
        source = image_rgb if scale > 0.5 else cv2.blur(image_rgb, (round(1 / scale),) * 2)
        crop = cv2.warpAffine(source, affine, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        outputs = self._network(crop[None].astype(np.float32) / 255)
        landmarks, presence, is_right, world = (outputs[OUTPUTS[name]].ravel() for name in ("landmarks", "presence", "is_right", "world"))
        # The network counts from the crop's edge; pixel centres are half a pixel further in.
        in_crop = landmarks.reshape(21, 3)[:, :2].astype(np.float64) - 0.5
        keypoints = (in_crop - affine[:, 2]) @ np.linalg.inv(linear).T
        world = world.reshape(21, 3).astype(np.float64)
        world[:, :2] = world[:, :2] @ turn_matrix_2d(turn).T
        last = (image_rgb.shape[1] - 1, image_rgb.shape[0] - 1)
        box = np.concatenate([np.clip(keypoints.min(axis=0), 0, last), np.clip(keypoints.max(axis=0), 0, last)])
        is_right = float(is_right[0])
        return Detection(
            box=box,
            side=Side.RIGHT if is_right > 0.5 else Side.LEFT,
            score=float(presence[0]),
            side_score=max(is_right, 1 - is_right),
            keypoints=keypoints,
            world=world,
        )


def hand_turn(keypoints: np.ndarray) -> float:
    """Angle (radians, clockwise in the image) from upright to the direction wrist to middle finger's base; (21, 2) keypoints."""
    x, y = keypoints[MIDDLE_MCP] - keypoints[WRIST]
    return float(np.arctan2(x, -y))
