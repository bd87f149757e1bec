"""Plots of an evaluation: error distributions and the confusion matrix of the grasps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from ..types import Grasp
from .suite import Evaluation

_TITLES = {
    "mpjpe_mm": "root-relative joints (mm)",
    "root_mm": "wrist in the camera frame (mm)",
    "l2_box_percent": "2D joints (% of the box)",
}
_SHOWN_PERCENTILE = 98
"""Errors beyond this percentile are counted in the last bin."""


def check_format(path: Path) -> None:
    """Raise ValueError if the suffix is not an image format that matplotlib can write."""
    if path.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise ValueError(f"{path}: cannot write a plot as {path.suffix!r}; use .png, .svg or .pdf")


def draw_report(evaluation: Evaluation, path: Path) -> None:
    """Plot an evaluation to ``path``; its suffix selects the format."""
    confusion = evaluation.rows[evaluation.headline].grasp_confusion
    errors = {name: values for name, values in evaluation.of_hands.items() if values}
    panels = max(len(errors) + (confusion is not None), 1)
    columns = min(panels, 2)
    figure = Figure(figsize=(5.5 * columns, 4.8 * -(-panels // columns)), layout="constrained")
    figure.suptitle(f"{evaluation.suite}, given {evaluation.headline}; means over hands")
    axes = figure.subplots(-(-panels // columns), columns, squeeze=False).ravel()
    for axis in axes[panels:]:
        axis.remove()
    for axis, (name, values) in zip(axes, errors.items(), strict=False):
        _histogram(axis, _TITLES[name], np.array(values))
    if confusion is not None:
        _confusion(axes[panels - 1], np.array(confusion))
    figure.savefig(path, dpi=110)


def _histogram(axis: Axes, title: str, values: np.ndarray) -> None:
    top = float(np.percentile(values, _SHOWN_PERCENTILE)) or 1.0
    axis.hist(values.clip(max=top), bins=30, range=(0, top))
    axis.axvline(values.mean(), color="black", linewidth=1)
    axis.set_title(f"{title}\nmean {values.mean():.1f}, median {np.median(values):.1f}", fontsize="medium")
    axis.set_ylabel("hands")


def _confusion(axis: Axes, counts: np.ndarray) -> None:
    names = [grasp.name.lower().replace("_", " ") for grasp in Grasp if grasp is not Grasp.UNKNOWN]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axis.text(
                column,
                row,
                str(count),
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.6 else "black",
            )
    axis.set_xticks(range(len(names)), names, rotation=90, fontsize="small")
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.set_title(f"grasps: {100 * np.trace(counts) / counts.sum():.0f} % right", fontsize="medium")
    axis.set_xlabel("estimated")
    axis.set_ylabel("true")
