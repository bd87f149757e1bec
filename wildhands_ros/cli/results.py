"""Estimates as JSON: metres, pixels of the input image, joints in MediaPipe order."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import Camera
from ..geometry.so3 import canonical_quaternions, quaternions_from_matrices
from ..types import FrameEstimate, HandEstimate


class Results:
    """Collects the estimates of all frames of a source.

    The JSON is ``{"camera": {...}, "frames": [{"source", "stamp", "hands": [...]}]}``. ``camera`` is the camera of
    the first frame; a frame with another camera (a folder may hold images of several sizes) has a ``camera`` of its
    own.
    """

    def __init__(self) -> None:
        self._camera: dict | None = None
        self._frames: list[dict] = []

    def add(self, frame: FrameEstimate, source: str, stamp: float | None, intrinsics: IntrinsicsSource) -> None:
        """Appends one frame.

        Args:
            frame: the estimate.
            source: name of the file that the frame is from.
            stamp: seconds; None for still images.
            intrinsics: where the intrinsics of the frame's camera come from.
        """
        entry: dict[str, object] = {
            "source": source,
            "stamp": _number(stamp, 6),
            "hands": [hand_dict(hand) for hand in frame.hands],
        }
        camera = camera_dict(frame.camera, intrinsics)
        if self._camera is None:
            self._camera = camera
        elif camera != self._camera:
            entry["camera"] = camera
        self._frames.append(entry)

    def write(self, path: Path, problems: list[str]) -> None:
        """Writes strict JSON: numbers that are not finite become null. Omits ``problems`` if there are none."""
        data: dict[str, object] = {"camera": self._camera, "frames": self._frames}
        if problems:
            data["problems"] = problems
        path.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")


def camera_dict(camera: Camera, intrinsics: IntrinsicsSource) -> dict:
    """Returns ``{"k": [9], "width", "height", "distortion_model", "d", "intrinsics_source"}``; ``k`` is row-major."""
    return {
        "k": _numbers(camera.k, 6),
        "width": camera.width,
        "height": camera.height,
        "distortion_model": camera.distortion_model,
        "d": _numbers(camera.d, 9),
        "intrinsics_source": intrinsics.name.lower(),
    }


def hand_dict(hand: HandEstimate) -> dict:
    """Returns one hand as JSON data; ``orientation`` is a quaternion x, y, z, w."""
    probabilities = None if hand.grasp_probabilities is None else _numbers(hand.grasp_probabilities, 6)
    return {
        "side": hand.side.value,
        "score": _number(hand.score, 4),
        "bbox": _numbers(hand.box, 3),
        "joints": [_numbers(joint, 6) for joint in hand.joints],
        "joints_2d": [_numbers(joint, 3) for joint in hand.joints_2d],
        "wrist": {
            "position": _numbers(hand.wrist_position, 6),
            "orientation": _numbers(canonical_quaternions(quaternions_from_matrices(hand.wrist_rotation)), 8),
        },
        "mano": {
            "transl": _numbers(hand.mano.transl, 6),
            "global_orient": _numbers(hand.mano.global_orient, 6),
            "hand_pose": _numbers(hand.mano.hand_pose, 6),
            "betas": _numbers(hand.mano.betas, 6),
        },
        "grasp": {"label": hand.grasp.name.lower(), "probabilities": probabilities},
        "num_vertices": len(hand.vertices),
    }


def _number(value: float | None, digits: int) -> float | None:
    return round(float(value), digits) if value is not None and math.isfinite(value) else None


def _numbers(values: np.ndarray, digits: int) -> list[float | None]:
    return [_number(value, digits) for value in np.ravel(values).tolist()]
