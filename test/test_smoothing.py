"""The One-Euro filter compared with its paper, consistency of smoothed hands, and measuring lag and jitter."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildhands_ros.config import Cutoffs
from wildhands_ros.evaluation.jitter import measure_jitter
from wildhands_ros.evaluation.lag import lag
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.pose import Pose
from wildhands_ros.geometry.so3 import matrices_from_vectors
from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.smoothing.hands import HandSmoother
from wildhands_ros.smoothing.one_euro import PointFilter, RotationFilter
from wildhands_ros.tracking.tracks import MAX_GAP
from wildhands_ros.types import EstimateSource, FrameEstimate, HandEstimate, ManoParameters, Side

CAMERA = Camera.pinhole(700, 700, 640, 360, 1280, 720)
HANDS = {side: open_hand(side) for side in Side}
POSER = HandPoser(HANDS)
CUTOFFS = Cutoffs(rest=1.2, per_speed=3.0, most=1e9, speed=0.8)


def hand_of(mano: ManoParameters, side: Side = Side.RIGHT, track: str = "hand_1") -> HandEstimate:
    joints, rotation = POSER.joints(mano, side)
    pixels = CAMERA.project(joints)
    box = np.concatenate([pixels.min(0), pixels.max(0)])
    source = EstimateSource.KEYPOINT_FIT
    return HandEstimate(
        side,
        0.9,
        0.9,
        box,
        joints,
        pixels,
        joints[0],
        rotation,
        mano,
        POSER.vertices,
        source,
        keypoints=pixels,
        track_id=track,
    )


def mano(rng: np.random.Generator, noise: float = 0.0, transl=(0.05, 0.02, 0.5)) -> ManoParameters:
    vary = lambda n: noise * rng.normal(size=n)  # noqa: E731
    return ManoParameters(
        np.array(transl) + 0.1 * vary(3), np.array([0.3, 1.2, -0.4]) + vary(3), 0.2 + vary(45), 0.5 + vary(10)
    )


def frame(*hands: HandEstimate) -> FrameEstimate:
    return FrameEstimate(hands, CAMERA)


def one_euro_of_the_paper(signal: np.ndarray, rate: float, cutoffs: Cutoffs) -> list[float]:
    """Algorithm 1 and its appendix for a scalar signal, written literally."""
    alpha = lambda cutoff: 1 / (1 + (1 / (2 * np.pi * cutoff)) * rate)  # noqa: E731
    filtered, derivative, result = None, 0.0, []
    for x in signal:
        change = 0.0 if filtered is None else (x - filtered) * rate
        derivative = alpha(cutoffs.speed) * change + (1 - alpha(cutoffs.speed)) * derivative
        a = alpha(cutoffs.rest + cutoffs.per_speed * abs(derivative))
        filtered = x if filtered is None else a * x + (1 - a) * filtered
        result.append(filtered)
    return result


def test_points_are_filtered_as_in_the_paper():
    signal = np.cumsum(np.random.default_rng(0).normal(size=50)) * 0.02
    points = np.stack([signal, np.zeros(50), np.zeros(50)], axis=-1)[:, None]
    filter = PointFilter(points[0], CUTOFFS)
    mine = [filter.value[0, 0], *(filter.update(point, 1 / 25)[0, 0] for point in points[1:])]
    np.testing.assert_allclose(mine, one_euro_of_the_paper(signal, 25, CUTOFFS), atol=1e-12)


def test_rotations_about_one_axis_are_filtered_like_scalars_past_180_degrees():
    angles = np.cumsum(np.random.default_rng(1).uniform(0, 0.3, 60))
    assert angles[-1] > 2 * np.pi
    axis = np.array([2, -1, 2]) / 3
    filter = RotationFilter(matrices_from_vectors(angles[:1, None] * axis), CUTOFFS)
    expected = one_euro_of_the_paper(angles, 30, CUTOFFS)
    for angle, value in zip(angles[1:], expected[1:], strict=True):
        (result,) = filter.update(matrices_from_vectors(np.array([angle * axis])), 1 / 30)
        np.testing.assert_allclose(result, matrices_from_vectors(value * axis), atol=1e-9)


def test_filtering_commutes_with_a_rotation_of_the_frame():
    """No axis is special, unlike when filtering Euler angles or quaternion components."""
    rng = np.random.default_rng(2)
    turn, rotations = (
        matrices_from_vectors(rng.normal(size=3)),
        matrices_from_vectors(0.4 * rng.normal(size=(20, 1, 3))),
    )
    plain, turned = RotationFilter(rotations[0], CUTOFFS), RotationFilter(turn @ rotations[0], CUTOFFS)
    for rotation in rotations[1:]:
        a, b = plain.update(rotation, 1 / 30), turned.update(turn @ rotation, 1 / 30)
        np.testing.assert_allclose(turn @ a, b, atol=1e-9)


@pytest.mark.parametrize("side", Side)
def test_a_smoothed_hand_is_consistent(side):
    rng, smoother = np.random.default_rng(3), HandSmoother(HANDS)
    for i in range(5):
        estimate = hand_of(mano(rng, 0.05), side)
        (hand,) = smoother(frame(estimate), i / 30).hands
    assert np.linalg.norm(hand.joints - estimate.joints, axis=-1).max() > 0.001
    vertices, joints, _ = POSER(hand.mano, side)
    np.testing.assert_allclose(hand.vertices, vertices, atol=1e-6)
    np.testing.assert_allclose(hand.joints, joints, atol=1e-6)
    np.testing.assert_allclose(hand.joints_2d, CAMERA.project(joints), atol=1e-3)
    np.testing.assert_allclose(hand.wrist_position, joints[0], atol=1e-6)
    np.testing.assert_allclose(
        hand.wrist_rotation, Rotation.from_rotvec(hand.mano.global_orient).as_matrix(), atol=1e-9
    )
    size = (estimate.box[2:] - estimate.box[:2]).max()
    assert hand.reprojection_error == pytest.approx(
        np.linalg.norm(hand.joints_2d - estimate.keypoints, axis=-1).mean() / size
    )
    assert (hand.score, hand.track_id, hand.box.tolist()) == (estimate.score, estimate.track_id, estimate.box.tolist())


def test_a_hand_at_rest_becomes_steadier_without_bias():
    rng, smoother = np.random.default_rng(4), HandSmoother(HANDS)
    pairs = []
    for i in range(90):
        estimate = hand_of(mano(rng, 0.02))
        pairs.append((estimate.joints, smoother(frame(estimate), i / 30).hands[0].joints))
    raw, smooth = (np.array(joints)[20:] for joints in zip(*pairs, strict=True))
    jitter = [np.diff(joints, n=2, axis=0).std() for joints in (raw, smooth)]
    assert jitter[1] < jitter[0] / 3
    expected = hand_of(mano(rng)).joints
    assert np.abs(smooth.mean(0) - expected).max() < 0.004


def test_camera_motion_is_compensated():
    """A hand at rest in the world, seen from a rotating and moving camera: in the world frame it is smoothed without
    any lag."""
    rng = np.random.default_rng(5)
    still = mano(rng)
    expected = hand_of(still).joints.astype(float)
    errors = {"world": [], "camera": []}
    smoothers = {name: HandSmoother(HANDS) for name in errors}
    wrist = expected[0]
    for i in range(30):
        turn = Rotation.from_rotvec([0, 0.03 * i, 0.01 * i])
        pose = Pose(turn.as_matrix(), np.array([0.01 * i, 0, 0]))
        seen = Rotation.from_matrix(pose.rotation.T)
        orient = (seen * Rotation.from_rotvec(still.global_orient)).as_rotvec()
        transl = still.transl + seen.apply(wrist - pose.position) - wrist
        hand = hand_of(replace(still, global_orient=orient, transl=transl))
        for name, smoother in smoothers.items():
            (result,) = smoother(frame(hand), i / 30, pose if name == "world" else None).hands
            errors[name].append(np.linalg.norm(result.joints - hand.joints, axis=-1).max())
    assert max(errors["world"]) < 1e-5
    assert max(errors["camera"]) > 0.005


def test_new_hands_gaps_and_clock_jumps_reset_the_filter():
    rng, smoother = np.random.default_rng(6), HandSmoother(HANDS)
    far, near = hand_of(mano(rng)), hand_of(mano(rng, transl=(0.1, 0, 0.8)))

    def passes(hand: HandEstimate, stamp: float, pose: Pose | None = None) -> bool:
        return np.abs(smoother(frame(hand), stamp, pose).hands[0].joints - hand.joints).max() < 1e-6

    assert passes(far, 10.0)
    assert not passes(near, 10.0 + 0.9 * MAX_GAP)
    assert passes(replace(near, track_id="hand_2"), 10.5)
    assert passes(far, 10.5 + 1.1 * MAX_GAP)
    assert passes(near, 3.0), "time ran back"
    assert passes(far, 3.0), "stamps that stand still must not freeze the hand"
    assert not passes(near, 3.1)
    assert passes(hand_of(mano(rng), Side.LEFT), 3.2), "the side has changed"
    assert passes(hand_of(mano(rng, 0.1), Side.LEFT), 3.3, Pose(np.eye(3), np.zeros(3))), "another frame"
    smoother(frame(far), 4.0)
    smoother.reset()
    assert passes(near, 4.1)
    assert passes(replace(far, track_id=""), 4.2) and passes(replace(near, track_id=""), 4.3), (
        "without tracking nothing is smoothed"
    )
    assert smoother(frame(), 4.4).hands == ()


@pytest.mark.parametrize("shift", [0.0, 0.37, 1.0, 2.5])
def test_lag_is_measured_to_a_fraction_of_a_sample(shift):
    rng, times = np.random.default_rng(7), np.arange(400.0)
    path = lambda t: np.stack([np.sin(t / 7), np.sin(t / 11 + 1), np.cos(t / 5)], -1)[:, None] * 0.1  # noqa: E731
    noise = lambda: 0.0003 * rng.normal(size=(400, 1, 3))  # noqa: E731
    assert lag(path(times) + noise(), path(times - shift) + noise(), 0.003) == pytest.approx(shift, abs=0.06)
    gap = path(times)
    gap[100:140] = np.nan
    assert lag(gap, path(times - shift), 0.003) == pytest.approx(shift, abs=0.06)


def test_lag_of_a_first_order_filter_is_its_group_delay():
    path = np.cumsum(np.random.default_rng(8).normal(size=(2000, 1, 3)), axis=0)
    path = np.apply_along_axis(lambda column: np.convolve(column, np.hanning(60), "same"), 0, path)
    follower, alpha = path.copy(), 0.6
    for i in range(1, len(path)):
        follower[i] = alpha * path[i] + (1 - alpha) * follower[i - 1]
    assert lag(path, follower, 0.0) == pytest.approx((1 - alpha) / alpha, abs=0.03)


def test_lag_without_motion_is_unknown():
    assert np.isnan(lag(np.zeros((100, 2, 3)), np.zeros((100, 2, 3)), 0.01))
    assert np.isnan(lag(np.full((100, 2, 3), np.nan), np.zeros((100, 2, 3)), 0.01))


class NoisyEstimator:
    """Returns a swinging hand with noise: more of it in single images, one of which it misses."""

    hand_model = HANDS

    def __init__(self):
        self.rng, self.calls = np.random.default_rng(9), 0

    def __call__(self, image, camera, stamp=None):
        self.calls += 1
        alone = stamp is None
        time = self.calls // 2 / 30 if alone else stamp
        if alone and self.calls == 50:
            return frame()
        transl = (0.1 * np.sin(4 * time), 0.02, 0.5)
        return frame(hand_of(mano(self.rng, 0.05 if alone else 0.02, transl), track="" if alone else "hand_1"))


def test_jitter_compares_single_frames_with_the_stream():
    figures = measure_jitter(NoisyEstimator(), ((None, i / 30) for i in range(90)), CAMERA)
    assert figures["raw"]["tips_mm"] > 1.5 * figures["tracked"]["tips_mm"] > 2 * figures["smoothed"]["tips_mm"]
    assert figures["raw"]["wrist_mm"] > 1.5 * figures["tracked"]["wrist_mm"] > 2 * figures["smoothed"]["wrist_mm"]
    assert 0 < figures["filter_lag_ms"] < 60
    assert figures["frames"] == 90 and figures["hands"] == 1


def test_jitter_of_a_video_without_hands_is_rejected():
    class Blind(NoisyEstimator):
        def __call__(self, *_):
            return frame()

    with pytest.raises(ValueError, match="no hand"):
        measure_jitter(Blind(), ((None, i / 30) for i in range(10)), CAMERA)
