"""Decoding and encoding of still images; truncated, foreign and oversized files are refused."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from .errors import InputError as InputError
from .image_headers import MAX_PIXELS, ImageError, ImageHeader, read_header

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm")

_NOISE = bytes(range(1, 255, 2)) * 4
_JPEG_TAIL = _NOISE + b"".join(bytes([0xFF, 0xD0 + number]) + _NOISE for number in range(8)) * 2 + b"\xff\xd9"
"""Pixels for rows that are missing, also in a JPEG with restart markers."""
_ROUNDING = 3
"""Differences in a flat block that the conversion of colours can make."""
_SENSOR_BITS = (10, 12, 14, 16)


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a compressed image and applies its EXIF orientation.

    Accepted are JPEG, PNG, WebP, uncompressed BMP, and binary PPM and PGM. The format is recognised by the first bytes,
    and the size is read from the header before anything is decoded.

    Args:
        data: the contents of an image file.
        max_pixels: larger images are refused.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the data are empty, truncated, too large or not an image of an accepted format.
    """
    return decode_checked(read_header(data, max_pixels))


def decode_checked(header: ImageHeader, apply_orientation: bool = True) -> np.ndarray:
    """Decodes an image whose header was read.

    Args:
        header: from ``read_header``.
        apply_orientation: whether to rotate the image as its EXIF data say.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the data are damaged or truncated.
    """
    flags = cv2.IMREAD_COLOR if apply_orientation else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if not header.has_end:
        return _without_end(header, flags)
    return cv2.cvtColor(_decoded(header, header.data, flags), cv2.COLOR_BGR2RGB)


def load_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads an image file and applies its EXIF orientation.

    Args:
        path: a JPEG, PNG, WebP, BMP, PPM or PGM file; the suffix does not matter.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: the file is empty, truncated, too large or not an image of an accepted format.
        OSError: the file cannot be read.

    Example:
        >>> from wildhands_ros import load_image
        >>> image = load_image("photo.jpg")
        >>> image.shape, image.dtype
        ((540, 960, 3), dtype('uint8'))
    """
    try:
        return decode_image(Path(path).read_bytes(), max_pixels)
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


def scaled_to_8_bits(samples: np.ndarray) -> np.ndarray:
    """Scales 16-bit samples to 8 bits.

    Cameras with 10, 12 or 14 bits publish their values unscaled: of these widths and 16, the samples have the smallest
    that holds their maximum.

    Args:
        samples: (H, W) or (H, W, channels) uint16, in either byte order.

    Returns:
        uint8 array of the same shape.
    """
    peak = int(samples.max(initial=0))
    largest = next(2**bits - 1 for bits in _SENSOR_BITS if peak < 2**bits)
    return cv2.convertScaleAbs(samples.astype(np.uint16, copy=False), alpha=255 / largest).reshape(samples.shape)


def _decoded(header: ImageHeader, data: bytes, flags: int) -> np.ndarray:
    """Returns (H, W, 3) uint8 BGR."""
    if header.bits == 16:
        flags |= cv2.IMREAD_ANYDEPTH
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError("undecodable_image", f"the {header.kind.name} image cannot be decoded: {error.err}") from error
    if bgr is None:
        raise ImageError("undecodable_image", f"the {header.kind.name} image cannot be decoded: it is damaged")
    if sorted(bgr.shape[:2]) != sorted((header.width, header.height)):
        raise ImageError(
            "undecodable_image", f"the {header.kind.name} image is damaged: its sizes contradict each other"
        )
    return bgr if bgr.dtype == np.uint8 else scaled_to_8_bits(bgr)


def _without_end(header: ImageHeader, flags: int) -> np.ndarray:
    """Decodes a JPEG without end marker.

    Some cameras omit it. Rows that are missing would be filled with grey; but then they change with what follows the
    data, while a complete image does not.
    """
    data = header.data.rstrip(b"\xff")
    bgr = _decoded(header, data + b"\xff\xd9", flags)
    is_complete = bool(flags & cv2.IMREAD_IGNORE_ORIENTATION) and _ends_with_detail(bgr)
    if not is_complete and not np.array_equal(bgr, _decoded(header, data + _JPEG_TAIL, flags)):
        raise ImageError(
            "truncated_image",
            f"the image is truncated: its data end after {len(header.data)} bytes, before the image is complete",
        )
    _warn_once("an image has no end marker, but all its rows: it is used (other images like this are not reported)")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _ends_with_detail(bgr: np.ndarray) -> bool:
    """Whether the last 8x8 block is not flat, the red component, which is stored last, included.

    Blocks that are missing are flat except for their borders, which are interpolated.

    This spares a stream of such images the second decoding.
    """
    height, width = bgr.shape[:2]
    inside = bgr[(height - 1) // 8 * 8 + 2 :, (width - 1) // 8 * 8 + 2 :]
    luma_and_colour = cv2.cvtColor(inside, cv2.COLOR_BGR2YCrCb)[..., :2] if inside.size else inside
    return bool(inside.size) and bool((np.ptp(luma_and_colour, axis=(0, 1)) > _ROUNDING).all())


@cache
def _warn_once(text: str) -> None:
    logging.getLogger("wildhands").warning("wildhands: warning: %s", text)
