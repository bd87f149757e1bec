"""Conversion between ROS messages and the types of the core: images, calibrations, detections, markers, transforms."""

from __future__ import annotations

import array
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message
from ros_samples import CAMERA, hand, header
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
from visualization_msgs.msg import Marker, MarkerArray

from wildhands_ros.geometry.calibration import CalibrationError, IntrinsicsSource
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MEDIAPIPE_BONES, MEDIAPIPE_JOINT_NAMES
from wildhands_ros.ros.camera_info import calibration, camera_info
from wildhands_ros.ros.detection_messages import MAX_HANDS, HandClassIds, HandDetections, hand_detections
from wildhands_ros.ros.diagnostics import Health, NodeStatus
from wildhands_ros.ros.images import SUPPORTED, ImageDecodeError, decode_compressed, decode_image, encode_image
from wildhands_ros.ros.markers import MarkerBuilder
from wildhands_ros.ros.parameters import Parameters
from wildhands_ros.ros.transforms import TransformBuilder
from wildhands_ros.tracking.tracks import hand_names
from wildhands_ros.types import Side
from wildhands_ros.visualization.overlay import label_text

RNG = np.random.default_rng(5)
WIDTH, HEIGHT = 22, 16
RGB = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
SMOOTH = cv2.resize(RNG.integers(0, 256, (3, 3, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)

BAYER = {
    "rggb": ((0, 0), (0, 1), (1, 1)),
    "bggr": ((1, 1), (0, 1), (0, 0)),
    "gbrg": ((1, 0), (0, 0), (0, 1)),
    "grbg": ((0, 1), (0, 0), (1, 0)),
}
"""Offsets of a red, a green and a blue pixel in each 2x2 Bayer pattern."""


def image_message(encoding: str, pixels: np.ndarray, padding: int = 0, big_endian: bool = False) -> Image:
    if pixels.dtype == np.uint16:
        pixels = pixels.astype(">u2" if big_endian else "<u2")
    rows = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8).reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    message = Image(
        height=len(pixels), width=pixels.shape[1], encoding=encoding, step=rows.shape[1], is_bigendian=int(big_endian)
    )
    message.data = array.array("B", rows.tobytes())
    return message


def encoded(encoding: str, rgb: np.ndarray) -> np.ndarray:
    """Returns the pixels of an RGB image in an encoding; uses OpenCV only for YUV, which is rounded."""
    wide = rgb.astype(np.uint16) * 257 if encoding.endswith("16") else rgb
    layout = encoding.removesuffix("8").removesuffix("16")
    if layout in ("rgb", "bgr", "rgba", "bgra"):
        channels = [wide[..., "rgb".index(name)] if name in "rgb" else np.full_like(wide[..., 0], 7) for name in layout]
        return np.stack(channels, axis=-1)
    if layout == "mono":
        return wide[..., 0]
    if layout.startswith("bayer"):
        mosaic = wide[..., 1].copy()
        red, _, blue = BAYER[layout[-4:]]
        mosaic[red[0] :: 2, red[1] :: 2] = wide[red[0] :: 2, red[1] :: 2, 0]
        mosaic[blue[0] :: 2, blue[1] :: 2] = wide[blue[0] :: 2, blue[1] :: 2, 2]
        return mosaic
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV).astype(float)
    luma, chroma = 16 + yuv[..., 0] * 219 / 255, None
    b_minus_y, r_minus_y = rgb[..., 2] - yuv[..., 0], rgb[..., 0] - yuv[..., 0]
    u, v = 128 + b_minus_y * 112 / (255 * 0.886), 128 + r_minus_y * 112 / (255 * 0.701)
    chroma = np.where(np.arange(WIDTH) % 2 == 0, u, v)
    order = (luma, chroma) if encoding in ("yuyv", "yuv422_yuy2") else (chroma, luma)
    return np.stack(order, axis=-1).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("padding", [0, 10], ids=["tight", "padded"])
@pytest.mark.parametrize("encoding", [encoding for encoding in SUPPORTED if not encoding.startswith("nv")])
def test_every_supported_encoding_is_decoded(encoding, padding):
    exact = encoding.startswith(("rgb", "bgr", "mono"))
    rgb = RGB if exact else SMOOTH
    decoded = decode_image(image_message(encoding, encoded(encoding, rgb), padding))
    assert decoded.dtype == np.uint8 and decoded.shape == (HEIGHT, WIDTH, 3)
    expected = np.repeat(rgb[..., :1], 3, axis=-1) if encoding.startswith("mono") else rgb
    if exact:
        np.testing.assert_array_equal(decoded, expected)
    else:
        # Subsampled colours: interior pixels, within the interpolation error of a smooth image.
        assert np.abs(decoded[2:-2, 2:-2].astype(int) - expected[2:-2, 2:-2]).mean() < 8


@pytest.mark.parametrize("encoding", [name for name in SUPPORTED if name.endswith("16")])
def test_byte_order_is_respected(encoding):
    pixels = encoded(encoding, RGB)
    np.testing.assert_array_equal(
        decode_image(image_message(encoding, pixels, big_endian=True)),
        decode_image(image_message(encoding, pixels, big_endian=False)),
    )


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_rggb16"])
def test_images_that_use_fewer_than_16_bits_keep_their_brightness(encoding, bits):
    pixels = encoded(encoding, RGB)
    of_sensor = (pixels.astype(int) * ((1 << bits) - 1) // 65535).astype(np.uint16)
    difference = decode_image(image_message(encoding, of_sensor)).astype(int) - decode_image(
        image_message(encoding, pixels)
    )
    assert np.abs(difference).max() <= 1


def changed(message: Image, **fields) -> Image:
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "name", "words"),
    [
        (Image(encoding="rgb8"), "empty_image", "0x0"),
        (changed(image_message("rgb8", RGB), data=array.array("B")), "empty_image", "0 bytes"),
        (changed(image_message("rgb8", RGB), height=0), "empty_image", "22x0"),
        (changed(image_message("rgb8", RGB), encoding="8UC3"), "unsupported_encoding", "'8UC3'"),
        (changed(image_message("rgb8", RGB), encoding=""), "unsupported_encoding", "''"),
        (
            changed(image_message("mono16", RGB[..., 0].astype(np.uint16)), encoding="16UC1"),
            "unsupported_encoding",
            "depth",
        ),
        (changed(image_message("rgb8", RGB), encoding="32FC1"), "unsupported_encoding", "depth"),
        (
            changed(image_message("rgb8", RGB), data=array.array("B", bytes(1000))),
            "truncated_image",
            "1000 of 1056 bytes",
        ),
        (changed(image_message("rgb8", RGB), step=22), "truncated_image", "step is 22"),
        (changed(image_message("rgb8", RGB), height=2**31), "truncated_image", "1056 of"),
    ],
)
def test_bad_images_are_rejected_by_name(message, name, words):
    with pytest.raises(ImageDecodeError) as raised:
        decode_image(message)
    assert raised.value.name == name and words in str(raised.value)


NAMED = [
    f"{bits}{kind}C{channels}"
    for bits, kind in (*((b, k) for b in (8, 16) for k in "US"), (32, "S"), (32, "F"), (64, "F"))
    for channels in "1234"
]
"""The abstract encodings of sensor_msgs/image_encodings.hpp."""


@pytest.mark.parametrize("encoding", NAMED)
def test_every_other_encoding_of_sensor_msgs_is_rejected(encoding):
    message = Image(height=4, width=4, encoding=encoding, step=128, data=array.array("B", bytes(4 * 128)))
    with pytest.raises(ImageDecodeError) as raised:
        decode_image(message)
    assert raised.value.name == "unsupported_encoding" and encoding in str(raised.value)


def test_all_encodings_of_sensor_msgs_are_known():
    """Compares the supported encodings with image_encodings.hpp."""
    colours = [f"{order}{bits}" for order in ("rgb", "rgba", "bgr", "bgra", "mono") for bits in (8, 16)]
    bayer = [f"bayer_{order}{bits}" for order in BAYER for bits in (8, 16)]
    assert set(SUPPORTED) == {*colours, *bayer, "uyvy", "yuv422", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24"}


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_compressed_images(suffix):
    data = cv2.imencode(suffix, SMOOTH[..., ::-1])[1].tobytes()
    decoded = decode_compressed(CompressedImage(format=suffix[1:], data=array.array("B", data)))
    np.testing.assert_allclose(decoded, SMOOTH, atol=0 if suffix == ".png" else 25)
    with pytest.raises(ImageDecodeError) as raised:
        decode_compressed(CompressedImage(format=suffix[1:], data=array.array("B", data[:-20])))
    assert raised.value.name == "truncated_image"


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (CompressedImage(format="jpeg"), "empty_image"),
        (CompressedImage(format="jpeg", data=array.array("B", b"not an image")), "undecodable_image"),
        (CompressedImage(format="16UC1; compressedDepth png", data=array.array("B", b"12345")), "unsupported_encoding"),
    ],
)
def test_bad_compressed_images_are_rejected_by_name(message, name):
    with pytest.raises(ImageDecodeError) as raised:
        decode_compressed(message)
    assert raised.value.name == name


def test_encoded_images_come_back():
    message = deserialize_message(serialize_message(encode_image(RGB, header())), Image)
    assert message.header == header() and message.step == 3 * WIDTH
    np.testing.assert_array_equal(decode_image(message), RGB)


def test_camera_info_round_trip():
    message = deserialize_message(serialize_message(camera_info(CAMERA, header())), CameraInfo)
    camera, source = calibration(message).camera(CAMERA.width, CAMERA.height, rectified=False)
    assert source is IntrinsicsSource.CAMERA_INFO and camera.distortion_model == CAMERA.distortion_model
    np.testing.assert_array_equal(camera.k, CAMERA.k)
    np.testing.assert_array_equal(camera.d, CAMERA.d)


def test_roi_and_binning_arrive():
    message = camera_info(CAMERA, header())
    message.roi = RegionOfInterest(x_offset=100, y_offset=50, width=400, height=300)
    message.binning_x, message.binning_y = 2, 3
    camera, source = calibration(message).camera(200, 100, rectified=False)
    assert source is IntrinsicsSource.CAMERA_INFO
    np.testing.assert_allclose(camera.k[:2], [[305, 0, 111.25], [0, 204, 188 / 3]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"k": np.zeros(9)}, "zero"),
        ({"k": np.full(9, np.nan)}, "NaN"),
        ({"k": np.array([-600.0, 0, 320, 0, 600, 240, 0, 0, 1])}, "positive"),
        ({"width": 0}, "0x480"),
        ({"distortion_model": "fisheye62"}, "fisheye62"),
        ({"width": 640, "height": 640}, "aspect"),
    ],
)
def test_unusable_camera_infos_are_rejected(change, words):
    message = camera_info(CAMERA, header())
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(CalibrationError, match=words):
        calibration(message).camera(640, 480, rectified=False)


def detection_message(
    class_scores: dict[str, float], x=100.0, y=80.0, width=40.0, height=20.0, theta=0.0
) -> Detection2D:
    message = Detection2D()
    message.bbox.center.position.x, message.bbox.center.position.y, message.bbox.center.theta = x, y, theta
    message.bbox.size_x, message.bbox.size_y = width, height
    for class_id, score in class_scores.items():
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = class_id, score
        message.results.append(result)
    return message


CLASS_IDS = HandClassIds(right=("right_hand",), left=("left_hand", "L"), hand=("hand",))


def converted(*items: Detection2D) -> HandDetections:
    return hand_detections(Detection2DArray(detections=list(items)), CLASS_IDS, 640, 480)


def test_detections_of_an_external_detector():
    items = [
        detection_message({"left_hand": 0.3, "right_hand": 0.7}),
        detection_message({"L": 0.6}, theta=np.pi / 2),
        detection_message({"hand": 0.8, "cup": 0.9}),
    ]
    result = converted(*items)
    found = result.hands
    assert [(item.side, item.score) for item in found] == [(None, 0.8), (Side.RIGHT, 0.7), (Side.LEFT, 0.6)]
    np.testing.assert_allclose(found[1].box, (80, 70, 120, 90))
    np.testing.assert_allclose(found[2].box, (90, 60, 110, 100))
    assert found[0].keypoints is None
    assert not result.ignored


def test_other_detections_are_ignored_and_counted():
    items = [
        detection_message({"cup": 0.99}),
        detection_message({"L": 0.6}, width=0.0),
        detection_message({"L": 0.6}, x=float("nan")),
        detection_message({"L": 0.6}, x=900.0),
        detection_message({"L": 0.6}, x=-50.0),
        detection_message({}),
    ]
    found = converted(*items)
    assert not found.hands
    assert found.ignored == {
        "class cup": 1,
        "class (none)": 1,
        "empty or non-finite box": 2,
        "box outside the image": 2,
    }
    health, status = Health(lambda text: None), NodeStatus("active", True, "image", 1)
    health.detections_ignored(found.ignored)
    health.detections_ignored(found.ignored)
    assert health.snapshot(status, Parameters()).values["ignored detections: class cup"] == "2"
    health.detections_ignored(Counter({f"class {i}": 1 for i in range(1000)}))
    assert len(health.snapshot(status, Parameters()).values) < 70


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf"), 1e308, 87.0, -0.5])
def test_scores_that_are_no_probability_are_ignored_by_name(score):
    found = converted(detection_message({"hand": score}), detection_message({"hand": 0.5}))
    assert [hand.score for hand in found.hands] == [0.5]
    assert [reason.startswith("score ") for reason in found.ignored] == [True]


def test_scores_are_rounded_into_their_range():
    found = converted(detection_message({"hand": 1.0000001}), detection_message({"hand": float("nan"), "L": 0.4}))
    assert [hand.score for hand in found.hands] == [1.0, 0.4]


@pytest.mark.parametrize("size", [1e4, 1e9, 1e18, 1e300, 1e308])
def test_huge_boxes_are_clipped_to_one_image_size_around_the_image(size):
    (hand,) = converted(detection_message({"hand": 0.5}, width=size, height=size)).hands
    np.testing.assert_allclose(hand.box, (-640, -480, 1280, 960))


@pytest.mark.parametrize("change", [{"x": np.inf}, {"theta": np.inf}, {"width": np.nan}, {"width": 1e-9}])
def test_impossible_boxes_are_ignored(change):
    assert converted(detection_message({"hand": 0.5}, **change)).ignored == {"empty or non-finite box": 1}


def test_of_very_many_detections_the_best_are_used():
    items = [detection_message({"hand": score}) for score in np.linspace(0.001, 1, 20_000)]
    start = time.process_time()
    found = converted(*items)
    assert time.process_time() - start < 2.0
    assert [hand.score for hand in found.hands] == pytest.approx(np.linspace(0.001, 1, 20_000)[: -MAX_HANDS - 1 : -1])
    assert found.ignored == {f"more than {MAX_HANDS} hands": 20_000 - MAX_HANDS}


def test_a_thousand_class_ids_are_not_all_named():
    found = converted(detection_message({f"{'x' * 200}{i}": 0.5 for i in range(1000)}))
    assert not found.hands
    assert all(len(reason) < 500 for reason in found.ignored)


@pytest.mark.parametrize(
    "name", ["keypoint_" + "9" * 5000, "keypoint_21", "keypoint_-1", "keypoint_\u0663", "\x1b[2J\n"]
)
def test_class_ids_that_only_look_like_keypoints_are_other_classes(name):
    found = converted(detection_message({name: 0.9}))
    (reason,) = found.ignored
    assert reason.startswith(("class keypoint_", "class \\x1b[2J")) and len(reason) < 60


def test_keypoints_far_outside_the_image_are_ignored():
    message = detection_message({"hand": 0.8})
    for number in range(21):
        keypoint = ObjectHypothesisWithPose()
        keypoint.hypothesis.class_id, keypoint.hypothesis.score = f"keypoint_{number}", 0.9
        keypoint.pose.pose.position.x = 1e12 if number == 3 else 100.0
        message.results.append(keypoint)
    (hand,) = converted(message).hands
    assert hand.keypoint_weights[3] == 0 and np.count_nonzero(hand.keypoint_weights) == 20


def test_keypoints_of_external_detections():
    message = detection_message({"hand": 0.8})
    for number in (0, 5, 9, 13, 17, 20):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = f"keypoint_{number}", 0.5
        result.pose.pose.position.x, result.pose.pose.position.y = 100.0 + number, 50.0
        message.results.append(result)
    (found,) = converted(message).hands
    np.testing.assert_allclose(found.keypoints[[9, 20]], [(109, 50), (120, 50)])
    np.testing.assert_allclose(found.keypoint_weights, np.where(np.isin(np.arange(21), (0, 5, 9, 13, 17, 20)), 0.5, 0))
    del message.results[-1]
    (found,) = converted(message).hands
    assert found.keypoints is None, "five keypoints are too few"


def test_the_converter_in_the_documentation():
    """Uses a stand-in with the fields of yolo_ros's message, whose package is not on PyPI."""
    text = (Path(__file__).parents[1] / "docs/detection.md").read_text()
    code = text[text.index("    from vision_msgs.msg") :]
    space = {}
    exec(textwrap.dedent(code), space)  # noqa: S102
    point = lambda x, y: SimpleNamespace(x=x, y=y)  # noqa: E731
    keypoints = [SimpleNamespace(id=i + 1, point=point(200.0 + i, 100.0), score=0.9) for i in range(21)]
    found = SimpleNamespace(
        class_name="hand",
        score=0.8,
        bbox=SimpleNamespace(center=SimpleNamespace(position=point(210.0, 120.0)), size=point(60.0, 80.0)),
        keypoints=SimpleNamespace(data=keypoints),
    )
    message = deserialize_message(
        serialize_message(space["convert"](SimpleNamespace(header=header(1), detections=[found]))), Detection2DArray
    )
    found = hand_detections(message, CLASS_IDS, 640, 480)
    (hand_found,) = found.hands
    np.testing.assert_allclose(hand_found.box, (180, 80, 240, 160))
    np.testing.assert_allclose(hand_found.keypoints[20], (220, 100))
    assert message.header == header(1) and not found.ignored


def received_markers(data: bytes) -> dict[tuple[str, int], Marker]:
    return {(marker.ns, marker.id): marker for marker in deserialize_message(data, MarkerArray).markers}


def points(marker: Marker) -> np.ndarray:
    return np.array([(point.x, point.y, point.z) for point in marker.points])


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@pytest.mark.parametrize("padding", [0, 10])
def test_images_whose_chroma_lies_below_the_luma(encoding, padding):
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "grey": (90, 90, 90)}
    rgb = np.repeat(np.array([list(colours.values())], np.uint8), 16, axis=1).repeat(8, axis=0)
    height, width = rgb.shape[:2]
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).ravel()
    luma, chroma = planar[: width * height].reshape(height, width), planar[width * height :].reshape(2, -1)
    order = chroma if encoding == "nv12" else chroma[::-1]
    rows = np.vstack([luma, np.stack(order, axis=-1).reshape(height // 2, width)])
    rows = np.pad(rows, ((0, 0), (0, padding)))
    message = Image(height=height, width=width, encoding=encoding, step=width + padding, data=rows.tobytes())
    assert np.abs(decode_image(message).astype(int) - rgb).max() <= 6
    message.data = rows.tobytes()[: -(width + padding)]
    with pytest.raises(ImageDecodeError, match="bytes") as refused:
        decode_image(message)
    assert refused.value.name == "truncated_image"
    with pytest.raises(ImageDecodeError, match="even"):
        decode_image(Image(height=height - 1, width=width, encoding=encoding, step=width, data=rows.tobytes()))


def test_chroma_of_full_resolution():
    """As in github.com/christianrauch/camera_ros/issues/54."""
    colours = np.array([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90)]], np.uint8)
    rgb = colours.repeat(16, axis=1).repeat(8, axis=0)
    height, width = rgb.shape[:2]
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).ravel()
    luma, chroma = planar[: width * height].reshape(height, width), planar[width * height :]
    full = chroma.reshape(2, height // 2, width // 2).repeat(2, axis=1).repeat(2, axis=2).transpose(1, 2, 0)
    data = luma.tobytes() + full.tobytes()
    message = Image(height=height, width=width, encoding="nv24", step=width, data=data)
    assert np.abs(decode_image(message).astype(int) - rgb).max() <= 6
    message.data = data[:-1]
    with pytest.raises(ImageDecodeError, match=f"has {len(data) - 1} of {len(data)} bytes"):
        decode_image(message)


@pytest.mark.parametrize("step", [0, 3])
def test_a_step_that_was_left_out_is_that_of_rows_without_padding(step):
    """As in github.com/mgonzs13/yolo_ros/issues/19 and Unity-Technologies/ROS-TCP-Connector/issues/246."""
    np.testing.assert_array_equal(decode_image(changed(image_message("rgb8", RGB), step=step)), RGB)
    # Four bytes per pixel, whatever the encoding says: as in the first of the two.
    with pytest.raises(ImageDecodeError, match="step"):
        decode_image(changed(image_message("rgb8", RGB), step=step, data=array.array("B", bytes(4 * RGB.size // 3))))


def test_grey_jpeg_of_a_yuyv_camera_is_an_image():
    """image_transport compresses YUYV as mono8 (github.com/ros-perception/image_common/issues/293)."""
    grey = cv2.imencode(".jpg", np.full((32, 48), 120, np.uint8))[1].tobytes()
    for name in ("yuv422_yuy2; jpeg compressed mono8", "jpg"):  # jpg: UbiquityRobotics/raspicam_node/pull/79
        decoded = decode_compressed(CompressedImage(format=name, data=array.array("B", grey)))
        assert decoded.shape == (32, 48, 3) and np.abs(decoded.astype(int) - 120).max() <= 2


def test_markers_are_in_a_frame_that_tf2_accepts():
    """A slash from ROS 1 would hide them in rviz (github.com/ros-visualization/visualization_tutorials/pull/70)."""
    builder = MarkerBuilder({side: open_hand(side).faces for side in Side})
    slashed = header(1)
    slashed.frame_id = f"/{slashed.frame_id}"
    markers = received_markers(builder.build([hand(Side.RIGHT)], slashed))
    assert {marker.header.frame_id for marker in markers.values()} == {header(1).frame_id}


def test_markers_hold_mesh_skeleton_and_label():
    builder = MarkerBuilder({side: open_hand(side).faces for side in Side})
    for seed in (1, 2):  # the second frame goes through the template of the first
        hands = [hand(Side.RIGHT, seed), hand(Side.LEFT, seed + 10), hand(Side.RIGHT, seed + 20)]
        markers = received_markers(builder.build(hands, header(seed)))
        assert set(markers) == {(name, number) for name in ("right", "left", "right_2") for number in (0, 1, 2)}
        for name, estimate in zip(("right", "left", "right_2"), hands, strict=True):
            mesh, skeleton, label = (markers[name, number] for number in (0, 1, 2))
            assert (mesh.type, skeleton.type, label.type) == (
                Marker.TRIANGLE_LIST,
                Marker.LINE_LIST,
                Marker.TEXT_VIEW_FACING,
            )
            np.testing.assert_array_equal(points(mesh), estimate.vertices[open_hand(estimate.side).faces.ravel()])
            np.testing.assert_array_equal(points(skeleton), estimate.joints[np.ravel(MEDIAPIPE_BONES)])
            assert label.text.strip() == label_text(estimate)
            np.testing.assert_allclose((label.pose.position.x, label.pose.position.z), estimate.joints[0][[0, 2]])
            for marker in (mesh, skeleton, label):
                assert marker.header == header(seed) and marker.action == Marker.ADD
                assert marker.lifetime.sec > 0 and marker.color.a > 0 and marker.pose.orientation.w == 1
                assert not marker.frame_locked


def test_markers_have_what_rviz_needs():
    """Checks what the sources of rviz2 require: validateFloats, and onNewMessage of each marker type."""
    builder = MarkerBuilder({side: open_hand(side).faces for side in Side})
    mesh, skeleton, label = received_markers(builder.build([hand(Side.RIGHT, 1)], header(1))).values()
    assert (mesh.scale.x, mesh.scale.y, mesh.scale.z) == (1, 1, 1) and len(mesh.points) % 3 == 0 and mesh.points
    assert 0 < skeleton.scale.x < 0.01 and len(skeleton.points) % 2 == 0 and skeleton.points
    # Without scale.x, a space is metres wide; with it, half as wide as it says.
    assert 0.1 * label.scale.z < label.scale.x < label.scale.z < 0.1
    for marker in (mesh, skeleton, label):
        q = marker.pose.orientation
        assert (q.x, q.y, q.z, q.w) == (0, 0, 0, 1) and np.isfinite(points(marker)).all()


def test_markers_of_a_lost_hand_are_deleted_once():
    builder = MarkerBuilder({side: open_hand(side).faces for side in Side})
    right, left = hand(Side.RIGHT), hand(Side.LEFT)
    builder.build([right, left], header(1))
    actions = {key: marker.action for key, marker in received_markers(builder.build([right], header(2))).items()}
    assert actions == {("right", n): Marker.ADD for n in range(3)} | {("left", n): Marker.DELETE for n in range(3)}
    assert {key[0] for key in received_markers(builder.build([right], header(3)))} == {"right"}
    assert {marker.action for marker in received_markers(builder.build([], header(4))).values()} == {Marker.DELETE}
    assert received_markers(builder.build([], header(5))) == {}


def transforms(hands, of_image: Header, **options) -> TFMessage:
    """Returns the TFMessage as a subscriber receives it; the second frame uses the template of the first."""
    builder = TransformBuilder()
    others = [
        replace(hand, joints=hand.joints + 1, mano=replace(hand.mano, global_orient=-hand.mano.global_orient))
        for hand in hands
    ]
    builder.build(others, header(9), **options)
    return deserialize_message(builder.build(hands, of_image, **options), TFMessage)


def test_transforms_of_all_joints():
    hands = [hand(Side.LEFT, 1), hand(Side.LEFT, 2)]
    message = transforms(hands, header(), prefix="cam1_")
    names = [f"cam1_{name}_{joint}" for name in ("left", "left_2") for joint in MEDIAPIPE_JOINT_NAMES]
    assert [item.child_frame_id for item in message.transforms] == names
    for item, position in zip(message.transforms, np.vstack([estimate.joints for estimate in hands]), strict=True):
        assert item.header == header()
        translation = item.transform.translation
        np.testing.assert_allclose((translation.x, translation.y, translation.z), position)


def test_frame_names_follow_the_tracks_in_any_order():
    """The order of detections changes between images; a TF frame must not jump from one person's hand to another's."""
    first, second = (replace(hand(Side.RIGHT, i), track_id=f"hand_{number}") for i, number in ((1, 9), (2, 10)))
    for hands in ([first, second], [second, first]):
        assert {name: found.track_id for found, name in hand_names(hands)} == {"right": "hand_9", "right_2": "hand_10"}


def test_the_operators_basis():
    """Hands held up with their palms forward have the axes of REP-103: x forward, y left, z up."""
    flat = np.zeros(45)
    for side, thumb in ((Side.RIGHT, 1), (Side.LEFT, -1)):
        estimate = hand(side)
        estimate = replace(estimate, mano=replace(estimate.mano, global_orient=np.zeros(3), hand_pose=flat))
        rest = open_hand(side)
        joints = (rest.J_regressor @ rest.v_template)[:16]
        for item in transforms([estimate], header(), operator_basis=True).transforms:
            q = item.transform.rotation
            axes = Rotation.from_quat((q.x, q.y, q.z, q.w)).as_matrix()
            assert np.linalg.det(axes) == pytest.approx(1)
            np.testing.assert_allclose(axes[:, 0], (0, -1, 0), atol=1e-9)  # palms look along -y in the rest pose
            fingers = joints[4] - joints[0]  # wrist to the middle finger's base
            assert axes[:, 2] @ fingers / np.linalg.norm(fingers) > 0.95
            assert thumb * axes[:, 1] @ (joints[13] - joints[0]) > 0


def test_joint_frames_turn_with_the_kinematic_chain():
    estimate = hand(Side.RIGHT, 3)
    by_name = {item.child_frame_id: item.transform.rotation for item in transforms([estimate], header()).transforms}

    def rotation(name):
        q = by_name[f"right_{name}"]
        return Rotation.from_quat((q.x, q.y, q.z, q.w))

    local = Rotation.from_rotvec(np.reshape(estimate.mano.hand_pose, (15, 3)))
    wrist = Rotation.from_rotvec(estimate.mano.global_orient)
    chains = {"index": (0, 1, 2), "middle": (3, 4, 5), "pinky": (6, 7, 8), "ring": (9, 10, 11), "thumb": (12, 13, 14)}
    assert (rotation("wrist") * wrist.inv()).magnitude() < 1e-9
    for finger, bones in chains.items():
        names = ("cmc", "mcp", "ip") if finger == "thumb" else ("mcp", "pip", "dip")
        expected = wrist
        for name, bone in zip(names, bones, strict=True):
            expected = expected * local[bone]
            assert (rotation(f"{finger}_{name}") * expected.inv()).magnitude() < 1e-9
        assert (rotation(f"{finger}_tip") * expected.inv()).magnitude() < 1e-9


def test_transforms_of_the_wrists_alone():
    message = transforms([hand(Side.RIGHT)], header(), joints=False)
    assert [item.child_frame_id for item in message.transforms] == ["right_wrist"]
