# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rendered clips on disk (one folder of arrays per clip) and random training samples from them.

    python training/data.py --out DIR --scenes 900 --shapes 300 --workers 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detsam2_ros.scene.scene import CLASS_NAMES, Scene, SceneOptions
from training.shapes import ShapesClip

HELD_OUT = 1_000_000  # seeds from here on are never trained on
SCENE_FRAMES = 40
SHAPES_FRAMES = 24
CLASSES = len(CLASS_NAMES)
MIN_AREA = 24  # pixels; less of an object is no fair prompt


def training_options(seed: int) -> SceneOptions:
    """Return harder settings than the default scene: more hiding, more look-alikes."""
    rng = np.random.default_rng([seed, 30])
    return SceneOptions(
        occlusion_boost=float(rng.choice([0.0, 0.5, 1.0])),
        occluders=float(rng.uniform(1.0, 5.0)),
        duplicate_colours=0.4,
        look_alikes=0.35,
        speed=float(rng.uniform(0.6, 1.8)),
        pocketing=0.7,
        light_change=float(rng.uniform(0.5, 1.5)),
        late_ball=0.3,
    )


def boxes_of(labels_hw: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes float32 [n, 4] (xyxy, exclusive end) and areas int32 [n] of ids 1..n."""
    boxes = np.zeros((count, 4), np.float32)
    areas = np.bincount(labels_hw.ravel(), minlength=count + 1)[1 : count + 1].astype(np.int32)
    for i in np.flatnonzero(areas):
        ys, xs = np.nonzero(labels_hw == i + 1)
        boxes[i] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
    return boxes, areas


def render(kind: str, seed: int, size: int = 256) -> dict[str, np.ndarray]:
    """Render one clip: images [T, S, S, 3], labels [T, S, S], boxes [T, n, 4], areas [T, n]."""
    class_ids = np.zeros(0, np.int32)
    if kind == 'scene':
        scene = Scene(seed, size, size, length=SCENE_FRAMES, options=training_options(seed))
        pairs = [(f.image, f.labels.astype(np.uint8)) for f in scene]
        class_ids = np.asarray(scene.class_ids, np.int32)
    else:
        pairs = list(ShapesClip(seed, size, SHAPES_FRAMES).frames())
    images = np.stack([p[0] for p in pairs])
    labels = np.stack([p[1] for p in pairs])
    count = len(class_ids) or int(labels.max())
    measured = [boxes_of(x, count) for x in labels]
    return {
        'images': images, 'labels': labels, 'class_ids': class_ids,
        'boxes': np.stack([m[0] for m in measured]), 'areas': np.stack([m[1] for m in measured]),
    }


def _render_to(job: tuple[Path, str, int]) -> None:
    root, kind, seed = job
    final = root / f'{kind}_{seed:05d}'
    if final.exists():
        return
    part = root / f'.{final.name}.{os.getpid()}'
    part.mkdir(parents=True)
    for name, value in render(kind, seed).items():
        np.save(part / f'{name}.npy', value)
    part.rename(final)  # a reader sees whole clips only


@dataclass(frozen=True)
class Layout:
    """When the T frames of a clip are, in the order in which a pass visits them."""

    times: list[int]  # ascending from 0; those that are only remembered may lie far ahead
    conditioned: list[int]  # positions in `times` at which all objects are prompted


@dataclass
class Clip:
    """T frames and O objects of one clip, after augmentation."""

    images: np.ndarray  # uint8 [T, S, S, 3]
    targets: np.ndarray  # bool [O, T, S, S]
    boxes: np.ndarray  # float32 [O, T, 4], zeros where hidden
    layout: Layout
    # Of a banked clip: int [O, V], the image that each object's j-th view is; images has more
    # than T rows then.
    rows: np.ndarray | None = None


class Store:
    """Random images and clips from a folder of rendered clips, which may still be growing."""

    def __init__(self, root: Path, shapes_share: float = 0.22) -> None:
        self.root, self.shapes_share = root, shapes_share
        self.refresh()

    def refresh(self) -> None:
        """Look for clips rendered since."""
        names = sorted(p.name for p in self.root.iterdir() if not p.name.startswith('.'))
        self.scenes = [n for n in names if n.startswith('scene')]
        self.shapes = [n for n in names if n.startswith('shapes')]

    def _pick(self, rng: np.random.Generator) -> Path:
        shapes = self.shapes and (not self.scenes or rng.random() < self.shapes_share)
        names = self.shapes if shapes else self.scenes
        return self.root / names[int(rng.integers(len(names)))]

    @staticmethod
    def load(path: Path, name: str) -> np.ndarray:
        big = name in ('images', 'labels')
        return np.load(path / f'{name}.npy', mmap_mode='r' if big else None)

    def image(self, rng: np.random.Generator, objects: int) -> Clip:
        """Return a one-frame clip with up to `objects` objects (at least one)."""
        while True:
            path = self._pick(rng)
            areas = self.load(path, 'areas')
            t = int(rng.integers(len(areas)))
            ids = np.flatnonzero(areas[t] >= MIN_AREA)
            if len(ids):
                chosen = rng.permutation(ids)[:objects]
                return self._cut(path, rng, [t], chosen, Layout([0], [0]))

    def clip(self, rng: np.random.Generator, length: int, objects: int) -> Clip:
        """Return a clip in which objects vanish and come back more often than in a random one."""
        while True:
            path = self._pick(rng)
            areas = self.load(path, 'areas')
            layout = pass_layout(rng, length, len(areas))
            span = layout.times[-1]
            best: tuple[float, list[int], np.ndarray] | None = None
            for _ in range(4 if rng.random() < 0.6 else 1):
                stride = min(int(rng.choice([1, 1, 2, 3])), (len(areas) - 1) // span)
                start = int(rng.integers(len(areas) - span * stride))
                frames = [start + t * stride for t in layout.times]
                if rng.random() < 0.5:
                    frames = [len(areas) - 1 - t for t in frames]
                seen = areas[frames]
                ids = np.flatnonzero((seen[layout.conditioned] >= MIN_AREA).all(0))
                if not len(ids):
                    continue
                low = seen[:, ids].min(0) / areas[:, ids].max(0)
                events = (low < 0.1) * 1.0 + (low < 0.6) * 0.5
                order = np.argsort(-(events + rng.random(len(ids))))
                value = events.sum() + rng.random()
                if best is None or value > best[0]:
                    best = value, frames, ids[order[:objects]]
            if best is not None:
                return self._cut(path, rng, best[1], best[2], layout)

    def banked(self, rng: np.random.Generator, length: int, objects: int) -> Clip:
        """Return a scene whose balls are prompted in other scenes only, as a memory bank is.

        Each object is a class: its views are one to four frames of other scenes, in which a ball
        of that class is seen; in the scene itself it may be there once, or not at all.
        """
        while True:
            path = self.root / self.scenes[int(rng.integers(len(self.scenes)))]
            present = self.load(path, 'class_ids')
            once = [int(c) for c in np.unique(present) if (present == c).sum() == 1]
            absent = sorted(set(range(CLASSES)) - set(present.tolist()))
            wanted = rng.permutation(once)[:objects].tolist()
            if absent and (not wanted or rng.random() < 0.3):
                wanted = [*wanted[: objects - 1], int(rng.choice(absent))]
            found = [(c, self._views(rng, c, int(rng.integers(1, 5)), path)) for c in wanted]
            wanted, views = [c for c, v in found if v], [v for _, v in found if v]
            if not views:
                continue
            # One number of views for all, since the objects of a clip are one batch.
            count = min(map(len, views))
            areas = self.load(path, 'areas')
            start = int(rng.integers(len(areas) - length + 1))
            frames = list(range(start, start + length))[:: 1 if rng.random() < 0.5 else -1]
            ids = np.array([
                int(np.flatnonzero(present == c)[0]) if c in once else len(present)
                for c in wanted])  # fmt: skip
            scene = self._cut(path, rng, frames, ids, Layout(list(range(length)), []))
            return with_views(scene, [v[:count] for v in views])

    def _views(
        self, rng: np.random.Generator, class_id: int, count: int, but: Path
    ) -> list[Clip]:
        """Return frames of other scenes that show a ball of a class; fewer when none is found."""
        views: list[Clip] = []
        for _ in range(12 * count):
            path = self.root / self.scenes[int(rng.integers(len(self.scenes)))]
            here = np.flatnonzero(self.load(path, 'class_ids') == class_id)
            areas = self.load(path, 'areas')
            t = int(rng.integers(len(areas)))
            here = here[areas[t][here] >= MIN_AREA]
            if path != but and len(here):
                one = rng.permutation(here)[:1]
                views.append(self._cut(path, rng, [t], one, Layout([0], [0])))
            if len(views) == count:
                break
        return views

    def _cut(self, path: Path, rng: np.random.Generator, frames: list[int],
             ids: np.ndarray, layout: Layout) -> Clip:
        images = np.stack([self.load(path, 'images')[t] for t in frames])
        labels = np.stack([self.load(path, 'labels')[t] for t in frames])
        targets = labels[None] == (ids + 1)[:, None, None, None].astype(np.uint8)
        every = self.load(path, 'boxes')[frames]
        every = np.concatenate([every, np.zeros_like(every[:, :1])], 1)  # the last one: not there
        boxes = every[:, ids].transpose(1, 0, 2)
        return augment(Clip(images, targets, boxes, layout), rng)


def with_views(scene: Clip, views: list[list[Clip]]) -> Clip:
    """Put views of each object, equally many, behind a scene, where they are only remembered.

    The j-th views of all objects are at one time, though each is an image of its own:
    `Clip.rows` says which.
    """
    length, count = len(scene.images), len(views[0])
    images = [v.images for own in views for v in own]
    objects, size = len(views), scene.images.shape[1]
    targets = np.zeros((objects, length + count, size, size), bool)
    boxes = np.zeros((objects, length + count, 4), np.float32)
    targets[:, :length], boxes[:, :length] = scene.targets, scene.boxes
    rows = np.zeros((objects, count), np.int64)
    for i, own in enumerate(views):
        for j, view in enumerate(own):
            targets[i, length + j], boxes[i, length + j] = view.targets[0, 0], view.boxes[0, 0]
            rows[i, j] = length + i * count + j
    ahead = [10 * length + t for t in range(count)]  # no pointer is read from there
    layout = Layout([*range(length), *ahead], list(range(length, length + count)))
    return Clip(np.concatenate([scene.images, *images]), targets, boxes, layout, rows)


def pass_layout(rng: np.random.Generator, length: int, longest: int) -> Layout:
    """Draw where a pass over `length` frames is prompted; its times span fewer than `longest`.

    A third: on the first frame (a user's box). A sixth: on one to three frames anywhere. Half: as
    in the engine's reverse pass, which starts some frames *before* the first detection it
    meets, meets one every few frames, and also remembers detections that it never reaches.
    """
    times, kind = list(range(length)), rng.random()
    if kind < 1 / 3 or length < 3:
        return Layout(times, [0])
    if kind < 1 / 2:
        count = min(int(rng.choice([1, 1, 2, 3])), length - 1)
        return Layout(times, sorted(rng.choice(length, count, replace=False).tolist()))
    interval = int(rng.choice([4, 6, 10, 10]))
    detections = list(range(int(rng.integers(min(interval, length - 1))), length, interval))
    ahead = [detections[-1] + interval * (i + 1) for i in range(int(rng.integers(3)))]
    times += [t for t in ahead if t < longest]
    return Layout(times, [i for i, t in enumerate(times) if t in detections or i >= length])


def augment(clip: Clip, rng: np.random.Generator) -> Clip:
    """Flip, transpose and tint a whole clip at random."""
    images, targets, boxes = clip.images, clip.targets, clip.boxes.copy()
    size = images.shape[1]
    shown = (boxes[..., 2] > boxes[..., 0])[..., None]
    if rng.random() < 0.5:
        images, targets = images[:, :, ::-1], targets[..., ::-1]
        boxes[..., [0, 2]] = size - boxes[..., [2, 0]]
    if rng.random() < 0.5:
        images, targets = images[:, ::-1], targets[..., ::-1, :]
        boxes[..., [1, 3]] = size - boxes[..., [3, 1]]
    if rng.random() < 0.5:
        images, targets = images.swapaxes(1, 2), targets.swapaxes(2, 3)
        boxes = boxes[..., [1, 0, 3, 2]]
    if rng.random() < 0.6:
        table = np.arange(256)[:, None] * rng.normal(1, 0.08, 3) * rng.uniform(0.8, 1.2)
        table = np.clip(table + rng.normal(0, 8), 0, 255).astype(np.uint8)
        images = np.stack([table[images[..., c], c] for c in range(3)], -1)
    return Clip(np.ascontiguousarray(images), np.ascontiguousarray(targets), boxes * shown,
                clip.layout)


def main() -> None:
    """Render clips in parallel; clips already there are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--scenes', type=int, default=900)
    parser.add_argument('--shapes', type=int, default=300)
    parser.add_argument('--workers', type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = [(args.out, 'scene', s) for s in range(args.scenes)]
    jobs += [(args.out, 'shapes', s) for s in range(args.shapes)]
    # Interleaved, so that training may start while this runs.
    order = np.random.default_rng(0).permutation(len(jobs))
    os.environ['OMP_NUM_THREADS'] = '1'
    with multiprocessing.get_context('spawn').Pool(args.workers, _quiet) as pool:
        for done, _ in enumerate(pool.imap_unordered(_render_to, [jobs[i] for i in order]), 1):
            if done % 100 == 0:
                print(f'{done}/{len(jobs)}', flush=True)


def _quiet() -> None:
    import cv2

    cv2.setNumThreads(1)


if __name__ == '__main__':
    main()
