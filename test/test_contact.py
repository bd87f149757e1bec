"""The probability that fingertips touch each other and objects, in the estimate and in exports."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.contact import contact_probability, pad_radii, pads
from wildhands_ros.geometry.depth_image import DepthImage
from wildhands_ros.geometry.object_contact import object_contact_features, object_contact_probability
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.recording.features import CONTACT_NAMES, OBJECT_CONTACT_NAMES, SIDES, contact, object_contact

ALL_SEEN = np.ones(21)
CAMERA = Camera.from_fov(640, 480, 1.2)


def pinching(gap: float) -> np.ndarray:
    """Returns (21, 3) joints of a hand, of which thumb and index finger are ``gap`` metres apart, and others far."""
    joints = np.zeros((21, 3)) + (0.1, 0, 0.5)
    joints[9] += (0.089, 0, 0)
    joints[[3, 4]] += (0.05, 0.03, 0)
    joints[[11, 12, 15, 16, 19, 20]] += (0.17, 0, 0)
    apart = gap + pad_radii(joints)[:2].sum()
    joints[[7, 8]] = joints[[3, 4]] + (0, apart, 0)
    assert np.isclose(np.linalg.norm(pads(joints)[1] - pads(joints)[0]), apart)
    return joints


def test_probability_falls_with_the_gap():
    found = [contact_probability(pinching(gap), ALL_SEEN) for gap in (0.0, 0.01, 0.03, 0.06)]
    of_index = [each[0] for each in found]
    assert of_index == sorted(of_index, reverse=True) and of_index[0] > 0.3 and of_index[-1] < 0.1
    assert all((each[1:] < 0.1).all() for each in found)


def test_contact_of_hidden_fingertips_is_unknown():
    hidden = ALL_SEEN.copy()
    hidden[8] = 0.05
    found = contact_probability(pinching(0.0), hidden)
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all()
    assert np.isnan(contact_probability(pinching(0.0), np.full(21, np.nan))).all()


def test_several_hands_at_once_have_the_contacts_of_each_alone() -> None:
    hands = [pinching(gap) for gap in (0.0, 0.02)]
    together = contact_probability(np.stack(hands), np.stack([ALL_SEEN, ALL_SEEN]))
    np.testing.assert_allclose(together, [contact_probability(hand, ALL_SEEN) for hand in hands])


def test_exports_mark_unknown_contact():
    right = SimpleNamespace(side=SIDES["right"], score=0.9, contact=[0.7, np.nan, 0.0, 0.1])
    row = dict(zip(CONTACT_NAMES, contact([right]).tolist(), strict=True))
    assert np.isclose(row["right.contact.thumb_index"], 0.7) and row["right.contact.thumb_middle"] == -1
    assert row["left.contact.thumb_index"] == -1
    recorded_earlier = SimpleNamespace(side=SIDES["right"], score=0.9)
    assert (contact([recorded_earlier]) == -1).all()
    row = dict(zip(OBJECT_CONTACT_NAMES, object_contact([right]).tolist(), strict=True))
    assert set(row.values()) == {-1.0}
    right.object_contact = [0.7, np.nan, 0.0, 0.1, 0.2]
    row = dict(zip(OBJECT_CONTACT_NAMES, object_contact([right]).tolist(), strict=True))
    assert np.isclose(row["right.object_contact.thumb"], 0.7) and row["right.object_contact.index"] == -1


def flat_hand() -> np.ndarray:
    """Returns (21, 3) joints of a hand that is half a metre away, with its fingers apart and parallel to the image."""
    joints = np.zeros((21, 3)) + (0, 0.1, 0.5)
    for finger in range(5):
        joints[1 + 4 * finger : 5 + 4 * finger, 0] = 0.045 * (finger - 2)
        joints[1 + 4 * finger : 5 + 4 * finger, 1] = 0.03 - 0.03 * np.arange(4)
    return joints


def depth_of(background: np.ndarray | float, pose: Pose | None = None) -> DepthImage:
    """Returns a depth image in which a plane or image is the background of ``flat_hand``, which is 8 mm thick."""
    depth = np.full((480, 640), background, np.float32)
    for start, end in [(0, 1 + 4 * finger) for finger in range(5)] + [(i, i + 1) for i in range(1, 20) if i % 4]:
        hand = flat_hand()
        points = hand[start] + np.linspace(0, 1, 40)[:, None] * (hand[end] - hand[start])
        for x, y in np.round(CAMERA.project(points)).astype(int):
            depth[y - 7 : y + 8, x - 7 : x + 8] = 0.492
    return DepthImage(depth, CAMERA, pose or Pose.identity())


def test_fingertips_before_a_near_surface_probably_touch_it():
    on_table, in_air = (object_contact_probability(flat_hand(), [], depth_of(z)) for z in (0.508, 1.5))
    assert (on_table > 0.5).all() and (in_air < 0.2).all()


def test_only_the_finger_beside_the_object_touches_it():
    background = np.full((480, 640), 1.5, np.float32)
    x, y = np.round(CAMERA.project(pads(flat_hand()))[1]).astype(int)
    background[y - 40 : y + 40, x - 22 : x + 23] = 0.505
    found = object_contact_probability(flat_hand(), [], depth_of(background))
    assert found[1] > 0.4 and found.argmax() == 1 and (found[[0, 2, 3, 4]] < 0.3).all()


def test_the_other_hand_is_not_an_object():
    hand = flat_hand()
    beside = hand + (0, 0, 0.012)
    alone, together = (object_contact_features(hand, others, depth_of(0.508)) for others in ([], [beside]))
    assert together[:, :3].sum() < alone[:, :3].sum()


def test_contact_with_objects_is_unknown_without_depth_at_the_fingertips():
    assert np.isnan(
        object_contact_probability(flat_hand(), [], DepthImage(np.zeros((480, 640), np.float32), CAMERA))
    ).all()
    outside = flat_hand() + (2.0, 0, 0)
    assert np.isnan(object_contact_probability(outside, [], depth_of(0.508))).all()
    behind = flat_hand() * (1, 1, -1)
    assert np.isnan(object_contact_probability(behind, [], depth_of(0.508))).all()


def test_the_pose_of_the_depth_camera_counts():
    """The same depth image from a camera that is 4 cm farther back shows the surface 4 cm nearer to the hand."""
    farther = object_contact_features(flat_hand(), [], depth_of(0.508, Pose(np.eye(3), np.array([0, 0, 0.04]))))
    assert (farther[:, 2] > object_contact_features(flat_hand(), [], depth_of(0.508))[:, 2]).all()
