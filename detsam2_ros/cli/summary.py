# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Counts of a run: the numbers of the report and of the last lines on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from detsam2_ros.media.timeline import Settled
from detsam2_ros.results.frames import FrameResult

# Written by this command; the others come from the engine.
FILE_STAGES = ('read', 'draw and write')


@dataclass
class Presence:
    """The frames on which an object was visible."""

    class_name: str
    runs: list[list[int]] = field(default_factory=list)  # first and last frame, inclusive
    corrected: list[int] = field(default_factory=list)  # frames that were corrected notably

    def see(self, index: int) -> None:
        """Extend the last run by a frame, or begin another; frames come in order."""
        if self.runs and self.runs[-1][1] == index - 1:
            self.runs[-1][1] = index
        else:
            self.runs.append([index, index])

    @property
    def frames(self) -> int:
        """Frames on which it was visible."""
        return sum(last - first + 1 for first, last in self.runs)


@dataclass
class Summary:
    """Numbers of a run."""

    frames: int = 0  # read
    settled: int = 0  # final, see media.timeline
    wanted: int | None = None  # frames that there should be; None when unknown
    broken_off: bool = False  # by the user, or because a frame could not be read
    # Newest frame at each pass that corrected some, and how many frames it corrected.
    corrected: list[tuple[int, int]] = field(default_factory=list)
    changed: int = 0  # settled frames with any correction
    notable: int = 0  # settled frames that were corrected notably, see media.timeline
    presence: dict[int, Presence] = field(default_factory=dict)  # by object id
    withdrawn: set[int] = field(default_factory=set)  # ids that stood for nothing
    # Wall clock seconds of FILE_STAGES.
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(FILE_STAGES, 0.0))
    wall: float = 0.0  # seconds of the whole run
    engine: Any = None  # engine.Stats, with the seconds of the engine's stages

    def add_results(self, results: Iterable[FrameResult]) -> None:
        """Count the corrections among the results of one call of the stream."""
        results = list(results)
        if count := sum(result.revision > 0 for result in results):
            self.corrected.append((max(result.index for result in results), count))

    def add_settled(self, settled: Settled) -> None:
        """Count a final frame."""
        self.settled += 1
        self.changed += settled.last.revision > 0
        self.notable += bool(settled.corrected)
        self.withdrawn |= set(settled.withdrawn)
        for obj in settled.last.objects:
            if obj.visible:
                presence = self.presence.setdefault(obj.id, Presence(obj.class_name))
                presence.see(settled.index)
        for key in settled.corrected:
            if key in self.presence:
                self.presence[key].corrected.append(settled.index)

    @property
    def ending(self) -> str:
        """What to say of a run that was broken off, '' of a whole one."""
        of = f' of {self.wanted}' if self.wanted else ''
        unit = 'frame' if (self.wanted or self.settled) == 1 else 'frames'
        return f'broken off after {self.settled}{of} {unit}' if self.broken_off else ''

    @property
    def passes(self) -> int:
        """Reverse passes that the engine did, also those that corrected nothing."""
        return self.engine.passes if self.engine is not None else len(self.corrected)

    @property
    def corrections(self) -> int:
        """Published corrections: one for each frame and pass that changed it."""
        return sum(count for _, count in self.corrected)

    def stages(self) -> dict[str, float]:
        """Return the seconds of every stage that took time, the engine's stages first."""
        engine = dict(self.engine.seconds) if self.engine is not None else {}
        merged = {**engine, **self.seconds}
        merged['other'] = max(0.0, self.wall - sum(merged.values()))
        return {name: seconds for name, seconds in merged.items() if seconds > 0.0005}

    def facts(self) -> list[tuple[str, str]]:
        """Return (name, value) pairs to print, in reading order."""
        fps = self.settled / self.wall if self.wall else 0.0
        facts = [
            ('frames', '; '.join(filter(None, (f'{self.settled}', self.ending)))),
            ('objects', f'{len(self.presence)}{self._classes()}{self._taken_back()}'),
            ('passes', f'{self.passes}'),
            (
                'corrections',
                f'{self.corrections} ({self.changed} frames changed, {self.notable} notably)',
            ),
        ]
        if self.engine is not None:
            facts[1:1] = [
                ('image encodings', f'{self.engine.encodings}'),
                ('tracked frames', f'{self.engine.tracked_frames} (frames x objects)'),
                ('prompted frames', f'{self.engine.conditioned_frames} (frames x objects)'),
                ('detections', self._detections()),
            ]
            if self.engine.device_bytes:
                facts.append(('GPU memory', f'{self.engine.device_bytes / 2**20:.0f} MiB'))
        facts.append(('overall', f'{self.wall:.1f} s, {fps:.2f} frames/s'))
        return facts

    def text(self) -> str:
        """Return the summary as lines for a terminal."""
        lines = [f'  {name:<16} {value}' for name, value in self.facts()]
        lines.append('  by stage')
        for name, seconds in self.stages().items():
            rate = f'{self.settled / seconds:9.1f} frames/s' if name != 'other' else ''
            lines.append(f'    {name:<14} {seconds:8.2f} s  {rate}'.rstrip())
        return '\n'.join(lines)

    @property
    def detector_never_worked(self) -> bool:
        """Whether there is a detector that failed each time that it was asked."""
        stats = self.engine
        return bool(stats and stats.detector_failures and not stats.detector_frames)

    @property
    def detector_failures(self) -> str:
        """How often the detector failed, in words; empty when it never did."""
        count = self.engine.detector_failures
        often = 'once' if count == 1 else f'{count} times'
        return f'the detector failed {often}' if count else ''

    def _detections(self) -> str:
        found = f'{self.engine.detections} on {self.engine.detector_frames} frames'
        return '; '.join(filter(None, (found, self.detector_failures)))

    def _taken_back(self) -> str:
        count = len(self.withdrawn - self.presence.keys())
        return f'; {count} more shown and withdrawn' if count else ''

    def _classes(self) -> str:
        names: dict[str, int] = {}
        for presence in self.presence.values():
            names[presence.class_name] = names.get(presence.class_name, 0) + 1
        most = sorted(names.items(), key=lambda item: (-item[1], item[0]))
        shown = [f'{count} {name}' if count > 1 else name for name, count in most[:8]]
        more = ', ...' if len(most) > 8 else ''
        return f' ({", ".join(shown)}{more})' if shown else ''
