# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Build the small SAM 2 from its yaml, save it, and wrap it as SAM 2's own video predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'models' / 'detsam2_demo.yaml'
CHECKPOINT = ROOT / 'models' / 'detsam2_demo.pt'
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def build(config: Path = CONFIG, overrides: dict | None = None) -> torch.nn.Module:
    """Return an untrained model of the yaml, in evaluation mode."""
    cfg = OmegaConf.load(config).model
    for key, value in (overrides or {}).items():
        OmegaConf.update(cfg, key, value, force_add=True)
    return instantiate(cfg, _recursive_=True).eval()


def predictor(
    config: Path = CONFIG, checkpoint: Path | None = CHECKPOINT, state: dict | None = None
) -> torch.nn.Module:
    """Return sam2's SAM2VideoPredictor with its usual post-processing, but no hole filling."""
    model = build(config, {
        '_target_': 'sam2.sam2_video_predictor.SAM2VideoPredictor',
        'sam_mask_decoder_extra_args': {
            'dynamic_multimask_via_stability': True,
            'dynamic_multimask_stability_delta': 0.05,
            'dynamic_multimask_stability_thresh': 0.98,
        },
        'binarize_mask_from_pts_for_mem_enc': True,
        'fill_hole_area': 0,
    })
    model.load_state_dict(state if state is not None else load_state(checkpoint))
    return model


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the float32 state dict of a checkpoint in SAM 2's form."""
    state = torch.load(path, map_location='cpu', weights_only=True)['model']
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def save_half(model: torch.nn.Module, path: Path) -> None:
    """Write {'model': float16 state dict}, the form of SAM 2's own checkpoints."""
    state = {k: v.detach().cpu().half().contiguous() for k, v in model.state_dict().items()}
    torch.save({'model': state}, path)


def normalise(images_thwc: np.ndarray, device: str = 'cpu') -> torch.Tensor:
    """uint8 [T, H, W, 3] -> float32 [T, 3, H, W], the preprocessing of SAM 2."""
    x = torch.from_numpy(images_thwc).to(device).permute(0, 3, 1, 2).float() / 255
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    return (x - mean) / torch.tensor(STD, device=device).view(3, 1, 1)
