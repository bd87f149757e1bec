#!/usr/bin/env python3
"""Draws the visibility of the joints of 50 annotated hands in real images, and compares it with labels made by eye.

The hands are chosen evenly from each source. The estimator gets their boxes. Joints that are probably seen (over 0.5)
are green, others red; each hand has its number and source below. The labels were made by looking at these drawings and
noting each joint with the wrong colour; hands whose estimate lies beside the hand have none.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from wildhands_ros.config import EstimatorConfig
from wildhands_ros.datasets.real_images.reader import BoxedImage, read_boxed_images
from wildhands_ros.estimator import Estimator
from wildhands_ros.geometry.boxes import box_iou
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.types import Detection, FrameEstimate, HandEstimate

LABELS = Path(__file__).parent.parent / "test" / "data" / "visibility_by_eye.json"
COUNTS = {
    "egohands": 16,
    "hands_dguzk": 12,
    "lebanese_gestures": 8,
    "intel_videos": 6,
    "hand_tools": 6,
    "nvidia_table": 2,
}
TILE, COLUMNS, ROWS = 440, 4, 2
MARGIN = 0.35
"""Of the box, around it."""
SEEN, HIDDEN = (60, 220, 60), (230, 40, 40)
BONES = [(start, start + 1) for start in range(1, 20) if start % 4] + [(0, knuckle) for knuckle in (1, 5, 9, 13, 17)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="real_images")
    parser.add_argument("output", type=Path, help="folder for the drawings")
    parser.add_argument("--without-head", action="store_true", help="visibility by the meshes alone")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    estimator = Estimator(EstimatorConfig(detector="topic"))
    labels = {(each["source"], each["image"], *each["box"]): each["seen"] for each in json.loads(LABELS.read_text())}
    tiles, compared = [], []
    for number, (image, box) in enumerate(chosen(read_boxed_images(args.folder).images), start=1):
        pixels = image.load()
        camera = Camera.for_image(pixels)
        frame = estimator(pixels, camera, detections=[Detection(box)])
        if args.without_head:
            frame = replace(frame, hands=tuple(replace(hand, seen=None) for hand in frame.hands))
        tiles.append(drawn(pixels, box, frame, f"{number} {image.source}"))
        seen = labels.get((image.source, image.name, *np.round(box, 1).tolist()))
        if seen is not None and frame.hands:
            compared.append((image.source, np.array(seen, bool), of_hand_at(frame, box)[1]))
    per_sheet = COLUMNS * ROWS
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % per_sheet)
    for start in range(0, len(tiles), per_sheet):
        rows = [np.hstack(tiles[row : row + COLUMNS]) for row in range(start, start + per_sheet, COLUMNS)]
        cv2.imwrite(str(args.output / f"hands_{start // per_sheet + 1}.png"), np.vstack(rows)[..., ::-1])
    for source in (*COUNTS, ""):
        labelled = [each[1:] for each in compared if source in ("", each[0])]
        if labelled:
            seen, probability = (np.stack(column) for column in zip(*labelled, strict=True))
            hidden, wrong_seen = (seen & (probability <= 0.5)).sum(), (~seen & (probability > 0.5)).sum()
            print(
                f"{source or 'all'}: {len(labelled)} hands, {hidden} joints wrongly called hidden, {wrong_seen} "
                f"wrongly called seen, Brier score {((probability - seen) ** 2).mean():.3f}"
            )


def chosen(images: list[BoxedImage]) -> list[tuple[BoxedImage, np.ndarray]]:
    """Returns the hands of each source, evenly spread over it."""
    found = []
    for source, count in COUNTS.items():
        hands = [(image, hand.box) for image in images if image.source == source for hand in image.hands]
        found += [hands[(2 * i + 1) * len(hands) // (2 * count)] for i in range(min(count, len(hands)))]
    return found


def of_hand_at(frame: FrameEstimate, box: np.ndarray) -> tuple[HandEstimate, np.ndarray]:
    """Returns the estimate of the hand in a box and the visibility of its joints."""
    hands = zip(frame.hands, frame.visibility, strict=True)
    return max(hands, key=lambda each: box_iou(each[0].box, box))


def drawn(pixels: np.ndarray, box: np.ndarray, frame: FrameEstimate, text: str) -> np.ndarray:
    """Returns the hand in a square tile with its joints; without joints if there is no estimate."""
    half = (0.5 + MARGIN) * max(box[2:] - box[:2])
    scale = TILE / (2 * half)
    corner = (box[:2] + box[2:]) / 2 - half
    tile = cv2.warpAffine(
        pixels, np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]]), (TILE, TILE),
        flags=cv2.INTER_CUBIC,
    )  # fmt: skip
    if not frame.hands:
        text += ": no estimate"
    else:
        hand, visibility = of_hand_at(frame, box)
        points = np.round(scale * (np.nan_to_num(hand.joints_2d) - corner)).astype(int)
        for start, end in BONES:
            cv2.line(tile, points[start].tolist(), points[end].tolist(), (255, 255, 255), 1, cv2.LINE_AA)
        for point, probability in zip(points.tolist(), visibility, strict=True):
            cv2.circle(tile, point, 6, (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(tile, point, 5, SEEN if probability > 0.5 else HIDDEN, -1, cv2.LINE_AA)
    cv2.putText(tile, text, (6, TILE - 8), 0, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, text, (6, TILE - 8), 0, 0.5, (255, 255, 0), 1, cv2.LINE_AA)
    return tile


if __name__ == "__main__":
    main()
