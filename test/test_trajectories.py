"""Poses of a moving camera: interpolation, gaps and jumps, and every file format."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wildhands_ros.geometry.pose import Pose
from wildhands_ros.geometry.trajectory import Trajectory, TrajectoryChain
from wildhands_ros.io.errors import InputError
from wildhands_ros.io.trajectories.files import TrajectoryOptions, read_trajectory

TIMES = np.arange(6) / 10
POSITIONS = np.column_stack([0.3 * TIMES, np.zeros(6), 1 - TIMES])
ROTATIONS = Rotation.from_rotvec(np.outer(TIMES, [0.5, 0, 1.0]))


def trajectory(**changes) -> Trajectory:
    values = {"times": TIMES, "positions": POSITIONS, "quaternions": ROTATIONS.as_quat(), **changes}
    return Trajectory.of(**values)


def test_orientations_are_interpolated_on_the_great_arc_and_positions_linearly():
    found = trajectory().at(0.24)
    np.testing.assert_allclose(found.pose.position, [0.072, 0, 0.76], atol=1e-12)
    expected = Rotation.from_rotvec(0.24 * np.array([0.5, 0, 1.0])).as_matrix()
    np.testing.assert_allclose(found.pose.rotation, expected, atol=1e-12)


def test_nothing_is_known_before_the_first_pose_after_the_last_or_in_a_gap():
    paused = trajectory(times=np.array([0, 0.1, 0.2, 0.9, 1.0, 1.1]))
    assert all(paused.at(time) is None for time in (-0.01, 0.5, 1.2))
    assert all(paused.at(time) is not None for time in (0, 0.15, 1.05))
    assert paused.at(0.15).piece != paused.at(1.05).piece
    assert paused.jumps == [0.9]


def test_a_jump_separates_two_pieces():
    positions = POSITIONS.copy()
    positions[3:] += (0, 0.8, 0)  # a relocalisation
    jumping = trajectory(positions=positions)
    assert jumping.at(0.25) is None and jumping.at(0.2).piece != jumping.at(0.3).piece
    assert jumping.jumps == [pytest.approx(0.3)]
    turned = (Rotation.from_rotvec([0, 0, 2.0]) * ROTATIONS[4:]).as_quat()
    assert trajectory(quaternions=np.concatenate([ROTATIONS[:4].as_quat(), turned])).jumps == [pytest.approx(0.4)]


def test_a_chain_follows_links_in_both_directions():
    mount = Pose(Rotation.from_euler("x", 90, degrees=True).as_matrix(), np.array([0, 0.1, 0]))
    chain = TrajectoryChain(((trajectory(), False), (Trajectory.static(mount), False)))
    expected = trajectory().at(0.2).pose @ mount
    np.testing.assert_allclose(chain.at(0.2).pose.position, expected.position)
    back = TrajectoryChain(((Trajectory.static(mount), True), (trajectory(), True)))
    both = chain.at(0.2).pose @ back.at(0.2).pose
    np.testing.assert_allclose(both.position, 0, atol=1e-12)
    assert chain.span == (0.0, 0.5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"times": TIMES[:0], "positions": POSITIONS[:0], "quaternions": np.zeros((0, 4))}, "no poses"),
        ({"quaternions": np.zeros((6, 4))}, "quaternion 0"),
        ({"positions": np.full((6, 3), np.nan)}, "not finite"),
    ],
)
def test_poses_that_are_none_are_refused(changes, why):
    with pytest.raises(ValueError, match=why):
        trajectory(**changes)


def rows(order: str, separator: str = " ") -> str:
    """Returns the poses as lines; ``order`` names the values of each: t, i (number), x to z, and 0 to 3 (qx to qw)."""
    lines = []
    for number, (time, position, q) in enumerate(zip(TIMES, POSITIONS, ROTATIONS.as_quat(), strict=True)):
        values = {"t": time, "u": round(1e6 * time), "n": round(1e9 * time), "i": number}
        values |= dict(zip("xyz", position, strict=True)) | dict(zip("0123", q, strict=True))
        lines.append(separator.join(f"{values[key]:.12g}" for key in order))
    return "\n".join(lines) + "\n"


def colmap(line: str = "") -> str:
    inverse = ROTATIONS.inv()
    text = "# Image list\n"
    for number, (q, t) in enumerate(zip(inverse.as_quat()[:, [3, 0, 1, 2]], -inverse.apply(POSITIONS), strict=True)):
        values = " ".join(f"{value:.15g}" for value in (*q, *t))
        text += f"{number + 1} {values} 1 frame_{number:04d}.png\n{line}\n"
    return text


def colmap_binary() -> bytes:
    inverse = ROTATIONS.inv()
    data = struct.pack("<Q", 6)
    for number, (q, t) in enumerate(zip(inverse.as_quat()[:, [3, 0, 1, 2]], -inverse.apply(POSITIONS), strict=True)):
        data += struct.pack("<i7di", number + 1, *q, *t, 1) + f"frame_{number:04d}.png".encode() + b"\0"
        data += struct.pack("<Q", 2) + struct.pack("<ddq", 1, 2, -1) * 2
    return data


def kitti() -> str:
    matrices = np.concatenate([ROTATIONS.as_matrix(), POSITIONS[..., None]], axis=-1).reshape(6, 12)
    return "\n".join(" ".join(f"{value:.12g}" for value in row) for row in matrices)


ARIA = ",".join(
    ["graph_uid,tracking_timestamp_us,utc_timestamp_ns"]
    + [f"t{axis}_world_device" for axis in "xyz"]
    + [f"q{axis}_world_device" for axis in "xyzw"]
)
HOT3D = "object_uid,timestamp[ns],t_wo_x[m],t_wo_y[m],t_wo_z[m],q_wo_w,q_wo_x,q_wo_y,q_wo_z"
# https://github.com/MichaelGrupp/evo/issues/379: a file of this format was taken for TUM, with wrong poses.
TUM_VI = "#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []"
EUROC = TUM_VI.replace(" [ns]", "")
STRAY = "timestamp, frame, x, y, z, qx, qy, qz, qw"


@pytest.mark.parametrize(
    ("name", "content", "by_image"),
    [
        ("poses.txt", "# timestamp tx ty tz qx qy qz qw\n" + rows("txyz0123"), False),
        ("poses.txt", kitti(), True),
        ("closed_loop_trajectory.csv", ARIA + "\n" + rows("iunxyz0123", ","), False),
        ("headset_trajectory.csv", HOT3D + "\n" + rows("inxyz3012", ","), False),
        ("data.csv", TUM_VI + "\n" + rows("nxyz3012", ","), False),
        # https://github.com/MichaelGrupp/evo/issues/175: several spaces, and NaN while the tracker was lost.
        ("poses.txt", rows("txyz0123", "  ") + "0.75 NaN NaN NaN NaN NaN NaN NaN\n", False),
        # https://github.com/MichaelGrupp/evo/issues/544: spaces at the ends of lines; a byte order mark.
        ("poses.txt", "\ufeff" + rows("txyz0123").replace("\n", " \r\n"), False),
        ("odometry.csv", STRAY + "\n" + rows("tixyz0123", ", "), False),
        ("images.txt", colmap(), True),
        ("images.txt", colmap("1 2 -1"), True),
        # https://github.com/MrNeRF/LichtFeld-Studio/issues/810: spaces in names of images.
        ("images.txt", colmap("1 2 -1").replace("frame_", "A plan (402) frame "), True),
        ("images.bin", colmap_binary(), True),
    ],
)
def test_every_format_gives_the_same_poses(tmp_path, name, content, by_image):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_trajectory(path, TrajectoryOptions())
    assert found.by_image is by_image
    for number, time in enumerate(TIMES):
        pose = found.at(number if by_image else time).pose
        np.testing.assert_allclose(pose.position, POSITIONS[number], atol=1e-9)
        np.testing.assert_allclose(pose.rotation, ROTATIONS[number].as_matrix(), atol=1e-8)


def test_times_since_1970_without_a_unit_have_the_unit_of_their_size(tmp_path):
    path = tmp_path / "data.csv"
    for unit in (1e9, 1e6, 1e3, 1):
        lines = [
            f"{round((1.4e9 + time) * unit)}," + ",".join(f"{value:.12g}" for value in (*position, *q[[3, 0, 1, 2]]))
            for time, position, q in zip(10 * TIMES, POSITIONS, ROTATIONS.as_quat(), strict=True)
        ]
        path.write_text("\n".join([EUROC, *lines]))
        found = read_trajectory(path, TrajectoryOptions())
        np.testing.assert_allclose(found.times, 1.4e9 + 10 * TIMES, atol=1e-5)


def test_axes_mount_and_clock_of_the_poses_can_be_given(tmp_path):
    path = tmp_path / "arkit.txt"
    path.write_text(rows("txyz0123"))
    quarter = Rotation.from_euler("z", 90, degrees=True)
    options = TrajectoryOptions(axes="graphics", mount=(0.1, 0, 0, *quarter.as_quat()), offset=100.0)
    pose = read_trajectory(path, options).at(100.2).pose
    np.testing.assert_allclose(pose.position, POSITIONS[2] + ROTATIONS[2].apply([0.1, 0, 0]), atol=1e-9)
    expected = ROTATIONS[2].as_matrix() @ quarter.as_matrix() @ np.diag([1, -1, -1])
    np.testing.assert_allclose(pose.rotation, expected, atol=1e-8)


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        ("1 2 3\n", {}, "rows of 3 values are no known format"),
        ("", {}, "rows of 0 values"),
        (rows("txyz0123") + "1 2 3\n", {}, "line 7 has 3 numbers instead of 8"),
        (rows("txyz0123"), {"format": "kitti"}, "line 1 has 8 numbers instead of 12"),
        ("1 2 3 4 5 6 7 x\n", {}, "damaged or not a trajectory"),
        ("\n".join(["1"] * 3), {"format": "tmu"}, "unknown format of poses 'tmu'"),
        (rows("txyz0123"), {"mount": (1.0,)}, "7 numbers"),
        (" ".join(["2"] * 12), {}, "not a rotation"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0", {}, "not a rotation"),
        ("1e300 0 0 0 0 1 0 0 0 0 1 0", {}, "not a rotation"),
        ("1403636580838555648,4.6,-1.8,0.8,0.5,-0.1,-0.8,-0.1\n", {}, "no seconds.*header"),
        ("1 2 3 4 0 0 5 0\n", {}, "norm 5 instead of 1"),
        ("nan nan nan nan nan nan nan nan\n", {}, "no poses"),
        (colmap("1 2 -1").replace("frame_0001", "x" * 5000), {"format": "colmap"}, "poses.txt"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, content, options, why):
    path = tmp_path / "poses.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=why) as raised:
        read_trajectory(path, TrajectoryOptions(**options))
    assert "poses.txt" in str(raised.value) or "unknown format" in str(raised.value)
    assert len(str(raised.value)) < 1000
