# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a stream promises about its results holds for any course of events."""

import numpy as np
from fakes import Run, ScriptedDetector, disc_box, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_cases import SIZE

steps = st.tuples(
    st.sampled_from(['none', 'red', 'green', 'both']),  # what is there
    st.sampled_from(['all', 'all', 'red', 'nothing', 'wrong']),  # what the detector says
    st.sampled_from([False, False, False, True]),  # flush after it
    st.integers(0, 4),  # parts of a pass that are done after it, where frames do not wait for it
)


@settings(max_examples=40)
@given(
    st.integers(1, 5), st.integers(0, 4), st.integers(0, 6),
    st.sampled_from(['instance', 'class']), st.integers(1, 3), st.sampled_from([1.0, 0.7]),
    st.sampled_from(['window', 'online']), st.sampled_from(['aligned', 'plain']), st.booleans(),
    st.lists(steps, min_size=1, max_size=26),
)
def test_promises_hold_for_any_course_of_events(
    K, extra, D, association, batch, limit, mode, windows, waits, course
):
    shown: list[int] = []

    def detector(frame: int):
        there, found, *_ = course[frame]
        shown.append(frame)
        boxes = [(0, disc_box(16 + frame % 3, 24)), (1, disc_box(44, 24 - frame % 5))]
        if found == 'wrong':
            return [(0, (0.0, 0.0, 9.0, 9.0)), (1, (30.0, 20.0, 62.0, 46.0), 0.6)]
        names = {'all': 'red green', 'red': 'red', 'nothing': ''}[found].split()
        return [b for b, n in zip(boxes, ('red', 'green'), strict=True) if n in names and there]

    run = Run(
        ScriptedDetector(detector, D), window_size=K, detect_interval=D,
        max_propagation=K + extra, mode=mode, windows=windows, association=association,
        encode_batch=batch if mode == 'window' else 1, correction_iou=limit,
        max_lost_frames=6, max_conditioned_memories=2,
    )
    published: dict[int, object] = {}
    final: set[int] = set()
    for i, (there, _, flush, parts) in enumerate(course):
        discs = [('red', 16 + i % 3, 24), ('green', 44, 24 - i % 5)]
        names = {'none': (), 'both': ('red', 'green')}.get(there, (there,))
        before = run.stream.backlog.frames
        image = scene(*[d for d in discs if d[0] in names], size=SIZE)
        if waits:
            out = run.push(image)
            full = i % K == 0 if windows == 'aligned' else before + 1 == K
            assert bool(out) == (mode == 'online' or full)
        else:
            out = run.take(image, parts)
        check_call(out, run, published, final)
        assert (i in published) == (mode == 'online' or run.stream.backlog.frames == 0)
        if flush or i == len(course) - 1:
            waiting = 0 if mode == 'online' else run.stream.backlog.frames
            out = run.flush()
            assert sum(result.revision == 0 for result in out) == waiting
            assert run.stream.backlog.frames == 0
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
        # One call may close several windows, and online publish before it closes one.
        if result.final or (run.config.mode == 'window' and len(out) <= run.config.window_size):
            assert result.final == (result.index < run.stream.horizon)
        check_result(result, before)
        published[result.index] = result
    final.update(i for i in published if i < run.stream.horizon)


def check_result(result, before) -> None:
    """Check that the parts of a result agree with one another and with the one before."""
    masks = result.masks
    assert masks.shape == (len(result.objects), *SIZE)
    ids = [shown.id for shown in result.objects]
    assert len(set(ids)) == len(ids)
    for shown, own in zip(result.objects, masks, strict=True):
        assert shown.visible == own.any() == (shown.box is not None)
        assert 1 <= shown.id <= 65535 and 0 <= shown.score <= 1
        assert shown.class_name == f'class {shown.class_id}'
        if own.any():
            rows, columns = np.nonzero(own)
            edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert shown.box == tuple(map(float, edges))
        assert not (result.labels == shown.id)[~own].any(), 'a label outside of its mask'
    np.testing.assert_array_equal(result.labels > 0, masks.any(axis=0))
    assert set(np.unique(result.labels)) - {0} <= set(ids)
    old = {} if before is None else dict(zip(map(_id, before.objects), before.masks, strict=True))
    new = dict(zip(ids, masks, strict=True))
    none = np.zeros(SIZE, bool)
    changed = [i for i in sorted(old | new) if (old.get(i, none) != new.get(i, none)).any()]
    assert list(result.changed_ids) == changed
    assert changed or before is None


def _id(shown) -> int:
    return shown.id
