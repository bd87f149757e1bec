"""Bags: writing, reading all formats, damage, full disks, and episodes."""

from __future__ import annotations

import bz2
import re
import resource
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags")

import lz4.frame
from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag1 import reader as rosbag1_reader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, storage_mcap
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from wildhands_ros.io.images import InputError
from wildhands_ros.recording import storage
from wildhands_ros.recording.bag_writer import BagWriter, DiskFull
from wildhands_ros.recording.bags import Bag, is_bag
from wildhands_ros.recording.definitions import UnknownTypeError, learn, typestore
from wildhands_ros.recording.episodes import DISCARD, START, STOP, EpisodeBook, EpisodeError, Mark, episodes

zstd = storage.zstd
SECOND = 10**9
TEXT = "std_msgs/msg/String"


def strings(store, count: int, length: int = 20):
    kind = store.types[TEXT]
    rng = np.random.default_rng(0)
    for number in range(count):
        # Random data, so that compression does not shrink large messages.
        yield number, store.serialize_cdr(kind(data=f"{number} " + rng.bytes(length).hex()), TEXT)


def write_mcap(folder: Path, count: int = 50, length: int = 20, **options) -> Path:
    with BagWriter(folder, **options) as writer:
        topic = writer.topic("/text", TEXT)
        for number, data in strings(writer.types, count, length):
            writer.write(topic, SECOND + number, data)
    return folder


def write_sqlite(folder: Path, count: int = 50) -> Path:
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic = writer.add_connection("/text", TEXT, typestore=store)
        for number, data in strings(store, count):
            writer.write(topic, SECOND + number, data)
    return folder


def write_ros1(file: Path, count: int = 50) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(file) as writer:
        topic = writer.add_connection("/text", TEXT, typestore=store)
        for number in range(count):
            writer.write(topic, SECOND + number, store.serialize_ros1(store.types[TEXT](data=f"{number} text"), TEXT))
    return file


def numbers(path: Path) -> tuple[list[int], list[str]]:
    with Bag(path) as bag:
        return [int(bag.read(topic, data).data.split()[0]) for topic, _, data in bag.messages()], bag.problems


@pytest.mark.parametrize("write", [write_mcap, write_sqlite, write_ros1])
def test_all_formats_are_read_in_order(tmp_path, write):
    path = write(tmp_path / f"recording{'.bag' if write is write_ros1 else ''}")
    assert is_bag(path) and numbers(path) == (list(range(50)), [])
    if path.is_dir():
        (file,) = (file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
        assert numbers(file) == (list(range(50)), [])


def test_the_mcap_library_reads_complete_definitions(tmp_path):
    mcap = pytest.importorskip("mcap.reader")
    with BagWriter(tmp_path / "bag") as writer:
        writer.topic("/hands", "wildhands_ros/msg/HandArray")
    with open(tmp_path / "bag" / "bag.mcap", "rb") as stream:
        (schema,) = mcap.make_reader(stream).get_summary().schemas.values()
    assert schema.name == "wildhands_ros/msg/HandArray" and schema.encoding == "ros2msg"
    for part in (
        "wildhands_ros/Hand",
        "wildhands_ros/ManoParams",
        "wildhands_ros/Grasp",
        "std_msgs/Header",
        "geometry_msgs/PoseWithCovariance",
    ):
        assert f"MSG: {part}" in schema.data.decode()


def test_an_existing_folder_is_not_overwritten(tmp_path):
    write_mcap(tmp_path / "bag")
    with pytest.raises(FileExistsError, match="already exists"):
        BagWriter(tmp_path / "bag")


def test_an_unknown_message_type_is_rejected_by_name():
    pytest.importorskip("ament_index_python")
    with pytest.raises(UnknownTypeError, match="no_such_msgs"):
        learn(typestore(), "no_such_msgs/msg/Unknown")


def test_a_type_that_one_store_learns_stays_there():
    store = typestore()
    store.register(get_types_from_msg("string text", "my_msgs/msg/Note"))
    assert "my_msgs/msg/Note" in store.types and "my_msgs/msg/Note" not in typestore().types


# Damage


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_mcap_file_is_read_up_to_its_end(tmp_path, share):
    folder = write_mcap(tmp_path / "bag", count=400, length=8000)
    file = folder / "bag.mcap"
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    read, problems = numbers(folder)
    assert read == list(range(len(read))) and 0.5 * share * 400 < len(read) < 400
    assert len(problems) == 1 and "cut off" in problems[0]


def test_the_bag_of_a_killed_recorder_is_read(tmp_path):
    folder = write_mcap(tmp_path / "bag")
    (folder / "metadata.yaml").unlink()
    read, problems = numbers(folder)
    assert read == list(range(50)) and "metadata.yaml is missing" in problems[0]


def test_a_topic_in_several_files_is_read_as_one(tmp_path):
    folder = write_mcap(tmp_path / "split")
    (folder / "metadata.yaml").unlink()
    (folder / "split.mcap").rename(folder / "split_0.mcap")
    with BagWriter(tmp_path / "later") as writer:
        topic = writer.topic("/text", TEXT)
        for number, data in strings(writer.types, 30):
            writer.write(topic, 2 * SECOND + number, data)
    shutil.move(tmp_path / "later" / "later.mcap", folder / "split_1.mcap")
    with Bag(folder) as bag:
        chosen = bag.of_type(TEXT)[-1]
        assert bag.count("/text") == 80 and len(list(bag.messages([chosen]))) == 80


@pytest.mark.parametrize("write", [write_mcap, write_sqlite, write_ros1])
@pytest.mark.parametrize("size", [0, 10, 3000])
def test_an_unreadable_bag_is_rejected_by_name(tmp_path, write, size):
    path = write(tmp_path / f"recording{'.bag' if write is write_ros1 else ''}", count=1000)
    file = path if path.is_file() else next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[:size])
    try:
        read, problems = numbers(path)
    except InputError as error:
        assert "recording" in str(error) and "cannot be read" in str(error)
    else:
        assert len(read) < 1000 and problems


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_other_files_are_rejected(tmp_path, content):
    path = tmp_path / "recording.mcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"recording\.mcap"):
        numbers(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no recording in this folder"):
        numbers(tmp_path / "folder")


# Metadata that does not agree with the files


def edit_metadata(folder: Path, old: str, new: str) -> None:
    file = folder / "metadata.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def read_counts(path: Path) -> tuple[dict[str, int], list[str]]:
    with Bag(path) as bag:
        return Counter(topic.topic for topic, _, _ in bag.messages()), bag.problems


def test_an_edited_qos_loses_no_message(tmp_path):
    folder = write_mcap(tmp_path / "bag")
    edit_metadata(folder, "reliability: 1", "reliability: 2")
    assert numbers(folder) == (list(range(50)), [])


def test_a_newer_version_of_the_metadata_is_a_warning(tmp_path, caplog):
    folder = write_mcap(tmp_path / "bag")
    edit_metadata(folder, "version: 8", "version: 12")
    assert numbers(folder) == (list(range(50)), [])
    assert "version 12" in caplog.text


@pytest.mark.parametrize("write", [write_mcap, write_sqlite])
def test_a_missing_split_is_named_and_the_rest_is_read(tmp_path, write):
    folder = write(tmp_path / "bag")
    (file,) = (file.name for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))
    edit_metadata(folder, f"  - {file}", f"  - {file}\n  - bag_1.mcap")
    read, problems = numbers(folder)
    assert read == list(range(50)) and len(problems) == 1 and "bag_1.mcap" in problems[0]
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"lacks {file}, bag_1.mcap"):
        numbers(folder)


def test_messages_in_the_write_ahead_log_of_a_killed_recorder_are_read(tmp_path):
    """https://github.com/ros2/rosbag2/issues/521: such files lie beside the database."""
    folder = write_sqlite(tmp_path / "bag")
    (file,) = folder.glob("*.db3")
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT INTO messages SELECT id + 100, topic_id, timestamp + 100, data FROM messages")
        database.commit()
        shutil.copytree(folder, tmp_path / "killed")  # before the log is merged
    files = {path.name: path.read_bytes() for path in (tmp_path / "killed").iterdir()}
    assert read_counts(tmp_path / "killed") == ({"/text": 100}, [])
    assert {path.name: path.read_bytes() for path in (tmp_path / "killed").iterdir()} == files


def test_the_table_of_topics_of_old_distributions_is_read(tmp_path):
    """https://github.com/ros2/rosbag2/issues/1089: Eloquent wrote no QoS."""
    folder = write_sqlite(tmp_path / "bag")
    (file,) = folder.glob("*.db3")
    with closing(sqlite3.connect(file)) as database:
        database.executescript(
            "CREATE TABLE old AS SELECT id, name, type, serialization_format FROM topics; DROP TABLE topics;"
            "ALTER TABLE old RENAME TO topics; DROP TABLE IF EXISTS schema; DROP TABLE IF EXISTS metadata;"
        )
    assert read_counts(folder) == ({"/text": 50}, [])


def test_a_topic_without_messages_is_no_problem(tmp_path):
    """https://github.com/ros2/rosbag2/issues/1719"""
    folder = tmp_path / "bag"
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topic = writer.add_connection("/text", TEXT, typestore=store)
        writer.add_connection("/silent", TEXT, typestore=store)
        for number, data in strings(store, 5):
            writer.write(topic, SECOND + number, data)
    assert read_counts(folder) == ({"/text": 5}, [])


def test_compressed_splits_without_metadata_are_read(tmp_path):
    """https://github.com/ros2/rosbag2/issues/990 and 395."""
    folder = write_sqlite(tmp_path / "bag")
    (file,) = folder.glob("*.db3")
    file.with_suffix(".db3.zstd").write_bytes(zstd.compress(file.read_bytes()))
    file.unlink()
    (folder / "metadata.yaml").unlink()
    counts, (problem,) = read_counts(folder)
    assert counts == {"/text": 50} and "metadata.yaml is missing" in problem


def test_a_recording_is_found_by_its_metadata_and_beside_others(tmp_path):
    folder = write_mcap(tmp_path / "with a space 手")
    assert is_bag(folder / "metadata.yaml")
    assert read_counts(folder / "metadata.yaml") == ({"/text": 50}, [])
    with pytest.raises(InputError, match="in its folders with a space 手: give one of these"), Bag(tmp_path):
        pass


def test_a_malformed_database_is_refused_with_advice(tmp_path):
    """https://github.com/ros2/rosbag2/issues/521 and 1029."""
    folder = write_sqlite(tmp_path / "bag")
    (file,) = folder.glob("*.db3")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"malformed.*sqlite3 FILE \.recover"), Bag(folder):
        pass


def test_renamed_files_are_read(tmp_path):
    folder = write_mcap(tmp_path / "bag")
    (folder / "bag.mcap").rename(folder / "other.mcap")
    read, problems = numbers(folder)
    assert read == list(range(50)) and "bag.mcap" in problems[0] and "other.mcap" in problems[0]


def test_fewer_messages_than_counted_are_a_problem(tmp_path):
    folder = write_mcap(tmp_path / "bag")
    edit_metadata(folder, "message_count: 50", "message_count: 60")
    _, problems = numbers(folder)
    assert len(problems) == 1 and "/text: 50 of 60 messages" in problems[0]


def test_a_topic_that_only_the_metadata_knows_is_a_problem(tmp_path):
    folder = write_mcap(tmp_path / "bag")
    edit_metadata(folder, "name: /text", "name: /txt")
    _, problems = numbers(folder)
    assert len(problems) == 1 and "/txt" in problems[0]


@pytest.mark.parametrize(
    "content",
    [
        "a: [",
        "a: &a [1]\nb: {<<: *a}",
        "[" * 5000,
        "text",
        "rosbag2_bagfile_information: 3",
        "rosbag2_bagfile_information: {relative_file_paths: [bag.mcap], version: .inf}",
    ],
)
def test_damaged_metadata_is_not_needed(tmp_path, content):
    folder = write_mcap(tmp_path / "bag")
    (folder / "metadata.yaml").write_text(content)
    read, problems = numbers(folder)
    assert read == list(range(50)) and len(problems) == 1 and "metadata.yaml" in problems[0]


# Files of other writers, from public reports


def write_other(file: Path, channels: list[tuple[str, str, bytes, str, bytes]], **options) -> Path:
    """Writes one message for each channel: type, encoding of the schema, schema, encoding and data of the message."""
    mcap = pytest.importorskip("mcap.writer")
    with file.open("wb") as stream:
        writer = mcap.Writer(stream, **options)
        writer.start(profile="ros2")
        for number, (kind, schema_encoding, schema, encoding, data) in enumerate(channels):
            channel = writer.register_channel(
                f"/topic_{number}", encoding, writer.register_schema(kind, schema_encoding, schema)
            )
            writer.add_message(channel, SECOND + number, data, SECOND + number)
        writer.finish()
    return file


def text_channel(encoding: str = "ros2msg", schema: bytes = b"string data\n") -> tuple[str, str, bytes, str, bytes]:
    store = typestore()
    return TEXT, encoding, schema, "cdr", bytes(store.serialize_cdr(store.types[TEXT](data="hello"), TEXT))


IDL = b"module std_msgs { module msg { struct String { string data; }; }; };"
EMPTY = ("std_msgs/msg/Empty", "ros2msg", b"", "cdr", b"\0\1\0\0\0")
FOREIGN = {
    "protobuf": ("foxglove.Pose", "protobuf", b"x", "protobuf", b"x"),
    "json": ("Thing", "jsonschema", b"{}", "json", b"{}"),
}


def read_topics(file: Path) -> tuple[list[str], list[str]]:
    with Bag(file) as bag:
        names = [topic.topic for topic, _, data in bag.messages() if bag.read(topic, data) is not None]
        return names, bag.problems


@pytest.mark.parametrize("name", FOREIGN)
def test_topics_of_other_formats_are_left_out_and_named(tmp_path, name):
    """ros2/rosbag2#1245, #1847: recordings of several formats."""
    names, problems = read_topics(write_other(tmp_path / "a.mcap", [FOREIGN[name], text_channel()]))
    assert names == ["/topic_1"] and len(problems) == 1
    assert "/topic_0 is left out" in problems[0] and name in problems[0]
    write_other(tmp_path / "only.mcap", [FOREIGN[name]])
    with pytest.raises(InputError, match="no messages of ROS 2"):
        Bag(tmp_path / "only.mcap").__enter__()


@pytest.mark.parametrize(
    "channel", [text_channel("", b""), text_channel("ros2idl", IDL), text_channel("omgidl", IDL), EMPTY]
)
def test_schemas_of_every_kind(tmp_path, channel):
    """foxglove/mcap#943 (Empty), ros-tooling/rosbag2_storage_mcap#70 (none), sensmore/kappe#2, ros2/rosbag2#1826."""
    assert read_topics(write_other(tmp_path / "a.mcap", [channel, text_channel()])) == (["/topic_0", "/topic_1"], [])


@pytest.mark.parametrize(
    "options",
    [
        {"index_types": 1},
        {"index_types": 4},
        {"use_chunking": False},
        {"chunk_size": 10},
        {"use_summary_offsets": False, "use_statistics": False, "repeat_channels": False, "repeat_schemas": False},
    ],
    ids=["no index", "chunks only", "no chunks", "messages larger than a chunk", "no channels"],
)
def test_indexes_of_every_kind(tmp_path, options):
    """ros2/rosbag2#2040, facontidavide/cloudini#15: "cannot read MCAP in time order with no message indexes"."""
    mcap = pytest.importorskip("mcap.writer")
    if "index_types" in options:
        options = {"index_types": mcap.IndexType(options["index_types"])}
    file = write_other(tmp_path / "a.mcap", [text_channel()] * 5, **options)
    assert read_topics(file) == ([f"/topic_{number}" for number in range(5)], [])


# Types


def test_a_topic_without_definition_is_left_out_and_named(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("float64 value", "camera_msgs/msg/Metadata"))
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        known = writer.add_connection("/text", TEXT, typestore=store)
        unknown = writer.add_connection("/metadata", "camera_msgs/msg/Metadata", typestore=store)
        for number, data in strings(store, 5):
            writer.write(known, SECOND + number, data)
            writer.write(unknown, SECOND + number, b"\0\1\0\0" + bytes(8))
    # As recorders before Jazzy write it.
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3")) as file, file:
        file.execute("DELETE FROM message_definitions")
        file.execute("UPDATE topics SET type_description_hash = ''")
    edit_metadata(tmp_path / "bag", "type_description_hash", "unused")
    counts, problems = read_counts(tmp_path / "bag")
    assert (
        counts == {"/text": 5} and len(problems) == 1 and "/metadata is left out: camera_msgs/msg/Meta" in problems[0]
    )


def test_a_ros1_topic_with_an_empty_definition_is_left_out_and_named(tmp_path):
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(tmp_path / "old.bag") as writer:
        good = writer.add_connection("/text", TEXT, typestore=store)
        bad = writer.add_connection("/thing", "robot_msgs/msg/Thing", msgdef="", md5sum="a" * 32)
        for number in range(5):
            writer.write(good, SECOND + number, store.serialize_ros1(store.types[TEXT](data=f"{number} text"), TEXT))
            writer.write(bad, SECOND + number, b"1234")
    read, problems = numbers(tmp_path / "old.bag")
    assert read == list(range(5)) and len(problems) == 1 and "/thing is left out" in problems[0]


def test_wrong_data_are_an_error_of_the_input(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        topic = writer.topic("/text", TEXT)
        for number, data in enumerate((b"", b"\0\1\0\0\xff\xff\xff\xff", b"\0\1\0\0\2\0\0\0\xff\xff")):
            writer.write(topic, number, data)
    with Bag(tmp_path / "bag") as bag:
        for topic, _, data in bag.messages():
            with pytest.raises(InputError, match="/text.*String"):
                bag.read(topic, data)


# Compression


@pytest.mark.parametrize("alone", [False, True])
def test_a_compressed_file_is_read(tmp_path, alone):
    folder = write_sqlite(tmp_path / "bag")
    packed = folder / "bag.db3.zstd"
    packed.write_bytes(zstd.compress((folder / "bag.db3").read_bytes()))
    (folder / "bag.db3").unlink()
    edit_metadata(folder, "- bag.db3", "- bag.db3.zstd")
    assert is_bag(packed)
    assert numbers(packed if alone else folder) == (list(range(50)), [])


def test_compressed_messages_are_read(tmp_path):
    store = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        topic = writer.add_connection("/text", TEXT, typestore=store)
        for number, data in strings(store, 50):
            writer.write(topic, SECOND + number, data)
    assert numbers(tmp_path / "bag") == (list(range(50)), [])


def test_what_unfolds_without_bounds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MAX_UNPACKED", 2**20)
    monkeypatch.setattr(storage, "_FREE_SIZE", 2**20)
    (tmp_path / "a.db3.zstd").write_bytes(zstd.compress(bytes(200 * 2**20)))
    with pytest.raises(InputError, match=r"a\.db3\.zstd: unfolds to more than"):
        numbers(tmp_path / "a.db3.zstd")
    assert storage.unpacked(zstd.compress(b"text")) == b"text"
    with pytest.raises(InputError, match="unfold"):
        storage.unpacked(zstd.compress(bytes(2**21)))
    for name, packed in (("zstd", zstd.compress(bytes(2**21))), ("lz4", lz4.frame.compress(bytes(2**21)))):
        with pytest.raises(InputError):
            storage_mcap.DECOMPRESSORS[name](packed, 2**21)
    for name, module in (("bz2", bz2), ("lz4", lz4.frame)):
        unpack = rosbag1_reader.decompressors[name]
        assert unpack(module.compress(b"te") + module.compress(b"xt")) == b"text"
        for packed in (module.compress(bytes(2**21)), module.compress(bytes(2**20)) * 2):
            with pytest.raises(InputError, match="unfold"):
                unpack(packed)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE messages (id INTEGER, topic_id INTEGER, timestamp INTEGER, data BLOB AS (zeroblob(900000000)))",
        "CREATE VIEW messages AS SELECT id, topic_id, timestamp, zeroblob(900000000) AS data FROM old",
        "CREATE VIEW Schema AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c",
    ],
)
def test_a_database_that_computes_its_tables_is_refused(tmp_path, change):
    """A few bytes would stand for any amount of data, or for work without end."""
    file = next(write_sqlite(tmp_path / "bag").glob("*.db3"))
    with closing(sqlite3.connect(file)) as database:
        database.execute(f"ALTER TABLE {'messages' if 'messages' in change else 'schema'} RENAME TO old")
        database.execute(change)
        database.commit()
    with pytest.raises(InputError, match=r"\.db3: its table \w+ is computed"):
        numbers(file)


@pytest.mark.parametrize("name", ["run #3", "run?", "100%", "a%62", "ä"])
def test_a_database_is_read_whatever_its_name(tmp_path, name):
    """SQLite opens files by URIs, in which some characters mean something else: a%62 would be the file ab."""
    write_sqlite(tmp_path / "ab")
    write_sqlite(tmp_path / "bag", count=2)
    (tmp_path / name).mkdir()
    file = (tmp_path / "bag" / "bag.db3").rename(tmp_path / name / f"{name}.db3")
    (tmp_path / name / "ab.db3").symlink_to(tmp_path / "ab" / "ab.db3")
    assert numbers(file) == ([0, 1], [])


MANY_LINES = "# a\n" * 20_000 + "uint8 a\n"
PART = "=" * 80 + "\nMSG: a/Part\n"


@pytest.mark.parametrize(
    ("encoding", "definition"),
    [
        ("ros2msg", MANY_LINES),
        ("ros2msg", "string[1000000000] a\n"),
        ("ros2msg", f"a/Part[1000000000] a\n{PART}uint8 a\n"),
        ("ros2msg", f"a/Part[10] a\n{PART}uint8[0] a\n"),
        ("ros2idl", IDL.decode().replace("string data", "string a[1000000000]")),
        ("ros2idl", IDL.decode().replace("string data", "uint8 a[0]")),
        ("ros2idl", IDL.decode().replace("string data;", "uint8 data; " * 20_000)),
    ],
)
def test_a_definition_that_could_keep_its_reader_busy_is_left_out_and_named(tmp_path, encoding, definition):
    """Its text or its arrays have sizes that are only there to take time: rosbags writes code for each element."""
    file = write_other(tmp_path / "a.mcap", [text_channel(encoding, definition.encode()), EMPTY])
    names, problems = read_topics(file)
    assert names == ["/topic_1"]
    assert re.search(r"/topic_0 is left out.*definition.*damaged \(.*(length \d+|it has \d+ lines)\)", problems[0])


@pytest.mark.parametrize("definition", [MANY_LINES, "a/Part[1000000000] a", f"a/Part[10] a\n{PART}uint8[0] a\n"])
def test_such_a_definition_in_a_ros1_bag_is_left_out_and_named(tmp_path, definition):
    store = get_typestore(Stores.ROS1_NOETIC)
    text = store.types["std_msgs/msg/String"](data="text")
    with Writer1(tmp_path / "a.bag") as writer:
        good = writer.add_connection("/good", TEXT, typestore=store)
        bad = writer.add_connection("/bad", "a/msg/Bad", msgdef=definition, md5sum="0" * 32)
        for connection in (good, bad):
            writer.write(connection, SECOND, store.serialize_ros1(text, TEXT))
    names, problems = read_topics(tmp_path / "a.bag")
    assert names == ["/good"] and "/bad is left out" in problems[0]


# A full disk


def test_the_bag_is_completed_before_the_disk_is_full(tmp_path, monkeypatch):
    writer = BagWriter(tmp_path / "bag", reserve=0)
    topic = writer.topic("/text", TEXT)
    messages = [data for _, data in strings(writer.types, 100, 20_000)]
    for number, data in enumerate(messages[:60]):
        writer.write(topic, SECOND + number, data)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=-1))
    with pytest.raises(DiskFull, match="MB are left"):
        for number, data in enumerate(messages[60:], start=60):
            writer.write(topic, SECOND + number, data)
    writer.close()
    read, problems = numbers(tmp_path / "bag")
    assert read == list(range(len(read))) and len(read) >= 60 and not problems


def test_a_bag_on_a_full_disk_is_read_up_to_its_end(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = 0
    writer = BagWriter(tmp_path / "bag", reserve=0)
    topic = writer.topic("/text", TEXT)
    messages = list(strings(writer.types, 400, 10_000))
    # The kernel refuses to write in the middle of the file, as on a full disk, but only for this process.
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * 2**20, hard))
    try:
        with pytest.raises(DiskFull, match="cannot write"):
            for number, data in messages:
                writer.write(topic, SECOND + number, data)
                written += 1
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    read, problems = numbers(tmp_path / "bag")
    assert read == list(range(len(read))) and len(read) > 0.4 * written and problems


# Episodes


@given(st.lists(st.sampled_from(("start", "stop", "discard")), max_size=30))
def test_any_sequence_of_calls_gives_consistent_marks(calls):
    book, marks, kept = EpisodeBook(), [], {}
    for number, call in enumerate(calls):
        try:
            mark = book.start("task") if call == "start" else getattr(book, call)()
        except EpisodeError:
            continue
        marks.append(Mark(mark.event, mark.episode, mark.task, number))
        if call == "discard":
            kept.pop(mark.episode)
        elif call == "start":
            kept[mark.episode] = number
    found, problems = episodes(marks, end=1000)
    assert [episode.start for episode in found] == list(kept.values())
    assert all(episode.start < episode.stop for episode in found)
    assert len(problems) == book.running


def test_an_empty_task_is_rejected():
    with pytest.raises(EpisodeError, match="task"):
        EpisodeBook().start("  ")


def test_a_stop_without_a_start_is_a_problem():
    found, problems = episodes(
        [Mark(STOP, 3, "task", 5), Mark(START, 4, "other", 6), Mark(DISCARD, 4, "other", 7)], end=9
    )
    assert not found and len(problems) == 1 and "never started" in problems[0]


def write_channels(path: Path, *channels: tuple[str, bytes, bytes]) -> None:
    """Writes an MCAP file with a message on each channel: name of the schema (none if empty), its text, the data."""
    writer_module = pytest.importorskip("mcap.writer")
    with path.open("wb") as stream:
        writer = writer_module.Writer(stream)
        writer.start(profile="ros2")
        for number, (name, definition, data) in enumerate(channels):
            schema = writer.register_schema(name, "ros2msg" if definition else "", definition) if name else 0
            writer.add_message(writer.register_channel(f"/topic_{number}", "cdr", schema), SECOND, data, SECOND)
        writer.finish()


def test_channels_without_a_schema_or_with_an_empty_one(tmp_path):
    """Recorders leave out definitions that they do not find: foxglove/mcap issues 709, 943; ros2/rosbag2 issue 1922."""
    empty, text = b"\0\1\0\0\0", next(strings(get_typestore(Stores.ROS2_JAZZY), 1, 20))[1]
    path = tmp_path / "a.mcap"
    write_channels(
        path,
        (TEXT, b"", text),
        ("std_msgs/msg/Empty", b"", empty),
        ("", b"", text),
        ("RealsenseMetadata", b"", text),
    )
    with Bag(path) as bag:
        read = {item.topic: bag.read(item, data) for item, _, data in bag.messages()}
    assert read.keys() == {"/topic_0", "/topic_1"} and read["/topic_0"].data
    assert any("/topic_2 is left out: the recording does not tell its type" in problem for problem in bag.problems)
    assert any("/topic_3 is left out: RealsenseMetadata: its definition" in problem for problem in bag.problems)
