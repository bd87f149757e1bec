"""Renders a scene: any window of the frame, rotated or not, with the perspective of the camera of the frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numba import njit

from ..geometry.camera import Camera, in_image, scale_affine
from .raster import rasterise
from .scene import Scene
from .shading import SAMPLES, shade
from .skin import skin_maps
from .textures import texture_bank

FINEST = 1.1
"""Largest magnification that is rendered. Beyond it the result is enlarged, like the crop of a photograph."""
NEAR = 0.03
"""Metres from the camera; nearer surfaces are not drawn."""
TONE_RANGE, TONE_STEPS = 2.0, 4096
NOISE_SIZE = 512
EDGES = 0.012
"""Radius in metres of the neighbourhood that darkens crevices."""


@dataclass(frozen=True, eq=False)
class RenderedImage:
    """A rendered window of the frame of a scene."""

    image: np.ndarray
    """(h, w, 3) uint8 RGB"""
    masks: np.ndarray
    """(number of hands, h, w) bool: visible part of each hand, without the forearm."""
    camera: Camera
    """Camera of the window."""
    nearest: np.ndarray
    """(h', w') float32 1 / depth of the nearest surface at each sample, or -inf."""
    face_at: np.ndarray
    """(h', w') int32 index of the face of that surface, or -1."""
    to_samples: np.ndarray
    """(2, 3) map from pixels of the window to the samples."""


def render(
    scene: Scene, affine: np.ndarray | None = None, width: int | None = None, height: int | None = None
) -> RenderedImage:
    """Renders the window that ``cv2.warpAffine`` would cut out of the frame.

    Args:
        scene: The scene.
        affine: (2, 3) map from pixels of the frame to pixels of the window; None for the whole frame.
        width: Width of the window; None for that of the frame.
        height: Height of the window; None for that of the frame.
    """
    affine = np.eye(2, 3) if affine is None else np.asarray(affine, dtype=np.float64)
    width, height = width or scene.camera.width, height or scene.camera.height
    camera = scene.camera.transformed(affine, width, height)
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    shrink = min(1.0, FINEST / scale)
    drawn_width, drawn_height = max(round(width * shrink), 8), max(round(height * shrink), 8)
    to_drawn = scale_affine(drawn_width / width, drawn_height / height)
    drawn_affine = _compose(to_drawn, affine)
    drawn_scale = scale * drawn_width / width

    rgba, cover, nearest, face_at = _draw(
        scene, scene.camera.transformed(drawn_affine, drawn_width, drawn_height), drawn_scale
    )
    photo = scene.photography
    linear = _composite(scene, rgba, drawn_affine, drawn_scale)
    noise = _noise_bank()
    row, column = photo.noise_seed % NOISE_SIZE, photo.noise_seed // NOISE_SIZE % NOISE_SIZE
    softened = min(1.0, drawn_scale)  # averaging pixels reduces their noise
    image = np.empty(linear.shape, np.uint8)
    _develop(
        linear,
        photo.gains,
        _tone_curve(),
        noise,
        row,
        column,
        photo.read_noise * softened,
        photo.shot_noise * softened,
        image,
    )
    if photo.jpeg_quality:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, photo.jpeg_quality])[1]
        decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        assert decoded is not None  # it was encoded just now
        image = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
    masks = cover.transpose(2, 0, 1)
    if shrink < 1:
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))
        enlarged = [cv2.resize(mask * 63, (width, height), interpolation=cv2.INTER_LINEAR) for mask in masks]
        masks = np.reshape(enlarged, (len(masks), height, width)) / 63
    to_samples = _compose(scale_affine(SAMPLES, SAMPLES), to_drawn)
    return RenderedImage(image, masks >= SAMPLES**2 / 2, camera, nearest, face_at, to_samples)


def keypoint_visibility(scene: Scene, rendered: RenderedImage, hand: int) -> np.ndarray:
    """Finds the joints of a hand that are inside the image and hidden by nothing but their own skin.

    Args:
        scene: The scene.
        rendered: An image of it.
        hand: Index of the hand in the scene.

    Returns:
        (21,) bool.
    """
    joints = scene.hands[hand].joints
    assert joints is not None
    pixels = rendered.camera.project(joints)
    inside = in_image(pixels, rendered.camera.width, rendered.camera.height)
    samples = np.nan_to_num(pixels @ rendered.to_samples[:, :2].T + rendered.to_samples[:, 2])
    height, width = rendered.face_at.shape
    x, y = np.clip(np.round(samples).astype(int), 0, (width - 1, height - 1)).T
    face = rendered.face_at[y, x]
    own = (face >= 0) & (scene.geometry.face_part[face] == hand + 1)
    depth = 1 / np.where(own, rendered.nearest[y, x], 1)
    # The skin in front of a joint is half a finger away, at the joints of the palm more.
    thick = np.where(np.isin(np.arange(21), (0, 1, 2, 5, 9, 13, 17)), 0.026, 0.015)
    return inside & own & (joints[:, 2] - depth < thick)


def _compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Returns the (2, 3) map that applies ``first``, then ``second``."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def _draw(scene: Scene, camera: Camera, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws the geometry of a scene.

    Returns the premultiplied colour (h, w, 4), the samples of the mask of each hand (h, w, hands), and ``nearest`` and
    ``face_at`` of ``RenderedImage``.
    """
    geometry = scene.geometry
    fine = camera.scaled(SAMPLES, SAMPLES)
    depth = geometry.positions[:, 2]
    pixels = fine.project(geometry.positions)
    with np.errstate(divide="ignore"):
        nearness = np.where(depth > NEAR, 1 / depth, np.nan)
    index, nearest = rasterise(pixels, nearness, geometry.faces, SAMPLES * camera.width, SAMPLES * camera.height)
    light = scene.light.copy()
    light[17] = fine.focal
    shadow, shadow_frame = scene.shadow
    skin = skin_maps()
    vertices = np.empty((len(pixels), 12), np.float32)
    vertices[:, :2], vertices[:, 2], vertices[:, 3:6] = pixels, nearness, geometry.positions
    vertices[:, 6:9], vertices[:, 9:] = geometry.normals, geometry.uvw
    mesh = (vertices, geometry.faces, geometry.face_material)
    look = (geometry.materials, skin.maps, skin.frame, texture_bank(), light, shadow, shadow_frame)
    crevices = _crevices(nearest[SAMPLES // 2 :: 2 * SAMPLES, SAMPLES // 2 :: 2 * SAMPLES], camera.focal / 2)
    crevices = cv2.resize(crevices, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
    rgba, cover = shade(index, nearest, mesh, geometry.face_part, look, crevices, len(scene.hands))
    return rgba, cover, nearest, index


def _crevices(nearest: np.ndarray, focal: float) -> np.ndarray:
    """Returns (h, w) float32 factors in [0, 1] that darken crevices, such as between fingers (Luft et al. 2006)."""
    seen = nearest > 0
    near = np.where(seen, nearest, 1)
    depth = np.where(seen, 1 / near, 0).astype(np.float32)
    weight = seen.astype(np.float32)
    if not seen.any():
        return np.ones(nearest.shape, np.float32)
    size = 2 * int(np.clip(EDGES * focal * np.median(near[seen]), 1, 60)) + 1
    around = cv2.blur(depth, (size, size)) / np.maximum(cv2.blur(weight, (size, size)), 1e-6)
    rise = np.clip(depth - around, 0, 0.08)
    return (1 - np.minimum(45 * rise * np.exp(-rise / 0.007), 0.5)).astype(np.float32)


def _composite(scene: Scene, rgba: np.ndarray, affine: np.ndarray, scale: float) -> np.ndarray:
    """Blends the geometry with the background: (h, w, 3) float32 linear light with defocus and motion blur."""
    photo = scene.photography
    height, width = rgba.shape[:2]
    source, to_window = scene.background, _compose(affine, scene.background_affine)
    shrink = np.sqrt(abs(np.linalg.det(to_window[:, :2])))
    while shrink < 0.6:
        source = cv2.pyrDown(source)
        to_window = _compose(to_window, np.array([[2.0, 0, 0], [0, 2.0, 0]]))
        shrink *= 2
    behind = cv2.warpAffine(source, to_window, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    sigma = photo.background_defocus * scale
    if sigma > 0.5:
        behind = cv2.GaussianBlur(behind, (0, 0), sigma)
    smear = _smear(photo.motion * scale, affine, scale)
    if smear is not None and photo.hands_move:
        rgba = np.asarray(cv2.filter2D(rgba, -1, smear, borderType=cv2.BORDER_REPLICATE))
    linear = np.empty((height, width, 3), np.float32)
    _blend(rgba, behind, _linear_table(), linear)
    if smear is not None and not photo.hands_move:
        linear = np.asarray(cv2.filter2D(linear, -1, smear, borderType=cv2.BORDER_REFLECT))
    sigma = photo.defocus * scale
    return np.asarray(cv2.GaussianBlur(linear, (0, 0), sigma)) if sigma > 0.3 else linear


def _smear(motion: np.ndarray, affine: np.ndarray, scale: float) -> np.ndarray | None:
    """Returns the kernel of a straight motion in the window, or None if it is too short to be visible."""
    dx, dy = affine[:, :2] @ motion / scale
    length = np.hypot(dx, dy)
    if length < 1.2:
        return None
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    start, end = (tuple(int(round(16 * (half + sign * d / 2))) for d in (dx, dy)) for sign in (-1, 1))
    cv2.line(kernel, start, end, (1.0,), 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()


@cache
def _linear_table() -> np.ndarray:
    return ((np.arange(256) / 255) ** 2.2).astype(np.float32)


@cache
def _tone_curve() -> np.ndarray:
    """Returns grey levels for linear light in steps of ``TONE_RANGE / TONE_STEPS``, with a soft shoulder."""
    x = np.arange(TONE_STEPS + 1) * TONE_RANGE / TONE_STEPS
    shoulder = np.where(x < 0.7, x, 0.7 + 0.3 * np.tanh((x - 0.7) / 0.3))
    return (255 * shoulder ** (1 / 2.2)).astype(np.float32)


@cache
def _noise_bank() -> np.ndarray:
    """Returns (NOISE_SIZE, NOISE_SIZE, 3) int8 noise that repeats."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((NOISE_SIZE, NOISE_SIZE, 3), dtype=np.float32)
    coarse = cv2.resize(
        rng.standard_normal((NOISE_SIZE // 2, NOISE_SIZE // 2, 3), dtype=np.float32), (NOISE_SIZE, NOISE_SIZE)
    )
    return np.round(40 * (0.8 * noise + 0.6 * coarse)).clip(-127, 127).astype(np.int8)


@njit(cache=True, error_model="numpy")
def _blend(rgba, behind, table, linear):
    for y in range(rgba.shape[0]):
        for x in range(rgba.shape[1]):
            through = np.float32(1) - rgba[y, x, 3]
            for c in range(3):
                linear[y, x, c] = rgba[y, x, c] + through * table[behind[y, x, c]]


@njit(cache=True, error_model="numpy")
def _develop(linear, gains, curve, noise, row, column, read, shot, image):
    steps = TONE_STEPS / TONE_RANGE
    for y in range(linear.shape[0]):
        for x in range(linear.shape[1]):
            for c in range(3):
                level = curve[int(min(max(linear[y, x, c] * gains[c] * steps, 0.0), TONE_STEPS))]
                strength = (read + shot * level / 255) / 40
                value = level + strength * noise[(y + row) % NOISE_SIZE, (x + column) % NOISE_SIZE, c] + 0.5
                image[y, x, c] = int(min(max(value, 0.0), 255.0))
