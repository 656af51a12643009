# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The command line of a node: what ROS would pass over in silence is refused, and --help answered.

ROS reads what stands behind --ros-args, and nothing else.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
import yaml
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

_FLAGS = {
    '-p', '--param', '-r', '--remap', '--params-file', '--log-level', '--log-config-file', '-e',
    '--enclave',
}  # fmt: skip
_FILE = '--params-file'


def start(program: str, about: str, args: Sequence[str] | None) -> int | None:
    """Initialise rclpy, without handlers of signals; returns an exit status if that must not be.

    Prints why; the arguments are those of `exit_status`.
    """
    try:
        if (status := exit_status(program, about, args)) is None:
            rclpy.init(
                args=None if args is None else list(args),
                signal_handler_options=SignalHandlerOptions.NO,
            )
    except RuntimeError as error:  # arguments or a file that ROS cannot read
        print(f'{program}: {error}', file=sys.stderr)
        return 2
    return status


def exit_status(program: str, about: str, args: Sequence[str] | None) -> int | None:
    """Return the exit status of a program whose arguments end it, None to go on.

    Prints the help, or why an argument has no effect. about: of the help, behind the usage. args:
    without the name of the program; None: those of the process. Raises RuntimeError for arguments
    that ROS cannot read.
    """
    given = sys.argv[1:] if args is None else list(args)
    if {'-h', '--help'} & set(given):
        print(f"usage: {program} [--ros-args [-p NAME:=VALUE] [-r '~/NAME:=TOPIC'] "
              f'[{_FILE} FILE]]\n\n{about}')
        return 0
    if rest := list(_outside(given)):
        print(f'{program}: {_complaint(rest)}; {program} --help says more', file=sys.stderr)
        return 2
    try:
        remove_ros_args([program, *given])
    except rclpy_implementation.UnknownROSArgsError as error:  # a list is all that it says
        raise RuntimeError(f'ROS does not know these arguments: {error}') from error
    return None


def _outside(given: Sequence[str]) -> Iterator[str]:
    """Yield the arguments that ROS does not read, or takes for remapping rules of ROS 1."""
    inside = False
    for argument in given:
        if argument == '--ros-args' or (inside and argument == '--'):
            inside = argument == '--ros-args'
        elif not inside:
            yield argument


def _complaint(rest: Sequence[str]) -> str:
    first = rest[0]
    if first in _FLAGS:
        return f'{" ".join(rest[:2])} has no effect here; write --ros-args {" ".join(rest[:2])}'
    if ':=' not in first:
        return f'the argument {first} is unknown'
    flag = '-r' if first[0] in '~/_' or first.startswith('image:=') else '-p'
    return f'{first} has no effect; write --ros-args {flag} {first}'


def unused_parameter_files(args: Sequence[str] | None, node: str) -> list[str]:
    """Return a sentence on each parameter file that holds nothing for a node.

    args: as in `exit_status`. node: its full name.
    """
    given = sys.argv[1:] if args is None else list(args)
    if '--ros-args' not in given:
        return []
    given = given[given.index('--ros-args'):]
    files = [path for flag, path in zip(given, given[1:], strict=False) if flag == _FILE]
    return [text for path in files if (text := _unused(Path(path), node))]


def _unused(path: Path, node: str) -> str:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, yaml.YAMLError) as error:
        return f'the parameter file {path} cannot be checked: {error}'
    names = list(_nodes(content if isinstance(content, Mapping) else {}))
    if any(_matches(name, node) for name in names):
        return ''
    held = f'only some for {", ".join(names)}' if names else 'none for any'
    return f'the parameter file {path} holds no parameters for {node}, {held}'


def _nodes(content: Mapping[Any, Any], above: str = '') -> Iterator[str]:
    """Yield the full names, with * and **, of the nodes that a file has parameters for.

    Or has none, and says so: ros2 launch writes such a file.
    """
    for key, value in content.items():
        if key == 'ros__parameters':
            yield above
        elif isinstance(value, Mapping):
            yield from _nodes(value, f'{above}/{str(key).strip("/")}')


def _matches(name: str, node: str) -> bool:
    """Tell whether a name with * (one part) and ** (any number of parts) is that of a node."""
    parts = [re.escape(part) for part in name.split('/')[1:]]
    pattern = ''.join(
        {r'\*\*': '(/[^/]+)*', r'\*': '/[^/]+'}.get(part, f'/{part}') for part in parts)
    return re.fullmatch(pattern, node) is not None
