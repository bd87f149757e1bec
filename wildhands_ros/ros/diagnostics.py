"""What the node says about itself on /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from .parameters import Parameters
from .rejections import FAILURES, InputRejected, Rejections

WINDOW = 5.0
"""Seconds over which rates and ages are taken."""
MOST_REASONS = 16
"""Reasons for which detections are left out that are counted apart."""
PLAUSIBLE_AGE = (-0.1, 60.0)
"""Seconds. An image that is younger or older was not stamped by this computer's clock."""
STAGES = ("detect", "network", "fit", "mesh", "publish")
"""The parts of a frame's work."""


@dataclass(frozen=True)
class Situation:
    """What the node knows of itself and its surroundings at the moment."""

    state: str
    """The lifecycle's."""
    enabled: bool
    image_topic: str
    image_publishers: int
    clock_stands_still: bool = False
    """Simulated time is asked for, and nobody tells it."""
    listeners: dict[str, int] = field(default_factory=dict)
    """How many listen to each of the node's topics."""


@dataclass(frozen=True)
class FrameRecord:
    """One frame whose hands are published."""

    age: float
    """Seconds from its stamp to now; NaN without a stamp."""
    work: float
    """Seconds of work."""
    stages: dict[str, float]
    """Seconds of each of ``STAGES``."""
    hands: int
    intrinsics: str


@dataclass
class Snapshot:
    """The verdict of one moment."""

    level: bytes
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Health:
    """Collects what happens to the node's frames, and logs what is new; every method may be called from any thread."""

    def __init__(self, log: Callable[[str], None], now: Callable[[], float] = time.monotonic):
        """Takes where warnings go, and a monotonic clock in seconds."""
        self._log, self._now = log, now
        self._lock = threading.Lock()
        self._received: deque[float] = deque()
        self._done: deque[tuple[float, FrameRecord]] = deque()
        self._refused: deque[tuple[float, str]] = deque()
        self._refusals = Rejections()
        self._restarts: Counter[str] = Counter()
        self._frames_received = self._frames_done = self._dropped = 0
        self._failure, self._last_error = "", ""
        self._device = "none yet"
        self._last: FrameRecord | None = None
        self._notes: dict[str, str] = {}
        self._silence_reason = ""
        self._listening_since = now()
        self._last_received = -float("inf")
        self._left_out: Counter[str] = Counter()

    def loaded(self, device: str) -> None:
        """The estimator is ready, on this device."""
        with self._lock:
            self._device, self._failure = device, ""

    def freed(self) -> None:
        """There is no estimator any more."""
        with self._lock:
            self._device = "none"

    def failed(self, message: str) -> None:
        """The node cannot do what it was asked for; empty once that is over."""
        with self._lock:
            self._failure = message
            self._last_error = message or self._last_error

    def listening(self) -> None:
        """From now on images are expected; what was before says nothing."""
        with self._lock:
            self._listening_since = self._now()
            self._silence_reason = ""
            self._notes.clear()
            for times in (self._received, self._done, self._refused):
                times.clear()

    def image_received(self) -> None:
        """An image arrived."""
        with self._lock:
            self._last_received = self._now()
            self._received.append(self._last_received)
            self._frames_received += 1

    def image_dropped(self) -> None:
        """A newer image took the place of one that nobody had begun."""
        with self._lock:
            self._dropped += 1

    def frame_done(self, record: FrameRecord) -> None:
        with self._lock:
            self._done.append((self._now(), record))
            self._frames_done += 1
            self._last = record

    def refuse(self, refusal: InputRejected, detail: str = "") -> None:
        """Counts what was refused and, if its like was not logged lately, logs it, with a ``detail`` that is only for the log."""
        now = self._now()
        with self._lock:
            self._refused.append((now, refusal.name))
            self._last_error = str(refusal)
            due = self._refusals.add(refusal, now)
        if due:
            self._log(f"{refusal.name}: {refusal}" + (f"\n{detail}" if detail else ""))

    def detections_left_out(self, reasons: Counter[str]) -> None:
        """Counts detections from elsewhere that are no hands, or cannot be used, by reason."""
        with self._lock:
            for reason, count in reasons.items():
                # Class ids are the detector's own: any number of them must not fill the memory.
                known = reason in self._left_out or len(self._left_out) < MOST_REASONS
                self._left_out[reason if known else "other classes"] += count

    def restarted(self, reason: str) -> None:
        """A new stream of images began; earlier hands are forgotten."""
        with self._lock:
            self._restarts[reason] += 1

    def note(self, name: str, message: str) -> None:
        """A lasting oddity, shown as a warning until replaced. An empty message withdraws it."""
        with self._lock:
            new = bool(message) and self._notes.get(name) != message
            self._notes[name] = message
        if new:
            self._log(message)

    def explain_silence(self, message: str) -> None:
        """Why no images may arrive, shown while none do."""
        with self._lock:
            new, self._silence_reason = message != self._silence_reason, message
        if new:
            self._log(message)

    def snapshot(self, situation: Situation, parameters: Parameters) -> Snapshot:
        """Level, message and values of this moment."""
        now = self._now()
        with self._lock:
            while self._received and self._received[0] < now - WINDOW:
                self._received.popleft()
            for times in (self._done, self._refused):
                while times and times[0][0] < now - WINDOW:
                    times.popleft()
            level, message = self._verdict(now, situation, parameters)
            return Snapshot(level, message, self._values(situation))

    def _values(self, situation: Situation) -> dict[str, str]:
        records = [record for _, record in self._done]
        works = [record.work for record in records]
        values = {
            "state": situation.state,
            "enabled": str(situation.enabled).lower(),
            "device": self._device,
            "image topic": situation.image_topic,
            "image publishers": str(situation.image_publishers),
            "input rate (Hz)": f"{len(self._received) / WINDOW:.1f}",
            "output rate (Hz)": f"{len(records) / WINDOW:.1f}",
            "frames received": str(self._frames_received),
            "frames processed": str(self._frames_done),
            "frames dropped": str(self._dropped),
            "hands in last frame": str(self._last.hands) if self._last else "unknown",
            "age p50 (ms)": _percentile(self._ages(), 50),
            "age p95 (ms)": _percentile(self._ages(), 95),
            "processing p50 (ms)": _percentile(works, 50),
            "processing p95 (ms)": _percentile(works, 95),
        }
        values.update(
            {
                f"{stage} p50 (ms)": _percentile([r.stages[stage] for r in records if stage in r.stages], 50)
                for stage in STAGES
            }
        )
        values.update({f"subscribers: {topic}": str(count) for topic, count in situation.listeners.items()})
        values["intrinsics"] = self._last.intrinsics if self._last else "none yet"
        values["warnings"] = self._warnings(situation) or "none"
        values["last error"] = self._last_error or "none"
        values.update({f"resets: {name}": str(count) for name, count in sorted(self._restarts.items())})
        values.update({f"rejected: {name}": str(count) for name, count in sorted(self._refusals.counts.items())})
        values.update({f"ignored detections: {reason}": str(count) for reason, count in sorted(self._left_out.items())})
        return values

    def _ages(self) -> list[float]:
        return [record.age for _, record in self._done if PLAUSIBLE_AGE[0] <= record.age <= PLAUSIBLE_AGE[1]]

    def _verdict(self, now: float, situation: Situation, parameters: Parameters) -> tuple[bytes, str]:
        """The gravest first."""
        warn, error, ok = DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.OK
        if self._failure:
            return error, self._failure
        if situation.state in ("configuring", "activating"):
            return warn, "loading the model"
        if situation.state != "active":
            return ok, situation.state
        if not situation.enabled:
            return ok, "paused by the service enable"
        silence = now - max(self._last_received, self._listening_since)
        if silence > parameters.diagnostics__silence_warn or self._last_received < self._listening_since:
            return error if silence > parameters.diagnostics__silence_error else warn, self._explain(situation)
        failures = [name for _, name in self._refused if name in FAILURES]
        if failures or self._refused:
            return error if failures else warn, self._refusals.last_of(
                failures[-1]
            ) if failures else self._refusals.last_message
        if self._done:
            age = float(np.percentile(self._ages(), 95)) if self._ages() else 0.0
            if age > parameters.diagnostics__age_warn:
                text = f"hands are published {age:.2f} s after their images: the stages' times say where it goes"
                return error if age > parameters.diagnostics__age_error else warn, text
        rate = len(self._done) / WINDOW
        if rate < parameters.diagnostics__min_rate and now - self._listening_since > WINDOW:
            return warn, f"hands are published at {rate:.1f} Hz, less than diagnostics.min_rate"
        warnings = self._warnings(situation)
        return (warn, warnings) if warnings else (ok, "running")

    def _warnings(self, situation: Situation) -> str:
        return "; ".join(filter(None, (*self._notes.values(), self._clock_fault(situation))))

    def _explain(self, situation: Situation) -> str:
        if not situation.image_publishers:
            return f"nobody publishes {situation.image_topic}: start the camera, or remap image"
        return self._silence_reason or f"no images arrive on {situation.image_topic}"

    def _clock_fault(self, situation: Situation) -> str:
        if situation.clock_stands_still:
            return "use_sim_time is set, but nothing comes on /clock, so ages are unknown"
        age = self._last.age if self._last else 0.0
        if age < PLAUSIBLE_AGE[0] or age > PLAUSIBLE_AGE[1]:
            return (
                f"the images' stamps are {abs(age):.1f} s {'behind' if age > 0 else 'ahead of'} this clock, so ages are unknown: "
                "set use_sim_time when a bag is played, or synchronise the clocks"
            )
        return ""


def header_fault(header: Header) -> str:
    """What a camera driver left out of an image's header; empty where nothing is missing. Hands come all the same."""
    faults = []
    if not header.frame_id:
        faults.append("no frame_id, so no hands come on /tf")
    if not header.stamp.sec and not header.stamp.nanosec:
        faults.append("no stamp, so ages are unknown")
    return f"the images have {' and '.join(faults)}: set it in the camera driver" if faults else ""


def diagnostic_array(snapshot: Snapshot, name: str, stamp: Time) -> DiagnosticArray:
    """The message of one snapshot under the node's name."""
    values = [KeyValue(key=key, value=value) for key, value in snapshot.values.items()]
    status = DiagnosticStatus(level=snapshot.level, name=name, message=snapshot.message, hardware_id="", values=values)
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _percentile(seconds: list[float], percent: float) -> str:
    return f"{1e3 * np.percentile(seconds, percent):.1f}" if seconds else "unknown"
