# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""For subscribers: the best known masks of the last frames, with corrections applied.

Needs numpy only. Messages are read by the names of their fields, so tools and tests without ROS
can feed a timeline too. `subscribe` connects a timeline to the topics of a running node.
"""

from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.client.space_timeline import SpaceTimeline
from detsam2_ros.client.subscription import (
    MaskSubscription,
    SpaceSubscription,
    subscribe,
    subscribe_space,
)
from detsam2_ros.client.timeline import MaskTimeline
from detsam2_ros.results.frames import ObjectInfo, ObjectState
from detsam2_ros.results.space import Object3D, Position, Reason, SpaceFrame

__all__ = [
    'MaskSubscription', 'MaskTimeline', 'Object3D', 'ObjectInfo', 'ObjectState', 'Position',
    'Reason', 'SpaceFrame', 'SpaceSubscription', 'SpaceTimeline', 'TimelineFrame', 'subscribe',
    'subscribe_space',
]  # fmt: skip
