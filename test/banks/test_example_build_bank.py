# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""examples/build_bank.py on the demo scene: the balls that were marked are seen."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from annotation_cases import write_image, write_labels

from detsam2_ros.engine import MemoryBank
from detsam2_ros.media.video import VideoWriter
from detsam2_ros.scene.scene import CLASS_NAMES, render


@pytest.fixture(scope='module')
def example():
    path = Path(__file__).resolve().parents[2] / 'examples' / 'build_bank.py'
    spec = importlib.util.spec_from_file_location('build_bank_example', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_finds_what_the_folder_shows(example, tmp_path, capsys):
    clip = render(seed=11, length=16)
    for frame in clip[:10:9]:
        write_image(tmp_path / 'images' / f'{frame.index}.png', frame.image)
        write_labels(tmp_path / 'masks' / f'{frame.index}.png', frame.labels)
    pairs = zip(clip[0].ids, clip[0].class_ids, strict=True)
    names = {int(i): CLASS_NAMES[int(c)] for i, c in pairs}
    (tmp_path / 'masks' / 'names.yaml').write_text(yaml.safe_dump(names))
    with VideoWriter(tmp_path / 'in.mp4', (256, 256), 10.0) as writer:
        for frame in clip[10:]:
            writer.write(frame.image)
    places = [str(tmp_path / name) for name in ('images', 'masks', 'in.mp4')]
    saved = tmp_path / 'bank.safetensors'
    assert example.main([*places, '--save', str(saved), '--max-entries', '2']) == 0
    said = capsys.readouterr().out
    for name in set(names.values()):
        assert f'{name} (2 entries)' in said
    assert set(MemoryBank.load(saved).objects()) == set(names.values())
    seen = re.findall(r'^frame (\d): seen (.*)$', said, re.MULTILINE)
    assert [int(index) for index, _ in seen] == list(range(6))
    assert sum(len(text.split(', ')) for _, text in seen) >= 0.7 * 6 * len(set(names.values()))

    assert example.main([*places, '--save', str(saved)]) == 2
    assert 'overwriting was not asked for' in capsys.readouterr().err
    assert example.main([str(tmp_path / 'no'), *places[1:]]) == 2
    assert 'there is no such' in capsys.readouterr().err
