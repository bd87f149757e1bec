"""Serialises a message once and then only overwrites its numbers.

Building the message objects for each frame would take most of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message

SENTINEL = 1234.5678
"""A coordinate that marks where numbers are written."""
STAMP_SENTINEL = Time(sec=0x1234ABCD, nanosec=0x1BCDEF5)
"""The stamp of all headers in a template."""


class Template:
    """A serialised (CDR) message whose numbers can be overwritten in place. Sentinel values mark the places."""

    def __init__(self, message: Any):
        """Serialises any ROS message; all its headers must have the stamp ``STAMP_SENTINEL``."""
        data = serialize_message(message)
        # CDR aligns numbers relative to the end of its 4-byte header. Starting the data at byte 4 aligns them in memory
        # too.
        self._buffer = np.zeros(-(-(4 + len(data)) // 8) * 8, np.uint8)
        self._message = self._buffer[4 : 4 + len(data)]
        self._message[:] = np.frombuffer(data, np.uint8)
        self._stamps = self.places(np.array([STAMP_SENTINEL.sec, STAMP_SENTINEL.nanosec], np.uint32))

    def places(self, mark: np.ndarray) -> np.ndarray:
        """Finds all occurrences of a sentinel.

        Returns:
            (N, len(mark)) indices of the numbers of the N occurrences, for ``write`` and ``view`` with the type of
            ``mark``.
        """
        offsets, data, bytes_of_mark = [], self._buffer.tobytes(), mark.tobytes()
        start = data.find(bytes_of_mark)
        while start >= 0:
            offsets.append(start)
            start = data.find(bytes_of_mark, start + len(bytes_of_mark))
        return np.array(offsets, int).reshape(-1, 1) // mark.itemsize + np.arange(len(mark))

    def view(self, place: int, dtype: type, count: int) -> np.ndarray:
        """Returns a writable view of ``count`` numbers of the message."""
        return self._buffer.view(dtype)[place : place + count]

    def write(self, places: np.ndarray, values: np.ndarray) -> None:
        """Writes ``values``, whose type is that of the mark; each row fills one of ``places``."""
        self._buffer.view(values.dtype)[places] = values

    def stamped(self, stamp: Time) -> bytes:
        """Returns the serialised message with this stamp in all headers."""
        self.write(self._stamps, np.array([stamp.sec, stamp.nanosec], np.int64).astype(np.uint32))
        return self._message.tobytes()
