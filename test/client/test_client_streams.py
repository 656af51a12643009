# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MaskTimeline when a stream starts over: frames of two streams are never mixed."""

import random

import numpy as np
import pytest
from client_cases import STEP, correction, labels_of, masks, objects
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.client import MaskTimeline


def first_labels(stream: int, index: int) -> np.ndarray:
    """Make labels that tell stream and index apart."""
    return labels_of(0, 0, 1, 1, 0, 0, 1, 1) * (100 * stream + 200 + index % 90)


def corrected_labels(stream: int, index: int, revision: int) -> np.ndarray:
    labels = first_labels(stream, index)
    labels[revision % 2, revision % 4] = 100 * stream + 200 + (index + revision) % 90
    return labels


Send = tuple[str, int, object]  # topic, index, message


def send_order(stream: int, start: int, count: int, step: int = STEP) -> list[Send]:
    """List what a node with K = 4 and M = 8 sends, in its order."""
    sent: list[Send] = []
    for newest in range(3, count, 4):
        for index in range(max(newest - 7, 0), newest + 1):
            stamp = start + index * step
            ids = (100 * stream + 200 + index % 90,)
            if index > newest - 4:
                sent.append(('masks', index, masks(first_labels(stream, index), stamp)))
                sent.append(('objects', index, objects(stamp, index, ids)))
            else:
                before, after = first_labels(stream, index), corrected_labels(stream, index, 1)
                message = correction(before, after, stamp, index, 1, True, ids)
                sent.append(('correction', index, message))
    return sent


def deliver(timeline: MaskTimeline, messages: list[Send]) -> None:
    for kind, _, message in messages:
        getattr(timeline, f'add_{kind}')(message)


def check(timeline: MaskTimeline, starts: list[int], step: int = STEP) -> set[int]:
    """Check that each frame is of one stream as a whole, and name the streams."""
    streams = set()
    for frame in timeline.frames():
        streams.add((frame.objects[0].id - 200) // 100)
        stream = (frame.objects[0].id - 200) // 100
        assert frame.stamp == starts[stream] + frame.index * step
        assert frame.objects[0].id == 100 * stream + 200 + frame.index % 90
        expected = first_labels(stream, frame.index)
        if frame.revision:
            expected = corrected_labels(stream, frame.index, 1)
        np.testing.assert_array_equal(frame.labels, expected)
    assert len(streams) <= 1, f'frames of the streams {streams} at once'
    return streams


STARTS = {
    'reset': (0, 80 * STEP),
    'the bag loops': (0, 0),
    'the bag loops from a later frame': (0, 7 * STEP),
    'the bag loops from an earlier frame': (7 * STEP, 0),
    'clock goes back by a bit': (0, 75 * STEP + STEP // 2),
    'clock goes back by less than a frame': (0, 79 * STEP - STEP // 10),
    'clock goes back far': (3000 * STEP, 0),
    'clock goes back by a year': (10**9 * STEP, 5 * STEP),
}


@pytest.mark.parametrize('starts', STARTS.values(), ids=STARTS.keys())
@pytest.mark.parametrize('length', [5, 40, 200])
def test_a_stream_starts_over(starts: tuple[int, int], length: int) -> None:
    timeline = MaskTimeline(length=length)
    deliver(timeline, send_order(0, starts[0], 80))
    assert check(timeline, list(starts)) == {0} and timeline.latest().index == 79
    after = send_order(1, starts[1], 80)
    masks_, objects_ = after[0][2], after[1][2]
    timeline.add_masks(masks_)
    frame = timeline.add_objects(objects_)
    assert frame is not None and frame.stream == 1 and frame.index == 0
    assert timeline.frames() == [frame]
    deliver(timeline, after[2:])
    assert check(timeline, list(starts)) == {1}
    assert [frame.index for frame in timeline.frames()] == list(range(80))[-length:]
    assert timeline.latest().stream == 1
    corrected = [frame.revision for frame in timeline.frames()]
    assert corrected == ([1] * 76 + [0] * 4)[-length:]


@pytest.mark.parametrize('topic', ['masks', 'objects', 'correction'])
@pytest.mark.parametrize('starts', STARTS.values(), ids=STARTS.keys())
def test_one_topic_lags_over_the_start(starts: tuple[int, int], topic: str) -> None:
    """Its last messages of the old stream come after the first ones of the new."""
    timeline = MaskTimeline(max_lag=10)
    old, new = send_order(0, starts[0], 80), send_order(1, starts[1], 80)
    cut = [i for i, (kind, _, _) in enumerate(old) if kind == topic][-3]  # less than a window
    late = [entry for entry in old[cut:] if entry[0] == topic]
    deliver(timeline, [entry for entry in old if entry not in late])
    waiting = list(late)
    for place, entry in enumerate(new):
        if entry[0] == topic:
            waiting.append(entry)
            entry = waiting.pop(0)
        deliver(timeline, [entry])
        if place < 40 or place % 16 == 0:
            check(timeline, list(starts))
    deliver(timeline, waiting)
    assert check(timeline, list(starts)) == {1}
    indices = [frame.index for frame in timeline.frames()]
    assert indices in (list(range(80)), list(range(1, 80)))
    uncorrected = {frame.index for frame in timeline.frames() if frame.revision == 0}
    if topic == 'objects' and starts[1] <= starts[0] + 79 * STEP:
        # These could as well be the last corrections of the old stream, which has such frames.
        uncorrected -= set(range(69, 76))
    assert uncorrected == {76, 77, 78, 79}


@pytest.mark.parametrize('second', [-6, 0, 6])
@pytest.mark.parametrize('third', [-6, 0, 6])
def test_a_bag_that_loops_twice(second: int, third: int) -> None:
    """Masks lag (or lead, below 0) by some messages when it does."""
    first, after = send_order(0, 0, 80), send_order(1, 0, 70)
    sent = first + after + send_order(2, 0, 60)
    arrivals, latest = [], 0
    for place, entry in enumerate(sent):
        due = place
        if entry[0] == 'masks':
            lag = second if place < len(first) + len(after) // 2 else third
            due = latest = max(latest, place + lag)
        arrivals.append((due, place, entry))
    timeline = MaskTimeline()
    for _, place, entry in sorted(arrivals, key=lambda arrival: arrival[:2]):
        deliver(timeline, [entry])
        if place == len(first) + 40:
            assert check(timeline, [0, 0, 0]) == {1}
        if place % 8 == 0 or len(first) + len(after) - 10 < place < len(first) + len(after) + 30:
            check(timeline, [0, 0, 0])
    assert check(timeline, [0, 0, 0]) == {2}
    assert [frame.index for frame in timeline.frames()] == list(range(60))
    assert timeline.latest().stream == 2


@settings(max_examples=15)
@given(st.data())
def test_two_streams_never_mix(data) -> None:
    """Topics keep their order, lag behind each other by a bit, and lose messages."""
    starts = list(data.draw(st.sampled_from(list(STARTS.values()))))
    counts = [data.draw(st.sampled_from([64, 80])), 64]
    chance = random.Random(data.draw(st.integers(0, 10**6)))
    sent = send_order(0, starts[0], counts[0]) + send_order(1, starts[1], counts[1])
    loss = data.draw(st.sampled_from([0.0, 0.05, 0.3]))
    lag = data.draw(st.sampled_from([0, 2, 8]))
    twice = data.draw(st.booleans())
    due: dict[str, float] = {}
    arrivals = []
    for place, (kind, index, message) in enumerate(sent):
        due[kind] = max(due.get(kind, 0.0), place + chance.uniform(0, lag))
        if chance.random() >= loss:
            arrivals += [(due[kind], place, kind, index, message)] * (1 + twice)
    timeline = MaskTimeline(length=data.draw(st.sampled_from([20, 100])))
    boundary = len(sent) * counts[0] // sum(counts)
    for _, place, kind, index, message in sorted(arrivals, key=lambda entry: entry[:2]):
        deliver(timeline, [(kind, index, message)])
        if abs(place - boundary) < 25 or place % 32 == 0:
            check(timeline, starts)
    assert check(timeline, starts) == {1}
    assert timeline.latest().stream >= 1
    if loss == 0:
        indices = {frame.index for frame in timeline.frames()}
        assert indices.issuperset(range(45, counts[1]))
        if lag <= 2:
            assert all(frame.revision == (frame.index < 60) for frame in timeline.frames())


def test_other_objects_for_a_known_frame_are_of_another_stream() -> None:
    """Also within max_lag of the newest frame."""
    timeline = MaskTimeline()
    deliver(timeline, send_order(0, 0, 8))
    deliver(timeline, send_order(1, 0, 8)[:2])
    assert [(frame.index, frame.stream) for frame in timeline.frames()] == [(0, 1)]
    check(timeline, [0, 0])


SAME = labels_of(0, 1, 1, 1)


def frame_of(timeline: MaskTimeline, stamp: int, index: int, ids: tuple[int, ...] = (1,)):
    timeline.add_masks(masks(SAME, stamp))
    return timeline.add_objects(objects(stamp, index, ids))


@pytest.mark.parametrize(('stamp', 'index', 'ids'), [
    (8 * STEP, 7, (1,)),  # an index that is there already
    (9 * STEP, 0, (1,)),
    (4 * STEP + 1, 0, (1,)),  # between frames 4 and 5
    (4 * STEP + 1, 5, (1,)),
    (4 * STEP, 3, (1,)),
    (4 * STEP, 4, (1, 2)),  # as before, but other objects
])
def test_objects_that_contradict_the_known_ones(stamp: int, index: int, ids) -> None:
    timeline = MaskTimeline()
    for i in range(8):
        assert frame_of(timeline, i * STEP, i).stream == 0
    timeline.add_objects(objects(stamp, index, ids))
    timeline.add_masks(masks(SAME, stamp))
    assert [(f.stamp, f.index, f.stream) for f in timeline.frames()] == [(stamp, index, 1)]
    assert len(timeline.latest().objects) == len(ids)


def test_corrections_that_contradict_the_objects_are_not_of_their_stream() -> None:
    timeline = MaskTimeline()
    for i in range(0, 8, 2):
        frame_of(timeline, i * STEP, i)
    for stamp, index in ((2 * STEP, 3), (3 * STEP, 4), (3 * STEP, 1), (5 * STEP, 50)):
        assert timeline.add_correction(correction(SAME, SAME + 1, stamp, index)) is None
        assert timeline.add_masks(masks(SAME, stamp)) is None
    assert [frame.revision for frame in timeline.frames()] == [0] * 4
    assert timeline.add_correction(correction(SAME, SAME + 1, 3 * STEP, 3)).revision == 1


def test_a_correction_that_waits_is_dropped_when_its_frame_turns_out_to_be_another() -> None:
    timeline = MaskTimeline()
    timeline.add_correction(correction(SAME, SAME + 1, STEP, 50, revision=5))
    assert frame_of(timeline, STEP, 5) == timeline.at(STEP)
    assert timeline.at(STEP).revision == 0
    timeline = MaskTimeline()
    timeline.add_correction(correction(SAME, SAME + 1, STEP, 50, revision=5))
    timeline.add_correction(correction(SAME, SAME + 2, STEP, 5, revision=1))
    frame_of(timeline, STEP, 5)
    assert timeline.at(STEP).revision == 1


def test_masks_from_far_back_do_not_meet_what_is_known_of_the_old_stream() -> None:
    timeline = MaskTimeline(max_lag=10)
    sent = send_order(0, 0, 40)
    lost = {('masks', 2), ('objects', 2), ('masks', 3), ('masks', 30)}
    deliver(timeline, [entry for entry in sent if entry[:2] not in lost])
    for index in (2, 3):
        message = masks(first_labels(1, index), index * STEP)
        assert timeline.add_masks(message) is None, 'masks of stream 1 with objects of stream 0'
    late = timeline.add_masks(masks(first_labels(0, 30), 30 * STEP))
    assert (late.stream, late.revision) == (0, 1)
    frame = timeline.add_objects(objects(2 * STEP, 2, (302,)))
    assert frame.stream == 1 and check(timeline, [0, 0]) == {1}


def test_the_same_messages_again_are_a_new_stream_only_from_further_back() -> None:
    timeline = MaskTimeline(max_lag=10)
    messages = send_order(0, 0, 40)
    deliver(timeline, messages)
    deliver(timeline, [entry for entry in messages if entry[1] >= 29])  # repeated
    assert timeline.latest().stream == 0 and len(timeline) == 40
    deliver(timeline, messages)  # node and bag were started again
    frames = timeline.frames()
    assert {frame.stream for frame in frames} == {1} and len(frames) == 40


def test_finality_starts_over_too() -> None:
    timeline = MaskTimeline(max_propagation=4)
    deliver(timeline, send_order(0, 0, 80))
    for kind, _, message in send_order(1, 0, 4):
        changed = getattr(timeline, f'add_{kind}')(message)
        assert changed is None or not changed.final


def test_a_stream_of_another_image_size() -> None:
    timeline = MaskTimeline()
    deliver(timeline, send_order(0, 0, 80))
    large = np.full((9, 11), 5, np.uint16)
    for i in range(10):
        stamp = (80 + i) * STEP
        timeline.add_masks(masks(large, stamp))
        timeline.add_objects(objects(stamp, i))
    timeline.add_correction(correction(large, large + 1, 81 * STEP, 1))
    assert [frame.labels.shape for frame in timeline.frames()] == [(9, 11)] * 10
    assert (timeline.at(81 * STEP).labels == 6).all()
