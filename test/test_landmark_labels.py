"""The landmark head's distillation targets on labelled crops."""

import dataclasses

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE, MEDIAPIPE_TO_MANO
from wildhands_ros.network.landmark_net import LandmarkOutput
from wildhands_ros.network.model import ray_rotation
from wildhands_ros.training.landmark_labels import correct_teacher, move_towards_labels
from wildhands_ros.training.targets import Targets

ANCHOR, TURN = (0.5, -0.2), 0.6


def hand_and_teacher():
    """Returns a hand in a rotated, off-axis crop, labels in MANO order, and a teacher whose output equals them."""
    rng = np.random.default_rng(0)
    seen = rng.uniform(-0.08, 0.08, (21, 3))
    ray = np.array([*ANCHOR, 1]) / np.linalg.norm([*ANCHOR, 1])
    axis = np.cross([0, 0, 1], ray)
    to_ray = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.arccos(ray[2]))
    joints = (to_ray * Rotation.from_rotvec([0, 0, TURN])).apply(seen) + 0.5 * ray
    pixels = 112 + 1000 * seen[:, :2]
    order = list(MEDIAPIPE_TO_MANO)
    targets = Targets(
        is_right=torch.tensor([True]),
        image_index=torch.tensor([0]),
        num_images=1,
        focal=torch.tensor([500.0]),
        anchor=torch.tensor([ANCHOR]),
        turn=torch.tensor([TURN]),
        k=torch.eye(3)[None],
        joints_2d=torch.tensor(pixels[order][None]).float(),
        has_j2d=torch.tensor([True]),
        joints_3d=torch.tensor(joints[order][None]).float(),
        has_j3d=torch.tensor([True]),
    )
    world = torch.tensor(seen - seen.mean(0))[None].float()
    logit = torch.tensor([-1.0])
    landmarks = torch.tensor(pixels)[None].float()
    return targets, LandmarkOutput(torch.empty(0), landmarks, torch.zeros(1, 21), logit, logit, world)


def test_a_correct_teacher_is_kept():
    targets, teacher = hand_and_teacher()
    taught, trust = correct_teacher(teacher, targets, 0.04)
    assert torch.equal(taught.landmarks, teacher.landmarks) and torch.equal(taught.world, teacher.world)
    assert trust.tolist() == [1.0] and taught.is_right_logit > 0 > teacher.is_right_logit


def test_labels_replace_large_errors():
    targets, teacher = hand_and_teacher()
    truth = targets.joints_2d[:, list(MANO_TO_MEDIAPIPE)]
    extent = (truth.amax(1) - truth.amin(1)).max().item()
    said = teacher.landmarks.clone()
    for joint, share in ((3, 0.02), (5, 0.06), (8, 0.5)):
        said[0, joint, 0] += share * extent
    taught, _ = correct_teacher(dataclasses.replace(teacher, landmarks=said), targets, 0.04)
    assert torch.equal(taught.landmarks[0, 3], said[0, 3])
    torch.testing.assert_close(taught.landmarks[0, 5], (said[0, 5] + truth[0, 5]) / 2, atol=1e-3, rtol=0)
    torch.testing.assert_close(taught.landmarks[0, 8], truth[0, 8])
    wrong = correct_teacher(dataclasses.replace(teacher, world=-teacher.world), targets, 0.04)[0].world
    torch.testing.assert_close(wrong, teacher.world, atol=1e-5, rtol=0)


def test_unlabelled_and_invisible_hands_keep_the_teachers_output():
    targets, teacher = hand_and_teacher()
    wrong = dataclasses.replace(teacher, landmarks=teacher.landmarks + 100)
    for change in (
        {"has_j2d": torch.tensor([False])},
        {"has_j3d": torch.zeros(1, 21, dtype=torch.bool)},
        {"joints_2d": targets.joints_2d + 400},
        {"joints_2d": None, "has_j2d": None},
    ):
        taught, trust = correct_teacher(wrong, dataclasses.replace(targets, **change), 0.04)
        assert torch.equal(taught.landmarks, wrong.landmarks) and torch.equal(
            taught.is_right_logit, wrong.is_right_logit
        )
        assert torch.equal(trust, teacher.presence)


def test_ray_rotation_is_the_smallest():
    rotation = ray_rotation(torch.tensor([[0.3, 0.9], [0, 0]])).double()
    torch.testing.assert_close(
        rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(2, 3, 3), atol=1e-6, rtol=0
    )
    vector = Rotation.from_matrix(rotation[0].numpy()).as_rotvec()
    assert abs(vector[2]) < 1e-6 and np.isclose(np.linalg.norm(vector), np.arctan(np.hypot(0.3, 0.9)), atol=1e-6)
    torch.testing.assert_close(rotation[1], torch.eye(3, dtype=torch.float64))


def test_moved_landmarks_lie_between_prediction_and_label():
    targets, teacher = hand_and_teacher()
    said = dataclasses.replace(teacher, landmarks=teacher.landmarks + 30, world=-teacher.world)
    torch.manual_seed(0)
    ways = []
    for _ in range(100):
        shown = move_towards_labels(said, targets, 0.5)
        way = (said.landmarks - shown.landmarks) / 30
        torch.testing.assert_close(way, way[:, :1, :1].expand_as(way), atol=1e-4, rtol=0)
        moved = (shown.world - said.world).norm() / (teacher.world - said.world).norm()
        assert moved < 1e-5 or abs(moved - way[0, 0, 0]) < 1e-3
        ways.append((way[0, 0, 0].item(), moved.item()))
    ways = np.array(ways)
    assert ways.min() >= 0 and ways.max() <= 1
    assert 35 <= (ways[:, 0] > 1e-5).sum() <= 65 and 12 <= (ways[:, 1] > 1e-5).sum() <= 38
    assert torch.equal(move_towards_labels(said, targets, 0.0).landmarks, said.landmarks)


def test_landmarks_without_a_label_are_unchanged():
    targets, teacher = hand_and_teacher()
    for change in (
        {"has_j2d": torch.tensor([False]), "joints_2d": torch.full((1, 21, 2), torch.nan)},
        {"has_j3d": torch.zeros(1, 21, dtype=torch.bool), "joints_3d": torch.full((1, 21, 3), torch.nan)},
        {"joints_2d": targets.joints_2d + 400},
        {"joints_2d": None, "has_j2d": None},
    ):
        shown = move_towards_labels(teacher, dataclasses.replace(targets, **change), 1.0)
        assert torch.equal(shown.landmarks, teacher.landmarks) and torch.equal(shown.world, teacher.world)
