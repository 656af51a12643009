# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The screen by rerun: a web page that this process serves, a recording, or both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rerun as rr
import rerun.blueprint as rrb

from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.media.overlay import AMBER, object_colour
from detsam2_ros.viewer.follow import Change, Picture, tag

# Two timelines. On `received`, corrections appear in a view of their own at the time of arrival.
# On `stamp`, each past frame has its best known masks.
RECEIVED, STAMP = 'received', 'stamp'
LIVE, PAST, LATENCY, LOG = 'newest', 'corrected', 'latency', 'log'
_OPACITY = 0.5


class RerunScreen:
    """Shows a camera with rerun; logs everything to each of the recording streams."""

    def __init__(self, streams: Iterable[rr.RecordingStream]):
        self._streams = list(streams)
        self._names: dict[int, str] = {}
        for stream in self._streams:
            stream.set_log_time_enabled(False)
            stream.set_log_tick_enabled(False)
        self._log(f'{LATENCY}/masks', rr.SeriesLines(names='first masks'), static=True)
        # Many corrections arrive at once: points are clearer than a line that jumps.
        self._log(
            f'{LATENCY}/corrections',
            rr.SeriesPoints(names='corrections', colors=[AMBER], marker_sizes=2.5),
            static=True,
        )

    def picture(self, picture: Picture) -> None:
        """Log a new image by its stamp; it is shown as the newest with its masks only."""
        self._at(None, picture.stamp)
        self._log(f'{LIVE}/image', _image(picture))

    def masks(self, frame: TimelineFrame, picture: Picture | None, now: int) -> None:
        """Show a frame with its first masks."""
        self._show(LIVE, frame, picture, now)

    def correction(
        self, frame: TimelineFrame, picture: Picture | None, change: Change | None, now: int
    ) -> None:
        """Show better masks of a past frame."""
        self._show(PAST, frame, picture, now)
        text = f'frame {frame.index}, revision {frame.revision}: '
        if change is None:
            self._log(f'{PAST}/changed', rr.Clear(recursive=False))
            self._log(LOG, rr.TextLog(f'{text}no pixel changed', level='DEBUG'))
            return
        x0, y0, x1, y1 = change.box
        box = rr.Boxes2D(mins=[(x0, y0)], sizes=[(x1 - x0, y1 - y0)], colors=[AMBER])
        self._log(f'{PAST}/changed', box)
        names = ', '.join(
            f'{key} {self._names.get(key, "")}'.strip() + ' withdrawn' * (key in change.withdrawn)
            for key in change.ids
        )
        self._log(LOG, rr.TextLog(f'{text}{names}', level='INFO'))

    def latency(self, what: str, milliseconds: float, now: int) -> None:
        """Add a point to the plot."""
        self._at(now, None)
        self._log(f'{LATENCY}/{what}', rr.Scalars(milliseconds))

    def flush(self) -> None:
        """Send waiting data and finish the recordings."""
        for stream in self._streams:
            stream.flush()
            stream.disconnect()

    def _log_masks(self, place: str, frame: TimelineFrame) -> None:
        self._log(f'{place}/masks', rr.SegmentationImage(frame.labels, opacity=_OPACITY))
        seen = [obj for obj in frame.objects if obj.box is not None]
        boxes = [obj.box for obj in seen if obj.box is not None]
        self._log(
            f'{place}/objects',
            rr.Boxes2D(
                mins=[box[:2] for box in boxes],
                sizes=[(box[2] - box[0], box[3] - box[1]) for box in boxes],
                class_ids=[obj.id for obj in seen],
                labels=[tag(obj) for obj in seen],
            ),
        )

    def _show(self, place: str, frame: TimelineFrame, picture: Picture | None, now: int) -> None:
        """Log masks by their stamp, and as the newest of a place by the time of now."""
        self._name(frame)
        self._at(None, frame.stamp)
        self._log_masks(LIVE, frame)
        self._at(now, None)
        if picture is not None:
            self._log(f'{place}/image', _image(picture))
        self._log_masks(place, frame)

    def _name(self, frame: TimelineFrame) -> None:
        """Give new objects their names, and the colours that overlays and reports use."""
        names = {obj.id: obj.class_name for obj in frame.objects}
        if names.items() <= self._names.items():
            return
        self._names.update(names)
        table = [rr.AnnotationInfo(0, 'background', (0, 0, 0, 0))]
        table += [
            rr.AnnotationInfo(key, f'{key} {name}'.strip(), object_colour(key))
            for key, name in sorted(self._names.items())
        ]
        self._log('/', rr.AnnotationContext(table), static=True)

    def _at(self, received: int | None, stamp: int | None) -> None:
        for stream in self._streams:
            stream.reset_time()
            if received is not None:
                stream.set_time(RECEIVED, timestamp=received / 1e9)
            if stamp is not None:
                stream.set_time(STAMP, timestamp=stamp / 1e9)

    def _log(self, path: str, what: Any, static: bool = False) -> None:
        for stream in self._streams:
            stream.log(path, what, static=static)


def recording(path: Path, title: str) -> rr.RecordingStream:
    """Return a stream that writes a file (.rrd); raises OSError."""
    path.open('wb').close()
    stream = rr.RecordingStream('detsam2_viewer', recording_id=title)
    stream.save(path, default_blueprint=_layout())
    return stream


def served(
    title: str, port: int, data_port: int, memory: str, host: str, open_browser: bool
) -> tuple[rr.RecordingStream, str]:
    """Return a stream that a web page shows, and the address of the page.

    memory: limit of the data kept for browsers that connect late, such as '500MB'.
    """
    stream = rr.RecordingStream('detsam2_viewer', recording_id=title)
    stream.serve_grpc(grpc_port=data_port, server_memory_limit=memory, default_blueprint=_layout())
    source = f'rerun+http://{host}:{data_port}/proxy'
    rr.serve_web_viewer(web_port=port, open_browser=open_browser, connect_to=source)
    return stream, f'http://{host}:{port}/?url={quote(source, safe="")}'


def _image(picture: Picture) -> Any:
    return rr.EncodedImage(contents=picture.jpeg, media_type='image/jpeg')


def _layout() -> Any:
    return rrb.Blueprint(
        rrb.Vertical(
            rrb.Horizontal(
                rrb.Spatial2DView(origin=LIVE, name='newest frame, as first published'),
                rrb.Spatial2DView(origin=PAST, name='past frame, as corrected'),
            ),
            rrb.Horizontal(
                rrb.TimeSeriesView(origin=LATENCY, name='ms after the image'),
                rrb.TextLogView(origin=LOG, name='corrections'),
                column_shares=[2, 1],
            ),
            row_shares=[3, 1],
        ),
        rrb.TimePanel(timeline=RECEIVED, play_state='following', state='collapsed'),
        rrb.BlueprintPanel(state='collapsed'),
        rrb.SelectionPanel(state='collapsed'),
    )
