# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: declared with type and range, read and validated together.

declare_parameters(node)
parameters = read_parameters(node)
parameters = check_changes(parameters, changes)  # in the on-set callback
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from detsam2_ros.engine import ConfigError, EngineConfig
from detsam2_ros.engine.detector.yolo import MIN_IMAGE_SIZE
from detsam2_ros.ros.parameters.quality import QualityFollower
from detsam2_ros.ros.parameters.table import (
    BY_QUALITY,
    PARAMETERS,
    RUNTIME,
    ParameterSpec,
    Value,
)

__all__ = [
    'PARAMETERS',
    'RUNTIME',
    'NodeParameters',
    'ParameterError',
    'ParameterSpec',
    'check_changes',
    'declare_parameters',
    'read_parameters',
]

_TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple: Parameter.Type.STRING_ARRAY,
}
_CAMERA = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')
_DEVICE = re.compile(r'auto|cpu|cuda(:[0-9]+)?')
# The node's own names under ~/, of topics and of services.
_TAKEN = {
    'image', 'masks', 'objects', 'corrections', 'label_info', 'overlay', 'transition_event',
    'class_mask', 'tracked', 'detections', 'add_object', 'remove_object', 'rename_object',
    'load_memory_bank', 'save_memory_bank', 'list_memory_banks', 'unload_memory_bank', 'reset',
    'change_state', 'get_state', 'get_available_states', 'get_available_transitions',
    'get_transition_graph', 'get_parameters', 'set_parameters', 'set_parameters_atomically',
    'list_parameters', 'describe_parameters', 'get_parameter_types', 'get_type_description',
}  # fmt: skip
_INT64_MAX = 2**63 - 1
QUEUE_BY_MODE = {'online': 2, 'window': 20}  # frames; what queue_size 0 stands for
# There is no public way to ask which values were given; '' is none of a number.
_NOT_GIVEN = ''


class ParameterError(ValueError):
    """Parameters that the node cannot run with; the message names them and the way out."""


@dataclass(frozen=True)
class NodeParameters:
    """All parameters of the node, valid together; names and meaning as in PARAMETERS."""

    autostart: bool
    bond: bool
    cameras: tuple[str, ...]  # empty: one camera without a name, see camera_names
    image_transport: str
    image_reliability: str
    sam2_model: str
    sam2_config: str
    detector: str
    detector_model: str
    detector_classes: tuple[str, ...]
    detector_confidence: float
    detector_iou: float
    detector_image_size: int
    detector_half: bool
    device: str
    dtype: str
    cpu_threads: int  # 0: chosen at start
    quality: str
    engine: EngineConfig  # the parameters of the method
    queue_size: int  # 0: by mode, see frames_in_queue
    max_window_delay: float
    memory_bank_directory: str
    memory_bank: str
    max_bank_bytes: int
    overlay: bool
    diagnostics_period: float
    stale_after: float

    @property
    def camera_names(self) -> tuple[str, ...]:
        """One name for each camera; '' is the name of a single camera without one."""
        return self.cameras or ('',)

    @property
    def frames_in_queue(self) -> int:
        """How many frames of one camera may wait."""
        return self.queue_size or QUEUE_BY_MODE[self.engine.mode]

    @property
    def freshest(self) -> bool:
        """Whether the newest frame is taken where frames come too fast."""
        return self.queue_size == 0 and self.engine.mode == 'online'

    @property
    def detector_title(self) -> str:
        """The source of detections for people to read: the name of the model, or topic or none."""
        return self.detector_model if self.detector == 'yolo' else self.detector

    @property
    def bank_directory(self) -> Path:
        """The folder of the memory banks, absolute; it may not exist yet."""
        if self.memory_bank_directory:
            return Path(self.memory_bank_directory).expanduser()
        home = os.environ.get('ROS_HOME') or '~/.ros'
        return Path(home).expanduser().absolute() / 'detsam2_banks'


def declare_parameters(node: Node) -> None:
    """Declare all parameters; call this once, before callbacks for parameters are added.

    Now and when a parameter is set later, a whole number is accepted for a float, [''] for an
    empty list, and a number for a class name. A name that looks misspelt, which ROS ignores, is
    logged as a warning. Raises ParameterError that lists every value of the wrong type or out of
    range.
    """
    problems = []
    quality = ''
    given_by_itself: set[str] = set()  # of those whose default goes by quality
    for spec in PARAMETERS.values():
        # rclpy refuses `0` for a float and an empty YAML list in sentences of its own: accept any
        # type first, then fix the type.
        by_quality = spec.name in BY_QUALITY
        default = _NOT_GIVEN if by_quality else _plain(spec.default)
        given: Any = node.declare_parameter(
            spec.name, default, ParameterDescriptor(dynamic_typing=True)
        ).value
        if by_quality and given == _NOT_GIVEN:
            given = spec.default_of(quality)
        elif by_quality:
            given_by_itself.add(spec.name)
        try:
            value = _checked(spec, given)
        except ParameterError as error:
            problems.append(str(error))
            continue
        if spec.name == 'quality':  # declared before those that it gives a default
            quality = str(value)
        parameter = Parameter(spec.name, _type(spec), _plain(value))
        node.set_descriptor(spec.name, _descriptor(spec), parameter.get_parameter_value())
    if problems:
        raise ParameterError('; '.join(problems))
    _warn_about_misspelt_names(node)
    follower = QualityFollower(given_by_itself)
    # One callback: rclpy gives each the same list, and joins what they return.
    node.add_pre_set_parameters_callback(
        lambda changes: follower.with_defaults(_converted(changes))
    )
    node.add_post_set_parameters_callback(follower.note)


def read_parameters(node: Node) -> NodeParameters:
    """Return the declared parameters; raises ParameterError when they do not fit together."""
    return _together({name: node.get_parameter(name).value for name in PARAMETERS})


def check_changes(current: NodeParameters, changes: Sequence[Parameter]) -> NodeParameters:
    """Return the parameters as they would be after a change; for the on-set callback.

    Parameters of rclpy itself (use_sim_time) are left out. Raises ParameterError for a value that
    does not fit, and for a parameter that is set at start only.
    """
    values = _values(current)
    problems = []
    for change in changes:
        spec = PARAMETERS.get(change.name)
        if spec is None:
            continue
        if spec.read_only:
            problems.append(
                f'{spec.name} is set at start only: stop the node and start it with '
                f'{spec.name} in its parameter file'
            )
        values[spec.name] = change.value
    if problems:
        raise ParameterError('; '.join(problems))
    return _together(values)


def _warn_about_misspelt_names(node: Node) -> None:
    # There is no public way to ask which values were given. Files for `/**` hold parameters of
    # other nodes too, so an unknown name alone is no sign of a mistake.
    for name in getattr(node, '_parameter_overrides', {}):
        meant = difflib.get_close_matches(name, PARAMETERS, 1, cutoff=0.8)
        if name not in PARAMETERS and meant:
            node.get_logger().warning(
                f"there is no parameter '{name}', it has no effect; was {meant[0]} meant?"
            )


def _values(parameters: NodeParameters) -> dict[str, Any]:
    """Return all values by name, those of the engine included."""
    values = {f.name: getattr(parameters, f.name) for f in dataclasses.fields(parameters)}
    return {**dataclasses.asdict(values.pop('engine')), **values}


def _together(given: Mapping[str, Any]) -> NodeParameters:
    """Validate all values, each alone and all together; raises ParameterError."""
    values: dict[str, Any] = {}
    problems = []
    for name, spec in PARAMETERS.items():
        try:
            values[name] = _checked(spec, given[name])
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError('; '.join(problems))
    problems += _camera_problems(values['cameras'])
    if not _DEVICE.fullmatch(values['device']):
        problems.append(
            f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {values['device']!r}"
        )
    if 0 < values['detector_image_size'] < MIN_IMAGE_SIZE:
        problems.append(
            f'detector_image_size must be 0 or at least {MIN_IMAGE_SIZE} pixels, '
            f'got {values["detector_image_size"]}'
        )
    problems += _path_problems(values['memory_bank_directory'], values['memory_bank'])
    if not values['sam2_model'].strip():
        problems.append("sam2_model is empty; 'demo' is the shipped model")
    method = {field.name: values.pop(field.name) for field in dataclasses.fields(EngineConfig)}
    try:
        engine = EngineConfig(**method)
    except ConfigError as error:
        problems.append(str(error))
    if problems:
        raise ParameterError('; '.join(problems))
    return NodeParameters(engine=engine, **values)


def _camera_problems(cameras: tuple[str, ...]) -> list[str]:
    problems = []
    for name in cameras:
        if not _CAMERA.fullmatch(name):
            problems.append(
                f'cameras: {name!r} cannot be part of a topic name; use lower-case letters, '
                f'digits and single underscores, a letter first'
            )
        elif name in _TAKEN:
            problems.append(f'cameras: {name!r} is a name of the node itself; use another one')
    twice = sorted({name for name in cameras if cameras.count(name) > 1})
    if twice:
        problems.append(f'cameras: {", ".join(map(repr, twice))} is there more than once')
    return problems


def _path_problems(directory: str, bank: str) -> list[str]:
    problems = []
    if directory and not Path(directory).expanduser().is_absolute():
        problems.append(
            f'memory_bank_directory must be an absolute path or begin with ~, got {directory!r}'
        )
    path = PurePosixPath(bank)
    if path.is_absolute() or '..' in path.parts or bank.startswith('~'):
        problems.append(
            f'memory_bank must be a path inside memory_bank_directory, got {bank!r}; '
            f'set memory_bank_directory to the folder of the file'
        )
    return problems


def _checked(spec: ParameterSpec, given: Any) -> Value:
    """Return a value in the type of its parameter; raises ParameterError that names it."""
    value = _convert(spec, given)
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


def _convert(spec: ParameterSpec, given: Any) -> Any:
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


def _converted(changes: list[Parameter]) -> list[Parameter]:
    """Convert values that are about to be set, before rclpy compares types."""
    converted = []
    for change in changes:
        spec = PARAMETERS.get(change.name)
        value = None if spec is None else _convert(spec, change.value)
        if spec is not None and type(value) is type(spec.default):
            change = Parameter(spec.name, _type(spec), _plain(value))
        converted.append(change)
    return converted


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=spec.name,
        type=_type(spec).value,
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


def _type(spec: ParameterSpec) -> Parameter.Type:
    return _TYPES[type(spec.default)]


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value
