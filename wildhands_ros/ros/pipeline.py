"""From an image message to its published hands: what happens to each frame, in the worker's thread."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from .cameras import Cameras
from .diagnostics import FrameStats, Health, header_warning
from .external_detections import ExternalDetections
from .images import decode_compressed, decode_image
from .outputs import Outputs
from .pairing import ImageMessage
from .parameters import Parameters
from .rejections import InputRejected, failure
from .smoothing import SmoothingFrame
from .stream import Stream

if TYPE_CHECKING:
    from ..estimator import Estimator


class Pipeline:
    """One stream of images; ``stop`` ends it for good."""

    def __init__(
        self,
        estimator: Estimator,
        smoothing_frame: SmoothingFrame,
        cameras: Cameras,
        outputs: Outputs,
        health: Health,
        now: Callable[[], int],
        context_ok: Callable[[], bool],
        on_broken: Callable[[], None],
    ):
        """Takes the stages, the node's clock in nanoseconds, whether its context is still there (a signal may end it in the midst of a
        frame), and what is called when the estimator cannot go on."""
        self._smoothing_frame, self._context_ok, self._on_broken = smoothing_frame, context_ok, on_broken
        self._estimator, self._cameras, self._outputs, self._health, self._now = (
            estimator,
            cameras,
            outputs,
            health,
            now,
        )
        self.given = ExternalDetections(health)
        self._stream = Stream()
        self._publishing = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """From its return on nothing more is published, not even the frame in work. From any thread."""
        with self._publishing:
            self._stopped = True

    def reset(self) -> None:
        """Forgets all hands. In the worker's thread, as ``work`` is."""
        self._estimator.reset()

    def work(
        self, message: ImageMessage, arrival: float, found: Detection2DArray | None, parameters: Parameters
    ) -> None:
        """One image, whatever is wrong with it: that is counted, and the next image is a new chance.

        Args:
            message: the image.
            arrival: seconds of a monotonic clock.
            found: the detections of its stamp, where each image waits for its own.
            parameters: of this moment.
        """
        if self._stopped:
            return
        try:
            self._process(message, arrival, found, parameters)
        except InputRejected as refusal:
            self._health.reject(refusal)
        except Exception as error:
            if self._stopped or not self._context_ok():
                return  # what it needs may be gone already
            self._health.reject(failure(error), traceback.format_exc())
            self._start_anew()

    def _start_anew(self) -> None:
        """After an error, of which nobody knows what it has left behind."""
        try:
            self.reset()
        except Exception as error:
            self._health.reject(failure(error), f"the estimator is made anew:\n{traceback.format_exc()}")
            self._on_broken()

    def _process(
        self, message: ImageMessage, arrival: float, found: Detection2DArray | None, parameters: Parameters
    ) -> None:
        start = time.monotonic()
        header = message.header
        image = decode_image(message) if isinstance(message, Image) else decode_compressed(message)
        self._health.set_warning("header", header_warning(header))
        height, width = image.shape[:2]
        stamp = header.stamp.sec * 10**9 + header.stamp.nanosec
        time_of_image = self._stream.add(stamp, arrival, header.frame_id, (width, height))
        seconds = time_of_image.seconds
        if time_of_image.reset:
            self._health.tracks_reset(time_of_image.reset)
            self.reset()
            if time_of_image.reset == "clock_jumped_back":
                self._smoothing_frame.clock_ran_back()
        camera, intrinsics = self._cameras.camera(header.frame_id, width, height, parameters)
        given = self.given.for_image(found, stamp, width, height, parameters.hand_class_ids)
        self._estimator.smoothing = parameters.smoothing
        if parameters.smoothing is None:
            self._health.set_warning("smoothing", "")
        camera_pose = partial(self._smoothing_frame.camera_pose, header)
        frame = self._estimator(image, camera, stamp=seconds, detections=given, camera_pose=camera_pose)
        before = time.monotonic()
        with self._publishing:
            if self._stopped:
                return
            self._outputs.publish(self._estimator, frame, header, image, intrinsics, parameters)
        end = time.monotonic()
        age = (self._now() - stamp) / 1e9 if stamp else float("nan")
        stages = {**frame.seconds, "publish": end - before}
        self._health.frame_processed(FrameStats(age, end - start, stages, len(frame.hands), intrinsics.name.lower()))
