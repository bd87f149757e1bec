"""Runs MediaPipe's hand graph with access to its presence scores and without its start-up messages.

The graph is the one behind ``mp.solutions.hands.Hands`` of mediapipe 0.10.21: palm detector, landmark network, and
tracking by the landmarks of the last image. That class hides the presence score of each hand, which is the only
confidence while a hand is tracked.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from google.protobuf.message import Message

_GRAPH_FILE = "mediapipe/modules/hand_landmark/hand_landmark_tracking_cpu.binarypb"
_PRESENCE = "handlandmarkcpu__hand_presence_score"
_OUTPUTS = ("multi_hand_landmarks", "multi_hand_world_landmarks", "multi_handedness")
_SKIP_PALMS = "skip_palm_detection"
_FRAME_MICROSECONDS = 33333
_PALMS_EVERY = 3
"""While some hands are tracked, palms of further hands are detected in every third image, because that takes as long as
everything else."""
_STARTUP_NOISE = re.compile(
    rb"Created TensorFlow Lite XNNPACK delegate|before absl::InitializeLog|inference_feedback_manager|gl_context|"
    rb"Unable to initialize EGL|^\s*$"
)
_stderr_lock = threading.Lock()


@dataclass(frozen=True)
class GraphHand:
    """Output of the graph for one hand."""

    landmarks: np.ndarray
    """(21, 2) as fractions of the image's width and height; 0 and 1 are its edges."""
    world: np.ndarray
    """(21, 3) metres from the hand's centre; x right, y down, z away from the camera."""
    presence: float
    """Probability that the crop shows a hand."""
    label: str
    """"Left" or "Right", as if the image were mirrored."""
    label_score: float


class HandGraph:
    """MediaPipe's hand tracking graph. Not thread-safe.

    Args:
        max_hands: Maximum number of hands per image.
        min_score: Threshold of the palm detector and of the landmark network's presence.
        tracking: Whether to look first where the last image had hands.

    Raises:
        ImportError: mediapipe is not installed.
    """

    def __init__(self, max_hands: int, min_score: float, tracking: bool):
        self._mp = _import_mediapipe()
        from mediapipe.python import packet_creator, packet_getter

        self._create, self._get = packet_creator, packet_getter
        self._side_packets = {
            "num_hands": packet_creator.create_int(max_hands),
            "model_complexity": packet_creator.create_int(1),
            "use_prev_landmarks": packet_creator.create_bool(tracking),
        }
        self._max_hands, self._min_score, self._tracking = max_hands, min_score, tracking
        self._hands_before, self._since_palms = 0, 0
        self._packets: dict[str, list] = {name: [] for name in (*_OUTPUTS, _PRESENCE)}
        self._time = 0
        with _without_startup_noise():
            self._graph = self._mp.CalculatorGraph(graph_config=_graph_config(self._mp, min_score))
            for name, packets in self._packets.items():
                self._graph.observe_output_stream(name, lambda _, packet, packets=packets: packets.append(packet))
            self._graph.start_run(self._side_packets)
            self._graph.wait_until_idle()

    def process(self, image_rgb: np.ndarray) -> list[GraphHand]:
        """Returns the hands of an (H, W, 3) contiguous uint8 image."""
        for packets in self._packets.values():
            packets.clear()
        self._time += _FRAME_MICROSECONDS
        frame = self._create.create_image_frame(image_format=self._mp.ImageFormat.SRGB, data=image_rgb)
        skip_palms = self._skip_palms()
        self._since_palms = self._since_palms + 1 if skip_palms else 0
        self._graph.add_packet_to_input_stream("image", frame.at(self._time))
        self._graph.add_packet_to_input_stream(_SKIP_PALMS, self._create.create_bool(skip_palms).at(self._time))
        self._graph.wait_until_idle()
        landmarks, world, handedness = (self._last_list(name) for name in _OUTPUTS)
        # One score for each crop; those below the threshold have no landmarks.
        scores = [self._get.get_float(packet) for packet in self._packets[_PRESENCE]]
        scores = [score for score in scores if score > self._min_score]
        hands = []
        for points, points_3d, classes, presence in zip(landmarks, world, handedness, scores, strict=True):
            best = classes.classification[0]
            hands.append(
                GraphHand(
                    landmarks=np.array([(p.x, p.y) for p in points.landmark]),
                    world=np.array([(p.x, p.y, p.z) for p in points_3d.landmark]),
                    presence=presence,
                    label=best.label,
                    label_score=best.score,
                )
            )
        self._hands_before = len(hands)
        return hands

    def _skip_palms(self) -> bool:
        if not self._tracking or self._hands_before == 0:
            return False
        return self._hands_before >= self._max_hands or self._since_palms < _PALMS_EVERY - 1

    def reset(self) -> None:
        """Forgets the hands of the last image."""
        self._hands_before, self._since_palms = 0, 0
        with _without_startup_noise():
            self._graph.close()
            self._graph.start_run(self._side_packets)
            self._graph.wait_until_idle()

    def close(self) -> None:
        """Frees the graph."""
        self._graph.close()

    def _last_list(self, name: str) -> list:
        packets = self._packets[name]
        return self._get.get_proto_list(packets[-1]) if packets else []


def _import_mediapipe() -> ModuleType:
    """Imports mediapipe; the message of its ImportError says how to install it."""
    try:
        with _without_startup_noise():
            import mediapipe
            from mediapipe.python import packet_creator  # noqa: F401  (later releases dropped these graphs)
    except ImportError as error:
        raise ImportError(
            "The MediaPipe detector needs mediapipe 0.10.21. Install it with: pip install 'wildhands_ros[mediapipe]'"
            " (or: pip install mediapipe==0.10.21)"
        ) from error
    return mediapipe


def _graph_config(mp: ModuleType, min_score: float) -> Message:
    """Returns the wheel's graph with other thresholds and with an input that skips the palm detector."""
    from mediapipe.calculators.tensor import tensors_to_detections_calculator_pb2
    from mediapipe.calculators.util import thresholding_calculator_pb2
    from mediapipe.framework import calculator_pb2
    from mediapipe.python._framework_bindings import resource_util

    root = Path(mp.__path__[0]).resolve().parent
    resource_util.set_resource_dir(str(root))
    validated = mp.ValidatedGraphConfig()
    validated.initialize(binary_graph_path=str(root / _GRAPH_FILE))
    config = calculator_pb2.CalculatorGraphConfig()
    config.ParseFromString(validated.binary_config)
    config.input_stream.append(_SKIP_PALMS)
    for node in config.node:
        if list(node.output_stream) == ["palm_detection_image"]:
            node.input_stream[:] = ["image", f"DISALLOW:{_SKIP_PALMS}"]
        elif node.name == "palmdetectioncpu__TensorsToDetectionsCalculator":
            extension = tensors_to_detections_calculator_pb2.TensorsToDetectionsCalculatorOptions.ext
            node.options.Extensions[extension].min_score_thresh = min_score
        elif node.name == "handlandmarkcpu__ThresholdingCalculator":
            extension = thresholding_calculator_pb2.ThresholdingCalculatorOptions.ext
            node.options.Extensions[extension].threshold = min_score
        elif node.name == "handlandmarkcpu__LandmarkProjectionCalculator":
            # The result is the same for the square crops of this graph, but without a warning for each first hand.
            node.input_stream.append("IMAGE_DIMENSIONS:image_size_for_landmarks")
    return config


@contextlib.contextmanager
def _without_startup_noise() -> Iterator[None]:
    """Suppresses what the C++ libraries always write to stderr when they start. Other messages are passed on."""
    with _stderr_lock, tempfile.TemporaryFile() as held:
        try:
            stderr = os.dup(2)
        except OSError:  # a process without stderr
            yield
            return
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not _STARTUP_NOISE.search(line):
                    os.write(2, line)


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
