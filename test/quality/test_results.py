# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a tracker said, from every place that keeps it: video folders, bags, subscribers."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import cli_cases
import cv2
import numpy as np
import pytest
from cli_cases import FRAMES, SMALL, mask_of, records_of
from client_cases import STEP, correction, labels_of, masks, objects

from detsam2_ros.cli import segment_video
from detsam2_ros.client import MaskTimeline
from detsam2_ros.client.recorder import Recorder
from detsam2_ros.engine import FrameResult
from detsam2_ros.quality.formats import InputError, read_results, read_truth
from detsam2_ros.quality.formats.export import Export
from detsam2_ros.quality.formats.reading import label_masks
from detsam2_ros.quality.formats.revisions import RevisionsWriter
from detsam2_ros.quality.formats.sinks import Collector
from detsam2_ros.quality.segments import RevisedVideo, Revision, Segment, SegmentedFrame
from detsam2_ros.scene.options import DEMO
from detsam2_ros.scene.scene import Scene

video, engine = cli_cases.video, cli_cases.engine


def labels_in(frame: SegmentedFrame, size: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(size, np.uint16)
    for thing in frame.segments:
        labels[thing.mask.pixels()] = thing.id
    return labels


def last_of(video: RevisedVideo) -> dict[int, np.ndarray]:
    """Return the labels of the last revision of each frame."""
    return {said.frame: labels_in(said.shown, video.size) for said in video.revisions}


def first_of(video: RevisedVideo) -> dict[int, np.ndarray]:
    """Return the labels of the first revision of each frame."""
    return {
        said.frame: labels_in(said.shown, video.size) for said in reversed(video.revisions)
    }  # fmt: skip


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[FrameResult]:
    """Keep all that the engine returns in segment_video."""
    kept: list[FrameResult] = []
    hear = segment_video.Recording.hear

    def listen(self, results, horizon) -> None:
        kept.extend(results)
        hear(self, results, horizon)

    monkeypatch.setattr(segment_video.Recording, 'hear', listen)
    return kept


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_every_revision_of_a_video(engine, video, tmp_path, heard, mode) -> None:
    out = tmp_path / 'out'
    arguments = [str(video), '-o', str(out), '--mode', mode, '--revisions', *SMALL]
    assert segment_video.main(arguments) == 0
    (found,) = read_results(out)
    assert (found.name, found.size, found.class_names) == (
        'in', (120, 160), {0: 'class 0', 1: 'class 1'})
    assert [(said.frame, said.revision) for said in found.revisions] == [
        (result.index, result.revision) for result in heard]  # fmt: skip
    assert any(said.revision > 0 for said in found.revisions)
    for said, result in zip(found.revisions, heard, strict=True):
        assert (labels_in(said.shown, found.size) == result.labels).all()
        assert said.withdrawn == set(result.withdrawn_ids)
    for number, labels in last_of(found).items():
        assert (labels == mask_of(out, number)).all()
    # What the file says of the moments is what objects.jsonl says.
    moments = {(r['frame'], r['revision']): (r['newest'], r['final']) for r in records_of(out)}
    assert {
        (said.frame, said.revision): (said.newest, said.final) for said in found.revisions
    } == moments
    newest = {said.frame: said.newest for said in found.revisions}
    assert found.settled and all(when >= newest[n] for n, when in found.settled.items())


def test_a_folder_without_revisions_has_the_last_masks(
    engine, video, tmp_path, caplog
) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(video), '-o', str(out), '--mode', 'window', *SMALL]) == 0
    (found,) = read_results(out)
    assert [said.frame for said in found.revisions] == list(range(FRAMES))
    assert any(said.revision > 0 for said in found.revisions)
    assert all(said.final for said in found.revisions)
    assert all((labels == mask_of(out, n)).all() for n, labels in last_of(found).items())
    assert 'segment_video --revisions keeps all' in caplog.text
    (out / 'masks' / '000003.png').unlink()
    assert [said.frame for said in read_results(out)[0].revisions][:4] == [0, 1, 2, 4]
    assert '1 frame left out: its mask image is missing or unreadable' in caplog.text
    shutil.rmtree(out / 'masks')
    with pytest.raises(InputError, match='out has no masks that can be read; segment_video with'):
        read_results(out)


@pytest.mark.parametrize('which', ['0', 'final'])
def test_segment_video_exports(engine, video, tmp_path, which) -> None:
    out = tmp_path / 'out'
    formats = ['davis', 'kitti-mots', 'youtube-vis']
    arguments = ['--export', ','.join(formats), '--export-revision', which, '--revisions']
    command = [str(video), '-o', str(out), '--mode', 'window', *arguments, *SMALL]
    assert segment_video.main(command) == 0
    (said,) = read_results(out)
    wanted = last_of(said) if which == 'final' else first_of(said)
    assert any((first_of(said)[n] != last_of(said)[n]).any() for n in wanted)
    for name in formats:
        (found,) = read_truth(out / name)
        assert (found.name, list(found.frames)) == ('in', list(range(FRAMES)))
        assert found.class_names == {0: 'class 0', 1: 'class 1'}
        for number, frame in found.frames.items():
            assert (labels_in(frame, found.size) == wanted[number]).all()
        (view,) = read_results(out / name)
        assert [(r.frame, r.revision, r.newest, r.final) for r in view.revisions] == [
            (n, 0, n, True) for n in range(FRAMES)]  # fmt: skip
    assert segment_video.main([*command[:5], '--force', *SMALL]) == 0
    left = {path.name for path in out.iterdir()}
    assert left == {'masks', 'objects.jsonl', 'overlay.mp4', 'report.html'}


@pytest.mark.parametrize('arguments, says', [
    (['--export', 'davis,coco'], '--export coco: choose among davis, kitti-mots, youtube-vis'),
    (['--export', ','], "--export ',' names no format: choose among davis, kitti-mots"),
    (['--export', ''], "--export '' names no format: choose among davis, kitti-mots"),
    (['--export-revision', '0'], '--export-revision needs --export, such as --export davis'),
])  # fmt: skip
def test_exports_that_cannot_be(engine, video, tmp_path, capsys, arguments, says) -> None:
    assert segment_video.main([str(video), '-o', str(tmp_path / 'out'), *SMALL, *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not engine and not (tmp_path / 'out').exists()


def test_a_subscriber_records_what_it_saw(tmp_path: Path) -> None:
    """Two frames, a correction that takes an id back, and a restart of the node."""
    first, later = labels_of(1, 0, 2, 2), labels_of(1, 1, 0, 0)
    timeline = MaskTimeline()
    collector = Collector()
    path = tmp_path / 'revisions.jsonl'
    with RevisionsWriter(path) as file:
        for sink in (file, collector):
            recorder = Recorder('front', sink, reach=1)
            for add, message in (
                (timeline.add_masks, masks(first, 0)),
                (timeline.add_objects, objects(0, 0, (1, 2))),
                (timeline.add_masks, masks(first, STEP)),
                (timeline.add_objects, objects(STEP, 1, (1, 2))),
                (timeline.add_correction,
                 correction(first, later, 0, 0, ids=(1,), withdrawn=(2,))),
                (timeline.add_masks, masks(labels_of(1, 0, 0, 0), 2 * STEP)),
                (timeline.add_objects, objects(2 * STEP, 2, (1,))),
                (timeline.add_masks, masks(later, 5 * STEP)),
                (timeline.add_objects, objects(5 * STEP, 0, (1,))),
            ):  # fmt: skip
                frame = add(message)
                if frame is not None:
                    recorder.take(frame)
            recorder.end()
            assert [*recorder.notes.sentences()] == []
            timeline = MaskTimeline()
    found = read_results(path)
    assert found == collector.videos()
    before, after = found
    assert [(v.name, v.size, v.class_names) for v in found] == [
        ('front', (1, 4), {7: 'cup'}), ('front_1', (1, 4), {7: 'cup'})]  # fmt: skip
    assert [(r.frame, r.revision, r.newest, r.final, set(r.withdrawn))
            for r in before.revisions] == [
        (0, 0, 0, False, set()), (1, 0, 1, True, set()), (0, 1, 1, True, {2}),
        (2, 0, 2, True, set()),
    ]  # fmt: skip
    assert last_of(before)[0].tolist() == later.tolist()
    assert last_of(before)[2].tolist() == [[1, 0, 0, 0]]
    assert before.settled == {0: 2, 1: 2, 2: 2}, 'the last ones with the end'
    assert [(r.frame, r.newest) for r in after.revisions] == [(0, 0)]


def test_a_recorder_whose_reach_is_too_short_says_so() -> None:
    timeline, recorder = MaskTimeline(), Recorder('front', Collector(), reach=1)
    first = labels_of(1, 0, 0, 0)
    messages = [
        (add, make(place))
        for place in range(3)
        for add, make in (
            (timeline.add_masks, lambda n: masks(first, n * STEP)),
            (timeline.add_objects, lambda n: objects(n * STEP, n, (1,))),
        )
    ]
    late = correction(first, labels_of(1, 1, 0, 0), 0, 0, ids=(1,), withdrawn=())
    for add, message in (*messages, (timeline.add_correction, late)):
        frame = add(message)
        if frame is not None:
            recorder.take(frame)
    assert [*recorder.notes.sentences()] == [
        '1 correction taken late: the frame was said to be final, as the reach is shorter than '
        'that of the node (first: on frame 0 of front)'
    ]


def test_a_folder_of_runs_is_a_video_each(engine, video, tmp_path) -> None:
    for name in ('b', 'a'):
        out = tmp_path / 'all' / name
        assert segment_video.main([str(video), '-o', str(out), '--no-overlay', *SMALL]) == 0
    found = read_results(tmp_path / 'all')
    assert [run.name for run in found] == ['a', 'b']
    assert found[0].revisions == found[1].revisions


def test_a_run_that_breaks_off_leaves_frames_that_are_not_final(
    engine, tmp_path, capsys
) -> None:
    images = tmp_path / 'images'
    images.mkdir()
    for index in range(20):
        cv2.imwrite(str(images / f'{index:02d}.png'), cli_cases.drawn(index)[..., ::-1])
    (images / '18.png').write_bytes(b'nothing')
    out = tmp_path / 'out'
    arguments = [str(images), '-o', str(out), '--revisions', '--export', 'davis', *SMALL]
    assert segment_video.main([*arguments, '--mode', 'online']) == 2
    assert '18.png cannot be read' in capsys.readouterr().err
    (found,) = read_results(out)
    last = {said.frame: said.final for said in found.revisions}
    assert list(last) == list(range(18))
    assert {number for number, final in last.items() if final} == set(found.settled)
    assert last[0] and not last[17]
    (exported,) = read_truth(out / 'davis')
    assert list(exported.frames) == list(range(18))


@pytest.mark.parametrize('text, scene', [
    ('scene:7:4', Scene(7, length=4)),
    ('demo:7:4:96', Scene(7, 96, 96, 4, DEMO)),
])  # fmt: skip
def test_a_scene_is_its_own_truth(text: str, scene: Scene) -> None:
    (found,) = read_truth(text)
    frames = list(scene)
    size = (scene.height, scene.width)
    assert (found.name, found.size, list(found.frames)) == (text, size, [0, 1, 2, 3])
    for frame in frames:
        shown = found.frames[frame.index]
        labels = labels_in(shown, found.size)
        if shown.ignored is not None:
            hidden = frame.ids[frame.visible_fraction < 0.25]
            assert (shown.ignored.pixels() == np.isin(frame.labels, hidden)).all()
            labels[shown.ignored.pixels()] = frame.labels[shown.ignored.pixels()]
        assert (labels == frame.labels).all() and labels.any()
        kinds = dict(zip(frame.ids.tolist(), frame.class_ids.tolist(), strict=True))
        assert all(kinds[thing.id] == thing.class_id for thing in shown.segments)
    assert found.class_names[0] == 'white'
    (view,) = read_results(text)
    assert [said.newest for said in view.revisions] == [0, 1, 2, 3]


def peak_of_frames(count: int, folder: Path) -> int:
    """Return the bytes that recording and exporting frames take at their most."""
    labels = np.random.default_rng(0).integers(0, 4, (40, 40)).astype(np.uint16)
    shown = SegmentedFrame(tuple(Segment(id_, 1, mask) for id_, mask in label_masks(labels)))
    folder.mkdir()
    tracemalloc.start()
    sinks = [
        RevisionsWriter(folder / 'revisions.jsonl'),
        Export(folder, ['davis', 'kitti-mots', 'youtube-vis']),
    ]
    for sink in sinks:
        sink.begin('clip', (40, 40))
    for number in range(count):
        for sink in sinks:
            sink.take(Revision(number, 0, number, False, shown), {1: 'cup'}, number)
            sink.settle(number - 5, number)
    for sink in sinks:
        sink.end()
        sink.close()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path) -> None:
    peak_of_frames(20, tmp_path / 'warm')
    few, many = (peak_of_frames(count, tmp_path / str(count)) for count in (100, 500))
    # A frame has 3 masks of some hundred runs each, 3 kB as text; its place and names are kept.
    assert many - few < 400 * 400
