# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank evaluate: scores that can be checked by hand, and the command once, in small."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bank_cases import entry, make_bank
from fakes import ColourDetector, colour_mask, colour_sam2
from stream_cases import EMPTY, USUAL, picture
from stream_cases import make_bank as disc_bank

from detsam2_ros.banks.evaluate import FrameImage, Recorder, Truth, measure, random_bank
from detsam2_ros.banks.views import build_bank
from detsam2_ros.cli.memory_bank import evaluate as bank_evaluate
from detsam2_ros.engine import BankError, Engine, EngineConfig, load_sam2
from detsam2_ros.scene.scene import render


def film(count: int, names: dict[int, str]) -> list[FrameImage]:
    """Return a red and a green disc, of which the truth knows the red one."""
    image = picture('red', 'green')
    truth = Truth(colour_mask(image, 'red').astype(int) * 3, names)
    return [FrameImage(image, i, truth) for i in range(count)]


def engine(detector=None, **more) -> Engine:
    settings = {**USUAL, 'mode': 'window', 'bank_object_frames': 1, **more}
    return Engine(colour_sam2(), detector, EngineConfig(**settings))


def test_what_is_found_and_what_is_false():
    found = measure(engine(), film(6, {3: 'red'}), disc_bank('red', 'green')).summary()
    assert (found['frames'], found['found'], found['objects_shown']) == (6, 1.0, 2)
    assert found['iou'] > 0.6
    assert (found['false_objects'], found['stray']) == (1, 0.5)  # the truth has no green
    assert found['classes'] == {'red': {'frames': 6, 'iou': found['iou'], 'found': 1.0}}


def test_a_mask_under_a_wrong_name_finds_nothing():
    found = measure(engine(), film(6, {3: 'blue'}), disc_bank('red')).summary()
    assert (found['iou'], found['found'], found['false_objects']) == (0.0, 0.0, 1)
    # Without names any object may be it.
    assert measure(engine(), film(6, {}), disc_bank('red')).summary()['found'] == 1.0


def test_the_detector_stands_in_for_the_truth():
    frames = [FrameImage(picture('red', 'green'), i) for i in range(6)]
    recorder = Recorder()
    alone = measure(engine(ColourDetector(['red', 'green'])), frames, None, watch=recorder)
    assert alone.summary()['iou'] is None and alone.summary()['objects_shown'] == 2
    found = measure(engine(), frames, disc_bank('red'), reference=recorder).summary()
    assert (found['found'], found['false_objects']) == (0.5, 0)


def test_every_frame_is_scored_once_in_both_modes():
    for mode in ('window', 'online'):
        tally = measure(engine(mode=mode), film(11, {}), disc_bank('red'))
        assert tally.frames == 11 and len(tally.ious['label 3']) == 11
    empty = [FrameImage(EMPTY, i, Truth(np.zeros(EMPTY.shape[:2], int))) for i in range(3)]
    nothing = measure(engine(), empty, disc_bank('red')).summary()
    assert (nothing['iou'], nothing['false_objects'], nothing['objects_shown']) == (None, 0, 0)


def test_a_random_bank_has_as_many_entries_of_each_object():
    bank = make_bank()
    pool = make_bank(entries=(*bank.entries, *(entry('cup-1', i, i) for i in range(30, 34))))
    drawn = [random_bank(bank, pool, seed) for seed in range(6)]
    for each in drawn:
        counts = [(key, len(o.entries)) for key, o in each.objects().items()]
        assert counts == [('cup-1', 2), ('ball', 1)]
    assert len({tuple(e.stamp for e in each.entries) for each in drawn}) > 1
    assert [e.stamp for e in random_bank(bank, pool, 3).entries] == [
        e.stamp for e in drawn[3].entries]  # fmt: skip
    with pytest.raises(BankError, match=r"the pool has 0 entries of 'ball' \(bäll\)"):
        random_bank(bank, make_bank(entries=bank.entries[:2]), 0)


@pytest.fixture(scope='module')
def bank_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from test_bank_views import views

    file = tmp_path_factory.mktemp('bank') / 'balls.safetensors'
    build_bank(load_sam2('demo'), views(render(3, 1), 'mask'), 'test').save(file)
    return file


def test_the_command(bank_file: Path, tmp_path: Path, capsys, caplog, monkeypatch):
    frames = render(3, 4)
    for frame in frames:
        for folder, image in (('film', frame.image[:, :, ::-1]), ('truth', frame.labels)):
            (tmp_path / folder).mkdir(exist_ok=True)
            pixels = image.astype(np.uint16 if folder == 'truth' else np.uint8)
            assert cv2.imwrite(str(tmp_path / folder / f'{frame.index}.png'), pixels)
    options = [
        '--no-detector', '-q', '-K', '2', '-M', '2', '--windows', 'plain', '--device', 'cpu']
    out = tmp_path / 'out.json'
    given = [str(bank_file), str(tmp_path / 'film'), str(tmp_path / 'truth'), *options]
    assert bank_evaluate.main([*given, '--pool', str(bank_file), '--json', str(out)]) == 0
    figures = json.loads(out.read_text())
    assert list(figures['runs']) == ['bank', 'random bank']
    assert figures['runs']['bank']['iou'] > 0.8 and figures['runs']['bank']['frames'] == 4
    printed = capsys.readouterr().out
    assert 'compared with the truth' in printed and 'rename' not in printed
    (tmp_path / 'truth' / 'classes.json').write_text(
        json.dumps(dict.fromkeys(range(1, 8), 'cup')))
    assert bank_evaluate.main(given) == 0
    assert 'What a bank calls ball is nothing here, where there are cup' in capsys.readouterr().out
    (tmp_path / 'truth' / 'classes.json').unlink()
    (tmp_path / 'film' / '3.png').rename(tmp_path / '3.png')
    with caplog.at_level('WARNING'):
        assert bank_evaluate.main(given) == 0
    assert 'has 4 label images' in caplog.text
    (tmp_path / '3.png').rename(tmp_path / 'film' / '3.png')
    (tmp_path / 'truth' / '3.png').unlink()
    monkeypatch.setattr(bank_evaluate.command_line, 'build_engine', None)  # before a model loads
    assert bank_evaluate.main(given) == 2
    assert 'has 3 label images' in capsys.readouterr().err
    (tmp_path / 'truth' / '3.png').write_bytes(b'no image')
    assert bank_evaluate.main(given) == 2
    assert '3.png cannot be read' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('more', 'says'),
    [
        (['scene:x'], 'give a seed'),
        (['scene:1', 'folder'], 'has its own truth'),
        (['missing.mp4'], 'does not exist'),
        (['scene:1', '--max-frames', '0'], '--max-frames must be >= 1'),
        (['scene:1', '--fps', 'nan'], '--fps must be'),
        (['scene:1', '--json', 'missing/out.json'], 'there is no such folder'),
        (['scene:1', '--pool', 'missing'], 'cannot load memory bank missing'),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(bank_file: Path, capsys, more, says):
    assert bank_evaluate.main([str(bank_file), *more, '--no-detector']) == 2
    assert says in capsys.readouterr().err


def test_a_label_folder_that_is_none(bank_file: Path, tmp_path: Path, capsys):
    cv2.imwrite(str(tmp_path / '0.png'), np.zeros((8, 8, 3), np.uint8))
    truth = tmp_path / 'truth'
    given = [str(bank_file), str(tmp_path), str(truth), '--no-detector', '-q', '--device', 'cpu']
    for make, says in (
        (lambda: None, 'is no folder'),
        (truth.mkdir, 'holds no PNG'),
        (lambda: cv2.imwrite(str(truth / '0.png'), np.zeros((8, 8, 3), np.uint8)), 'has colours'),
        (lambda: cv2.imwrite(str(truth / '0.png'), np.zeros((4, 8), np.uint8)), 'is 8x4 pixels'),
        (lambda: (truth / 'classes.json').write_text('[]'), 'classes.json is no table'),
    ):
        make()
        assert bank_evaluate.main(given) == 2
        assert says in capsys.readouterr().err


