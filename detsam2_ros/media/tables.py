# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files of text, YAML and JSON from whatever program wrote them."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from detsam2_ros.media.video import InputError


def identifier(value: Any) -> str:
    """Return the text by which ids of JSON files are compared: that of 1, 1.0, '1' is '1'."""
    return re.sub(r'^(-?\d+)\.0+$', r'\1', str(value).strip())


def read_table(path: Path, what: str) -> Any:
    """Read a YAML or JSON file; raises InputError naming it."""
    try:
        data = path.read_bytes()  # of bytes both find the encoding, UTF-16 and a BOM too
        return json.loads(data) if path.suffix.lower() == '.json' else yaml.safe_load(data)
    except OSError as error:
        raise InputError(f'{what} {path}: cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        line = ' '.join(str(error).split())[:200]
        raise InputError(f'{what} {path}: this is not valid: {line}') from error


def read_lines(path: Path, what: str) -> list[str]:
    """Read the lines of a text file without empty last lines; raises InputError naming it."""
    try:
        data = path.read_bytes()
        is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        lines = data.decode('utf-16' if is_wide else 'utf-8-sig').splitlines()
    except OSError as error:
        raise InputError(f'{what} {path}: cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{what} {path}: this is not text in UTF-8') from error
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def numbers(values: Any) -> np.ndarray | None:
    """Return a list of finite numbers, as numbers or text, as float64 [n]; None for others."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.ndim == 1 and np.isfinite(found).all() else None
