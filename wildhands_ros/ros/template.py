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
        data = serialize_message(message)
        # CDR counts alignment from behind its header of four bytes: so that numbers are aligned in memory too, that begins at the fifth.
        self._buffer = np.zeros(-(-(4 + len(data)) // 8) * 8, np.uint8)
        self._message = self._buffer[4 : 4 + len(data)]
        self._message[:] = np.frombuffer(data, np.uint8)
        self._stamps = self.places(np.array([STAMP_SENTINEL.sec, STAMP_SENTINEL.nanosec], np.uint32))

    def places(self, mark: np.ndarray) -> np.ndarray:
        """(N, len(mark)) indices of the numbers at each of the N places of ``mark``, for ``write`` and ``view`` of its type."""
        offsets, data, bytes_of_mark = [], self._buffer.tobytes(), mark.tobytes()
        start = data.find(bytes_of_mark)
        while start >= 0:
            offsets.append(start)
            start = data.find(bytes_of_mark, start + len(bytes_of_mark))
        return np.array(offsets, int).reshape(-1, 1) // mark.itemsize + np.arange(len(mark))

    def view(self, place: int, dtype: type, count: int) -> np.ndarray:
        """``count`` numbers of the message, to be written to."""
        return self._buffer.view(dtype)[place : place + count]

    def write(self, places: np.ndarray, values: np.ndarray) -> None:
        """Writes ``values``, of the type of the mark; each row fills one of ``places``."""
        self._buffer.view(values.dtype)[places] = values

    def stamped(self, stamp: Time) -> bytes:
        """The message under this stamp."""
        self.write(self._stamps, np.array([stamp.sec, stamp.nanosec], np.int64).astype(np.uint32))
        return self._message.tobytes()
