# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""detsam2_viewer: show a running node in a web browser, or record it to a file."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import detsam2_viewer

    detsam2_viewer()

import argparse
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

EXIT_CANNOT = 2
_MISSING = (
    "detsam2_viewer: it shows things with the library rerun-sdk, of which '{}' is missing; "
    'pip install rerun-sdk'
)

_EPILOG = """\
examples:
  detsam2_viewer                            the node /detsam2; its image topic is found
  detsam2_viewer --save look.rrd --no-web          record; 'rerun look.rrd' shows it
  detsam2_viewer --camera front --image /front/image_raw
  detsam2_viewer --host robot.local                for a browser on another machine
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, or 2 for an error that the user can correct."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if '--ros-args' in arguments:  # as ros2 run and launch add them; rclpy reads them itself
        arguments = arguments[: arguments.index('--ros-args')]
    given = parser().parse_args(arguments)
    wrong = _wrong(given)
    if wrong:
        print(f'detsam2_viewer: {wrong}', file=sys.stderr)
        return EXIT_CANNOT
    try:
        from detsam2_ros.viewer.screen import RerunScreen, recording, served
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] in ('rerun', 'pyarrow', 'attr', 'rerun_bindings'):
            print(_MISSING.format(error.name), file=sys.stderr)
            return EXIT_CANNOT
        raise
    from detsam2_ros.viewer.node import ViewerError, look

    title = '/'.join(part for part in (given.node.strip('/'), given.camera) if part)
    streams = []
    try:
        if given.save is not None:
            streams.append(recording(given.save, title))
        if not given.no_web:
            stream, address = served(
                title, given.port, given.data_port, given.memory, given.host, given.open
            )
            streams.append(stream)
            print(f'look at {address}', flush=True)
        screen = RerunScreen(streams)
        try:
            done = _after(given.duration)
            look(screen, given.node, given.camera, given.image, given.quality, done)
        finally:
            screen.flush()
    except (ViewerError, OSError, RuntimeError) as error:
        print(f'detsam2_viewer: {" ".join(str(error).split())}', file=sys.stderr)
        return EXIT_CANNOT
    except KeyboardInterrupt:
        pass
    if given.save is not None:
        print(f"written {given.save}; 'rerun {given.save}' shows it")
    return 0


def _wrong(given: argparse.Namespace) -> str | None:
    """Return a sentence on options that cannot work, None if all can."""
    if not 1 <= given.quality <= 100:
        return f'--quality must lie from 1 to 100, got {given.quality}'
    if given.no_web:
        return None if given.save else '--no-web needs --save FILE: nothing would show'
    if given.port == given.data_port:
        return f'--port and --data-port must differ, both are {given.port}'
    for option, port in (('--port', given.port), ('--data-port', given.data_port)):
        if not 1 <= port <= 65535:
            return f'{option} must lie from 1 to 65535, got {port}'
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(('', port))
            except OSError as error:
                return f'{option} {port} cannot be used ({error.strerror}); name another one'
    return None


def _after(seconds: float | None) -> Callable[[], bool]:
    """Return a function that tells whether so many seconds have passed; None: never."""
    end = None if seconds is None else time.monotonic() + seconds
    return lambda: end is not None and time.monotonic() > end


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog='detsam2_viewer',
        description='Look at a running detsam2 node in a web browser: images, masks with ids, '
        'corrections as they land on past frames, and how late both come. Ends with Ctrl-C.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument('--node', default='/detsam2', help='full name; default /detsam2')
    top.add_argument('--camera', default='', help='of a node with several')
    top.add_argument('--image', metavar='TOPIC', help='default: what the node subscribes to')
    top.add_argument('--save', type=Path, metavar='FILE.rrd', help='record to a file')
    top.add_argument('--no-web', action='store_true', help='record only')
    top.add_argument('--open', action='store_true', help='open a browser here')
    top.add_argument('--host', default='localhost', help='name of this machine for the browser')
    top.add_argument('--port', type=int, default=9090, help='of the page; default 9090')
    top.add_argument('--data-port', type=int, default=9876, help='of the data; default 9876')
    top.add_argument(
        '--memory', default='500MB', help='kept for browsers that come late; default 500MB'
    )
    top.add_argument(
        '--quality', type=int, default=80, help='of the JPEG images, 1 to 100; default 80'
    )
    top.add_argument('--duration', type=float, metavar='S', help='end after so many seconds')
    return top
