"""What annotation makes of a whole recording: joined tracks, sides, gaps, quality, and visibility of joints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from wildhands_ros.config import QualityThresholds
from wildhands_ros.geometry.calibration import IntrinsicsSource
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.geometry.trajectory import Trajectory, TrajectoryChain
from wildhands_ros.geometry.visibility import Surface, hidden_depths, joint_visibility
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.hand_model.posing import HandPoser
from wildhands_ros.recording.backwards import add_backwards, spans_before_tracks
from wildhands_ros.recording.estimation import Span
from wildhands_ros.recording.refinement import Refinement, RefinementOptions
from wildhands_ros.recording.reliability import probability_wrong
from wildhands_ros.recording.segments import AnnotatedFrame
from wildhands_ros.types import (
    DepthStatus,
    Doubt,
    EstimateSource,
    FrameEstimate,
    HandEstimate,
    HandState,
    ManoParameters,
    Side,
)

CAMERA = Camera.guess(640, 480)
PERIOD = 1 / 30
MODEL = open_hands()
POSER = HandPoser(MODEL)
TURN = np.array([0.0, np.pi / 2, 0.0])
"""Fingers of the right hand away from the camera."""
BENT = np.full(45, 2.5)


def hand(
    wrist: Sequence[float], side: Side = Side.RIGHT, track: str = "hand_1", score: float = 0.98, **changes
) -> HandEstimate:
    """Returns an estimate with its wrist at a place of the camera frame, and keypoints that agree."""
    mano = ManoParameters(np.zeros(3), TURN if side is Side.RIGHT else -TURN, np.zeros(45), np.zeros(10))
    at_zero = POSER.joints(mano, side).joints[0]
    mano = replace(mano, transl=np.asarray(wrist, float) - at_zero)
    posed = POSER.joints(mano, side)
    joints_2d = CAMERA.project(posed.joints)
    box = np.concatenate([joints_2d.min(axis=0), joints_2d.max(axis=0)])
    estimate = HandEstimate(
        side=side,
        score=score,
        side_score=0.95,
        box=box,
        joints=posed.joints,
        joints_2d=joints_2d,
        wrist_position=posed.joints[0],
        wrist_rotation=posed.rotation,
        mano=mano,
        pose_mesh=POSER.vertices,
        source=EstimateSource.NETWORK_AND_FIT,
        wrist_covariance=1e-4 * np.eye(6),
        reprojection_error=0.01,
        keypoints=joints_2d,
        track_id=track,
    )
    return replace(estimate, **changes)


def frames(count: int, hands: Callable[[int], Sequence[HandEstimate]]) -> list[AnnotatedFrame]:
    return [
        AnnotatedFrame(n, n * PERIOD, IntrinsicsSource.CAMERA_INFO, FrameEstimate(tuple(hands(n)), CAMERA))
        for n in range(count)
    ]


def place(number: int) -> list[float]:
    return [0.004 * number - 0.05, 0.02, 0.5]


def refined(recording: list[AnnotatedFrame], poses: TrajectoryChain | None = None, **options) -> list[AnnotatedFrame]:
    return list(Refinement(MODEL, RefinementOptions(**options))(recording, poses))


def test_a_short_gap_is_joined_interpolated_and_marked():
    recording = frames(30, lambda n: [] if 10 <= n < 15 else [hand(place(n), track="hand_1" if n < 10 else "hand_2")])
    found = refined(recording)
    assert all(len(frame.estimate.hands) == 1 for frame in found)
    assert len({frame.estimate.hands[0].track_id for frame in found}) == 1
    for number, frame in enumerate(found):
        (each,) = frame.estimate.hands
        assert (each.quality.state is HandState.INTERPOLATED) is (10 <= number < 15)
        assert each.quality.usable and not each.quality.doubts
        np.testing.assert_allclose(each.joints[0], place(number), atol=1e-6)
        assert (each.score == 0) is (10 <= number < 15)


def test_a_long_gap_is_joined_and_left_empty():
    recording = frames(40, lambda n: [] if 10 <= n < 25 else [hand(place(n), track="hand_1" if n < 10 else "hand_2")])
    found = refined(recording)
    assert [len(frame.estimate.hands) for frame in found] == [1] * 10 + [0] * 15 + [1] * 15
    assert found[0].estimate.hands[0].track_id == found[-1].estimate.hands[0].track_id
    assert not any(frame.estimate.hands for frame in refined(frames(5, lambda n: [])))
    within = refined(recording, max_gap=1.0)
    assert all(len(frame.estimate.hands) == 1 for frame in within)


def test_a_hand_that_returns_elsewhere_is_another_track():
    def one(number: int) -> list[HandEstimate]:
        if number < 10:
            return [hand(place(number))]
        return [] if number < 15 else [hand([0.3, 0.2, 0.9], track="hand_2")]

    found = refined(frames(30, one))
    assert found[0].estimate.hands[0].track_id != found[-1].estimate.hands[0].track_id
    assert not found[12].estimate.hands


def test_a_flip_of_the_side_is_fitted_again_as_the_side_of_the_track():
    def one(number: int) -> list[HandEstimate]:
        if 12 <= number < 15:
            # The keypoints are still those of the right hand.
            true = hand(place(number))
            wrong = hand(place(number), Side.LEFT)
            return [replace(wrong, keypoints=true.keypoints, box=true.box, side_score=0.6)]
        return [hand(place(number))]

    found = refined(frames(30, one))
    assert {each.side for frame in found for each in frame.estimate.hands} == {Side.RIGHT}
    again = found[13].estimate.hands[0]
    assert again.source is EstimateSource.KEYPOINT_FIT
    assert np.linalg.norm(again.joints_2d - hand(place(13)).joints_2d, axis=1).mean() < 5


@pytest.mark.parametrize("measured", [{"depth": DepthStatus.USED}, {"views": ("left", "right")}])
def test_a_measured_distance_is_kept_where_the_side_is_corrected(measured):
    def hands(n: int) -> list[HandEstimate]:
        true = hand(place(n), **measured)
        if n != 15:
            return [true]
        return [replace(hand(place(n), Side.LEFT, **measured), keypoints=true.keypoints, box=true.box, side_score=0.6)]

    corrected = refined(frames(30, hands))[15].estimate.hands[0]
    assert corrected.side is Side.RIGHT and corrected.depth is hands(15)[0].depth
    assert corrected.views == hands(15)[0].views
    assert np.linalg.norm(corrected.joints[0]) == pytest.approx(np.linalg.norm(place(15)), abs=0.003)
    difference = np.linalg.norm(corrected.joints_2d - hand(place(15)).joints_2d, axis=1)
    assert difference.max() < 12, "it lies where the image shows it"
    assert np.trace(corrected.wrist_covariance[:3, :3]) == pytest.approx(3e-4)


def test_a_track_that_goes_over_to_the_other_hand_is_split():
    recording = frames(40, lambda n: [hand(place(n), Side.RIGHT if n < 20 else Side.LEFT)])
    found = refined(recording)
    sides = [frame.estimate.hands[0].side for frame in found]
    assert sides == [Side.RIGHT] * 20 + [Side.LEFT] * 20
    assert found[0].estimate.hands[0].track_id != found[-1].estimate.hands[0].track_id


def test_two_hands_in_the_same_frames_are_rather_a_right_and_a_left_one():
    unsure = hand([0.15, 0, 0.5], Side.RIGHT, "hand_2", side_score=0.6)
    found = refined(frames(30, lambda n: [hand(place(n)), unsure]))
    assert [{each.side for each in frame.estimate.hands} for frame in found] == [set(Side)] * 30


@pytest.mark.parametrize(
    ("changed", "doubt"),
    [
        (lambda n: hand([0.3, 0.1, 0.7]), Doubt.JUMP),
        (lambda n: hand(place(n), reprojection_error=0.2), Doubt.LOW_AGREEMENT),
        (lambda n: hand(place(n), network_distance=0.15), Doubt.LOW_AGREEMENT),
        (lambda n: hand(place(n), mano=replace(hand(place(n)).mano, hand_pose=BENT)), Doubt.IMPLAUSIBLE_POSE),
    ],
)
def test_a_wrong_frame_is_doubted_and_not_usable(changed, doubt):
    found = refined(frames(30, lambda n: [changed(n) if n == 15 else hand(place(n))]))
    qualities = [frame.estimate.hands[0].quality for frame in found]
    assert qualities[15].doubts & doubt and not qualities[15].usable
    assert all(qualities[n].usable for n in (*range(12), *range(19, 30)))


def test_thresholds_are_arguments():
    recording = frames(30, lambda n: [hand(place(n), reprojection_error=0.2)])
    assert not any(frame.estimate.hands[0].quality.usable for frame in refined(recording))
    lenient = refined(recording, thresholds=QualityThresholds(max_reprojection=0.25))
    assert all(frame.estimate.hands[0].quality.usable for frame in lenient)


def test_a_hand_that_appears_for_an_instant_is_doubted():
    found = refined(frames(30, lambda n: [hand(place(n))] if n in (4, 5) else []))
    assert found[4].estimate.hands[0].quality.doubts & Doubt.JUMP


def test_hands_are_compared_and_smoothed_in_the_fixed_frame():
    """A turn of the head moves the hand by metres per second in the camera frame; in the world it rests."""
    rng = np.random.default_rng(0)
    times = PERIOD * np.arange(40)
    yaw = 1.2 * times
    quaternions = np.column_stack([np.zeros(40), np.sin(yaw / 2), np.zeros(40), np.cos(yaw / 2)])
    poses = TrajectoryChain(((Trajectory.of(times, np.zeros((40, 3)), quaternions), False),))
    world = np.array([0.3, 0.02, 0.5])
    noise = rng.normal(0, 0.004, (40, 3))

    def turned(number: int) -> list[HandEstimate]:
        pose = poses.at(times[number]).pose
        return [hand(pose.inverse().apply(world + noise[number]))]

    found = refined(frames(40, turned), poses, smooth=True)
    places = np.array([frame.camera_pose.pose.apply(frame.estimate.hands[0].joints[0]) for frame in found])
    assert np.abs(places - world)[3:-3].std() < 0.6 * np.abs(noise)[3:-3].std()
    assert not any(frame.estimate.hands[0].quality.doubts for frame in found)


def test_a_hand_outside_the_image_is_out_of_view():
    found = refined(frames(20, lambda n: [hand([0.6, 0.02, 0.5])]))
    quality = found[5].estimate.hands[0].quality
    assert quality.state is HandState.OUT_OF_VIEW and not quality.usable


# Visibility


def surface(estimate: HandEstimate) -> Surface:
    return Surface(estimate.vertices, MODEL[estimate.side].faces)


def test_joints_behind_another_hand_are_hidden():
    far, near = hand([0, 0, 0.6]), hand([0, 0, 0.4], Side.LEFT)
    alone = hidden_depths(0, far.joints, [surface(far)])
    behind = hidden_depths(0, far.joints, [surface(far), surface(near)])
    assert (alone[:, 1] == 0).all() and (behind[:, 1] > 0).sum() >= 5
    together = [surface(far), surface(near)]
    seen = [joint_visibility(n, h.joints, h.joints_2d, 0.98, together, CAMERA) for n, h in enumerate((far, near))]
    without = joint_visibility(0, far.joints, far.joints_2d, 0.98, together[:1], CAMERA)
    interpolated = joint_visibility(0, far.joints, far.joints_2d, 0.0, together[:1], CAMERA)
    assert (interpolated < without).all()
    assert (seen[0] <= without + 1e-9).all() and seen[0].mean() < without.mean()


def test_fingers_bent_behind_the_palm_are_hidden_by_their_own_hand():
    pose = np.zeros((15, 3))
    straight = hand([0, 0, 0.5])
    pose[:12] = (0, 0, 1.3)
    back_to_camera = np.array([-np.pi / 2, 0.0, 0.0])
    for posture, mostly in ((np.zeros(45), False), (pose.ravel(), True)):
        mano = replace(straight.mano, global_orient=back_to_camera, hand_pose=posture)
        joints = POSER.joints(mano, Side.RIGHT).joints
        behind = hidden_depths(0, joints, [Surface(POSER.vertices(mano, Side.RIGHT), MODEL[Side.RIGHT].faces)])
        assert bool((behind[[8, 12, 16, 20], 0] > 0).sum() >= 2) is mostly


def test_joints_outside_the_image_are_not_seen():
    # The middle of the hand is at the right border.
    shift = 0.6 * (CAMERA.width - np.median(hand([0, 0, 0.5]).joints_2d[:, 0])) / CAMERA.focal
    cut = hand([shift, 0, 0.5])
    visibility = joint_visibility(0, cut.joints, cut.joints_2d, 0.98, [surface(cut)], CAMERA)
    outside = cut.joints_2d[:, 0] > CAMERA.width + 3
    assert 0 < outside.sum() < 21 and (visibility[outside] < 0.1).all()


# The pass backwards


def test_spans_before_tracks_are_joined_where_they_overlap():
    def one(number: int) -> list[HandEstimate]:
        hands = [hand(place(number))] if number >= 30 else []
        hands += [hand([-0.2, 0, 0.5], Side.LEFT, "hand_2")] if number >= 40 else []
        return hands + ([hand([0.2, 0, 0.8], track="hand_3")] if number >= 90 else [])

    assert spans_before_tracks(frames(100, one)) == [Span(15, 44), Span(75, 94)]
    assert spans_before_tracks(frames(20, lambda n: [hand(place(n))])) == []
    assert spans_before_tracks([]) == []


def test_hands_of_the_pass_backwards_fill_the_frames_before_a_track():
    forwards = frames(20, lambda n: [hand(place(n), track="right_1")] if n >= 12 else [])
    backwards = frames(15, lambda n: [hand(place(n), track="hand_1")] if n >= 6 else [])
    add_backwards(forwards, backwards)
    assert [len(frame.estimate.hands) for frame in forwards] == [0] * 6 + [1] * 14
    assert {each.track_id for frame in forwards for each in frame.estimate.hands} == {"right_1"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n: hand(place(n), track="hand_1", score=0.2),  # hardly recognised
        lambda n: hand([0.3, 0.2, 0.9], track="hand_1"),  # never the hand of the track
        lambda n: hand([0.2, 0, 0.5] if n < 12 else place(n), Side.LEFT, "hand_1"),  # the other side
    ],
)
def test_doubtful_hands_of_the_pass_backwards_are_left_out(wrong):
    forwards = frames(20, lambda n: [hand(place(n), track="right_1")] if n >= 12 else [])
    add_backwards(forwards, frames(15, lambda n: [wrong(n)]))
    assert [len(frame.estimate.hands) for frame in forwards] == [0] * 12 + [1] * 8


def test_unsteady_distances_are_doubted():
    steady = [hand((0.1, 0.0, 0.6), network_distance=0.6) for _ in range(30)]
    unsteady = [hand((0.1, 0.0, 0.6), network_distance=0.5 if i % 2 else 0.72) for i in range(29)]
    stamps = PERIOD * np.arange(30)
    wanders = probability_wrong([*unsteady, steady[-1]], stamps)[-1]  # the last one agrees with the network
    assert wanders > probability_wrong(steady, stamps)[-1]


def test_measured_distances_are_judged_by_their_covariance():
    near = np.diag([1e-4, 1e-4, 1e-4, 0.1, 0.1, 0.1])
    colour = hand((0.1, 0.0, 0.7), score=0.6, network_distance=0.5, wrist_covariance=near)
    measured = [replace(colour, depth=DepthStatus.USED), replace(colour, views=("left", "right"))]
    vague = replace(measured[0], wrist_covariance=400 * near)
    alone, by_depth, by_views, unsure = probability_wrong([colour, *measured, vague], PERIOD * np.arange(4))
    assert alone > 0.5 and by_depth < 0.01 and by_views < 0.01 and unsure > 0.5
