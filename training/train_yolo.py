# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Train the small detector on frames of the rendered scenes.

    python training/train_yolo.py --data DIR --minutes 9 --out models/detsam2_demo_yolo.pt
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from detsam2_ros.scene.scene import CLASS_NAMES, Scene  # noqa: E402
from training import fast_cpu  # noqa: E402
from training.data import HELD_OUT, MIN_AREA, Store  # noqa: E402

MIN_VISIBLE = 0.25  # a ball hidden more than this is neither taught nor counted
# What ultralytics notes about the training machine; of no use to the reader of a checkpoint.
_PRIVATE = ('data', 'model', 'project', 'save_dir', 'source', 'cfg', 'tracker')


def _write(root: Path, split: str, name: str, image: np.ndarray, rows: list[str]) -> None:
    cv2.imwrite(str(root / 'images' / split / f'{name}.png'), image[..., ::-1])
    (root / 'labels' / split / f'{name}.txt').write_text('\n'.join(rows))


def _row(class_id: int, box: np.ndarray, size: int) -> str:
    x0, y0, x1, y1 = (float(v) / size for v in box)
    return f'{class_id} {(x0 + x1) / 2:.5f} {(y0 + y1) / 2:.5f} {x1 - x0:.5f} {y1 - y0:.5f}'


def write_dataset(clips: Path, root: Path, count: int, seed: int) -> Path:
    """Write `count` training images from rendered clips and 96 held-out ones; return the yaml."""
    for split in ('train', 'val'):
        for part in ('images', 'labels'):
            (root / part / split).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    names = Store(clips).scenes
    for n in range(count):
        clip = clips / names[n % len(names)]
        areas = np.load(clip / 'areas.npy')
        boxes, classes = np.load(clip / 'boxes.npy'), np.load(clip / 'class_ids.npy')
        t = int(rng.integers(len(areas)))
        shown = (areas[t] >= MIN_VISIBLE * areas.max(0)) & (areas[t] >= MIN_AREA)
        image = np.load(clip / 'images.npy', mmap_mode='r')[t]
        rows = [_row(classes[i], boxes[t, i], image.shape[1]) for i in np.flatnonzero(shown)]
        _write(root, 'train', f'{n:05d}', image, rows)
    for n in range(96):
        frames = list(Scene(HELD_OUT + 5000 + n // 3, length=24))
        frame = frames[4 + 8 * (n % 3)]
        shown = frame.visible_fraction >= MIN_VISIBLE
        rows = [_row(frame.class_ids[i], frame.boxes[i], 256) for i in np.flatnonzero(shown)]
        _write(root, 'val', f'{n:05d}', frame.image, rows)
    lines = [f'path: {root}', 'train: images/train', 'val: images/val', 'names:']
    lines += [f'  {i}: {name}' for i, name in CLASS_NAMES.items()]
    path = root / 'data.yaml'
    path.write_text('\n'.join(lines) + '\n')
    return path


def strip(checkpoint: dict) -> dict:
    """Return an inference-only float16 checkpoint without traces of the training machine."""
    model = checkpoint.get('ema') or checkpoint['model']
    model = model.half().eval()
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.yaml['yaml_file'] = 'yolo_demo.yaml'
    model.criterion = None
    train_args = {k: v for k, v in dict(checkpoint['train_args']).items() if k not in _PRIVATE}
    train_args = {k: v for k, v in train_args.items() if '/' not in str(v)}
    model.args = dict(train_args)
    kept = {k: checkpoint.get(k) for k in ('version', 'license', 'docs')}
    empty = dict.fromkeys(('best_fitness', 'ema', 'updates', 'optimizer', 'scaler', 'git'))
    return {**kept, **empty, 'date': None, 'epoch': -1, 'model': model, 'train_args': train_args}


def main() -> None:
    """Train for a wall-clock budget and export."""
    from ultralytics import YOLO

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True, help='folder of data.py')
    parser.add_argument('--images', type=int, default=3000)
    parser.add_argument('--minutes', type=float, default=9)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, default=ROOT / 'models' / 'detsam2_demo_yolo.pt')
    args = parser.parse_args()
    fast_cpu.restart_with_fast_malloc()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = write_dataset(args.data, root, args.images, args.seed)
        model = YOLO(str(ROOT / 'training' / 'yolo_demo.yaml'), task='detect')
        model.train(
            data=str(data), imgsz=256, batch=32, epochs=100, time=args.minutes / 60,
            optimizer='AdamW', lr0=0.004, lrf=0.02, warmup_epochs=1, close_mosaic=2,
            mosaic=0.5, scale=0.3, translate=0.1, fliplr=0.5, flipud=0.5, erasing=0.0,
            hsv_h=0.008, hsv_s=0.25, hsv_v=0.3, auto_augment=None, amp=False, val=False,
            plots=False, workers=0, cache='ram', seed=args.seed, device=args.device,
            project=str(root / 'runs'), name='demo', exist_ok=True, verbose=False,
        )
        last = root / 'runs' / 'demo' / 'weights' / 'last.pt'
        torch.save(strip(torch.load(last, map_location='cpu', weights_only=False)), args.out)
        metrics = YOLO(str(args.out)).val(
            data=str(data), imgsz=256, batch=16, device=args.device, workers=0, plots=False,
            project=str(root / 'runs'), name='val', verbose=False)
    print(f'mAP50 {metrics.box.map50:.4f}  mAP50-95 {metrics.box.map:.4f}')


if __name__ == '__main__':
    main()
