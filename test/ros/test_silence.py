# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From what the graph shows to the sentence on a silent camera, and when it is logged."""

from dataclasses import replace
from typing import Any

import pytest

from detsam2_ros.ros.silence import (
    COMPRESSED,
    DISCOVERY,
    IMAGE,
    LOCALHOST_ONLY,
    TRANSPORTS,
    PublisherFacts,
    SilenceFacts,
    explain,
)

FACTS = SilenceFacts(
    own='~/image', topic='/cam/image_raw', type_name=IMAGE, reliable=False,
    decided_by='image_reliability')
COMPRESSED_FACTS = replace(FACTS, topic='/cam/image_raw/compressed', type_name=COMPRESSED)
CAMERA = PublisherFacts('/cam/driver', IMAGE, reliable=False)
RELIABLE = replace(CAMERA, reliable=True)
LARGE = 'images over 0.5 MB are lost'
OVERRIDE = 'qos_overrides./cam/image_raw.subscription.reliability'


def why(facts: SilenceFacts = FACTS, **changes: Any) -> str:
    return explain(replace(facts, **changes))


@pytest.mark.parametrize('facts, rule', [
    (FACTS, "-r '~/image:=/cam/colour/image_raw'"),
    (replace(FACTS, own='~/front/image'), "-r '~/front/image:=/cam/colour/image_raw'"),
    (COMPRESSED_FACTS, "-r '~/image:=/cam/colour/image_raw'"),
])
def test_nobody_publishes_but_images_are_elsewhere(facts: SilenceFacts, rule: str) -> None:
    suffix = '/compressed' if facts.type_name == COMPRESSED else ''
    names = ['/a', '/rear/picture', '/cam/colour/image_raw', '/z', '/lidar/intensity']
    text = why(facts, image_topics={name + suffix: facts.type_name for name in names})
    assert text.startswith(f'nobody publishes {facts.topic}; images are on /cam/colour/image_raw')
    assert ' and 2 more' in text and rule in text


@pytest.mark.parametrize('wanted, topic, offered, ends', [
    (IMAGE, '/cam/jpeg/compressed', COMPRESSED,
     "set image_transport to compressed and remap with -r '~/image:=/cam/jpeg'"),
    (IMAGE, '/cam/jpeg', COMPRESSED,
     "set image_transport to compressed and remap with -r '~/image/compressed:=/cam/jpeg'"),
    (COMPRESSED, '/cam/raw', IMAGE,
     "set image_transport to raw and remap with -r '~/image:=/cam/raw'"),
])  # fmt: skip
def test_images_of_the_other_transport(wanted: str, topic: str, offered: str, ends: str) -> None:
    facts = replace(FACTS, type_name=wanted)
    elsewhere = why(facts, image_topics={topic: offered})
    assert f'no other topic of {wanted}; {offered} is on {topic}' in elsewhere
    here = why(facts, topic=topic, publishers=(replace(CAMERA, type_name=offered),))
    assert here.startswith(f'/cam/driver publishes {topic} as {offered}, not {wanted}')
    assert elsewhere.endswith(ends) and here.endswith(ends)


def test_no_images_at_all() -> None:
    text = why()
    assert 'start the camera' in text and 'ROS_DOMAIN_ID' in text and '~/image' in text


def test_a_publisher_of_something_else() -> None:
    cloud = 'sensor_msgs/msg/PointCloud2'
    text = why(publishers=(replace(CAMERA, type_name=cloud),))
    assert f'as {cloud}, not {IMAGE}; remap ~/image to a topic of images' in text


def test_a_mismatch_names_what_asks_for_it() -> None:
    text = why(reliable=True, decided_by=OVERRIDE, publishers=(CAMERA,))
    assert '/cam/driver offers /cam/image_raw best effort' in text
    assert f'set {OVERRIDE} to best_effort or auto' in text
    # With a second publisher that does match, that one is what is silent.
    assert 'nothing arrives' in why(reliable=True, publishers=(CAMERA, RELIABLE))


@pytest.mark.parametrize('environment, parts', [
    ({}, (LARGE, f"set {TRANSPORTS}='DEFAULT?sockets_size=8MB'", 'here it is not set')),
    ({TRANSPORTS: 'DEFAULT?sockets_size=8MB'},
     (LARGE, 'in the environment of the camera', "here it is 'DEFAULT?sockets_size=8MB'")),
    ({TRANSPORTS: 'LARGE_DATA'}, ('no process without it is reached', 'set it for the camera')),
    ({DISCOVERY: 'LOCALHOST', TRANSPORTS: 'DEFAULT?sockets_size=8MB'},
     (LARGE, f'{DISCOVERY}=LOCALHOST makes rmw_fastrtps ignore {TRANSPORTS}', 'publish reliably')),
    ({LOCALHOST_ONLY: '1'}, (f'{LOCALHOST_ONLY}=1 makes rmw_fastrtps ignore',)),
    ({DISCOVERY: 'SUBNET', LOCALHOST_ONLY: '0'}, ('here it is not set',)),
])  # fmt: skip
def test_nothing_arrives_best_effort(environment: dict[str, str], parts: tuple[str, ...]) -> None:
    text = why(publishers=(CAMERA,), environment=environment)
    assert 'nothing arrives on /cam/image_raw, which /cam/driver offers best effort' in text
    assert 'ros2 topic hz /cam/image_raw' in text
    for part in parts:
        assert part in text


@pytest.mark.parametrize('changes, part', [
    ({'reliable': True, 'publishers': (RELIABLE,)},
     'offers reliably: perhaps it publishes nothing'),
    ({'publishers': (RELIABLE,)}, 'image_reliability asks for; set it to auto or reliable'),
    ({'publishers': (CAMERA,), 'rmw': 'rmw_cyclonedds_cpp'}, 'the settings of rmw_cyclonedds_cpp'),
    ({'publishers': (CAMERA,), 'received': 7}, '(7 images came before)'),
    ({'publishers': (CAMERA,), 'refusal': "the encoding 'x' is not supported; set another."},
     "images on /cam/image_raw are refused: the encoding 'x' is not supported; set another"),
])  # fmt: skip
def test_nothing_arrives_otherwise(changes: dict[str, Any], part: str) -> None:
    text = why(**changes)
    assert part in text and not text.endswith('.')


@pytest.mark.parametrize('publisher, part', [
    (CAMERA, f'set {TRANSPORTS}='), (RELIABLE, 'image_reliability asks for')])
def test_what_the_middleware_lost_is_counted(publisher: PublisherFacts, part: str) -> None:
    text = why(publishers=(publisher,), received=100, seconds=3.02, arrived=2, lost=28)
    assert text.startswith('28 of 30 images on /cam/image_raw, which /cam/driver offers')
    assert 'lost on the way in 3 s' in text and part in text
    assert 'publishes nothing' not in text


def test_small_compressed_images_are_not_too_large() -> None:
    text = why(COMPRESSED_FACTS, publishers=(replace(CAMERA, type_name=COMPRESSED),))
    assert LARGE not in text and 'perhaps it publishes nothing' in text


def test_the_log_says_it_once_and_then_ever_less_often() -> None:
    pytest.importorskip('rclpy')
    from detsam2_ros.ros.silence_watch import SilenceLog

    log = SilenceLog()
    logged = [s for s in range(3, 3600) if log.allows(f'{s} of {2 * s} images', s)]
    assert logged == [3, 13, 33, 73, 153, 313, 633, 1273, 2553]
    # Another cause is news, though not twice a second.
    assert log.allows('refused', 3600) and not log.allows('nobody', 3601)
    assert log.allows('nobody', 3603)
    # A camera that comes and goes is not explained each time.
    assert log.end() and not log.end()
    assert [s for s in range(3604, 3640) if log.allows('nobody', s)] == [3613, 3623]
