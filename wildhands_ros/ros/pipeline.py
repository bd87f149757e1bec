"""Processes the images of one stream: from the message to the published hands.

The worker estimates the hands of an image, the publisher builds and publishes their messages. While the publisher is
busy with one image, the worker already estimates the next one.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from ..fitting.hand_length import HandLengths
from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import Camera
from ..geometry.pose import Pose
from ..io.errors import InputError
from ..io.hand_files import load_hand
from ..types import FrameEstimate, HandLength, Side
from .camera_motion import CameraMotion, TransformUnavailable
from .cameras import Cameras
from .depth_input import DepthInput
from .diagnostics import FrameStats, Health, header_warning
from .external_detections import ExternalDetections
from .images import decode_compressed, decode_image
from .outputs import Outputs
from .pairing import ImageMessage
from .parameters import Parameters
from .rejections import InputRejected, failure
from .stamps import nanoseconds
from .stream import Stream, StreamTime
from .worker import Worker

if TYPE_CHECKING:
    from ..estimator import DepthLookup, Estimator


@dataclass(frozen=True)
class InputFrame:
    """An image with the data that its processing needs."""

    message: ImageMessage
    arrival: float
    """Seconds of the monotonic clock."""
    detections: Detection2DArray | None
    """The detections with the stamp of the image, if images wait for their detections."""
    parameters: Parameters
    """The node's parameters when the image arrived."""


@dataclass(frozen=True)
class EstimatedFrame:
    """The hands of an image, ready to be published."""

    estimate: FrameEstimate
    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    header: Header
    intrinsics: IntrinsicsSource
    parameters: Parameters
    processing: float
    """Seconds from the image message to the estimate."""


class Pipeline:
    """Processes one stream of images. It is created and stopped in the executor's thread, and used in the worker's."""

    def __init__(
        self,
        node: Node,
        estimator: Estimator,
        cameras: Cameras,
        outputs: Outputs,
        health: Health,
        smoothing_frame: str,
        depth: DepthInput | None,
        publisher: Worker,
        on_estimator_broken: Callable[[], None],
    ):
        """Initialises it for a new stream.

        Args:
            node: the node, whose clock, context and TF are used.
            estimator: estimates the hands.
            cameras: returns the camera of each image.
            outputs: publishes the hands.
            health: receives statistics, warnings and errors.
            smoothing_frame: TF frame in which hands are smoothed; empty for the frame of the images.
            depth: finds the depth image of each image; None for colour alone.
            publisher: runs the publishing of one image beside the estimation of the next one.
            on_estimator_broken: called if the estimator cannot even be reset after an error.
        """
        self.external_detections = ExternalDetections(health)
        self._node, self._estimator, self._cameras = node, estimator, cameras
        self._outputs, self._health = outputs, health
        self._camera_motion = CameraMotion(node, smoothing_frame) if smoothing_frame else None
        self._depth = depth
        self._publisher = publisher
        self._on_estimator_broken = on_estimator_broken
        self._stream = Stream()
        self._publishing = threading.Lock()
        self._publication: Future[None] | None = None
        self._stopped = False
        self._hand = ""

    def stop(self) -> None:
        """Stops for good: after it has returned nothing is published any more, not even the current frame."""
        with self._publishing:
            self._stopped = True
        if self._camera_motion is not None:
            self._camera_motion.close()

    def reset(self) -> None:
        """Resets all tracks."""
        self._estimator.reset()

    def process(self, frame: InputFrame) -> None:
        """Processes an image. Never raises: errors are counted, and the next image is processed."""
        if self._stopped:
            return
        try:
            self._process(frame)
        except InputRejected as rejection:
            self._health.reject(rejection)
        except Exception as error:
            if self._stopped or not self._node.context.ok():
                return  # The node is shutting down, and resources that the frame needs may be gone.
            self._health.reject(failure(error), traceback.format_exc())
            self._recover()

    def _recover(self) -> None:
        """Resets the estimator after an error, which may have left it in any state."""
        try:
            self.reset()
        except Exception as error:
            self._health.reject(failure(error), f"the estimator will be replaced:\n{traceback.format_exc()}")
            self._on_estimator_broken()

    def _process(self, frame: InputFrame) -> None:
        start = time.monotonic()
        message, parameters, header = frame.message, frame.parameters, frame.message.header
        if isinstance(message, Image):
            image = decode_image(message)
        else:
            check_size = partial(self._cameras.check_size, parameters=parameters)
            image = decode_compressed(message, parameters.max_pixels, check_size)
        self._health.set_warning("header", header_warning(header))
        height, width = image.shape[:2]
        stamp = nanoseconds(header.stamp)
        stream_time = self._stream.add(stamp, frame.arrival, header.frame_id, (width, height))
        self._reset_if_new_stream(stream_time)
        camera, intrinsics = self._cameras.camera(header.frame_id, width, height, parameters)
        detections = self.external_detections.for_image(
            frame.detections, stamp, width, height, parameters.hand_class_ids
        )
        self._estimator.smoothing = parameters.smoothing
        self._estimator.hand_length = parameters.hand_length
        self._load_hand(parameters.hand)
        if parameters.smoothing is None:
            self._health.set_warning("smoothing", "")
        estimate = self._estimator(
            image,
            camera,
            stamp=stream_time.seconds,
            detections=detections,
            camera_pose=partial(self._camera_pose, header),
            depth=self._depth_lookup(header, camera, parameters),
        )
        self._health.depth_used([hand.depth for hand in estimate.hands])
        processing = time.monotonic() - start
        if self._publication is not None:
            self._publication.result()  # One image is published at a time, and none is left out.
        estimated = EstimatedFrame(estimate, image, header, intrinsics, parameters, processing)
        self._publication = self._publisher.submit(partial(self._publish, estimated))

    def _publish(self, frame: EstimatedFrame) -> None:
        """Publishes an image's hands, in the publisher's thread. Never raises: errors are counted."""
        start = time.monotonic()
        try:
            with self._publishing:
                if self._stopped:
                    return
                self._outputs.publish(
                    self._estimator, frame.estimate, frame.header, frame.image, frame.intrinsics, frame.parameters
                )
                self._health.frame_processed(self._stats(frame, time.monotonic() - start))
        except Exception as error:
            if not self._stopped and self._node.context.ok():
                self._health.reject(failure(error), traceback.format_exc())

    def _stats(self, frame: EstimatedFrame, publishing: float) -> FrameStats:
        """Returns the statistics of a frame that has been published in this number of seconds."""
        stamp = nanoseconds(frame.header.stamp)
        return FrameStats(
            age=(self._node.get_clock().now().nanoseconds - stamp) / 1e9 if stamp else float("nan"),
            processing=frame.processing + publishing,
            stages={**frame.estimate.seconds, "publish": publishing},
            hands=len(frame.estimate.hands),
            intrinsics=frame.intrinsics.name.lower(),
        )

    def _load_hand(self, name: str) -> None:
        """Continues from the saved lengths of a person's hands, if the name has changed."""
        if name == self._hand:
            return
        self._hand = name
        problem = ""
        lengths: dict[Side, HandLength] = {}
        try:
            lengths = load_hand(name) if name else {}
        except InputError as error:
            problem = f"the lengths of the hands are unknown: {error}"
        missing = [side.value for side in Side if side not in lengths]
        if len(missing) == 1:
            problem = f"{name} has no {missing[0]} hand in the file: its length is taken from the other hand"
        self._estimator.hand_lengths.start_from(lengths)
        self._health.set_warning("hand", problem)

    @property
    def hand_lengths(self) -> HandLengths:
        """The learned lengths of the hands."""
        return self._estimator.hand_lengths

    def _reset_if_new_stream(self, stream_time: StreamTime) -> None:
        if stream_time.reset:
            self._health.tracks_reset(stream_time.reset)
            self.reset()
            if stream_time.reset == "clock_jumped_back" and self._camera_motion is not None:
                self._camera_motion.clear()

    def _depth_lookup(self, header: Header, camera: Camera, parameters: Parameters) -> DepthLookup | None:
        if self._depth is None:
            return None
        return partial(self._depth.for_image, header, camera, parameters, lambda: self._stopped)

    def _camera_pose(self, header: Header) -> Pose | None:
        """Returns the pose of the camera in the smoothing frame; None to smooth in the frame of the images."""
        if self._camera_motion is None:
            return None
        try:
            pose = self._camera_motion.wait_for_pose(header, lambda: self._stopped)
        except TransformUnavailable as error:
            self._health.set_warning("smoothing", f"hands are smoothed as if the camera were at rest: {error}")
            return None
        self._health.set_warning("smoothing", "")
        return pose
