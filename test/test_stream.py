# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Windows, revisions and finality: what comes out of a stream, and when."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import (
    ColourDetector,
    Run,
    ScriptedDetector,
    colour_mask,
    disc_box,
    iou,
    mask,
    scene,
    tiny_sam2,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.engine.core import Engine
from detsam2_ros.engine.detection import Detections
from detsam2_ros.engine.errors import ConfigError, EngineError

SIZE = (48, 64)
EMPTY = scene(size=SIZE)
USUAL = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8}


def red(x: float, *others: tuple) -> np.ndarray:
    return scene(('red', x, 24), *others, size=SIZE)


def film(count: int, *others: tuple) -> list[np.ndarray]:
    """A red disc that moves one pixel a frame from x = 12."""
    return [red(12 + i, *others) for i in range(count)]


# ---- windows


def test_frames_accumulate_until_the_window_is_full():
    run = Run(None, **USUAL)
    for i in range(1, 4):
        assert run.push(EMPTY) == []
        assert run.stream.pending == i
    results = run.push(EMPTY)
    assert run.stream.pending == 0
    assert [(r.index, r.revision, r.stamp) for r in results] == [
        (i, 0, 1000 * i) for i in range(4)
    ]
    assert {r.stream for r in results} == {'front'}


def test_flush_closes_an_unfinished_window():
    run = Run(None, **USUAL)
    run.push(*[EMPTY] * 6)
    assert [r.index for r in run.flush()] == [4, 5]
    assert run.flush() == []
    # The next window counts from here, the frames go on.
    assert [r.index for r in run.push(*[EMPTY] * 4)] == [6, 7, 8, 9]


class WatchingDetector:
    """Notes which images it is shown, by the value of their first pixel."""

    def __init__(self) -> None:
        self.class_names = {0: 'disc'}
        self.batches: list[list[int]] = []

    def detect(self, images):
        self.batches.append([int(image[0, 0, 0]) for image in images])
        return [Detections.empty() for _ in images]


@pytest.mark.parametrize(
    ('K', 'D', 'batches'),
    [
        (4, 2, [[0, 2], [4, 6], [8, 10]]),
        (4, 3, [[0, 3], [6], [9]]),
        (4, 4, [[0], [4], [8]]),
        (4, 5, [[0], [5], [10]]),
        (4, 8, [[0], [8]]),
        (1, 1, [[i] for i in range(12)]),
        (4, 0, []),
    ],
)
@pytest.mark.parametrize('encode_batch', [1, 3, 4])
def test_the_detector_sees_every_detection_frame_once_a_window(K, D, batches, encode_batch):
    detector = WatchingDetector()
    run = Run(
        detector,
        window_size=K,
        detect_interval=D,
        max_propagation=2 * K,
        encode_batch=min(encode_batch, K),
    )
    run.push(*[np.full((*SIZE, 3), i, np.uint8) for i in range(12)])
    assert detector.batches == batches
    assert run.engine.stats().detector_frames == sum(map(len, batches))


def test_detection_frames_stay_where_they_are_after_a_flush():
    detector = WatchingDetector()
    run = Run(detector, **USUAL)
    run.push(*[np.full((*SIZE, 3), i, np.uint8) for i in range(6)])
    run.flush()
    run.push(*[np.full((*SIZE, 3), i, np.uint8) for i in range(6, 10)])
    assert detector.batches == [[0], [4], [8]]


# ---- empty states


def test_frames_without_any_object_get_empty_masks():
    run = Run(ScriptedDetector({}, 4), **USUAL)
    run.push(*film(9))
    run.flush()
    assert sorted(run.first()) == list(range(9))
    for result in run.results:
        assert (result.revision, result.objects, result.changed_ids) == (0, (), ())
        assert result.masks.shape == (0, *SIZE) and result.masks.dtype == bool
        assert result.labels.shape == SIZE and result.labels.dtype == np.uint16
        assert not result.labels.any()
    stats = run.engine.stats()
    assert (stats.encodings, stats.passes, stats.tracked_frames) == (9, 0, 0)


def test_frames_after_the_last_object_has_gone_get_empty_masks():
    run = Run(ColourDetector(['red']), **USUAL, max_lost_frames=4)
    run.push(*film(4), *[EMPTY] * 12)
    assert run.ids(3) == [1]
    assert sorted(run.first()) == list(range(16))
    assert run.latest()[15].objects == ()
    passes = run.engine.stats().passes
    run.push(*[EMPTY] * 4)
    assert run.engine.stats().passes == passes


# ---- revisions


def test_a_new_object_corrects_the_past():
    # The disc is there from the start, the detector finds it on frame 4 first.
    run = Run(ScriptedDetector({4: [(0, disc_box(16, 24))]}, 4), **USUAL)
    images = film(8)
    first = run.push(*images[:4])
    assert all(r.objects == () for r in first)
    second = run.push(*images[4:])
    assert [(r.index, r.revision) for r in second] == [(i, int(i < 4)) for i in range(8)]
    for result in second:
        assert result.changed_ids == (1,)
        assert result.final == (result.index < 4)  # the next pass reaches back to frame 4
        assert iou(mask(result, 1), colour_mask(images[result.index], 'red')) > 0.5
        assert result.objects[0].conditioned == (result.index == 4)
        np.testing.assert_array_equal(result.labels, mask(result, 1).astype(np.uint16))
    assert run.engine.stats().corrections == 4


def test_a_correction_reaches_back_as_far_as_the_pass():
    script = ScriptedDetector({8: [(0, disc_box(20, 24))]}, 4)
    run = Run(script, window_size=4, detect_interval=4, max_propagation=6)
    run.push(*film(12))
    assert [r.index for r in run.results if r.revision] == [6, 7]
    assert [len(run.latest()[i].objects) for i in range(12)] == [0] * 6 + [1] * 6


def test_what_did_not_change_is_not_sent_again():
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*film(16))
    assert len(run.results) == 16
    assert run.engine.stats().corrections == 0


def test_small_changes_are_sent_or_not_as_configured():
    # A stray pixel turns red-like on frame 6: found late, it changes frame 6's mask a little.
    images = film(8)
    script = {0: [(0, disc_box(12, 24))], 4: [(0, (4.0, 12.0, 36.0, 44.0))]}
    runs = [
        Run(ScriptedDetector(script, 4), **USUAL, correction_iou=limit) for limit in (1.0, 0.0)
    ]
    for run in runs:
        run.push(*images)
    assert all(r.revision == 0 for r in runs[1].results)


def test_a_flush_between_does_not_lose_or_repeat_frames():
    run = Run(ColourDetector(['red', 'green']), **USUAL)
    for i, image in enumerate(film(23, ('green', 50, 10))):
        run.push(image)
        if i in (0, 5, 6, 7, 14):
            run.flush()
    run.flush()
    assert sorted(run.first()) == list(range(23))
    assert all(run.ids(i) == [1, 2] for i in range(23))


steps = st.tuples(
    st.sampled_from(['none', 'red', 'green', 'both']),  # what is there
    st.sampled_from(['all', 'all', 'red', 'nothing', 'wrong']),  # what the detector says
    st.sampled_from([False, False, False, True]),  # flush after it
)


@settings(max_examples=40)
@given(
    st.integers(1, 5),
    st.integers(0, 4),
    st.integers(0, 6),
    st.sampled_from(['instance', 'class']),
    st.integers(1, 3),
    st.sampled_from([1.0, 0.7]),
    st.lists(steps, min_size=1, max_size=26),
)
def test_promises_hold_for_any_course_of_events(K, extra, D, association, batch, limit, course):
    shown: list[int] = []

    def detector(frame: int):
        there, found, _ = course[frame]
        shown.append(frame)
        boxes = [(0, disc_box(16 + frame % 3, 24)), (1, disc_box(44, 24 - frame % 5))]
        if found == 'wrong':
            return [(0, (0.0, 0.0, 9.0, 9.0)), (1, (30.0, 20.0, 62.0, 46.0), 0.6)]
        names = {'all': 'red green', 'red': 'red', 'nothing': ''}[found].split()
        return [b for b, n in zip(boxes, ('red', 'green'), strict=True) if n in names and there]

    run = Run(
        ScriptedDetector(detector, D),
        window_size=K,
        detect_interval=D,
        max_propagation=K + extra,
        association=association,
        encode_batch=batch,
        correction_iou=limit,
        max_lost_frames=6,
        max_conditioned_memories=2,
    )
    published: dict[int, object] = {}
    final: set[int] = set()
    for i, (there, _, flush) in enumerate(course):
        discs = [('red', 16 + i % 3, 24), ('green', 44, 24 - i % 5)]
        names = {'none': (), 'both': ('red', 'green')}.get(there, (there,))
        before = run.stream.pending
        out = run.push(scene(*[d for d in discs if d[0] in names], size=SIZE))
        assert bool(out) == (before + 1 == K)
        check_call(out, run, published, final)
        if flush or i == len(course) - 1:
            waiting = run.stream.pending
            out = run.flush()
            assert sum(result.revision == 0 for result in out) == waiting
            assert run.stream.pending == 0
            check_call(out, run, published, final)
    assert sorted(published) == list(range(len(course)))
    assert shown == [i for i in range(len(course)) if D and i % D == 0]
    stats = run.engine.stats()
    assert stats.frames == stats.encodings == stats.published_frames == len(course)
    assert stats.corrections == len(run.results) - len(course)
    assert stats.dropped_frames == 0


def check_call(out: list, run: Run, published: dict, final: set) -> None:
    """Check what calls returned against all that was returned before."""
    for result in out:
        before = published.get(result.index)
        assert result.revision == (before.revision + 1 if before else 0)
        assert result.index not in final, 'a result after the final one'
        if result.final:
            final.add(result.index)
        assert result.final == (result.index < run.stream.horizon)
        check_result(result, before)
        published[result.index] = result
    final.update(i for i in published if i < run.stream.horizon)


def check_result(result, before) -> None:
    """Check that the parts of a result agree with one another and with the one before."""
    masks = result.masks
    assert masks.shape == (len(result.objects), *SIZE)
    ids = [entry.id for entry in result.objects]
    assert len(set(ids)) == len(ids)
    for entry, own in zip(result.objects, masks, strict=True):
        assert entry.visible == own.any() == (entry.box is not None)
        assert 1 <= entry.id <= 65535 and 0 <= entry.score <= 1
        assert entry.class_name == f'class {entry.class_id}'
        if own.any():
            rows, columns = np.nonzero(own)
            edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert entry.box == tuple(map(float, edges))
        assert not (result.labels == entry.id)[~own].any(), 'a label outside of its mask'
    np.testing.assert_array_equal(result.labels > 0, masks.any(axis=0))
    assert set(np.unique(result.labels)) - {0} <= set(ids)
    old = {} if before is None else dict(zip(map(_id, before.objects), before.masks, strict=True))
    new = dict(zip(ids, masks, strict=True))
    none = np.zeros(SIZE, bool)
    changed = [i for i in sorted(old | new) if (old.get(i, none) != new.get(i, none)).any()]
    assert list(result.changed_ids) == changed
    assert changed or before is None


def _id(entry) -> int:
    return entry.id


# ---- finality


def test_the_last_window_but_one_becomes_final():
    run = Run(None, **USUAL)
    run.push(*[EMPTY] * 4)
    assert run.stream.horizon == 0
    run.push(*[EMPTY] * 4)
    # The next pass, of 8 frames, will start on frame 11 and reach frame 4.
    assert run.stream.horizon == 4
    run.push(*[EMPTY] * 4)
    assert run.stream.horizon == 8


def test_when_a_pass_covers_one_window_everything_is_final_at_once():
    run = Run(ColourDetector(['red']), window_size=4, detect_interval=4, max_propagation=4)
    run.push(*film(8))
    assert all(r.final and r.revision == 0 for r in run.results)


def test_a_promise_of_finality_holds_after_an_early_flush():
    """A short window must not let a pass reach back behind what was promised."""
    script = ScriptedDetector(
        lambda frame: [(0, disc_box(12 + frame, 24))] if frame > 7 else [], 1
    )
    run = Run(script, window_size=4, detect_interval=1, max_propagation=8)
    run.push(*film(8))
    horizon = run.stream.horizon
    run.push(red(20))
    results = run.flush()
    assert min(r.index for r in results) == horizon == 4


# ---- costs


def test_the_cost_is_that_of_the_design():
    N, K, M = 40, 5, 10
    run = Run(
        ScriptedDetector({0: [(0, disc_box(12, 24)), (1, disc_box(50, 24))]}, 5),
        window_size=K,
        detect_interval=5,
        max_propagation=M,
        max_lost_frames=1000,
    )
    run.push(*[scene(('red', 12, 24), ('green', 50, 24), size=SIZE)] * N)
    stats = run.engine.stats()
    assert (stats.encodings, stats.passes) == (N, N // K)
    covered = [min(M, newest + 1) for newest in range(K - 1, N, K)]
    # Two passes reach frame 0, where the prompt's mask stays.
    assert stats.tracked_frames == 2 * (sum(covered) - 2)
    assert stats.tracked_frames <= 2 * N * M / K
    assert stats.conditioned_frames == 2
    assert stats.objects == 2
    assert set(stats.seconds) == {
        'encode', 'detect', 'associate', 'condition', 'track', 'memorise', 'masks'
    }  # fmt: skip


@pytest.mark.parametrize('encode_batch', [1, 2, 3, 4, 9])
def test_every_frame_is_encoded_once(encode_batch):
    run = Run(ColourDetector(['red']), **USUAL, encode_batch=encode_batch)
    run.push(*film(14))
    run.flush()
    assert run.engine.stats().encodings == run.engine.stats().frames == 14
    assert all(run.ids(i) == [1] for i in range(14))


# ---- streams and engines


def interleaved(model) -> tuple[list, list]:
    """Results of two streams, one after the other in two engines, and mixed in one."""
    films = [film(12, ('green', 50, 10)), film(12)[::-1]]
    detector = ColourDetector(['red', 'green'])
    alone = []
    for images in films:
        run = Run(detector, model, **USUAL)
        run.push(*images)
        alone.append(run.results)
    engine = Engine(model, detector, run.config)
    streams = [engine.open_stream('front'), engine.open_stream('rear')]
    mixed: list[list] = [[], []]
    for i in range(12):
        for stream, images, out in zip(streams, films, mixed, strict=True):
            out += stream.push(images[i], 1000 * i)
    assert engine.stats().frames == engine.stats().encodings == 24
    return alone, mixed


@pytest.mark.parametrize('kind', ['colour', 'random'])
def test_streams_do_not_know_of_one_another(kind):
    from fakes import colour_sam2

    alone, mixed = interleaved(colour_sam2() if kind == 'colour' else tiny_sam2())
    for one, other in zip(alone, mixed, strict=True):
        assert [(r.index, r.revision) for r in one] == [(r.index, r.revision) for r in other]
        for a, b in zip(one, other, strict=True):
            assert a.objects == b.objects
            np.testing.assert_array_equal(a.labels, b.labels)
            assert a.packed.bits == b.packed.bits
    assert {r.stream for r in mixed[1]} == {'rear'}


def test_the_same_input_gives_the_same_results():
    runs = [Run(ColourDetector(['red', 'green']), tiny_sam2(), **USUAL) for _ in range(2)]
    for run in runs:
        run.push(*film(8, ('green', 50, 10)))
    for a, b in zip(*(run.results for run in runs), strict=True):
        assert a.objects == b.objects and a.packed.bits == b.packed.bits


def test_streams_are_opened_and_closed_by_name():
    run = Run(None, **USUAL)
    with pytest.raises(EngineError, match="'front' is open already"):
        run.engine.open_stream('front')
    assert run.engine.streams == {'front': run.stream}
    run.push(EMPTY)
    run.engine.close_stream('front')
    assert run.engine.streams == {}
    assert run.engine.stats().dropped_frames == 1
    with pytest.raises(EngineError, match="'front' is not open"):
        run.engine.close_stream('front')
    run.engine.open_stream('front')


def test_what_is_no_detector_is_refused():
    with pytest.raises(ConfigError, match=r'detector must have class_names .*, str has not'):
        Run('yolo', **USUAL)


def test_reset_starts_anew():
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*film(6))
    run.stream.reset()
    assert (run.stream.pending, run.stream.horizon) == (0, 0)
    stats = run.engine.stats()
    assert (stats.frames, stats.published_frames, stats.dropped_frames) == (6, 4, 2)
    run.results.clear()
    # Another image size is welcome now, and nothing of before is remembered.
    results = run.push(*[scene(('blue', 20, 20), size=(40, 40))] * 4)
    assert [(r.index, r.revision, r.objects) for r in results] == [(i, 0, ()) for i in range(4)]
    results = run.push(*[scene(('red', 20, 20), size=(40, 40))] * 4)
    (first,) = results[-1].objects
    assert first.id == 2  # an id of before would mean another object
