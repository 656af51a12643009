# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Do balls that were away for long get their old id, and does nobody else get it?

python -m benchmarks.quality.returns            # shipped model, held-out clips, one CPU thread
python -m benchmarks.quality.returns --write --docs   # measures nothing: the table of the page

Mode online, K = D = 10, M = 40, quality balanced. Balls roll into a pocket and come out of another
one after 80 to 400 frames. One run of a clip is one line of the results file, and one that is
there is not made again. The settings of a clip share its encodings, whose time is not counted,
and the frames before anything can be dormant: times are those of the frames after.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.quality.balanced import encodings
from benchmarks.quality.clips import Played
from benchmarks.quality.false_boxes import TRUE, ErringDetector, Errors, Found, found_in
from benchmarks.quality.ghost_measures import MIN_VISIBLE, cover
from benchmarks.quality.return_scenes import Plot, Trip, clip_of
from benchmarks.quality.scenery import Scenery
from detsam2_ros.engine import Detections, Engine, EngineConfig, FrameResult, Stream
from detsam2_ros.engine.sam2.memory_attention import KeyCache
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.quality.ghosts import Cover
from detsam2_ros.quality.scoring import FOUND_IOU
from detsam2_ros.scene.scene import SceneFrame

# The shipped models were trained on seeds below 1,000,000.
FIRST_SEED = 1_007_000
# By its id of this many frames before and after: the one that it has on most of them.
SPAN = 40


@dataclass(frozen=True)
class Case:
    """What the balls look like and do, and how the detector errs."""

    plot: Plot = field(default_factory=Plot)
    one_class: bool = False  # the detector calls all balls by one class
    false_boxes: float = 0.0  # share of detection frames with one of the class of an absent ball


CASES: dict[str, Case] = {
    'distinct': Case(),
    'other light': Case(Plot(light=True)),
    'look-alikes': Case(Plot(alike=True)),
    'confused classes': Case(Plot(confusable=True), one_class=True),
    'a stranger': Case(Plot(alike=True, stranger=True)),
    'false boxes': Case(false_boxes=0.5),
}
SETTINGS: dict[str, dict[str, object]] = {
    'no recall': {'max_dormant_objects': 0},
    'recall 0.5': {'recall_score': 0.5},
    'recall 0.8': {'recall_score': 0.8},
    'recall 0.9': {'recall_score': 0.9},
    'recall 0.95': {'recall_score': 0.95},
}
OUTCOMES = ('old', 'wrong', 'new', 'lost')


@dataclass(frozen=True)
class Job:
    """One setting's stream over one clip."""

    case: str
    setting: str
    seed: int


def main() -> int:
    options = parse_options()
    text = table(runs.measured(options, Job, planned(options), run))
    print(text)
    if options.page is not None:
        pages.write(options.page, {'returns': text})
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument('--clips', type=int, default=10, help='clips a case')
    parser.add_argument('--first', type=int, default=0, help='the first of them')
    parser.add_argument('--limit', type=int, help='measure so many runs at most')
    runs.add_options(parser, 'returns')
    return parser.parse_args()


def planned(options: argparse.Namespace) -> Iterator[Job]:
    """Name the runs, all of a clip in a row."""
    for number in range(options.first, options.clips):
        for case in options.cases:
            for setting in options.settings:
                yield Job(case, setting, FIRST_SEED + number)


@functools.lru_cache(maxsize=1)
def _film(plot: Plot, seed: int) -> tuple[list[SceneFrame], list[Scenery], list[Trip]]:
    """Render a clip; the last one is kept, and encodings of no other."""
    encodings('bfloat16').known.clear()
    return clip_of(seed, plot)


@functools.lru_cache(maxsize=1)
def _begun(case_name: str, seed: int) -> tuple[StreamState, Played]:
    """Run a clip up to where the first object may be dormant: what all settings share."""
    film, found, trips = _shown(case_name, seed)
    model, config = encodings('bfloat16').model, EngineConfig.of('balanced')
    engine = Engine(model, ErringDetector(found), config)
    stream, clip = engine.open_stream('clip'), Played()
    play(stream, film[: fork(trips)], clip)
    return stream._holder.state, clip


@functools.lru_cache(maxsize=1)
def _shown(case_name: str, seed: int) -> tuple[list[SceneFrame], dict[int, Found], list[Trip]]:
    case, interval = CASES[case_name], EngineConfig.of('balanced').detect_interval
    film, scenery, trips = _film(case.plot, seed)
    return film, detected(film, scenery, trips, case, interval, seed), trips


def fork(trips: Sequence[Trip]) -> int:
    """Return a frame before which no ball can have been away for max_lost_frames."""
    return min(t.leaves for t in trips if t.leaves is not None) + 60


def play(stream: Stream, film: Sequence[SceneFrame], clip: Played) -> None:
    """Show a stream frames and note the results."""
    for frame in film:
        _note(stream.push(frame.image, frame.index), clip)


def _note(results: Sequence[FrameResult], clip: Played) -> None:
    for result in results:
        clip.first.setdefault(result.index, result)
        clip.final[result.index] = result


def run(job: Job) -> runs.Line:
    """Run one stream; returns the job, what became of ids, and times."""
    torch.set_num_threads(1)
    encoded = encodings('bfloat16')
    film, found, trips = _shown(job.case, job.seed)
    state, before = _begun(job.case, job.seed)
    clip, at = Played(dict(before.first), dict(before.final)), fork(trips)
    rest = {index: own for index, own in found.items() if index >= at}
    config = EngineConfig.of('balanced', **SETTINGS[job.setting])
    engine = Engine(encoded.model, ErringDetector(rest), config)
    stream = engine.open_stream('clip')
    stream._holder.commit(replace(state, cache=KeyCache()))
    begin = time.process_time() - encoded.seconds
    play(stream, film[at:], clip)
    seconds = time.process_time() - encoded.seconds - begin
    _note(stream.flush(), clip)
    covers = [cover(f, {t.id: t.mask for t in clip.final[f.index].objects}) for f in film]
    return {
        **asdict(job),
        'outcomes': [outcome(film, covers, trip) for trip in trips],
        'away': [0 if trip.leaves is None else trip.returns - trip.leaves for trip in trips],
        'lent': sum(ids_lent(film, covers, clip, trip, found) for trip in trips),
        'recalled': engine.stats().recalled_objects,
        'frames': len(film) - at,
        'seconds': seconds,
    }


def detected(
    film: Sequence[SceneFrame],
    scenery: Sequence[Scenery],
    trips: Sequence[Trip],
    case: Case,
    interval: int,
    seed: int,
) -> dict[int, Found]:
    """Return what the detector finds, by frame: all balls, and false boxes where one is away.

    A false box has the class of a ball that has been away for long enough to be forgotten.
    """
    exact = found_in(film, scenery, interval, Errors(0.0, 0.0), seed)
    found = found_in(film, scenery, interval, Errors(case.false_boxes, 0.0), seed)
    for index, own in found.items():
        away = [t for t in trips if t.leaves is not None and t.leaves + 90 < index < t.returns]
        rng = np.random.default_rng((seed, index, 3))
        if not away:
            own = exact[index]
        classes = own.detections.class_ids.copy()
        for row, kind in enumerate(own.kinds):
            if kind != TRUE and kind != 'double':
                classes[row] = film[0].class_ids[away[rng.integers(len(away))].ball]
        if case.one_class:
            classes[:] = film[0].class_ids[0]
        found[index] = replace(
            own, detections=Detections(own.detections.boxes, classes, own.detections.scores)
        )
    return found


def outcome(film: Sequence[SceneFrame], covers: Sequence[Cover], trip: Trip) -> str:
    """Return what became of the id of a ball that returns, one of OUTCOMES.

    wrong: it has the id of something that was seen before it returned, and is not its own.
    """
    before = None if trip.leaves is None else usual_id(film, covers, trip.ball, trip.leaves - SPAN)
    after = usual_id(film, covers, trip.ball, trip.returns)
    earlier = covers[: trip.returns]
    if after is None:
        return 'lost'
    if after == before:
        return 'old'
    seen = {id_ for each in earlier for id_ in (*each.things, *each.ghosts)}
    return 'wrong' if after in seen else 'new'


def usual_id(
    film: Sequence[SceneFrame], covers: Sequence[Cover], ball: int, first: int
) -> int | None:
    """Return the id that a ball (counted from 0) has on most of SPAN frames; None without any."""
    ids: Counter[int] = Counter()
    for frame, each in list(zip(film, covers, strict=True))[max(first, 0) : max(first, 0) + SPAN]:
        if frame.visible_fraction[ball] < MIN_VISIBLE or each.ious[ball + 1] < FOUND_IOU:
            continue
        ids.update(id_ for id_, shown in each.things.items() if shown == ball + 1)
    return ids.most_common(1)[0][0] if ids else None


def ids_lent(
    film: Sequence[SceneFrame],
    covers: Sequence[Cover],
    clip: Played,
    trip: Trip,
    found: Mapping[int, Found],
) -> bool:
    """Tell whether something else was given the id of a ball that was away."""
    if trip.leaves is None:
        return False
    own = usual_id(film, covers, trip.ball, trip.leaves - SPAN)
    at = [index for index in found if trip.leaves + SPAN < index < trip.returns]
    return any(_is_prompted(clip.first[index], own) for index in at)


def _is_prompted(result: FrameResult, id_: int | None) -> bool:
    return any(thing.id == id_ and thing.conditioned for thing in result.objects)


def table(rows: Sequence[runs.Line]) -> str:
    """Return the results as a markdown table: a line a case and setting, clips added up.

    What is seen for the first time (away for 0 frames) has lines of its own.
    """
    lines = []
    for case in CASES:
        for setting in SETTINGS:
            own = [row for row in rows if (row['case'], row['setting']) == (case, setting)]
            events = [
                (away > 0, result)
                for row in own
                for away, result in zip(row['away'], row['outcomes'], strict=True)
            ]
            for back in sorted({back for back, _ in events}, reverse=True):
                counts = Counter(result for was, result in events if was == back)
                lines.append([
                    case, 'returns' if back else 'is new', setting, str(len(own)),
                    *(str(counts[name]) for name in OUTCOMES), str(sum(r['lent'] for r in own)),
                    f'{1000 * sum(r["seconds"] for r in own) / sum(r["frames"] for r in own):.0f}',
                ])  # fmt: skip
    head = (
        'case', 'a ball', 'setting', 'clips', 'old id', 'wrong id', 'new id', 'not found',
        'ids lent', 'ms a frame',
    )  # fmt: skip
    return pages.markdown(head, lines)


if __name__ == '__main__':
    sys.exit(main())
