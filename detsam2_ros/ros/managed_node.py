# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What managed nodes share: transitions that answer and refuse in a sentence, their state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleNodeMixin, TransitionCallbackReturn
from rclpy.node import Node

# Between two of these states a transition runs, and the node takes no other transition.
PRIMARY_STATES = ('unconfigured', 'inactive', 'active', 'finalized')


class ManagedNode(LifecycleNode):
    """A lifecycle node; spin it with an executor of several threads."""

    def __init__(self, name: str, **kwargs: Any):
        # Reentrant: get_state must answer while a transition loads models. LifecycleNode itself
        # takes no callback group, but its constructor is no more than these two calls.
        Node.__init__(self, name, **kwargs)
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._transition = threading.Lock()  # one runs at a time
        self._state = 'unconfigured'
        self._problem = ''  # why the last transition failed, a sentence

    @property
    def lifecycle_state(self) -> str:
        """The state of the lifecycle, or the transition that runs."""
        return str(self._state_machine.current_state[1])

    def _LifecycleNodeMixin__change_state(  # noqa: N802
        self, transition_id: int,
    ) -> TransitionCallbackReturn:
        """Refuse a transition that the state does not allow.

        From Kilted on rclpy refuses it itself; Jazzy's raises, which would end the process.
        """
        try:
            own = super()._LifecycleNodeMixin__change_state  # type: ignore[misc]
            return own(transition_id)
        except rclpy_implementation.RCLError:
            self.get_logger().error(
                f'the state {self.lifecycle_state} does not allow transition {transition_id}')
            return TransitionCallbackReturn.ERROR

    def _reached(self, state: str) -> TransitionCallbackReturn:
        self._state, self._problem = state, ''
        self.get_logger().info(state)
        return TransitionCallbackReturn.SUCCESS

    def _call_every(self, period: float, callback: Callable[[], None]) -> None:
        """Call something again and again: period in seconds of steady time.

        With use_sim_time a clock that stands still must not stop it.
        """
        self.create_timer(
            period, callback, callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _start(self) -> None:
        """Configure and activate; waits until both are done."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _stop(self, seconds: float) -> bool:
        """Shut down from any state; returns whether a transition that ran had ended in time."""
        deadline = time.monotonic() + seconds
        while (state := self.lifecycle_state) not in PRIMARY_STATES:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        if state != 'finalized':
            self.trigger_shutdown()
        return True
