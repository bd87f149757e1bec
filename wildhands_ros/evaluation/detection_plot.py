"""Plots of detectors: precision over recall, and reliability of their scores."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure


def draw_detection(results: dict[str, dict], path: Path) -> None:
    """Plot the figures of ``evaluate detection`` to ``path``; its suffix selects the format.

    Args:
        results: Figures of each detector.
        path: The file.
    """
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    curves, scores = figure.subplots(1, 2)
    scores.plot([0, 1], [0, 1], color="grey", linewidth=1, linestyle="--")
    for name, row in results.items():
        if points := row["precision_recall"]:
            label = f"{name}: average precision {100 * row['average_precision']:.0f} %"
            curves.plot([recall for _, recall, _ in points], [precision for _, _, precision in points], label=label)
        bins = [entry for entry in row["calibration"] if entry["detections"]]
        if bins:
            error = row["calibration_error"]
            label = name if error is None else f"{name}: calibration error {100 * error:.0f} %"
            scores.plot(
                [entry["mean_score"] for entry in bins], [entry["share_of_hands"] for entry in bins], "o-", label=label
            )
    for axis, labels, title in (
        (curves, ("recall", "precision"), "detection at IoU 0.5"),
        (scores, ("score", "share of hands"), "reliability of the scores"),
    ):
        axis.set(xlabel=labels[0], ylabel=labels[1], title=title, xlim=(0, 1), ylim=(0, 1.02))
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
