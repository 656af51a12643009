# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A stream at full speed for long: whether its memory, and its time per frame, stay as they are.

Other programs slow a machine down for minutes at a time. So each window is followed by a piece of
work that is always the same, and drift is of the quotient of the two.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from benchmarks.harness.place import Place, load
from benchmarks.harness.turns import repeat
from benchmarks.speed.scenes import Lane, film, real_config
from detsam2_ros.engine.sam2.steps import encode_image

POINTS = 200  # of the curves that are kept
BYTES = ('rss', 'allocated', 'reserved')
MAX_DRIFT = 0.05
MAX_GROWTH = 16 << 20  # bytes between the thirds; what allocators keep comes and goes


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Run a stream and note time and bytes after each window.

    job: model, size, objects, K, M, frame, mode, frames.
    """
    K, M = job['K'], job['M']
    model, _ = load(job['model'], job['size'], place)
    scene = film(job['objects'], *job['frame'])
    lane = Lane(model, scene, real_config(job['model'], K, K, M, mode=job['mode']))
    seconds, same, held = [], [], []
    pixels = model.preprocess(scene.image(0))[None]
    reported = begin = time.monotonic()
    for number in repeat(job['frames'] // K, limit_s, least=3):
        seconds.append(lane.timed(place))
        start = place.clock()
        with model.inference():
            encode_image(model, pixels)
        same.append(place.clock() - start)
        held.append(place.bytes())
        if time.monotonic() - reported > 30:
            reported = time.monotonic()
            print(
                f'{(number + 1) * K} of {job["frames"]} frames after {reported - begin:.0f} s, '
                f'{held[-1]["rss"] / 1e6:.0f} MB',
                file=sys.stderr,
                flush=True,
            )
    return {
        'frames': K * len(seconds),
        'wall_s': time.monotonic() - begin,
        'thirds': thirds(seconds, same, held),
        'curve': curve(seconds, held, K),
        'encodings': lane.encodings,
        'objects': lane.engine.stats().objects,
    }


def thirds(
    seconds: list[float], same: list[float], held: list[dict[str, int]]
) -> list[dict[str, float]]:
    """Return the medians of the first, second and last third; the first tenth warms up."""
    start = len(seconds) // 10
    size = max((len(seconds) - start) // 3, 1)
    found = []
    for number in range(3):
        part = slice(start + number * size, start + (number + 1) * size)
        row: dict[str, float] = {
            'frame_s': statistics.median(seconds[part]),
            'relative': statistics.median(
                own / base for own, base in zip(seconds[part], same[part], strict=True)
            ),
        }
        for name in held[0]:
            row[name] = statistics.median(each[name] for each in held[part])
        found.append(row)
    return found


def curve(seconds: list[float], held: list[dict[str, int]], K: int) -> dict[str, list[float]]:
    """Return at most POINTS points: frame, median seconds a frame, bytes."""
    step = -(-len(seconds) // POINTS)
    at = range(0, len(seconds), step)
    return {
        'frame': [(i + step) * K for i in at],
        'frame_s': [round(statistics.median(seconds[i : i + step]), 6) for i in at],
        **{name: [held[min(i + step, len(held)) - 1][name] for i in at] for name in held[0]},
    }


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    """Say how far the last third is from the first."""
    first, last = found['thirds'][0], found['thirds'][-1]
    drift = last['relative'] / first['relative'] - 1
    growth = {name: last[name] - first[name] for name in BYTES if name in first}
    flat = max(growth.values()) <= MAX_GROWTH
    raw = last['frame_s'] / first['frame_s'] - 1
    return {
        'drift': drift,
        'raw_drift': raw,
        'growth': growth,
        'flat': flat,
        'steady': drift <= MAX_DRIFT,
    }
