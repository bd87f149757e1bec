"""Reads the storage files of recordings (MCAP, sqlite3), each topic for itself: one that is unknown harms no other.

``metadata.yaml`` is not needed for this, so files are read as they are, also if somebody has edited it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from heapq import merge
from pathlib import Path
from typing import BinaryIO

import rosbags.interfaces as rosbag
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader, storage_mcap
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..io.errors import InputError
from .definitions import add_types

try:
    from compression import zstd  # Python 3.14
except ImportError:
    from backports import zstd

SUFFIXES = (".mcap", ".db3")
MAX_UNPACKED = 256 * 2**20
"""Bytes of one unpacked chunk or message. A recorder's chunks have a few megabytes; an image has at most 150."""
_MAX_RATIO = 100
_FREE_SIZE = 2**30
"""A compressed file may unfold to this many bytes, or to ``_MAX_RATIO`` times its size if that is more."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 2**20
_SCHEMALESS = "__schemaless__"
"""rosbags' type of MCAP channels without a schema."""


class StorageFiles:
    """Open storage files of one recording.

    Attributes:
        connections: the topics that can be read; one per file and topic.
        left_out: the topics that cannot be read, with the reason.
        types: the message definitions.
    """

    def __init__(self, files: Collection[Path], installed: Typestore):
        """Opens the files.

        Args:
            files: the files.
            installed: definitions of types that the files do not define.

        Raises:
            Exception: of any kind, if a file is damaged.
        """
        self._readers: list[Reader] = []
        try:
            for file in files:
                reader = Reader(file)
                reader.open()
                self._readers.append(reader)
        except BaseException:
            self.close()
            raise
        found = [connection for reader in self._readers for connection in reader.connections]
        self.types, unusable = _definitions(found, installed)
        self.connections = [connection for connection in found if connection.msgtype not in unusable]
        self.left_out = {
            connection.topic: unusable[connection.msgtype]
            if connection.msgtype == _SCHEMALESS
            else f"{connection.msgtype}: {unusable[connection.msgtype]}"
            for connection in found
            if connection.msgtype in unusable
        }

    def close(self) -> None:
        """Closes the files."""
        for reader in self._readers:
            reader.close()
        self._readers = []

    @property
    def start(self) -> int:
        """When the first message was received, in nanoseconds."""
        return min(reader.start_time for reader in self._readers)

    def messages(
        self, connections: Collection[rosbag.Connection], start: int | None
    ) -> Iterator[tuple[rosbag.Connection, int, bytes]]:
        """Yields topic, time of receipt and data of the messages in the order of receipt.

        Raises:
            Exception: of any kind, if a file is damaged.
        """
        parts = []
        for reader in self._readers:
            if wanted := [connection for connection in connections if connection in reader.connections]:
                parts.append(reader.messages(connections=wanted, start=start))
        for connection, received, data in merge(*parts, key=lambda item: item[1]):
            # CDR begins with a zero byte, a message that the recorder has compressed with zstd's magic number.
            yield connection, received, unpacked(data) if data[:4] == _ZSTD else data


def check_file(file: Path) -> None:
    """Opens a file and closes it again.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    with Reader(file):
        pass


def unpacked(data: bytes, size: int = MAX_UNPACKED) -> bytes:
    """Decompresses zstd data that unfold to at most ``size`` bytes.

    Raises:
        InputError: they unfold to more.
    """
    size = min(size, MAX_UNPACKED)
    result = bytearray()
    while data:
        unpack = zstd.ZstdDecompressor()
        result += unpack.decompress(data, size + 1 - len(result))
        if len(result) > size or not unpack.eof:
            raise InputError(f"compressed data are damaged, or unfold to more than {size // 2**20} MB")
        data = unpack.unused_data
    return bytes(result)


def unpack_file(source: Path, target: Path) -> None:
    """Decompresses a .zstd file.

    Raises:
        InputError: the file is damaged, or unfolds to a multiple that recordings do not have.
    """
    limit = max(_FREE_SIZE, _MAX_RATIO * source.stat().st_size)
    try:
        with zstd.open(source, "rb") as packed, target.open("wb") as file:
            _copy(packed, file, limit, source)
    except (zstd.ZstdError, EOFError) as error:
        raise InputError(f"{source}: cannot be unpacked: {error}") from error


def _copy(packed: BinaryIO, file: BinaryIO, limit: int, source: Path) -> None:
    written = 0
    while block := packed.read(_BLOCK):
        written += len(block)
        if written > limit:
            raise InputError(
                f"{source}: unfolds to more than {limit // 2**20} MB, {_MAX_RATIO} times its size, which recordings do "
                "not: if you trust it, unpack it first (unzstd)"
            )
        file.write(block)


def _definitions(connections: list[rosbag.Connection], installed: Typestore) -> tuple[Typestore, dict[str, str]]:
    """Returns the types, and why others are not usable."""
    store = get_typestore(Stores.EMPTY)
    unusable: dict[str, str] = {}
    for connection in connections:
        try:
            new = _parsed(connection)
            store.register({name: fields for name, fields in new.items() if name not in store.fielddefs})
        except Exception as error:  # the parsers of definitions raise all kinds of errors
            unusable[connection.msgtype] = f"its definition in the recording is damaged ({_line(error)})"
    add_types(store, installed)
    for connection in connections:
        name = connection.msgtype
        if name in unusable:
            continue
        if name == _SCHEMALESS:
            unusable[name] = "the recording does not tell its type (the MCAP channel has no schema)"
            continue
        if name not in store.fielddefs:
            unusable[name] = "its definition is not in the recording and not installed; source a workspace with it"
            continue
        try:
            store.generate_msgdef(name, ros_version=2)
            expected, digest = connection.digest, store.hash_rihs01(name)
        except Exception as error:  # a part of the definition is missing
            unusable[name] = f"its definition is incomplete ({_line(error)})"
            continue
        if expected and expected != digest:
            unusable[name] = "its definition does not agree with its hash"
    return store, unusable


def _parsed(connection: rosbag.Connection) -> dict:
    definition = connection.msgdef
    if definition.format is MessageDefinitionFormat.NONE:
        return {}
    if definition.format is MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, connection.msgtype)
    separator = "=" * 80 + "\n"
    parts = [part.partition("\n")[2] for part in definition.data.split(separator)[1:]] or [definition.data]
    return {name: fields for part in parts for name, fields in get_types_from_idl(part).items()}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _limit_chunks() -> None:
    """Makes rosbags unpack MCAP chunks only to the size that they state, and only up to ``MAX_UNPACKED``."""
    original = dict(storage_mcap.DECOMPRESSORS)

    def limited_zstd(data: bytes, size: int) -> bytes:
        return unpacked(data, size)

    def limited_lz4(data: bytes, size: int) -> bytes:
        from lz4.frame import LZ4FrameDecompressor

        if size > MAX_UNPACKED:
            raise InputError(f"a chunk claims to unfold to {size // 2**20} MB")
        return LZ4FrameDecompressor().decompress(data, max_length=size + 1)

    if "zstd" in original:
        storage_mcap.DECOMPRESSORS["zstd"] = limited_zstd
    if "lz4" in original:
        storage_mcap.DECOMPRESSORS["lz4"] = limited_lz4


_limit_chunks()
