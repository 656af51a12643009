# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The package ultralytics, imported without what it does by the way, and model files for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from detsam2_ros.paths import shared_file
from detsam2_ros.results.errors import ModelError

_log = logging.getLogger(__name__)

# Tasks whose results carry upright boxes.
_TASKS = ('detect', 'segment', 'pose')


def import_yolo() -> type:
    """Import ultralytics and return its YOLO class; switches its telemetry and logging off."""
    # Read at import only: no log lines, no `pip install` behind the back of a robot, and weights
    # are unpickled with an allow-list of known classes. A user's own setting stands.
    for name, value in (
        ('YOLO_VERBOSE', 'false'),
        ('YOLO_AUTOINSTALL', 'false'),
        ('ULTRALYTICS_SAFE_LOAD', 'true'),
    ):
        os.environ.setdefault(name, value)
    try:
        from ultralytics import YOLO
        from ultralytics.utils import LOGGER, SETTINGS
    except ImportError as error:
        raise ModelError(
            'the YOLO detector needs the package ultralytics (AGPL-3.0): pip install '
            f'ultralytics-opencv-headless, or use another detector ({first_line(error)})'
        ) from error
    LOGGER.setLevel(logging.ERROR)
    # Usage statistics off for this process; the user's settings file stays as it is.
    dict.__setitem__(SETTINGS, 'sync', False)
    try:
        from ultralytics.utils.events import events
    except ImportError:
        pass  # older versions keep them elsewhere, and ask SETTINGS when it is imported
    else:
        events.enabled = False
    return YOLO  # type: ignore[no-any-return]


def find_model(weights: str | os.PathLike[str]) -> Path:
    """Return the file of a model, downloaded if Ultralytics publishes one of that name."""
    text = os.fspath(weights)
    if text == 'demo':
        try:
            return shared_file('models/detsam2_demo_yolo.pt')
        except FileNotFoundError as error:
            raise ModelError(f"the shipped detector 'demo' is not installed: {error}") from error
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ModelError(f'detector weights {path} is a folder; give a .pt, .onnx or .engine file')
    from ultralytics.utils import downloads

    published: frozenset[str] = getattr(downloads, 'GITHUB_ASSETS_NAMES', frozenset())
    if path.name != text or text not in published:
        raise ModelError(
            f'detector weights {path} do not exist, and are no model that Ultralytics publishes '
            "(such as yolo11n.pt); give the path of a file, or 'demo' for the shipped one"
        )
    # Not into the working directory, where ultralytics would put it.
    cached = Path(torch.hub.get_dir()) / 'checkpoints' / text
    if not cached.is_file():
        _log.info('downloading %s to %s', text, cached)
        cause = 'no such file came'
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            downloads.attempt_download_asset(cached, progress=False)
        except Exception as error:
            cause = first_line(error)
        if not cached.is_file():
            raise ModelError(
                f'detector weights {text} are not here and could not be downloaded ({cause}); '
                f'fetch the file elsewhere and give its path, or copy it to {cached}'
            )
    return cached


def open_model(yolo_class: type, path: Path) -> Any:
    """Open a model file with ultralytics; raises ModelError that names it."""
    if path.suffix.lower() not in ('.pt', '.onnx', '.engine'):
        raise ModelError(f'detector weights {path} must be a .pt, .onnx or .engine file')
    try:
        model = yolo_class(str(path))
    except Exception as error:
        raise ModelError(
            f'{path} is not a YOLO model that ultralytics can read ({first_line(error)}); '
            'give an Ultralytics YOLO .pt, .onnx or .engine file'
        ) from error
    if model.task not in _TASKS:
        raise ModelError(
            f'{path} is a YOLO model for {model.task}, which gives no boxes; '
            f'use one for {", ".join(_TASKS)}'
        )
    return model


def half_option() -> dict[str, Any]:
    """Return how this version of ultralytics is asked for half precision."""
    from ultralytics.utils import DEFAULT_CFG_DICT

    return {'half': True} if 'half' in DEFAULT_CFG_DICT else {'quantize': 16}


def gist(error: BaseException) -> str:
    """Return an error on one line, with the sizes that ONNX Runtime names on later lines."""
    line = ' '.join(str(error).split()) or type(error).__name__
    return line if len(line) <= 300 else line[:297] + '...'


def first_line(error: BaseException) -> str:
    """Return the gist of an error, without the advice and emojis of longer texts."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].encode('ascii', 'ignore').decode().replace('ERROR ', '').strip()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep what ultralytics sets for the whole process as it was.

    On import and on choosing a device it sets the number of torch and OpenCV threads, numpy's
    print format and variables such as OMP_NUM_THREADS: SAM 2 in the same process would lose cores.
    """
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    printing, environment = np.get_printoptions(), dict(os.environ)
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if cv2.getNumThreads() != cv_threads:
            cv2.setNumThreads(cv_threads)
        if np.get_printoptions() != printing:
            np.set_printoptions(**printing)
        if dict(os.environ) != environment:
            for name in set(os.environ) - set(environment):
                del os.environ[name]
            os.environ.update(environment)
