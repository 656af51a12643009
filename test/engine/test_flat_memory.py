# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A stream that runs for long holds no more than one that has just started."""

import dataclasses
import gc
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import torch
from fakes import COLOURS, ColourDetector, Run, ScriptedDetector, colour_box, scene, tiny_sam2

from detsam2_ros.engine import Detections
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.stats import Stats

pytestmark = pytest.mark.slow

FRAMES, PERIOD = 2000, 100
K, D, M = 5, 5, 10
MEMORIES, OBJECTS, LOST = 2, 6, 15
POINTERS = 15  # frames whose pointers a frame reads
NAMES = list(COLOURS)
OPTIONS = {'early_stop_iou': 0.9, 'early_stop_frames': 1, 'confirm_iou': 0.95}
DORMANT = 3
GHOSTS = {
    'max_propagation': 20, 'confirm_detections': 2, 'withdraw_detections': 2,
    'max_dormant_objects': DORMANT, 'recall_score': 0.8,
}


class Erring(ColourDetector):
    """Takes the white disc, of which it knows nothing, for a red one: on every fifth frame."""

    def __init__(self) -> None:
        super().__init__(NAMES[:-1])
        self.shown = 0

    def detect(self, images):
        answers = []
        for image, found in zip(images, super().detect(images), strict=True):
            self.shown += 1
            if self.shown % 5 == 0 and (box := colour_box(image, NAMES[-1])) is not None:
                found = Detections(
                    np.concatenate([found.boxes, np.array([box], np.float32)]),
                    np.append(found.class_ids, 0), np.append(found.scores, 0.9))
            answers.append(found)
        return answers


def frame_image(index: int) -> np.ndarray:
    """Discs that come and go; the same picture again after PERIOD frames."""
    t = index % PERIOD
    discs = []
    for i, name in enumerate(NAMES):
        start = 13 * i
        if (t - start) % PERIOD < 45:
            discs.append((name, 5 + 9 * i, 24 + 16 * np.sin(2 * np.pi * t / PERIOD + i), 4))
    return scene(*discs, size=(48, 64))


def tensor_bytes() -> int:
    """Return the bytes of all tensors that are alive, each storage once."""
    storages = {}
    for held in gc.get_objects():
        # Not isinstance: that asks lazy module attributes what they are.
        if issubclass(type(held), torch.Tensor):
            storage = held.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def containers(held: object, path: str = 'stream') -> Iterator[tuple[str, int]]:
    """Walk what an object holds; yields path and length of every container."""
    if isinstance(held, (Sam2Model, torch.Tensor, np.ndarray, ColourDetector, type)):
        return
    if isinstance(held, (str, bytes)):
        return
    if isinstance(held, dict):
        yield path, len(held)
        for key, value in held.items():
            yield from containers(key, f'{path}[key]')
            yield from containers(value, f'{path}[]')
    elif isinstance(held, (list, tuple, set, frozenset)):
        yield path, len(held)
        for value in held:
            yield from containers(value, f'{path}[]')
    elif dataclasses.is_dataclass(held) or hasattr(held, '__dict__'):
        for name, value in vars(held).items():
            yield from containers(value, f'{path}.{name}')


@dataclasses.dataclass
class Measured:
    """What is held, sampled at the same picture of each round; and the largest containers."""

    tensors: list[int]
    blocks: list[int]
    resident: list[int]
    containers: dict[str, int]
    stats: Stats
    ghosts: bool  # whether the detector errs and objects return


@pytest.fixture(
    scope='module',
    params=[
        'window', 'online', 'window with all options', 'online with all options',
        'window with ghosts', 'online with ghosts',
    ],
)
def measured(request: pytest.FixtureRequest) -> Measured:
    """Run for FRAMES frames and measure once a round."""
    run = Run(
        Erring() if 'ghosts' in request.param else ColourDetector(NAMES),
        mode=request.param.split()[0],
        **{
            'window_size': K, 'detect_interval': D, 'max_propagation': M, 'max_objects': OBJECTS,
            'max_lost_frames': LOST, 'max_conditioned_memories': MEMORIES,
            **(OPTIONS if 'options' in request.param else {}),
            **(GHOSTS if 'ghosts' in request.param else {}),
        },
    )
    images = [frame_image(i) for i in range(PERIOD)]
    process = psutil.Process()
    found = Measured([], [], [], {}, run.engine.stats(), 'ghosts' in request.param)
    for index in range(FRAMES):
        # The results are dropped: only what the stream itself holds is measured.
        run.stream.push(images[index % PERIOD], index)
        if index % 7 == 0:
            for path, size in containers(run.stream):
                found.containers[path] = max(found.containers.get(path, 0), size)
        if (index + 1) % PERIOD == 0:
            gc.collect()
            found.tensors.append(tensor_bytes())
            found.resident.append(process.memory_info().rss)
            found.blocks.append(sys.getallocatedblocks())
    found.stats = run.engine.stats()
    return found


def test_the_run_had_objects_come_and_go(measured):
    stats = measured.stats
    assert stats.frames == stats.encodings == stats.published_frames == FRAMES
    assert stats.objects + stats.recalled_objects >= len(NAMES) * FRAMES / PERIOD * 0.8
    assert bool(stats.recalled_objects) == bool(stats.withdrawn_objects) == measured.ghosts
    assert stats.corrections > 0
    assert stats.conditioned_frames + stats.confirmed_detections > FRAMES / D


def test_tensors_take_the_same_memory_after_every_round(measured):
    after_warm_up = measured.tensors[2:]
    assert set(after_warm_up) == {after_warm_up[0]}, after_warm_up


def test_python_memory_does_not_grow(measured):
    # From 600 frames on. One object leaked every fourth frame would be 350 blocks.
    blocks = measured.blocks[5:]
    assert blocks[-1] - blocks[0] < 300, blocks


def test_the_process_does_not_grow(measured):
    # One frame's features leaked every tenth frame would be 9 MB.
    resident = measured.resident[5:]
    assert resident[-1] - resident[0] < 8 << 20, resident


def test_every_container_is_bounded_by_the_parameters(measured):
    # Objects on the frames in reach: those alive, and those that retired within these frames.
    shown = OBJECTS + len(NAMES)
    state = 'stream._holder._state'
    run_reach = int(GHOSTS['max_propagation']) if measured.ghosts else M
    bounds = {
        f'{state}.frames': run_reach,
        f'{state}.window': K,
        f'{state}.objects': OBJECTS,
        f'{state}.objects[].prompts': MEMORIES + max(POINTERS, run_reach) // D + 1,
        f'{state}.objects[].tracked_memories': POINTERS,
        f'{state}.objects[].bank.keys': 0,
        f'{state}.objects[].bank.memories': 0,
        f'{state}.frames[].published.objects': shown,
        f'{state}.frames[].published_masks': shown,
    }
    if measured.ghosts:
        bounds[f'{state}.dormant'] = DORMANT
        bounds[f'{state}.dormant[].prompts'] = MEMORIES + run_reach // D + 1
    assert bounds.keys() <= measured.containers.keys()
    for path, size in measured.containers.items():
        # Whatever else there is, a future part of the stream too, stays small.
        assert size <= bounds.get(path, 2 * M), f'{path} holds {size}'
    assert measured.containers[f'{state}.objects'] >= 3


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_what_attention_keeps_of_memories_is_bounded(mode):
    run = Run(
        ScriptedDetector({frame: [(0, (8, 8, 30, 30))] for frame in range(0, 200, 5)}, 5),
        model=tiny_sam2(),
        mode=mode,
        window_size=K,
        detect_interval=D,
        max_propagation=M,
        max_conditioned_memories=MEMORIES,
        max_lost_frames=1000,
    )
    images = [frame_image(i) for i in range(10)]
    held, kept = [], []
    for index in range(90):
        run.stream.push(images[index % 10], index)
        if index >= 40 and index % 10 == 9:
            gc.collect()
            held.append(tensor_bytes())
            kept.append(len(run.stream._state.cache))
    assert run.engine.stats().conditioned_frames == 18
    assert max(held) - min(held) < 50_000 < min(held) / 50, held
    # Conditioned and tracked memories that a frame reads, and those that the one before read.
    assert 0 < max(kept) <= 2 * (MEMORIES + 6) if mode == 'online' else kept == [0] * len(kept)
