"""`wildhands quantize`: a network's int8 form, and what it costs in accuracy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..datasets.labels import LabelledHand, LabelledImage
from ..detection.landmarks import hand_turn
from ..geometry.boxes import rotated_square
from ..hand_model.asset import open_hands
from ..hand_model.posing import HandPoser
from ..network.checkpoint import LoadedModel, load_model
from ..network.crop_geometry import usable_boxes
from ..network.preprocessing import NetworkInput, preprocess
from ..runtime.int8 import quantize
from ..runtime.predictor import Predictor
from .metrics import mpjpe
from .synthetic import world_pictures

WORST_LOSS = 2.0
"""Percent of the MPJPE that int8 may cost."""


def quantize_checkpoint(checkpoint: str, count: int) -> int:
    """Quantizes for ``count`` pictures of the synthetic world and measures as many others. Returns the exit code: 1 where int8 costs too
    much, and is not kept.

    :raises ValueError, ImportError, OSError: it cannot be quantized; the message says what to do.
    """
    loaded = load_model(checkpoint)
    path = quantize(loaded.model, (_inputs(loaded, picture) for picture in _pictures("train", count)))
    errors = {precision: _mpjpe_mm(checkpoint, precision, count) for precision in ("float32", "int8")}
    loss = 100 * (errors["int8"] / errors["float32"] - 1)
    print(f"MPJPE on renders: float32 {errors['float32']:.2f} mm, int8 {errors['int8']:.2f} mm, {loss:+.2f} %")
    if not loss < WORST_LOSS:
        path.unlink()
        path.with_suffix(".bin").unlink()
        print(
            f"wildhands: int8 costs this network more than {WORST_LOSS:g} % and was not kept: use bfloat16",
            file=sys.stderr,
        )
        return 1
    print(f"wrote {path}: precision int8 uses it for these weights")
    return 0


def _pictures(split: str, count: int) -> Iterator[LabelledImage]:
    """Those with hands of which the wrist and the middle finger's base are known."""
    for picture in world_pictures("lab", split, 0, count):
        hands = tuple(
            hand
            for hand in picture.hands
            if not hand.ignore and np.isfinite(hand_turn(hand.keypoints)) and _usable(picture, hand)
        )
        if hands:
            yield replace(picture, hands=hands)


def _usable(picture: LabelledImage, hand: LabelledHand) -> bool:
    return bool(usable_boxes(picture.camera.undistorted(), hand.box[None])[0])


def _views(loaded: LoadedModel, picture: LabelledImage) -> tuple[np.ndarray, np.ndarray | None]:
    """Boxes (N, 4) and turns (N,) from the truth, as the network wants its crops."""
    if not loaded.model.config.upright:
        return np.stack([hand.box for hand in picture.hands]), None
    turns = np.array([hand_turn(hand.keypoints) for hand in picture.hands])
    return np.stack(
        [rotated_square(hand.keypoints, turn) for hand, turn in zip(picture.hands, turns, strict=True)]
    ), turns


def _inputs(loaded: LoadedModel, picture: LabelledImage) -> NetworkInput:
    # A lens bends the picture too little to matter for the range of the values in it.
    boxes, turns = _views(loaded, picture)
    return preprocess(
        picture.load_image(), picture.camera.undistorted(), boxes, loaded.model.config, loaded.preprocessing, turns
    )


def _mpjpe_mm(checkpoint: str, precision: str, count: int) -> float:
    loaded = load_model(checkpoint)
    assets = loaded.assets or open_hands()
    poser = HandPoser(assets)
    predictor = Predictor(
        loaded.model, loaded.preprocessing, assets, device="cpu", runtime="openvino", precision=precision
    )
    errors = []
    for picture in _pictures("test", count):
        boxes, turns = _views(loaded, picture)
        sides = [hand.side for hand in picture.hands]
        predictions = predictor.predict(picture.load_image(), picture.camera, boxes, sides, turns)
        for prediction, hand in zip(predictions, picture.hands, strict=True):
            if prediction is not None:
                joints = poser(prediction.mano, hand.side).joints
                errors.append(1000 * mpjpe(joints.astype(np.float64), hand.joints))
    return float(np.mean(errors))
