"""Every reader of foreign bytes, with valid inputs to damage and the call that reads them.

``READERS[name]`` writes valid files below a folder; each is one seed: the file that is damaged, and what is then read.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Seed:
    """A valid input."""

    file: Path
    """The file to damage."""
    read: Callable[[], Any]
    """Reads it, and the files beside it that belong to it."""
    names: tuple[str, ...] = ()
    """Texts of which a refusal must contain one; empty for the name of the file."""
    refusal: str = ""
    """Part of the refusal of the undamaged input, if a complete one would be too large to fuzz; else it is read."""


READERS: dict[str, Callable[[Path], Iterator[Seed]]] = {}


def reader(function: Callable[[Path], Iterator[Seed]]) -> Callable[[Path], Iterator[Seed]]:
    """Adds a reader under the name of the function."""
    READERS[function.__name__] = function
    return function


def _file(path: Path, data: bytes, read: Callable[[Path], Any], refusal: str = "") -> Seed:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Seed(path, lambda: read(path), refusal=refusal)


def picture(width: int = 64, height: int = 48) -> np.ndarray:
    """Returns an image without flat parts."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows * columns) % 256], axis=-1).astype(np.uint8)


def _images() -> Iterator[tuple[str, bytes]]:
    image = picture()
    gray16 = image[..., 0].astype(np.uint16) * 200
    for suffix, pixels, options in (
        (".jpg", image, []),
        (".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".jpg", image, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        (".jpg", image[..., 0], []),
        (".png", image, []),
        (".png", gray16, []),
        (".png", np.dstack([image, image[..., :1]]), []),
        (".png", (image[..., 0] > 90).astype(np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1]),
        (".webp", image, []),
        (".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".bmp", image, []),
        (".bmp", image[..., 0], []),
        (".ppm", image, []),
        (".pgm", gray16, []),
    ):
        yield (
            suffix,
            cv2.imencode(suffix, pixels.astype(pixels.dtype if pixels.dtype != bool else np.uint8), options)[
                1
            ].tobytes(),
        )
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    yield ".jpg", jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


@reader
def images(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.io.images import load_image

    for number, (suffix, data) in enumerate(_images()):
        yield _file(folder / f"{number}{suffix}", data, load_image)


class _Forking:
    """Takes the place of ``subprocess`` for the decoder of videos: forks this process instead of starting another."""

    PIPE = DEVNULL = None

    class Popen:
        """A decoder; it has what ``VideoDecoder`` uses of ``subprocess.Popen``."""

        def __init__(self, command: list[str], **_: Any):
            from wildhands_ros.io import video_decoder

            (request_end, requests), (answers, answer_end) = os.pipe(), os.pipe()
            self.pid = os.fork()
            if not self.pid:
                try:
                    os.dup2(request_end, 0)
                    os.dup2(answer_end, 1)
                    os.closerange(3, 256)
                    video_decoder.main(command[3:])
                finally:
                    os._exit(1)
            os.close(request_end)
            os.close(answer_end)
            self.stdin, self.stdout = os.fdopen(requests, "wb", buffering=0), os.fdopen(answers, "rb", buffering=0)
            self._code: int | None = None

        def kill(self) -> None:
            """Ends the process."""
            if self._code is None:
                os.kill(self.pid, signal.SIGKILL)

        def wait(self) -> int:
            """Returns the exit code, negative for a signal."""
            if self._code is None:
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return self._code


@reader
def videos(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.io import video_decoder
    from wildhands_ros.io.sources import open_source

    video_decoder.subprocess = _Forking  # type: ignore[assignment]  # a new interpreter takes 0.3 s for each video

    def read(path: Path) -> None:
        for _ in open_source(str(path)):
            pass

    for name, codec in (
        ("mjpg.avi", "MJPG"), ("xvid.avi", "XVID"), ("mp4v.mp4", "mp4v"), ("ffv1.mkv", "FFV1"), ("mjpg.mkv", "MJPG"),
        ("vp8.webm", "VP80"), ("vp9.webm", "VP90"), ("mpeg2.ts", "mpg2"), ("flv.flv", "FLV1"), ("wmv.wmv", "WMV2"),
    ):  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
        for _ in range(4):
            writer.write(picture())
        writer.release()
        yield _file(path, path.read_bytes(), read)


CALIBRATIONS = {
    "ros.yaml": (ROOT / "demo/camera_info.yaml").read_text(),
    "opencv.yml": """%YAML:1.0
---
image_width: 640
image_height: 480
fisheye_model: 0
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 610., 0., 322.5, 0., 612., 238., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data: [ 0.1, -0.2, 0.001, 0.002, 1e-05 ]
""",
    "kalibr.yaml": """cam0:
  camera_model: pinhole
  intrinsics: [610.0, 612.0, 322.5, 238.0]
  distortion_model: equidistant
  distortion_coeffs: [0.01, 0.02, -0.003, 0.001]
  resolution: [640, 480]
""",
    "camera.ini": """# a comment
[image]
width
640
height
480
[narrow_stereo]
camera matrix
610 0 322.5
0 612 238
0 0 1
distortion
0.1 -0.2 0.001 0.002 0
rectification
1 0 0
0 1 0
0 0 1
projection
610 0 322.5 0
0 612 238 0
0 0 1 0
""",
    "echo.yaml": """header:
  stamp: {sec: 1, nanosec: 2}
  frame_id: camera
height: 480
width: 640
distortion_model: plumb_bob
d: [0.1, -0.2, 0.001, 0.002, 0.0]
k: [610.0, 0.0, 322.5, 0.0, 612.0, 238.0, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [610.0, 0.0, 322.5, 0.0, 0.0, 612.0, 238.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 0
binning_y: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
""",
}


@reader
def calibrations(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.geometry.calibration import CalibrationError
    from wildhands_ros.io.camera_files import Intrinsics, load_calibration

    def read(path: Path) -> None:
        intrinsics = Intrinsics(load_calibration(path))
        size = (960, 540) if path.name == "ros.yaml" else (640, 480)
        try:
            intrinsics.warnings(*size)
            intrinsics.camera(*size)
        except CalibrationError as error:  # its callers name the file
            raise CalibrationError(f"{path}: {error}") from error

    for name, text in CALIBRATIONS.items():
        yield _file(folder / name, text.encode(), read)


@reader
def training_configurations(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.training.config import TrainingConfig
    from wildhands_ros.training.config_file import read_config
    from wildhands_ros.training.detector.config import DetectorTrainingConfig

    def read(path: Path) -> None:
        is_detector = path.name.startswith(("detector", "second_stage"))
        read_config(path, DetectorTrainingConfig if is_detector else TrainingConfig)

    for file in sorted((ROOT / "config/training").glob("*.yaml")):
        yield _file(folder / file.name, file.read_bytes(), read)


@reader
def robot_hands(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.teleop.robot_hand_files import read_robot_hand

    robots = ROOT / "wildhands_ros/teleop/robots"
    for name in ("gripper", "five_finger_hand"):
        for suffix in (".urdf", ".yaml"):
            source = robots / f"{name}{suffix}"
            seed = _file(folder / source.name, source.read_bytes(), read_robot_hand)
            if suffix == ".yaml":
                yield seed
        config = folder / f"{name}.yaml"
        yield Seed(folder / f"{name}.urdf", lambda config=config: read_robot_hand(config), (str(folder),))


@reader
def configurations_of_networks(folder: Path) -> Iterator[Seed]:
    from safetensors.numpy import save

    from wildhands_ros.network.config import MEDIAPIPE_HAND, RELEASED
    from wildhands_ros.network.network_file import CHECKPOINT_FORMAT, open_network

    checkpoint = folder / "network.safetensors"

    def read(path: Path) -> None:
        metadata = {"format": CHECKPOINT_FORMAT, "config": path.read_text("utf-8", "replace"), "license": ""}
        checkpoint.write_bytes(save({"network.a": np.arange(4)}, metadata))
        open_network(checkpoint)

    for number, config in enumerate((RELEASED, MEDIAPIPE_HAND)):
        seed = _file(folder / f"{number}.json", config.to_json().encode(), read)
        yield Seed(seed.file, seed.read, (checkpoint.name,))


def _protobuf(number: int, value: bytes | int) -> bytes:
    """Encodes a field of a message."""

    def varint(n: int) -> bytes:
        return bytes([n & 0x7F | 0x80]) + varint(n >> 7) if n > 127 else bytes([n])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def small_onnx() -> bytes:
    """Returns an ONNX file with the metadata of a network and two tensors."""
    from wildhands_ros.network.config import MEDIAPIPE_HAND
    from wildhands_ros.network.network_file import NETWORK_FORMAT

    metadata = {
        "format": NETWORK_FORMAT,
        "config": MEDIAPIPE_HAND.to_json(),
        "mean_pose": json.dumps(np.zeros((2, 45)).tolist()),
    }
    tensors = b""
    for name, kind, values in (("encoder.model.a", 1, np.ones((2, 3), np.float32)), ("b", 7, np.arange(4))):
        dims = b"".join(_protobuf(1, size) for size in values.shape)
        body = dims + _protobuf(2, kind) + _protobuf(8, name.encode()) + _protobuf(9, values.tobytes())
        tensors += _protobuf(5, body)
    items = (_protobuf(14, _protobuf(1, k.encode()) + _protobuf(2, v.encode())) for k, v in metadata.items())
    return _protobuf(1, 8) + _protobuf(7, tensors) + b"".join(items)


@reader
def network_files(folder: Path) -> Iterator[Seed]:
    from safetensors.numpy import save

    from wildhands_ros.network.checkpoint import load_model
    from wildhands_ros.network.config import MEDIAPIPE_HAND
    from wildhands_ros.network.network_file import CHECKPOINT_FORMAT, open_network

    metadata = {"format": CHECKPOINT_FORMAT, "config": MEDIAPIPE_HAND.to_json(), "license": ""}
    tensors = {"network.a": np.ones((2, 3), np.float32), "network.b": np.arange(4)}
    hands = {f"mano.{side}.{name}": np.ones(3, np.float32) for side in ("right", "left") for name in ("a", "parents")}
    missing = "153 of 153 tensors are missing"
    yield _file(folder / "network.onnx", small_onnx(), load_model, missing)
    yield _file(folder / "network.safetensors", save(tensors, metadata), load_model, missing)
    yield _file(folder / "with_hands.safetensors", save(tensors | hands, metadata), open_network, "MANO block")


@reader
def published_checkpoints(folder: Path) -> Iterator[Seed]:
    import torch
    from published_checkpoint import save_published

    from wildhands_ros.network.import_checkpoint import import_checkpoint
    from wildhands_ros.network.torch_archive import TensorRef, TorchArchive

    def read(path: Path) -> None:
        with TorchArchive(path) as archive:
            state = archive.root.get("state_dict") if isinstance(archive.root, dict) else None
            for value in state.values() if isinstance(state, dict) else ():
                if isinstance(value, TensorRef):
                    archive.read(value)
        import_checkpoint(path, folder / "imported.safetensors")

    state = {"model.a": torch.ones(3, 4), "model.b": torch.arange(5), "model.c": torch.ones(6).half()[::2]}
    path = folder / "published.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_published(path, state, optimizer_states=[])
    yield _file(path, path.read_bytes(), read, "729 of 729 tensors are missing")


@reader
def hand_models(folder: Path) -> Iterator[Seed]:
    import synthetic_mano

    from wildhands_ros.hand_model.mano_files import load_mano
    from wildhands_ros.types import Side

    data = synthetic_mano.numbers(0)
    # Small numbers: most of the time would be spent on packing and unpacking them.
    data["posedirs"] = np.zeros((778, 3, 135), bool)
    for key in ("weights", "shapedirs", "v_template"):
        data[key] = np.asarray(data[key], np.float16)
    for name, write in (
        ("python2", synthetic_mano.write_pickle),
        ("plain", synthetic_mano.write_plain_pickle),
        ("npz", lambda path, values: np.savez_compressed(path, **values)),
    ):
        path = folder / name / f"MANO_RIGHT.{'npz' if name == 'npz' else 'pkl'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, data)
        yield _file(path, path.read_bytes(), lambda path: load_mano(path.parent, Side.RIGHT))


def _every_file(root: Path, pattern: str, read: Callable[[], Any], names: tuple[str, ...]) -> Iterator[Seed]:
    for file in sorted(root.glob(pattern)):
        if file.is_file():
            yield Seed(file, read, names)


def _dataset(name: str, split: str, make: str, pattern: str, **options: Any) -> None:
    def seeds(folder: Path) -> Iterator[Seed]:
        import dataset_files

        from wildhands_ros.datasets import epic, open_dataset

        root = getattr(dataset_files, make)(folder, **options)

        def read() -> None:
            size = {key.upper(): value for key, value in options.items() if key in ("width", "height")}
            with patch.multiple(epic, **size) if size else nullcontext():
                read_samples()

        def read_samples() -> None:
            data = open_dataset(name, root, split)
            for index in range(min(len(data), 2)):
                for hand in data[index].hands[:1]:
                    if hand.load_mask is not None:
                        hand.load_mask()

        yield from _every_file(root, pattern, read, (str(root),))

    READERS[f"dataset_{name}"] = seeds


for _arguments in (
    ("arctic", "val", "make_arctic", "[ms]*/*"),
    ("assembly_hands", "val", "make_assembly_hands", "annotations/**/*"),
    ("epic_grasps", "train", "make_epic", "epic_hands/grasp*"),
    ("epic_handkps", "test", "make_epic_handkps", "epic_hands/*5000*"),
    ("ego4d_grasps", "train", "make_ego4d", "ego4d_hands/*.pkl"),
    ("h2o", "val", "make_h2o", "**/*.txt"),
    ("freihand", "training", "make_freihand", "*.json"),
    ("interhand", "val", "make_interhand", "annotations/**/*"),
):
    _dataset(*_arguments)
# Small images, for most of the time would be spent on packing and unpacking them.
_dataset("egoexo4d", "val", "make_ego_exo", "**/*.pkl", scale=0.125)
_dataset("epic_masks", "train", "make_epic", "epic_hands/*", width=240, height=216)

COCO = {
    "info": {"description": "RHD"},
    "images": [
        {
            "id": 1,
            "file_name": "a.jpg",
            "width": 64,
            "height": 48,
            "cam_param": {"focal": [60, 60], "princpt": [32, 24]},
        },
        {"id": 2, "file_name": "b.jpg", "width": 64, "height": 48},
    ],
    "annotations": [
        {
            "id": number,
            "image_id": number,
            "keypoints": [float(value) for value in range(63)],
            "bbox": [1, 2, 30, 20],
            "hand_type": side,
            "joint_cam": [[1.0, 2.0, 500.0]] * 21,
            "iscrowd": 0,
        }
        for number, side in ((1, "right"), (2, "left"))
    ],
}


@reader
def coco_annotations(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.datasets.coco_hands import read_coco_hands
    from wildhands_ros.datasets.real_images.reader import read_boxed_images

    data = json.dumps(COCO).encode()
    yield _file(folder / "keypoints/annotations.json", data, lambda path: read_coco_hands(path.parent))
    yield _file(folder / "boxes/annotations.json", data, lambda path: read_boxed_images(path.parent))


@reader
def arrays(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.io.errors import foreign_bytes
    from wildhands_ros.io.safe_numpy import NpzFile, read_npy, read_pickle

    def named(read: Callable[[Path], Any]) -> Callable[[Path], None]:
        def reads(path: Path) -> None:
            with foreign_bytes(path, "arrays"):
                read(path)

        return reads

    def read_npz(path: Path) -> None:
        with NpzFile(path) as file:
            file.read(file.names)

    content = {"a": [np.arange(5), "text", (1, 2.5, None)], "b": {"c": np.zeros((2, 3)), "d": np.array(["x"], object)}}
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "plain.npy", np.arange(12.0).reshape(3, 4))
    np.save(folder / "objects.npy", np.array(content, dtype=object))
    for name in ("plain.npy", "objects.npy"):
        yield _file(folder / name, (folder / name).read_bytes(), named(read_npy))
    np.savez_compressed(folder / "a.npz", a=np.arange(5), b=np.zeros((3, 4)))
    yield _file(folder / "a.npz", (folder / "a.npz").read_bytes(), named(read_npz))
    for protocol in (0, 2, 4, 5):
        yield _file(folder / f"{protocol}.pkl", pickle.dumps(content, protocol), named(read_pickle))


def _parse_once() -> None:
    """Lets rosbags parse equal definitions and compile equal code once, which takes most of the time of a small bag."""
    from rosbags.serde import utils
    from rosbags.typesys import store

    from wildhands_ros.recording import definitions

    compiled = cache(lambda code: compile(code, "<generated>", "exec"))

    def execute(code: Any, variables: dict[str, Any]) -> None:
        exec(compiled(code) if isinstance(code, str) else code, variables)  # noqa: S102

    for module in (utils, store):
        module.exec = execute  # type: ignore[attr-defined]  # found before the built-in function
    definitions.get_types_from_msg = cache(definitions.get_types_from_msg)


def _define_once() -> None:
    """Lets bags with the same definitions share their types; for readers whose inputs damage messages only."""
    from wildhands_ros.recording import storage

    original, known = storage._definitions, {}

    def definitions(connections: list, installed: Any) -> Any:
        key = tuple((connection.msgtype, connection.msgdef, connection.digest) for connection in connections)
        if key not in known:
            known[key] = original(connections, installed)
        return known[key]

    storage._definitions = definitions


def _read_bag(path: Path) -> None:
    from wildhands_ros.io.errors import InputError
    from wildhands_ros.recording.bags import Bag

    with Bag(path) as bag:
        for topic, _, data in bag.messages():
            try:
                bag.read(topic, data)
            except InputError as error:  # its callers count these and go on
                assert str(path) in str(error)


@reader
def recordings(folder: Path) -> Iterator[Seed]:
    from rosbags.rosbag1 import Writer as Writer1
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    _parse_once()
    folder.mkdir(parents=True, exist_ok=True)
    text, info = "std_msgs/msg/String", "sensor_msgs/msg/RegionOfInterest"
    store = get_typestore(Stores.ROS2_HUMBLE)
    messages = [
        (text, store.types[text](data="a text")),
        (info, store.types[info](x_offset=1, y_offset=2, height=3, width=4, do_rectify=True)),
    ]
    for name, plugin, mode in (
        ("mcap", StoragePlugin.MCAP, None),
        ("mcap_chunks", StoragePlugin.MCAP, CompressionMode.STORAGE),
        ("db3", StoragePlugin.SQLITE3, None),
        ("db3_file", StoragePlugin.SQLITE3, CompressionMode.FILE),
        ("db3_message", StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ):
        writer = Writer(folder / name, version=8, storage_plugin=plugin)
        if mode is not None:
            writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            topics = {
                kind: writer.add_connection(f"/{number}", kind, typestore=store)
                for number, (kind, _) in enumerate(messages)
            }
            for number in range(6):
                kind, message = messages[number % 2]
                writer.write(topics[kind], 10**9 + number, store.serialize_cdr(message, kind))
        for file in sorted((folder / name).iterdir()):
            yield Seed(file, lambda path=folder / name: _read_bag(path), (str(folder / name),))
    store1 = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(folder / "ros1.bag") as writer1:
        topic = writer1.add_connection("/text", text, typestore=store1)
        for number in range(6):
            writer1.write(topic, 10**9 + number, store1.serialize_ros1(store1.types[text](data=str(number)), text))
    yield Seed(folder / "ros1.bag", lambda: _read_bag(folder / "ros1.bag"))


@reader
def annotated_recordings(folder: Path) -> Iterator[Seed]:
    """The messages of an annotated recording, one of which is damaged, as ``report`` and ``export`` read them."""
    from bag_samples import write_bag, write_messages
    from pyarrow import parquet

    from wildhands_ros.config import EstimatorConfig
    from wildhands_ros.io.errors import InputError
    from wildhands_ros.recording.bags import Bag
    from wildhands_ros.recording.camera_poses import PoseOptions
    from wildhands_ros.recording.demonstrations import ExportConfig, demonstrations
    from wildhands_ros.recording.report import recommendations, report_html
    from wildhands_ros.recording.table_export import export_parquet
    from wildhands_ros.ros.images import decode
    from wildhands_ros.ros.recording.annotation import annotate
    from wildhands_ros.ros.recording.image_streams import AnnotationOptions
    from wildhands_ros.ros.recording.report import read_recording
    from wildhands_ros.runtime.processes import Workers

    _parse_once()
    _define_once()
    folder.mkdir(parents=True, exist_ok=True)
    times = [99.98 + 0.02 * number for number in range(8)]
    options = AnnotationOptions(poses=PoseOptions("odom"))
    images = write_bag(folder / "images", images=3, tf_times=times)
    annotate(images, folder / "hands", options, EstimatorConfig(checkpoint="none"), {}, Workers(1, map))
    with Bag(folder / "hands") as bag:
        content = list(bag.messages())
    files = []
    for topic, _, data in content:
        files.append(folder / "messages" / f"{len(files)}{topic.topic.replace('/', '_')}.cdr")
        files[-1].parent.mkdir(exist_ok=True)
        files[-1].write_bytes(data)
    recording, table = folder / "recording.mcap", folder / "table.parquet"

    def read() -> None:
        write_messages(
            recording, ((topic, at, file.read_bytes()) for (topic, at, _), file in zip(content, files, strict=True))
        )
        errors = []
        for use in (report, export):
            try:
                use()
            except InputError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def report() -> None:
        found = read_recording(recording)
        recommendations(found)
        report_html([found])

    def export() -> None:
        table.unlink(missing_ok=True)
        # Compressing hundreds of columns takes as long as all the rest.
        with patch.object(parquet, "write_table", lambda table, file: table.validate(full=True)):
            export_parquet(demonstrations(recording, ExportConfig(decode, task="wave")), table)

    kinds = {file.name.partition("_")[2]: file for file in files}  # the last message of each topic
    for file in kinds.values():
        yield Seed(file, read, (str(recording),))


@reader
def trajectories(folder: Path) -> Iterator[Seed]:
    from test_trajectories import ARIA, EUROC, HOT3D, colmap, colmap_binary, kitti, rows

    from wildhands_ros.io.trajectories.files import TrajectoryOptions, read_trajectory

    def read(path: Path) -> None:
        trajectory = read_trajectory(path, TrajectoryOptions(axes="graphics", offset=1.0))
        for time in (0.25, 1.3):
            trajectory.at(time)
        assert len(trajectory.jumps) < len(trajectory.times)

    for name, content in (
        ("tum.txt", rows("txyz0123").encode()),
        ("kitti.txt", kitti().encode()),
        ("aria.csv", (ARIA + "\n" + rows("iunxyz0123", ",")).encode()),
        ("hot3d.csv", (HOT3D + "\n" + rows("inxyz3012", ",")).encode()),
        ("euroc.csv", (EUROC + "\n" + rows("nxyz3012", ",")).encode()),
        ("images.txt", colmap("1 2 -1").encode()),
        ("images.bin", colmap_binary()),
    ):
        yield _file(folder / name, content, read)


@reader
def extrinsics(folder: Path) -> Iterator[Seed]:
    from several_cameras import POSES

    from wildhands_ros.io.extrinsics_files import Extrinsics, load_extrinsics, save_extrinsics

    file = folder / "extrinsics.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    save_extrinsics(file, Extrinsics("world", POSES))
    yield _file(file, file.read_bytes(), load_extrinsics)


@reader
def hand_lengths(folder: Path) -> Iterator[Seed]:
    from wildhands_ros.io.hand_files import hand_file, load_hand

    os.environ["XDG_CONFIG_HOME"] = str(folder)
    content = b"right: {length: 0.187, stddev: 0.003}\nleft: {length: 0.188, stddev: 0.004}\n"
    yield _file(hand_file("bob"), content, lambda path: load_hand("bob"))


@reader
def depth_messages(folder: Path) -> Iterator[Seed]:
    """Depth images as they arrive, raw and compressed."""
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import CompressedImage, Image
    from test_depth_input import MILLIMETRES, compressed, png, raw, rvl

    from wildhands_ros.ros.depth_images import DepthDecodeError, decode_depth

    def read(path: Path) -> None:
        kind = CompressedImage if path.name.startswith("compressed") else Image
        try:
            message = deserialize_message(path.read_bytes(), kind)
        except Exception:  # such a message does not arrive
            return
        try:
            decode_depth(message)
        except DepthDecodeError as error:  # counted under its name, and logged
            assert error.name

    for name, message in (
        ("raw.16", raw(MILLIMETRES)),
        ("raw.32", raw((MILLIMETRES / 1000).astype(np.float32), "32FC1")),
        ("raw.padded", raw(MILLIMETRES, padding=6)),
        ("compressed.png", compressed(png(MILLIMETRES))),
        ("compressed.32", compressed(png(MILLIMETRES), "32FC1; compressedDepth png", 5000, 1)),
        ("compressed.rvl", compressed(rvl(MILLIMETRES), "16UC1; compressedDepth rvl")),
    ):
        yield _file(folder / f"{name}.cdr", serialize_message(message), read)


@reader
def fused_hands(folder: Path) -> Iterator[Seed]:
    """Hands of two cameras as the fusion node receives them; those of one camera are damaged."""
    from rclpy.serialization import deserialize_message, serialize_message
    from ros_samples import header
    from several_cameras import CAMERA, POSES, TrueHand

    from wildhands_ros.fitting.hand_fusion import HandFusion
    from wildhands_ros.geometry.calibration import IntrinsicsSource
    from wildhands_ros.hand_model.asset import open_hand
    from wildhands_ros.msg import HandArray
    from wildhands_ros.ros.fusion.observations import check_array, observations
    from wildhands_ros.ros.messages import hand_array
    from wildhands_ros.ros.rejections import InputRejected
    from wildhands_ros.types import FrameEstimate, Side

    fusion = HandFusion({side: open_hand(side) for side in Side})
    rng = np.random.default_rng(0)
    messages = {}
    for name in ("left", "right"):
        estimate = FrameEstimate((TrueHand(1).seen_by(POSES[name], rng),), CAMERA)
        messages[name] = hand_array(estimate, header(), IntrinsicsSource.CAMERA_INFO, "open_hand", vertices=False)

    def read(path: Path) -> None:
        try:
            received = {**messages, "right": deserialize_message(path.read_bytes(), HandArray)}
        except Exception:  # such a message does not arrive
            return
        observed = {}
        for name, message in received.items():
            try:
                camera = check_array(name, message, "open_hand")
            except InputRejected as error:  # counted under its name, and logged
                assert error.name
            else:
                observed[name] = observations(message, camera, POSES[name])[0]
        result = fusion.update(1.0, observed)
        assert all(np.isfinite(hand.hand.joints).all() and 0 <= hand.side_score <= 1 for hand in result.hands)

    yield _file(folder / "hands.cdr", serialize_message(messages["right"]), read)


@reader
def messages(folder: Path) -> Iterator[Seed]:
    """Messages as the middleware delivers them to the nodes. Those that it cannot read do not arrive."""
    from geometry_msgs.msg import PoseStamped
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from vision_msgs.msg import Detection2DArray

    from wildhands_ros.geometry.calibration import CalibrationError
    from wildhands_ros.msg import HandArray
    from wildhands_ros.ros import camera_info, detection_messages, images
    from wildhands_ros.ros.rejections import InputRejected
    from wildhands_ros.ros.teleop.messages import observation, pose

    class_ids = detection_messages.HandClassIds(("right",), ("left",), ("hand",))

    def use_camera_info(message: Any) -> None:
        calibration = camera_info.calibration(message)
        calibration.camera(640, 480, False)
        calibration.warnings(640, 480, False)

    uses: dict[str, tuple[type, Callable[[Any], Any]]] = {
        "camera_info": (CameraInfo, use_camera_info),
        "compressed": (CompressedImage, images.decode_compressed),
        "image": (Image, images.decode_image),
        "detections": (Detection2DArray, lambda m: detection_messages.hand_detections(m, class_ids, 640, 480)),
        "hands": (HandArray, lambda m: [observation(hand, m.header.stamp) for hand in m.hands]),
        "robot_pose": (PoseStamped, lambda m: pose(m.pose)),
    }

    def read(path: Path) -> None:
        kind, use = uses[path.name.partition(".")[0]]
        try:
            message = deserialize_message(path.read_bytes(), kind)
        except Exception:  # such a message does not arrive
            return
        try:
            use(message)
        except (InputRejected, CalibrationError) as error:  # counted under its name, and logged
            assert error.name

    for name, data in sample_messages():
        yield _file(folder / f"{name}.cdr", data, read)


def sample_messages() -> Iterator[tuple[str, bytes]]:
    """Yields a valid message of each topic, serialised, as ``topic.variant``."""
    from geometry_msgs.msg import PoseStamped
    from rclpy.serialization import serialize_message
    from ros_samples import CAMERA, frame, hand, header
    from sensor_msgs.msg import CompressedImage
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    from wildhands_ros.geometry.calibration import IntrinsicsSource
    from wildhands_ros.ros import camera_info, images
    from wildhands_ros.ros.messages import hand_array

    yield "camera_info", serialize_message(camera_info.camera_info(CAMERA, header()))
    for number, (_, data) in enumerate(_images()):
        message = CompressedImage(header=header(), format="jpeg")
        message.data.frombytes(data)
        yield f"compressed.{number}", serialize_message(message)
    image = images.encode_image(picture(16, 12), header())
    for encoding, channels in (
        ("rgb8", 3),
        ("mono8", 1),
        ("bgra8", 4),
        ("bayer_rggb16", 2),
        ("yuv422_yuy2", 2),
        ("nv12", 1),
    ):
        image.encoding, image.step = encoding, 16 * channels
        image.data = images.to_bytes(np.zeros((18, 16 * channels), np.uint8))
        yield f"image.{encoding}", serialize_message(image)
    detections = Detection2DArray(header=header())
    for number in range(2):
        item = Detection2D()
        item.bbox.center.position.x, item.bbox.size_x, item.bbox.size_y = 100.0 + 200 * number, 80.0, 90.0
        for class_id, score in (("right", 0.9), ("hand", 0.4), ("keypoint_3", 0.8)):
            result = ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = class_id, score
            item.results.append(result)
        detections.detections.append(item)
    yield "detections", serialize_message(detections)
    hands = hand_array(frame(hand()), header(), IntrinsicsSource.CAMERA_INFO, "open_hand")
    hands.hands[0].vertices = []
    yield "hands", serialize_message(hands)
    pose = PoseStamped(header=header())
    pose.pose.orientation.w = 1.0
    yield "robot_pose", serialize_message(pose)
