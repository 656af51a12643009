# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measure what K, D and M cost and bring, and draw docs/images/tuning.png.

python docs/plots/tuning.py --measure   # about 5 minutes of one core; writes tuning.json
python docs/plots/tuning.py             # draws from tuning.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

MEASURED = HERE / 'tuning.json'
PICTURE = ROOT / 'docs' / 'images' / 'tuning.png'
# K, D, M of the measured points: M varies, then K, then D.
POINTS = (
    (10, 10, 10), (10, 10, 20), (10, 10, 30), (10, 10, 40),
    (5, 10, 10), (20, 10, 40), (10, 5, 20), (10, 20, 20),
)  # fmt: skip
SEEDS = (1_000_013, 1_000_021)
FRAMES = 90
BALLS = 3
BLUE, ORANGE, GREY = '#2a6fbb', '#d9731a', '#777777'


def tracked_frames(window: int, interval: int, reach: int) -> float:
    """Return the tracked frames for each object and frame, once a stream has run for M frames."""
    return reach / window * (1 - 1 / interval) + 1 / interval


def first_mask_wait(window: int, rate: float) -> np.ndarray:
    """Return how long the frames of a window wait for its end: seconds, oldest first."""
    return np.arange(window - 1, -1, -1) / rate


def measure() -> list[dict[str, float]]:
    """Run the shipped models over rendered scenes, one run for each point and seed."""
    import torch

    from detsam2_ros.engine import YoloDetector, load_sam2

    torch.set_num_threads(1)
    model, detector = load_sam2('demo'), YoloDetector('demo', device='cpu')
    found = []
    for point in POINTS:
        runs = [run(model, detector, point, seed) for seed in SEEDS]
        mean = {key: float(np.mean([r[key] for r in runs])) for key in runs[0]}
        found.append(dict(zip('KDM', point, strict=True)) | mean)
        print(found[-1], flush=True)
    return found


def run(model: object, detector: object, point: tuple[int, int, int], seed: int) -> dict:
    """Segment one scene; returns costs for each frame, and IoU with the truth."""
    from detsam2_ros.engine import Engine, EngineConfig
    from detsam2_ros.scene.scene import Scene, SceneOptions

    window, interval, reach = point
    config = EngineConfig(
        window_size=window, detect_interval=interval, max_propagation=reach, mode='window',
        max_conditioned_memories=8,
    )  # fmt: skip
    engine = Engine(model, detector, config)  # type: ignore[arg-type]
    stream = engine.open_stream('plot')
    truth, first, final, objects = [], {}, {}, 0
    spent = time.process_time()
    rendering = 0.0
    options = SceneOptions(balls=BALLS, occluders=4.0)
    length = FRAMES - FRAMES % window  # an unfinished window would cost a whole pass
    frames = iter(Scene(seed, length=length, options=options))
    for index in range(length):
        begin = time.process_time()
        frame = next(frames)
        rendering += time.process_time() - begin
        truth.append(frame)
        for result in stream.push(frame.image, index):
            if result.revision == 0:
                first[result.index] = result.masks
                objects += len(result.objects)
            final[result.index] = result.masks
    spent = time.process_time() - spent - rendering
    stats = engine.stats()
    return {
        'tracked': (stats.tracked_frames + stats.associated_frames) / max(objects, 1),
        'seconds': spent / length,
        'objects': objects / length,
        'iou_first': mean_iou(truth, first),
        'iou_final': mean_iou(truth, final),
        'corrections': stats.corrections / length,
    }


def mean_iou(truth: list, masks: dict[int, np.ndarray]) -> float:
    """Return the mean over visible balls of the IoU of the mask that fits best."""
    scores = []
    for frame in truth:
        for ball, share in zip(frame.ids, frame.visible_fraction, strict=True):
            if share < 0.25:
                continue
            own = frame.labels == ball
            each = [(own & m).sum() / max((own | m).sum(), 1) for m in masks[frame.index]]
            scores.append(max(each, default=0.0))
    return float(np.mean(scores))


def draw(points: list[dict[str, float]]) -> None:
    """Draw cost, wait and gain."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    plt.rcParams.update({'font.size': 9, 'axes.spines.top': False, 'axes.spines.right': False})
    figure, (cost, wait, gain) = plt.subplots(1, 3, figsize=(11, 3.4), layout='constrained')

    ratio = np.linspace(1, 4.2, 50)
    for interval, style in ((5, ':'), (10, '-'), (20, '--')):
        cost.plot(
            ratio, ratio * (1 - 1 / interval) + 1 / interval, style, color=GREY,
            label=f'formula, D = {interval}',
        )  # fmt: skip
    for p in points:
        cost.plot(p['M'] / p['K'], p['tracked'], 'o', color=BLUE)
        left = p['D'] != 10
        cost.annotate(
            f'{p["K"]}/{p["D"]}/{p["M"]}', (p['M'] / p['K'], p['tracked']), fontsize=7,
            xytext=(-6 if left else 5, -3 if left else -8), textcoords='offset points',
            ha='right' if left else 'left',
        )  # fmt: skip
    cost.plot([], [], 'o', color=BLUE, label='measured, K/D/M')
    cost.set(
        xlabel='M / K', ylabel='tracked frames per object and frame',
        title='Cost grows with M / K', ylim=(0, None),
    )  # fmt: skip
    cost.legend(frameon=False, fontsize=8)

    sizes = np.arange(1, 31)
    for rate, colour in ((10, ORANGE), (30, BLUE)):
        oldest = [first_mask_wait(int(k), rate)[0] for k in sizes]
        mean = [first_mask_wait(int(k), rate).mean() for k in sizes]
        wait.plot(sizes, oldest, color=colour, label=f'oldest frame, {rate} Hz')
        wait.plot(sizes, mean, ':', color=colour, label=f'mean, {rate} Hz')
    wait.set(
        xlabel='K', ylabel='seconds, plus one inference',
        title='The first mask waits for its window', ylim=(0, None),
    )  # fmt: skip
    wait.legend(frameon=False, fontsize=8)

    chosen = sorted((p for p in points if p['K'] == p['D'] == 10), key=lambda p: p['M'])
    reach = [p['M'] for p in chosen]
    gain.plot(reach, [p['iou_final'] for p in chosen], 'o-', color=BLUE, label='final')
    gain.plot(reach, [p['iou_first'] for p in chosen], 'o:', color=ORANGE, label='revision 0')
    gain.set(
        xlabel='M, with K = D = 10', ylabel='mean IoU with the truth',
        title='Corrections reach M - K frames back', xticks=reach,
    )  # fmt: skip
    gain.legend(frameon=False, fontsize=8)
    figure.savefig(PICTURE, dpi=130)


def main() -> None:
    """Measure if asked to, then draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--measure', action='store_true', help='run the engine first')
    if parser.parse_args().measure:
        MEASURED.write_text(json.dumps(measure(), indent=1) + '\n', encoding='utf-8')
    draw(json.loads(MEASURED.read_text(encoding='utf-8')))
    print(PICTURE.relative_to(ROOT))


if __name__ == '__main__':
    main()
