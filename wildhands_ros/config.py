"""The user's choices, every option name once. Importing this is cheap: parameters can be read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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

TORCH, OPENVINO, ONNXRUNTIME = "torch", "openvino", "onnxruntime"
RUNTIMES = (AUTO, TORCH, OPENVINO, ONNXRUNTIME)
"""What executes the network."""

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
PRECISIONS = (AUTO, FLOAT32, BFLOAT16, INT8)
"""Number formats of the network's encoder."""


@dataclass(frozen=True)
class SearchTime:
    """Searches each image of a stream for a limited time, so that the frame rate holds.

    Example:
        >>> from wildhands_ros import EstimatorConfig, SearchTime
        >>> EstimatorConfig(search=SearchTime(seconds=0.05)).search
        SearchTime(seconds=0.05)
    """

    seconds: float = 0.02
    """Time after which no further window of the image is searched."""

    def is_spent(self, windows: int, seconds: float) -> bool:
        """Whether to stop after ``windows`` windows in ``seconds``."""
        return seconds > self.seconds


@dataclass(frozen=True)
class SearchWindows:
    """Searches a fixed number of windows of each image of a stream, so that results do not depend on the computer.

    Example:
        >>> from wildhands_ros import EstimatorConfig, SearchWindows
        >>> EstimatorConfig(search=SearchWindows(count=2)).search
        SearchWindows(count=2)
    """

    count: int = 2
    """Maximum number of windows: the whole image at one scale, or a tile of it."""

    def is_spent(self, windows: int, seconds: float) -> bool:
        """Whether to stop after ``windows`` windows in ``seconds``."""
        return windows >= self.count


@dataclass(frozen=True)
class Cutoffs:
    """How much a One-Euro filter smooths."""

    rest: float
    """Cutoff frequency at rest in Hz; lower is steadier. fc_min in the paper."""
    per_speed: float
    """Increase of the cutoff in Hz per unit of speed (m/s or rad/s); higher lags less. beta in the paper."""
    most: float
    """Highest cutoff in Hz; not in the paper. Fast motion then lags by 1 / (2 pi most) seconds, but its edges are
    smoothed too."""
    speed: float = 2.0
    """Cutoff frequency of the speed itself in Hz. d_cutoff in the paper."""


@dataclass(frozen=True)
class SmoothingConfig:
    """How much hands are smoothed over time.

    The defaults were chosen with ``wildhands jitter`` on real video (docs/seeing.md).

    Example:
        >>> from wildhands_ros import SmoothingConfig
        >>> steadier = SmoothingConfig().with_cutoffs(rest=1.0, per_speed=25.0, most=8.0)
        >>> steadier.rotation.rest
        1.0
    """

    position: Cutoffs = Cutoffs(rest=2.0, per_speed=25.0, most=8.0)
    """Cutoffs of the wrist position."""
    rotation: Cutoffs = Cutoffs(rest=2.0, per_speed=4.0, most=4.0)
    """Cutoffs of the rotations of the wrist and of each finger joint."""
    shape: float = 1.0
    """Cutoff frequency of the shape in Hz; low, because the shape of a hand does not change."""

    def with_cutoffs(self, rest: float, per_speed: float, most: float) -> SmoothingConfig:
        """Returns a copy with other cutoffs of the position; those of the rotations change in proportion."""
        scaled = Cutoffs(
            self.rotation.rest * rest / self.position.rest,
            self.rotation.per_speed * per_speed / self.position.per_speed,
            self.rotation.most * most / self.position.most,
        )
        return replace(self, position=Cutoffs(rest, per_speed, most), rotation=scaled)


@dataclass(frozen=True)
class EstimatorConfig:
    """Configures an ``Estimator``; the node and the command line use the same options.

    Example:
        >>> from wildhands_ros import EstimatorConfig
        >>> EstimatorConfig(max_hands=4, hand_length=0.19).detector
        'auto'
    """

    checkpoint: str = AUTO
    """The network: "default" for the bundled weights, "released" for the imported published ones, the path of a
    checkpoint, "none" for the keypoint fit alone, or "auto": the bundled weights, unless ``hand_model`` is a folder."""
    hand_model: str = AUTO
    """"auto": the checkpoint's own hand, or the open hand where it has none; "open"; or a folder with MANO's files."""
    detector: str = AUTO
    """One of ``DETECTORS``."""
    search: SearchTime | SearchWindows = SearchTime()
    """Limits how much of each image of a stream the bundled detector searches while it has found nothing; the remaining
    windows follow in the next images. The detector "own" stops after the first window, unless this is
    ``SearchWindows``."""
    max_hands: int = 2
    """Maximum number of hands per image, left and right together."""
    min_score: float = 0.5
    """Detection score in (0, 1) below which a hand is not reported."""
    hand_length: float = 0.0
    """Metres from the wrist to the middle fingertip of the user's stretched hand; halves the uncertainty of depth. 0 if
    unknown."""
    refine: bool = True
    """Fit the network's estimate to the detected keypoints."""
    device: str = AUTO
    """Torch device of the network; "auto" selects a GPU if there is one."""
    runtime: str = AUTO
    """One of ``RUNTIMES``; "auto" selects PyTorch on a GPU, and on a CPU the faster of OpenVINO and ONNX Runtime, which
    is measured at the first start."""
    precision: str = AUTO
    """One of ``PRECISIONS`` ("int8" only after ``wildhands quantize``); "auto" selects the fastest that costs no
    measurable accuracy."""
    smoothing: SmoothingConfig | None = None
    """Smooths the hands of a stream over time; None reports each image's hands as they are."""


DEPTH_SENSORS = ("stereo", "time_of_flight")
"""Kinds of depth cameras, whose noise grows with the square of the distance, or linearly."""
POSE_FORMATS = ("tum", "kitti", "table", "colmap")
"""Formats of files with the poses of a camera; see ``io.trajectories``."""
OPTICAL, GRAPHICS = "optical", "graphics"
POSE_AXES = (OPTICAL, GRAPHICS)
"""Axes of a camera whose poses are given: x right, y down, z forward; or x right, y up, z backward, as in ARKit, ARCore
and OpenGL."""


def _threshold(default: float, text: str) -> float:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class QualityThresholds:
    """When an estimate of a recording is doubted. The defaults were chosen with ``wildhands evaluate recording``."""

    max_wrong: float = _threshold(0.58, "largest probability that the wrist is off by more than 10 cm")
    max_reprojection: float = _threshold(
        0.15, "largest mean distance between keypoints and estimate, as a fraction of the box's longer side"
    )
    max_jump: float = _threshold(
        0.1, "metres by which a wrist may differ from the median of its track over a third of a second"
    )
    max_speed: float = _threshold(4.0, "largest speed of a wrist in m/s")
    max_acceleration: float = _threshold(120.0, "largest acceleration of a wrist over 0.2 s in m/s^2")
    max_size_change: float = _threshold(0.15, "largest difference of a hand's size from that of its track, a fraction")
    min_side: float = _threshold(0.75, "smallest share of the evidence of a track for its side")
    min_track: float = _threshold(0.25, "seconds; hands that appear for less are doubted")
    min_seen: float = _threshold(0.2, "smallest mean visibility of the joints inside the image")
