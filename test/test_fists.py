"""Hands that close and open fast."""

import pytest

from wildhands_ros.evaluation.fists import describe_fists, evaluate_fists


@pytest.mark.slow
def test_the_distance_of_a_closing_fist_does_not_swing_with_depth() -> None:
    figures = evaluate_fists(step=12)
    alone = figures.pop("colour alone")
    assert set(figures) == {"stereo", "time_of_flight"}
    for row in figures.values():
        assert row["hands"] >= 10 and row["depth_used_percent"] == 100
        assert -2 < row["distance_percent"]["low"] < row["distance_percent"]["high"] < 2
        assert row["wrist_mm"]["median"] < 0.5 * alone["wrist_mm"]["median"]
    assert "stereo" in describe_fists(figures)
