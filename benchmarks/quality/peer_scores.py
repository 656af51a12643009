# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measures of one run: masks and ids at each lag, and what revisions gained and lost."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

from benchmarks.harness.place import ROOT
from benchmarks.quality.peer_records import load, load_truth
from detsam2_ros.quality.identity import identity
from detsam2_ros.quality.lags import Lag, view
from detsam2_ros.quality.regions import Measured, regions
from detsam2_ros.quality.revisions import revisions

LAGS: tuple[Lag, ...] = (0, 1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 35, 40, None)


@functools.lru_cache(maxsize=1)
def _measures() -> bytes:
    """Return a digest of the code of the measures: scores of another one are stale."""
    digest = hashlib.sha256(repr(LAGS).encode())
    for path in sorted((ROOT / 'detsam2_ros' / 'quality').glob('*.py')):
        digest.update(path.read_bytes())
    return digest.digest()


def version(truth_file: Path, run_file: Path) -> str:
    """Return a digest of all that the scores of a run follow from."""
    parts = _measures(), truth_file.read_bytes(), run_file.read_bytes()
    return hashlib.sha256(b''.join(parts)).hexdigest()[:16]


truth_of = functools.lru_cache(maxsize=8)(load_truth)


def score(truth_file: Path, run_file: Path) -> dict[str, Any]:
    """Return the measures of a run. jf, hota: a value a lag of LAGS; the others of the end."""
    truth, video = truth_of(truth_file), load(run_file)
    known: Measured = {}
    views = [view(video, lag) for lag in LAGS]
    found = [regions(truth, each, known) for each in views]
    revised = revisions(truth, video)
    ids = [identity(truth, each) for each in (views[0], views[-1])]
    return {
        'jf': [each.jf for each in found],
        'j': found[-1].j,
        'f': found[-1].f,
        'hota': [each.hota for each in ids],
        'idf1': [each.idf1 for each in ids],
        'smotsa': [each.smotsa for each in ids],
        'switches': [each.switches for each in ids],
        'true_pixels': revised.true_pixels,
        'lost_pixels': revised.lost_pixels,
        'regret_masks': revised.regret_masks,
        'gain': revised.gain,
        'found': [revised.found_first, revised.found_final],
        'ghosts_shown': revised.ghosts_shown,
        'ghosts_left': revised.ghosts_left,
        'edit_overhead': list(revised.edit_overhead),
        'age': list(revised.age_at_finality),
    }
