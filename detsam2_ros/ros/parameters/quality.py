# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A change of `quality` while the node runs changes the parameters that have a default by it."""

from __future__ import annotations

from collections.abc import Collection

from rclpy.parameter import Parameter

from detsam2_ros.engine.config_fields import QUALITIES
from detsam2_ros.ros.parameters.table import BY_QUALITY, PARAMETERS


class QualityFollower:
    """Sets the parameters that nobody gave a value to those of the new quality.

    given: the parameters that were given at start; those that are set later join them.
    """

    def __init__(self, given: Collection[str]):
        self._given = set(given)

    def with_defaults(self, changes: list[Parameter]) -> list[Parameter]:
        """Return the changes with those that a new quality brings; called before they are set."""
        quality = _quality(changes)
        if quality is None:
            return changes
        left = self._given | {change.name for change in changes}
        return changes + _defaults(quality, set(BY_QUALITY) - left)

    def note(self, changes: list[Parameter]) -> None:
        """Note which parameters were set by themselves; called after they are set."""
        quality = _quality(changes)
        brought = (
            {}
            if quality is None
            else {each.name: each.value for each in _defaults(quality, BY_QUALITY)}
        )
        self._given |= {
            change.name
            for change in changes
            if change.name in BY_QUALITY and brought.get(change.name) != change.value
        }


def _quality(changes: list[Parameter]) -> str | None:
    """Return the quality that is about to be set; None for none, or one that will be refused."""
    values = [change.value for change in changes if change.name == 'quality']
    return values[-1] if values and values[-1] in QUALITIES else None


def _defaults(quality: str, names: Collection[str]) -> list[Parameter]:
    return [
        Parameter(name, value=PARAMETERS[name].default_of(quality))
        for name in BY_QUALITY
        if name in names
    ]
