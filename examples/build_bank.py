# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Build a memory bank from a labelled folder, then find its objects in a video without detector.

IMAGES is a folder of images. MASKS is a folder of label masks (PNG of the same names, a pixel
holds the number of its object) with a names.yaml such as {1: cup, 2: bowl}. The command
`memory_bank build` does the first half with more kinds of annotation; see docs/banks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detsam2_ros.banks.building import build
from detsam2_ros.banks.coverage import prune
from detsam2_ros.banks.label_masks import LabelMasks
from detsam2_ros.banks.pictures import open_pictures
from detsam2_ros.engine import Engine, EngineConfig, EngineError, FrameResult, load_sam2
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError, open_source


def print_results(results: Sequence[FrameResult]) -> None:
    for result in results:
        seen = ', '.join(f'{o.class_name} {o.score:.2f}' for o in result.objects if o.visible)
        kind = 'corrected' if result.revision else 'seen'
        print(f'frame {result.index}: {kind} {seen or "nothing"}')


def run(given: argparse.Namespace) -> None:
    model = load_sam2(given.sam2)

    # Every object that is marked in an image becomes an entry; all of one class are one object.
    notes = Notes()
    pictures = open_pictures(given.images, exclude=given.masks)
    bank = build(model, pictures, LabelMasks(given.masks), notes)
    for sentence in notes.sentences():
        print(f'note: {sentence}')
    bank, _ = prune(bank, given.max_entries)
    objects = bank.objects().values()
    print('bank: ' + ', '.join(f'{o.key} ({len(o.entries)} entries)' for o in objects))
    if given.save is not None:
        bank.save(given.save, overwrite=False)

    # No detector: the stream looks for what the bank holds.
    engine = Engine(model, None, EngineConfig(window_size=5, max_propagation=10))
    stream = engine.open_stream('video')
    stream.load_bank(bank)
    for frame in open_source(given.video).frames():
        print_results(stream.push(frame.image, frame.stamp))
    print_results(stream.flush())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('images', type=Path)
    parser.add_argument('masks', type=Path)
    parser.add_argument('video', type=Path)
    parser.add_argument('--sam2', default='demo', help='default: the shipped small model')
    parser.add_argument('--max-entries', type=int, default=8, help='of an object; default 8')
    parser.add_argument('--save', type=Path, help='keep the bank in this file')
    try:
        run(parser.parse_args(arguments))
    except (InputError, EngineError) as error:
        print(f'build_bank: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
