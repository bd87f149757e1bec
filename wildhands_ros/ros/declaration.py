"""Parameters of a node as a frozen dataclass whose fields carry their own documentation: how they are declared and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node


class ParameterError(ValueError):
    """A parameter's value cannot be used; the message says which are."""


def parameter(
    default: Any,
    text: str,
    unit: str = "",
    bounds: tuple | None = None,
    choices: tuple[str, ...] = (),
    fixed: bool = False,
) -> Any:
    """A field. ``bounds`` are inclusive; ``fixed``: read at configure. Its name has ``__`` where ROS has a dot."""
    metadata = {"text": text, "unit": unit, "bounds": bounds, "choices": choices, "fixed": fixed}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata={**metadata, "default": list(default)})
    return field(default=default, metadata={**metadata, "default": default})


def ros_name(field_name: str) -> str:
    return field_name.replace("__", ".")


def describe(item: Field, when: str = "") -> ParameterDescriptor:
    """Text, unit, range and choices of a field, and ``when`` a change counts; without that, none is taken."""
    about = item.metadata
    described = ParameterDescriptor(name=ros_name(item.name), read_only=not when)
    described.description = about["text"] + (f" In {about['unit']}." if about["unit"] else "")
    described.dynamic_typing = "off" in about["choices"]
    constraints = [f"One of: {', '.join(about['choices'])}."] if about["choices"] else []
    described.additional_constraints = " ".join([*constraints, *([when] if when else [])])
    if about["bounds"] and isinstance(about["default"], float):
        described.floating_point_range = [
            FloatingPointRange(from_value=about["bounds"][0], to_value=about["bounds"][1])
        ]
    elif about["bounds"]:
        described.integer_range = [IntegerRange(from_value=about["bounds"][0], to_value=about["bounds"][1], step=1)]
    return described


def declared(node: Node, kind: type, description: Callable[[Field], ParameterDescriptor]) -> dict[str, Any]:
    """Declares the fields of ``kind``; their values by field name.

    :raises ParameterError: wrong type, or out of range.
    """
    values = {}
    for item in fields(kind):
        name = ros_name(item.name)
        try:
            value = node.declare_parameter(name, item.metadata["default"], description(item)).value
        except Exception as error:  # rclpy raises different types for a wrong type and for a value out of range
            raise ParameterError(f"parameter {name}: {error}") from error
        values[item.name] = value_of(item, value)
    return values


def value_of(item: Field, value: Any) -> Any:
    """ROS's value of a parameter as the field's."""
    if isinstance(item.metadata["default"], list):
        return tuple(value)
    # In YAML, and so on every command line, a bare off is False.
    return "off" if value is False and "off" in item.metadata["choices"] else value


def check_choices(parameters: Any) -> None:
    """:raises ParameterError: a value is not one of its choices."""
    for item in fields(parameters):
        choices, value = item.metadata["choices"], getattr(parameters, item.name)
        if choices and value not in choices:
            raise ParameterError(
                f"parameter {ros_name(item.name)} is {value!r}; it must be one of: {', '.join(choices)}"
            )
