# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""README and guides: how long they are, how wide, and where their links lead."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / 'README.md'
MAX_README = 6000  # characters: what a stranger reads in a few minutes
MAX_WIDTH = 100
GENERATED = {ROOT / 'docs' / 'parameters.md'}
PAGES = sorted([
    *ROOT.glob('*.md'),
    *(ROOT / 'docs').rglob('*.md'),
    *(ROOT / name / 'README.md' for name in ('benchmarks', 'examples', 'models', 'training')),
])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(text: str) -> str:
    """Leave out fenced blocks: what looks like a link or a heading there is none."""
    return re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)


def links(path: Path) -> list[str]:
    text = re.sub(r'`[^`\n]*`', '', without_code(path.read_text(encoding='utf-8')))
    return re.findall(r'\]\(([^)\s]+)\)', text)


def anchors(path: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    text = without_code(path.read_text(encoding='utf-8'))
    titles = re.findall(r'^#+ +(.+?) *$', text, re.MULTILINE)
    plain = [re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', title) for title in titles]
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in plain}


def broken_links(path: Path) -> list[str]:
    """List the relative links of a page that lead nowhere."""
    broken = []
    for link in links(path):
        if re.match(r'\w+:', link):
            continue
        target, _, anchor = link.partition('#')
        file = path.parent / target if target else path
        if not file.exists():
            broken.append(f'{link}: there is no such file')
        elif anchor and anchor not in anchors(file):
            broken.append(f'{link}: {file.name} has no such heading')
    return broken


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    broken = broken_links(path)
    assert not broken, f'{name_of(path)}: ' + '\n'.join(broken)


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / 'there.md').write_text('# A title, `code` and [a link](x)\n')
    page = tmp_path / 'page.md'
    page.write_text(
        '[1](there.md) [2](there.md#a-title-code-and-a-link) [3](https://nowhere.example)\n'
        '`[4](in_code.md)` [5](gone.md) [6](there.md#gone) [7](#gone)\n'
        '```\n# gone\n[8](in_block.md)\n```\n'
    )
    assert [line.split(':')[0] for line in broken_links(page)] == [
        'gone.md', 'there.md#gone', '#gone']


def test_the_readme_is_read_in_minutes() -> None:
    length = len(README.read_text(encoding='utf-8'))
    assert length <= MAX_README, (
        f'README.md has {length} characters, at most {MAX_README} are wanted: '
        f'move what is more into a guide in docs/'
    )


@pytest.mark.parametrize('path', sorted(set(PAGES) - GENERATED), ids=name_of)
def test_lines_have_one_width(path: Path) -> None:
    """But for tables, code, generated parts, and lines that a link makes long."""
    text = without_code(path.read_text(encoding='utf-8'))
    generated = r'^<!-- table: (.*) begin -->.*?^<!-- table: \1 end -->$'
    text = re.sub(generated, '', text, flags=re.MULTILINE | re.DOTALL)
    long = [
        line for line in text.splitlines()
        if len(line) > MAX_WIDTH and not line.lstrip().startswith('|') and '](' not in line
    ]
    assert not long, f'{name_of(path)} has lines over {MAX_WIDTH} characters:\n' + '\n'.join(long)


def programs(path: Path) -> list[str]:
    text = path.read_text(encoding='utf-8')
    return re.findall(r'^```python\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_python_blocks_are_python(path: Path) -> None:
    for block in programs(path):
        ast.parse(block)


@pytest.mark.slow
def test_the_program_of_the_engine_page_runs() -> None:
    """It is complete, and needs nothing but what the package ships."""
    program = programs(ROOT / 'docs' / 'engine.md')[0]
    result = subprocess.run(
        [sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert 'image 0 revision 0' in result.stdout
    assert 'revision 1' in result.stdout, 'the clip shows no correction'


def map_of_rooms() -> list[tuple[list[str], str]]:
    """Read the tables of engine.md: rooms of a row, and what to look for where."""
    page = (ROOT / 'docs' / 'engine.md').read_text(encoding='utf-8')
    section = page.partition('## Where things are')[2].partition('\n## ')[0]
    rows: list[tuple[list[str], str]] = []
    room = ''
    for line in section.splitlines():
        first, _, last = line.strip('| ').partition('|')
        if heading := re.search(r'file in `([\w/]+)/`', last):
            room = heading[1]
        elif line.startswith('|') and '---' not in line:
            rows.append((re.findall(r'`([\w/]+)/`', first) or [room], last))
    return rows[1:]  # without the heading of the first table


PACKAGE = ROOT / 'detsam2_ros'
ROOMS = {str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob('__init__.py')}


def test_every_room_is_on_the_map() -> None:
    on_map = {room for rooms, _ in map_of_rooms() for room in rooms}
    within = {'cli/evaluate', 'cli/memory_bank', 'demo/recorder'}  # rooms within rooms
    assert on_map == ROOMS - {'.'} - within


@pytest.mark.parametrize(('rooms', 'text'), map_of_rooms())
def test_the_map_names_what_is_there(rooms: list[str], text: str) -> None:
    """Each file lies in the room of its row, and defines the names that stand beside it."""
    files = []
    for name in re.findall(r'`([\w/]+\.py)`', text):
        places = [PACKAGE / room / name for room in rooms] + [PACKAGE / name]
        places += [PACKAGE / room.partition('/')[0] / name for room in rooms]
        found = [path for path in places if path.is_file()]
        assert found, f'there is no {name} in {rooms}'
        files.append(found[0])
    code = ''.join(path.read_text(encoding='utf-8') for path in files)
    if rooms[0] in ('engine/sam2', 'engine/tracking'):
        for name in re.findall(r'`([A-Za-z_.]+)`', re.sub(r'`[\w/]+\.py`', '', text)):
            defined = name.rpartition('.')[2]
            assert re.search(rf'(class|def) {defined}\b', code), f'{name} is not in {files}'
