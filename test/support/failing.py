# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Failures at every stage of an operation, and fingerprints of all that a stream holds."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any

import numpy as np
import torch

import detsam2_ros.engine
import detsam2_ros.results
from detsam2_ros.engine.sam2.memory_attention import KeyCache
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.stream import Stream
from detsam2_ros.engine.tracking.state import StateHolder, StreamState


class StageError(Exception):
    """What a stage raises that was made to fail."""


@dataclass(frozen=True)
class Stage:
    """A function as one module sees it, or a method of a class."""

    owner: Any  # the module or class
    name: str

    def __str__(self) -> str:
        name = self.owner.__name__
        if isinstance(self.owner, type):
            name = f'{self.owner.__module__}.{name}'
        return f'{name.removeprefix("detsam2_ros.")}.{self.name}'


# What runs when an operation has been committed already, and computes nothing of it.
_AFTER_COMMIT = {
    ('StatsRecorder', None), ('ResultCollector', None), ('Pace', 'keep'),
    ('PassRunner', 'restart'), ('ClassTable', 'take_over'),
}


def all_stages() -> list[Stage]:
    """Return every function and method that the engine's modules can call, where it is used."""
    found = []
    for module in _modules():
        for name, value in vars(module).items():
            if isinstance(value, types.FunctionType):
                if value.__module__.startswith('detsam2_ros.'):
                    found.append(Stage(module, name))
            elif isinstance(value, type) and value.__module__ == module.__name__:
                found += [Stage(value, attribute) for attribute in _methods(value)]
    return found


def _modules() -> Iterator[types.ModuleType]:
    for package in (detsam2_ros.engine, detsam2_ros.results):
        for info in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):
            yield importlib.import_module(info.name)


def _methods(owner: type) -> Iterator[str]:
    for name, value in vars(owner).items():
        hidden = {(owner.__name__, None), (owner.__name__, name)} & _AFTER_COMMIT
        is_method = isinstance(value, (types.FunctionType, classmethod))
        if is_method and not hidden and not name.startswith('__'):
            yield name


@contextlib.contextmanager
def counted(stages: Sequence[Stage]) -> Iterator[Counter[Stage]]:
    calls: Counter[Stage] = Counter()

    def counting(stage: Stage, original: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            calls[stage] += 1
            return original(*args, **options)

        return call

    with contextlib.ExitStack() as stack:
        for stage in stages:
            stack.enter_context(_replaced(stage, counting))
        yield calls


@contextlib.contextmanager
def failing(stage: Stage, call: int) -> Iterator[None]:
    """Let one call of a stage fail, the first being 1."""
    left = [call]

    def broken(_: Stage, original: Callable) -> Callable:
        def run(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise StageError(f'call {call} of {stage}')
            return original(*args, **options)

        return run

    with _replaced(stage, broken):
        yield


@contextlib.contextmanager
def _replaced(stage: Stage, make: Callable[[Stage, Callable], Callable]) -> Iterator[None]:
    own = vars(stage.owner)[stage.name]
    made: Any = make(stage, getattr(stage.owner, stage.name))
    setattr(stage.owner, stage.name, staticmethod(made) if isinstance(own, classmethod) else made)
    try:
        yield
    finally:
        setattr(stage.owner, stage.name, own)


class WatchedHolder(StateHolder):
    """Notes what a stream holds at each commit."""

    def __init__(self, state: StreamState):
        super().__init__(state)
        self.commits: list[StreamState] = []
        self.fingerprint = fingerprint(state)  # as of the last commit

    @classmethod
    def watch(cls, stream: Stream) -> WatchedHolder:
        """Let a stream's commits be watched from now on."""
        holder = cls(stream._state)
        stream._holder = stream._runner._holder = holder
        return holder

    def commit(self, state: StreamState) -> None:
        super().commit(state)
        self.commits.append(state)
        self.fingerprint = fingerprint(state)


def without_what_is_computed_once(state: StreamState) -> StreamState:
    """Return a state without features and detections, which are kept when a pass fails."""
    return state.with_frames(
        replace(frame, image=None, features=None, detections=None, searched=False)
        for frame in state.frames.values()
    )


def fingerprint(value: Any, serials: dict[int, int] | None = None) -> Any:
    """Return what tells two values apart, tensors and private attributes included.

    serials: for streams that ran apart, numbers objects by their order and leaves out when a bank
    was created. The cache of attention keys is left out: it saves time only.
    """
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        return 'tensor', str(value.dtype), tuple(value.shape), raw.tobytes()
    if isinstance(value, np.ndarray):
        return 'array', str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, (dict, types.MappingProxyType)):
        items = value.items()
        return 'dict', [(fingerprint(k, serials), fingerprint(v, serials)) for k, v in items]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [fingerprint(item, serials) for item in value]
    if isinstance(value, (set, frozenset)):
        return 'set', sorted(fingerprint(item, serials) for item in value)
    if isinstance(value, (KeyCache, Sam2Model)):
        return type(value).__name__
    if isinstance(value, Enum):
        return type(value).__name__, value.value
    if is_dataclass(value) or hasattr(value, '__dict__'):
        parts = {f.name: getattr(value, f.name) for f in fields(value)} if is_dataclass(
            value
        ) else vars(value)
        if serials is not None and 'serial' in parts:
            parts['serial'] = serials.setdefault(parts['serial'], len(serials))
        if serials is not None:
            parts.pop('created', None)
        return type(value).__name__, {n: fingerprint(v, serials) for n, v in parts.items()}
    assert value is None or isinstance(value, (int, float, str, bytes)), type(value)
    return type(value).__name__, value
