"""`wildhands bench`: how fast it is here, beside what else one could run."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from ...benchmark.clip import RATE, load_clip
from ...benchmark.figures import percentiles
from ...benchmark.machine import machine
from ...benchmark.networks import compare, cost_per_hand, default_network, released_network
from ...benchmark.stages import run_stages
from ...io.files import OutputFile
from ..share import share_folder
from .overhead import overhead_ms, run_overhead
from .streams import Stream, streams

PARTS = ("stages", "default", "released", "end_to_end", "peers", "hands_curve", "cameras_curve")
"""What can be measured, in this order."""
USUAL = PARTS[:5]
ROUNDS = 3
"""How often nodes that are compared take turns."""
CAMERAS = 3
"""Of the curve."""


def run_bench(parts: list[str], seconds: float, output: Path | None) -> int:
    """Measures ``parts`` (of ``PARTS``; none for the usual ones), each stream for so many seconds; prints the figures and writes them as
    JSON. Returns the exit code: 1 where a node or the camera failed, which is said on stderr.

    :raises OSError: the output cannot be written.
    """
    figures = Figures()
    try:
        # The output first: what cannot be written shows before the work.
        with OutputFile(output) if output else nullcontext() as file:
            _measure(parts or list(USUAL), seconds, figures)
            if file is not None:
                file.write_text(json.dumps(figures, indent=2) + "\n")
    except RuntimeError as error:
        print(f"wildhands bench: {error}", file=sys.stderr)
        return 1
    if output:
        print(f"wrote {output}")
    return 0


class Figures(dict):
    """What was measured; prints what is added."""

    def add(self, **found: object) -> None:
        self.update(found)
        for name, value in found.items():
            print(f"{name}: {json.dumps(value)}", flush=True)


def _measure(parts: list[str], seconds: float, figures: Figures) -> None:
    clip = load_clip(share_folder("demo"))
    figures.add(machine=machine())
    if "stages" in parts:
        stages, estimates = run_stages(clip, frames=max(10, round(seconds * RATE)))
        steps = run_overhead(clip, estimates)
        overhead, markers = overhead_ms(steps, stages["mesh"])
        figures.add(stages={name: percentiles(values) for name, values in (stages | steps).items()})
        figures.add(node_overhead_ms=overhead, markers_ms=markers, fit_ms=percentiles(stages["fit_per_hand"])["p50_ms"])
    repeats = max(5, round(seconds))
    if "default" in parts:
        figures.add(default=compare(default_network, clip, repeats))
    if "released" in parts:
        figures.add(released=compare(released_network, clip, repeats, with_int8=True))
    if "hands_curve" in parts:
        networks = {"default": default_network, "released": released_network}
        figures.add(network_ms_by_hands={name: cost_per_hand(make, clip, repeats) for name, make in networks.items()})
    if "end_to_end" in parts or "peers" in parts:
        figures.add(**_end_to_end(seconds, with_peers="peers" in parts))
    if "cameras_curve" in parts:
        figures.add(cameras=_cameras(seconds))


def _end_to_end(seconds: float, with_peers: bool) -> dict[str, object]:
    """The node at 30 Hz and as fast as it can; peers take turns with it, every round a part of the time."""
    kinds = ["wildhands", "naive", "mediapipe"] if with_peers else ["wildhands"]
    rounds = ROUNDS if with_peers else 1
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    with streams({kind: kind for kind in kinds}) as nodes:
        start_up = {kind: round(nodes.start(kind), 1) for kind in kinds}
        for _ in range(rounds):
            for kind in kinds:
                runs[kind].append(nodes.run([kind], RATE, seconds / rounds)[kind].figures())
        peak = nodes.run(["wildhands"], 0.0, seconds / rounds)["wildhands"].figures()
        memory = {kind: nodes.memory(kind) for kind in kinds}
    own = _median(runs["wildhands"])
    found: dict[str, object] = {
        "end_to_end": own,
        "peak_fps": peak["fps"],
        "ms_at_30hz": own["age_mean_ms"],
        "start_up_s": start_up["wildhands"],
        **memory["wildhands"],
    }
    if with_peers:
        found["peers"] = {
            kind: {**_median(runs[kind]), **memory[kind], "age_ratios": _ratios(runs[kind], runs["wildhands"])}
            for kind in kinds[1:]
        }
    return found


def _cameras(seconds: float) -> dict[str, object]:
    """One node a camera, 1 to ``CAMERAS`` of them at once."""
    names = [f"camera{i}" for i in range(CAMERAS)]
    found = {}
    with streams(dict.fromkeys(names, "wildhands")) as nodes:
        for name in names:
            nodes.start(name)
        for count in range(1, CAMERAS + 1):
            every: dict[str, Stream] = nodes.run(names[:count], RATE, seconds)
            found[str(count)] = [stream.figures() for stream in every.values()]
    return found


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Of each figure over the rounds; the spread of the ages beside it where there are several."""
    figures = {name: round(float(np.median([one[name] for one in rounds])), 2) for name in rounds[0]}
    if len(rounds) > 1:
        figures["age_p50_ms_rounds"] = [one["age_p50_ms"] for one in rounds]
    return figures


def _ratios(slow: list[dict[str, float]], fast: list[dict[str, float]]) -> list[float]:
    """How many times as old a peer's hands are, in each round."""
    return [round(a["age_p50_ms"] / b["age_p50_ms"], 2) for a, b in zip(slow, fast, strict=True)]
