# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag with masks: whole, in its times, the same each time, and with the messages of the node."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bag_recordings as made
import fakes
import numpy as np
import pytest
from bag_recordings import CONFIG, DELAY, FRAMES, START, STEP, drawn, engine, read, stamp_of
from rosbags.rosbag2 import Reader

from detsam2_ros import bags
from detsam2_ros.bags.types import CORRECTION, IMAGE, OBJECTS, Serializer
from detsam2_ros.cli.bag_command import summary
from detsam2_ros.client import MaskTimeline, ObjectState
from detsam2_ros.engine import Engine, EngineConfig
from detsam2_ros.messages import pixels
from detsam2_ros.messages.result_fields import FirstLabels

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


GHOSTS = EngineConfig(
    window_size=3, detect_interval=3, max_propagation=15, withdraw_detections=2,
    windows='plain')
RED, GREEN = (0, fakes.disc_box(20, 60, 14)), (1, fakes.disc_box(120, 25, 12))


@pytest.mark.parametrize('mode', ['window', 'online'])
@pytest.mark.parametrize('final_only', [False, True])
def test_states_and_withdrawals_are_in_the_bag(tmp_path, mode, final_only) -> None:
    """Red is detected once and never again; green is confirmed on the second look."""
    def look(frame: int) -> list:
        return [GREEN, RED] if frame == 0 else [GREEN]

    images = [drawn(0) for _ in range(24)]
    source = made.write(tmp_path / 'in', [
        (FRONT, IMAGE, START + i * STEP, made.raw(image, START + i * STEP))
        for i, image in enumerate(images)
    ])
    job = bags.Job(source, tmp_path / 'out.mcap', final_only=final_only)
    detector = fakes.ScriptedDetector(look, interval=3)
    report = bags.segment(job, engine(replace(GHOSTS, mode=mode), detector))
    (topic,) = report.topics
    assert (topic.objects, topic.withdrawn) == (1, 1)
    assert '1 object, 1 withdrawn' in summary(report)
    found = read(job.output)
    arrays = [message for _, message in found[f'{FRONT}/objects']]
    ghost = 3 - {m.frame_index: m for m in arrays}[23].ids[0]
    if final_only:
        assert {(*m.ids, *m.states) for m in arrays} == {(3 - ghost, 2)}
    else:
        first = arrays[0]
        assert dict(zip(first.ids, first.states, strict=True)) == {1: 1, 2: 1}
        corrections = [message for _, message in found[f'{FRONT}/corrections']]
        named = {m.frame_index for m in corrections if list(m.withdrawn_ids) == [ghost]}
        assert named == {m.frame_index for m in arrays if ghost in m.ids} >= set(range(5))
    for frame in replayed(found, FRONT).frames():
        assert [(o.id, o.state) for o in frame.objects] == [(3 - ghost, ObjectState.CONFIRMED)]
        assert set(np.unique(frame.labels)) == {0, 3 - ghost}


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


# ---- what bags hold is what the node publishes: the same types, the same content
def results():
    """Return revision 0 and a later one of a frame, from the engine."""
    stream = made.engine().open_stream('front')
    found = [
        result
        for index in range(9)
        for result in stream.push(made.drawn(index, late=4), index)
        if result.index == 5  # detected on frame 6, which corrects it
    ]
    assert found[-1].revision >= 1 and len(found[-1].objects) == 2
    return found[0], found[-1]


def test_the_types_are_those_that_are_built() -> None:
    pytest.importorskip('detsam2_msgs')
    checked = 0
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        for kind in (OBJECTS, CORRECTION):
            name = kind.rpartition('/')[2]
            file = Path(prefix, 'share/detsam2_msgs/msg', f'{name}.json')
            if prefix and file.is_file():
                hashes = json.loads(file.read_text())['type_hashes']
                built = {entry['type_name']: entry['hash_string'] for entry in hashes}
                assert made.STORE.hash_rihs01(kind) == built[kind]
                checked += 1
    if not checked:
        pytest.skip('the built detsam2_msgs says no hashes: ROS 2 Humble or older')


@pytest.mark.ros
def test_rclpy_reads_the_same_messages_that_the_node_makes() -> None:
    pytest.importorskip('rclpy')
    messages = pytest.importorskip('detsam2_msgs.msg')
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from detsam2_ros.ros.images import label_image
    from detsam2_ros.ros.result_messages import correction, object_array

    first, later = results()
    stamp = 12_000_000_345
    of_ros = Header(frame_id='optical')
    of_ros.stamp.sec, of_ros.stamp.nanosec = 12, 345
    make, of_bags = Serializer(made.STORE), made.header(stamp)
    kept = FirstLabels.of(first)
    for data, kind, expected in (
        (make.masks(of_bags, first), Image, label_image(of_ros, first.labels)),
        (make.objects(of_bags, first), messages.ObjectArray, object_array(first, of_ros)),
        (make.correction(of_bags, later, kept), messages.MaskCorrection,
         correction(later, of_ros, kept)),
    ):
        assert deserialize_message(data, kind) == expected


@pytest.mark.parametrize('encoding', sorted(pixels.ENCODINGS))
def test_images_of_every_encoding(encoding: str) -> None:
    """Through the bytes of a bag: the arrays that rosbags makes are read-only views of them."""
    height, width = 6, 8
    layout = pixels.LAYOUTS.get(encoding)
    step = width * (layout.sample_bytes * layout.channels if layout else 1) + 2
    size = int(step * height * pixels.PLANAR.get(encoding, 1))
    data = (np.arange(size) * 7919 % 251).astype(np.uint8)
    fields = {
        'height': height, 'width': width, 'encoding': encoding, 'is_bigendian': 1, 'step': step,
        'data': data,
    }  # fmt: skip
    message = made.T[IMAGE](header=made.header(5), **fields)
    read = made.STORE.deserialize_cdr(made.STORE.serialize_cdr(message, IMAGE), IMAGE)
    image = pixels.to_rgb(read)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    assert image.flags.writeable and image.flags.c_contiguous
    expected = pixels.to_rgb(SimpleNamespace(**{**fields, 'data': bytearray(data)}))
    assert np.array_equal(image, expected)
