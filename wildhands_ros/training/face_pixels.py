"""Finds which triangles lie near which pixels, how far away and at which depth, for ``soft_silhouette``.

Triangles of a hand are a few pixels wide, so candidate pairs of a triangle and a pixel are listed row by row, which
gives far fewer than all pairs. The code uses Torch operations only, runs on any device and is not differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_MIN_DOUBLE_AREA = 1e-8
"""Triangles with less than half this area, in normalised device coordinates, are left out, as in PyTorch3D."""
_ROUNDING = 1e-3
"""Pixels by which a row's interval is widened against rounding errors; the distance decides in the end."""
_MAX_BOX_PIXELS = 1 << 20
"""Limits memory: triangles are processed in groups whose bounding boxes contain about this many pixels."""


@dataclass(frozen=True)
class Triangles:
    """T visible triangles on the screen, in pixels with centres at whole numbers; corners are ordered so that areas are
    positive."""

    image: Tensor
    """(T,) int64 the image that the triangle is drawn into."""
    start: Tensor
    """(3, T) int64 index, among the vertices of all meshes, of each edge's first vertex."""
    end: Tensor
    """(3, T) int64 index of its second vertex."""
    origin_x: Tensor
    """(3, T) coordinates of the first vertex."""
    origin_y: Tensor
    tangent_x: Tensor
    """(3, T) unit vector along it."""
    tangent_y: Tensor
    length: Tensor
    """(3, T)"""
    opposite_depth: Tensor
    """(3, T) metres; depth of the corner opposite to the edge."""

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
    """(M,) squared distance in pixels from the pixel to the triangle's outline, negative inside."""
    start: Tensor
    """(M,) int64 first vertex of the nearest edge."""
    end: Tensor
    """(M,) int64 second vertex of the nearest edge."""
    fraction: Tensor
    """(M,) in [0, 1], position of the nearest point on that edge."""
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
    """Select the triangles that are not degenerate, lie at ``min_depth`` or beyond, and come within ``reach`` pixels of
    the image.

    Args:
        screen: (V, 2) pixels of all vertices.
        depth: (V,) their depths.
        corner: (T, 3) int64 vertices of each triangle.
        image: (T,) int64 the image that each triangle is drawn into.
        width: The images' width.
        height: The images' height.
        reach: Pixels.
        min_depth: Metres.
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
    """For each pixel, find the ``count`` nearest triangles in depth among those that cover it or come within ``reach``
    pixels of it."""
    found = [
        _least_depths(_pairs(group, first_row, rows, width, height, reach), count)
        for group, first_row, rows in _groups(triangles, width, height, reach)
    ]
    if len(found) == 1:
        return found[0]
    merged = Pairs(*(torch.cat(values) for values in zip(*(vars(pairs).values() for pairs in found), strict=True)))
    return _least_depths(merged, count)


def _groups(triangles: Triangles, width: int, height: int, reach: float) -> Iterator[tuple[Triangles, Tensor, Tensor]]:
    """Split the triangles into groups of limited size, each with every triangle's first row (T,) and number of rows
    (T,), int64."""
    x, y = triangles.origin_x, triangles.origin_y
    first = (y.amin(0) - reach).ceil().clamp(min=0).long()
    rows = ((y.amax(0) + reach).floor().clamp(max=height - 1).long() - first + 1).clamp(min=0)
    columns = x.amax(0).add(reach).clamp(max=width) - x.amin(0).sub(reach).clamp(min=-1)
    boxes = (rows * columns.long()).cumsum(0)
    total = int(boxes[-1]) if len(boxes) else 0
    if total <= _MAX_BOX_PIXELS:
        yield triangles, first, rows
        return
    limits = torch.arange(_MAX_BOX_PIXELS, total, _MAX_BOX_PIXELS, device=boxes.device)
    ends = [*torch.searchsorted(boxes, limits).tolist(), len(boxes)]
    for begin, end in zip([0, *ends], ends, strict=False):
        if begin < end:
            yield triangles[begin:end], first[begin:end], rows[begin:end]


def _pairs(triangles: Triangles, first_row: Tensor, rows: Tensor, width: int, height: int, reach: float) -> Pairs:
    """All pairs of a triangle and a pixel within reach."""
    t = triangles
    triangle, row = _enumerate(rows)
    y = (_take(first_row, triangle) + row).to(t.length.dtype)
    # A triangle is the intersection of three half planes, so a pixel within its reach is within reach of each of them.
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

    # Signed distances to the edges' lines, positive inside; if the foot on the line lies outside the edge, an end is
    # the nearest point.
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
    total, weighted = torch.zeros_like(square), torch.zeros_like(square)
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
    """Turn (N,) counts into two (sum,) tensors: each i repeated counts[i] times, and 0 to counts[i] - 1 within each."""
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    index = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts, output_size=total)
    return index, torch.arange(total, device=counts.device) - _take(ends - counts, index)


def _least_depths(pairs: Pairs, count: int) -> Pairs:
    """Keep the ``count`` pairs of least depth of each pixel."""
    if len(pairs) == 0:
        return pairs
    crowded = (_take(pairs.pixel.bincount(), pairs.pixel) > count).nonzero().squeeze(1)
    # Sort by pixel, then by depth: the bits of a positive float sort like the float itself.
    pixel, depth = _take(pairs.pixel, crowded), _take(pairs.depth, crowded)
    key, order = ((pixel << 32) | depth.float().view(torch.int32)).sort()
    pixel = key >> 32
    # A pair is too deep if the pair ``count`` places before it belongs to the same pixel.
    too_deep = order[count:][pixel[count:] == pixel[:-count]]
    keep = torch.ones_like(pairs.pixel, dtype=torch.bool).index_fill_(0, _take(crowded, too_deep), False)
    return pairs[keep.nonzero().squeeze(1)]


def _take(values: Tensor, index: Tensor) -> Tensor:
    """``values[index]`` for vectors, but several times faster on a CPU."""
    return values.index_select(0, index)
