"""The node's parameters: declared once here, read once into a frozen dataclass."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from ..detection.base import DETECTORS
from ..estimator_config import EstimatorConfig
from .detections import Labels


class ParameterError(ValueError):
    """A parameter's value cannot be used; the message says which are."""


def _parameter(default: Any, text: str, unit: str = "", bounds: tuple | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field that carries its own documentation. ``bounds`` are inclusive."""
    metadata = {"text": text, "unit": unit, "bounds": bounds, "choices": choices}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata={**metadata, "default": list(default)})
    return field(default=default, metadata={**metadata, "default": default})


@dataclass(frozen=True)
class Parameters:
    """Values of the node's parameters. Names here have ``__`` where ROS has a dot."""

    image_transport: str = _parameter("raw", "Listen to image (raw) or to image/compressed (compressed).", choices=("raw", "compressed"))
    image_reliability: str = _parameter(
        "auto",
        "Reliability asked of the image's publishers: auto takes what they all offer. best_effort works with every camera, but loses "
        "many large images; reliable needs a camera that publishes so.",
        choices=("auto", "best_effort", "reliable"),
    )
    rectified: bool = _parameter(
        False, "Whether the image is rectified: CameraInfo's P applies then, without a lens; otherwise K with the lens."
    )
    intrinsics: str = _parameter(
        "camera_info",
        "Where the camera's intrinsics come from: camera_info (images wait until one has arrived), horizontal_fov (the parameter of that "
        "name), or guess (a typical camera: depths are then not metric).",
        choices=("camera_info", "horizontal_fov", "guess"),
    )
    horizontal_fov: float = _parameter(
        0.0, "Horizontal field of view of a pinhole camera, for intrinsics: horizontal_fov.", "rad", (0.0, math.pi - 0.01)
    )

    checkpoint: str = _parameter(
        "auto",
        "Network: default (the weights in the box), released (the published ones, imported before), a path, none (the keypoint fit alone), "
        "or auto: the default weights, unless hand_model is a folder.",
    )
    hand_model: str = _parameter(
        "auto", "Hand model: auto (the checkpoint's own, or the open one where it has none), open, or a folder with MANO's files."
    )
    hand_length: float = _parameter(
        0.0, "User's stretched hand from wrist to middle fingertip, which halves the depth's uncertainty. 0: unknown.", "m", (0.0, 0.3)
    )
    refine: bool = _parameter(True, "Whether the network's estimate is fitted to the detector's keypoints.")
    device: str = _parameter("auto", "Torch device of the network, such as cpu or cuda:0. auto: a GPU where there is one.")

    detector__type: str = _parameter(
        "auto",
        "Who finds the hands: auto (the detector in the box, on the whole image and, where time allows, on tiles of it), own (the same, "
        "on the whole image alone), mediapipe, topic (each image waits for its detections on the topic detections), or tracks "
        "(detections come now and then, and hands are followed in between).",
        choices=DETECTORS,
    )
    detector__search_time: float = _parameter(
        0.02, "Time that auto may look further in an image in which it has found nothing yet; the next image goes on.", "s", (0.0, 1.0)
    )
    detector__max_hands: int = _parameter(2, "Hands to look for in an image.", bounds=(1, 16))
    detector__min_score: float = _parameter(0.5, "Confidence below which a hand is not reported.", bounds=(0.01, 0.99))
    detector__right_class_ids: tuple[str, ...] = _parameter(("right",), "Class ids of right hands in the topic detections.")
    detector__left_class_ids: tuple[str, ...] = _parameter(("left",), "Class ids of left hands in the topic detections.")
    detector__hand_class_ids: tuple[str, ...] = _parameter(("hand",), "Class ids there of hands whose side the detector does not tell.")

    publish_vertices: bool = _parameter(True, "Whether hands carries the meshes (9 kB a hand).")
    markers_max_rate: float = _parameter(15.0, "Highest rate of hands/markers.", "Hz", (0.1, 1000.0))
    tf: str = _parameter("joints", "Frames on /tf: off, wrist, or joints (all 21).", choices=("off", "wrist", "joints"))
    tf_prefix: str = _parameter("", "Put before the names of the frames, for example cam1_. Two cameras need different ones.")

    @property
    def labels(self) -> Labels:
        """What hands are called in the topic detections."""
        return Labels(self.detector__right_class_ids, self.detector__left_class_ids, self.detector__hand_class_ids)

    @property
    def estimator(self) -> EstimatorConfig:
        """What the estimator is made of."""
        return EstimatorConfig(
            checkpoint=self.checkpoint,
            hand_model=self.hand_model,
            detector=self.detector__type,
            max_hands=self.detector__max_hands,
            min_score=self.detector__min_score,
            search_time=self.detector__search_time,
            hand_length=self.hand_length,
            refine=self.refine,
            device=self.device,
        )


def ros_name(field_name: str) -> str:
    return field_name.replace("__", ".")


def descriptor(name: str) -> ParameterDescriptor:
    """Of a field of ``Parameters``: text, unit, range, choices; all parameters are read once, at start."""
    about = Parameters.__dataclass_fields__[name].metadata
    described = ParameterDescriptor(name=ros_name(name), read_only=True)
    described.description = about["text"] + (f" In {about['unit']}." if about["unit"] else "")
    described.additional_constraints = f"One of: {', '.join(about['choices'])}." if about["choices"] else ""
    if about["bounds"] and isinstance(about["default"], float):
        described.floating_point_range = [FloatingPointRange(from_value=about["bounds"][0], to_value=about["bounds"][1])]
    elif about["bounds"]:
        described.integer_range = [IntegerRange(from_value=about["bounds"][0], to_value=about["bounds"][1], step=1)]
    return described


def declare(node: Node) -> Parameters:
    """Declares all parameters and reads them.

    :raises ParameterError: wrong type, out of range, or not one of the choices.
    """
    values = {}
    for item in fields(Parameters):
        name, about = ros_name(item.name), item.metadata
        try:
            value = node.declare_parameter(name, about["default"], descriptor(item.name)).value
        except Exception as error:  # rclpy raises different types for a wrong type and for a value out of range
            raise ParameterError(f"parameter {name}: {error}") from error
        if about["choices"] and value not in about["choices"]:
            raise ParameterError(f"parameter {name} is {value!r}; it must be one of: {', '.join(about['choices'])}")
        values[item.name] = tuple(value) if isinstance(about["default"], list) else value
    parameters = Parameters(**values)
    if parameters.intrinsics == "horizontal_fov" and not parameters.horizontal_fov:
        raise ParameterError("intrinsics is horizontal_fov, so the parameter horizontal_fov must be set (in radians)")
    return parameters


def reference_yaml() -> str:
    """A parameter file with every default, documented; config/wildhands.yaml is this text."""
    lines = ["# Parameters of wildhands_node, with their defaults. All are read once, at start.", "/**:", "  ros__parameters:"]
    group = ""
    for item in fields(Parameters):
        about, name = item.metadata, ros_name(item.name)
        notes = [about["text"]]
        if about["unit"] or about["bounds"]:
            limits = "{:g} to {:g}".format(*about["bounds"]) if about["bounds"] else ""
            notes.append(f"Unit: {about['unit']}." if not limits else f"Range: {limits} {about['unit']}".rstrip() + ".")
        if about["choices"]:
            notes.append(f"One of: {', '.join(about['choices'])}.")
        *parents, key = name.split(".")
        indent = 4 + 2 * len(parents)
        if parents and parents[0] != group:
            lines.append(f"    {parents[0]}:")
        group = parents[0] if parents else ""
        wrapped = textwrap.wrap(" ".join(notes), 120, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "# ")
        lines += [*wrapped, f"{' ' * indent}{key}: {json.dumps(about['default'])}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference_yaml(), end="")
