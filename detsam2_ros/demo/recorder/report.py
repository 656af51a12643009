# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The results of the recorder by phase: table, JSON and chart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detsam2_ros.client import TimelineFrame
from detsam2_ros.demo.pictures import PHASE_COLOURS
from detsam2_ros.demo.recorder.frames import Recorded
from detsam2_ros.quality.scoring import FOUND_IOU
from detsam2_ros.scene.score import MIN_VISIBLE, Score, pairs

_INK, _FAINT, _GREY, _GREEN = '#20242a', '#d9dce1', '#8a919c', '#1e8454'


@dataclass
class Phase:
    """The numbers of one part of the story."""

    name: str
    frames: int = 0
    masked: int = 0  # frames with masks
    corrected: int = 0  # frames with a correction
    corrections: int = 0
    # Seconds from the stamp of an image to the arrival of its first masks.
    latencies: list[float] = field(default_factory=list)
    # Seconds from the stamp of an image to the arrival of its last correction.
    correction_delays: list[float] = field(default_factory=list)
    first: Score = field(default_factory=Score)  # of masks as first published
    last: Score = field(default_factory=Score)  # of final masks
    found: int = 0  # balls in final masks
    named: int = 0  # found balls whose object has the name of the ball

    def add(self, frame: Recorded) -> tuple[float, float] | None:
        """Count a frame; returns mean IoU of first and last masks, None without masks or truth."""
        self.frames += 1
        if frame.first is None or frame.last is None:
            return None
        self.masked += 1
        self.corrected += frame.corrections > 0
        self.corrections += frame.corrections
        self.latencies.append((frame.masked - frame.stamp) / 1e9)
        if frame.corrections:
            self.correction_delays.append((frame.corrected - frame.stamp) / 1e9)
        balls = frame.counting_balls
        if frame.truth is None or balls is None or frame.truth.shape != frame.first.labels.shape:
            return None
        self._count_names(frame, frame.last, frame.truth, balls)
        return (
            self.first.add(frame.truth, balls, frame.first.labels),
            self.last.add(frame.truth, balls, frame.last.labels),
        )

    def _count_names(
        self, frame: Recorded, last: TimelineFrame, truth: np.ndarray, balls: np.ndarray
    ) -> None:
        names = {obj.id: obj.class_name for obj in last.objects}
        for ball, key in pairs(truth, balls, last.labels).found.items():
            if ball in frame.names:
                self.found += 1
                self.named += names.get(key) == frame.names[ball]

    def numbers(self) -> dict[str, Any]:
        """Return the numbers, ready for json; those without a value are None."""
        scored = bool(self.first.ious)
        return {
            'frames': self.frames,
            'frames_with_masks': self.masked,
            'frames_corrected': self.corrected,
            'corrections': self.corrections,
            'latency_p50_s': _percentile(self.latencies, 50),
            'latency_p99_s': _percentile(self.latencies, 99),
            'correction_delay_p50_s': _percentile(self.correction_delays, 50),
            'iou_first': round(self.first.mean, 4) if scored else None,
            'iou_final': round(self.last.mean, 4) if scored else None,
            'found_first': round(self.first.found, 4) if scored else None,
            'found_final': round(self.last.found, 4) if scored else None,
            'right_name': round(self.named / self.found, 4) if self.found else None,
            'id_switches': self.last.switches,
        }


@dataclass(frozen=True)
class Moment:
    """One frame of the chart."""

    number: int
    seconds: float  # since the first image
    phase: str
    scores: tuple[float, float] | None  # mean IoU of first and last masks
    latency: float | None  # seconds until the first masks


class Report:
    """Adds up frames, phase by phase; frames without a phase count in the total only."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = {}
        self.total = Phase('all frames')
        self.moments: list[Moment] = []
        self._start: int | None = None

    def add(self, frame: Recorded) -> tuple[float, float] | None:
        """Count a frame; returns mean IoU of first and last masks, None without masks or truth."""
        self._start = frame.stamp if self._start is None else self._start
        scores = self.total.add(frame)
        if frame.phase:
            self.phases.setdefault(frame.phase, Phase(frame.phase)).add(frame)
        latency = (frame.masked - frame.stamp) / 1e9 if frame.first is not None else None
        number = len(self.moments)
        self.moments.append(
            Moment(number, self.seconds(frame.stamp), frame.phase, scores, latency)
        )
        return scores

    def seconds(self, stamp: int) -> float:
        """Return the time since the first image, in seconds."""
        return 0.0 if self._start is None else (stamp - self._start) / 1e9

    def numbers(self) -> dict[str, Any]:
        """Return all numbers, ready for json."""
        steps = np.diff([moment.seconds for moment in self.moments]).tolist()
        return {
            'image_interval_p50_s': _percentile(steps, 50),
            'image_interval_p95_s': _percentile(steps, 95),
            'least_visible': MIN_VISIBLE,
            'found_from_iou': FOUND_IOU,
            'total': self.total.numbers(),
            'phases': {name: phase.numbers() for name, phase in self.phases.items()},
        }

    def write(self, folder: Path) -> None:
        """Write report.json, report.md and, if there are frames, chart.png."""
        numbers = self.numbers()
        (folder / 'report.json').write_text(json.dumps(numbers, indent=2) + '\n', 'utf-8')
        (folder / 'report.md').write_text(markdown(numbers), 'utf-8')
        if self.moments:
            (folder / 'chart.png').write_bytes(self._chart())

    def _chart(self) -> bytes:
        # Imported here: it takes a second, at the end only.
        import io

        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 6), dpi=110, layout='constrained')
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        scored = [moment for moment in self.moments if moment.scores is not None]
        places = [moment.number for moment in scored]
        pairs = np.array([moment.scores for moment in scored]).reshape(-1, 2)
        upper.plot(places, pairs[:, 0], '.', color=_GREY, markersize=4, label='as first published')
        upper.plot(places, pairs[:, 1], color=_GREEN, linewidth=1.4, label='after corrections')
        upper.vlines(places, *np.sort(pairs, axis=1).T, color=_GREEN, alpha=0.35, linewidth=1)
        upper.set_ylim(-0.03, 1.2)
        upper.set_yticks(np.linspace(0, 1, 6))
        upper.set_ylabel('mean IoU with the truth')
        delays = [(m.number, m.latency) for m in self.moments if m.latency is not None]
        lower.plot(*zip(*delays, strict=True) if delays else ([], []), '.', color=_INK, ms=3)
        lower.set_ylim(0, None)
        lower.set_ylabel('seconds from image\nto first masks')
        lower.set_xlabel('image')
        for order, (name, start, end) in enumerate(spans(self.moments)):
            colour = tuple(part / 255 for part in PHASE_COLOURS[order % len(PHASE_COLOURS)])
            for axes in (upper, lower):
                axes.axvspan(start, end, color=colour, alpha=0.09, linewidth=0)
            height = 1.05 + 0.07 * (order % 2)  # names of short phases would overlap
            upper.text((start + end) / 2, height, name, ha='center', color=colour, fontsize=10)
        for axes in (upper, lower):
            axes.spines[['top', 'right']].set_visible(False)
            axes.spines[['left', 'bottom']].set_color(_FAINT)
            axes.grid(axis='y', color=_FAINT, linewidth=0.6)
            axes.margins(x=0.005)
        upper.legend(loc='lower left', frameon=False, fontsize=9, ncols=2)
        data = io.BytesIO()
        figure.savefig(data, format='png')
        return data.getvalue()


def spans(moments: Iterable[Moment]) -> list[tuple[str, int, int]]:
    """Return name, first and last image of each phase, in order."""
    found: dict[str, tuple[int, int]] = {}
    for moment in moments:
        if moment.phase:
            start = found.get(moment.phase, (moment.number, 0))[0]
            found[moment.phase] = (start, moment.number)
    return [(name, *ends) for name, ends in found.items()]


def markdown(numbers: Mapping[str, Any]) -> str:
    """Return the table of phases as Markdown."""
    columns = ['phase', 'frames', 'with masks', 'corrected', 'corrections', 'latency p50 / p99',
               'IoU first', 'IoU final', 'found first', 'found final', 'right name']  # fmt: skip
    lines = ['# What the recorder measured', '', _row(columns), _row(['---'] * len(columns))]
    for name, own in [*numbers['phases'].items(), ('all frames', numbers['total'])]:
        lines.append(_row([
            name,
            str(own['frames']),
            str(own['frames_with_masks']),
            str(own['frames_corrected']),
            str(own['corrections']),
            f'{_text(own["latency_p50_s"])} / {_text(own["latency_p99_s"])} s',
            _text(own['iou_first'], '.3f'),
            _text(own['iou_final'], '.3f'),
            _text(own['found_first'], '.0%'),
            _text(own['found_final'], '.0%'),
            _text(own['right_name'], '.0%'),
        ]))  # fmt: skip
    lines += [
        '',
        f'- Images came every {_text(numbers["image_interval_p50_s"], ".3f")} s (p95 '
        f'{_text(numbers["image_interval_p95_s"], ".3f")} s).',
        '- Latency: from the stamp of an image to the arrival of its first masks. In mode window '
        'they come a window at a time, so the first frame of a window waits for the last; where '
        'inference is slower than the camera, images wait in the queue of the node.',
        f'- IoU: of each ball of which {numbers["least_visible"]:.0%} or more shows, with its '
        'object; 0 without one. Only frames with masks count.',
        f'- Found: the share of those balls whose IoU is {numbers["found_from_iou"]} or more.',
        '- Right name: of the balls found at last, those whose object has the name of the ball.',
        '- First: as published at once (revision 0). Final: after all corrections.',
        '- Frames between two phases count in the last row only.',
        '',
    ]
    return '\n'.join(lines)


def _row(cells: Iterable[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _text(value: float | None, form: str = '.2f') -> str:
    return '-' if value is None else format(value, form)


def _percentile(values: list[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 4) if values else None
