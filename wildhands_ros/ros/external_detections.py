"""Hands that another node has detected, as the estimator takes them."""

from __future__ import annotations

from rclpy.time import Time
from vision_msgs.msg import Detection2DArray

from ..tracking.tracks import MAX_GAP
from ..types import Detection
from .detection_messages import detections
from .diagnostics import Health
from .parameters import Parameters
from .rejections import InputRejected


class ExternalDetections:
    """The detections for each image: those of its stamp or, of a detector that is slower than the camera, the newest."""

    def __init__(self, health: Health):
        self._health = health
        self._newest: Detection2DArray | None = None

    def add(self, message: Detection2DArray) -> None:
        """Detections for the next image that is worked on. From any thread."""
        self._newest = message

    def of(
        self, paired: Detection2DArray | None, stamp: int, width: int, height: int, parameters: Parameters
    ) -> list[Detection] | None:
        """For the image of this stamp (nanoseconds) and size: its own detections, or else the newest, once; None where there are none."""
        message = paired or self._take_newest(stamp)
        if message is None:
            return None
        found, left_out = detections(message, parameters.labels, width, height)
        self._health.detections_left_out(left_out)
        text = (
            ""
            if found or not left_out
            else f"no hands among the detections, but {', '.join(left_out)}: see detector.*_class_ids"
        )
        self._health.note("detections", text)
        return found

    def _take_newest(self, stamp: int) -> Detection2DArray | None:
        """Unless they are too old to say where hands are."""
        message, self._newest = self._newest, None
        if message is None:
            return None
        apart = abs(stamp - Time.from_msg(message.header.stamp).nanoseconds) / 1e9
        if apart > MAX_GAP:
            text = f"the newest detections are {apart:.1f} s apart from the image, more than {MAX_GAP:g} s: a faster detector is needed"
            self._health.refuse(InputRejected("stale_detections", text))
            return None
        return message
