# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all services share: every error becomes an answer, and the choice of the camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from detsam2_ros.engine import EngineError, WindowError
from detsam2_ros.ros.session import Session, SessionHolder
from detsam2_ros.runtime.worker import WorkerStoppedError

MAX_NAME = 200  # characters of the name of a class


class RequestError(Exception):
    """A request that cannot be served; the message names the reason and what to do."""


class ServiceBase:
    """Answers every request with a readable message, in any state of the node.

    held: holds the session of the node; without one every request is refused.
    """

    quiet: tuple[str, ...] = ()  # services whose answers are not worth a line of the log

    def __init__(self, node: Node, held: SessionHolder):
        self._log = node.get_logger()
        self._held = held

    def _guarded(self, name: str, answer: Callable[..., None]) -> Callable[..., Any]:
        """Turn every error into an answer: a service that raises would end the executor."""

        def callback(request: Any, response: Any) -> Any:
            try:
                session = self._held.session
                if session is None:
                    raise RequestError('the node is not configured yet; configure it first')
                answer(session, request, response)
            except (EngineError, RequestError, WorkerStoppedError) as error:
                response.success, response.message = False, str(error)
                # The caller's mistake, unless inference failed.
                if not isinstance(error, WindowError):
                    self._log.warning(f'{name}: {response.message}')
                    return response
            except Exception as error:
                response.success = False
                response.message = f'internal error, {type(error).__name__}: {error}'
            # rclpy fixes one severity for each line of code that logs.
            if not response.success:
                self._log.error(f'{name}: {response.message}')
            elif name not in self.quiet:
                self._log.info(f'{name}: {response.message}')
            return response

        return callback


def known_camera(session: Session, camera: str) -> str:
    """Return the name of a camera that exists; raises RequestError."""
    names = session.parameters.camera_names
    if camera not in names:
        raise RequestError(
            f"there is no camera '{camera}'; the parameter cameras has "
            f'{", ".join(n for n in names if n) or "none with a name"}')
    return camera


def one_camera(session: Session, camera: str) -> str:
    """Return the camera of a request; '' may stand for the only camera."""
    names = session.parameters.camera_names
    if not camera and len(names) > 1:
        raise RequestError(
            f'camera is empty, but there are {len(names)}: {", ".join(names)}; name one')
    return known_camera(session, camera) if camera else names[0]


def read_class_name(text: str) -> str:
    """Return a class name without surrounding blanks, '' for none; raises RequestError."""
    name = text.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        raise RequestError(
            f'class_name must have at most {MAX_NAME} printable characters, got {name[:40]!r}')
    return name
