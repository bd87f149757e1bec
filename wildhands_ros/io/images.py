"""Decoding and encoding of still images; truncated files are refused."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Any marker but those inside a scan, where 0xff is followed by 0 or is a restart marker."""


class InputError(ValueError):
    """An input cannot be used; the message says which one, why, and what to do."""


def decode_image(data: bytes) -> np.ndarray:
    """Decodes a compressed image and applies its EXIF orientation.

    Args:
        data: the contents of an image file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the data are empty, truncated or not an image.
    """
    if not data:
        raise InputError("the image is empty (0 bytes)")
    if is_truncated(data):
        raise InputError(f"the image is truncated: its data end after {len(data)} bytes, before the image is complete")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(f"the image cannot be decoded: {error.err}") from error
    if bgr is None:
        raise InputError("the image cannot be decoded: it is damaged or of an unknown format")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def load_image(path: str | Path) -> np.ndarray:
    """Reads an image file and applies its EXIF orientation.

    Args:
        path: a JPEG, PNG, WebP, TIFF or other file that OpenCV decodes.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is empty, truncated or not an image.
        OSError: the file cannot be read.

    Example:
        >>> from wildhands_ros import load_image
        >>> image = load_image("photo.jpg")
        >>> image.shape, image.dtype
        ((540, 960, 3), dtype('uint8'))
    """
    try:
        return decode_image(Path(path).read_bytes())
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def encode_image(image_rgb: np.ndarray, suffix: str) -> bytes:
    """Encodes an image.

    Args:
        image_rgb: (H, W, 3) uint8 RGB.
        suffix: file suffix that names the format, such as ".png".

    Raises:
        InputError: OpenCV has no encoder for this suffix.
    """
    try:
        _, data = cv2.imencode(suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise InputError(f"cannot write images of type {suffix!r}; use one of {', '.join(IMAGE_SUFFIXES)}") from error
    return data.tobytes()


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end marker: decoders fill the missing part with grey and report no error."""
    if data.startswith(b"\xff\xd8"):
        return not _has_jpeg_end(data)
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Whether the first image has its end marker; anything may follow, such as the clip of a phone's motion photo."""
    found = _JPEG_MARKER.search(data, 2)
    while found is not None:
        if found.group() == b"\xff\xd9":
            return True
        # Skip the marker's segment: it may hold a thumbnail with an end marker of its own.
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        found = _JPEG_MARKER.search(data, found.end() + length)
    return False
