"""The quality report: moments, recommendations, and the HTML of a real annotated recording."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from wildhands_ros.recording.report import (
    Recording,
    ReportedHand,
    moments,
    recommendations,
    report_html,
    uncertain_moments,
)
from wildhands_ros.types import DepthStatus, Doubt, HandState, Side


def hand(side: Side = Side.RIGHT, doubts: Doubt = Doubt.NONE, state: HandState = HandState.SEEN) -> ReportedHand:
    usable = not doubts and state in (HandState.SEEN, HandState.INTERPOLATED)
    return ReportedHand(side, f"{side.value}_1", state, doubts, usable, np.array([0, 0, 0.5]), 0.5, 0.8)


def recording(hands: list[list[ReportedHand]], name: str = "cups") -> Recording:
    return Recording(name, np.arange(len(hands)) / 30, hands, lambda _: b"jpeg")


GAP = [[hand()]] * 60 + [[]] * 45 + [[hand(doubts=Doubt.JUMP)]] * 10 + [[hand()]] * 60


def test_moments_are_runs_of_unusable_frames_with_their_main_reason():
    (found,) = moments(recording(GAP))
    assert (found.first, found.last, found.side) == (60, 114, Side.RIGHT)
    assert found.seconds == pytest.approx(55 / 30, abs=0.02) and found.reason == "no hand was found"
    doubted = [[hand()]] * 20 + [[hand(doubts=Doubt.JUMP)]] * 12 + [[hand()]] * 20
    assert moments(recording(doubted))[0].reason == "jump"
    hidden = [[hand()]] * 20 + [[hand(state=HandState.HIDDEN)]] * 12
    assert moments(recording(hidden))[0].reason == "hidden"
    assert moments(recording([[hand()]] * 50 + [[]] * 3 + [[hand()]] * 50)) == []


def test_recommendations_name_the_time_and_the_hand():
    assert recommendations(recording(GAP)) == ["0:02.0 to 0:03.8: the right hand is not usable (no hand was found)."]
    assert "No hand was found" in recommendations(recording([[]] * 30))[0]
    mostly_bad = [[hand(Side.LEFT, Doubt.SIDE)]] * 40 + [[hand(Side.LEFT)]] * 10
    assert "The left hand is usable in only 20 %" in recommendations(recording(mostly_bad))[0]
    assert recommendations(recording([[hand()]] * 50)) == []


def test_the_report_is_one_page_without_external_parts():
    page = report_html([recording(GAP), recording([[hand()]] * 30, "<plates>")])
    assert not re.search(r'(?:src|href)="(?!data:)', page) and "<script" not in page
    assert "&lt;plates&gt;" in page and "<plates>" not in page
    assert page.count("<svg") >= 6 and 'src="data:image/jpeg;base64,' in page
    assert "All recordings" in page and "What to record again" in page


def test_the_report_tells_what_the_distance_follows_from():
    assert "distance by depth" not in report_html([recording([[hand()]] * 30)])
    measured = replace(hand(), depth=DepthStatus.USED, length=0.19)
    covered = replace(hand(), depth=DepthStatus.OCCLUDED, length=0.19)
    fused = replace(hand(Side.LEFT), views=2, length=0.18)
    page = report_html([recording([[measured, fused]] * 30 + [[covered, fused]] * 10)])
    assert "<td>right</td><td>190 mm</td><td>75 %</td><td>0 %</td><td>25 %</td><td>occluded 25 %</td>" in page
    assert "<td>left</td><td>180 mm</td><td>0 %</td><td>100 %</td><td>0 %</td><td>-</td>" in page


def test_usable_hands_of_uncertain_distance_are_shown():
    flat, fist = replace(hand(), distance_stddev=0.09), replace(hand(), distance_stddev=0.165)
    shown = recording([[flat]] * 60 + [[fist]] * 30 + [[flat]] * 60 + [[fist]] * 3)
    (found,) = uncertain_moments(shown)
    assert (found.first, found.last) == (60, 89) and "standard deviation 16 cm" in found.reason
    assert moments(shown) == [] and found.reason in report_html([shown])
    assert uncertain_moments(recording([[hand()]] * 50)) == []
    assert "standard deviation" not in report_html([recording([[hand()]] * 50)])
    doubted = replace(fist, usable=False, doubts=Doubt.LOW_AGREEMENT)
    assert uncertain_moments(recording([[flat]] * 60 + [[doubted]] * 30)) == []


def test_the_report_of_an_annotated_recording_has_its_images(tmp_path):
    pytest.importorskip("rclpy")
    pytest.importorskip("rosbags")
    from bag_samples import write_bag

    from wildhands_ros.config import EstimatorConfig, QualityThresholds
    from wildhands_ros.io.errors import InputError
    from wildhands_ros.recording.refinement import RefinementOptions
    from wildhands_ros.ros.recording.annotation import annotate
    from wildhands_ros.ros.recording.image_streams import AnnotationOptions
    from wildhands_ros.ros.recording.report import write_reports
    from wildhands_ros.runtime.processes import Workers

    bag = write_bag(tmp_path / "bag", images=8)
    with pytest.raises(InputError, match="run wildhands annotate"):
        write_reports([bag], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
    nothing_is_good = RefinementOptions(thresholds=QualityThresholds(max_wrong=0.0))
    options = AnnotationOptions(refinement=nothing_is_good)
    annotate(bag, tmp_path / "hands", options, EstimatorConfig(checkpoint="none"), {}, Workers(1, map))
    sentences = write_reports([tmp_path / "hands"], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "usable in only 0 %" in sentences[0] and sentences[0].split(": ", 1)[1] in page
    (data, *_) = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert len(data) > 3000
