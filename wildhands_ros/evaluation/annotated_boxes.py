"""Pictures in which every hand is known by its box: for detectors, which whole pictures decide, not single hands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..datasets.coco_hands import AnnotationError
from ..datasets.labels import LabelledHand, LabelledImage
from ..geometry.camera import Camera
from ..io.images import load_image
from ..io.sources import VideoSource
from ..types import Side


@dataclass(frozen=True, eq=False)
class BoxedVideo:
    path: Path
    hands: dict[int, tuple[LabelledHand, ...]]
    """By the number of the frame, of those that are annotated."""


class BoxedFolder:
    """A folder of photographs with COCO-style json: ``bbox``, ``hand_type`` ("left", "right") and ``iscrowd`` (1: does not count) of every
    hand. An image with a ``frame`` is that frame of a video. ``boxes``: the json; None for those in the folder.

    :raises AnnotationError: no json, or not of this kind.
    """

    def __init__(self, folder: Path, boxes: Path | None = None):
        files = [boxes] if boxes else sorted(folder.glob("*.json"))
        if not files:
            raise AnnotationError(
                f"{folder}: no .json file with the boxes of the hands in this folder; name one with --boxes"
            )
        self._pictures: dict[Path, tuple[LabelledHand, ...]] = {}
        videos: dict[Path, dict[int, tuple[LabelledHand, ...]]] = {}
        for file in files:
            for path, frame, hands in _read(file, folder):
                if frame is None:
                    self._pictures[path] = hands
                else:
                    videos.setdefault(path, {})[frame] = hands
        self.videos = [BoxedVideo(path, hands) for path, hands in videos.items()]

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[LabelledImage]:
        """The photographs. Raises ValueError or OSError for one that cannot be read."""
        for path, hands in self._pictures.items():
            image = load_image(path)
            camera = Camera.guess(image.shape[1], image.shape[0])
            yield LabelledImage(path.name, partial(np.asarray, image), camera, hands, camera_is_known=False)


def frames_of(video: BoxedVideo) -> Iterator[tuple[np.ndarray, float, tuple[LabelledHand, ...] | None]]:
    """Every frame with its stamp, and its hands where they are annotated."""
    for number, frame in enumerate(VideoSource(video.path)):
        yield frame.image, frame.stamp, video.hands.get(number)


def world_frames(count: int, seed: int) -> Iterator[LabelledImage]:
    """The first ``count`` whole frames of the synthetic world's test split.

    A hand of which hardly anything is seen does not count.
    """
    from ..synthetic.config import world_config
    from ..synthetic.frames import make_frame
    from ..training.detector.frames import label_frame

    config = world_config("frames", "test", seed)
    for index in range(count):
        scene = make_frame(config, index)
        yield label_frame(scene, scene.camera.width, scene.camera.height)


def _read(file: Path, folder: Path) -> list[tuple[Path, int | None, tuple[LabelledHand, ...]]]:
    try:
        content = json.loads(file.read_text())
        of_image: dict[object, list[LabelledHand]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            x, y, width, height = map(float, annotation["bbox"])
            side = Side(annotation["hand_type"]) if annotation.get("hand_type") in ("left", "right") else None
            of_image[annotation["image_id"]].append(
                LabelledHand(np.array([x, y, x + width, y + height]), side, ignore=bool(annotation.get("iscrowd")))
            )
        return [
            (folder / image["file_name"], image.get("frame"), tuple(of_image[image["id"]]))
            for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{file}: not COCO-style boxes of hands ({type(error).__name__}: {error})") from error
