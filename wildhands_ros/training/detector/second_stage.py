"""Training images of the second-stage detector: crops around hands and around the bundled detector's false
positives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import cv2
import numpy as np

from ...datasets.detector_frames import Frame, detector_frame
from ...detection.proposals import ProposalNet
from ...detection.windows import SECOND_STAGE_SIDE, whole
from ...geometry.boxes import box_iou
from ...network.network_file import DEFAULT_DETECTOR
from ...synthetic.config import WorldConfig
from ...synthetic.frames import make_frame
from ...synthetic.labelled_frames import label_frame
from .frames import window

SIDE = SECOND_STAGE_SIDE
"""Side of a training image in pixels."""
KEPT = 288
"""Side of a stored crop in pixels."""
SPAN = 3.0
"""Side of a stored crop over the longer side of the hand's box."""
_MIN_SCORE = 0.15
_NO_HAND = 0.3
"""IoU with every hand below which a proposal is a false positive."""
_SAME = 0.4
"""IoU with a better false positive above which a proposal counts as the same one."""
_MIN_SHOWN = 0.3
"""Fraction of a hand's box that an image must show; less, such as a finger from near, is not labelled as a hand."""
_MAX_HANDS, _MAX_MISTAKES = 3, 3
"""Crops per scene."""


def drawn(config: WorldConfig, indices: Iterator[int]) -> Iterator[Frame]:
    """Make (KEPT, KEPT, 3) crops of the scenes' hands, of the detector's false positives and, if there are neither, of
    a random place."""
    for index in indices:
        scene = make_frame(config, index)
        frame = detector_frame(label_frame(scene, scene.camera.width, scene.camera.height))
        rng = np.random.default_rng([config.seed, index, 2])
        hands = [frame.boxes[i] for i in rng.permutation(np.flatnonzero(frame.counts))[:_MAX_HANDS]]
        places = [*hands, *mistakes(frame.image, frame.boxes)[:_MAX_MISTAKES]]
        if not places:
            middle, half = (
                rng.uniform(0, 1, 2) * _size(frame),
                np.exp(rng.uniform(np.log(0.03), np.log(0.2))) * frame.image.shape[1],
            )
            places = [np.concatenate([middle - half, middle + half])]
        yield from (crop_around(frame, place) for place in places)


def augmented(frame: Frame, rng: np.random.Generator) -> Frame:
    """Make a (SIDE, SIDE, 3) training image of a stored crop, with random scale, shift, reflection, turn and
    colours."""
    zoom = SIDE / KEPT * SPAN / np.exp(rng.uniform(np.log(1.3), np.log(2.6)))
    target = SIDE / 2 + np.clip(rng.normal(0, 0.09, 2), -0.2, 0.2) * SIDE
    return window(
        frame, zoom, np.radians(rng.normal(0, 4)), np.full(2, KEPT / 2), target, (SIDE, SIDE), _MIN_SHOWN, rng
    )


def mistakes(image: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
    """Return the (4,) boxes of the bundled detector's false positives, the best first.

    Args:
        image: (H, W, 3) RGB uint8.
        boxes: (N, 4) boxes of all hands.
    """
    parts = whole(image.shape[1], image.shape[0])
    proposals = [proposal for part in parts for proposal in _detector()(image, part)]
    found: list[np.ndarray] = []
    for proposal in sorted(proposals, key=lambda proposal: -proposal.score):
        if proposal.score >= _MIN_SCORE and not (
            any(box_iou(proposal.box, box) > _NO_HAND for box in boxes)
            or any(box_iou(proposal.box, box) > _SAME for box in found)
        ):
            found.append(proposal.box)
    return found


def crop_around(frame: Frame, box: np.ndarray) -> Frame:
    """Cut a (KEPT, KEPT, 3) crop out of a frame, SPAN times as large as a (4,) box."""
    centre, scale = (box[:2] + box[2:]) / 2, KEPT / max(SPAN * (box[2:] - box[:2]).max(), 8.0)
    # Reduced by area averaging, like the detector's input.
    shrunk = min(scale, 1.0)
    image = cv2.resize(frame.image, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
    affine = np.column_stack([scale / shrunk * np.eye(2), KEPT / 2 - scale * centre])
    image = cv2.warpAffine(image, affine, (KEPT, KEPT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    boxes = (frame.boxes - np.tile(centre, 2)) * scale + KEPT / 2
    near = ((boxes[:, 2:] > 0) & (boxes[:, :2] < KEPT)).all(axis=1)
    return Frame(image, boxes[near], frame.right[near], frame.up[near], frame.counts[near])


def _size(frame: Frame) -> tuple[int, int]:
    return frame.image.shape[1], frame.image.shape[0]


@cache
def _detector() -> ProposalNet:
    return ProposalNet(DEFAULT_DETECTOR, _MIN_SCORE)
