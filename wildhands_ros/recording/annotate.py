"""The estimator over a whole recording, on as many processes as there are: deterministic, and resumable after an interruption with the same
result to the last bit. Tracks are joined over the borders of the segments, by the frames with which each of them was warmed up.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..config import EstimatorConfig
from ..hand_model.asset import HandAsset
from ..hand_model.posing import HandPoser
from ..io.files import OutputFile
from ..runtime.processes import Workers
from ..smoothing.hands import with_parameters
from ..types import FrameEstimate, Side
from .jpegs import load_jpegs
from .recording_part import OpenStream, Part, estimate_part, jpegs_path, segment_path
from .segments import Annotated, load, load_problems
from .smoothing import smooth_track

SEGMENT = 225
"""Frames; what each process loses at most when the work is interrupted. Few enough that two processes share 30 seconds evenly."""
WARM_UP = 10
"""Frames before a segment that its estimator has seen, too: the evidence for a side needs about so many; a hand's shape goes on settling
for seconds."""
SAME_HAND = 0.1
"""Metres between the wrists of one hand in two estimates of the same frame."""


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
            with OutputFile(key) as partial_file:
                partial_file.write_text(text)

    def done(self, count: int | None) -> int:
        """Frames of complete segments, of ``count`` (an estimate)."""
        done = len(self._segments()) * SEGMENT
        return done if count is None else min(done, count)

    def run(self, open_stream: OpenStream, count: int | None, config: EstimatorConfig, workers: Workers) -> None:
        """Estimates what is missing of a recording of about ``count`` frames.

        Each process opens the recording itself, so that ``open_stream`` is pickled, and passes over the frames before its part of it.
        """
        if self._finished.is_file():
            return
        work = partial(estimate_part, self._folder, open_stream, config)
        for _ in workers.map(work, self._parts(count, workers.count)):
            pass
        with OutputFile(self._finished) as partial_file:
            partial_file.write_text("")

    def problems(self) -> list[str]:
        """What could not be read, one sentence each."""
        return [problem for path in self._segments() for problem in load_problems(path)]

    def jpegs(self) -> Iterator[bytes]:
        """The pictures of all estimates, in order, of a stream that wants them kept."""
        for path in self._segments():
            yield from load_jpegs(jpegs_path(path))

    def frames(self, hand_model: Mapping[Side, HandAsset], smooth: bool) -> Iterator[Annotated]:
        """All estimates in order, tracks joined, and ``smooth``ed where asked for."""
        if not smooth:
            yield from self._joined(with_meshes=True)
            return
        poser = HandPoser(hand_model)
        for frame in _smoothed(list(self._joined(with_meshes=False))):
            yield replace(frame, estimate=_posed(poser, frame.estimate))

    @property
    def _finished(self) -> Path:
        return self._folder / "finished"

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*.npz"))

    def _parts(self, count: int | None, most: int) -> list[Part]:
        """What is missing, in about equal parts. Nobody knows how many frames there really are, so the last goes on to the end."""
        expected = range(-(-count // SEGMENT)) if count else range(1)
        missing = [number for number in expected if not segment_path(self._folder, number).is_file()] or [len(expected)]
        parts = np.array_split(missing, min(most, len(missing)))
        return [Part(tuple(numbers.tolist()), numbers is parts[-1], SEGMENT, WARM_UP) for numbers in parts]

    def _joined(self, with_meshes: bool) -> Iterator[Annotated]:
        before: Annotated | None = None
        used = 0
        for path in self._segments():
            frames = load(path, with_meshes).frames
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


def _same_tracks(before: Annotated, again: Annotated) -> dict[str, str]:
    """Names of the earlier segment's tracks for the later one's, from the two estimates of one frame."""
    names = {}
    for hand in again.estimate.hands:
        candidates = [
            other for other in before.estimate.hands if other.side is hand.side and other.track_id not in names.values()
        ]
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
        for (number, place), mano in zip(
            places, smooth_track(stamps, [hands[n][p].mano for n, p in places]), strict=True
        ):
            # NaN: to be measured anew.
            hands[number][place] = replace(hands[number][place], mano=mano, reprojection_error=float("nan"))
    return [
        replace(frame, estimate=replace(frame.estimate, hands=tuple(each)))
        for frame, each in zip(frames, hands, strict=True)
    ]


def _posed(poser: HandPoser, estimate: FrameEstimate) -> FrameEstimate:
    """With vertices, joints and what follows from them, as the parameters say."""
    hands = []
    for hand in estimate.hands:
        now = with_parameters(hand, hand.mano, poser, estimate.camera)
        hands.append(
            now if np.isnan(hand.reprojection_error) else replace(now, reprojection_error=hand.reprojection_error)
        )
    return replace(estimate, hands=tuple(hands))
