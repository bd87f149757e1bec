"""Conversions between representations of rotations in NumPy, for arrays with any leading axes.

SciPy's ``Rotation`` can do more, but its import takes as long as that of the rest of this package: what runs on every
frame uses these functions. Quaternions are x, y, z, w; rotation vectors are axis times angle in radians.
"""

from __future__ import annotations

import numpy as np

from .compiled import native

_SIGNS = np.array([[-1, 1, -1, 1], [-1, -1, 1, 1], [1, -1, -1, 1], [1, 1, 1, 1]])
_COMPONENTS = np.array([[3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2], [0, 1, 2, 3]])
_PRODUCT = _SIGNS[..., None] * np.eye(4)[_COMPONENTS]
"""Hamilton product: component k of the product of a and b is the sum of a_i b_j ``_PRODUCT[i, j, k]``."""
_TO_MATRIX = np.einsum("aij,b,jbk->abki", _PRODUCT, [-1, -1, -1, 1], _PRODUCT)[..., :3, :3].reshape(16, 9)
"""The matrix of a quaternion q is linear in the products of its components, because it maps v to q v q*."""


def quaternion_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (..., 4) quaternions of the rotations ``a b``. The arguments broadcast."""
    return np.einsum("...i,...j,ijk->...k", a, b, _PRODUCT)


def inverse_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Returns the (..., 4) unit quaternions of the inverse rotations."""
    return quaternions * np.array([-1.0, -1, -1, 1])


def canonical_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Returns (..., 4) quaternions of the same rotations with w >= 0."""
    return np.copysign(1, quaternions[..., 3:]) * quaternions


def quaternions_from_vectors(vectors: np.ndarray) -> np.ndarray:
    """Converts (..., 3) rotation vectors to (..., 4) unit quaternions."""
    vectors = np.asarray(vectors, np.float64)
    halves = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))[..., None] / 2
    result = np.empty((*vectors.shape[:-1], 4))
    result[..., :3] = vectors * (np.sin(halves) / np.maximum(2 * halves, 1e-300))
    result[..., 3:] = np.cos(halves)
    return result


def quaternions_from_matrices(matrices: np.ndarray) -> np.ndarray:
    """Converts (..., 3, 3) rotation matrices to (..., 4) unit quaternions."""
    rows = _scaled_quaternions(matrices)
    return rows / np.sqrt((rows * rows).sum(-1, keepdims=True))


def matrices_from_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Converts (..., 4) unit quaternions to (..., 3, 3) rotation matrices."""
    shape = quaternions.shape[:-1]
    return ((quaternions[..., :, None] * quaternions[..., None, :]).reshape(*shape, 16) @ _TO_MATRIX).reshape(
        *shape, 3, 3
    )


def matrices_from_vectors(vectors: np.ndarray) -> np.ndarray:
    """Converts (..., 3) rotation vectors to (..., 3, 3) rotation matrices."""
    if native is not None:
        vectors = np.ascontiguousarray(vectors, np.float64)
        matrices = np.empty((*vectors.shape, 3))
        native.matrices_from_vectors(vectors, matrices)
        return matrices
    return matrices_from_quaternions(quaternions_from_vectors(vectors))


def vectors_from_matrices(matrices: np.ndarray) -> np.ndarray:
    """Converts (..., 3, 3) rotation matrices to (..., 3) rotation vectors of at most half a turn."""
    if native is not None:
        matrices = np.ascontiguousarray(matrices, np.float64)
        vectors = np.empty(matrices.shape[:-1])
        native.vectors_from_matrices(matrices, vectors)
        return vectors
    return vectors_from_quaternions(_scaled_quaternions(matrices))


def vectors_from_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Converts (..., 4) quaternions of any length to (..., 3) rotation vectors of at most half a turn."""
    rows = canonical_quaternions(quaternions)
    axes, w = rows[..., :3], rows[..., 3:]
    sines = np.sqrt((axes * axes).sum(-1, keepdims=True))
    angles = 2 * np.arctan2(sines, w)
    return axes * (angles / np.maximum(sines, 1e-300) + 2 / np.maximum(w, 1e-300) * (sines == 0))


def _scaled_quaternions(matrices: np.ndarray) -> np.ndarray:
    """Returns (..., 4) quaternions of rotation matrices that are not of unit length."""
    m = matrices.reshape(-1, 3, 3)
    transposed = m.swapaxes(1, 2)
    # Four times the products of the components of the quaternion x, y, z, w. Its largest row is well conditioned.
    products = np.empty((len(m), 4, 4))
    products[:, :3, :3] = m + transposed
    products[:, 3, :3] = products[:, :3, 3] = (m - transposed)[:, [2, 0, 1], [1, 2, 0]]
    trace = np.einsum("nii->n", m)
    diagonal = np.einsum("nii->ni", products)
    diagonal[:, 3] = 1 + trace
    diagonal[:, :3] += (1 - trace)[:, None]
    return products[np.arange(len(m)), diagonal.argmax(1)].reshape(*matrices.shape[:-2], 4)
