"""What the node says about itself on /diagnostics."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from .refusals import InputRefused, Refusals

WINDOW = 5.0
"""Seconds over which rates and ages are taken."""
MOST_REASONS = 16
SILENCE = 2.0
"""Seconds without an image after which the stream counts as missing."""


@dataclass
class Snapshot:
    """The state at one moment."""

    level: bytes
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Health:
    """Collects what happens to the node's frames; every method may be called from any thread. Times are seconds of a monotonic clock."""

    def __init__(self):
        self._lock = threading.Lock()
        self._received: deque[float] = deque()
        self._done: deque[tuple[float, float, float]] = deque()
        self._refused: deque[float] = deque()
        self._refusals = Refusals()
        self._frames = self._dropped = self._hands = 0
        self._state, self._failure, self._intrinsics = "loading the model", "", "none yet"
        self._notes: dict[str, str] = {}
        self._silence_reason = ""
        self._left_out: Counter[str] = Counter()

    def ready(self) -> None:
        """The estimator is loaded."""
        with self._lock:
            self._state = "running"

    def failed(self, message: str) -> None:
        """The estimator cannot be made; nothing will be published until the node is started anew."""
        with self._lock:
            self._state, self._failure = "failed", message

    def image_received(self, now: float, dropped: bool) -> None:
        """An image arrived; ``dropped`` when it took the place of one that nobody had begun."""
        with self._lock:
            self._received.append(now)
            self._dropped += dropped

    def frame_done(self, now: float, age: float, work: float, hands: int, intrinsics: str) -> None:
        """A frame's hands are published: age since its stamp and time of work in seconds."""
        with self._lock:
            self._done.append((now, age, work))
            self._frames += 1
            self._hands, self._intrinsics = hands, intrinsics

    def refuse(self, refusal: InputRefused, now: float) -> bool:
        """Counts a refused input; True when it is due for the log."""
        with self._lock:
            self._refused.append(now)
            return self._refusals.add(refusal, now)

    def detections_left_out(self, reasons: Counter[str]) -> None:
        """Counts detections from elsewhere that are no hands, or cannot be used, by reason."""
        with self._lock:
            for reason, count in reasons.items():
                # Class ids are the detector's own: any number of them must not fill the memory.
                known = reason in self._left_out or len(self._left_out) < MOST_REASONS
                self._left_out[reason if known else "other classes"] += count

    def note(self, name: str, message: str) -> bool:
        """A lasting oddity, shown as a warning until replaced; True when it is new. An empty message withdraws it."""
        with self._lock:
            new = bool(message) and self._notes.get(name) != message
            self._notes[name] = message
            return new

    def explain_silence(self, message: str) -> bool:
        """Why no images may arrive, shown while none do; True when it is new."""
        with self._lock:
            new, self._silence_reason = message != self._silence_reason, message
            return new

    def snapshot(self, now: float, image_topic: str, publishers: int) -> Snapshot:
        """Level, message and values for a node that listens to ``image_topic`` with so many publishers."""
        with self._lock:
            for times in (self._received, self._refused):
                while times and times[0] < now - WINDOW:
                    times.popleft()
            while self._done and self._done[0][0] < now - WINDOW:
                self._done.popleft()
            level, message = self._verdict(now, image_topic, publishers)
            ages, works = ([1e3 * frame[i] for frame in self._done] for i in (1, 2))
            values = {
                "state": self._state,
                "image publishers": str(publishers),
                "input rate (Hz)": f"{len(self._received) / WINDOW:.1f}",
                "output rate (Hz)": f"{len(self._done) / WINDOW:.1f}",
                "frames done": str(self._frames),
                "frames dropped": str(self._dropped),
                "hands in last frame": str(self._hands),
                "age p50 (ms)": _percentile(ages, 50),
                "age p95 (ms)": _percentile(ages, 95),
                "work p50 (ms)": _percentile(works, 50),
                "work p95 (ms)": _percentile(works, 95),
                "intrinsics": self._intrinsics,
                "last error": self._failure or self._refusals.last_message,
            }
            values.update({f"refused: {name}": str(count) for name, count in sorted(self._refusals.counts.items())})
            values.update({f"left out: {reason}": str(count) for reason, count in sorted(self._left_out.items())})
            return Snapshot(level, message, values)

    def _verdict(self, now: float, image_topic: str, publishers: int) -> tuple[bytes, str]:
        notes = "; ".join(filter(None, self._notes.values()))
        if self._failure:
            return DiagnosticStatus.ERROR, self._failure
        if not publishers:
            return DiagnosticStatus.WARN, f"nobody publishes {image_topic}: start the camera, or remap image"
        if not self._received or self._received[-1] < now - SILENCE:
            return DiagnosticStatus.WARN, self._silence_reason or f"no images arrive on {image_topic}"
        if self._state != "running":
            return DiagnosticStatus.WARN, self._state
        if self._refused:
            return DiagnosticStatus.WARN, self._refusals.last_message
        if notes:
            return DiagnosticStatus.WARN, notes
        return DiagnosticStatus.OK, "running"


def header_fault(header: Header) -> str:
    """What a camera driver left out of an image's header; empty where nothing is missing. Hands come all the same."""
    faults = []
    if not header.frame_id:
        faults.append("no frame_id, so no hands come on /tf")
    if not header.stamp.sec and not header.stamp.nanosec:
        faults.append("no stamp, so ages and speeds are wrong")
    return f"the images have {' and '.join(faults)}: set it in the camera driver" if faults else ""


def diagnostic_array(snapshot: Snapshot, name: str, stamp: Time) -> DiagnosticArray:
    """The message of one snapshot under the node's name."""
    values = [KeyValue(key=key, value=value) for key, value in snapshot.values.items()]
    status = DiagnosticStatus(level=snapshot.level, name=name, message=snapshot.message, hardware_id="", values=values)
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _percentile(values: list[float], percent: float) -> str:
    return f"{np.percentile(values, percent):.1f}" if values else "unknown"
