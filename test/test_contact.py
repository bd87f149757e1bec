"""The probability that fingertips touch, in the estimate and in exports."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from wildhands_ros.geometry.contact import contact_probability, pad_radii, pads
from wildhands_ros.recording.features import CONTACT_NAMES, SIDES, contact

ALL_SEEN = np.ones(21)


def pinching(gap: float) -> np.ndarray:
    """Returns (21, 3) joints of a hand, of which thumb and index finger are ``gap`` metres apart, and others far."""
    joints = np.zeros((21, 3)) + (0.1, 0, 0.5)
    joints[9] += (0.089, 0, 0)
    joints[[3, 4]] += (0.05, 0.03, 0)
    joints[[11, 12, 15, 16, 19, 20]] += (0.17, 0, 0)
    apart = gap + pad_radii(joints)[:2].sum()
    joints[[7, 8]] = joints[[3, 4]] + (0, apart, 0)
    assert np.isclose(np.linalg.norm(pads(joints)[1] - pads(joints)[0]), apart)
    return joints


def test_probability_falls_with_the_gap():
    found = [contact_probability(pinching(gap), ALL_SEEN) for gap in (0.0, 0.01, 0.03, 0.06)]
    of_index = [each[0] for each in found]
    assert of_index == sorted(of_index, reverse=True) and of_index[0] > 0.3 and of_index[-1] < 0.1
    assert all((each[1:] < 0.1).all() for each in found)


def test_contact_of_hidden_fingertips_is_unknown():
    hidden = ALL_SEEN.copy()
    hidden[8] = 0.05
    found = contact_probability(pinching(0.0), hidden)
    assert np.isnan(found[0]) and np.isfinite(found[1:]).all()
    assert np.isnan(contact_probability(pinching(0.0), np.full(21, np.nan))).all()


def test_exports_mark_unknown_contact():
    right = SimpleNamespace(side=SIDES["right"], score=0.9, contact=[0.7, np.nan, 0.0, 0.1])
    row = dict(zip(CONTACT_NAMES, contact([right]).tolist(), strict=True))
    assert np.isclose(row["right.contact.thumb_index"], 0.7) and row["right.contact.thumb_middle"] == -1
    assert row["left.contact.thumb_index"] == -1
    recorded_earlier = SimpleNamespace(side=SIDES["right"], score=0.9)
    assert (contact([recorded_earlier]) == -1).all()
