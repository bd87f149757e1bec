"""The clip of the demo with a depth camera: what the learned length of the hands is worth."""

from pathlib import Path

import pytest

from wildhands_ros.evaluation.clip_depth import describe_clip, evaluate_clip

CLIP = Path(__file__).parents[1] / "demo" / "clip.mp4"


@pytest.mark.slow
def test_lengths_are_learned_from_depth_and_kept_without_it() -> None:
    figures = evaluate_clip(CLIP, range(0, 10**6, 6))
    alone, depth, learned = figures.values()
    assert depth["wrist_mm"] < 0.5 * alone["wrist_mm"]
    assert depth["mpjpe_mm"] < 0.75 * alone["mpjpe_mm"]
    assert not alone["length_percent"]
    for row in (depth, learned):
        assert set(row["length_percent"]) == {"right", "left"}
        assert max(map(abs, row["length_percent"].values())) < 4
    assert abs(learned["distance_percent"] - depth["distance_percent"]) < 3
    assert "then colour alone" in describe_clip(figures)
