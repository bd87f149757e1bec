"""Decodes videos in a process of its own, which a damaged file may end.

FFmpeg's demuxers and decoders read whatever strangers have written. The process is ``python -m
wildhands_ros.io.video_decoder``. It answers each byte on its standard input, ``_READ`` or ``_SKIP``, with one frame.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from .coded_sizes import Size, coded_size

TIMEOUT = 60.0
"""Seconds without an answer after which a decoder is given up."""
_MEMORY = 16 * 2**30
"""Bytes of addresses that a decoder may take; 8K video needs less than a quarter of them."""
_PIPE = 2**20
"""Bytes of a pipe, the most that Linux grants to everybody."""
_READ, _SKIP = b"\1", b"\0"
_FRAME, _END, _SIZE_CHANGES = 1, 0, 2
"""What an answer holds: a frame, the end of the video, or the end of the frames that have the first one's size."""
_ANSWER = struct.Struct("=BdIII")
"""What it holds; its presentation time in milliseconds, and the shape of the image, zero if skipped. If the size
changes: zero, the new width, the new height and zero."""


class SizeChange(Exception):  # noqa: N818  # it is an end, not an error
    """The following images have another size, given as (width, height)."""

    def __init__(self, size: Size):
        super().__init__(f"{size[0]}x{size[1]}")


class DecoderError(Exception):
    """The decoder ended by itself or by a signal; the message says how."""


@dataclass(frozen=True)
class VideoHeader:
    """What a container says about its video."""

    is_open: bool
    frames: float = 0.0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    rotation: float = 0.0
    """Value of the rotation tag in degrees."""


class VideoDecoder:
    """Decodes one video from its beginning. Discarding the object ends its process."""

    def __init__(self, path: Path, may_change_size: bool = False):
        """Starts the process and opens the video.

        Args:
            path: the video.
            may_change_size: whether images of another size may follow in such a container. They are looked for, since
                OpenCV would return corners of them in the size of the first image.

        Raises:
            DecoderError: the process ended.
        """
        # An absolute path: FFmpeg takes what precedes a colon in a relative one for a protocol.
        command = [sys.executable, "-m", __name__, str(path.absolute()), str(max(cv2.getNumThreads(), 1))]
        command += ["may_change_size"] * may_change_size
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C reaches this process only
            bufsize=0,
        )
        self.close = weakref.finalize(self, _end, self._process)
        """Ends the process."""
        self.header = VideoHeader(**json.loads(self._receive(struct.unpack("=I", self._receive(4))[0])))

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def request(self, is_wanted: bool) -> None:
        """Asks for the next frame, which is decoded while this process does other things.

        Args:
            is_wanted: whether its image is needed; skipping is faster.
        """
        with suppress(BrokenPipeError):  # ``receive`` says why
            assert self._process.stdin is not None
            self._process.stdin.write(_READ if is_wanted else _SKIP)

    def receive(self) -> tuple[np.ndarray | None, float] | None:
        """Waits for the frame that was requested first.

        Returns:
            The image, (H, W, 3) BGR, or None if it was skipped, and the presentation time in seconds; None at the end
            of the video.

        Raises:
            DecoderError: the process ended, or did not answer in time.
            SizeChange: the video goes on with images of another size.
        """
        content, milliseconds, *shape = _ANSWER.unpack(self._receive(_ANSWER.size))
        if content == _SIZE_CHANGES:
            raise SizeChange((shape[0], shape[1]))
        if content == _END:
            return None
        if not shape[0]:
            return None, milliseconds / 1000
        return np.frombuffer(self._receive(int(np.prod(shape))), np.uint8).reshape(shape), milliseconds / 1000

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view, done = memoryview(data), 0
        output = self._process.stdout
        assert output is not None
        while done < size:
            if not select.select([output], [], [], TIMEOUT)[0]:
                self.close()
                raise DecoderError(f"its decoder gave no answer for {TIMEOUT:g} s")
            count = output.readinto(view[done:])  # type: ignore[attr-defined]  # it is a FileIO
            if not count:
                raise DecoderError(f"its decoder {self._how_it_ended()}")
            done += count
        return data

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code < 0:
            with suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.kill()
    process.wait()


def main(arguments: list[str]) -> None:
    """Opens the video and answers requests until standard input ends.

    Args:
        arguments: the path, the number of threads and, if images of another size are looked for, a third one.
    """
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # Whatever the libraries print must not get among the answers.
    with suppress(OSError):
        import fcntl

        fcntl.fcntl(answers, fcntl.F_SETPIPE_SZ, _PIPE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = _MEMORY if hard == resource.RLIM_INFINITY else min(hard, _MEMORY)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    with suppress(BrokenPipeError):
        _serve(arguments[0], int(arguments[1]), len(arguments) > 2, answers)
    os._exit(0)


def _serve(path: str, threads: int, may_change_size: bool, answers: BinaryIO) -> None:
    # FFmpeg starts threads of its own unless it is told how many; OpenCV before 4.7 cannot tell it.
    threads_property: int | None = getattr(cv2, "CAP_PROP_N_THREADS", None)
    options = [] if threads_property is None else [threads_property, threads]
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, options)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # The caller turns the images.
    header = VideoHeader(
        capture.isOpened(),
        capture.get(cv2.CAP_PROP_FRAME_COUNT),
        capture.get(cv2.CAP_PROP_FPS),
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        capture.get(cv2.CAP_PROP_ORIENTATION_META),
    )
    text = json.dumps(asdict(header)).encode()
    _send(answers, struct.pack("=I", len(text)) + text)
    sizes = _Sizes(path) if may_change_size and header.is_open else None
    while request := os.read(0, 1):
        if sizes is not None and (change := sizes.next()) is not None:
            _send(answers, _ANSWER.pack(_SIZE_CHANGES, 0, *change, 0))
            continue
        ok, image = capture.read() if request == _READ else (capture.grab(), None)
        shape = (0, 0, 0) if image is None else image.shape
        _send(answers, _ANSWER.pack(_FRAME if ok else _END, capture.get(cv2.CAP_PROP_POS_MSEC), *shape))
        if image is not None:
            _send(answers, np.ascontiguousarray(image).data.cast("B"))


class _Sizes:
    """Reads the encoded frames beside the decoder, and the sizes that they state.

    A frame that states a new size is a key frame, and all frames before it in the file are shown before it. The nth
    frame in the file is therefore the nth one shown where it matters.
    """

    def __init__(self, path: str):
        self._capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        self._size: Size | None = None

    def next(self) -> Size | None:
        """Reads one encoded frame; returns its size if that is not the size of the first one."""
        ok, data = self._capture.read()
        size = coded_size(data.tobytes()) if ok and data is not None else None
        if size is None or size == self._size:
            return None
        if self._size is None:
            self._size = size
            return None
        return size


def _send(answers: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[answers.write(view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
