# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The names file of label masks, which says what each pixel value stands for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detsam2_ros.banks.annotations import check_id, check_name
from detsam2_ros.media.tables import read_lines, read_table
from detsam2_ros.media.video import InputError

NAMES_FILES = ('names.yaml', 'names.yml', 'names.json', 'names.txt', 'objects.jsonl')
_BACKGROUND = ('background', '_background_', '__background__')


@dataclass(frozen=True)
class LabelName:
    """What a pixel value stands for."""

    class_id: int
    class_name: str
    key: str | None = None  # of the object, where the value stands for one


def find_names(*folders: Path) -> Path | None:
    """Return the first names file in the folders, None without one."""
    for folder in folders:
        for name in NAMES_FILES:
            if (folder / name).is_file():
                return folder / name
    return None


def read_names(path: Path) -> dict[int, LabelName]:
    """Read what each pixel value stands for; raises InputError naming the file and the line.

    YAML or JSON: {1: cup, 2: {class: cup, key: my-cup, id: 7}}. Text: line 1 names value 1; a
    first line 'background' names value 0. objects.jsonl, which segment_video writes beside its
    masks: values are object ids. A class without an id gets its smallest value as id.
    """
    if path.suffix == '.jsonl':
        return _read_segment_video(path)
    if path.suffix.lower() in ('.yaml', '.yml', '.json'):
        table = read_table(path, 'names file')
        if isinstance(table, dict) and isinstance(table.get('names'), (dict, list)):
            table = table['names']  # a data.yaml
        if isinstance(table, list):
            table = dict(enumerate(table))
        if not isinstance(table, dict):
            raise InputError(f'names file {path}: it is no table of pixel values and names')
    else:
        lines = read_lines(path, 'names file')
        first = 0 if lines and lines[0].strip().lower() in _BACKGROUND else 1
        table = {value: name for value, name in enumerate(lines, first) if name.strip()}
    return _parse(table, path)


def _parse(table: dict[Any, Any], path: Path) -> dict[int, LabelName]:
    found: dict[int, tuple[int | None, str, str | None]] = {}
    for value, given in table.items():
        where = f'names file {path}, {value!r:.40}'
        pixel = check_id(value, where)
        class_id = key = None
        if isinstance(given, dict):
            odd = set(given) - {'class', 'key', 'id'}
            if odd or 'class' not in given:
                raise InputError(f'{where}: write {{class: NAME, key: KEY, id: NUMBER}}')
            key = None if given.get('key') is None else check_name(given['key'], where)
            class_id = None if given.get('id') is None else check_id(given['id'], where)
            given = given['class']
        if pixel:  # 0 is background under any name
            found[pixel] = class_id, check_name(given, where), key
    if not found:
        raise InputError(f'names file {path}: it names no pixel value above 0')
    ids: dict[str, int] = {}
    for pixel, (class_id, name, _) in sorted(found.items()):
        known = ids.setdefault(name, pixel if class_id is None else class_id)
        if class_id is not None and class_id != known:
            raise InputError(f'names file {path}: class {name!r} has the ids {known}, {class_id}')
    return {pixel: LabelName(ids[name], name, key) for pixel, (_, name, key) in found.items()}


def _read_segment_video(path: Path) -> dict[int, LabelName]:
    names: dict[int, LabelName] = {}
    for number, line in enumerate(read_lines(path, 'names file'), 1):
        where = f'names file {path}, line {number}'
        try:
            for row in json.loads(line)['objects']:
                pixel = check_id(row['id'], where)
                name = check_name(row['class_name'], where)
                names[pixel] = LabelName(check_id(row['class_id'], where), name)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f'{where}: it is not as segment_video writes it') from error
    if not names:
        raise InputError(f'names file {path}: it has no object')
    return names
