# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The file of revisions: torn, damaged, or something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_cases import CLIP, folder, record_clip

from detsam2_ros.quality.formats import InputError, read_results
from detsam2_ros.quality.formats.revisions import RevisionsWriter
from detsam2_ros.quality.segments import Revision


def is_revision(line: bytes) -> bool:
    """Return whether a line is whole, and a revision."""
    try:
        return 'objects' in json.loads(line)
    except ValueError:
        return False


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2000))
def test_a_torn_recording_is_read_up_to_there(place: int) -> None:
    with folder() as path:
        file = path / 'revisions.jsonl'
        data = record_clip(file)
        (whole,) = read_results(file)
        place %= len(data)
        file.write_bytes(data[:place])
        if place < data.index(b'\n'):
            with pytest.raises(InputError, match='does not begin with|is empty'):
                read_results(file)
            return
        (found,) = read_results(file)
        if place == len(data) - 1:  # the last line lacks nothing but its end
            assert found == whole
            return
        complete = sum(map(is_revision, data[:place].split(b'\n')))
        assert len(found.revisions) == complete
        for revision, before in zip(found.revisions, whole.revisions, strict=False):
            assert revision.shown == before.shown and revision.withdrawn == {7}
            assert before.final and not (revision.final and revision.frame)


def test_a_torn_line_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / 'revisions.jsonl'
    data = record_clip(file)
    file.write_bytes(data[: data.rindex(b'{') + 4])
    read_results(file)
    assert '1 line left out: it is torn, so the recording was broken off' in caplog.text


@pytest.mark.parametrize('change, says', [
    ({'frame': -1}, 'it is no revision of a frame'), ({'frame': 1.5}, 'it is no revision'),
    ({'newest': 0}, 'its frame is newer'), ({'frame': 0}, 'a revision that is as new was there'),
    ({'objects': [{'id': 0, 'class_id': 1}]}, 'its id or class_id is no such number'),
    ({'objects': [{'id': 1, 'class_id': 1, 'rle': 'x'}]}, 'cut short'),
    ({'objects': [{'id': 1, 'class_id': 1, 'rle': None}]}, 'no whole numbers'),
    ({'objects': [{'id': 1, 'class_id': 1, 'rle': '06'}] * 2}, 'another one on the frame'),
    ({'final_before': 'x'}, 'final_before or newest is no frame'),
])  # fmt: skip
def test_lines_of_a_recording_that_cannot_be_used_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict, says: str
) -> None:
    file = tmp_path / 'revisions.jsonl'
    lines = record_clip(file).splitlines()
    lines[3] = json.dumps({**json.loads(lines[3]), **change}).encode()
    file.write_bytes(b'\n'.join([*lines, b'']))
    (found,) = read_results(file)
    assert found.revisions[0].frame == 0 and says in caplog.text and '1 ' in caplog.text


def test_lines_out_of_order_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / 'revisions.jsonl'
    with RevisionsWriter(file) as writer:
        writer.begin('clip', CLIP.size)
        for number, revision, newest in ((0, 0, 0), (0, 2, 3), (0, 1, 3), (1, 0, 2), (1, 0, 4)):
            said = Revision(number, revision, newest, False, CLIP.frames[0])
            writer.take(said, CLIP.class_names, None)
        writer.end()
    (found,) = read_results(file)
    assert [(each.frame, each.revision) for each in found.revisions] == [(0, 0), (0, 2), (1, 0)]
    assert '1 line left out: a revision that is as new was there before' in caplog.text
    assert '1 line left out: its newest frame is older than one before' in caplog.text


@pytest.mark.parametrize('first, says', [
    ('{"format": "detsam2 revisions", "version": 2}', 'only version 1 of'),
    ('{"format": "detsam2 revisions", "version": 1, "size": [1, 1000000]}', r'is no \[height, w'),
    ('{"frame": 0}', 'segment_video --revisions writes such a file'), ('x', 'does not begin'),
])  # fmt: skip
def test_what_is_no_recording_is_named(tmp_path: Path, first: str, says: str) -> None:
    (tmp_path / 'a.jsonl').write_text(first + '\n')
    with pytest.raises(InputError, match=says):
        read_results(tmp_path / 'a.jsonl')
