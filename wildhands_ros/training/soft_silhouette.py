"""Silhouettes of meshes that are differentiable with respect to the vertices and the cameras.

Soft rasterisation (Liu et al., "Soft Rasterizer", ICCV 2019) in the form that WildHands was trained with (the formulas
of PyTorch3D's MeshRasterizer and SoftSilhouetteShader): a triangle at signed squared distance d from a pixel, negative
inside, covers it with probability sigmoid(-d / sigma), and a pixel is covered unless all of its nearest triangles miss
it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

from .face_pixels import nearest_pairs, visible_triangles

MIN_DEPTH = 0.01
"""Metres. Triangles that come nearer to the camera plane, or lie behind it, are left out."""


@dataclass(frozen=True)
class SoftSilhouetteSettings:
    """Settings of the soft rasteriser; squared distances are in normalised device coordinates, where the image's
    shorter side is 2."""

    sigma: float = 1e-4
    """Softness: a triangle's probability falls from 1/2 on its outline to 1/(1 + e) at the squared distance sigma.
    Neighbouring triangles that narrowly miss a pixel cover it together, so a hand's outline grows by a pixel or two at
    224 pixels: against exact masks, the best-fitting depth is 1 to 2.5 % too large; with 1e-5, the sigma that
    ``blur_radius`` belongs to, it is 0.5 to 1 %."""
    blur_radius: float = math.log(1 / 1e-6 - 1) * 1e-5
    """Squared distance beyond which a triangle is ignored. The default cuts the default sigma off at 0.2, as the
    reference did."""
    faces_per_pixel: int = 10
    """Number of triangles per pixel that count: those of least depth."""

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and self.blur_radius >= 0 and self.faces_per_pixel >= 1):
            raise ValueError(f"sigma and faces_per_pixel must be positive and blur_radius not negative: {self}")


def soft_silhouettes(
    vertices: Tensor,
    faces: Tensor,
    k: Tensor,
    width: int,
    height: int,
    *,
    image_index: Tensor | None = None,
    num_images: int | None = None,
    settings: SoftSilhouetteSettings | None = None,
) -> Tensor:
    """Draw the soft silhouettes of B meshes.

    Gradients flow to ``vertices`` and ``k``; second derivatives are not supported. Triangles nearer than ``MIN_DEPTH``,
    degenerate ones and those outside the image have no gradient.

    Args:
        vertices: (B, V, 3) metres, camera optical frame. float64 is computed as such, everything else as float32, also
            under autocast.
        faces: (F, 3) integers or, if the meshes differ, (B, F, 3); the orientation does not matter.
        k: (B, 3, 3) pinhole matrices to pixels with centres at whole numbers, with the last row 0, 0, 1.
        width: The images' width.
        height: The images' height.
        image_index: (B,) int64 the image that each mesh is drawn into; meshes of one image give a joint silhouette. By
            default, each mesh has its own image.
        num_images: Number of images, N; given together with ``image_index``.
        settings: Settings of the rasteriser.

    Returns:
        (N, height, width) in [0, 1].

    Raises:
        ValueError: Shapes do not match, or meshes or cameras are not finite.
    """
    settings = settings or SoftSilhouetteSettings()
    batch, num_vertices = vertices.shape[:2]
    _check_shapes(vertices, faces, k)
    if (image_index is None) is not (num_images is None):
        raise ValueError("image_index and num_images belong together")
    if image_index is None or num_images is None:
        image_index, num_images = torch.arange(batch, device=vertices.device), batch
    elif image_index.shape != (batch,) or ((image_index < 0) | (image_index >= num_images)).any():
        raise ValueError(
            f"image_index must hold one number below num_images={num_images} per mesh, got {image_index.tolist()}"
        )
    finite = (vertices.isfinite().flatten(1).all(1) & k.isfinite().flatten(1).all(1)).tolist()
    if not all(finite):
        raise ValueError(
            f"meshes {[i for i, good in enumerate(finite) if not good]}: vertices or camera matrix are not finite"
        )

    dtype = torch.float64 if vertices.dtype == torch.float64 else torch.float32
    x, y, z = vertices.to(dtype).unbind(-1)
    rows = k.to(dtype)[:, :2, :, None]
    distance = torch.where(z >= MIN_DEPTH, z, 1)
    screen = rows[:, :, 0] * (x / distance)[:, None] + rows[:, :, 1] * (y / distance)[:, None] + rows[:, :, 2]
    faces = faces.long().expand(batch, -1, -1)
    corner = faces + num_vertices * torch.arange(batch, device=faces.device)[:, None, None]
    triangle_image = image_index[:, None].expand(-1, faces.shape[1])
    screen, corner = screen.transpose(1, 2).flatten(0, 1), corner.flatten(0, 1)
    return _SoftSilhouette.apply(
        screen, z.detach().flatten(), corner, triangle_image.flatten(), (num_images, height, width), settings
    )


def _check_shapes(vertices: Tensor, faces: Tensor, k: Tensor) -> None:
    batch = len(vertices)
    if vertices.ndim != 3 or vertices.shape[2] != 3:
        raise ValueError(f"vertices must be (B, V, 3), got {tuple(vertices.shape)}")
    if faces.shape[-1] != 3 or not (faces.ndim == 2 or (faces.ndim == 3 and len(faces) == batch)):
        raise ValueError(f"faces must be (F, 3) or ({batch}, F, 3), got {tuple(faces.shape)}")
    if ((faces < 0) | (faces >= vertices.shape[1])).any():
        raise ValueError(f"faces refer to vertices beyond the {vertices.shape[1]} given")
    if k.shape != (batch, 3, 3):
        raise ValueError(f"k must be ({batch}, 3, 3), got {tuple(k.shape)}")


class _SoftSilhouette(torch.autograd.Function):
    """Silhouettes from screen positions; the gradient is that of the formula for the triangles that were used."""

    @staticmethod
    def forward(
        ctx, screen: Tensor, depth: Tensor, corner: Tensor, image: Tensor, shape: tuple[int, int, int], settings
    ) -> Tensor:
        _, height, width = shape
        ndc = 2 / min(width, height)
        reach = math.sqrt(settings.blur_radius) / ndc
        triangles = visible_triangles(screen, depth, corner, image, width, height, reach, MIN_DEPTH)
        pairs = nearest_pairs(triangles, width, height, reach, settings.faces_per_pixel)
        sharpness = ndc**2 / settings.sigma
        logit = pairs.distance * -sharpness
        # log(1 - sigmoid(x)) = logsigmoid(-x)
        missed = screen.new_zeros(math.prod(shape)).index_add_(0, pairs.pixel, logsigmoid(-logit)).exp_()
        # d silhouette / d distance = -missed * probability / sigma, and d distance / d nearest point = -2 offset,
        # reversed inside.
        slope = 2 * sharpness * logit.sigmoid() * pairs.distance.sign()
        slope_end = slope * pairs.fraction
        ctx.save_for_backward(
            missed, pairs.pixel, pairs.start, pairs.end, slope - slope_end, slope_end, pairs.offset_x, pairs.offset_y
        )
        ctx.num_vertices = len(screen)
        return (1 - missed).view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        missed, pixel, start, end, slope_start, slope_end, offset_x, offset_y = ctx.saved_tensors
        per_pair = (gradient.flatten() * missed).index_select(0, pixel)
        at_start, at_end = per_pair * slope_start, per_pair * slope_end
        sums = []
        for offset in (offset_x, offset_y):
            total = missed.new_zeros(ctx.num_vertices)
            sums.append(total.index_add_(0, start, at_start * offset).index_add_(0, end, at_end * offset))
        return torch.stack(sums, dim=-1), None, None, None, None, None
