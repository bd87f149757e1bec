"""The estimator over a whole recording: deterministic, and resumable after an interruption with the same result to the last bit.

The estimator remembers earlier frames, so a run that is resumed must forget as much as one that was not: the recording is estimated in
segments, each begun with a fresh estimator a few frames early. Tracks are joined over the segments' borders by those frames.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ..estimator import Estimator
from ..geometry.calibration import IntrinsicsSource
from ..geometry.camera import Camera
from ..hand_model.posing import flat_layer, pose_hands
from ..io.files import OutputFile
from ..smoothing.hands import posed
from ..structures import FrameEstimate
from .segments import Annotated, load, save
from .smoothing import smooth_track

SEGMENT = 300
"""Frames; what is lost at most when the work is interrupted."""
WARM_UP = 20
"""Frames before a segment that its estimator has seen, too."""
SAME_HAND = 0.1
"""Metres between the wrists of one hand in two estimates of the same frame."""


@dataclass(frozen=True)
class StreamFrame:
    """One picture of a recording."""

    index: int
    """From 0; pictures that cannot be decoded have a number as well."""
    stamp: float
    """Seconds."""
    image: np.ndarray
    """(H, W, 3) RGB uint8."""
    camera: Camera
    origin: IntrinsicsSource


class Stream(Protocol):
    """The pictures of one camera of a recording."""

    count: int | None
    """How many to expect."""

    def frames(self, start: int) -> Iterator[StreamFrame]:
        """Those from number ``start`` on."""
        ...


class Annotation:
    """The estimates of one recording, in a folder of their own until they are done with."""

    def __init__(self, folder: Path, inputs: dict):
        """Goes on with what ``folder`` holds, if it was made from the same ``inputs`` (any JSON); otherwise starts anew.

        :raises OSError: the folder cannot be written.
        """
        self._folder = folder
        key = folder / "inputs.json"
        text = json.dumps({**inputs, "segment": [SEGMENT, WARM_UP]}, sort_keys=True)
        if not key.is_file() or key.read_text() != text:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with OutputFile(key) as partial:
                partial.write_text(text)
        self.done = 0
        """Segments that are complete."""
        while self._segment(self.done).is_file():
            self.done += 1
        self.resumed_at = self.done * SEGMENT
        """The first frame to estimate."""

    def run(self, stream: Stream, estimator: Estimator, progress: Callable[[], None]) -> None:
        """Estimates what is missing; calls ``progress`` after each frame."""
        if self._finished.is_file():
            return
        start = self.done * SEGMENT
        recent: deque[StreamFrame] = deque(maxlen=WARM_UP)
        frames: list[Annotated] = []
        fresh = False
        for frame in stream.frames(max(start - WARM_UP, 0)):
            if frame.index < start:
                recent.append(frame)
                continue
            while frame.index >= (self.done + 1) * SEGMENT:
                self._complete(frames)
                frames, fresh = [], False
            if not fresh:
                frames, fresh = self._warm_up(estimator, recent), True
            frames.append(_estimate(estimator, frame))
            recent.append(frame)
            progress()
        if frames:
            self._complete(frames)
        with OutputFile(self._finished) as partial:
            partial.write_text("")

    def frames(self, estimator: Estimator, smooth: bool) -> Iterator[Annotated]:
        """All estimates in order, tracks joined, with meshes, and ``smooth``ed where asked for."""
        layer = flat_layer(estimator.hand_model)
        for frame in _smoothed(list(self._joined())) if smooth else self._joined():
            yield replace(frame, estimate=_posed(layer, frame.estimate))

    def remove(self) -> None:
        """Frees the disk."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _finished(self) -> Path:
        return self._folder / "finished"

    def _segment(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"

    def _complete(self, frames: list[Annotated]) -> None:
        save(self._segment(self.done), frames)
        self.done += 1

    def _warm_up(self, estimator: Estimator, recent: deque[StreamFrame]) -> list[Annotated]:
        """A fresh estimator that has seen the frames before; returns its estimate of the last of them."""
        estimator.reset()
        return [_estimate(estimator, frame) for frame in recent][-1:]

    def _joined(self) -> Iterator[Annotated]:
        before: Annotated | None = None
        used = 0
        for number in range(self.done):
            frames = load(self._segment(number))
            names: dict[str, str] = {}
            if before is not None and frames and frames[0].index == before.index:
                names = _same_tracks(before, frames[0])
                frames = frames[1:]
            for frame in frames:
                hands = []
                for hand in frame.estimate.hands:
                    if hand.track_id and hand.track_id not in names:
                        used += 1
                        names[hand.track_id] = f"{hand.side.value}_{used}"
                    hands.append(replace(hand, track_id=names.get(hand.track_id, "")))
                before = replace(frame, estimate=replace(frame.estimate, hands=tuple(hands)))
                yield before


def _estimate(estimator: Estimator, frame: StreamFrame) -> Annotated:
    return Annotated(frame.index, frame.stamp, frame.origin, estimator(frame.image, frame.camera, frame.stamp))


def _same_tracks(before: Annotated, again: Annotated) -> dict[str, str]:
    """Names of the earlier segment's tracks for the later one's, from the two estimates of one frame."""
    names = {}
    for hand in again.estimate.hands:
        candidates = [other for other in before.estimate.hands if other.side is hand.side and other.track_id not in names.values()]
        distances = [float(np.linalg.norm(other.joints[0] - hand.joints[0])) for other in candidates]
        if distances and min(distances) < SAME_HAND and hand.track_id:
            names[hand.track_id] = candidates[int(np.argmin(distances))].track_id
    return names


def _smoothed(frames: list[Annotated]) -> list[Annotated]:
    tracks: dict[str, list[tuple[int, int]]] = {}
    for number, frame in enumerate(frames):
        for place, hand in enumerate(frame.estimate.hands):
            if hand.track_id:
                tracks.setdefault(hand.track_id, []).append((number, place))
    hands = [list(frame.estimate.hands) for frame in frames]
    for places in tracks.values():
        stamps = np.array([frames[number].stamp for number, _ in places])
        for (number, place), mano in zip(places, smooth_track(stamps, [hands[n][p].mano for n, p in places]), strict=True):
            # NaN: to be measured anew.
            hands[number][place] = replace(hands[number][place], mano=mano, reprojection_error=float("nan"))
    return [replace(frame, estimate=replace(frame.estimate, hands=tuple(each))) for frame, each in zip(frames, hands, strict=True)]


def _posed(layer, estimate: FrameEstimate) -> FrameEstimate:
    """With vertices, joints and what follows from them, as the parameters say."""
    if not estimate.hands:
        return estimate
    all_vertices, all_joints = pose_hands(layer, [hand.mano for hand in estimate.hands], [hand.side for hand in estimate.hands])
    hands = []
    for hand, vertices, joints in zip(estimate.hands, all_vertices, all_joints, strict=True):
        now = posed(hand, hand.mano, vertices, joints, estimate.camera)
        hands.append(now if np.isnan(hand.reprojection_error) else replace(now, reprojection_error=hand.reprojection_error))
    return replace(estimate, hands=tuple(hands))
