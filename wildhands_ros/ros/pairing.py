"""Images and the detections that belong to them, which arrive on two topics in any order."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

CAPACITY = 8
"""Images that wait for their detections: a quarter of a second of video, and at most 22 MB of 720p."""


class StampPairs:
    """Pairs an image with the detections of the same stamp; whatever is not paired soon is dropped."""

    def __init__(self):
        self._images: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._detections: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self.images_dropped = 0
        """Images whose detections never came."""

    def add_image(self, image: Any) -> tuple[Any, Any] | None:
        """An image message; the pair when its detections are already here."""
        return self._add(image, self._images, self._detections)

    def add_detections(self, detections: Any) -> tuple[Any, Any] | None:
        """A detections message; the pair, image first, when its image is already here."""
        pair = self._add(detections, self._detections, self._images)
        return pair and pair[::-1]

    def _add(self, message: Any, own: OrderedDict, other: OrderedDict) -> tuple[Any, Any] | None:
        key = (message.header.stamp.sec, message.header.stamp.nanosec)
        if key in other:
            partner = other.pop(key)
            # The stream is in order, so what is older has lost its partner.
            self._drop_before(key)
            return message, partner
        own[key] = message
        if len(own) > CAPACITY:
            own.popitem(last=False)
            self.images_dropped += own is self._images
        return None

    def _drop_before(self, key: tuple[int, int]) -> None:
        for store in (self._images, self._detections):
            for old in [stamp for stamp in store if stamp < key]:
                del store[old]
                self.images_dropped += store is self._images
