# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How much of a ball's looks there is in what a bank entry holds, from table to table.

python -m benchmarks.quality.bank_looks

The class of each ball is guessed from the nearest neighbour among balls of other tables, and by a
linear reader that was fitted on other tables. Of eight balls a table, one guess in eight is right.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.harness.pages import markdown
from benchmarks.quality.bank_scenes import BANK_CLOTHS, OTHER_TABLES, view_of
from detsam2_ros.banks.views import Mark, remember
from detsam2_ros.engine import load_sam2
from detsam2_ros.engine.sam2.steps import encode_image
from detsam2_ros.scene.scene import CLASS_NAMES, SceneOptions, render


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--tables', type=int, default=90)
    count = parser.parse_args().tables
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found, kinds, tables = gathered(count)
    lines = []
    for name, rows in found.items():
        values = torch.stack(rows)
        values = (values - values.mean(0)) / (values.std(0) + 1e-6)
        near = nearest(values, kinds, tables)
        fit = tables < count * 2 // 3
        lines.append([name, f'{near:.2f}', f'{linear(values, kinds, fit):.2f}'])
    print(markdown(('what', 'right by nearest neighbour', 'by a linear reader'), lines))
    return 0


def gathered(count: int) -> tuple[dict[str, list[torch.Tensor]], torch.Tensor, torch.Tensor]:
    """Return vectors by what they are of, the class and the table of each."""
    model = load_sam2('demo')
    found: dict[str, list[torch.Tensor]] = {
        'object pointer of a mask': [], 'object pointer of a box': [], 'memory, in the mask': [],
        'image features of memory attention': [], 'fine image features': [],
        'colour of the pixels': [],
    }  # fmt: skip
    kinds, tables = [], []
    for table in range(count):
        options = SceneOptions(
            balls=8, cloth=BANK_CLOTHS[table % 3], duplicate_colours=0, late_ball=0, occluders=0
        )
        frame = render(OTHER_TABLES + 500_000 + table, 1, options=options)[0]
        view = view_of(frame, table, range(len(CLASS_NAMES)))
        with model.inference():
            features = encode_image(model, model.preprocess(view.image)[None])[0]
        boxed = replace(view, marks=tuple(box_of(mark) for mark in view.marks))
        made = zip(view.marks, remember(model, view), remember(model, boxed), strict=True)
        for mark, entry, by_box in made:
            assert mark.mask is not None
            kinds.append(mark.class_id)
            tables.append(table)
            row = (
                entry.memory.pointer,
                by_box.memory.pointer,
                inside(entry.memory.spatial, mark.mask),
                inside(features.top[0], mark.mask),
                torch.cat([inside(level[0], mark.mask) for level in features.high_res]),
                torch.from_numpy(view.image[mark.mask].mean(0)).float(),
            )
            for rows, value in zip(found.values(), row, strict=True):
                rows.append(value)
    return found, torch.tensor(kinds), torch.tensor(tables)


def box_of(mark: Mark) -> Mark:
    """Return the mark as a box."""
    assert mark.mask is not None
    rows, columns = np.nonzero(mark.mask)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return replace(mark, mask=None, box=tuple(float(edge) for edge in box))


def inside(features_chw: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
    """Return the mean of features within a mask, float32 [C]."""
    given = torch.from_numpy(mask.astype(np.float32))[None, None]
    weights = F.adaptive_avg_pool2d(given, features_chw.shape[-1])[0, 0]
    return (features_chw.float() * weights).sum((1, 2)) / weights.sum()


def nearest(values: torch.Tensor, kinds: torch.Tensor, tables: torch.Tensor) -> float:
    unit = F.normalize(values, dim=1)
    likeness = unit @ unit.T
    likeness[tables[:, None] == tables[None]] = -2.0
    return float((kinds[likeness.argmax(1)] == kinds).float().mean())


def linear(values: torch.Tensor, kinds: torch.Tensor, fit: torch.Tensor) -> float:
    reader = torch.nn.Linear(values.shape[1], len(CLASS_NAMES))
    optimiser = torch.optim.AdamW(reader.parameters(), 3e-3, weight_decay=0.05)
    for _ in range(600):
        loss = F.cross_entropy(reader(values[fit]), kinds[fit])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return float((reader(values[~fit]).argmax(1) == kinds[~fit]).float().mean())


if __name__ == '__main__':
    sys.exit(main())
