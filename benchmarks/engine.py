# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How fast the engine is against sam2's own video predictor, driven for the same masks.

Both get the same frames and the same boxes, window by window in turn, in one process, so that
whatever else the machine does disturbs both alike. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

from oracle.driver import Oracle, build_predictor  # noqa: E402
from oracle.pair import ScriptedDetector, mask_iou  # noqa: E402

from detsam2_ros.demo.scene import SceneOptions, render  # noqa: E402
from detsam2_ros.engine import Engine, EngineConfig, FrameResult, load_sam2  # noqa: E402
from detsam2_ros.engine.models import build_sam2  # noqa: E402
from detsam2_ros.engine.sam2_model import Sam2Model  # noqa: E402
from detsam2_ros.engine.stats import StatsRecorder  # noqa: E402

# What both sides spend time on; 'other' is the rest of the total.
STAGES = {
    'encode': ('encode',),
    'track': ('condition', 'track'),
    'memorise': ('memorise',),
    'masks': ('masks',),
}


@dataclass
class Side:
    """One side's measurements, by window: seconds, and seconds by stage; images encoded."""

    seconds: list[float] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    encodings: int = 0

    def per_frame(self, window: int) -> float:
        return statistics.median(self.seconds) / window


@dataclass
class Comparison:
    objects: int
    frames: int
    window: int
    engine: Side
    reference: Side
    iou: float

    @property
    def ratio(self) -> float:
        """How many times as long the reference takes; the median over the windows."""
        pairs = zip(self.reference.seconds, self.engine.seconds, strict=True)
        return statistics.median(a / b for a, b in pairs)


class Reference:
    """The predictor as people drive it over a live stream, timed by the same stages."""

    def __init__(self, settings: dict, model: Sam2Model, height: int, width: int):
        weights = model.module.state_dict()
        self._model = model
        self._oracle = Oracle(build_predictor(settings, weights, str(model.device)), height, width)
        self.stats = StatsRecorder(model.device)
        self.encodings = 0
        predictor = self._oracle.predictor
        predictor.image_encoder.register_forward_hook(self._count)
        for name, stage in (
            ('forward_image', 'encode'),
            ('_prepare_memory_conditioned_features', 'track'),
            ('_forward_sam_heads', 'track'),
            ('_encode_new_memory', 'memorise'),
            ('_get_orig_video_res_output', 'masks'),
        ):
            owner = self._oracle if name.startswith('_prepare') else predictor
            attribute = '_prepare' if name.startswith('_prepare') else name
            setattr(owner, attribute, self._timed(getattr(owner, attribute), stage))

    def close_window(
        self, images: list[np.ndarray], boxes: dict[int, dict[int, tuple]], frames: int
    ) -> dict[int, np.ndarray]:
        with self._model.inference():
            first = self._oracle.newest + 1
            for image in images:
                self._oracle.append(self._model.preprocess(image))
            for frame in range(first, self._oracle.newest + 1):
                for object_id, box in boxes.get(frame, {}).items():
                    self._oracle.prompt(object_id, frame, box)
            return self._oracle.segment(min(frames, self._oracle.newest + 1))

    def _count(self, _module: torch.nn.Module, args: tuple, _output: object) -> None:
        self.encodings += len(args[0])

    def _timed(self, call: Callable, stage: str) -> Callable:
        def timed(*args, **options):
            with self.stats.clock(stage):
                return call(*args, **options)

        return timed


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    with contextlib.ExitStack() as stack:
        if options.device == 'cpu' and options.threads == 1:
            # The stages by the same clock as the whole.
            clock = SimpleNamespace(perf_counter=time.process_time)
            stack.enter_context(mock.patch('detsam2_ros.engine.stats.time', clock))
        model, settings = load(options, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        found = [compare(options, model, settings, count) for count in options.objects]
    if options.json:
        print(json.dumps(as_json(found)))
    else:
        print(describe(options, model))
        print(table(found))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', default='demo', help='what load_sam2 takes')
    parser.add_argument(
        '--config',
        help="random weights of a config instead, e.g. 'configs/sam2.1/sam2.1_hiera_t.yaml'",
    )
    parser.add_argument('--image-size', type=int, help='with --config: instead of its own')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), help='default: as load_sam2')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--frames', type=int, help='measured frames; the first M are extra')
    parser.add_argument('--objects', type=int, nargs='+', default=[1, 4, 8])
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480), metavar=('W', 'H'))
    parser.add_argument('--quick', action='store_true', help='K=5, M=10, few frames')
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    options.window = 5 if options.quick else 10
    options.frames = options.frames or (10 if options.quick else 50)
    return options


def load(options: argparse.Namespace, folder: Path) -> tuple[Sam2Model, dict]:
    """Return the model and the config that the predictor is built from."""
    if options.config is None:
        path = ROOT / 'models' / 'detsam2_demo.yaml'
        if options.model != 'demo':
            path = Path(options.model).with_suffix('.yaml')
        model = load_sam2(options.model, device=options.device, dtype=options.dtype)
        return model, OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    import sam2

    path = Path(options.config)
    path = path if path.exists() else Path(sam2.__file__).parent / options.config
    settings = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    settings['model']['image_size'] = options.image_size or settings['model']['image_size']
    OmegaConf.save(OmegaConf.create(settings), folder / 'random.yaml')
    torch.manual_seed(0)
    torch.save({'model': build_sam2(folder / 'random.yaml').state_dict()}, folder / 'random.pt')
    model = load_sam2(folder / 'random.pt', device=options.device, dtype=options.dtype)
    return model, settings


def compare(
    options: argparse.Namespace, model: Sam2Model, settings: dict, objects: int
) -> Comparison:
    window, reach = options.window, 2 * options.window
    film = render(
        1, options.frames + reach, *options.size, SceneOptions(balls=objects, late_ball=0)
    )
    # Each ball is a class of its own here: with one object a class, both sides get the same
    # prompts whatever they find.
    boxes = {
        frame.index: {
            int(ball): tuple(frame.boxes[row].tolist())
            for row, ball in enumerate(frame.ids)
            if frame.visible_fraction[row] > 0.3
        }
        for frame in film[::window]
    }
    config = EngineConfig(
        window,
        window,
        reach,
        association='class',
        # The reference attends to every prompted frame and drops no object.
        max_conditioned_memories=10_000,
        max_lost_frames=10_000,
    )
    engine = Engine(model, ScriptedDetector(boxes, window), config)
    stream = engine.open_stream('benchmark')
    reference = Reference(settings, model, *film[0].image.shape[:2])
    sides = Side(), Side()
    published: dict[int, FrameResult] = {}
    expected: dict[int, np.ndarray] = {}
    for start in range(0, len(film) - window + 1, window):
        images = [frame.image for frame in film[start : start + window]]
        if start == reach:  # passes are of full length from here on
            before = snapshots(engine, reference)
        with timed(sides[0], model, options.threads):
            for i, image in enumerate(images):
                published.update({r.index: r for r in stream.push(image, start + i)})
        with timed(sides[1], model, options.threads):
            expected.update(reference.close_window(images, boxes, reach))
    for side in sides:
        del side.seconds[: reach // window]
    for side, now, then in zip(sides, snapshots(engine, reference), before, strict=True):
        side.encodings = now[0] - then[0]
        side.stages = {
            stage: sum(now[1][part] - then[1][part] for part in parts)
            for stage, parts in STAGES.items()
        }
    return Comparison(objects, len(film) - reach, window, *sides, agreement(published, expected))


def snapshots(engine: Engine, reference: Reference) -> list[tuple[int, dict[str, float]]]:
    reference.stats.settle()
    ours = engine.stats()
    return [
        (ours.encodings, ours.seconds),
        (reference.encodings, reference.stats.snapshot().seconds),
    ]


@contextlib.contextmanager
def timed(side: Side, model: Sam2Model, threads: int) -> Iterator[None]:
    clock = clock_of(model, threads)[1]
    begin = clock()
    yield
    side.seconds.append(clock() - begin)


def clock_of(model: Sam2Model, threads: int) -> tuple[str, Callable[[], float]]:
    """Return a clock: processor time where one thread does all, which others do not disturb."""
    if model.device.type == 'cuda':

        def synchronised() -> float:
            torch.cuda.synchronize(model.device)
            return time.perf_counter()

        return 'wall time, device synchronised', synchronised
    if threads == 1:
        return 'processor time', time.process_time
    return 'wall time', time.perf_counter


def agreement(published: dict[int, FrameResult], expected: dict[int, np.ndarray]) -> float:
    """Return the mean IoU of the last published masks with the reference's last ones."""
    found = []
    for index, masks in expected.items():
        # Both name objects in the order of their first prompts.
        rows = dict(zip((o.id for o in published[index].objects), published[index].masks))  # noqa: B905
        for i, mask in enumerate(masks):
            found.append(mask_iou(rows.get(i + 1, np.zeros_like(mask)), mask))
    return float(np.mean(found))


def as_json(found: list[Comparison]) -> dict[str, object]:
    values: dict[str, object] = {}
    for c in found:
        values[f'ratio_{c.objects}'] = round(c.ratio, 3)
        values[f'fps_{c.objects}'] = round(1 / c.engine.per_frame(c.window), 3)
        values[f'reference_fps_{c.objects}'] = round(1 / c.reference.per_frame(c.window), 3)
        values[f'mean_iou_{c.objects}'] = round(c.iou, 5)
    values['encodings_per_frame'] = max(c.engine.encodings / c.frames for c in found)
    values['reference_encodings_per_frame'] = max(c.reference.encodings / c.frames for c in found)
    return values


def describe(options: argparse.Namespace, model: Sam2Model) -> str:
    name = f'{options.config}, random weights' if options.config else options.model
    window = options.window
    return (
        f'{name}; image size {model.image_size}, {model.dtype}, {model.device}, '
        f'{options.threads} thread(s), K=D={window}, M={2 * window}, frames '
        f'{options.size[0]}x{options.size[1]}; {clock_of(model, options.threads)[0]}'
    )


def table(found: list[Comparison]) -> str:
    head = ['objects', 'side', 'frames/s', 'ratio', 'encodings/frame', *STAGES, 'mean IoU']
    rows = [head]
    for c in found:
        for name, side in (('engine', c.engine), ('sam2 predictor', c.reference)):
            rows.append(
                [
                    str(c.objects),
                    name,
                    f'{1 / side.per_frame(c.window):.2f}',
                    f'{c.ratio:.2f}' if side is c.engine else '',
                    f'{side.encodings / c.frames:.2f}',
                    *(f'{1000 * side.stages[stage] / c.frames:.1f} ms' for stage in STAGES),
                    f'{c.iou:.5f}' if side is c.engine else '',
                ]
            )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(
        '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


if __name__ == '__main__':
    main()
