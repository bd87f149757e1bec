"""Writes what is said of the parameters elsewhere: config/wildhands.yaml, and the table in docs/wildhands_node.md."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

from .parameters import Parameters, ros_name

YAML, DOCS = Path("config/wildhands.yaml"), Path("docs/wildhands_node.md")
BEGIN, END = "<!-- parameters: written by `python -m wildhands_ros.ros.reference` -->\n", "<!-- end of parameters -->\n"


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
        wrapped = textwrap.wrap(" ".join(notes), 120, initial_indent=" " * indent + "# ", subsequent_indent=" " * indent + "# ")
        lines += [*wrapped, f"{' ' * indent}{key}: {json.dumps(about['default'])}"]
    return "\n".join(lines) + "\n"


def parameter_table() -> str:
    """The same as a table in Markdown."""
    lines = ["| parameter | default | range | |", "|---|---|---|---|"]
    for item in fields(Parameters):
        about = item.metadata
        limits = _limits(about) or ", ".join(f"`{choice}`" for choice in about["choices"])
        fixed = " *(fixed)*" if about["fixed"] else ""
        lines.append(f"| `{ros_name(item.name)}` | `{json.dumps(about['default'])}` | {limits} | {about['text']}{fixed} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with today's table between its marks.

    :raises ValueError: it has no marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the parameters")
    return head + BEGIN + "\n" + parameter_table() + "\n" + END + tail


def _limits(about) -> str:
    return f"{about['bounds'][0]:g} to {about['bounds'][1]:g} {about['unit']}".rstrip() if about["bounds"] else ""


def main(root: Path) -> None:
    (root / YAML).write_text(reference_yaml())
    (root / DOCS).write_text(with_table((root / DOCS).read_text()))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parents[2]))
