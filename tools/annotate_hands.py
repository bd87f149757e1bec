"""Annotates sides and keypoints of boxed hands in real images by eye (docs/evaluation.md).

    python tools/annotate_hands.py propose FOLDER proposals.jsonl     # landmarks of both networks in every box
    python tools/annotate_hands.py sides proposals.jsonl FOLDER OUT   # contact sheets with the proposed sides
    python tools/annotate_hands.py points proposals.jsonl FOLDER OUT  # contact sheets with both networks' keypoints
    python tools/annotate_hands.py accept proposals.jsonl decisions.txt

Look at every hand of the sheets and write a line for each into decisions.txt: its number, then "left" or "right" (its
anatomical side), "skip" (cannot be told), "ours", "mediapipe" or "mean" (whose keypoints lie right), and corrected
keypoints as "4=120.5,88" (pixels of the image) or hidden beyond guessing as "4=-". A line may have several of these.
"accept" adds them to this project's labels (``wildhands_ros/datasets/real_images/labels``).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

from wildhands_ros.config import AUTO
from wildhands_ros.datasets.real_images.own_labels import FOLDER as LABELS
from wildhands_ros.datasets.real_images.reader import read_boxed_images
from wildhands_ros.detection.landmarks import LandmarkDetector
from wildhands_ros.detection.network_landmarks import NetworkLandmarks
from wildhands_ros.evaluation.mediapipe_landmarks import MediaPipeLandmarks
from wildhands_ros.geometry.camera import Camera
from wildhands_ros.hand_model.asset import open_hands
from wildhands_ros.io.images import load_image
from wildhands_ros.network.network_file import DEFAULT_NAME, open_network
from wildhands_ros.runtime.predictor import Predictor

LEAST_PRESENCE = 0.01
OURS, MEDIAPIPE, MEAN = "ours", "mediapipe", "mean"
COLUMNS, ROWS = 6, 4
CONTEXT = {"sides": 2.2, "points": 1.35}
"""Side of a tile relative to the longer side of the box."""
TILE = {"sides": 200, "points": 330}
BONES = [(finger * 4 + joint, finger * 4 + joint + 1) for finger in range(5) for joint in (1, 2, 3)]
BONES += [(0, finger * 4 + 1) for finger in range(5)]
COLOURS = [(255, 160, 0), (80, 220, 0), (0, 200, 255), (60, 60, 255), (255, 60, 220)]
"""BGR colour of each finger, thumb first."""


def propose(folder: Path, out: Path, sources: list[str] | None, splits: list[str] | None, limit: int) -> None:
    """Writes a JSON line for every boxed hand of some sources and splits, at most ``limit`` of each, evenly spread."""
    network = open_network(DEFAULT_NAME)
    predictor = Predictor(network, network.config.preprocessing, open_hands(), "auto", AUTO, AUTO)
    detectors = {
        OURS: LandmarkDetector(NetworkLandmarks(predictor), LEAST_PRESENCE),
        MEDIAPIPE: LandmarkDetector(MediaPipeLandmarks(), LEAST_PRESENCE),
    }
    done = {entry["number"] for entry in read(out)} if out.exists() else set()
    hands: dict[str, list] = defaultdict(list)
    for image in read_boxed_images(folder).images:
        for hand in image.hands:
            hands[image.source].append((image, hand))
    number = 0
    with out.open("a") as file:
        for source, of_source in hands.items():
            allowed = [i for i, (image, _) in enumerate(of_source) if not splits or image.split in splits]
            if sources and source not in sources:
                allowed = []
            if len(allowed) > limit:
                allowed = [allowed[i] for i in np.linspace(0, len(allowed) - 1, limit).round().astype(int)]
            for i in allowed:
                image, hand = of_source[i]
                if number + i in done:
                    continue
                pixels = image.load()
                camera = Camera.guess(pixels.shape[1], pixels.shape[0])
                entry: dict = {"number": number + i, "source": image.source, "name": image.name}
                entry |= {"split": image.split, "path": str(image.path.relative_to(folder))}
                entry["bbox"] = [*hand.box[:2].tolist(), *(hand.box[2:] - hand.box[:2]).tolist()]
                for name, detector in detectors.items():
                    found = detector.detect_in_box(pixels, camera, hand.box)
                    if found is not None and found.keypoints is not None:
                        entry[name] = {
                            "keypoints": found.keypoints.round(2).tolist(),
                            "side": found.side.value if found.side else None,
                            "side_score": round(found.side_score, 3),
                            "presence": round(found.score, 3),
                        }
                file.write(json.dumps(entry) + "\n")
                file.flush()
            number += len(of_source)


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def draw_sheets(kind: str, entries: list[dict], folder: Path, out: Path) -> None:
    """Draws numbered contact sheets."""
    out.mkdir(parents=True, exist_ok=True)
    per_sheet = COLUMNS * ROWS if kind == "sides" else 4 * 3
    columns = COLUMNS if kind == "sides" else 4
    for start in range(0, len(entries), per_sheet):
        tiles = [draw_tile(kind, entry, folder) for entry in entries[start : start + per_sheet]]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
        cv2.imwrite(str(out / f"{start // per_sheet:03}.png"), np.vstack(rows))


def draw_tile(kind: str, entry: dict, folder: Path) -> np.ndarray:
    """Draws one hand; for keypoints, the plain crop is beside the one with both networks' keypoints."""
    image = load_image(folder / entry["path"])[..., ::-1]
    x, y, width, height = entry["bbox"]
    side, centre = CONTEXT[kind] * max(width, height), np.array([x + width / 2, y + height / 2])
    scale = TILE[kind] / side
    affine = np.hstack([scale * np.eye(2), (TILE[kind] / 2 - scale * centre)[:, None]])
    tile = cv2.warpAffine(np.ascontiguousarray(image), affine, (TILE[kind],) * 2, flags=cv2.INTER_AREA)
    corners = np.array([[x, y], [x + width, y + height]]) @ affine[:, :2].T + affine[:, 2]
    if kind == "sides":
        cv2.rectangle(tile, pixel(corners[0]), pixel(corners[1]), (0, 255, 0), 1)
    else:
        for name in (MEDIAPIPE, OURS):
            if name in entry:
                points = np.array(entry[name]["keypoints"]) @ affine[:, :2].T + affine[:, 2]
                draw_points(tile, points, thin=name == MEDIAPIPE)
    sides = "".join(str(entry.get(name, {}).get("side") or "?")[0].upper() for name in (OURS, MEDIAPIPE))
    label = f"{entry['number']} {sides}"
    cv2.putText(tile, label, (3, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 4)
    cv2.putText(tile, label, (3, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 255, 255), 1)
    cv2.rectangle(tile, (0, 0), (TILE[kind] - 1,) * 2, (255, 255, 255), 1)
    return tile


def pixel(point: np.ndarray) -> tuple[int, int]:
    x, y = point.round().astype(int).tolist()
    return x, y


def draw_points(tile: np.ndarray, points: np.ndarray, thin: bool) -> None:
    for a, b in BONES:
        colour = (255, 255, 255) if thin else COLOURS[(b - 1) // 4]
        cv2.line(tile, pixel(points[a]), pixel(points[b]), colour, 1, cv2.LINE_AA)
    for i, point in enumerate(points):
        colour = (255, 255, 255) if thin else (COLOURS[(i - 1) // 4] if i else (0, 0, 0))
        cv2.circle(tile, pixel(point), 2 if thin else 3, colour, -1, cv2.LINE_AA)


def accept(entries: list[dict], decisions: Path, labels: Path) -> None:
    """Adds decisions to the labels."""
    by_number = {entry["number"]: entry for entry in entries}
    sides, keypoints = (load_labels(labels / f"{name}.json") for name in ("sides", "keypoints"))
    for line in decisions.read_text().splitlines():
        words = line.split("#")[0].split()
        if not words or "skip" in words:
            continue
        entry = by_number[int(words[0])]
        bbox = [round(value, 1) for value in entry["bbox"]]
        points: np.ndarray | None = None
        for word in words[1:]:
            if word in ("left", "right"):
                of_image = sides[entry["source"]].setdefault(entry["name"], [])
                of_image[:] = [*(other for other in of_image if other[:4] != bbox), [*bbox, word]]
            elif word in (OURS, MEDIAPIPE):
                points = np.column_stack([entry[word]["keypoints"], np.ones(21)])
            elif word == MEAN:
                mean = np.mean([entry[name]["keypoints"] for name in (OURS, MEDIAPIPE)], axis=0)
                points = np.column_stack([mean, np.ones(21)])
            else:
                if points is None:
                    raise SystemExit(f"{decisions}: {line!r}: name whose keypoints to correct before {word!r}")
                index, value = word.split("=")
                points[int(index)] = (0, 0, 0) if value == "-" else (*map(float, value.split(",")), 1)
        if points is not None:
            hands = keypoints[entry["source"]].setdefault(entry["name"], [])
            rounded = [[round(float(x), 1), round(float(y), 1), int(known)] for x, y, known in points]
            hands[:] = [*(h for h in hands if h["bbox"] != bbox), {"bbox": bbox, "keypoints": rounded}]
    for name, content in (("sides", sides), ("keypoints", keypoints)):
        save_labels(labels / f"{name}.json", content)


def load_labels(file: Path) -> defaultdict:
    return defaultdict(dict, json.loads(file.read_text()) if file.exists() else {})


def save_labels(file: Path, content: dict) -> None:
    """Writes labels with one line for each image."""
    sources = []
    for source in sorted(content):
        images = ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(content[source][name])}" for name in sorted(content[source])
        )
        sources.append(f" {json.dumps(source)}: {{\n{images}\n }}")
    file.write_text("{\n" + ",\n".join(sources) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("propose", "sides", "points", "accept"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--labels", type=Path, default=LABELS, help="folder of the labels; default: the package's")
    parser.add_argument("--context", type=float, help="side of a tile relative to the longer side of the box")
    parser.add_argument("--sources", nargs="+", help="only these sources")
    parser.add_argument("--splits", nargs="+", help="only these splits")
    parser.add_argument("--limit", type=int, default=10**9, help="at most so many proposals for each source")
    args = parser.parse_args()
    if args.action == "propose":
        folder, out = args.paths
        propose(folder, out, args.sources, args.splits, args.limit)
        return
    entries = [
        entry
        for entry in read(args.paths[0])
        if (not args.sources or entry["source"] in args.sources) and (not args.splits or entry["split"] in args.splits)
    ]
    if args.action == "accept":
        accept(entries, args.paths[1], args.labels)
    else:
        CONTEXT[args.action] = args.context or CONTEXT[args.action]
        draw_sheets(args.action, entries, *args.paths[1:])


if __name__ == "__main__":
    main()
