"""Joint orders: the conversions are inverse to each other and preserve the anatomy."""

import numpy as np

from wildhands_ros.hand_model.asset import joints_linear, open_hand
from wildhands_ros.hand_model.joints import (
    FINGERS,
    MANO_PARENTS,
    MANO_TO_MEDIAPIPE,
    MEDIAPIPE_BONES,
    MEDIAPIPE_JOINT_NAMES,
    MEDIAPIPE_TO_MANO,
)
from wildhands_ros.types import Side


def test_orders_are_inverse_permutations():
    order = np.arange(21)
    assert sorted(MANO_TO_MEDIAPIPE) == list(range(21))
    np.testing.assert_array_equal(order[list(MANO_TO_MEDIAPIPE)][list(MEDIAPIPE_TO_MANO)], order)


def test_mano_has_pinky_before_ring():
    names = np.array(MEDIAPIPE_JOINT_NAMES)[list(MEDIAPIPE_TO_MANO)]
    assert list(names[[1, 4, 7, 10, 13]]) == ["index_mcp", "middle_mcp", "pinky_mcp", "ring_mcp", "thumb_cmc"]
    assert list(names[16:]) == [f"{finger}_tip" for finger in FINGERS]


def test_bones_are_the_same_in_both_orders():
    mano_bones = {(parent, joint) for joint, parent in enumerate(MANO_PARENTS) if parent >= 0}
    mano_bones |= {(15, 16), (3, 17), (6, 18), (12, 19), (9, 20)}
    assert {(MANO_TO_MEDIAPIPE[a], MANO_TO_MEDIAPIPE[b]) for a, b in MEDIAPIPE_BONES} == mano_bones


def test_names_fit_the_open_hand():
    """At rest, z decreases from thumb tip to pinky tip, and x decreases along each finger."""
    joints = joints_linear(open_hand(Side.RIGHT))[0][list(MANO_TO_MEDIAPIPE)]
    tips = joints[[4, 8, 12, 16, 20]]
    assert (np.diff(tips[:, 2]) < 0).all()
    for first in range(1, 21, 4):
        assert (np.diff(joints[[0, *range(first, first + 4)], 0]) < 0).all()
