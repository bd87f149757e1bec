"""A message that is serialised once, over which each frame only writes its numbers: building its objects anew takes most of the time."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message

SENTINEL = 1234.5678
"""A coordinate that marks where numbers go."""
STAMP_SENTINEL = Time(sec=0x1234ABCD, nanosec=0x1BCDEF5)
"""The stamp of all headers in a template."""


class Template:
    """The CDR form of a message, in which places are found by what marks them."""

    def __init__(self, message: Any):
        self._data = bytearray(serialize_message(message))
        stamp = np.array([STAMP_SENTINEL.sec, STAMP_SENTINEL.nanosec], np.uint32).tobytes()
        self._stamps = self.places(stamp, len(stamp))

    def places(self, mark: bytes, size: int) -> np.ndarray:
        """(N, size) indices of the bytes at each of the N places that ``mark`` begins."""
        offsets, start = [], 0
        while (start := self._data.find(mark, start)) >= 0:
            offsets.append(start)
            start += len(mark)
        return np.array(offsets, int).reshape(-1, 1) + np.arange(size)

    def view(self, offset: int, dtype: type, count: int) -> np.ndarray:
        """``count`` numbers of the message, to be written to."""
        return np.frombuffer(self._data, dtype, count, offset)

    def write(self, places: np.ndarray, values: np.ndarray) -> None:
        """Writes the bytes of ``values``, of which each row fills one of ``places``."""
        np.frombuffer(self._data, np.uint8)[places] = np.ascontiguousarray(values).view(np.uint8).reshape(places.shape)

    def stamped(self, stamp: Time) -> bytes:
        """The message under this stamp."""
        values = np.array([stamp.sec, stamp.nanosec], np.int64).astype(np.uint32)
        self.write(self._stamps, np.tile(values, (len(self._stamps), 1)))
        return bytes(self._data)
