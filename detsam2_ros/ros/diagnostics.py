# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node's messages on /diagnostics: its state, and what to do about a problem."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode

from detsam2_ros.engine.stats import Stats
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.ros.camera import Camera
from detsam2_ros.ros.services.banks import LoadedBank
from detsam2_ros.ros.session import Session, explain
from detsam2_ros.runtime.accounting import Account
from detsam2_ros.runtime.detection_inbox import DetectionCounts
from detsam2_ros.words import counted

_FAILURE_SECONDS = 10.0  # a failure stays in the status so long
_RESTART_SECONDS = 60.0  # more than one restart in this time is worth a warning

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass(frozen=True)
class _Moment:
    """The counts at one time; rates are computed from two of them."""

    time: float  # seconds, monotonic
    account: Account


class Diagnostics:
    """Publishes a DiagnosticArray with a status of the node and of each camera."""

    def __init__(self, node: LifecycleNode):
        self._node = node
        # Not a managed publisher: an inactive node reports that it is inactive.
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._before: dict[str, _Moment] = {}
        self._active_since: float | None = None

    def set_active(self, active: bool) -> None:
        """Begin or end the reports on the cameras' images."""
        self._active_since = time.monotonic() if active else None
        self._before = {}

    def publish(
        self, state: str, problem: str, session: Session | None, loaded: Sequence[LoadedBank]
    ) -> None:
        """Publish the status of the node and of its cameras.

        state: of the lifecycle. problem: why the last transition failed, '' if it did not.
        """
        name = self._node.get_fully_qualified_name()
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status.append(self._node_status(name, state, problem, session, loaded))
        if session is not None:
            for camera in session.cameras.values():
                title = f'{name}: {camera.name or "camera"}'
                array.status.append(self._camera_status(title, state, camera, session))
        self._publisher.publish(array)

    def _node_status(
        self, name: str, state: str, problem: str, session: Session | None,
        loaded: Sequence[LoadedBank],
    ) -> DiagnosticStatus:
        level, message = (ERROR, problem) if problem else (OK, state)
        if session is not None and session.worker.has_ended:
            level, message = ERROR, (
                'the inference thread has ended, see the log; clean the node up and configure it')
        values: list[tuple[str, object]] = [('state', state)]
        if session is not None:
            values += [('sam2_model', session.parameters.sam2_model),
                       ('detector_model', session.parameters.detector_title),
                       ('device', session.device)]
            engine = session.worker.engine
            if engine is not None:
                values += _stats_values(engine.stats())
            values.append(('memory_bank', ', '.join(
                f'{b.camera + ": " if b.camera else ""}{b.path}' for b in loaded) or 'none'))
        return _status(name, level, message, values, session.device if session else '')

    def _camera_status(
        self, title: str, state: str, camera: Camera, session: Session
    ) -> DiagnosticStatus:
        account, now = camera.accounts.snapshot(), time.monotonic()
        before = self._before.get(camera.name)
        self._before[camera.name] = _Moment(now, account)
        rates: list[tuple[str, object]] = [('rate_in_hz', '0.0'), ('rate_out_hz', '0.0')]
        new_drops: dict[str, int] = {}
        if before is not None:
            seconds = max(now - before.time, 1e-6)
            rates = [
                ('rate_in_hz', _hz(account.received - before.account.received, seconds)),
                ('rate_out_hz', _hz(account.published - before.account.published, seconds)),
            ]
            new_drops = _new_drops(before.account, account)
        level, message = self._judge(state, camera, session, account, now, new_drops)
        values: list[tuple[str, object]] = [
            ('topic', camera.images.topic),
            ('reliability', 'reliable' if camera.images.reliable else 'best effort'),
            *rates,
            ('lost', camera.images.lost),
            ('received', account.received),
            ('processed', account.processed),
            ('waiting', account.waiting),
            ('dropped', account.dropped_total),
            *((f'dropped_{reason}', n) for reason, n in sorted(account.dropped.items())),
            ('published', account.published),
            ('corrections', account.corrections),
            ('windows', account.windows),
            ('resets', account.resets),
            ('tentative_objects', camera.states[ObjectState.TENTATIVE]),
            ('confirmed_objects', camera.states[ObjectState.CONFIRMED]),
            ('dormant_objects', camera.dormant),
            ('queue', session.worker.waiting()[camera.name]),
            ('last_mask_age_s', _seconds(
                None if account.last_published is None else now - account.last_published)),
            ('latency_p50_s', _seconds(account.latency(0.50))),
            ('latency_p99_s', _seconds(account.latency(0.99))),
            ('pass_lag_p50_s', _seconds(account.lag(0.50))),
            ('pass_lag_p99_s', _seconds(account.lag(0.99))),
        ]
        if camera.detections is not None:
            values += _detection_values(camera.detections.inbox.snapshot())
        return _status(title, level, message, values, session.device)

    def _judge(
        self, state: str, camera: Camera, session: Session, account: Account, now: float,
        new_drops: Mapping[str, int],
    ) -> tuple[bytes, str]:
        """Return the level of a camera, and one sentence on its worst problem."""
        if self._active_since is None:
            return OK, f'{state}: no images are taken'
        failure = session.failures.get(camera.name)
        if failure is not None and now - failure[0] < _FAILURE_SECONDS:
            return ERROR, failure[1]
        if silence := camera.silence.sentence(session.parameters.stale_after):
            return WARN, silence
        restarts = [why for when, why in account.restarts if now - when < _RESTART_SECONDS]
        if len(restarts) > 1:
            return WARN, _on_restarts(restarts, camera)
        if new_drops:
            most = max(new_drops, key=lambda reason: new_drops[reason])
            why = explain(most, account)
            count = counted(sum(new_drops.values()), 'frame')
            return WARN, (f'{count} dropped since the last report'
                          f'{f": {why}" if why else ""}')
        if camera.detections is not None and camera.detections.publisher_count == 0:
            return WARN, (f'nobody publishes {camera.detections.topic}; start the detector, or '
                          f'remap the topic to the one that it publishes')
        return OK, 'images are segmented'


def _new_drops(before: Account, now: Account) -> dict[str, int]:
    counts = {why: n - before.dropped.get(why, 0) for why, n in now.dropped.items()}
    return {why: n for why, n in counts.items() if n}


def _on_restarts(restarts: Sequence[str], camera: Camera) -> str:
    """Say why a stream does not last, and the way out."""
    count = len(camera.images.publishers())
    if count > 1:
        cause = f'{count} nodes publish {camera.images.topic}: give each camera a topic of its own'
    elif restarts[-1].startswith('time'):
        cause = ('a recording that loops, or a driver whose clock jumps: play it once, or '
                 'synchronise that clock')
    else:
        cause = 'keep the driver at one resolution'
    return (f'the stream restarted {len(restarts)} times in {_RESTART_SECONDS:.0f} s, and with '
            f'it the objects: {restarts[-1]}; {cause}')


def _detection_values(counts: DetectionCounts) -> list[tuple[str, object]]:
    return [
        ('detections_received', counts.received),
        ('detections_used', counts.used),
        ('detections_waiting', counts.waiting),
        ('detections_unused', counts.unused_total),
        *((f'detections_unused_{why}', n) for why, n in sorted(counts.unused.items())),
        ('boxes_received', counts.boxes),
        ('boxes_matched', counts.matched),
        ('boxes_started', counts.started),
        ('boxes_ignored', counts.ignored),
        *((f'boxes_refused_{why}', n) for why, n in sorted(counts.refused.items())),
    ]


def _stats_values(stats: Stats) -> list[tuple[str, object]]:
    counts = ('frames', 'encodings', 'tracked_frames', 'forward_frames', 'associated_frames',
              'conditioned_frames', 'passes', 'corrections', 'detector_frames',
              'detector_failures', 'objects', 'withdrawn_objects', 'recalled_objects',
              'device_bytes')
    values: list[tuple[str, object]] = [(name, getattr(stats, name)) for name in counts]
    return values + [(f'{stage}_s', f'{s:.3f}') for stage, s in stats.seconds.items()]


def _status(
    name: str, level: bytes, message: str, values: Sequence[tuple[str, object]], hardware: str
) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values]
    return DiagnosticStatus(
        name=name, level=level, message=message, hardware_id=hardware, values=pairs)


def _hz(count: int, seconds: float) -> str:
    return f'{count / seconds:.1f}'


def _seconds(value: float | None) -> str:
    return '' if value is None else f'{value:.3f}'
