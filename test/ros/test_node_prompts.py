# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts on a running node: objects added, corrected, removed and renamed through services."""

from typing import Any

import fakes
import numpy as np
import pytest
from node_control import PASSING
from node_graph import quality, wait_until
from node_running import SECOND, RunningNode, stamp_of
from node_scenes import SIZE, check_same, engine_stream, steady_scene
from ros_cases import image_of

from detsam2_msgs.srv import AddObject, RemoveObject, RenameObject
from detsam2_ros.engine import Prompt
from detsam2_ros.ros.images import read_labels

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

HEIGHT, WIDTH = SIZE
COARSE = 0.3  # IoU: the model of the tests sees a disc as a few cells
RED, GREEN = (10, 12), (25, 12)  # centres of the discs of steady_scene, on its first frame


def add(node: RunningNode, stamp: int = 0, **fields: Any) -> Any:
    """Call add_object; stamp in nanoseconds."""
    return node.call(AddObject, 'add_object', **_request(stamp, **fields))


def _request(stamp: int = 0, **fields: Any) -> dict[str, Any]:
    request = AddObject.Request()
    request.stamp.sec, request.stamp.nanosec = divmod(stamp, SECOND)
    return {'stamp': request.stamp, **fields}


def around(centre: tuple[int, int], row: int = 0) -> list[float]:
    """Return a box around a disc, `row` frames later."""
    return [float(v) for v in fakes.disc_box(centre[0], centre[1] + row, 7)]


def show(node: RunningNode, images: list[np.ndarray], first: int = 1) -> list[int]:
    """Send images, one a second; returns their stamps, once the node has taken them."""
    pairs = node.camera.send_all(images, first * SECOND)
    node.wait_taken()
    return [stamp for stamp, _ in pairs]


def mask_of_answer(answer: Any, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return the mask that an answer holds, bool [H, W]."""
    mask = np.zeros(size, bool)
    labels = read_labels(answer.patch)
    roi = answer.roi
    assert labels.shape == (roi.height, roi.width)
    assert set(np.unique(labels)) <= {0, answer.object_id}
    mask[roi.y_offset:roi.y_offset + roi.height, roi.x_offset:roi.x_offset + roi.width] = (
        labels > 0)
    return mask


@pytest.mark.parametrize('how', ['box', 'point', 'mask'])
def test_an_object_is_prompted_and_followed(start, how):
    node = start(detector='none')
    images = steady_scene(12, 'red', 'green')
    stamps = show(node, images[:6])
    red = fakes.colour_mask(images[4], 'red')
    fields: dict[str, Any] = {
        'box': {'box': around(RED, 4)},
        'point': {'points': [10.0, 16.0], 'labels': [1]},
        'mask': {'mask': image_of('mono8', red.astype(np.uint8) * 255, padding=3)},
    }[how]
    answer = add(node, stamps[4], class_name='ball', **fields)
    assert answer.success, answer.message
    assert (answer.object_id, answer.class_name, answer.frame_index) == (1, 'ball', 4)
    assert stamp_of(answer) == stamps[4]
    assert answer.header.frame_id == node.camera.frame_id(stamps[4])
    assert 'object 1 (ball)' in answer.message and 0.5 < answer.score <= 1.0
    assert fakes.iou(mask_of_answer(answer), red) > COARSE
    show(node, images[6:], first=7)
    node.finish()
    for i, image in enumerate(images):  # the frames before are corrected, those after tracked
        frame = node.camera.timeline.at((i + 1) * SECOND)
        assert fakes.iou(frame.labels == 1, fakes.colour_mask(image, 'red')) > COARSE, i
        assert not (frame.labels[fakes.colour_mask(image, 'green')]).any(), i
        assert [o.class_name for o in frame.objects] == ['ball']


def test_prompts_do_what_the_engine_does(start):
    """With a window open: the messages are those of an engine prompted at the same frames."""
    node = start(detector='none')
    offline, results = engine_stream(detecting=False), []
    images = steady_scene(20, 'red', 'green')

    def both(part: slice) -> None:
        for i, image in list(enumerate(images))[part]:
            node.camera.send(image, (i + 1) * SECOND)
            results.extend(offline.push(image, (i + 1) * SECOND))
        node.wait_taken()

    both(slice(0, 6))  # two of them wait in a window
    for index, centre in ((5, RED), (2, GREEN)):
        answer = add(node, (index + 1) * SECOND, class_name='ball', box=around(centre, index))
        theirs = offline.prompt(index, Prompt(box=tuple(around(centre, index))), 'ball')
        assert answer.success, answer.message
        assert answer.object_id == theirs.object.id
        np.testing.assert_array_equal(mask_of_answer(answer), theirs.object.mask.pixels())
    both(slice(6, 13))
    assert node.call(RenameObject, 'rename_object', object_id=1, class_name='cup').success
    offline.rename_object(1, 'cup')
    assert node.call(RemoveObject, 'remove_object', object_id=2).success
    offline.remove_object(2)
    both(slice(13, 20))
    node.finish()
    check_same(node.camera, results + offline.flush())
    assert {m.class_names[0] for m in node.camera.objects.messages[16:]} == {'cup'}


def test_a_correction_keeps_the_object(start):
    """A box on the other disc: object 1 is that one there."""
    node = start(detector='none')
    stamps = show(node, steady_scene(8, 'red', 'green'))
    assert add(node, stamps[6], class_name='ball', box=around(RED, 6)).success
    answer = add(node, stamps[7], object_id=1, class_name='ball', box=around(GREEN, 7))
    assert answer.success and answer.object_id == 1, answer.message
    wrong = add(node, stamps[7], object_id=1, class_name='cup', box=around(GREEN, 7))
    assert not wrong.success and 'ball' in wrong.message and 'cup' in wrong.message


def test_what_cannot_be_is_answered_in_words(start):
    node = start(detector='none', cameras=['front', 'rear'])
    box = around(RED)
    for camera, said in (('', 'front, rear'), ('side', "no camera 'side'")):
        answer = add(node, camera=camera, box=box)
        assert not answer.success and said in answer.message
        for kind, name in ((RemoveObject, 'remove_object'), (RenameObject, 'rename_object')):
            answer = node.call(kind, name, camera=camera, object_id=1)
            assert not answer.success and said in answer.message
    answer = add(node, camera='front', box=box)
    assert not answer.success and 'no frame yet' in answer.message
    images = steady_scene(20, 'red')
    for i, image in enumerate(images):
        for camera in node.cameras.values():
            camera.send(image, (i + 1) * SECOND)
    node.wait_taken()
    empty = {'points': [90.0, 60.0]}
    for stamp, fields, said in (
        (2 * SECOND, {'box': box}, 'no frame with stamp 2000000000 ns'),  # long final
        (30 * SECOND, {'box': box}, 'no frame with stamp'),
        (20 * SECOND + 1, {'box': box}, 'no frame with stamp'),
        (0, {}, 'give a box, points or a mask'),
        (0, {'box': [1.0, 2.0, 3.0]}, 'box must be x_min'),
        (0, {'box': [20.0, 2.0, 3.0, 9.0]}, 'empty'),
        (0, {'box': [float('nan')] * 4}, 'finite'),
        (0, {'box': [500.0, 500.0, 600.0, 600.0]}, 'no pixel inside the image'),
        (0, {'points': [1.0]}, 'odd'),
        (0, {'points': [1.0, 1.0], 'labels': [1, 0]}, '2 labels for 1 points'),
        (0, {'points': [1.0, 1.0], 'labels': [7]}, '1 (inside) or 0 (outside)'),
        (0, {'points': [1.0, 1000.0]}, 'outside the image'),
        (0, {'points': [1.0, 1.0], 'labels': [0]}, 'add one inside'),
        (0, {'points': [1.0, 1.0] * 5000}, 'at most'),
        (0, empty, 'nothing is found'),
        (0, {'mask': image_of('rgb8', images[0])}, 'the mask cannot be used'),
        (0, {'mask': image_of('mono8', np.ones((8, 8), np.uint8))}, '8x8'),
        (0, {'mask': image_of('mono8', np.zeros(SIZE, np.uint8))}, 'no pixel'),
        (0, {'mask': image_of('mono8', np.ones(SIZE, np.uint8)), 'box': box}, 'alone'),
        (0, {'box': box, 'object_id': 9}, 'no object 9'),
        (0, {'box': box, 'class_name': 'x' * 300}, 'at most 200'),
    ):
        answer = add(node, stamp, camera='front', **{'class_name': '', **fields})
        assert not answer.success, fields
        assert said in answer.message, answer.message
        assert '\n' not in answer.message and 'internal' not in answer.message
    for kind, name, fields, said in (
        (RemoveObject, 'remove_object', {'object_id': 0}, 'background'),
        (RemoveObject, 'remove_object', {'object_id': 5}, 'no object 5'),
        (RenameObject, 'rename_object', {'object_id': 5, 'class_name': 'a'}, 'no object 5'),
        (RenameObject, 'rename_object', {'object_id': 5, 'class_name': ' '}, 'is empty'),
    ):
        answer = node.call(kind, name, camera='front', **fields)
        assert not answer.success and said in answer.message, answer.message
    node.finish()
    assert all(not m.ids for c in node.cameras.values() for m in c.objects.messages)


def test_a_default_class_and_the_newest_frame(start):
    node = start(detector='none')
    stamps = show(node, steady_scene(5, 'red'))
    answer = add(node, box=around(RED, 4))
    assert answer.success and answer.class_name == 'object'
    assert stamp_of(answer) == stamps[-1] and answer.frame_index == 4
    again = add(node, box=around(RED, 4))  # the same thing, or another object: never a crash
    assert again.success


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_prompts_wait_for_the_running_step_only(start, control, mode):
    """While a pass is held: other services answer, the prompt does when the part has ended."""
    node = start(detector='none', mode=mode)
    show(node, steady_scene(3, 'red'))
    control.hold(PASSING)
    image = steady_scene(8, 'red')[3]
    node.camera.send(image, 4 * SECOND)
    control.wait_held(PASSING)
    future = node.graph.start_call(
        AddObject, f'{node.name}/add_object', **_request(4 * SECOND, box=around(RED, 3)))
    also = node.graph.start_call(
        AddObject, f'{node.name}/add_object', **_request(3 * SECOND, box=around(RED, 2)))
    assert node.state() == 'active'
    assert not future.done() and not also.done()
    control.release(PASSING)
    assert node.graph.answer(future).success and node.graph.answer(also).success
    node.camera.send_all(steady_scene(12, 'red')[4:], 5 * SECOND)
    node.finish()
    assert node.camera.objects.messages[-1].class_names == ['object']


def test_a_flood_of_prompts_holds_up_no_frame(start):
    """While frames come: each is answered, objects stay bounded, other services answer."""
    node = start(detector='none', mode='online', max_objects=3, merge_iou=1.0)
    images, futures = steady_scene(24, 'red', 'green'), []
    # A client of the usual depth would lose most of them itself.
    client = node.graph.node.create_client(
        AddObject, f'{node.name}/add_object', qos_profile=quality())
    wait_until(client.service_is_ready, 'add_object')
    for i, image in enumerate(images):
        node.camera.send(image, (i + 1) * SECOND)
        for name in 'abc':
            fields = _request(class_name=name, points=[10.0, 12.0 + i % 20])
            futures.append(client.call_async(AddObject.Request(**fields)))
    assert node.state() == 'active'
    answers = [node.graph.answer(future) for future in futures]
    assert any(answer.success for answer in answers)
    told = {answer.message for answer in answers if not answer.success}
    assert all('nothing is found' in m or 'no frame yet' in m or 'objects already' in m
               for m in told), told
    node.finish()
    stamps = [m.header.stamp.sec for m in node.camera.objects.wait(len(images))]
    assert stamps == list(range(1, len(images) + 1))
    assert max(len(m.ids) for m in node.camera.objects.messages) <= 3


def test_before_configure_and_after_deactivate(start):
    node = start(up=False, detector='none')
    node.wait_started()
    assert 'not configured' in add(node, box=around(RED)).message
    node.bring_up()
    stamps = show(node, steady_scene(4, 'red'))
    assert node.change_state('deactivate')
    answer = add(node, stamps[3], box=around(RED, 3))
    assert answer.success, answer.message  # the stream is there; the next frames show it
    assert node.change_state('activate')
    node.wait_connected()
    show(node, steady_scene(8, 'red')[4:], first=5)
    node.finish()
    assert list(node.camera.objects.messages[-1].visible) == [True]
