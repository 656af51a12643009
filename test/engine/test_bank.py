# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory banks: exact round trips through a file, banks that must not come to be, and writing."""

import dataclasses
import errno
import os
import resource
import stat
import threading
from pathlib import Path

import bank_cases
import pytest
import torch
from bank_cases import MODEL, entry, make_bank, memory, parts, same
from safetensors import safe_open

from detsam2_ros.engine.bank import tensors as bank_file
from detsam2_ros.engine.bank.bank import BankEntry, BankObject, MemoryBank, inspect
from detsam2_ros.engine.bank.header import METADATA_KEY
from detsam2_ros.engine.sam2.model import ModelIdentity
from detsam2_ros.results.errors import BankError

FLOATS = ('pointer', 'score')
path = bank_cases.path


# ---- round trip
def test_round_trip_is_bit_exact(path: Path):
    bank = make_bank()
    # Extremes of the dtypes survive, negative zero too.
    bank.entries[0].memory.pointer[:3] = torch.tensor([-0.0, 3.4e38, 1e-45])
    bank.save(path)
    assert same(MemoryBank.load(path), bank)


def test_the_same_bank_gives_the_same_bytes(path: Path, tmp_path: Path):
    make_bank().save(path)
    make_bank().save(tmp_path / 'again')
    MemoryBank.load(path).save(tmp_path / 'copy')
    assert path.read_bytes() == (tmp_path / 'again').read_bytes()
    assert path.read_bytes() == (tmp_path / 'copy').read_bytes()


def test_the_file_is_a_usual_safetensors_file(path: Path):
    bank = make_bank()
    bank.save(path)
    with safe_open(path, framework='pt') as file:
        assert list(file.metadata()) == [METADATA_KEY]
        assert len(list(file.keys())) == 9
        assert torch.equal(file.get_tensor('2.spatial'), bank.entries[2].memory.spatial)
        assert torch.equal(file.get_tensor('0.score'), bank.entries[0].memory.score)


def test_tensors_start_at_multiples_of_their_element_size(path: Path):
    model = dataclasses.replace(MODEL, memory_shape=(1, 1, 1))
    entries = (BankEntry('x', 1, 'cup', i, memory(i, model)) for i in range(3))
    bank = MemoryBank(model, tuple(entries))
    bank.save(path)
    header, data = parts(path)
    begins = [header[f'{i}.{part}']['data_offsets'][0] for i in range(3) for part in FLOATS]
    assert (path.stat().st_size - len(data)) % 8 == 0
    assert all(begin % 4 == 0 for begin in begins)


def test_loaded_tensors_own_their_memory(path: Path):
    make_bank().save(path)
    loaded = MemoryBank.load(path)
    tensor = loaded.entries[0].memory.spatial
    assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_views_of_one_batch_are_saved_each(path: Path):
    batch = torch.arange(48.0).reshape(2, 4, 3, 2).bfloat16()
    turned = torch.arange(24.0).reshape(2, 3, 4).bfloat16().permute(2, 1, 0)
    views = [
        dataclasses.replace(e, memory=dataclasses.replace(e.memory, spatial=s))
        for e, s in zip(make_bank().entries, (batch[0], batch[1], turned), strict=True)
    ]
    bank = make_bank(entries=tuple(views))
    bank.save(path)
    assert same(MemoryBank.load(path), bank)
    assert path.stat().st_size < 4000


def test_size_at_the_dimensions_of_sam_2_1(path: Path):
    model = ModelIdentity('facebook/sam2.1-hiera-tiny', '12' * 32, 1024, (64, 64, 64), 256)
    one = BankEntry('cup', 0, 'cup', 0, memory(0, model))
    bank = MemoryBank(model, (one, dataclasses.replace(one, stamp=1)))
    bank.save(path)
    assert bank.nbytes == 2 * (64**3 * 2 + 256 * 4 + 4)
    assert path.stat().st_size / 2 < 0.51 * 2**20


def test_objects_and_inspect(path: Path):
    bank = make_bank()
    bank.save(path)
    assert len(bank) == 3
    assert bank.objects() == {
        'cup-1': BankObject('cup-1', 7, 'cup', bank.entries[:2]),
        'ball': BankObject('ball', 0, 'bäll', bank.entries[2:]),
    }
    info = inspect(path)
    assert info.labels == (
        ('cup-1', 7, 'cup', 10), ('cup-1', 7, 'cup', 20), ('ball', 0, 'bäll', 10),
    )  # fmt: skip
    assert info.entry_counts == {'cup-1': 2, 'ball': 1}
    assert (info.model, info.created, info.source) == (bank.model, bank.created, bank.source)
    assert info.file_bytes == path.stat().st_size


def test_a_bank_made_now_says_so_in_utc():
    assert make_bank().created < MemoryBank(MODEL, ()).created
    assert MemoryBank(MODEL, ()).created.endswith('+00:00')


# ---- another model
@pytest.mark.parametrize('other', [
    {'sha256': 'cd' * 32},
    {'image_size': 128},
    {'memory_shape': (4, 3, 3)},
    {'pointer_dim': 16},
])
def test_a_bank_of_another_model_is_refused_naming_both(path: Path, other: dict):
    model = dataclasses.replace(MODEL, name='large', **other)
    bank = make_bank()
    bank.save(path)
    for thing in (bank, inspect(path)):
        with pytest.raises(BankError, match='made with tiny .*loaded model is large ') as caught:
            thing.check(model)
        (value,) = other.values()
        shown = 'x'.join(map(str, value)) if isinstance(value, tuple) else str(value)[:12]
        assert shown in str(caught.value)


def test_the_same_weights_under_another_name_are_the_same_model():
    make_bank().check(dataclasses.replace(MODEL, name='/somewhere/else.pt'))


# ---- banks that must not come to be
def replaced(part: str, tensor: torch.Tensor) -> MemoryBank:
    first, *rest = make_bank().entries
    broken = dataclasses.replace(first.memory, **{part: tensor})
    return make_bank(entries=(dataclasses.replace(first, memory=broken), *rest))


@pytest.mark.parametrize(('part', 'tensor', 'message'), [
    ('spatial', torch.zeros(4, 3, 2), r'spatial is torch.float32 .*tiny makes torch.bfloat16'),
    ('spatial', torch.zeros(4, 3, 3).bfloat16(), r'\[4, 3, 3\].*\[4, 3, 2\]'),
    ('pointer', torch.zeros(9), r'pointer is .*\[9\].*\[8\]'),
    ('score', torch.zeros(1), r'score is .*\[1\].*\[\]'),
    ('pointer', torch.full((8,), torch.nan), 'pointer holds NaN'),
    ('spatial', torch.full((4, 3, 2), torch.inf).bfloat16(), 'spatial holds NaN or inf'),
    ('score', torch.tensor(-torch.inf), 'score holds NaN or infinity'),
    ('pointer', torch.zeros(8, device='meta'), 'on meta, .* on cpu'),
])
def test_memories_that_do_not_fit_are_refused(part: str, tensor: torch.Tensor, message: str):
    with pytest.raises(BankError, match=message):
        replaced(part, tensor)


BAD_LABELS = [
    ({'class_id': -1}, r'class id must be a whole number in 0\.\.2147483647, got -1'),
    ({'class_id': 2**31}, 'class id'),
    ({'class_id': True}, 'class id'),
    ({'class_id': 1.5}, 'class id'),
    ({'stamp': 2**63}, 'stamp'),
    ({'stamp': None}, 'stamp'),
    ({'object_key': ''}, 'object key must not be empty'),
    ({'object_key': 5}, 'object key must be a text'),
    ({'object_key': 'a\nb'}, 'printable'),
    ({'object_key': 'ball\ud800'}, 'printable'),
    ({'class_name': 'x' * 2000}, 'class name must be a text of at most 1024'),
    ({'object_key': 'ball'}, r"'ball' has two classes: 7 \(cup\) and 0 \(bäll\)"),
]


@pytest.mark.parametrize(('change', 'message'), BAD_LABELS)
def test_entries_with_bad_labels_are_refused(change: dict, message: str):
    first, *rest = make_bank().entries
    with pytest.raises(BankError, match=message):
        make_bank(entries=(dataclasses.replace(first, **change), *rest))


def test_an_entry_that_comes_twice_is_refused_but_not_two_of_one_stamp():
    entries = make_bank().entries
    with pytest.raises(BankError, match=r'entry 3 \(cup-1\) is there twice'):
        make_bank(entries=(*entries, entry('cup-1', 10, 1)))
    make_bank(entries=(*entries, entry('cup-1', 10, 9)))


@pytest.mark.parametrize(('change', 'message'), [
    ({'created': 'yesterday'}, "ISO 8601 in UTC, got 'yesterday'"),
    ({'created': '2026-01-02T03:04:05'}, 'in UTC'),
    ({'created': '2026-01-02T03:04:05+02:00'}, 'in UTC'),
    ({'source': 'a\0b'}, 'source must be a text'),
    ({'model': dataclasses.replace(MODEL, sha256='xyz')}, "64 hex digits, got 'xyz'"),
    ({'model': dataclasses.replace(MODEL, name='')}, 'model name must not be empty'),
    ({'model': dataclasses.replace(MODEL, memory_shape=(4, 3))}, r'\[C, h, w\], got \[4, 3\]'),
    ({'model': dataclasses.replace(MODEL, image_size=0)}, 'image size .* got 0'),
])
def test_headers_that_make_no_sense_are_refused(change: dict, message: str):
    with pytest.raises(BankError, match=message):
        make_bank(**change)


# ---- writing: whole or not at all, whatever happens meanwhile
def leftovers(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if file != path)


def failing_save(bank: MemoryBank, path: Path, message: str, **arguments: bool) -> None:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(BankError, match=message) as caught:
        bank.save(path, **arguments)
    assert str(caught.value).startswith(f'cannot save memory bank {path}: ')
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize('call', ['fsync', 'replace'])
@pytest.mark.parametrize('old', [True, False])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch, call, old):
    if old:
        make_bank(source='old').save(path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    failing_save(make_bank(), path, 'No space left on device')
    assert leftovers(path) == []
    monkeypatch.undo()
    make_bank().save(path)
    assert same(MemoryBank.load(path), make_bank())


def test_a_write_that_stops_half_way_leaves_the_old_file(path: Path):
    """The limit on file sizes makes a real write fail in the middle of the tensors."""
    make_bank(source='old').save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 50, hard))
    try:
        failing_save(make_bank(), path, 'File too large')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert leftovers(path) == []
    assert MemoryBank.load(path).source == 'old'


def test_an_interrupted_save_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_bank().save(path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path):
    failing_save(make_bank(), tmp_path / 'no' / 'bank', 'No such file or directory')
    (tmp_path / 'file').touch()
    failing_save(make_bank(), tmp_path / 'file' / 'bank', 'Not a directory')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_without_permission(path: Path):
    path.parent.chmod(0o500)
    try:
        failing_save(make_bank(), path, 'Permission denied')
    finally:
        path.parent.chmod(0o700)


def test_a_folder_of_that_name_stays(tmp_path: Path):
    (tmp_path / 'bank').mkdir()
    failing_save(make_bank(), tmp_path / 'bank', 'Is a directory')
    assert leftovers(tmp_path / 'bank') == []


def test_overwriting_must_be_allowed(path: Path):
    make_bank(source='old').save(path, overwrite=False)
    failing_save(make_bank(), path, 'overwriting was not asked for', overwrite=False)
    make_bank(source='new').save(path)
    assert MemoryBank.load(path).source == 'new'
    assert leftovers(path) == []


def test_a_file_that_comes_meanwhile_is_not_overwritten(path: Path, monkeypatch):
    fsync = os.fsync

    def other_program(descriptor: int) -> None:
        path.write_bytes(b'theirs')
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', other_program)
    with pytest.raises(BankError, match='meanwhile'):
        make_bank().save(path, overwrite=False)
    assert path.read_bytes() == b'theirs'
    assert leftovers(path) == []


def test_the_bytes_are_on_the_disk_before_the_name_is(path: Path, monkeypatch):
    calls = []
    for name in ('fsync', 'replace'):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, o=original: (calls.append(n), o(*a))[1])
    make_bank().save(path)
    assert calls == ['fsync', 'replace', 'fsync']


def test_the_file_gets_the_usual_permissions(path: Path):
    make_bank().save(path)
    usual = path.parent / 'usual'
    usual.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_an_empty_bank_is_not_saved(path: Path):
    failing_save(make_bank(entries=()), path, 'nothing to save')
    assert list(path.parent.iterdir()) == []


def test_a_bank_whose_header_could_not_be_read_back_is_not_saved(path: Path, monkeypatch):
    monkeypatch.setattr(bank_file, 'MAX_HEADER_BYTES', 800)
    failing_save(make_bank(), path, '9 tensors need a header of .* at most 800')
    assert list(path.parent.iterdir()) == []


def test_readers_see_the_old_or_the_new_bank_never_a_mixture(path: Path):
    banks = [
        make_bank(source='old'),
        make_bank(source='new', entries=(entry('x', 1, 50), entry('y', 2, 51))),
    ]
    banks[0].save(path)
    done = threading.Event()
    problems: list[object] = []
    loads = [0, 0]

    def read() -> None:
        while not done.is_set():
            try:
                loaded = MemoryBank.load(path)
                which = loaded.source == 'new'
                loads[which] += 1
                if not same(loaded, banks[which]):
                    problems.append('a mixture')
            except Exception as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(100):
        banks[(i + 1) % 2].save(path)
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert min(loads) > 0
