"""Draws docs/architecture.svg from the package's import graph.

    python tools/draw_architecture.py

Boxes are the folders and modules of ``wildhands_ros``; each row imports only from the rows below it. To keep the
drawing readable, an arrow is left out where a path of other arrows implies it. ``test/test_docs.py`` checks that the
file is up to date and that imports form no cycle.
"""

from __future__ import annotations

import ast
import itertools
from collections import defaultdict
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "wildhands_ros"
DRAWING = ROOT / "docs/architecture.svg"

LEFT_OUT = {"__init__", "versions"}
"""Modules that say nothing about the architecture."""

BOX_WIDTH, BEND_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 128, 4, 34, 22, 46, 20


def import_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Maps each top-level folder or module to those that it imports; imports inside of functions count."""
    graph: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        unit = _unit(file.relative_to(package).parts)
        if unit not in LEFT_OUT:
            graph.setdefault(unit, set()).update(_imported_units(file, package) - {unit} - LEFT_OUT)
    return {unit: {other for other in imported if other in graph} for unit, imported in graph.items()}


def _unit(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def _imported_units(file: Path, package: Path) -> set[str]:
    units = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = file.relative_to(package).parent.parts
        base = folder[: len(folder) + 1 - node.level] + tuple((node.module or "").split(".") if node.module else ())
        units |= {base[0]} if base else {alias.name for alias in node.names}
    return units


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """The length of the longest chain of imports under each unit.

    Raises:
        ValueError: imports form a cycle.
    """
    found: dict[str, int] = {}

    def level(unit: str, chain: tuple[str, ...]) -> int:
        if unit in chain:
            raise ValueError(f"imports form a cycle: {' -> '.join((*chain[chain.index(unit) :], unit))}")
        if unit not in found:
            found[unit] = max((1 + level(other, (*chain, unit)) for other in sorted(graph[unit])), default=0)
        return found[unit]

    for unit in graph:
        level(unit, ())
    return found


def _bottom_up(graph: dict[str, set[str]]) -> list[str]:
    level = levels(graph)
    return sorted(graph, key=lambda unit: (level[unit], unit))


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that longer paths imply (transitive reduction)."""
    reachable: dict[str, set[str]] = {}
    for unit in _bottom_up(graph):
        reachable[unit] = graph[unit].union(*(reachable[other] for other in graph[unit]))
    return {
        unit: {other for other in imported if not any(other in reachable[middle] for middle in imported - {other})}
        for unit, imported in graph.items()
    }


def rows_of(graph: dict[str, set[str]]) -> list[list[str]]:
    """The units in rows, the lowest first: each as high as the units that import it allow."""
    bottom_up = levels(graph)
    top = max(bottom_up.values())
    row: dict[str, int] = {}
    for unit in sorted(graph, key=lambda unit: (-bottom_up[unit], unit)):
        row[unit] = min((row[other] - 1 for other in graph if unit in graph[other]), default=top)
    lowest = min(row.values())
    return [sorted(unit for unit in row if row[unit] == number) for number in range(lowest, top + 1)]


def drawing(graph: dict[str, set[str]]) -> str:
    """The SVG: importing units above, imported units below."""
    arrows = reduced(graph)
    rows = rows_of(graph)
    chains = _with_bends(rows, arrows)
    _order(rows, chains)
    row_widths = [sum(_width(item) + GAP_X for item in row) - GAP_X for row in rows]
    width = 2 * MARGIN + max(row_widths)
    height = 2 * MARGIN + len(rows) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    place = {}
    for number, (row, row_width) in enumerate(zip(rows, row_widths, strict=True)):
        left, top = (width - row_width) / 2, height - MARGIN - BOX_HEIGHT - number * (BOX_HEIGHT + GAP_Y)
        for item in row:
            place[item] = left + _width(item) / 2, top
            left += _width(item) + GAP_X
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" font-family="sans-serif" font-size="14">',
            "<title>What imports what in wildhands_ros; written by tools/draw_architecture.py</title>",
            '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#7a869a"/></marker>',
            f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
            *(_arrow([place[item] for item in chain]) for chain in chains),
            *(_box(unit, *place[unit]) for unit in sorted(graph)),
            "</svg>\n",
        ]
    )


def _with_bends(rows: list[list[str]], arrows: dict[str, set[str]]) -> list[list[str]]:
    """The arrows as chains of items from row to row; adds a bend to each row that an arrow passes."""
    number = {unit: i for i, row in enumerate(rows) for unit in row}
    chains = []
    for unit, other in sorted((source, target) for source in arrows for target in arrows[source]):
        bends = [f"{unit}>{other}>{i}" for i in range(number[unit] - 1, number[other], -1)]
        for bend in bends:
            rows[int(bend.rsplit(">", 1)[1])].append(bend)
        chains.append([unit, *bends, other])
    return chains


def _order(rows: list[list[str]], chains: list[list[str]]) -> None:
    """Orders each row by where its neighbours are, so that fewer arrows cross."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for chain in chains:
        for item, other in itertools.pairwise(chain):
            neighbours[item].add(other)
            neighbours[other].add(item)
    for _ in range(12):
        for i, row in enumerate(rows):
            position = {
                item: column - (len(other) - 1) / 2
                for other in rows[max(i - 1, 0) : i + 2]
                for column, item in enumerate(other)
            }
            mean = {item: fmean([position[n] for n in neighbours[item]] or [0]) for item in row}
            row[:] = [item for _, item in sorted((round(mean[item], 6), item) for item in row)]


def _width(item: str) -> int:
    return BEND_WIDTH if ">" in item else BOX_WIDTH


def _arrow(points: list[tuple[float, float]]) -> str:
    """Curved between rows, straight past the boxes of a row."""
    (x, y), half = points[0], GAP_Y / 2
    path = f"M{x:g},{y + BOX_HEIGHT:g}"
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        path += f" C{x0:g},{y0 + BOX_HEIGHT + half:g} {x1:g},{y1 - half:g} {x1:g},{y1:g}"
        if (x1, y1) != points[-1]:
            path += f" L{x1:g},{y1 + BOX_HEIGHT:g}"
    return f'<path d="{path}" fill="none" stroke="#7a869a" stroke-width="1.2" marker-end="url(#tip)"/>'


def _box(unit: str, x: float, y: float) -> str:
    is_core = unit == "estimator"
    fill, stroke = ("#fff1db", "#e07b00") if is_core else ("#eef3fb", "#3b6db3")
    return (
        f'<rect x="{x - BOX_WIDTH / 2:g}" y="{y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{fill}" stroke="{stroke}"/>'
        f'<text x="{x:g}" y="{y + 22:g}" text-anchor="middle" fill="#1b2a41">{unit}</text>'
    )


if __name__ == "__main__":
    DRAWING.write_text(drawing(import_graph()))
    print(f"wrote {DRAWING.relative_to(ROOT)}")
