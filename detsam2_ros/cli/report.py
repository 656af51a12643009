# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The report of a run: one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from detsam2_ros.cli import charts
from detsam2_ros.cli.summary import Summary
from detsam2_ros.media.page import write_page
from detsam2_ros.media.sheet import correction_row, side_by_side
from detsam2_ros.media.timeline import NOTABLE_IOU, Settled
from detsam2_ros.media.video import InputError

_COLUMNS = ('image', 'masks as first published', 'final masks')

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; background: #f3f4f6; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0; }
h2 { font-size: 18px; margin: 0 0 4px; }
h3 { font-size: 14px; font-weight: 600; margin: 14px 0 5px; }
header p { color: #5b636e; margin: 4px 0 20px; }
section { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 18px 20px;
  margin: 0 0 18px; }
section p { color: #5b636e; margin: 0 0 10px; }
img, video { max-width: 100%; height: auto; display: block; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 0 0 18px; }
.card { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 12px 16px; }
.card b { display: block; font-size: 24px; font-weight: 650; }
.card span { color: #5b636e; font-size: 13px; }
.card.amber { border-left: 5px solid #e69a00; }
.columns { display: grid; grid-template-columns: repeat(3, 1fr); color: #5b636e;
  font-size: 13px; margin: 0 0 -6px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 24px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
td { padding: 4px 8px 4px 0; border-bottom: 1px solid #eef0f2; vertical-align: top; }
td:first-child { color: #5b636e; white-space: nowrap; width: 1%; padding-right: 18px; }
"""


@dataclass(frozen=True)
class Highlight:
    """A frame of the contact sheet."""

    title: str  # the frame, and what happened to its objects
    strip: bytes  # its pictures side by side, a JPEG file


def make_highlight(settled: Settled) -> Highlight:
    """Return the title and the pictures of a corrected frame."""
    title = f'Frame {settled.index}, {settled.stamp / 1e9:.2f} s, '
    title += f'revision {settled.last.revision}: {_changes(settled)}'
    return Highlight(title, _strip(settled))


def write_report(
    path: Path,
    title: str,
    subtitle: str,
    summary: Summary,
    highlights: Sequence[Highlight],
    settings: Sequence[tuple[str, str]],
    video: str | None = None,
) -> None:
    """Write the report of a run; raises InputError when the file cannot be written.

    highlights: frames for the contact sheet. settings: (name, value) pairs of models and
    parameters. video: file name of the overlay beside the report, or None.
    """
    parts = [
        f'<header><h1>{escape(title)}</h1><p>{escape(subtitle)}</p></header>',
        _cards(summary),
    ]
    if video is not None:
        parts.append(_video(video))
    parts.append(_sheet(highlights))
    parts += [
        _section(
            'Objects over time',
            'A bar where an object is visible in the final masks, a tick where its mask was '
            f'corrected notably (IoU with the first one below {NOTABLE_IOU}).',
            _image(charts.objects_over_time(summary), 'objects over time'),
        ),
        _section(
            'Corrections by pass',
            'Past frames whose masks a reverse pass changed, by any pixel.',
            _image(charts.corrections_per_pass(summary), 'corrections by pass'),
        ),
        _section(
            'Seconds by stage',
            'Wall clock on the CPU; stages of a GPU are timed on the device.',
            _image(charts.seconds_by_stage(summary), 'seconds by stage'),
        ),
        '<section><div class="pair">'
        f'<div><h2>Summary</h2>{_table(summary.facts())}</div>'
        f'<div><h2>Settings</h2>{_table(settings)}</div></div></section>',
    ]
    write_page(path, title, _STYLE, parts)


def _cards(summary: Summary) -> str:
    fps = summary.settled / summary.wall if summary.wall else 0.0
    cards = [
        (f'{summary.settled}', 'frames', ''),
        (f'{len(summary.presence)}', 'objects', ''),
        (f'{summary.passes}', 'reverse passes', ''),
        (f'{summary.changed}', 'frames changed after the fact', ''),
        (f'{summary.notable}', 'frames corrected notably', ' amber'),
        (f'{fps:.2f}', 'frames/s overall', ''),
    ]
    parts = (
        f'<div class="card{kind}"><b>{value}</b><span>{name}</span></div>'
        for value, name, kind in cards
    )
    return f'<div class="cards">{"".join(parts)}</div>'


def _video(name: str) -> str:
    if name.endswith('.webm'):
        body = f'<video src="{escape(name)}" controls loop muted></video>'
    else:
        body = (
            f'<p><a href="{escape(name)}">{escape(name)}</a>, beside this page. Most browsers '
            'do not play this codec; desktop players do. Run with --overlay webm for one that '
            'plays here.</p>'
        )
    return f'<section><h2>Overlay video</h2>{body}</section>'


def _sheet(highlights: Sequence[Highlight]) -> str:
    if not highlights:
        text = 'No mask changed notably after its first publication.'
        return _section('What the corrections changed', text, '')
    titles = ''.join(f'<span>{escape(title)}</span>' for title in _COLUMNS)
    rows = ''.join(
        f'<h3>{escape(kept.title)}</h3>{_image(kept.strip, kept.title, "jpeg")}'
        for kept in highlights
    )
    return _section(
        'What the corrections changed',
        'The frames that changed most, enlarged where they changed. Corrected objects have a '
        'white rim, tentative ones a dashed outline.',
        f'<div class="columns">{titles}</div>{rows}',
    )


def _strip(kept: Settled) -> bytes:
    """Return the pictures of a frame side by side, as a JPEG file."""
    strip = cv2.cvtColor(side_by_side(correction_row(kept)), cv2.COLOR_RGB2BGR)
    good, data = cv2.imencode('.jpg', strip, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not good:
        raise InputError('OpenCV cannot encode JPEG here')
    return np.asarray(data).tobytes()


def _changes(kept: Settled) -> str:
    """Describe what happened to the corrected objects of a frame."""
    before = {obj.id for obj in kept.first.objects if obj.visible}
    after = {obj.id for obj in kept.last.objects if obj.visible}
    names = {
        obj.id: f'{obj.id} {obj.class_name}' for obj in (*kept.first.objects, *kept.last.objects)
    }
    groups = (
        ('found', [key for key in kept.corrected if key not in before]),
        ('withdrawn', [key for key in kept.corrected if key in kept.withdrawn]),
        (
            'dropped',
            [key for key in kept.corrected if key not in after and key not in kept.withdrawn],
        ),
        ('reshaped', [key for key in kept.corrected if key in before and key in after]),
    )
    return '; '.join(
        f'{verb} {", ".join(names[key] for key in keys)}' for verb, keys in groups if keys
    )


def _section(title: str, text: str, body: str) -> str:
    return f'<section><h2>{escape(title)}</h2><p>{escape(text)}</p>{body}</section>'


def _image(data: bytes, alt: str, kind: str = 'png') -> str:
    encoded = base64.b64encode(data).decode('ascii')
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = ''.join(
        f'<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>' for name, value in rows
    )
    return f'<table>{cells}</table>'
