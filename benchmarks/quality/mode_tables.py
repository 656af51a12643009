# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The table and the plot of `modes.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from benchmarks.harness.pages import markdown
from detsam2_ros.quality.scoring import FOUND_IOU

COLOURS = {'window': '#2a6fbb', 'online': '#d9731a'}

HEAD = (
    'case', 'K, D, M', 'mode', 'IoU rev. 0', 'IoU final', 'found rev. 0', 'found final',
    'switches rev. 0', 'switches final', 'stray final', 'wait', 'work',
)  # fmt: skip

Row = dict[str, float]
Key = tuple[str, tuple[int, int, int], str]  # case, (K, D, M), mode


def add_up(rows: Iterable[Row]) -> dict[Key, Row]:
    """Add up clips; means are over all balls on all frames."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row['case'], (row['K'], row['D'], row['M']), row['mode']].append(row)
    return {key: _summary(group) for key, group in groups.items()}


def _summary(group: list[Row]) -> Row:
    def total(name: str) -> float:
        return sum(row[name] for row in group)

    frames = total('frames')
    found = {
        'wait': total('wait') / len(group),
        'seconds': total('seconds') / len(group),
        'tracked': total('tracked') / frames,
    }
    for name in ('first', 'final'):
        found |= {
            f'{name}_iou': total(f'{name}_ious') / total(f'{name}_balls'),
            f'{name}_found': total(f'{name}_found') / total(f'{name}_balls'),
            f'{name}_switches': total(f'{name}_switches') * 1000 / frames,
            f'{name}_stray': total(f'{name}_stray') / max(total(f'{name}_shown'), 1),
        }
    return found


def table(summed: dict[Key, Row], rows: list[Row]) -> str:
    """Return the results as a markdown table."""
    clips = len({row['seed'] for row in rows})
    frames = max(int(row['frames']) for row in rows)
    about = (
        f'Clips a case: {clips}, of {frames} frames and {int(rows[0]["balls"])} balls. IoU and '
        f'found (IoU >= {FOUND_IOU}): of all balls with a visible pixel, one to one. Switches: of '
        'ids, a thousand frames. Stray: share of shown masks without a ball. Wait: frames until '
        'revision 0. Work: tracked frames of objects, a frame.'
    )
    cells = []
    for (case, setting, mode), row in sorted(summed.items()):
        cells.append([
            case, ', '.join(map(str, setting)), mode,
            *(f'{row[name]:.3f}' for name in
              ('first_iou', 'final_iou', 'first_found', 'final_found')),
            f'{row["first_switches"]:.0f}', f'{row["final_switches"]:.0f}',
            f'{row["final_stray"]:.3f}', f'{row["wait"]:.1f}', f'{row["tracked"]:.1f}',
        ])  # fmt: skip
    return f'{about}\n\n{markdown(HEAD, cells)}'


def plot(summed: dict[Key, Row], picture: Path) -> None:
    """Draw IoU of revision 0 (hollow) and of the final one (full) by case, setting and mode."""
    from matplotlib.figure import Figure

    cases = list(dict.fromkeys(case for case, _, _ in summed))
    settings = sorted({setting for _, setting, _ in summed})
    figure = Figure(figsize=(2 + 2.6 * len(cases), 0.6 + 0.55 * len(settings)), dpi=110)
    panels = figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]
    for axes, case in zip(panels, cases, strict=True):
        for (of, setting, mode), row in summed.items():
            if of != case:
                continue
            y = settings.index(setting) + (0.16 if mode == 'online' else -0.16)
            first, final, colour = row['first_iou'], row['final_iou'], COLOURS[mode]
            axes.plot([first, final], [y, y], color=colour, linewidth=2)
            axes.plot(first, y, 'o', markersize=6, markerfacecolor='white', color=colour)
            axes.plot(final, y, 'o', markersize=6, color=colour)
        axes.set_title(case, fontsize=10)
        axes.set_xlabel('IoU')
        axes.grid(axis='x', color='#dddddd')
        axes.spines[['top', 'right']].set_visible(False)
    panels[0].set_yticks(range(len(settings)))
    panels[0].set_yticklabels(['K {}  D {}  M {}'.format(*at) for at in settings])
    panels[0].invert_yaxis()
    for mode, colour in COLOURS.items():
        panels[-1].plot([], [], 'o-', color=colour, label=mode)
    panels[-1].plot([], [], 'o', color='#555555', markerfacecolor='white', label='revision 0')
    panels[-1].plot([], [], 'o', color='#555555', label='final')
    figure.legend(loc='outside right upper', fontsize=8)
    figure.tight_layout(rect=(0, 0, 0.9, 1))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
