"""What a video's container says about it: the size of its images, and whether its end is missing."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .coded_sizes import Size, h264_size, h265_size, stream_sizes
from .file_kinds import AVI, MATROSKA, MP4, MPEG, MPEG_TS, file_kind_of

_HEAD = 5 * 2**20
"""Bytes from the start of a stream without an index that are searched for sizes: FFmpeg decodes as many to open it."""
_MOST_ELEMENTS = 300_000
"""Elements of a file that are visited: those of hours of video, in less than a second."""
_MP4_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_MP4_DESCRIPTIONS = b"stsd"
_SEGMENT, _CLUSTER, _TRACKS, _TRACK, _VIDEO = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0xE0
_WIDTH, _HEIGHT, _CODEC, _CODEC_PRIVATE = 0xB0, 0xBA, 0x86, 0x63A2
_AVC, _HEVC = b"V_MPEG4/ISO/AVC", b"V_MPEGH/ISO/HEVC"
_MAX_PRIVATE = 2**16
"""Bytes of a decoder's configuration that are read."""
_TS_PACKETS = (188, 192)
"""Bytes of a packet of a transport stream, without and with a time stamp."""


def declared_sizes(path: Path) -> list[Size]:
    """Returns the sizes of images that a video's headers state, without decoding anything.

    Args:
        path: a video.

    Returns:
        Widths and heights, of the container and of the stream in it; empty if they cannot be read.
    """
    sizes: list[Size] = []
    with path.open("rb") as file, suppress(EOFError, struct.error):
        for size in _sizes(file, path):
            sizes.append(size)  # noqa: PERF402  # those before an error count
    return sizes


def _sizes(file: BinaryIO, path: Path) -> Iterator[Size]:
    kind = file_kind_of(path)
    if kind is MP4:
        yield from _mp4_sizes(file, path.stat().st_size)
    elif kind is MATROSKA:
        yield from _matroska_sizes(file)
    elif kind is AVI:
        yield from _avi_sizes(file.read(_HEAD))
    elif kind in (MPEG_TS, MPEG):
        data = file.read(_HEAD)
        yield from stream_sizes(_transport_payload(data) if kind is MPEG_TS else data)


def missing_end(path: Path) -> str:
    """Returns how a video shows that its end is missing; empty if it does not show it.

    A transport stream shows it only if it ends within a packet: a copy that ends between two packets looks complete.
    """
    kind = file_kind_of(path)
    with path.open("rb") as file, suppress(EOFError):
        if kind is MATROSKA and _matroska_is_cut_off(file):
            return "the last part of the file is shorter than its header says"
        if kind is MPEG_TS and path.stat().st_size % _ts_packet(file.read(4 * max(_TS_PACKETS))):
            return "the last packet of the file is incomplete"
    return ""


def _mp4_sizes(file: BinaryIO, length: int) -> Iterator[Size]:
    parts = [(0, length)]
    for _ in range(_MOST_ELEMENTS):
        if not parts:
            return
        at, end = parts.pop()
        file.seek(at)
        head = file.read(16)
        size, kind, body = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, body = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - at
        if size < body:
            continue
        if at + size + 8 <= end:
            parts.append((at + size, end))
        if kind in _MP4_PARENTS:
            parts.append((at + body, min(at + size, end)))
        elif kind == _MP4_DESCRIPTIONS:
            file.seek(at + body)
            yield from _mp4_descriptions(file.read(min(size - body, _MAX_PRIVATE)))


def _mp4_descriptions(data: bytes) -> Iterator[Size]:
    """Yields the sizes of the sample descriptions of one track. Those of sound have other numbers in their place."""
    configuration = max(data.find(b"avcC"), data.find(b"hvcC"))
    if configuration >= 0:
        yield from _private_sizes(data[configuration + 4 :], data[configuration : configuration + 4] == b"avcC")
    if len(data) > 44 and data[12:16] not in (b"mp4a", b"ac-3", b"ec-3", b"Opus", b"fLaC", b"alac", b"sowt", b"twos"):
        width, height = struct.unpack(">HH", data[40:44])
        # 16 x 16 and more, for descriptions of texts and of other sound have small numbers here.
        if min(width, height) >= 16:
            yield width, height


def _private_sizes(data: bytes, is_h264: bool) -> Iterator[Size]:
    """Yields the size in the configuration of an H.264 or H.265 decoder (ISO/IEC 14496-15)."""
    with suppress(EOFError):
        if is_h264:
            yield h264_size(data[8:])
        elif (at := data.find(b"\x42\x01", 22)) >= 0:
            yield h265_size(data[at:])


def _avi_sizes(data: bytes) -> Iterator[Size]:
    at = data.find(b"avih")
    if at >= 0:
        yield struct.unpack_from("<II", data, at + 8 + 32)
    at = data.find(b"vids")
    at = data.find(b"strf", at) if at >= 0 else at
    if at >= 0:
        width, height = struct.unpack_from("<ii", data, at + 8 + 4)
        yield abs(width), abs(height)


def _transport_payload(data: bytes) -> bytes:
    """Returns what the packets of a transport stream carry, one stream after the other."""
    packet = _ts_packet(data)
    first = data.find(b"\x47")
    streams: dict[int, list[bytes]] = {}
    for at in range(max(first, 0), len(data) - 187, packet):
        number = int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF
        has_adaptation, has_payload = data[at + 3] & 0x20, data[at + 3] & 0x10
        if data[at] == 0x47 and has_payload:
            body = 4 + (1 + data[at + 4] if has_adaptation else 0)
            streams.setdefault(number, []).append(data[at + body : at + 188])
    return b"".join(part for parts in streams.values() for part in parts)


def _ts_packet(head: bytes) -> int:
    """Returns the size of the packets, given the first ones."""
    first = head.find(b"\x47")
    with_stamps = _TS_PACKETS[1]
    return with_stamps if head[first + with_stamps : first + with_stamps + 1] == b"\x47" else _TS_PACKETS[0]


def _element(file: BinaryIO) -> tuple[int, int | None, int]:
    """Reads the head of an element of Matroska: its number, its size, None if unknown, and where its content begins.

    Raises:
        EOFError: the file ends, or this is no element.
    """
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else 9
    if length > 4:
        raise EOFError
    number = int.from_bytes(first + file.read(length - 1), "big")
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else 9
    if length > 8:
        raise EOFError
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        raise EOFError
    size = int.from_bytes(first + rest, "big") & (1 << 7 * length) - 1
    return number, None if size == (1 << 7 * length) - 1 else size, file.tell()


def _matroska_is_cut_off(file: BinaryIO) -> bool:
    """Returns whether an element is larger than the rest of the file."""
    length = os.fstat(file.fileno()).st_size
    _, size, at = _element(file)
    file.seek(at + (size or 0))
    end = length
    for _ in range(_MOST_ELEMENTS):
        if file.tell() >= end:
            return False
        try:
            number, size, at = _element(file)
        except EOFError:
            return length - file.tell() <= 0  # else there is something that is not Matroska, which others may judge
        if size is not None and number != _SEGMENT:
            if at + size > length:
                return True
            file.seek(at + size)
        elif size is not None and at + size > length:
            return True
        # The content of a segment, or of a cluster of unknown size, follows.
    return False


def _matroska_sizes(file: BinaryIO) -> Iterator[Size]:
    length = os.fstat(file.fileno()).st_size
    values: dict[int, bytes] = {}
    for _ in range(_MOST_ELEMENTS):
        number, size, at = _element(file)
        if number == _CLUSTER:
            return
        if number in (_SEGMENT, _TRACKS, _VIDEO):
            continue
        if number == _TRACK:
            values = {}
            continue
        if size is None or at + size > length:
            return
        if number in (_WIDTH, _HEIGHT, _CODEC, _CODEC_PRIVATE) and size <= _MAX_PRIVATE:
            values[number] = file.read(size)
            if number == _CODEC_PRIVATE and values.get(_CODEC) in (_AVC, _HEVC):
                yield from _private_sizes(values[number], values[_CODEC] == _AVC)
            if number in (_WIDTH, _HEIGHT) and _WIDTH in values and _HEIGHT in values:
                yield int.from_bytes(values[_WIDTH], "big"), int.from_bytes(values[_HEIGHT], "big")
        file.seek(at + size)
