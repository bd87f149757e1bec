"""Writes which scenes of real images are for training, validation and test (docs/evaluation.md).

    python tools/split_real_images.py ../shared/real_images

Scenes with near-duplicate images, within a source or across sources, come into the same split. Sources in
``evaluate_only`` are not listed: they are always for the test.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from wildhands_ros.datasets.real_images.own_labels import FOLDER, OwnLabels
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.datasets.real_images.split import (
    SPLITS,
    SceneSize,
    difference_hash,
    divide,
    merged,
    near_duplicates,
    place_and_people,
    scene_key,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=FOLDER / "split.json")
    args = parser.parse_args()
    # Corrections of boxes that are made later must not change the split.
    read = read_boxed_images(args.folder, labels=OwnLabels(None)).images
    images = [image for image in read if not image.evaluate_only]
    keys = [(image.source, scene_key(image.source, image.scene, image.name)) for image in images]
    hashes = np.stack([difference_hash(image.load()) for image in images])
    pairs = [(keys[i], keys[j]) for i, j in near_duplicates(hashes) if keys[i] != keys[j]]
    print(f"{len(pairs)} pairs of near-duplicates across scenes")
    for (first, second), count in Counter((a[0], b[0]) for a, b in pairs).items():
        print(f"  {first} and {second}: {count}")
    same_place: dict[tuple[str, str], tuple[str, str]] = {}
    for source, scene in dict.fromkeys(keys):
        place = (source, place_and_people(source, scene))
        pairs.append(((source, scene), same_place.setdefault(place, (source, scene))))
    groups = merged(list(dict.fromkeys(keys)), pairs)

    sizes: dict[str, dict] = defaultdict(dict)
    for image, key in zip(images, keys, strict=True):
        group = groups[key]
        size = SceneSize(1, len(image.hands), int(image.hand_free is True))
        sizes[group[0]][group] = sizes[group[0]].get(group, SceneSize()) + size
    assigned: dict = {}
    total = dict.fromkeys(SPLITS, SceneSize())
    # Sources of a single group come last: they balance the others.
    for source in sorted(sizes, key=lambda name: (len(sizes[name]) == 1, name)):
        for group, split in divide(source, sizes[source], total).items():
            assigned[group] = split
            total[split] = total[split] + sizes[source][group]
    result: dict[str, dict[str, str]] = defaultdict(dict)
    for source, scene in sorted(set(keys)):
        result[source][scene] = assigned[groups[source, scene]]
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    for source in sorted(result):
        of_split: dict[str, SceneSize] = defaultdict(SceneSize)
        for image, key in zip(images, keys, strict=True):
            if image.source == source:
                of_split[result[source][key[1]]] += SceneSize(1, len(image.hands), int(image.hand_free is True))
        print(source, {split: of_split[split] for split in SPLITS})
    print("all", total)


if __name__ == "__main__":
    main()
