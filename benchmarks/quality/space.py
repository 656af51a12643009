# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far are objects from where they are placed, with a stereo camera's depth?

python -m benchmarks.quality.space                    # shipped model, held-out clips, a core
python -m benchmarks.quality.space --write --docs     # measures nothing: the tables of the page
python -m benchmarks.quality.space --cost [--docs]    # ms a frame and a correction
python -m benchmarks.quality.space --picture FILE     # draws one frame of a clip

The rendered table is seen by a tilted camera of 640 x 480 with true depth, 8 balls, an arm now and
then. Mode online, K = D = 10, M = 40, quality balanced. Depth gets the errors of a stereo camera
and comes a frame late. The masks are those of the engine, so errors of masks count; the truth is
the mean of the points of each ball's visible pixels. One clip is one line of the results file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.quality.clips import TruthDetector
from benchmarks.quality.space_picture import draw
from detsam2_ros.client.frame import Labels, TimelineFrame
from detsam2_ros.engine import Engine, EngineConfig, FrameResult, load_sam2
from detsam2_ros.results.frames import ObjectInfo
from detsam2_ros.results.masks import mask_box
from detsam2_ros.results.space import SpaceFrame
from detsam2_ros.scene.scene import SceneOptions
from detsam2_ros.scene.score import MIN_VISIBLE, pairs
from detsam2_ros.scene.stereo import StereoNoise, stereo_depth
from detsam2_ros.scene.tilted import BALL_RADIUS, TiltedFrame, TiltedScene
from detsam2_ros.space.camera import CameraModel
from detsam2_ros.space.depth import DepthImage
from detsam2_ros.space.stream import Placed, SpaceOptions, SpaceStream

# The shipped models were trained on seeds below 1,000,000.
FIRST_SEED = 1_009_000
LENGTH, BALLS, STEP = 60, 8, 100_000_000  # frames, balls, nanoseconds between frames
# name: the depth camera's errors, how many frames a depth image is older than the frame that it
# serves, and the share of boxes that the detector misses.
CASES: dict[str, tuple[StereoNoise | None, int, float]] = {
    'exact depth': (None, 0, 0.0),
    'stereo': (StereoNoise(), 0, 0.0),
    'stereo, boxes missed': (StereoNoise(), 0, 0.3),
    'stereo, half resolution': (StereoNoise(step=0.5, sigma=0.3), 0, 0.0),
    'stereo, a frame old': (StereoNoise(), 1, 0.0),
}


@dataclass(frozen=True)
class Job:
    """One clip with one kind of depth."""

    case: str
    seed: int


@dataclass(frozen=True)
class Film:
    """A clip, what was published of it, and the time that placing took."""

    scene: TiltedScene
    frames: list[TiltedFrame]
    first: dict[int, SpaceFrame]
    final: dict[int, SpaceFrame]
    masks: dict[int, FrameResult]  # final
    stream: SpaceStream
    seconds: float  # of the processor, from masks and depth to positions


def main() -> int:
    options = parse_options()
    if options.picture is not None:
        film = shown(Job('stereo', FIRST_SEED))
        draw(options.picture, film.frames[45], film.final[45], film.masks[45], film.scene.matrix)
        return 0
    if options.cost:
        print(text := cost())
        if options.page is not None:
            pages.write(options.page, {'space_cost': text})
        return 0
    rows = runs.measured(options, Job, planned(options), run)
    texts = {'space': table(rows)}
    print(texts['space'])
    if options.page is not None:
        pages.write(options.page, texts)
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--clips', type=int, default=4, help='clips a case')
    parser.add_argument('--limit', type=int, help='measure so many runs at most')
    parser.add_argument('--picture', type=Path, help='draw a frame into this file, no more')
    parser.add_argument('--cost', action='store_true', help='measure times only')
    runs.add_options(parser, 'space')
    return parser.parse_args()


def planned(options: argparse.Namespace) -> Iterator[Job]:
    for number in range(options.clips):
        for case in options.cases:
            yield Job(case, FIRST_SEED + number)


def shown(job: Job) -> Film:
    """Run the engine and the placing over a clip."""
    torch.set_num_threads(1)
    noise, age, missed = CASES[job.case]
    scene = TiltedScene(job.seed, length=LENGTH, options=SceneOptions(balls=BALLS))
    frames = list(scene)
    config = EngineConfig.of('balanced')
    film = [frame.picture for frame in frames]
    detector = TruthDetector(film, config.detect_interval, missed, job.seed)
    stream = Engine(load_sam2('demo'), detector, config).open_stream('clip')
    reach = config.max_propagation + config.window_size
    space = SpaceStream(SpaceOptions(reach=reach, check_frame_id=False), number=1)
    space.set_camera(CameraModel((480, 640), (scene.focal,) * 2, scene.centre), 0.0)
    first: dict[int, SpaceFrame] = {}
    final: dict[int, SpaceFrame] = {}
    masks: dict[int, FrameResult] = {}
    seconds = 0.0

    def take(placed: Sequence[Placed]) -> None:
        for each in placed:
            first.setdefault(each.frame.index, each.frame)
            final[each.frame.index] = each.frame

    for index in range(LENGTH + 1):  # depth comes a frame late
        is_new = index < LENGTH
        results = stream.push(film[index].image, index * STEP) if is_new else stream.flush()
        known = [seen_by_client(result) for result in results]
        masks.update({result.index: result for result in results})
        image = None
        if index:
            surface = frames[max(index - 1 - age, 0)].depth
            image = DepthImage((index - 1) * STEP, '', depth_values(surface, scene, noise, index))
        begin = time.process_time()
        for frame in known:
            take(space.add_frame(frame, 0.0))
        if image is not None:
            take(space.add_depth(image, 0.0))
        seconds += time.process_time() - begin
    return Film(scene, frames, first, final, masks, space, seconds)


def depth_values(
    surface: np.ndarray, scene: TiltedScene, noise: StereoNoise | None, index: int
) -> np.ndarray:
    """Return a depth image, uint16 [H, W] of millimetres or float32 of metres."""
    if noise is None:
        return surface
    return stereo_depth(surface, scene.focal, noise, np.random.default_rng((scene.seed, index)))


def seen_by_client(result: FrameResult) -> TimelineFrame:
    """Return a result as a MaskTimeline gives it."""
    objects = tuple(
        ObjectInfo(
            thing.id, thing.class_id, thing.class_name, thing.score, thing.box, thing.visible,
            thing.conditioned, thing.state,
        )
        for thing in result.objects
    )  # fmt: skip
    return TimelineFrame(
        stamp=result.stamp,
        frame_id='',
        stream=0,
        index=result.index,
        revision=result.revision,
        final=result.final,
        objects=objects,
        withdrawn_ids=result.withdrawn_ids,
        _labels=Labels(result.labels),
    )


def run(job: Job) -> runs.Line:
    """Return the job, the error of each ball that counts in radii, and times."""
    film = shown(job)
    ids = ids_of(film)
    line: runs.Line = {**asdict(job), 'frames': LENGTH}
    for name, known in (('first', film.first), ('final', film.final)):
        line[name] = errors(film.frames, known, ids)
    books = film.stream.books
    line['corrections'], line['milliseconds'] = books.corrections, 1000 * film.seconds / LENGTH
    assert books.received == books.used + books.waiting + books.unused.total()
    return line


def ids_of(film: Film) -> Mapping[int, int]:
    """Return the id that each ball has on most final frames: what a planner follows."""
    votes: dict[int, list[int]] = {}
    for frame in film.frames:
        picture, labels = frame.picture, film.masks[frame.picture.index].labels
        balls = picture.ids[picture.visible_fraction >= MIN_VISIBLE]
        for ball, key in pairs(picture.labels, balls, labels).found.items():
            votes.setdefault(ball, []).append(key)
    return {ball: max(set(keys), key=keys.count) for ball, keys in votes.items()}


def errors(
    frames: Sequence[TiltedFrame], known: Mapping[int, SpaceFrame], ids: Mapping[int, int]
) -> list[float | None]:
    """Return the distance of each visible ball's object from the truth, in radii.

    None: the object is not there, or has no position.
    """
    found: list[float | None] = []
    for frame in frames:
        picture = frame.picture
        there = {t.id: t.position for t in known[picture.index].objects if t.valid}
        for ball in picture.ids[picture.visible_fraction >= MIN_VISIBLE].tolist():
            position = there.get(ids.get(ball, -1))
            if position is None:
                found.append(None)
            else:
                off = np.subtract(position.centroid, frame.centroids[ball - 1])
                found.append(round(float(np.linalg.norm(off)) / BALL_RADIUS, 4))
    return found


def cost(rounds: int = 40) -> str:
    """Return what a frame of 8 balls, and corrections of it, cost, as a markdown table.

    All rounds do the same: what is above the least of them is of other work on the machine.
    """
    scene = TiltedScene(FIRST_SEED, length=1, arm=False, options=SceneOptions(balls=BALLS))
    frame = next(iter(scene))
    labels = frame.picture.labels
    values = depth_values(frame.depth, scene, StereoNoise(), 0)
    camera = CameraModel((480, 640), (scene.focal,) * 2, scene.centre)
    # Each a pixel to the right of the one before, and then the first alone.
    moved = np.roll(labels, 1, axis=1)
    one = np.where((labels == 1) | (moved == 1), np.where(moved == 1, 1, 0), labels)
    times: dict[str, list[float]] = {'a new frame': [], 'all masks': [], 'one of eight': []}
    space = SpaceStream(SpaceOptions(check_frame_id=False))
    space.set_camera(camera, 0.0)
    for stamp in range(rounds):
        space.add_depth(DepthImage(stamp, '', values), 0.0)
        for revision, (name, shown_labels) in enumerate(
            zip(times, (labels, moved, one.astype(np.uint16)), strict=True)
        ):
            if name == 'one of eight':  # after the first masks, not after all have moved
                space.add_frame(_of_labels(labels, stamp, 8), 0.0)
            known = _of_labels(shown_labels, stamp, revision)
            begin = time.process_time()
            space.add_frame(known, 0.0)
            times[name].append(1000 * (time.process_time() - begin))
    lines = [[name, f'{min(own):.2f}'] for name, own in times.items()]
    return pages.markdown(('what', f'ms, least of {rounds}'), lines)


def _of_labels(labels: np.ndarray, stamp: int, revision: int) -> TimelineFrame:
    objects = []
    for id_ in np.unique(labels[labels > 0]).tolist():
        x0, y0, x1, y1 = map(float, mask_box(labels == id_) or (0, 0, 0, 0))
        objects.append(ObjectInfo(id_, 0, 'ball', 1.0, (x0, y0, x1, y1), True, False))
    return TimelineFrame(
        stamp=stamp,
        frame_id='',
        stream=0,
        index=stamp,
        revision=revision,
        final=False,
        objects=tuple(objects),
        withdrawn_ids=(),
        _labels=Labels(labels),
    )


def table(rows: Sequence[runs.Line]) -> str:
    """Return the results as a markdown table: a line a case and lag, clips added up."""
    lines = []
    for case in CASES:
        own = [row for row in rows if row['case'] == case]
        for name, title in (('first', 'lag 0'), ('final', 'final')):
            values = [value for row in own for value in row[name]]
            if not values:
                continue
            placed = np.array([value for value in values if value is not None])
            lines.append([
                case, title, str(len(own)), str(len(values)),
                f'{100 * len(placed) / len(values):.1f} %', f'{np.median(placed):.3f}',
                f'{np.percentile(placed, 95):.3f}',
                f'{100 * np.sum(placed > 3) / len(values):.2f} %',
                f'{np.mean([row["corrections"] / row["frames"] for row in own]):.2f}',
                f'{np.mean([row["milliseconds"] for row in own]):.1f}',
            ])  # fmt: skip
    head = (
        'depth', 'known at', 'clips', 'visible balls', 'with a position', 'median error',
        '95 %', 'over 3 radii', 'corrections a frame', 'ms a frame',
    )  # fmt: skip
    return pages.markdown(head, lines)


if __name__ == '__main__':
    sys.exit(main())
