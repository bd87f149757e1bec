"""``wildhands evaluate recording``: what counts as covered, wrong and masked, and the command on a short recording."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from wildhands_ros.evaluation.recordings import (
    RecordedHand,
    RecordingLabels,
    average_precision,
    matches,
    recording_figures,
)
from wildhands_ros.types import HandState, Side

COUNT = 20


def labels() -> RecordingLabels:
    rng = np.random.default_rng(0)
    joints = rng.normal(0, 0.02, (COUNT, 2, 21, 3)) + np.array([[[0.15, 0, 0.5]], [[-0.15, 0, 0.5]]])
    seen = np.ones((COUNT, 2))
    seen[:, 1] = 0.2  # the left hand is hardly seen, so that none of its estimates is due
    positions = rng.normal(0, 1, (COUNT, 3))
    visible = rng.random((COUNT, 2, 21)) < 0.5
    stamps = 1000 + np.arange(COUNT) / 30
    # The thumb touches an object and the little finger is deep inside one, which does not count.
    rotations, gaps = np.tile(np.eye(3), (COUNT, 1, 1)), np.tile([0.002, 0.02, 0.0, 0.1, -0.03], (COUNT, 2, 1))
    return RecordingLabels(stamps, rotations, positions, joints, visible, seen, gaps, 0.187)


def estimates(true: RecordingLabels, frames: range) -> list[RecordedHand]:
    """Returns right hands that are 3 cm off; the first of them 30 cm, the second one as a left hand, both masked."""
    found = []
    for n in frames:
        off = np.array([0, 0, 0.3 if n == 0 else 0.03])
        joints = true.joints[n, 0] + off
        world = joints + true.positions[n] + (0, 0.04, 0)
        side = Side.LEFT if n == 1 else Side.RIGHT
        visibility = true.visible[n, 0].astype(float)
        contact, at_object = np.array([1.0, 0, np.nan, 0]), np.array([0.9, 0.1, np.nan, 0.1, 0.8])
        seen = HandState.SEEN
        found.append(
            RecordedHand(true.stamps[n], side, joints, world, visibility, contact, at_object, seen, 0, usable=n > 1)
        )
    return found


def test_figures_of_known_errors():
    true = labels()
    found = recording_figures([(true, estimates(true, range(15)))])
    assert found["coverage"] == pytest.approx(15 / 20) and found["due"] == 20
    assert (found["wrong"], found["good"]) == (2, 13)
    assert (found["wrong_masked"], found["good_masked"]) == (1.0, 0.0)
    assert found["camera_wrist_mm"] == pytest.approx(30) and found["world_wrist_mm"] == pytest.approx(50)
    assert found["visibility_ap"] == pytest.approx(1.0)


def test_figures_of_contact_with_objects():
    true = labels()
    found = recording_figures([(true, estimates(true, range(15)))])
    assert found["object_contact_known"] == pytest.approx(3 / 5) and found["object_contact_rate"] == pytest.approx(
        1 / 3
    )
    assert found["object_contact_ap"] == pytest.approx(1.0)
    assert found["object_contact_calibration_error"] == pytest.approx(0.1)


def test_contact_is_compared_where_it_is_known():
    true = labels()
    true.joints[:] = 0.02 * np.arange(21)[:, None] + (0, 0, 0.5)  # nothing touches
    true.joints[:8, 0, 8] = true.joints[:8, 0, 4]  # but thumb and index finger in some frames
    true.joints[:8, 0, 7] = true.joints[:8, 0, 3]
    found = recording_figures([(true, estimates(true, range(16)))])
    assert found["contact_known"] == pytest.approx(3 / 4)
    assert found["contact_rate"] == pytest.approx(8 / (3 * 16)) and found["contact_ap"] == pytest.approx(1.0)
    assert found["contact_calibration_error"] == pytest.approx(8 / 48)


def test_an_estimate_belongs_to_the_hand_in_its_direction():
    true = labels()
    (hand,) = estimates(true, range(3, 4))
    (found,) = matches(true, [hand])
    assert (found.frame, found.label, found.is_wrong) == (3, 0, False)
    assert matches(true, [replace(hand, stamp=5.0)]) == []


def test_average_precision():
    assert average_precision(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(average_precision(np.zeros(3), np.ones(3)))


def test_labels_survive_saving(tmp_path):
    true = labels()
    true.save(tmp_path / "labels.npz")
    for name, value in vars(RecordingLabels.load(tmp_path / "labels.npz")).items():
        np.testing.assert_array_equal(value, getattr(true, name))


@pytest.mark.slow
def test_the_command_writes_its_figures(tmp_path, monkeypatch):
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags")
    from wildhands_ros.cli.main import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["evaluate", "recording", "--count", "1", "--seconds", "0.4", "--checkpoint", "none"]
    assert main([*command, "--json", str(tmp_path / "figures.json")]) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    keys = {"world_wrist_mm", "camera_wrist_mm", "coverage", "wrong_masked", "good_masked", "visibility_ap"}
    assert keys <= found.keys() and found["due"] > 0
    assert (tmp_path / "cache" / "wildhands" / "recordings").is_dir()
