"""Selects the external detections that apply to each image; detection_messages.py converts them."""

from __future__ import annotations

from vision_msgs.msg import Detection2DArray

from ..tracking.tracks import MAX_GAP
from ..types import Detection
from .detection_messages import HandClassIds, hand_detections
from .diagnostics import Health
from .rejections import InputRejected
from .stamps import nanoseconds


class ExternalDetections:
    """Selects the detections for each image: those with its stamp or, if the detector is slower, the latest ones."""

    def __init__(self, health: Health):
        self._health = health
        self._latest: Detection2DArray | None = None

    def add(self, message: Detection2DArray) -> None:
        """Stores detections for the next image that is processed. May be called from any thread."""
        self._latest = message

    def for_image(
        self, paired: Detection2DArray | None, stamp: int, width: int, height: int, class_ids: HandClassIds
    ) -> list[Detection] | None:
        """Returns the detections for an image.

        Args:
            paired: the detections with the stamp of the image; None to use the latest ones, once.
            stamp: stamp of the image in nanoseconds.
            width: width of the image in pixels.
            height: height of the image in pixels.
            class_ids: class ids of hands.

        Returns:
            The detected hands; None if there are no detections for this image.
        """
        message = paired or self._take_latest(stamp)
        if message is None:
            return None
        found = hand_detections(message, class_ids, width, height)
        self._health.detections_ignored(found.ignored)
        warning = ""
        if found.ignored and not found.hands:
            warning = f"no hands among the external detections ({', '.join(found.ignored)}): check detector.*_class_ids"
        self._health.set_warning("detections", warning)
        return found.hands

    def _take_latest(self, stamp: int) -> Detection2DArray | None:
        """Returns the latest detections, once, unless they are too old to tell where the hands are."""
        message, self._latest = self._latest, None
        if message is None:
            return None
        difference = abs(stamp - nanoseconds(message.header.stamp)) / 1e9
        if difference > MAX_GAP:
            text = (
                f"the stamps of the latest detections and of the image differ by {difference:.1f} s, more than "
                f"{MAX_GAP:g} s: use a faster detector"
            )
            self._health.reject(InputRejected("stale_detections", text))
            return None
        return message
