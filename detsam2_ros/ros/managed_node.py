# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What managed nodes share: transitions that answer, and refuse in a sentence."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
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
