# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A CUDA device that computes nothing, for machines without one: shapes, types, and waits.

Tensors on it are those of torch's FakeTensorMode, those of the host are real. What the host reads
of the device is made up.
"""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import detsam2_ros
from detsam2_ros.engine.sam2.load import build_sam2
from detsam2_ros.engine.sam2.model import Sam2Model

CUDA = torch.device('cuda', 0)
_PACKAGE = str(Path(detsam2_ros.__file__).parent)
_aten = torch.ops.aten
# What tells the host of values on the device, or needs them to know a shape.
_ASKS = frozenset({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape})
_INDEXED = ('aten::index', 'aten::index_put', 'aten::index_put_', 'aten::_index_put_impl_')
_PRODUCTS = ('aten::mm', 'aten::addmm', 'aten::bmm', 'aten::baddbmm', 'aten::convolution')


@dataclass(frozen=True)
class Wait:
    """A place where the host waits for the device: the operation, and our function there."""

    operation: str
    function: str


class FakeCuda(TorchDispatchMode):
    """Notes each wait, and answers what fake tensors have no answer for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[Wait] = []
        self.products: set[torch.dtype] = set()  # types of the matrix products on the device
        # What the host reads: the values of a tensor of this shape and type.
        self.read: Callable[[torch.Size, torch.dtype], torch.Tensor] = _ones
        self._pinned: list[torch.Tensor] = []

    def clear(self) -> None:
        """Forget what was noted."""
        self.waits.clear()
        self.products.clear()

    def model(self, config: Path, dtype: torch.dtype = torch.bfloat16) -> Sam2Model:
        """Build the model of a SAM 2 config on the device."""
        with unset_fake_temporarily():
            module = build_sam2(config)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.Module, '_apply', _apply)
            patch.setattr(Sam2Model, 'identity', None)  # is made of the values of all weights
            return Sam2Model(module, str(config), CUDA, dtype)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _aten.scaled_dot_product_attention.default:  # one kernel, or several on a CPU
            query, _, value = args[:3]
            self.products.add(query.dtype)
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        if torch.is_inference_mode_enabled() and func.name().startswith('aten::'):
            with self:  # there, operations that are made of others arrive in one piece
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        if func is _aten._pin_memory.default:  # fake tensors lack it
            self._pinned.append(args[0])
            return args[0]
        if func is _aten.is_pinned.default:
            return self._is_pinned(args[0])
        if func is _aten._local_scalar_dense.default and args[0].device == CUDA:
            self._note(func)
            return self._answer(args[0], torch.Tensor.item)
        if _asks(func, args):
            self._note(func)
        if not _on_device(args, kwargs):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        out = func(*args, **kwargs)
        if func is _aten._to_copy.default:
            quick = kwargs.get('non_blocking', False)
            return self._copied(func, args[0], out, quick)
        if func is _aten.copy_.default:
            return self._copied(func, args[1], out, args[2:] == (True,))
        if func.name().split('.')[0] in _PRODUCTS and out.device == CUDA:
            self.products.add(out.dtype)
        return out

    def _copied(self, func: Any, source: torch.Tensor, out: torch.Tensor, quick: bool) -> Any:
        if source.device.type == 'cpu' and out.device == CUDA:
            if not (quick and self._is_pinned(source)):
                self._note(func)
        elif source.device == CUDA and out.device.type == 'cpu':
            self._note(func)
            return self._answer(out, lambda tensor: tensor)
        return out

    def _answer(self, like: torch.Tensor, use: Callable[[torch.Tensor], Any]) -> Any:
        with unset_fake_temporarily():
            return use(self.read(like.shape, like.dtype))

    def _is_pinned(self, tensor: torch.Tensor) -> bool:
        return any(tensor is each for each in self._pinned)

    def _note(self, func: Any) -> None:
        stack = traceback.extract_stack()
        ours = [frame.name for frame in stack if frame.filename.startswith(_PACKAGE)]
        self.waits.append(Wait(func.name(), ours[-1] if ours else ''))


def _on_device(args: Any, kwargs: dict[str, Any]) -> bool:
    """Tell whether an operation reads or writes the device; the host has real tensors."""
    return any(
        (each if isinstance(each, torch.device) else each.device).type == 'cuda'
        for each in tree_leaves((args, kwargs)) if isinstance(each, (torch.device, torch.Tensor))
    )  # fmt: skip


def _asks(func: Any, args: Any) -> bool:
    """Tell whether an operation cannot begin before the device has told something."""
    if func.name().split('.')[0] in _INDEXED:  # by numbers asks nothing, by a mask does
        given = [
            each for each in args[1] if each is not None
            and each.dtype in (torch.bool, torch.uint8)
        ]  # fmt: skip
    elif _ASKS & set(func.tags):
        given = [each for each in args if isinstance(each, torch.Tensor)]
    else:
        return False
    return any(each.device == CUDA for each in given)


def _ones(shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


def _apply(self: torch.nn.Module, move: Callable[[torch.Tensor], torch.Tensor]) -> torch.nn.Module:
    """Do what Module._apply does, which cannot put a fake tensor into a parameter."""
    for part in self.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                moved = torch.nn.Parameter(move(parameter.data), requires_grad=False)
                part._parameters[name] = moved
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = move(buffer)
    return self


@contextlib.contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    """Let there be one CUDA device, in this thread."""
    # Autocast asks for a device that has bfloat16.
    monkeypatch.setattr(torch.cuda.amp.common, 'amp_definitely_not_available', lambda: False)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda *args, **options: True)
    device = FakeCuda()
    monkeypatch.setattr(torch.cuda, 'Event', lambda **options: _Event(device))
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device=None: None)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda device=None: 0)
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: None)
    with FakeTensorMode(allow_non_fake_inputs=True), device:
        yield device


class _Event:
    """An event that the device passes when the host waits for it."""

    def __init__(self, device: FakeCuda):
        self._device = device

    def record(self, stream: object = None) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, end: '_Event') -> float:
        return 1.0

    def synchronize(self) -> None:
        self._device.waits.append(Wait('cudaEventSynchronize', ''))
