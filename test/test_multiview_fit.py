"""The fit of one hand to several cameras, their association, fusion over time, and the check of extrinsics."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from one_fit import assert_same_solutions
from scipy.spatial.transform import Rotation
from several_cameras import CAMERA, CENTRE, KINEMATICS, POSES, TrueHand, camera_at, observed

from wildhands_ros.fitting.association import associate
from wildhands_ros.fitting.extrinsics import ExtrinsicsMonitor, SharedHand, correction, refined_poses
from wildhands_ros.fitting.hand_fusion import HandFusion, observe
from wildhands_ros.fitting.hand_length import (
    ADULTS,
    SYSTEMATIC_STDDEV,
    LengthEstimate,
    hand_length,
    learned_together,
)
from wildhands_ros.fitting.levenberg_marquardt import Job
from wildhands_ros.fitting.multiview_fit import MultiviewFit, misfit, triangulated
from wildhands_ros.fitting.multiview_residuals import MultiviewEvidence, evaluate_views
from wildhands_ros.fitting.residuals import Anchor
from wildhands_ros.fitting.solver import CompiledSolver, NumPySolver
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.hand_model.asset import open_hand, open_hands
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.types import DepthStatus, HandLength, Side

ASSETS = open_hands()
ELSEWHERE = CENTRE + (0.25, 0.05, 0.1)


def error(hand, truth: TrueHand) -> float:
    return float(np.linalg.norm(hand.hand.joints - truth.joints, axis=1).mean())


def test_derivatives_of_several_views() -> None:
    rng = np.random.default_rng(0)
    pose = TrueHand(0).pose
    rays = KINEMATICS.joints(pose) - np.array([[[0.0, 0, 0]], [[0.5, 0, 0.3]]]) + rng.normal(0, 0.005, (2, 21, 3))
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    evidence = MultiviewEvidence(
        rays=rays,
        weights=np.ones((2, 21)),
        sigma=np.array([0.02, 0.03]),
        origins=np.array([[0.0, 0, 0], [0.5, 0, 0.3]]),
        mean_ray=np.array([0.0, 0, 1]),
        length=np.array(0.19),
        length_stddev=np.array(0.01),
    )
    gradient = evaluate_views(KINEMATICS, pose, evidence).normal.gradient
    for unknown in range(KINEMATICS.num_unknowns):
        step = np.zeros(KINEMATICS.num_unknowns)
        step[unknown] = 1e-5
        costs = [float(evaluate_views(KINEMATICS, pose.moved(sign * step), evidence).normal.cost) for sign in (1, -1)]
        assert (costs[0] - costs[1]) / 4e-5 == pytest.approx(gradient[unknown], rel=0.01, abs=0.5)


@pytest.mark.parametrize("count", [2, 3])
def test_compiled_solver_agrees_with_numpy_for_several_views(count) -> None:
    pytest.importorskip("wildhands_ros._native", reason="compiled only where there is a C compiler")
    rng = np.random.default_rng(count)
    jobs = []
    for number in range(6):
        hand = TrueHand(number)
        views = [found[0].view for found in observed(hand, " ".join(list(POSES)[:count]), number).values()]
        rays = np.stack([view.rays for view in views])
        evidence = MultiviewEvidence(
            rays=rays,
            weights=rng.uniform(0, 1, (count, 21)) * (rng.random((count, 21)) > 0.1),
            sigma=rng.uniform(0.005, 0.02, count),
            origins=np.stack([view.origin for view in views]),
            mean_ray=np.array([0.0, 0, 1]),
            length=np.array(0.19),
            length_stddev=np.array(0.01),
        )
        start, near = (hand.pose.moved(0.1 * rng.normal(size=KINEMATICS.num_unknowns)) for _ in range(2))
        prediction = Anchor(near, rotation=0.4, lateral=0.05, depth=0.05, angles=0.5, betas=2.0)
        jobs.append(Job(start, evidence, None, prediction if number % 2 else None))
    for iterations in (0, 3, 12):
        expected = NumPySolver(partial(evaluate_views, KINEMATICS))(jobs, iterations)
        assert_same_solutions(CompiledSolver(KINEMATICS)(jobs, iterations), expected)


def test_rays_of_one_point_meet_there() -> None:
    hand = TrueHand(1)
    views = [found[0].view for found in observed(hand, "left right", noise=0.0).values()]
    palm = [1, 5, 9, 13, 17]
    np.testing.assert_allclose(triangulated(views)[palm], hand.joints[palm], atol=1e-6)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("cameras", ["left right", "left right top"])
def test_several_cameras_find_position_pose_and_length(side: Side, cameras: str) -> None:
    fit, errors, lengths, sigmas = MultiviewFit(ASSETS), [], [], []
    for seed in range(8):
        truth = TrueHand(seed, side, size=(-1.5, 1.5)[seed % 2])
        result = fit.fit([found[0].view for found in observed(truth, cameras, seed).values()])
        assert result.side is side
        errors.append(np.linalg.norm(result.hand.joints - truth.joints, axis=1).mean())
        lengths.append(result.length.metres / truth.length - 1)
        sigmas.append((result.hand.joints - truth.joints) / result.hand.joints_stddev)
        np.testing.assert_allclose(
            HandPoser(ASSETS).joints(result.hand.mano, side).joints[0], result.hand.joints[0], atol=1e-5
        )
        assert np.linalg.eigvalsh(result.hand.wrist_covariance).min() > 0
    assert np.median(errors) < 0.005
    assert np.median(np.abs(lengths)) < 0.04
    assert np.mean(np.abs(sigmas) < 2) > 0.9


def test_the_side_is_decided_by_all_views() -> None:
    truth = TrueHand(2)
    views = observed(truth, "left right")
    wrong = observed(truth, "top", side=Side.LEFT)["top"][0].view
    result = MultiviewFit(ASSETS).fit([*(found[0].view for found in views.values()), wrong])
    assert result.side is Side.RIGHT
    assert result.side_score > 0.9


def test_hands_of_several_cameras_are_associated() -> None:
    first, second = TrueHand(3), TrueHand(4, Side.LEFT, ELSEWHERE)
    seen = {
        name: [found[0].view, observed(second, name, 1)[name][0].view]
        for name, found in observed(first, "left right top").items()
    }
    seen["top"].reverse()
    assert sorted(map(sorted, associate(seen))) == [
        [("left", 0), ("right", 0), ("top", 1)],
        [("left", 1), ("right", 1), ("top", 0)],
    ]


def test_a_view_of_another_person_is_left_alone() -> None:
    truth, other = TrueHand(5), TrueHand(6, at=CENTRE + (0, 0.3, 0.5))
    result = HandFusion(ASSETS).update(0.0, {**observed(truth, "left right"), **observed(other, "top")})
    assert sorted(hand.views for hand in result.hands) == [("left", "right"), ("top",)]
    assert error(next(hand for hand in result.hands if len(hand.views) == 2), truth) < 0.01


def test_a_view_that_lies_is_outvoted() -> None:
    truth = TrueHand(7)
    fusion = HandFusion(ASSETS)
    fusion.update(0.0, observed(truth, "left right top"))
    seen = observed(truth, "left right top", 1, 0.03)
    # The keypoints of one camera suddenly lie half a hand beside the hand.
    view = seen["top"][0].view
    turn = Rotation.from_rotvec([0, 0.12, 0]).as_matrix()
    seen["top"] = [replace(seen["top"][0], view=replace(view, rays=view.rays @ turn.T))]
    result = fusion.update(0.03, seen)
    assert [hand.views for hand in result.hands] == [("left", "right")]
    assert error(result.hands[0], truth) < 0.01


def test_a_camera_that_drops_out_keeps_the_track_and_the_length() -> None:
    truth, fusion = TrueHand(8), HandFusion(ASSETS)
    for number in range(60):
        before = fusion.update(number / 30, observed(truth, "left right", number, number / 30))
    alone = fusion.update(2.0, observed(truth, "left", 99, 2.0))
    assert [hand.views for hand in alone.hands] == [("left",)]
    assert alone.hands[0].track_id == before.hands[0].track_id
    assert alone.hands[0].length is not None
    assert alone.hands[0].length.metres == pytest.approx(truth.length, rel=0.04)
    again = fusion.update(2.03, observed(truth, "left right", 100, 2.03))
    assert again.hands[0].track_id == before.hands[0].track_id


@pytest.mark.parametrize("side", list(Side))
def test_a_hand_of_known_length_that_one_camera_sees_is_that_large_and_as_much_farther_away(side: Side) -> None:
    small = TrueHand(8, side, size=-1.0)
    seen = observed(small, "left")
    own = seen["left"][0].hand
    longer = 1.06 * small.length
    (fused,) = HandFusion(ASSETS, {side: HandLength(longer, 0.001)}).update(0.0, seen).hands
    assert hand_length(ASSETS[side], fused.hand.mano.betas) == pytest.approx(longer, rel=1e-3)
    np.testing.assert_allclose(fused.hand.wrist_position, 1.06 * own.wrist_position, rtol=1e-3)
    np.testing.assert_allclose(fused.hand.joints_stddev, 1.06 * own.joints_stddev, rtol=1e-3)
    np.testing.assert_allclose(
        HandPoser(ASSETS).joints(fused.hand.mano, side).joints[0], fused.hand.joints[0], atol=1e-5
    )
    measured = {"left": [replace(seen["left"][0], estimate=replace(seen["left"][0].estimate, depth=DepthStatus.USED))]}
    (fused,) = HandFusion(ASSETS, {side: HandLength(longer, 0.001)}).update(0.0, measured).hands
    np.testing.assert_array_equal(fused.hand.joints, own.joints)


def test_depth_that_the_cameras_have_measured_makes_the_fused_hand_better_and_surer() -> None:
    errors: dict[bool, list[float]] = {False: [], True: []}
    sigmas: dict[bool, list[np.ndarray]] = {False: [], True: []}
    fit = MultiviewFit(ASSETS)
    for seed in range(12):
        truth, rng = TrueHand(seed), np.random.default_rng(seed)
        # The errors of the keypoints of one view are alike.
        views = [found[0].view for found in observed(truth, "left right", seed, noise=12.0).values()]
        measured = [replace(view, joints=truth.joints + rng.normal(0, 0.003, 3), stddev=0.004) for view in views]
        for has_depth, seen in ((False, views), (True, measured)):
            hand = fit.fit(seen).hand
            errors[has_depth].append(float(np.linalg.norm(hand.joints[0] - truth.joints[0])))
            sigmas[has_depth].append((hand.joints - truth.joints) / hand.joints_stddev)
            assert np.linalg.eigvalsh(hand.wrist_covariance).min() > 0
        elsewhere = [replace(view, joints=view.joints + (0, 0, 0.1)) for view in measured]
        np.testing.assert_allclose(fit.fit(elsewhere).hand.joints, fit.fit(views).hand.joints)
    assert np.median(errors[True]) < 0.6 * np.median(errors[False])
    assert np.mean(np.abs(sigmas[True]) < 2) > 0.87


def test_stamps_that_differ_are_moved_along_the_velocity() -> None:
    speed, errors = np.array([0, 0, 1.0]), {}
    for moves in (True, False):
        fusion = HandFusion(ASSETS)
        for number in range(12):
            stamp = number / 30
            late = observed(TrueHand(9, at=CENTRE + speed * (stamp - 0.2)), "left", number, stamp)
            # The other camera sees the hand 20 ms earlier.
            early = observed(
                TrueHand(9, at=CENTRE + speed * (stamp - 0.22)), "right", number, stamp - (0.02 if moves else 0)
            )
            result = fusion.update(stamp, {**late, **early})
        truth = TrueHand(9, at=CENTRE + speed * (stamp - 0.2))
        errors[moves] = error(result.hands[0], truth)
    assert errors[True] < 0.008 < errors[False]


def test_wrong_extrinsics_are_noticed_and_refined() -> None:
    wrong = Pose(
        Rotation.from_rotvec(np.radians([0, 0, 1.0])).as_matrix() @ POSES["right"].rotation, POSES["right"].position
    )
    significance = {}
    for name, poses in (("right", POSES), ("wrong", {**POSES, "right": wrong})):
        monitor, hands = ExtrinsicsMonitor(), []
        for number in range(50):
            at = CENTRE + 0.1 * np.array([np.sin(number), np.cos(1.3 * number), np.sin(0.7 * number)])
            seen = observed(TrueHand(number, at=at), "left right", number, poses=poses)
            views = {camera: found[0].view for camera, found in seen.items()}
            monitor.add(number / 10, views)
            hands.append(SharedHand(number / 10, views["left"], views["right"]))
        (found,) = monitor.corrections().values()
        significance[name] = found.significance
        assert found.is_wrong == (name == "wrong")
    refined = refined_poses({"left": POSES["left"], "right": wrong}, {("left", "right"): hands})["right"]
    turn = Rotation.from_matrix(refined.rotation @ POSES["right"].rotation.T).magnitude()
    assert np.degrees(turn) < 0.4
    corrected = found.apply(wrong)
    np.testing.assert_allclose(corrected.rotation, refined.rotation, atol=0.003)


def test_measured_depth_tells_a_shift_along_the_line_between_the_cameras() -> None:
    base = POSES["right"].position - POSES["left"].position
    wrong = Pose(POSES["right"].rotation, POSES["right"].position + 0.03 * base / np.linalg.norm(base))
    rng, found = np.random.default_rng(0), {}
    for stddev in (None, 0.008):
        hands = []
        for number in range(30):
            truth = TrueHand(number, at=CENTRE + 0.1 * np.array([np.sin(number), np.cos(1.3 * number), 0]))
            seen = observed(truth, "left right", number, poses={**POSES, "right": wrong})
            moved = {"left": truth.joints, "right": truth.joints + wrong.position - POSES["right"].position}
            left, right = (
                replace(seen[name][0].view, joints=moved[name] + rng.normal(0, 0.004, 3), stddev=stddev)
                for name in ("left", "right")
            )
            hands.append(SharedHand(number / 10, left, right))
        found[stddev] = correction(hands)
        assert found[stddev] is not None
    assert not found[None].is_wrong and found[0.008].is_wrong
    np.testing.assert_allclose(found[0.008].apply(wrong).position, POSES["right"].position, atol=0.015)


def test_hands_at_rest_tell_nothing_about_extrinsics() -> None:
    monitor = ExtrinsicsMonitor()
    for number in range(50):
        seen = observed(TrueHand(1), "left right", number)
        monitor.add(number / 10, {name: found[0].view for name, found in seen.items()})
    assert monitor.corrections() == {}


def test_a_length_is_learned_in_spite_of_outliers() -> None:
    rng, estimate = np.random.default_rng(0), LengthEstimate()
    for number in range(150):
        wrong = 0.25 if number % 10 == 9 else 0.18
        estimate.add(HandLength(wrong + rng.normal(0, 0.006), 0.006))
    assert estimate.length is not None
    assert estimate.length.metres == pytest.approx(0.18, rel=0.02)
    assert estimate.length.stddev == pytest.approx(SYSTEMATIC_STDDEV * 0.18, rel=0.1)
    estimate.add(HandLength(float("nan"), 0.01))
    assert np.isfinite(estimate.length.metres)


def test_what_is_known_of_a_length_counts_once() -> None:
    """However often a hand is measured, what all measurements have in common stays uncertain."""
    known, estimate = HandLength(0.187, 0.012), LengthEstimate(HandLength(0.187, 0.012))
    for number in range(600):
        estimate.add(HandLength(0.165, 0.006), number / 30)
    systematic = SYSTEMATIC_STDDEV * 0.165
    weight = 1 / (1 + (systematic / known.stddev) ** 2)
    assert estimate.length is not None
    assert estimate.length.metres == pytest.approx(weight * 0.165 + (1 - weight) * 0.187, rel=0.005)
    assert estimate.length.stddev == pytest.approx((systematic**-2 + known.stddev**-2) ** -0.5, rel=0.1)


def test_learners_of_several_parts_of_a_recording_know_as_much_as_one() -> None:
    rng = np.random.default_rng(0)
    measured = [HandLength(0.17 + rng.normal(0, 0.006), 0.006) for _ in range(40)]
    everything, parts = LengthEstimate(ADULTS), [LengthEstimate(ADULTS) for _ in range(4)]
    for number, each in enumerate(measured):
        everything.add(each, float(number))
        parts[number % 4].add(each, float(number))
    together = learned_together([{Side.LEFT: part.length} for part in parts if part.length is not None])
    assert set(together) == {Side.LEFT} and everything.length is not None
    assert together[Side.LEFT].metres == pytest.approx(everything.length.metres, rel=0.01)
    assert together[Side.LEFT].stddev == pytest.approx(everything.length.stddev, rel=0.05)
    assert learned_together([{Side.LEFT: ADULTS}]) == {}


def test_the_length_that_views_measure_contains_neither_what_was_known_nor_the_last_fit() -> None:
    truth, fit = TrueHand(1), MultiviewFit(ASSETS)
    views = [found[0].view for found in observed(truth, "left right", 3, noise=6.0).values()]
    measured, fitted = [], []
    for known in (0.9, 1.1):
        first = fit.fit(views, length=HandLength(known * truth.length, 0.012))
        followed = fit.fit(views, replace(first.state, frames=30), 0.3, HandLength(known * truth.length, 0.012))
        for result in (first, followed):
            measured.append(result.length.metres)
            fitted.append(hand_length(ASSETS[Side.RIGHT], result.state.pose.betas))
    assert np.ptp(measured) < 0.4 * np.ptp(fitted)


def test_a_length_is_learned_equally_fast_at_any_frame_rate() -> None:
    learned = []
    for rate in (5, 30):
        estimate = LengthEstimate(HandLength(0.187, 0.012))
        for number in range(5 * rate):
            estimate.add(HandLength(0.160, 0.006), number / rate)
        assert estimate.length is not None
        learned.append(estimate.length.metres)
    assert learned[0] == pytest.approx(learned[1], rel=0.01)
    assert learned[0] == pytest.approx(0.165, rel=0.01)


def test_length_of_a_hand() -> None:
    betas = np.array([1.0, -0.5])
    assert hand_length(open_hand(Side.RIGHT), betas) == pytest.approx(
        float(KINEMATICS.length(np.concatenate([betas, np.zeros(8)]))[0])
    )


def test_what_cannot_be_used_is_refused() -> None:
    estimate = TrueHand(1).seen_by(POSES["left"], np.random.default_rng(0))
    few = np.where(np.arange(21)[:, None] < 5, estimate.keypoints, np.nan)
    for wrong in (
        replace(estimate, keypoints=None),
        replace(estimate, keypoints=few),
        replace(estimate, joints_stddev=None),
        replace(estimate, wrist_covariance=None),
    ):
        assert observe(wrong, CAMERA, POSES["left"], 0.0) is None


def test_a_hand_between_two_cameras_on_one_axis_is_not_triangulated_wrongly():
    """The rays of two cameras that face each other are parallel: the cameras' own distances decide."""
    truth = TrueHand(3)
    rng = np.random.default_rng(0)
    opposite = camera_at(180)
    seen = {
        name: [observe(truth.seen_by(pose, rng), CAMERA, pose, 0.0)]
        for name, pose in (("left", POSES["left"]), ("back", opposite))
    }
    for hand in HandFusion(ASSETS).update(0.0, seen).hands:
        assert np.linalg.norm(hand.hand.joints[0] - truth.joints[0]) < 4 * hand.hand.joints_stddev[0].max() + 0.05
        assert misfit(seen["left"][0].view, hand.hand.joints) < 0.5
