"""Outputs of overlays: an image for an image, a folder for a folder, a video for a video."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np

from ..io.files import OutputFile
from ..io.images import IMAGE_SUFFIXES, InputError, encode_image
from ..io.sources import ASSUMED_FPS, FolderSource, FrameSource, ImageSource, VideoSource
from ..io.video_writer import VideoWriter

VIDEO_SUFFIX = ".mp4"


class OverlayOutput(Protocol):
    """Context manager: entering checks that the output is writable; leaving completes it, or removes it on errors."""

    def __enter__(self) -> OverlayOutput: ...

    def __exit__(self, *exception) -> None: ...

    def write(self, image_rgb: np.ndarray, name: str) -> None:
        """Writes the overlay of the frame with this name."""
        ...


class ImageOverlay:
    """One image file."""

    def __init__(self, path: Path):
        encode_image(np.zeros((1, 1, 3), np.uint8), path.suffix)
        self._file = OutputFile(path)

    def __enter__(self) -> ImageOverlay:
        self._partial = self._file.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._file.__exit__(*exception)

    def write(self, image_rgb: np.ndarray, name: str) -> None:
        self._partial.write_bytes(encode_image(image_rgb, self._partial.suffix))


class FolderOverlay:
    """A folder with an image of the same name for each input; images written before an error are kept."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> FolderOverlay:
        self._path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._path):
            return self

    def __exit__(self, *exception) -> None:
        pass

    def write(self, image_rgb: np.ndarray, name: str) -> None:
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            name += ".jpg"  # images are recognised by their content, so the name may be any
        with OutputFile(self._path / name) as partial:
            partial.write_bytes(encode_image(image_rgb, partial.suffix))


class VideoOverlay:
    """One mp4 file."""

    def __init__(self, path: Path, fps: float):
        if path.suffix.lower() != VIDEO_SUFFIX:
            raise InputError(f"{path}: the overlay of a video is a video; give a name that ends in {VIDEO_SUFFIX}")
        self._path, self._file, self._fps = path, OutputFile(path), fps

    def __enter__(self) -> VideoOverlay:
        self._writer = VideoWriter(self._file.__enter__(), self._fps)
        return self

    def __exit__(self, *exception) -> None:
        self._writer.close()
        if exception[0] is None:
            try:
                self._writer.check()
            except OSError as error:
                self._file.__exit__(type(error), error, error.__traceback__)
                raise OSError(f"cannot write {self._path}: {error}") from error
        self._file.__exit__(*exception)

    def write(self, image_rgb: np.ndarray, name: str) -> None:
        self._writer.write(image_rgb)


def overlay_for(source: FrameSource, path: Path) -> OverlayOutput:
    """Returns the output for the overlays of a source.

    Raises:
        InputError: the path does not fit the kind of source, or would overwrite it.
    """
    if isinstance(source, ImageSource | FolderSource | VideoSource) and path.resolve() == source.path.resolve():
        raise InputError(f"{path}: the overlay would overwrite the input; give another name")
    if isinstance(source, ImageSource):
        return ImageOverlay(path)
    if isinstance(source, FolderSource):
        if path.is_file():
            raise InputError(f"{path}: the overlay of a folder is a folder, and this is a file")
        return FolderOverlay(path)
    return VideoOverlay(path, source.fps or ASSUMED_FPS)
