"""Writes what the code says of itself elsewhere: config/wildhands.yaml, the tables of parameters and faults in docs/."""

from __future__ import annotations

import json
import textwrap
from dataclasses import fields
from pathlib import Path

from .declaration import ros_name
from .parameters import Parameters
from .soak.faults import fault_table

YAML, NODE_PAGE, FAULT_PAGE = Path("config/wildhands.yaml"), Path("docs/wildhands_node.md"), Path("docs/faults.md")
BEGIN, END = "<!-- {}: written by `python -m wildhands_ros.ros.reference` -->\n", "<!-- end of {} -->\n"


def reference_yaml() -> str:
    """A parameter file with every default, documented."""
    lines = [
        "# Parameters of wildhands_node, with their defaults. (fixed): read at configure; the others may be set at any time.",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for item in fields(Parameters):
        about, name = item.metadata, ros_name(item.name)
        notes = [about["text"]]
        if limits := _limits(about):
            notes.append(f"Range: {limits}.")
        if about["choices"]:
            notes.append(f"One of: {', '.join(about['choices'])}.")
        if about["fixed"]:
            notes.append("(fixed)")
        *parents, key = name.split(".")
        indent = 4 + 2 * len(parents)
        if parents and parents[0] != group:
            lines.append(f"    {parents[0]}:")
        group = parents[0] if parents else ""
        wrapped = textwrap.wrap(
            " ".join(notes), 120, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "# "
        )
        lines += [*wrapped, f"{' ' * indent}{key}: {json.dumps(about['default'])}"]
    return "\n".join(lines) + "\n"


def parameter_table() -> str:
    """The same as a table in Markdown."""
    lines = ["| parameter | default | range | |", "|---|---|---|---|"]
    for item in fields(Parameters):
        about = item.metadata
        limits = _limits(about) or ", ".join(f"`{choice}`" for choice in about["choices"])
        fixed = " *(fixed)*" if about["fixed"] else ""
        lines.append(
            f"| `{ros_name(item.name)}` | `{json.dumps(about['default'])}` | {limits} | {about['text']}{fixed} |"
        )
    return "\n".join(lines) + "\n"


def written(root: Path) -> dict[Path, str]:
    """What each of the files must hold.

    :raises ValueError: a page has no place for its table.
    """
    node, faults = (root / NODE_PAGE).read_text(), (root / FAULT_PAGE).read_text()
    return {
        root / YAML: reference_yaml(),
        root / NODE_PAGE: _with_table(node, "parameters", parameter_table()),
        root / FAULT_PAGE: _with_table(faults, "faults", fault_table()),
    }


def _with_table(page: str, name: str, table: str) -> str:
    head, begin, rest = page.partition(BEGIN.format(name))
    _, end, tail = rest.partition(END.format(name))
    if not begin or not end:
        raise ValueError(f"the page has no place for the {name}")
    return head + begin + "\n" + table + "\n" + end + tail


def _limits(about) -> str:
    return f"{about['bounds'][0]:g} to {about['bounds'][1]:g} {about['unit']}".rstrip() if about["bounds"] else ""


def main() -> None:
    for path, text in written(Path(__file__).resolve().parents[2]).items():
        path.write_text(text)


if __name__ == "__main__":
    main()
