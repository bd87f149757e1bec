"""CameraInfo in the node: refusals by name, warnings in diagnostics, publishers that send once."""

from __future__ import annotations

import array
import uuid
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from live_node import LiveNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_samples import CAMERA, header
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from wildhands_ros.io.images import encode_image as compressed
from wildhands_ros.msg import HandArray
from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.cameras import Cameras
from wildhands_ros.ros.diagnostics import Health
from wildhands_ros.ros.images import decode_compressed, encode_image
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.ros.rejections import InputRejected

pytestmark = pytest.mark.ros

WIDTH, HEIGHT = CAMERA.width, CAMERA.height


def altered(**fields) -> CameraInfo:
    message = camera_info(CAMERA, header(frame_id="camera"))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"binning_x": 2**32 - 1}, "bad_binning"),
        ({"d": [0.1] * 1000}, "bad_distortion"),
        ({"d": [1e308] * 5}, "bad_distortion"),
        ({"width": 0}, "bad_camera_size"),
        ({"height": 2**32 - 1}, "bad_camera_size"),
        ({"d": [-2500.0, -800.0, 0.0, 0.0, 0.0]}, "lens_folds"),
        ({"k": np.zeros(9)}, "bad_camera_info"),
        # A driver without a calibration file: https://github.com/ros-drivers/gscam/pull/104
        ({"k": np.zeros(9), "p": np.zeros(12), "d": [], "width": 0, "height": 0}, "bad_camera_info"),
        # https://github.com/orbbec/OrbbecSDK_ROS2/issues/134
        ({"k": [np.nan, 0.0, np.nan, 0.0, np.nan, np.nan, 0.0, 0.0, 1.0]}, "bad_camera_info"),
    ],
)
def test_refusals_have_names(fields, name):
    cameras = Cameras("/camera_info", Health(lambda _: None))
    cameras.add(altered(**fields))
    with pytest.raises(InputRejected) as error:
        cameras.camera("camera", WIDTH, HEIGHT, Parameters())
    assert error.value.name == name


def test_an_image_that_does_not_fit_is_not_decoded(monkeypatch):
    """A few kilobytes could claim to be as large as ``max_megapixels`` allows."""
    cameras, decoded = Cameras("/camera_info", Health(lambda _: None)), []
    monkeypatch.setattr("wildhands_ros.ros.images.decode_checked", lambda header, **_: decoded.append(header))
    check_size = partial(cameras.check_size, parameters=Parameters())
    image = compressed(np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8), ".png")
    message = CompressedImage(format="png", data=array.array("B", image))
    decode_compressed(message, check_size=check_size)  # no CameraInfo has arrived
    cameras.add(altered())
    with pytest.raises(InputRejected) as error:
        decode_compressed(message, check_size=check_size)
    assert error.value.name == "bad_camera_info" and len(decoded) == 1
    message.data = array.array("B", compressed(np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8), ".png"))
    decode_compressed(message, check_size=check_size)
    assert len(decoded) == 2


def test_an_uncalibrated_camera_is_called_so():
    """As in github.com/orbbec/OrbbecSDK_ROS2/issues/94, where only the last elements of K and P are set."""
    cameras = Cameras("/camera_info", Health(lambda _: None))
    k, p = np.zeros(9), np.zeros(12)
    k[8] = p[10] = 1.0
    cameras.add(altered(k=k, p=p))
    with pytest.raises(InputRejected, match="uncalibrated: calibrate it"):
        cameras.camera("camera", WIDTH, HEIGHT, Parameters())


def test_other_topics_with_camera_info_are_named():
    """As in github.com/ros-perception/image_pipeline/issues/839: a remapping moved the images only."""
    cameras = Cameras("/left/camera_info", Health(lambda _: None))
    cameras.offered = ("/camera_info", "/right/camera_info")
    with pytest.raises(InputRejected, match="published on /camera_info, /right/camera_info"):
        cameras.camera("camera", WIDTH, HEIGHT, Parameters())


@pytest.mark.parametrize(
    "coefficients", [[-0.03, 0.035, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0], [0.9, 0.4, 0, 0, 0.1, 1, 0.5, 0.1]]
)
def test_plumb_bob_with_eight_coefficients_is_read(coefficients):
    cameras = Cameras("/camera_info", Health(lambda _: None))
    cameras.add(altered(distortion_model="plumb_bob", d=list(map(float, coefficients))))
    camera, _ = cameras.camera("camera", WIDTH, HEIGHT, Parameters())
    np.testing.assert_array_equal(camera.d, np.trim_zeros(np.array(coefficients), "b"))


def test_an_implausible_calibration_is_a_warning_until_it_is_replaced():
    log = []
    cameras = Cameras("/camera_info", Health(log.append))
    cameras.add(altered(d=[-0.9, 0.0, 0.0, 0.0, 0.0], distortion_model="plumb_bob"))
    for _ in range(3):
        cameras.camera("camera", WIDTH, HEIGHT, Parameters())
    cameras.add(altered())
    cameras.camera("camera", WIDTH, HEIGHT, Parameters())
    assert len(log) == 1 and "viewing direction for only" in log[0]


@pytest.fixture
def live(client):
    namespace = f"/n{uuid.uuid4().hex[:8]}"
    client.listen(f"{namespace}/hands", HandArray)
    node = LiveNode(namespace)
    yield node, namespace
    node.close()


def latched(client, topic: str):
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    return client.node.create_publisher(CameraInfo, topic, qos)


@pytest.mark.parametrize("comes_first", [True, False])
def test_a_camera_info_that_is_sent_once_arrives(client, comes_first):
    namespace = f"/n{uuid.uuid4().hex[:8]}"
    client.listen(f"{namespace}/hands", HandArray)
    infos = None
    if comes_first:
        infos = latched(client, f"{namespace}/camera_info")
        infos.publish(altered())
    node = LiveNode(namespace)
    try:
        client.until(lambda: node.node.state_label == "active", "the node is active")
        if not comes_first:
            infos = latched(client, f"{namespace}/camera_info")
            infos.publish(altered())
        images = client.publisher(f"{namespace}/image", Image)
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        numbers = iter(range(1, 10_000))
        client.until(
            lambda: client.received[f"{namespace}/hands"],
            "hands",
            meanwhile=lambda: images.publish(encode_image(image, header(1000, next(numbers) * 1_000_000, "camera"))),
        )
    finally:
        node.close()
        client.node.destroy_publisher(infos)


def test_diagnostics_are_not_ok_with_an_implausible_calibration(client, live):
    node, namespace = live
    name = f"{namespace[1:]}/wildhands"
    client.until(lambda: node.node.state_label == "active", "the node is active")
    infos, images = (
        client.publisher(f"{namespace}/camera_info", CameraInfo),
        client.publisher(f"{namespace}/image", Image),
    )
    image, numbers = np.zeros((HEIGHT, WIDTH, 3), np.uint8), iter(range(1, 10_000))

    def send(**fields):
        infos.publish(altered(**fields))
        images.publish(encode_image(image, header(1000, next(numbers) * 1_000_000, "camera")))

    narrow = {"d": [-0.9, 0.0, 0.0, 0.0, 0.0], "distortion_model": "plumb_bob"}
    client.until(
        lambda: (
            client.received[f"{namespace}/hands"]
            and "viewing direction for only" in client.diagnostics(name).get("message", "")
        ),
        "hands, and the warning",
        meanwhile=lambda: send(**narrow),
    )
    assert client.diagnostics(name)["level"] == DiagnosticStatus.WARN
    client.until(
        lambda: (
            client.diagnostics(name).get("rejected: bad_distortion")
            and "1000" in client.diagnostics(name).get("message", "")
        ),
        "D of 1000 numbers is refused by name",
        meanwhile=lambda: send(d=[0.1] * 1000),
    )
    assert "rejected: internal_error" not in client.diagnostics(name)
