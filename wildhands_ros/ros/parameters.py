"""The node's parameters: declared once here, read into a frozen dataclass, and replaced by another one when some are set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ..config import DETECTORS, EstimatorConfig
from ..smoothing.one_euro import SmoothingConfig
from .declaration import ParameterError, check_choices, declared, describe, parameter, ros_name, value_of
from .detection_messages import Labels

SMOOTHING = SmoothingConfig()
"""The defaults."""


@dataclass(frozen=True)
class Parameters:
    """Values of the node's parameters. Names here have ``__`` where ROS has a dot."""

    autostart: bool = parameter(
        True,
        "Whether the node configures and activates itself; otherwise a lifecycle manager or ros2 lifecycle does.",
        fixed=True,
    )

    image_transport: str = parameter(
        "raw", "Listen to image (raw) or to image/compressed (compressed).", choices=("raw", "compressed"), fixed=True
    )
    image_reliability: str = parameter(
        "auto",
        "Reliability asked of the image's publishers: auto takes what they all offer. best_effort works with every camera, but loses "
        "many large images; reliable needs a camera that publishes so.",
        choices=("auto", "best_effort", "reliable"),
        fixed=True,
    )
    rectified: bool = parameter(
        False, "Whether the image is rectified: CameraInfo's P applies then, without a lens; otherwise K with the lens."
    )
    intrinsics: str = parameter(
        "camera_info",
        "Where the camera's intrinsics come from: camera_info (images wait until one has arrived), horizontal_fov (the parameter of that "
        "name), or guess (a typical camera: depths are then not metric).",
        choices=("camera_info", "horizontal_fov", "guess"),
    )
    horizontal_fov: float = parameter(
        0.0,
        "Horizontal field of view of a pinhole camera, for intrinsics: horizontal_fov.",
        "rad",
        (0.0, math.pi - 0.01),
    )

    checkpoint: str = parameter(
        "auto",
        "Network: default (the weights in the box), released (the published ones, imported before), a path, none (the keypoint fit alone), "
        "or auto: the default weights, unless hand_model is a folder.",
        fixed=True,
    )
    hand_model: str = parameter(
        "auto",
        "Hand model: auto (the checkpoint's own, or else the open one), open, or a folder with MANO's files.",
        fixed=True,
    )
    hand_length: float = parameter(
        0.0,
        "User's stretched hand from wrist to middle fingertip, which halves the depth's uncertainty. 0: unknown.",
        "m",
        (0.0, 0.3),
        fixed=True,
    )
    refine: bool = parameter(True, "Whether the network's estimate is fitted to the detector's keypoints.", fixed=True)
    device: str = parameter(
        "auto", "Torch device of the network, such as cpu or cuda:0. auto: a GPU where there is one.", fixed=True
    )
    runtime: str = parameter(
        "auto",
        "What runs the network: openvino (on the CPU), torch, or auto: openvino on a CPU where it is installed.",
        fixed=True,
        choices=("auto", "torch", "openvino"),
    )
    precision: str = parameter(
        "auto",
        "Of the network: float32, bfloat16, int8 (after wildhands quantize), or auto: the fastest that costs no accuracy.",
        fixed=True,
        choices=("auto", "float32", "bfloat16", "int8"),
    )

    detector__type: str = parameter(
        "auto",
        "Who finds the hands: auto (the detector in the box, on the whole image and, where time allows, on tiles of it), own (the same, "
        "on the whole image alone), mediapipe, topic (each image waits for its detections on the topic detections), or tracks "
        "(detections come now and then, and hands are followed in between).",
        choices=DETECTORS,
        fixed=True,
    )
    detector__search_time: float = parameter(
        0.02,
        "Time that auto may look further in an image in which it has found nothing yet; the next image goes on.",
        "s",
        (0.0, 1.0),
        fixed=True,
    )
    detector__max_hands: int = parameter(2, "Hands to look for in an image.", bounds=(1, 16), fixed=True)
    detector__min_score: float = parameter(
        0.5, "Confidence below which a hand is not reported.", bounds=(0.01, 0.99), fixed=True
    )
    detector__right_class_ids: tuple[str, ...] = parameter(
        ("right",), "Class ids of right hands in the topic detections."
    )
    detector__left_class_ids: tuple[str, ...] = parameter(("left",), "Class ids of left hands in the topic detections.")
    detector__hand_class_ids: tuple[str, ...] = parameter(
        ("hand",), "Class ids there of hands whose side the detector does not tell."
    )

    smoothing__enabled: bool = parameter(
        True, "Whether hands are smoothed over time (One-Euro filter); off: as each image has them."
    )
    smoothing__frame: str = parameter(
        "",
        "Frame in which hands are smoothed where the camera moves, such as odom or a robot's base: TF must lead to it from the image's. "
        "Empty: the camera's own.",
        fixed=True,
    )
    smoothing__min_cutoff: float = parameter(
        SMOOTHING.position.rest,
        "Cutoff frequency of hands at rest: lower is steadier.",
        "Hz",
        (0.01, 100.0),
        fixed=True,
    )
    smoothing__beta: float = parameter(
        SMOOTHING.position.per_speed,
        "What each m/s of the wrist's speed adds to the cutoff: higher lags less in slow motion. Rotations in proportion.",
        "Hz",
        (0.0, 1000.0),
        fixed=True,
    )
    smoothing__max_cutoff: float = parameter(
        SMOOTHING.position.most,
        "Highest cutoff of the wrist's position, half of it for rotations: higher lags less in fast motion, 1 / (2 pi f) s.",
        "Hz",
        (0.01, 1000.0),
        fixed=True,
    )

    publish_vertices: bool = parameter(True, "Whether hands carries the meshes (9 kB a hand).")
    markers_max_rate: float = parameter(15.0, "Highest rate of hands/markers.", "Hz", (0.1, 1000.0))
    tf: str = parameter("joints", "Frames on /tf: off, wrist, or joints (all 21).", choices=("off", "wrist", "joints"))
    tf_basis: str = parameter(
        "mano",
        "Axes of the frames on /tf: mano (the hand model's rest pose), or operator (x out of a flat palm, z towards the fingertips).",
        choices=("mano", "operator"),
    )
    tf_prefix: str = parameter(
        "", "Put before the names of the frames, for example cam1_. Two cameras need different ones."
    )

    diagnostics__silence_warn: float = parameter(
        2.0, "Time without an image from which on diagnostics warn.", "s", (0.1, 3600.0)
    )
    diagnostics__silence_error: float = parameter(
        10.0, "Time without an image from which on it is an error.", "s", (0.1, 3600.0)
    )
    diagnostics__age_warn: float = parameter(
        0.5, "Age of the hands at output, 95th percentile, from which on diagnostics warn.", "s", (0.001, 60.0)
    )
    diagnostics__age_error: float = parameter(
        2.0, "Age of the hands at output from which on it is an error.", "s", (0.001, 60.0)
    )
    diagnostics__min_rate: float = parameter(
        0.0, "Rate of hands below which diagnostics warn. 0: any rate will do.", "Hz", (0.0, 1000.0)
    )

    @property
    def smoothing(self) -> SmoothingConfig:
        """How much hands are smoothed."""
        return SMOOTHING.with_cutoffs(self.smoothing__min_cutoff, self.smoothing__beta, self.smoothing__max_cutoff)

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
            runtime=self.runtime,
            precision=self.precision,
        )

    def changed(self, values: Mapping[str, Any], configured: bool) -> Parameters:
        """With new values by ROS name, of the right types and within their bounds (rclpy has seen to that). Other names are left out.

        :raises ParameterError: not one of the choices, contradictory, or fixed while the node is ``configured``.
        """
        known = {ros_name(item.name): item for item in fields(self)}
        new = {known[name].name: value_of(known[name], value) for name, value in values.items() if name in known}
        if configured and (
            fixed := [ros_name(name) for name in new if self.__dataclass_fields__[name].metadata["fixed"]]
        ):
            raise ParameterError(
                f"{', '.join(fixed)}: read when the node is configured; deactivate and clean it up first (ros2 lifecycle set), set it, "
                "configure and activate"
            )
        changed = replace(self, **new)
        changed.check()
        return changed

    def check(self) -> None:
        """
        :raises ParameterError: a value is not one of the choices, or two contradict one another.
        """
        check_choices(self)
        if self.intrinsics == "horizontal_fov" and not self.horizontal_fov:
            raise ParameterError(
                "intrinsics is horizontal_fov, so the parameter horizontal_fov must be set too (in radians)"
            )
        for kind in ("silence", "age"):
            warn, error = (f"diagnostics__{kind}_{level}" for level in ("warn", "error"))
            if getattr(self, warn) > getattr(self, error):
                raise ParameterError(f"{ros_name(warn)} must not be above {ros_name(error)}")


def descriptor(name: str) -> ParameterDescriptor:
    """Of a field of ``Parameters``: text, unit, range, choices, and whether it is fixed."""
    item = Parameters.__dataclass_fields__[name]
    return describe(
        item,
        "Read when the node is configured." if item.metadata["fixed"] else "A change counts from the next image on.",
    )


def declare(node: Node) -> Parameters:
    """Declares all parameters and reads them.

    :raises ParameterError: wrong type, out of range, not one of the choices, or contradictory.
    """
    parameters = Parameters(**declared(node, Parameters, lambda item: descriptor(item.name)))
    parameters.check()
    return parameters
