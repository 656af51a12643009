# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Folders of files, from whatever system they come."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

# Folders that a system keeps among a user's own: thumbnails of a NAS, a bin.
_SYSTEM = ('@eaDir', '$RECYCLE.BIN')


def list_files(folder: Path, suffixes: Sequence[str], pattern: str = '*') -> list[Path]:
    """Return the files of a folder that match, in natural order: 2.png comes before 10.png.

    suffixes: in lower case; suffixes of any case match. pattern: '**/*' takes folders inside too.
    Hidden files are left out: macOS writes a '._0000.png' beside each 0000.png.
    """

    def is_meant(file: Path) -> bool:
        parts = file.relative_to(folder).parts
        return not any(part.startswith('.') or part in _SYSTEM for part in parts)

    found = (f for f in folder.glob(pattern) if f.suffix.lower() in suffixes and is_meant(f))
    return sorted(filter(Path.is_file, found), key=lambda f: _natural_order(f, folder))


def unicode_form(name: str) -> str:
    """Return the one form in which names are compared: macOS writes 'ü' as 'u' and two dots."""
    return unicodedata.normalize('NFC', name)


def _natural_order(file: Path, folder: Path) -> list[tuple[int, str]]:
    name = unicode_form(file.relative_to(folder).as_posix())
    return [
        (int(part), '') if part.isdecimal() else (-1, part.casefold())
        for part in re.split(r'(\d+)', name)
    ]
