# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What each option that makes passes cheaper saves, and what it does to the masks.

python benchmarks/options.py            # shipped models, held-out clips, one CPU thread
python benchmarks/options.py --docs     # measures nothing: the table of docs/measured/options.md

All options take each frame in turn, so that whatever else the machine does disturbs them alike.
Every clip is one line of the results file, and one that is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from detsam2_ros.engine import (  # noqa: E402
    Engine,
    EngineConfig,
    FrameResult,
    Stream,
    YoloDetector,
    load_sam2,
)
from detsam2_ros.scene.scene import SceneFrame  # noqa: E402
from training.engine_score import Tally  # noqa: E402
from training.evaluate import held_out  # noqa: E402

BEGIN, END = '<!-- table: options begin -->', '<!-- table: options end -->'
CLIPS = (101, 103, 106, 108)
# What is changed; the first of each mode is what the others are compared with.
OPTIONS: dict[str, list[dict[str, object]]] = {
    'window': [
        {},
        {'early_stop_iou': 0.95},
        {'early_stop_iou': 0.9, 'early_stop_frames': 2},
        {'retrack_unprompted': False},
        {'max_conditioned_memories': 3},
        {'max_conditioned_memories': 2},
        {'max_tracked_memories': 3},
        {'full_memories': 2},
        {'confirm_iou': 0.8},
        {'dtype': 'bfloat16'},
        {'dtype': 'bfloat16', 'early_stop_iou': 0.95},
        {'dtype': 'bfloat16', 'early_stop_iou': 0.95, 'full_memories': 2},
    ],
    'online': [
        {},
        {'early_stop_iou': 0.95},
        {'early_stop_iou': 0.9, 'early_stop_frames': 2},
        {'max_conditioned_memories': 3},
        {'max_conditioned_memories': 2},
        {'max_tracked_memories': 3},
        {'full_memories': 2},
        {'confirm_iou': 0.9},
        {'confirm_iou': 0.8},
        {'dtype': 'bfloat16'},
        {'dtype': 'bfloat16', 'early_stop_iou': 0.95},
        {'dtype': 'bfloat16', 'confirm_iou': 0.8, 'early_stop_iou': 0.95, 'full_memories': 2},
    ],
}


@dataclass
class Run:
    """One setting's stream over a clip."""

    engine: Engine
    stream: Stream
    seconds: list[float] = field(default_factory=list)
    first: dict[int, FrameResult] = field(default_factory=dict)
    final: dict[int, FrameResult] = field(default_factory=dict)

    def push(self, frame: SceneFrame, last: bool) -> None:
        begin = time.process_time()
        results = self.stream.push(frame.image, frame.index)
        results += self.stream.flush() if last else []
        self.seconds.append(time.process_time() - begin)
        for result in results:
            self.first.setdefault(result.index, result)
            self.final[result.index] = result


def main() -> int:
    options = parse_options()
    done = read(options.results)
    for clip in () if options.docs else CLIPS[: options.clips]:
        for mode, settings in OPTIONS.items():
            wanted = [s for s in settings if name(clip, options.frames, mode, s) not in done]
            if not wanted or wanted == [{}]:
                continue
            rows = measure(clip, options.frames, mode, [{}, *(s for s in wanted if s)])
            with options.results.open('a') as file:
                for row in rows:
                    file.write(json.dumps(row) + '\n')
                    done[row['name']] = row
            print(f'clip {clip}, mode {mode}: {len(rows)} settings', file=sys.stderr)
    text = table(list(done.values()))
    print(text)
    if options.docs:
        page = ROOT / 'docs' / 'measured' / 'options.md'
        before, rest = page.read_text().split(BEGIN)
        page.write_text(f'{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}')
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--clips', type=int, default=len(CLIPS), help='how many of them')
    parser.add_argument('--frames', type=int, default=60, help='of each clip')
    parser.add_argument('--results', type=Path, default=ROOT / 'runs' / 'options.jsonl')
    parser.add_argument('--docs', action='store_true', help='measure nothing; write the table')
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    return options


def name(clip: int, frames: int, mode: str, setting: dict[str, object]) -> str:
    """Name a run in the results file."""
    return f'{clip} {frames} {mode} {setting}'


def read(path: Path) -> dict[str, dict]:
    """Read the runs that are done."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row['name']: row for row in map(json.loads, lines)}


def measure(clip: int, frames: int, mode: str, settings: list[dict[str, object]]) -> list[dict]:
    """Run all settings over a clip, frame by frame in turn; the first is the plain one."""
    detector = YoloDetector('demo')
    models = {dtype: load_sam2('demo', dtype=dtype) for dtype in ('float32', 'bfloat16')}
    torch.set_num_threads(1)
    runs = []
    for setting in settings:
        given = dict(setting)
        model = models[str(given.pop('dtype', 'float32'))]
        engine = Engine(model, detector, EngineConfig(mode=mode, **given))  # type: ignore[arg-type]
        runs.append(Run(engine, engine.open_stream('clip')))
    film = held_out(clip, frames)
    for frame in film:
        for run in runs:
            run.push(frame, frame is film[-1])
    rows = []
    for setting, run in zip(settings, runs, strict=True):
        stats = run.engine.stats()
        agreement = agreements(runs[0].final, run.final)
        row = {
            'name': name(clip, frames, mode, setting),
            'mode': mode,
            'setting': setting,
            'frames': frames,
            # The first frames load and fill what later ones find.
            'seconds': sum(run.seconds[10:]),
            'plain_seconds': sum(runs[0].seconds[10:]),
            'tracked': stats.tracked_frames + stats.forward_frames + stats.associated_frames,
            'agreement': sum(agreement),
            'masks': len(agreement),
        }
        for revision, results in (('first', run.first), ('final', run.final)):
            tally = Tally()
            tally.add_clip(film, results)
            row[f'{revision}_iou'] = float(np.sum(tally.ious))
            row['balls'] = len(tally.ious)
            row[f'{revision}_switches'] = tally.switches
        rows.append(row)
    return rows


def agreements(plain: dict[int, FrameResult], other: dict[int, FrameResult]) -> list[float]:
    """Return the IoU of each visible plain mask with the best of the other's on that frame."""
    found = []
    for index, result in plain.items():
        masks = other[index].masks
        for row, entry in enumerate(result.objects):
            if entry.visible:
                mask = result.masks[row]
                either = (masks | mask).sum((1, 2)).clip(1)
                found.append(float(((masks & mask).sum((1, 2)) / either).max(initial=0)))
    return found


def table(rows: list[dict]) -> str:
    """Return the results as a markdown table, clips added up."""
    lines = [
        '| mode | option | tracked frames, a frame | time | IoU with the plain masks '
        '| IoU with the truth: rev. 0 | final | id switches |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for mode, settings in OPTIONS.items():
        for setting in settings:
            own = [row for row in rows if row['mode'] == mode and row['setting'] == setting]
            if not own:
                continue

            def total(what: str, own: list[dict] = own) -> float:
                return sum(row[what] for row in own)

            told = ', '.join(f'`{key}: {value}`' for key, value in setting.items()) or 'plain'
            lines.append(
                f'| {mode} | {told} | {total("tracked") / total("frames"):.1f} '
                f'| {total("seconds") / total("plain_seconds"):.2f} '
                f'| {total("agreement") / total("masks"):.3f} '
                f'| {total("first_iou") / total("balls"):.3f} '
                f'| {total("final_iou") / total("balls"):.3f} '
                f'| {total("final_switches"):.0f} |'
            )
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
