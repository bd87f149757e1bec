"""The training losses: values computed by hand, masking, and the deviations of the reference code."""

import dataclasses
import math

import pytest
import torch

from wildhands_ros.network.config import CameraDecoding
from wildhands_ros.network.model import WildHandsOutput, decode_translation
from wildhands_ros.training.losses import (
    LossStyle,
    LossWeights,
    camera_error,
    camera_label,
    compute_losses,
    masked_hands,
)
from wildhands_ros.training.targets import Targets

SIDE = 16
NAN = float("nan")
FLAGS = ("has_j2d", "has_j3d", "has_pose", "has_beta", "has_cam", "has_grasp", "has_mask")
LABELS = ("joints_2d", "joints_3d", "rotations", "betas", "translation", "grasp", "mask")
ONES = LossWeights(pose=1, beta=1, j2d=1, j3d=1, cam=1, cam_init=1, cam_pair=1, grasp=1, mask=1)
NONE = LossWeights(*[0] * 9)


def make(pairs=2, seed=0, camera=CameraDecoding.CROP):
    """Returns a prediction and labels of ``pairs`` images with a right and a left hand each: (targets, arguments of
    compute_losses)."""
    batch = 2 * pairs
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator)

    anchor = rand(batch, 2) - 0.5 if camera is not CameraDecoding.FRAME else torch.zeros(batch, 2)
    turn = 6 * rand(batch) if camera is not CameraDecoding.FRAME else None
    focal = 600 + 400 * rand(batch) if camera is not CameraDecoding.FRAME else torch.full((batch,), 200.0)
    translation = torch.cat([rand(batch, 2) - 0.5, 0.3 + 0.3 * rand(batch, 1)], dim=1)
    joints = 0.1 * rand(batch, 21, 3) + translation[:, None]
    k = torch.tensor([[200.0, 0, 112], [0, 200, 112], [0, 0, 1]]).expand(batch, 3, 3)
    everyone = torch.ones(batch, dtype=torch.bool)
    targets = Targets(
        is_right=torch.tensor([True, False]).repeat(pairs),
        image_index=torch.arange(pairs).repeat_interleave(2),
        num_images=pairs,
        focal=focal,
        anchor=anchor,
        turn=turn,
        k=k,
        joints_2d=224 * rand(batch, 21, 2),
        joints_3d=joints + 0.01 * rand(batch, 21, 3),
        rotations=rand(batch, 16, 3, 3),
        betas=rand(batch, 10),
        translation=translation,
        grasp=torch.arange(batch) % 9,
        mask=(rand(batch, SIDE, SIDE) > 0.5).float(),
        **dict.fromkeys(FLAGS, everyone),
    )
    scale = camera_label(translation, focal, anchor, turn)
    camera_output = (scale * (1 + 0.1 * rand(batch, 3))).requires_grad_()
    output = WildHandsOutput(
        is_right=targets.is_right,
        rotations=rand(batch, 16, 3, 3).requires_grad_(),
        betas=rand(batch, 10).requires_grad_(),
        camera=camera_output,
        initial_camera=(scale * (1 + 0.2 * rand(batch, 3))).detach().requires_grad_(),
        translation=decode_translation(camera_output, focal, anchor, turn),
        grasp_logits=rand(batch, 9).requires_grad_(),
        landmarks=None,
    )
    return targets, {
        "output": output,
        "camera": camera,
        "joints": (joints + 0.02 * rand(batch, 21, 3)).requires_grad_(),
        "silhouettes": rand(batch, SIDE, SIDE).requires_grad_(),
    }


def camera_labels(targets):
    return camera_label(targets.translation, targets.focal, targets.anchor, targets.turn)


def perfect(targets, arguments):
    """Returns a prediction that equals the labels."""
    label = camera_labels(targets)
    grasps = 1e3 * torch.eye(9)[targets.grasp]
    output = WildHandsOutput(
        targets.is_right, targets.rotations, targets.betas, label, label, targets.translation, grasps, None
    )
    pixels = targets.joints_3d @ targets.k.mT
    targets = dataclasses.replace(targets, joints_2d=pixels[..., :2] / pixels[..., 2:])
    return targets, {**arguments, "output": output, "joints": targets.joints_3d, "silhouettes": targets.mask}


@pytest.mark.parametrize("camera", CameraDecoding)
@pytest.mark.parametrize("style", LossStyle)
def test_perfect_predictions_have_no_loss(camera, style):
    targets, arguments = perfect(*make(camera=camera))
    losses = compute_losses(targets=targets, **arguments, style=style)
    assert set(losses.terms) == {field.name for field in dataclasses.fields(LossWeights)}
    assert all(term.item() < 1e-8 for term in losses.terms.values())
    assert losses.total.item() < 1e-8


def one_off(name, **change):
    """Returns the term ``name``, at weight one, of a prediction that is correct except for the first hand, which
    ``change`` (functions of the correct values) alters."""
    targets, arguments = perfect(*make(camera=CameraDecoding.FRAME))
    for field, function in change.items():
        of_output = hasattr(arguments["output"], field)
        value = (getattr(arguments["output"], field) if of_output else arguments[field]).clone()
        value[0] = function(value[0])
        arguments |= (
            {"output": dataclasses.replace(arguments["output"], **{field: value})} if of_output else {field: value}
        )
    losses = compute_losses(targets=targets, **arguments, weights=dataclasses.replace(NONE, **{name: 1}))
    assert set(losses.terms) == {name}
    torch.testing.assert_close(losses.total, losses.terms[name])
    return losses.total.item()


def test_each_term_equals_its_value_computed_by_hand():
    """One of four hands is off, so a term is 2 (right and left are added) times a quarter of that hand's mean error."""
    half = 2 / 4
    assert one_off("pose", rotations=lambda r: r + 0.3) == pytest.approx(half * 0.09, rel=1e-4)
    assert one_off("beta", betas=lambda b: b - 2) == pytest.approx(half * 4, rel=1e-4)
    # The root alone by 0.1 m in x moves the 20 other root-relative joints.
    root = torch.zeros(21, 3)
    root[0, 0] = 0.1
    assert one_off("j3d", joints=lambda j: j + root) == pytest.approx(half * 20 * 0.01 / 63, rel=1e-4)
    assert one_off("j3d", joints=lambda j: j + 5) == pytest.approx(0, abs=1e-8)
    # All joints on the axis: their pixels are 112, 112.
    targets, arguments = perfect(*make())
    axis = torch.tensor([0, 0, 0.5]).expand(4, 21, 3)
    targets = dataclasses.replace(targets, joints_2d=torch.full((4, 21, 2), 112.0 + 56))
    losses = compute_losses(targets=targets, **{**arguments, "joints": axis}, weights=dataclasses.replace(NONE, j2d=1))
    assert losses.total.item() == pytest.approx(2 * 0.5**2, rel=1e-5)
    assert one_off("grasp", grasp_logits=torch.zeros_like) == pytest.approx(half * math.log(9), rel=1e-4)
    assert one_off("mask", silhouettes=lambda s: 1 - s) == pytest.approx(half, rel=1e-5)


def test_camera_terms_equal_values_computed_by_hand():
    def shift(camera):
        return camera + torch.tensor([0.3, 0, 0])

    assert one_off("cam", camera=shift) == pytest.approx(2 / 4 * 0.09 / 3, rel=1e-4)
    assert one_off("cam_init", camera=shift) == pytest.approx(0, abs=1e-10)
    # One of two pairs.
    assert one_off("cam_pair", camera=shift) == pytest.approx(1 / 2 * 0.09 / 3, rel=1e-4)
    assert one_off("cam_init", initial_camera=shift) == pytest.approx(2 / 4 * 0.09 / 3, rel=1e-4)


def test_relative_camera_error():
    targets, _ = make()
    view = (targets.translation, targets.focal, targets.anchor)
    label = camera_label(*view)
    # As twice as deep, and a tenth of the crop to the right.
    prediction = torch.stack([label[:, 0] / 2, label[:, 1] + 0.2 / label[:, 0], label[:, 2]], dim=1)
    error = camera_error(prediction, label, CameraDecoding.CROP)
    torch.testing.assert_close(error, torch.tensor([-math.log(2), 0.2, 0]).expand(4, 3), rtol=1e-4, atol=1e-5)
    # Wrong cameras, also of negative scale, are led back.
    prediction = torch.tensor([[-1.0, 0, 0]]).expand(4, 3).clone().requires_grad_()
    camera_error(prediction, label, CameraDecoding.CROP).square().sum().backward()
    assert (prediction.grad[:, 0] < 0).all() and prediction.grad.isfinite().all()


def test_pair_term_of_crops_compares_the_distance_between_the_hands():
    targets, arguments = perfect(*make(pairs=1))
    off = torch.tensor([[0.03, 0, 0], [0.0, 0, 0]])

    def pair(translation):
        output = dataclasses.replace(arguments["output"], translation=translation)
        return float(compute_losses(targets=targets, **{**arguments, "output": output}, weights=ONES).terms["cam_pair"])

    depth = float(targets.translation[:, 2].mean())
    assert pair(targets.translation + off) == pytest.approx((0.03 / depth) ** 2 / 3, rel=1e-3)
    assert pair(targets.translation + 0.5) == pytest.approx(0, abs=1e-8)


def test_camera_label_is_the_inverse_of_decoding():
    targets, _ = make()
    label = camera_labels(targets)
    torch.testing.assert_close(
        decode_translation(label, targets.focal, targets.anchor, targets.turn), targets.translation
    )


@pytest.mark.parametrize("camera", CameraDecoding)
@pytest.mark.parametrize("style", LossStyle)
def test_missing_labels_may_be_nan(camera, style):
    """Each label exists for one hand only: the gradients of the others are exactly zero, and they do not affect the
    terms."""
    targets, arguments = make(pairs=3, camera=camera)
    changes = {}
    for i, (flag, label) in enumerate(zip(FLAGS, LABELS, strict=True)):
        valid = torch.arange(6) == i % 6
        value = getattr(targets, label).clone()
        value[~valid] = 255 if label == "grasp" else NAN
        changes |= {flag: valid, label: value}
    targets = dataclasses.replace(targets, **changes)
    losses = compute_losses(targets=targets, **arguments, style=style)
    assert losses.total.isfinite()
    losses.total.backward()
    owner = {"rotations": 2, "betas": 3, "camera": 4, "initial_camera": 4, "grasp_logits": 5}
    for name, hand in owner.items():
        gradient = getattr(arguments["output"], name).grad.flatten(1)
        touched = gradient.abs().sum(1) > 0
        assert gradient.isfinite().all() and touched.tolist() == [i == hand for i in range(6)], name
    # 2D joints of hand 0, 3D joints of hand 1.
    gradient = arguments["joints"].grad.flatten(1)
    assert gradient.isfinite().all() and (gradient.abs().sum(1) > 0).tolist() == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    gradient = arguments["silhouettes"].grad.flatten(1)
    expected = 1 if style is LossStyle.RELEASED else 0
    assert (gradient.abs().sum(1) > 0).tolist() == [i == expected for i in range(6)]


def test_single_joints_may_be_unknown():
    targets, arguments = make(pairs=1)
    valid = torch.ones(2, 21, dtype=torch.bool)
    valid[0, 3:] = False
    valid[1, 0] = False
    label_2d, label_3d = targets.joints_2d.clone(), targets.joints_3d.clone()
    label_2d[~valid], label_3d[~valid] = NAN, NAN
    targets = dataclasses.replace(targets, joints_2d=label_2d, has_j2d=valid, joints_3d=label_3d, has_j3d=valid)
    terms = compute_losses(targets=targets, **arguments, weights=ONES).terms
    # Without its wrist, the second hand has no root-relative joints.
    joints = arguments["joints"]
    difference = (joints[0, :3] - joints[0, 0]) - (label_3d[0, :3] - label_3d[0, 0])
    torch.testing.assert_close(terms["j3d"], 2 * difference.square().mean())
    pixels = joints @ targets.k.mT
    difference = (pixels[..., :2] / pixels[..., 2:] - label_2d)[valid] / 112
    torch.testing.assert_close(terms["j2d"], 2 * difference.square().mean())


def test_unlabelled_kinds_and_empty_batches():
    targets, arguments = make()
    bare = dataclasses.replace(targets, **dict.fromkeys((*FLAGS, *LABELS)))
    losses = compute_losses(targets=bare, **arguments)
    assert losses.terms == {} and losses.total.item() == 0
    assert not masked_hands(bare, LossStyle.RELEASED).any()
    for style in LossStyle:
        targets, arguments = make(pairs=0)
        losses = compute_losses(targets=targets, **arguments, style=style)
        assert len(losses.terms) == 9 and losses.total.item() == 0


def test_styles_agree_on_full_batches_except_for_the_total():
    for camera in CameraDecoding:
        targets, arguments = make(pairs=3, camera=camera)
        corrected, released = (compute_losses(targets=targets, **arguments, style=style) for style in LossStyle)
        for name, term in corrected.terms.items():
            torch.testing.assert_close(released.terms[name], term, msg=name)
        torch.testing.assert_close(corrected.total, sum(corrected.terms.values()))
        torch.testing.assert_close(released.total, 2 * corrected.total)


def test_released_style_is_diluted_by_unlabelled_images():
    targets, arguments = make(pairs=2)
    full = compute_losses(targets=targets, **arguments, style=LossStyle.RELEASED, weights=ONES).terms
    first_image = torch.tensor([True, True, False, False])
    targets = dataclasses.replace(targets, **dict.fromkeys(FLAGS, first_image))
    alone = compute_losses(targets=targets, **arguments, weights=ONES).terms
    diluted = compute_losses(targets=targets, **arguments, style=LossStyle.RELEASED, weights=ONES).terms
    assert full.keys() == alone.keys()
    for name in alone:
        torch.testing.assert_close(diluted[name], alone[name] / 2, msg=name)
    # An image without any hand counts as well.
    emptier = dataclasses.replace(targets, num_images=4)
    for name, term in compute_losses(
        targets=emptier, **arguments, style=LossStyle.RELEASED, weights=ONES
    ).terms.items():
        torch.testing.assert_close(term, alone[name] / 4, msg=name)
    for name, term in compute_losses(targets=emptier, **arguments, weights=ONES).terms.items():
        torch.testing.assert_close(term, alone[name], msg=name)


def test_released_style_uses_the_other_hands_mask_flag():
    targets, arguments = make(pairs=2)
    has_mask = torch.tensor([True, False, False, False])
    targets = dataclasses.replace(targets, has_mask=has_mask)
    assert masked_hands(targets, LossStyle.CORRECTED).tolist() == [True, False, False, False]
    assert masked_hands(targets, LossStyle.RELEASED).tolist() == [False, True, False, False]
    terms = compute_losses(targets=targets, **arguments, weights=ONES, style=LossStyle.RELEASED).terms
    # The left hand, without a mask of its own, is drawn against an empty one; there are two images.
    torch.testing.assert_close(terms["mask"], arguments["silhouettes"][1].mean() / 2)


def test_pairs_need_both_sides_of_one_image():
    targets, arguments = make(pairs=2)
    for change in (
        {"has_cam": torch.tensor([True, False, False, True])},
        {"image_index": torch.arange(4), "num_images": 4},
        {"is_right": torch.ones(4, dtype=torch.bool)},
    ):
        terms = compute_losses(targets=dataclasses.replace(targets, **change), **arguments).terms
        assert terms["cam_pair"].item() == 0 and terms["cam"].item() > 0


def test_half_precision_outputs():
    targets, arguments = make()
    expected = compute_losses(targets=targets, **arguments)
    output = arguments["output"]
    half = dataclasses.replace(output, **{n: v.detach().bfloat16() for n, v in vars(output).items() if v is not None})
    with torch.autocast("cpu", torch.bfloat16):
        losses = compute_losses(targets=targets, **{**arguments, "output": half})
    assert losses.total.dtype == torch.float32
    assert losses.total.item() == pytest.approx(expected.total.item(), rel=0.05)


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ("joints_2d", NAN, r"sample clip_7/0002 has joints_2d that is not finite"),
        ("joints_3d", math.inf, r"sample clip_7/0002 has joints_3d that is not finite"),
        ("rotations", NAN, r"sample clip_7/0002 has rotations"),
        ("betas", NAN, r"sample clip_7/0002 has betas"),
        ("translation", -0.1, r"sample clip_7/0002 has translation that is not finite or not in front of the camera"),
        ("grasp", 255, r"sample clip_7/0002 has grasp that is not one of 0 to 8"),
        ("mask", 255.0, r"sample clip_7/0002 has mask with values outside of \[0, 1\]"),
    ],
)
def test_invalid_labels_are_rejected_by_sample(label, value, message):
    targets, arguments = make()
    bad = getattr(targets, label).clone()
    bad[2] = value
    targets = dataclasses.replace(targets, **{label: bad}, names=tuple(f"clip_7/{i:04}" for i in range(4)))
    with pytest.raises(ValueError, match=message) as error:
        compute_losses(targets=targets, **arguments)
    assert "0001" not in str(error.value) and "0003" not in str(error.value)
    with pytest.raises(ValueError, match="sample 2 has"):
        compute_losses(targets=dataclasses.replace(targets, names=None), **arguments)


@pytest.mark.parametrize(("missing", "kind"), [("joints", "j2d"), ("silhouettes", "mask"), ("grasp_logits", "grasp")])
def test_labels_without_a_prediction(missing, kind):
    targets, arguments = make()
    if missing == "grasp_logits":
        arguments["output"] = dataclasses.replace(arguments["output"], grasp_logits=None)
    else:
        arguments[missing] = None
    with pytest.raises(ValueError, match=f"labels for {kind}, but no {missing}"):
        compute_losses(targets=targets, **arguments)
    without = dataclasses.replace(LossWeights(), **dict.fromkeys(("j2d", "j3d") if kind == "j2d" else (kind,), 0))
    assert compute_losses(targets=targets, **arguments, weights=without).total > 0


def test_mismatched_shapes():
    targets, arguments = make()
    with pytest.raises(ValueError, match=r"betas must be \(4, 10\), got \(3, 10\)"):
        dataclasses.replace(targets, betas=targets.betas[:3])
    with pytest.raises(ValueError, match="has_beta must be bool"):
        dataclasses.replace(targets, has_beta=torch.ones(4))
    with pytest.raises(ValueError, match="betas and has_beta belong together"):
        dataclasses.replace(targets, betas=None)
    with pytest.raises(ValueError, match="3 names for 4 hands"):
        dataclasses.replace(targets, names=("a", "b", "c"))
    with pytest.raises(ValueError, match="joints has 3 hands, but the targets have 4"):
        compute_losses(targets=targets, **{**arguments, "joints": arguments["joints"][:3]})
    with pytest.raises(ValueError, match=r"silhouettes are \(4, 16, 8\), masks \(4, 16, 16\)"):
        compute_losses(targets=targets, **{**arguments, "silhouettes": arguments["silhouettes"][:, :, :8]})


def test_default_weights_match_the_reference():
    assert dataclasses.astuple(LossWeights()) == (10, 0.001, 5, 5, 1, 1, 1, 0.1, 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu():
    targets, arguments = make()
    expected, output = compute_losses(targets=targets, **arguments).total, arguments["output"]
    output = dataclasses.replace(output, **{n: v.cuda() for n, v in vars(output).items() if v is not None})
    moved = {
        **arguments,
        "output": output,
        "joints": arguments["joints"].cuda(),
        "silhouettes": arguments["silhouettes"].cuda(),
    }
    torch.testing.assert_close(compute_losses(targets=targets.to("cuda"), **moved).total.cpu(), expected)
