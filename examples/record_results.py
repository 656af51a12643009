# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Records what a detsam2 node publishes, revision by revision, as this subscriber sees it.

The file can be evaluated against a truth like a folder of segment_video (docs/quality.md).

    python examples/record_results.py --ros-args -p detsam2:=/detsam2 -p file:=revisions.jsonl

Whole lines are in the file at any moment; Ctrl-C ends the recording. `ros2 bag record` of the
topics masks, objects and corrections keeps the same, with the messages themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rclpy.node import Node

from detsam2_ros.client import MaskTimeline, TimelineFrame, subscribe
from detsam2_ros.client.recorder import Recorder
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.revisions import RevisionsWriter
from detsam2_ros.shutdown_race import run_node


class RecordResults(Node):
    """Writes every frame and correction of one camera."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('record_results', **kwargs)
        detsam2 = self.declare_parameter('detsam2', 'detsam2').value  # full name of the node
        camera = self.declare_parameter('camera', '').value
        file = self.declare_parameter('file', 'revisions.jsonl').value
        compressed = self.declare_parameter('compressed', False).value
        # Those of the node; with them the file says when each frame became final.
        max_propagation = self.declare_parameter('max_propagation', 40).value
        window_size = self.declare_parameter('window_size', 10).value  # 0 in mode window
        if max_propagation < 1 or window_size < 0:
            raise InputError(
                f'max_propagation is {max_propagation} and window_size {window_size}; give those '
                f'of the node, and 0 for window_size in mode window'
            )
        reach = max_propagation + window_size
        self.file = RevisionsWriter(Path(file))
        self.recorder = Recorder(camera or Path(file).stem, self.file, reach)
        self.frames = 0
        self.timeline = MaskTimeline(
            2 * reach, max_propagation, max_lag=reach, window_size=window_size)
        subscribe(
            self, self.on_frame, namespace=detsam2, camera=camera, timeline=self.timeline,
            depth=2 * reach, compressed=compressed,
        )  # fmt: skip

    def on_frame(self, frame: TimelineFrame) -> None:
        """Write a frame that is new, or was corrected."""
        self.recorder.take(frame)
        self.frames += frame.revision == 0

    def destroy_node(self) -> None:
        """Close the file."""
        self.file.close()
        print(f'{self.frames} frames in {self.file.path}')
        for sentence in self.recorder.notes.sentences():
            print(sentence)
        if late := self.timeline.late_corrections:
            print(f'{late} corrections left out: their frames were no longer kept; give '
                  f'max_propagation and window_size of the node')
        super().destroy_node()


def main() -> int:
    """Run the node until it is interrupted; returns the exit code."""
    try:
        run_node(RecordResults)
    except InputError as error:
        print(f'record_results: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
