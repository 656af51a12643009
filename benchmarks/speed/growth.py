# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How the time per frame grows: with objects, M/K, cameras, and entries of a memory bank.

All settings of one run take turns, window by window, so that the quotients hold on a machine that
others use too.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.harness.place import Place, load
from benchmarks.harness.turns import in_turn, repeat
from benchmarks.speed.scenes import Lane, engine_config, film
from detsam2_ros.engine import Engine, EngineConfig, MemoryBank
from detsam2_ros.engine.sam2.model import Sam2Model

OBJECTS = (1, 2, 4, 8, 16)
REACHES = ((10, 10), (10, 20), (10, 30), (10, 40), (5, 20), (20, 20), (20, 40))  # K, M
CAMERAS = (1, 2, 4)
ENTRIES = (0, 1, 4, 16)


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Let a parameter grow. job: by (objects, reach, cameras, bank), model, size, K, M, windows,
    frame, mode; values, where not all.
    """
    model, _ = load(job['model'], job['size'], place)
    lanes = _lanes(job, model)
    for lane in lanes.values():
        lane.warm_up()
    place.clock()
    names = list(lanes)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in repeat(job['windows'], limit_s, least=1):
        for name in in_turn(names, number):
            seconds[name].append(lanes[name].timed(place))
    first = seconds[names[0]]
    return {
        'windows': len(first),
        'lanes': [
            {
                'name': name,
                'frame_s': statistics.median(own),
                'times': statistics.median(a / b for a, b in zip(own, first, strict=True)),
                'encodings': lanes[name].encodings,
            }
            for name, own in seconds.items()
        ],
    }


def _lanes(job: dict[str, Any], model: Sam2Model) -> dict[str, Lane]:
    K, M, frame, by = job['K'], job['M'], tuple(job['frame']), job['by']

    def lane(objects: int = 1, K: int = K, M: int = M, **more: Any) -> Lane:
        config = engine_config(K, K, M, mode=job['mode'], bank_object_frames=1)
        return Lane(model, film(objects, *frame), config, **more)

    if by == 'objects':
        return {str(n): lane(n) for n in job.get('values', OBJECTS)}
    if by == 'reach':
        return {f'{k}, {m}': lane(K=k, M=m) for k, m in job.get('values', REACHES)}
    if by == 'cameras':
        return {str(n): lane(cameras=n) for n in job.get('values', CAMERAS)}
    if by == 'bank':
        counts = job.get('values', ENTRIES)
        whole = _bank(model, frame, max(counts))
        return {str(n): lane(bank=_cut(whole, n) if n else None) for n in counts}
    raise ValueError(f"growth by '{by}'? It is objects, reach, cameras or bank")


def _bank(model: Sam2Model, frame: tuple[int, int], entries: int) -> MemoryBank:
    """Record a bank of one object, by prompting it on every frame."""
    config = EngineConfig(
        1, 1, 1, mode='window', association='class', max_conditioned_memories=max(entries, 1)
    )
    scene = film(1, *frame)
    stream = Engine(model, scene, config).open_stream('recorded')
    for index in range(entries):
        stream.push(scene.image(index), index)
    return stream.export_bank(max(entries, 1))


def _cut(bank: MemoryBank, entries: int) -> MemoryBank:
    return MemoryBank(bank.model, bank.entries[:entries], bank.created, bank.source)
