"""The hand layer equals smplx.MANO, is differentiable, and poses both sides in one batch."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from synthetic_mano import numbers, write_plain_pickle

from wildhands_ros.hand_model.asset import joints_linear, open_hand
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.hand_model.mano_files import load_mano
from wildhands_ros.types import Side

BATCH = 6


@pytest.fixture(scope="module")
def mano_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mano")
    write_plain_pickle(folder / "MANO_RIGHT.pkl", numbers(1))
    write_plain_pickle(folder / "MANO_LEFT.pkl", numbers(2))
    return folder


@pytest.fixture(scope="module")
def mano(mano_folder):
    return load_mano(mano_folder, Side.RIGHT), load_mano(mano_folder, Side.LEFT)


def parameters(seed=0, dtype=torch.float32):
    """Random parameters with large rotations, including the zero pose."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0, 1, BATCH, dtype=dtype)[:, None]
    return {
        "global_orient": torch.randn(BATCH, 3, generator=generator, dtype=dtype) * 2 * scale,
        "hand_pose": torch.randn(BATCH, 45, generator=generator, dtype=dtype) * scale,
        "betas": torch.randn(BATCH, 10, generator=generator, dtype=dtype) * 2 * scale,
        "transl": torch.randn(BATCH, 3, generator=generator, dtype=dtype),
    }


def matrices(axis_angle):
    return torch.from_numpy(Rotation.from_rotvec(axis_angle.reshape(-1, 3).numpy()).as_matrix()).to(axis_angle.dtype)


@pytest.mark.parametrize("flat_hand_mean", [True, False])
@pytest.mark.parametrize("side", list(Side))
def test_equals_smplx(mano_folder, mano, side, flat_hand_mean):
    smplx = pytest.importorskip("smplx")
    reference = smplx.MANO(
        str(mano_folder), is_rhand=side is Side.RIGHT, use_pca=False, flat_hand_mean=flat_hand_mean, batch_size=BATCH
    )
    layer = HandLayer(*mano, flat_hand_mean=flat_hand_mean)
    values = parameters()
    with torch.no_grad():
        ours, theirs = layer(**values, is_right=torch.full((BATCH,), side is Side.RIGHT)), reference(**values)
    torch.testing.assert_close(ours.vertices, theirs.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.joints[:, :16], theirs.joints, atol=1e-5, rtol=0)
    tips = reference.vertex_joint_selector.extra_joints_idxs
    torch.testing.assert_close(
        ours.joints[:, 16:].sort(1).values, theirs.vertices[:, tips].sort(1).values, atol=1e-5, rtol=0
    )


def test_smplx_reads_the_open_hand_file(tmp_path):
    smplx = pytest.importorskip("smplx")
    from importlib import resources

    path = tmp_path / "MANO_RIGHT.npz"
    path.write_bytes(resources.files("wildhands_ros.hand_model").joinpath("open_hand/right.npz").read_bytes())
    reference = smplx.MANO(str(tmp_path), is_rhand=True, use_pca=False, ext="npz", batch_size=BATCH)
    values = parameters(1)
    with torch.no_grad():
        ours = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))(
            **values, is_right=torch.ones(BATCH, dtype=torch.bool)
        )
        theirs = reference(**values)
    torch.testing.assert_close(ours.vertices, theirs.vertices, atol=1e-5, rtol=0)


@pytest.mark.parametrize("flat_hand_mean", [True, False])
def test_axis_angles_and_matrices_agree(mano, flat_hand_mean):
    layer = HandLayer(*mano, flat_hand_mean=flat_hand_mean)
    values = parameters(2)
    # Matrices of rotations by more than a right angle may convert to the axis-angle of the complementary rotation.
    values["hand_pose"] = values["hand_pose"] * 0.3
    assert values["hand_pose"].reshape(-1, 3).norm(dim=-1).max() < np.pi / 2
    is_right = torch.arange(BATCH) % 2 == 0
    expected = layer(**values, is_right=is_right)
    given = {
        **values,
        "global_orient": matrices(values["global_orient"]),
        "hand_pose": matrices(values["hand_pose"]).reshape(BATCH, 15, 3, 3),
    }
    torch.testing.assert_close(layer(**given, is_right=is_right).vertices, expected.vertices, atol=2e-5, rtol=0)
    given = {**values, "hand_pose": values["hand_pose"].reshape(BATCH, 15, 3)}
    torch.testing.assert_close(layer(**given, is_right=is_right), expected)


def test_one_batch_mixes_both_sides(mano):
    layer = HandLayer(*mano)
    values = parameters(3)
    is_right = torch.tensor([True, False, False, True, False, True])
    mixed = layer(**values, is_right=is_right)
    for index in range(BATCH):
        one = {key: value[index : index + 1] for key, value in values.items()}
        alone = layer(**one, is_right=is_right[index : index + 1])
        torch.testing.assert_close(mixed.vertices[index], alone.vertices[0], atol=1e-6, rtol=0)
        torch.testing.assert_close(mixed.joints[index], alone.joints[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("hand", ["open", "mano"])
def test_left_is_the_mirror_image_of_right(mano, hand):
    right = open_hand(Side.RIGHT) if hand == "open" else mano[0]
    layer = HandLayer(right, right.mirrored(), flat_hand_mean=False)
    values = parameters(4)
    flip = torch.tensor([-1.0, 1, 1])
    mirrored = {
        "global_orient": values["global_orient"] * -flip,
        "hand_pose": values["hand_pose"] * (-flip).repeat(15),
        "betas": values["betas"],
        "transl": values["transl"] * flip,
    }
    a = layer(**values, is_right=torch.ones(BATCH, dtype=torch.bool))
    b = layer(**mirrored, is_right=torch.zeros(BATCH, dtype=torch.bool))
    torch.testing.assert_close(b.vertices, a.vertices * flip, atol=1e-5, rtol=0)
    torch.testing.assert_close(b.joints, a.joints * flip, atol=1e-5, rtol=0)
    twice = right.mirrored().mirrored()
    for field in dataclasses.fields(right):
        np.testing.assert_array_equal(getattr(twice, field.name), getattr(right, field.name))


@pytest.mark.parametrize("as_matrices", [False, True])
def test_gradients_equal_finite_differences(mano, as_matrices):
    torch.manual_seed(0)
    keep = slice(0, 778, 60)
    layer = HandLayer(*mano, flat_hand_mean=as_matrices).double()
    is_right = torch.tensor([True, False])
    rotations = torch.randn(2, 16, 3, dtype=torch.float64) * 0.6
    if as_matrices:
        rotations = matrices(rotations).reshape(2, 16, 3, 3)
    betas, transl = torch.randn(2, 10, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)

    def outputs(rotations, betas, transl):
        orient, pose = rotations[:, 0], rotations[:, 1:]
        result = layer(orient, pose, betas, transl, is_right=is_right)
        return result.vertices[:, keep], result.joints

    inputs = [value.requires_grad_() for value in (rotations, betas, transl)]
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-6, atol=1e-6, fast_mode=True)


def test_gradient_is_finite_at_zero_pose():
    layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT))
    orient, pose = torch.zeros(1, 3, requires_grad=True), torch.zeros(1, 45, requires_grad=True)
    layer(orient, pose, torch.zeros(1, 10), is_right=torch.tensor([True])).vertices.square().sum().backward()
    assert orient.grad.isfinite().all() and pose.grad.isfinite().all() and pose.grad.abs().max() > 0


def test_joints_linear_equals_the_layer_at_rest():
    for side in Side:
        template, dirs = joints_linear(open_hand(side))
        layer = HandLayer(open_hand(Side.RIGHT), open_hand(Side.LEFT)).double()
        betas = torch.randn(3, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        zero = torch.zeros(3, 16, 3, dtype=torch.float64)
        joints = layer(zero[:, 0], zero[:, 1:], betas, is_right=torch.full((3,), side is Side.RIGHT)).joints
        np.testing.assert_allclose(joints.numpy(), template + np.einsum("jcb,nb->njc", dirs, betas.numpy()), atol=1e-7)


def test_layer_adds_nothing_to_a_state_dict(mano):
    layer = HandLayer(*mano)
    assert not layer.state_dict() and not list(layer.parameters())


def test_mismatched_hands_are_rejected(mano):
    right, left = open_hand(Side.RIGHT), open_hand(Side.LEFT)
    with pytest.raises(ValueError, match="a right and a left"):
        HandLayer(left, right)
    with pytest.raises(ValueError, match="differ in shapedirs"):
        HandLayer(right, mano[1])
    with pytest.raises(ValueError, match="posedirs"):
        HandLayer(right, dataclasses.replace(left, posedirs=None))
    with pytest.raises(ValueError, match=r"weights has shape"):
        dataclasses.replace(right, weights=right.weights[:-1])
    with pytest.raises(ValueError, match="faces refers to vertices outside"):
        dataclasses.replace(right, faces=right.faces + 1)


def test_hand_without_pose_directions():
    right = dataclasses.replace(open_hand(Side.RIGHT), posedirs=None)
    zeros = dataclasses.replace(right, posedirs=np.zeros((*right.v_template.shape, 135), np.float32))
    is_right = torch.arange(BATCH) % 2 == 0
    outputs = [HandLayer(asset, asset.mirrored())(**parameters(), is_right=is_right) for asset in (right, zeros)]
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=0)
