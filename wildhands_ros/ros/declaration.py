"""Declares and reads a node's parameters, which are the fields of a frozen dataclass with their documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, field, fields
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.parameter import Parameter

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
        try:
            value = _declare(node, item, descriptor(item))
        except ParameterError:
            raise
        except Exception as error:  # rclpy raises different types for a wrong type and for a value out of range
            raise ParameterError(f"parameter {ros_name(item.name)}: {error}") from error
        values[item.name] = field_value(item, value)
    _accept_exact_values(node, kind)
    return values


def _declare(node: Node, item: Field, descriptor: ParameterDescriptor) -> Any:
    """Declares the parameter of a field and returns its value, converted to the right type if nothing is lost."""
    name, default = ros_name(item.name), item.metadata["default"]
    try:
        value = node.declare_parameter(name, default, descriptor).value
    except InvalidParameterTypeException:
        # The same override as a parameter of any type, which tells its value.
        value = node.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True)).value
        node.undeclare_parameter(name)
        converted = exact_value(default, value)
        if converted is None:
            raise
        return node.declare_parameter(name, converted, descriptor, ignore_override=True).value
    if value is not None:
        return value
    if not isinstance(default, list):
        raise ParameterError(f"parameter {name} has no value; leave it out for its default, {default!r}")
    # An empty list, which has no type in YAML.
    if not descriptor.read_only:
        node.undeclare_parameter(name)
        kind = node.declare_parameter(name, default, descriptor, ignore_override=True).type_
        node.set_parameters([Parameter(name, kind, [])])
    return []


def exact_value(default: Any, value: Any) -> Any:
    """Converts a value to the type of a parameter's default: 10 to 10.0, 4.0 to 4, [0, 1] to ["0", "1"].

    Returns:
        The value; None if it cannot be converted without a loss.
    """
    if isinstance(default, list):
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            return None
        items = [_exact_item(default[0], item) for item in value]
        return None if None in items else items
    return _exact_item(default, value)


def _exact_item(default: Any, value: Any) -> Any:
    kind = type(default)
    if isinstance(value, bool) or isinstance(default, bool):
        return value if kind is type(value) else None
    if kind is float and isinstance(value, int):
        try:
            return float(value) if int(float(value)) == value else None
        except OverflowError:
            return None
    if kind is int and isinstance(value, float):
        return int(value) if value.is_integer() else None
    return str(value) if kind is str and isinstance(value, int) else value if isinstance(value, kind) else None


def _accept_exact_values(node: Node, kind: type[DataclassInstance]) -> None:
    """Lets values of another type be set, too, if nothing is lost by their conversion."""
    if not hasattr(node, "add_pre_set_parameters_callback"):  # ROS 2 Humble
        return
    defaults = {ros_name(item.name): item.metadata["default"] for item in fields(kind)}

    def convert(parameters: list[Parameter]) -> list[Parameter]:
        return [_converted(item, defaults[item.name]) if item.name in defaults else item for item in parameters]

    node.add_pre_set_parameters_callback(convert)


def _converted(parameter: Parameter, default: Any) -> Parameter:
    wanted = Parameter(parameter.name, value=default).type_
    if parameter.type_ == wanted or (converted := exact_value(default, parameter.value)) is None:
        return parameter
    return Parameter(parameter.name, wanted, converted)


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
