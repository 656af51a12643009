# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a bag with masks says of its frames, and what segment_bag exports of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bag_recordings as made
import numpy as np
import pytest
from bag_recordings import CONFIG, FRAMES, STORE, drawn, engine, read, write

from detsam2_ros import bags
from detsam2_ros.bags.types import COMPRESSED, COMPRESSED_CORRECTION, CORRECTION, IMAGE, OBJECTS
from detsam2_ros.cli import bag_command, segment_bag
from detsam2_ros.messages.png import png_fields
from detsam2_ros.quality.formats import InputError, read_results, read_truth
from detsam2_ros.quality.segments import RevisedVideo

recording = made.recording
SMALL = ['-K', '3', '-D', '6', '-M', '6', '--confirm-detections', '0', '--device', 'cpu', '-q']


def labels_of(video: RevisedVideo, place: int) -> np.ndarray:
    labels = np.zeros(video.size, np.uint16)
    for thing in video.revisions[place].shown.segments:
        labels[thing.mask.pixels()] = thing.id
    return labels


def said_by_the_engine(late: int, mode: str) -> list:
    stream = engine(replace(CONFIG, mode=mode)).open_stream('reference')
    said = []
    for index in range(FRAMES):
        said += [(index, r) for r in stream.push(drawn(index, late), index)]
    return said + [(FRAMES - 1, r) for r in stream.flush()]


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_bag_says_what_the_engine_said(recording, tmp_path, mode) -> None:
    config = replace(CONFIG, mode=mode)
    bags.segment(bags.Job(recording, tmp_path / 'out.mcap'), engine(config))
    front, rear = read_results(tmp_path / 'out.mcap')
    assert (front.name, rear.name) == ('front_image_raw', 'rear_image')
    for found, late in ((front, 4), (rear, 0)):
        said = said_by_the_engine(late, mode)
        wanted = {(r.index, r.revision): (newest, r) for newest, r in said}
        assert len(found.revisions) == len(wanted) == len(said)
        for place, revision in enumerate(found.revisions):
            newest, result = wanted.pop((revision.frame, revision.revision))
            assert (labels_of(found, place) == result.labels).all()
            # A bag has first masks at the time of their image.
            assert revision.newest == (newest if revision.revision else revision.frame)
        last = {revision.frame: revision for revision in found.revisions}
        assert all(revision.final for revision in last.values())
    assert any(revision.revision for revision in front.revisions)


def test_a_folder_of_a_bag_and_its_metadata_do_too(recording, tmp_path) -> None:
    out = tmp_path / 'out'
    bags.segment(bags.Job(recording, out, topics=('/front/image_raw',)), engine())
    (whole,) = read_results(out)
    assert read_results(out / 'metadata.yaml') == [whole]


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bag_command.command_line, 'build_engine', lambda given, config: engine(config))


@pytest.mark.parametrize('arguments', [
    ['--export-revision', '0'], [], ['--final-only', '--only-masks', '--under', '/d']
], ids=['first', 'final', 'final only'])  # fmt: skip
def test_segment_bag_exports(segmented, recording, tmp_path, arguments) -> None:
    out = tmp_path / 'out.mcap'
    command = [str(recording), '-o', str(out), *SMALL, '--mode', 'window']
    assert segment_bag.main([*command, '--export', 'davis,youtube-vis', *arguments]) == 0
    places = {}
    for video in read_results(out):
        last = {revision.frame: place for place, revision in enumerate(video.revisions)}
        first = {r.frame: place for place, r in reversed([*enumerate(video.revisions)])}
        chosen = first if '0' in arguments else last
        places[video.name] = {number: labels_of(video, place) for number, place in chosen.items()}
    under = 'd_' if '--under' in arguments else ''
    assert set(places) == {f'{under}front_image_raw', f'{under}rear_image'}
    for name in ('davis', 'youtube-vis'):
        exported = read_truth(tmp_path / 'out.mcap.export' / name)
        assert {video.name for video in exported} == set(places)
        for video in exported:
            assert list(video.frames) == list(range(FRAMES))
            for number, frame in video.frames.items():
                labels = np.zeros(video.size, np.uint16)
                for thing in frame.segments:
                    labels[thing.mask.pixels()] = thing.id
                assert (labels == places[video.name][number]).all()


def test_exports_that_cannot_be(segmented, recording, tmp_path, capsys) -> None:
    out = tmp_path / 'out.mcap'
    command = [str(recording), '-o', str(out), *SMALL]
    (tmp_path / 'out.mcap.export').mkdir()
    for arguments, says in (
        (['--export', 'davis'], 'out.mcap.export exists; --force replaces it'),
        (['--export', 'davis', '--final-only', '--export-revision', '0'], 'out --final-only'),
        (['--export', 'voc'], '--export voc: choose among'),
    ):
        assert segment_bag.main([*command, *arguments]) == 2
        assert says in capsys.readouterr().err
    assert not out.exists()
    assert segment_bag.main([*command, '--export', 'davis', '--force']) == 0
    assert (tmp_path / 'out.mcap.export' / 'davis' / 'rear_image' / '00000.png').is_file()


def test_bags_that_hold_no_results(recording, tmp_path, caplog) -> None:
    with pytest.raises(InputError, match='no topics masks and objects of one camera'):
        read_results(recording)
    with pytest.raises(InputError, match=r'no\.mcap do not exist'):
        read_results(tmp_path / 'no.mcap')
    (tmp_path / 'torn.mcap').write_bytes(recording.read_bytes()[:100])
    with pytest.raises(InputError, match=r'torn\.mcap'):
        read_results(tmp_path / 'torn.mcap')
    # A message that cannot be read is left out; all others count.
    bags.segment(bags.Job(recording, tmp_path / 'out', only_masks=True), engine())
    kinds = {'masks': IMAGE, 'objects': OBJECTS, 'corrections': CORRECTION}
    messages = [
        (topic, kinds[topic.rpartition('/')[2]], time, message)
        for topic, found in read(tmp_path / 'out').items() for time, message in found
    ]
    raw = [
        (topic, kind, time, bytes(STORE.serialize_cdr(message, kind)))
        for topic, kind, time, message in sorted(messages, key=lambda entry: entry[2])
    ]
    raw.insert(3, ('/front/image_raw/objects', OBJECTS, raw[3][2], b'\0\1\0\0junk'))
    again = write(tmp_path / 'again', raw)
    front, whole = read_results(again)[0], read_results(tmp_path / 'out')[0]
    assert len(front.revisions) == len(whole.revisions)
    assert '1 message left out: it does not follow its definition' in caplog.text


def test_compressed_topics_say_the_same(recording, tmp_path) -> None:
    """A recording of the topics that a node publishes for subscribers over a network."""
    bags.segment(bags.Job(recording, tmp_path / 'out', only_masks=True), engine())
    front, rear = read_results(tmp_path / 'out')
    messages = []
    for topic, found in read(tmp_path / 'out').items():
        for time, message in found:
            part = topic.rpartition('/')[2]
            kind, name = {'masks': (COMPRESSED, f'{topic}/compressed'),
                          'objects': (OBJECTS, topic),
                          'corrections': (COMPRESSED_CORRECTION, f'{topic}/compressed')}[part]
            if part != 'objects':
                message = as_png(message)
            messages.append((name, kind, time, bytes(STORE.serialize_cdr(message, kind))))
    again = write(tmp_path / 'again', sorted(messages, key=lambda entry: entry[2]))
    assert read_results(again) == [front, rear]


def as_png(message: Any) -> Any:
    """Compress masks or a correction as the node does."""
    image = getattr(message, 'patch', message)
    labels = image.data.view(np.uint16).reshape(image.height, image.width)
    fields = png_fields(labels) if labels.size else {'format': '', 'data': np.zeros(0, np.uint8)}
    picture = STORE.types[COMPRESSED](header=message.header, **fields)
    if image is message:
        return picture
    bare = replace(message, patch=replace(
        image, height=0, width=0, step=0, encoding='', data=np.zeros(0, np.uint8)))
    kind = STORE.types[COMPRESSED_CORRECTION]
    return kind(header=message.header, correction=bare, patch=picture)
