# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `quality: balanced` turns on: what each option and the reach M cost and do to the masks.

python -m benchmarks.quality.balanced            # shipped model, held-out clips, one CPU thread
python -m benchmarks.quality.balanced --write --docs   # measures nothing: the table of the page

One run of a clip is one line of the results file, and one that is there is not made again. The
settings of a clip share its encodings, which none of them changes; their time is not counted.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.quality.clips import TruthDetector, played
from detsam2_ros.engine import Engine, EngineConfig, load_sam2
from detsam2_ros.scene.scene import SceneFrame, SceneOptions, render
from training.engine_score import score

# The shipped models were trained on seeds below 1,000,000.
FIRST_SEED = 1_005_000
_PLAIN: dict[str, float] = {'occluders': 0.0, 'late_ball': 0.0}
# name: balls, what else the scene has, and the share of boxes that the detector misses
CASES: dict[str, tuple[int, dict[str, float], float]] = {
    'clean': (3, _PLAIN, 0.0),
    'boxes dropped': (6, _PLAIN, 0.3),
    'occluded': (3, {'occluders': 4.0, 'occlusion_boost': 0.5, 'late_ball': 0.0}, 0.0),
    'late': (3, {'occluders': 0.0, 'late_ball': 1.0}, 0.0),
    '9 objects': (9, {}, 0.0),
}
# What differs from the plain method.
SETTINGS: dict[str, dict[str, object]] = {
    'exact': {},
    'early stop': {'early_stop_iou': 0.95},
    'confirmation': {'confirm_iou': 0.9},
    'bfloat16': {'dtype': 'bfloat16'},
    'balanced': {'early_stop_iou': 0.95, 'confirm_iou': 0.9, 'dtype': 'bfloat16'},
}
# Each with its M, those that decide first; the others are compared with the first one.
LANES = (
    ('exact', 40), ('balanced', 40), ('exact', 20), ('balanced', 20), ('balanced', 30),
    ('early stop', 40), ('confirmation', 40), ('bfloat16', 40),
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One setting's stream over one clip."""

    case: str
    setting: str
    M: int
    seed: int
    frames: int


def main() -> int:
    options = parse_options()
    text = table(runs.measured(options, Job, planned(options), run))
    print(text)
    if options.page is not None:
        pages.write(options.page, {'balanced': text})
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument(
        '--lanes', type=int, default=len(LANES), help='settings, the first so many'
    )
    parser.add_argument('--clips', type=int, default=8, help='clips a case')
    parser.add_argument('--first', type=int, default=0, help='the first of them')
    parser.add_argument('--frames', type=int, default=80, help='of each clip')
    runs.add_options(parser, 'balanced')
    return parser.parse_args()


def planned(options: argparse.Namespace) -> Iterator[Job]:
    """Name the runs, all settings of a clip in a row."""
    for number in range(options.first, options.clips):
        for case in options.cases:
            for setting, reach in LANES[: options.lanes]:
                yield Job(case, setting, reach, FIRST_SEED + number, options.frames)


class Encodings:
    """A model whose image encoder runs once for an image; `seconds` is what it took."""

    def __init__(self, dtype: str):
        self.model = load_sam2('demo', dtype=dtype)
        self.seconds = 0.0
        self.known: dict[bytes, Any] = {}
        self._encode = self.model.module.forward_image
        self.model.module.forward_image = self._once

    def _once(self, images_bchw: torch.Tensor) -> Any:
        begin = time.process_time()
        key = hashlib.sha256(images_bchw.numpy().tobytes()).digest()
        if key not in self.known:
            self.known[key] = self._encode(images_bchw)
        self.seconds += time.process_time() - begin
        return self.known[key]


encodings = functools.lru_cache(maxsize=2)(Encodings)


@functools.lru_cache(maxsize=1)
def film_of(case: str, seed: int, frames: int) -> list[SceneFrame]:
    """Render a clip; the last one is kept, and encodings of no other."""
    for dtype in ('float32', 'bfloat16'):
        encodings(dtype).known.clear()
    balls, scene, _ = CASES[case]
    return render(seed, frames, options=SceneOptions(balls=balls, **scene))  # type: ignore[arg-type]


def run(job: Job) -> runs.Line:
    """Run one stream; returns the job and sums, so that clips add up."""
    torch.set_num_threads(1)
    film = film_of(job.case, job.seed, job.frames)
    given = dict(SETTINGS[job.setting])
    encoded = encodings(str(given.pop('dtype', 'float32')))
    config = EngineConfig(max_propagation=job.M, **given)  # type: ignore[arg-type]
    missed = CASES[job.case][2]
    detector = TruthDetector(film, config.detect_interval, missed, job.seed)
    engine = Engine(encoded.model, detector, config)
    begin = time.process_time() - encoded.seconds
    clip = played(engine.open_stream('clip'), film)
    seconds = time.process_time() - encoded.seconds - begin
    stats = engine.stats()
    row = asdict(job) | {
        'seconds': seconds,
        'tracked': stats.tracked_frames + stats.forward_frames + stats.associated_frames,
    }
    for revision, results in (('first', clip.first), ('final', clip.final)):
        tally = score(film, results)
        row[f'{revision}_iou'] = float(np.sum(tally.ious))
        row['balls'] = len(tally.ious)
        row[f'{revision}_switches'] = tally.switches
    return row


def table(rows: Sequence[runs.Line]) -> str:
    """Return the results as a markdown table: a line a setting, clips added up.

    The first line has the IoU of final masks with the truth, by case; the others have what they
    differ from it by on the same clips, and the worst difference of masks as first published.
    """
    lines = []
    for setting, reach in LANES:
        own = [row for row in rows if (row['setting'], row['M']) == (setting, reach)]
        clips = {(row['case'], row['seed']) for row in own}
        plain = [
            row
            for row in rows
            if (row['setting'], row['M']) == LANES[0] and (row['case'], row['seed']) in clips
        ]
        if {row['case'] for row in plain} != set(CASES):
            continue
        final, first = (
            [_iou(own, case, revision) - _iou(plain, case, revision) for case in CASES]
            for revision in ('final', 'first')
        )
        cells = [f'{each:+.3f}' for each in (*final, min(first))]
        if (setting, reach) == LANES[0]:
            cells = [*(f'{_iou(own, case, "final"):.3f}' for case in CASES), '']
        lines.append([
            setting, str(reach), str(len(clips) // len(CASES)), *cells,
            f'{_mean(own, "tracked"):.1f}', f'{1000 * _mean(own, "seconds"):.0f}',
            f'{_mean(own, "seconds") / _mean(plain, "seconds"):.2f}',
        ])  # fmt: skip
    head = (
        'setting', 'M', 'clips a case', *CASES, 'rev. 0, worst', 'tracked frames, a frame',
        'ms a frame', 'time',
    )  # fmt: skip
    return pages.markdown(head, lines)


def _iou(rows: Sequence[runs.Line], case: str, revision: str) -> float:
    """Return the mean over all balls on all frames of a case."""
    own = [row for row in rows if row['case'] == case]
    return sum(row[f'{revision}_iou'] for row in own) / sum(row['balls'] for row in own)


def _mean(rows: Sequence[runs.Line], name: str) -> float:
    """Return the mean over all frames."""
    return float(sum(row[name] for row in rows) / sum(row['frames'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
