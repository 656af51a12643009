# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What bags hold is what the node publishes: the same types, the same content."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import bag_recordings as made
import numpy as np
import pytest
from bag_recordings import STORE, T

from detsam2_ros.bags.types import CORRECTION, IMAGE, OBJECTS, Serializer
from detsam2_ros.messages import pixels
from detsam2_ros.messages.result_fields import FirstLabels


def results():
    """Return revision 0 and a later one of a frame, from the engine."""
    stream = made.engine().open_stream('front')
    found = [
        result
        for index in range(9)
        for result in stream.push(made.drawn(index, late=4), index)
        if result.index == 5  # detected on frame 6, which corrects it
    ]
    assert found[-1].revision >= 1 and len(found[-1].objects) == 2
    return found[0], found[-1]


def test_the_types_are_those_that_are_built() -> None:
    pytest.importorskip('detsam2_msgs')
    checked = 0
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        for kind in (OBJECTS, CORRECTION):
            name = kind.rpartition('/')[2]
            file = Path(prefix, 'share/detsam2_msgs/msg', f'{name}.json')
            if prefix and file.is_file():
                hashes = json.loads(file.read_text())['type_hashes']
                built = {entry['type_name']: entry['hash_string'] for entry in hashes}
                assert STORE.hash_rihs01(kind) == built[kind]
                checked += 1
    if not checked:
        pytest.skip('the built detsam2_msgs says no hashes: ROS 2 Humble or older')


@pytest.mark.ros
def test_rclpy_reads_the_same_messages_that_the_node_makes() -> None:
    pytest.importorskip('rclpy')
    messages = pytest.importorskip('detsam2_msgs.msg')
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from detsam2_ros.ros.images import label_image
    from detsam2_ros.ros.result_messages import correction, object_array

    first, later = results()
    stamp = 12_000_000_345
    of_ros = Header(frame_id='optical')
    of_ros.stamp.sec, of_ros.stamp.nanosec = 12, 345
    make, of_bags = Serializer(STORE), made.header(stamp)
    kept = FirstLabels.of(first)
    for data, kind, expected in (
        (make.masks(of_bags, first), Image, label_image(of_ros, first.labels)),
        (make.objects(of_bags, first), messages.ObjectArray, object_array(first, of_ros)),
        (make.correction(of_bags, later, kept), messages.MaskCorrection,
         correction(later, of_ros, kept)),
    ):
        assert deserialize_message(data, kind) == expected


@pytest.mark.parametrize('encoding', sorted(pixels.ENCODINGS))
def test_images_of_every_encoding(encoding: str) -> None:
    """Through the bytes of a bag: the arrays that rosbags makes are read-only views of them."""
    height, width = 6, 8
    layout = pixels.LAYOUTS.get(encoding)
    step = width * (layout.sample_bytes * layout.channels if layout else 1) + 2
    size = int(step * height * pixels.PLANAR.get(encoding, 1))
    data = (np.arange(size) * 7919 % 251).astype(np.uint8)
    fields = {
        'height': height, 'width': width, 'encoding': encoding, 'is_bigendian': 1, 'step': step,
        'data': data,
    }  # fmt: skip
    message = T[IMAGE](header=made.header(5), **fields)
    read = STORE.deserialize_cdr(STORE.serialize_cdr(message, IMAGE), IMAGE)
    image = pixels.to_rgb(read)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    assert image.flags.writeable and image.flags.c_contiguous
    expected = pixels.to_rgb(SimpleNamespace(**{**fields, 'data': bytearray(data)}))
    assert np.array_equal(image, expected)
