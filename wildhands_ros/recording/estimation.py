"""The work of one annotation process: the hands of some segments of a recording.

The estimator remembers earlier frames. For the result not to depend on which process estimates a segment, each
segment begins with a reset estimator a few frames early.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

from ..config import EstimatorConfig
from ..estimator import Estimator
from ..io.images import encode_image
from ..types import HandLength, Side
from .image_stream import ImageStream, OpenStream, StreamImage, UnreadableImage
from .jpegs import save_jpegs
from .segments import AnnotatedFrame, Segment, save


@dataclass(frozen=True)
class Job:
    """What one process estimates."""

    segments: tuple[int, ...]
    """Numbers of the segments, ascending."""
    to_the_end: bool
    """Whether all segments after these belong to the job too."""
    segment_length: int
    """Frames per segment."""
    warm_up: int
    """Number of frames before a segment that its estimator sees first."""


def estimate_segments(
    folder: Path, open_stream: OpenStream, config: EstimatorConfig, lengths: Mapping[Side, HandLength], job: Job
) -> None:
    """Estimates the segments of a job that ``folder`` does not contain yet, and saves them there.

    Args:
        folder: contains the finished segments.
        open_stream: opens the recording.
        config: configuration of the estimator.
        lengths: lengths of the hands with which each segment begins.
        job: what to estimate.
    """

    @cache
    def is_missing(segment: int) -> bool:
        in_job = segment in job.segments or (job.to_the_end and segment > job.segments[-1])
        return in_job and not segment_path(folder, segment).is_file()

    def warms_up(index: int) -> int:
        """Returns the segment that this frame warms up, or the segment that contains it."""
        return (index + job.warm_up) // job.segment_length

    def is_wanted(index: int) -> bool:
        return is_missing(index // job.segment_length) or is_missing(warms_up(index))

    estimator = _estimator(config)
    last = None if job.to_the_end else (job.segments[-1] + 1) * job.segment_length - 1
    warm_up: list[StreamImage] = []
    with open_stream() as stream:
        wanted = _up_to(stream.images(is_wanted), last)
        for number, images in groupby(wanted, lambda image: image.index // job.segment_length):
            segment = Segment(_warmed_up(estimator, warm_up, lengths) if is_missing(number) else [], [])
            warm_up, jpegs = [], []
            for image in images:
                if isinstance(image, UnreadableImage):
                    segment.problems.append(image.problem)
                    continue
                if is_missing(number):
                    segment.frames.append(_annotated(estimator, image))
                    if stream.keeps_jpegs:
                        jpegs.append(encode_image(image.image, ".jpg"))
                if warms_up(image.index) != number:
                    warm_up.append(image)
            if is_missing(number):
                segment.problems.extend(stream.problems)
                path = segment_path(folder, number)
                if stream.keeps_jpegs:
                    save_jpegs(jpegs_path(path), jpegs)
                save(path, segment)  # last: a segment whose file exists is complete


@dataclass(frozen=True)
class Span:
    """Consecutive frames, both ends included."""

    first: int
    last: int


def learn_lengths(
    open_stream: OpenStream, config: EstimatorConfig, spans: tuple[Span, ...]
) -> dict[Span, dict[Side, HandLength]]:
    """Learns the lengths of the hands in each span of a recording, as far as its depth images tell them.

    Args:
        open_stream: opens the recording.
        config: configuration of the estimator.
        spans: the spans, ascending, which do not overlap.
    """
    learned: dict[Span, dict[Side, HandLength]] = {}
    with open_stream() as stream:
        for span, images in _images_of_spans(stream, spans):
            if any(image.depth is None for image in images):  # Colour alone tells nothing.
                break
            estimator = _estimator(config)
            _restart(estimator, {})
            for image in images:
                _annotated(estimator, image)
            learned[span] = estimator.hand_lengths.known()
    return learned


def estimate_backwards(
    folder: Path,
    open_stream: OpenStream,
    config: EstimatorConfig,
    lengths: Mapping[Side, HandLength],
    spans: tuple[Span, ...],
) -> None:
    """Estimates spans of a recording from their last frame to their first one, and saves those not saved yet.

    Args:
        folder: contains the finished spans.
        open_stream: opens the recording.
        config: configuration of the estimator.
        lengths: lengths of the hands with which each span begins.
        spans: the spans, ascending, which do not overlap.
    """
    missing = [span for span in spans if not span_path(folder, span).is_file()]
    if not missing:
        return
    estimator = _estimator(config)
    with open_stream() as stream:
        for span, images in _images_of_spans(stream, missing):
            _restart(estimator, lengths)
            # Time runs backwards, so its negative runs forwards.
            frames = [
                replace(_annotated(estimator, replace(image, stamp=-image.stamp)), stamp=image.stamp)
                for image in reversed(images)
            ]
            save(span_path(folder, span), Segment(frames[::-1], []))


def span_path(folder: Path, span: Span) -> Path:
    """Returns the file of a span."""
    return folder / f"backwards_{span.first:06d}_{span.last:06d}.npz"


def segment_path(folder: Path, number: int) -> Path:
    """Returns the file of a segment."""
    return folder / f"{number:06d}.npz"


def jpegs_path(segment: Path) -> Path:
    """Returns the file with the images of the segment in the file ``segment``."""
    return segment.with_name(f"jpegs_{segment.name}")


def _images_of_spans(stream: ImageStream, spans: Sequence[Span]) -> Iterator[tuple[Span, list[StreamImage]]]:
    """Yields each span with its images, without those that cannot be decoded."""

    def is_wanted(index: int) -> bool:
        return any(span.first <= index <= span.last for span in spans)

    wanted = _up_to(stream.images(is_wanted), spans[-1].last)
    for span, found in groupby(wanted, lambda image: next(span for span in spans if image.index <= span.last)):
        yield span, [image for image in found if isinstance(image, StreamImage)]


def _up_to(
    images: Iterator[StreamImage | UnreadableImage], last: int | None
) -> Iterator[StreamImage | UnreadableImage]:
    """Yields images up to the one with the index ``last``."""
    for image in images:
        yield image
        if image.index == last:
            return


@lru_cache(maxsize=1)
def _estimator(config: EstimatorConfig) -> Estimator:
    """Returns one estimator for all jobs of this process."""
    return Estimator(config)


def _restart(estimator: Estimator, lengths: Mapping[Side, HandLength]) -> None:
    """Makes an estimator forget everything that it has seen, and continue with these lengths of the hands."""
    estimator.reset()
    estimator.hand_lengths.start_from(lengths)


def _warmed_up(
    estimator: Estimator, images: list[StreamImage], lengths: Mapping[Side, HandLength]
) -> list[AnnotatedFrame]:
    """Resets the estimator and runs it on the images before a segment; returns the last estimate, if any."""
    _restart(estimator, lengths)
    return [_annotated(estimator, image) for image in images][-1:]


def _annotated(estimator: Estimator, image: StreamImage) -> AnnotatedFrame:
    estimate = estimator(image.image, image.camera, image.stamp, depth=image.depth)
    return AnnotatedFrame(image.index, image.stamp, image.origin, estimate)
