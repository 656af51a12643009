# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How much each step of SAM 2 has to compute: multiply-adds, launches and bytes, counted."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from benchmarks.harness.place import Place, load
from detsam2_ros.engine.sam2.attended_memories import Context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import decode_points, encode_image, encode_memory, track

# What a tracked frame reads in the middle of a stream: six neighbours, and K = D prompts.
NEIGHBOURS, POINTERS = 6, 16
# Ops that make or view a tensor, and start no work on a device.
_FREE = {
    'empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', 'detach', 'alias',
    'is_pinned', 'sym_size', 'sym_stride', 'sym_numel', '_unsafe_view', 'lift_fresh',
}  # fmt: skip


@dataclass
class Count:
    """macs: multiply-adds of matrix products, convolutions and attention. launches: operations
    that write a tensor, about the kernels that a GPU is told to run. moved: bytes of their inputs
    and outputs.
    """

    macs: int = 0
    launches: int = 0
    moved: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.macs + other.macs, self.launches + other.launches, self.moved + other.moved
        )

    def __sub__(self, other: Count) -> Count:
        return Count(
            self.macs - other.macs, self.launches - other.launches, self.moved - other.moved
        )

    def __truediv__(self, by: int) -> Count:
        return Count(self.macs // by, round(self.launches / by), self.moved // by)


class Counter(TorchDispatchMode):
    """Counts every operation that runs inside it, whatever it is part of."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._overloadpacket.__name__
        attention = name == 'scaled_dot_product_attention'
        # What is made of other operations counts as those, also in inference mode. Not so what
        # devices have in one piece, though PyTorch could take it apart.
        whole = attention or name.startswith('upsample') or func._overloadpacket in flop_registry
        if not whole:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if attention:
            self.count.macs += sdpa_flop_count(*(t.shape for t in args[:3])) // 2
        elif func._overloadpacket in flop_registry:
            flops = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
            self.count.macs += flops // 2
        if not func.is_view and name not in _FREE:
            self.count.launches += 1
            self.count.moved += sum(map(_bytes, tree_leaves((args, kwargs, out))))
        return out


def _bytes(entry: Any) -> int:
    return entry.numel() * entry.element_size() if isinstance(entry, torch.Tensor) else 0


def counted(call: Callable[[], object]) -> Count:
    """Count what a call does."""
    with Counter() as counter:
        call()
    return counter.count


@contextlib.contextmanager
def by_stage(stats: Any) -> Iterator[dict[str, Count]]:
    """Count what an engine does, by the stages of its StatsRecorder."""
    found: dict[str, Count] = {}
    clock = stats.clock
    with Counter() as counter:

        @contextlib.contextmanager
        def counting(stage: str) -> Iterator[None]:
            before = counter.count + Count()
            with clock(stage):
                yield
            found[stage] = found.get(stage, Count()) + (counter.count - before)

        stats.clock = counting
        try:
            yield found
        finally:
            del stats.clock


def steps(model: Sam2Model, memories: int, batch: int = 1) -> dict[str, Callable[[], object]]:
    """Name the steps that a frame of `batch` objects takes; their inputs are zeros."""
    size, side, device = model.image_size, model.feature_size, model.device

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    image = zeros(1, 3, size, size)
    (features,) = encode_image(model, image)
    spatial = zeros(model.memory_dim, side, side, dtype=torch.bfloat16)
    memory = Memory(spatial, zeros(model.pointer_dim), zeros())
    prompts, rows = max(memories - NEIGHBOURS, 0), range(NEIGHBOURS)
    last = model.module.num_maskmem - 1
    context = Context(
        tuple([(memory, last)] * prompts + [(memory, row) for row in rows][: memories - prompts]),
        tuple([(memory, 0.5)] * POINTERS),
    )
    # What it keeps of its first call is made here, and not counted.
    decoded = track(model, features, [context] * batch)
    boxes = zeros(batch, 2, 2)
    labels = torch.tensor([[2, 3]] * batch, dtype=torch.int32, device=device)
    return {
        'encode': lambda: encode_image(model, image),
        'decode_prompt': lambda: decode_points(model, features, boxes, labels),
        'track': lambda: track(model, features, [context] * batch),
        'encode_memory': lambda: encode_memory(model, features, decoded, prompted=False),
    }


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Count each step at a size; job: model, size, memories, batch, launches.

    launches False: on tensors without data, which takes no time at any size; they count as a
    device of their own, where the engine does as on a GPU. True: on real ones, as what runs there
    is what is launched.
    """
    real = job['launches']
    model, settings = load(job['model'], job['size'], place if real else Place())
    with contextlib.ExitStack() as stack:
        if real:
            stack.enter_context(model.inference())
        else:
            # There is no autocast for tensors without data, and in float32 it does nothing.
            no_autocast = mock.patch('torch.autocast', lambda *_, **__: contextlib.nullcontext())
            stack.enter_context(no_autocast)
            stack.enter_context(torch.inference_mode())
            module = copy.deepcopy(model.module).to('meta')
            model = Sam2Model(module, model.name, torch.device('meta'), torch.float32)
        work = steps(model, job['memories'], job['batch'])
        found = {name: counted(call) for name, call in work.items()}
    return {name: vars(count) for name, count in found.items()}


def measure_windows(
    job: dict[str, Any], place: Place, limit_s: float = float('inf')
) -> dict[str, Any]:
    """Count a whole window of the engine and of sam2's predictor, per frame.

    job: model, size, objects, K, M, frame, dtype: under bfloat16 autocast there are casts more.
    The engine goes the way of a GPU, whose operations these are to be.
    """
    from benchmarks.speed import compare
    from benchmarks.speed.scenes import film
    from detsam2_ros.engine import EngineConfig

    K, M = job['K'], job['M']
    warm = -(-M // K)
    place = replace(place, dtype=job['dtype'])
    model, settings = load(job['model'], job['size'], place)
    scene = film(job['objects'], *job['frame'])
    config = EngineConfig(K, K, M, **compare.LIKE_REFERENCE)
    runners: dict[str, compare.Runner] = {
        compare.PLAIN: compare.EngineRunner(model, scene, config, place),
        compare.REFERENCE: compare.ReferenceRunner(settings, model, scene, config, place),
    }
    found = {}
    with mock.patch.object(model.attention, 'fused', True):
        for name, runner in runners.items():
            for _ in range(warm):
                runner.run()
            found[name] = vars(counted(runner.run) / K)
    return found
