"""The core of teleoperation: no observation makes the commanded pose jump."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.pose import Pose
from wildhands_ros.teleop.arm import CLUTCHES, CURL, OTHER_HAND, ROBOT_MAX_AGE, Arm, ArmConfig
from wildhands_ros.teleop.follower import Follower, FollowerConfig
from wildhands_ros.teleop.glitch_filter import GlitchFilter
from wildhands_ros.teleop.lock import HandLock
from wildhands_ros.teleop.observation import HandObservation, TrustLimits, curl
from wildhands_ros.teleop.signals import HeldGesture, RateLimited, opening
from wildhands_ros.types import Side

CONFIG = FollowerConfig(
    max_speed=0.5, max_rotation_speed=1.5, workspace_min=(-0.3, -0.3, 0.1), workspace_max=(0.3, 0.3, 0.8)
)


def pose(position, rotvec=(0.0, 0.0, 0.0)) -> Pose:
    return Pose(Rotation.from_rotvec(rotvec).as_matrix(), np.asarray(position, float))


ROBOT = pose((0.1, 0.0, 0.4), (0.3, -0.2, 0.1))
TICK, FRAME = 0.01, 1 / 30


def flat_joints(pinch: float = 0.06, closed: tuple[str, ...] = ()) -> np.ndarray:
    """Returns a schematic hand in its own frame: fingers along -x, closed ones folded back to the palm."""
    joints = np.zeros((21, 3))
    for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky")):
        z = 0.03 - 0.02 * number
        lengths = (0.09, 0.08, 0.07, 0.06) if finger in closed else (0.09, 0.12, 0.15, 0.175)
        joints[1 + 4 * number : 5 + 4 * number] = [(-x, 0, z) for x in lengths]
    joints[4] = joints[8] + (0, 0, pinch)
    return joints


def hand(
    position=(0.0, 0.0, 0.5), side=Side.RIGHT, track="right_1", rotvec=(0.0, 0.0, 0.0), joints=None, **more
) -> HandObservation:
    wrist = pose(position, rotvec)
    local = flat_joints() if joints is None else joints
    return HandObservation(side, track, wrist, wrist.apply(local), **{"score": 0.9, "side_score": 0.9, **more})


def assert_within_speed(commands: list[tuple[float, Pose]], config: FollowerConfig = CONFIG) -> None:
    for (t1, a), (t2, b) in zip(commands, commands[1:], strict=False):
        assert np.isfinite(b.position).all() and np.isfinite(b.rotation).all()
        assert np.linalg.norm(b.position - a.position) <= config.max_speed * (t2 - t1) + 1e-9
        assert (
            Rotation.from_matrix(b.rotation @ a.rotation.T).magnitude() <= config.max_rotation_speed * (t2 - t1) + 1e-7
        )


def play(arm: Arm, frames, seconds: float, start: float = 0.0) -> list[tuple[float, Pose]]:
    """Returns the commands of a run; ``frames`` returns the hands at a time, None for no frame."""
    commands, due, now = [], start, start
    while now < start + seconds:
        if now >= due:
            due += FRAME
            if (hands := frames(now)) is not None:
                arm.frame(now, hands)
        command = arm.tick(now)
        if command is not None:
            commands.append((now, command.pose))
        now += TICK
    return commands


def circling(now: float) -> tuple[float, float, float]:
    return 0.1 * np.cos(4 * now), 0.1 * np.sin(4 * now), 0.5


# Follower


finite = st.floats(-2, 2)
wrists = st.one_of(
    st.none(),
    st.builds(
        pose,
        st.tuples(finite, finite, finite),
        st.tuples(finite, finite, finite),
    ),
    st.just(pose((np.nan, 0, 1))),
)
events = st.lists(
    st.tuples(
        st.floats(0, 0.3), st.sampled_from(("observe", "observe", "tick", "tick", "tick", "engage", "release")), wrists
    )
)


@given(events=events)
def test_commands_never_exceed_the_speed_limits_or_the_watchdog(events):
    follower = Follower(CONFIG)
    now, seen, previous = 0.0, -np.inf, (0.0, ROBOT)
    follower.engage(now, ROBOT)
    for wait, kind, wrist in events:
        now += wait
        if kind == "observe":
            if follower.observe(now, wrist):
                seen = now
        elif kind == "engage":
            follower.engage(now, previous[1])
        elif kind == "release":
            follower.release()
        elif (command := follower.command(now)) is not None:
            assert now - seen <= CONFIG.watchdog
            assert_within_speed([previous, (now, command)])
            previous = now, command


# A whole arm: whatever hands, stamps, clutches and robot poses do, over any time


numbers = st.one_of(st.floats(-2, 2), st.sampled_from((np.nan, np.inf, -np.inf, 1e30, 1e308, 0.0)))
scores = st.sampled_from((0.9, 0.9, 0.9, 0.2, np.nan, np.inf, -1.0))
shapes = st.sampled_from(
    (flat_joints(), flat_joints(closed=("index", "middle", "ring", "pinky")), flat_joints() * np.nan, np.zeros((21, 3)))
)
hands_of_any_kind = st.builds(
    hand,
    position=st.one_of(st.tuples(finite, finite, finite), st.tuples(numbers, numbers, numbers)),
    side=st.sampled_from((Side.RIGHT, Side.RIGHT, Side.LEFT)),
    track=st.sampled_from(("right_1", "right_1", "right_2", "")),
    rotvec=st.tuples(finite, finite, finite),
    joints=shapes,
    score=scores,
    side_score=scores,
    reprojection_error=st.sampled_from((0.01, np.nan, 5.0)),
)
arm_events = st.lists(
    st.tuples(
        # Times that run backwards too, as with a clock that is set back.
        st.one_of(st.floats(0, 0.05), st.floats(0, 2), st.floats(-0.2, 0)),
        st.sampled_from(("frame", "frame", "tick", "tick", "tick", "engage", "release", "robot")),
        st.lists(hands_of_any_kind, max_size=3),
        st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0, 1)),
    ),
    max_size=60,
)


def inside(position: np.ndarray) -> bool:
    return bool((position >= CONFIG.workspace_min).all() and (position <= CONFIG.workspace_max).all())


@pytest.mark.parametrize("clutch", CLUTCHES)
@given(events=arm_events, lag=st.sampled_from((0, 2)), ramp=st.sampled_from((0.0, 0.5)))
def test_no_two_commands_break_a_limit_and_none_follows_a_stale_or_odd_input(clutch, events, lag, ramp):
    config = ArmConfig(Side.RIGHT, replace(CONFIG, ramp=ramp), clutch=clutch, glitch_lag=lag)
    arm = Arm(config, lambda joints: joints[:2, 0], start=ROBOT)
    now = latest = 0.0
    trusted_at, previous, reported = -np.inf, None, True
    for wait, kind, hands, robot in events:
        now += wait
        latest = max(latest, now)
        if kind == "frame":
            arm.frame(now, hands)
            if arm.hand is not None:
                assert TrustLimits().violation(arm.hand) == "" and np.isfinite(arm.hand.joints).all()
                trusted_at = max(trusted_at, now)
        elif kind == "engage":
            arm.engage(now)
        elif kind == "release":
            arm.release()
        elif kind == "robot":
            arm.robot_at(now, pose(robot))
            reported = True
        elif (command := arm.tick(now)) is not None:
            assert arm.engaged and now - trusted_at <= CONFIG.watchdog
            assert np.isfinite(command.joints).all() and 0 <= command.opening <= 1
            if previous is not None and not reported:
                assert_within_speed([previous, (latest, command.pose)])
                # Outside of the workspace it only returns: it never leaves it.
                assert inside(command.pose.position) or not inside(previous[1].position)
            previous, reported = (latest, command.pose), False


def test_arm_follows_the_hand_relative_to_the_moment_of_engaging():
    follower = Follower(replace(CONFIG, position_scale=0.5, max_speed=10, max_rotation_speed=10, ramp=0))
    turn = (0, 0, 0.4)
    follower.engage(0.0, ROBOT)
    follower.observe(0.0, pose((1, 2, 3)))
    first = follower.command(0.0)
    np.testing.assert_array_equal(first.position, ROBOT.position)
    follower.observe(0.05, pose((1.1, 2, 3), turn))
    follower.command(0.05)
    moved = follower.command(0.09)
    np.testing.assert_allclose(moved.position, ROBOT.position + (0.05, 0, 0), atol=1e-12)
    turned = Rotation.from_matrix(moved.rotation @ ROBOT.rotation.T).as_rotvec()
    np.testing.assert_allclose(turned, turn, atol=1e-12)


def test_workspace_limits_the_position():
    follower = Follower(CONFIG)
    follower.engage(0.0, ROBOT)
    for step in range(200):
        now = step * 0.02
        follower.observe(now, pose((0.02 * step, 0, 0)))
        command = follower.command(now)
        assert (command.position <= np.array(CONFIG.workspace_max) + 1e-12).all()
    assert command.position[0] == pytest.approx(0.3)


def test_hand_that_reappears_late_does_not_move_the_arm():
    follower = Follower(CONFIG)
    follower.engage(0.0, ROBOT)
    follower.observe(0.0, pose((0, 0, 0)))
    assert follower.command(0.05) is not None
    follower.observe(2.0, pose((0, 0, 0)))
    assert not follower.engaged and follower.command(2.0) is None


# Faults, as the arm meets them: the command stops within 100 ms, and never jumps


def engaged_arm(**more) -> Arm:
    arm = Arm(ArmConfig(Side.RIGHT, replace(CONFIG, **more)), start=ROBOT)
    assert arm.engage(0.0)
    return arm


def fault(during):
    """Returns frames of a circling hand, with a fault between 1.0 and 1.2 s."""
    return lambda now: during(now) if 1.0 <= now < 1.2 else [hand(circling(now))]


def other_person(now: float) -> HandObservation:
    return hand(np.array(circling(now)) + (0.6, 0.2, 0.3), track="right_2", score=0.99)


FAULTS = {
    "hand lost": lambda now: [],
    "no frames for 200 ms": lambda now: None,
    "NaN": lambda now: [hand((np.nan, 0.0, 0.5))],
    "NaN in a joint": lambda now: [hand(circling(now), joints=np.full((21, 3), np.nan))],
    "another person's hand alone": lambda now: [other_person(now)],
    "sides swapped": lambda now: [hand(circling(now), side=Side.LEFT), hand((0.5, 0.1, 0.6), track="left_1")],
    "another hand under the same track": lambda now: [hand((0.6, 0.3, 0.8))],
    "low score": lambda now: [hand(circling(now), score=0.2)],
    "side uncertain": lambda now: [hand(circling(now), side_score=0.5)],
    "does not fit its keypoints": lambda now: [hand(circling(now), reprojection_error=0.5)],
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_stops_the_commands_within_100_ms_and_they_continue_without_a_jump(name):
    arm = engaged_arm()
    commands = play(arm, fault(FAULTS[name]), 2.0)
    assert_within_speed(commands)
    times = [now for now, _ in commands]
    assert not any(1.0 + CONFIG.watchdog <= now < 1.2 for now in times)
    assert any(now < 1.0 for now in times) and any(now > 1.3 for now in times)
    assert arm.status == "following"


@pytest.mark.parametrize("since", ("last command", "before it", None))
def test_after_a_pause_the_arm_continues_from_the_reported_pose(since):
    arm = engaged_arm(ramp=0.0)
    stopped_at = Pose(ROBOT.rotation, ROBOT.position + (0.1, 0, 0))
    if since == "before it":  # A report that is older than the last command is ignored.
        arm.robot_at(0.0, ROBOT)
    last = play(arm, lambda now: [hand((-0.4 * now, 0, 0.5))], 0.5)[-1][1]
    play(arm, lambda now: [], 0.3, start=0.5)
    if since == "last command":
        arm.robot_at(0.7, stopped_at)
    commands = play(arm, lambda now: [hand((-0.4 * now, 0, 0.5))], 0.3, start=0.8)
    expected = stopped_at if since == "last command" else last
    np.testing.assert_allclose(commands[0][1].position, expected.position, atol=1e-12)
    assert commands[-1][1].position[0] < expected.position[0] - 0.05
    assert_within_speed(commands)


def test_hands_that_arrive_less_often_than_the_watchdog_are_not_reported_as_followed():
    arm = engaged_arm()
    said = []
    for step in range(100):
        now = 0.01 * step
        if step % 20 == 0:
            arm.frame(now, [hand(circling(now))])
        arm.tick(now)
        said.append(arm.status)
    for step in range(100):
        if step % 20 != 10:  # At these steps the result depends on rounding.
            assert said[step] == ("following" if step % 20 < 10 else "stopped: no trusted hand for 0.1 s")


def test_a_stopped_arm_says_why():
    arm = engaged_arm()
    assert arm.status == "engaged, waiting for the right hand"
    play(arm, lambda now: [], 0.2)
    assert arm.status == "stopped: no trusted hand for 0.1 s"
    play(arm, lambda now: [hand(score=0.2)], 0.2, start=0.2)
    assert arm.status.startswith("stopped: no trusted hand for 0.1 s (") and "score" in arm.status


def test_a_clutch_that_opens_because_of_a_late_frame_is_reported():
    arm = engaged_arm()
    play(arm, lambda now: [hand()], 0.3)
    arm.frame(2.0, [hand()])
    arm.tick(2.0)
    assert not arm.engaged and "engage again" in arm.status


@pytest.mark.parametrize("order", (1, -1))
def test_a_second_person_does_not_take_over(order):
    frames = lambda now: [hand(circling(now)), *([other_person(now)] if now > 0.5 else [])][::order]  # noqa: E731
    arm, alone = engaged_arm(), engaged_arm()
    commands, expected = play(arm, frames, 2.0), play(alone, lambda now: [hand(circling(now))], 2.0)
    assert_within_speed(commands)
    np.testing.assert_allclose([pose.position for _, pose in commands], [pose.position for _, pose in expected])


def test_without_track_ids_the_nearest_hand_is_followed():
    lock = HandLock(Side.RIGHT)
    assert lock.pick([hand((0, 0, 0.5), track="")]).wrist.position[0] == 0
    others = [hand((0.4, 0, 0.5), track="", score=1.0), hand((0.05, 0, 0.5), track="")]
    assert lock.pick(others).wrist.position[0] == 0.05
    assert lock.pick([others[0]]) is None


def test_unknown_scores_do_not_make_a_hand_untrusted():
    unknown = hand(score=float("nan"), side_score=float("nan"), reprojection_error=float("nan"))
    assert TrustLimits().violation(unknown) == ""


def test_speed_rises_from_zero_when_a_motion_begins_and_when_the_hand_comes_back_elsewhere():
    """The hand is lost for 0.3 s while it moves on, so that the arm would run at its full speed at once."""
    fast = lambda now: [] if 1.0 <= now < 1.3 else [hand((0.0, 0.0, 0.5 - 0.6 * now))]  # noqa: E731
    arm = engaged_arm(ramp=0.5)
    commands = play(arm, fast, 2.2)
    assert_within_speed(commands)
    for begin in (0.0, 1.3):
        own = [(now, pose) for now, pose in commands if begin <= now < begin + 0.5]
        for (t1, a), (t2, b) in zip(own, own[1:], strict=False):
            share = (t2 - own[0][0]) / 0.5
            assert np.linalg.norm(b.position - a.position) <= share * CONFIG.max_speed * (t2 - t1) + 1e-9
    np.testing.assert_allclose(
        next(pose for now, pose in commands if now >= 1.3).position,
        next(pose for now, pose in reversed(commands) if now < 1.3).position,
        atol=1e-9,
    )


# Glitches


def filtered(hands: list[HandObservation | None], lag: int = 2) -> list[HandObservation | None]:
    """Returns what the filter makes of hands at 30 Hz."""
    glitches = GlitchFilter(lag, CONFIG.watchdog)
    return [None if each is None else glitches.update(FRAME * number, each) for number, each in enumerate(hands)]


def waving(now: float, **more) -> HandObservation:
    """Returns a hand that moves fast, turns, and opens and closes its thumb."""
    joints = flat_joints(0.05 + 0.04 * np.sin(6 * now))
    return hand(circling(now), rotvec=(0, 0.8 * np.sin(5 * now), 0), joints=joints, stamp=round(now * 1e9), **more)


@pytest.mark.parametrize("lag", (1, 2, 3))
def test_a_glitch_filter_delays_a_smooth_motion_by_its_lag_and_changes_nothing(lag):
    hands = [waving(FRAME * number) for number in range(60)]
    result = filtered(hands, lag)
    assert result[:lag] == [None] * lag
    assert [id(each) for each in result[lag:]] == [id(each) for each in hands[: 60 - lag]]


@pytest.mark.parametrize("length", (1, 2))
@pytest.mark.parametrize("kind", ("position", "rotation", "fingers"))
def test_glitches_are_replaced_by_the_median_of_their_surroundings(kind, length):
    hands = [waving(FRAME * number) for number in range(40)]
    clean = hands[20]
    for number in range(20, 20 + length):
        now = FRAME * number
        glitch = {
            "position": hand(np.add(circling(now), (0, 0.1, 0.2)), rotvec=(0, 0.8 * np.sin(5 * now), 0)),
            "rotation": hand(circling(now), rotvec=(2.0, 0.8 * np.sin(5 * now), 0)),
            "fingers": hand(circling(now), joints=flat_joints(closed=("index", "middle", "ring", "pinky"))),
        }[kind]
        hands[number] = replace(glitch, stamp=hands[number].stamp)
    result = filtered(hands)
    assert all(id(each) == id(hands[number - 2]) for number, each in enumerate(result) if 2 <= number < 20)
    repaired = result[22]
    assert repaired.stamp == clean.stamp
    np.testing.assert_allclose(repaired.wrist.position, clean.wrist.position, atol=0.03)
    assert Rotation.from_matrix(repaired.wrist.rotation @ clean.wrist.rotation.T).magnitude() < 0.3
    np.testing.assert_allclose(repaired.local_joints, clean.local_joints, atol=0.02)
    np.testing.assert_allclose(repaired.joints, repaired.wrist.apply(repaired.local_joints), atol=1e-12)


def test_a_glitch_filter_begins_again_after_a_pause_and_bridges_single_images():
    glitches = GlitchFilter(1, CONFIG.watchdog)
    assert glitches.update(0.0, hand()) is None
    assert glitches.update(0.07, hand()) is not None
    assert glitches.update(0.3, hand((0.3, 0, 0.5))) is None
    glitches.clear()
    assert glitches.update(0.33, hand()) is None


@pytest.mark.parametrize("lag", (0, 2))
def test_an_arm_does_not_follow_glitches(lag):
    arm = Arm(ArmConfig(Side.RIGHT, replace(CONFIG, max_hand_speed=50, ramp=0), glitch_lag=lag), start=ROBOT)
    assert arm.engage(0.0)
    spikes = lambda now: [hand((0, 0, 0.25 if 1.0 <= now < 1.06 else 0.5), stamp=round(now * 1e9))]  # noqa: E731
    positions = np.array([pose.position for _, pose in play(arm, spikes, 2.0)])
    moved = np.linalg.norm(positions - ROBOT.position, axis=1).max()
    assert moved < 1e-9 if lag else moved > 0.02
    assert arm.glitches == (2 if lag else 0)


def test_a_lost_hand_stops_the_arm_as_early_with_a_glitch_filter():
    arm = Arm(ArmConfig(Side.RIGHT, CONFIG, glitch_lag=3), start=ROBOT)
    assert arm.engage(0.0)
    times = [now for now, _ in play(arm, lambda now: [hand(circling(now))] if now < 1.0 else [], 2.0)]
    assert max(times) < 1.0 + CONFIG.watchdog


def test_commands_name_the_image_whose_hand_they_follow():
    arm = Arm(ArmConfig(Side.RIGHT, CONFIG, glitch_lag=1), start=ROBOT)
    assert arm.engage(0.0)
    for number in range(4):
        arm.frame(number * FRAME, [hand(stamp=1000 + number)])
        command = arm.tick(number * FRAME)
        assert (None if command is None else command.stamp) == (None if number == 0 else 999 + number)


# Clutch, gripper


def test_an_arm_with_unknown_pose_cannot_be_engaged():
    arm = Arm(ArmConfig(Side.RIGHT, CONFIG))
    assert not arm.engage(0.0) and "pose is unknown" in arm.status
    arm.robot_at(0.0, ROBOT)
    assert arm.engage(0.0)


def test_an_arm_with_an_old_robot_pose_cannot_be_engaged():
    arm = Arm(ArmConfig(Side.RIGHT, CONFIG), start=ROBOT)
    arm.robot_at(0.0, ROBOT)
    assert arm.engage(0.9 * ROBOT_MAX_AGE)
    arm.release()
    assert not arm.engage(3.0) and not arm.engaged and "robot_pose was received 3.0 s ago" in arm.status
    arm.robot_at(3.0, ROBOT)
    assert arm.engage(3.1)


@pytest.mark.parametrize("clutch", (CURL, OTHER_HAND))
def test_the_clutch_gesture_must_be_held_and_opening_the_hand_releases(clutch):
    arm = Arm(ArmConfig(Side.RIGHT, CONFIG, clutch=clutch), start=ROBOT)
    fist = flat_joints(closed=("index", "middle", "ring", "pinky")[clutch == CURL :])

    def frames(now):
        made = 0.5 <= now < 1.5
        own = hand(circling(now), joints=fist if made and clutch == CURL else None)
        return (
            [own] if clutch == CURL else [own, hand((0.4, 0, 0.5), Side.LEFT, "left_1", joints=fist if made else None)]
        )

    times = [now for now, _ in play(arm, frames, 2.0)]
    assert 0.8 <= min(times) < 0.9 and max(times) < 1.5 + 2 * FRAME and not arm.engaged


@pytest.mark.parametrize(
    ("clutch", "lost", "goes_on"), [(CURL, "own", False), (OTHER_HAND, "other", False), (OTHER_HAND, "own", True)]
)
def test_the_clutch_opens_at_once_if_the_hand_that_holds_it_is_lost(clutch, lost, goes_on):
    arm = Arm(ArmConfig(Side.RIGHT, CONFIG, clutch=clutch), start=ROBOT)
    fist = flat_joints(closed=("index", "middle", "ring", "pinky")[clutch == CURL :])

    def frames(now):
        own, other = (
            hand(circling(now), joints=fist if clutch == CURL else None),
            hand((0.4, 0, 0.5), Side.LEFT, "left_1", joints=fist),
        )
        missing = lost if 1.0 <= now < 1.15 else ""
        return [each for name, each in (("own", own), ("other", other)) if name != missing]

    times = [now for now, _ in play(arm, frames, 1.25)]
    assert arm.engaged == goes_on and (max(times) > 1.2) == goes_on


def test_curl_distinguishes_open_and_closed_hands():
    assert curl(flat_joints(), ("index", "middle")) < 0.2
    assert curl(flat_joints(closed=("index", "middle")), ("index", "middle")) > 1
    assert curl(flat_joints(closed=("index",)), ("index", "middle")) < 0.2


def test_a_gesture_does_not_flicker():
    gesture = HeldGesture(on=0.8, off=0.5, hold=0.3)
    states = [
        gesture.update(0.1 * step, value)
        for step, value in enumerate((0.9, 0.9, 0.7, 0.9, 0.9, 0.9, 0.9, 0.6, 0.6, 0.4, 0.9, None))
    ]
    assert states == [False] * 6 + [True] * 3 + [False] * 3


def test_the_gripper_follows_the_pinch_at_its_own_speed():
    assert [opening(pinch, 0.02, 0.09) for pinch in (0.0, 0.02, 0.055, 0.09, 0.2)] == pytest.approx([0, 0, 0.5, 1, 1])
    arm = engaged_arm()
    openings = []
    for step in range(60):
        now = step * 0.02
        arm.frame(now, [hand(joints=flat_joints(0.1 if step < 20 else 0.01))])
        openings.append(arm.tick(now).opening)
    assert openings[19] == 1 and openings[-1] == 0
    assert np.abs(np.diff(openings)).max() <= ArmConfig(Side.RIGHT).gripper_speed * 0.02 + 1e-9


@given(targets=st.lists(st.tuples(st.floats(0, 1), st.floats(allow_nan=True, allow_infinity=True, width=32))))
def test_a_limited_signal_never_jumps(targets):
    signal, now = RateLimited(2.0), 0.0
    value = signal.update(0.0, np.array([0.0]))
    for wait, target in targets:
        now += wait
        before, value = value, signal.update(now, np.array([target]))
        assert np.isfinite(value).all() and abs(value - before)[0] <= 2.0 * wait + 1e-9


def test_local_joints_do_not_depend_on_the_pose_of_the_hand():
    moved = hand((0.3, -0.2, 0.7), rotvec=(0.5, 1.0, -0.4)).transformed(pose((1, 2, 3), (0.1, 0.2, 0.3)))
    np.testing.assert_allclose(moved.local_joints, flat_joints(), atol=1e-12)
