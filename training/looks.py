# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Find objects by their looks: they are remembered on views, and searched for in other frames.

Tracking rewards a memory that knows places; a memory bank needs one that knows looks. So views and
frames are flipped apart, are of other scenes half of the time, and attention itself is taught.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from training.data import MIN_AREA, Clip, Layout, Store, augment
from training.fast_cpu import attention_weights
from training.losses import mask_iou
from training.network import normalise
from training.unroll import DecoderTap

SHAPES_SHARE = 0.15
SAME_SHARE = 0.35  # of scenes: views of the table itself, at other times
FRAMES = 3  # searched, of one clip
CELL = 16  # pixels a side of what memory attention sees as one place
ATTENTION_WEIGHT = 0.5
LOOKS_WEIGHT = 0.3


@dataclass
class Looks:
    """V views and F frames, and what is remembered and searched for.

    images: uint8 [V + F, S, S, 3], views first. labels: uint8 [V + F, S, S], 0 none. remembered:
    int [O, E], the view that each object's j-th entry is of. view_ids: [O, E], its label there.
    frame_ids: int [O], its label in the frames, 255 where it is not there. kinds: class of each
    label and image, int [V + F, 256], -1 unknown.
    """

    images: np.ndarray
    labels: np.ndarray
    remembered: np.ndarray
    view_ids: np.ndarray
    frame_ids: np.ndarray
    kinds: np.ndarray


@dataclass(frozen=True)
class _Shot:
    images: np.ndarray  # [T, S, S, 3]
    labels: np.ndarray  # [T, S, S]
    kinds: np.ndarray  # class of each label, 256 of them


def draw(store: Store, rng: np.random.Generator, objects: int) -> Looks:
    """Draw up to `objects` objects, some of which are not in the frames."""
    while True:
        names = store.shapes if store.shapes and rng.random() < SHAPES_SHARE else store.scenes
        path = store.root / names[int(rng.integers(len(names)))]
        same = names is store.shapes or rng.random() < SAME_SHARE
        length = len(store.load(path, 'areas'))
        frames = _shot(store, path, rng, rng.integers(length, size=FRAMES).tolist())
        views = []
        for _ in range(int(rng.integers(2, 5))):
            own = path if same else store.root / names[int(rng.integers(len(names)))]
            length = len(store.load(own, 'areas'))
            views.append(_shot(store, own, rng, [int(rng.integers(length))]))
        found = _remembered(views, frames, rng, objects)
        if found is not None:
            shots = [*views, frames]
            return Looks(
                np.concatenate([s.images for s in shots]),
                np.concatenate([s.labels for s in shots]), *found,
                np.concatenate([np.tile(s.kinds, (len(s.images), 1)) for s in shots]))


def _shot(store: Store, path: Path, rng: np.random.Generator, times: list[int]) -> _Shot:
    images = np.stack([store.load(path, 'images')[t] for t in times])
    labels = np.stack([store.load(path, 'labels')[t] for t in times])
    clip = Clip(images, labels[None], np.zeros((1, len(times), 4), np.float32), Layout([], []))
    clip = augment(clip, rng)
    kinds = np.full(256, -1)
    classes = store.load(path, 'class_ids')
    if len(classes):
        kinds[1 : len(classes) + 1] = classes
    else:  # a shape is a kind of its own, in its clip
        kinds[1:255] = 1000 + np.arange(254)
    return _Shot(clip.images, clip.targets[0], kinds)


def _remembered(
    views: list[_Shot], frames: _Shot, rng: np.random.Generator, objects: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Choose kinds that are in a view, once in each; return the rows of Looks."""
    seen: dict[int, list[tuple[int, int]]] = {}
    for v, view in enumerate(views):
        areas = np.bincount(view.labels.ravel(), minlength=256)
        kinds, counts = np.unique(view.kinds[view.kinds >= 0], return_counts=True)
        for kind in kinds[counts == 1]:
            label = int(np.flatnonzero(view.kinds == kind)[0])
            if areas[label] >= 3 * MIN_AREA:
                seen.setdefault(int(kind), []).append((v, label))
    # Two of a kind in the frames: which of them is meant, nobody can say.
    there = {k: np.flatnonzero(frames.kinds == k) for k in seen}
    shown = np.unique(frames.labels)
    present = [k for k in seen if len(there[k]) == 1 and there[k][0] in shown]
    absent = [k for k in seen if k not in present and len(there[k]) < 2]
    chosen = rng.permutation(present)[: max(objects - 2, 1)].tolist()
    if not chosen:
        return None
    chosen += rng.permutation(absent)[: min(2, objects - len(chosen))].tolist()
    # One number of entries for all, since they are one batch: where a kind has less, twins.
    count = int(rng.integers(1, max(len(seen[k]) for k in chosen) + 1))
    entries = []
    for kind in chosen:
        order = [seen[kind][int(i)] for i in rng.permutation(len(seen[kind]))]
        entries.append([order[i % len(order)] for i in range(count)])
    ids = [int(there[k][0]) if len(there[k]) else 255 for k in chosen]
    rows = np.array(entries)
    return rows[..., 0], rows[..., 1], np.array(ids)


class AttentionTap:
    """Within `with tap:` keeps the weights of the last layer's attention to memory.

    Only there, since other steps need no weights, and a GPU's fused attention makes none.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.weights: torch.Tensor | None = None
        self._cross = model.memory_attention.layers[-1].cross_attn_image

    def __enter__(self) -> AttentionTap:
        self._cross.forward = self._forward
        return self

    def __exit__(self, *_: object) -> None:
        del self._cross.forward  # the module's own shows again

    def _forward(self, *args: object, **kwargs: object) -> torch.Tensor:
        usual = F.scaled_dot_product_attention
        F.scaled_dot_product_attention = self._attention
        try:
            return type(self._cross).forward(self._cross, *args, **kwargs)
        finally:
            F.scaled_dot_product_attention = usual

    def _attention(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object
    ) -> torch.Tensor:
        self.weights = attention_weights(q, k)
        return self.weights @ v

    def loss(
        self, remembered: torch.Tensor, wanted: torch.Tensor, rivals: torch.Tensor
    ) -> torch.Tensor:
        """Cells of the object read its cells in memory, others do not.

        remembered: [N, E x cells], share of the object in each cell of memory. wanted, rivals:
        [N, cells], share of the object and of other ones in each cell of the frame.
        """
        assert self.weights is not None
        weights = self.weights.float().mean(1)[..., : remembered.shape[1]]  # heads; no pointers
        read = (weights * (2 * remembered).clamp(max=1)[:, None]).sum(-1).clamp(1e-4, 1 - 1e-4)
        yes, no = -read.log(), -(1 - read).log()
        inside = wanted > 0.5
        rival = (rivals > 0.4) & (wanted < 0.05)
        rest = (wanted < 0.01) & (rivals < 0.05)
        parts = [x[m].mean() for x, m in ((yes, inside), (no, rival), (no, rest)) if m.any()]
        return torch.stack(parts).sum()


class LooksReader(torch.nn.Module):
    """Tells a ball's class from the image features inside it; for training alone."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(channels)
        self.reader = torch.nn.Linear(channels, classes)

    def forward(
        self, top_ncs: torch.Tensor, looks: Looks
    ) -> tuple[torch.Tensor | None, float | None]:
        """Return loss and share of right guesses, of features [N, C, cells]."""
        rows, shares, kinds = [], [], []
        for image in range(len(looks.images)):
            areas = np.bincount(looks.labels[image].ravel(), minlength=256)
            for label in np.flatnonzero(areas >= 3 * MIN_AREA):
                kind = looks.kinds[image, label]
                if 0 <= kind < self.reader.out_features:
                    rows.append(image)
                    shares.append(cells(looks.labels[image] == label))
                    kinds.append(int(kind))
        if not rows:
            return None, None
        share = torch.stack(shares).to(top_ncs.device)
        inside = torch.einsum('ncs,ns->nc', top_ncs[rows].float(), share)
        said = self.reader(self.norm(inside / share.sum(1, keepdim=True)))
        truth = torch.tensor(kinds, device=said.device)
        right = (said.argmax(1) == truth).float().mean()
        return F.cross_entropy(said, truth), float(right)


def cells(masks_hw: np.ndarray) -> torch.Tensor:
    """Return the share of a mask in each cell, float32 [..., cells]."""
    rows, columns = masks_hw.shape[-2] // CELL, masks_hw.shape[-1] // CELL
    shape = (*masks_hw.shape[:-2], rows, CELL, columns, CELL)
    return torch.from_numpy(masks_hw.reshape(shape).mean((-3, -1), dtype=np.float32)).flatten(-2)


def look_step(
    model: torch.nn.Module, tap: DecoderTap, attention: AttentionTap, reader: LooksReader,
    looks: Looks, focus: float, device: str = 'cpu',
) -> tuple[torch.Tensor, dict[str, float]]:
    """Remember all objects on their views, and search each frame for each of them."""
    count, entries = looks.remembered.shape
    views = len(looks.images) - FRAMES
    masks = looks.labels[looks.remembered] == looks.view_ids[..., None, None]  # [O, E, S, S]
    shown = looks.labels[views:]
    # Object by object, each with all frames.
    targets = np.concatenate([shown == i for i in looks.frame_ids])
    rivals = np.concatenate([(shown != i) & (shown != 0) for i in looks.frame_ids])
    owner = torch.arange(count, device=device).repeat_interleave(FRAMES)
    rows = torch.arange(views, views + FRAMES, device=device).repeat(count)
    with torch.autocast(device, torch.bfloat16):
        out = model.forward_image(normalise(looks.images, device))
        _, feats, positions, sizes = model._prepare_backbone_features(out)
        kept = {}
        for j in range(entries):
            seen = torch.from_numpy(looks.remembered[:, j]).to(device)
            mask = torch.from_numpy(masks[:, j, None]).to(device)
            spatial, where = model._encode_new_memory(
                [f.index_select(1, seen) for f in feats], sizes,
                torch.where(mask, 10.0, -10.0), torch.full((count, 1), 10.0, device=device), True)
            # Far ahead: no pointer is read from there.
            kept[1000 + j] = {
                'maskmem_features': spatial.index_select(0, owner),
                'maskmem_pos_enc': [w.index_select(0, owner) for w in where]}
        now = [f.index_select(1, rows) for f in feats]
        with attention:
            fused = model._prepare_memory_conditioned_features(
                frame_idx=0, is_init_cond_frame=False, current_vision_feats=now[-1:],
                current_vision_pos_embeds=[positions[-1].index_select(1, rows)],
                feat_sizes=sizes[-1:], num_frames=10_000,
                output_dict={'cond_frame_outputs': kept, 'non_cond_frame_outputs': {}})
        fine = [f.permute(1, 2, 0).unflatten(2, s) for f, s in zip(now[:-1], sizes, strict=False)]
        step = model._forward_sam_heads(
            backbone_features=fused, high_res_features=fine, multimask_output=True)
    target = torch.from_numpy(targets).to(device).float()
    decoded, parts = tap.loss(target, focus, single=False, hidden_weight=1.0)
    remembered = cells(masks).flatten(1).to(device)[owner]
    read = attention.loss(remembered, cells(targets).to(device), cells(rivals).to(device))
    known, right = reader(feats[-1].permute(1, 2, 0), looks)
    total = decoded + ATTENTION_WEIGHT * read
    present = target.flatten(1).any(1)
    iou = mask_iou(step[4][:, 0].float(), target)
    parts = {'score': parts['score'], 'read': float(read.detach())}
    if present.any():
        parts['J'] = float(iou[present].mean())
    if not present.all():
        parts['empty'] = float((iou[~present] == 1).float().mean())
    if known is not None:
        total = total + LOOKS_WEIGHT * known
        parts['kind'] = right
    return total, {f'look_{k}': v for k, v in parts.items()}
