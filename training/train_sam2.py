# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Train the small SAM 2 for a wall-clock budget: single images, clips, then looks (banks).

    python training/train_sam2.py --data DIR --out RUN --minutes 90 --ranks 2
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from training import fast_cpu  # noqa: E402
from training.data import CLASSES, Store  # noqa: E402
from training.looks import AttentionTap, LooksReader, draw, look_step  # noqa: E402
from training.memory_init import balance_memory, look_elsewhere_too  # noqa: E402
from training.network import CONFIG, build, normalise, save_half  # noqa: E402
from training.unroll import DecoderTap, clip_step, image_step, mean_loss, mean_parts  # noqa: E402

SAVE_EVERY = 120.0  # seconds


@dataclass(frozen=True)
class Stage:
    """One stage: its share of the budget and its learning rate over its own fraction 0..1."""

    name: str
    share: float
    peak: float
    floor: float  # as a share of the peak
    hold: float  # fraction before the cosine starts

    def rate(self, fraction: float) -> float:
        """Warm-up over 2 %, constant until `hold`, then a cosine to the floor."""
        warm = min(1.0, fraction / 0.02 + 0.02)
        x = min(1.0, max(0.0, (fraction - self.hold) / (1 - self.hold)))
        cosine = 0.5 * (1 + math.cos(math.pi * x))
        return self.peak * warm * (self.floor + (1 - self.floor) * cosine)


# One descent over images and clips: annealing to zero in between and starting anew loses more.
# Looks are another loss, and begin anew.
STAGES = (
    Stage('images', 0.2, 1.0e-3, 0.6, 0.3),
    Stage('clips', 0.4, 3.5e-4, 0.01, 0.3),
    Stage('looks', 0.4, 4.0e-4, 0.01, 0.4),
)

# By elapsed share of the clip stage: clips per step and rank, and their lengths.
CLIP_LENGTHS = {
    0.2: (2, [3, 4]),
    0.45: (1, [5, 6, 8]),
    0.75: (1, [6, 8, 12]),
    9.9: (1, [8, 12, 16]),
}
# Of the steps of the last stage; the rest are clips.
LOOKS_SHARES = {'looks': 0.55, 'banked': 0.08, 'images': 0.07}


class Run:
    """Model, optimiser and clock of one rank."""

    def __init__(self, args: argparse.Namespace, rank: int) -> None:
        self.args, self.rank = args, rank
        torch.manual_seed(args.seed)
        # As in SAM 2's video predictor: prompted masks are remembered as they are shown.
        overrides = {'binarize_mask_from_pts_for_mem_enc': True}
        self.model = build(CONFIG, overrides).to(args.device)
        if args.device == 'cpu':
            fast_cpu.speed_up(self.model)
        with torch.no_grad():  # else the no-object gate blanks everything from the start
            self.model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias += 3
        self.tap = DecoderTap(self.model)
        self.attention = AttentionTap(self.model)
        self.reader = LooksReader(self.model.hidden_dim, CLASSES).to(args.device)
        self.parameters = [*self.model.parameters(), *self.reader.parameters()]
        self._forget()
        self.store = Store(args.data)
        self.rng = np.random.default_rng([args.seed, rank, int(time.time()) if args.resume else 0])
        self.stage_index, self.fraction, self.steps, self.spent = 0, 0.0, 0, 0.0
        if args.resume:
            self._load(args.resume)

    def _forget(self) -> None:
        """Start with an optimiser that has seen nothing."""
        decay = [p for p in self.parameters if p.ndim > 1]
        rest = [p for p in self.parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{'params': decay, 'weight_decay': 0.03}, {'params': rest, 'weight_decay': 0.0}],
            lr=1e-3, betas=(0.9, 0.98), fused=True)

    def _load(self, path: Path) -> None:
        state = torch.load(path, map_location='cpu', weights_only=True)
        self.model.load_state_dict(state['model'])
        if 'reader' in state:
            self.reader.load_state_dict(state['reader'])
            self.optimiser.load_state_dict(state['optimiser'])
        elif self.rank == 0:
            print(f'{path} is of before there were looks: its optimiser starts anew', flush=True)
        self.stage_index, self.fraction = state['stage'], state['fraction']
        self.steps, self.spent = state['steps'], state['seconds']

    def save(self) -> None:
        """Write the full-precision state to resume from, and the float16 weights."""
        state = {
            'model': self.model.state_dict(), 'optimiser': self.optimiser.state_dict(),
            'stage': self.stage_index, 'fraction': self.fraction, 'steps': self.steps,
            'seconds': self.spent, 'reader': self.reader.state_dict(),
        }
        part = self.args.out / 'state.part'
        torch.save(state, part)
        part.rename(self.args.out / 'state.pt')
        save_half(self.model, self.args.out / 'weights.pt')

    def loss(self, stage: Stage) -> tuple[torch.Tensor, dict[str, float]]:
        """Draw a batch for this rank and return its loss."""
        rng, args = self.rng, self.args
        # Drawn alike on all ranks: a rank with less to do would wait for the others.
        alike = np.random.default_rng([args.seed, self.steps])
        # Background weight rises slowly, see focused_bce; tracking starts from scratch again.
        risen = stage.name == 'looks'
        focus = 2.0 if risen else min(1.0, 2 * self.fraction) + (stage.name == 'clips')
        kind = self._kind(stage, alike.random())
        if kind == 'images':
            clips = [self.store.image(rng, 5) for _ in range(args.images_per_step)]
            return image_step(self.model, self.tap, clips, rng, focus, args.device)
        if kind == 'looks':
            drawn = [draw(self.store, rng, args.objects_per_clip + 2) for _ in range(2)]
            return mean_loss([
                look_step(self.model, self.tap, self.attention, self.reader, looks, focus,
                          args.device) for looks in drawn])
        # Short clips first: as long as tracking fails, later frames teach little.
        fraction = max(0.3, self.fraction) if risen else self.fraction
        count, lengths = next(v for k, v in CLIP_LENGTHS.items() if fraction < k)
        length, train_encoder = int(alike.choice(lengths)), bool(alike.random() < 0.2)
        clips = [
            self.store.banked(rng, min(length, 6), args.objects_per_clip) if kind == 'banked'
            else self.store.clip(rng, length, args.objects_per_clip) for _ in range(count)]
        rise = 2.0 if risen else min(2.0, 7 * self.fraction)
        loss, parts = mean_loss([
            clip_step(self.model, self.tap, clip, rng, focus, rise, train_encoder, args.device)
            for clip in clips])
        return loss, {f'bank_{k}': v for k, v in parts.items()} if kind == 'banked' else parts

    def _kind(self, stage: Stage, drawn: float) -> str:
        """Draw what a step is made of."""
        if stage.name == 'looks':
            for kind, share in LOOKS_SHARES.items():
                if drawn < share:
                    return kind
                drawn -= share
            return 'clips'
        if stage.name == 'images' or drawn < (0.25 if self.fraction < 0.6 else 0.1):
            return 'images'
        return 'clips'

    def step(self, stage: Stage, now: float) -> dict[str, float]:
        """One optimiser step on the mean gradient of all ranks; the first rank keeps the time."""
        for group in self.optimiser.param_groups:
            group['lr'] = stage.rate(self.fraction)
        self.optimiser.zero_grad(set_to_none=True)
        loss, parts = self.loss(stage)
        loss.backward()
        parameters = self.parameters
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
            + [torch.tensor([now if self.rank == 0 else 0.0], device=self.args.device)])
        if self.args.ranks > 1:
            dist.all_reduce(flat)
        clock = float(flat[-1])
        flat /= self.args.ranks
        norm = flat[:-1].norm()
        offset = 0
        if torch.isfinite(norm):
            flat *= min(1.0, 1.0 / (float(norm) + 1e-6))
            for p in parameters:
                p.grad = flat[offset : offset + p.numel()].view_as(p)
                offset += p.numel()
            self.optimiser.step()
        self.steps += 1
        self.fraction = clock
        return {**parts, 'loss': float(loss.detach()), 'norm': float(norm)}

    def _balance(self) -> None:
        rng = np.random.default_rng(self.args.seed)  # the same images on every rank
        images = np.concatenate([self.store.image(rng, 1).images for _ in range(16)])
        measured = balance_memory(self.model, normalise(images, self.args.device))
        if self.rank == 0:
            print(json.dumps(measured), flush=True)

    def _loosen(self) -> None:
        """Let the last layer look elsewhere; the optimiser's past is of another loss."""
        look_elsewhere_too(self.model.memory_attention.layers[-1].cross_attn_image)
        self._forget()

    def run(self) -> None:
        """Go through the stages until the budget is spent."""
        for index, stage in enumerate(STAGES):
            if index < self.stage_index or self.args.stage not in ('all', stage.name):
                continue
            if index > self.stage_index:
                self.stage_index, self.fraction = index, 0.0
            if stage.name == 'clips' and self.fraction == 0:
                self._balance()
            if stage.name == 'looks' and self.fraction == 0:
                self._loosen()
            share = stage.share if self.args.stage == 'all' else 1.0
            budget = 60 * self.args.minutes * share
            start = time.time() - self.fraction * budget
            begun, logged, saved, window = time.time(), time.time(), time.time(), []
            spent = self.spent
            while self.fraction < 1:
                window.append(self.step(stage, (time.time() - start) / budget))
                self.spent = spent + time.time() - begun
                if self.steps % 200 == 0:
                    self.store.refresh()
                if self.rank == 0 and time.time() - logged > self.args.log_every:
                    line = {'stage': stage.name, 'fraction': round(self.fraction, 4),
                            'steps': self.steps, 'seconds': round(self.spent)}
                    line |= {k: round(v, 4) for k, v in mean_parts(window).items()}
                    print(json.dumps(line), flush=True)
                    logged, window = time.time(), []
                if self.rank == 0 and time.time() - saved > SAVE_EVERY:
                    self.save()
                    saved = time.time()
            if self.rank == 0:
                self.save()
                save_half(self.model, self.args.out / f'{stage.name}.pt')


def _rank(rank: int, args: argparse.Namespace) -> None:
    if args.device == 'cpu':
        torch.set_num_threads(1)
    if args.ranks > 1:
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
        os.environ.setdefault('MASTER_PORT', str(args.port))
        dist.init_process_group('gloo', rank=rank, world_size=args.ranks)
    Run(args, rank).run()


def main() -> None:
    """Parse the command line and start the ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True, help='folder of data.py')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--stage', choices=('all', *(s.name for s in STAGES)), default='all')
    parser.add_argument('--minutes', type=float, default=90, help='wall clock of all stages run')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--ranks', type=int, default=2, help='processes of one thread each')
    parser.add_argument('--device', default='cpu', help='cpu, or cuda with --ranks 1')
    parser.add_argument('--resume', type=Path, help='a state.pt; goes on where its clock stopped')
    parser.add_argument('--images-per-step', type=int, default=6, help='per rank')
    parser.add_argument('--objects-per-clip', type=int, default=4)
    parser.add_argument('--log-every', type=float, default=20, help='seconds')
    parser.add_argument('--port', type=int, default=29511)
    args = parser.parse_args()
    fast_cpu.restart_with_fast_malloc()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.ranks == 1:
        _rank(0, args)
    else:
        torch.multiprocessing.start_processes(
            _rank, (args,), nprocs=args.ranks, start_method='spawn')


if __name__ == '__main__':
    main()
