"""Reads recordings: rosbag2 folders and files (MCAP, sqlite3, zstd) and ROS 1 bags, also if they are damaged."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import TracebackType

import rosbags.interfaces as rosbag
from rosbags.convert import ConverterError, convert
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from ..io.images import InputError
from ..io.yaml_files import YamlFileError
from .bag_metadata import BagMetadata, read_metadata
from .definitions import parsed, typestore
from .message import Message
from .storage import SUFFIXES, StorageFiles, check_file, unpack_file

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
MAX_RECORD = 2**30
"""Bytes. A larger record in a damaged MCAP file is taken for damage too."""


def is_bag(path: Path) -> bool:
    """Returns whether a path looks like a recording, by its name or by the files in the folder."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or bool(_storage_files(path))
    return path.name == "metadata.yaml" or path.suffix.lower() in (*SUFFIXES, ".bag") or _is_packed(path)


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
        self._open_files: StorageFiles | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._counts: dict[str, int] = {}
        self._is_salvaged = self._is_closed = False

    def __enter__(self) -> Bag:
        """Opens the recording.

        Raises:
            InputError: nothing can be read, with the reason.
        """
        if not self.path.exists():
            raise InputError(f"{self.path}: does not exist; give a rosbag2 folder or an .mcap, .db3 or .bag file")
        try:
            self._open_files = self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        if self._open_files is not None:
            self._open_files.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def _files(self) -> StorageFiles:
        if self._open_files is None:
            raise RuntimeError(f"{self.path} is not open: use the bag in a with statement")
        return self._open_files

    @property
    def connections(self) -> list[rosbag.Connection]:
        """The topics: each has ``topic``, ``msgtype`` and ``msgcount``. One in several files has several."""
        return self._files.connections

    @property
    def types(self) -> Typestore:
        """The message definitions of the recording."""
        return self._files.types

    @property
    def start(self) -> int:
        """When the first message was received, in nanoseconds."""
        return self._files.start

    def count(self, topic: str) -> int:
        """Returns the number of messages of a topic according to the index of the recording."""
        return sum(connection.msgcount for connection in self.connections if connection.topic == topic)

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
        # A recording in several files has a connection per file.
        wanted = {(connection.topic, connection.msgtype) for connection in connections or self.connections}
        chosen = [connection for connection in self.connections if (connection.topic, connection.msgtype) in wanted]
        read: Counter[str] = Counter()
        try:
            for item in self._files.messages(chosen, start):
                yield item
                read[item[0].topic] += 1
        except Exception as error:  # the libraries of the storage formats raise all kinds of errors on damaged data
            if isinstance(error, OSError) and not isinstance(error, EOFError):
                raise
            if self._is_closed:
                raise RuntimeError(f"{self.path} is closed: read its messages while it is open") from error
            self._add_problem(
                f"{self.path}: damaged after {read.total()} messages; the rest cannot be read ({_line(error)})"
            )
            return
        if start is None:
            self._compare_counts(read, {topic for topic, _ in wanted})

    def _compare_counts(self, read: Counter[str], topics: Collection[str]) -> None:
        """Reports topics of which fewer messages were read than there should be."""
        if self._is_salvaged:
            return  # This was reported.
        for topic in sorted(topics):
            expected = max(self._counts.get(topic, 0), self.count(topic))
            if read[topic] < expected:
                self._add_problem(
                    f"{self.path}: {topic}: {read[topic]} of {expected} messages could be read; a file of the "
                    "recording is missing or damaged, or metadata.yaml was edited"
                )

    def read(self, connection: rosbag.Connection, data: bytes) -> Message:
        """Deserialises a message.

        Raises:
            InputError: the data do not fit the type.
        """
        try:
            return self.types.deserialize_cdr(data, connection.msgtype)
        except Exception as error:  # code that is generated from the definition meets arbitrary data
            raise InputError(
                f"{self.path}: a message on {connection.topic} ({len(data)} bytes) is not a {connection.msgtype}: "
                f"{_line(error)}"
            ) from error

    def _add_problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _open(self) -> StorageFiles:
        path = self.path.parent if self.path.name == "metadata.yaml" else self.path
        if path.suffix.lower() == ".bag":
            path = self.readable = self._as_ros2(path)
        given = self._storage_files(path)
        readable = [file for number, file in enumerate(given) for file in self._readable_files(file, number)]
        if not readable:
            # The last problem says why; with a single file it is the only one.
            raise InputError(self.problems[-1])
        if readable != given:
            # Other processes open the same files.
            self.readable = self._scratch() / "files"
            self.readable.mkdir()
            for number, file in enumerate(readable):
                (self.readable / f"{number:04d}{file.suffix}").symlink_to(file.absolute())
        files = StorageFiles(readable, typestore())
        for topic, reason in sorted(files.left_out.items()):
            self._add_problem(f"{self.path}: {topic} is left out: {reason}")
        if not self._is_salvaged:
            present = {connection.topic for connection in files.connections} | files.left_out.keys()
            for topic in sorted(topic for topic, count in self._counts.items() if count and topic not in present):
                self._add_problem(
                    f"{self.path}: metadata.yaml counts {self._counts[topic]} messages on {topic}, but the files do "
                    "not have this topic; a file is missing, or metadata.yaml was edited"
                )
        return files

    def _storage_files(self, path: Path) -> list[Path]:
        """Returns the files of the recording, in the order of metadata.yaml if there is one."""
        if not path.is_dir():
            return [path]
        found = _storage_files(path)
        metadata = BagMetadata(found)
        try:
            metadata = read_metadata(path)
        except FileNotFoundError as error:
            if not found:
                raise InputError(
                    f"{path}: no recording in this folder (no metadata.yaml, .mcap or .db3 file){_recordings_in(path)}"
                ) from error
            self._add_problem(
                f"{path}: metadata.yaml is missing, perhaps the recorder was killed; its files are read without it"
            )
        except YamlFileError as error:
            self._add_problem(f"{path}: metadata.yaml cannot be read ({error}); the files are read without it")
        if metadata.warning:
            logging.getLogger("wildhands").warning("wildhands: warning: %s: %s", path, metadata.warning)
        self._counts = metadata.counts
        if not metadata.missing:
            files = metadata.files or found
        elif found:
            files = found  # They may have been renamed.
            self._add_problem(
                f"{path}: {', '.join(metadata.missing)} of metadata.yaml is missing; these files are read: "
                f"{', '.join(file.name for file in found)}"
            )
        else:
            files = []
        if not files:
            missing = ", ".join(metadata.missing) or "any file"
            raise InputError(f"{path}: the recording lacks {missing}: copy it into this folder")
        return files

    def _readable_files(self, file: Path, number: int) -> list[Path]:
        """Returns the file, a readable copy of it, or nothing if it cannot be read."""
        try:
            if _is_packed(file):
                packed, file = file, self._scratch() / f"unpacked_{number}{Path(file.stem).suffix}"
                unpack_file(packed, file)
            if _has_write_ahead_log(file):
                file = _with_write_ahead_log(file, self._scratch() / f"logged_{number}")
            check_file(file)
            if file.suffix.lower() == ".mcap" and _lacks_index(file):
                return self._salvaged(file, number, InputError("its index is incomplete"))
            return [file]
        except PermissionError:
            raise
        except Exception as error:  # errors of sqlite, and errors that malformed data cause
            reason: Exception = error
        if isinstance(reason, InputError):
            self._add_problem(str(reason))
        elif file.suffix.lower() == ".mcap":
            return self._salvaged(file, number, reason)
        else:
            advice = ". `sqlite3 FILE .recover | sqlite3 NEW.db3` may save a part" if file.suffix == ".db3" else ""
            self._add_problem(f"{_in_folder(self.path, file)}: cannot be read: {_line(reason)}{advice}")
        return []

    def _scratch(self) -> Path:
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix=".wildhands-", dir=self._scratch_folder)
        return Path(self._temporary.name)

    def _as_ros2(self, path: Path) -> Path:
        try:
            return self._converted(path)
        except ConverterError as error:
            reason = _line(error)
        # One topic without a usable definition makes the library refuse all of them.
        try:
            copy = self._without_undefined_topics(path)
            if copy is not None:
                return self._converted(copy)
        except Exception as error:  # malformed data cause all kinds of errors
            reason = _line(error)
        raise InputError(
            f"{path}: the ROS 1 bag cannot be read: {reason}. It may be cut off (then repair it: rosbag "
            "reindex) or damaged otherwise"
        )

    def _converted(self, path: Path) -> Path:
        folder = self._scratch() / "ros2"
        store = get_typestore(Stores.ROS2_JAZZY)
        try:
            with Reader1(path) as reader:
                for connection in reader.connections:
                    parsed(connection.msgdef.data, connection.msgtype)
            with redirect_stdout(StringIO()):
                convert([path], folder, "mcap", 8, "zstd", "storage", None, store, (), (), (), ())
        except ConverterError:
            raise
        except Exception as error:  # malformed data cause all kinds of errors
            raise ConverterError(f"{type(error).__name__}: {_line(error)}") from error
        if not folder.is_dir():
            raise InputError(f"{self.path}: the ROS 1 bag holds no messages")
        return folder

    def _without_undefined_topics(self, path: Path) -> Path | None:
        """Copies a ROS 1 bag without the topics whose definitions do not agree with their hashes; None if all do."""
        copy = self._scratch() / "defined.bag"
        with Reader1(path) as reader, Writer1(copy) as writer:
            kept = {}
            for connection in reader.connections:
                if _is_defined(connection):
                    kept[connection.id] = writer.add_connection(
                        connection.topic,
                        connection.msgtype,
                        msgdef=connection.msgdef.data,
                        md5sum=connection.digest,
                    )
                else:
                    self._add_problem(
                        f"{path}: {connection.topic} is left out: the definition of {connection.msgtype} in the bag is "
                        "empty, impossible or does not agree with its hash"
                    )
            if len(kept) == len(reader.connections):
                return None
            chosen = [connection for connection in reader.connections if connection.id in kept]
            for connection, received, data in reader.messages(connections=chosen) if chosen else ():
                writer.write(kept[connection.id], received, data)
        return copy

    def _salvaged(self, file: Path, number: int, reason: Exception) -> list[Path]:
        """Copies what can be read of an MCAP file without an index into one with an index."""
        folder = self._scratch() / f"salvaged_{number}"
        with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            salvaged = _salvage(file, writer)
        name, count = _in_folder(self.path, file), salvaged.count
        for topic, encoding in sorted(salvaged.foreign.items()):
            self._add_problem(f"{name}: {topic} is left out: its messages are {encoding}, not those of ROS 2 (cdr)")
        if not count and salvaged.foreign:
            self._add_problem(f"{name}: there are no messages of ROS 2 in this file")
            return []
        if not count:
            self._add_problem(f"{name}: cannot be read, and no message can be salvaged: {_line(reason)}")
            return []
        self._is_salvaged = True
        if not salvaged.is_complete:
            self._add_problem(
                f"{name}: {count} messages could be read; the rest is cut off or damaged, perhaps because the recorder "
                f"was killed or the disk was full ({_line(reason)})"
            )
        return [folder / f"{folder.name}.mcap"]


def _in_folder(recording: Path, file: Path) -> str:
    """Returns the name of a file of a recording for a message."""
    return f"{recording}/{file.name}" if recording.is_dir() else str(recording)


def _is_packed(file: Path) -> bool:
    return file.suffix.lower() == ".zstd" and Path(file.stem).suffix.lower() in SUFFIXES


def _is_defined(connection: rosbag.Connection) -> bool:
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(parsed(connection.msgdef.data, connection.msgtype))
        return store.generate_msgdef(connection.msgtype)[1] == connection.digest
    except Exception:  # the parsers of definitions raise all kinds of errors
        return False


def _lacks_index(file: Path) -> bool:
    """Returns whether the summary of an MCAP file does not lead to its messages.

    rosbags trusts a summary without channels or message indexes, which other writers leave out, and finds no message.
    """
    from mcap.reader import SeekingReader

    with file.open("rb") as stream:
        try:
            summary = SeekingReader(stream, record_size_limit=MAX_RECORD).get_summary()
        except Exception:  # the file is damaged, which rosbags has overlooked so far
            return False
    if summary is None:
        return False  # rosbags reads such files from the beginning
    if summary.statistics is not None and not summary.statistics.message_count:
        return False  # there is nothing to lead to
    if not summary.channels:
        return True
    return any(not chunk.message_index_offsets for chunk in summary.chunk_indexes)


@dataclass
class _Salvaged:
    """What ``_salvage`` has copied."""

    count: int = 0
    """Number of messages."""
    is_complete: bool = False
    """Whether the file was read to its end."""
    foreign: dict[str, str] = field(default_factory=dict)
    """Topics whose messages are not encoded as ROS 2 does, with their encoding."""


def _salvage(file: Path, writer: Writer) -> _Salvaged:
    """Copies the ROS 2 messages before the end or the damage of an MCAP file."""
    from mcap import records
    from mcap.stream_reader import StreamReader

    salvaged = _Salvaged()
    schemas: dict[int, records.Schema] = {}
    topics: dict[int, rosbag.Connection] = {}
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, record_size_limit=MAX_RECORD).records:
                if isinstance(record, records.Schema):
                    schemas[record.id] = record
                elif isinstance(record, records.Channel) and record.id not in topics:
                    if record.message_encoding != "cdr":
                        salvaged.foreign[record.topic] = record.message_encoding or "of an unknown encoding"
                        continue
                    schema = schemas[record.schema_id]
                    types = get_typestore(Stores.EMPTY)
                    types.register(parsed(schema.data.decode(), schema.name))
                    known = {connection.topic: connection for connection in writer.connections}
                    topics[record.id] = known.get(record.topic) or writer.add_connection(
                        record.topic, schema.name, typestore=types
                    )
                elif isinstance(record, records.Message) and record.channel_id in topics:
                    writer.write(topics[record.channel_id], record.log_time, record.data)
                    salvaged.count += 1
        except Exception:  # the damage, which is expected: the messages before it are all that can be salvaged
            return salvaged
    salvaged.is_complete = True
    return salvaged


def _has_write_ahead_log(file: Path) -> bool:
    log = file.with_name(f"{file.name}-wal")
    return file.suffix == ".db3" and log.is_file() and log.stat().st_size > 0


def _with_write_ahead_log(file: Path, folder: Path) -> Path:
    """Copies a database into a folder together with what a killed recorder has left in its write-ahead log."""
    folder.mkdir()
    copy = folder / file.name
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
    with closing(sqlite3.connect(copy)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return copy


def _recordings_in(folder: Path) -> str:
    """Returns what to do with a folder of recordings, or nothing if it holds none."""
    found = sorted(each.name for each in folder.iterdir() if each.is_dir() and is_bag(each))
    return f", but in its folders {', '.join(found[:5])}{' ...' * (len(found) > 5)}: give one of these" if found else ""


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES or _is_packed(file))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
