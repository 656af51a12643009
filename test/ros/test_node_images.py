# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Images as cameras send them: any encoding, compressed, of changing size, and broken ones."""

import array
from collections import Counter

import cv2
import node_scenes
import numpy as np
import pytest
from node_control import DRAWING
from node_graph import Inbox, quality, wait_until
from node_running import SECOND
from node_scenes import engine_streams, finish_and_check, scene, steady_scene
from ros_cases import BAD_IMAGES, image_of
from sensor_msgs.msg import CompressedImage, Image

from detsam2_ros.media.overlay import draw_overlay
from detsam2_ros.ros.images import ImageRefused, compressed_to_rgb, to_rgb

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


def compressed(image: np.ndarray, extension: str, format_: str) -> CompressedImage:
    done, data = cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return CompressedImage(format=format_, data=array.array('B', data.tobytes()))


def with_alpha(image: np.ndarray) -> np.ndarray:
    return np.dstack([image, np.full(image.shape[:2], 90, np.uint8)])


def test_the_encoding_makes_no_difference(start):
    node = start()
    frames = scene(14, seed=7)
    makers = (
        lambda i: image_of('rgb8', i, padding=5),
        lambda i: image_of('bgr8', i[:, :, ::-1]),
        lambda i: image_of('rgba8', with_alpha(i), padding=12),
        lambda i: image_of('bgra8', with_alpha(i[:, :, ::-1])),
        lambda i: image_of('rgb16', i.astype(np.uint16) * 257, big=True),
        lambda i: image_of('BGR8', i[:, :, ::-1], big=True),
        lambda i: image_of('8UC3', i[:, :, ::-1], padding=1),
    )
    stamps = [(i + 1) * SECOND for i in range(14)]
    for i, (stamp, image) in enumerate(zip(stamps, frames, strict=True)):
        node.camera.send_message(makers[i % len(makers)](image), stamp)
    finish_and_check(node, zip(stamps, frames, strict=True))


def test_compressed_images(start):
    node = start(image_transport='compressed')
    frames = scene(12, seed=8)
    stamps, shown = [(i + 1) * SECOND for i in range(12)], []
    for i, (stamp, image) in enumerate(zip(stamps, frames, strict=True)):
        message = (
            compressed(image, '.png', 'rgb8; png compressed bgr8') if i % 2
            else compressed(image, '.jpg', 'bgr8; jpeg compressed bgr8'))
        shown.append(compressed_to_rgb(message))
        node.camera.send_message(message, stamp)
    assert all(np.array_equal(a, b) for a, b in zip(shown[1::2], frames[1::2], strict=True))
    finish_and_check(node, zip(stamps, shown, strict=True))


def test_broken_compressed_images(start):
    node = start(image_transport='compressed')
    good = scene(8, seed=9)
    whole = compressed(good[0], '.jpg', 'jpeg')
    cut = CompressedImage(format='jpeg', data=whole.data[: len(whole.data) // 2])
    bad = [
        CompressedImage(format='jpeg'), CompressedImage(format='png', data=[1, 2, 3]), cut,
        CompressedImage(format='16UC1; compressedDepth', data=whole.data),
    ]
    stamps = [(i + 1) * SECOND for i in range(8)]
    for i, (stamp, image) in enumerate(zip(stamps, good, strict=True)):
        node.camera.send_message(bad[i % 4], stamp - SECOND // 2)
        node.camera.send_message(compressed(image, '.png', 'png'), stamp)
    node.camera.expected_drops = {'malformed_image': 6, 'unsupported_encoding': 2}
    finish_and_check(node, zip(stamps, good, strict=True))
    assert len(node.process.lines('[ERROR]')) == 4


def test_bad_messages_between_good_ones(start):
    node = start()
    bad = BAD_IMAGES[::2]
    assert len(bad) >= 20
    good = scene(2 * len(bad), seed=10)
    stamps = [(i + 1) * SECOND for i in range(len(good))]
    reasons: Counter[str] = Counter()
    told = set()
    for i, (stamp, image) in enumerate(zip(stamps, good, strict=True)):
        message = bad[i % len(bad)][1]()
        with pytest.raises(ImageRefused) as refused:
            to_rgb(message)
        reasons[refused.value.reason] += 1
        told.add(str(refused.value))
        if i >= 8:
            node.camera.objects.wait(i - 7)
        node.camera.send_message(message, stamp - SECOND // 2)
        node.camera.send(image, stamp)
    node.camera.expected_drops = dict(reasons)
    finish_and_check(node, zip(stamps, good, strict=True))
    assert len(reasons) == 2
    errors = node.process.lines('[ERROR]')
    assert len(errors) == len(told)
    for text in told:
        (line,) = (line for line in errors if text in line)
        assert node.camera.input_topic in line


def test_a_size_that_changes_in_a_window_starts_a_new_stream(start):
    node = start()
    sizes = [(64, 96), (48, 64), (96, 64)]
    streams = [
        node.camera.send_all(scene(7, seed=i, size=size), (i + 1) * SECOND, SECOND // 10)
        for i, size in enumerate(sizes)
    ]
    node.finish()
    node_scenes.check_same(node.camera, *engine_streams(*streams))
    assert [m.frame_index for m in node.camera.objects.messages] == [*range(7)] * 3
    assert node.status('').values['resets'] == '2'
    assert node.process.lines('the image size changed from 96x64 to 64x48')


def overlays(node, graph) -> Inbox:
    box = graph.inbox(Image, f'{node.name}/overlay', quality(reliable=False, depth=100))
    wait_until(box.subscription.get_publisher_count, 'overlay')
    return box


def test_the_overlay_is_drawn_while_somebody_looks(start, graph, control):
    node = start()
    frames = steady_scene(60, 'red', 'green')
    camera = node.camera

    def send() -> None:
        for _ in range(4):
            count = len(camera.sent)
            camera.send(frames[count % 60], (count + 1) * SECOND)
        node.wait_taken()
        camera.masks.wait(len(camera.sent))

    send()
    assert control.counted(DRAWING) == 0
    box = overlays(node, graph)
    while not len(box):  # the node knows of the subscriber a little later
        send()
    send()
    wait_until(lambda: len(box) >= 2, 'overlays')
    results = {r.stamp: r for r in node_scenes.engine_results(list(camera.frames.items()))
               if r.revision == 0}
    for message in box.messages:
        stamp = message.header.stamp.sec * SECOND
        assert message.header.frame_id == camera.frame_id(stamp)
        drawn = draw_overlay(camera.frames[stamp], results[stamp].labels, results[stamp].objects)
        np.testing.assert_array_equal(
            np.frombuffer(message.data, np.uint8).reshape(drawn.shape), drawn)
    (result,) = node.set(overlay=False)
    assert result.successful
    send()  # as long as it takes to be acted on
    count = control.counted(DRAWING)
    assert count >= len(box)
    send()
    assert control.counted(DRAWING) == count
    node.set(overlay=True)
    send()
    wait_until(lambda: control.counted(DRAWING) > count, 'overlays again')
    graph.node.destroy_subscription(box.subscription)
    wait_until(lambda: graph.node.count_subscribers(f'{node.name}/overlay') == 0, 'the end')
    send()  # until the node knows it
    count = control.counted(DRAWING)
    send()
    node.finish()
    assert control.counted(DRAWING) == count
