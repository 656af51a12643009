# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera that stays silent, or loses most images, is explained in the log, ever less often."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.utilities import get_rmw_implementation_identifier

from detsam2_ros.ros.image_subscription import ImageSubscription, is_reliable
from detsam2_ros.ros.silence import (
    COMPRESSED,
    ENVIRONMENT,
    IMAGE,
    PublisherFacts,
    SilenceFacts,
    explain,
)
from detsam2_ros.runtime.accounting import FrameAccounts

FIRST_PAUSE, MAX_PAUSE = 10.0, 3600.0  # seconds between two equal lines of the log
_BETWEEN_CAUSES = 2.0  # seconds between two lines of any kind
_MIN_LOST = 3  # images; fewer are no reason to speak
_UNKNOWN = '_NODE_NAME_UNKNOWN_'  # rclpy's, for a publisher whose node is not discovered yet


@dataclass(frozen=True)
class _Counts:
    """Images of a camera up to a moment, or between two."""

    time: float  # seconds
    arrived: int  # that could be used
    lost: int


class SilenceLog:
    """Decides when an explanation is logged; times are seconds of any one clock."""

    def __init__(self) -> None:
        self._text = ''  # of the last explanation
        self._last = self._pause = 0.0
        self._silent = False  # and explained

    def allows(self, text: str, now: float) -> bool:
        """Return whether to log an explanation now: a new one, or one whose pause is over.

        Numbers in it make it no new one.
        """
        text = re.sub('[0-9]+', '', text)
        pause = self._pause if text == self._text else _BETWEEN_CAUSES
        if self._text and now - self._last < pause:
            return False
        again = text == self._text and self._silent
        self._pause = min(2 * self._pause, MAX_PAUSE) if again else FIRST_PAUSE
        self._text, self._last, self._silent = text, now, True
        return True

    def end(self) -> bool:
        """Return whether a silence that was explained ends now."""
        explained, self._silent = self._silent, False
        # A camera that comes and goes is not explained each time.
        self._pause = min(self._pause, FIRST_PAUSE)
        return explained


class SilenceWatch:
    """Knows when a camera's images were last of use, and explains why none are.

    own: the name that a remapping rule changes. Any thread may call a method.
    """

    def __init__(
        self, node: LifecycleNode, own: str, subscription: ImageSubscription,
        accounts: FrameAccounts,
    ):
        self._node = node
        self._own = own
        self._subscription = subscription
        self._accounts = accounts
        self._log = SilenceLog()
        self._since: float | None = None  # of the silence; monotonic, None while inactive
        self._refusal = ''
        self._reported = False  # in the log
        self._before = 0  # images received up to then
        self._used = self._used_before = 0  # ever, and up to the last explanation in the log
        self._known: set[bytes] = set()  # publishers
        self._appeared = 0.0  # monotonic; the last of them
        self._mark = self._recent = _Counts(0.0, 0, 0)

    def start(self) -> None:
        """Expect images from now on."""
        self._before = self._accounts.snapshot().received
        self._refusal, self._since = '', time.monotonic()
        self._mark = _Counts(self._since, self._used, self._subscription.lost)
        self._recent = _Counts(0.0, 0, 0)

    def stop(self) -> None:
        """Expect no more images."""
        self._since = None
        self._log.end()

    def use(self) -> None:
        """Note an image that could be used."""
        self._used += 1
        self._refusal, self._since = '', time.monotonic()

    def refuse(self, why: str, reported: bool) -> None:
        """Note an image that is refused; reported: the log holds the reason."""
        self._refusal, self._reported = why, reported

    def sentence(self, stale_after: float) -> str:
        """Return why no image could be used for so many seconds, or most were lost; '' if not."""
        facts = self._facts_to_explain(stale_after)
        return '' if facts is None else explain(facts)

    def _facts_to_explain(self, stale_after: float) -> SilenceFacts | None:
        since, recent, now = self._since, self._recent, time.monotonic()
        found = self._subscription.publishers()
        known = {bytes(p.endpoint_gid) for p in found}
        if known - self._known:
            self._appeared = now
        self._known = known
        if since is None:
            return None
        # A new publisher, and a new subscription, have as long again to find each other.
        since = max(since, self._appeared, self._subscription.changed_at)
        losing = recent.lost >= _MIN_LOST and recent.lost > recent.arrived
        return self._read_facts(recent, found) if losing or now - since >= stale_after else None

    def look(self, stale_after: float) -> None:
        """Count what was lost, and log the explanation, if it is time to."""
        now = time.monotonic()
        if self._since is None:
            return
        counts, before = _Counts(now, self._used, self._subscription.lost), self._mark
        if now - before.time >= stale_after:
            self._mark, self._recent = counts, _Counts(
                now - before.time, counts.arrived - before.arrived, counts.lost - before.lost)
        topic = self._subscription.topic
        facts = self._facts_to_explain(stale_after)
        if facts is None:
            if self._used > self._used_before and self._log.end():
                self._node.get_logger().info(f'images arrive on {topic}')
            return
        text = explain(replace(facts, reported=self._reported))
        if self._log.allows(text, now):
            self._used_before = self._used
            self._node.get_logger().warning(text)

    def _read_facts(self, recent: _Counts, found: list[Any]) -> SilenceFacts:
        subscription = self._subscription
        return SilenceFacts(
            own=self._own,
            topic=subscription.topic,
            type_name=subscription.type_name,
            reliable=subscription.reliable,
            decided_by=subscription.decided_by,
            publishers=tuple(
                PublisherFacts(
                    '' if p.node_name == _UNKNOWN
                    else f'{p.node_namespace.rstrip("/")}/{p.node_name}',
                    p.topic_type, is_reliable(p.qos_profile))
                for p in found),
            image_topics={} if found else _image_topics(self._node),
            rmw=get_rmw_implementation_identifier(),
            environment={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            received=self._accounts.snapshot().received - self._before,
            seconds=recent.time,
            arrived=recent.arrived,
            lost=recent.lost,
            refusal=self._refusal,
        )


def _image_topics(node: LifecycleNode) -> Mapping[str, str]:
    """Return name and type of the image topics that this node does not publish.

    The graph is not asked for this node's own: it may still show a killed node of the same name.
    """
    mine = {publisher.topic_name for publisher in node.publishers}
    return {
        name: kinds[0] for name, kinds in node.get_topic_names_and_types()
        if kinds[0] in (IMAGE, COMPRESSED) and name not in mine and node.count_publishers(name)
    }
