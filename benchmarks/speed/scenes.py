# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks look at: a rendered scene, to and fro, with the boxes of its truth."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness.place import Place
from detsam2_ros.engine import Detections, Engine, EngineConfig, FrameResult, MemoryBank
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.scene.options import MAX_BALLS
from detsam2_ros.scene.scene import SceneOptions, render

# A box of a ball that is seen less than this is none that a detector would find.
MIN_VISIBLE = 0.3
FRAMES = 60  # of a film, there and back again


class Film:
    """A scene of some objects, endless as it runs to and fro; each is a class of its own.

    Objects are balls; where more are wanted than a table has, halves of balls.

    As a detector it knows an image again, and so serves any number of streams, in any order.
    """

    def __init__(self, objects: int, frames: int, width: int, height: int):
        if objects > 3 * MAX_BALLS:
            raise ValueError(f'objects must be at most {3 * MAX_BALLS}, not {objects}')
        options = SceneOptions(balls=min(objects, MAX_BALLS), late_ball=0, pocketing=0)
        self.frames = render(1, frames, width, height, options)
        self.class_names = {n: f'object {n}' for n in range(1, objects + 1)}
        self._known = {_mark(frame.image): index for index, frame in enumerate(self.frames)}

    def image(self, index: int) -> np.ndarray:
        """Return the image of a frame, uint8 [H, W, 3]."""
        image: np.ndarray = self.frames[self._at(index)].image
        return image

    def boxes(self, index: int) -> dict[int, tuple[float, ...]]:
        """Return the boxes of the objects that can be seen, xyxy by object, which is its class."""
        return self._boxes(self._at(index))

    def _at(self, index: int) -> int:
        period = 2 * len(self.frames) - 2
        return min(index % period, period - index % period)

    def _boxes(self, at: int) -> dict[int, tuple[float, ...]]:
        frame = self.frames[at]
        found = {}
        for n in self.class_names:
            part, row = divmod(n - 1, len(frame.ids))
            if frame.visible_fraction[row] > MIN_VISIBLE:
                x1, y1, x2, y2 = frame.boxes[row].tolist()
                middle = (y1 + y2) / 2
                found[n] = (x1, middle if part == 2 else y1, x2, middle if part == 1 else y2)
        return found

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the boxes of images of this film."""
        found = []
        for image in images:
            boxes = self._boxes(self._known[_mark(image)])
            found.append(
                Detections(list(boxes.values()), list(boxes), [0.9] * len(boxes))  # type: ignore[arg-type]
            )
        return found


def _mark(image: np.ndarray) -> bytes:
    """Return what tells one noisy image from another."""
    return image[::37, ::41].tobytes()


@functools.lru_cache(maxsize=8)
def film(objects: int, width: int = 640, height: int = 480) -> Film:
    """Render a film once."""
    return Film(objects, FRAMES, width, height)


class Lane:
    """An engine whose streams, one a camera, are shown a film, a window at a time."""

    def __init__(
        self,
        model: Sam2Model,
        scene: Film,
        config: EngineConfig,
        cameras: int = 1,
        bank: MemoryBank | None = None,
    ):
        self.config = config
        self.engine = Engine(model, scene, config)
        self._scene, self._index = scene, 0
        self._streams = [self.engine.open_stream(str(number)) for number in range(cameras)]
        for stream in self._streams if bank is not None else ():
            stream.load_bank(bank)

    def run(self) -> list[FrameResult]:
        """Show a window; returns the results."""
        results = []
        for _ in range(self.config.window_size):
            for stream in self._streams:
                results += stream.push(self._scene.image(self._index), self._index)
            self._index += 1
        return results

    def timed(self, place: Place) -> float:
        """Show a window; returns seconds for a frame of a camera."""
        begin = place.clock()
        self.run()
        return (place.clock() - begin) / (self.config.window_size * len(self._streams))

    def warm_up(self) -> None:
        """Show windows until each does the same work.

        Passes are of full length, and objects have all the conditioned memories that they keep.
        """
        reach = -(-self.config.max_propagation // self.config.window_size)
        for _ in range(max(reach, EngineConfig.max_conditioned_memories)):
            self.run()

    @property
    def encodings(self) -> float:
        """Image encodings a frame."""
        stats = self.engine.stats()
        return stats.encodings / stats.frames

    @property
    def tracked(self) -> int:
        """Frames on which objects were tracked, for each object."""
        stats = self.engine.stats()
        return stats.tracked_frames + stats.forward_frames + stats.associated_frames


def engine_config(K: int, D: int, M: int, **more: Any) -> EngineConfig:
    """Return parameters under which each window does the same work, with random weights too.

    Their masks mean nothing: boxes would be matched to no object, and objects be given up as lost.
    So each class is one object (`association: class`). Matching by masks adds 1/D tracked frames
    for each object and frame, and now and then a second pass.
    """
    return EngineConfig(
        K, D, M, **{'association': 'class', 'max_lost_frames': 1_000_000, **more}
    )


def real_config(model: str, K: int, D: int, M: int, **more: Any) -> EngineConfig:
    """Return the defaults, as far as a model's masks mean something."""
    return EngineConfig(K, D, M, **more) if model == 'demo' else engine_config(K, D, M, **more)
