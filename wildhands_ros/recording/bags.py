"""Reads recordings of every kind as one: rosbag2 folders and files (MCAP, sqlite3), ROS 1 bags, also when they end in the middle."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import TracebackType

import rosbags.interfaces as rosbag
from rosbags.convert import ConverterError, convert
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ..io.images import InputError
from .definitions import typestore

SUFFIXES = (".mcap", ".db3", ".bag")
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
MAX_RECORD = 2**30
"""Bytes of one record of a damaged MCAP file beyond which its size is taken for damage."""


def is_bag(path: Path) -> bool:
    """Whether a path looks like a recording, by its name or by what is in the folder."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.suffix.lower() in SUFFIXES


class Bag:
    """One recording, opened on entering; all messages come as ROS 2's (CDR), those of a ROS 1 bag converted.

    What must be converted or saved first is, into a folder below ``scratch`` that goes again on leaving; None for the system's own place.
    """

    def __init__(self, path: Path, scratch: Path | None = None):
        self.path = self.readable = path
        """``readable``: the recording itself or its copy, which others can open for as long as this one is."""
        self._scratch_folder = scratch
        self.problems: list[str] = []
        """What could not be read, one sentence each."""
        self._reader: AnyReader | None = None
        self._temporary: tempfile.TemporaryDirectory | None = None

    def __enter__(self) -> Bag:
        """:raises InputError: nothing of it can be read, with the reason."""
        if not self.path.exists():
            raise InputError(f"{self.path}: does not exist; give a rosbag2 folder, an .mcap, .db3 or .bag file")
        try:
            self._reader = self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            self._reader.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def connections(self) -> list[rosbag.Connection]:
        """The topics; ``topic``, ``msgtype`` and ``msgcount`` of each."""
        return self._reader.connections

    @property
    def types(self) -> Typestore:
        """The recording's own definitions."""
        return self._reader.typestore

    @property
    def start(self) -> int:
        """When the first message was received, nanoseconds."""
        return self._reader.start_time

    def count(self, topic: str) -> int:
        """Messages of a topic, as far as the recording says."""
        return self._reader.topics[topic].msgcount

    def of_type(self, *kinds: str) -> list[rosbag.Connection]:
        """The topics of some message types."""
        return [connection for connection in self.connections if connection.msgtype in kinds]

    def messages(
        self, connections: Collection[rosbag.Connection] = (), start: int | None = None
    ) -> Iterator[tuple[rosbag.Connection, int, bytes]]:
        """Each message with its time of receipt in nanoseconds, in that order; of all topics or of some, from ``start`` on.

        A damaged end is a problem, not an error.
        """
        count = 0
        if connections:
            # A recording of several files has one of each.
            wanted = {(connection.topic, connection.msgtype) for connection in connections}
            connections = [
                connection for connection in self.connections if (connection.topic, connection.msgtype) in wanted
            ]
        try:
            for item in self._reader.messages(connections=connections, start=start):
                yield item
                count += 1
        except Exception as error:  # the storage formats' libraries raise all kinds on damaged data
            if isinstance(error, OSError) and not isinstance(error, EOFError):
                raise
            self._damaged(f"{self.path}: damaged after {count} messages; the rest cannot be read ({_line(error)})")

    def read(self, connection: rosbag.Connection, data: bytes):
        """A message as an object with the fields of its definition."""
        return self.types.deserialize_cdr(data, connection.msgtype)

    def _damaged(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _open(self) -> AnyReader:
        path = self.path
        if path.suffix.lower() == ".bag":
            path = self.readable = self._as_ros2(path)
        paths, files = [path], _storage_files(path) if path.is_dir() else [path]
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            if not files:
                raise InputError(f"{path}: no recording in this folder (no metadata.yaml, .mcap or .db3 file)")
            self._damaged(f"{path}: metadata.yaml is missing; was the recorder killed? Its files are read as they are")
            paths = files
        try:
            return _opened(paths)
        except (AnyReaderError, ReaderError, OSError, ValueError) as error:
            if isinstance(error, PermissionError):
                raise
            mcaps = [file for file in files if file.suffix == ".mcap"]
            if not mcaps:
                raise InputError(f"{self.path}: cannot be read: {_line(error)}") from error
            return self._salvaged(mcaps, error)
        except Exception as error:  # sqlite's errors, and those of hostile data
            raise InputError(f"{self.path}: cannot be read: {_line(error)}") from error

    def _scratch(self) -> Path:
        self._temporary = tempfile.TemporaryDirectory(prefix=".wildhands-", dir=self._scratch_folder)
        return Path(self._temporary.name)

    def _as_ros2(self, path: Path) -> Path:
        folder = self._scratch() / "ros2"
        try:
            with redirect_stdout(StringIO()):
                convert(
                    [path], folder, "mcap", 8, "zstd", "storage", None, get_typestore(Stores.ROS2_JAZZY), (), (), (), ()
                )
        except ConverterError as error:
            text = f"{path}: the ROS 1 bag cannot be read: {_line(error)}. If it was cut off, mend it first: rosbag reindex"
            raise InputError(text) from error
        if not folder.is_dir():
            raise InputError(f"{path}: the ROS 1 bag holds no messages")
        return folder

    def _salvaged(self, files: list[Path], reason: Exception) -> AnyReader:
        """What can be read of MCAP files without an index, copied into a bag that has one."""
        folder = self._scratch() / "salvaged"
        count = 0
        with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            for file in files:
                count += _salvage(file, writer)
        if not count:
            raise InputError(f"{self.path}: cannot be read, and not one message can be saved from it: {_line(reason)}")
        self.readable = folder
        self._damaged(f"{self.path}: ends in the middle; {count} messages before could be read")
        return _opened([folder])


def _opened(paths: list[Path]) -> AnyReader:
    # Bags of older distributions carry no definitions: ROS 2's common ones and ours stand in.
    reader = AnyReader(paths, default_typestore=typestore())
    reader.open()
    return reader


def _salvage(file: Path, writer: Writer) -> int:
    """Copies messages up to where the file ends or breaks; returns how many."""
    from mcap.records import Channel, Message, Schema
    from mcap.stream_reader import StreamReader

    count, schemas, topics = 0, {}, {}
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, record_size_limit=MAX_RECORD).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel) and record.id not in topics:
                    schema = schemas[record.schema_id]
                    types = get_typestore(Stores.EMPTY)
                    types.register(get_types_from_msg(schema.data.decode(), schema.name))
                    known = {connection.topic: connection for connection in writer.connections}
                    topics[record.id] = known.get(record.topic) or writer.add_connection(
                        record.topic, schema.name, typestore=types
                    )
                elif isinstance(record, Message) and record.channel_id in topics:
                    writer.write(topics[record.channel_id], record.log_time, record.data)
                    count += 1
        except Exception:  # the damage that was expected: what came before it is what can be had
            return count
    return count


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
