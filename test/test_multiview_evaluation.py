"""What `wildhands evaluate multiview` measures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from several_cameras import CAMERA, CENTRE, POSES, TrueHand, observed

from wildhands_ros.evaluation import clip_views
from wildhands_ros.evaluation.keypoint_floor import ViewedHand, keypoint_floor
from wildhands_ros.evaluation.moments import Moment
from wildhands_ros.evaluation.rig_views import RigClip, describe_rigs, evaluate_rigs, length_figures, size_figures
from wildhands_ros.fitting.keypoint_fit import KEYPOINT_STDDEV
from wildhands_ros.fitting.multiview_fit import MultiviewFit
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.synthetic.rigs import RigCamera, RigRecording
from wildhands_ros.types import DepthStatus, HandLength, Side


def test_what_limits_the_fusion_is_told_apart() -> None:
    rng, hands = np.random.default_rng(0), []
    for number in range(12):
        truth = TrueHand(number)
        views = [found[0].view for found in observed(truth, "left right", number, noise=6.0).values()]
        hands.append(ViewedHand(views, truth.joints))
    figures = keypoint_floor(MultiviewFit(open_hands()), hands, rng)
    assert figures["true_keypoints_wrist_mm"]["median"] < 2
    assert 2 < figures["independent_noise_wrist_mm"]["median"] < 15
    extent = [view.sigma / KEYPOINT_STDDEV * CAMERA.focal for hand in hands for view in hand.views]
    assert figures["keypoint_stddev_percent"] == pytest.approx(600 / np.median(extent), rel=0.25)
    assert figures["common_stddev_percent"] < 0.5 * figures["keypoint_stddev_percent"]


def test_cameras_at_rest_are_measured_by_pairs_and_together() -> None:
    cameras = {name: RigCamera(CAMERA, pose) for name, pose in POSES.items()}
    streams: dict[bool, list[Moment]] = {False: [], True: []}
    for number in range(27):
        phase, rng = number / 5, np.random.default_rng(number)
        where = CENTRE + 0.1 * np.array([np.sin(2 * phase), np.cos(2.6 * phase), np.sin(1.4 * phase)])
        truth = TrueHand(1, at=where)
        seen = {name: truth.seen_by(pose, rng, noise=2.0) for name, pose in POSES.items()}
        for has_depth, stream in streams.items():
            estimates = {
                name: replace(
                    hand,
                    joints=POSES[name].inverse().apply(truth.joints),
                    joints_stddev=np.full((21, 3), 0.006),
                    depth=DepthStatus.USED,
                    hand_length=HandLength(1.01 * truth.length, 0.002),
                )
                if has_depth
                else hand
                for name, hand in seen.items()
            }
            stream.append(
                Moment(phase, {name: (hand,) for name, hand in estimates.items()}, {truth.side: truth.joints})
            )
    clip = RigClip(cameras, streams[False], streams[True], truth.mano().betas, [(1.0, 2.0)])
    figures = evaluate_rigs([clip], directions=1)
    colour, depth, alone = figures["colour"], figures["depth"], figures["one_camera_with_depth"]
    assert colour["hands"] == depth["hands"] == 3 * 27 and figures["three_cameras"]["colour"]["hands"] == 27
    assert depth["wrist_mm"]["median"] < colour["wrist_mm"]["median"] < 10
    assert colour["length_percent_after_5_s"]["hands"] == 3
    assert alone["length_percent_after_5_s"]["bias"] == pytest.approx(1.0)
    assert alone["length_percent_after_5_s"]["coverage_68"] == (100 if 0.01 * truth.length < 0.002 else 0)
    assert colour["size_percent_of_posed_hands"]["hands"] == 3
    assert abs(colour["size_percent_of_posed_hands"]["bias"]) < 3
    assert colour["extrinsics"]["right"]["within_5_s_percent"] == 0
    assert figures["extrinsics_true_keypoints"]["off by 1 cm"]["trials"] == 3
    json.dumps(figures, allow_nan=False)
    assert "two with depth" in describe_rigs(figures)


def test_errors_of_lengths_are_told_apart_from_what_any_correction_would_leave() -> None:
    true = np.array([0.155, 0.165, 0.18, 0.19, 0.2])
    learned = [HandLength(0.187 + 0.5 * (metres - 0.187), 0.008) for metres in true]
    figures = length_figures(list(zip(learned, true.tolist(), strict=True)))
    assert figures["small_hands"]["hands"] == 2 and figures["small_hands"]["bias"] > 8
    assert figures["hindsight"]["p95"] == pytest.approx(0.0, abs=1e-6)
    assert figures["coverage_68"] == 60
    sizes = size_figures([-5.0, -3.0, -4.0, -10.0])
    assert sizes["bias"] == -5.5 and sizes["within_2_percent"] == 50
    assert length_figures([]) == size_figures([]) == {}


def test_a_rig_sees_one_scene_with_all_its_cameras() -> None:
    recording = RigRecording(1, 0.2, 2, "val")
    scenes = recording.scenes(2)
    assert len(scenes) == len(recording.cameras) == 2
    first, second = (at.pose.apply(scene.hands[0].joints) for at, scene in zip(recording.cameras, scenes, strict=True))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_a_clip_of_two_cameras_is_measured_by_its_stamps(monkeypatch) -> None:
    monkeypatch.setattr(clip_views, "CAMERA", CAMERA)
    monkeypatch.setattr(clip_views, "_DIRECTIONS", 2)
    moments = []
    for number in range(0, 186, 3):
        phase, rng = number / 30, np.random.default_rng(number)
        where = CENTRE + 0.1 * np.array([np.sin(2 * phase), np.cos(2.6 * phase), np.sin(1.4 * phase)])
        truth = TrueHand(1, at=where)
        seen = {name: (truth.seen_by(POSES[of], rng),) for name, of in (("first", "left"), ("second", "right"))}
        moments.append(Moment(number / 30, seen, {Side.RIGHT: truth.joints}))
    figures = clip_views.evaluate_clip_views(moments, POSES["right"])
    assert figures["hands"] == len(moments) and figures["wrist_mm"]["median"] < 10
    assert figures["track_wrist_mm"]["median"] < figures["wrist_mm"]["median"]
    assert set(figures["length_percent_after_5_s"]) == {"right"}
    noticed = {name: row["within_5_s_percent"] for name, row in figures["extrinsics"].items()}
    assert noticed["right"] == 0 and noticed["off by 1 cm"] > 0 and noticed["off by 1 degree"] > 0
    assert "after 5 s: right" in clip_views.describe_clip_views(figures)
