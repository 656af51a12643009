# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The options of segment_video, those that other commands share with it, and their engine.

Each parameter of the engine has one option.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from detsam2_ros.cli.output import OVERLAYS
from detsam2_ros.engine import (
    ConfigError,
    Engine,
    EngineConfig,
    YoloDetector,
    default_device,
    load_sam2,
)
from detsam2_ros.engine.config_fields import QUALITIES, parameters
from detsam2_ros.engine.detector.yolo import MIN_IMAGE_SIZE
from detsam2_ros.quality.formats.export import FINAL, FIRST, WRITERS

_SHORT = {'window_size': 'K', 'detect_interval': 'D', 'max_propagation': 'M'}

_EPILOG = """\
examples:
  segment_video in.mp4 -o out --sam2 facebook/sam2.1-hiera-small --yolo yolo11n.pt
  segment_video in.mp4 -o out --yolo best.pt --classes cup,bottle -K 5 -D 5 -M 20
  segment_video first.mp4 -o out1 --yolo best.pt --bank-out cups.safetensors
  segment_video second.mp4 -o out2 --no-detector --bank-in cups.safetensors
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog='segment_video',
        description='Segment a video: a detector prompts SAM 2 every few frames, and reverse '
        'passes correct frames before a prompt. Writes an overlay video, 16-bit masks, objects '
        'by frame and revision, and a report.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument('input', type=Path, help='a video file, or a folder of images')
    top.add_argument('-o', '--output', type=Path, required=True, help='folder for the results')
    add_models(top.add_argument_group('models'))
    add_parameters(top.add_argument_group('parameters of the method'))
    _add_banks(top.add_argument_group('memory bank'))
    _add_files(top.add_argument_group('input and output'))
    return top


def engine_config(options: argparse.Namespace) -> EngineConfig:
    """Return the engine's parameters; raises ConfigError naming an option that cannot work."""
    check_detector(options)
    given = {name: getattr(options, name) for name in parameters(EngineConfig)}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        return EngineConfig.of(options.quality, **given)
    except ConfigError as error:
        names = '|'.join(parameters(EngineConfig))
        text = re.sub(rf'\b({names})\b', lambda name: _option(name[0]), str(error))
        raise ConfigError(text) from error


def _option(name: str) -> str:
    return '--' + name.replace('_', '-')


def check_detector(given: argparse.Namespace) -> None:
    """Refuse options of the detector that cannot work, by name; raises ConfigError."""
    if given.image_size is not None and given.image_size < MIN_IMAGE_SIZE:
        raise ConfigError(f'--image-size must be >= {MIN_IMAGE_SIZE}, got {given.image_size}')
    if not 0 <= given.confidence <= 1:
        raise ConfigError(f'--confidence must lie from 0 to 1, got {given.confidence}')


def wanted_classes(text: str | None) -> list[int | str] | None:
    """Split a list of class names and ids such as 'cup,bottle,0'; None keeps all classes."""
    return None if text is None else [part.strip() for part in text.split(',') if part.strip()]


def add_models(group: Any) -> None:
    """Add the options of SAM 2, the detector and the device."""
    group.add_argument(
        '--sam2',
        default='demo',
        metavar='MODEL',
        help="'demo' (shipped, small, knows billiard balls only; the default), a Hugging Face "
        "id such as facebook/sam2.1-hiera-small, or a checkpoint of SAM 2's own form",
    )
    group.add_argument('--sam2-config', metavar='YAML', help='config of a checkpoint file')
    group.add_argument(
        '--yolo',
        default='demo',
        metavar='MODEL',
        help="'demo' (shipped; the default), a .pt, .onnx or .engine file, or a published name "
        'such as yolo11n.pt; needs the package ultralytics (AGPL-3.0)',
    )
    group.add_argument('--no-detector', action='store_true', help='follow the memory bank only')
    group.add_argument('--classes', metavar='A,B', help='class names or ids to detect')
    group.add_argument('--confidence', type=float, default=0.25, help='default 0.25')
    add_image_size(group)
    group.add_argument('--device', help='default: cuda when there is a GPU, else cpu')
    group.add_argument(
        '--dtype',
        choices=('float32', 'bfloat16'),
        help='number format of SAM 2; default bfloat16 on a GPU that computes in it, with '
        '--quality balanced on such a CPU too, else float32',
    )


def add_image_size(group: Any, of: str = '') -> None:
    """Add --image-size; of: the option that chooses the detector, if there may be none."""
    group.add_argument(
        '--image-size',
        type=int,
        metavar='N',
        help=f'longer side in pixels at which the detector sees images{of}; default: that of its '
        'training, or of its export',
    )


def build_engine(given: argparse.Namespace, config: EngineConfig) -> Engine:
    """Load the models named by the options of `add_models`; raises EngineError."""
    device = given.device or default_device()
    model = load_sam2(given.sam2, given.sam2_config, device, given.dtype, given.quality)
    detector = None
    if not given.no_detector:
        detector = YoloDetector(
            given.yolo,
            classes=wanted_classes(given.classes),
            confidence=given.confidence,
            device=device,
            image_size=given.image_size,
        )
    return Engine(model, detector, config)


def add_parameters(group: Any) -> None:
    """Add an option for each parameter of the engine (see engine_config)."""
    group.add_argument(
        '--quality',
        choices=QUALITIES,
        default='exact',
        help='balanced leaves out work that changes masks little; options that are given win. '
        'Default exact, since a recording is in no hurry.',
    )
    for name, each in parameters(EngineConfig).items():
        short = [f'-{_SHORT[name]}'] if name in _SHORT else []
        text = f'{each.description} [{each.allowed}] Default {each.default}.'
        if each.balanced is not None:
            text = f'{text[:-1]}, with --quality balanced {each.balanced}.'
        group.add_argument(
            *short,
            _option(name),
            type=type(each.default),
            metavar=_SHORT.get(name, 'X'),
            help=text.replace('%', '%%'),
        )


def add_export(group: Any) -> None:
    """Add the options of export in standard formats; see check_export."""
    group.add_argument(
        '--export', metavar='A,B',
        help=f'write the masks as {", ".join(WRITERS)} too',
    )
    group.add_argument(
        '--export-revision', choices=(FIRST, FINAL),
        help=f'the masks that --export writes: as first published ({FIRST}), or {FINAL} (default)',
    )


def check_export(given: argparse.Namespace) -> list[str]:
    """Return the formats that --export names, each once; raises ConfigError."""
    formats = list(dict.fromkeys(wanted_classes(given.export) or []))
    choice = f'choose among {", ".join(map(str, WRITERS))}'
    for name in formats:
        if name not in WRITERS:
            raise ConfigError(f'--export {name}: {choice}')
    if given.export is not None and not formats:
        raise ConfigError(f"--export '{given.export}' names no format: {choice}")
    if given.export_revision is not None and not formats:
        raise ConfigError('--export-revision needs --export, such as --export davis')
    return [str(name) for name in formats]


def _add_banks(group: Any) -> None:
    group.add_argument(
        '--bank-in', type=Path, metavar='FILE', help='memory bank whose objects are searched for'
    )
    group.add_argument(
        '--bank-out', type=Path, metavar='FILE', help='memory bank to write at the end'
    )
    group.add_argument(
        '--bank-entries', type=int, default=8, metavar='N', help='maximum for an object; default 8'
    )


def _add_files(group: Any) -> None:
    group.add_argument('--max-frames', type=int, metavar='N', help='stop after N frames')
    group.add_argument(
        '--fps',
        type=float,
        help='frame rate in place of that of the video; of a folder, default 30',
    )
    group.add_argument(
        '--overlay',
        choices=sorted(OVERLAYS),
        default='mp4',
        help='mp4 (MPEG-4 Part 2, the default) or webm (VP8: plays in browsers, slower)',
    )
    group.add_argument('--no-overlay', action='store_true', help='no overlay video')
    group.add_argument('--no-masks', action='store_true', help='no mask images')
    group.add_argument('--no-report', action='store_true', help='no report.html')
    group.add_argument(
        '--revisions', action='store_true',
        help='write the masks of every revision of each frame too, into revisions.jsonl',
    )
    add_export(group)
    group.add_argument(
        '--force', action='store_true', help='overwrite results in the output folder'
    )
    group.add_argument('-q', '--quiet', action='store_true', help='errors and warnings only')
