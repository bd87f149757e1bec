"""Recognises files by their first bytes. What is not an accepted kind is refused by name, before a decoder sees it.

Names and suffixes are not used: they are often wrong, and decoders that choose by content could be reached with any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

HEAD_SIZE = 1024
"""Bytes from the start of a file that ``file_kind`` needs at most."""


class Group(Enum):
    """What can be done with a kind of file."""

    IMAGE = "image"
    """Decoded by ``io/images.py``."""
    VIDEO = "video"
    """Decoded by ``io/sources.py``."""
    OTHER_IMAGE = "other image"
    """Refused."""
    OTHER = "other"
    """Neither image nor video; refused."""


@dataclass(frozen=True)
class FileKind:
    """A format."""

    name: str
    group: Group
    advice: str = ""
    """What to do instead, for a refused format."""

    def refusal(self) -> str:
        """Returns a clause that names the format and what to do."""
        return f"{self.name} cannot be read here{': ' if self.advice else ''}{self.advice}"


_TO_JPEG = "convert it to JPEG or PNG"
JPEG, PNG, WEBP, BMP, PNM = (FileKind(name, Group.IMAGE) for name in ("JPEG", "PNG", "WebP", "BMP", "PPM or PGM"))
IMAGE_KINDS = (JPEG, PNG, WEBP, BMP, PNM)
"""The formats of images that are decoded."""
TIFF = FileKind("TIFF (or a camera's raw image)", Group.OTHER_IMAGE, _TO_JPEG)
JPEG_2000 = FileKind("JPEG 2000", Group.OTHER_IMAGE, _TO_JPEG)
JPEG_XL = FileKind("JPEG XL", Group.OTHER_IMAGE, _TO_JPEG)
HEIC = FileKind("HEIC", Group.OTHER_IMAGE, f"{_TO_JPEG}, or set the phone's camera to its most compatible format")
AVIF = FileKind("AVIF", Group.OTHER_IMAGE, _TO_JPEG)
PLAYLIST = FileKind("a playlist", Group.OTHER, "give the video file itself")
MP4, AVI, MATROSKA, MPEG_TS, MPEG, FLV, ASF, OGG, MJPEG = (
    FileKind(name, Group.VIDEO)
    for name in ("MP4", "AVI", "Matroska", "MPEG-TS", "MPEG", "FLV", "ASF", "Ogg", "Motion JPEG")
)
RAW_H264 = FileKind(
    "a raw H.264 or H.265 stream",
    Group.OTHER,
    "put it into a container (ffmpeg -i FILE -c copy OUT.mp4), or republish it decoded (ffmpeg_image_transport)",
)

_BY_MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"BM", BMP),
    (b"GIF8", FileKind("GIF", Group.OTHER_IMAGE, "convert it to PNG, or to a video: ffmpeg -i FILE OUT.mp4")),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"IIRO", TIFF),
    (b"IIU\0", TIFF),
    (b"\0\0\0\x0cjP  ", JPEG_2000),
    (b"\xff\x4f\xff\x51", JPEG_2000),
    (b"\0\0\0\x0cJXL ", JPEG_XL),
    (b"\xff\x0a", JPEG_XL),
    (b"\x76\x2f\x31\x01", FileKind("OpenEXR", Group.OTHER_IMAGE, _TO_JPEG)),
    (b"#?R", FileKind("Radiance HDR", Group.OTHER_IMAGE, _TO_JPEG)),
    (b"\x59\xa6\x6a\x95", FileKind("Sun raster", Group.OTHER_IMAGE, _TO_JPEG)),
    (b"8BPS", FileKind("Photoshop", Group.OTHER_IMAGE, _TO_JPEG)),
    (b"\0\0\1\0", FileKind("ICO", Group.OTHER_IMAGE, _TO_JPEG)),
    (b"\x1a\x45\xdf\xa3", MATROSKA),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (b"OggS\0", OGG),
    (b"\0\0\1\xba", MPEG),
    (b"\0\0\1\xb3", MPEG),
    (b"#EXTM3U", PLAYLIST),
    (b"ffconcat", PLAYLIST),
    (b"[playlist]", PLAYLIST),
    (b"RTSPtext", PLAYLIST),
    (b"#!RTPPLAY", PLAYLIST),
    (b"v=0", PLAYLIST),
    (b"%PDF", FileKind("PDF", Group.OTHER, "export its pages as PNG")),
    (b"\x28\xb5\x2f\xfd", FileKind("a Zstandard archive", Group.OTHER, "unpack it first: unzstd FILE")),
    (b"\x1f\x8b", FileKind("a gzip archive", Group.OTHER, "unpack it first: gunzip FILE")),
    (b"PK\x03\x04", FileKind("a zip archive", Group.OTHER, "unpack it first")),
    (b"\x89MCAP0\r\n", FileKind("an MCAP recording", Group.OTHER, "name it .mcap, and use wildhands annotate")),
    (b"#ROSBAG V", FileKind("a ROS 1 bag", Group.OTHER, "name it .bag, and use wildhands annotate")),
    (b"version https://git-lfs", FileKind("a pointer of Git LFS", Group.OTHER, "get the file itself: git lfs pull")),
    (b"SQLite format 3\0", FileKind("an sqlite3 file", Group.OTHER, "name it .db3, and use wildhands annotate")),
)
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": TIFF,
    b"jp2 ": JPEG_2000,
    b"jpx ": JPEG_2000,
}
_ANY_NETPBM = re.compile(rb"P[1-7fF][\s#]")
_START_CODE = re.compile(rb"\0\0\0?\x01[\x01-\x7f]")


def file_kind(head: bytes) -> FileKind | None:
    """Returns the format of a file; None if it is unknown.

    Args:
        head: the first ``HEAD_SIZE`` bytes, or more.
    """
    kind = next((kind for magic, kind in _BY_MAGIC if head.startswith(magic)), None) or _container(head) or _text(head)
    return PLAYLIST if kind is not None and kind.group is Group.VIDEO and _may_be_playlist(head) else kind


def file_kind_of(path: Path) -> FileKind | None:
    """Returns the format of a file on disk; None if it is unknown.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        kind = file_kind(file.read(HEAD_SIZE))
    # Images in a row cannot be told from one image with an appendix, such as a phone's gain map.
    return MJPEG if kind is JPEG and path.suffix.lower() in (".mjpeg", ".mjpg") else kind


def _container(head: bytes) -> FileKind | None:
    if head[4:8] in _MP4_BOXES:
        return _BRANDS.get(head[8:12], MP4) if head[4:8] == b"ftyp" else MP4
    if head[:4] == b"RIFF":
        return {b"WEBP": WEBP, b"AVI ": AVI}.get(head[8:12])
    if head[:3] == b"FLV" and head[5:9] == b"\0\0\0\x09":
        return FLV
    for first, distance in ((0, 188), (4, 192)):
        if len(head) > first + 2 * distance and {head[first + n * distance] for n in range(3)} == {0x47}:
            return MPEG_TS
    return RAW_H264 if _START_CODE.match(head) else None


def _may_be_playlist(head: bytes) -> bool:
    """Whether FFmpeg could take a file with the magic number of a container for a manifest.

    It looks for some kinds of manifests anywhere in the text before the first zero byte. Containers have one soon.
    """
    text, zero, _ = head[:HEAD_SIZE].partition(b"\0")
    return (not zero and len(head) >= HEAD_SIZE) or any(word in text.lower() for word in (b"<mpd", b"c=in ip", b"#ext"))


def _text(head: bytes) -> FileKind | None:
    if _ANY_NETPBM.match(head):
        return PNM if head[:2] in (b"P5", b"P6") else FileKind("this kind of netpbm file", Group.OTHER_IMAGE, _TO_JPEG)
    start = head.lstrip()[:512]
    if start.startswith(b"<"):
        if b"<MPD" in start:
            return PLAYLIST
        if b"<svg" in start:
            return FileKind("SVG", Group.OTHER_IMAGE, _TO_JPEG)
        if b"<html" in start.lower():
            return FileKind("a web page", Group.OTHER, "perhaps a download went wrong: get the file again")
    return None
