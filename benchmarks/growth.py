# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How the time per frame grows: with objects, M/K, cameras, and entries of a memory bank.

All settings of one run take turns, window by window, so that the quotients hold on a machine that
others use too.
"""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.place import Place, load, repeat
from benchmarks.scenes import engine_config, film, warm_up
from detsam2_ros.engine import Engine, EngineConfig, MemoryBank
from detsam2_ros.engine.sam2.model import Sam2Model

OBJECTS = (1, 2, 4, 8, 16)
REACHES = ((10, 10), (10, 20), (10, 30), (10, 40), (5, 20), (20, 20), (20, 40))  # K, M
CAMERAS = (1, 2, 4)
ENTRIES = (0, 1, 4, 16)


class Lane:
    """One setting: streams that are fed a window at a time."""

    def __init__(
        self,
        model: Sam2Model,
        config: EngineConfig,
        objects: int,
        frame: tuple[int, int],
        cameras: int = 1,
        bank: MemoryBank | None = None,
    ):
        self.window, self.reach = config.window_size, config.max_propagation
        self.cameras = cameras
        self.seconds: list[float] = []  # per frame of a camera
        self._scene = film(objects, *frame)
        self.engine = Engine(model, self._scene, config)
        self._streams = [self.engine.open_stream(str(number)) for number in range(cameras)]
        self._index = 0
        for stream in self._streams if bank is not None else ():
            stream.load_bank(bank)

    def run(self) -> None:
        for _ in range(self.window):
            for stream in self._streams:
                stream.push(self._scene.image(self._index), self._index)
            self._index += 1

    def timed(self, place: Place) -> None:
        begin = place.clock()
        self.run()
        self.seconds.append((place.clock() - begin) / (self.window * self.cameras))


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Let a parameter grow. job: by (objects, reach, cameras, bank), model, size, K, M, windows,
    frame, mode; values, where not all.
    """
    model, _ = load(job['model'], job['size'], place)
    lanes = _lanes(job, model)
    for lane in lanes.values():
        for _ in range(warm_up(lane.window, lane.reach)):
            lane.run()
    place.clock()
    order = list(lanes.values())
    for number in repeat(job['windows'], limit_s, least=1):
        for lane in order if number % 2 == 0 else reversed(order):
            lane.timed(place)
    first = order[0]
    return {
        'windows': len(first.seconds),
        'lanes': [
            {
                'name': name,
                'frame_s': statistics.median(lane.seconds),
                'times': statistics.median(
                    own / base for own, base in zip(lane.seconds, first.seconds, strict=True)
                ),
                'encodings': _encodings(lane.engine),
            }
            for name, lane in lanes.items()
        ],
    }


def _encodings(engine: Engine) -> float:
    stats = engine.stats()
    return stats.encodings / stats.frames


def _lanes(job: dict[str, Any], model: Sam2Model) -> dict[str, Lane]:
    K, M, frame, by = job['K'], job['M'], tuple(job['frame']), job['by']

    def config(K: int = K, M: int = M, **more: Any) -> EngineConfig:
        return engine_config(K, K, M, mode=job['mode'], **more)

    if by == 'objects':
        return {str(n): Lane(model, config(), n, frame) for n in job.get('values', OBJECTS)}
    if by == 'reach':
        return {
            f'{k}, {m}': Lane(model, config(k, m), 1, frame)
            for k, m in job.get('values', REACHES)
        }
    if by == 'cameras':
        return {str(n): Lane(model, config(), 1, frame, n) for n in job.get('values', CAMERAS)}
    if by == 'bank':
        entries = job.get('values', ENTRIES)
        whole = _bank(model, frame, max(entries))
        return {
            str(n): Lane(
                model,
                config(bank_object_frames=1),
                1,
                frame,
                bank=_cut(whole, n) if n else None,
            )
            for n in entries
        }
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
