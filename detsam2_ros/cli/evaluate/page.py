# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of an evaluation: quality against lag, and all tables, in one HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from detsam2_ros.cli.evaluate.figures import facts, lag_name, table
from detsam2_ros.media.page import write_page
from detsam2_ros.quality.evaluation import Evaluation
from detsam2_ros.quality.lags import Lag
from detsam2_ros.words import counted

_INK, _FAINT = '#20242a', '#d9dce1'
# Measures in the plot, and their lines; the others are parts of these.
_LINES = {
    'J&F': ('#1b6ca8', '-'), 'J': ('#1b6ca8', ':'), 'F': ('#1b6ca8', '--'),
    'HOTA': ('#c25b12', '-'), 'DetA': ('#c25b12', ':'), 'AssA': ('#c25b12', '--'),
    'IDF1': ('#1e8454', '-'), 'sMOTSA': ('#7a3e9d', '-'),
}  # fmt: skip

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; background: #f3f4f6; margin: 0; }
main { max-width: 1000px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 16px; }
h2 { font-size: 17px; margin: 0 0 8px; }
section { background: #fff; border: 1px solid #e3e6ea; border-radius: 10px; padding: 18px 20px;
  margin: 0 0 18px; overflow-x: auto; }
p { color: #5b636e; margin: 0 0 10px; }
img { max-width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font-size: 14px; margin: 0 0 14px; }
th, td { padding: 3px 18px 3px 0; border-bottom: 1px solid #eef0f2; text-align: right; }
th { color: #5b636e; font-weight: 600; }
td:first-child { text-align: left; color: #5b636e; white-space: nowrap; }
.facts td { text-align: left; }
"""
_WORDS = (
    'Lag 0 is what was published first, a lag of k what was known k frames later, final what was '
    'said last. All measures are better the higher they are, and 1 is perfect. J and F are means '
    'over things, paired one to one over the whole video.'
)


def write(
    path: Path, title: str, reports: Sequence[Evaluation], lags: Sequence[Lag],
    curve: Sequence[Lag],
) -> None:  # fmt: skip
    """Write the page; raises InputError when the file cannot be written.

    curve: the lags of the plot, which is of the first report.
    """
    image = base64.b64encode(plot(reports[0], curve)).decode('ascii')
    parts = [
        f'<h1>{escape(title)}</h1>',
        f'<section><h2>Quality against lag: {escape(reports[0].name)}</h2><p>{_WORDS}</p>'
        f'<img alt="quality against lag" src="data:image/png;base64,{image}"></section>',
        *(_section(report, lags) for report in reports),
    ]
    write_page(path, title, _STYLE, parts)


def plot(report: Evaluation, lags: Sequence[Lag]) -> bytes:
    """Draw each measure against the lag; returns a PNG file."""
    # Imported here: without a page there is no need of matplotlib. Figure is used without pyplot,
    # which would look for a display.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9.4, 4.6), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    places = [lag for lag in lags if lag is not None]
    ends = []
    for measure, (colour, line) in _LINES.items():
        values = [report.values(measure)[lag] for lag in places]
        mark = 'o' if len(places) == 1 else None
        axes.plot(places, values, line, color=colour, linewidth=1.8, label=measure, marker=mark)
        ends.append((values[-1], measure, colour))
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    axes.grid(color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel('lag: frames after the frame itself')
    axes.set_ylabel('measure')
    axes.set_xlim(0, max(places[-1], 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(
        *_in_order(axes.get_legend_handles_labels(), [end for end, _, _ in ends]),
        loc='center left', bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9,
    )  # fmt: skip
    data = io.BytesIO()
    figure.savefig(data, format='png')
    return data.getvalue()


def _in_order(legend: tuple[list, list], ends: list[float]) -> tuple[list, list]:
    """Return handles and labels in the order in which the lines end, the highest first."""
    order = sorted(range(len(ends)), key=lambda i: -ends[i])
    handles, labels = legend
    return [handles[i] for i in order], [f'{labels[i]}  {ends[i]:.3f}' for i in order]


def _section(report: Evaluation, lags: Sequence[Lag]) -> str:
    head = ''.join(f'<th>{escape(lag_name(lag))}</th>' for lag in lags)
    rows = ''.join(
        f'<tr><td>{escape(name)}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for name, cells in table(report, lags)
    )
    words = ''.join(
        f'<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>'
        for name, value in facts(report.revisions)
    )
    return (
        f'<section><h2>{escape(report.name)}, {counted(report.frames, "frame")}</h2>'
        f'<table><tr><th></th>{head}</tr>{rows}</table><table class="facts">{words}</table>'
        '</section>'
    )
