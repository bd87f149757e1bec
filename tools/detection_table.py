"""Prints the figures of ``wildhands evaluate detection --json`` as the table of docs/accuracy.md.

    python tools/detection_table.py figures.json [more.json ...]

Files with figures of different detectors on the same images are joined.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ROWS = {
    "precision": "recall / precision",
    "precision_30": "recall / precision at IoU 0.3",
    "average_precision": "average precision",
    "side_accuracy": "correct side",
    "false_in_hand_free": "hand-free images with a hand",
    "calibration_error": "calibration error",
    "side_calibration_error": "calibration error of the side",
}
"""Title of each figure that a table shows."""


def percent(figures: dict, key: str) -> str:
    """Returns a figure in percent; recall and precision together, precision alone being unknown in some images."""
    value = "-" if figures[key] is None else f"{100 * figures[key]:.0f}"
    if not key.startswith("precision"):
        return value
    recall = figures[key.replace("precision", "recall")]
    return "-" if recall is None else f"{100 * recall:.0f} / {value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    results: dict[str, dict] = {}
    for file in parser.parse_args().files:
        results |= json.loads(file.read_text())
    suites = list(next(iter(results.values()))["suites"])
    print(f"| | | {' | '.join(results)} |")
    print("|---" * (len(results) + 2) + "|")
    for suite in suites:
        rows = [result["suites"][suite] for result in results.values()]
        size = f"{rows[0]['pictures']} images, {rows[0]['hands']} hands"
        for key, title in ROWS.items():
            cells = [percent(row, key) for row in rows]
            if set(cells) != {"-"}:
                print(f"| {f'{suite}, {size}' if size else ''} | {title} | {' | '.join(cells)} |")
                size = ""


if __name__ == "__main__":
    main()
