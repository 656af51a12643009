# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory attention and bfloat16 are sam2's own, up to rounding, and keep no more than is read."""

import contextlib
import copy
from pathlib import Path

import pytest
import torch

from detsam2_ros.engine.sam2 import model as sam2_model
from detsam2_ros.engine.sam2 import precision, steps
from detsam2_ros.engine.sam2 import steps as stages
from detsam2_ros.engine.sam2.attended_memories import Context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.memory_attention import KeyCache, Keys, SharedAttention
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import decode_points, encode_image, encode_memory, track
from oracle import random_sam2
from oracle.pair import random_models

KINDS = ('sam21', 'sam20', 'odd')


def _memory(model: Sam2Model, seed: int) -> Memory:
    generator = torch.Generator().manual_seed(seed)
    shape = (model.memory_dim, model.feature_size, model.feature_size)
    return Memory(
        torch.randn(shape, generator=generator).to(torch.bfloat16),
        torch.randn(model.pointer_dim, generator=generator),
        torch.tensor(1.0),
    )


def _contexts(model: Sam2Model, spatial: int, pointers: int, objects: int) -> list[Context]:
    rows = model.module.num_maskmem
    return [
        Context(
            tuple((_memory(model, 100 * b + i), (b + i) % rows) for i in range(spatial)),
            tuple((_memory(model, 100 * b + 50 + i), i / 5) for i in range(pointers)),
        )
        for b in range(objects)
    ]


def _features(model: Sam2Model) -> stages.ImageFeatures:
    return encode_image(model, model.preprocess(random_sam2.images(1, seed=5)[0])[None])[0]


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize(
    ('spatial', 'pointers', 'objects'), [(1, 0, 1), (4, 0, 2), (3, 5, 1), (7, 9, 3)])
@pytest.mark.parametrize('kind', KINDS)
def test_it_is_the_models_own_attention(
    monkeypatch: pytest.MonkeyPatch, kind: str, spatial: int, pointers: int, objects: int,
    fused: bool,
) -> None:
    model, _ = random_models(kind, 1)
    contexts = _contexts(model, spatial, pointers, objects)
    assert model.attention is not None
    monkeypatch.setattr(model.attention, 'fused', fused)
    with model.inference():
        features = _features(model)
        top = features.expand(objects).top
        expected = stages._attend_by_module(model, top, contexts)
        found = stages._attend(model, features, contexts, KeyCache())
    assert (found - expected).abs().max() <= 1e-5 * expected.std()


@pytest.mark.parametrize('rows', [8, 1000])
def test_blocks_of_queries_do_not_change_it(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    model, _ = random_models('sam21', 1)
    contexts = _contexts(model, 3, 2, 2)
    with model.inference():
        features = _features(model)
        expected = stages._attend(model, features, contexts, KeyCache())
        monkeypatch.setattr('detsam2_ros.engine.sam2.memory_attention._FEW_ROWS', rows)
        found = stages._attend(model, features, contexts, KeyCache())
    assert torch.allclose(found, expected, atol=1e-6, rtol=1e-5)


def test_what_was_cached_changes_nothing() -> None:
    model, _ = random_models('sam21', 1)
    contexts = _contexts(model, 4, 3, 2)
    cache = KeyCache()
    with model.inference():
        features = _features(model)
        first = stages._attend(model, features, contexts, cache)
        again = stages._attend(model, features, contexts, cache)
        # The same memories elsewhere in time, and in another order.
        moved = [
            Context(tuple((m, (row + 1) % 7) for m, row in reversed(c.spatial)), c.pointers)
            for c in contexts
        ]
        elsewhere = stages._attend(model, features, moved, cache)
        fresh = stages._attend(model, features, moved, KeyCache())
    assert torch.equal(first, again)
    assert torch.allclose(elsewhere, fresh, atol=1e-5)
    assert (elsewhere - first).abs().max() > 0.01


def test_bfloat16_is_close() -> None:
    model, _ = random_models('sam21', 1)
    half = Sam2Model(copy.deepcopy(model.module), 'half', model.device, torch.bfloat16)
    contexts = _contexts(model, 4, 3, 2)
    with model.inference():
        expected = stages._attend(model, _features(model), contexts, KeyCache())
    with half.inference():
        features = _features(half)
        assert features.queries is not None
        found = stages._attend(half, features, contexts, KeyCache())
        own = stages._attend_by_module(half, features.expand(2).top, contexts)
    apart, usual = (found - expected).float().std(), (own - expected).float().std()
    assert apart <= 1.5 * usual  # no worse than what bfloat16 costs sam2


def test_keys_are_kept_while_frames_read_them() -> None:
    model, _ = random_models('sam21', 1)
    memories = [_memory(model, i) for i in range(4)]
    made: list[Memory] = []

    def make(missing: list[Memory]) -> list[Keys]:
        made.extend(missing)
        return [Keys(m.spatial, ()) for m in missing]

    cache = KeyCache()
    for read in ([0, 1, 0], [1, 2], [2], [2, 0], [1]):
        found = cache.take([memories[i] for i in read], make)
        assert [keys.tokens is memories[i].spatial for keys, i in zip(found, read, strict=True)]
        assert all(keys.tokens is memories[i].spatial for keys, i in zip(found, read, strict=True))
        cache.advance()
    # 0 and 1 had to be made again: two frames in a row had not read them.
    assert [next(i for i, m in enumerate(memories) if m is one) for one in made] == [
        0, 1, 2, 0, 1]
    cache.advance()
    assert len(cache) == 0


@pytest.mark.parametrize(('where', 'name', 'value'), [
    ('layer', 'pos_enc_at_attn', True),
    ('layer', 'pos_enc_at_cross_attn_queries', True),
    ('layer', 'pos_enc_at_cross_attn_keys', False),
    ('cross', 'num_heads', 2),
    ('module', 'batch_first', False),
])
def test_other_rules_are_left_to_the_model(where: str, name: str, value: object) -> None:
    model, _ = random_models('sam21', 1)
    module = copy.deepcopy(model.module.memory_attention)
    layer = module.layers[-1]
    owner = {'module': module, 'layer': layer, 'cross': layer.cross_attn_image}[where]
    setattr(owner, name, value)
    given = (model.image_position_lc, model.memory_position_lc, model.temporal_code)
    assert SharedAttention.of(module, *given, torch.float32) is None
    assert SharedAttention.of(model.module.memory_attention, *given, torch.float32) is not None


def test_a_model_of_other_rules_is_tracked_by_its_own_module() -> None:
    model, _ = random_models('sam21', 1)
    contexts = _contexts(model, 3, 2, 2)
    with model.inference():
        expected = track(model, _features(model), contexts)
        own = Sam2Model(model.module, 'own', model.device, model.dtype)
        own.__dict__['attention'] = None
        features = _features(own)
        found = track(own, features, contexts)
    assert features.queries is None
    assert torch.allclose(found.score, expected.score, atol=1e-4)


# ---- bfloat16: weights that are cast once give what autocast gives, and banks stay the same
CPU = torch.device('cpu')


def _copy(model: Sam2Model, dtype: torch.dtype) -> Sam2Model:
    return Sam2Model(copy.deepcopy(model.module), model.name, CPU, dtype)


def _all_stages(model: Sam2Model) -> list[torch.Tensor]:
    image = random_sam2.images(1, seed=5)[0]
    box, labels = torch.tensor([[[8.0, 8.0], [52.0, 50.0]]]), torch.tensor([[2, 3]]).int()
    with model.inference():
        features = encode_image(model, model.preprocess(image)[None])[0]
        prompted = decode_points(model, features, box, labels)
        given = torch.zeros(1, 1, model.image_size, model.image_size)
        given[..., 20:60, 20:60] = 1
        masked = steps.decode_masks(model, features, given)
        memories = []
        for decoded in (prompted, masked):
            memories += encode_memory(model, features, decoded, prompted=True)
        context = Context(tuple((m, 3) for m in memories), tuple((m, 0.2) for m in memories))
        tracked = track(model, features, [context], KeyCache())

    def parts(decoded: steps.MaskPrediction) -> list[torch.Tensor]:
        return [decoded.logits, decoded.pointer, decoded.score]

    return [features.top, *parts(prompted), *parts(masked), memories[0].spatial, *parts(tracked)]


@pytest.mark.parametrize('kind', ['sam21', 'sam20', 'odd'])
def test_weights_that_are_cast_once_change_nothing(monkeypatch, kind: str) -> None:
    model, _ = random_models(kind, 1)
    once = _copy(model, torch.bfloat16)
    assert once.module.memory_attention.layers[0].linear1.weight.dtype == torch.bfloat16
    assert once.module.memory_attention.layers[0].norm1.weight.dtype == torch.float32
    monkeypatch.setattr(sam2_model, '_cast_weights', lambda *_: None)
    always = _copy(model, torch.bfloat16)
    assert always.module.memory_attention.layers[0].linear1.weight.dtype == torch.float32
    for one, other in zip(_all_stages(once), _all_stages(always), strict=True):
        assert torch.equal(one, other)


def test_a_bank_is_good_for_both_precisions() -> None:
    model, _ = random_models('sam21', 1)
    assert _copy(model, torch.bfloat16).identity == _copy(model, torch.float32).identity


def test_the_position_embedding_is_that_of_the_trunk_and_is_made_once() -> None:
    model, _ = random_models('sam21', 1)
    own = _copy(model, torch.float32)
    trunk = own.module.image_encoder.trunk
    calls = []
    resize = torch.nn.functional.interpolate

    def counting(tensor: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        if options.get('mode') == 'bicubic':
            calls.append(tensor.shape)
        return resize(tensor, *args, **options)

    image = own.preprocess(random_sam2.images(1)[0])[None]
    with own.inference(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, 'interpolate', counting)
        kept = [encode_image(own, image)[0].top for _ in range(3)]
        assert len(calls) == 1
        del trunk._get_pos_embed  # the class's own again
        fresh = encode_image(own, image)[0].top
        assert len(calls) == 2
    assert all(torch.equal(top, fresh) for top in kept)


@pytest.mark.parametrize(('flags', 'balanced'), [
    ('fpu avx512f avx512_bf16 avx512_vnni', torch.bfloat16), ('fpu amx_bf16', torch.bfloat16),
    ('fpu avx2 avx512f', torch.float32), (None, torch.float32),
])  # fmt: skip
def test_a_processor_computes_in_bfloat16_if_it_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str | None, balanced: torch.dtype
) -> None:
    info = tmp_path / 'cpuinfo'
    if flags is not None:
        info.write_text(f'model name\t: avx512_bf16\nflags\t\t: {flags}\nbugs\t\t: none\n')
    monkeypatch.setattr(precision, '_CPU_INFO', info)
    assert precision.default_dtype(CPU, 'balanced') == balanced
    assert precision.default_dtype(CPU, 'exact') == torch.float32


@pytest.mark.parametrize('native', [True, False])
def test_a_gpu_that_would_emulate_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    asked = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, 'device', lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', supported)
    for quality in ('exact', 'balanced'):
        dtype = precision.default_dtype(torch.device('cuda'), quality)
        assert dtype == (torch.bfloat16 if native else torch.float32)
    assert asked == [False, False]
