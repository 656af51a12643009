# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the files are that ship with the package: models, configurations, launch files."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath

PACKAGE = 'detsam2_ros'


def shared_folders() -> list[Path]:
    """Name the folders that are searched, in this order.

    1. the checkout that holds this file, if it is one (it has a package.xml beside the package);
    2. share/detsam2_ros of each prefix in AMENT_PREFIX_PATH;
    3. share/detsam2_ros of this Python's own prefix.
    """
    folders = []
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / 'package.xml').is_file():
        folders.append(checkout)
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    folders += [Path(prefix) / 'share' / PACKAGE for prefix in [*prefixes, sys.prefix]]
    return list(dict.fromkeys(folders))


def shared_file(relative: str) -> Path:
    """Find a shipped file or folder, such as 'models/demo.safetensors' or 'config/node.yaml'.

    Raises FileNotFoundError, which names every place that was looked at, if there is none; and
    ValueError for a path that is absolute or leaves the package.
    """
    parts = PurePosixPath(relative)
    if not parts.parts or parts.is_absolute() or '..' in parts.parts:
        raise ValueError(f'a path inside the package is needed, not {relative!r}')
    candidates = [folder / relative for folder in shared_folders()]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = '\n'.join(f'  {candidate}' for candidate in candidates)
    raise FileNotFoundError(
        f'{relative!r} of {PACKAGE} was not found; looked for\n{looked}\n'
        'Is the workspace built (scripts/setup) and sourced (scripts/env)?'
    )
