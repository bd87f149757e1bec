#!/usr/bin/env python3
"""Measures how good self-training labels are, on photographs whose hands have boxes.

    python tools/measure_self_labels.py ../shared/real_images --split validation --limit 8

Prints, by source and for all images, how many hands ``wildhands self-label`` would label, how many of the labels are
wrong (no hand at IoU 0.5; 0.3 for boxes that were drawn by eye), and how many it would mark as doubtful.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from wildhands_ros.datasets.real_images.reader import BoxedImage, read_boxed_images
from wildhands_ros.datasets.real_images.self_labels import SelfLabel, SelfLabeller
from wildhands_ros.geometry.boxes import box_iou


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--limit", type=int, default=8, help="images of each source (default: 8)")
    args = parser.parse_args()
    of_source: dict[str, list[BoxedImage]] = defaultdict(list)
    for image in read_boxed_images(args.folder, split=args.split).images:
        if image.hands_boxed and image.hands_complete and image.frame is None and not image.evaluate_only:
            of_source[image.source].append(image)
    labeller = SelfLabeller()
    counts: dict[str, Counter[str]] = {}
    for source, images in sorted(of_source.items()):
        counts[source] = Counter()
        for image in images[:: max(1, len(images) // args.limit)][: args.limit]:
            counts[source] += count(labeller(image.load()), image)
    counts["all"] = sum(counts.values(), Counter())
    for source, found in counts.items():
        print(
            f"{source}: {found['images']} images, {found['hands']} hands: {found['right']} labelled, {found['wrong']} "
            f"wrong labels, {found['doubtful']} doubtful; sides {found['sides_right']} of {found['sides']} right"
        )


def count(labels: Sequence[SelfLabel], image: BoxedImage) -> Counter[str]:
    """Compare the labels of an image with its boxes."""
    found = Counter(images=1, hands=sum(not hand.ignore for hand in image.hands))
    rest = list(image.hands)
    for label in sorted(labels, key=lambda label: (label.doubtful, -label.score)):
        best = max(rest, key=lambda hand: box_iou(label.box, hand.box), default=None)
        if label.doubtful:
            found["doubtful"] += 1
        elif best is None or box_iou(label.box, best.box) < (0.3 if image.approximate else 0.5):
            found["wrong"] += 1
        else:
            rest = [hand for hand in rest if hand is not best]
            found["right"] += not best.ignore
            if label.side is not None and best.side is not None:
                found["sides"] += 1
                found["sides_right"] += label.side is best.side
    return found


if __name__ == "__main__":
    main()
