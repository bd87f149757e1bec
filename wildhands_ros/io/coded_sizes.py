"""Reads the size of a video's images from its encoded bytes, without decoding them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from .errors import InputError
from .image_headers import read_header

Size = tuple[int, int]
"""Width and height in pixels."""
_HEADER_BYTES = 512
"""Bytes of a parameter set that are read; the size stands within the first hundred."""
_ANY_SIZE = 2**62
_START = re.compile(rb"\0\0\x01(?:([\x27\x47\x67])|(\x42\x01)|(\xb3))")
"""A start code, and the first bytes of a parameter set of H.264, of H.265, or of a sequence header of MPEG-2."""
_PROFILES_WITH_CHROMA = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


def coded_size(data: bytes) -> Size | None:
    """Returns the size that an encoded frame states.

    H.264, H.265, MPEG-1 and MPEG-2 are found by their start codes, VP8, VP9 and Motion JPEG by their first bytes.

    Args:
        data: bytes of the frame, with start codes where the codec has them.

    Returns:
        The size; None if these bytes state none, as most frames do, or if the codec is another one.
    """
    for size in stream_sizes(data):
        return size
    with suppress(EOFError, InputError):
        if data[3:6] == b"\x9d\x01\x2a" and not data[0] & 1:
            return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
        if data[:1] and data[0] >> 6 == 2 and b"\x49\x83\x42" in data[:6]:
            return _vp9_size(data[:_HEADER_BYTES])
        if data[:3] == b"\xff\xd8\xff":
            header = read_header(data, _ANY_SIZE)
            return header.width, header.height
    return None


def stream_sizes(data: bytes) -> Iterator[Size]:
    """Yields all sizes in a part of a stream of H.264, H.265, MPEG-1 or MPEG-2."""
    for match in _START.finditer(data):
        body = data[match.start() + 3 : match.start() + 3 + _HEADER_BYTES]
        with suppress(EOFError):
            if match[1]:
                yield h264_size(body)
            elif match[2]:
                yield h265_size(body)
            else:
                bits = _Bits(body[1:])
                yield bits.read(12), bits.read(12)


class _Bits:
    """Reads bits from the highest one of each byte on. Bits behind the end raise EOFError."""

    def __init__(self, data: bytes):
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        """Returns an unsigned integer of ``count`` bits."""
        if count > self._left:
            raise EOFError
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """Returns an unsigned integer in the variable-length code of H.264 and H.265."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed_exp_golomb(self) -> int:
        """Returns a signed integer in the same code."""
        value = self.exp_golomb()
        return (value + 1) // 2 if value & 1 else -value // 2


def _payload(data: bytes) -> _Bits:
    """Removes the bytes that keep start codes out of a parameter set."""
    return _Bits(data.replace(b"\0\0\3", b"\0\0"))


def h264_size(data: bytes) -> Size:
    """Returns the size in a sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1.1), from its first byte on."""
    bits = _payload(data[1:_HEADER_BYTES])
    profile = bits.read(8)
    bits.read(16)
    bits.exp_golomb()
    chroma = 1
    if profile in _PROFILES_WITH_CHROMA:
        chroma = bits.exp_golomb()
        if chroma == 3:
            bits.read(1)
        bits.exp_golomb()
        bits.exp_golomb()
        bits.read(1)
        if bits.read(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.exp_golomb()
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.read(1)
        bits.exp_golomb()
        bits.exp_golomb()
        for _ in range(bits.exp_golomb()):
            bits.exp_golomb()
    bits.exp_golomb()
    bits.read(1)
    width, rows = 16 * (bits.exp_golomb() + 1), bits.exp_golomb() + 1
    fields = 2 - bits.read(1)
    height = 16 * rows * fields
    if fields == 2:
        bits.read(1)
    bits.read(1)
    step = (1 if chroma in (0, 3) else 2, (2 if chroma == 1 else 1) * fields)
    return _cropped(bits, width, height, step)


def _skip_scaling_list(bits: _Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.signed_exp_golomb()) % 256
        last = following or last


def h265_size(data: bytes) -> Size:
    """Returns the size in a sequence parameter set of H.265 (ITU-T H.265, 7.3.2.2), from its first byte on."""
    bits = _payload(data[2:_HEADER_BYTES])
    bits.read(4)
    layers = bits.read(3)
    bits.read(1 + 96)
    present = [(bits.read(1), bits.read(1)) for _ in range(layers)]
    if layers:
        bits.read(2 * (8 - layers))
    for has_profile, has_level in present:
        bits.read(88 * has_profile + 8 * has_level)
    bits.exp_golomb()
    chroma = bits.exp_golomb()
    if chroma == 3:
        bits.read(1)
    width, height = bits.exp_golomb(), bits.exp_golomb()
    return _cropped(bits, width, height, (2 if chroma in (1, 2) else 1, 2 if chroma == 1 else 1))


def _cropped(bits: _Bits, width: int, height: int, step: Size) -> Size:
    """Reads how many columns and rows are hidden at the edges, in units of ``step``."""
    if bits.read(1):
        left, right, top, bottom = (bits.exp_golomb() for _ in range(4))
        width, height = width - step[0] * (left + right), height - step[1] * (top + bottom)
    return width, height


def _vp9_size(data: bytes) -> Size | None:
    """Returns the size in a key frame of VP9 (bitstream specification, 6.2)."""
    bits = _Bits(data)
    bits.read(2)
    profile = bits.read(1) + 2 * bits.read(1)
    if profile == 3:
        bits.read(1)
    if bits.read(1) or bits.read(1):  # shows an earlier frame, or is no key frame
        return None
    bits.read(2 + 24)
    if profile >= 2:
        bits.read(1)
    if bits.read(3) != 7:
        bits.read(1)
        if profile in (1, 3):
            bits.read(3)
    elif profile in (1, 3):
        bits.read(1)
    width, height = bits.read(16) + 1, bits.read(16) + 1
    return width, height
