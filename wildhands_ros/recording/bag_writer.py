"""Writes bags: rosbag2 folders with MCAP, their definitions inside, that stay readable when the disk fills up."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import rosbags.interfaces as bag
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.typesys.store import Typestore

from .definitions import learn, typestore

RESERVE = 64 * 2**20
"""Bytes left free on the disk, so that a bag can be completed and the machine goes on working."""
_CHECK_EVERY = 2**20


class DiskFull(OSError):
    """The disk is (nearly) full; what has been written is a complete bag once ``close`` is called."""


class BagWriter:
    """One bag. As a context manager it is completed on leaving, whatever happens."""

    def __init__(self, folder: Path, reserve: int = RESERVE):
        """Makes the new ``folder``.

        :raises OSError: it exists, or cannot be written.
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
            raise FileExistsError(f"{folder} exists already; give the name of a new folder") from error
        except OSError as error:
            raise OSError(f"cannot write to {folder}: {error.strerror}") from error

    def topic(self, name: str, message_type: str, latched: bool = False) -> bag.Connection:
        """A new topic of a type such as ``std_msgs/msg/String``.

        :raises UnknownTypeError: the type's definition is not installed.
        """
        learn(self.types, message_type)
        return self._writer.add_connection(
            name, message_type, typestore=self.types, offered_qos_profiles=[bag_qos(latched)]
        )

    def topic_like(self, name: str, original: bag.Connection, types: Typestore) -> bag.Connection:
        """A new topic as that of another bag, whose definitions are ``types``."""
        qos = getattr(original.ext, "offered_qos_profiles", ())
        return self._writer.add_connection(name, original.msgtype, typestore=types, offered_qos_profiles=qos)

    def write(self, topic: bag.Connection, stamp: int, data: bytes | memoryview) -> None:
        """Adds one serialised message (CDR) received at ``stamp``, nanoseconds.

        :raises DiskFull: there is no room for it; no later message can be written either.
        """
        if self._unchecked >= _CHECK_EVERY:
            self._unchecked = 0
            if (free := shutil.disk_usage(self.folder).free) < self._reserve:
                raise DiskFull(
                    f"only {free // 2**20} MB are left on the disk of {self.folder}: what was recorded before is complete"
                )
        self._unchecked += len(data)
        try:
            self._writer.write(topic, stamp, data)
        except OSError as error:
            self._broken = True
            raise DiskFull(
                f"cannot write to {self.folder}: {error.strerror}; what was recorded before can be read"
            ) from error

    def close(self, notes: dict[str, Any] | None = None) -> None:
        """Completes the bag, with ``notes`` in its metadata under the key wildhands."""
        if self._writer.storage is None:
            return
        if notes:
            self._writer.set_custom_data("wildhands", json.dumps(notes))
        try:
            if self._broken:
                raise OSError("an earlier write failed")
            self._writer.close()
        except OSError:
            # Without index and metadata; ``Bag`` reads such files to where they end.
            self._broken = True
            with suppress(OSError):  # the last buffered bytes find no room either
                self._writer.abort()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def bag_qos(latched: bool) -> bag.Qos:
    """Reliable, and for ``latched`` topics kept for those who come later."""
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
