# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag with masks: whole, in its times, the same each time, and right for a subscriber."""

from dataclasses import replace
from pathlib import Path

import bag_recordings as made
import numpy as np
import pytest
from bag_recordings import CONFIG, DELAY, FRAMES, START, STEP, drawn, engine, read, stamp_of
from rosbags.rosbag2 import Reader

from detsam2_ros import bags
from detsam2_ros.client import MaskTimeline
from detsam2_ros.engine import Engine

recording = made.recording
FRONT, REAR = '/front/image_raw', '/rear/image'


def run(source: Path, output: Path, config=CONFIG, **options) -> bags.BagReport:
    return bags.segment(bags.Job(source, output, **options), engine(config))


def replayed(found, camera: str) -> MaskTimeline:
    """Give a timeline the messages of a camera in the order of their bag times."""
    timeline = MaskTimeline(max_propagation=CONFIG.max_propagation)
    adders = {
        'masks': timeline.add_masks,
        'objects': timeline.add_objects,
        'corrections': timeline.add_correction,
    }
    messages = [
        (time, part, message) for part in adders
        for time, message in found.get(f'{camera}/{part}', [])
    ]
    for _, part, message in sorted(messages, key=lambda entry: entry[0]):
        adders[part](message)
    return timeline


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_timeline_gets_the_final_masks(recording, tmp_path, mode) -> None:
    config = replace(CONFIG, mode=mode)
    report = run(recording, tmp_path / 'out.mcap', config)
    found = read(tmp_path / 'out.mcap')
    for camera, late in ((FRONT, 4), (REAR, 0)):
        expected = made.final_labels([drawn(i, late) for i in range(FRAMES)], config)
        frames = replayed(found, camera).frames()
        assert [frame.stamp for frame in frames] == [START + i * STEP for i in range(FRAMES)]
        for frame, labels in zip(frames, expected, strict=True):
            assert np.array_equal(frame.labels, labels) and labels.any()
    front, rear = report.topics
    assert (front.segmented, front.messages, front.refused) == (FRAMES, FRAMES, {})
    assert front.corrections == len(found[f'{FRONT}/corrections']) > 0
    assert rear.objects == 2 and not front.problems


def test_times_and_headers_are_those_of_the_images(recording, tmp_path) -> None:
    run(recording, tmp_path / 'out.mcap')
    found = read(tmp_path / 'out.mcap')
    for camera, topic, delay in (
        (FRONT, FRONT, DELAY),
        (REAR, f'{REAR}/compressed', 2 * DELAY),
    ):
        images = found[topic]
        for part in ('masks', 'objects'):
            messages = found[f'{camera}/{part}']
            assert [time for time, _ in messages] == [time for time, _ in images]
            assert [m.header for _, m in messages] == [m.header for _, m in images]
        masks = [message for _, message in found[f'{camera}/masks']]
        assert {(m.encoding, m.width, m.height) for m in masks} == {('mono16', *made.SIZE)}
        by_bag_time = {time: index for index, (time, _) in enumerate(images)}
        for time, message in found[f'{camera}/corrections']:
            # When the newest image of the pass was there, which closed its window.
            newest = by_bag_time[time]
            assert newest > message.frame_index
            assert (newest + 1) % CONFIG.window_size == 0 or newest == FRAMES - 1
            assert stamp_of(message) == START + message.frame_index * STEP
            assert time <= images[-1][0] == START + (FRAMES - 1) * STEP + delay


@pytest.mark.parametrize('sqlite', [False, True])
def test_the_original_topics_are_copied_byte_by_byte(tmp_path, sqlite) -> None:
    messages = made.two_cameras(4)
    source = made.write(tmp_path / 'in', messages, sqlite)
    output = tmp_path / ('out.db3' if sqlite else 'out.mcap')
    run(source, output)
    with Reader(output) as bag:
        copies = [
            (c.topic, c.msgtype, time, bytes(data)) for c, time, data in bag.messages()
            if not c.topic.endswith(('/masks', '/objects', '/corrections'))
        ]
    assert copies == messages


def test_only_final_masks(recording, tmp_path) -> None:
    run(recording, tmp_path / 'all.mcap')
    run(recording, tmp_path / 'final', only_masks=True, final_only=True, under='/detsam2')
    every, final = read(tmp_path / 'all.mcap'), read(tmp_path / 'final')
    assert sorted(final) == [
        '/detsam2/front/image_raw/masks', '/detsam2/front/image_raw/objects',
        '/detsam2/rear/image/masks', '/detsam2/rear/image/objects',
    ]
    for camera in (FRONT, REAR):
        expected = replayed(every, camera).frames()
        frames = replayed(final, f'/detsam2{camera}').frames()
        assert len(frames) == FRAMES and all(frame.final for frame in frames)
        for frame, other in zip(frames, expected, strict=True):
            assert frame.stamp == other.stamp and frame.objects == other.objects
            assert np.array_equal(frame.labels, other.labels)


@pytest.mark.parametrize('name', ['out.mcap', 'out.db3', 'out'])
def test_the_same_bag_gives_the_same_bytes(recording, tmp_path, name) -> None:
    contents = []
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        output = tmp_path / folder / name
        run(recording, output)
        files = sorted(output.iterdir()) if output.is_dir() else [output]
        contents.append([(file.name, file.read_bytes()) for file in files])
        assert [path.name for path in (tmp_path / folder).iterdir()] == [name]
    assert contents[0] == contents[1]


def test_topics_are_chosen_by_name(recording, tmp_path) -> None:
    report = run(recording, tmp_path / 'out.mcap', topics=('rear/image/compressed',))
    assert [topic.topic for topic in report.topics] == ['/rear/image/compressed']
    assert f'{FRONT}/masks' not in read(tmp_path / 'out.mcap')


def test_the_output_can_be_segmented_again(recording, tmp_path) -> None:
    """What a node, or this, published is no camera; and new topics must not mix with old ones."""
    run(recording, tmp_path / 'once.mcap', topics=(FRONT,))
    again = tmp_path / 'again.mcap'
    with pytest.raises(bags.BagError, match='--under'):
        run(tmp_path / 'once.mcap', again)
    report = run(tmp_path / 'once.mcap', again, under='/again')
    assert [topic.topic for topic in report.topics] == [FRONT, '/rear/image/compressed']
    assert any('/front/image_raw/masks is left out' in note for note in report.notes)
    found = read(again)
    pairs = zip(found[f'{FRONT}/masks'], found[f'/again{FRONT}/masks'], strict=True)
    assert all(np.array_equal(a.data, b.data) for (_, a), (_, b) in pairs)


def test_a_memory_bank_leads_without_a_detector(recording, tmp_path) -> None:
    first = engine()
    stream = first.open_stream('first')
    for index in range(7):
        stream.push(drawn(index), index)
    bank = stream.export_bank(2)
    found = []
    for loaded in (bank, None):
        blind = bags.segment(
            bags.Job(recording, tmp_path / f'{loaded is None}.mcap', topics=(FRONT,)),
            Engine(first.model, None, CONFIG),
            loaded,
        )
        found.append(blind.topics[0].objects)
    assert found == [2, 0]

