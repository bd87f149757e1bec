"""Saved lengths of hands, and what is learned in the estimator."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildhands_ros.config import EstimatorConfig
from wildhands_ros.estimator import Estimator
from wildhands_ros.fitting.detection_fit import FitRequest, fit_detections
from wildhands_ros.fitting.hand_length import ADULTS, HandLengths, exact_lengths, hand_length
from wildhands_ros.fitting.initialisation import mean_pose
from wildhands_ros.fitting.keypoint_fit import KeypointFit
from wildhands_ros.fitting.keypoint_marks import (
    expected_shrinkage,
    marks_matrix,
    rays_to_joints,
)
from wildhands_ros.fitting.kinematics import HandKinematics
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.io.errors import InputError
from wildhands_ros.io.hand_files import hand_file, load_hand, save_hand
from wildhands_ros.types import Detection, HandLength, Side


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_hands_are_saved_and_loaded_by_name():
    assert "right 187 +- 3 mm" in save_hand("alice", {Side.RIGHT: HandLength(0.187, 0.003)})
    assert load_hand("alice") == {Side.RIGHT: HandLength(0.187, 0.003)}
    save_hand("alice", {Side.LEFT: HandLength(0.188, 0.004)})
    assert set(load_hand("alice")) == set(Side)


@pytest.mark.parametrize("name", ["", "../alice", "a b", "x" * 100])
def test_names_that_are_no_file_names_are_refused(name):
    with pytest.raises(InputError, match="letters, digits"):
        load_hand(name)
    with pytest.raises(InputError, match="letters, digits"):
        save_hand(name, {Side.RIGHT: HandLength(0.187, 0.003)})


def test_unusable_files_are_explained():
    save_hand("bob", {Side.RIGHT: HandLength(0.187, 0.003)})
    with pytest.raises(InputError, match="saved hands: bob"):
        load_hand("alice")
    with pytest.raises(InputError, match="no length"):
        save_hand("alice", {})
    for text, message in (
        ("[1]", "neither a right nor a left hand"),
        ("right: 3", "needs the numbers"),
        ("right: {length: 187, stddev: 3}", "0.08 to 0.28 m"),
        ("right: {length: .nan, stddev: 0.001}", "0.08 to 0.28 m"),
        (f"right: {{length: 1{'0' * 400}, stddev: 0.001}}", "too large"),
    ):
        hand_file("bob").write_text(text)
        with pytest.raises(InputError, match=message):
            load_hand("bob")


@pytest.mark.parametrize("length", [(9.0, 0.003), (0.187, 0.0), (float("nan"), 0.003), (0.187, float("inf"))])
def test_a_length_that_no_hand_has_is_not_saved(length):
    save_hand("bob", {Side.RIGHT: HandLength(0.187, 0.003)})
    before = hand_file("bob").read_text()
    with pytest.raises(InputError, match=r"0\.08 to 0\.28 m"):
        save_hand("bob", {Side.RIGHT: HandLength(*length)})
    assert hand_file("bob").read_text() == before


def test_an_unknown_hand_is_about_as_long_as_the_other_one():
    lengths = HandLengths()
    assert lengths.get(Side.LEFT) is None
    lengths.start_from({Side.RIGHT: HandLength(0.2, 0.004)})
    assert lengths.get(Side.RIGHT).metres == lengths.get(Side.LEFT).metres == pytest.approx(0.2)
    assert lengths.get(Side.LEFT).stddev > lengths.get(Side.RIGHT).stddev
    assert set(lengths.known()) == {Side.RIGHT}


def test_a_given_length_is_not_learned():
    lengths = HandLengths(exact_lengths(0.19))
    lengths.add(Side.RIGHT, HandLength(0.15, 0.001))
    assert lengths.get(Side.RIGHT).metres == 0.19
    lengths.give({})
    assert lengths.get(Side.RIGHT) is None


def test_the_given_length_of_an_estimator_changes_between_images():
    estimator = Estimator(EstimatorConfig(detector="topic", hand_length=0.19))
    assert estimator.hand_lengths.get(Side.LEFT).metres == 0.19
    estimator.hand_length = 0.0
    assert estimator.hand_lengths.get(Side.LEFT) is None


def test_rays_to_marks_become_rays_to_joints():
    rest = open_hand(Side.RIGHT)
    joints = np.array([0.0, 0, 0.5]) + np.random.default_rng(0).normal(0, 0.03, (21, 3))
    marks = marks_matrix() @ joints
    centre = joints.mean(0)
    moved = rays_to_joints(marks / np.linalg.norm(marks, axis=1, keepdims=True))
    before = np.linalg.norm(np.cross(marks, joints), axis=1)[[4, 8]] / np.linalg.norm(marks, axis=1)[[4, 8]]
    after = np.linalg.norm(np.cross(moved, joints), axis=1)[[4, 8]]
    assert (after < before).all() and rest.name and np.isfinite(centre).all()
    unknown = marks.copy()
    unknown[7] = np.nan
    assert np.isnan(rays_to_joints(unknown)[7]).all()
    assert np.isfinite(np.delete(rays_to_joints(unknown), 7, axis=0)).all()


def test_unclear_hands_are_not_estimated_too_far_away():
    fits = {side: KeypointFit(open_hand(Side.RIGHT)) for side in Side}
    camera, position = Camera.guess(640, 480), np.array([0.1, 0.0, 0.55])
    joints = mean_pose_joints() + position
    length = hand_length(open_hand(Side.RIGHT), np.zeros(10))
    for presence in (0.98, 0.65):
        marks = camera.project(marks_matrix() @ joints)
        marks = marks.mean(0) + (marks - marks.mean(0)) / (1 + expected_shrinkage(presence))
        box = np.concatenate([marks.min(0), marks.max(0)])
        found = Detection(box, Side.RIGHT, presence, 0.99, marks, world=joints - joints.mean(0))
        for lengths, size in ((HandLengths(exact_lengths(length)), 1.0), (None, ADULTS.metres / length)):
            (fit,) = fit_detections(fits, [FitRequest(found)], camera, lengths)
            assert fit is not None
            assert np.linalg.norm(fit.joints[9]) == pytest.approx(size * np.linalg.norm(joints[9]), rel=0.03)


def mean_pose_joints() -> np.ndarray:
    """Returns the (21, 3) joints of a hand in the mean pose whose palm the camera sees."""
    kinematics = HandKinematics(open_hand(Side.RIGHT))
    joints = kinematics.joints(mean_pose(kinematics))
    return joints @ Rotation.from_euler("x", 90, degrees=True).as_matrix().T - joints[0]
