"""Declares and reads a node's parameters, which are the fields of a frozen dataclass with their documentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class ParameterError(ValueError):
    """A parameter has a value that cannot be used; the message says which values can."""


def parameter(
    default: Any,
    text: str,
    unit: str = "",
    bounds: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    fixed: bool = False,
) -> Any:
    """Returns the dataclass field of a parameter. The field's name has ``__`` where the ROS name has a dot.

    Args:
        default: default value; a tuple for an array parameter.
        text: description.
        unit: unit of a number.
        bounds: inclusive range of a number.
        choices: allowed values of a string.
        fixed: whether the parameter is only read when the node is configured.
    """
    metadata = {"text": text, "unit": unit, "bounds": bounds, "choices": choices, "fixed": fixed}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata={**metadata, "default": list(default)})
    return field(default=default, metadata={**metadata, "default": default})


def ros_name(field_name: str) -> str:
    """Returns the ROS name of a field."""
    return field_name.replace("__", ".")


def describe(item: Field, effect: str = "") -> ParameterDescriptor:
    """Returns the descriptor of a field: text, unit, range and choices.

    Args:
        item: the field.
        effect: when a change takes effect; without it the parameter is read-only.
    """
    about = item.metadata
    descriptor = ParameterDescriptor(name=ros_name(item.name), read_only=not effect)
    descriptor.description = about["text"] + (f" In {about['unit']}." if about["unit"] else "")
    descriptor.dynamic_typing = "off" in about["choices"]
    constraints = [f"One of: {', '.join(about['choices'])}."] if about["choices"] else []
    descriptor.additional_constraints = " ".join([*constraints, *([effect] if effect else [])])
    if about["bounds"]:
        low, high = about["bounds"]
        if isinstance(about["default"], float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        else:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    return descriptor


def declare_fields(
    node: Node, kind: type[DataclassInstance], descriptor: Callable[[Field], ParameterDescriptor]
) -> dict[str, Any]:
    """Declares a parameter for each field of a dataclass and returns their values by field name.

    Raises:
        ParameterError: a value has the wrong type or is out of range.
    """
    values = {}
    for item in fields(kind):
        name = ros_name(item.name)
        try:
            value = node.declare_parameter(name, item.metadata["default"], descriptor(item)).value
        except Exception as error:  # rclpy raises different types for a wrong type and for a value out of range
            raise ParameterError(f"parameter {name}: {error}") from error
        values[item.name] = field_value(item, value)
    return values


def field_value(item: Field, value: Any) -> Any:
    """Returns the value of a field for the value of its ROS parameter."""
    if isinstance(item.metadata["default"], list):
        return tuple(value)
    # In YAML, and therefore on the command line, a bare off is False.
    return "off" if value is False and "off" in item.metadata["choices"] else value


def check_choices(parameters: DataclassInstance) -> None:
    """Checks the values that must be one of several choices.

    Raises:
        ParameterError: a value is not one of its choices.
    """
    for item in fields(parameters):
        choices, value = item.metadata["choices"], getattr(parameters, item.name)
        if choices and value not in choices:
            raise ParameterError(
                f"parameter {ros_name(item.name)} is {value!r}; it must be one of: {', '.join(choices)}"
            )
