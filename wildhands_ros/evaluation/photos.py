"""Annotated photographs as a suite: each annotated hand is a sample of its own."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..datasets.coco_hands import AnnotatedHand
from ..io.images import InputError, load_image
from .pictures import TrueHand, TruePicture


def picture_of(hand: AnnotatedHand) -> TruePicture:
    """The photograph, with this hand alone."""
    truth = TrueHand(
        box=hand.box,
        side=hand.side,
        keypoints=np.where(hand.visible[:, None], hand.keypoints, np.nan),
        joints=hand.joints,
    )
    return TruePicture(str(hand.image), partial(_load, hand), hand.camera, (truth,), hand.camera_is_known)


def _load(hand: AnnotatedHand) -> np.ndarray:
    image = load_image(hand.image)
    size, annotated = image.shape[1::-1], (hand.camera.width, hand.camera.height)
    if size != annotated:
        raise InputError(f"the image is {size[0]}x{size[1]}, but its annotations are for {annotated[0]}x{annotated[1]}")
    return image
