"""Images in which the box of every hand is known, for the evaluation of detectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..datasets.coco_hands import AnnotationError, annotation_errors
from ..datasets.labels import LabelledHand, LabelledImage
from ..geometry.camera import Camera
from ..io.images import load_image
from ..io.sources import VideoSource
from ..types import Side


@dataclass(frozen=True, eq=False)
class BoxedVideo:
    """A video with annotated frames."""

    path: Path
    hands: dict[int, tuple[LabelledHand, ...]]
    """The hands of each annotated frame, by frame number."""


class BoxedFolder:
    """A folder of photographs and videos with COCO-style annotations.

    Each hand has a ``bbox``, a ``hand_type`` ("left" or "right") and ``iscrowd`` (1 if it does not count). An image
    with a ``frame`` entry is that frame of a video.

    Args:
        folder: The folder.
        boxes: The JSON file; None for those in the folder.

    Raises:
        AnnotationError: There is no JSON file, or it is not of this kind.
    """

    def __init__(self, folder: Path, boxes: Path | None = None):
        files = [boxes] if boxes else sorted(folder.glob("*.json"))
        if not files:
            raise AnnotationError(
                f"{folder}: there is no .json file with the boxes of the hands in this folder; name one with --boxes"
            )
        self._images: dict[Path, tuple[LabelledHand, ...]] = {}
        videos: dict[Path, dict[int, tuple[LabelledHand, ...]]] = {}
        for file in files:
            for path, frame, hands in _read(file, folder):
                if frame is None:
                    self._images[path] = hands
                else:
                    videos.setdefault(path, {})[frame] = hands
        self.videos = [BoxedVideo(path, hands) for path, hands in videos.items()]

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Iterate over the photographs. Raises ValueError or OSError if one cannot be read."""
        for path, hands in self._images.items():
            image = load_image(path)
            camera = Camera.guess(image.shape[1], image.shape[0])
            yield LabelledImage(path.name, partial(np.asarray, image), camera, hands, camera_is_known=False)


def frames_of(video: BoxedVideo) -> Iterator[tuple[np.ndarray, float, tuple[LabelledHand, ...] | None]]:
    """Yield every frame of a video with its stamp in seconds and, if it is annotated, its hands."""
    for number, frame in enumerate(VideoSource(video.path)):
        assert frame.stamp is not None  # only still images have none
        yield frame.image, frame.stamp, video.hands.get(number)


def world_frames(count: int, seed: int) -> Iterator[LabelledImage]:
    """Yield the first ``count`` full frames of the synthetic world's test split; hands that are hardly visible do not
    count."""
    from ..synthetic.config import world_config
    from ..synthetic.frames import make_frame
    from ..training.detector.frames import label_frame

    config = world_config("frames", "test", seed)
    for index in range(count):
        scene = make_frame(config, index)
        yield label_frame(scene, scene.camera.width, scene.camera.height)


def _read(file: Path, folder: Path) -> list[tuple[Path, int | None, tuple[LabelledHand, ...]]]:
    with annotation_errors(file, "boxes of hands"):
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
