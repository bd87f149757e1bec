"""Writes videos with the encoders that OpenCV's wheel includes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .images import InputError
from .sources import quiet_opencv

CODECS = ("avc1", "mp4v")
"""H.264 if this OpenCV has an encoder for it (the wheels do not), otherwise MPEG-4 part 2."""


class VideoWriter:
    """Writes an mp4 file; the first frame determines its size."""

    def __init__(self, path: Path, fps: float):
        self._path, self._fps = path, fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._frames = 0

    def write(self, image_rgb: np.ndarray) -> None:
        """Appends a frame, (H, W, 3) uint8 RGB.

        Raises:
            InputError: no encoder is available, or the size differs from that of the first frame.
        """
        size = image_rgb.shape[1], image_rgb.shape[0]
        if self._writer is None:
            self._writer, self._size = self._open(size), size
        if size != self._size:
            raise InputError(f"the image size changes from {self._size} to {size}, which a video cannot store")
        self._writer.write(cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """Completes the file, which cannot be read before."""
        if self._writer is not None:
            self._writer.release()

    def check(self) -> None:
        """Checks a closed file, because OpenCV reports no errors.

        Raises:
            OSError: frames are missing.
        """
        if self._writer is None:
            return
        with quiet_opencv():
            capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if count < self._frames:
            raise OSError(f"only {count} of {self._frames} frames were written; the disk may be full")

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        with quiet_opencv():
            for codec in CODECS:
                writer = cv2.VideoWriter(
                    str(self._path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), self._fps, size
                )
                if writer.isOpened():
                    return writer
        raise InputError(
            f"{self._path}: no encoder for {size[0]}x{size[1]} video; this OpenCV lacks {' and '.join(CODECS)}"
        )
