# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as trainers save them: read as data, or one sentence that says what to save."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from detsam2_ros.engine import ModelError, load_sam2
from detsam2_ros.engine.sam2.checkpoint import read_weights
from detsam2_ros.paths import shared_file

WEIGHTS = {'encoder.weight': torch.arange(6.0).reshape(2, 3), 'bias': torch.tensor([1.5])}


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in WEIGHTS.items()}


@pytest.mark.parametrize('saved', [
    WEIGHTS,
    {'model': WEIGHTS},
    {'state_dict': WEIGHTS, 'epoch': 3},
    {'model_state_dict': WEIGHTS, 'optimizer': {'lr': 0.1}},
    {'model': 'tiny', 'state_dict': WEIGHTS},
    {'model': prefixed('module.')},
    {'model': prefixed('_orig_mod.')},
    {'model': prefixed('module._orig_mod.')},
    {'state_dict': prefixed('model.module.')},
    {'model': WEIGHTS, 'score': np.float64(0.5), 'step': np.int64(7), 'good': np.bool_(True)},
    {'model': WEIGHTS, 'losses': np.arange(3.0), 'generator': np.random.get_state()},
])  # fmt: skip
def test_weights_are_found_wherever_trainers_put_them(saved, tmp_path) -> None:
    torch.save(saved, tmp_path / 'w.pt')
    found = read_weights(tmp_path / 'w.pt')
    assert list(found) == list(WEIGHTS)
    assert all(torch.equal(found[name], value) for name, value in WEIGHTS.items())


def test_one_name_without_the_prefix_keeps_all_as_they_are(tmp_path) -> None:
    torch.save({'model': {**prefixed('module.'), 'own': torch.zeros(1)}}, tmp_path / 'w.pt')
    assert list(read_weights(tmp_path / 'w.pt')) == [*prefixed('module.'), 'own']


class Opens:
    """Would make a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple]:
        return (Path.mkdir, (self.folder,))


def refusal(saved: object, folder: Path) -> str:
    torch.save(saved, folder / 'w.pt')
    with pytest.raises(ModelError) as caught:
        read_weights(folder / 'w.pt')
    text = str(caught.value)
    assert str(folder / 'w.pt') in text and '\n' not in text and '\x1b' not in text
    return text


def test_what_is_more_than_weights_is_named(tmp_path) -> None:
    more = {'model': WEIGHTS, 'args': argparse.Namespace(lr=1)}
    assert refusal(more, tmp_path).endswith(
        "holds more than weights (argparse.Namespace); save {'model': model.state_dict()} alone"
    )
    text = refusal({'model': torch.nn.Linear(2, 2)}, tmp_path)
    assert '(torch.nn.modules.linear.Linear)' in text
    refusal({'model': WEIGHTS, 'x': Opens(tmp_path / 'made')}, tmp_path)
    assert not (tmp_path / 'made').exists()


class Renamed:
    """Comes out of the file as a dtype whose state a hostile file has set."""

    def __reduce__(self) -> tuple:
        return np.dtype, ('f8',), (3, '>', None, None, None, -1, -1, 63)


def test_no_dtype_of_numpy_is_touched(tmp_path) -> None:
    torch.save({'model': WEIGHTS, 'x': Renamed()}, tmp_path / 'w.pt')
    read_weights(tmp_path / 'w.pt')
    assert np.dtype('f8').byteorder == '=' and np.array([1.5])[0] == 1.5


@pytest.mark.parametrize('saved', [
    {}, {'model': {}}, {'model': {'a': {'b': torch.zeros(1)}}}, [1], {'model': {'a': 1}}, 'text',
])  # fmt: skip
def test_a_file_without_weights_says_so(saved, tmp_path) -> None:
    assert "holds no weights under 'model', 'state_dict'" in refusal(saved, tmp_path)


def test_a_file_that_is_cut_off_says_so(tmp_path) -> None:
    for data in (b'', b'PK\3\4 half of it', b'text'):
        (tmp_path / 'w.pt').write_bytes(data)
        with pytest.raises(ModelError, match='is cut off or not a PyTorch checkpoint: ') as caught:
            read_weights(tmp_path / 'w.pt')
        assert '\n' not in str(caught.value) and '\x1b' not in str(caught.value)


def test_the_model_of_a_trainers_checkpoint_is_the_same(tmp_path) -> None:
    source = shared_file('models/detsam2_demo.pt')
    loaded = torch.load(source, weights_only=True)
    wrapped = {f'module.{name}': value for name, value in loaded['model'].items()}
    torch.save({'state_dict': wrapped, 'best': np.float32(0.9)}, tmp_path / 'w.pt')
    shutil.copy(source.with_suffix('.yaml'), tmp_path / 'w.yaml')
    assert load_sam2(tmp_path / 'w.pt').identity.sha256 == load_sam2('demo').identity.sha256
