# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node's log: records of Python's logging, which the engine uses, go to rclpy's logger."""

from __future__ import annotations

import logging
from typing import Protocol


class RosLogger(Protocol):
    """The part of rclpy's logger that is used."""

    def debug(self, message: str) -> bool:
        """Log a message."""
        ...

    def info(self, message: str) -> bool:
        """Log a message."""
        ...

    def warning(self, message: str) -> bool:
        """Log a message."""
        ...

    def error(self, message: str) -> bool:
        """Log a message."""
        ...


class RosLogHandler(logging.Handler):
    """Hands records on to a ROS logger."""

    def __init__(self, logger: RosLogger):
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at the ROS level that fits; an error in doing so raises nothing."""
        try:
            self._log(self.format(record), record.levelno)
        except Exception:
            self.handleError(record)

    def _log(self, message: str, level: int) -> None:
        # rclpy fixes one severity for each line of code that logs: four lines, not one.
        if level >= logging.ERROR:
            self._logger.error(message)
        elif level >= logging.WARNING:
            self._logger.warning(message)
        elif level >= logging.INFO:
            self._logger.info(message)
        else:
            self._logger.debug(message)


def route_logs(logger: RosLogger) -> RosLogHandler:
    """Send all log records of detsam2_ros to a ROS logger; `unroute_logs` undoes that."""
    own = logging.getLogger('detsam2_ros')
    handler = RosLogHandler(logger)
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    own.propagate = False
    return handler


def unroute_logs(handler: RosLogHandler) -> None:
    """Undo `route_logs`."""
    own = logging.getLogger('detsam2_ros')
    own.removeHandler(handler)
    own.propagate = not own.handlers
