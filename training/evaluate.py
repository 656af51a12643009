# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measure the shipped checkpoints on scenes that training never saw.

    python training/evaluate.py [--quick] [--json] [--parts predictor detector engine]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from detsam2_ros.scene.scene import CLASS_NAMES, Scene, SceneFrame, SceneOptions  # noqa: E402
from training.data import HELD_OUT, MIN_AREA  # noqa: E402
from training.engine_score import Tally, run_clip, summary  # noqa: E402
from training.network import CHECKPOINT, CONFIG, normalise, predictor  # noqa: E402

YOLO_CHECKPOINT = CHECKPOINT.with_name('detsam2_demo_yolo.pt')
# Every second clip has hands and cues over the balls much of the time.
HARD = SceneOptions(occlusion_boost=0.5)


def held_out(number: int, length: int) -> list[SceneFrame]:
    """Return the frames of held-out clip `number`."""
    options = HARD if number % 2 else SceneOptions()
    return list(Scene(HELD_OUT + number, length=length, options=options))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the IoU of two boolean masks that are not both empty."""
    return float((a & b).sum() / max((a | b).sum(), 1))


def track(model: torch.nn.Module, frames: list[SceneFrame]) -> dict[str, list[float]]:
    """Give sam2's predictor a box per ball on the first frame and compare all frames."""
    import sam2.sam2_video_predictor as module

    first = frames[0]
    sizes = np.bincount(first.labels.ravel(), minlength=first.ids.max() + 1)
    chosen = [i for i, b in enumerate(first.ids) if sizes[b] >= MIN_AREA]
    images = normalise(np.stack([f.image for f in frames]), str(model.device))
    # The predictor reads a folder of JPEG files; hand it the very pixels instead.
    module.load_video_frames = lambda **_: (images, *first.labels.shape)
    values: dict[str, list[float]] = {'box': [], 'j': [], 'static': [], 'empty': []}
    with torch.inference_mode():
        state = model.init_state('')
        for i in chosen:
            model.add_new_points_or_box(state, 0, int(first.ids[i]), box=first.boxes[i])
        for t, ids, logits in model.propagate_in_video(state):
            frame = frames[t]
            for ball, mask in zip(ids, logits[:, 0].cpu().numpy() > 0, strict=True):
                truth = frame.labels == ball
                if t == 0:
                    values['box'].append(iou(mask, truth))
                elif truth.any():
                    values['j'].append(iou(mask, truth))
                    values['static'].append(iou(first.labels == ball, truth))
                else:
                    values['empty'].append(float(not mask.any()))
    return values


def _predictor_clip(args: argparse.Namespace, number: int, length: int) -> dict:
    model = predictor(args.config, args.checkpoint)
    frames = held_out(number, length)
    values = track(model, frames)
    # More single prompted frames: they cost little and steady the mean.
    for t in (length // 3, 2 * length // 3):
        values['box'] += track(model, frames[t : t + 1])['box']
    return values


def score_predictor(args: argparse.Namespace, clips: int, length: int) -> dict[str, float]:
    """Return j_mean, box_iou and more over the held-out clips."""
    total: dict[str, list[float]] = {}
    for values in _spread(_predictor_clip, args, range(clips), length):
        for key, value in values.items():
            total.setdefault(key, []).extend(value)
    return {
        'j_mean': float(np.mean(total['j'])),
        'j_median': float(np.median(total['j'])),
        'j_unmoved_mask': float(np.mean(total['static'])),
        'box_iou': float(np.mean(total['box'])),
        'correct_empty': float(np.mean(total['empty'])) if total['empty'] else float('nan'),
        'tracked_frames': len(total['j']) + len(total['empty']),
    }


def score_detector(weights: Path, clips: int) -> dict[str, float]:
    """Return map50 over three frames of each held-out clip (balls at least a quarter visible)."""
    import cv2
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / 'images' / 'val').mkdir(parents=True)
        (root / 'labels' / 'val').mkdir(parents=True)
        for number in range(clips):
            frames = held_out(2000 + number, 28)
            for frame in frames[3::8]:
                name = f'{number:04d}_{frame.index:02d}'
                cv2.imwrite(str(root / 'images/val' / f'{name}.png'), frame.image[..., ::-1])
                rows = []
                for i in np.flatnonzero(frame.visible_fraction >= 0.25):
                    x0, y0, x1, y1 = frame.boxes[i] / 256
                    rows.append(f'{frame.class_ids[i]} {(x0 + x1) / 2:.5f} {(y0 + y1) / 2:.5f} '
                                f'{x1 - x0:.5f} {y1 - y0:.5f}')
                (root / 'labels/val' / f'{name}.txt').write_text('\n'.join(rows))
        names = ''.join(f'  {i}: {name}\n' for i, name in CLASS_NAMES.items())
        data = root / 'data.yaml'
        data.write_text(f'path: {root}\ntrain: images/val\nval: images/val\nnames:\n{names}')
        result = YOLO(str(weights)).val(
            data=str(data), imgsz=256, batch=16, device='cpu', workers=0, plots=False,
            project=str(root / 'runs'), verbose=False)
    return {'map50': float(result.box.map50), 'map50_95': float(result.box.map)}


def _engine_clip(args: argparse.Namespace, number: int, length: int) -> Tally:
    from detsam2_ros.engine import Engine, EngineConfig, YoloDetector, load_sam2

    engine = Engine(
        load_sam2(str(args.checkpoint), config=str(args.config), device='cpu'),
        YoloDetector(str(args.yolo)),
        EngineConfig(window_size=10, detect_interval=10, max_propagation=20, mode='window'))
    torch.set_num_threads(1 if args.workers > 1 else args.threads)  # ultralytics sets its own
    return run_clip(engine, held_out(number, length))


def score_engine(args: argparse.Namespace, clips: int, length: int) -> dict[str, float]:
    """Return engine_j, id_switches, false_objects and more: mode window, K=10, D=10, M=20."""
    return summary(list(_spread(_engine_clip, args, range(100, 100 + clips), length)))


def _spread(
    measure: Callable, args: argparse.Namespace, numbers: Iterable[int], length: int
) -> Iterator:
    """Yield measure(args, number, length) of each clip, on `--workers` processes."""
    if args.workers <= 1:
        for number in numbers:
            yield measure(args, number, length)
        return
    context = multiprocessing.get_context('spawn')
    with context.Pool(args.workers, torch.set_num_threads, (1,)) as pool:
        jobs = [pool.apply_async(measure, (args, n, length)) for n in numbers]
        for job in jobs:
            yield job.get()


def main() -> None:
    """Print the chosen measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', type=Path, default=CHECKPOINT)
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--yolo', type=Path, default=YOLO_CHECKPOINT)
    parser.add_argument('--quick', action='store_true', help='few clips: under a minute')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    # More threads beside any other busy process make each operation wait for the slower one.
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--workers', type=int, default=1, help='processes of one thread')
    parts = ('predictor', 'detector', 'engine')
    parser.add_argument('--parts', nargs='+', choices=parts, default=parts)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    begun = time.time()
    values: dict[str, float] = {}
    # Libraries talk on standard output, which is for the result alone.
    with contextlib.redirect_stdout(sys.stderr):
        if 'predictor' in args.parts:
            clips, length = (2, 20) if args.quick else (12, 40)
            values |= score_predictor(args, clips, length)
        if 'detector' in args.parts:
            values |= score_detector(args.yolo, 6 if args.quick else 48)
        if 'engine' in args.parts:
            clips, length = (1, 40) if args.quick else (10, 120)
            values |= score_engine(args, clips, length)
    values['seconds'] = time.time() - begun
    if args.json:
        print(json.dumps({k: round(v, 4) for k, v in values.items()}))
    else:
        for key, value in values.items():
            print(f'{key:20s} {value:.4f}')


if __name__ == '__main__':
    main()
