# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a parameter of a node is: name, default, range and meaning; no ROS in here."""

from __future__ import annotations

from dataclasses import dataclass

Value = bool | int | float | str | tuple[str, ...]


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter of the node; its type is that of the default (a tuple: list of strings)."""

    name: str
    default: Value
    description: str
    minimum: int | float | None = None  # of a number, inclusive; None: no bound
    maximum: int | float | None = None
    choices: tuple[str, ...] = ()  # of a string; empty: any string
    read_only: bool = True  # set at start only
    unit: str = ''
    balanced: Value | None = None  # the default with quality balanced; None: the same

    def default_of(self, quality: str) -> Value:
        """Return the default with a quality, one of QUALITIES."""
        return self.default if quality == 'exact' or self.balanced is None else self.balanced

    @property
    def type_name(self) -> str:
        """The type as ROS 2 tools write it."""
        if isinstance(self.default, tuple):
            return 'string list'
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(self.default)]

    @property
    def range_text(self) -> str:
        """The allowed values; empty when any value of the type is allowed."""
        if self.choices:
            return ', '.join(self.choices)
        if self.minimum is None:
            return ''
        unit = f' {self.unit}' if self.unit else ''
        if self.maximum is None:
            return f'>= {self.minimum:g}{unit}'
        return f'{self.minimum:g}..{self.maximum:g}{unit}'


# Parameters that every managed node has.
AUTOSTART = ParameterSpec(
    'autostart', True, 'Configure and activate at start, without a lifecycle manager.'
)
BOND = ParameterSpec(
    'bond',
    False,
    "Keep a bond with nav2's lifecycle manager while active. Needs the package bondpy.",
)
DIAGNOSTICS_PERIOD = ParameterSpec(
    'diagnostics_period', 1.0, 'Time between two messages on /diagnostics.', 0.1, 3600.0, unit='s'
)
