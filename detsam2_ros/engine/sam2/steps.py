# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""SAM 2's steps as pure functions of tensors: encode an image, decode prompts, track, remember.

Built on the modules of the installed sam2 package; the rules are those of
sam2.modeling.sam2_base.SAM2Base in eval mode. Call them inside `Sam2Model.inference()`.
Shapes: S image size, D width of image features, C width of memories, h = w = S / 16.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from sam2.modeling.sam2_utils import get_1d_sine_pe

from detsam2_ros.engine.sam2.attended_memories import Context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.memory_attention import KeyCache, Queries, Watch
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.transfer import to_device

K = TypeVar('K', bound=Hashable)  # what tells objects apart


@dataclass(frozen=True)
class ImageFeatures:
    """What the image encoder says of one frame, all that later steps read of the image.

    top: [1, D, h, w]. high_res: [1, D/8, 4h, 4w] and [1, D/4, 2h, 2w], already projected for
    the mask decoder. queries: what memory attention starts from; None for models whose own
    module does all of it.
    """

    top: torch.Tensor
    high_res: tuple[torch.Tensor, ...]
    queries: Queries | None = None

    def expand(self, batch: int) -> ImageFeatures:
        """Return a view of the same features for a batch of objects."""
        return ImageFeatures(
            self.top.expand(batch, -1, -1, -1),
            tuple(level.expand(batch, -1, -1, -1) for level in self.high_res),
            self.queries,
        )


@dataclass(frozen=True)
class MaskPrediction:
    """What the mask decoder says on one frame of B objects, or of one without the axis B.

    logits: float32 [B, S/4, S/4], > 0 is mask. pointer: float32 [B, D]. score: float32 [B],
    object score logit; at <= 0 the object is not there and logits are all NO_OBJ_SCORE.
    """

    logits: torch.Tensor
    pointer: torch.Tensor
    score: torch.Tensor

    def unbind(self) -> list[MaskPrediction]:
        """Return the objects of a batch one by one, as views."""
        rows = zip(self.logits, self.pointer, self.score, strict=True)
        return [MaskPrediction(*row) for row in rows]

    @classmethod
    def stack(cls, single: Sequence[MaskPrediction]) -> MaskPrediction:
        """Make a batch of objects."""
        return cls(
            torch.stack([one.logits for one in single]),
            torch.stack([one.pointer for one in single]),
            torch.stack([one.score for one in single]),
        )


def encode_image(model: Sam2Model, images_bchw: torch.Tensor) -> list[ImageFeatures]:
    """Encode preprocessed images, float32 [B, 3, S, S]; returns one ImageFeatures an image."""
    pyramid = model.module.forward_image(images_bchw)['backbone_fpn']
    levels = pyramid[-model.module.num_feature_levels :]
    attention = model.attention
    queries = attention.queries(levels[-1]) if attention else [None] * len(images_bchw)
    return [
        ImageFeatures(levels[-1][i : i + 1], tuple(level[i : i + 1] for level in levels[:-1]), own)
        for i, own in enumerate(queries)
    ]


def decode_points(
    model: Sam2Model,
    features: ImageFeatures,
    points_bp2: torch.Tensor,
    labels_bp: torch.Tensor,
    before_b1qq: torch.Tensor | None = None,
) -> MaskPrediction:
    """Segment B objects on one frame from point prompts, without any memory.

    points_bp2: float32 [B, P, 2], xy in pixels of the S x S image. labels_bp: int32 [B, P]:
    1 inside, 0 outside, 2 and 3 the first and second corner of a box. before_b1qq: float32
    [B, 1, S/4, S/4], logits of masks that the points correct. (SAM2Base.track_step with
    is_init_cond_frame=True.)
    """
    module = model.module
    features = features.expand(len(points_bp2))
    fused = features.top + module.no_mem_embed.view(1, -1, 1, 1)
    sparse, dense = module.sam_prompt_encoder(
        points=(points_bp2, labels_bp), boxes=None, masks=before_b1qq
    )
    multimask = module._use_multimask(True, {'point_labels': labels_bp})
    return _decode(model, fused, features.high_res, sparse, dense, multimask)


def decode_masks(
    model: Sam2Model, features: ImageFeatures, masks_b1ss: torch.Tensor
) -> MaskPrediction:
    """Take given masks, float 0/1 [B, 1, S, S], as those of B objects on one frame.

    SAM 2 then uses the mask itself as output and the decoder for the pointer alone
    (SAM2Base._use_mask_as_output).
    """
    features = features.expand(len(masks_b1ss))
    logits, _, _, _, _, pointer, score = model.module._use_mask_as_output(
        features.top, list(features.high_res), masks_b1ss
    )
    return MaskPrediction(logits[:, 0].float(), pointer.float(), score[:, 0].float())


def track(
    model: Sam2Model,
    features: ImageFeatures,
    contexts: Sequence[Context],
    cache: KeyCache | None = None,
    watch: Watch | None = None,
) -> MaskPrediction:
    """Segment B objects on one frame from what each remembers.

    contexts: one an object, all of one layout (see memory.Context). cache: holds what was
    computed of memories for other frames, and saves time only. watch: is shown the weights of
    memory attention, layer by layer; never called where `Sam2Model.attention` is None.
    """
    module = model.module
    batch = len(contexts)
    fused = _attend(model, features, contexts, KeyCache() if cache is None else cache, watch)
    sparse, dense = model.no_prompt
    return _decode(
        model,
        fused,
        features.expand(batch).high_res,
        sparse.expand(batch, -1, -1),
        dense.expand(batch, -1, -1, -1),
        module._use_multimask(False, None),
    )


def track_objects(
    model: Sam2Model,
    features: ImageFeatures,
    contexts: Mapping[K, Context],
    cache: KeyCache | None = None,
    batch: bool = True,
) -> dict[K, MaskPrediction]:
    """Segment objects of any layout on one frame, as few batches as their layouts allow.

    contexts: by any key, one an object; the result has the same keys, in order. batch: False
    tracks one object at a time.
    """
    groups: dict[Hashable, list[K]] = defaultdict(list)
    for number, (key, context) in enumerate(contexts.items()):
        groups[context.layout if batch else number].append(key)
    tracked: dict[K, MaskPrediction] = {}
    for keys in groups.values():
        predicted = track(model, features, [contexts[key] for key in keys], cache)
        tracked.update(zip(keys, predicted.unbind(), strict=True))
    return {key: tracked[key] for key in contexts}


def encode_memories(
    model: Sam2Model, features: ImageFeatures, tracked: Mapping[K, MaskPrediction]
) -> dict[K, Memory]:
    """Return what SAM 2 remembers of objects that were tracked on a frame, by the same keys."""
    if not tracked:
        return {}
    predicted = MaskPrediction.stack(list(tracked.values()))
    return dict(zip(tracked, encode_memory(model, features, predicted, False), strict=True))


def encode_memory(
    model: Sam2Model, features: ImageFeatures, predicted: MaskPrediction, prompted: bool
) -> list[Memory]:
    """Return what SAM 2 remembers of B objects on one frame; spatial memories are bfloat16.

    prompted: the masks came from prompts and are binarised first; tracked ones enter as
    probabilities. (SAM2Base._encode_new_memory)
    """
    module = model.module
    size = (model.image_size, model.image_size)
    logits_b1ss = F.interpolate(
        predicted.logits[:, None], size, mode='bilinear', align_corners=False
    )
    if prompted and module.binarize_mask_from_pts_for_mem_enc:
        masks_b1ss = (logits_b1ss > 0).float()
    else:
        masks_b1ss = logits_b1ss.sigmoid()
    masks_b1ss = masks_b1ss * module.sigmoid_scale_for_mem_enc + module.sigmoid_bias_for_mem_enc
    top = features.expand(len(masks_b1ss)).top
    memory = module.memory_encoder(top, masks_b1ss, skip_mask_sigmoid=True)['vision_features']
    if module.no_obj_embed_spatial is not None:
        absent_b111 = (predicted.score <= 0).float()[:, None, None, None]
        memory = memory + absent_b111 * module.no_obj_embed_spatial[..., None, None]
    spatial_bchw = memory.to(torch.bfloat16)
    parts = zip(spatial_bchw, predicted.pointer, predicted.score, strict=True)
    return [Memory(*part) for part in parts]


def _attend(
    model: Sam2Model,
    features: ImageFeatures,
    contexts: Sequence[Context],
    cache: KeyCache,
    watch: Watch | None = None,
) -> torch.Tensor:
    """Fuse a frame's features with what B objects remember, [B, D, h, w]."""
    batch = len(contexts)
    expanded = features.expand(batch).top
    attention = model.attention
    if attention is None or features.queries is None:
        return _attend_by_module(model, expanded, contexts)
    pointers_bpc, codes_bpc = _pointer_tokens(model, contexts)
    fused_bld = attention.fuse(
        features.queries,
        cache.take([memory for c in contexts for memory, _ in c.spatial], attention.keys),
        [row for c in contexts for _, row in c.spatial],
        pointers_bpc,
        codes_bpc,
        watch,
    )
    return fused_bld.transpose(1, 2).reshape(expanded.shape)


def _attend_by_module(
    model: Sam2Model, top: torch.Tensor, contexts: Sequence[Context]
) -> torch.Tensor:
    """Do the same with the model's own module."""
    batch = len(contexts)
    memory_blc, position_blc, pointer_tokens = assemble(model, contexts)
    # The module takes sequence first and turns it round: handing it views of batch-first tensors
    # makes its own tensors contiguous, which its matrix products need to be fast.
    top_bld = top.flatten(2).transpose(1, 2).contiguous()
    image_position_bld = model.image_position_lc[None].expand(batch, -1, -1)
    fused_lbd: torch.Tensor = model.module.memory_attention(
        curr=[top_bld.transpose(0, 1)],
        curr_pos=[image_position_bld.transpose(0, 1)],
        memory=memory_blc.transpose(0, 1),
        memory_pos=position_blc.transpose(0, 1),
        num_obj_ptr_tokens=pointer_tokens,
    )
    return fused_lbd.permute(1, 2, 0).reshape(top.shape)


def assemble(
    model: Sam2Model, contexts: Sequence[Context]
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Lay out the memories of B objects as the tokens that memory attention reads.

    Returns tokens and their positional codes, float32 [B, L, C], and how many of the last
    tokens are pointers. (SAM2Base._prepare_memory_conditioned_features)
    """
    batch, channels = len(contexts), model.memory_dim
    stacked = torch.stack([memory.spatial for c in contexts for memory, _ in c.spatial])
    # [B * n, C, h, w] to [B, n * h * w, C]: an object's memories lie one behind the other
    tokens_blc = stacked.flatten(2).transpose(1, 2).reshape(batch, -1, channels).float()
    rows = to_device(torch.tensor([[row for _, row in c.spatial] for c in contexts]), model.device)
    code_bn1c = model.temporal_code[rows][:, :, None]
    position_blc = (model.memory_position_lc + code_bn1c).reshape(batch, -1, channels)
    pointers_blc, pointer_position_blc = _pointer_tokens(model, contexts)
    return (
        torch.cat([tokens_blc, pointers_blc], dim=1),
        torch.cat([position_blc, pointer_position_blc], dim=1),
        pointers_blc.shape[1],
    )


def _pointer_tokens(
    model: Sam2Model, contexts: Sequence[Context]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Split each pointer into D / C tokens, with a sine code of its distance in time.

    Returns both as float32 [B, P * D / C, C] for P pointers an object.
    """
    module = model.module
    batch, width = len(contexts), model.memory_dim
    if not contexts[0].pointers:
        none = torch.zeros(batch, 0, width, device=model.device)
        return none, none
    split = model.pointer_dim // width
    pointers = torch.stack([memory.pointer for c in contexts for memory, _ in c.pointers])
    tokens_blc = pointers.reshape(batch, -1, width)
    if not module.add_tpos_enc_to_obj_ptrs:
        return tokens_blc, torch.zeros_like(tokens_blc)
    distances = [[distance for _, distance in c.pointers] for c in contexts]
    distances_bp = to_device(torch.tensor(distances, dtype=torch.float32), model.device)
    code_width = model.pointer_dim if module.proj_tpos_enc_in_obj_ptrs else width
    code_bpc = module.obj_ptr_tpos_proj(get_1d_sine_pe(distances_bp, dim=code_width)).float()
    return tokens_blc, code_bpc.repeat_interleave(split, dim=1)


def _decode(
    model: Sam2Model,
    fused: torch.Tensor,
    high_res: Sequence[torch.Tensor],
    sparse: torch.Tensor,
    dense: torch.Tensor,
    multimask: bool,
) -> MaskPrediction:
    """Run the mask decoder and keep its best mask.

    As SAM2Base._forward_sam_heads, but without bringing every candidate to full size.
    """
    module = model.module
    masks, ious, tokens, score_b1 = module.sam_mask_decoder(
        image_embeddings=fused,
        image_pe=model.prompt_position,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
        repeat_image=False,
        high_res_features=list(high_res),
    )
    rows = torch.arange(len(masks), device=masks.device)
    best = ious.argmax(dim=-1) if multimask else torch.zeros_like(rows)
    logits = masks[rows, best].float()
    token = tokens[rows, best] if multimask and tokens.size(1) > 1 else tokens[:, 0]
    pointer = module.obj_ptr_proj(token)
    if module.pred_obj_scores:
        there_b1 = score_b1 > 0
        logits = torch.where(there_b1[:, None], logits, NO_OBJ_SCORE)
        weight_b1 = score_b1.sigmoid() if module.soft_no_obj_ptr else there_b1.float()
        if module.fixed_no_obj_ptr:
            pointer = weight_b1 * pointer
        pointer = pointer + (1 - weight_b1) * module.no_obj_ptr
    return MaskPrediction(logits, pointer.float(), score_b1[:, 0].float())
