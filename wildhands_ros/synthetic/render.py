"""Draws a scene: any window of the frame, turned or not, with the true perspective of the frame's camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numba import njit

from ..geometry.camera import Camera, scale_affine
from .raster import rasterise
from .scene import Scene
from .shading import SAMPLES, shade
from .skin import skin_maps
from .textures import texture_bank

FINEST = 1.1
"""Windows that enlarge the frame by more are drawn at the frame's resolution and enlarged, as a crop of a photograph would be."""
NEAR = 0.03
"""Metres; what is nearer to the camera is not drawn."""
TONE_RANGE, TONE_STEPS = 2.0, 4096
NOISE_SIZE = 512
EDGES = 0.012
"""Metres around a point that make its crevice."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A window of a scene's frame."""

    image: np.ndarray
    """(h, w, 3) uint8 RGB"""
    masks: np.ndarray
    """(number of hands, h, w) bool: each hand's visible part."""
    camera: Camera
    """The window's own."""
    nearest: np.ndarray
    """(h', w') float32 1 / depth of the nearest surface, -inf for none, at samples of the drawn picture."""
    face_at: np.ndarray
    """(h', w') int32 which face of the scene that surface is, -1 for none."""
    to_samples: np.ndarray
    """(2, 3) from the window's pixels to those samples."""


def render(
    scene: Scene, affine: np.ndarray | None = None, width: int | None = None, height: int | None = None
) -> Picture:
    """Draws the window that ``cv2.warpAffine`` with this (2, 3) frame-to-window map would cut out; the whole frame by default."""
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
    softened = min(1.0, drawn_scale)  # pixels that are averaged lose their noise
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
        image = cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    masks = cover.transpose(2, 0, 1)
    if shrink < 1:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        enlarged = [cv2.resize(mask * 63, (width, height), interpolation=cv2.INTER_LINEAR) for mask in masks]
        masks = np.reshape(enlarged, (len(masks), height, width)) / 63
    to_samples = _compose(scale_affine(SAMPLES, SAMPLES), to_drawn)
    return Picture(image, masks >= SAMPLES**2 / 2, camera, nearest, face_at, to_samples)


def keypoint_visibility(scene: Scene, picture: Picture, hand: int) -> np.ndarray:
    """(21,) bool: joints of a hand (its number in the scene) within the picture whose own flesh, and nothing else, lies before them."""
    joints = scene.hands[hand].joints
    pixels = picture.camera.project(joints)
    inside = ((pixels >= -0.5) & (pixels < (picture.camera.width - 0.5, picture.camera.height - 0.5))).all(axis=-1)
    samples = np.nan_to_num(pixels @ picture.to_samples[:, :2].T + picture.to_samples[:, 2])
    height, width = picture.face_at.shape
    x, y = np.clip(np.round(samples).astype(int), 0, (width - 1, height - 1)).T
    face = picture.face_at[y, x]
    own = (face >= 0) & (scene.geometry.face_part[face] == hand + 1)
    depth = 1 / np.where(own, picture.nearest[y, x], 1)
    # Flesh before a joint is as thick as a finger, at the palm's joints thicker.
    thick = np.where(np.isin(np.arange(21), (0, 1, 2, 5, 9, 13, 17)), 0.026, 0.015)
    return inside & own & (joints[:, 2] - depth < thick)


def _compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(2, 3) of ``first``, then ``second``."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def _draw(scene: Scene, camera: Camera, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colour times cover (h, w, 4), samples of each hand's mask (h, w, hands), and the sample buffers of ``Picture``."""
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
    """(h, w) float32 in [0, 1], darker where near surfaces rise around (Luft et al. 2006): between fingers, behind the thumb."""
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
    """(h, w, 3) float32 linear light, blurred as by lens and motion."""
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
        rgba = cv2.filter2D(rgba, -1, smear, borderType=cv2.BORDER_REPLICATE)
    linear = np.empty((height, width, 3), np.float32)
    _blend(rgba, behind, _linear_table(), linear)
    if smear is not None and not photo.hands_move:
        linear = cv2.filter2D(linear, -1, smear, borderType=cv2.BORDER_REFLECT)
    sigma = photo.defocus * scale
    return cv2.GaussianBlur(linear, (0, 0), sigma) if sigma > 0.3 else linear


def _smear(motion: np.ndarray, affine: np.ndarray, scale: float) -> np.ndarray | None:
    """The kernel of a straight motion in the window, or None for one too short to see."""
    dx, dy = affine[:, :2] @ motion / scale
    length = np.hypot(dx, dy)
    if length < 1.2:
        return None
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    ends = [tuple(int(round(16 * (half + sign * d / 2))) for d in (dx, dy)) for sign in (-1, 1)]
    cv2.line(kernel, *ends, 1.0, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()


@cache
def _linear_table() -> np.ndarray:
    return ((np.arange(256) / 255) ** 2.2).astype(np.float32)


@cache
def _tone_curve() -> np.ndarray:
    """Linear light in steps of ``TONE_RANGE / TONE_STEPS`` to grey levels, with a soft shoulder."""
    x = np.arange(TONE_STEPS + 1) * TONE_RANGE / TONE_STEPS
    shoulder = np.where(x < 0.7, x, 0.7 + 0.3 * np.tanh((x - 0.7) / 0.3))
    return (255 * shoulder ** (1 / 2.2)).astype(np.float32)


@cache
def _noise_bank() -> np.ndarray:
    """Twice the size of what is drawn from it, so that any offset fits; three colours."""
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
