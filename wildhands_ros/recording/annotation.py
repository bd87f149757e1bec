"""Runs the estimator over a whole recording with several processes.

The result is deterministic: it is the same to the last bit for any number of processes, and after an interruption.
The recording is cut into segments. Each segment begins with an estimate of the last frame of the segment before, by
which tracks are joined across the border. With a depth camera, samples of the whole recording first tell the lengths of
the hands, with which every segment begins.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..config import EstimatorConfig
from ..fitting.hand_length import learned_together
from ..io.files import OutputFile
from ..runtime.processes import Workers
from ..types import HandLength, Side
from .backwards import add_backwards, spans_before_tracks
from .estimation import (
    Job,
    Span,
    estimate_backwards,
    estimate_segments,
    jpegs_path,
    learn_lengths,
    segment_path,
    span_path,
)
from .image_stream import OpenStream
from .jpegs import load_jpegs
from .segments import AnnotatedFrame, load, load_problems

SEGMENT_LENGTH = 225
"""Frames per segment: the most that a process loses when it is interrupted. Few enough for two processes to share 30
seconds evenly."""
SAMPLE_LENGTH, MOST_SAMPLES = 15, 12
"""Frames of each sample of a recording from which the lengths of the hands are learned, and the largest number of
samples; shorter recordings have one for each segment."""
WARM_UP = 10
"""Frames that the estimator sees before a segment. The side of a hand needs about as many; its shape converges for
seconds."""
FORMAT = 5
"""Number of the format of the working folder; a folder of another format is not resumed."""
SAME_HAND_DISTANCE = 0.1
"""Metres between the wrists of two estimates of one frame, below which they are the same hand."""


class Annotation:
    """The estimates of one recording, in a working folder that the caller removes when it is done."""

    def __init__(self, folder: Path, inputs: dict[str, object]):
        """Resumes the work in ``folder`` if it was started with the same ``inputs``, otherwise starts anew.

        Args:
            folder: the working folder.
            inputs: what the estimates depend on, as JSON data.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        key = folder / "inputs.json"
        text = json.dumps({**inputs, "segment": [SEGMENT_LENGTH, WARM_UP, FORMAT]}, sort_keys=True)
        if not key.is_file() or key.read_text() != text:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with OutputFile(key) as partial_file:
                partial_file.write_text(text)

    def num_done(self, count: int | None) -> int:
        """Returns the number of frames in complete segments, at most the expected number ``count`` if it is known."""
        done = len(self._segment_files()) * SEGMENT_LENGTH
        return done if count is None else min(done, count)

    def run(self, open_stream: OpenStream, count: int | None, config: EstimatorConfig, workers: Workers) -> None:
        """Estimates the missing segments.

        Args:
            open_stream: opens the recording. It is pickled, and each process opens the recording and skips to its own
                part.
            count: expected number of frames; None if unknown.
            config: configuration of the estimator.
            workers: the processes.
        """
        if self._finished_marker.is_file():
            return
        lengths = self._learned_lengths(open_stream, count, config, workers)
        work = partial(estimate_segments, self._folder, open_stream, config, lengths)
        for _ in workers.map(work, self.jobs(count, workers.count)):
            pass
        spans = spans_before_tracks(self._forwards())
        backwards = partial(estimate_backwards, self._folder, open_stream, config, lengths)
        for _ in workers.map(backwards, _divided(spans, workers.count)):
            pass
        with OutputFile(self._finished_marker) as partial_file:
            partial_file.write_text("")

    def _learned_lengths(
        self, open_stream: OpenStream, count: int | None, config: EstimatorConfig, workers: Workers
    ) -> dict[Side, HandLength]:
        """Returns the lengths of the hands, as far as samples of the recording tell them."""
        path = self._folder / "lengths.json"
        if not path.is_file():
            spans = [] if config.hand_length else length_samples(count or 0)
            learned: dict[Span, dict[Side, HandLength]] = {}
            for found in workers.map(partial(learn_lengths, open_stream, config), _divided(spans, workers.count)):
                learned.update(found)
            together = learned_together([learned[span] for span in spans if span in learned])
            with OutputFile(path) as partial_file:
                lengths = {side.value: (length.metres, length.stddev) for side, length in together.items()}
                partial_file.write_text(json.dumps(lengths))
        return {Side(side): HandLength(*length) for side, length in json.loads(path.read_text()).items()}

    def jobs(self, count: int | None, max_jobs: int) -> list[Job]:
        """Divides the missing segments into jobs of about equal size.

        The real number of frames is not known before they are read, so the last job continues to the end of the
        recording.
        """
        expected = range(-(-count // SEGMENT_LENGTH)) if count else range(1)
        missing = [number for number in expected if not segment_path(self._folder, number).is_file()] or [len(expected)]
        parts = np.array_split(missing, min(max_jobs, len(missing)))
        return [Job(tuple(numbers.tolist()), numbers is parts[-1], SEGMENT_LENGTH, WARM_UP) for numbers in parts]

    def problems(self) -> list[str]:
        """Returns what could not be read, one sentence each."""
        return [problem for path in self._segment_files() for problem in load_problems(path)]

    def jpegs(self) -> Iterator[bytes]:
        """Yields the images of all estimates in order, for a stream with ``keeps_jpegs``."""
        for path in self._segment_files():
            yield from load_jpegs(jpegs_path(path))

    def frames(self) -> list[AnnotatedFrame]:
        """Returns all estimates in order, without meshes, with tracks joined across segments and backwards in time."""
        frames = list(self._forwards())
        for span in spans_before_tracks(frames):
            path = span_path(self._folder, span)
            if path.is_file():
                add_backwards(frames, load(path).frames)
        return frames

    def _forwards(self) -> Iterator[AnnotatedFrame]:
        """Yields the estimates of the pass forwards in time."""
        previous: AnnotatedFrame | None = None
        num_tracks = 0
        for path in self._segment_files():
            frames = load(path).frames
            names: dict[str, str] = {}
            if previous is not None and frames and frames[0].index == previous.index:
                names = _matching_tracks(previous, frames[0])
                frames = frames[1:]
            for frame in frames:
                hands = []
                for hand in frame.estimate.hands:
                    if hand.track_id and hand.track_id not in names:
                        num_tracks += 1
                        names[hand.track_id] = f"{hand.side.value}_{num_tracks}"
                    hands.append(replace(hand, track_id=names.get(hand.track_id, "")))
                previous = replace(frame, estimate=replace(frame.estimate, hands=tuple(hands)))
                yield previous

    @property
    def _finished_marker(self) -> Path:
        return self._folder / "finished"

    def _segment_files(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*.npz"))


def length_samples(count: int) -> list[Span]:
    """Returns spans of a recording of ``count`` frames, evenly distributed, from which lengths are learned.

    A recording of one segment has none: its segment learns them.
    """
    samples = min(count // SEGMENT_LENGTH, MOST_SAMPLES)
    if samples < 2:
        return []
    length = min(SAMPLE_LENGTH, count // samples)
    firsts = [(2 * number + 1) * count // (2 * samples) - length // 2 for number in range(samples)]
    return [Span(first, first + length - 1) for first in firsts]


def _divided(spans: list[Span], parts: int) -> list[tuple[Span, ...]]:
    """Divides spans into parts of about equal length."""
    size = -(-len(spans) // max(parts, 1)) or 1
    return [tuple(spans[start : start + size]) for start in range(0, len(spans), size)]


def _matching_tracks(previous: AnnotatedFrame, again: AnnotatedFrame) -> dict[str, str]:
    """Matches the tracks of two segments.

    Args:
        previous: the earlier segment's last frame.
        again: the later segment's estimate of the same frame.

    Returns:
        The track names in the earlier segment by those in the later segment.
    """
    names: dict[str, str] = {}
    for hand in again.estimate.hands:
        candidates = [
            other
            for other in previous.estimate.hands
            if other.side is hand.side and other.track_id not in names.values()
        ]
        distances = [float(np.linalg.norm(other.joints[0] - hand.joints[0])) for other in candidates]
        if distances and min(distances) < SAME_HAND_DISTANCE and hand.track_id:
            names[hand.track_id] = candidates[int(np.argmin(distances))].track_id
    return names
