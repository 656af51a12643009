# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""SAM 2's memory attention, with everything computed once that several frames or objects share.

The result is that of sam2.modeling.memory_attention.MemoryAttention up to rounding:

- the first layer's self-attention and queries depend on the frame alone: once a frame, not once
  an object and pass (`Queries`);
- keys are linear in memory and code, and the rotation is linear too, so the key of a memory is
  that of its tokens plus that of its place in time: once a memory (`Keys`) and once a model,
  not once for every frame that reads it;
- values enter the result linearly: the attention's weights are applied to memory tokens of width
  C, and the value and output projections to the L tokens of the frame, as one matrix.

Shapes: D width of image features, C width of memories, L = h * w tokens of a frame or memory,
B objects, n memories and P pointer tokens an object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.memory_attention import MemoryAttention
from sam2.modeling.sam.transformer import RoPEAttention

from detsam2_ros.engine.sam2.memory import Memory

# Rows of queries that the CPU attends for at a time. Few, so that their weights stay in its cache;
# more where the keys do not fit in the cache, and are read again for each block.
_FEW_ROWS, _MANY_ROWS = 64, 256
_CACHED_BYTES = 4 * 2**20

# Is shown what each of the frame's L tokens reads: weights [B, L, N] of the N tokens of memory.
Watch = Callable[[torch.Tensor], None]


@dataclass(frozen=True)
class Queries:
    """What a frame asks of any object's memories in the first layer.

    hidden: [1, L, D], after self-attention. query: [1, L, D], rotated and scaled.
    """

    hidden: torch.Tensor
    query: torch.Tensor


@dataclass(frozen=True)
class Keys:
    """A spatial memory as the layers read it.

    tokens: [L, C]. keys: one a layer, [L, D], rotated, without a code of time.
    """

    tokens: torch.Tensor
    keys: tuple[torch.Tensor, ...]


class KeyCache:
    """Keys of the memories that are read at present.

    Call `advance` after each frame: what two frames in a row did not read is dropped.
    """

    def __init__(self) -> None:
        self._now: dict[int, tuple[Memory, Keys]] = {}
        self._before: dict[int, tuple[Memory, Keys]] = {}

    def __len__(self) -> int:
        return len(self._now.keys() | self._before.keys())

    def advance(self) -> None:
        """Tell that the next frame begins."""
        self._now, self._before = {}, self._now

    def take(
        self, memories: Sequence[Memory], make: Callable[[list[Memory]], list[Keys]]
    ) -> list[Keys]:
        """Return the keys of memories; makes those that are missing, all at once."""
        missing: dict[int, Memory] = {}
        for memory in memories:
            name = id(memory)
            if name not in self._now and name in self._before:
                self._now[name] = self._before[name]
            elif name not in self._now:
                missing[name] = memory
        if missing:
            made = make(list(missing.values()))
            for (name, memory), keys in zip(missing.items(), made, strict=True):
                self._now[name] = memory, keys  # held, so that its id names nothing else
        return [self._now[id(memory)][1] for memory in memories]


class SharedAttention:
    """The memory attention of a model whose layers are like those of SAM 2's own configurations.

    Make it with `of`, use it inside `Sam2Model.inference()`. position_lc: positional code of a
    frame's features, float32 [L, D]. memory_position_lc, temporal_code: of memories, float32
    [L, C] and [rows, C]. fused: few large kernels, as a GPU likes it, with values as wide as keys,
    which its fused attention wants; else the fewest operations.
    """

    def __init__(
        self,
        module: Any,
        position_lc: torch.Tensor,
        memory_position_lc: torch.Tensor,
        temporal_code: torch.Tensor,
        dtype: torch.dtype,
    ):
        self._layers = list(module.layers)
        self._norm = module.norm
        self._shift_lc = 0.1 * position_lc if module.pos_enc_at_input else None
        self._dtype = dtype
        self.fused = position_lc.device.type != 'cpu'
        cross = [layer.cross_attn_image for layer in self._layers]
        self._width = cross[0].internal_dim
        side = math.isqrt(len(position_lc))
        first = cross[0]
        self._rotation: torch.Tensor = first.compute_cis(end_x=side, end_y=side).to(
            position_lc.device
        )
        scale = 1 / math.sqrt(self._width)
        with torch.inference_mode(), torch.autocast(position_lc.device.type, enabled=False):
            queries = [_float(c.q_proj) for c in cross]
            self._query = [(weight * scale, bias * scale) for weight, bias in queries]
            keys = [_float(c.k_proj) for c in cross]
            self._key_weight = torch.cat([weight for weight, _ in keys])
            self._key_bias = torch.cat([bias for _, bias in keys])
            self._value = [_product(_float(c.out_proj), _float(c.v_proj)) for c in cross]
            codes_rlc = memory_position_lc + temporal_code[:, None]
            codes = F.linear(codes_rlc, self._key_weight, self._key_bias)
            # by layer: [rows, L, D], what a memory's place in time adds to its keys
            self._codes = [self._rotate(part).to(dtype) for part in self._split(codes)]
            self._cast(dtype)

    def _cast(self, dtype: torch.dtype) -> None:
        """Bring weights to the type that they are used in."""
        self._query = [(weight.to(dtype), bias.to(dtype)) for weight, bias in self._query]
        self._key_weight = self._key_weight.to(dtype)
        self._key_bias = self._key_bias.to(dtype)
        self._value = [(weight.to(dtype), bias.to(dtype)) for weight, bias in self._value]

    @staticmethod
    def of(
        module: Any,
        position_lc: torch.Tensor,
        memory_position_lc: torch.Tensor,
        temporal_code: torch.Tensor,
        dtype: torch.dtype,
    ) -> SharedAttention | None:
        """Return it, or None for a model that its rules do not hold for."""
        if not isinstance(module, MemoryAttention) or not module.batch_first:
            return None
        for layer in module.layers:
            own, cross = layer.self_attn, layer.cross_attn_image
            if not (
                isinstance(own, RoPEAttention)
                and isinstance(cross, RoPEAttention)
                and cross.rope_k_repeat
                and cross.num_heads == 1
                and layer.pos_enc_at_cross_attn_keys
                and not layer.pos_enc_at_cross_attn_queries
                and not layer.pos_enc_at_attn
            ):
                return None
        return SharedAttention(module, position_lc, memory_position_lc, temporal_code, dtype)

    def queries(self, top_bdhw: torch.Tensor) -> list[Queries]:
        """Return what each of B frames asks, by its features [B, D, h, w]."""
        hidden = top_bdhw.flatten(2).transpose(1, 2).contiguous()
        if self._shift_lc is not None:
            hidden = hidden + self._shift_lc
        layer = self._layers[0]
        hidden = layer._forward_sa(hidden, None)
        query = self._queries_of(0, hidden)
        return [Queries(hidden[i : i + 1], query[i : i + 1]) for i in range(len(hidden))]

    def keys(self, memories: Sequence[Memory]) -> list[Keys]:
        """Make the keys of memories."""
        tokens_mlc = torch.stack([memory.spatial for memory in memories])
        tokens_mlc = tokens_mlc.flatten(2).transpose(1, 2).to(self._dtype).contiguous()
        keys = F.linear(tokens_mlc, self._key_weight).unflatten(-1, (len(self._layers), -1))
        by_memory = self._rotate(keys.transpose(1, 2))
        return [
            Keys(tokens, layers.unbind())
            for tokens, layers in zip(tokens_mlc, by_memory, strict=True)
        ]

    def fuse(
        self,
        queries: Queries,
        keys: Sequence[Keys],
        rows: Sequence[int],
        pointers_bpc: torch.Tensor,
        pointer_codes_bpc: torch.Tensor,
        watch: Watch | None = None,
    ) -> torch.Tensor:
        """Let a frame attend to what B objects remember; returns its features, [B, L, D].

        keys, rows: of n memories an object, object by object, and their rows of the temporal
        code. pointers_bpc, pointer_codes_bpc: pointer tokens and their codes. watch: is shown the
        weights of each layer.
        """
        batch = len(pointers_bpc)
        pointer_keys = self._split(
            F.linear(pointers_bpc + pointer_codes_bpc, self._key_weight, self._key_bias)
        )
        stacked = torch.stack([own.tokens for own in keys])
        memory_tokens = stacked.view(batch, -1, stacked.shape[-1])
        tokens = torch.cat([memory_tokens, pointers_bpc.to(self._dtype)], dim=1)
        hidden = queries.hidden.expand(batch, -1, -1)
        for i, layer in enumerate(self._layers):
            if i:
                hidden = layer._forward_sa(hidden, None)
                query = self._queries_of(i, hidden)
            else:
                query = queries.query.expand(batch, -1, -1)
            assembled = self._assemble(i, keys, rows, pointer_keys[i])
            if watch is not None:
                watch(torch.softmax(query @ assembled.transpose(1, 2), dim=-1))
            hidden = hidden + self._attend(i, query, assembled, tokens)
            inner = layer.activation(layer.linear1(layer.norm3(hidden)))
            hidden = hidden + layer.linear2(inner)
        fused: torch.Tensor = self._norm(hidden)
        return fused

    def _queries_of(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        weight, bias = self._query[layer]
        return self._rotate(F.linear(self._layers[layer].norm2(hidden), weight, bias))

    def _assemble(
        self,
        layer: int,
        memories: Sequence[Keys],
        rows: Sequence[int],
        pointer_keys_bpd: torch.Tensor,
    ) -> torch.Tensor:
        """Lay out the keys of B objects with their place in time, pointers last, [B, N, D]."""
        batch, count, width = pointer_keys_bpd.shape
        keys = [own.keys[layer] for own in memories]
        codes = [self._codes[layer][row] for row in rows]
        n = len(keys) // batch
        length = n * len(keys[0])
        out = pointer_keys_bpd.new_empty(batch, length + count, width)
        out[:, length:] = pointer_keys_bpd
        out_bnld = out[:, :length].view(batch, n, *keys[0].shape)
        if self.fused:
            stacked = torch.stack(keys + codes).view(2, *out_bnld.shape)
            torch.add(stacked[0], stacked[1], out=out_bnld)
        else:  # one pass over the memory; calls are cheap
            for at, (key, code) in enumerate(zip(keys, codes, strict=True)):
                torch.add(key, code, out=out_bnld[at // n, at % n])
        return out

    def _attend(
        self, layer: int, query_bld: torch.Tensor, keys_bnd: torch.Tensor, tokens_bnc: torch.Tensor
    ) -> torch.Tensor:
        """Return what cross-attention adds to the hidden state, [B, L, D]."""
        weight, bias = self._value[layer]
        if not self.fused:
            parts = zip(query_bld, keys_bnd, tokens_bnc, strict=True)
            return F.linear(torch.stack([_read(*part) for part in parts]), weight, bias)
        values = F.linear(tokens_bnc, weight)
        read = F.scaled_dot_product_attention(
            query_bld[:, None], keys_bnd[:, None], values[:, None], scale=1.0
        )
        return read[:, 0] + bias

    def _split(self, parts: torch.Tensor) -> list[torch.Tensor]:
        """Split the last axis by layers."""
        return list(parts.split(self._width, dim=-1))

    def _rotate(self, x: torch.Tensor) -> torch.Tensor:
        """Rotate [..., L, D] by place in the image (sam2's apply_rotary_enc)."""
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * self._rotation).flatten(-2).to(x.dtype)


def _read(query_ld: torch.Tensor, keys_nd: torch.Tensor, tokens_nc: torch.Tensor) -> torch.Tensor:
    """Return memory tokens by attention, [L, C], block by block."""
    cached = keys_nd.numel() * keys_nd.element_size() <= _CACHED_BYTES
    rows = (_FEW_ROWS if cached else _MANY_ROWS) * torch.get_num_threads()
    across = keys_nd.T
    read = []
    for query in query_ld.split(rows):
        weights = torch.softmax(query @ across, dim=-1)
        read.append(weights.to(tokens_nc.dtype) @ tokens_nc)
    return torch.cat(read)


def _float(linear: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias as float32."""
    return linear.weight.float(), linear.bias.float()


def _product(
    after: tuple[torch.Tensor, torch.Tensor], before: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight and bias of two linear maps in a row."""
    return after[0] @ before[0], after[0] @ before[1] + after[1]
