# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The recorder of the demo: which frame is done when, what is counted, what is drawn and left."""

import json
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from detsam2_ros.demo.pictures import (
    FramePicture,
    NamedId,
    VideoPainter,
    match_colours,
    notably_changed,
)
from detsam2_ros.demo.recorder.frames import MAX_WAITING, FrameLog, Recorded
from detsam2_ros.demo.recorder.output import FILES, Output, OutputThread
from detsam2_ros.demo.recorder.report import Report, markdown
from detsam2_ros.media.video import InputError
from detsam2_ros.scene.score import Score

SECOND = 10**9
IMAGE = np.full((64, 64, 3), 90, np.uint8)


def labels(*boxes: tuple[int, int, int]) -> np.ndarray:
    """Draw squares of 16 pixels: (id, x, y)."""
    image = np.zeros((64, 64), np.uint16)
    for key, x, y in boxes:
        image[y : y + 16, x : x + 16] = key
    return image


def masks(stamp: int, image: np.ndarray, revision: int = 0) -> SimpleNamespace:
    """Stand in for a TimelineFrame."""
    objects = tuple(NamedId(int(key), 'red') for key in np.unique(image) if key)
    return SimpleNamespace(stamp=stamp, labels=image, objects=objects, revision=revision)


def fill(log: FrameLog, stamp: int, first: np.ndarray | None, truth: np.ndarray) -> None:
    log.add_truth(stamp, truth)
    log.add_balls(stamp, np.array([1]), {1: 'red'})
    log.add_image(stamp, IMAGE, stamp + 1)
    if first is not None:
        log.add_masks(masks(stamp, first), stamp + SECOND // 2)


def test_a_frame_is_done_when_enough_later_ones_have_masks() -> None:
    done: list[Recorded] = []
    log = FrameLog(3, done.append)
    for stamp in range(5):
        log.add_image(stamp, IMAGE, stamp)
    assert not done  # images alone finish nothing
    for stamp in (0, 2, 3):  # 1 was dropped by the node
        log.add_masks(masks(stamp, labels()), 10)
    assert not done
    log.add_masks(masks(4, labels()), 10)
    assert [frame.stamp for frame in done] == [0, 1]
    assert done[0].first is not None and done[1].first is None
    log.drain()
    assert [frame.stamp for frame in done] == [0, 1, 2, 3, 4]
    assert (log.images, log.masks) == (5, 4)


def test_corrections_are_kept_apart_from_what_was_first_published() -> None:
    done: list[Recorded] = []
    log = FrameLog(2, done.append)
    first, better, best = masks(0, labels()), masks(0, labels(), 1), masks(0, labels(), 2)
    log.add_masks(first, 100)  # before its image: topics do not wait for each other
    log.add_image(0, IMAGE, 101)
    log.add_masks(better, 200)
    log.add_masks(best, 300)
    for stamp in (1, 2):
        log.add_image(stamp, IMAGE, stamp)
        log.add_masks(masks(stamp, labels()), 400)
    assert len(done) == 1
    frame = done[0]
    assert frame.first is first and frame.last is best
    assert (frame.masked, frame.corrected, frame.corrections) == (100, 300, 2)
    log.add_masks(masks(0, labels(), 3), 500)  # too late: it has been handed out
    assert frame.last is best and log.unknown == 1 and log.corrections == 2


def test_a_silent_node_does_not_fill_the_memory() -> None:
    done: list[Recorded] = []
    log = FrameLog(3, done.append)
    for stamp in range(MAX_WAITING + 5):
        log.add_image(stamp, IMAGE, stamp)
    assert [frame.stamp for frame in done] == [0, 1, 2, 3, 4]


def test_a_frame_without_an_image_is_not_handed_out() -> None:
    done: list[Recorded] = []
    log = FrameLog(1, done.append)
    log.add_truth(1, labels())
    log.add_image(2, IMAGE, 2)
    log.drain()
    assert [frame.stamp for frame in done] == [2]
    with pytest.raises(ValueError, match='hold'):
        FrameLog(0, done.append)


def test_numbers_are_told_by_phase_before_and_after_correction() -> None:
    report = Report()
    log = FrameLog(50, report.add)
    log.phase = 'one'
    truth, half = labels((1, 0, 0)), labels((7, 8, 0))
    for i in range(4):
        fill(log, i * SECOND, half, truth)
    log.add_masks(masks(SECOND, truth, 1), 3 * SECOND)
    log.phase = 'two'
    fill(log, 4 * SECOND, None, truth)
    fill(log, 5 * SECOND, labels(), truth)
    log.phase = ''
    fill(log, 6 * SECOND, truth, truth)
    log.drain()
    numbers = report.numbers()
    one, two, total = *numbers['phases'].values(), numbers['total']
    assert list(numbers['phases']) == ['one', 'two']
    assert (one['frames'], one['frames_with_masks'], one['frames_corrected']) == (4, 4, 1)
    assert one['iou_first'] == pytest.approx(1 / 3, abs=1e-4)
    assert one['iou_final'] == pytest.approx((3 / 3 + 1) / 4, abs=1e-4)
    assert (one['found_first'], one['found_final']) == (0.0, 0.25)
    assert (one['latency_p50_s'], one['correction_delay_p50_s']) == (0.5, 2.0)
    assert (two['frames'], two['frames_with_masks'], two['iou_final']) == (2, 1, 0.0)
    assert two['correction_delay_p50_s'] is None
    assert total['frames'] == 7
    assert (one['right_name'], two['right_name'], total['right_name']) == (1.0, None, 1.0)
    assert numbers['image_interval_p50_s'] == 1.0
    table = markdown(numbers)
    assert '| one | 4 | 4 | 1 | 1 | 0.50 / 0.50 s | 0.333 | 0.500 | 0% | 25% | 100% |' in table


def test_a_ball_under_the_name_of_another_is_found_but_not_named_right() -> None:
    report = Report()
    log = FrameLog(50, report.add)
    log.phase = 'one'
    truth = labels((1, 0, 0), (2, 32, 32))
    log.add_truth(0, truth)
    log.add_balls(0, np.array([1, 2]), {1: 'red', 2: 'blue'})
    log.add_image(0, IMAGE, 1)
    log.add_masks(masks(0, labels((5, 0, 0), (6, 32, 32))), 2)  # both called red
    log.drain()
    numbers = report.numbers()['phases']['one']
    assert (numbers['found_final'], numbers['right_name']) == (1.0, 0.5)


def test_found_counts_balls_with_half_of_their_union() -> None:
    score, truth = Score(), labels((1, 0, 0), (2, 32, 32))
    score.add(truth, np.array([1, 2]), labels((5, 2, 0)))
    assert score.found == 0.5 and Score().found == 0.0


def test_only_notable_changes_are_marked() -> None:
    first = labels((1, 0, 0), (2, 32, 0), (3, 0, 32))
    last = labels((1, 0, 0), (2, 34, 0), (4, 0, 32))
    last[0, 0] = 0
    assert notably_changed(first, last, 0.9) == (2, 3, 4)
    assert notably_changed(first, first, 0.9) == ()


def test_the_truth_is_painted_in_the_colours_of_its_objects() -> None:
    truth = labels((1, 0, 0), (2, 32, 32))
    painted, balls = match_colours(labels((9, 0, 2)), truth, {1: 'red', 2: 'blue'})
    assert set(np.unique(painted)) == {0, 9, 11} and painted[0, 0] == 9
    assert [(ball.id, ball.class_name) for ball in balls] == [(9, 'red'), (11, 'blue')]
    empty, balls = match_colours(labels(), labels(), {})
    assert not empty.any() and balls == []


def test_a_frame_of_the_video_shows_what_the_node_did() -> None:
    painter = VideoPainter()
    pair = (labels((1, 8, 8)), [NamedId(1, 'red')])
    none = FramePicture(IMAGE, 'one', '0.0 s', None, None)
    good = FramePicture(IMAGE, 'one', '0.1 s', pair, pair, 1, (1,), (0.5, 0.9))
    size = painter.size_wh(IMAGE.shape)
    pictures = [painter.paint(frame) for frame in (none, good, good)]
    for picture in pictures:
        assert picture.shape == (size[1], size[0], 3)
    assert size[0] % 2 == 0 and size[1] % 2 == 0
    strip = slice(size[1] - 104, size[1] - 36)
    grown = np.any(pictures[2][strip] != pictures[1][strip], axis=2)
    assert 0 < np.count_nonzero(grown.any(axis=0)) <= 8  # a bar for each frame, of four pixels
    assert painter.phase_colour('two') != painter.phase_colour('one')


def write_all(folder: object, frames: int) -> None:
    output = OutputThread(folder, 10.0)
    log = FrameLog(5, output.take)
    log.phase = 'one'
    truth = labels((1, 0, 0))
    for i in range(frames):
        fill(log, i * SECOND, labels((3, 8, 0)), truth)
        if i >= 2:
            log.add_masks(masks((i - 2) * SECOND, truth, 1), i * SECOND)
    log.drain()
    output.close()


def test_the_folder_holds_video_sheet_table_and_chart(tmp_path) -> None:
    (tmp_path / 'mine.txt').write_text('stays')
    (tmp_path / 'sheet.png').write_text('of an earlier run')
    write_all(tmp_path, 20)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*FILES, 'mine.txt'])
    capture = cv2.VideoCapture(str(tmp_path / 'overlay.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 20
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    assert sheet.shape[1] == 4 * 368 + 8
    numbers = json.loads((tmp_path / 'report.json').read_text())
    assert numbers['phases']['one']['corrections'] == 18
    assert cv2.imread(str(tmp_path / 'chart.png')) is not None


def test_an_output_that_cannot_be_written_is_named(tmp_path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match='cannot write into'):
        Output(tmp_path / 'file' / 'out', 10.0)
    output = OutputThread(tmp_path / 'out', 10.0)
    output.take(Recorded(0, image=np.zeros((3, 3), np.uint8)))  # no picture
    with pytest.raises(InputError, match='could not be recorded'):
        output.close()


def test_camera_and_recorder_start_without_torch() -> None:
    code = (
        'import sys; import detsam2_ros.demo.pictures, detsam2_ros.demo.recorder.output; '
        'import detsam2_ros.scene.score, detsam2_ros.client; '
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
