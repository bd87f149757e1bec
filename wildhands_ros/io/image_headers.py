"""Reads the size and the completeness of an image from its bytes, without decoding it.

Decoders are written for speed: they allocate what a header asks for, and fill missing rows with grey.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .errors import InputError
from .file_kinds import BMP, IMAGE_KINDS, JPEG, PNG, PNM, WEBP, FileKind, file_kind

MAX_PIXELS = 50_000_000
"""Largest image that is decoded by default, in pixels: 150 MB of RGB. A small file can unfold to any size."""
_MAX_JPEG_SCANS = 100
"""Each scan of a progressive JPEG costs as much time as the whole image. Encoders write about ten."""
_MAX_PARTS = 200_000
"""Segments or chunks of one file. A PNG of 50 megapixels in chunks of 8 kB has fewer."""

_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Any marker but those inside a scan, where 0xff is followed by 0 or is a restart marker."""
_JPEG_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive frames: what libjpeg decodes."""
_OTHER_JPEG_FRAMES = (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7)
_PNG_CHUNKS = (
    b"IHDR",
    b"PLTE",
    b"IDAT",
    b"IEND",
    b"tRNS",
    b"gAMA",
    b"cHRM",
    b"sRGB",
    b"pHYs",
    b"sBIT",
    b"bKGD",
    b"eXIf",
)
"""Chunks that the decoder gets. The others hold texts, profiles and animations, some of them compressed."""
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNM_HEADER = re.compile(rb"P[56](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,5})\s")


class ImageError(InputError):
    """Bytes that are not a usable image.

    Attributes:
        reason: empty_image, unsupported_encoding, undecodable_image, truncated_image or image_too_large.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image says, and the bytes for the decoder."""

    kind: FileKind
    width: int
    height: int
    data: bytes
    """The image without appendices."""
    bits: int = 8
    """Bits of a sample."""
    channels: int = 3
    has_end: bool = True
    """False: the end marker is missing, and so may be some of the rows."""


def read_header(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Checks an image as far as this is possible without decoding it.

    Raises:
        ImageError: the format is not accepted, the header is damaged, the image is larger than ``max_pixels``, or its
            data are shorter than the header requires.
    """
    if not data:
        raise ImageError("empty_image", "the image is empty (0 bytes)")
    kind = file_kind(data)
    if kind is None:
        raise ImageError(
            "undecodable_image",
            f"the {len(data)} bytes are damaged or of an unknown format; they begin with {data[:8]!r}; accepted "
            f"formats: {', '.join(kind.name for kind in IMAGE_KINDS)}",
        )
    if kind not in _READERS:
        raise ImageError("unsupported_encoding", kind.refusal())
    try:
        header = _READERS[kind](data, max_pixels)
    except IndexError as error:
        raise _truncated(data) from error
    if not header.width or not header.height:
        raise _damaged(kind, f"its size is {header.width}x{header.height}")
    if header.width * header.height > max_pixels:
        raise ImageError(
            "image_too_large",
            f"the image claims to be {header.width}x{header.height} in {len(data)} bytes; at most {max_pixels / 1e6:g} "
            "megapixels are decoded: reduce the image",
        )
    return header


def _truncated(data: bytes) -> ImageError:
    return ImageError(
        "truncated_image", f"the image is truncated: its data end after {len(data)} bytes, before the image is complete"
    )


def _damaged(kind: FileKind, what: str) -> ImageError:
    return ImageError("undecodable_image", f"the {kind.name} image is damaged: {what}")


def _number(data: bytes, at: int, size: int, order: str) -> int:
    field = data[at : at + size]
    if len(field) < size:
        raise IndexError
    return int.from_bytes(field, "big" if order == ">" else "little")


def _jpeg(data: bytes, _max_pixels: int) -> ImageHeader:
    """Walks over the segments: they may hold a thumbnail, with a size and an end marker of its own."""
    header, scans, at = None, 0, 2
    for _ in range(_MAX_PARTS):
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            break
        code, at = found.group()[1], found.end()
        if code == 0xD9:
            if header is None:
                raise _damaged(JPEG, "it ends before it begins")
            # Anything may follow, such as the clip of a phone's motion photo.
            return replace(header, data=data[:at] if len(data) > at else data)
        if code in (0x01, 0xD8):
            continue
        if code in _OTHER_JPEG_FRAMES:
            raise ImageError(
                "unsupported_encoding", "this variant of JPEG (lossless or arithmetic) cannot be read here"
            )
        if code in _JPEG_FRAMES and header is None:
            height, width = _number(data, at + 3, 2, ">"), _number(data, at + 5, 2, ">")
            header = ImageHeader(JPEG, width, height, data, data[at + 2], data[at + 7])
        if code == 0xDA:
            scans += 1
            if scans > _MAX_JPEG_SCANS:
                raise _damaged(JPEG, f"it has more than {_MAX_JPEG_SCANS} scans")
        # The length of a segment includes itself.
        at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    else:
        raise _damaged(JPEG, f"it has more than {_MAX_PARTS} segments")
    if header is None or not scans:
        raise _truncated(data)
    return replace(header, has_end=False)


def _png(data: bytes, max_pixels: int) -> ImageHeader:
    if data[12:16] != b"IHDR":
        raise _damaged(PNG, "its header is missing")
    width, height = _number(data, 16, 4, ">"), _number(data, 20, 4, ">")
    bits, color = data[24], data[25]
    if color not in _PNG_CHANNELS:
        raise _damaged(PNG, f"its color type is {color}")
    header = ImageHeader(PNG, width, height, data, bits, _PNG_CHANNELS[color])
    if width * height > max_pixels:
        return header  # It is refused in any case.
    chunks, has_end, end = [], False, 8
    for count, (kind, start, end) in enumerate(_png_chunks(data)):
        if count > _MAX_PARTS:
            raise _damaged(PNG, f"it has more than {_MAX_PARTS} chunks")
        if kind == b"acTL" and _number(data, start + 8, 4, ">") > 1:
            raise ImageError("unsupported_encoding", "an animated PNG cannot be read here: convert it to a video")
        if kind in _PNG_CHUNKS:
            chunks.append((kind, start, end))
        if kind == b"IEND" and end <= len(data):
            has_end = True
            break
    if has_end:
        if sum(stop - start for _, start, stop in chunks) + 8 == len(data):
            return header
        return replace(header, data=data[:8] + b"".join(data[start:stop] for _, start, stop in chunks))
    return replace(header, data=_without_png_end(data, chunks, header), has_end=True)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields kind, start and end of each chunk; the last one may end beyond the data."""
    at = 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, end
        at = end


def _without_png_end(data: bytes, chunks: list[tuple[bytes, int, int]], header: ImageHeader) -> bytes:
    """Returns a PNG with an end, if the end is all that is missing.

    Raises:
        ImageError: rows are missing.
    """
    pixels = b"".join(data[start + 8 : end - 4] for kind, start, end in chunks if kind == b"IDAT")
    unpack, budget, rest = zlib.decompressobj(), 16 * header.width * header.height + 16 * header.height + 2**16, pixels
    try:
        while rest and not unpack.eof and budget > 0:
            budget -= len(unpack.decompress(rest, 2**20))
            rest = unpack.unconsumed_tail
    except zlib.error as error:
        raise _damaged(PNG, str(error)) from error
    if not unpack.eof:
        raise _truncated(data)
    before = (data[start:end] for kind, start, end in chunks if kind not in (b"IDAT", b"IEND"))
    return data[:8] + b"".join(before) + _png_chunk(b"IDAT", pixels) + _png_chunk(b"IEND", b"")


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _webp(data: bytes, _max_pixels: int) -> ImageHeader:
    if _number(data, 4, 4, "<") + 8 > len(data) + 1:
        raise _truncated(data)
    kind = data[12:16]
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            raise _damaged(WEBP, "its frame header is missing")
        width, height = _number(data, 26, 2, "<") & 0x3FFF, _number(data, 28, 2, "<") & 0x3FFF
    elif kind == b"VP8L":
        bits = _number(data, 21, 4, "<")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8X":
        if data[20] & 2:
            raise ImageError("unsupported_encoding", "an animated WebP cannot be read here: convert it to a video")
        width, height = _number(data, 24, 3, "<") + 1, _number(data, 27, 3, "<") + 1
    else:
        raise _damaged(WEBP, f"its first chunk is {kind!r}")
    return ImageHeader(WEBP, width, height, data)


def _bmp(data: bytes, max_pixels: int) -> ImageHeader:
    offset, size = _number(data, 10, 4, "<"), _number(data, 14, 4, "<")
    if size < 40:
        raise ImageError("unsupported_encoding", "a BMP of OS/2 cannot be read here: convert it to JPEG or PNG")
    width, height = _number(data, 18, 4, "<"), _number(data, 22, 4, "<")
    # A negative height means that the first row is the top one.
    height = 2**32 - height if height >= 2**31 else height
    bits, compression = _number(data, 28, 2, "<"), _number(data, 30, 4, "<")
    if compression not in (0, 3, 6):
        raise ImageError("unsupported_encoding", "a compressed BMP cannot be read here: convert it to JPEG or PNG")
    if bits not in (1, 4, 8, 16, 24, 32):
        raise _damaged(BMP, f"its pixels have {bits} bits")
    row = (width * bits + 31) // 32 * 4
    if width * height <= max_pixels and offset + row * height > len(data):
        raise _truncated(data)
    return ImageHeader(BMP, width, height, data)


def _pnm(data: bytes, max_pixels: int) -> ImageHeader:
    found = _PNM_HEADER.match(data[:4096])
    if found is None:
        raise _damaged(PNM, "its header is incomplete")
    width, height, maximum = (int(text) for text in found.groups())
    channels, bits = 3 if data[:2] == b"P6" else 1, 16 if maximum > 255 else 8
    if width * height <= max_pixels and found.end() + width * height * channels * bits // 8 > len(data):
        raise _truncated(data)
    return ImageHeader(PNM, width, height, data, bits, channels)


_READERS = {JPEG: _jpeg, PNG: _png, WEBP: _webp, BMP: _bmp, PNM: _pnm}
