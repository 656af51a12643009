# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from detsam2_ros.media.video import InputError


def write_page(path: Path, title: str, style: str, parts: Iterable[str]) -> None:
    """Write a page; raises InputError when the file cannot be written.

    style: CSS. parts: HTML of the body, one below the other.
    """
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n'
        + '\n'.join(parts)
        + '\n</main></body></html>\n'
    )
    try:
        path.write_text(page, encoding='utf-8')
    except OSError as error:
        raise InputError(f'cannot write {path}: {error.strerror}') from error
