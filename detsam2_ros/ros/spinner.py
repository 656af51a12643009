# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What runs the callbacks of the node: an executor whose end waits for them, and its thread."""

from __future__ import annotations

import concurrent.futures
import threading
import traceback

from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from rclpy.task import Task

from detsam2_ros.stop_flag import StopFlag


class CallbackExecutor(Executor):
    """Runs callbacks in a pool of threads, and ends when the last of them has ended.

    rclpy's MultiThreadedExecutor waits for none: its shutdown destroys the guard condition that a
    callback triggers when it has taken its message, and rclpy prints what that callback then
    raises. threads: how many callbacks run at a time.
    """

    def __init__(self, threads: int, context: Context | None = None):
        super().__init__(context=context)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, 'callback')
        self._running: dict[Task, concurrent.futures.Future[None]] = {}

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for a callback and start it; raises what one that has ended raised."""
        try:
            task, _, _ = self.wait_for_ready_callbacks(timeout_sec)
        except (TimeoutException, ShutdownException, ExternalShutdownException):
            pass
        except InvalidHandle:
            # rclpy lists the topics, then waits for them. In between, a transition on another
            # thread destroyed one. rclpy expects that of subscriptions, not of their events. The
            # next step takes a new list.
            pass
        else:
            if task not in self._running:  # rclpy lists a task again that waits for a thread
                self._running[task] = self._pool.submit(task)
        self._forget_ended()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """Wait until no callback runs, then end; call it when nothing spins any more.

        timeout_sec: None waits as long as it takes. Returns False, with nothing ended, if a
        callback runs longer. Raises what a callback raised.
        """
        if concurrent.futures.wait(self._running.values(), timeout_sec).not_done:
            return False
        self._pool.shutdown()
        super().shutdown(0.0)
        self._forget_ended()
        return True

    def _forget_ended(self) -> None:
        for task in [task for task, thread in self._running.items() if thread.done()]:
            del self._running[task]
            error = task.exception()
            # What it is about was destroyed before a thread was free for it.
            if error is not None and not isinstance(error, InvalidHandle):
                raise error


class Spinner(threading.Thread):
    """Spins an executor until `end` is called; sets `stop` when spinning ends by itself."""

    def __init__(self, executor: CallbackExecutor, stop: StopFlag):
        super().__init__(name='executor', daemon=True)
        self.failed = False  # a callback raised: a defect, so the process exits with an error
        self._executor = executor
        self.stop_process = stop
        self._ending = False

    def run(self) -> None:
        """Spin in single steps, since a shutdown from another thread can break `spin`."""
        try:
            while self._executor.context.ok() and not self._ending:
                self._executor.spin_once(timeout_sec=1.0)
        except BaseException:
            self.failed = True
            raise
        finally:
            self.stop_process.set()

    def end(self, timeout: float) -> bool:
        """End spinning, then wait so many seconds for callbacks; returns whether all ended."""
        self._ending = True
        self._executor.wake()
        self.join(1.5)
        try:
            return not self.is_alive() and self._executor.shutdown(timeout)
        except Exception:
            self.failed = True
            traceback.print_exc()
            return True
