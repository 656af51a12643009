# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pages of docs/measured: tables that stand between markers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.place import ROOT

MEASURED = ROOT / 'docs' / 'measured'


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def write(page: Path, texts: Mapping[str, str]) -> None:
    """Put texts between their markers; raises ValueError where a page has no place for one."""
    whole = page.read_text(encoding='utf-8')
    for name, text in texts.items():
        begin, end = f'<!-- table: {name} begin -->', f'<!-- table: {name} end -->'
        if whole.count(begin) != 1 or whole.count(end) != 1:
            raise ValueError(f"{page.name} must have the lines '{begin}' and '{end}' once each")
        before, rest = whole.split(begin)
        old, after = rest.split(end)
        if '<!-- table:' in old:
            raise ValueError(f"{page.name}: another table begins before '{end}'")
        whole = f'{before}{begin}\n{text}\n{end}{after}'
    page.write_text(whole, encoding='utf-8')


def names_on(page: Path) -> list[str]:
    """Return the names of the tables that a page has a place for."""
    return re.findall(r'<!-- table: (\w+) begin -->', page.read_text(encoding='utf-8'))
