"""Pairs images with the external detections of the same stamp, which arrive on two topics in any order."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, TypeAlias

from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

CAPACITY = 8
"""Maximum number of images that wait for their detections: a quarter of a second of video, 22 MB at 720p."""

ImageMessage: TypeAlias = Image | CompressedImage


class ImageWithDetections(NamedTuple):
    """An image and the detections of the same stamp."""

    image: ImageMessage
    detections: Detection2DArray


class StampPairs:
    """Pairs images with detections of the same stamp; messages without a partner are dropped after a while."""

    def __init__(self) -> None:
        self._images: OrderedDict[tuple[int, int], ImageMessage] = OrderedDict()
        self._detections: OrderedDict[tuple[int, int], Detection2DArray] = OrderedDict()
        self.images_dropped = 0
        """Number of images that were dropped because their detections did not arrive."""

    def add_image(self, image: ImageMessage) -> ImageWithDetections | None:
        """Adds an image. Returns the pair if its detections have already arrived."""
        stamp = _stamp(image)
        if stamp in self._detections:
            return self._pair(stamp, image, self._detections[stamp])
        self._images[stamp] = image
        if len(self._images) > CAPACITY:
            self._images.popitem(last=False)
            self.images_dropped += 1
        return None

    def add_detections(self, detections: Detection2DArray) -> ImageWithDetections | None:
        """Adds detections. Returns the pair if their image has already arrived."""
        stamp = _stamp(detections)
        if stamp in self._images:
            return self._pair(stamp, self._images[stamp], detections)
        self._detections[stamp] = detections
        if len(self._detections) > CAPACITY:
            self._detections.popitem(last=False)
        return None

    def _pair(self, stamp: tuple[int, int], image: ImageMessage, detections: Detection2DArray) -> ImageWithDetections:
        # Messages arrive in order of their stamps, so older ones no longer find a partner.
        self.images_dropped += sum(old < stamp for old in self._images)
        self._images = OrderedDict((old, item) for old, item in self._images.items() if old > stamp)
        self._detections = OrderedDict((old, item) for old, item in self._detections.items() if old > stamp)
        return ImageWithDetections(image, detections)


def _stamp(message: ImageMessage | Detection2DArray) -> tuple[int, int]:
    return message.header.stamp.sec, message.header.stamp.nanosec
