"""The node's parameters, read into a frozen dataclass that is replaced when parameters are set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from ..config import DEPTH_SENSORS, DETECTORS, PRECISIONS, RUNTIMES, EstimatorConfig, SearchTime, SmoothingConfig
from ..geometry.depth_image import DepthNoise
from ..io.image_headers import MAX_PIXELS
from . import shared_parameters
from .declaration import ParameterError, check_choices, declare_fields, describe, field_value, parameter, ros_name
from .detection_messages import HandClassIds


@dataclass(frozen=True)
class Parameters:
    """Values of the node's parameters. A field's name has ``__`` where the ROS name has a dot."""

    autostart: bool = shared_parameters.autostart()
    bond_heartbeat_period: float = shared_parameters.bond_heartbeat_period()

    image_transport: str = parameter(
        "raw",
        "Subscribe to image (raw) or to image/compressed (compressed).",
        choices=("raw", "compressed"),
        fixed=True,
    )
    image_reliability: str = parameter(
        "auto",
        "Reliability of the image subscription. auto: reliable if all publishers are, otherwise best effort. "
        "best_effort works with every camera, but loses many large images; reliable requires a reliable publisher.",
        choices=("auto", "best_effort", "reliable"),
        fixed=True,
    )
    max_megapixels: float = parameter(
        MAX_PIXELS / 1e6,
        "Size above which compressed images are rejected before they are decoded. A few bytes can claim any size.",
        "Mpx",
        (0.01, 1000.0),
    )
    rectified: bool = parameter(
        False,
        "Whether the images are rectified. If true, CameraInfo's P is used without distortion; otherwise K with the "
        "distortion.",
    )
    intrinsics: str = parameter(
        "camera_info",
        "Source of the camera intrinsics. camera_info: the CameraInfo topic (images are rejected until a message has "
        "arrived); horizontal_fov: the parameter of that name; guess: a typical camera, so that depths are not "
        "metric.",
        choices=("camera_info", "horizontal_fov", "guess"),
    )
    horizontal_fov: float = parameter(
        0.0,
        "Horizontal field of view of a pinhole camera, for intrinsics: horizontal_fov.",
        "rad",
        (0.0, math.pi - 0.01),
    )

    depth: str = parameter(
        "auto",
        "Depth camera. auto: hands are fitted to the depth images on the topic depth, aligned or not, if there are "
        "any; off: colour alone.",
        choices=("off", "auto"),
        fixed=True,
    )
    depth_transport: str = parameter(
        "raw",
        "Subscribe to depth (raw) or to depth/compressedDepth (compressedDepth).",
        choices=("raw", "compressedDepth"),
        fixed=True,
    )
    depth_tolerance: float = parameter(
        0.02,
        "Largest difference between the stamps of an image and of its depth image. A hand that moves at 1 m/s is off "
        "by 1 mm for each millisecond.",
        "s",
        (0.0, 1.0),
    )
    depth_sensor: str = parameter(
        "stereo",
        "Noise model of the depth camera. stereo: the standard deviation grows with the square of the distance; "
        "time_of_flight: linearly.",
        choices=DEPTH_SENSORS,
    )
    depth_noise_scale: float = parameter(
        1.0, "Factor on the standard deviation of the noise model.", bounds=(0.1, 100.0)
    )

    checkpoint: str = parameter(
        "auto",
        "Weights of the 3D network. default: the bundled weights; released: the authors' weights, after wildhands "
        "import-checkpoint; a path; none: no network, only the keypoint fit; auto: default, or none if hand_model is "
        "a folder.",
        fixed=True,
    )
    hand_model: str = parameter(
        "auto",
        "Hand model. auto: the one of the checkpoint, or the open hand if it has none; open: the open hand; or a "
        "folder with MANO files.",
        fixed=True,
    )
    hand_length: float = parameter(
        0.0,
        "Distance from the wrist to the tip of the middle finger of the user's stretched hand, which halves the "
        "uncertainty of depth. 0: unknown, or learned from depth images.",
        "m",
        (0.0, 0.3),
    )
    hand: str = shared_parameters.hand()
    refine: bool = parameter(
        True, "Whether the network's estimate is refined by a fit to the detected keypoints.", fixed=True
    )
    device: str = parameter(
        "auto", "Torch device of the network, such as cpu or cuda:0. auto: a GPU if there is one.", fixed=True
    )
    runtime: str = parameter(
        "auto",
        "What executes the network. openvino or onnxruntime (CPU only), torch, or auto: torch on a GPU; on a CPU the "
        "faster one of openvino and onnxruntime, which is measured at the first start.",
        fixed=True,
        choices=RUNTIMES,
    )
    precision: str = parameter(
        "auto",
        "Number format of the network: float32, bfloat16, int8 (after wildhands quantize), or auto: the fastest "
        "without loss of accuracy.",
        fixed=True,
        choices=PRECISIONS,
    )

    detector__type: str = parameter(
        "auto",
        "Hand detector. auto: the bundled detector, on the whole image and, as far as time allows, on tiles of it; "
        "own: the bundled detector on the whole image only; mediapipe: MediaPipe Hands; topic: each image waits for "
        "its external detections on the topic detections; tracks: external detections arrive now and then, and hands "
        "are tracked in between.",
        choices=DETECTORS,
        fixed=True,
    )
    detector__search_time: float = parameter(
        0.02,
        "Time per image that the detector auto may spend on further tiles if it has found no hand; the next image "
        "continues with the remaining tiles.",
        "s",
        (0.0, 1.0),
        fixed=True,
    )
    detector__max_hands: int = parameter(2, "Maximum number of hands in an image.", bounds=(1, 16), fixed=True)
    detector__min_score: float = parameter(
        0.5, "Detection score below which a hand is not reported.", bounds=(0.01, 0.99), fixed=True
    )
    detector__right_class_ids: tuple[str, ...] = parameter(
        ("right",), "Class ids of right hands on the topic detections."
    )
    detector__left_class_ids: tuple[str, ...] = parameter(("left",), "Class ids of left hands on the topic detections.")
    detector__hand_class_ids: tuple[str, ...] = parameter(
        ("hand",), "Class ids of hands on the topic detections whose side the detector does not determine."
    )

    smoothing__enabled: bool = shared_parameters.smoothing_enabled()
    smoothing__frame: str = parameter(
        "",
        "TF frame in which hands are smoothed if the camera moves, such as odom or the robot's base. TF must connect "
        "it with the frame of the images. Empty: the frame of the images.",
        fixed=True,
    )
    smoothing__min_cutoff: float = shared_parameters.smoothing_min_cutoff()
    smoothing__beta: float = shared_parameters.smoothing_beta()
    smoothing__max_cutoff: float = shared_parameters.smoothing_max_cutoff()

    publish_vertices: bool = shared_parameters.publish_vertices()
    markers_max_rate: float = parameter(15.0, "Maximum rate of hands/markers.", "Hz", (0.1, 1000.0))
    tf: str = shared_parameters.tf()
    tf_basis: str = shared_parameters.tf_basis()
    tf_prefix: str = parameter(
        "", "Prefix of the names of the frames on /tf, for example cam1_. Two cameras need different prefixes."
    )

    diagnostics__silence_warn: float = parameter(
        2.0, "Time without an image after which diagnostics warn.", "s", (0.1, 3600.0)
    )
    diagnostics__silence_error: float = parameter(
        10.0, "Time without an image after which diagnostics report an error.", "s", (0.1, 3600.0)
    )
    diagnostics__age_warn: float = parameter(
        0.5,
        "Age of the images when their hands are published (95th percentile) above which diagnostics warn.",
        "s",
        (0.001, 60.0),
    )
    diagnostics__age_error: float = parameter(
        2.0,
        "Age of the images when their hands are published (95th percentile) above which diagnostics report an error.",
        "s",
        (0.001, 60.0),
    )
    diagnostics__min_rate: float = parameter(
        0.0, "Output rate below which diagnostics warn. 0: any rate is accepted.", "Hz", (0.0, 1000.0)
    )

    @property
    def smoothing(self) -> SmoothingConfig | None:
        """The strength of smoothing; None if hands are not smoothed."""
        return shared_parameters.smoothing_config(self)

    @property
    def depth_noise(self) -> DepthNoise:
        """The noise model of the depth camera."""
        return DepthNoise.of_sensor(self.depth_sensor, self.depth_noise_scale)

    @property
    def max_pixels(self) -> int:
        """``max_megapixels`` in pixels."""
        return round(1e6 * self.max_megapixels)

    @property
    def hand_class_ids(self) -> HandClassIds:
        """The class ids of hands on the topic detections."""
        return HandClassIds(
            self.detector__right_class_ids, self.detector__left_class_ids, self.detector__hand_class_ids
        )

    @property
    def estimator(self) -> EstimatorConfig:
        """The configuration of the estimator."""
        return EstimatorConfig(
            checkpoint=self.checkpoint,
            hand_model=self.hand_model,
            detector=self.detector__type,
            max_hands=self.detector__max_hands,
            min_score=self.detector__min_score,
            search=SearchTime(self.detector__search_time),
            hand_length=self.hand_length,
            refine=self.refine,
            device=self.device,
            runtime=self.runtime,
            precision=self.precision,
            smoothing=self.smoothing,
        )

    def changed(self, values: Mapping[str, Any], configured: bool) -> Parameters:
        """Returns a copy with new values.

        Args:
            values: new values by ROS name, whose types and ranges rclpy has checked. Unknown names are ignored.
            configured: whether the node is configured; fixed parameters can then not be changed.

        Raises:
            ParameterError: a value is not one of the choices, contradicts another one, or is fixed.
        """
        known = _fields_by_ros_name()
        new = {name: value for name, value in values.items() if name in known}
        if configured and (fixed := [name for name in new if known[name].metadata["fixed"]]):
            raise ParameterError(
                f"{', '.join(fixed)}: read when the node is configured; deactivate and clean it up first (ros2 "
                "lifecycle set), then set the parameter, configure and activate"
            )
        changed = replace(self, **{known[name].name: field_value(known[name], value) for name, value in new.items()})
        changed.check()
        return changed

    def check(self) -> None:
        """Checks the values that rclpy does not check.

        Raises:
            ParameterError: a value is not one of the choices, or two values contradict each other.
        """
        check_choices(self)
        if self.intrinsics == "horizontal_fov" and not self.horizontal_fov:
            raise ParameterError(
                "intrinsics is horizontal_fov, but the parameter horizontal_fov (in radians) is not set"
            )
        for kind in ("silence", "age"):
            warn, error = (f"diagnostics__{kind}_{level}" for level in ("warn", "error"))
            if getattr(self, warn) > getattr(self, error):
                raise ParameterError(f"{ros_name(warn)} must not be greater than {ros_name(error)}")


def _fields_by_ros_name() -> dict[str, Field]:
    return {ros_name(item.name): item for item in fields(Parameters)}


def descriptor(item: Field) -> ParameterDescriptor:
    """Returns the descriptor of a field: description, unit, range, choices, and when a change takes effect."""
    fixed = item.metadata["fixed"]
    return describe(
        item, "Read when the node is configured." if fixed else "A change takes effect with the next image."
    )


def declare(node: Node) -> Parameters:
    """Declares all parameters and reads them.

    Raises:
        ParameterError: a value has the wrong type, is out of range, is not one of the choices, or contradicts another
            one.
    """
    parameters = Parameters(**declare_fields(node, Parameters, descriptor))
    parameters.check()
    return parameters
