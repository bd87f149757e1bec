"""Depth messages, and the depth image that the node finds for each colour image."""

from __future__ import annotations

import resource
import struct
import time
from contextlib import suppress
from threading import Timer
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.depth_image import DepthImage
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.ros import depth_input
from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.camera_motion import TransformUnavailable
from wildhands_ros.ros.depth_images import DepthDecodeError, decode_depth
from wildhands_ros.ros.depth_input import DepthInput
from wildhands_ros.ros.diagnostics import Health
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.types import DepthStatus

CAMERA = Camera.from_fov(64, 48, 1.2)
MILLIMETRES = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) + 300


def header(milliseconds: int = 0, frame_id: str = "camera") -> Header:
    return Header(stamp=Time(sec=100, nanosec=milliseconds * 1_000_000), frame_id=frame_id)


def raw(values: np.ndarray, encoding: str = "16UC1", padding: int = 0, **fields) -> Image:
    rows = values.view(np.uint8).reshape(len(values), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    fields = {"height": len(values), "width": values.shape[1], "step": rows.shape[1], **fields}
    message = Image(encoding=encoding, **fields)
    message.data = rows.tobytes()
    return message


def compressed(payload: bytes, form: str = "16UC1; compressedDepth png", scale: float = 0, offset: float = 0):
    return CompressedImage(format=form, data=struct.pack("<iff", 0, scale, offset) + payload)


def png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values)[1].tobytes()


def rvl(values: np.ndarray) -> bytes:
    """Encodes RVL in the simplest way."""
    groups: list[int] = []

    def add(number: int) -> None:
        while True:
            number, group = number >> 3, number & 7
            groups.append(group | 8 if number else group)
            if not number:
                return

    pixels, i, previous = values.ravel().astype(int).tolist(), 0, 0
    while i < len(pixels):
        end = i
        while end < len(pixels) and not pixels[end]:
            end += 1
        add(end - i)
        i = end
        while end < len(pixels) and pixels[end]:
            end += 1
        add(end - i)
        for pixel in pixels[i:end]:
            add((pixel - previous) << 1 if pixel >= previous else ((previous - pixel) << 1) - 1)
            previous = pixel
        i = end
    groups += [0] * (-len(groups) % 8)
    words = np.array(groups, np.uint32).reshape(-1, 8) << np.arange(28, -1, -4, dtype=np.uint32)
    height, width = values.shape
    return struct.pack("<II", width, height) + words.sum(1).astype("<u4").tobytes()


@pytest.mark.parametrize(
    "message",
    [
        raw(MILLIMETRES),
        raw(MILLIMETRES, padding=6),
        raw(MILLIMETRES.byteswap(), is_bigendian=1),
        raw(MILLIMETRES, "mono16"),
        raw((MILLIMETRES / 1000).astype(np.float32), "32FC1"),
        compressed(png(MILLIMETRES)),
        compressed(rvl(MILLIMETRES), "16UC1; compressedDepth rvl"),
    ],
    ids=["16UC1", "padded", "big-endian", "mono16", "32FC1", "png", "rvl"],
)
def test_encodings(message) -> None:
    depth = decode_depth(message)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, MILLIMETRES / 1000, atol=1e-6)


def test_rvl_with_holes_and_jumps() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(200, 60000, (48, 64)).astype(np.uint16)
    values[rng.random(values.shape) < 0.5] = 0
    values[:5], values[-3:] = 0, 0
    np.testing.assert_allclose(
        decode_depth(compressed(rvl(values), "16UC1; compressedDepth rvl")), values / 1000, atol=1e-4
    )


def test_inverse_depths_of_compressed_metres() -> None:
    metres = np.linspace(0.3, 2.0, 48 * 64, dtype=np.float32).reshape(48, 64)
    values = np.round(5000 / metres + 1).astype(np.uint16)
    values[0, 0] = 0
    depth = decode_depth(compressed(png(values), "32FC1; compressedDepth png", 5000, 1))
    assert depth[0, 0] == 0
    np.testing.assert_allclose(depth[1:], metres[1:], rtol=1e-3)


@pytest.mark.parametrize("form", ["png", "rvl"])
def test_the_size_limit_of_the_node_holds_for_compressed_depth(form) -> None:
    message = compressed({"png": png, "rvl": rvl}[form](MILLIMETRES), f"16UC1; compressedDepth {form}")
    assert decode_depth(message, MILLIMETRES.size).shape == MILLIMETRES.shape
    with pytest.raises(DepthDecodeError):
        decode_depth(message, MILLIMETRES.size - 1)


def test_a_chunk_that_claims_gigabytes_takes_no_memory() -> None:
    payload = bytearray(png(MILLIMETRES))
    at = payload.index(b"IDAT")
    payload[at - 4] = 0x7F
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(DepthDecodeError):
        decode_depth(compressed(bytes(payload)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_65535_is_unknown() -> None:
    assert not decode_depth(raw(np.full((48, 64), 65535, np.uint16))).any()


@pytest.mark.parametrize(
    ("message", "name", "text"),
    [
        (raw(np.zeros((48, 192), np.uint8), "rgb8"), "depth_encoding", "16UC1"),
        (Image(encoding="16UC1"), "depth_empty_image", "empty"),
        (raw(MILLIMETRES[:, :20].copy(), width=64), "depth_truncated_image", "step"),
        (raw(MILLIMETRES.astype(np.float32), "32FC1"), "depth_unit", "metres"),
        (CompressedImage(format="rgb8; jpeg compressed bgr8", data=b"x" * 50), "depth_encoding", "compressedDepth"),
        (CompressedImage(format="16UC1; compressedDepth", data=b"x" * 5), "depth_empty_image", "empty"),
        (compressed(b"not a png"), "depth_", "compressed depth image"),
        (compressed(png(np.zeros((48, 64), np.uint8))), "depth_undecodable_image", "16 bits"),
        (compressed(rvl(MILLIMETRES)[:100], "16UC1; compressedDepth rvl"), "depth_truncated_image", "truncated"),
        (compressed(b"\xff" * 64, "16UC1; compressedDepth rvl"), "depth_undecodable_image", "claims"),
        (compressed(b"\x40\0\0\0\x30\0\0\0" + b"\xff" * 64, "16UC1; compressedDepth rvl"), "depth_truncated", "trunc"),
    ],
    ids=[
        "colour",
        "empty",
        "step",
        "unit",
        "jpeg",
        "no header",
        "no png",
        "8 bits",
        "short rvl",
        "huge rvl",
        "endless",
    ],
)
def test_messages_that_cannot_be_used(message, name, text) -> None:
    with pytest.raises(DepthDecodeError, match=text) as caught:
        decode_depth(message)
    assert caught.value.name.startswith(name)


class Node:
    """The part of a node that ``DepthInput`` uses."""

    def __init__(self):
        self.callbacks = {}

    def resolve_topic_name(self, name):
        return f"/{name}"

    def create_subscription(self, kind, topic, callback, qos):
        self.callbacks[topic.lstrip("/")] = callback
        return topic

    def destroy_subscription(self, topic):
        pass


@pytest.fixture
def setup(monkeypatch):
    monkeypatch.setattr(depth_input, "LONGEST_WAIT", 0.2)
    node, problems = Node(), []
    health = Health(problems.append)
    depth = DepthInput(node, Parameters(), health)

    def find(milliseconds=0, frame_id="camera", camera=CAMERA):
        return depth.for_image(header(milliseconds, frame_id), camera, Parameters(), lambda: False)

    yield SimpleNamespace(
        send=node.callbacks["depth"], info=node.callbacks["depth_camera_info"], find=find, log=problems
    )
    depth.close()


def depth_message(milliseconds=0, frame_id="camera", values=MILLIMETRES) -> Image:
    return raw(values, header=header(milliseconds, frame_id))


def info_message(frame_id="camera", camera=CAMERA) -> CameraInfo:
    return camera_info(camera, header(0, frame_id))


def test_without_a_depth_camera_there_is_no_warning(setup) -> None:
    assert setup.find() is DepthStatus.NONE
    assert not setup.log


def test_the_nearest_depth_image_is_used(setup) -> None:
    setup.info(info_message())
    for milliseconds in (0, 33, 66, 99):
        setup.send(depth_message(milliseconds, values=np.full_like(MILLIMETRES, 1000 + milliseconds)))
    found = setup.find(70)
    assert isinstance(found, DepthImage) and found.depth[0, 0] == pytest.approx(1.066)
    assert found.camera.width == 64 and (found.pose.rotation == np.eye(3)).all()


def test_a_depth_image_on_its_way_is_waited_for_and_no_longer(setup, monkeypatch) -> None:
    monkeypatch.setattr(depth_input, "LONGEST_WAIT", 600)
    setup.send(depth_message(0))
    later = Timer(0.05, lambda: setup.send(depth_message(100)))
    later.start()
    start = time.monotonic()
    assert isinstance(setup.find(100), DepthImage)
    assert time.monotonic() - start < 300
    later.join()


def test_late_depth_images_are_named(setup) -> None:
    setup.send(depth_message(100))
    assert setup.find(0) is DepthStatus.LATE
    assert "100 ms younger" in setup.log[-1] and "depth_tolerance" in setup.log[-1]


def test_the_other_clock_of_a_camera_is_not_waited_for(setup, monkeypatch) -> None:
    monkeypatch.setattr(depth_input, "LONGEST_WAIT", 600)
    message = depth_message(0)
    message.header.stamp.sec = 5
    setup.send(message)
    start = time.monotonic()
    assert setup.find(0) is DepthStatus.LATE
    assert time.monotonic() - start < 300 and "clock" in setup.log[-1]


def test_aligned_depth_without_camera_info_has_the_camera_of_the_image(setup) -> None:
    setup.send(depth_message())
    found = setup.find(camera=CAMERA.resized(128, 96))
    assert isinstance(found, DepthImage) and found.camera.k == pytest.approx(CAMERA.k)


@pytest.mark.parametrize(
    ("depth", "info", "text"),
    [
        (depth_message(frame_id="depth"), None, "no CameraInfo on /depth_camera_info"),
        (depth_message(values=MILLIMETRES[:20].copy()), None, "no CameraInfo on /depth_camera_info"),
        (depth_message(), info_message("other"), "remap depth and depth_camera_info"),
        (depth_message(), CameraInfo(header=header()), "CameraInfo of the depth images"),
        (depth_message(values=MILLIMETRES[:30].copy()), info_message(), "CameraInfo of the depth images"),
        (depth_message(frame_id="depth"), info_message("depth"), "let the driver publish TF"),
        (raw(np.zeros((48, 192), np.uint8), "rgb8", header=header()), info_message(), "16UC1"),
    ],
    ids=["other frame", "other aspect", "info of another", "empty info", "other size", "no TF", "colour"],
)
def test_unusable_depth_is_named_and_colour_remains(setup, depth, info, text) -> None:
    if info is not None:
        setup.info(info)
    setup.send(depth)
    assert setup.find() is DepthStatus.UNUSABLE
    assert text in setup.log[-1]


def test_unaligned_depth_is_registered_by_tf(setup, monkeypatch) -> None:
    beside = Pose(np.eye(3), np.array([0.05, 0, 0]))

    class Motion:
        def __init__(self, node, frame_id):
            pass

        def pose_in(self, frame_id, depth_header):
            if (frame_id, depth_header.frame_id) != ("camera", "depth"):
                raise TransformUnavailable("no")
            return beside

        def close(self):
            pass

    monkeypatch.setattr(depth_input, "CameraMotion", Motion)
    setup.info(info_message("depth"))
    setup.send(depth_message(0, "depth"))
    assert setup.find() is DepthStatus.UNUSABLE  # TF is listened to from now on
    setup.send(depth_message(33, "depth"))
    found = setup.find(33)
    assert isinstance(found, DepthImage) and found.pose is beside


def test_a_restarted_bag_does_not_leave_depth_images_of_the_future(setup) -> None:
    for milliseconds in (800, 833, 0):
        setup.send(depth_message(milliseconds))
    assert isinstance(setup.find(0), DepthImage)


@pytest.mark.ros
def test_the_node_gives_depth_images_to_the_estimator(client) -> None:
    from live_node import FakeEstimator, LiveNode

    from wildhands_ros.msg import HandArray
    from wildhands_ros.ros.images import encode_image

    node = LiveNode("/with_depth", FakeEstimator, depth_transport="compressedDepth")
    try:
        client.listen("/with_depth/hands", HandArray)
        images = client.publisher("/with_depth/image", Image)
        depths = client.publisher("/with_depth/depth/compressedDepth", CompressedImage)
        infos = [client.publisher(f"/with_depth/{name}", CameraInfo) for name in ("camera_info", "depth_camera_info")]
        number = 0

        def send() -> None:
            nonlocal number
            number += 1
            stamped = header(number)
            for publisher in infos:
                publisher.publish(camera_info(CAMERA, stamped))
            message = compressed(png(MILLIMETRES))
            message.header = stamped
            depths.publish(message)
            images.publish(encode_image(np.zeros((48, 64, 3), np.uint8), stamped))

        def used() -> bool:
            return any(isinstance(depth, DepthImage) for made in node.estimators for depth in made.depths)

        client.until(used, "the estimator gets a depth image", meanwhile=send)
        found = next(depth for depth in node.estimator.depths if isinstance(depth, DepthImage))
        np.testing.assert_allclose(found.depth, MILLIMETRES / 1000, atol=1e-6)
    finally:
        node.close()
