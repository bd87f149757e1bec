"""The quality report of annotated recordings: one HTML file without external parts."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

import numpy as np

from ..types import DepthStatus, Doubt, HandState, Side

MOST_MOMENTS = 12
"""Moments with an image per recording."""
SHORTEST_MOMENT = 0.2
"""Seconds; shorter moments are not worth an image."""
UNUSUALLY_UNCERTAIN = 1.5
"""Ratio of the standard deviation of a hand's distance to its median over the recording, from which on a usable hand is
shown as uncertain. A fist is the usual reason."""
WORTH_RECORDING = 1.0
"""Seconds without a usable hand from which on the report recommends to record again."""
USABLE, DOUBTED, INTERPOLATED, UNSEEN, MISSING = "usable", "doubted", "interpolated", "hidden or out of view", "no hand"
COLOURS = {
    USABLE: "#3a9d5d",
    INTERPOLATED: "#4a7fc1",
    DOUBTED: "#d1495b",
    UNSEEN: "#b8b8b8",
    MISSING: "#f2f2f2",
}
_DOUBTS = {
    Doubt.JUMP: "jump",
    Doubt.LOW_AGREEMENT: "distance uncertain or keypoints not explained",
    Doubt.IMPLAUSIBLE_MOTION: "implausible motion",
    Doubt.IMPLAUSIBLE_POSE: "implausible pose",
    Doubt.SIDE: "side suspected",
    Doubt.UNCHECKED: "unchecked",
}


@dataclass(frozen=True)
class ReportedHand:
    """One hand of one frame."""

    side: Side
    track: str
    state: HandState
    doubts: Doubt
    usable: bool
    wrist: np.ndarray
    """(3,) metres, in the fixed frame if it is known, else in the camera frame."""
    distance: float
    """Metres from the camera to the wrist."""
    visibility: float
    """Mean visibility of the joints."""
    depth: DepthStatus = DepthStatus.NONE
    """What became of the depth image."""
    views: int = 0
    """Number of cameras whose images were fused; 0 if only one camera was recorded."""
    length: float = float("nan")
    """Length of the hand in metres as it was learned or given; NaN if it is unknown."""
    distance_stddev: float = float("nan")
    """Standard deviation of the distance in metres; NaN if it is unknown."""

    @property
    def kind(self) -> str:
        """Its colour in the timeline."""
        if self.doubts:
            return DOUBTED
        if self.state is HandState.INTERPOLATED:
            return INTERPOLATED
        return USABLE if self.usable else UNSEEN


@dataclass(frozen=True)
class Recording:
    """An annotated recording."""

    name: str
    stamps: np.ndarray
    """(T,) seconds, from 0."""
    hands: Sequence[Sequence[ReportedHand]]
    """Hands of each frame."""
    thumbnail: Callable[[int], bytes | None]
    """Returns the image of a frame with its hands as a JPEG, or None if there is none."""

    def of_side(self, side: Side) -> list[ReportedHand | None]:
        """Returns the hand of a side in each frame; of several the usable one, else the first."""
        return [
            min((hand for hand in hands if hand.side is side), key=lambda hand: not hand.usable, default=None)
            for hands in self.hands
        ]

    @property
    def period(self) -> float:
        """Seconds between frames."""
        return float(np.median(np.diff(self.stamps))) if len(self.stamps) > 1 else 1 / 30


@dataclass(frozen=True)
class Moment:
    """Consecutive frames in which one hand is not usable, or unusually uncertain."""

    side: Side
    first: int
    last: int
    seconds: float
    reason: str


def moments(recording: Recording) -> list[Moment]:
    """Returns the moments in which a hand that the recording shows is not usable, the longest first."""
    found = []
    for side in Side:
        hands = recording.of_side(side)
        if any(hands):
            unusable = [hand is None or not hand.usable for hand in hands]
            found += [
                Moment(side, first, last, seconds, _reason(hands[first : last + 1]))
                for first, last, seconds in _runs(unusable, recording.period)
            ]
    return sorted(found, key=lambda moment: -moment.seconds)


def uncertain_moments(recording: Recording) -> list[Moment]:
    """Returns the moments in which a usable hand's distance is unusually uncertain, the most uncertain first."""
    found = []
    for side in Side:
        hands = recording.of_side(side)
        stddevs = np.array([np.nan if hand is None else hand.distance_stddev for hand in hands])
        if not np.isfinite(stddevs).any():
            continue
        least = UNUSUALLY_UNCERTAIN * float(np.nanmedian(stddevs))
        uncertain = [
            hand is not None and hand.usable and stddev > least for hand, stddev in zip(hands, stddevs, strict=True)
        ]
        for first, last, seconds in _runs(uncertain, recording.period):
            highest = float(stddevs[first : last + 1].max())
            reason = f"usable, but the distance is uncertain (standard deviation {100 * highest:.0f} cm)"
            found.append((highest, Moment(side, first, last, seconds, reason)))
    return [moment for _, moment in sorted(found, key=lambda each: -each[0])]


def _runs(flags: Sequence[bool], period: float) -> list[tuple[int, int, float]]:
    """Returns the first and last frame and the seconds of each run of flags that is long enough for a moment."""
    found, start = [], 0
    for flag, run in groupby(flags):
        count = len(list(run))
        if flag and count * period >= SHORTEST_MOMENT:
            found.append((start, start + count - 1, count * period))
        start += count
    return found


def recommendations(recording: Recording) -> list[str]:
    """Returns what to record again, one sentence each."""
    if not any(recording.hands):
        return ["No hand was found: check the camera and the options of wildhands annotate."]
    sentences = []
    for side in Side:
        hands = recording.of_side(side)
        found = [hand for hand in hands if hand is not None]
        if not found:
            continue
        usable = sum(hand.usable for hand in found)
        if usable < len(found) / 2:
            sentences.append(
                f"The {side.value} hand is usable in only {_percent(usable, len(found))} of its frames: record again, "
                "with the hand nearer to the camera and less hidden."
            )
    for moment in sorted(moments(recording), key=lambda each: each.first):
        if moment.seconds >= WORTH_RECORDING:
            sentences.append(
                f"{_time(recording, moment.first)} to {_time(recording, moment.last)}: the {moment.side.value} hand is "
                f"not usable ({moment.reason})."
            )
    return sentences


def report_html(recordings: Sequence[Recording]) -> str:
    """Returns the report of some recordings as one HTML page."""
    body = [_overview(recordings)] if len(recordings) > 1 else []
    body += [_section(recording) for recording in recordings]
    legend = " ".join(f'<span class="key" style="background:{c}"></span>{escape(k)}' for k, c in COLOURS.items())
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Recordings of hands</title>'
        "<style>body{font:15px sans-serif;max-width:1000px;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse}"
        "td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}th:first-child,td:first-child"
        "{text-align:left}figure{display:inline-block;margin:.5em;width:300px;vertical-align:top}figure img{width:100%}"
        "figcaption{font-size:13px}.key{display:inline-block;width:1em;height:1em;margin:0 .3em 0 1em;border:1px solid "
        "#999;vertical-align:-2px}svg{display:block;margin:.4em 0}</style>"
        f"<h1>Recordings of hands</h1><p>{legend}</p>{''.join(body)}</html>\n"
    )


def _overview(recordings: Sequence[Recording]) -> str:
    rows = []
    for recording in recordings:
        hands = [hand for of_frame in recording.hands for hand in of_frame]
        covered = sum(bool(of_frame) for of_frame in recording.hands)
        masked = sum(not hand.usable for hand in hands)
        rows.append(
            (
                recording.name,
                f"{_duration(recording):.1f} s",
                _percent(covered, len(recording.hands)),
                _percent(masked, len(hands)),
                str(len(recommendations(recording))),
            )
        )
    header = ("recording", "length", "frames with a hand", "masked", "recommendations")
    return "<h2>All recordings</h2>" + _table(header, rows)


def _section(recording: Recording) -> str:
    parts = [f"<h2>{escape(recording.name)}</h2>"]
    parts.append(f"<p>{len(recording.stamps)} frames, {_duration(recording):.1f} s</p>")
    rows = [_figures(recording, side) for side in Side if any(recording.of_side(side))]
    header = ("hand", "coverage", "usable", "interpolated", "hidden or out of view", "doubted", "tracks", "longest gap")
    parts.append(_table(header, rows))
    rows = [_distance_figures(recording, side) for side in Side if any(recording.of_side(side))]
    if any(hand.depth is not DepthStatus.NONE or hand.views for of_frame in recording.hands for hand in of_frame):
        columns = ("hand", "length", "distance by depth", "by several cameras", "by colour alone", "depth not used")
        parts.append(_table(columns, rows))
    counts = Counter(
        text
        for of_frame in recording.hands
        for hand in of_frame
        for flag, text in _DOUBTS.items()
        if hand.doubts & flag
    )
    if counts:
        parts.append(_table(("reason for doubt", "estimates"), [(text, str(n)) for text, n in counts.most_common()]))
    sentences = recommendations(recording)
    parts.append("<h3>What to record again</h3>")
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    parts.append(f"<ul>{items}</ul>" if sentences else "<p>Nothing.</p>")
    for side in Side:
        if any(recording.of_side(side)):
            parts.append(f"<h3>The {side.value} hand over time</h3>{_timeline(recording, side)}")
            parts.append(_plots(recording, side))
    parts.append(_worst(recording))
    return "".join(parts)


def _figures(recording: Recording, side: Side) -> tuple[str, ...]:
    hands = recording.of_side(side)
    found = [hand for hand in hands if hand is not None]
    gaps = [len(list(run)) for missing, run in groupby(hands, key=lambda hand: hand is None) if missing]
    kinds = Counter(hand.kind for hand in found)
    shares = (_percent(kinds[kind], len(found)) for kind in (INTERPOLATED, UNSEEN, DOUBTED))
    return (
        side.value,
        _percent(len(found), len(hands)),
        _percent(sum(hand.usable for hand in found), len(found)),
        *shares,
        str(len({hand.track for hand in found})),
        f"{max(gaps, default=0) * recording.period:.1f} s",
    )


def _distance_figures(recording: Recording, side: Side) -> tuple[str, ...]:
    """Returns what the distance of a side's hand follows from, and why a depth image was not used."""
    found = [hand for hand in recording.of_side(side) if hand is not None]
    by_views = sum(hand.views > 1 for hand in found)
    by_depth = sum(hand.depth is DepthStatus.USED and hand.views < 2 for hand in found)
    unused = Counter(hand.depth.value for hand in found if hand.depth not in (DepthStatus.USED, DepthStatus.NONE))
    lengths = [hand.length for hand in found if np.isfinite(hand.length)]
    return (
        side.value,
        f"{1000 * float(np.median(lengths)):.0f} mm" if lengths else "-",
        *(_percent(count, len(found)) for count in (by_depth, by_views, len(found) - by_depth - by_views)),
        ", ".join(f"{reason} {_percent(count, len(found))}" for reason, count in unused.most_common()) or "-",
    )


def _timeline(recording: Recording, side: Side) -> str:
    """Returns a strip with a colour for each frame."""
    kinds = [MISSING if hand is None else hand.kind for hand in recording.of_side(side)]
    width = 1000 / max(len(kinds), 1)
    start, pieces = 0, []
    for kind, run in groupby(kinds):
        count = len(list(run))
        pieces.append(
            f'<rect x="{start * width:.2f}" width="{count * width:.2f}" height="22" fill="{COLOURS[kind]}">'
            f"<title>{_time(recording, start)}: {kind}</title></rect>"
        )
        start += count
    return f'<svg viewBox="0 0 1000 22" width="100%" height="22">{"".join(pieces)}</svg>'


def _plots(recording: Recording, side: Side) -> str:
    hands = recording.of_side(side)
    wrists = np.array([np.full(3, np.nan) if hand is None else hand.wrist for hand in hands]).reshape(-1, 3)
    distance = np.array([np.nan if hand is None else hand.distance for hand in hands])
    stddev = np.array([np.nan if hand is None else hand.distance_stddev for hand in hands])
    seen = np.array([np.nan if hand is None else hand.visibility for hand in hands])
    speed = np.full(len(hands), np.nan)
    if len(hands) > 1:
        speed[1:] = np.linalg.norm(np.diff(wrists, axis=0), axis=1) / np.maximum(np.diff(recording.stamps), 1e-3)
    return (
        _plot("distance from the camera, m", distance)
        + _plot("standard deviation of the distance, m", stddev)
        + _plot("speed of the wrist, m/s", speed)
        + _plot("mean visibility of the joints", seen, 1.0)
    )


def _plot(title: str, values: np.ndarray, top: float | None = None) -> str:
    """Returns a line over time with gaps where a value is NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return ""
    high = top or max(float(known.max()), 1e-6)
    x = 1000 * np.arange(len(values)) / max(len(values) - 1, 1)
    y = 88 - 80 * np.clip(values / high, 0, 1)
    lines, start = [], 0
    for is_known, run in groupby(np.isfinite(values).tolist()):
        count = len(list(run))
        if is_known:
            points = " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in range(start, start + count))
            lines.append(f'<polyline points="{points}" fill="none" stroke="#444" stroke-width="1.5"/>')
        start += count
    label = f'<text x="4" y="12" font-size="12">{escape(title)} (top: {high:.2f})</text>'
    frame = '<rect width="1000" height="90" fill="none" stroke="#ddd"/>'
    return f'<svg viewBox="0 0 1000 90" width="100%" height="90">{frame}{"".join(lines)}{label}</svg>'


def _worst(recording: Recording) -> str:
    figures = []
    for moment in [*moments(recording), *uncertain_moments(recording)][:MOST_MOMENTS]:
        middle = (moment.first + moment.last) // 2
        jpeg = recording.thumbnail(middle)
        data = base64.b64encode(jpeg).decode() if jpeg is not None else ""
        image = f'<img alt="" src="data:image/jpeg;base64,{data}">' if data else ""
        caption = f"{_time(recording, middle)}, {moment.side.value} hand, {moment.seconds:.1f} s: {moment.reason}"
        figures.append(f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>")
    return f"<h3>Worst moments</h3>{''.join(figures)}" if figures else ""


def _reason(hands: Iterable[ReportedHand | None]) -> str:
    """Returns the most frequent reason for which the hands of some frames are not usable."""
    reasons: Counter[str] = Counter()
    for hand in hands:
        if hand is None:
            reasons["no hand was found"] += 1
        elif hand.doubts:
            reasons.update(text for flag, text in _DOUBTS.items() if hand.doubts & flag)
        else:
            reasons["hidden" if hand.state is HandState.HIDDEN else "out of view"] += 1
    return reasons.most_common(1)[0][0]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "-"


def _time(recording: Recording, frame: int) -> str:
    seconds = float(recording.stamps[frame])
    return f"{int(seconds // 60)}:{seconds % 60:04.1f}"


def _duration(recording: Recording) -> float:
    return float(recording.stamps[-1] - recording.stamps[0]) + recording.period if len(recording.stamps) else 0.0
