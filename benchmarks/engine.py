# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How fast the engine is against sam2's own video predictor, driven for the same masks.

See benchmarks/README.md; `performance.py` does this and more, and keeps what it found.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks import compare  # noqa: E402
from benchmarks.place import MODELS, Place  # noqa: E402


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    place = Place(options.device, options.dtype, options.threads)
    found = {}
    for objects in options.objects:
        job = {
            'model': options.model, 'size': options.image_size, 'objects': objects,
            'K': options.window, 'M': 2 * options.window, 'frame': options.size,
            'windows': -(-options.frames // options.window), 'options': options.options,
        }  # fmt: skip
        found[objects] = compare.measure(job, place)['sides']
    if options.json:
        print(json.dumps(as_json(found)))
        return
    window = options.window
    print(
        f'{options.model}{"" if options.model == "demo" else ", random weights"}; '
        f'{options.image_size or "its own"} px, {place.dtype}, {place.device}, '
        f'{place.threads} thread(s), K=D={window}, M={2 * window}, frames '
        f'{options.size[0]}x{options.size[1]}; {place.clock_name}'
    )
    rows = [list(compare.HEAD)]
    for objects, sides in found.items():
        rows += compare.table(sides, objects)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print('  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--model', choices=MODELS, default='demo', help='all but demo: random')
    parser.add_argument('--image-size', type=int, help="px; default: the model's own")
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--dtype', choices=('float32', 'bfloat16'), help='default: bfloat16 on CUDA, else float32'
    )
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--frames', type=int, help='measured frames; the first M are extra')
    parser.add_argument('--objects', type=int, nargs='+', default=[1, 4, 8])
    parser.add_argument('--size', type=int, nargs=2, default=(640, 480), metavar=('W', 'H'))
    parser.add_argument('--options', action='store_true', help='also with options that cost IoU')
    parser.add_argument('--quick', action='store_true', help='K=5, M=10, few frames')
    parser.add_argument('--json', action='store_true')
    options = parser.parse_args()
    options.window = 5 if options.quick else 10
    options.frames = options.frames or (10 if options.quick else 50)
    options.dtype = options.dtype or ('bfloat16' if options.device != 'cpu' else 'float32')
    return options


def as_json(found: dict[int, dict[str, Any]]) -> dict[str, float]:
    values: dict[str, float] = {}
    for objects, sides in found.items():
        ours, reference = sides[compare.PLAIN], sides[compare.REFERENCE]
        values[f'ratio_{objects}'] = round(ours['ratio'], 3)
        values[f'fps_{objects}'] = round(1 / ours['frame_s'], 3)
        values[f'reference_fps_{objects}'] = round(1 / reference['frame_s'], 3)
        values[f'mean_iou_{objects}'] = round(ours['iou_reference'], 5)
    values['encodings_per_frame'] = max(s[compare.PLAIN]['encodings'] for s in found.values())
    values['reference_encodings_per_frame'] = max(
        s[compare.REFERENCE]['encodings'] for s in found.values()
    )
    return values


if __name__ == '__main__':
    main()
