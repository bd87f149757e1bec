"""Sources of frames: an image, a folder of images, a video or a camera."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from .containers import declared_sizes, missing_end
from .file_kinds import FLV, IMAGE_KINDS, MATROSKA, MPEG, MPEG_TS, Group, file_kind_of
from .image_headers import MAX_PIXELS
from .images import IMAGE_SUFFIXES, InputError, load_image
from .interlacing import InterlacingDetector
from .video_decoder import DecoderError, SizeChange, VideoDecoder

ASSUMED_FPS = 30.0
"""Frame rate of videos that do not state one."""
_MAX_FPS = 1000
_LONGEST_GAP = 3600.0
"""Seconds between two frames of a video. A larger step is not a time but a missing or damaged one."""
_SMALLEST_FRAME = 8
"""Bytes of a frame in a container at least: a larger frame count than the file has room for is damaged."""
_MEDIA_SUFFIXES = (".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".dng", ".jp2", ".jxl", ".exr")
_VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".3gp")
"""Suffixes of files that a user takes for images or videos, whatever they contain."""
_CHANGEABLE = (MATROSKA, MPEG_TS, MPEG, FLV)
"""Containers in which images of another size may follow; WebRTC and broadcasts do that."""
_INTERLACED = (
    "the video is interlaced: moving edges are combs, which makes moving hands less accurate; deinterlace it: "
    "ffmpeg -i FILE -vf bwdif OUT.mp4"
)
_CAMERA_DEVICE = re.compile(r"/dev/video(\d{1,4})")


@dataclass(frozen=True)
class Frame:
    """One image of a source."""

    image: np.ndarray
    """(H, W, 3) RGB uint8."""
    name: str
    """File name without its folder, or "camera0" for a camera."""
    stamp: float | None
    """Seconds since the start of the video, or since the epoch for a live camera; None for still images."""
    rotation: int = 0
    """Degrees by which the rotation tag of a video has turned the image clockwise: 0, 90, 180 or 270."""


class FrameSource(Protocol):
    """Frames in order; iterating reads them. ``problems`` is complete after the last frame."""

    @property
    def count(self) -> int | None:
        """Expected number of frames; None if unknown."""
        ...

    @property
    def fps(self) -> float | None:
        """Nominal frame rate in Hz; None for still images."""
        ...

    @property
    def problems(self) -> list[str]:
        """One sentence for each input that could not be read."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...


class ImageSource:
    """One image file."""

    count = 1
    fps = None

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS):
        self.path, self._max_pixels = path, max_pixels
        self.problems: list[str] = []

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(load_image(self.path, self._max_pixels), self.path.name, None)


class FolderSource:
    """The images of a folder, without its subfolders, in natural order: frame_2 before frame_10.

    Images are recognised by their content. Images of formats that are not accepted and videos are left out and named
    in ``problems``; hidden files and all other files are ignored.
    """

    fps = None

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS):
        """Lists the images.

        Args:
            path: the folder.
            max_pixels: larger images are skipped.

        Raises:
            InputError: there is no image in the folder.
        """
        self.path, self._max_pixels = path, max_pixels
        self.problems: list[str] = []
        self._files: list[Path] = []
        for file in sorted(path.iterdir(), key=lambda file: _natural_key(file.name)):
            if file.is_file() and not file.name.startswith("."):
                self._add(file)
        self.count = len(self._files)
        if not self._files:
            left_out = "; ".join(self.problems) or "no file of these kinds"
            raise InputError(
                f"{path}: the folder holds no images ({', '.join(kind.name for kind in IMAGE_KINDS)}): {left_out}"
            )
        self._left_out = len(self.problems)

    def _add(self, file: Path) -> None:
        try:
            kind = file_kind_of(file)
        except OSError as error:
            self.problems.append(f"{file}: {error.strerror}")
            return
        if kind is not None and kind.group is Group.OTHER_IMAGE:
            self.problems.append(f"{file}: left out: {kind.refusal()}")
        elif kind is not None and kind.group is Group.VIDEO:
            self.problems.append(f"{file}: left out: this is a video ({kind.name}): give it on its own")
        elif (kind is not None and kind.group is Group.IMAGE) or file.suffix.lower() in IMAGE_SUFFIXES:
            self._files.append(file)
        elif file.suffix.lower() in (*_MEDIA_SUFFIXES, *_VIDEO_SUFFIXES):
            self.problems.append(f"{file}: left out: it is damaged, or its format is unknown")

    def __iter__(self) -> Iterator[Frame]:
        """Skips damaged images and reports them in ``problems``.

        Raises:
            InputError: after the last file, if none could be read.
        """
        for path in self._files:
            try:
                image = load_image(path, self._max_pixels)
            except (InputError, OSError) as error:
                self.problems.append(str(error))
                continue
            yield Frame(image, path.name, None)
        if len(self.problems) == self.count + self._left_out:
            first = self.problems[self._left_out]
            raise InputError(f"{self.path}: none of the {self.count} images can be read; the first: {first}")


class VideoSource:
    """A video file. Its rotation tag is applied; the container's presentation times become stamps."""

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS):
        """Opens the video and decodes a first frame.

        Args:
            path: the file.
            max_pixels: size of the largest images that are decoded.

        Raises:
            InputError: the file is not a video that can be decoded, or its images are too large.
        """
        self.path = path
        self.problems: list[str] = []
        _check_container(path)
        for width, height in declared_sizes(path):
            self._check_size(width, height, max_pixels)
        decoder = self._open()
        header = decoder.header
        self._check_size(header.width, header.height, max_pixels)
        decoder.request(True)
        try:
            first = decoder.receive()
        except DecoderError as error:
            raise InputError(f"{path}: the video cannot be decoded; it is damaged: {error}") from error
        if first is None:
            raise InputError(
                f"{path}: the video opens, but none of its frames can be decoded; it is damaged or its codec is unknown"
            )
        self._opened: tuple[VideoDecoder, tuple[np.ndarray | None, float]] | None = decoder, first
        """A decoder that nobody has used yet, and the frame that it has decoded."""
        self.count = int(header.frames) if 0 < header.frames <= path.stat().st_size / _SMALLEST_FRAME else None
        self.fps = header.fps if 0 < header.fps < _MAX_FPS else ASSUMED_FPS

    def _check_size(self, width: int, height: int, max_pixels: int) -> None:
        if width * height > max_pixels:
            raise InputError(
                f"{self.path}: the video's images are {width}x{height}; "
                f"at most {max_pixels / 1e6:g} megapixels are decoded"
            )

    def _open(self) -> VideoDecoder:
        try:
            decoder = VideoDecoder(self.path, file_kind_of(self.path) in _CHANGEABLE)
        except DecoderError as error:
            raise InputError(f"{self.path}: the video cannot be decoded; it is damaged: {error}") from error
        if not decoder.header.is_open:
            raise InputError(
                f"{self.path}: the video cannot be decoded: it is damaged, it has sound only, or this OpenCV lacks its "
                "decoder"
            )
        return decoder

    def __iter__(self) -> Iterator[Frame]:
        return (frame for _, frame in self.numbered(lambda _: True))

    def numbered(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Frame]]:
        """Yields numbered frames, from 0. Frames that are not ``wanted`` are skipped, which is faster than reading.

        While a frame is used, the next one is decoded in another process. If that process ends, because the file is
        damaged, the frames end with a problem.
        """
        read, stamp, is_wanted = 0, None, wanted(0)
        received: tuple[np.ndarray | None, float] | None
        if self._opened is not None:
            decoder, received = self._opened
            self._opened = None
        else:
            decoder, received = self._open(), None
        rotation = _rotation(decoder.header.rotation)
        interlacing = InterlacingDetector()
        try:
            if received is None:
                decoder.request(is_wanted)
                received = decoder.receive()
            while received is not None:
                bgr, presentation = received
                stamp = self._next_stamp(stamp, presentation)
                read += 1
                was_wanted, is_wanted = is_wanted, wanted(read)
                decoder.request(is_wanted)
                if was_wanted and bgr is not None:
                    if interlacing.add(bgr):
                        logging.getLogger("wildhands").warning("wildhands: warning: %s: %s", self.path, _INTERLACED)
                    rgb = _turned(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=bgr), rotation)
                    yield read - 1, Frame(rgb, self.path.name, stamp, rotation)
                    del rgb  # Images may be large.
                del bgr, received
                received = decoder.receive()
        except DecoderError as error:
            self.problems.append(f"{self.path}: the video is damaged behind frame {read}, where it was left: {error}")
            return
        except SizeChange as change:
            self.problems.append(
                f"{self.path}: the images change to {change} behind frame {read}, where the video was left: read the "
                "parts one by one, or bring them to one size: ffmpeg -i FILE OUT.mp4"
            )
            return
        finally:
            decoder.close()
        # Containers without an index only estimate the count, so a frame or two do not matter.
        if self.count and read < self.count - max(2, 0.01 * self.count):
            self.problems.append(
                f"{self.path}: the video ends after {read} of {self.count} frames; the rest cannot be decoded"
            )
        elif reason := missing_end(self.path):
            self.problems.append(f"{self.path}: the video is cut off; its {read} frames were read: {reason}")

    def _next_stamp(self, previous: float | None, presentation: float) -> float:
        """Returns the presentation time, or counts by the frame rate.

        Raw streams have no times: FFmpeg gives a large negative number for them. Damaged ones may run backwards.
        """
        if previous is None:
            return presentation if 0 <= presentation < _LONGEST_GAP * 24 else 0.0
        return presentation if 0 < presentation - previous < _LONGEST_GAP else previous + 1 / self.fps


def _rotation(tag: float) -> int:
    """Returns the degrees by which the rotation tag of a video turns its images clockwise.

    OpenCV 4.6 (Ubuntu 24.04) has the sign wrong, and would turn portrait videos upside down by itself (opencv #22088).
    """
    degrees = round(tag)
    return (-degrees if cv2.__version__.startswith("4.6.") else degrees) % 360


def _turned(image: np.ndarray, rotation: int) -> np.ndarray:
    """Turns an image clockwise by a multiple of 90 degrees."""
    codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    return cv2.rotate(image, codes[rotation]) if rotation in codes else image


class CameraSource:
    """A live camera, read until it stops. A frame's stamp is the time at which it arrived."""

    count = None

    def __init__(self, index: int):
        """Opens the camera.

        Raises:
            InputError: the camera cannot be opened.
        """
        self.index = index
        self.problems: list[str] = []
        with quiet_opencv():
            self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise InputError(
                f"camera {index} cannot be opened: it does not exist, another program uses it, or access is denied"
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < _MAX_FPS else ASSUMED_FPS

    def __iter__(self) -> Iterator[Frame]:
        try:
            while True:
                ok, bgr = self._capture.read()
                if not ok:
                    self.problems.append(f"camera {self.index} stopped delivering frames")
                    return
                yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), f"camera{self.index}", time.time())
        finally:
            self._capture.release()


def open_source(name: str, max_pixels: int = MAX_PIXELS) -> FrameSource:
    """Opens an image, a folder of images, a video or a camera.

    Args:
        name: path of the image, folder or video, or the number of a camera.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        An iterable of frames: ``image`` (H, W, 3) uint8 RGB, ``name``, and ``stamp`` in seconds (None for still
        images).

    Raises:
        InputError: there is nothing that can be read; the message gives the reason.

    Example:
        >>> from wildhands_ros import open_source
        >>> for frame in open_source("video.mp4"):
        ...     print(frame.image.shape, frame.stamp)
        ...     break
        (540, 960, 3) 0.0
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", name):
        raise InputError(
            f"{name}: addresses are not opened: save the video to a file, or let a camera driver publish the stream "
            "and use the node"
        )
    if not name:
        raise InputError("the name of the input is empty; is a variable not set?")
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return FolderSource(path, max_pixels)
        if path.is_file():
            if path.stat().st_size == 0:
                raise InputError(f"{path}: the file is empty")
            kind = file_kind_of(path)
            if kind is None and path.suffix.lower() not in IMAGE_SUFFIXES:
                raise InputError(
                    f"{path}: neither an image nor a video that can be decoded; it is damaged or its format is unknown"
                )
            if kind is not None and kind.group is Group.VIDEO:
                return VideoSource(path, max_pixels)
            if kind is not None and kind.group is not Group.IMAGE:
                raise InputError(f"{path}: {kind.refusal()}")
            return ImageSource(path, max_pixels)
        if path.exists():
            return _open_device(path)
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    if re.fullmatch(r"[0-9]{1,4}", name):
        return CameraSource(int(name))
    raise InputError(f"{path}: does not exist; give an image, a folder of images, a video or a camera's number")


def _open_device(path: Path) -> FrameSource:
    camera = _CAMERA_DEVICE.fullmatch(str(path.resolve()))
    if camera is None:
        raise InputError(f"{path}: neither a file nor a folder nor a camera; a camera is /dev/video0, or its number 0")
    return CameraSource(int(camera[1]))


def _check_container(path: Path) -> None:
    """Raises InputError if the content of a file is not a video."""
    kind = file_kind_of(path)
    if kind is not None and kind.group is Group.VIDEO:
        if "%" in str(path.absolute()) and path.suffix.lower() not in _VIDEO_SUFFIXES:
            # FFmpeg takes such a name with the suffix of an image for the pattern of a series of files.
            raise InputError(f"{path}: rename this video: its path contains %, and its suffix is not that of a video")
        return
    if kind is None:
        raise InputError(f"{path}: not a video that can be decoded; it is damaged or its format is unknown")
    if kind.group is Group.IMAGE:
        raise InputError(f"{path}: this is a still image ({kind.name}), not a video: use wildhands estimate")
    raise InputError(f"{path}: {kind.refusal()}")


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Silences the log of OpenCV and FFmpeg; callers report errors themselves."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when the first video is opened
    logging = getattr(cv2.utils, "logging", cv2)  # the first in OpenCV 4.14, the second in 4.11
    level = logging.getLogLevel()
    logging.setLogLevel(0)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]
