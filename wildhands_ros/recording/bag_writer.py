"""Writes rosbag2 folders with MCAP files.

They contain the message definitions, and stay readable if the disk fills up.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import rosbags.interfaces as bag
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.typesys.store import Typestore

from .definitions import learn, typestore

RESERVE = 64 * 2**20
"""Bytes left free on the disk, so that the bag can be completed and the machine keeps working."""
_CHECK_EVERY = 2**20


class DiskFull(OSError):
    """The disk is (nearly) full. ``close`` completes the bag with the messages written so far."""


class BagWriter:
    """One bag. As a context manager it completes the bag on leaving, also after an error."""

    def __init__(self, folder: Path, reserve: int = RESERVE):
        """Creates the bag.

        Args:
            folder: the new folder.
            reserve: bytes to leave free on the disk.

        Raises:
            OSError: the folder exists or cannot be written.
        """
        self.folder = folder
        self.types: Typestore = typestore()
        self._reserve, self._unchecked = reserve, _CHECK_EVERY
        self._broken = False
        try:
            self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except WriterError as error:
            raise FileExistsError(f"{folder} already exists; choose another name") from error
        except OSError as error:
            raise OSError(f"cannot write to {folder}: {error.strerror}") from error

    def topic(self, name: str, message_type: str, latched: bool = False) -> bag.Connection:
        """Adds a topic.

        Args:
            name: name of the topic.
            message_type: such as ``std_msgs/msg/String``.
            latched: whether the topic is offered with transient local durability.

        Raises:
            UnknownTypeError: the definition of the type is not installed.
        """
        learn(self.types, message_type)
        return self._writer.add_connection(
            name, message_type, typestore=self.types, offered_qos_profiles=[bag_qos(latched)]
        )

    def topic_like(self, name: str, original: bag.Connection, types: Typestore) -> bag.Connection:
        """Adds a topic with the type and QoS of a topic of another bag, whose message definitions are ``types``."""
        qos = getattr(original.ext, "offered_qos_profiles", ())
        return self._writer.add_connection(name, original.msgtype, typestore=types, offered_qos_profiles=qos)

    def write(self, topic: bag.Connection, stamp: int, data: bytes | memoryview) -> None:
        """Writes one message.

        Args:
            topic: what ``topic`` or ``topic_like`` returned.
            stamp: time of receipt in nanoseconds.
            data: the serialised message (CDR).

        Raises:
            DiskFull: there is no space for it. Later messages cannot be written either.
        """
        if self._unchecked >= _CHECK_EVERY:
            self._unchecked = 0
            if (free := shutil.disk_usage(self.folder).free) < self._reserve:
                raise DiskFull(
                    f"only {free // 2**20} MB are left on the disk of {self.folder}; the recording so far is complete"
                )
        self._unchecked += len(data)
        try:
            self._writer.write(topic, stamp, data)
        except OSError as error:
            self._broken = True
            raise DiskFull(
                f"cannot write to {self.folder}: {error.strerror}; the recording so far can be read"
            ) from error

    def close(self, notes: dict[str, object] | None = None) -> None:
        """Completes the bag, with ``notes`` (JSON data) under the key ``wildhands`` of its metadata."""
        if self._writer.storage is None:
            return
        if notes:
            self._writer.set_custom_data("wildhands", json.dumps(notes))
        try:
            if self._broken:
                raise OSError("an earlier write failed")
            self._writer.close()
        except OSError:
            # The file has no index and the folder no metadata; ``Bag`` reads such files up to their end.
            self._broken = True
            with suppress(OSError):  # there is no space for the last buffered bytes either
                self._writer.abort()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def bag_qos(latched: bool) -> bag.Qos:
    """Returns the QoS that a topic is recorded with: reliable, and transient local if ``latched``."""
    never = bag.QosTime(0x7FFFFFFF, 0xFFFFFFFF)
    return bag.Qos(
        history=bag.QosHistory.KEEP_LAST,
        depth=10,
        reliability=bag.QosReliability.RELIABLE,
        durability=bag.QosDurability.TRANSIENT_LOCAL if latched else bag.QosDurability.VOLATILE,
        deadline=never,
        lifespan=never,
        liveliness=bag.QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=never,
        avoid_ros_namespace_conventions=False,
    )
