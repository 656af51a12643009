# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Results as the tables of docs/measured/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.harness.pages import markdown
from benchmarks.harness.place import NATIVE
from benchmarks.speed import compare, node
from benchmarks.speed.endurance import verdict
from benchmarks.speed.operations import NEIGHBOURS, POINTERS
from benchmarks.speed.results import Row

NAMES = {
    'demo': 'shipped demo', 'tiny': 'SAM 2.1 tiny', 'small': 'SAM 2.1 small',
    'base_plus': 'SAM 2.1 base+', 'large': 'SAM 2.1 large', 'rehearsal': 'rehearsal',
}  # fmt: skip
GROWS = {'objects': 'objects', 'reach': 'K, M', 'cameras': 'cameras', 'bank': 'bank entries'}
Cells = list[list[str]]


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """Return a markdown table for each section that there are results of, by name."""
    makers: dict[str, Callable[[list[Row]], str]] = {
        'compare': compare_table,
        'options': options_table,
        'operations': operations_table,
        'launches': launches_table,
        'stages': stages_table,
        'growth': growth_table,
        'latency': latency_table,
        'endurance': endurance_table,
        'node': lambda own: node.table([row.found for row in own]),
    }
    found = {'machine': machine_text(rows)}
    for name, maker in makers.items():
        own = [row for row in rows if row.section == name]
        if own:
            found[name] = maker(own)
    return found


def model_of(job: dict[str, Any]) -> str:
    """Name a model and its size."""
    return f'{NAMES[job["model"]]}, {job["size"] or NATIVE.get(job["model"], 1024)} px'


def machine_text(rows: Sequence[Row]) -> str:
    """Say on what was measured: the places of the rows, each once."""
    found = {}
    for row in rows:
        m = row.machine
        where = f'{m["cpu"]} ({m["cores"]} cores), {m["threads"]} thread(s)'
        if 'gpu' in m:
            where = f'{m["gpu"]} ({m["gpu_bytes"] / 2**30:.0f} GiB), CUDA {m["cuda"]}; {where}'
        text = (
            f'{where}; {m["dtype"]}; torch {m["torch"]}, sam2 {m["sam2"]}, Python '
            f'{m["python"]}; clock: {m["clock"]}'
        )
        found[text, row.code] = f'- {text}; engine code {row.code}'
    return '\n'.join(found.values())


def compare_table(rows: list[Row]) -> str:
    """Ours against sam2's own predictor, identical masks."""
    cells: Cells = []
    for row in sorted(rows, key=lambda r: (r.job['size'] or 0, r.job['model'], r.job['objects'])):
        ours, other = row.found['sides'][compare.PLAIN], row.found['sides'][compare.REFERENCE]
        cells.append([
            model_of(row.job), str(row.job['objects']), f'{row.job["K"]}, {row.job["M"]}',
            _rate(ours), _rate(other), f'**{ours["ratio"]:.2f}**',
            f'{ours["encodings"]:.2f} / {other["encodings"]:.2f}',
            f'{ours["iou_reference"]:.5f}',
        ])  # fmt: skip
    return markdown((
        'model', 'objects', 'K = D, M', 'engine, frames/s', 'sam2 predictor, frames/s', 'ratio',
        'encodings a frame', 'mean IoU',
    ), cells)  # fmt: skip


def options_table(rows: list[Row]) -> str:
    """Options that change masks a little: speed and IoU, all from one run."""
    cells: Cells = [
        [
            str(row.job['objects']), 'all memories, as sam2' if name == compare.PLAIN else name,
            _rate(side), f'{side["to_plain"]:.2f}', f'**{side["ratio"]:.2f}**',
            f'{side["iou_default"]:.4f}', f'{side["iou_plain"]:.4f}',
        ]
        for row in rows
        for name, side in row.found['sides'].items()
        if name != compare.REFERENCE
    ]  # fmt: skip
    return markdown((
        'objects', 'options', 'frames/s', 'times the first', 'times sam2 predictor',
        'IoU to the default', 'IoU to the first',
    ), cells)  # fmt: skip


def operations_table(rows: list[Row]) -> str:
    """Multiply-adds of each step."""
    steps = ('encode', 'decode_prompt', 'track', 'encode_memory')
    memories = rows[0].job['memories']
    return markdown((
        'GMAC', 'encode, a frame', 'decode_prompt, an object',
        f'track, an object ({memories} memories: {NEIGHBOURS} neighbours and '
        f'{memories - NEIGHBOURS} prompted; {POINTERS} pointers)',
        'encode_memory, an object',
    ), (
        [model_of(row.job), *(f'{row.found[step]["macs"] / 1e9:.3g}' for step in steps)]
        for row in rows
    ))  # fmt: skip


def launches_table(rows: list[Row]) -> str:
    """Operations that a whole window starts, by frame of the stream."""
    cells: Cells = []
    for row in rows:
        ours, other = row.found[compare.PLAIN], row.found[compare.REFERENCE]
        cells.append([
            model_of(row.job), row.job['dtype'], str(row.job['objects']),
            f'{row.job["K"]}, {row.job["M"]}', str(ours['launches']), str(other['launches']),
            f'{ours["macs"] / 1e9:.3g} / {other["macs"] / 1e9:.3g}',
            f'{ours["moved"] / 1e9:.2f} / {other["moved"] / 1e9:.2f}',
        ])  # fmt: skip
    return markdown((
        'model', 'dtype', 'objects', 'K = D, M', 'engine, operations a frame',
        'sam2 predictor, operations a frame', 'GMAC a frame', 'GB moved a frame',
    ), cells)  # fmt: skip


def stages_table(rows: list[Row]) -> str:
    """Time by stage, and the share of it that is the floor."""
    cells: Cells = []
    for row in rows:
        found, stages = row.found, row.found['stages']
        label = f'{model_of(row.job)}, {row.job["objects"]} obj., {row.job["mode"]}'
        for name, stage in stages.items():
            if stage['macs'] or stage['seconds'] >= 0.005 * found['frame_s']:
                cells.append([label, name, *_stage(stage, found['rate'])])
        cells.append([label, 'the rest: host', f'{1000 * found["rest"]:.1f}', '', '', '', ''])
        whole = {
            'seconds': found['frame_s'],
            **{of: sum(stage[of] for stage in stages.values()) for of in ('macs', 'launches')},
        }
        cells.append([label, '**all**', *_stage(whole, found['rate'])])
    rate = ', '.join(sorted({f'{row.found["rate"] / 1e9:.3g}' for row in rows}))
    head = ('setting', 'stage', 'ms a frame', 'GMAC a frame', 'floor, ms', 'share', 'operations')
    return f'Matrix products in these runs: {rate} GMAC/s.\n\n{markdown(head, cells)}'


def _stage(stage: dict[str, Any], rate: float) -> list[str]:
    seconds, floor = stage['seconds'], stage['macs'] / rate
    share = f'{floor / seconds:.0%}' if seconds > 0 else ''
    return [
        f'{1000 * seconds:.1f}', f'{stage["macs"] / 1e9:.3g}', f'{1000 * floor:.1f}', share,
        str(stage['launches']),
    ]  # fmt: skip


def growth_table(rows: list[Row]) -> str:
    """How time per frame grows with one parameter."""
    head = ('what grows', 'value', 'ms a frame and camera', 'times the first', 'encodings a frame')
    return markdown(head, (
        [
            GROWS[row.job['by']], lane['name'], f'{1000 * lane["frame_s"]:.1f}',
            f'{lane["times"]:.2f}', f'{lane["encodings"]:.2f}',
        ]
        for row in rows
        for lane in row.found['lanes']
    ))  # fmt: skip


def latency_table(rows: list[Row]) -> str:
    """Latency from arrival to revision 0."""
    cells: Cells = []
    for row in rows:
        runs = [(f'{run["rate"]:g} Hz', run) for run in row.found['runs']]
        held = row.found['held']
        runs.append((f'{held["rate"]:.1f} Hz, highest held', held) if held else ('none held', {}))
        for name, run in runs:
            cells.append([
                model_of(row.job), str(row.job['objects']), row.job['mode'], name,
                *(_ms(run.get(part)) for part in ('p50', 'p99')),
                f'{run["drops"]:.0%}' if run else '',
            ])  # fmt: skip
    return markdown(('model', 'objects', 'mode', 'camera', 'p50', 'p99', 'dropped'), cells)


def endurance_table(rows: list[Row]) -> str:
    """Bytes and time over a long stream."""
    cells: Cells = []
    for row in rows:
        said, thirds = verdict(row.found), row.found['thirds']
        label = [f'{model_of(row.job)}, {row.job["mode"]}', str(row.found['frames'])]
        for part, growth in said['growth'].items():
            held = (f'{third[part] / 1e6:.1f}' for third in thirds)
            cells.append([*label, f'bytes, {part}: MB', *held, f'{growth / 1e6:+.1f} MB'])
        cells.append([
            *label, 'ms a frame', *(f'{1000 * third["frame_s"]:.1f}' for third in thirds),
            f'{said["raw_drift"]:+.1%}; {said["drift"]:+.1%} against work that is always the same',
        ])  # fmt: skip
    head = ('stream', 'frames', 'median of', 'first third', 'second', 'last', 'last - first')
    return markdown(head, cells)


def _rate(side: dict[str, Any]) -> str:
    return f'{1 / side["frame_s"]:.3g}'


def _ms(seconds: float | None) -> str:
    return '' if seconds is None else f'{1000 * seconds:.0f} ms'
