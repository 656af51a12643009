# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A parameter in one line of a dataclass: default, description, allowed values, live or not.

`parameters` lists what the lines say, for help texts, ROS descriptors and documentation.
A line may have two defaults, one for each quality.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from detsam2_ros.results.errors import ConfigError

T = TypeVar('T', int, float, str)
_KEY = 'parameter'  # of the metadata of a dataclass field

# exact: every pass is run in full. balanced: what leaves work out and changes no mask to speak of
# is on.
QUALITIES = ('exact', 'balanced')


@dataclass(frozen=True)
class WholeNumber:
    """Whole numbers from a minimum to a maximum, both included; None: without a maximum."""

    minimum: int
    maximum: int | None = None
    choices: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        if self.maximum is None:
            return f'>= {self.minimum}'
        return f'{self.minimum}..{self.maximum}'

    def check(self, name: str, value: object) -> None:
        """Raise ConfigError that names the parameter unless the value is allowed."""
        if isinstance(value, bool) or not isinstance(value, int) or value < self.minimum:
            raise ConfigError(f'{name} must be a whole number >= {self.minimum}, got {value!r}')
        if self.maximum is not None and value > self.maximum:
            raise ConfigError(f'{name} must be <= {self.maximum}, got {value}')


@dataclass(frozen=True)
class Fraction:
    """Numbers from 0 to 1, both included."""

    minimum: ClassVar[float] = 0.0
    maximum: ClassVar[float] = 1.0
    choices: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return '0..1'

    def check(self, name: str, value: object) -> None:
        """Raise ConfigError that names the parameter unless the value is allowed."""
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not 0 <= value <= 1
        ):
            raise ConfigError(f'{name} must be a number in {self}, got {value!r}')


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    choices: tuple[str, ...]
    minimum: ClassVar[None] = None
    maximum: ClassVar[None] = None

    def __str__(self) -> str:
        return ', '.join(self.choices)

    def check(self, name: str, value: object) -> None:
        """Raise ConfigError that names the parameter unless the value is allowed."""
        if value not in self.choices:
            raise ConfigError(f'{name} must be one of {self}, got {value!r}')


Allowed = WholeNumber | Fraction | Choice
fraction = Fraction()


def at_least(minimum: int) -> WholeNumber:
    """Allow whole numbers from a minimum on."""
    return WholeNumber(minimum)


def between(minimum: int, maximum: int) -> WholeNumber:
    """Allow whole numbers from a minimum to a maximum, both included."""
    return WholeNumber(minimum, maximum)


def one_of(*choices: str) -> Choice:
    """Allow a few words."""
    return Choice(choices)


@dataclass(frozen=True)
class Parameter:
    """What the line of a parameter says."""

    default: int | float | str
    description: str  # sentences for users, without the allowed values
    allowed: Allowed
    live: bool  # may change between two passes of a running stream
    balanced: int | float | str | None = None  # the default of quality balanced where it differs

    def default_of(self, quality: str) -> int | float | str:
        """Return the default of a quality, one of QUALITIES."""
        if quality == 'balanced' and self.balanced is not None:
            return self.balanced
        return self.default


def parameter(
    default: T,
    description: str,
    allowed: Allowed,
    *,
    live: bool = False,
    balanced: T | None = None,
) -> T:
    """Return the dataclass field of a parameter; a type checker sees the type of the default.

    default: that of quality exact. balanced: that of quality balanced where it differs.
    """
    said = Parameter(default, description, allowed, live, balanced)
    return dataclasses.field(default=default, metadata={_KEY: said})


def parameters(owner: Any) -> dict[str, Parameter]:
    """Return the parameters of a dataclass, or of an instance of one, by name, in order."""
    return {field.name: field.metadata[_KEY] for field in dataclasses.fields(owner)}


def live_parameters(owner: Any) -> tuple[str, ...]:
    """Return the names of the parameters that may change while streams run."""
    return tuple(name for name, each in parameters(owner).items() if each.live)
