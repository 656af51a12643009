# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The directory of memory banks: no path leaves it, and its list tells of every file."""

import os
from pathlib import Path

import pytest
from bank_cases import MODEL, make_bank
from hypothesis import given
from hypothesis import strategies as st

from detsam2_ros.engine import BankError, MemoryBank
from detsam2_ros.engine.sam2.model import ModelIdentity
from detsam2_ros.ros.services import bank_directory as bank_files
from detsam2_ros.ros.services.bank_directory import confined, list_banks

LIMIT = 1 << 20


@pytest.fixture
def banks(tmp_path: Path) -> Path:
    """Return the directory, next to which lies a file that nobody may reach."""
    make_bank().save(tmp_path / 'secret.safetensors')
    directory = tmp_path / 'banks'
    directory.mkdir()
    return directory


def listed(directory: Path) -> dict[str, str]:
    """Return the problem of each file, by path."""
    return {b.path: b.problem for b in list_banks(directory, LIMIT, MODEL)}


# ---- paths
@pytest.mark.parametrize('path', [
    'cups', 'cups.safetensors', './cups', 'kitchen/cups', 'a/b/c/d/e/f/g/h/cups', 'kitchen//cups',
    'kitchen/../cups', 'two words', 'tassen-größe', '..cups', 'cups..', '...', '~', '~/cups',
    '$HOME', 'a\nb', 'cups.safetensors.safetensors', '-rf', 'cups.pt', 'C:\\cups', ' cups ',
])  # fmt: skip
def test_paths_inside_are_found_with_or_without_the_suffix(banks, path):
    found = confined(banks, path)
    assert found.is_relative_to(banks.resolve()) and found != banks.resolve()
    assert found.name.endswith('.safetensors') and len(found.name) > len('.safetensors')
    found.parent.mkdir(parents=True, exist_ok=True)
    make_bank().save(found)
    assert len(MemoryBank.load(confined(banks, path))) == 3


def test_the_suffix_is_added_once(banks):
    assert confined(banks, 'a') == confined(banks, 'a.safetensors')
    assert confined(banks, 'a.safetensors').name == 'a.safetensors'


@pytest.mark.parametrize('path', [
    '../secret', '../secret.safetensors', '/secret', '/etc/passwd', 'a/../../secret',
    '../banks2/x', 'a/b/../../../secret', '//secret', '../../../../../../etc/passwd', '../banks',
    './../secret',
])  # fmt: skip
def test_paths_that_lead_out_are_refused(banks, path):
    (banks.parent / 'banks2').mkdir()  # whose name begins like the directory's
    with pytest.raises(BankError, match='leads out of the memory bank directory') as caught:
        confined(banks, path)
    assert repr(path) in str(caught.value) and str(banks) in str(caught.value)
    assert 'memory_bank_directory' in str(caught.value)


def test_an_absolute_path_is_refused_even_when_it_lies_inside(banks):
    with pytest.raises(BankError, match='give a path relative to it'):
        confined(banks, str(banks / 'cups'))


@pytest.mark.parametrize('path', [
    '', ' ', '\n', '\0', 'cups\0', '../\0', '.', '..', './', '/', 'kitchen/', 'kitchen/.',
    'kitchen/..', '.safetensors', 'kitchen/.safetensors',
])  # fmt: skip
def test_paths_that_name_no_file_are_refused(banks, path):
    with pytest.raises(BankError, match='names no file') as caught:
        confined(banks, path)
    assert str(banks) in str(caught.value)


@pytest.mark.parametrize('path', ['x' * 300, 'x/' * 3000 + 'x', 'x\ud800'])
def test_paths_that_the_file_system_does_not_take_are_refused(banks, path):
    with pytest.raises(BankError, match='cannot be used in'):
        confined(banks, path)


def test_links_are_followed_inside_and_refused_outwards(banks):
    make_bank().save(banks / 'real.safetensors')
    (banks / 'deep').mkdir()
    (banks / 'inside.safetensors').symlink_to('real.safetensors')
    (banks / 'out.safetensors').symlink_to('../secret.safetensors')
    (banks / 'absolute.safetensors').symlink_to(banks.parent / 'secret.safetensors')
    (banks / 'twice.safetensors').symlink_to('out.safetensors')
    (banks / 'folder').symlink_to(banks.parent)
    (banks / 'back').symlink_to('deep')
    assert confined(banks, 'inside').name == 'real.safetensors'
    assert confined(banks, 'back/new').parent.name == 'deep'
    # What a link hides counts, not how the path is written.
    for path in ('out', 'absolute', 'twice', 'folder/secret', 'folder/new', 'back/../../secret'):
        with pytest.raises(BankError, match='leads out'):
            confined(banks, path)


def test_links_in_a_circle_are_refused(banks):
    (banks / 'loop.safetensors').symlink_to('loop.safetensors')
    (banks / 'here').symlink_to('there')
    (banks / 'there').symlink_to('here')
    for path in ('loop', 'here/cups'):
        with pytest.raises(BankError):
            MemoryBank.load(confined(banks, path))
    assert set(listed(banks)) == {'loop.safetensors'}
    assert listed(banks)['loop.safetensors']


def test_the_directory_may_be_a_link_or_not_be_there_yet(banks, tmp_path):
    (tmp_path / 'link').symlink_to(banks)
    assert confined(tmp_path / 'link', 'cups') == banks.resolve() / 'cups.safetensors'
    assert confined(tmp_path / 'none' / 'yet', 'cups').parent == tmp_path.resolve() / 'none/yet'


@given(st.lists(st.sampled_from(['..', '.', '', 'a', 'link', '~', ' ', 'a.safetensors', '\0']),
                max_size=6))
def test_no_path_of_odd_parts_leads_out(tmp_path_factory, parts):
    directory = Path(os.fspath(tmp_path_factory.getbasetemp())) / 'any' / 'banks'
    if not directory.exists():
        (directory / 'a').mkdir(parents=True)
        (directory / 'link').symlink_to('..')
    try:
        found = confined(directory, '/'.join(parts))
    except BankError:
        return
    assert found.resolve().is_relative_to(directory.resolve())
    assert found.suffix == '.safetensors' and found.stem not in ('', '.', '..')


# ---- the list
def test_every_file_is_listed_by_path_with_what_it_holds(banks):
    make_bank().save(banks / 'b.safetensors')
    (banks / 'deep' / 'er').mkdir(parents=True)
    make_bank(source='kitchen').save(banks / 'deep' / 'er' / 'a.safetensors')
    (banks / 'notes.txt').write_text('not a bank')
    (banks / 'folder.safetensors').mkdir()
    found = list_banks(banks, LIMIT, MODEL)
    assert [b.path for b in found] == ['b.safetensors', 'deep/er/a.safetensors']
    assert [b.problem for b in found] == ['', '']
    assert [b.file_bytes for b in found] == [
        (banks / b.path).stat().st_size for b in found]
    assert found[1].info is not None and found[1].info.source == 'kitchen'
    assert found[0].info is not None and sum(found[0].info.entry_counts.values()) == 3


def test_files_that_cannot_be_loaded_are_listed_with_the_reason(banks):
    make_bank().save(banks / 'good.safetensors')
    data = (banks / 'good.safetensors').read_bytes()
    (banks / 'cut.safetensors').write_bytes(data[:-5])
    (banks / 'empty.safetensors').write_bytes(b'')
    (banks / 'zip.safetensors').write_bytes(b'PK\3\4' + bytes(100))
    (banks / 'gone.safetensors').symlink_to('nothing')
    (banks / 'out.safetensors').symlink_to('../secret.safetensors')
    os.mkfifo(banks / 'pipe.safetensors')
    with open(banks / 'large.safetensors', 'wb') as file:
        file.truncate(LIMIT + 1)
    problems = listed(banks)
    expected = {
        'good': '', 'cut': 'cut short', 'empty': 'cut short', 'zip': 'not a safetensors file',
        'gone': 'No such file', 'out': 'leads out', 'pipe': 'not a regular file',
        'large': 'max_bank_bytes',
    }  # fmt: skip
    assert set(problems) == {f'{name}.safetensors' for name in expected}
    for name, words in expected.items():
        assert words in problems[f'{name}.safetensors']
        assert bool(problems[f'{name}.safetensors']) == bool(words)
    out = next(b for b in list_banks(banks, LIMIT, MODEL) if b.path == 'out.safetensors')
    assert (out.file_bytes, out.info) == (0, None)  # nothing is told of files elsewhere


def test_banks_of_another_model_are_listed_as_such(banks):
    make_bank().save(banks / 'a.safetensors')
    other = ModelIdentity('other', 'cd' * 32, 64, (4, 3, 2), 8)
    found = list_banks(banks, LIMIT, other)[0]
    assert 'the loaded model is other' in found.problem
    assert found.info is not None and found.info.model == MODEL
    assert list_banks(banks, LIMIT, None)[0].problem == ''


def test_a_name_that_no_message_can_carry_is_listed_all_the_same(banks):
    odd = os.path.join(os.fsencode(banks), b'\xff.safetensors')
    try:
        make_bank().save(os.fsdecode(odd))
    except BankError:
        pytest.skip('this file system takes UTF-8 only')
    found = list_banks(banks, LIMIT, MODEL)[0]
    assert found.path == '?.safetensors'
    assert 'rename it' in found.problem
    Path(os.fsdecode(odd)).write_bytes(b'')
    assert 'cut short' in list_banks(banks, LIMIT, MODEL)[0].problem.encode().decode()


def test_a_directory_that_is_not_there_yet_holds_nothing(tmp_path):
    assert list_banks(tmp_path / 'none', LIMIT, None) == []


def test_a_directory_that_is_a_file_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(BankError, match='file cannot be read: Not a directory'):
        list_banks(tmp_path / 'file', LIMIT, None)


def test_more_files_than_are_listed_are_told(banks, monkeypatch):
    monkeypatch.setattr(bank_files, 'MAX_LISTED', 5)
    for i in range(5):
        (banks / f'{i}.safetensors').write_bytes(b'')
    assert len(listed(banks)) == 5
    (banks / '5.safetensors').write_bytes(b'')
    with pytest.raises(BankError, match='more than 5 memory banks'):
        listed(banks)


def test_a_folder_that_cannot_be_read_is_told(banks, monkeypatch):
    """No permission stops root, so the failure is simulated where root runs the tests."""
    closed = banks / 'closed'
    closed.mkdir()
    (closed / 'a.safetensors').write_bytes(b'')
    if os.geteuid() == 0:
        scan = os.scandir

        def guarded(path):
            if Path(path) == closed:
                raise PermissionError(13, 'Permission denied', str(path))
            return scan(path)

        monkeypatch.setattr(os, 'scandir', guarded)
    else:
        closed.chmod(0)
    try:
        with pytest.raises(BankError, match='closed cannot be read: Permission denied'):
            listed(banks)
    finally:
        closed.chmod(0o700)


def test_a_directory_behind_a_closed_one_is_told(banks, monkeypatch):
    def denied(path, **_):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(os, 'stat', denied)
    try:
        with pytest.raises(BankError, match='banks cannot be read: Permission denied'):
            list_banks(banks, LIMIT, None)
        with pytest.raises(BankError, match='cannot be used in .*: Permission denied'):
            confined(banks, 'cups')
    finally:
        monkeypatch.undo()
