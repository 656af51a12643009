# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MaskTimeline within one stream: any order of messages ends in the best known masks."""

import array
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from client_cases import (
    SECOND,
    STEP,
    compressed,
    correction,
    image,
    labels_of,
    masks,
    objects,
)
from hypothesis import given
from hypothesis import strategies as st

from detsam2_ros.client import MaskTimeline, ObjectInfo

FIRST = labels_of(0, 0, 1, 1, 0, 0, 1, 1)
SECOND_LABELS = labels_of(0, 1, 1, 0, 0, 2, 1, 0)
THIRD_LABELS = labels_of(0, 0, 0, 0, 3, 3, 0, 0)


def filled(count: int, **settings: int) -> MaskTimeline:
    timeline = MaskTimeline(**settings)
    for i in range(count):
        timeline.add_masks(masks(FIRST + i, i * STEP))
        timeline.add_objects(objects(i * STEP, i))
    return timeline


def test_a_frame_is_known_once_masks_and_objects_are_there() -> None:
    timeline = MaskTimeline()
    assert (len(timeline), timeline.latest(), timeline.frames()) == (0, None, [])
    assert timeline.add_masks(masks(FIRST, 5 * SECOND)) is None
    assert timeline.latest() is None
    frame = timeline.add_objects(objects(5 * SECOND, 12, (1, 9)))
    assert frame == timeline.latest() == timeline.at(5 * SECOND)
    assert (frame.stamp, frame.frame_id, frame.stream) == (5 * SECOND, 'camera', 0)
    assert (frame.index, frame.revision, frame.final, len(timeline)) == (12, 0, False, 1)
    assert frame.objects[1] == ObjectInfo(9, 7, 'cup', 0.0, (1.0, 2.0, 3.0, 4.0), True, False)
    assert frame.labels.dtype == np.uint16
    np.testing.assert_array_equal(frame.labels, FIRST)
    np.testing.assert_array_equal(frame.mask(1), FIRST == 1)
    np.testing.assert_array_equal(frame.mask(0), FIRST == 0)
    assert not frame.mask(77).any()
    with pytest.raises(ValueError, match='read-only'):
        frame.labels[0, 0] = 1


def test_objects_before_masks() -> None:
    timeline = MaskTimeline()
    assert timeline.add_objects(objects(STEP, 3)) is None
    frame = timeline.add_masks(masks(FIRST, STEP))
    assert frame is not None and frame.index == 3


def test_an_object_without_a_mask_has_no_box() -> None:
    timeline = MaskTimeline()
    message = objects(STEP, 3)
    message.visible, message.boxes = [False], [0.0] * 4
    timeline.add_objects(message)
    frame = timeline.add_masks(masks(FIRST * 0, STEP))
    assert frame.objects[0].box is None and not frame.objects[0].visible


@pytest.mark.parametrize('sent', [lambda message: message, compressed], ids=['raw', 'png'])
def test_corrections_are_patches_against_revision_0(sent) -> None:
    timeline = MaskTimeline()
    timeline.add_masks(sent(masks(FIRST, 0)))
    timeline.add_objects(objects(0, 0))
    before = timeline.latest()
    first = timeline.add_correction(sent(correction(FIRST, SECOND_LABELS, 0, 0, 1, ids=(1, 2))))
    np.testing.assert_array_equal(first.labels, SECOND_LABELS)
    assert first.revision == 1 and [obj.id for obj in first.objects] == [1, 2]
    second = timeline.add_correction(sent(correction(FIRST, THIRD_LABELS, 0, 0, 2, ids=(3,))))
    np.testing.assert_array_equal(second.labels, THIRD_LABELS)
    assert second.objects[0].conditioned
    third = timeline.add_correction(sent(correction(FIRST, FIRST, 0, 0, 3)))
    assert third.revision == 3 and third == timeline.at(0)
    np.testing.assert_array_equal(third.labels, FIRST)
    # What was handed out stays.
    np.testing.assert_array_equal(before.labels, FIRST)
    np.testing.assert_array_equal(first.labels, SECOND_LABELS)
    assert before.revision == 0


def test_a_patch_outside_the_first_row_and_column() -> None:
    before = np.arange(30, dtype=np.uint16).reshape(5, 6)
    after = before.copy()
    after[2:4, 3:5] = 65535
    timeline = MaskTimeline()
    timeline.add_masks(image(before, STEP, padding=3))
    timeline.add_objects(objects(STEP, 3))
    message = correction(before, after, STEP, 3)
    assert (message.roi.x_offset, message.roi.y_offset) == (3, 2)
    frame = timeline.add_correction(message)
    np.testing.assert_array_equal(frame.labels, after)


def test_older_and_repeated_corrections_change_nothing() -> None:
    timeline = filled(1)
    assert timeline.add_correction(correction(FIRST, THIRD_LABELS, 0, 0, 2)).revision == 2
    assert timeline.add_correction(correction(FIRST, SECOND_LABELS, 0, 0, 1)) is None
    assert timeline.add_correction(correction(FIRST, SECOND_LABELS, 0, 0, 2)) is None
    assert timeline.add_masks(masks(FIRST, 0)) is None
    assert timeline.add_objects(objects(0, 0)) is None
    np.testing.assert_array_equal(timeline.latest().labels, THIRD_LABELS)


def test_a_correction_stands_in_for_lost_objects() -> None:
    timeline = MaskTimeline()
    timeline.add_correction(correction(FIRST, SECOND_LABELS, STEP, 8, 4, ids=(5,)))
    assert len(timeline) == 0
    frame = timeline.add_masks(masks(FIRST, STEP))
    assert (frame.index, frame.revision, frame.objects[0].id) == (8, 4, 5)
    np.testing.assert_array_equal(frame.labels, SECOND_LABELS)
    assert timeline.add_objects(objects(STEP, 8)) is None  # late: the correction is newer


@pytest.mark.parametrize('bigendian', [0, 1])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('kind', [bytes, bytearray, lambda data: array.array('B', data)])
def test_rows_and_bytes_of_images(bigendian: int, padding: int, kind) -> None:
    labels = np.arange(300, 312, dtype=np.uint16).reshape(3, 4)
    message = image(labels, STEP, padding, bigendian)
    message.data = kind(message.data)
    timeline = MaskTimeline()
    timeline.add_objects(objects(STEP, 0))
    frame = timeline.add_masks(message)
    message.data = b''
    np.testing.assert_array_equal(frame.labels, labels)
    assert frame.labels.dtype == np.uint16 and frame.labels.dtype.isnative


def test_labels_do_not_share_memory_with_the_message() -> None:
    message = masks(FIRST, STEP)
    message.data = bytearray(message.data)
    timeline = MaskTimeline()
    timeline.add_masks(message)
    message.data[:] = bytes(len(message.data))
    np.testing.assert_array_equal(timeline.add_objects(objects(STEP, 0)).labels, FIRST)


def test_corrected_labels_are_made_once_and_only_on_request() -> None:
    timeline = filled(3)
    first = timeline.at(0).labels
    frame = timeline.add_correction(correction(FIRST, SECOND_LABELS, 0, 0))
    assert frame._labels._base is first  # nothing is made yet
    made = frame.labels
    assert made is not first and timeline.at(0).labels is made is frame.labels
    assert not made.flags.writeable and not first.flags.writeable


def test_at_a_stamp() -> None:
    timeline = filled(4)

    def index(frame) -> int | None:
        return None if frame is None else frame.index

    assert index(timeline.at(2 * STEP)) == 2
    assert index(timeline.at(2 * STEP + 1)) is None
    assert index(timeline.at(2 * STEP + 1, tolerance=1)) == 2
    assert index(timeline.at(2 * STEP - 3, tolerance=3)) == 2
    assert index(timeline.at(2 * STEP - 3, tolerance=2)) is None
    assert index(timeline.at(STEP + STEP // 2, tolerance=STEP)) == 1
    assert index(timeline.at(10 * STEP, tolerance=100 * STEP)) == 3
    assert index(timeline.at(-1, tolerance=STEP)) == 0
    assert index(timeline.at_or_before(-1)) is None
    assert index(timeline.at_or_before(STEP)) == 1
    assert index(timeline.at_or_before(2 * STEP - 1)) == 1
    assert index(timeline.at_or_before(99 * STEP)) == 3
    time = SimpleNamespace(sec=0, nanosec=2 * STEP)
    assert index(timeline.at(time)) == index(timeline.at_or_before(time)) == 2
    assert index(timeline.at(SimpleNamespace(nanoseconds=3 * STEP))) == 3
    assert MaskTimeline().at(0, tolerance=SECOND) is None
    with pytest.raises(ValueError, match='tolerance'):
        timeline.at(0, tolerance=-1)


def test_length_is_bounded() -> None:
    timeline = filled(50, length=7)
    assert len(timeline) == 7
    assert [frame.index for frame in timeline.frames()] == list(range(43, 50))
    assert timeline.add_objects(objects(40 * STEP, 40)) is None
    assert timeline.add_correction(correction(FIRST, THIRD_LABELS, 3 * STEP, 3)) is None
    assert not timeline._pending  # nothing is kept for frames that have gone
    assert timeline.add_masks(masks(FIRST, 40 * STEP)) is None
    assert [frame.index for frame in timeline.frames()] == list(range(43, 50))


def test_parts_without_counterparts_are_bounded() -> None:
    timeline = MaskTimeline(length=4, max_lag=3)
    for i in range(100):
        timeline.add_masks(masks(FIRST, i * STEP))
        timeline.add_correction(correction(FIRST, SECOND_LABELS, (1000 + i) * STEP, 1000 + i))
    assert len(timeline._pending) == 4 and len(timeline) == 0
    for i in range(100):  # other pixels: what is known of the frame is dropped
        timeline.add_masks(masks(FIRST + i % 2, 0))
        timeline.add_objects(objects(0, 0))
        assert len(timeline._pending) + len(timeline._known) <= 5
    with pytest.raises(ValueError, match='length must be >= 1, got 0'):
        MaskTimeline(length=0)
    with pytest.raises(ValueError, match='max_propagation must be >= 1 or None, got 0'):
        MaskTimeline(max_propagation=0)
    with pytest.raises(ValueError, match='window_size must be >= 0, got -1'):
        MaskTimeline(window_size=-1)


def test_final_by_message_or_by_distance() -> None:
    timeline = filled(10, max_propagation=4)
    # More than 4 behind frame 9.
    assert [frame.final for frame in timeline.frames()] == [True] * 5 + [False] * 5
    timeline.add_correction(correction(FIRST, SECOND_LABELS, 8 * STEP, 8, final=True))
    assert [frame.index for frame in timeline.frames() if not frame.final] == [5, 6, 7, 9]
    assert not any(frame.final for frame in filled(10).frames())
    online = filled(10, max_propagation=4, window_size=3)  # corrections may lag by a window
    assert [frame.final for frame in online.frames()] == [True] * 2 + [False] * 8
    timeline = filled(2)
    timeline.add_masks(masks(FIRST, 2 * STEP))
    assert timeline.add_objects(objects(2 * STEP, 2, final=True)).final
    # Sent before the frame became final, arrived after: applied all the same.
    timeline = filled(10, max_propagation=4)
    late = timeline.add_correction(correction(FIRST, SECOND_LABELS, 0, 0))
    assert late.final and late.revision == 1


def test_without_opencv_only_compressed_masks_are_refused() -> None:
    program = (
        'import sys; sys.modules["cv2"] = None  # as if it were not installed\n'
        'from types import SimpleNamespace as Message\n'
        'from detsam2_ros.client import MaskTimeline\n'
        'raw = Message(encoding="mono16", height=1, width=1, step=2, data=b"aa", is_bigendian=0)\n'
        'raw.header = Message(stamp=Message(sec=0, nanosec=0), frame_id="")\n'
        'MaskTimeline().add_masks(raw)\n'
        'try: MaskTimeline().add_masks(Message(format="mono16; png compressed ", data=b""))\n'
        'except ImportError as error: print(error)\n'
    )
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.stdout == (
        'compressed masks need OpenCV, which is not installed: install python3-opencv (pip: '
        'opencv-python-headless), or subscribe without compressed=True\n'), run.stderr


def test_no_ros_is_imported() -> None:
    program = (
        'import sys, detsam2_ros.client\n'
        'ros = {"rclpy", "sensor_msgs", "detsam2_msgs", "cv_bridge", "torch", "cv2"}\n'
        'print(sorted(ros & set(sys.modules)))'
    )
    run = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert run.stdout == '[]\n', run.stderr


@given(st.data())
def test_any_order_ends_in_the_best_that_arrived(data) -> None:
    """Losses, repetitions and any order: the highest revision that arrived, exactly."""
    count = data.draw(st.integers(1, 12))
    length = data.draw(st.integers(1, 14))
    seeds = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    sent, expected = [], {}
    for index in range(count):
        stamp = 5 * SECOND + index * STEP
        revisions = [seeds.integers(0, 3, (3, 4)).astype(np.uint16) for _ in range(4)]
        if data.draw(st.booleans()):
            revisions[2] = revisions[0]  # an empty roi
        has_masks, *arrives = data.draw(st.lists(st.booleans(), min_size=5, max_size=5))
        messages = [('masks', masks(revisions[0], stamp))] if has_masks else []
        for revision, labels in enumerate(revisions):
            if arrives[revision] and revision == 0:
                messages.append(('objects', objects(stamp, index)))
            elif arrives[revision]:
                messages.append(
                    ('correction', correction(revisions[0], labels, stamp, index, revision)))
        best = max((r for r in range(4) if arrives[r]), default=None)
        if has_masks and best is not None:
            expected[stamp] = (index, best, best / 16, revisions[best])
        sent += messages * data.draw(st.integers(1, 2))
    timeline = MaskTimeline(length=length, max_lag=50)
    for kind, message in data.draw(st.permutations(sent)):
        changed = getattr(timeline, f'add_{kind}')(message)
        assert changed is None or changed == timeline.at(changed.stamp)
    frames = timeline.frames()
    assert [frame.stamp for frame in frames] == sorted(expected)[-length:]
    for frame in frames:
        index, revision, score, labels = expected[frame.stamp]
        assert (frame.index, frame.revision, frame.stream) == (index, revision, 0)
        assert [obj.score for obj in frame.objects] == [score]
        np.testing.assert_array_equal(frame.labels, labels)


def test_many_threads() -> None:
    timeline = MaskTimeline(length=40)
    failures: list[BaseException] = []

    def run(work) -> None:
        try:
            for i in range(300):
                work(i)
        except BaseException as error:
            failures.append(error)

    def read(_: int) -> None:
        for frame in timeline.frames():
            expected = FIRST + frame.index % 7 if frame.revision == 0 else SECOND_LABELS
            np.testing.assert_array_equal(frame.labels, expected)
        timeline.at(timeline.latest().stamp if len(timeline) else 0)

    works = [
        lambda i: timeline.add_masks(masks(FIRST + i % 7, i * STEP)),
        lambda i: timeline.add_objects(objects(i * STEP, i)),
        lambda i: timeline.add_correction(
            correction(FIRST + i % 7, SECOND_LABELS, i * STEP, i, 1)
        ),
        read,
    ]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert len(timeline) <= 40
