"""Posing without gradients equals the hand layer."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic_mano import numbers, write_plain_pickle

from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.hand_model.mano_files import load_mano
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.types import ManoParameters, Side


@pytest.fixture(scope="module", params=["open", "mano", "without posedirs"])
def hand_model(request, tmp_path_factory):
    if request.param == "open":
        return open_hands()
    folder = tmp_path_factory.mktemp("mano")
    # The left hand of MANO is not the mirror image of the right hand.
    write_plain_pickle(folder / "MANO_RIGHT.pkl", numbers(1))
    write_plain_pickle(folder / "MANO_LEFT.pkl", numbers(2))
    hands = {side: load_mano(folder, side) for side in Side}
    return (
        hands
        if request.param == "mano"
        else {side: dataclasses.replace(hand, posedirs=None) for side, hand in hands.items()}
    )


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_poser_equals_the_layer(hand_model, side, dtype):
    rng, poser = np.random.default_rng(4), HandPoser(hand_model)
    layer = HandLayer(hand_model[Side.RIGHT], hand_model[Side.LEFT], flat_hand_mean=True).double()
    for size in (0, 0.1, 0.5, 1.0, 2.0):
        values = {
            "global_orient": size * rng.normal(size=3),
            "hand_pose": size * rng.normal(size=45),
            "betas": size * rng.normal(size=10),
        }
        mano = ManoParameters(
            **{name: value.astype(dtype) for name, value in (values | {"transl": rng.normal(size=3)}).items()}
        )
        batch = {
            name: torch.tensor(value, dtype=torch.float64)[None] for name, value in dataclasses.asdict(mano).items()
        }
        expected = layer(**batch, is_right=torch.tensor([side is Side.RIGHT]))
        posed = poser(mano, side)
        assert posed.vertices.dtype == posed.joints.dtype == np.float32
        np.testing.assert_allclose(posed.vertices, expected.vertices[0], atol=1e-6, rtol=0)
        np.testing.assert_allclose(posed.joints, expected.joints[0, list(MANO_TO_MEDIAPIPE)], atol=1e-6, rtol=0)
        np.testing.assert_allclose(posed.rotation, Rotation.from_rotvec(mano.global_orient).as_matrix(), atol=1e-12)
