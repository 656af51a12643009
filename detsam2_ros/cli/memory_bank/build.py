# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank build: a bank from annotated images or video frames."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from detsam2_ros.banks.annotations import GROUPS, Annotations
from detsam2_ros.banks.building import build, crowded
from detsam2_ros.banks.coco import CocoFile
from detsam2_ros.banks.coverage import prune
from detsam2_ros.banks.detected import Detected
from detsam2_ros.banks.label_masks import LabelMasks
from detsam2_ros.banks.pictures import Pictures, open_pictures
from detsam2_ros.banks.yolo_labels import YoloLabels
from detsam2_ros.cli.memory_bank.common import (
    add_model,
    add_output,
    check_output,
    check_positive,
    load_model,
    save,
)
from detsam2_ros.cli.options import add_image_size, check_detector, wanted_classes
from detsam2_ros.engine import ConfigError, YoloDetector, default_device
from detsam2_ros.media.notes import Notes


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser(
        'build',
        help='make a bank from annotated images or video frames',
        description='Make a memory bank with an entry for each object that is marked in an image. '
        'An annotation belongs to the image of the same name. For a video it belongs to the frame '
        "whose number ends the annotation's name.",
    )
    verb.add_argument('images', type=Path, help='a folder of images, or a video file')
    add_output(verb)
    _add_annotations(verb)
    _add_selection(verb)
    add_model(
        verb,
        'demo',
        "'demo' (shipped, knows billiard balls only; the default), a Hugging Face id, or a "
        'checkpoint; only this model can use the bank',
    )
    verb.add_argument('-q', '--quiet', action='store_true', help='no progress bar')
    verb.set_defaults(run=run)


def _add_annotations(verb: argparse.ArgumentParser) -> None:
    kind = verb.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        '--masks',
        type=Path,
        metavar='DIR',
        help='label masks: PNG, where a pixel is the number of its object and 0 is background; in '
        'a folder for each class, or with a names file',
    )
    kind.add_argument('--coco', type=Path, metavar='FILE', help='COCO JSON')
    kind.add_argument(
        '--yolo', type=Path, metavar='DIR', help='a folder of YOLO label files, or a data.yaml'
    )
    kind.add_argument(
        '--detect',
        nargs='?',
        const='demo',
        metavar='MODEL',
        help="boxes of a YOLO detector: 'demo' (the default), a file, or a published name",
    )


def _add_selection(verb: argparse.ArgumentParser) -> None:
    more = verb.add_argument_group('selection')
    more.add_argument(
        '--group',
        choices=GROUPS,
        default='class',
        help='what becomes one object of the bank: all objects of one class (the default), or '
        'each instance',
    )
    more.add_argument('--every', type=int, default=1, metavar='N', help='only each N-th image')
    more.add_argument(
        '--max-entries',
        type=int,
        metavar='N',
        help='keep at most N entries of each object: those that cover the others best, as prune '
        'does; default: all',
    )
    more.add_argument('--names', type=Path, metavar='FILE', help='class names (masks, YOLO)')
    more.add_argument('--class-name', metavar='NAME', help='class name of all objects (masks)')
    more.add_argument('--ignore', metavar='A,B', help='pixel values of no object (masks)')
    more.add_argument(
        '--crowds', action='store_true', help='take crowds (iscrowd 1) as objects too (COCO)'
    )
    more.add_argument('--classes', metavar='A,B', help='class names or ids to detect (--detect)')
    more.add_argument(
        '--confidence', type=float, default=0.5,
        help='minimum confidence of a detection (--detect); default 0.5',
    )  # fmt: skip
    add_image_size(more, ' (--detect)')


def run(given: argparse.Namespace) -> int:
    """Build and write; raises InputError or EngineError."""
    # The cheap checks come first: a typo should not wait for a model to load.
    check_positive(given.every, '--every')
    check_positive(given.max_entries, '--max-entries')
    _check_belongs(given)
    check_detector(given)
    check_output(given.output, given.overwrite)
    pictures = open_pictures(given.images, given.every, given.masks)
    annotations = _annotations(given, pictures)
    model = load_model(given, given.sam2)
    notes = Notes()
    try:
        with tqdm(
            total=len(pictures) or None, unit='image', disable=given.quiet, dynamic_ncols=True
        ) as bar:

            def progress(entries: int) -> None:
                bar.update()
                bar.set_postfix(entries=entries, refresh=False)

            bank = build(model, pictures, annotations, notes, progress)
    finally:
        for sentence in notes.sentences():
            print(f'memory_bank: {sentence}', file=sys.stderr)
    if given.max_entries is not None:
        bank, dropped = prune(bank, given.max_entries)
        print(f'kept at most {given.max_entries} entries an object, dropped {len(dropped)}')
    save(bank, given.output, given.overwrite)
    for key, count in crowded(bank):
        print(
            f'{key} has {count} entries, and each is attended to on every frame: '
            f'memory_bank prune --max-entries 8 keeps the most telling ones'
        )
    return 0


def _check_belongs(given: argparse.Namespace) -> None:
    """Raise ConfigError for options of another kind of annotation, which would do nothing."""
    kinds = {
        '--names': (given.names, given.masks or given.yolo, '--masks and --yolo'),
        '--class-name': (given.class_name, given.masks, '--masks'),
        '--ignore': (given.ignore, given.masks, '--masks'),
        '--crowds': (given.crowds or None, given.coco, '--coco'),
        '--classes': (given.classes, given.detect, '--detect'),
        '--image-size': (given.image_size, given.detect, '--detect'),
    }
    for option, (value, fits, owner) in kinds.items():
        if value is not None and not fits:
            raise ConfigError(f'{option} goes with {owner} only')
    if given.names is not None and given.class_name is not None:
        raise ConfigError('--names and --class-name: give one of them')


def _annotations(given: argparse.Namespace, pictures: Pictures) -> Annotations:
    if given.masks is not None:
        ignore = _ignored(given.ignore)
        return LabelMasks(
            given.masks, given.group, given.names, given.class_name, ignore, pictures.is_video
        )
    if given.coco is not None:
        return CocoFile(given.coco, pictures, given.group, given.crowds)
    if given.yolo is not None:
        return YoloLabels(given.yolo, pictures, given.group, given.names)
    if given.group == 'instance' and len(pictures) != 1:
        raise ConfigError(
            '--detect --group instance: a detector does not tell objects of several images again; '
            'segment_video --bank-out follows them, and gives each an object of the bank'
        )
    detector = YoloDetector(
        given.detect,
        classes=wanted_classes(given.classes),
        confidence=given.confidence,
        device=given.device or default_device(),
        image_size=given.image_size,
    )
    return Detected(detector, Path(given.detect).name, given.group)


def _ignored(text: str | None) -> list[int]:
    try:
        return [int(part) for part in (text or '').split(',') if part.strip()]
    except ValueError as error:
        raise ConfigError(f'--ignore takes pixel values such as 254,255, got {text!r}') from error
