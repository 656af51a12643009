# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""AddObject requests as prompts of the engine, and its answers; anything may be asked."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy')

from hypothesis import given
from hypothesis import strategies as st
from ros_cases import BAD_IMAGES, image_of, image_of_bytes
from std_msgs.msg import Header

from detsam2_msgs.srv import AddObject
from detsam2_ros.engine import Object, Prompt, Prompted, PromptError
from detsam2_ros.results.masks import Mask
from detsam2_ros.ros.images import read_labels
from detsam2_ros.ros.services.base import RequestError, read_class_name
from detsam2_ros.ros.services.objects import fill_answer, read_prompt, read_stamp

pytestmark = pytest.mark.ros

FLOATS = st.lists(st.floats(width=32), max_size=9)


def request(**fields) -> AddObject.Request:
    return AddObject.Request(**fields)


def test_a_box_points_and_both():
    prompt = read_prompt(request(box=[1.0, 2.0, 3.0, 4.5]))
    assert prompt.box == (1.0, 2.0, 3.0, 4.5) and prompt.mask is None and not len(prompt.points)
    prompt = read_prompt(request(points=[1.0, 2.0, 3.0, 4.0]))
    assert prompt.box is None and prompt.labels.tolist() == [1, 1]
    np.testing.assert_array_equal(prompt.points, [[1, 2], [3, 4]])
    prompt = read_prompt(request(box=[1.0, 2.0, 3.0, 4.5], points=[1.0, 2.0], labels=[0]))
    assert prompt.box and prompt.labels.tolist() == [0]


@pytest.mark.parametrize('encoding, kind, value', [
    ('mono8', np.uint8, 1), ('mono8', np.uint8, 255), ('8UC1', np.uint8, 7),
    ('mono16', np.uint16, 1), ('mono16', np.uint16, 256), ('16UC1', np.uint16, 65535)])
@pytest.mark.parametrize('padding, big', [(0, False), (6, False), (0, True), (2, True)])
def test_a_mask_of_each_encoding(encoding, kind, value, padding, big):
    mask = np.zeros((5, 7), bool)
    mask[1:3, 2:6] = True
    message = image_of(encoding, mask.astype(kind) * kind(value), padding=padding, big=big)
    np.testing.assert_array_equal(read_prompt(request(mask=message)).mask, mask)


# But for what a mask may be, and for no mask at all.
BAD_MASKS = [(name, make) for name, make in BAD_IMAGES
             if make().encoding != '16UC1' and (make().width or make().data)]


@pytest.mark.parametrize('make', [m for _, m in BAD_MASKS], ids=[name for name, _ in BAD_MASKS])
def test_a_mask_that_cannot_be_is_refused_in_words(make):
    message = make()
    with pytest.raises(RequestError, match='the mask cannot be used: an? .*') as caught:
        read_prompt(request(mask=message))
    assert 'camera driver' not in str(caught.value)


@given(box=FLOATS, points=FLOATS, labels=st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5),
       side=st.tuples(st.integers(0, 9), st.integers(0, 9)), step=st.integers(0, 20),
       data=st.binary(max_size=60), encoding=st.sampled_from(['', 'mono8', 'mono16', 'rgb8', 'é']))
def test_anything_becomes_a_prompt_or_one_sentence(
    box, points, labels, side, step, data, encoding
):
    mask = image_of_bytes(encoding, *side, step, data)
    try:
        prompt = read_prompt(request(box=box, points=points, labels=labels, mask=mask))
    except (RequestError, PromptError) as error:
        assert str(error) and '\n' not in str(error)
        return
    assert isinstance(prompt, Prompt)
    assert prompt.box is not None or len(prompt.points) or prompt.mask is not None


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))
def test_stamps_are_nanoseconds_and_zero_is_the_newest(seconds, nanoseconds):
    asked = request()
    asked.stamp.sec, asked.stamp.nanosec = seconds, nanoseconds
    stamp = read_stamp(asked)
    assert (stamp or 0) == seconds * 10**9 + nanoseconds
    assert (stamp is None) == (seconds * 10**9 + nanoseconds == 0)


@given(st.integers(1, 65535), st.tuples(*[st.integers(0, 11)] * 4))
def test_an_answer_holds_the_mask_in_its_box(object_id, sides):
    mask = np.zeros((10, 12), bool)
    mask[sides[0]:sides[1], sides[2]:sides[3]] = True
    header = Header(frame_id='eye')
    header.stamp.sec = 9
    found = Object(object_id, 2, 'cup', 0.5, True, Mask.of(mask))
    frame = SimpleNamespace(header=header)
    response = AddObject.Response()
    fill_answer(response, Prompted(4, 9 * 10**9, found, frame))
    assert (response.object_id, response.class_id, response.class_name) == (object_id, 2, 'cup')
    assert response.header == header == response.patch.header and response.frame_index == 4
    roi, whole = response.roi, np.zeros_like(mask)
    assert (response.patch.width, response.patch.height) == (roi.width, roi.height)
    if mask.any():
        part = read_labels(response.patch)
        assert set(np.unique(part)) <= {0, object_id} and part.any(axis=1).all()
        whole[roi.y_offset:roi.y_offset + roi.height,
              roi.x_offset:roi.x_offset + roi.width] = part > 0
    np.testing.assert_array_equal(whole, mask)


@given(st.text(max_size=300))
def test_class_names_are_printable_and_of_bounded_length(text):
    try:
        name = read_class_name(text)
    except RequestError as error:
        assert len(text.strip()) > 200 or not text.strip().isprintable()
        assert str(error).isprintable()
    else:
        assert name == text.strip() and name.isprintable()
