# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The managed node `detsam2_space`: where the objects of detsam2 are, with corrections."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import detsam2_space

    detsam2_space()

import signal
import sys
import time
from typing import Any

import rclpy
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

from detsam2_ros.ros.arguments import start, unused_parameter_files
from detsam2_ros.ros.bond import ManagerBond, check_bondpy
from detsam2_ros.ros.managed_node import ManagedNode
from detsam2_ros.ros.parameters.checks import ParameterError
from detsam2_ros.ros.space.camera import SpaceCamera
from detsam2_ros.ros.space.diagnostics import SpaceDiagnostics
from detsam2_ros.ros.space.parameters import declare_space_parameters
from detsam2_ros.ros.spinner import CallbackExecutor, Spinner
from detsam2_ros.stop_flag import StopFlag

_LOOK_SECONDS = 0.1  # between two looks for depth that is overdue
_STOP_SECONDS = 2.0  # that a shutdown waits for callbacks
ABOUT = """\
The managed node detsam2_space says where the objects of a node detsam2 are: from its masks, a
depth image registered to the camera, and the camera's calibration. When masks of the past are
corrected, it corrects positions.

  --ros-args -r '~/depth:=/cam/aligned_depth' -r '~/camera_info:=/cam/camera_info'
  --ros-args -p detsam2:=/detsam2   the node whose masks are taken
  --ros-args --params-file FILE     that of the node detsam2 will do: equal names mean the same

Topics and parameters: docs/space.md. Or: ros2 launch detsam2_ros detsam2.launch.py space:=true
"""


class SpaceNode(ManagedNode):
    """Places the objects of its cameras; topics and parameters: docs/space.md."""

    def __init__(self, **kwargs: Any):
        super().__init__('detsam2_space', **kwargs)
        self._cameras: list[SpaceCamera] = []
        self._ending = False
        self.settings = declare_space_parameters(self)
        self._diagnostics = SpaceDiagnostics(self)
        self._bond = ManagerBond(self)
        self._call_every(self.settings.diagnostics_period, self._publish_diagnostics)
        self._call_every(_LOOK_SECONDS, self._look_at_cameras)

    def start(self) -> None:
        """With autostart, configure and activate."""
        if self.settings.autostart:
            self._start()

    # ---- lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the publishers."""
        with self._transition:
            cameras: list[SpaceCamera] = []
            try:
                if self.settings.bond:
                    check_bondpy()
                for name in self.settings.camera_names:
                    cameras.append(SpaceCamera(self, name, self.settings))
            except Exception as error:
                for camera in cameras:
                    camera.destroy()
                return self._failed('configure', error)
            self._cameras = cameras
            return self._reached('inactive')

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish, and subscribe to masks, depth and calibration."""
        with self._transition:
            outcome = super().on_activate(state)
            if outcome != TransitionCallbackReturn.SUCCESS:
                return outcome
            try:
                for camera in self._cameras:
                    camera.subscribe()
                if self.settings.bond:
                    self._bond.form()
            except Exception as error:
                self._bond.end()
                for camera in self._cameras:
                    camera.unsubscribe()
                super().on_deactivate(state)
                return self._failed('activate', error)
            return self._reached('active')

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take nothing more, and publish the frames that wait for their depth."""
        with self._transition:
            self._bond.end()
            for camera in self._cameras:
                camera.unsubscribe()
            outcome = super().on_deactivate(state)
            self._reached('inactive')
            return outcome

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give depth images and publishers back."""
        with self._transition:
            self._release()
            return self._reached('unconfigured')

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        with self._transition:
            self._bond.end()
            if state.label == 'active':
                for camera in self._cameras:
                    camera.unsubscribe()
                super().on_deactivate(state)
            self._release()
            return self._reached('finalized')

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error in a transition: release everything and go back to unconfigured."""
        with self._transition:
            self._bond.end()
            self._release()
            self._state = 'unconfigured'
            return TransitionCallbackReturn.SUCCESS

    def _release(self) -> None:
        cameras, self._cameras = self._cameras, []
        for camera in cameras:
            camera.destroy()

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        kind = '' if isinstance(error, ParameterError) else f'{type(error).__name__}: '
        self._problem = f'{transition} failed: {kind}{error}'
        self.get_logger().error(self._problem)
        return TransitionCallbackReturn.FAILURE

    # ---- timers and end ------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        if not self._ending:
            self._diagnostics.publish(self._state, self._problem, self._cameras)

    def _look_at_cameras(self) -> None:
        if self._ending or not self._transition.acquire(blocking=False):
            return
        try:
            if self._state == 'active':
                for camera in self._cameras:
                    camera.look()
        finally:
            self._transition.release()

    def stop(self) -> None:
        """Shut down from any state."""
        self._ending = True
        self._stop(_STOP_SECONDS)


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if (status := start('detsam2_space', ABOUT, args)) is not None:
        return status
    try:
        node = SpaceNode()
    except (ParameterError, RuntimeError) as error:
        print(f'detsam2_space: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    for text in unused_parameter_files(args, node.get_fully_qualified_name()):
        node.get_logger().warning(text)
    # Masks, depth and calibration of each camera; timers and transitions.
    executor = CallbackExecutor(threads=3 + 3 * len(node.settings.camera_names))
    executor.add_node(node)
    spinner = Spinner(executor, stop)
    spinner.start()
    node.start()
    while not stop.is_set():
        time.sleep(0.1)
    node.stop()
    spinner.end(_STOP_SECONDS)
    node.destroy_node()
    rclpy.try_shutdown()
    return int(spinner.failed)
