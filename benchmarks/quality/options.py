# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What each option that makes passes cheaper saves, and what it does to the masks.

python -m benchmarks.quality.options            # shipped models, held-out clips, one CPU thread
python -m benchmarks.quality.options --write --docs   # measures nothing: the table of the page

All options take each frame in turn, so that whatever else the machine does disturbs them alike.
Every clip is one line of the results file, and one that is there is not run again.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import torch

from benchmarks.harness import pages, runs
from detsam2_ros.engine import (
    Engine,
    EngineConfig,
    FrameResult,
    Stream,
    YoloDetector,
    load_sam2,
)
from detsam2_ros.scene.scene import SceneFrame
from training.engine_score import Tally
from training.evaluate import held_out

CLIPS = (101, 103, 106, 108)
# What is changed; the first of each mode is what the others are compared with.
OPTIONS: dict[str, list[dict[str, object]]] = {
    'window': [
        {},
        {'early_stop_iou': 0.95},
        {'early_stop_iou': 0.9, 'early_stop_frames': 2},
        {'max_conditioned_memories': 3},
        {'max_conditioned_memories': 2},
        {'confirm_iou': 0.8},
        {'dtype': 'bfloat16'},
        {'dtype': 'bfloat16', 'early_stop_iou': 0.95},
    ],
    'online': [
        {},
        {'early_stop_iou': 0.95},
        {'early_stop_iou': 0.9, 'early_stop_frames': 2},
        {'max_conditioned_memories': 3},
        {'max_conditioned_memories': 2},
        {'confirm_iou': 0.9},
        {'confirm_iou': 0.8},
        {'dtype': 'bfloat16'},
        {'dtype': 'bfloat16', 'early_stop_iou': 0.95},
        {'dtype': 'bfloat16', 'confirm_iou': 0.8, 'early_stop_iou': 0.95},
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
    journal = runs.Journal(options.results, lambda line: str(line['name']))
    for clip in () if options.write else CLIPS[: options.clips]:
        for mode, settings in OPTIONS.items():
            missing = [
                each for each in settings
                if name(clip, options.frames, mode, each) not in journal.lines
            ]  # fmt: skip
            if not missing:
                continue
            # The plain one takes part each time: times compare only where runs take turns.
            rows = measure(clip, options.frames, mode, [{}, *(each for each in missing if each)])
            for row in rows:
                journal.add(row)
            print(f'clip {clip}, mode {mode}: {len(rows)} settings', file=sys.stderr)
    if not journal.lines:
        print('there are no results yet: run it without --write', file=sys.stderr)
        return 1
    text = table(list(journal.lines.values()))
    print(text)
    if options.page is not None:
        pages.write(options.page, {'options': text})
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--clips', type=int, default=len(CLIPS), help='how many of them')
    parser.add_argument('--frames', type=int, default=60, help='of each clip')
    runs.add_options(parser, 'options')
    return parser.parse_args()


def name(clip: int, frames: int, mode: str, setting: dict[str, object]) -> str:
    """Name a run in the results file."""
    return f'{clip} {frames} {mode} {setting}'


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
    lines = []
    for mode, settings in OPTIONS.items():
        for setting in settings:
            own = [row for row in rows if row['mode'] == mode and row['setting'] == setting]
            if not own:
                continue

            def total(what: str, own: list[dict] = own) -> float:
                return sum(row[what] for row in own)

            label = ', '.join(f'`{key}: {value}`' for key, value in setting.items()) or 'plain'
            lines.append([
                mode, label, f'{total("tracked") / total("frames"):.1f}',
                f'{total("seconds") / total("plain_seconds"):.2f}',
                f'{total("agreement") / total("masks"):.3f}',
                f'{total("first_iou") / total("balls"):.3f}',
                f'{total("final_iou") / total("balls"):.3f}', f'{total("final_switches"):.0f}',
            ])  # fmt: skip
    head = (
        'mode', 'option', 'tracked frames, a frame', 'time', 'IoU with the plain masks',
        'IoU with the truth: rev. 0', 'final', 'id switches',
    )  # fmt: skip
    return pages.markdown(head, lines)


if __name__ == '__main__':
    sys.exit(main())
