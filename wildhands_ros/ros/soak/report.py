"""What a soak reports, and what counts as a failure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

WARM_UP = 0.25
"""Fraction of the time after which memory has reached its normal size."""
MAX_MEMORY_GROWTH = 1.02
"""Factor between the memory in the second and in the last quarter of the time."""
MAX_AGE = 2.0
"""Age of hands, as a multiple of the processing time of a frame (95th percentiles)."""


@dataclass
class FaultCount:
    """How often one fault was injected and survived."""

    injected: int = 0
    survived: int = 0


@dataclass(frozen=True)
class Timing:
    """95th percentiles of one diagnostics window in milliseconds."""

    age: float
    processing: float


@dataclass(frozen=True)
class MemorySample:
    """Resident memory of the node."""

    seconds: float
    """Since the start."""
    mb: float


@dataclass
class Report:
    """Collects what happens during a soak."""

    minutes: float = 0.0
    frames_in: int = 0
    frames_out: int = 0
    faults: dict[str, FaultCount] = field(default_factory=dict)
    timings: list[Timing] = field(default_factory=list)
    memory: list[MemorySample] = field(default_factory=list)
    deaths: int = 0

    @property
    def age_p95_ms(self) -> float:
        """95th percentile of the age of hands."""
        return _percentile_95([timing.age for timing in self.timings])

    @property
    def processing_p95_ms(self) -> float:
        """95th percentile of the processing time of a frame."""
        return _percentile_95([timing.processing for timing in self.timings])

    @property
    def rss_start_mb(self) -> float:
        """Maximum memory in the second quarter of the time. It rises and falls as the model is loaded and freed."""
        if not self.memory:
            return 0.0
        end = self.memory[-1].seconds
        after_warm_up = [sample.mb for sample in self.memory if WARM_UP * end <= sample.seconds <= 2 * WARM_UP * end]
        return max(after_warm_up, default=self.memory[0].mb)

    @property
    def rss_end_mb(self) -> float:
        """Maximum memory in the last quarter of the time."""
        if not self.memory:
            return 0.0
        end = self.memory[-1].seconds
        return max(sample.mb for sample in self.memory if sample.seconds >= (1 - WARM_UP) * end)

    def as_dict(self) -> dict[str, object]:
        """Returns the report as JSON data."""
        return {
            "minutes": round(self.minutes, 2),
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "faults": {name: vars(count) for name, count in self.faults.items()},
            "age_p95_ms": self.age_p95_ms,
            "work_p95_ms": self.processing_p95_ms,
            "rss_start_mb": self.rss_start_mb,
            "rss_end_mb": self.rss_end_mb,
            "deaths": self.deaths,
        }

    def failures(self) -> list[str]:
        """Returns what went wrong, one sentence each."""
        found = [f"the node died {self.deaths} times"] if self.deaths else []
        found += [
            f"{name}: {count.injected - count.survived} of {count.injected} not survived"
            for name, count in self.faults.items()
            if count.survived < count.injected
        ]
        if not self.frames_out:
            return [*found, "the node published no hands"]
        if self.age_p95_ms > MAX_AGE * self.processing_p95_ms:
            found.append(
                f"hands were {self.age_p95_ms:.0f} ms old, more than twice the processing time of "
                f"{self.processing_p95_ms:.0f} ms"
            )
        if self.rss_end_mb > MAX_MEMORY_GROWTH * self.rss_start_mb:
            found.append(f"memory grew from {self.rss_start_mb:.0f} to {self.rss_end_mb:.0f} MB")
        return found


def _percentile_95(values: list[float]) -> float:
    return round(float(np.percentile(values, 95)), 1) if values else 0.0
