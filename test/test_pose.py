"""Rigid poses: composition, inverse, and points."""

from types import SimpleNamespace

import numpy as np
import pytest
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


def message(position=(0.1, 0.2, 0.3), orientation=(0.0, 0.0, 0.0, 1.0)) -> tuple[SimpleNamespace, SimpleNamespace]:
    return SimpleNamespace(**dict(zip("xyz", position, strict=True))), SimpleNamespace(
        **dict(zip("xyzw", orientation, strict=True))
    )


def test_messages_become_poses():
    quaternion = Rotation.random(random_state=3).as_quat()
    pose = Pose.from_message(*message(orientation=1.2 * quaternion))
    np.testing.assert_array_equal(pose.position, (0.1, 0.2, 0.3))
    np.testing.assert_allclose(pose.rotation, Rotation.from_quat(quaternion).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e308, 3.0])
def test_messages_that_are_no_poses_are_refused(value):
    for changes in ({"orientation": (0, 0, 0, value)}, {"orientation": (value, value, 0, 0)}):
        with pytest.raises(ValueError, match="is not one of a pose"):
            Pose.from_message(*message(**changes))
    with pytest.raises(ValueError, match="is not one of a pose"):
        Pose.from_message(*message(orientation=(0, 0, 0, 0)))
    if not np.isfinite(value):
        with pytest.raises(ValueError, match="is not one of a pose"):
            Pose.from_message(*message(position=(0, value, 0)))
