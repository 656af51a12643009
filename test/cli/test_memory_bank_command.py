# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The memory_bank command as a user has it, on the demo scene with the shipped model."""

import argparse
import base64
import json
import re

import cv2
import fakes
import numpy as np
import pytest
from annotation_cases import write_image, write_scene
from bank_cases import make_bank

from detsam2_ros.cli.memory_bank import build as bank_build
from detsam2_ros.cli.memory_bank import inspect as bank_inspect
from detsam2_ros.cli.memory_bank import main as memory_bank
from detsam2_ros.engine import Engine, EngineConfig, MemoryBank, load_sam2
from detsam2_ros.scene.score import Score

SEED, FRAMES, EVERY = 11, 16, 8
NEW = slice(9, 15)  # frames between those with annotations


@pytest.fixture(scope='module')
def model():
    return load_sam2('demo')


@pytest.fixture
def command(model, monkeypatch, capsys):
    """Run the command on the loaded model; returns exit code, output, errors."""
    for module in (bank_build, bank_inspect):
        monkeypatch.setattr(module, 'load_model', lambda given, name: model)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = memory_bank.main([str(part) for part in arguments])
        said = capsys.readouterr()
        assert 'Traceback' not in said.err
        return code, said.out, said.err

    return run


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    pytest.importorskip('pycocotools', reason='the annotations hold polygons and run lengths')
    folder = tmp_path_factory.mktemp('scene')
    return folder, write_scene(folder, SEED, FRAMES, EVERY)


class Truth:
    """Detects what is there; in place of YOLO."""

    def __init__(self, clip):
        self.class_names = {0: 'white', 1: 'yellow', 2: 'blue', 3: 'red', 4: 'purple',
                            5: 'orange', 6: 'green', 7: 'brown', 8: 'black'}  # fmt: skip
        self._clip = clip

    def detect(self, images):
        return [self._of(image) for image in images]

    def _of(self, image):
        frame = next(f for f in self._clip if np.array_equal(f.image, image))
        there = np.flatnonzero(frame.visible)
        return fakes.detections(
            [(int(frame.class_ids[i]), tuple(map(float, frame.boxes[i]))) for i in there])


@pytest.mark.parametrize('kind', ['masks', 'coco', 'yolo', 'detect'])
def test_what_was_marked_is_found(model, scene, command, tmp_path, kind, monkeypatch):
    folder, clip = scene
    monkeypatch.setattr(bank_build, 'YoloDetector', lambda *args, **options: Truth(clip))
    given = {
        'masks': ['--masks', folder / 'masks'], 'coco': ['--coco', folder / 'coco.json'],
        'yolo': ['--yolo', folder / 'labels'], 'detect': ['--detect'],
    }[kind]
    path = tmp_path / 'balls.safetensors'
    code, out, err = command('build', folder / 'images', '-o', path, *given)
    assert code == 0 and f'{path}: ' in out
    assert re.search(r'2/2 .*entries=\d+', err.replace('\r', '\n')), 'no progress'
    assert 'left out' not in err
    bank = MemoryBank.load(path)
    assert bank.source.startswith('2 images of images, ')
    classes = {o.class_name for o in bank.objects().values()}
    assert set(bank.objects()) == classes, 'grouped by class'
    visible = sum(int(clip[i].visible.sum()) for i in range(0, FRAMES, EVERY))
    assert len(bank) == visible

    config = EngineConfig(window_size=6, max_propagation=6, mode='window', windows='plain')
    stream = Engine(model, None, config).open_stream('t')
    stream.load_bank(bank)
    score = Score()
    results = [r for f in clip[NEW] for r in stream.push(f.image, f.index)]
    kinds = list(clip[0].class_ids)
    single = [i for i in clip[0].ids if kinds.count(kinds[i - 1]) == 1]
    for frame, result in zip(clip[NEW], results, strict=True):
        seen = [i for i in single if frame.visible_fraction[i - 1] > 0.5]
        score.add(frame.labels, np.array(seen), result.labels)
    assert score.found > 0.7 and score.mean > 0.6, (score.found, score.mean)


def test_build_prunes_and_does_not_overwrite(scene, command, tmp_path):
    folder, _ = scene
    path = tmp_path / 'one.safetensors'
    options = ['build', folder / 'images', '-o', path, '--masks', folder / 'masks', '-q']
    code, out, _ = command(*options, '--max-entries', 1, '--every', 2)
    assert code == 0 and len(MemoryBank.load(path)) == len(MemoryBank.load(path).objects())
    before = path.read_bytes()
    code, _, err = command(*options)
    assert code == 2 and 'is there already; give another name or --overwrite' in err
    assert path.read_bytes() == before
    assert command(*options, '--overwrite', '--every', 2)[0] == 0


def test_trouble_is_told_once_a_kind(scene, command, tmp_path):
    folder, clip = scene
    images = tmp_path / 'images'
    write_image(images / '000000.png', clip[0].image)
    (images / '000008.png').write_bytes(b'broken')
    write_image(images / 'extra1.png')
    write_image(images / 'extra2.png')
    path = tmp_path / 'b.safetensors'
    build = ['build', images, '-o', path, '--masks', folder / 'masks', '-q', '--overwrite']
    code, _, err = command(*build)
    assert code == 0
    assert '1 image left out: unreadable (first: 000008.png)' in err
    assert '2 images left out: no annotation (first: extra1.png)' in err
    assert 'no image of its name' not in err
    jpeg = bytes(cv2.imencode('.jpg', clip[1].image)[1])
    (images / '000008.png').write_bytes(jpeg[: len(jpeg) // 2])
    cut = '1 image left out: cut short, the rest of the file is missing (first: 000008.png)'
    assert cut in command(*build)[2]


def test_nothing_marked_is_an_error_and_writes_nothing(command, tmp_path):
    write_image(tmp_path / 'images' / 'a.png')
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / 'classes.txt').write_text('cup')
    (tmp_path / 'labels' / 'a.txt').write_text('')
    path = tmp_path / 'b.safetensors'
    given = ('build', tmp_path / 'images', '-o', path, '--yolo', tmp_path / 'labels', '-q')
    code, _, err = command(*given)
    assert code == 2 and 'no object is marked in any image' in err and not path.exists()


@pytest.fixture
def small(scene, command, tmp_path):
    folder, _ = scene
    path = tmp_path / 'small.safetensors'
    command('build', folder / 'images', '-o', path, '--masks', folder / 'masks', '-q')
    return path


def test_inspect_tells_all_of_a_bank(small, command):
    code, out, _ = command('inspect', small, '--entries')
    bank = MemoryBank.load(small)
    assert code == 0 and bank.source in out and bank.created in out and 'model    demo' in out
    for key, banked in bank.objects().items():
        line = rf'^  {key} +{key} +{banked.class_id} +{len(banked.entries)} +\d+$'
        assert re.search(line, out, re.MULTILINE)
    code, out, _ = command('inspect', small, '--json')
    told = json.loads(out)
    assert len(told['entries']) == len(bank) and told['bytes'] == bank.nbytes
    assert sum(o['bytes'] for o in told['objects']) == bank.nbytes
    assert told['model']['sha256'] == bank.model.sha256


def test_the_sheet_shows_each_entry(small, scene, command, tmp_path):
    _, clip = scene
    image = write_image(tmp_path / 'look.png', clip[12].image)
    page, picture = tmp_path / 's.html', tmp_path / 's.png'
    key = next(iter(MemoryBank.load(small).objects()))
    options = ['inspect', small, '--image', image, '--key', key]
    code, _, err = command(*options, '--html', page, '--png', picture)
    assert code == 0
    entries = len(MemoryBank.load(small).objects()[key].entries)
    assert re.search(rf'\d of {entries} entries find something in look.png', err)
    text = page.read_text()
    tiles = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(tiles) == 1 + 3 * entries and '<script' not in text and 'http' not in text
    for tile in tiles:
        data = np.frombuffer(base64.b64decode(tile), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape[1] == 420
    assert cv2.imread(str(picture)).shape[0] > 420 * 0.8 * entries
    code, _, err = command(*options, '--html', page)
    assert code == 2 and '--html' in err and 'is there already' in err


def test_editing_writes_banks(small, command, tmp_path):
    second, third = tmp_path / '2.safetensors', tmp_path / '3.safetensors'
    key = next(iter(MemoryBank.load(small).objects()))
    code, out, _ = command('remove', small, '-o', second, '--key', key)
    assert code == 0 and re.match(r'removed \d+ entries?, and with them 1 object\n', out)
    code, out, _ = command('rename', small, '-o', third, '--key', key, 'x', '--class-id', key, 77)
    assert code == 0
    renamed = MemoryBank.load(third).objects()['x']
    assert (renamed.class_id, renamed.class_name) == (77, key)
    code, out, _ = command('prune', third, '-o', third, '--max-entries', 1, '--overwrite')
    assert code == 0 and re.search(r'dropped entry \d+ \(\w+, stamp \d+\): 0\.\d+ from entry', out)
    whole = tmp_path / '4.safetensors'
    assert command('merge', second, small, '-o', whole)[0] == 0
    assert MemoryBank.load(whole).objects().keys() == MemoryBank.load(small).objects().keys()
    other = tmp_path / 'other.safetensors'
    make_bank().save(other)
    code, _, err = command('merge', small, other, '-o', tmp_path / '5.safetensors')
    assert code == 2 and 'demo' in err and 'tiny' in err and str(other) in err
    assert not (tmp_path / '5.safetensors').exists()


@pytest.mark.parametrize(('arguments', 'part'), [
    (['inspect', 'no'], 'cannot load memory bank no'),
    (['inspect', 'no', '--html', 'x.html'], '--html needs --image'),
    (['inspect', 'no', '--image', 'x.png'], '--image needs --html FILE or --png'),
    (['build', 'no', '-o', 'b', '--detect'], 'images no: there is no such'),
    (['build', '.', '-o', 'no/b', '--detect'], '--output no/b: there is no such folder'),
    (['build', '.', '-o', 'b', '--detect', '--names', 'x'], '--names goes with'),
    (['build', '.', '-o', 'b', '--coco', 'x', '--classes', 'x'], '--classes goes with'),
    (['build', '.', '-o', 'b', '--detect', '--every', '0'], '--every must be >= 1'),
    (['build', '.', '-o', 'b', '--detect'], 'images .: it holds no images'),
    (['prune', 'no', '-o', 'b', '--max-entries', '0'], '--max-entries must be >= 1'),
    (['remove', 'no', '-o', 'b'], 'say what to remove'),
    (['rename', 'no', '-o', 'b'], 'say what to rename'),
    (['rename', 'no', '-o', 'b', '--class', 'a', ' '], "--class a: ' ' is no name"),
    (['rename', 'no', '-o', 'b', '--key', 'a', ''], "--key a: '' is no name"),
    (['rename', 'no', '-o', 'b', '--class-id', 'a', 'x'], "'x' is no whole number"),
    (['rename', 'no', '-o', 'b', '--key', 'a', 'x', '--key', 'a', 'y'], 'given twice'),
    (['merge', 'no', '-o', '.'], '--output . is a folder'),
])
def test_bad_arguments_are_named(command, tmp_path, monkeypatch, arguments, part):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(*arguments)
    assert code == 2 and part in err and not list(tmp_path.iterdir())


def test_a_detector_alone_gives_no_identities(command, tmp_path):
    for name in ('a.png', 'b.png'):
        write_image(tmp_path / 'i' / name)
    given = ['build', tmp_path / 'i', '-o', tmp_path / 'b', '--detect', '--group', 'instance']
    code, _, err = command(*given)
    assert code == 2 and 'segment_video --bank-out follows them' in err


def test_every_verb_has_help(capsys):
    verbs = next(
        action for action in memory_bank.parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ).choices  # fmt: skip
    assert {'build', 'inspect', 'merge', 'remove', 'rename', 'prune'} <= set(verbs)
    for verb in verbs:
        with pytest.raises(SystemExit):
            memory_bank.main([verb, '--help'])
        assert 'usage: memory_bank ' + verb in capsys.readouterr().out
