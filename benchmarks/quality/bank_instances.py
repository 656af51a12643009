# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two balls of one class: does a bank find both, as one bank object or as one for each?

python -m benchmarks.quality.bank_instances              # ten minutes of one core
"""

from __future__ import annotations

import argparse
import sys
from itertools import count, islice

import numpy as np
import torch

from benchmarks.harness.pages import markdown
from benchmarks.quality.bank_scenes import (
    AT_ONCE,
    BANK_CLOTHS,
    FIRST,
    MIN_VISIBLE,
    OTHER_TABLES,
    TABLES,
    pick,
)
from benchmarks.quality.banks import MIN_VISIBLE as COUNTED
from benchmarks.quality.banks import D, K, M
from benchmarks.quality.clips import played
from detsam2_ros.banks.views import Mark, View, remember
from detsam2_ros.engine import Engine, EngineConfig, FrameResult, load_sam2
from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.quality.scoring import FOUND_IOU, count_found
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import CLASS_NAMES, Scene, SceneFrame, SceneOptions

MOMENTS = range(0, 120, 5)  # frames that entries are of
PLACES = ('same table, at once', 'same table', 'other table')
KINDS = {'one object': False, 'an object a ball': True}
ENTRIES = 4  # of each ball


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--clips', type=int, default=4, help='of each place')
    parser.add_argument('--frames', type=int, default=40, help='of each clip')
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_sam2('demo')
    lines = []
    for place in PLACES:
        for name, apart in KINDS.items():
            rows = [
                run(model, place, number, apart, options.frames)
                for number in range(options.clips)
            ]
            iou, found, both, ids = np.mean(rows, 0)
            lines.append([
                place, name, str(len(rows)), f'{iou:.3f}', f'{found:.0%}', f'{both:.0%}',
                f'{ids:.1f}',
            ])  # fmt: skip
            print(', '.join(lines[-1]), file=sys.stderr)
    head = ('where', 'the bank has', 'clips', 'IoU', 'balls found', 'both found', 'ids a ball')
    print(markdown(head, lines))
    return 0


def twins_on(scene: Scene) -> int | None:
    """Return the class of which there are two balls; None when there is no one such class."""
    twice = [c for c in range(len(CLASS_NAMES)) if (scene.class_ids == c).sum() == 2]
    return twice[0] if len(twice) == 1 else None


def table(seed: int, cloth: str) -> Scene:
    options = SceneOptions(
        balls=5, duplicate_colours=1.0, look_alikes=0.0, late_ball=0.0, occluders=0.5, cloth=cloth
    )
    return Scene(seed, options=options)


def run(
    model: Sam2Model, place: str, number: int, apart: bool, frames: int
) -> tuple[float, ...]:
    """Return the mean IoU of twins, the shares of them and of frames found, ids of each ball."""
    here = table(TABLES + 900 + number, BANK_CLOTHS[number % 3])
    kind = twins_on(here)
    assert kind is not None
    made_of = here
    if place == 'other table':
        seeds = count(OTHER_TABLES + 90_000 + 1000 * number)
        others = (table(seed, BANK_CLOTHS[seed % 3]) for seed in seeds)
        made_of = next(scene for scene in others if twins_on(scene) == kind)
    bank = MemoryBank(model.identity, entries_of(model, made_of, kind, apart), source='benchmark')
    first = {'same table': FIRST, PLACES[0]: AT_ONCE}.get(place, 0)
    film = list(islice(here, first, first + frames))
    config = EngineConfig(K, D, M, mode='online', bank_object_frames=1)
    stream = Engine(model, None, config).open_stream('clip')
    stream.load_bank(bank)
    final = played(stream, film).final
    return scored(film, [final[index] for index in range(len(film))], kind)


def entries_of(model: Sam2Model, scene: Scene, kind: int, apart: bool) -> tuple[BankEntry, ...]:
    """Return curated entries of the twins: ENTRIES of each, under one key or two."""
    pools: dict[int, list[BankEntry]] = {}
    for frame in islice(scene, MOMENTS.stop):
        if frame.index not in MOMENTS:
            continue
        for ball, c, seen in zip(frame.ids, frame.class_ids, frame.visible_fraction, strict=True):
            if c == kind and seen >= MIN_VISIBLE:
                name = CLASS_NAMES[kind]
                mark = Mark(
                    f'{name}-{ball}' if apart else name, kind, name, mask=frame.labels == ball
                )
                # A stamp of its own for each entry of the one object.
                view = View(frame.image, (mark,), 10 * frame.index + int(ball))
                pools.setdefault(int(ball), []).extend(remember(model, view))
    return tuple(e for pool in pools.values() for e in pick(pool, ENTRIES, 'curated'))


def scored(film: list[SceneFrame], results: list[FrameResult], kind: int) -> tuple[float, ...]:
    ious, both = [], []
    ids: dict[int, set[int]] = {}
    for frame, result in zip(film, results, strict=True):
        free = {entry.id: entry.mask for entry in result.objects if entry.visible}
        own = []
        for ball, c, seen in zip(frame.ids, frame.class_ids, frame.visible_fraction, strict=True):
            if c != kind or seen < COUNTED:
                continue
            truth = Mask.of(frame.labels == ball)
            values = {id_: truth.iou(mask) for id_, mask in free.items()}
            best = max(values, key=lambda i: values[i], default=None)
            own.append(values[best] if best is not None else 0.0)
            if best is not None and values[best] >= FOUND_IOU:
                ids.setdefault(int(ball), set()).add(best)
                del free[best]
        ious += own
        if len(own) == 2:
            both.append(min(own) >= FOUND_IOU)
    return (
        float(np.mean(ious)), count_found(ious) / len(ious), float(np.mean(both)),
        float(np.mean([len(own) for own in ids.values()])) if ids else 0.0,
    )  # fmt: skip


if __name__ == '__main__':
    sys.exit(main())
