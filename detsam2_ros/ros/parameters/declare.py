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

from rclpy.node import Node
from rclpy.parameter import Parameter

from detsam2_ros.engine import ConfigError, EngineConfig
from detsam2_ros.engine.detector.yolo import MIN_IMAGE_SIZE
from detsam2_ros.ros.parameters.checks import (
    ParameterError,
    camera_problems,
    checked,
    convert,
    declare,
    fix,
    plain,
    type_of,
)
from detsam2_ros.ros.parameters.quality import QualityFollower
from detsam2_ros.ros.parameters.spec import ParameterSpec
from detsam2_ros.ros.parameters.table import BY_QUALITY, PARAMETERS, RUNTIME

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
QUEUE_BY_MODE = {'online': 2, 'window': 20}  # frames; what queue_size 0 stands for
# There is no public way to ask which values were given; '' is none of a number.
_NOT_GIVEN = ''


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
        by_quality = spec.name in BY_QUALITY
        default = _NOT_GIVEN if by_quality else plain(spec.default)
        given = declare(node, spec, default)
        if by_quality and given == _NOT_GIVEN:
            given = spec.default_of(quality)
        elif by_quality:
            given_by_itself.add(spec.name)
        try:
            value = fix(node, spec, given)
        except ParameterError as error:
            problems.append(str(error))
            continue
        if spec.name == 'quality':  # declared before those that it gives a default
            quality = str(value)
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
            values[name] = checked(spec, given[name])
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError('; '.join(problems))
    problems += camera_problems(values['cameras'], _TAKEN)
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


def _converted(changes: list[Parameter]) -> list[Parameter]:
    """Convert values that are about to be set, before rclpy compares types."""
    converted = []
    for change in changes:
        spec = PARAMETERS.get(change.name)
        value = None if spec is None else convert(spec, change.value)
        if spec is not None and type(value) is type(spec.default):
            change = Parameter(spec.name, type_of(spec), plain(value))
        converted.append(change)
    return converted
