# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The managed node `detsam2`: lifecycle and parameters; Session and the services do the rest."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import detsam2_node

    detsam2_node()

import os
import signal
import sys
import time
from typing import Any, NoReturn

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from detsam2_ros.engine import EngineError
from detsam2_ros.ros.arguments import exit_status, unused_parameter_files
from detsam2_ros.ros.bond import ManagerBond, check_bondpy
from detsam2_ros.ros.diagnostics import Diagnostics
from detsam2_ros.ros.engine_factory import EngineFactory, build_engine
from detsam2_ros.ros.images import CvBridgeUnusable, check_cv_bridge
from detsam2_ros.ros.logs import route_logs, unroute_logs
from detsam2_ros.ros.managed_node import ManagedNode
from detsam2_ros.ros.parameters.advice import undecided_objects
from detsam2_ros.ros.parameters.declare import (
    NodeParameters,
    ParameterError,
    check_changes,
    declare_parameters,
    read_parameters,
)
from detsam2_ros.ros.services.banks import BankServices
from detsam2_ros.ros.services.objects import ObjectServices
from detsam2_ros.ros.session import AbortedError, Session, SessionHolder
from detsam2_ros.ros.spinner import CallbackExecutor, Spinner
from detsam2_ros.stop_flag import StopFlag

# Seconds that a shutdown waits: for the last masks, then for the end of the inference thread, then
# for callbacks that run.
FLUSH_SECONDS, STOP_SECONDS, CALLBACK_SECONDS = 2.0, 1.5, 1.0
# The inference thread releases the interpreter at every operation. With Python's default, a thread
# that runs Python code would then keep the interpreter for 5 ms each time.
_SWITCH_SECONDS = 0.0005
_LOOK_SECONDS = 0.5  # between two looks at the publishers of images
ABOUT = """\
The managed node detsam2 segments the images of its cameras: a detector prompts SAM 2, which tracks
objects and corrects past frames.

  --ros-args -p window_size:=5              set a parameter; docs/parameters.md lists them
  --ros-args --params-file FILE             read them from a file; config/detsam2.yaml has them all
  --ros-args -r '~/image:=/cam/image_raw'   say where the images come from

Topics and services: docs/interfaces.md. Or: ros2 launch detsam2_ros detsam2.launch.py --show-args
"""


class DetSam2Node(ManagedNode):
    """Segments the images of its cameras; topics, services and parameters: docs/interfaces.md.

    engine_factory: makes the engine from the parameters, on the inference thread.
    Spin it with an executor of several threads.
    """

    def __init__(self, engine_factory: EngineFactory = build_engine, **kwargs: Any):
        super().__init__('detsam2', **kwargs)
        self.ended = StopFlag()  # set it to end a transition that waits for models
        self.inference_ended = True  # False when a shutdown could not wait for it
        self._factory = engine_factory
        self._held = SessionHolder()
        self._logs = route_logs(self.get_logger())
        declare_parameters(self)
        self._settings = read_parameters(self)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._change_parameters)
        self._bank_services = BankServices(self, self._held)
        ObjectServices(self, self._held)
        self._diagnostics = Diagnostics(self)
        self._bond = ManagerBond(self)
        self._call_every(self._settings.diagnostics_period, self._publish_diagnostics)
        self._call_every(_LOOK_SECONDS, self._look_at_cameras)

    @property
    def busy_topics(self) -> int:
        """How many topics keep a thread busy: images, and detections of another node."""
        return len(self._settings.camera_names) * (1 + (self._settings.detector == 'topic'))

    def start(self) -> None:
        """With autostart, configure and activate; waits until both are done."""
        if self._settings.autostart:
            self._start()

    # ---- lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models, and make the topics and threads, which stay until cleanup."""
        with self._transition:
            session = None
            try:
                self._settings = read_parameters(self)
                self._advise('')
                if self._settings.bond:
                    check_bondpy()
                session = Session(self, self._settings, self._factory)
                self._try_cv_bridge()  # while the models load
                session.wait_until_loaded(self.ended)
                self._bank_services.load_initial(session)
            except Exception as error:
                self._fail('configure', error)
                if session is not None:
                    session.close(0.0 if isinstance(error, AbortedError) else STOP_SECONDS)
                self._bank_services.forget()
                return TransitionCallbackReturn.FAILURE
            self._held.session = session
            if self._settings != session.parameters:  # changed while the models were loading
                session.change(self._settings)
            return self._reached('inactive')

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publish, and subscribe to the cameras."""
        with self._transition:
            assert self._held.session is not None
            outcome = super().on_activate(state)
            if outcome != TransitionCallbackReturn.SUCCESS:
                return outcome
            try:
                self._held.session.activate()
                if self._settings.bond:
                    self._bond.form()
            except Exception as error:
                self._fail('activate', error)
                self._bond.end()
                self._held.session.deactivate(FLUSH_SECONDS)
                super().on_deactivate(state)
                return TransitionCallbackReturn.FAILURE
            self._diagnostics.set_active(True)
            return self._reached('active')

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take no more images and publish the masks of unfinished windows; models stay loaded."""
        with self._transition:
            assert self._held.session is not None
            self._bond.end()
            self._diagnostics.set_active(False)
            if not self._held.session.deactivate(FLUSH_SECONDS, self.ended):
                self.get_logger().warning('the last masks could not all be published')
            outcome = super().on_deactivate(state)
            self._reached('inactive')
            return outcome

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give models and device memory back."""
        with self._transition:
            self._release(None)
            return self._reached('unconfigured')

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        with self._transition:
            self._bond.end()
            if self._held.session is not None and state.label == 'active':
                self._diagnostics.set_active(False)
                self._held.session.deactivate(FLUSH_SECONDS)
                super().on_deactivate(state)
            self._release(STOP_SECONDS)
            return self._reached('finalized')

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an error in a transition: release everything and go back to unconfigured."""
        with self._transition:
            self._bond.end()
            self._diagnostics.set_active(False)
            self._release(STOP_SECONDS)
            self._state = 'unconfigured'
            return TransitionCallbackReturn.SUCCESS

    def _try_cv_bridge(self) -> None:
        try:
            check_cv_bridge()
        except CvBridgeUnusable as error:
            self.get_logger().warning(f'{error}. Until then images that need it are refused')

    def _release(self, timeout: float | None) -> None:
        session, self._held.session = self._held.session, None
        self._bank_services.forget()
        if session is not None and not session.close(timeout):
            self.inference_ended = False
            self.get_logger().warning(
                'inference did not end in time and ends with the process; its frames are lost')

    def _fail(self, transition: str, error: Exception) -> None:
        """Log why a transition failed; an error that is no EngineError is logged with its type."""
        if isinstance(error, AbortedError):
            self._problem = f'{transition} was given up: the node ends'
            self.get_logger().info(self._problem)
            return
        known = isinstance(error, (EngineError, ParameterError))
        self._problem = f'{transition} failed: {error}' if known else (
            f'{transition} failed: {type(error).__name__}: {error}')
        self.get_logger().error(self._problem)

    # ---- parameters and diagnostics ------------------------------------------------------------

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            check_changes(self._settings, changes)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _change_parameters(self, changes: list[Parameter]) -> None:
        before: NodeParameters = self._settings
        self._settings = check_changes(before, changes)
        self._advise(undecided_objects(before))
        if self._held.session is not None and self._settings != before:
            self._held.session.change(self._settings)

    def _advise(self, known: str) -> None:
        """Log what is not advised; known: what was said before."""
        advice = undecided_objects(self._settings)
        if advice and advice != known:
            self.get_logger().warning(advice)

    def _publish_diagnostics(self) -> None:
        if not self.ended.is_set():
            self._diagnostics.publish(
                self._state, self._problem, self._held.session, self._bank_services.loaded)

    def _look_at_cameras(self) -> None:
        if self._held.session is not None and not self.ended.is_set():
            self._held.session.look_at_cameras()

    # ---- end -----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Shut down from any state, within seconds."""
        self.ended.set()
        # A transition that a service started goes first; it sees that the node ends.
        if not self._stop(FLUSH_SECONDS + STOP_SECONDS):
            self.inference_ended = False
        unroute_logs(self._logs)


def main(args: list[str] | None = None, engine_factory: EngineFactory = build_engine) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""
    stop = StopFlag()

    def end(number: int, frame: object) -> None:
        stop.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        if (status := exit_status('detsam2_node', ABOUT, args)) is not None:
            return status
        # rclpy's own handlers would take the middleware away before the last masks are out.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = DetSam2Node(engine_factory)
    except (ParameterError, RuntimeError) as error:  # RuntimeError: rcl cannot read a file
        print(f'detsam2: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    for text in unused_parameter_files(args, node.get_fully_qualified_name()):
        node.get_logger().warning(text)
    node.ended = stop
    # One thread for each camera and its detections; transitions, banks, prompts and quick answers
    # share five more.
    executor = CallbackExecutor(threads=5 + node.busy_topics)
    executor.add_node(node)
    spinner = Spinner(executor, stop)
    spinner.start()
    node.start()
    while not stop.is_set():
        time.sleep(0.1)
    node.stop()
    # A callback that still runs then may wait for inference.
    callbacks_ended = spinner.end(CALLBACK_SECONDS if node.inference_ended else 0.0)
    if not (node.inference_ended and callbacks_ended):
        # A thread in a kernel cannot be interrupted; the end of the interpreter would crash it.
        # What a callback uses must not be destroyed under it.
        rclpy.try_shutdown()
        _exit(int(spinner.failed))
    node.destroy_node()
    rclpy.try_shutdown()
    return int(spinner.failed)


def run(args: list[str] | None = None, engine_factory: EngineFactory = build_engine) -> NoReturn:
    """Run the program detsam2_node: main, then exit without the clean-up of Python.

    That clean-up of all that torch has imported takes a second on a free core and many on a busy
    one, while the user or the launch file waits.
    """
    _exit(main(args, engine_factory))


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
