"""Rendered images of scenes with the labels that detectors learn from and are evaluated on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from ..datasets.labels import LabelledImage, Supervision
from ..geometry.camera import scale_affine
from .render import render
from .scene import Scene

MIN_BOX_FILL = 0.12
"""Fraction of a hand's box that its visible pixels must fill for the hand to count, neither as a hand nor as background
otherwise."""


def label_frame(scene: Scene, width: int, height: int) -> LabelledImage:
    """Renders the whole image of a scene at a size, with the masks of its hands and how much of their boxes they fill.

    Hands that fill less than ``MIN_BOX_FILL`` of their box are to be ignored.
    """
    scale = width / scene.camera.width, height / scene.camera.height
    rendered = render(scene, scale_affine(*scale), width, height)
    hands = []
    for hand, mask in zip(scene.hands, rendered.masks, strict=True):
        if hand.joints is None:
            raise ValueError("a scene's hands have joints")
        box = hand.box * np.array([*scale, *scale])
        fill = float(mask.sum() / max((box[2:] - box[:2]).prod(), 1))
        hands.append(
            replace(
                hand,
                box=box,
                keypoints=rendered.camera.project(hand.joints),
                load_mask=partial(np.asarray, mask),
                box_fill=fill,
                ignore=fill < MIN_BOX_FILL,
            )
        )
    return LabelledImage(
        f"frame {scene.index}",
        partial(np.asarray, rendered.image),
        rendered.camera,
        tuple(hands),
        frozenset(Supervision),
    )
