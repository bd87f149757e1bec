"""Which triangles lie near which pixels, how far, and at which depth: the search behind ``soft_silhouette``.

Triangles of a hand are a few pixels wide, so pairs of a triangle and a pixel are listed row by row, which is far fewer than all pairs.
Torch operations only, on any device; nothing here is differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_MIN_DOUBLE_AREA = 1e-8
"""Triangles of less than half of this, in normalised device coordinates, are left out (as PyTorch3D does)."""
_ROUNDING = 1e-3
"""Pixels by which a row's interval is widened, against rounding; the distance decides."""
_BOX_PIXELS_AT_ONCE = 1 << 20
"""Bounds the memory: triangles are taken in groups whose boxes hold about as many pixels together."""


@dataclass(frozen=True)
class Triangles:
    """T triangles on the screen, those that can be seen; pixels, pixel centres at whole numbers. Corners run so that areas are positive."""

    image: Tensor
    """(T,) int64 the image that it is drawn into."""
    start: Tensor
    """(3, T) int64 vertex, among those of all meshes, at which each edge begins."""
    end: Tensor
    """(3, T) int64 vertex at which it ends."""
    origin_x: Tensor
    """(3, T) where it begins."""
    origin_y: Tensor
    tangent_x: Tensor
    """(3, T) unit vector along it."""
    tangent_y: Tensor
    length: Tensor
    """(3, T)"""
    opposite_depth: Tensor
    """(3, T) metres; of the corner opposite to it."""

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, chosen: slice) -> Triangles:
        return Triangles(*(values[..., chosen].contiguous() for values in vars(self).values()))


@dataclass(frozen=True)
class Pairs:
    """M pairs of a triangle and a pixel."""

    pixel: Tensor
    """(M,) int64 (image * height + y) * width + x."""
    depth: Tensor
    """(M,) metres, of the triangle at the pixel."""
    distance: Tensor
    """(M,) squared distance in pixels from the pixel to the triangle's outline, negative inside of it."""
    start: Tensor
    """(M,) int64 vertex at which the nearest edge begins."""
    end: Tensor
    """(M,) int64 vertex at which the nearest edge ends."""
    fraction: Tensor
    """(M,) in [0, 1], where on that edge the nearest point lies."""
    offset_x: Tensor
    """(M,) pixels from the nearest point to the pixel."""
    offset_y: Tensor

    def __len__(self) -> int:
        return len(self.pixel)

    def __getitem__(self, chosen: Tensor) -> Pairs:
        return Pairs(*(_take(values, chosen) for values in vars(self).values()))


def visible_triangles(
    screen: Tensor,
    depth: Tensor,
    corner: Tensor,
    image: Tensor,
    width: int,
    height: int,
    reach: float,
    min_depth: float,
) -> Triangles:
    """The triangles that are not degenerate, have all corners at ``min_depth`` or beyond and come within ``reach`` pixels of the image.

    screen: (V, 2) pixels and depth: (V,) of all vertices; corner: (T, 3) int64; image: (T,) int64.
    """
    x, y, z = (_take(values, corner.T.flatten()).view(3, -1) for values in (screen[:, 0], screen[:, 1], depth))
    double_area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    x_min, x_max, y_min, y_max = x.amin(0), x.amax(0), y.amin(0), y.amax(0)
    seen = (z >= min_depth).all(0) & (double_area.abs() > _MIN_DOUBLE_AREA * (min(width, height) / 2) ** 2)
    seen &= (x_max >= -reach) & (x_min <= width - 1 + reach) & (y_max >= -reach) & (y_min <= height - 1 + reach)
    chosen = seen.nonzero().squeeze(1)
    clockwise = double_area[chosen] < 0
    x, y, z, start = (
        torch.where(clockwise, values[:, chosen].flip(0), values[:, chosen]) for values in (x, y, z, corner.T)
    )
    along_x, along_y = x.roll(-1, 0) - x, y.roll(-1, 0) - y
    length = torch.hypot(along_x, along_y)
    return Triangles(
        _take(image, chosen), start, start.roll(-1, 0), x, y, along_x / length, along_y / length, length, z.roll(-2, 0)
    )


def nearest_pairs(triangles: Triangles, width: int, height: int, reach: float, count: int) -> Pairs:
    """For each pixel the ``count`` triangles of least depth among those that cover it or are nearer to it than ``reach`` pixels."""
    found = [
        _least_depths(_pairs(group, *rows, width, height, reach), count)
        for group, *rows in _groups(triangles, width, height, reach)
    ]
    if len(found) == 1:
        return found[0]
    merged = Pairs(*(torch.cat(values) for values in zip(*(vars(pairs).values() for pairs in found), strict=True)))
    return _least_depths(merged, count)


def _groups(triangles: Triangles, width: int, height: int, reach: float) -> Iterator[tuple[Triangles, Tensor, Tensor]]:
    """Groups of triangles of bounded work, each with the first row (T,) of every triangle and its number of rows (T,), int64."""
    x, y = triangles.origin_x, triangles.origin_y
    first = (y.amin(0) - reach).ceil().clamp(min=0).long()
    rows = ((y.amax(0) + reach).floor().clamp(max=height - 1).long() - first + 1).clamp(min=0)
    columns = x.amax(0).add(reach).clamp(max=width) - x.amin(0).sub(reach).clamp(min=-1)
    boxes = (rows * columns.long()).cumsum(0)
    total = int(boxes[-1]) if len(boxes) else 0
    if total <= _BOX_PIXELS_AT_ONCE:
        yield triangles, first, rows
        return
    limits = torch.arange(_BOX_PIXELS_AT_ONCE, total, _BOX_PIXELS_AT_ONCE, device=boxes.device)
    ends = [*torch.searchsorted(boxes, limits).tolist(), len(boxes)]
    for begin, end in zip([0, *ends], ends, strict=False):
        if begin < end:
            yield triangles[begin:end], first[begin:end], rows[begin:end]


def _pairs(triangles: Triangles, first_row: Tensor, rows: Tensor, width: int, height: int, reach: float) -> Pairs:
    """All pairs within reach."""
    t = triangles
    triangle, row = _enumerate(rows)
    y = (_take(first_row, triangle) + row).to(t.length.dtype)
    # What lies within reach of the triangle lies within reach of the three half planes whose intersection it is.
    left, right = _take(t.origin_x.amin(0) - reach, triangle), _take(t.origin_x.amax(0) + reach, triangle)
    for i in range(3):
        slope = _take(t.tangent_y[i], triangle)
        bound = (_take(t.tangent_x[i], triangle) * (y - _take(t.origin_y[i], triangle)) + (reach + _ROUNDING)) / slope
        bound = bound + _take(t.origin_x[i], triangle)
        right = torch.where(slope > 0, torch.minimum(right, bound), right)
        left = torch.where(slope < 0, torch.maximum(left, bound), left)
    left, right = left.ceil().clamp(min=0), right.floor().clamp(max=width - 1)
    interval, column = _enumerate((right - left + 1).clamp(min=0).long())
    triangle, x, y = _take(triangle, interval), _take(left, interval) + column, _take(y, interval)

    # Signed distances to the edges' lines, positive inside; where the foot on the line misses the edge, an end is the nearest point.
    heights, squares = [], []
    for i in range(3):
        dx, dy = x - _take(t.origin_x[i], triangle), y - _take(t.origin_y[i], triangle)
        tangent_x, tangent_y = _take(t.tangent_x[i], triangle), _take(t.tangent_y[i], triangle)
        along = tangent_x * dx + tangent_y * dy
        beyond = along - torch.minimum(along.clamp(min=0), _take(t.length[i], triangle))
        heights.append(tangent_x * dy - tangent_y * dx)
        squares.append(heights[i].square() + beyond.square())
    inside = torch.minimum(torch.minimum(heights[0], heights[1]), heights[2]) > 0
    square = torch.minimum(torch.minimum(squares[0], squares[1]), squares[2])
    near = (inside | (square < reach**2)).nonzero().squeeze(1)

    triangle, x, y, square, inside = (_take(values, near) for values in (triangle, x, y, square, inside))
    edge = torch.where(_take(squares[1], near) == square, 1, torch.where(_take(squares[2], near) == square, 2, 0))
    total = weighted = 0
    for i in range(3):
        barycentric = _take(heights[i], near).clamp(min=0) * _take(t.length[i], triangle)
        total = total + barycentric
        weighted = weighted + barycentric * _take(t.opposite_depth[i], triangle)
    edge = edge * len(t) + triangle
    dx, dy, tangent_x, tangent_y, length, start, end = (
        _take(values.flatten(), edge)
        for values in (t.origin_x, t.origin_y, t.tangent_x, t.tangent_y, t.length, t.start, t.end)
    )
    dx, dy = x - dx, y - dy
    along = torch.minimum((tangent_x * dx + tangent_y * dy).clamp(min=0), length)
    return Pairs(
        pixel=(_take(t.image, triangle) * height + y.long()) * width + x.long(),
        depth=weighted / total,
        distance=torch.where(inside, -square, square),
        start=start,
        end=end,
        fraction=along / length,
        offset_x=dx - along * tangent_x,
        offset_y=dy - along * tangent_y,
    )


def _enumerate(counts: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) counts to two (sum,) tensors: i, counts[i] times each, and 0 to counts[i] - 1 within each."""
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    index = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts, output_size=total)
    return index, torch.arange(total, device=counts.device) - _take(ends - counts, index)


def _least_depths(pairs: Pairs, count: int) -> Pairs:
    """The pairs that are among the ``count`` of least depth of their pixel."""
    if len(pairs) == 0:
        return pairs
    crowded = (_take(pairs.pixel.bincount(), pairs.pixel) > count).nonzero().squeeze(1)
    # By pixel, then by depth: a positive float's bits sort like the float itself.
    pixel, depth = _take(pairs.pixel, crowded), _take(pairs.depth, crowded)
    key, order = ((pixel << 32) | depth.float().view(torch.int32)).sort()
    pixel = key >> 32
    # Too deep is what comes that many places after another of the same pixel.
    too_deep = order[count:][pixel[count:] == pixel[:-count]]
    keep = torch.ones_like(pairs.pixel, dtype=torch.bool).index_fill_(0, _take(crowded, too_deep), False)
    return pairs[keep.nonzero().squeeze(1)]


def _take(values: Tensor, index: Tensor) -> Tensor:
    """``values[index]`` of vectors, several times faster on a CPU."""
    return values.index_select(0, index)
