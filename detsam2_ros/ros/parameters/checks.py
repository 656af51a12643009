# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node's parameters for rclpy: declared with type and range, and checked; no engine in here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from detsam2_ros.ros.parameters.spec import ParameterSpec, Value

_TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple: Parameter.Type.STRING_ARRAY,
}
_CAMERA = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')
_INT64_MAX = 2**63 - 1


class ParameterError(ValueError):
    """Parameters that the node cannot run with; the message names them and the way out."""


def checked(spec: ParameterSpec, given: Any) -> Value:
    """Return a value in the type of its parameter; raises ParameterError that names it."""
    value = convert(spec, given)
    if type(value) is not type(spec.default):
        raise ParameterError(f'{spec.name} must be {_WANTED[spec.type_name]}, got {given!r}')
    if isinstance(value, tuple) and not all(isinstance(item, str) for item in value):
        raise ParameterError(f'{spec.name} must be {_WANTED[spec.type_name]}, got {given!r}')
    if isinstance(value, (int, float)) and spec.minimum is not None:
        maximum = _INT64_MAX if spec.maximum is None else spec.maximum
        if not spec.minimum <= value <= maximum:  # NaN is refused here too
            text = spec.range_text if spec.maximum is None else f'in {spec.range_text}'
            raise ParameterError(f'{spec.name} must be {text}, got {given!r}')
    if spec.choices and value not in spec.choices:
        raise ParameterError(f'{spec.name} must be one of {spec.range_text}, got {given!r}')
    return value  # type: ignore[no-any-return]


_WANTED = {
    'bool': 'true or false',
    'integer': 'a whole number',
    'double': 'a number',
    'string': "a string (in YAML, put '' around what looks like a number)",
    'string list': 'a list of strings such as [a, b]',
}


def convert(spec: ParameterSpec, given: Any) -> Any:
    """Convert values that YAML cannot express otherwise; return any other value unchanged."""
    if isinstance(spec.default, float) and isinstance(given, int) and not isinstance(given, bool):
        return float(given)
    if isinstance(spec.default, tuple):
        if given is None:  # an empty YAML list has no type, so that rclpy gives no value
            return ()
        if isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
            items = [str(v) if type(v) is int else v for v in given]
            return () if items == [''] else tuple(items)
    return given


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """Return what ROS is to know of a parameter."""
    descriptor = ParameterDescriptor(
        name=spec.name,
        type=type_of(spec).value,
        description=spec.description,
        read_only=spec.read_only,
        additional_constraints=_constraints(spec),
    )
    if spec.minimum is not None:
        if isinstance(spec.default, float):
            assert spec.maximum is not None
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.minimum), to_value=float(spec.maximum))
            ]
        else:
            maximum = _INT64_MAX if spec.maximum is None else int(spec.maximum)
            descriptor.integer_range = [
                IntegerRange(from_value=int(spec.minimum), to_value=maximum)
            ]
    return descriptor


def _constraints(spec: ParameterSpec) -> str:
    parts = [f'one of {spec.range_text}'] if spec.choices else []
    if spec.unit:
        parts.append(f'in {spec.unit}')
    if spec.read_only:
        parts.append('set at start only')
    return '; '.join(parts)


def type_of(spec: ParameterSpec) -> Parameter.Type:
    """Return the type of a parameter for rclpy."""
    return _TYPES[type(spec.default)]


def plain(value: Value) -> Any:
    """Return a value as rclpy takes it."""
    return list(value) if isinstance(value, tuple) else value


def camera_problems(cameras: tuple[str, ...], taken: Collection[str]) -> list[str]:
    """Return what is wrong with names of cameras; taken: names of the node itself."""
    problems = []
    for name in cameras:
        if not _CAMERA.fullmatch(name):
            problems.append(
                f'cameras: {name!r} cannot be part of a topic name; use lower-case letters, '
                f'digits and single underscores, a letter first'
            )
        elif name in taken:
            problems.append(f'cameras: {name!r} is a name of the node itself; use another one')
    twice = sorted({name for name in cameras if cameras.count(name) > 1})
    if twice:
        problems.append(f'cameras: {", ".join(map(repr, twice))} is there more than once')
    return problems


def declare(node: Node, spec: ParameterSpec, default: Any) -> Any:
    """Declare a parameter of any type; returns what was given, or the default."""
    # rclpy refuses `0` for a float and an empty YAML list in sentences of its own: accept any type
    # first, then fix the type.
    return node.declare_parameter(
        spec.name, default, ParameterDescriptor(dynamic_typing=True)
    ).value


def fix(node: Node, spec: ParameterSpec, given: Any) -> Value:
    """Give a declared parameter its type, range and value; raises ParameterError."""
    value = checked(spec, given)
    parameter = Parameter(spec.name, type_of(spec), plain(value))
    node.set_descriptor(spec.name, descriptor(spec), parameter.get_parameter_value())
    return value
