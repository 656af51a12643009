# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory banks on a running node: saved, listed, loaded while frames come, refused, unloaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import fakes
import numpy as np
import pytest
from node_control import DETECTING, ENCODING
from node_running import SECOND, RunningNode
from node_scenes import check_same, engine_stream, hold, save_bank, scene, steady_scene

from detsam2_msgs.srv import ListMemoryBanks, LoadMemoryBank, SaveMemoryBank
from detsam2_ros.engine import MemoryBank

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


@pytest.fixture(scope='module')
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with banks of the colour model, and one of another model."""
    folder = tmp_path_factory.mktemp('banks')
    for name, colours in (('red_green', ('red', 'green')), ('blue', ('blue',))):
        save_bank(folder / f'{name}.safetensors', 3, *colours)
    foreign = MemoryBank.load(folder / 'blue.safetensors')
    other = fakes.colour_sam2(seed=1).identity
    dataclasses.replace(foreign, model=other).save(folder / 'foreign.safetensors')
    (folder / 'broken.safetensors').write_bytes(b'no bank at all')
    return folder


def load(node: RunningNode, path: str, camera: str = '', replace: bool = True):
    return node.call(
        LoadMemoryBank, 'load_memory_bank', path=path, camera=camera, replace=replace)


def seen(node: RunningNode) -> set[str]:
    """Return the classes seen on the newest frame."""
    message = node.camera.objects.messages[-1]
    return {n for n, visible in zip(message.class_names, message.visible, strict=True) if visible}


def test_a_bank_made_here_is_found_there_without_a_detector(start, tmp_path):
    first = start(memory_bank_directory=str(tmp_path / 'new' / 'folder'))
    frames = steady_scene(8, 'red', 'green')
    offline = engine_stream()
    for i, image in enumerate(frames):
        first.camera.send(image, (i + 1) * SECOND)
        offline.push(image, (i + 1) * SECOND)
    first.camera.objects.wait(8)
    saved = first.call(
        SaveMemoryBank, 'save_memory_bank', path='pool/balls', max_entries_per_object=2)
    assert saved.success, saved.message
    file = tmp_path / 'new' / 'folder' / 'pool' / 'balls.safetensors'
    assert (saved.object_count, saved.file_bytes) == (2, file.stat().st_size)
    bank = MemoryBank.load(file)
    assert saved.entry_count == len(bank.entries) == 4

    second = start(
        memory_bank_directory=str(tmp_path / 'new' / 'folder'), memory_bank='pool/balls',
        detector_model='')
    assert second.status().values['memory_bank'] == 'pool/balls.safetensors'
    offline = engine_stream(detect_interval=0)
    offline.load_bank(bank)
    results = []
    for i, image in enumerate(frames):
        second.camera.send(image, (i + 1) * SECOND)
        results += offline.push(image, (i + 1) * SECOND)
    second.finish()
    check_same(second.camera, results)
    assert seen(second) == {'red', 'green'}


def test_swaps_under_load_lose_no_frame(start, control, banks):
    control.delay(ENCODING, 0.005)
    node = start(memory_bank_directory=str(banks), detect_interval=0)
    camera, frames, futures = node.camera, steady_scene(160, 'red', 'green', 'blue'), []
    name = f'{node.name}/load_memory_bank'
    for i, image in enumerate(frames):
        if i >= 8:
            camera.objects.wait(i - 7)
        camera.send(image, (i + 1) * SECOND)
        if i % 8 == 3:
            path = ('red_green', 'blue', 'foreign', 'broken')[i // 8 % 4]
            futures.append((path, node.graph.start_call(
                LoadMemoryBank, name, path=path, replace=True)))
    for path, future in futures:
        answer = node.graph.answer(future)
        assert answer.success == (path in ('red_green', 'blue')), answer
    node.finish()
    stamps = [message.header.stamp.sec for message in camera.objects.wait(160)]
    assert stamps == list(range(1, 161))
    shown = {frozenset(m.class_names) for m in camera.objects.messages}
    assert frozenset({'blue'}) in shown or frozenset({'red', 'green'}) in shown
    # And nothing of one bank is taken for something of another.
    for message, labels in zip(camera.objects.messages, camera.masks.messages, strict=True):
        image = camera.frames[message.header.stamp.sec * SECOND]
        pixels = np.frombuffer(labels.data, np.uint16).reshape(image.shape[:2])
        for key, colour, visible in zip(
            message.ids, message.class_names, message.visible, strict=True
        ):
            if visible:
                under = {name for name in fakes.COLOURS
                         if (fakes.colour_mask(image, name) & (pixels == key)).any()}
                assert under == {colour}


def test_a_bank_acts_from_the_next_pass_on(start, banks):
    node = start(memory_bank_directory=str(banks), detect_interval=0)
    offline, results = engine_stream(detect_interval=0), []
    pairs = [(i * SECOND, f) for i, f in enumerate(steady_scene(32, 'red', 'green', 'blue'), 1)]

    def show(count: int) -> None:
        for _ in range(count):
            stamp, image = pairs.pop(0)
            node.camera.send(image, stamp)
            results.extend(offline.push(image, stamp))
        node.camera.objects.wait(32 - len(pairs))

    show(4)
    assert seen(node) == set()
    answer = load(node, 'red_green')
    assert answer.success and sorted(answer.class_names) == ['green', 'red']
    offline.load_bank(MemoryBank.load(banks / 'red_green.safetensors'))
    show(8)
    assert seen(node) == {'red', 'green'}
    assert load(node, 'blue', replace=False).success
    offline.load_bank(MemoryBank.load(banks / 'blue.safetensors'), replace=False)
    show(4)
    assert seen(node) == {'red', 'green', 'blue'}
    assert load(node, 'blue').success
    offline.load_bank(MemoryBank.load(banks / 'blue.safetensors'))
    show(8)
    assert seen(node) == {'blue'}
    for bad in ('foreign', 'broken', 'missing', '../blue', '/etc/passwd', ''):
        refused = load(node, bad)
        assert not refused.success and refused.message, bad
    show(4)
    assert seen(node) == {'blue'}  # in use as before
    assert 'blue' in node.status().values['memory_bank']
    assert node.trigger('unload_memory_bank').success
    offline.unload_bank()
    show(4)
    assert seen(node) == set()
    assert node.status().values['memory_bank'] == 'none'
    node.finish()
    check_same(node.camera, results)


def test_refusals_name_both_sides(start, banks, tmp_path):
    node = start(memory_bank_directory=str(banks))
    message = load(node, 'foreign').message
    assert 'colour-0' in message and 'colour-1' in message
    assert 'memory_bank_directory' in load(node, '../out').message
    assert 'missing' in load(node, 'missing').message
    assert "no camera 'rear'" in load(node, 'blue', camera='rear').message
    # The caller's mistakes, not the node's.
    assert len(node.process.lines('[WARN]')) == 4 and not node.process.lines('[ERROR]')


def test_the_list_tells_what_can_be_loaded_and_what_is(start, banks):
    node = start(memory_bank_directory=str(banks), cameras=['front', 'rear'])
    assert load(node, 'blue', camera='rear').success
    assert load(node, 'red_green', camera='rear', replace=False).success
    listed = node.call(ListMemoryBanks, 'list_memory_banks')
    assert listed.success and listed.directory == str(banks)
    assert [Path(path).stem for path in listed.paths] == [
        'blue', 'broken', 'foreign', 'red_green']
    assert [bool(problem) for problem in listed.problems] == [False, True, True, False]
    assert list(listed.object_counts) == [1, 0, 1, 2]
    assert list(listed.loaded_cameras) == ['rear', 'rear']
    assert [Path(p).stem for p in listed.loaded_paths] == ['blue', 'red_green']
    # Each camera is a stream of its own: the front one knows nothing.
    for i, image in enumerate(steady_scene(8, 'red', 'blue')):
        for camera in node.cameras.values():
            camera.send(image, (i + 1) * SECOND)
    node.finish()
    assert node.change_state('cleanup')
    for camera in node.cameras.values():
        camera.forget_counts()
    assert node.change_state('configure')
    assert not node.call(ListMemoryBanks, 'list_memory_banks').loaded_paths


def test_saving_does_not_overwrite_unless_told(start, control, tmp_path):
    node = start(memory_bank_directory=str(tmp_path / 'banks'))
    node.camera.stream(scene(4))
    node.camera.objects.wait(4)

    def save(**fields):
        return node.call(SaveMemoryBank, 'save_memory_bank', path='bank', **fields)

    assert save().success
    refused = save()
    assert not refused.success and 'overwrite' in refused.message
    assert save(overwrite=True).success
    assert not node.call(SaveMemoryBank, 'save_memory_bank', path='../bank').success
    assert not list((tmp_path).glob('*.safetensors'))
    # While frames come and a pass runs, too: the answer comes after the pass.
    hold(node, control, scene(8), first=100 * SECOND)
    future = node.graph.start_call(
        SaveMemoryBank, f'{node.name}/save_memory_bank', path='later')
    assert node.state() == 'active' and not future.done()
    control.release(DETECTING)
    assert node.graph.answer(future).success
    assert (tmp_path / 'banks' / 'later.safetensors').exists()
    node.finish()  # frames that still wait would be dropped


def test_a_camera_must_be_named_when_there_are_several(start, tmp_path):
    node = start(cameras=['front', 'rear'], memory_bank_directory=str(tmp_path / 'banks'))
    refused = node.call(SaveMemoryBank, 'save_memory_bank', path='bank')
    assert not refused.success and 'front' in refused.message and 'rear' in refused.message
    assert load(node, 'bank').success is False


def test_the_answer_names_the_classes_as_they_are_in_use(start, banks, tmp_path):
    """A bank with another numbering takes the detector's, and new_only leaves it out again."""
    bank = MemoryBank.load(banks / 'red_green.safetensors')
    own = {entry.class_name: entry.class_id for entry in bank.entries}
    other = [dataclasses.replace(entry, class_id=entry.class_id + 70) for entry in bank.entries]
    dataclasses.replace(bank, entries=tuple(other)).save(tmp_path / 'other.safetensors')
    node = start(memory_bank_directory=str(tmp_path))
    loaded = load(node, 'other')
    assert dict(zip(loaded.class_names, loaded.class_ids, strict=True)) == own
    node.camera.send(steady_scene(1, 'blue')[0], SECOND)
    node.finish()
    saved = {
        new_only: node.call(
            SaveMemoryBank, 'save_memory_bank', path=f'saved {new_only}', new_only=new_only)
        for new_only in (False, True)
    }
    assert [saved[False].object_count, saved[True].object_count] == [3, 1], saved
