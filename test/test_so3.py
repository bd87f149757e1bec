"""Conversions of rotations, compared with SciPy's, which is not imported on the way from the image to the hands."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry import so3
from wildhands_ros.geometry.compiled import native
from wildhands_ros.geometry.so3 import (
    canonical_quaternions,
    matrices_from_quaternions,
    matrices_from_vectors,
    quaternion_product,
    quaternions_from_matrices,
    quaternions_from_vectors,
    vectors_from_matrices,
)


def rotations() -> tuple[np.ndarray, Rotation]:
    """Returns angles of no turn at all to half a turn, and rotations by them about random axes."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(300, 3))
    angles = np.concatenate([[0, 1e-12, 1e-5, np.pi - 1e-9, np.pi], rng.uniform(0, np.pi, 295)])
    return angles, Rotation.from_rotvec(axes / np.linalg.norm(axes, axis=1, keepdims=True) * angles[:, None])


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def runs(request, monkeypatch):
    """Runs each test with the compiled code, if it was built, and without."""
    if request.param == "numpy":
        monkeypatch.setattr(so3, "native", None)
    elif native is None:
        pytest.skip("the package was installed without compiled code")


def test_compiled_and_numpy_agree(monkeypatch):
    _, turns = rotations()
    vectors = turns.as_rotvec().astype(np.float32)[::-1]
    matrices = matrices_from_vectors(vectors)
    back = vectors_from_matrices(matrices)
    monkeypatch.setattr(so3, "native", None)
    np.testing.assert_allclose(matrices, matrices_from_vectors(vectors), atol=1e-15)
    np.testing.assert_allclose(back, vectors_from_matrices(matrices), atol=1e-14)


@pytest.mark.skipif(native is None, reason="compiled code")
def test_compiled_code_rejects_arrays_that_do_not_fit():
    for function, numbers in ((native.matrices_from_vectors, 3), (native.vectors_from_matrices, 9)):
        for given, result in ((numbers + 1, 12 - numbers), (numbers, 13 - numbers)):
            with pytest.raises(ValueError, match="expected sizes"):
                function(np.zeros(given), np.zeros(result))


def test_vectors_of_matrices():
    angles, turns = rotations()
    vectors = vectors_from_matrices(turns.as_matrix().reshape(60, 5, 3, 3)).reshape(-1, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), angles, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_rotvec(vectors).as_matrix(), turns.as_matrix(), atol=1e-12)


def test_quaternions_and_matrices():
    _, turns = rotations()
    vectors, matrices = turns.as_rotvec().reshape(60, 5, 3), turns.as_matrix().reshape(60, 5, 3, 3)
    quaternions = quaternions_from_vectors(vectors)
    np.testing.assert_allclose(matrices_from_vectors(vectors), matrices, atol=1e-14)
    np.testing.assert_allclose(matrices_from_quaternions(quaternions), matrices, atol=1e-14)
    # Half a turn has two quaternions with w = 0.
    agreement = np.abs((quaternions_from_matrices(matrices) * quaternions).sum(-1))
    np.testing.assert_allclose(agreement, 1, atol=1e-14)
    assert (canonical_quaternions(quaternions_from_matrices(matrices))[..., 3] >= 0).all()
    assert matrices_from_vectors(np.zeros(3)).shape == (3, 3)


def test_products_broadcast():
    a, b = Rotation.random(4, random_state=0), Rotation.random(random_state=1)
    product = quaternion_product(a.as_quat(), b.as_quat())
    np.testing.assert_allclose(matrices_from_quaternions(product), (a * b).as_matrix(), atol=1e-14)


@pytest.mark.parametrize("module", ["wildhands_ros.estimator", "wildhands_ros.ros.node"])
def test_the_way_from_the_image_to_the_hands_imports_no_scipy(module):
    """Its import takes as long as that of everything else together."""
    if module.startswith("wildhands_ros.ros"):
        pytest.importorskip("rclpy")
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith('scipy')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
