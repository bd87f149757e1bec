"""Images in which the box of every hand is known, for the evaluation of detectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..datasets.labels import LabelledHand, LabelledImage
from ..datasets.real_images.reader import BoxedImage
from ..io.sources import VideoSource


@dataclass(frozen=True, eq=False)
class BoxedVideo:
    """A video with annotated frames."""

    path: Path
    hands: dict[int, tuple[LabelledHand, ...]]
    """The hands of each annotated frame, by frame number."""


def boxed_videos(images: Iterable[BoxedImage]) -> list[BoxedVideo]:
    """Return the videos among images, each with its annotated frames."""
    videos: dict[Path, dict[int, tuple[LabelledHand, ...]]] = {}
    for image in images:
        if image.frame is not None:
            videos.setdefault(image.path, {})[image.frame] = image.hands
    return [BoxedVideo(path, hands) for path, hands in videos.items()]


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
    from ..synthetic.labelled_frames import label_frame

    config = world_config("frames", "test", seed)
    for index in range(count):
        scene = make_frame(config, index)
        yield label_frame(scene, scene.camera.width, scene.camera.height)
