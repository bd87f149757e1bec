"""Distances to the mesh of a hand: compiled code and NumPy agree."""

import importlib

import numpy as np
import pytest

from wildhands_ros.geometry.visibility import Surface
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.types import Side


@pytest.fixture(scope="module")
def surface() -> Surface:
    hand = open_hand(Side.RIGHT)
    return Surface(hand.v_template + np.array([0.1, 0, 0.5], np.float32), hand.faces)


def test_compiled_distances_are_those_of_numpy(surface):
    rng = np.random.default_rng(0)
    # Rays to points inside triangles, not through the edges between them, and rays that pass the hand.
    inside = np.einsum("nc,ncd->nd", rng.dirichlet((5, 5, 5), 150), surface.vertices[surface.faces[::20][:150]])
    rays = np.concatenate([inside, rng.normal((0.5, 0.5, 1), 0.05, (20, 3)), -inside[:3]])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    importlib.import_module("wildhands_ros._native")
    distances = surface.distances(rays)
    np.testing.assert_allclose(distances, surface.distances_in_numpy(rays), rtol=1e-4)
    assert np.isfinite(distances[:150]).all() and np.isinf(distances[150:]).all()
    # Without the rays that point backwards, triangles beside all rays are left out.
    for some in (slice(0, 40), slice(40, 45), slice(150, 170)):
        np.testing.assert_array_equal(surface.distances(rays[some]), distances[some])


def test_faces_without_vertices_are_rejected():
    native = importlib.import_module("wildhands_ros._native")
    faces = np.array([[0, 1, 5]], np.int32)
    with pytest.raises(ValueError, match="no such vertex"):
        native.ray_distances(np.zeros((5, 3), np.float32), faces, np.zeros((1, 3), np.float32), np.zeros(1, np.float32))
