"""The node as a process that communicates over DDS."""

from __future__ import annotations

import array
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from ros_graph import Client, NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import MarkerArray

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MEDIAPIPE_JOINT_NAMES
from wildhands_ros.io.camera_files import load_calibration
from wildhands_ros.io.sources import open_source
from wildhands_ros.msg import Hand, HandArray, HandMeshTopology
from wildhands_ros.ros.camera_info import camera_info
from wildhands_ros.ros.images import decode_image, encode_image
from wildhands_ros.types import Side

pytestmark = pytest.mark.ros

ROOT = Path(__file__).parent.parent
CLIP = ROOT / "demo" / "clip.mp4"
REAL_VIDEO = ROOT.parent / "shared" / "real_hands" / "hand_video.mp4"
NUM_FRAMES = 12
FRAME_ID = "test_camera_optical"


@pytest.fixture(scope="module")
def stream() -> tuple[list[np.ndarray], Camera]:
    """Returns images with hands, and their camera."""
    video = CLIP if CLIP.is_file() else REAL_VIDEO
    if not video.is_file():
        pytest.skip("neither demo/clip.mp4 nor the video of real hands exists")
    # Skips the first second, in which hands enter the image.
    images = [frame.image for _, frame in zip(range(30 + NUM_FRAMES), open_source(str(video)), strict=False)][30:]
    height, width = images[0].shape[:2]
    if video is CLIP:
        camera, _ = load_calibration(CLIP.with_name("camera_info.yaml")).camera(width, height, rectified=False)
    else:
        camera = Camera.guess(width, height)
    return images, camera


def stamp(number: int) -> Time:
    return Time(sec=1000 + number // 30, nanosec=number % 30 * 33_333_333)


class CameraDriver:
    """Publishes images and CameraInfo with increasing stamps, as a camera driver does."""

    def __init__(self, client: Client, camera: Camera, prefix: str = "", **options):
        self.images = client.publisher(f"{prefix}/image", Image, **options)
        self.infos = client.publisher(f"{prefix}/camera_info", CameraInfo, **options)
        self.camera = camera
        self.number = 0

    def header(self) -> Header:
        self.number += 1
        return Header(stamp=stamp(self.number), frame_id=FRAME_ID)

    def send(self, image: np.ndarray | Image, info: CameraInfo | None = None) -> Header:
        self.infos.publish(camera_info(self.camera, Header(frame_id=FRAME_ID)) if info is None else info)
        return self.send_image(image)

    def send_image(self, image: np.ndarray | Image) -> Header:
        header = self.header()
        message = encode_image(image, header) if isinstance(image, np.ndarray) else image
        message.header = header
        self.images.publish(message)
        return header


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Starts the node with default parameters."""
    node = NodeProcess(tmp_path_factory.mktemp("node") / "log")
    yield node
    assert node.stop() == 0
    assert "Traceback" not in node.output


@pytest.fixture(scope="module")
def camera(client, stream):
    return CameraDriver(client, stream[1])


def wait_until_loaded(client: Client, name: str = "wildhands") -> None:
    client.until(lambda: client.diagnostics(name).get("state") == "active", f"{name} has loaded")


def send_until_processed(client: Client, camera: CameraDriver, image: np.ndarray) -> Header:
    """Sends the image until the node has processed it; returns its header.

    Best effort loses large images often, several in a row at times.
    """
    tried: list[Header] = []
    client.until(
        lambda: client.received["/hands"] and client.received["/hands"][-1].header in tried,
        "the hands of the image",
        meanwhile=lambda: tried.append(camera.send(image)),
        every=2,
    )
    return client.received["/hands"][-1].header


@pytest.mark.smoke
def test_images_are_rejected_until_a_camera_info_arrives(client, node, camera, stream):
    client.listen("/hands", HandArray)
    wait_until_loaded(client)
    client.until(
        lambda: "rejected: no_camera_info" in client.diagnostics("wildhands"),
        "no_camera_info is counted",
        meanwhile=lambda: camera.send_image(stream[0][0]),
    )
    status = client.diagnostics("wildhands")
    assert status["level"] == DiagnosticStatus.WARN and "no CameraInfo on /camera_info" in status["message"]
    assert "no CameraInfo on /camera_info" in node.output
    assert not client.received["/hands"]


@pytest.mark.smoke
def test_hands_of_a_stream_are_published_on_all_topics(client, node, camera, stream):
    images, intrinsics = stream
    for topic, kind in {"/hands/markers": MarkerArray, "/hands/debug_image": Image, "/tf": TFMessage}.items():
        client.listen(topic, kind)
    client.listen("/hands/mesh_topology", HandMeshTopology, latched=True)
    client.until(
        lambda: camera.images.get_subscription_count() and camera.infos.get_subscription_count(), "the node subscribes"
    )
    # Some topics are published only if the node knows their subscribers.
    heard = ("hands", "hands/markers", "hands/debug_image", "hands/mesh_topology", "/tf")
    client.until(
        lambda: all(client.diagnostics("wildhands").get(f"subscribers: {topic}") == "1" for topic in heard),
        "the node has a subscriber",
    )
    sent = []
    for image in images:
        sent.append(send_until_processed(client, camera, image))
    client.until(
        lambda: sent[-1] in [item.header for item in client.received["/hands/debug_image"]], "the last overlay"
    )

    # There is one message per image, with its header.
    messages = {(item.header.stamp.sec, item.header.stamp.nanosec): item for item in client.received["/hands"]}
    answers = [messages[header.stamp.sec, header.stamp.nanosec] for header in sent]
    assert sum(bool(answer.hands) for answer in answers) >= 0.9 * NUM_FRAMES
    for answer in answers:
        assert answer.header.frame_id == FRAME_ID
        np.testing.assert_allclose(answer.k.reshape(3, 3), intrinsics.k)
        assert (answer.width, answer.height) == (intrinsics.width, intrinsics.height)
        assert answer.intrinsics_source == HandArray.INTRINSICS_CAMERA_INFO
        for hand in answer.hands:
            side = Side.RIGHT if hand.side == Hand.SIDE_RIGHT else Side.LEFT
            joints, vertices = hand.joints.reshape(21, 3), np.reshape(hand.vertices, (-1, 3))
            assert len(vertices) == len(open_hand(side).v_template)
            assert 0.1 < joints[0, 2] < 3 and np.linalg.norm(vertices - joints[0], axis=-1).max() < 0.3
            np.testing.assert_allclose(hand.joints_2d.reshape(21, 2), intrinsics.project(joints), atol=0.5)
            assert hand.reprojection_error < 0.1 and np.isfinite(hand.joints_stddev).all()
            assert hand.wrist.covariance[0] > 0

    topologies = {item.side: item for item in client.received["/hands/mesh_topology"]}
    assert set(topologies) == {Hand.SIDE_RIGHT, Hand.SIDE_LEFT}, "a late subscriber receives both"
    first = next(answer for answer in answers if answer.hands)
    assert len(first.hands[0].vertices) == 3 * topologies[first.hands[0].side].num_vertices

    frames = [item for message in client.received["/tf"] for item in message.transforms]
    assert {item.header.frame_id for item in frames} == {FRAME_ID}
    assert {item.child_frame_id.split("_", 1)[1] for item in frames} >= set(MEDIAPIPE_JOINT_NAMES)
    assert all(len(message.transforms) % 21 == 0 for message in client.received["/tf"])
    assert {marker.id for marker in client.received["/hands/markers"][-1].markers} == {0, 1, 2}
    overlay = decode_image(client.received["/hands/debug_image"][-1])
    assert overlay.shape == images[-1].shape and (overlay != images[-1]).any()
    client.until(
        lambda: client.diagnostics("wildhands")["intrinsics"] == "camera_info", "the next diagnostics report the source"
    )


def test_an_image_without_hands_gives_an_empty_array(client, node, camera, stream):
    send_until_processed(client, camera, np.full_like(stream[0][0], 90))
    assert client.received["/hands"][-1].hands == []


def test_images_without_a_frame_id_give_hands_but_no_transforms(client, node, camera, stream):
    def send():
        header = camera.header()
        header.frame_id = ""
        camera.infos.publish(camera_info(camera.camera, header))
        camera.images.publish(encode_image(stream[0][-1], header))

    unframed = lambda: [item for item in client.received["/hands"] if item.hands and not item.header.frame_id]  # noqa: E731
    client.until(lambda: len(unframed()) > 3, "hands", meanwhile=send)
    client.until(
        lambda: "no frame_id" in client.diagnostics("wildhands")["message"], "the reason is given", meanwhile=send
    )
    frames = [item for message in client.received["/tf"] for item in message.transforms]
    assert all(item.header.frame_id for item in frames)


def altered_image(image: np.ndarray, **fields) -> Image:
    message = encode_image(image, Header())
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def altered_info(camera: Camera, **fields) -> CameraInfo:
    message = camera_info(camera, Header(frame_id=FRAME_ID))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


BAD_INPUTS = {
    "zero K": (
        lambda image, camera: (image, altered_info(camera, k=np.zeros(9), p=np.zeros(12))),
        "bad_camera_info",
        "zero",
    ),
    "NaN in K": (lambda image, camera: (image, altered_info(camera, k=np.full(9, np.nan))), "bad_camera_info", "NaN"),
    "size mismatch": (lambda image, camera: (image[:-200].copy(), None), "bad_camera_info", "aspect"),
    "unknown encoding": (
        lambda image, camera: (altered_image(image, encoding="8UC3"), None),
        "unsupported_encoding",
        "8UC3",
    ),
    "truncated data": (
        lambda image, camera: (altered_image(image, data=array.array("B", bytes(5000))), None),
        "truncated_image",
        "5000",
    ),
    "empty image": (lambda image, camera: (Image(encoding="rgb8"), None), "empty_image", "empty"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_invalid_input_is_named_and_the_node_keeps_running(client, node, camera, stream, case):
    make, name, words = BAD_INPUTS[case]
    image = stream[0][-1]
    counted = lambda: int(client.diagnostics("wildhands").get(f"rejected: {name}", 0))  # noqa: E731
    before = counted()
    bad_image, bad_info = make(image, camera.camera)
    client.until(
        lambda: counted() > before and words in client.diagnostics("wildhands")["message"],
        f"{name} is counted and explained",
        meanwhile=lambda: camera.send(bad_image, bad_info),
    )
    assert f"{name}: " in node.output
    # The first image may have overtaken its CameraInfo.
    before = counted()
    rejected = []
    client.until(
        lambda: counted() > before,
        f"{name} is counted again",
        meanwhile=lambda: rejected.append(camera.send_image(bad_image)),
    )
    assert not [item for item in client.received["/hands"] if item.header in rejected], (
        "nothing is published for a rejected image"
    )
    answered = len(client.received["/hands"])
    client.until(lambda: client.received["/hands"][answered:], "hands again", meanwhile=lambda: camera.send(image))
    assert client.received["/hands"][-1].hands


def test_compressed_images_external_detections_and_a_field_of_view(client, stream, tmp_path):
    images, camera = stream
    node = NodeProcess(
        tmp_path / "log",
        "/second",
        image_transport="compressed",
        image_reliability="reliable",
        intrinsics="horizontal_fov",
        horizontal_fov=1.2,
        detector__type="topic",
        detector__right_class_ids="[r]",
        tf_prefix="second_",
        publish_vertices=False,
    )
    client.listen("/second/hands", HandArray)
    wait_until_loaded(client, "second/wildhands")

    # A best-effort publisher does not match image_reliability, and the node says so.
    unreliable = client.publisher("/second/image/compressed", CompressedImage, reliable=False)
    client.until(
        lambda: "image_reliability" in client.diagnostics("second/wildhands")["message"], "the mismatch is reported"
    )
    client.node.destroy_publisher(unreliable)

    answers = [answer for answer in client.received["/hands"] if answer.hands]
    box = answers[-1].hands[0].bbox
    image_topic = client.publisher("/second/image/compressed", CompressedImage)
    boxes_topic = client.publisher("/second/detections", Detection2DArray)
    client.until(
        lambda: image_topic.get_subscription_count() and boxes_topic.get_subscription_count(), "the node subscribes"
    )
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = "r", 0.9
    detection = Detection2D(results=[result])
    detection.bbox.center.position.x, detection.bbox.center.position.y = (
        float(box[0] + box[2]) / 2,
        float(box[1] + box[3]) / 2,
    )
    detection.bbox.size_x, detection.bbox.size_y = float(box[2] - box[0]), float(box[3] - box[1])
    data = array.array("B", cv2.imencode(".jpg", images[-1][..., ::-1])[1].tobytes())
    numbers = iter(range(1, 1000))

    def send():
        header = Header(stamp=stamp(next(numbers)), frame_id=FRAME_ID)
        image_topic.publish(CompressedImage(header=header, format="jpeg", data=data))
        boxes_topic.publish(Detection2DArray(header=header, detections=[detection]))

    client.until(lambda: client.received["/second/hands"], "hands", meanwhile=send)

    def send_every_second():
        image_topic.publish(
            CompressedImage(
                header=Header(stamp=stamp(number := next(numbers)), frame_id=FRAME_ID), format="jpeg", data=data
            )
        )
        if number % 2:
            send()

    lost = "rejected: no_detections"
    client.until(
        lambda: lost in client.diagnostics("second/wildhands"), "a slow detector is named", meanwhile=send_every_second
    )
    answer = client.received["/second/hands"][0]
    assert answer.intrinsics_source == HandArray.INTRINSICS_FIELD_OF_VIEW
    assert answer.k[0] == pytest.approx(camera.width / 2 / np.tan(0.6))
    assert [hand.side for hand in answer.hands] == [Hand.SIDE_RIGHT] and not answer.hands[0].vertices
    assert node.stop(signal.SIGTERM) == 0
    assert "Traceback" not in node.output


def test_hands_are_tracked_between_occasional_detections(client, stream, tmp_path):
    images, camera = stream
    node = NodeProcess(
        tmp_path / "log",
        "/third",
        detector__type="tracks",
        intrinsics="guess",
        tf="off",
        publish_vertices=False,
        detector__max_hands=1,
    )
    client.listen("/third/hands", HandArray)
    wait_until_loaded(client, "third/wildhands")
    box = next(answer for answer in client.received["/hands"][::-1] if answer.hands).hands[0].bbox
    driver = CameraDriver(client, camera, "/third")
    client.until(
        lambda: "/third/detections" in client.diagnostics("third/wildhands")["warnings"], "a missing detector is named"
    )
    # Detectors may publish with best effort.
    boxes_topic = client.publisher("/third/detections", Detection2DArray, reliable=False)
    client.until(
        lambda: boxes_topic.get_subscription_count() and driver.images.get_subscription_count(), "the node subscribes"
    )
    client.until(
        lambda: client.received["/third/hands"],
        "images do not wait for detections",
        meanwhile=lambda: driver.send(images[-1]),
    )
    assert not client.received["/third/hands"][0].hands

    results = [ObjectHypothesisWithPose() for _ in range(2)]
    for result, name in zip(results, ("hand", "cup"), strict=True):
        result.hypothesis.class_id, result.hypothesis.score = name, 0.9
    found = [Detection2D(results=[result]) for result in results]
    for item in found:
        item.bbox.center.position.x, item.bbox.center.position.y = (
            float(box[0] + box[2]) / 2,
            float(box[1] + box[3]) / 2,
        )
        item.bbox.size_x, item.bbox.size_y = float(box[2] - box[0]), float(box[3] - box[1])

    def send():
        boxes_topic.publish(Detection2DArray(header=driver.send(images[-1]), detections=found))

    client.until(lambda: client.received["/third/hands"][-1].hands, "the detection is used", meanwhile=send)
    client.until(
        lambda: "ignored detections: class cup" in client.diagnostics("third/wildhands"),
        "detections of other classes are counted",
    )
    assert "/third/detections" not in client.diagnostics("third/wildhands")["warnings"]
    count = len(client.received["/third/hands"])
    client.until(
        lambda: len(client.received["/third/hands"]) > count + 3,
        "more images",
        meanwhile=lambda: driver.send(images[-1]),
    )
    assert all(answer.hands for answer in client.received["/third/hands"][count + 1 :]), "followed without detections"

    def send_late():
        boxes_topic.publish(Detection2DArray(header=Header(stamp=stamp(1), frame_id=FRAME_ID), detections=found))
        driver.send(images[-1])

    client.until(
        lambda: "rejected: stale_detections" in client.diagnostics("third/wildhands"),
        "late detections are named",
        meanwhile=send_late,
    )
    assert node.stop() == 0
    assert "Traceback" not in node.output


def test_files_that_cannot_be_loaded_are_named_and_the_node_keeps_running(client, stream, tmp_path):
    corrupt = tmp_path / "corrupt.safetensors"
    corrupt.write_bytes(b"this is not a checkpoint")
    (tmp_path / "mano").mkdir()
    cases = {
        "unknown_checkpoint": ({"checkpoint": str(tmp_path / "nowhere.safetensors")}, "nowhere.safetensors"),
        "corrupt_checkpoint": ({"checkpoint": str(corrupt)}, "corrupt.safetensors"),
        "wrong_mano_folder": ({"hand_model": str(tmp_path / "mano")}, "mano"),
    }
    nodes = {name: NodeProcess(tmp_path / name, f"/{name}", **parameters) for name, (parameters, _) in cases.items()}
    for name, (_, words) in cases.items():
        client.until(
            lambda name=name: client.diagnostics(f"{name}/wildhands").get("level") == DiagnosticStatus.ERROR,
            f"{name} fails",
        )
        status = client.diagnostics(f"{name}/wildhands")
        assert status["level"] == DiagnosticStatus.ERROR
        assert words in status["message"] and "Traceback" not in status["message"]
        assert words in nodes[name].output
        assert nodes[name].process.poll() is None
    for node in nodes.values():
        assert node.stop() == 0
        assert "Traceback" not in node.output


def test_an_invalid_parameter_ends_the_node_with_a_message(tmp_path):
    node = NodeProcess(tmp_path / "log", tf="everything")
    assert node.wait() == 1
    assert "off, wrist, joints" in node.output and "Traceback" not in node.output


def test_a_signal_soon_after_the_start_ends_the_node_cleanly(client, tmp_path):
    node = NodeProcess(tmp_path / "log", "/ending")
    client.until(lambda: client.diagnostics("ending/wildhands"), "the node shows itself")
    assert node.stop(signal.SIGTERM) == 0
    assert "Traceback" not in node.output
