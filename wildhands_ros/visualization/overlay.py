"""Draws estimated hands over their image: mesh, skeleton and label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ..geometry.camera import Camera
from ..hand_model.joints import MEDIAPIPE_BONES
from ..types import FrameEstimate, Grasp, HandEstimate, Side

SIDE_COLOURS = {Side.RIGHT: (255, 150, 50), Side.LEFT: (70, 160, 255)}
"""RGB: right hands orange, left hands blue."""

MESH_OPACITY = 0.72
LIGHT = np.array([-0.38, -0.62, -0.69])
"""Unit vector towards the light in the camera frame: over the viewer's left shoulder."""

FINGER_COLOURS = ((255, 229, 180), (128, 64, 128), (255, 204, 0), (48, 255, 48), (21, 101, 192))
"""RGB of thumb to pinky as MediaPipe draws them."""
PALM_COLOUR = (128, 128, 128)
_BONE_COLOURS = [PALM_COLOUR if parent == 0 else FINGER_COLOURS[(child - 1) // 4] for parent, child in MEDIAPIPE_BONES]

NEAR = 0.01
"""Metres; faces nearer than this are not drawn."""
PIXELS_PER_WIDTH, PIXELS_PER_RADIUS = 100, 50
"""Size of a hand in pixels per pixel of bone width and of joint radius: the skeleton must not hide a small hand."""
MAX_PIXEL = 2**15
"""Largest magnitude of coordinates that are drawn: the limit of the rasterizer's fixed-point numbers."""
SUBPIXEL_BITS = 4


def draw_frame(image_rgb: np.ndarray, frame: FrameEstimate, faces: Mapping[Side, np.ndarray]) -> np.ndarray:
    """Draws all hands of a frame over its image.

    Args:
        image_rgb: (H, W, 3) uint8, the image of the estimate; it is not changed.
        frame: the estimate.
        faces: (F, 3) triangles of each side's mesh, counter-clockwise as seen from outside.

    Returns:
        (H, W, 3) uint8 RGB.

    Example:
        >>> from wildhands_ros import Camera, Estimator, draw_frame, load_image
        >>> image, estimator = load_image("photo.jpg"), Estimator()
        >>> overlay = draw_frame(image, estimator(image, Camera.for_image(image)), estimator.faces)
        >>> overlay.shape == image.shape
        True
    """
    image = np.ascontiguousarray(image_rgb).copy()
    if not frame.hands:
        return image
    _draw_meshes(image, frame, faces)
    thickness = max(1, min(image.shape[:2]) // 480)
    labels: list[tuple[int, int, int, int]] = []
    for hand in sorted(frame.hands, key=lambda hand: -hand.wrist_position[2]):
        _draw_skeleton(image, hand, thickness)
        labels.append(_draw_label(image, hand, thickness, labels))
    return image


def _draw_meshes(image: np.ndarray, frame: FrameEstimate, faces: Mapping[Side, np.ndarray]) -> None:
    """Draws the front faces of all hands, far to near, into an index image; then shades each covered pixel once."""
    meshes = [_visible_faces(hand, frame.camera, faces[hand.side]) for hand in frame.hands]
    corners, shades, distances = (np.concatenate(parts) for parts in zip(*meshes, strict=True))
    sides = np.repeat([hand.side is Side.LEFT for hand in frame.hands], [len(mesh[0]) for mesh in meshes]).astype(
        np.intp
    )
    order = np.argsort(-distances)
    corners, shades, sides = corners[order], shades[order], sides[order]

    height, width = image.shape[:2]
    low, high = _extremes(corners, axis=1)
    inside = (high[:, 0] >= -0.5) & (high[:, 1] >= -0.5) & (low[:, 0] < width - 0.5) & (low[:, 1] < height - 0.5)
    corners, shades, sides = corners[inside], shades[inside], sides[inside]
    if not len(corners):
        return
    x0, y0 = np.maximum(np.floor(low[inside].min(axis=0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(high[inside].max(axis=0)) + 1, (width, height)).astype(int)
    corners = corners - (x0, y0)

    # 0 is the background.
    index = np.zeros((y1 - y0, x1 - x0), np.int32)
    fixed_point = np.round(corners * 2**SUBPIXEL_BITS).astype(np.int32)
    for number, polygon in enumerate(fixed_point, start=1):
        cv2.fillConvexPoly(index, polygon, (number,), cv2.LINE_8, SUBPIXEL_BITS)

    covered = np.flatnonzero(index)
    face = index.ravel()[covered] - 1
    y, x = np.divmod(covered, index.shape[1])
    planes = _shade_planes(corners, shades)[face]
    shade = planes[:, 0] * x + planes[:, 1] * y + planes[:, 2]
    # Drawn pixels extend half a pixel beyond a triangle's edge, where the plane of a thin triangle is far off.
    darkest, brightest = _extremes(shades.astype(np.float32), axis=1)
    level = np.clip(shade, darkest[face], brightest[face])
    ramps = np.concatenate([_colour_ramp(SIDE_COLOURS[side]) for side in (Side.RIGHT, Side.LEFT)])
    colour = ramps[sides[face] * 256 + (level * 255).astype(np.intp)]

    window = image[y0:y1, x0:x1]
    y, x = np.unravel_index(covered, index.shape)
    window[y, x] = (window[y, x] * np.float32(1 - MESH_OPACITY) + colour * np.float32(MESH_OPACITY) + 0.5).astype(
        np.uint8
    )


def _visible_faces(hand: HandEstimate, camera: Camera, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns front faces: pixels (N, 3, 2), shades of the corners in [0, 1] (N, 3) and distances (N,)."""
    vertices = np.asarray(hand.vertices, dtype=np.float64)
    pixels = camera.project(vertices)
    # Points outside the field of view are NaN.
    distance = np.linalg.norm(vertices, axis=-1)
    usable = np.isfinite(pixels).all(axis=-1) & (np.abs(pixels) < MAX_PIXEL).all(axis=-1) & (distance > NEAR)

    triangles = vertices[faces]
    face_normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    centres = triangles.mean(axis=1)
    front = (face_normals * centres).sum(axis=-1) < 0
    visible = faces[front & usable[faces].all(axis=-1)]

    # Area-weighted, because the face normals are not normalised.
    flat = faces.ravel()
    normals = np.stack([np.bincount(flat, np.repeat(axis, 3), len(vertices)) for axis in face_normals.T], axis=-1)
    normals = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    view = -vertices / np.maximum(distance, 1e-12)[:, None]
    facing = np.clip((normals * view).sum(axis=-1), 0, 1)
    lambert = np.clip(normals @ LIGHT, 0, 1)
    # Surfaces at grazing angles are darker, so that a finger stands out from the palm behind it.
    shade = (0.34 + 0.66 * lambert) * (0.50 + 0.50 * facing)
    return pixels[visible], shade[visible], np.linalg.norm(vertices[visible].mean(axis=1), axis=-1)


def _extremes(triples: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns minimum and maximum over an axis of length three, ten times as fast as NumPy's reductions."""
    a, b, c = np.moveaxis(triples, axis, 0)
    return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)


def _shade_planes(corners: np.ndarray, shades: np.ndarray) -> np.ndarray:
    """Returns (N, 3) float32 a, b, c: the shade at pixel (x, y) of a face is a x + b y + c."""
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    rise1, rise2 = shades[:, 1] - shades[:, 0], shades[:, 2] - shades[:, 0]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    area = np.where(np.abs(area) < 1e-6, np.inf, area)
    a = (rise1 * edge2[:, 1] - rise2 * edge1[:, 1]) / area
    b = (rise2 * edge1[:, 0] - rise1 * edge2[:, 0]) / area
    c = shades[:, 0] - a * corners[:, 0, 0] - b * corners[:, 0, 1]
    return np.stack([a, b, c], axis=-1).astype(np.float32)


def _colour_ramp(colour: tuple[int, int, int]) -> np.ndarray:
    """Returns (256, 3) float32 colours from shadow to highlight."""
    level = np.linspace(0, 1, 256)[:, None]
    base = np.array(colour, dtype=np.float64)
    highlight = np.clip((level - 0.72) / 0.28, 0, 1) ** 2
    return (
        (base * (0.10 + 1.12 * level) * (1 - 0.55 * highlight) + 255 * 0.55 * highlight).clip(0, 255).astype(np.float32)
    )


def _draw_skeleton(image: np.ndarray, hand: HandEstimate, thickness: int) -> None:
    drawable, points = _drawable(hand.joints_2d)
    if not drawable.any():
        return
    size = np.ptp(hand.joints_2d[drawable], axis=0).max()
    thickness = int(np.clip(size / PIXELS_PER_WIDTH, 1, thickness))
    radius = int(np.clip(size / PIXELS_PER_RADIUS, 0, thickness + 2))
    draw_bones(image, hand.joints_2d, _BONE_COLOURS, thickness)
    for joint in np.flatnonzero(drawable):
        colour = PALM_COLOUR if joint == 0 else FINGER_COLOURS[(joint - 1) // 4]
        # Not antialiased, which would take ten times as long for dots of this size.
        centre = (points[joint] >> SUBPIXEL_BITS).tolist()
        if radius > 1:
            cv2.circle(image, centre, radius, (255, 255, 255), cv2.FILLED)
        if radius:
            cv2.circle(image, centre, radius - 1, colour, cv2.FILLED)


def draw_bones(
    image: np.ndarray, joints_2d: np.ndarray, colours: Sequence[tuple[int, int, int]], thickness: int
) -> None:
    """Draws the bones between (21, 2) pixels, except those with an end that is unknown or far outside the image.

    Args:
        image: (H, W, 3) uint8, in which they are drawn.
        joints_2d: pixels of the joints.
        colours: colour of each bone, in the order of ``MEDIAPIPE_BONES``.
        thickness: pixels.
    """
    drawable, points = _drawable(joints_2d)
    for (parent, child), colour in zip(MEDIAPIPE_BONES, colours, strict=True):
        if drawable[parent] and drawable[child]:
            cv2.line(
                image, points[parent].tolist(), points[child].tolist(), colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS
            )


def _drawable(joints_2d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns which joints can be drawn, and (21, 2) pixels in fixed-point numbers."""
    drawable = np.isfinite(joints_2d).all(axis=-1) & (np.abs(joints_2d) < MAX_PIXEL).all(axis=-1)
    return drawable, np.round(np.where(drawable[:, None], joints_2d, 0) * 2**SUBPIXEL_BITS).astype(int)


def label_text(hand: HandEstimate) -> str:
    """Returns side, distance along the optical axis and score, and the grasp with its probability if known."""
    text = f"{hand.side.value}  {hand.wrist_position[2]:.2f} m"
    if math.isfinite(hand.score):
        text += f"  {100 * hand.score:.0f} %"
    if hand.grasp_probabilities is not None:
        if hand.grasp is Grasp.UNKNOWN:
            text += "  grasp unknown"
        else:
            text += f"  {hand.grasp.name.lower().replace('_', ' ')} {100 * hand.grasp_probabilities[hand.grasp]:.0f} %"
    return text


def _draw_label(
    image: np.ndarray, hand: HandEstimate, thickness: int, others: list[tuple[int, int, int, int]]
) -> tuple[int, int, int, int]:
    """Draws a hand's label above its box, moved into the image and away from other labels.

    Returns:
        The label's left, top, right and bottom, as in ``others``.
    """
    text = label_text(hand)
    scale = 0.5 * max(1.0, min(image.shape[:2]) / 640)
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = height // 2
    x0, y0, x1, _ = np.nan_to_num(hand.box)
    left = int(np.clip((x0 + x1) / 2 - width / 2, margin, max(margin, image.shape[1] - width - margin)))
    bottom = int(np.clip(y0 - 2 * margin, height + margin, max(height + margin, image.shape[0] - baseline - margin)))
    place = left - margin, bottom - height - margin, left + width + margin, bottom + baseline
    shift = _shift_off(place, others, image.shape[0])
    bottom += shift
    corner, opposite = (place[0], place[1] + shift), (place[2], place[3] + shift)
    cv2.rectangle(image, corner, opposite, (30, 30, 30), cv2.FILLED)
    cv2.rectangle(image, corner, (corner[0] + max(2, thickness), opposite[1]), SIDE_COLOURS[hand.side], cv2.FILLED)
    cv2.putText(image, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, scale, (245, 245, 245), thickness, cv2.LINE_AA)
    return *corner, *opposite


def _shift_off(place: tuple[int, int, int, int], others: list[tuple[int, int, int, int]], image_height: int) -> int:
    """Returns how far a label must move down (up if negative) to cover no other; 0 if there is no room."""
    left, top, right, bottom = place
    near = [(y0, y1) for x0, y0, x1, y1 in others if x0 <= right and x1 >= left]
    shifts = [0, *(y0 - bottom - 1 for y0, _ in near), *(y1 - top + 1 for _, y1 in near)]
    for shift in sorted(shifts, key=abs):
        inside = top + shift >= 0 and bottom + shift < image_height
        if inside and all(y1 < top + shift or y0 > bottom + shift for y0, y1 in near):
            return shift
    return 0
