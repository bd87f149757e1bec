"""Puts gloves, markers and devices on the hands of training images.

Photographs with gloved or instrumented hands under a licence for training are rare, so they are made from those of bare
hands: the silhouette of a hand, as GrabCut finds it in its box, is painted like a glove, and printed markers, devices
and cables are drawn on and beside it. The same things are drawn elsewhere, too: alone they are no hand.
"""

from __future__ import annotations

import cv2
import numpy as np

_MARKED, _GLOVED, _EQUIPPED = 0.4, 0.7, 0.4
"""Shares of the chosen hands that get a marker, a glove and a device."""
_CABLED = 0.3
_ELSEWHERE = 0.4
"""Share of the changed images in which the same things are drawn where no hand is."""
_DARK = 0.6
"""Share of dark gloves."""
_SILHOUETTE_SIDE = 48
"""Side in pixels at which a hand is separated from its background."""
_LEAST_FILL, _MOST_FILL = 0.2, 0.9
"""Shares of a box that a plausible silhouette fills."""


def with_worn_things(image: np.ndarray, boxes: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Puts gloves, markers and devices on some of the hands of an image, and beside them.

    Args:
        image: (H, W, 3) uint8 RGB, which stays as it is.
        boxes: (N, 4) boxes of all hands in pixels.
        counts: (N,) whether a hand may be changed.
        rng: Source of randomness.

    Returns:
        (H, W, 3) uint8.
    """
    image = image.copy()
    for box in boxes[counts]:
        if rng.random() < 0.75 and (box[2:] - box[:2]).min() >= 4:
            # What is drawn is drawn near the hand, so that the rest of a large image costs no time.
            x0, y0, x1, y1 = _around(box, 1.0, image)
            _dress(image[y0:y1, x0:x1], box - [x0, y0, x0, y0], rng)
    if rng.random() < _ELSEWHERE:
        height, width = image.shape[:2]
        for _ in range(int(rng.integers(1, 4))):
            side = width * np.exp(rng.uniform(np.log(0.04), np.log(0.2)))
            centre = rng.uniform(0, 1, 2) * (width, height)
            if not _is_near(centre, side, boxes):
                _draw_thing(image, centre, side, rng)
    return image


def _dress(image: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> None:
    """Paints a glove on the hand in a (4,) box, or puts things on it."""
    side, middle = (box[2:] - box[:2]).max(), (box[:2] + box[2:]) / 2
    mask = hand_silhouette(image, box)
    if rng.random() < _GLOVED:
        _paint_glove(image, mask, rng)
    hand = image.copy()
    if rng.random() < _EQUIPPED:
        _draw_device(image, middle + side * rng.normal(0, 0.15, 2), side * rng.uniform(0.25, 0.6), rng)
    if rng.random() < _MARKED:
        _draw_cube(image, middle + side * rng.uniform(0.15, 0.65) * _direction(rng), side * rng.uniform(0.3, 0.7), rng)
        if rng.random() < 0.3:  # the marker is behind the hand
            image[:] = _mixed(image, hand, mask)
    if rng.random() < _CABLED:
        _draw_cable(image, middle, side, rng)


def hand_silhouette(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Separates the hand in a box from its background.

    Args:
        image: (H, W, 3) uint8.
        box: (4,) pixels.

    Returns:
        (H, W) float32 in [0, 1]: an ellipse where GrabCut finds no plausible hand.
    """
    x0, y0, x1, y1 = _around(box, 0.25, image)
    scale = _SILHOUETTE_SIDE / max(x1 - x0, y1 - y0)
    part = cv2.resize(image[y0:y1, x0:x1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    inner = np.clip(((box - [x0, y0, x0, y0]) * scale).astype(int), 0, [*part.shape[1::-1]] * 2)
    labels = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
    labels[inner[1] : inner[3], inner[0] : inner[2]] = cv2.GC_PR_FGD
    centre, axes = ((inner[:2] + inner[2:]) // 2).tolist(), np.maximum((inner[2:] - inner[:2]) // 2, 1)
    cv2.ellipse(labels, centre, np.maximum(axes // 3, 1).tolist(), 0, 0, 360, cv2.GC_FGD, -1)
    try:
        cv2.grabCut(part, labels, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # all pixels of one kind have the same colour
        labels[:] = 0
    mask = np.isin(labels, [cv2.GC_FGD, cv2.GC_PR_FGD]).astype(np.float32)
    fill = mask.sum() / max((inner[2:] - inner[:2]).prod(), 1)
    if not _LEAST_FILL < fill < _MOST_FILL:
        mask = np.zeros(part.shape[:2], np.float32)
        cv2.ellipse(mask, centre, (0.85 * axes).astype(int).tolist(), 0, 0, 360, (1.0,), -1)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.0)
    result = np.zeros(image.shape[:2], np.float32)
    result[y0:y1, x0:x1] = cv2.resize(soft, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return result


def _paint_glove(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> None:
    """Paints a glove with the shading of what is painted over."""
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = float((light * mask).sum() / max(mask.sum(), 1e-6))
    shading = np.clip(0.4 + rng.uniform(0.4, 1.1) * light / max(mean, 8.0), 0.2, 2.5)
    colour = np.full(3, rng.uniform(8, 60)) + rng.normal(0, 4, 3) if rng.random() < _DARK else rng.uniform(10, 245, 3)
    weave = rng.normal(0, 1, (64, 64)).astype(np.float32)
    weave = cv2.resize(weave, image.shape[1::-1], interpolation=cv2.INTER_LINEAR) * rng.uniform(0, 10)
    glove = np.clip(shading[..., None] * colour + weave[..., None], 0, 255)
    if rng.random() < 0.3:  # another colour on the palm or the fingers
        other = np.clip(shading[..., None] * rng.uniform(10, 245, 3), 0, 255)
        ys, xs = np.indices(mask.shape)
        rows, columns = np.nonzero(mask > 0.5)
        if len(rows):
            at = rng.integers(len(rows))
            along = (xs - columns[at]) * np.cos(angle := rng.uniform(0, 2 * np.pi)) + (ys - rows[at]) * np.sin(angle)
            glove[along > 0] = other[along > 0]
    image[:] = _mixed(image, glove, mask)


def _draw_thing(image: np.ndarray, centre: np.ndarray, side: float, rng: np.random.Generator) -> None:
    kind = rng.random()
    if kind < 0.5:
        _draw_cube(image, centre, side, rng)
    elif kind < 0.8:
        _draw_device(image, centre, side, rng)
    else:
        _draw_cable(image, centre, side, rng)


def _draw_cube(image: np.ndarray, centre: np.ndarray, side: float, rng: np.random.Generator) -> None:
    """Draws a cube with printed markers on its faces, or one such face alone."""
    if side < 4:
        return
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    shown = sorted(range(3), key=lambda axis: -abs(axes[2, axis]))[: 1 if rng.random() < 0.25 else 3]
    for axis in reversed(shown):
        u, v = ((axis + 1) % 3, (axis + 2) % 3)
        towards = axes[:, axis] * (-1 if axes[2, axis] > 0 else 1)
        corners = [towards + a * axes[:, u] + b * axes[:, v] for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        quad = centre + 0.4 * side * np.array([corner[:2] / (1 + 0.1 * corner[2]) for corner in corners])
        face = _marker(rng) if rng.random() < 0.85 else np.full((64, 64, 3), rng.uniform(5, 240), np.float32)
        _paste(image, face * (0.4 + 0.6 * abs(towards[2])) * rng.uniform(0.7, 1.0), quad)


def _marker(rng: np.random.Generator) -> np.ndarray:
    """Returns a (64, 64, 3) float32 square marker: random cells with a black border on white."""
    cells = int(rng.integers(4, 8))
    bits = np.pad(rng.random((cells, cells)) < 0.5, 1, constant_values=False)
    bits = np.pad(bits, 1, constant_values=True).astype(np.float32)
    dark, bright = rng.uniform(5, 50), rng.uniform(150, 250)
    grey = cv2.resize(dark + (bright - dark) * bits, (64, 64), interpolation=cv2.INTER_NEAREST)
    return np.repeat(grey[..., None], 3, axis=2)


def _paste(image: np.ndarray, face: np.ndarray, quad: np.ndarray) -> None:
    """Pastes a square face into a (4, 2) quadrilateral."""
    height, width = face.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    low = np.maximum(np.floor(quad.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(quad.max(axis=0)) + 1, image.shape[1::-1]).astype(int)
    if (high <= low).any():
        return
    transform = cv2.getPerspectiveTransform(corners, (quad - low).astype(np.float32))
    size = (high - low).tolist()
    warped = cv2.warpPerspective(face, transform, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.ones((height, width), np.float32), transform, size)
    part = image[low[1] : high[1], low[0] : high[0]]
    part[:] = _mixed(part, warped, mask)


def _draw_device(image: np.ndarray, centre: np.ndarray, side: float, rng: np.random.Generator) -> None:
    """Draws a device of a few dark plates, with edges that shine and a small light."""
    for _ in range(int(rng.integers(1, 4))):
        at = centre + 0.2 * side * rng.normal(size=2)
        size = side * rng.uniform(0.25, 0.8, 2)
        corners = cv2.boxPoints((at.tolist(), size.tolist(), rng.uniform(0, 180))).astype(np.int32)
        shade = rng.uniform(5, 80) if rng.random() < 0.8 else rng.uniform(80, 230)
        cv2.fillPoly(image, [corners], (np.full(3, shade) + rng.normal(0, 5, 3)).clip(0, 255).tolist(), cv2.LINE_AA)
        if rng.random() < 0.6:
            edge = (np.full(3, min(shade + rng.uniform(20, 90), 255))).tolist()
            cv2.polylines(image, [corners], True, edge, max(1, round(0.02 * side)), cv2.LINE_AA)
    if rng.random() < 0.4:
        light = rng.uniform(100, 255, 3).tolist()
        at = (centre + 0.15 * side * rng.normal(size=2)).astype(int).tolist()
        cv2.circle(image, at, max(1, round(0.04 * side)), light, -1)


def _draw_cable(image: np.ndarray, start: np.ndarray, side: float, rng: np.random.Generator) -> None:
    """Draws a cable that leads away from a place."""
    middle = start + side * rng.uniform(0.4, 1.5) * _direction(rng)
    end = middle + side * rng.uniform(0.4, 2.0) * _direction(rng)
    t = np.linspace(0, 1, 24)[:, None]
    points = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
    thickness = max(1, round(side * rng.uniform(0.02, 0.06)))
    cv2.polylines(image, [points.astype(np.int32)], False, rng.uniform(5, 70, 3).tolist(), thickness, cv2.LINE_AA)


def _mixed(below: np.ndarray, above: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns (H, W, 3) uint8, the upper image where the (H, W) mask is 1."""
    return np.clip(below + mask[..., None] * (above.astype(np.float32) - below), 0, 255).astype(np.uint8)


def _around(box: np.ndarray, margin: float, image: np.ndarray) -> tuple[int, int, int, int]:
    """Returns the corners of a box with a margin relative to its longer side, within the image."""
    reach = margin * (box[2:] - box[:2]).max()
    low = np.maximum(np.floor(box[:2] - reach), 0).astype(int).tolist()
    high = np.minimum(np.ceil(box[2:] + reach), image.shape[1::-1]).astype(int).tolist()
    return low[0], low[1], high[0], high[1]


def _is_near(centre: np.ndarray, side: float, boxes: np.ndarray) -> bool:
    reach = 0.75 * side
    return any(bool((centre > box[:2] - reach).all() and (centre < box[2:] + reach).all()) for box in boxes)


def _direction(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
