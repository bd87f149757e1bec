"""Conversion between sensor_msgs images and arrays."""

from __future__ import annotations

import array
from collections.abc import Callable

import cv2
import numpy as np
from cv_bridge import CvBridge
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ..io.image_headers import MAX_PIXELS, ImageError, read_header
from ..io.images import decode_checked, scaled_to_8_bits
from .rejections import InputRejected

BRIDGED = ("rgb8", "bgr8", "mono8", "rgba8", "bgra8", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8")
"""Encodings that cv_bridge decodes. It does not copy rgb8; separate code for rgb8, bgr8 or mono8 was not measurably
faster."""

# OpenCV names a Bayer pattern by its second row; the names by the first row are missing in older versions.
CONVERSIONS = {
    "mono16": cv2.COLOR_GRAY2RGB,
    "rgb16": None,
    "bgr16": cv2.COLOR_BGR2RGB,
    "rgba16": cv2.COLOR_RGBA2RGB,
    "bgra16": cv2.COLOR_BGRA2RGB,
    "bayer_rggb16": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr16": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg16": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg16": cv2.COLOR_BayerGB2RGB,
    "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
    "yuv422": cv2.COLOR_YUV2RGB_UYVY,
    "uyvy": cv2.COLOR_YUV2RGB_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUYV,
    "yuyv": cv2.COLOR_YUV2RGB_YUYV,
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "nv21": cv2.COLOR_YUV2RGB_NV21,
    "nv24": cv2.COLOR_YUV2RGB_NV12,
}
"""OpenCV conversions for the encodings that cv_bridge's Python port lacks: 16 bits, YUV, and a misspelt Bayer
pattern."""

_CHROMA_BELOW = {"nv12": 0.5, "nv21": 0.5, "nv24": 2.0}
"""Encodings whose chroma lies in further rows below the luma: number of those rows for each row of the luma."""

_VIDEO_CODECS = ("h264", "h.264", "h265", "h.265", "hevc", "av1", "vp8", "vp9")

_BRIDGE = CvBridge()

SUPPORTED = (*BRIDGED, *CONVERSIONS)


class ImageDecodeError(InputRejected):
    """The image message cannot be decoded."""


def decode(message: Image | CompressedImage, kind: str) -> np.ndarray:
    """Decodes a message of a recording.

    Args:
        message: the image.
        kind: type of the message, sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageDecodeError: the message cannot be decoded.
    """
    return decode_compressed(message) if kind.endswith("CompressedImage") else decode_image(message)


def decode_image(message: Image) -> np.ndarray:
    """Decodes a raw image. 16-bit values, of which a camera may use only 10, 12 or 14 bits, are scaled to 8 bits.

    Returns:
        (H, W, 3) uint8 RGB; may be a view of the message's data.

    Raises:
        ImageDecodeError: the image is empty, its encoding is not supported, or it has less data than its size requires.
    """
    rows = _rows(message)
    if message.encoding in BRIDGED:
        if message.step != rows.shape[1]:
            # Some versions of cv_bridge do not support padded rows.
            message = Image(
                height=message.height,
                width=message.width,
                encoding=message.encoding,
                step=rows.shape[1],
                data=to_bytes(rows),
            )
        return _BRIDGE.imgmsg_to_cv2(message, "rgb8")
    samples = _samples(rows, message)
    if samples.dtype != np.uint8:
        samples = scaled_to_8_bits(samples)
    if message.encoding == "nv24":
        samples = _with_half_chroma(samples, message.height)
    conversion = CONVERSIONS[message.encoding]
    return samples if conversion is None else cv2.cvtColor(samples, conversion)


def decode_compressed(
    message: CompressedImage, max_pixels: int = MAX_PIXELS, check_size: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Decodes a compressed image.

    Args:
        message: the image.
        max_pixels: larger images are rejected before they are decoded.
        check_size: called with width and height before the image is decoded; may raise.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageDecodeError: the data are empty, truncated or too large, a depth image, or in a format that is not
            accepted.
    """
    _check_format(message.format)
    data = np.frombuffer(message.data, np.uint8).tobytes()
    try:
        header = read_header(data, max_pixels)
        if check_size is not None:
            check_size(header.width, header.height)
        if header.bits == 16 and header.channels == 1 and not message.format.startswith("mono16"):
            raise ImageDecodeError(
                "unsupported_encoding",
                f"a {header.kind.name} with 16 bits and one channel (format {message.format!r}) is taken for a depth "
                "image: remap image/compressed to a colour stream; grey images must have the format mono16",
            )
        # The EXIF orientation is ignored: a rotated image would no longer match the calibration.
        return decode_checked(header, apply_orientation=False)
    except ImageError as error:
        raise ImageDecodeError(
            error.reason, f"compressed image (format {message.format!r}): {error}; check the camera driver"
        ) from error


def _check_format(name: str) -> None:
    """Rejects depth images and videos by the ``format`` of their messages."""
    if "compressedDepth" in name or name.startswith(("16UC1", "32FC1")):
        raise ImageDecodeError(
            "unsupported_encoding", f"{name!r} is a depth image: remap image/compressed to a colour stream"
        )
    if any(codec in name.lower() for codec in _VIDEO_CODECS):
        raise ImageDecodeError(
            "unsupported_encoding",
            f"{name!r} is a part of a video: republish it decoded (image_transport republish, ffmpeg_image_transport)",
        )


def encode_image(image_rgb: np.ndarray, header: Header) -> Image:
    """Returns an rgb8 message of an (H, W, 3) uint8 RGB image."""
    height, width = image_rgb.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width)
    message.data = to_bytes(image_rgb)
    return message


def to_bytes(values: np.ndarray) -> array.array:
    """Returns the bytes as an ``array.array``, the only type that rclpy does not check element by element."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def _layout(encoding: str) -> tuple[int, int]:
    """Returns the bytes of a sample and the samples of a pixel.

    Raises:
        ImageDecodeError: the encoding is not supported.
    """
    if encoding not in SUPPORTED:
        hint = " (depth images have no colours)" if encoding[:2] in ("16", "32", "64") else ""
        if encoding.startswith("8U"):
            hint = " (the driver must name the channels: rgb8, bgr8 or mono8)"
        raise ImageDecodeError(
            "unsupported_encoding",
            f"image encoding {encoding!r} is not supported{hint}; supported: {', '.join(SUPPORTED)}",
        )
    itemsize = 2 if encoding.endswith("16") else 1
    if encoding.startswith(("rgba", "bgra")):
        return itemsize, 4
    if encoding.startswith(("rgb", "bgr")):
        return itemsize, 3
    return itemsize, 2 if encoding.startswith(("yuv", "uyvy", "yuyv")) else 1


def _rows(message: Image) -> np.ndarray:
    """Returns an (H, bytes of a row) view without the padding of the rows, with further rows if chroma lies below."""
    _check_not_empty(message)
    width, height = message.width, message.height
    itemsize, channels = _layout(message.encoding)
    row = width * channels * itemsize
    if message.encoding in _CHROMA_BELOW:
        if width % 2 or height % 2:
            raise ImageDecodeError(
                "undecodable_image",
                f"the image is {width}x{height}, but {message.encoding} needs an even width and height: check the "
                "camera driver",
            )
        height += round(_CHROMA_BELOW[message.encoding] * height)
    return message_rows(message, row, height)


def message_rows(message: Image, row: int, height: int) -> np.ndarray:
    """Returns the data of a message as an (H, bytes of a row) view without the padding of the rows.

    Args:
        message: the image.
        row: bytes of a row.
        height: number of rows, the message's own unless planes lie below each other.

    Raises:
        ImageDecodeError: the image is empty or truncated.
    """
    width, step = message.width, message.step
    _check_not_empty(message)
    if step in (0, row // width) and len(message.data) == height * row:
        # Publishers in scripts and simulators leave step out, or set it to the size of a pixel.
        step = row
    if step < row:
        raise ImageDecodeError(
            "truncated_image",
            f"step is {step}, but a row of {width} {message.encoding} pixels takes {row} bytes: check the camera "
            "driver",
        )
    if len(message.data) < step * (height - 1) + row:
        raise ImageDecodeError(
            "truncated_image",
            f"the image has {len(message.data)} of {step * height} bytes ({width}x{message.height} {message.encoding}, "
            f"step {step}): check the camera driver",
        )
    rows: np.ndarray = np.ndarray((height, row), np.uint8, message.data, strides=(step, 1))
    rows.flags.writeable = False  # It is the memory of the message.
    return rows


def _check_not_empty(message: Image) -> None:
    width, height = message.width, message.height
    if not width or not height or not len(message.data):
        raise ImageDecodeError(
            "empty_image", f"the image is empty ({width}x{height}, {len(message.data)} bytes): check the camera driver"
        )


def _with_half_chroma(rows: np.ndarray, height: int) -> np.ndarray:
    """Returns the (3 H / 2, W) rows of nv12 for the (3 H, W) rows of nv24, whose chroma has the full resolution."""
    width = rows.shape[1]
    chroma = rows[height:].reshape(height, width, 2)[::2, ::2]
    return np.concatenate([rows[:height], chroma.reshape(height // 2, width)])


def _samples(rows: np.ndarray, message: Image) -> np.ndarray:
    """Returns (H, W) or (H, W, channels) samples, uint8 or native uint16."""
    itemsize, channels = _layout(message.encoding)
    rows = np.ascontiguousarray(rows)
    if itemsize == 2:
        rows = rows.view(">u2" if message.is_bigendian else "<u2")
    return rows if channels == 1 else rows.reshape(len(rows), -1, channels)
