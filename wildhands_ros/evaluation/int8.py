"""``wildhands quantize``: quantizes a network to int8 and measures the loss of accuracy."""

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
from ..io.files import kept_on_success
from ..io.progress import busy, with_progress
from ..network.crop_geometry import usable_boxes
from ..network.network_file import NetworkFile, open_network
from ..network.preprocessing import NetworkInput, preprocess
from ..runtime.int8 import quantize
from ..runtime.network import network_graphs
from ..runtime.predictor import Predictor
from .metrics import mpjpe
from .synthetic import world_images

MAX_LOSS = 2.0
"""Largest acceptable increase of the MPJPE, in percent."""


def quantize_checkpoint(checkpoint: str, count: int) -> int:
    """Quantize a checkpoint on ``count`` images of the synthetic world and measure it on as many others.

    Returns:
        The exit code: 1 if int8 costs too much accuracy; the quantized network is then deleted.

    Raises:
        ValueError: The network cannot be quantized.
        ImportError: A package is missing.
        OSError: A file cannot be read or written.
    """
    loaded = open_network(checkpoint)
    images = with_progress(_images("train", count), count, "image to quantize for")
    with busy("quantizing the network"):
        path = quantize(network_graphs(loaded), (_inputs(loaded, image) for image in images))
    with kept_on_success(path, path.with_suffix(".bin")):
        errors = {precision: _mpjpe_mm(checkpoint, precision, count) for precision in ("float32", "int8")}
    loss = 100 * (errors["int8"] / errors["float32"] - 1)
    print(f"MPJPE on synthetic images: float32 {errors['float32']:.2f} mm, int8 {errors['int8']:.2f} mm, {loss:+.2f} %")
    if not loss < MAX_LOSS:
        path.unlink()
        path.with_suffix(".bin").unlink()
        print(
            f"wildhands: int8 raises this network's MPJPE by more than {MAX_LOSS:g} %, so it was deleted; "
            "use bfloat16 or float32",
            file=sys.stderr,
        )
        return 1
    print(f"wrote {path}; --precision int8 uses it with these weights")
    return 0


def _images(split: str, count: int) -> Iterator[LabelledImage]:
    """Yield the images whose hands have a visible wrist and middle knuckle, with these hands only."""
    for image in world_images("lab", split, 0, count):
        hands = tuple(
            hand
            for hand in image.hands
            if not hand.ignore and np.isfinite(hand_turn(_keypoints(hand))) and _usable(image, hand)
        )
        if hands:
            yield replace(image, hands=hands)


def _keypoints(hand: LabelledHand) -> np.ndarray:
    assert hand.keypoints is not None  # the synthetic world knows everything
    return hand.keypoints


def _usable(image: LabelledImage, hand: LabelledHand) -> bool:
    return bool(usable_boxes(image.camera.undistorted(), hand.box[None])[0])


def _views(loaded: NetworkFile, image: LabelledImage) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the boxes (N, 4) and, for a network with upright crops, the turns (N,) from the ground truth."""
    if not loaded.config.upright:
        return np.stack([hand.box for hand in image.hands]), None
    turns = np.array([hand_turn(_keypoints(hand)) for hand in image.hands])
    return np.stack(
        [rotated_square(_keypoints(hand), turn) for hand, turn in zip(image.hands, turns, strict=True)]
    ), turns


def _inputs(loaded: NetworkFile, image: LabelledImage) -> NetworkInput:
    # Distortion is ignored: it hardly changes the range of the activations.
    boxes, turns = _views(loaded, image)
    return preprocess(
        image.load_image(), image.camera.undistorted(), boxes, loaded.config, loaded.config.preprocessing, turns
    )


def _mpjpe_mm(checkpoint: str, precision: str, count: int) -> float:
    loaded = open_network(checkpoint)
    assets = loaded.hand_model or open_hands()
    poser = HandPoser(assets)
    predictor = Predictor(
        loaded, loaded.config.preprocessing, assets, device="cpu", runtime="openvino", precision=precision
    )
    errors = []
    for image in with_progress(_images("test", count), count, f"image to measure {precision} on"):
        boxes, turns = _views(loaded, image)
        sides = [hand.side for hand in image.hands if hand.side is not None]
        predictions = predictor.predict(image.load_image(), image.camera, boxes, sides, turns)
        for prediction, hand in zip(predictions, image.hands, strict=True):
            if prediction is not None and hand.joints is not None:
                joints = poser(prediction.mano, prediction.side).joints
                errors.append(1000 * mpjpe(joints.astype(np.float64), hand.joints))
    return float(np.mean(errors))
