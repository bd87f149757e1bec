"""Soft silhouettes: the formula, its gradient, and meshes that cannot be drawn."""

import cv2
import numpy as np
import pytest
import torch

from wildhands_ros.hand_model.asset import open_hand
from wildhands_ros.hand_model.layer import HandLayer
from wildhands_ros.training import face_pixels
from wildhands_ros.training.soft_silhouette import SoftSilhouetteSettings, soft_silhouettes
from wildhands_ros.types import Side

CRISP = SoftSilhouetteSettings(sigma=1e-7, blur_radius=1e-5)


def camera(fx, fy, cx, cy, dtype=torch.float64):
    return torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], dtype=dtype)


def triangle_soup(seed, triangles=40, dtype=torch.float64):
    """Returns triangles of all sizes and several depths, some reaching beyond a 32 x 24 image of a camera with focal
    length 30."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(triangles, 1, 3, generator=generator, dtype=dtype) * torch.tensor(
        [1.2, 0.9, 1.0]
    ) - torch.tensor([0.6, 0.45, -1.0])
    size = torch.logspace(-2.3, -0.3, triangles, dtype=dtype)[:, None, None]
    vertices = centre + size * torch.randn(triangles, 3, 3, generator=generator, dtype=dtype) * torch.tensor(
        [1, 1, 0.3]
    )
    return vertices.flatten(0, 1)[None], torch.arange(3 * triangles).view(-1, 3)


def dense_silhouette(vertices, faces, k, width, height, settings):
    """Evaluates the formula for all pairs of a triangle and a pixel; returns (H, W), differentiable by autograd."""
    screen = vertices @ k.T
    screen = screen[:, :2] / screen[:, 2:]
    a, b, c = screen[faces].unbind(1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).reshape(-1, 1, 2).to(screen)

    def cross(u, v):
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    def to_segment(p, q):
        t = (((pixels - p) * (q - p)).sum(-1) / (q - p).square().sum(-1)).clamp(0, 1)
        return (pixels - p - t[..., None] * (q - p)).square().sum(-1)

    area = cross(b - a, c - a)
    barycentric = (
        torch.stack([cross(c - b, pixels - b), cross(a - c, pixels - c), cross(b - a, pixels - a)], dim=-1)
        / area[:, None]
    )
    inside = (barycentric > 0).all(-1)
    distance = (
        torch.stack([to_segment(a, b), to_segment(b, c), to_segment(c, a)]).amin(0) * (2 / min(width, height)) ** 2
    )
    counts = (inside | (distance < settings.blur_radius)) & (vertices[faces][..., 2] > 0.01).all(-1)
    clipped = barycentric.clamp(min=0)
    depth = (clipped * vertices[faces][..., 2]).sum(-1) / clipped.sum(-1)
    missed = 1 - torch.sigmoid(torch.where(inside, distance, -distance) / settings.sigma)
    nearest = torch.where(counts, depth, torch.inf).argsort(dim=1)[:, : settings.faces_per_pixel]
    return 1 - torch.where(counts, missed, 1).gather(1, nearest).prod(1).view(height, width)


@pytest.fixture(scope="module")
def hands():
    """Returns three posed hands at 0.3 to 0.5 m, (3, V, 3) float32, with (3, F, 3) faces; the second is a left one."""
    right, left = open_hand(Side.RIGHT), open_hand(Side.LEFT)
    generator = torch.Generator().manual_seed(3)
    posed = HandLayer(right, left)(
        torch.randn(3, 3, generator=generator),
        0.3 * torch.randn(3, 45, generator=generator),
        torch.randn(3, 10, generator=generator),
        torch.tensor([[0.02, 0.01, 0.3], [-0.05, 0.03, 0.4], [0.04, -0.06, 0.5]]),
        is_right=torch.tensor([True, False, True]),
    )
    return posed.vertices, torch.stack([torch.as_tensor(hand.faces) for hand in (right, left, right)])


K_HANDS = camera(180, 190, 110, 105, torch.float32).expand(3, 3, 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "settings",
    [
        SoftSilhouetteSettings(),
        SoftSilhouetteSettings(faces_per_pixel=2, blur_radius=2e-2),
        SoftSilhouetteSettings(sigma=3e-3, blur_radius=2e-2, faces_per_pixel=5),
    ],
)
def test_equals_the_formula_and_its_gradient(seed, settings):
    vertices, faces = triangle_soup(seed)
    vertices.requires_grad_()
    k = camera(30, 28, 15.3, 11.8).requires_grad_()
    soft = soft_silhouettes(vertices, faces, k, 32, 24, settings=settings)[0]
    dense = dense_silhouette(vertices[0], faces, k[0], 32, 24, settings)
    torch.testing.assert_close(soft, dense, rtol=0, atol=1e-10)
    assert 0.2 < soft.mean() < 0.95
    weights = torch.rand(24, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    ours, theirs = (torch.autograd.grad((drawn * weights).sum(), (vertices, k)) for drawn in (soft, dense))
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(ours[1][:, :2], theirs[1][:, :2], rtol=1e-7, atol=1e-7)


def test_gradient_equals_finite_differences():
    vertices, faces = triangle_soup(7, triangles=12)
    k = camera(15, 14, 7.2, 5.9)
    settings = SoftSilhouetteSettings(sigma=3e-3, blur_radius=3e-2, faces_per_pixel=4)

    def draw(vertices, k_rows):
        return soft_silhouettes(vertices, faces, torch.cat([k_rows, k[:, 2:]], dim=1), 16, 12, settings=settings)

    assert torch.autograd.gradcheck(
        draw, (vertices.requires_grad_(), k[:, :2].clone().requires_grad_()), eps=1e-7, atol=1e-4
    )


def test_single_precision_follows_double_precision(hands):
    vertices, faces = hands
    single, double = (
        soft_silhouettes(vertices.to(d), faces, K_HANDS.to(d), 224, 224) for d in (torch.float32, torch.float64)
    )
    # Pixels at the very end of a triangle's reach, too, may fall on either side of it.
    assert_same_but_for_ties(single.double(), double)


def test_agrees_with_a_filled_polygon(hands):
    vertices, faces = hands
    crisp = soft_silhouettes(vertices, faces, K_HANDS, 224, 224, settings=CRISP) > 0.5
    soft = soft_silhouettes(vertices, faces, K_HANDS, 224, 224) > 0.5
    fine = 8
    for i in range(3):
        screen = vertices[i].numpy() @ K_HANDS[i].numpy().T
        corners = (screen[:, :2] / screen[:, 2:])[faces[i].numpy()]
        drawn = np.zeros((224 * fine, 224 * fine), np.uint8)
        for triangle in np.round(corners * fine).astype(np.int32):
            cv2.fillConvexPoly(drawn, triangle, 1)
        drawn = torch.from_numpy(drawn[::fine, ::fine]).bool()
        assert drawn.sum() > 700
        assert (crisp[i] & drawn).sum() / (crisp[i] | drawn).sum() > 0.985
        # By the default sigma many triangles that narrowly miss a pixel cover it together: the outline lies up to two
        # pixels further out.
        around = torch.from_numpy(cv2.dilate(drawn.byte().numpy(), np.ones((5, 5), np.uint8))).bool()
        assert not (drawn & ~soft[i]).any() and not (soft[i] & ~around).any()


def assert_same_but_for_ties(actual, expected):
    """Neighbouring triangles are equally deep at pixels beyond their common edge: rounding decides which of them is the
    tenth."""
    difference = (actual - expected).abs()
    assert (difference > 1e-5).float().mean() < 2e-4 and difference.max() < 0.05


def test_moves_with_the_principal_point_and_scales_with_the_camera():
    vertices, faces = triangle_soup(1)
    base = soft_silhouettes(vertices, faces, camera(30, 28, 15, 11), 32, 24)[0]
    moved = soft_silhouettes(vertices, faces, camera(30, 28, 18, 9), 32, 24)[0]
    torch.testing.assert_close(moved[:-2, 3:], base[2:, :-3])
    k = camera(60, 56, 30, 22)
    torch.testing.assert_close(soft_silhouettes(vertices, faces, k, 64, 48)[0, ::2, ::2], base)


def test_left_hand_is_the_mirror_image(hands):
    vertices, faces = hands
    k = K_HANDS.double()
    k_mirrored = k.clone()
    k_mirrored[:, 0, 2] = 223 - k[:, 0, 2]
    drawn = soft_silhouettes(vertices.double(), faces, k, 224, 224)
    mirrored = soft_silhouettes(vertices.double() * torch.tensor([-1, 1, 1]), faces.flip(2), k_mirrored, 224, 224)
    assert_same_but_for_ties(mirrored, drawn.flip(2))


def test_batch_equals_one_by_one_with_gradients(hands):
    vertices, faces = hands
    k = K_HANDS * torch.tensor([1, 0.8, 1.3])[:, None, None]
    k[:, 2, 2] = 1
    batched, single = vertices.clone().requires_grad_(), vertices.clone().requires_grad_()
    together = soft_silhouettes(batched, faces, k, 224, 200)
    apart = torch.cat([soft_silhouettes(single[i : i + 1], faces[i], k[i : i + 1], 224, 200) for i in range(3)])
    assert_same_but_for_ties(together, apart)
    together.square().sum().backward()
    apart.square().sum().backward()
    assert torch.nn.functional.cosine_similarity(batched.grad.flatten(1), single.grad.flatten(1)).min() > 0.999
    assert batched.grad.abs().amax(dim=(1, 2)).min() > 1


def test_processing_in_groups_gives_the_same_result(hands, monkeypatch):
    vertices, faces = hands
    whole = soft_silhouettes(vertices, faces, K_HANDS, 224, 224)
    monkeypatch.setattr(face_pixels, "_MAX_BOX_PIXELS", 20_000)
    assert_same_but_for_ties(soft_silhouettes(vertices, faces, K_HANDS, 224, 224), whole)


def test_joint_silhouette_of_two_hands(hands):
    vertices, faces = hands
    many = SoftSilhouetteSettings(faces_per_pixel=200)
    apart = soft_silhouettes(vertices, faces, K_HANDS, 224, 224, settings=many)
    joint = soft_silhouettes(
        vertices, faces, K_HANDS, 224, 224, image_index=torch.tensor([2, 0, 2]), num_images=4, settings=many
    )
    torch.testing.assert_close(joint[0], apart[1])
    torch.testing.assert_close(joint[2], 1 - (1 - apart[0]) * (1 - apart[2]), rtol=0, atol=1e-5)
    assert not joint[1].any() and not joint[3].any()


def test_invisible_triangles_have_no_effect():
    triangle = torch.tensor([[-0.1, -0.1, 1.0], [0.1, -0.1, 1.0], [0.0, 0.1, 1.0]], dtype=torch.float64)
    shift = torch.tensor([[10, 0, 0], [0, 0, -2], [0, 0, 0], [0, 0, 0]], dtype=torch.float64)
    vertices = triangle + shift[:, None]
    vertices[2, 2] = vertices[2, 1]  # of no area
    vertices[3, 0, 2] = -0.5  # one corner behind the camera
    vertices.requires_grad_()
    drawn = soft_silhouettes(vertices, torch.tensor([[0, 1, 2]]), camera(30, 30, 15, 15).expand(4, 3, 3), 32, 32)
    assert not drawn.any()
    drawn.sum().backward()
    assert not vertices.grad.any()


def test_triangles_outside_the_image_are_discarded():
    screen = torch.tensor([[-40.0, 5], [-20, 5], [-30, 20], [3, 3], [9, 3], [5, 9]])
    corner = torch.tensor([[0, 1, 2], [3, 4, 5]])
    seen = face_pixels.visible_triangles(
        screen, torch.ones(6), corner, torch.zeros(2, dtype=torch.long), 32, 32, 2.0, 0.01
    )
    assert seen.start.tolist() == [[3], [4], [5]]


def test_an_empty_scene_has_an_empty_silhouette(hands):
    vertices, faces = (value[:0] for value in hands)
    assert soft_silhouettes(vertices, faces, K_HANDS[:0], 8, 6).shape == (0, 6, 8)
    drawn = soft_silhouettes(
        vertices, faces, K_HANDS[:0], 8, 6, image_index=torch.zeros(0, dtype=torch.long), num_images=2
    )
    assert drawn.shape == (2, 6, 8) and not drawn.any()


def test_half_precision_is_computed_in_single_precision(hands):
    vertices, faces = hands
    half = vertices.half().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        drawn = soft_silhouettes(half, faces, K_HANDS, 224, 224)
    torch.testing.assert_close(drawn, soft_silhouettes(half.float(), faces, K_HANDS, 224, 224))
    drawn.mean().backward()
    assert half.grad.dtype == torch.float16 and half.grad.isfinite().all()


def test_gradient_descent_moves_a_hand_to_its_mask(hands):
    vertices, faces = hands
    goal = (soft_silhouettes(vertices, faces, K_HANDS, 224, 224) > 0.5).float()
    offset = torch.tensor([0.01, -0.01, 0.01]).repeat(3, 1).requires_grad_()
    optimiser = torch.optim.Adam([offset], lr=1e-3)
    for _ in range(40):
        optimiser.zero_grad()
        (soft_silhouettes(vertices + offset[:, None], faces, K_HANDS, 224, 224) - goal).abs().mean().backward()
        optimiser.step()
    assert offset[:, :2].abs().max() < 1e-3


def test_rejects_invalid_arguments(hands):
    vertices, faces = hands
    broken = vertices.clone()
    broken[1, 5, 0] = torch.nan
    with pytest.raises(ValueError, match=r"meshes \[1\].*not finite"):
        soft_silhouettes(broken, faces, K_HANDS, 32, 32)
    with pytest.raises(ValueError, match="k must be"):
        soft_silhouettes(vertices, faces, K_HANDS[:1], 32, 32)
    with pytest.raises(ValueError, match="faces must be"):
        soft_silhouettes(vertices, faces[:2], K_HANDS, 32, 32)
    with pytest.raises(ValueError, match="beyond the 1610"):
        soft_silhouettes(vertices, torch.tensor([[0, 1, 1610]]), K_HANDS, 32, 32)
    with pytest.raises(ValueError, match="below num_images=1"):
        soft_silhouettes(vertices, faces, K_HANDS, 32, 32, image_index=torch.tensor([0, 0, 1]), num_images=1)
    with pytest.raises(ValueError, match="belong together"):
        soft_silhouettes(vertices, faces, K_HANDS, 32, 32, image_index=torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="must be positive"):
        SoftSilhouetteSettings(sigma=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu(hands):
    results = []
    for device in ("cpu", "cuda"):
        vertices = hands[0].to(device).requires_grad_()
        drawn = soft_silhouettes(vertices, hands[1].to(device), K_HANDS.to(device), 224, 224)
        drawn.square().mean().backward()
        results.append((drawn.detach().cpu(), vertices.grad.cpu()))
    (cpu, cpu_gradient), (cuda, cuda_gradient) = results
    assert ((cpu - cuda).abs() > 1e-3).float().mean() < 1e-4
    assert torch.nn.functional.cosine_similarity(cpu_gradient.flatten(), cuda_gradient.flatten(), dim=0) > 0.999
