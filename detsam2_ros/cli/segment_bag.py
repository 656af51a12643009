# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""segment_bag: run the engine on the images of a recorded bag and write a bag with the masks."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import segment_bag

    segment_bag()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detsam2_ros.cli import options as command_line

_MISSING = (
    "segment_bag: it reads and writes bags with the library rosbags, of which '{}' is missing; "
    'pip install rosbags'
)

_EPILOG = """\
examples:
  segment_bag in.mcap -o out.mcap --sam2 facebook/sam2.1-hiera-small --yolo yolo11n.pt
  segment_bag in.mcap -o out.mcap --topics /front/image_raw /rear/image_raw/compressed
  segment_bag recording_folder -o masks.mcap --only-masks --final-only
  segment_bag in.mcap -o out.mcap --no-detector --bank cups.safetensors
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: success. 1: inference failed on some frames, the detector each time, or less than half of a
    topic's messages could be segmented. 2: an error that the user can correct. 130: Ctrl-C, after
    which the same command continues the job.
    """
    given = parser().parse_args(arguments)
    try:
        from detsam2_ros.cli.bag_command import run
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] in ('rosbags', 'apsw', 'lz4', 'backports'):
            print(_MISSING.format(error.name), file=sys.stderr)
            return 2
        raise
    return run(given)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog='segment_bag',
        description='Segment the images of a rosbag2 (mcap or sqlite3), without ROS: each topic '
        'is a stream of its own. Leaves a bag with masks, objects and corrections beside the '
        'original topics, as <image topic>/masks and so on.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument('input', type=Path, help='a rosbag2: a folder, or a file of it')
    top.add_argument(
        '-o', '--output', type=Path, required=True, help='an .mcap or .db3 file, or a folder'
    )
    top.add_argument(
        '--topics', nargs='+', metavar='TOPIC', help='image topics; default: every one'
    )
    top.add_argument(
        '--final-only',
        action='store_true',
        help='write the final masks and their objects, no corrections',
    )
    top.add_argument('--only-masks', action='store_true', help='leave the topics of the input out')
    top.add_argument(
        '--stamps', choices=('header', 'bag'), default='header',
        help='where the time of an image stands: in its header (default), or, for a driver that '
        'does not fill it, in the bag; masks get that stamp',
    )
    top.add_argument(
        '--under', default='', metavar='/NAME', help='put this before the names of new topics'
    )
    top.add_argument(
        '--compression', choices=('zstd', 'none'), default='zstd', help='of mcap; default zstd'
    )
    command_line.add_export(top)
    top.add_argument('--force', action='store_true', help='replace the output if there is one')
    top.add_argument('-q', '--quiet', action='store_true', help='errors and warnings only')
    command_line.add_models(top.add_argument_group('models'))
    command_line.add_parameters(top.add_argument_group('parameters of the method'))
    top.add_argument_group('memory bank').add_argument(
        '--bank', '--bank-in', type=Path, metavar='FILE', help='memory bank to look for'
    )
    return top
