"""Results of the ablation: means and standard deviations over seeds, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .variants import OTHER_WORLDS, VARIANTS

METRICS = ("mpjpe_mm", "pa_mpjpe_corrected_mm", "mrrpe_mm", "root_mm", "l2_px_224", "grasp_accuracy")
BASELINE = "sparse"

Runs = Mapping[str, list[Mapping[str, Mapping[str, float | None]]]]
"""Figures by variant key, seed, test world and name."""


def rows_of(runs: Runs) -> list[dict]:
    """Make a row for each variant, and one for each further world that the baseline is tested on.

    Returns:
        Rows with ``key``, ``name``, ``test`` (the world of the figures), ``seeds``, and each of ``METRICS`` as
        ``{"mean", "std"}`` over the seeds (None if it does not apply; a single seed has no deviation). A variant's row
        also has ``tests`` with the same for each of its test worlds.
    """
    rows: list[dict] = []
    for key, seeds in runs.items():
        variant = VARIANTS[key]
        tests = {world: _spread([seed[world] for seed in seeds]) for world in variant.tests}
        first = variant.tests[0]
        rows.append(
            {"key": key, "name": variant.name, "test": first, "seeds": len(seeds), **tests[first], "tests": tests}
        )
    if BASELINE in runs:
        name, tests = VARIANTS[BASELINE].name, rows[list(runs).index(BASELINE)]["tests"]
        for world in OTHER_WORLDS:
            row = {
                "key": f"{BASELINE}/{world}",
                "name": f"{name}, tested on {world}",
                "test": world,
                "seeds": len(runs[BASELINE]),
            }
            rows.append({**row, **tests[world]})
    return rows


def _spread(figures: list[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    spread = {}
    for metric in METRICS:
        values = [value for seed in figures if (value := seed[metric]) is not None]
        mean = float(np.mean(values)) if values else None
        spread[metric] = {"mean": mean, "std": float(np.std(values, ddof=1)) if len(values) > 1 else None}
    return spread


def markdown(rows: list[dict], size: str) -> str:
    """Format the tables of ``docs/ablations.md``; ``size`` describes the size of the runs."""
    variants = [row for row in rows if "tests" in row]
    parts = [
        "# Ablations\n",
        f"Written by `wildhands ablate`: {size}. Mean and standard deviation over seeds in millimetres: "
        "root-relative joints (MPJPE), left wrist relative to the right one (MRRPE), wrist in the camera frame (root). "
        "Lab and wild are test splits of the synthetic world; 3D labels come from the lab only, masks and grasps from "
        "the wild.\n",
        _table([row for row in variants if row["test"] == "lab"], ("lab", "wild")),
    ]
    if fisheye := [row for row in variants if row["test"] == "fisheye"]:
        parts += [
            "## Strong distortion\n",
            "Trained on pinhole cameras and on fisheye cameras of 110 to 140 degrees.\n",
            _table(fisheye, ("fisheye", "lab")),
        ]
    if others := [row for row in rows if "tests" not in row]:
        name = VARIANTS[BASELINE].name
        lab = next(row for row in variants if row["key"] == BASELINE)
        parts += ["## Other worlds\n", f"{name[0].upper()}{name[1:]}, trained as above.\n"]
        lines = [
            f"| {row['test']} | " + " | ".join(_text(row[metric]) for metric in _SHOWN) + " |" for row in (lab, *others)
        ]
        parts.append("\n".join(["| tested on | MPJPE | MRRPE | root |", "|---|---|---|---|", *lines]) + "\n")
    return "\n".join(parts)


_SHOWN = ("mpjpe_mm", "mrrpe_mm", "root_mm")


def _table(rows: list[dict], worlds: tuple[str, str]) -> str:
    titles = [f"{title}, {world}" for world in worlds for title in ("MPJPE", "MRRPE", "root")]
    lines = [
        f"| {row['name']} | "
        + " | ".join(_text(row["tests"][world][metric]) for world in worlds for metric in _SHOWN)
        + " |"
        for row in rows
    ]
    return "\n".join([f"| trained | {' | '.join(titles)} |", "|---" * 7 + "|", *lines]) + "\n"


def _text(value: Mapping[str, float | None]) -> str:
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.1f}" + ("" if value["std"] is None else f" ± {value['std']:.1f}")
