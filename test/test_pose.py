"""Rigid poses: composition, inverse, and points."""

import numpy as np
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.pose import Pose


def random_pose(rng: np.random.Generator) -> Pose:
    return Pose(Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3))


def test_composition_applies_the_right_pose_first():
    rng = np.random.default_rng(0)
    a, b, points = random_pose(rng), random_pose(rng), rng.normal(size=(4, 5, 3))
    np.testing.assert_allclose((a @ b).apply(points), a.apply(b.apply(points)), atol=1e-12)


def test_inverse_undoes_a_pose():
    rng = np.random.default_rng(1)
    pose = random_pose(rng)
    for product in (pose @ pose.inverse(), pose.inverse() @ pose):
        np.testing.assert_allclose(product.rotation, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(product.position, np.zeros(3), atol=1e-12)


def test_identity_changes_nothing():
    points = np.random.default_rng(2).normal(size=(7, 3))
    np.testing.assert_array_equal(Pose.identity().apply(points), points)
