"""Annotated photographs as a suite: each annotated hand is a sample of its own."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..io.coco_hands import AnnotatedHand
from ..io.images import read_image
from .pictures import TrueHand, TruePicture


def picture_of(hand: AnnotatedHand) -> TruePicture:
    """The photograph, with this hand alone."""
    truth = TrueHand(box=hand.box, side=hand.side, keypoints=np.where(hand.visible[:, None], hand.keypoints, np.nan), joints=hand.joints)
    return TruePicture(str(hand.image), partial(read_image, hand.image), hand.camera, (truth,), hand.camera_is_known)
