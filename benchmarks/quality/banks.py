# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a memory bank finds without prompts, and what it costs, over held-out scenes.

python -m benchmarks.quality.banks --quick      # a minute of one core
python -m benchmarks.quality.banks              # all of it, half an hour; may be stopped
python -m benchmarks.quality.banks --write --docs   # measures nothing: tables and plot

Every run is one line of the results file; one that is there, of these weights, is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness import pages, runs
from benchmarks.harness.place import ROOT
from benchmarks.quality import bank_tables
from benchmarks.quality.bank_scenes import PLACES, Pool, clip
from benchmarks.quality.clips import TruthDetector, played
from detsam2_ros.engine import Engine, EngineConfig, FrameResult, load_sam2
from detsam2_ros.engine.sam2.attended_memories import Context, select_context
from detsam2_ros.engine.sam2.memory_attention import KeyCache
from detsam2_ros.engine.sam2.steps import ImageFeatures, encode_image, track_objects
from detsam2_ros.engine.tracking import conditioning, forward_step, reverse_pass
from detsam2_ros.quality.overlap import iou_table
from detsam2_ros.quality.scoring import count_found
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import SceneFrame

K, D, M = 10, 10, 20
COUNTS = (1, 2, 4, 8, 16)
# Presence probability and frames in a row until a bank object shows up.
GATES = ((0.0, 1), (0.8, 1), (0.95, 1), (0.8, 3), (0.8, 5), (0.8, 10), (0.95, 5), (0.95, 10))
USUAL = (0.8, 1)  # of the tables that do not compare these
# Frames away in time, where bank entries have pointers.
POINTERS = (0, 4, 15)
MIN_VISIBLE = 0.25  # of a ball, for it to count
LOOKS = (0, 13, 26, 39)  # frames of a clip
WEIGHTS = hashlib.sha256((ROOT / 'models' / 'detsam2_demo.pt').read_bytes()).hexdigest()[:12]


@dataclass(frozen=True)
class Job:
    """One run of a stream over one clip.

    choice: 'detector', or how entries were chosen. mode: of the engine, or 'look': single frames
    without trail. pointer: None as the engine does it. weights: of the shipped model, first
    digits of their SHA-256.
    """

    place: str
    clip: int
    frames: int
    choice: str
    entries: int = 8
    views: int = 24
    mode: str = 'online'
    score: float = USUAL[0]
    wait: int = USUAL[1]
    pointer: int | None = None
    weights: str = WEIGHTS


def main() -> int:
    options = parse_options()
    jobs = {job: job for job in planned(options)}
    kept = journal(options.results)
    if not options.write:
        kept.measure(jobs, Bench().run)
    rows = kept.of(jobs)
    if not rows:
        print('there are no results yet: run it without --write', file=sys.stderr)
        return 1
    texts = bank_tables.tables(rows)
    print('\n\n'.join(texts.values()))
    if options.page is not None:
        pages.write(options.page, texts)
        bank_tables.plot(rows, options.page.parent / 'images' / 'banks.png')
    return 0


def journal(path: Path) -> runs.Journal[Job]:
    """Read the runs that are done; older lines are of a time before there were several weights."""
    return runs.Journal(path, runs.job_in(Job, weights=''))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--clips', type=int, help='of each place; default 3')
    parser.add_argument('--looks', type=int, help='clips that are looked at frame by frame; 8')
    parser.add_argument('--frames', type=int, help='of each clip; default 40')
    parser.add_argument('--quick', action='store_true', help='one clip of 12 frames, two banks')
    runs.add_options(parser, 'banks')
    options = parser.parse_args()
    options.clips = options.clips or (1 if options.quick else 3)
    options.looks = (1 if options.quick else 8) if options.looks is None else options.looks
    options.frames = options.frames or (12 if options.quick else 40)
    return options


def planned(options: argparse.Namespace) -> Iterator[Job]:
    """Name the runs, the main ones first."""
    jobs: list[Job] = []
    for part in (_entries, _rest):
        for number in range(options.clips):
            jobs += part(number, options.frames)
    for number in range(options.looks):
        jobs += _looks(number, options.frames)
    yield from [*jobs[:3], jobs[-1]] if options.quick else dict.fromkeys(jobs)


def _entries(number: int, frames: int) -> Iterator[Job]:
    """Name the runs over numbers of entries."""
    for place in (PLACES[0], PLACES[-1]):
        yield Job(place, number, frames, 'detector', 0)
        for entries in COUNTS:
            yield Job(place, number, frames, 'curated', entries)
        for seed in (0, 1):
            for entries in COUNTS if seed == 0 else COUNTS[-2:]:
                yield Job(place, number, frames, f'random {seed}', entries)


def _rest(number: int, frames: int) -> Iterator[Job]:
    """Name those with other settings."""
    for place in (PLACES[0], PLACES[-1]):
        for pointer in POINTERS:
            yield Job(place, number, frames, 'curated', pointer=pointer)
        yield Job(place, number, frames, 'curated', mode='window')
        yield Job(place, number, frames, 'detector', 0, mode='window')
        for score, wait in GATES:
            yield Job(place, number, frames, 'curated', score=score, wait=wait)
    yield Job(PLACES[1], number, frames, 'detector', 0)
    for choice, entries in (('curated', 1), ('curated', 8), ('random 0', 8)):
        yield Job(PLACES[1], number, frames, choice, entries)


def _looks(number: int, frames: int) -> Iterator[Job]:
    """Name the looks: frames on which objects are found from the bank alone."""
    for place in (PLACES[0], PLACES[-1], *PLACES[1:-1]):
        main = place in (PLACES[0], PLACES[-1])
        for entries in COUNTS if main else (1, 8):
            for choice in ('curated', 'random 0'):
                yield Job(place, number, frames, choice, entries, mode='look')
        if main:
            for views in (1, 2, 4, 8):
                yield Job(place, number, frames, 'views', 8, views, mode='look')
            for pointer in POINTERS:
                yield Job(place, number, frames, 'curated', pointer=pointer, mode='look')


class Bench:
    """Does runs; keeps the views of the last clip."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._model = load_sam2('demo')
        self._films: dict[tuple[str, int, int], tuple[list[SceneFrame], Pool]] = {}
        self._seen: tuple[list[SceneFrame], dict[int, ImageFeatures]] = ([], {})

    def run(self, job: Job) -> runs.Line:
        """Run one stream; returns the job and sums, so that clips add up."""
        film, pool = self._film(job)
        found = self._look if job.mode == 'look' else self._play
        return {**asdict(job), **found(job, film, pool)}

    def _play(self, job: Job, film: list[SceneFrame], pool: Pool) -> dict[str, Any]:
        config = EngineConfig(
            K, D, M, mode=job.mode, bank_object_score=job.score, bank_object_frames=job.wait
        )
        bank = None
        detector = TruthDetector(film, D, 0.0, 0) if job.choice == 'detector' else None
        engine = Engine(self._model, detector, config)
        stream = engine.open_stream('clip')
        if detector is None:
            bank = pool.bank(job.entries, job.choice, job.views)
            stream.load_bank(bank)
        begin = time.process_time()
        with bank_pointers(job.pointer):
            found = played(stream, film)
        seconds = time.process_time() - begin
        stats = engine.stats()
        absent = pool.absent if bank is not None else []
        return {
            **scored('first', film, found.first, absent),
            **scored('final', film, found.final, absent),
            'seconds': seconds,
            'track_seconds': stats.seconds.get('track', 0.0),
            'tracked': stats.tracked_frames + stats.forward_frames + stats.associated_frames,
            'entry_bytes': bank.nbytes / len(bank) if bank is not None else 0,
        }

    def _look(self, job: Job, film: list[SceneFrame], pool: Pool) -> dict[str, Any]:
        """Look for the objects on single frames, from the bank alone."""
        if film is not self._seen[0]:
            self._seen = film, {}
        bank = pool.bank(job.entries, job.choice, job.views)
        scale = max(self._model.module.max_obj_ptrs_in_encoder - 1, 1)
        contexts = {
            banked.class_id: Context(
                tuple((e.memory, self._model.module.num_maskmem - 1) for e in banked.entries),
                ()
                if job.pointer is None
                else tuple((e.memory, job.pointer / scale) for e in banked.entries),
            )
            for banked in bank.objects().values()
        }
        cache = KeyCache()
        frames, found = [film[i] for i in LOOKS if i < len(film)], []
        for frame in frames:
            with self._model.inference():
                if frame.index not in self._seen[1]:
                    tensor = self._model.preprocess(frame.image)[None]
                    self._seen[1][frame.index] = encode_image(self._model, tensor)[0]
                features = self._seen[1][frame.index]
                own: dict[int, list[Mask]] = {}
                for class_id, seen in track_objects(
                    self._model, features, contexts, cache
                ).items():
                    (mask,) = composed(seen.logits[None], frame.labels.shape)
                    if mask.any() and float(seen.score.sigmoid()) >= job.score:
                        own[class_id] = [Mask.of(mask)]
                found.append(own)
        sums = tallied('final', frames, found, pool.absent)
        return {**{k.replace('final', 'first'): v for k, v in sums.items()}, **sums}

    def _film(self, job: Job) -> tuple[list[SceneFrame], Pool]:
        key = (job.place, job.clip, job.frames)
        if key not in self._films:
            self._films.clear()
            film = clip(*key)
            self._films[key] = film, Pool(self._model, job.place, job.clip, film)
        return self._films[key]


def composed(logits_bhw: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return masks, bool [B, H, W], of logits [B, h, w]."""
    large = F.interpolate(logits_bhw[:, None], shape, mode='bilinear', align_corners=False)
    masks: np.ndarray = (large[:, 0] > 0).numpy()
    return masks


def scored(
    name: str, film: list[SceneFrame], results: dict[int, FrameResult], absent: list[int]
) -> dict[str, float]:
    """Score one revision of every frame; results: by place in the film."""
    found = []
    for index in range(len(film)):
        own: dict[int, list[Mask]] = {}
        for entry in results[index].objects:
            if entry.visible:
                own.setdefault(entry.class_id, []).append(entry.mask)
        found.append(own)
    return tallied(name, film, found, absent)


def tallied(
    name: str,
    frames: list[SceneFrame],
    found: list[dict[int, list[Mask]]],
    absent: list[int],
) -> dict[str, float]:
    """Score masks by class and frame: a mask counts under its own name alone.

    Wrong: on something else. False: absent objects that show up.
    """
    ious, wrong, shown, objects = [], 0, 0, set()
    for frame, own in zip(frames, found, strict=True):
        for ball, kind, seen in zip(
            frame.ids, frame.class_ids, frame.visible_fraction, strict=True
        ):
            if seen >= MIN_VISIBLE:
                masks = own.get(int(kind), [])
                best = iou_table([Mask.of(frame.labels == ball)], masks).max(initial=0.0)
                ious.append(float(best))
                wrong += int(bool(masks) and best < 0.1)
        shown += sum(kind in own for kind in absent)
        objects |= {kind for kind in absent if kind in own}
    return {
        f'{name}_iou': float(np.mean(ious)),
        f'{name}_ious': float(np.sum(ious)),
        f'{name}_balls': len(ious),
        f'{name}_found': count_found(ious),
        f'{name}_wrong': wrong,
        f'{name}_false': shown,
        f'{name}_absent': len(absent) * len(frames),
        f'{name}_false_objects': len(objects),
        f'{name}_absent_objects': len(absent),
    }


@contextlib.contextmanager
def bank_pointers(distance: int | None) -> Iterator[None]:
    """Let frames read pointers of bank entries too, at so many frames away; None = as it is."""
    if distance is None:
        yield
        return

    def with_pointers(model: Any, recall: Any, *args: Any, **more: Any) -> Context:
        context = select_context(model, recall, *args, **more)
        scale = max(model.module.max_obj_ptrs_in_encoder - 1, 1)
        own = tuple((memory, distance / scale) for memory in recall.bank)
        return Context(context.spatial, own + context.pointers)

    with contextlib.ExitStack() as stack:
        for module in (forward_step, conditioning, reverse_pass):
            stack.enter_context(mock.patch.object(module, 'select_context', with_pointers))
        yield


if __name__ == '__main__':
    sys.exit(main())
