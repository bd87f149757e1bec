"""The synthetic recordings of a moving camera: their people, pinches and labels of contact."""

from __future__ import annotations

import numpy as np
import pytest

from wildhands_ros.fitting.hand_length import ADULTS
from wildhands_ros.geometry.contact import PAD_PLACE, pad_radii, pads, thumb_gaps
from wildhands_ros.hand_model.joints import MANO_TO_MEDIAPIPE
from wildhands_ros.synthetic.egocentric import DESK, EgocentricRecording
from wildhands_ros.synthetic.grasps import pinch
from wildhands_ros.synthetic.hand_mesh import hand_mesh


def test_people_are_as_large_as_adults():
    lengths = np.array([EgocentricRecording(seed, 0.1, "val").hand_length for seed in range(40)])
    assert lengths.mean() == pytest.approx(ADULTS.metres, abs=3 * ADULTS.stddev / np.sqrt(40))
    assert 0.5 * ADULTS.stddev < lengths.std() < 1.5 * ADULTS.stddev


def test_pinches_bring_the_thumb_and_a_fingertip_together_or_nearly_so():
    rng = np.random.default_rng(0)
    nearest = []
    for _ in range(20):
        action = pinch(np.zeros(10), rng)
        rotations = np.concatenate([np.eye(3)[None], action.rotations])
        joints = hand_mesh().pose(rotations, np.zeros(10))[1][list(MANO_TO_MEDIAPIPE)]
        nearest.append(thumb_gaps(joints).min())
    assert min(nearest) > -0.004 and max(nearest) < 0.04
    assert 5 <= np.sum(np.array(nearest) < 0.005) < 20


def test_fingertips_touch_what_the_hand_holds():
    recording = EgocentricRecording(0, 4.0, "val")
    near = []
    for number in range(0, 120, 20):
        frame = recording.frame(number)
        for hand, gaps in zip(frame.hands, frame.object_gaps, strict=True):
            above_desk = frame.camera_pose.apply(pads(hand.joints))[:, 1] - DESK - pad_radii(hand.joints)
            assert (gaps[above_desk > 0] < above_desk[above_desk > 0] + 1e-6).all()
            near.append((gaps < 0.012).any() and (above_desk > 0.05).all())  # a held object, not the desk
    assert any(near) and not all(near)


def test_gaps_between_pads():
    joints = np.zeros((21, 3))
    joints[9] = (0, 0, 0.089)
    joints[4], joints[8] = (0.03, 0, 0), (0.03, 0.05, 0)
    joints[7] = (0, 0.05, 0)
    centres = pads(joints)
    np.testing.assert_allclose(centres[:2], [(0.03 * PAD_PLACE, 0, 0), (0.03 * PAD_PLACE, 0.05, 0)])
    assert thumb_gaps(joints)[0] == pytest.approx(0.05 - pad_radii(joints)[:2].sum())
    # A hand twice as large has gaps twice as wide.
    np.testing.assert_allclose(thumb_gaps(2 * joints), 2 * thumb_gaps(joints))
