"""Whole frames with the hands in them, and what a step's batch makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from ...datasets.labels import LabelledHand, LabelledImage, Supervision
from ...detection.landmarks import MIDDLE_MCP, WRIST
from ...geometry.camera import scale_affine
from ...synthetic.config import WorldConfig
from ...synthetic.frames import make_frame
from ...synthetic.render import render
from ...synthetic.scene import Scene
from ...types import Side

CANVAS = 384
"""Pixels of the side of the square that a kept frame fits into; a training picture is a window of it."""
WIDTH, HEIGHT = 288, 224
"""Of a training picture."""
LEAST_SEEN = 0.12
"""Share of the hand's box that its visible pixels fill, below which it is neither a hand nor none."""


@dataclass(frozen=True)
class Frame:
    """A picture and its hands."""

    image: np.ndarray
    """(h, w, 3) uint8 RGB"""
    boxes: np.ndarray
    """(N, 4) pixels"""
    right: np.ndarray
    """(N,) bool"""
    up: np.ndarray
    """(N, 2) unit vectors from the wrist to the middle finger's base, or zero where unknown."""
    counts: np.ndarray
    """(N,) bool: enough of the hand is seen; the others are left out of the losses."""


def label_frame(scene: Scene, width: int, height: int) -> LabelledImage:
    """Render the scene's whole frame at this size, with the hands' masks and how much of their boxes they fill.

    Hands that fill less than ``LEAST_SEEN`` of their box are to be ignored.
    """
    scale = width / scene.camera.width, height / scene.camera.height
    rendered = render(scene, scale_affine(*scale), width, height)
    hands = []
    for hand, mask in zip(scene.hands, rendered.masks, strict=True):
        box = hand.box * np.array([*scale, *scale])
        fill = float(mask.sum() / max((box[2:] - box[:2]).prod(), 1))
        hands.append(
            replace(
                hand,
                box=box,
                keypoints=rendered.camera.project(hand.joints),
                load_mask=partial(np.asarray, mask),
                box_fill=fill,
                ignore=fill < LEAST_SEEN,
            )
        )
    return LabelledImage(
        f"frame {scene.index}",
        partial(np.asarray, rendered.image),
        rendered.camera,
        tuple(hands),
        frozenset(Supervision),
    )


def detector_frame(image: LabelledImage) -> Frame:
    """What the detector learns from a labelled image."""
    hands = image.hands
    return Frame(
        image.load_image(),
        np.array([hand.box for hand in hands]).reshape(-1, 4),
        np.array([hand.side is Side.RIGHT for hand in hands], bool),
        np.array([_up(hand) for hand in hands]).reshape(-1, 2),
        np.array([not hand.ignore for hand in hands], bool),
    )


def _up(hand: LabelledHand) -> np.ndarray:
    """(2,) unit vector from the wrist to the middle finger's base; zero if unknown or if the hand points along the viewing direction."""
    direction = hand.keypoints[MIDDLE_MCP] - hand.keypoints[WRIST]
    length = np.linalg.norm(direction)
    return (
        direction / length
        if np.isfinite(length) and length > 0.1 * (hand.box[2:] - hand.box[:2]).max()
        else np.zeros(2)
    )


def drawn(config: WorldConfig, indices: Iterator[int]) -> Iterator[Frame]:
    """Frames of the world, at most CANVAS pixels long."""
    for index in indices:
        scene = make_frame(config, index)
        scale = CANVAS / max(scene.camera.width, scene.camera.height)
        size = round(scene.camera.width * scale), round(scene.camera.height * scale)
        yield detector_frame(label_frame(scene, *size))


def augmented(frame: Frame, rng: np.random.Generator) -> Frame:
    """A window of the frame as a (HEIGHT, WIDTH, 3) picture, mirrored, turned a little and coloured by chance."""
    height, width = frame.image.shape[:2]
    # From the whole frame with a border down to a part in which hands are twice as large.
    zoom = min(WIDTH / width, HEIGHT / height) * np.exp(rng.uniform(np.log(0.7), np.log(2.0)))
    turn = np.radians(rng.normal(0, 6))
    place, target = np.array([width, height]) / 2, np.array([WIDTH, HEIGHT]) / 2
    if frame.counts.any() and rng.random() < 0.5:
        # One of the hands, anywhere in the picture.
        chosen = frame.boxes[rng.choice(np.flatnonzero(frame.counts))]
        place, target = (chosen[:2] + chosen[2:]) / 2, rng.uniform(0.1, 0.9, 2) * (WIDTH, HEIGHT)
    else:
        slack = np.maximum(zoom * np.array([width, height]) - (WIDTH, HEIGHT), 0) / 2 + 0.08 * WIDTH
        target = target + rng.uniform(-1, 1, 2) * slack
    return window(frame, zoom, turn, place, target, (WIDTH, HEIGHT), 0.02, rng)


def window(
    frame: Frame,
    zoom: float,
    turn: float,
    place: np.ndarray,
    target: np.ndarray,
    size: tuple[int, int],
    least_share: float,
    rng: np.random.Generator,
) -> Frame:
    """The frame enlarged by ``zoom``, turned by ``turn`` radians, with its point ``place`` (2,) at ``target`` (2,) of a picture of this
    width and height; mirrored and coloured by chance. Of a hand of which less than ``least_share`` is in the picture nothing is said."""
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([mirror, 1.0])
    affine = np.column_stack([linear, target - linear @ place])
    source = frame.image if zoom > 0.6 else cv2.GaussianBlur(frame.image, (0, 0), 0.4 / zoom)
    image = cv2.warpAffine(source, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    corners = np.stack(
        [frame.boxes[:, [0, 1]], frame.boxes[:, [2, 1]], frame.boxes[:, [0, 3]], frame.boxes[:, [2, 3]]], axis=1
    )
    corners = corners @ linear.T + affine[:, 2]
    whole = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes = np.clip(whole, 0, [*size, *size])
    share = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / np.maximum((whole[:, 2:] - whole[:, :2]).prod(axis=1), 1e-6)
    inside = share > least_share
    return Frame(
        _photographed(image, rng),
        boxes[inside],
        (frame.right ^ (mirror < 0))[inside],
        (frame.up @ (linear / zoom).T)[inside],
        (frame.counts & (share > 0.45) & ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) > 7))[inside],
    )


def _photographed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exposure, contrast, colour, blur, noise and compression by chance; now and then grey."""
    values = image.astype(np.float32)
    values = 255 * (values / 255) ** np.exp(rng.normal(0, 0.3))
    mean = values.mean()
    values = (values - mean) * np.exp(rng.normal(0, 0.2)) + mean + rng.normal(0, 12)
    values *= 1 + rng.normal(0, 0.08, 3).astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * (0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.4))
    if rng.random() < 0.25:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.6))
    values += rng.normal(0, rng.exponential(3.0), values.shape)
    image = np.clip(values, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])[1]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return image
