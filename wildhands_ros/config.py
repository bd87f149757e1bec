"""The user's choices, every option name once. Importing this is cheap: parameters can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass

AUTO, NONE, OPEN = "auto", "none", "open"

OWN, MEDIAPIPE, TOPIC, TRACKS = "own", "mediapipe", "topic", "tracks"
DETECTORS = (AUTO, OWN, MEDIAPIPE, TOPIC, TRACKS)
"""Detector names.

auto: the bundled detector on the whole image and, as far as time allows, on tiles of it.
own: the bundled detector on the whole image only (single-scale).
mediapipe: MediaPipe Hands.
topic: external detections come with every image.
tracks: external detections come now and then; hands are tracked in between.
"""

TORCH, OPENVINO = "torch", "openvino"
RUNTIMES = (AUTO, TORCH, OPENVINO)
"""What executes the network."""

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
PRECISIONS = (AUTO, FLOAT32, BFLOAT16, INT8)
"""Number formats of the network's encoder."""


@dataclass(frozen=True)
class EstimatorConfig:
    """Configures an ``Estimator``; the node and the command line use the same options.

    Example:
        >>> from wildhands_ros import EstimatorConfig
        >>> EstimatorConfig(max_hands=4, hand_length=0.19).detector
        'auto'
    """

    checkpoint: str = AUTO
    """The network: "default" for the bundled weights, "released" for the imported published ones, the path of a checkpoint, "none" for
    the keypoint fit alone, or "auto": the bundled weights, unless ``hand_model`` is a folder."""
    hand_model: str = AUTO
    """"auto": the checkpoint's own hand, or the open hand where it has none; "open"; or a folder with MANO's files."""
    detector: str = AUTO
    """One of ``DETECTORS``."""
    search_time: float = 0.02
    """Seconds per image of a stream that the detector "auto" may spend on further tiles when it has found nothing. The remaining tiles
    follow in the next images."""
    search_windows: int | None = None
    """Number of windows (the whole image or a tile) per image instead of ``search_time``, so that results do not depend on the machine's
    speed."""
    max_hands: int = 2
    """Maximum number of hands per image, left and right together."""
    min_score: float = 0.5
    """Detection score in (0, 1) below which a hand is not reported."""
    hand_length: float = 0.0
    """Metres from the wrist to the middle fingertip of the user's stretched hand; halves the uncertainty of depth. 0 if unknown."""
    refine: bool = True
    """Fit the network's estimate to the detected keypoints."""
    device: str = AUTO
    """Torch device of the network; "auto" selects a GPU if there is one."""
    runtime: str = AUTO
    """One of ``RUNTIMES``; "auto" selects OpenVINO on a CPU if it is installed."""
    precision: str = AUTO
    """One of ``PRECISIONS`` ("int8" only after ``wildhands quantize``); "auto" selects the fastest that costs no measurable accuracy."""
