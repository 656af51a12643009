# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank: build, inspect, merge, prune and evaluate memory banks."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from detsam2_ros.cli.memory_bank import build as bank_build
from detsam2_ros.cli.memory_bank import edit as bank_edit
from detsam2_ros.cli.memory_bank import evaluate as bank_evaluate
from detsam2_ros.cli.memory_bank import inspect as bank_inspect
from detsam2_ros.cli.memory_bank import prune as bank_prune
from detsam2_ros.engine import EngineError
from detsam2_ros.media.video import InputError

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130

# Each module has add_parser(subparsers), whose parser sets `run`: a function that takes the
# options and returns the exit code.
VERBS = (bank_build, bank_inspect, bank_edit, bank_prune, bank_evaluate)

_EPILOG = """\
examples:
  memory_bank build photos -o cups.safetensors --masks photos/masks
  memory_bank build photos -o cups.safetensors --coco annotations.json
  memory_bank build in.mp4 -o cups.safetensors --detect best.pt --every 30
  memory_bank inspect cups.safetensors --image other.jpg --html cups.html
  memory_bank prune cups.safetensors -o small.safetensors --max-entries 8
  memory_bank evaluate cups.safetensors kitchen.mp4 truth --yolo best.pt
  memory_bank COMMAND --help
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    given = parser().parse_args(arguments)
    logging.basicConfig(format='memory_bank: %(message)s', level=logging.WARNING)
    try:
        return int(given.run(given))
    except (InputError, EngineError) as error:
        print(f'memory_bank: {error}', file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print('memory_bank: interrupted; nothing was written', file=sys.stderr)
        return EXIT_INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog='memory_bank',
        description='Design memory banks: files of objects for SAM 2 to look for in new videos.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = top.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for verb in VERBS:
        verb.add_parser(subparsers)
    return top
