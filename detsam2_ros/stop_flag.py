# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A flag that signal handlers set."""

from __future__ import annotations


class StopFlag:
    """Like threading.Event without `wait`, and without a lock.

    Python calls a handler between two steps of the main thread, which may hold an event's lock: in
    its `wait`, or in the `set` of a handler that a second signal interrupts. Then `set` would wait
    for ever.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Set it for good."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set
