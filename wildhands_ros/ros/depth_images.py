"""Conversion of depth messages, raw or compressedDepth, to metres."""

from __future__ import annotations

import struct

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from ..io.image_headers import MAX_PIXELS, ImageError, read_header
from .images import message_rows
from .rejections import InputRejected

_HEADER = struct.Struct("<iff")
"""Header of compressedDepth: kind of compression, and two parameters of inverse depths."""
_RVL_SIZE = struct.Struct("<II")
_MILLIMETRES = ("16UC1", "mono16")
_NO_DEPTH = 65535
"""Value with which some drivers mark pixels without depth."""
FARTHEST_MEDIAN = 50.0
"""Metres. 32FC1 images whose median is larger are probably in millimetres."""


class DepthDecodeError(InputRejected):
    """The depth message cannot be decoded."""


def decode_depth(message: Image | CompressedImage, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes a depth image.

    Args:
        message: the depth image.
        max_pixels: size of the largest compressed image that is decoded.

    Returns:
        (H, W) float32 metres; 0 or NaN where unknown.

    Raises:
        DepthDecodeError: the image is empty, truncated, in another encoding, or not in metres.
    """
    # Messages of recordings have classes of their own; only raw images have an encoding.
    depth = _decode_raw(message) if hasattr(message, "encoding") else _decode_compressed(message, max_pixels)
    if depth.dtype == np.float32:
        known = depth[::8, ::8]
        known = known[np.isfinite(known) & (known > 0)]
        if len(known) and np.median(known) > FARTHEST_MEDIAN:
            raise DepthDecodeError(
                "depth_unit",
                f"half of the depths are above {np.median(known):.0f} m: 32FC1 must be in metres; for millimetres the "
                "encoding is 16UC1",
            )
        return depth
    metres = depth.astype(np.float32)
    metres *= np.float32(0.001)
    metres[depth == _NO_DEPTH] = 0
    return metres


def depth_millimetres(message: Image | CompressedImage, message_type: str) -> np.ndarray:
    """Returns (H, W) uint16 millimetres, 0 where unknown or farther than 65 m; the type is known from the message."""
    metres = np.nan_to_num(decode_depth(message), nan=0.0, posinf=0.0, neginf=0.0)
    return np.where(metres < 65.5, np.round(1000 * metres), 0).astype(np.uint16)


def _decode_raw(message: Image) -> np.ndarray:
    """Returns (H, W) uint16 millimetres or float32 metres."""
    if message.encoding in _MILLIMETRES:
        kind = "u2"
    elif message.encoding == "32FC1":
        kind = "f4"
    else:
        raise DepthDecodeError(
            "depth_encoding",
            f"depth images have the encoding {message.encoding[:40]!r}; supported: 16UC1 (millimetres) and 32FC1 "
            "(metres). Is depth remapped to the depth topic of the camera?",
        )
    try:
        rows = message_rows(message, message.width * int(kind[1]), message.height)
    except InputRejected as error:
        raise DepthDecodeError(f"depth_{error.name}", f"depth: {error}") from error
    samples = np.ascontiguousarray(rows).view((">" if message.is_bigendian else "<") + kind)
    return samples.astype("=" + kind, copy=False)


def _decode_compressed(message: CompressedImage, max_pixels: int) -> np.ndarray:
    """Returns (H, W) uint16 millimetres or float32 metres."""
    kind = message.format.split(";")[0].strip()
    if "compressedDepth" not in message.format or kind not in (*_MILLIMETRES, "32FC1"):
        raise DepthDecodeError(
            "depth_encoding",
            f"compressed depth images have the format {message.format[:60]!r}, not 16UC1 or 32FC1 with "
            "compressedDepth: remap depth/compressedDepth to a topic of the transport compressedDepth",
        )
    data = np.frombuffer(message.data, np.uint8).tobytes()
    if len(data) <= _HEADER.size:
        raise DepthDecodeError("depth_empty_image", "a compressed depth image is empty: check the camera driver")
    _, scale, offset = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    decode = _decode_rvl if "rvl" in message.format.lower() else _decode_png
    values = decode(payload, max_pixels)
    if kind != "32FC1":
        return values
    # Inverse depths: value = scale / depth + offset, 0 for unknown.
    # In place, for an image at the limit of size has 200 MB.
    metres = values.astype(np.float32)
    metres -= np.float32(offset)
    known = metres > 0
    known &= values > 0
    np.divide(np.float32(scale), metres, out=metres, where=known)
    metres[~known] = 0
    return metres


def _decode_png(data: bytes, max_pixels: int) -> np.ndarray:
    try:
        header = read_header(data, max_pixels)
    except ImageError as error:
        raise DepthDecodeError(f"depth_{error.reason}", f"compressed depth image: {error}") from error
    values = None
    if header.bits == 16 and header.channels == 1:
        # Not the message's own bytes: OpenCV would reserve the gigabytes that a damaged chunk claims to have.
        values = cv2.imdecode(np.frombuffer(header.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise DepthDecodeError("depth_undecodable_image", "a compressed depth image is not a PNG with 16 bits")
    return values


def _decode_rvl(data: bytes, max_pixels: int) -> np.ndarray:
    """Decodes RVL (Wilson 2017): runs of zeros and of differences, in groups of three bits."""
    truncated = DepthDecodeError("depth_truncated_image", "a depth image in RVL is truncated: check the camera driver")
    if len(data) < _RVL_SIZE.size:
        raise truncated
    width, height = _RVL_SIZE.unpack_from(data)
    if not 0 < width * height <= max_pixels:
        raise DepthDecodeError("depth_undecodable_image", f"a depth image in RVL claims {width}x{height} pixels")
    words = np.frombuffer(data, "<u4", offset=_RVL_SIZE.size, count=(len(data) - _RVL_SIZE.size) // 4)
    # The first of the eight groups of a word is in its highest bits; the highest bit of a group: another one follows.
    groups = ((words[:, None] >> np.arange(28, -1, -4, dtype=np.uint32)) & 15).ravel()
    last = np.flatnonzero(groups < 8)
    if not len(last):
        raise truncated
    first = np.concatenate([[0], last[:-1] + 1])
    position = np.arange(last[-1] + 1) - np.repeat(first, last - first + 1)
    bits = (groups[: last[-1] + 1] & 7).astype(np.int64) << np.minimum(3 * position, 60)
    numbers = np.add.reduceat(bits, first)
    depth = np.zeros(width * height, np.uint16)
    pixel = number = 0
    previous = 0
    while pixel < len(depth):
        if number + 2 > len(numbers):
            raise truncated
        pixel += int(numbers[number])
        count = int(numbers[number + 1])
        differences = numbers[number + 2 : number + 2 + count]
        if len(differences) < count or pixel + count > len(depth):
            raise truncated
        values = previous + np.cumsum((differences >> 1) ^ -(differences & 1))
        depth[pixel : pixel + count] = values
        if count:
            previous = int(values[-1])
        pixel, number = pixel + count, number + 2 + count
    return depth.reshape(height, width)
