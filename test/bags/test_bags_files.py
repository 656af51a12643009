# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags as rosbag2 and other recorders write them: in pieces, compressed, with other channels."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import bag_recordings as made
import mcap_files
import pytest
import yaml
from bag_recordings import DELAY, FRAMES, START, STEP, STORE, drawn, engine, raw, read, stamp_of
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_files import Channel
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from detsam2_ros import bags
from detsam2_ros.bags.foreign import McapFile
from detsam2_ros.bags.job import Watcher
from detsam2_ros.bags.reading import Bag
from detsam2_ros.bags.types import IMAGE

TOPIC = '/camera'
JSON = Channel('/log', 'json', 'foxglove.Log', 'jsonschema', b'{"type": "x"}', [(START, b'{}')])
PROTOBUF = Channel('/tf2', 'protobuf', 'foxglove.X', 'protobuf', b'\n\xff\xfe\x80', [(START, b'')])


def segment(source: Path, output: Path, **options) -> bags.BagReport:
    return bags.segment(bags.Job(source, output, **options), engine())


def refusal(source: Path, output: Path) -> str:
    with pytest.raises(bags.BagError) as caught:
        segment(source, output)
    text = str(caught.value)
    assert '\n' not in text and not output.exists()
    return text


def images(first: int, last: int) -> list[tuple[int, bytes]]:
    stamps = [(i, START + i * STEP) for i in range(first, last)]
    return [(stamp + DELAY, raw(drawn(i), stamp)) for i, stamp in stamps]


def ros2(topic: str = TOPIC, messages=None, encoding: str = 'cdr', schema: str = 'ros2msg',
         kind: str = IMAGE) -> Channel:
    definition = STORE.generate_msgdef(IMAGE, ros_version=2)[0].encode()
    return Channel(topic, encoding, kind, schema, definition, messages or images(0, 4))


def recorded(folder: Path, mode: str = 'none', first: int = 0, last: int = 6,
             sqlite: bool = False) -> Path:
    """Record a camera with a compression of rosbag2; returns the folder."""
    plugin = StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(CompressionMode[mode.upper()], CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection(TOPIC, IMAGE, typestore=STORE)
        for time, data in images(first, last):
            writer.write(connection, time, data)
    return folder


def change(folder: Path, **values) -> None:
    """Change entries of a metadata.yaml."""
    file = folder / 'metadata.yaml'
    content = yaml.safe_load(file.read_text())
    content['rosbag2_bagfile_information'].update(values)
    file.write_text(yaml.safe_dump(content))


def in_pieces(folder: Path, mode: str, sqlite: bool) -> list[Path]:
    """Record 9 images in 3 files; returns the files."""
    folder.mkdir()
    files = []
    for piece in range(3):
        part = recorded(folder.parent / f'{folder.name}_{piece}', mode, 3 * piece, 3 * piece + 3,
                        sqlite)
        files.append(folder / next(p for p in part.iterdir() if p.suffix != '.yaml').name)
        shutil.copy(part / files[-1].name, files[-1])
    shutil.copy(part / 'metadata.yaml', folder)
    change(folder, relative_file_paths=[file.name for file in files])
    return files


ROS1 = ros2(messages=[(START, b'x')], encoding='ros1', schema='ros1msg', kind='sensor_msgs/Image')


# ---- folders, files, compression


@pytest.mark.parametrize('sqlite', [False, True])
@pytest.mark.parametrize('mode', ['none', 'file', 'message'])
def test_a_bag_in_pieces_and_each_of_its_files(tmp_path, mode, sqlite) -> None:
    files = in_pieces(tmp_path / 'in', mode, sqlite)
    report = segment(tmp_path / 'in', tmp_path / 'out.mcap')
    assert (report.messages, report.segmented, report.notes) == (9, 9, [])
    copies = read(tmp_path / 'out.mcap')[TOPIC]
    assert [bytes(STORE.serialize_cdr(message, IMAGE)) for _, message in copies] == [
        data for _, data in images(0, 9)]
    for number, file in enumerate(files):
        output = tmp_path / f'{number}.mcap'
        report = segment(file, output)
        assert report.segmented == report.messages == 3
        (note,) = report.notes
        assert 'one of 3 files' in note and 'folder' in note
        assert [stamp_of(m) for _, m in read(output)[TOPIC]] == [
            START + i * STEP for i in range(3 * number, 3 * number + 3)]


def test_how_a_bag_is_stored_changes_no_byte_of_the_output(tmp_path) -> None:
    outputs = []
    for mode in ('none', 'file', 'message'):
        folder = recorded(tmp_path / mode / 'in', mode)
        file = next(path for path in folder.iterdir() if path.suffix != '.yaml')
        for source in (folder, folder / 'metadata.yaml', file):
            output = tmp_path / str(len(outputs)) / 'out.mcap'  # its name is in the file
            output.parent.mkdir()
            segment(source, output, only_masks=True)
            outputs.append(output.read_bytes())
    assert len(set(outputs)) == 1


def test_a_packed_file_needs_no_metadata(tmp_path) -> None:
    folder = recorded(tmp_path / 'in', 'file')
    alone = shutil.copy(folder / 'in.mcap.zstd', tmp_path / 'alone.mcap.zstd')
    assert segment(Path(alone), tmp_path / 'out.mcap').segmented == 6
    data = Path(alone).read_bytes()
    Path(alone).write_bytes(data[:len(data) // 2])
    assert 'damaged or cut' in refusal(Path(alone), tmp_path / 'two.mcap')


def test_files_that_were_unpacked_by_hand(tmp_path) -> None:
    folder = recorded(tmp_path / 'in', 'file')
    shutil.copy(recorded(tmp_path / 'plain' / 'in') / 'in.mcap', folder)
    (folder / 'in.mcap.zstd').unlink()
    assert segment(folder, tmp_path / 'out.mcap').segmented == 6
    assert segment(folder / 'in.mcap', tmp_path / 'two.mcap').segmented == 6


@pytest.mark.parametrize('sqlite', [False, True])
def test_compressed_messages_never_pass_for_messages(tmp_path, sqlite) -> None:
    """Neither without metadata, nor with metadata that do not know of it, as after a reindex."""
    folder = recorded(tmp_path / 'in', 'message', sqlite=sqlite)
    suffix = '.db3' if sqlite else '.mcap'
    alone = Path(shutil.copy(folder / f'in{suffix}', tmp_path / f'alone{suffix}'))
    said = refusal(alone, tmp_path / 'out.mcap')
    assert 'zstd compressed' in said and 'give the folder' in said and 'metadata.yaml' in said
    change(folder, compression_mode='NONE', compression_format='')
    for source in (folder, folder / f'in{suffix}'):
        assert 'compression_mode: MESSAGE' in refusal(source, tmp_path / 'out.mcap')
    plain = recorded(tmp_path / 'plain', sqlite=sqlite)
    change(plain, compression_mode='MESSAGE', compression_format='zstd')
    assert 'compression_mode: NONE' in refusal(plain, tmp_path / 'out.mcap')


def test_one_compressed_message_amid_others_ends_the_run(tmp_path) -> None:
    messages = [*images(0, 2), (START + 2 * STEP, b'\x28\xb5\x2f\xfd' + bytes(50))]
    source = mcap_files.write(tmp_path / 'in.mcap', [ros2(messages=messages)])
    assert 'zstd compressed' in refusal(source, tmp_path / 'out.mcap')


@pytest.mark.parametrize(('spoil', 'says'), [
    (lambda f: (f / 'metadata.yaml').unlink(), "'ros2 bag reindex' writes it; or give one of its"),
    (lambda f: (f / 'in.mcap').unlink(), 'lacks in.mcap'),
    (lambda f: (f / 'metadata.yaml').write_text('a: ['), "'ros2 bag reindex' writes it anew"),
    (lambda f: (f / 'metadata.yaml').write_text('a: 1'), 'does not describe a rosbag2'),
    (lambda f: change(f, relative_file_paths=[]), 'only'),
    (lambda f: change(f, relative_file_paths=['in.bag']), "'mcap' and 'sqlite3'"),
    (lambda f: change(f, compression_mode='FILE', compression_format='lz4'), "'ros2 bag convert'"),
])
def test_a_folder_that_is_not_whole(tmp_path, spoil, says) -> None:
    folder = recorded(tmp_path / 'in')
    spoil(folder)
    assert says in refusal(folder, tmp_path / 'out.mcap')


def test_metadata_beside_a_file_of_another_bag_mean_nothing(tmp_path) -> None:
    folder = recorded(tmp_path / 'in', 'message')
    other = Path(shutil.copy(recorded(tmp_path / 'other') / 'other.mcap', folder))
    assert segment(other, tmp_path / 'out.mcap').segmented == 6
    (folder / 'metadata.yaml').write_text('a: [')
    assert segment(other, tmp_path / 'two.mcap').segmented == 6


def test_messages_in_a_journal_are_not_forgotten(tmp_path) -> None:
    folder = recorded(tmp_path / 'in', sqlite=True)
    (folder / 'in.db3-wal').write_bytes(b'x')
    for source in (folder, folder / 'in.db3'):
        said = refusal(source, tmp_path / 'out.mcap')
        assert 'in.db3-wal' in said and 'ros2 bag reindex' in said
    (folder / 'in.db3-wal').write_bytes(b'')
    assert segment(folder, tmp_path / 'out.mcap').segmented == 6


def test_no_room_to_unpack(tmp_path, monkeypatch) -> None:
    folder = recorded(tmp_path / 'in', 'file')

    def full(*_) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('detsam2_ros.bags.storage.shutil.copyfileobj', full)
    said = refusal(folder, tmp_path / 'out.mcap')
    assert 'No space left on device' in said and 'TMPDIR' in said


# ---- channels that are not ROS 2


@pytest.mark.parametrize('profile', ['ros2', '', 'x'])
@pytest.mark.parametrize('foreign', [JSON, PROTOBUF], ids=['json', 'protobuf'])
def test_channels_that_are_not_ros_2_are_left_out_and_named(tmp_path, foreign, profile) -> None:
    channels = [foreign, ros2()] if profile else [ros2(), foreign]
    source = mcap_files.write(tmp_path / 'in.mcap', channels, profile)
    report = segment(source, tmp_path / 'out.mcap')
    assert (report.messages, report.segmented) == (4, 4)
    assert report.notes == [
        f'{foreign.topic} ({foreign.encoding}) is left out (1 messages): it is not ROS 2']
    assert foreign.topic not in read(tmp_path / 'out.mcap')
    assert segment(source, tmp_path / 'two.mcap', topics=(TOPIC,)).notes == report.notes


def test_a_foreign_channel_in_a_folder(tmp_path) -> None:
    folder = recorded(tmp_path / 'in', last=4)
    mcap_files.write(folder / 'in.mcap', [ros2(), JSON])
    report = segment(folder, tmp_path / 'out.mcap')
    assert report.segmented == 4 and '/log (json)' in report.notes[0]


@pytest.mark.parametrize(('channels', 'profile', 'says'), [
    ([ROS1], 'ros1', 'ROS 1'),
    ([ROS1], '', 'ROS 1'),
    ([ROS1], 'ros2', 'ROS 1'),
    ([], 'ros1', 'rosbags-convert'),
    ([JSON], '', "no topic of ROS 2 (its profile is ''); it has /log (json)"),
    ([JSON, PROTOBUF], 'ros2', 'it has /log (json), /tf2 (protobuf)'),
    ([], '', 'no topic with images'),
])
def test_what_a_file_without_images_holds_is_named(tmp_path, channels, profile, says) -> None:
    source = mcap_files.write(tmp_path / 'in.mcap', channels, profile)
    said = refusal(source, tmp_path / 'out.mcap')
    assert says in said and 'mcap recover' not in said


def test_recovery_is_advised_only_where_a_recording_was_broken_off(tmp_path) -> None:
    whole = mcap_files.write(tmp_path / 'in.mcap', [ros2()]).read_bytes()
    cut, bad = tmp_path / 'cut.mcap', tmp_path / 'bad.mcap'
    cut.write_bytes(whole[:-300])
    assert 'mcap recover' in refusal(cut, tmp_path / 'out.mcap')
    bad.write_bytes(whole[:8] + b'\x09' + whole[9:])
    said = refusal(bad, tmp_path / 'out.mcap')
    assert 'it is damaged' in said and 'mcap recover' not in said


CHANNELS = st.lists(st.sampled_from(['ros2', 'json', 'protobuf', 'ros1']), max_size=6)


@settings(max_examples=40)
@given(CHANNELS, st.sampled_from(['ros2', '', 'px4']), st.sampled_from(['', 'ab', 'a recorder']))
def test_any_channels_are_each_read_or_named(tmp_path_factory, kinds, profile, library) -> None:
    made_of = {'ros2': ros2(messages=images(0, 2)), 'ros1': ROS1, 'json': JSON,
               'protobuf': PROTOBUF}
    channels = [replace(made_of[kind], topic=f'/t{i}') for i, kind in enumerate(kinds)]
    file = tmp_path_factory.mktemp('any') / 'in.mcap'
    source = mcap_files.write(file, channels, profile, library)
    if len(profile) + len(library) < 4:
        with pytest.raises(bags.BagError, match='ROS|profile'):
            Bag(source).__enter__()
        return
    if kinds and 'ros2' not in kinds:
        with pytest.raises(bags.BagError, match='ROS'):
            Bag(source).__enter__()
        return
    with Bag(source) as bag:
        assert len(bag.notes) == sum(kind != 'ros2' for kind in kinds)
        assert [c.topic for c in bag.connections] == [
            f'/t{i}' for i, kind in enumerate(kinds) if kind == 'ros2']
        assert len(list(bag.messages(bag.connections))) == 2 * kinds.count('ros2')


def test_a_sound_file_of_ros_2_is_shown_as_it_is(tmp_path) -> None:
    file = recorded(tmp_path / 'in') / 'in.mcap'
    view = McapFile(file)
    assert (view.foreign, view.profile, view.is_cut, view.has_ros2) == ([], 'ros2', False, True)
    with view.open('rb') as shown:
        assert shown.read() == file.read_bytes()


def test_only_what_is_hidden_differs(tmp_path) -> None:
    file = mcap_files.write(tmp_path / 'in.mcap', [ros2(), JSON])
    whole = file.read_bytes()
    for size in (1, 7, 4096, len(whole)):
        with McapFile(file).open('rb') as shown:
            seen = b''.join(iter(lambda s=shown, n=size: s.read(n), b''))
        changed = [(a, b) for a, b in zip(whole, seen, strict=True) if a != b]
        assert changed == [(3, 0x80), (4, 0x80)]


# ---- stamps


def test_images_without_a_stamp_by_the_times_of_the_bag(tmp_path) -> None:
    source = made.write(tmp_path / 'in', [
        (TOPIC, IMAGE, START + i * STEP, raw(drawn(i, late=4), 0)) for i in range(9)])
    (topic,) = segment(source, tmp_path / 'header.mcap').topics
    assert (topic.segmented, topic.refused, topic.lacks_masks) == (1, {'repeated_stamp': 8}, True)
    assert topic.reasons == '8 repeated_stamp; --stamps bag takes the times of the bag'
    (topic,) = segment(source, tmp_path / 'bag.mcap', stamps='bag').topics
    assert (topic.segmented, topic.refused, topic.lacks_masks) == (9, {}, False)
    found = read(tmp_path / 'bag.mcap')
    for part in ('masks', 'objects'):
        seen = [(time, stamp_of(m), m.header.frame_id) for time, m in found[f'{TOPIC}/{part}']]
        assert seen == [(START + i * STEP, START + i * STEP, 'optical') for i in range(9)]
    assert {stamp_of(message) for _, message in found[TOPIC]} == {0}  # copied as it was
    assert topic.corrections and all(
        stamp_of(m) in range(START, START + 9 * STEP, STEP)
        for _, m in found[f'{TOPIC}/corrections'])


def test_equal_times_of_the_bag_need_no_advice(tmp_path) -> None:
    source = made.write(tmp_path / 'in', [(TOPIC, IMAGE, START, raw(drawn(0), 0))] * 2)
    (topic,) = segment(source, tmp_path / 'out.mcap', stamps='bag').topics
    assert topic.reasons == '1 repeated_stamp'


def test_other_stamps_are_another_job(tmp_path) -> None:
    class Breaker(Watcher):
        frames = 0
        notes: tuple[str, ...] = ()

        def begin(self, topics, notes) -> None:
            self.notes = tuple(notes)

        def frame(self) -> None:
            self.frames += 1
            if self.frames == FRAMES + 2:
                raise KeyboardInterrupt

    source = made.write(tmp_path / 'in', made.two_cameras())
    with pytest.raises(KeyboardInterrupt):
        bags.segment(bags.Job(source, tmp_path / 'out.mcap'), engine(), watcher=Breaker())
    watcher = Breaker()
    with pytest.raises(KeyboardInterrupt):
        job = bags.Job(source, tmp_path / 'out.mcap', stamps='bag')
        bags.segment(job, engine(), watcher=watcher)
    assert 'restarted' in watcher.notes[0]


def test_late_images_of_a_bag_keep_the_ids(tmp_path) -> None:
    order = [0, 1, 2, 4, 3, 5, 6, 8, 7, 9, 10, 12, 11]
    source = made.write(tmp_path / 'in', [
        (TOPIC, IMAGE, START + i * STEP, raw(drawn(k), START + k * STEP))
        for i, k in enumerate(order)])
    (topic,) = segment(source, tmp_path / 'out.mcap').topics
    assert (topic.segmented, topic.refused) == (10, {'late_stamp': 3})
    assert (topic.objects, topic.restarts) == (2, 0)
