"""The messages of the package: they are built, serialised and deserialised."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from rclpy.serialization import deserialize_message, serialize_message
from ros_samples import CAMERA, frame, hand, header
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.joints import MEDIAPIPE_JOINT_NAMES
from wildhands_ros.msg import Grasp, Hand, HandArray, HandMeshTopology
from wildhands_ros.ros.messages import hand_array, mesh_topology
from wildhands_ros.types import EstimateSource, Side
from wildhands_ros.types import Grasp as GraspClass

ROOT = Path(__file__).parent.parent


def sent(message):
    """Returns the message as a subscriber receives it."""
    return deserialize_message(serialize_message(message), type(message))


def test_all_fields_of_a_frame_survive_serialisation():
    right, left = hand(Side.RIGHT, 1), hand(Side.LEFT, 2, source=EstimateSource.KEYPOINT_FIT)
    message = sent(hand_array(frame(right, left), header(), IntrinsicsSource.CAMERA_INFO_SCALED, "open"))
    assert message.header == header()
    np.testing.assert_array_equal(message.k.reshape(3, 3), CAMERA.k)
    assert (message.width, message.height, message.distortion_model) == (640, 480, "plumb_bob")
    np.testing.assert_array_equal(message.d, CAMERA.d)
    assert message.intrinsics_source == HandArray.INTRINSICS_CAMERA_INFO_SCALED
    assert message.hand_model == "open" and message.unresolved == 1
    assert [item.side for item in message.hands] == [Hand.SIDE_RIGHT, Hand.SIDE_LEFT]
    assert [item.source for item in message.hands] == [Hand.SOURCE_NETWORK_AND_FIT, Hand.SOURCE_KEYPOINT_FIT]
    for item, estimate in zip(message.hands, (right, left), strict=True):
        assert (item.id, item.score, item.side_score) == ("7", pytest.approx(0.9), pytest.approx(0.8))
        np.testing.assert_array_equal(item.bbox, estimate.box)
        np.testing.assert_allclose(item.joints.reshape(21, 3), estimate.joints, atol=1e-6)
        np.testing.assert_allclose(item.joints_2d.reshape(21, 2), estimate.joints_2d, rtol=1e-6)
        np.testing.assert_allclose(item.joints_stddev.reshape(21, 3), estimate.joints_stddev, rtol=1e-6)
        np.testing.assert_allclose(np.reshape(item.vertices, (-1, 3)), estimate.vertices, atol=1e-6)
        np.testing.assert_allclose(item.mano.transl, estimate.mano.transl, rtol=1e-6)
        np.testing.assert_allclose(item.mano.global_orient, estimate.mano.global_orient, rtol=1e-6)
        np.testing.assert_allclose(item.mano.hand_pose, estimate.mano.hand_pose, rtol=1e-6)
        np.testing.assert_allclose(item.mano.betas, estimate.mano.betas, rtol=1e-6)
        position, orientation = item.wrist.pose.position, item.wrist.pose.orientation
        np.testing.assert_array_equal((position.x, position.y, position.z), estimate.wrist_position)
        quaternion = Rotation.from_quat((orientation.x, orientation.y, orientation.z, orientation.w))
        np.testing.assert_allclose(quaternion.as_matrix(), estimate.wrist_rotation, atol=1e-12)
        np.testing.assert_array_equal(np.reshape(item.wrist.covariance, (6, 6)), estimate.wrist_covariance)
        assert item.reprojection_error == pytest.approx(0.012)
        assert item.grasp.label == np.argmax(estimate.grasp_probabilities) == 3
        assert item.grasp.score == pytest.approx(max(estimate.grasp_probabilities))
        np.testing.assert_allclose(item.grasp.probabilities, estimate.grasp_probabilities, rtol=1e-6)


def test_unknown_values_are_marked():
    bare = hand(
        joints_stddev=None,
        wrist_covariance=None,
        reprojection_error=math.nan,
        grasp_probabilities=None,
        track_id="",
        score=math.nan,
    )
    (item,) = sent(hand_array(frame(bare), header(), IntrinsicsSource.GUESS, "open", vertices=False)).hands
    assert np.isnan(item.joints_stddev).all()
    assert item.wrist.covariance[0] == -1
    assert math.isnan(item.reprojection_error) and math.isnan(item.score)
    assert item.id == "" and len(item.vertices) == 0
    assert item.grasp.label == Grasp.UNKNOWN and item.grasp.score == 0 and len(item.grasp.probabilities) == 0


def test_a_grasp_is_unknown_if_no_class_is_probable():
    probabilities = np.array([0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    (item,) = sent(
        hand_array(frame(hand(grasp_probabilities=probabilities)), header(), IntrinsicsSource.GUESS, "")
    ).hands
    assert item.grasp.label == Grasp.UNKNOWN and item.grasp.score == 0
    np.testing.assert_allclose(item.grasp.probabilities, probabilities, rtol=1e-6)


def test_joints_outside_the_image_are_marked():
    pixels = np.full((21, 2), 100.0)
    pixels[0], pixels[1], pixels[2], pixels[3] = (-0.6, 10), (639.4, 479.4), (639.6, 10), (math.nan, math.nan)
    (item,) = sent(hand_array(frame(hand(joints_2d=pixels)), header(), IntrinsicsSource.GUESS, "open")).hands
    assert list(item.joints_in_image) == [False, True, False, False] + [True] * 17


def test_a_frame_without_hands_is_a_message_too():
    message = sent(hand_array(frame(), header(-3), IntrinsicsSource.FIELD_OF_VIEW, "open"))
    assert message.hands == [] and message.header == header(-3)
    assert message.intrinsics_source == HandArray.INTRINSICS_FIELD_OF_VIEW


@pytest.mark.parametrize("side", Side)
def test_topology_is_that_of_the_hand_model(side):
    message = sent(mesh_topology(side, open_hand(side)))
    assert message.side == {Side.RIGHT: Hand.SIDE_RIGHT, Side.LEFT: Hand.SIDE_LEFT}[side]
    assert message.num_vertices == len(open_hand(side).v_template) and message.hand_model == open_hand(side).name
    np.testing.assert_array_equal(np.reshape(message.faces, (-1, 3)), open_hand(side).faces)


def test_constants_agree_with_the_core():
    assert {name: getattr(Hand, name.upper()) for name in MEDIAPIPE_JOINT_NAMES} == {
        n: i for i, n in enumerate(MEDIAPIPE_JOINT_NAMES)
    }
    assert len(MEDIAPIPE_JOINT_NAMES) == Hand.NUM_JOINTS
    assert {grasp.name: grasp.value for grasp in GraspClass} == {
        grasp.name: getattr(Grasp, grasp.name) for grasp in GraspClass
    }
    prefix = "INTRINSICS_"
    constants = {name[len(prefix) :]: getattr(HandArray, name) for name in dir(HandArray) if name.startswith(prefix)}
    assert constants == {source.name: source.value for source in IntrinsicsSource}


def test_messages_contain_no_nested_arrays_of_points():
    """In rclpy a mesh as Point32[] costs a hundred times more than as a flat array."""
    for message in (Hand, HandArray, HandMeshTopology):
        assert not [kind for kind in message.get_fields_and_field_types().values() if "Point" in kind]


@pytest.mark.parametrize("file", sorted((ROOT / "msg").glob("*.msg")), ids=lambda file: file.stem)
def test_every_field_is_commented(file):
    for paragraph in file.read_text().split("\n\n"):
        assert paragraph.startswith("#") or "=" in paragraph, f"a field of {file.name} has no comment: {paragraph}"
