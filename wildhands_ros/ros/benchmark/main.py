"""``wildhands bench``: measures the speed on this machine."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...benchmark.clip import RATE, Clip, load_clip
from ...benchmark.figures import percentiles
from ...benchmark.fits import measure_depth_fit, measure_fusion
from ...benchmark.limits import gemm_gflops, trunk_limit_ms
from ...benchmark.machine import machine
from ...benchmark.stages import POSE, run_stages
from ...benchmark.stills import measure_stills
from ...io.files import OutputFile
from ...io.progress import busy
from ...runtime.cores import divided_cores
from ...runtime.threads import available_cpus
from ..share import share_folder
from .annotation import measure_annotation
from .overhead import frame_ms, markers_ms, overhead_ms, run_overhead
from .streams import SETTLE, streams

if TYPE_CHECKING:
    from ...network.model import WildHands
    from ...network.network_file import NetworkFile

PARTS = (
    "stages",
    "default",
    "released",
    "end_to_end",
    "peers",
    "hands_curve",
    "cameras_curve",
    "depth",
    "fusion",
    "annotation",
    "stills",
)
"""What can be measured, in this order."""
DEFAULT_PARTS = PARTS[:5]
QUICK_PARTS = ("stages", "end_to_end", "peers")
SECONDS, QUICK_SECONDS = 30.0, 2.0
"""Duration of each stream, and in a quick run, unless it is given."""
ROUNDS = 3
"""Number of turns that nodes take when they are compared."""
MAX_CAMERAS = 4
"""Largest number of cameras in the curve."""


def run_bench(
    parts: list[str],
    seconds: float | None,
    output: Path | None,
    quick: bool = False,
    photographs: Path | None = None,
) -> int:
    """Measures, prints the figures and writes them as JSON.

    Args:
        parts: some of ``PARTS``; if empty, ``DEFAULT_PARTS`` or, in a quick run, ``QUICK_PARTS``.
        seconds: duration of each stream; None for ``SECONDS``, or ``QUICK_SECONDS`` in a quick run.
        output: the JSON file, if any.
        quick: whether to leave out the networks alone and the slow naive node.
        photographs: folder of photographs for the part stills; None for images of the demo clip.

    Returns:
        The exit code: 1 if a node or the camera failed, with the reason on stderr.

    Raises:
        OSError: the output cannot be written.
        ValueError: there are too few photographs.
    """
    figures = Figures()
    try:
        # Open the output first: a path that cannot be written fails before the work.
        with OutputFile(output) if output else nullcontext() as file, busy("measuring"):
            if quick:
                _measure(parts or list(QUICK_PARTS), seconds or QUICK_SECONDS, figures, ["mediapipe"])
            else:
                _measure(parts or list(DEFAULT_PARTS), seconds or SECONDS, figures, ["naive", "mediapipe"])
            if "stills" in parts:
                figures.add(stills=measure_stills(load_clip(share_folder("demo")), photographs))
            if file is not None:
                file.write_text(json.dumps(figures, indent=2) + "\n")
    except RuntimeError as error:
        print(f"wildhands bench: {error}", file=sys.stderr)
        return 1
    if output:
        print(f"wrote {output}")
    return 0


class Figures(dict[str, object]):
    """What was measured, by name."""

    def add(self, **figures: object) -> None:
        """Adds figures and prints them."""
        self.update(figures)
        for name, value in figures.items():
            print(f"{name}: {json.dumps(value)}", flush=True)


def _measure(parts: list[str], seconds: float, figures: Figures, peers: list[str]) -> None:
    clip = load_clip(share_folder("demo"))
    figures.add(machine=machine())
    if "stages" in parts:
        gflops = gemm_gflops()
        stages = run_stages(clip, frames=max(10, round(seconds * RATE)))
        steps = run_overhead(clip, stages.estimates)
        times = {**stages.seconds, "fit_per_hand": stages.fit_seconds_per_hand, **steps}
        figures.add(stages={name: percentiles(values) for name, values in times.items()})
        figures.add(
            node_overhead_ms=overhead_ms(steps, stages.seconds[POSE]),
            markers_ms=markers_ms(steps),
            fit_ms=percentiles(stages.fit_seconds_per_hand)["p50_ms"],
        )
        hands = round(float(np.mean([len(estimate.hands) for estimate in stages.estimates])))
        limit = trunk_limit_ms(gflops, max(1, hands), available_cpus())
        frame = frame_ms(stages.seconds, steps)
        figures.add(
            gemm_gflops_core=round(gflops, 1),
            trunk_limit_ms=round(limit, 2),
            frame_ms=round(frame, 2),
            frame_over_limit=round(frame / limit, 2),
        )
    if {"default", "released", "hands_curve"} & set(parts):
        _measure_networks(parts, clip, seconds, figures)
    if "end_to_end" in parts or "peers" in parts:
        figures.add(**_end_to_end(seconds, peers if "peers" in parts else []))
    if "cameras_curve" in parts:
        figures.add(**_cameras_curve(seconds))
    if "depth" in parts:
        figures.add(depth_fit=measure_depth_fit(clip, frames=max(10, round(seconds * RATE))))
    if "fusion" in parts:
        figures.add(fusion=measure_fusion())
    if "annotation" in parts:
        figures.add(annotation=measure_annotation(share_folder("demo"), seconds))


def _measure_networks(parts: list[str], clip: Clip, seconds: float, figures: Figures) -> None:
    """Measures the networks alone, which needs PyTorch."""
    if find_spec("torch") is None:
        print("without PyTorch, networks are not compared with it: pip install 'wildhands_ros[train]'", flush=True)
        return
    from ...benchmark.networks import compare, cost_per_hand, default_network, released_network

    repeats = max(5, round(seconds))
    if "default" in parts:
        figures.add(default=compare(default_network, clip, repeats))
    if "released" in parts:
        figures.add(released=compare(released_network, clip, repeats, with_int8=True))
    if "hands_curve" in parts:
        networks: dict[str, Callable[[], NetworkFile | WildHands]] = {
            "default": default_network,
            "released": released_network,
        }
        figures.add(network_ms_by_hands={name: cost_per_hand(make, clip, repeats) for name, make in networks.items()})


def _end_to_end(seconds: float, peers: list[str]) -> dict[str, object]:
    """Measures the node at 30 Hz and at its maximum rate.

    Comparable nodes take turns with it, each for a part of the time.
    """
    kinds = ["wildhands", *peers]
    if "mediapipe" in kinds and find_spec("mediapipe") is None:
        print("MediaPipe is not installed and therefore not compared: pip install 'wildhands_ros[mediapipe]'")
        kinds.remove("mediapipe")
    rounds = ROUNDS if len(kinds) > 1 and seconds >= ROUNDS * SETTLE else 1
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    with streams({kind: kind for kind in kinds}) as nodes:
        start_up = {kind: round(nodes.start(kind), 1) for kind in kinds}
        for _ in range(rounds):
            for kind in kinds:
                runs[kind].append(nodes.run([kind], RATE, seconds / rounds)[kind].figures(kind))
        peak = nodes.run(["wildhands"], 0.0, seconds / rounds)["wildhands"].figures()
        memory = {kind: nodes.memory(kind) for kind in kinds}
    node = _median(runs["wildhands"])
    figures: dict[str, object] = {
        "end_to_end": node,
        "peak_fps": peak["fps"],
        "ms_at_30hz": node["age_mean_ms"],
        "start_up_s": start_up["wildhands"],
        **memory["wildhands"],
    }
    if peers:
        figures["peers"] = {
            kind: {**_median(runs[kind]), **memory[kind], "age_ratios": _age_ratios(runs[kind], runs["wildhands"])}
            for kind in kinds[1:]
        }
    return figures


def _cameras_curve(seconds: float) -> dict[str, object]:
    """Measures 1 to ``MAX_CAMERAS`` cameras at once.

    Either all share a process, as ``wildhands_cameras`` runs them, or each has a node of its own, which divide the
    cores among themselves, as with ``wildhands_multi.launch.py``.
    """
    processes, together, memory = {}, {}, {}
    for count in range(1, MAX_CAMERAS + 1):
        names = [f"camera{i}" for i in range(count)]
        with streams(dict.fromkeys(names, "wildhands")) as nodes:
            for i, name in enumerate(names):
                nodes.start(name, divided_cores(i, count))
            processes[str(count)] = [run.figures() for run in nodes.run(names, RATE, seconds).values()]
            of_processes = nodes.total_mb()
        with streams(dict.fromkeys(names, "wildhands")) as nodes:
            nodes.start_together(names)
            together[str(count)] = [run.figures() for run in nodes.run(names, RATE, seconds).values()]
            memory[str(count)] = {"processes": of_processes, "one_process": nodes.total_mb()}
    return {"cameras": processes, "cameras_in_one_process": together, "cameras_rss_mb": memory}


def _median(rounds: list[dict[str, float]]) -> dict[str, object]:
    """Returns the median of each figure over the rounds, and the median ages of single rounds if there are several."""
    figures: dict[str, object] = {name: round(float(np.median([one[name] for one in rounds])), 2) for name in rounds[0]}
    if len(rounds) > 1:
        figures["age_p50_ms_rounds"] = [one["age_p50_ms"] for one in rounds]
    return figures


def _age_ratios(peer: list[dict[str, float]], node: list[dict[str, float]]) -> list[float]:
    """Returns the ratio of the hands' ages, comparable node to this node, of each round."""
    return [round(a["age_p50_ms"] / b["age_p50_ms"], 2) for a, b in zip(peer, node, strict=True)]
