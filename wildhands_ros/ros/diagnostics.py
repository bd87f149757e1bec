"""The status that the node publishes on /diagnostics."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

from ..io.errors import printable
from ..types import DepthStatus
from .parameters import Parameters
from .rejections import FAILURES, InputRejected, Rejections
from .surroundings import discovery_hint

WINDOW = 5.0
"""Seconds over which rates, ages and times are computed."""
TYPE_CONFLICT = "type_conflict"
"""Name of the warning about publishers whose messages cannot be read. It explains why no images arrive."""
MAX_REASONS = 16
"""Number of reasons for ignored detections that are counted separately."""
PLAUSIBLE_AGE = (-0.1, 60.0)
"""Seconds. An image whose age is outside this range was not stamped by this computer's clock."""
STAGES = ("find", "track", "predict", "fit", "smooth", "pose", "publish")
"""The stages of the processing of a frame."""


@dataclass(frozen=True)
class NodeStatus:
    """The current state of the node and of its surroundings."""

    state: str
    """Lifecycle state."""
    enabled: bool
    image_topic: str
    image_publishers: int
    offered_images: tuple[str, ...] = ()
    """Topics on which images are published, if none are on ``image_topic``."""
    clock_missing: bool = False
    """Whether simulated time is requested, but nothing is published on /clock."""
    subscribers: dict[str, int] = field(default_factory=dict)
    """Number of subscribers of each of the node's topics."""


@dataclass(frozen=True)
class FrameStats:
    """Measurements of one frame whose hands have been published."""

    age: float
    """Seconds from the stamp of the image to publication; NaN without a stamp."""
    processing: float
    """Seconds of processing."""
    stages: dict[str, float]
    """Seconds of each of ``STAGES``."""
    hands: int
    intrinsics: str
    """Where the intrinsics came from."""


@dataclass(frozen=True)
class Snapshot:
    """A diagnostic status: level, message and values."""

    level: bytes
    message: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Timed:
    """Something that happened, and when: seconds of the monotonic clock."""

    time: float


@dataclass(frozen=True)
class _TimedFrame(_Timed):
    stats: FrameStats


@dataclass(frozen=True)
class _TimedRejection(_Timed):
    name: str


class Health:
    """Collects events and warnings of the node and logs new ones. All methods may be called from any thread."""

    def __init__(self, log: Callable[[str], None], now: Callable[[], float] = time.monotonic):
        """Initialises it without any events.

        Args:
            log: called with each warning.
            now: monotonic clock in seconds.
        """
        self._log, self._now = lambda text: log(printable(text)), now
        self._lock = threading.Lock()
        self._received: deque[_Timed] = deque()
        self._processed: deque[_TimedFrame] = deque()
        self._rejected: deque[_TimedRejection] = deque()
        self._rejections = Rejections()
        self._resets: Counter[str] = Counter()
        self._ignored: Counter[str] = Counter()
        self._depth: Counter[str] = Counter()
        self._frames_received = self._frames_processed = self._frames_dropped = 0
        self._failure, self._last_error = "", ""
        self._device = "none yet"
        self._last: FrameStats | None = None
        self._warnings_by_name: dict[str, str] = {}
        self._silence_reason = ""
        self._stream_started_at = now()
        self._last_received = -float("inf")

    def estimator_loaded(self, device: str) -> None:
        """Reports that the estimator is ready on a device; clears the failure."""
        with self._lock:
            self._device, self._failure = device, ""

    def estimator_freed(self) -> None:
        """Reports that there is no estimator any more."""
        with self._lock:
            self._device = "none"

    def set_failure(self, message: str) -> None:
        """Reports that the node cannot work; an empty message ends the failure."""
        with self._lock:
            self._failure = message
            self._last_error = message or self._last_error

    def stream_started(self) -> None:
        """Reports that images are expected from now on; clears earlier rates, warnings and rejections."""
        with self._lock:
            self._stream_started_at = self._now()
            self._silence_reason = ""
            self._warnings_by_name.clear()
            self._received.clear()
            self._processed.clear()
            self._rejected.clear()

    def image_received(self) -> None:
        """Counts an image that arrived."""
        with self._lock:
            self._last_received = self._now()
            self._received.append(_Timed(self._last_received))
            self._frames_received += 1

    def image_dropped(self) -> None:
        """Counts an image that was replaced by a newer one before its processing began."""
        with self._lock:
            self._frames_dropped += 1

    def frame_processed(self, stats: FrameStats) -> None:
        """Counts an image whose hands have been published."""
        with self._lock:
            self._processed.append(_TimedFrame(self._now(), stats))
            self._frames_processed += 1
            self._last = stats

    def reject(self, rejection: InputRejected, detail: str = "") -> None:
        """Counts a rejection and logs it, with the ``detail``, unless one of the same name was logged a moment ago."""
        now = self._now()
        with self._lock:
            self._rejected.append(_TimedRejection(now, rejection.name))
            self._last_error = str(rejection)
            due = self._rejections.add(rejection, now)
        if due:
            self._log(f"{rejection.name}: {rejection}" + (f"\n{detail}" if detail else ""))

    def detections_ignored(self, reasons: Counter[str]) -> None:
        """Counts external detections that are not hands or cannot be used, by reason."""
        with self._lock:
            for reason, count in reasons.items():
                # The detector chooses the class ids: an unlimited number of them must not fill the memory.
                known = reason in self._ignored or len(self._ignored) < MAX_REASONS
                self._ignored[reason if known else "other classes"] += count

    def depth_used(self, statuses: Sequence[DepthStatus]) -> None:
        """Counts the hands of a frame by whether their estimates use the depth image, or why not."""
        with self._lock:
            self._depth.update(status.value for status in statuses if status is not DepthStatus.NONE)

    def tracks_reset(self, reason: str) -> None:
        """Counts a reset of all tracks, by reason."""
        with self._lock:
            self._resets[reason] += 1

    def set_warning(self, name: str, message: str) -> None:
        """Sets a warning that is shown until it is replaced; an empty message ends it. New warnings are logged."""
        with self._lock:
            is_new = bool(message) and self._warnings_by_name.get(name) != message
            self._warnings_by_name[name] = message
        if is_new:
            self._log(message)

    def explain_silence(self, message: str) -> None:
        """Sets the reason that is shown while no images arrive."""
        with self._lock:
            is_new, self._silence_reason = message != self._silence_reason, message
        if is_new:
            self._log(message)

    def snapshot(self, status: NodeStatus, parameters: Parameters) -> Snapshot:
        """Returns the current level, message and values."""
        now = self._now()
        with self._lock:
            for events in (self._received, self._processed, self._rejected):
                while events and events[0].time < now - WINDOW:
                    events.popleft()
            level, message = self._verdict(now, status, parameters)
            return Snapshot(level, message, self._values(status))

    def _values(self, status: NodeStatus) -> dict[str, str]:
        frames = [item.stats for item in self._processed]
        processing = [stats.processing for stats in frames]
        values = {
            "state": status.state,
            "enabled": str(status.enabled).lower(),
            "device": self._device,
            "image topic": status.image_topic,
            "image publishers": str(status.image_publishers),
            "input rate (Hz)": f"{len(self._received) / WINDOW:.1f}",
            "output rate (Hz)": f"{len(frames) / WINDOW:.1f}",
            "frames received": str(self._frames_received),
            "frames processed": str(self._frames_processed),
            "frames dropped": str(self._frames_dropped),
            "hands in last frame": str(self._last.hands) if self._last else "unknown",
            "age p50 (ms)": _percentile(self._ages(), 50),
            "age p95 (ms)": _percentile(self._ages(), 95),
            "processing p50 (ms)": _percentile(processing, 50),
            "processing p95 (ms)": _percentile(processing, 95),
        }
        for stage in STAGES:
            seconds = [stats.stages[stage] for stats in frames if stage in stats.stages]
            values[f"{stage} p50 (ms)"] = _percentile(seconds, 50)
        values.update({f"subscribers: {topic}": str(count) for topic, count in status.subscribers.items()})
        values["intrinsics"] = self._last.intrinsics if self._last else "none yet"
        values["warnings"] = self._warnings(status) or "none"
        values["last error"] = self._last_error or "none"
        values.update({f"depth: {name}": str(count) for name, count in sorted(self._depth.items())})
        values.update({f"resets: {name}": str(count) for name, count in sorted(self._resets.items())})
        values.update({f"rejected: {name}": str(count) for name, count in sorted(self._rejections.counts.items())})
        values.update({f"ignored detections: {name}": str(count) for name, count in sorted(self._ignored.items())})
        return values

    def _ages(self) -> list[float]:
        ages = (item.stats.age for item in self._processed)
        return [age for age in ages if PLAUSIBLE_AGE[0] <= age <= PLAUSIBLE_AGE[1]]

    def _verdict(self, now: float, status: NodeStatus, parameters: Parameters) -> tuple[bytes, str]:
        """Returns level and message of the most severe problem."""
        warn, error, ok = DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.OK
        if self._failure:
            return error, self._failure
        if status.state in ("configuring", "activating"):
            return warn, "loading the model"
        if status.state != "active":
            return ok, status.state
        if not status.enabled:
            return ok, "paused by the service enable"
        silence = now - max(self._last_received, self._stream_started_at)
        if silence > parameters.diagnostics__silence_warn or self._last_received < self._stream_started_at:
            return error if silence > parameters.diagnostics__silence_error else warn, self._explanation(status)
        failures = [item.name for item in self._rejected if item.name in FAILURES]
        if failures:
            return error, self._rejections.last_of(failures[-1])
        if self._rejected:
            return warn, self._rejections.last_message
        age = float(np.percentile(self._ages(), 95)) if self._ages() else 0.0
        if age > parameters.diagnostics__age_warn:
            text = (
                f"hands are published {age:.2f} s after their images: the times of the stages show where the time goes"
            )
            return error if age > parameters.diagnostics__age_error else warn, text
        rate = len(self._processed) / WINDOW
        if rate < parameters.diagnostics__min_rate and now - self._stream_started_at > WINDOW:
            return warn, f"hands are published at {rate:.1f} Hz, less than diagnostics.min_rate"
        warnings = self._warnings(status)
        return (warn, warnings) if warnings else (ok, "running")

    def _warnings(self, status: NodeStatus) -> str:
        return "; ".join(filter(None, (*self._warnings_by_name.values(), self._clock_warning(status))))

    def _explanation(self, status: NodeStatus) -> str:
        topic = status.image_topic
        if not status.image_publishers:
            offered = ", ".join(status.offered_images)
            hint = f" (there are images on {offered})" if offered else discovery_hint()
            return f"no publisher on {topic}: start the camera, or remap image{hint}"
        return self._warnings_by_name.get(TYPE_CONFLICT) or self._silence_reason or f"no images arrive on {topic}"

    def _clock_warning(self, status: NodeStatus) -> str:
        if status.clock_missing:
            return "use_sim_time is set, but nothing is published on /clock, so ages are unknown"
        age = self._last.age if self._last else 0.0
        if age < PLAUSIBLE_AGE[0] or age > PLAUSIBLE_AGE[1]:
            return (
                f"the stamps of the images are {abs(age):.1f} s {'behind' if age > 0 else 'ahead of'} the node's "
                "clock, so ages are unknown: set use_sim_time to play a bag, or synchronise the clocks"
            )
        return ""


def header_warning(header: Header) -> str:
    """Returns what is missing in the header of an image; empty if it is complete. Hands are estimated in any case."""
    missing = []
    if not header.frame_id:
        missing.append("no frame_id, so no hands are published on /tf")
    if not header.stamp.sec and not header.stamp.nanosec:
        missing.append("no stamp, so ages are unknown")
    return f"the images have {' and '.join(missing)}: fix the camera driver" if missing else ""


def diagnostic_array(snapshot: Snapshot, name: str, stamp: Time) -> DiagnosticArray:
    """Returns the message for a snapshot under the node's name."""
    values = [KeyValue(key=key, value=value) for key, value in snapshot.values.items()]
    status = DiagnosticStatus(level=snapshot.level, name=name, message=snapshot.message, hardware_id="", values=values)
    return DiagnosticArray(header=Header(stamp=stamp), status=[status])


def _percentile(seconds: list[float], percent: float) -> str:
    return f"{1e3 * np.percentile(seconds, percent):.1f}" if seconds else "unknown"
