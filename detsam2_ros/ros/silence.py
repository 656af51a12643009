# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Why a camera is silent: from what the graph shows to one sentence; no ROS in here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
TRANSPORTS_VALUE = 'DEFAULT?sockets_size=8MB'
DISCOVERY = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
LOCALHOST_ONLY = 'ROS_LOCALHOST_ONLY'
ENVIRONMENT = (TRANSPORTS, DISCOVERY, LOCALHOST_ONLY)

UNNAMED = 'a publisher'  # whose node has not been discovered yet
_MAX_NAMED = 3  # topics or publishers in a sentence
_PAGE = 'see docs/transport.md'


@dataclass(frozen=True)
class PublisherFacts:
    """What the graph shows of a publisher."""

    node: str  # full name; '' while it is not known yet
    type_name: str
    reliable: bool


@dataclass(frozen=True)
class SilenceFacts:
    """What is known while no image of a camera can be used, or most are lost."""

    own: str  # the name that a remapping rule changes, of raw images: ~/image
    topic: str  # that is subscribed to, in full
    type_name: str  # IMAGE or COMPRESSED
    reliable: bool  # the subscription asks for reliable images
    decided_by: str  # the parameter that says so
    publishers: tuple[PublisherFacts, ...] = ()  # of the topic, of any type
    image_topics: Mapping[str, str] = field(default_factory=dict)  # of other nodes: name, type
    rmw: str = 'rmw_fastrtps_cpp'
    environment: Mapping[str, str] = field(default_factory=dict)  # of this process: ENVIRONMENT
    received: int = 0  # images since the node was activated
    seconds: float = 0.0  # in which the next two were counted: the last ones
    arrived: int = 0  # images that could be used
    lost: int = 0  # images that the middleware lost on their way
    refusal: str = ''  # why the newest image was refused, a sentence; '' if it was not
    reported: bool = False  # the log holds that sentence, and the explanation is for the log


def explain(facts: SilenceFacts) -> str:
    """Return why no image can be used, and the way out."""
    if facts.refusal:
        reason = 'an error above says why' if facts.reported else facts.refusal.rstrip('.')
        return f'the images on {facts.topic} are refused: {reason}'
    if not facts.publishers:
        return _nobody(facts)
    right = [p for p in facts.publishers if p.type_name == facts.type_name]
    if not right:
        return _another_type(facts)
    if facts.reliable and not any(p.reliable for p in right):
        return (
            f'{_nodes(right)} offers {facts.topic} best effort, and {facts.decided_by} asks for '
            f'reliable, so the two do not match; set {facts.decided_by} to best_effort or auto')
    return _nothing_arrives(facts, [p for p in right if p.reliable or not facts.reliable])


def _nobody(facts: SilenceFacts) -> str:
    found = f'nobody publishes {facts.topic}'
    if same := _nearest(facts, facts.type_name):
        rule = _rule(facts.own, same[0], facts.type_name)
        return f'{found}; images are on {_listed(same)}: remap with {rule}'
    found += f', and there is no other topic of {facts.type_name}'
    other = COMPRESSED if facts.type_name == IMAGE else IMAGE
    if others := _nearest(facts, other):
        return f'{found}; {other} is on {_listed(others)}: {_switch(facts.own, others[0], other)}'
    return (
        f'{found}; start the camera, remap {facts.own}, or check ROS_DOMAIN_ID and {DISCOVERY} on '
        f'both sides')


def _another_type(facts: SilenceFacts) -> str:
    first = facts.publishers[0]
    found = (
        f'{first.node or UNNAMED} publishes {facts.topic} as {first.type_name}, '
        f'not {facts.type_name}')
    if first.type_name not in (IMAGE, COMPRESSED):
        return f'{found}; remap {facts.own} to a topic of images'
    return f'{found}; {_switch(facts.own, facts.topic, first.type_name)}'


def _switch(own: str, topic: str, type_name: str) -> str:
    transport = 'compressed' if type_name == COMPRESSED else 'raw'
    return f'set image_transport to {transport} and remap with {_rule(own, topic, type_name)}'


def _rule(own: str, topic: str, type_name: str) -> str:
    """Return the rule that leads to a topic of this type."""
    if type_name == COMPRESSED and not topic.endswith('/compressed'):
        own += '/compressed'
    elif type_name == COMPRESSED:
        topic = topic.removesuffix('/compressed')
    return f"-r '{own}:={topic}'"


def _nothing_arrives(facts: SilenceFacts, matching: Sequence[PublisherFacts]) -> str:
    every = all(p.reliable for p in matching)
    offered = f'which {_nodes(matching)} offers ' + ('reliably' if every else 'best effort')
    if facts.lost:
        return (
            f'{facts.lost} of {facts.lost + facts.arrived} images on {facts.topic}, {offered}, '
            f'were lost on the way in {facts.seconds:.0f} s: {_large_images(facts, every)}')
    found = f'nothing arrives on {facts.topic}, {offered}'
    if facts.received:
        found += f' ({facts.received} images came before)'
    check = f'does `ros2 topic hz {facts.topic}` show any?'
    if facts.reliable or facts.type_name == COMPRESSED:
        return f'{found}: perhaps it publishes nothing, {check} In containers {_PAGE}'
    return f'{found}: {_large_images(facts, every)}. Or it publishes nothing, {check}'


def _large_images(facts: SilenceFacts, every_reliable: bool) -> str:
    if every_reliable:
        return (
            f'images over 0.5 MB are lost best effort, which {facts.decided_by} asks for; set it '
            f'to auto or reliable')
    if 'fastrtps' not in facts.rmw:
        return (
            f'images may be too large for the settings of {facts.rmw}; publish reliably, {_PAGE}')
    return _too_large(facts)


def _too_large(facts: SilenceFacts) -> str:
    """Say what Fast DDS does with large images under the settings of this process."""
    large = 'images over 0.5 MB are lost with the default transports of Fast DDS'
    if facts.environment.get(DISCOVERY, '').upper() == 'LOCALHOST':
        name = f'{DISCOVERY}=LOCALHOST'
    elif facts.environment.get(LOCALHOST_ONLY) == '1':
        name = f'{LOCALHOST_ONLY}=1'
    else:
        name = ''
    if name:
        return (
            f'{large}, and {name} makes rmw_fastrtps ignore {TRANSPORTS}; publish reliably, or '
            f'unset it on both sides and set {TRANSPORTS}={TRANSPORTS_VALUE!r} for the camera, '
            f'{_PAGE}')
    value = facts.environment.get(TRANSPORTS, '')
    if value.startswith('LARGE_DATA'):
        return (
            f'{TRANSPORTS}={value} is set for this node, and no process without it is reached; '
            f'set it for the camera too, {_PAGE}')
    here = f'here it is {value!r}' if value else 'here it is not set'
    return (
        f'{large}; set {TRANSPORTS}={TRANSPORTS_VALUE!r} in the environment of the camera '
        f'({here}), or publish reliably, {_PAGE}')


def _nearest(facts: SilenceFacts, type_name: str) -> list[str]:
    """Return the topics of a type, the one first whose name is most like the wanted one."""

    def likeness(name: str) -> tuple[float, str]:
        words = _words(name)
        shared = len(words & _words(facts.topic)) / len(words | _words(facts.topic))
        return -shared - difflib.SequenceMatcher(None, facts.topic, name).ratio(), name

    return sorted((n for n, kind in facts.image_topics.items() if kind == type_name), key=likeness)


def _words(topic: str) -> set[str]:
    return set(topic.replace('_', '/').strip('/').split('/'))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ', '.join(names[:_MAX_NAMED]) + (f' and {more} more' if more > 0 else '')


def _nodes(publishers: Sequence[PublisherFacts]) -> str:
    return _listed(sorted({p.node or UNNAMED for p in publishers}))
