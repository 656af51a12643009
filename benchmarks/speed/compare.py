# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine, with some options or without, against sam2's own video predictor.

python -m benchmarks.speed.compare           # ratio_1, ratio_4, ratio_8, encodings_per_frame, ...
python -m benchmarks.speed.compare --quick   # under a minute of processor time

All get the same frames and the same boxes, window by window in turn, in one process, so that
whatever else the machine does disturbs all alike. `performance` does more and keeps what it finds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch

from benchmarks.harness import place as places
from benchmarks.harness.place import MODELS, Place, load
from benchmarks.harness.turns import in_turn, repeat
from benchmarks.speed.scenes import Film, Lane, film
from detsam2_ros.engine import EngineConfig, FrameResult
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.stats import StatsRecorder
from oracle.driver import Oracle, build_predictor
from oracle.pair import mask_iou

# What all sides spend time on; 'other' is the rest of the total.
STAGES = {
    'encode': ('encode',),
    'track': ('decode_prompt', 'track', 'associate'),
    'encode_memory': ('encode_memory',),
    'masks': ('masks',),
}
REFERENCE = 'sam2 predictor'
PLAIN = 'plain'
# The reference only tracks backwards, attends to every prompted frame and drops no object.
LIKE_REFERENCE: dict[str, Any] = {
    'mode': 'window',
    'windows': 'plain',
    'association': 'class',
    'max_conditioned_memories': 10_000,
    'max_lost_frames': 1_000_000,
}
# Options that change masks a little: what they bring, and the IoU to the default's masks.
DEFAULT = 'the default: at most 4 conditioned memories'
FOUR = {'max_conditioned_memories': 4}
STOP = {**FOUR, 'early_stop_iou': 0.95}
SOON = {**STOP, 'early_stop_frames': 1}
HALF = {'dtype': 'bfloat16'}
OPTIONS: dict[str, dict[str, Any]] = {
    DEFAULT: FOUR,
    'and early_stop_iou 0.95': STOP,
    'and early_stop_frames 1': SOON,
    'or dtype bfloat16': {**FOUR, **HALF},
    'or both, early_stop_iou 0.95 and bfloat16': {**STOP, **HALF},
    'and early_stop_frames 1, all three': {**SOON, **HALF},
}

Masks = dict[int, dict[int, np.ndarray]]  # bool [H, W], by frame and ball


@dataclass
class Side:
    """One side's measurements: seconds by window, seconds by stage, images encoded."""

    seconds: list[float] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    encodings: int = 0

    def per_frame(self, window: int) -> float:
        """Return the median over the windows."""
        return statistics.median(self.seconds) / window


class Runner(Protocol):
    """What closes a window and is timed."""

    encoded: int

    def run(self) -> object: ...

    def seconds(self) -> dict[str, float]: ...

    def masks(self) -> Masks: ...


class EngineRunner(Lane):
    """The engine as people drive it: image after image."""

    def __init__(self, model: Sam2Model, scene: Film, config: EngineConfig, place: Place):
        super().__init__(model, scene, config)
        self._place = place
        self._published: dict[int, FrameResult] = {}

    @property
    def encoded(self) -> int:
        return self.engine.stats().encodings

    def run(self) -> list[FrameResult]:
        results = super().run()
        self._published |= {result.index: result for result in results}
        return results

    def seconds(self) -> dict[str, float]:
        self._place.settle(self.engine._stats)
        return self.engine.stats().seconds

    def masks(self) -> Masks:
        return {
            index: {o.class_id: m for o, m in zip(result.objects, result.masks, strict=True)}
            for index, result in self._published.items()
        }


class ReferenceRunner:
    """The predictor as people drive it over a live stream, timed by the same stages."""

    def __init__(
        self, settings: dict, model: Sam2Model, scene: Film, config: EngineConfig, place: Place
    ):
        weights = model.module.state_dict()
        self._oracle = Oracle(
            build_predictor(settings, weights, str(model.device)),
            *scene.image(0).shape[:2],
        )
        self._model, self._scene, self._place = model, scene, place
        self._config = config
        self._stats = StatsRecorder(model.device)
        self._names: list[int] = []
        self._found: Masks = {}
        self.encoded = 0
        predictor = self._oracle.predictor
        predictor.image_encoder.register_forward_hook(self._count)
        self._oracle._prepare = self._timed(self._oracle._prepare, 'track')
        for name, stage in (
            ('forward_image', 'encode'),
            ('_forward_sam_heads', 'track'),
            ('_encode_new_memory', 'encode_memory'),
            ('_get_orig_video_res_output', 'masks'),
        ):
            setattr(predictor, name, self._timed(getattr(predictor, name), stage))

    def run(self) -> None:
        first = self._oracle.newest + 1
        window = range(first, first + self._config.window_size)
        with self._model.inference():
            for index in window:
                self._oracle.append(self._model.preprocess(self._scene.image(index)))
            for index in window:
                asked = index % self._config.detect_interval == 0
                for ball, box in self._scene.boxes(index).items() if asked else ():
                    if ball not in self._names:
                        self._names.append(ball)  # it names objects in the order of their prompts
                    self._oracle.prompt(ball, index, box)
            reach = min(self._config.max_propagation, self._oracle.newest + 1)
            found = self._oracle.segment(reach)
        for index, masks in found.items():
            self._found[index] = dict(zip(self._names, masks, strict=False))

    def seconds(self) -> dict[str, float]:
        self._place.settle(self._stats)
        return self._stats.snapshot().seconds

    def masks(self) -> Masks:
        return self._found

    def _count(self, _module: torch.nn.Module, args: tuple, _output: object) -> None:
        self.encoded += len(args[0])

    def _timed(self, call: Callable, stage: str) -> Callable:
        def timed(*args, **options):
            with self._stats.clock(stage):
                return call(*args, **options)

        return timed


def run(
    runners: Mapping[str, Runner],
    place: Place,
    warm: int,
    windows: int,
    limit_s: float = float('inf'),
) -> dict[str, Side]:
    """Let all runners close window after window, in turn; `warm` windows are not counted."""
    sides = {name: Side() for name in runners}
    before: dict[str, tuple[dict[str, float], int]] = {}
    names = list(runners)
    for number in repeat(warm + windows, limit_s, least=warm + 1):
        if number == warm:
            before = {name: (r.seconds(), r.encoded) for name, r in runners.items()}
        for name in in_turn(names, number):
            begin = place.clock()
            runners[name].run()
            if number >= warm:
                sides[name].seconds.append(place.clock() - begin)
            else:
                place.clock()
    for name, side in sides.items():
        now, (then, encoded) = runners[name].seconds(), before[name]
        side.encodings = runners[name].encoded - encoded
        side.stages = {
            stage: sum(now[part] - then[part] for part in parts) for stage, parts in STAGES.items()
        }
    return sides


def ratio(slow: Side, fast: Side) -> float:
    """How many times as long one side takes; the median over the windows."""
    return statistics.median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True))


def agreement(masks: Masks, expected: Masks) -> float:
    """Return the mean IoU of two sides' last masks of every object on every frame."""
    found = []
    for index, objects in expected.items():
        for ball, mask in objects.items():
            own = masks.get(index, {}).get(ball)
            found.append(mask_iou(np.zeros_like(mask) if own is None else own, mask))
    if not found:
        raise ValueError('there are no masks to compare: no object was prompted')
    return float(np.mean(found))


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Compare the plain engine, with `options` its options too, and the predictor.

    job: model, size, objects, K, M, windows, frame [W, H], options.
    """
    K, M, windows = job['K'], job['M'], job['windows']
    warm = -(-M // K)  # passes are of full length from there on
    model, settings = load(job['model'], job['size'], place)
    scene = film(job['objects'], *job['frame'])
    config = EngineConfig(K, K, M, **LIKE_REFERENCE)
    configs = {PLAIN: (model, config)}
    for name, option in OPTIONS.items() if job.get('options') else ():
        given = {**LIKE_REFERENCE, **option}
        dtype = given.pop('dtype', place.dtype)
        own, _ = load(job['model'], job['size'], replace(place, dtype=dtype))
        configs[name] = own, EngineConfig(K, K, M, **given)
    with place.stage_clock():
        runners: dict[str, Runner] = {
            name: EngineRunner(own, scene, each, place)
            for name, (own, each) in configs.items()
        }
        runners[REFERENCE] = ReferenceRunner(settings, model, scene, config, place)
        sides = run(runners, place, warm, windows, limit_s)
    reference, plain = sides[REFERENCE], runners[PLAIN].masks()
    default = runners[DEFAULT].masks() if DEFAULT in runners else plain
    frames = len(reference.seconds) * K
    return {
        'frames': frames,
        'sides': {
            name: {
                'frame_s': side.per_frame(K),
                'ratio': ratio(reference, side),
                'to_plain': ratio(sides[PLAIN], side),
                'encodings': side.encodings / frames,
                'stages': {stage: s / frames for stage, s in side.stages.items()},
                'iou_default': agreement(runners[name].masks(), default),
                'iou_plain': agreement(runners[name].masks(), plain),
                'iou_reference': agreement(runners[name].masks(), runners[REFERENCE].masks()),
            }
            for name, side in sides.items()
        },
    }


def summary(found: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    """Return the main figures by name, of the sides by number of objects."""
    values: dict[str, float] = {}
    for objects, sides in found.items():
        ours, reference = sides[PLAIN], sides[REFERENCE]
        values[f'ratio_{objects}'] = round(ours['ratio'], 3)
        values[f'fps_{objects}'] = round(1 / ours['frame_s'], 3)
        values[f'reference_fps_{objects}'] = round(1 / reference['frame_s'], 3)
        values[f'mean_iou_{objects}'] = round(ours['iou_reference'], 5)
        for name, side in (('', ours), ('reference_', reference)):
            for stage, seconds in side['stages'].items():
                values[f'{name}{stage}_ms_{objects}'] = round(1000 * seconds, 1)
    for name, key in (('', PLAIN), ('reference_', REFERENCE)):
        values[f'{name}encodings_per_frame'] = max(s[key]['encodings'] for s in found.values())
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--model', choices=MODELS, default='demo', help='all but demo: random')
    parser.add_argument('--image-size', type=int, help="px; default: the model's own")
    parser.add_argument('--objects', type=int, nargs='+', default=[1, 4, 8])
    parser.add_argument('--quick', action='store_true', help='K=5, M=10, few frames')
    places.add_options(parser)
    options = parser.parse_args()
    place, K, windows = places.place_of(options), *((5, 2) if options.quick else (10, 5))
    job = {'model': options.model, 'size': options.image_size, 'frame': (640, 480)}
    job |= {'K': K, 'M': 2 * K, 'windows': windows}
    found = {n: measure({**job, 'objects': n}, place)['sides'] for n in options.objects}
    print(json.dumps(summary(found), indent=1))


if __name__ == '__main__':
    main()
