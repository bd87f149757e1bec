"""Reads recordings: rosbag2 folders and files (MCAP, sqlite3) and ROS 1 bags, also if they are cut off."""

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
from .message import Message

SUFFIXES = (".mcap", ".db3", ".bag")
IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
MAX_RECORD = 2**30
"""Bytes. A larger record in a damaged MCAP file is taken for damage too."""


def is_bag(path: Path) -> bool:
    """Returns whether a path looks like a recording, by its name or by the files in the folder."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.suffix.lower() in SUFFIXES


class Bag:
    """A context manager that opens one recording.

    All messages are ROS 2 messages (CDR); those of a ROS 1 bag are converted.

    Attributes:
        path: the recording.
        readable: the recording or a readable copy of it, which other processes can open while this bag is open.
        problems: what could not be read, one sentence each.
    """

    def __init__(self, path: Path, scratch: Path | None = None):
        """Does not open the recording yet.

        Args:
            path: the recording.
            scratch: folder for a temporary copy, if the recording must be converted or salvaged; None for the
                system's default.
        """
        self.path = self.readable = path
        self.problems: list[str] = []
        self._scratch_folder = scratch
        self._open_reader: AnyReader | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Bag:
        """Opens the recording.

        Raises:
            InputError: nothing can be read, with the reason.
        """
        if not self.path.exists():
            raise InputError(f"{self.path}: does not exist; give a rosbag2 folder or an .mcap, .db3 or .bag file")
        try:
            self._open_reader = self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open_reader is not None:
            self._open_reader.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def _reader(self) -> AnyReader:
        if self._open_reader is None:
            raise RuntimeError(f"{self.path} is not open: use the bag in a with statement")
        return self._open_reader

    @property
    def connections(self) -> list[rosbag.Connection]:
        """The topics: each has ``topic``, ``msgtype`` and ``msgcount``."""
        return self._reader.connections

    @property
    def types(self) -> Typestore:
        """The message definitions of the recording."""
        return self._reader.typestore

    @property
    def start(self) -> int:
        """When the first message was received, in nanoseconds."""
        return self._reader.start_time

    def count(self, topic: str) -> int:
        """Returns the number of messages of a topic according to the index of the recording."""
        return self._reader.topics[topic].msgcount

    def of_type(self, *kinds: str) -> list[rosbag.Connection]:
        """Returns the topics of these message types."""
        return [connection for connection in self.connections if connection.msgtype in kinds]

    def messages(
        self, connections: Collection[rosbag.Connection] = (), start: int | None = None
    ) -> Iterator[tuple[rosbag.Connection, int, bytes]]:
        """Yields topic, time of receipt in nanoseconds and data of each message, in the order of receipt.

        A damaged end is added to ``problems`` and raises no error.

        Args:
            connections: the topics; all topics if empty.
            start: time of the first message in nanoseconds; None for the start of the recording.
        """
        count = 0
        if connections:
            # A recording in several files has a connection per file.
            wanted = {(connection.topic, connection.msgtype) for connection in connections}
            connections = [
                connection for connection in self.connections if (connection.topic, connection.msgtype) in wanted
            ]
        try:
            for item in self._reader.messages(connections=connections, start=start):
                yield item
                count += 1
        except Exception as error:  # the libraries of the storage formats raise all kinds of errors on damaged data
            if isinstance(error, OSError) and not isinstance(error, EOFError):
                raise
            self._add_problem(f"{self.path}: damaged after {count} messages; the rest cannot be read ({_line(error)})")

    def read(self, connection: rosbag.Connection, data: bytes) -> Message:
        """Deserialises a message."""
        return self.types.deserialize_cdr(data, connection.msgtype)

    def _add_problem(self, text: str) -> None:
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
            self._add_problem(
                f"{path}: metadata.yaml is missing, perhaps the recorder was killed; its files are read without it"
            )
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
        except Exception as error:  # errors of sqlite, and errors that malformed data causes
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
            raise InputError(
                f"{path}: the ROS 1 bag cannot be read: {_line(error)}. If it was cut off, repair it: rosbag reindex"
            ) from error
        if not folder.is_dir():
            raise InputError(f"{path}: the ROS 1 bag holds no messages")
        return folder

    def _salvaged(self, files: list[Path], reason: Exception) -> AnyReader:
        """Copies what can be read of MCAP files without an index into a bag with an index, and opens that."""
        folder = self._scratch() / "salvaged"
        count = 0
        with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            for file in files:
                count += _salvage(file, writer)
        if not count:
            raise InputError(f"{self.path}: cannot be read, and no message can be salvaged: {_line(reason)}")
        self.readable = folder
        self._add_problem(f"{self.path}: the recording is cut off; {count} messages could be read")
        return _opened([folder])


def _opened(paths: list[Path]) -> AnyReader:
    # Bags of older distributions contain no definitions: use the installed ones.
    reader = AnyReader(paths, default_typestore=typestore())
    reader.open()
    return reader


def _salvage(file: Path, writer: Writer) -> int:
    """Copies the messages before the end or the damage of a file and returns their number."""
    from mcap import records
    from mcap.stream_reader import StreamReader

    count = 0
    schemas: dict[int, records.Schema] = {}
    topics: dict[int, rosbag.Connection] = {}
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, record_size_limit=MAX_RECORD).records:
                if isinstance(record, records.Schema):
                    schemas[record.id] = record
                elif isinstance(record, records.Channel) and record.id not in topics:
                    schema = schemas[record.schema_id]
                    types = get_typestore(Stores.EMPTY)
                    types.register(get_types_from_msg(schema.data.decode(), schema.name))
                    known = {connection.topic: connection for connection in writer.connections}
                    topics[record.id] = known.get(record.topic) or writer.add_connection(
                        record.topic, schema.name, typestore=types
                    )
                elif isinstance(record, records.Message) and record.channel_id in topics:
                    writer.write(topics[record.channel_id], record.log_time, record.data)
                    count += 1
        except Exception:  # the damage, which is expected: the messages before it are all that can be salvaged
            return count
    return count


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
