# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writing memory bank files: whole or not at all, whatever happens meanwhile."""

import errno
import os
import resource
import stat
import threading
from pathlib import Path

import bank_cases
import pytest
from bank_cases import entry, make_bank, same

from detsam2_ros.engine.bank import tensors as bank_file
from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.results.errors import BankError

path = bank_cases.path


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
