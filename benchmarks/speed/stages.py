# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the time goes: seconds by stage, and how much of them the device's rate explains.

The floor of a stage is what it computes over the rate at which the device multiplies large
matrices, in the same precision, in the same run. What lies above it is memory traffic, operations
that are no products, launches, and Python.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch

from benchmarks.harness.place import Place, load
from benchmarks.harness.turns import repeat
from benchmarks.speed.operations import Count, by_stage
from benchmarks.speed.scenes import Lane, engine_config, film


def matmul_rate(place: Place, size: int | None = None) -> float:
    """Return multiply-adds a second of a large matrix product: the best of several."""
    size = size or (8192 if place.cuda else 1024)
    dtype = torch.bfloat16 if place.dtype == 'bfloat16' else torch.float32
    a = torch.randn(size, size, device=place.device, dtype=dtype)
    b = torch.randn(size, size, device=place.device, dtype=dtype)
    inner = 10 if place.cuda else 1
    with torch.inference_mode():
        a @ b
        seconds = []
        for _ in range(7):
            begin = place.clock()
            for _ in range(inner):
                a @ b
            seconds.append((place.clock() - begin) / inner)
    return float(size**3) / min(seconds)


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Time the stages of the engine, and count what they do.

    job: model, size, objects, K, M, windows, frame, mode.
    """
    K = job['K']
    model, _ = load(job['model'], job['size'], place)
    scene = film(job['objects'], *job['frame'])
    with place.stage_clock():
        lane = Lane(model, scene, engine_config(K, K, job['M'], mode=job['mode']))
        recorder = lane.engine._stats

        def spent() -> dict[str, float]:
            place.settle(recorder)
            return lane.engine.stats().seconds

        lane.warm_up()
        rates, totals, by_window = [], [], []
        for _ in repeat(job['windows'], limit_s, least=1):
            rates.append(matmul_rate(place))
            before = spent()
            totals.append(lane.timed(place))
            after = spent()
            by_window.append({stage: (after[stage] - before[stage]) / K for stage in after})
        tracked = lane.tracked
        with by_stage(recorder) as counts:
            lane.run()
        tracked = (lane.tracked - tracked) / K
    rate = statistics.median(rates)
    stages = {
        stage: {
            'seconds': statistics.median(each[stage] for each in by_window),
            **vars(counts.get(stage, Count()) / K),
        }
        for stage in by_window[0]
    }
    return {
        'rate': rate,
        'frame_s': statistics.median(totals),
        'rest': statistics.median(
            total - sum(each.values()) for total, each in zip(totals, by_window, strict=True)
        ),
        'stages': stages,
        'tracked': tracked,
        'encodings': lane.encodings,
    }
