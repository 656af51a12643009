# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags as they come: broken files, messages of all kinds, every one counted or named."""

import random
import sqlite3
from collections import Counter

import bag_recordings as made
import numpy as np
import pytest
from bag_recordings import DELAY, FRAMES, START, STEP, drawn, engine, raw, read, stamp_of
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from detsam2_ros import bags
from detsam2_ros.bags.types import COMPRESSED, IMAGE, OBJECTS
from detsam2_ros.engine.stream import Stream

recording = made.recording
TOPIC = '/camera'


def segment(source, output, **options) -> bags.BagReport:
    return bags.segment(bags.Job(source, output, **options), engine())


def refusal(source, output, **options) -> str:
    """Return the sentence, and see that it left nothing behind."""
    before = sorted(output.parent.iterdir())
    with pytest.raises(bags.BagError) as caught:
        segment(source, output, **options)
    assert sorted(output.parent.iterdir()) == before
    text = str(caught.value)
    assert '\n' not in text and 'Traceback' not in text
    return text


def of_images(tmp_path, images: list[bytes | tuple[str, bytes]]):
    """Write a bag with a topic of these messages, 50 ms apart."""
    messages = []
    for i, entry in enumerate(images):
        kind, data = entry if isinstance(entry, tuple) else (IMAGE, entry)
        messages.append((TOPIC, kind, START + i * STEP + DELAY, data))
    return made.write(tmp_path / 'in', messages)


# ---- messages
def test_every_message_is_segmented_or_refused_by_reason(tmp_path) -> None:
    def good(i: int) -> bytes:
        return raw(drawn(i), START + i * STEP)

    def bad(i: int, **changed) -> bytes:
        return raw(drawn(i), START + i * STEP, **changed)

    images = [
        good(0), good(1), bad(2, encoding='plaid8'), bad(2, encoding='32FC1'), bad(2, step=1),
        good(2), good(2), bad(3, data=np.zeros(5, np.uint8)), b'', b'\x00\x01', good(3)[:60],
        b'\x00\x01\x00\x00' + bytes(range(200)), good(4), bad(5, height=0), good(5),
    ]  # fmt: skip
    report = segment(of_images(tmp_path, images), tmp_path / 'out.mcap', only_masks=True)
    topic = report.topics[0]
    assert topic.messages == report.messages == len(images)
    assert topic.segmented == report.segmented == 5
    assert topic.refused == {
        'malformed_image': 3, 'repeated_stamp': 1, 'undecodable_message': 4,
        'unsupported_encoding': 2,
    }
    assert report.refused == 10 and not report.failed
    assert 1 <= len(topic.problems) <= 5 and any('plaid8' in text for text in topic.problems)
    assert len(read(tmp_path / 'out.mcap')[f'{TOPIC}/masks']) == 5


def test_another_size_and_time_that_goes_back_start_new_streams(tmp_path) -> None:
    small = (100, 80)
    images = [raw(drawn(i), START + i * STEP) for i in range(5)]
    images += [raw(drawn(i, size=small), START + i * STEP) for i in range(5, 9)]
    images += [raw(drawn(i, size=small), START + (i - 20) * STEP) for i in range(4)]
    report = segment(of_images(tmp_path, images), tmp_path / 'out.mcap')
    topic = report.topics[0]
    assert (topic.messages, topic.segmented, topic.restarts) == (13, 13, 2)
    assert any('image size' in text for text in topic.problems)
    assert any('time went back' in text for text in topic.problems)
    found = read(tmp_path / 'out.mcap')
    sizes = Counter(message.width for _, message in found[f'{TOPIC}/masks'])
    assert sizes == {160: 5, 100: 8}
    indices = [message.frame_index for _, message in found[f'{TOPIC}/objects']]
    assert indices == [*range(5), *range(4), *range(4)]
    stamps = [stamp_of(message) for _, message in found[f'{TOPIC}/masks']]
    assert stamps == [stamp_of(message) for _, message in found[TOPIC]]
    # Final masks are as many, and in the same order.
    segment(tmp_path / 'in', tmp_path / 'final.mcap', final_only=True)
    final = read(tmp_path / 'final.mcap')
    assert [stamp_of(message) for _, message in final[f'{TOPIC}/masks']] == stamps
    assert [message.frame_index for _, message in final[f'{TOPIC}/objects']] == indices


def test_inference_that_fails_is_counted(tmp_path, monkeypatch) -> None:
    """As the node does: the window is tried again, then the stream restarts."""
    add = Stream.add

    def out_of_memory(self, image, stamp, tag):
        if stamp == START + 4 * STEP:
            raise RuntimeError('out of memory')
        return add(self, image, stamp, tag)

    monkeypatch.setattr(Stream, 'add', out_of_memory)
    images = [raw(drawn(i), START + i * STEP) for i in range(7)]
    topic = segment(of_images(tmp_path, images), tmp_path / 'out.mcap').topics[0]
    assert topic.refused == {'inference_failed': 1} and topic.failed == 1
    assert topic.segmented == 6 and any('out of memory' in text for text in topic.problems)


def test_a_topic_without_messages(tmp_path) -> None:
    source = made.write(tmp_path / 'in', [])
    assert 'no topic with images' in refusal(source, tmp_path / 'out.mcap')


# ---- topics
def test_topics_that_cannot_be_segmented_are_named(recording, tmp_path) -> None:
    output = tmp_path / 'out.mcap'
    said = refusal(recording, output, topics=('/left',))
    assert 'no topic /left' in said and '/front/image_raw' in said
    said = refusal(recording, output, topics=('/words',))
    assert 'std_msgs/msg/String' in said and '/rear/image/compressed' in said
    words = [entry for entry in made.two_cameras(2) if entry[0] == '/words']
    said = refusal(made.write(tmp_path / 'words', words), output)
    assert 'no topic with images' in said and '/words' in said


def test_of_raw_and_compressed_pictures_only_one_is_taken(tmp_path) -> None:
    messages = [('/a', IMAGE, START, raw(drawn(0), START))]
    messages += [(f'/a/{kind}', COMPRESSED, START, made.png(drawn(0), START))
                 for kind in ('compressed', 'compressedDepth')]  # fmt: skip
    source = made.write(tmp_path / 'in', messages)
    report = segment(source, tmp_path / 'out.mcap')
    assert [topic.topic for topic in report.topics] == ['/a']
    assert len(report.notes) == 2
    said = refusal(source, tmp_path / 'two.mcap', topics=('/a', '/a/compressed'))
    assert 'name one of them' in said


def test_another_version_of_our_messages_is_not_mixed_in(tmp_path) -> None:
    old = get_typestore(Stores.ROS2_KILTED)
    old.register(get_types_from_msg('uint16[] ids', OBJECTS))
    with Writer(tmp_path / 'in', version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection('/old/objects', OBJECTS, typestore=old)
        images = writer.add_connection(TOPIC, IMAGE, typestore=made.STORE)
        writer.write(images, START, raw(drawn(0), START))
    assert 'another version of detsam2_msgs' in refusal(tmp_path / 'in', tmp_path / 'out.mcap')
    assert segment(tmp_path / 'in', tmp_path / 'out.mcap', only_masks=True).segmented == 1


def test_types_that_nobody_knows_are_left_out_and_told(tmp_path) -> None:
    """Bags of before ROS 2 Iron hold no definitions."""
    source = made.write(tmp_path / 'in', made.two_cameras(3), sqlite=True)
    (source / 'metadata.yaml').unlink()
    with sqlite3.connect(source / 'in.db3') as database:
        database.execute('DROP TABLE message_definitions')
        database.execute('UPDATE schema SET schema_version = 2')
        database.execute("UPDATE topics SET type = 'acme_msgs/msg/Secret' WHERE name = '/words'")
    report = segment(source / 'in.db3', tmp_path / 'out.mcap')
    assert report.segmented == 6
    assert [note for note in report.notes if 'acme_msgs/msg/Secret' in note and '3 mess' in note]
    found = read(tmp_path / 'out.mcap')
    assert '/words' not in found and len(found['/front/image_raw']) == 3


# ---- files
def test_paths_that_cannot_work(recording, tmp_path) -> None:
    output = tmp_path / 'out.mcap'
    assert 'does not exist' in refusal(tmp_path / 'no.mcap', output)
    for name, says in (('old.bag', 'ROS 1'), ('x.mp4', 'no rosbag2')):
        (tmp_path / name).write_bytes(b'x')
        assert says in refusal(tmp_path / name, output)
    (tmp_path / 'empty').mkdir()
    assert 'cannot be read' in refusal(tmp_path / 'empty', output)
    assert 'outside of the bag' in refusal(recording.parent, recording.parent / 'out.mcap')
    assert 'outside of the bag' in refusal(recording, recording, force=True)
    with pytest.raises(bags.BagError, match='there is no folder'):
        segment(recording, tmp_path / 'no' / 'out.mcap')
    assert '--under' in refusal(recording, output, under='detsam2')
    output.write_text('mine')
    assert '--force' in refusal(recording, output)
    assert output.read_text() == 'mine'
    assert segment(recording, output, force=True).segmented == 2 * FRAMES


def test_a_bag_cut_anywhere_is_refused_in_one_sentence(tmp_path) -> None:
    source = made.write(tmp_path / 'in', made.two_cameras(3)) / 'in.mcap'
    whole = source.read_bytes()
    chance = random.Random(7)
    cuts = [0, 1, 8, 9, 40, len(whole) - 1, len(whole) - 8]
    for cut in cuts + [chance.randrange(len(whole)) for _ in range(40)]:
        (tmp_path / 'cut.mcap').write_bytes(whole[:cut])
        said = refusal(tmp_path / 'cut.mcap', tmp_path / 'out.mcap')
        assert 'cut.mcap cannot be read' in said and 'mcap recover' in said


@pytest.mark.parametrize('sqlite', [False, True])
def test_a_bag_with_wrong_bytes_never_crashes(tmp_path, sqlite) -> None:
    source = made.write(tmp_path / 'in', made.two_cameras(1), sqlite)
    file = source / ('in.db3' if sqlite else 'in.mcap')
    whole = file.read_bytes()
    chance = random.Random(3)
    refused = 0
    shared = engine()
    for attempt in range(10):
        data = bytearray(whole)
        # Near the ends lie headers and indices, which matter most.
        reach = len(data) if attempt % 3 else 3000
        for _ in range(6):
            place = chance.randrange(reach)
            data[place if attempt % 2 else -1 - place] = chance.randrange(256)
        broken = tmp_path / f'broken{file.suffix}'
        broken.write_bytes(bytes(data))
        try:
            report = bags.segment(bags.Job(broken, tmp_path / 'o.mcap', force=True), shared)
            assert report.messages == report.segmented + report.refused
        except bags.BagError as error:
            refused += 1
            assert '\n' not in str(error)
    assert refused


def test_a_full_disk_is_told(recording, tmp_path, monkeypatch) -> None:
    write = Writer.write

    def full(self, connection, time, data) -> None:
        if 'output.tmp' in str(self.path):
            raise OSError(28, 'No space left on device')
        write(self, connection, time, data)

    monkeypatch.setattr(Writer, 'write', full)
    with pytest.raises(bags.BagError, match='No space left on device'):
        segment(recording, tmp_path / 'out.mcap')
    assert not (tmp_path / 'out.mcap').exists()
    monkeypatch.undo()
    assert segment(recording, tmp_path / 'out.mcap').segmented == 2 * FRAMES
