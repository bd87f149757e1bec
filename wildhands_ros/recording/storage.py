"""Reads the storage files of recordings (MCAP, sqlite3), each topic for itself: one that is unknown harms no other.

``metadata.yaml`` is not needed for this, so files are read as they are, also if somebody has edited it.
"""

from __future__ import annotations

import os
import sqlite3
from bz2 import BZ2Decompressor
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from functools import partial
from heapq import merge
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import rosbags.interfaces as rosbag
from lz4.frame import LZ4FrameDecompressor
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.interfaces.typing import Typesdict
from rosbags.rosbag1 import reader as rosbag1_reader
from rosbags.rosbag2 import Reader, storage_mcap
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader
from rosbags.typesys import Stores, get_types_from_idl, get_typestore
from rosbags.typesys.store import Typestore

from ..io.errors import InputError
from .definitions import add_types, check_arrays, check_length, parsed

try:
    from compression import zstd  # Python 3.14
except ImportError:
    from backports import zstd

SUFFIXES = (".mcap", ".db3")
MAX_UNPACKED = 192 * 2**20
"""Bytes of one unpacked chunk or message. A recorder's chunks have a few megabytes; an image has at most 150."""
_MAX_RATIO = 100
_FREE_SIZE = 2**30
"""A compressed file may unfold to this many bytes, or to ``_MAX_RATIO`` times its size if that is more."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 2**20
_TABLES = ("messages", "topics", "schema", "metadata", "message_definitions")
"""The tables of a recording."""
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
                reader = _reader(file)
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


def _reader(file: Path) -> Reader:
    """Returns rosbags' reader of a file, which is not open yet."""
    reader = Reader(file)
    if isinstance(reader.storage, Sqlite3Reader):
        # It puts the path into a URI as it is: with ?, # or % in it, another file would be opened.
        reader.storage.path = Path(quote(os.fsencode(file)))
    return reader


def check_file(file: Path) -> None:
    """Opens a file and closes it again.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    if file.suffix.lower() == ".db3":
        _check_tables(file)
    with _reader(file):
        pass


def _check_tables(file: Path) -> None:
    """Refuses databases that compute what a recording stores: a few bytes could stand for any amount of data.

    Raises:
        InputError: a table of a recording is a view or a virtual table, or has generated columns.
        sqlite3.Error: the file is not a database, or damaged.
    """
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?immutable=1", uri=True)) as database:
        names = ", ".join(f"'{table}'" for table in _TABLES)
        found = database.execute(f"SELECT name, type, sql FROM sqlite_master WHERE lower(name) IN ({names})").fetchall()
        for name, kind, text in found:
            columns = database.execute(f"SELECT hidden FROM pragma_table_xinfo('{name}')").fetchall()
            is_virtual = str(text).upper().startswith("CREATE VIRTUAL")
            if kind != "table" or is_virtual or any(hidden for (hidden,) in columns):
                raise InputError(f"{file}: its table {name} is computed, which those of recordings are not")


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


def _parsed(connection: rosbag.Connection) -> Typesdict:
    definition = connection.msgdef
    if definition.format is MessageDefinitionFormat.NONE:
        return {}
    if definition.format is MessageDefinitionFormat.MSG:
        return parsed(definition.data, connection.msgtype)
    check_length(definition.data)
    separator = "=" * 80 + "\n"
    parts = [part.partition("\n")[2] for part in definition.data.split(separator)[1:]] or [definition.data]
    types = {name: fields for part in parts for name, fields in get_types_from_idl(part).items()}
    check_arrays(types)
    return types


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _limited(decompressor: Callable[[], Any], data: bytes, size: int) -> bytes:
    """Decompresses data of the classes of bz2 and lz4.frame, as ``unpacked`` those of zstd."""
    if size > MAX_UNPACKED:
        raise InputError(f"a chunk claims to unfold to {size // 2**20} MB")
    result = bytearray()
    while data:
        unpack = decompressor()
        result += unpack.decompress(data, max_length=size + 1 - len(result))
        if len(result) > size or not unpack.eof:
            raise InputError(f"compressed data are damaged, or unfold to more than {size // 2**20} MB")
        data = unpack.unused_data or b""
    return bytes(result)


def _limit_chunks() -> None:
    """Makes rosbags unpack chunks only up to ``MAX_UNPACKED``, and those of MCAP files to the size that they state."""
    storage_mcap.DECOMPRESSORS.update(zstd=unpacked, lz4=partial(_limited, LZ4FrameDecompressor))
    rosbag1_reader.decompressors.update(
        bz2=lambda data: _limited(BZ2Decompressor, data, MAX_UNPACKED),
        lz4=lambda data: _limited(LZ4FrameDecompressor, data, MAX_UNPACKED),
    )


_limit_chunks()
