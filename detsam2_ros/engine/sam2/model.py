# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A loaded SAM 2: its modules, and what is constant over all its frames."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sam2.modeling.backbones.hieradet import Hiera

from detsam2_ros.engine.sam2.memory_attention import SharedAttention
from detsam2_ros.engine.sam2.transfer import to_device

# ImageNet's, as in sam2.utils.transforms and sam2.utils.misc.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# What autocast runs in lower precision.
_MATRIX_MODULES = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)


class Sam2Model:
    """SAM 2's modules on one device, with the constants that every frame needs.

    module: the sam2 package's SAM2Base, frozen, in eval mode. dtype: float32, or bfloat16 for
    autocast. Use its tensors only inside `inference()`: autocast holds for one thread only.
    """

    def __init__(
        self, module: torch.nn.Module, name: str, device: torch.device, dtype: torch.dtype
    ):
        sam2: Any = module.to(device).eval().requires_grad_(False)
        self.module = sam2
        self.name = name
        self.device = device
        self.dtype = dtype
        self.image_size: int = sam2.image_size
        self.feature_size: int = self.image_size // sam2.backbone_stride
        self.mask_size: int = self.feature_size * 4
        self.memory_dim: int = sam2.mem_dim
        self.pointer_dim: int = sam2.hidden_dim
        _keep_position_embedding(sam2.image_encoder)
        if dtype != torch.float32:
            # These are of the weights as they were loaded.
            self.identity, self.attention  # noqa: B018
            _cast_weights(sam2, dtype)

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Enter inference mode and this model's precision, in the calling thread."""
        autocast = torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )
        with torch.inference_mode(), autocast:
            yield

    def preprocess(self, image: np.ndarray) -> torch.Tensor:
        """Resize and normalise an image on the device.

        image: uint8 [H, W, 3] RGB. Returns float32 [3, S, S]. Bilinear with antialiasing, as
        PIL does for SAM 2's own video loader.
        """
        # A camera driver may lend a read-only buffer, which torch would warn about.
        source = image if image.flags.writeable else image.copy()
        pixels_chw = torch.from_numpy(np.ascontiguousarray(source)).permute(2, 0, 1)
        pixels_bchw = to_device(pixels_chw, self.device)[None]
        size = (self.image_size, self.image_size)
        if pixels_bchw.shape[-2:] != size:
            if self.device.type != 'cpu':
                pixels_bchw = pixels_bchw.float()  # CUDA has no antialiased resize of uint8
            pixels_bchw = F.interpolate(
                pixels_bchw, size, mode='bilinear', align_corners=False, antialias=True
            )
            pixels_bchw = pixels_bchw.round() if pixels_bchw.is_floating_point() else pixels_bchw
        mean, std = self._normalisation
        return (pixels_bchw[0].float() / 255.0 - mean) / std

    @cached_property
    def identity(self) -> ModelIdentity:
        """What a memory bank must agree with; hashes the weights on first use."""
        digest = hashlib.sha256()
        for key, value in sorted(self.module.state_dict().items()):
            digest.update(f'{key}:{list(value.shape)};'.encode())
            digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        return ModelIdentity(
            name=self.name,
            sha256=digest.hexdigest(),
            image_size=self.image_size,
            memory_shape=(self.memory_dim, self.feature_size, self.feature_size),
            pointer_dim=self.pointer_dim,
        )

    @cached_property
    def _normalisation(self) -> tuple[torch.Tensor, torch.Tensor]:
        mean = torch.tensor(_MEAN, device=self.device).view(3, 1, 1)
        std = torch.tensor(_STD, device=self.device).view(3, 1, 1)
        return mean, std

    @cached_property
    def image_position_lc(self) -> torch.Tensor:
        """Positional code of the image features, float32 [S/16 * S/16, D]."""
        return self._position(self.module.image_encoder.neck.position_encoding, self.pointer_dim)

    @cached_property
    def memory_position_lc(self) -> torch.Tensor:
        """Positional code of a spatial memory, float32 [S/16 * S/16, C]."""
        return self._position(self.module.memory_encoder.position_encoding, self.memory_dim)

    def _position(self, encoding: torch.nn.Module, channels: int) -> torch.Tensor:
        size = self.feature_size
        with torch.inference_mode():
            blank = torch.zeros(1, channels, size, size, device=self.device)
            position: torch.Tensor = encoding(blank)
            return position[0].float().flatten(1).T.contiguous()

    @cached_property
    def temporal_code(self) -> torch.Tensor:
        """Temporal codes of spatial memories, float32 [num_maskmem, C].

        Row d - 1 is for a memory d frames away, the last row for conditioned memories
        (SAM2Base.maskmem_tpos_enc).
        """
        code: torch.Tensor = self.module.maskmem_tpos_enc.detach()
        return code.reshape(-1, self.memory_dim)

    @cached_property
    def attention(self) -> SharedAttention | None:
        """Memory attention that shares what it can; None where only the model's own will do."""
        return SharedAttention.of(
            self.module.memory_attention,
            self.image_position_lc,
            self.memory_position_lc,
            self.temporal_code,
            self.dtype,
        )

    @cached_property
    def no_prompt(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompt embeddings of a tracked frame: sparse [1, 2, D], dense [1, D, S/16, S/16].

        SAM 2 pads with one empty point (SAM2Base._forward_sam_heads); constant, so made once.
        """
        with torch.inference_mode():
            coords = torch.zeros(1, 1, 2, device=self.device)
            labels = -torch.ones(1, 1, dtype=torch.int32, device=self.device)
            sparse, dense = self.module.sam_prompt_encoder(
                points=(coords, labels), boxes=None, masks=None
            )
            return sparse, dense

    @cached_property
    def prompt_position(self) -> torch.Tensor:
        """Positional code that the mask decoder adds to image features, [1, D, S/16, S/16]."""
        with torch.inference_mode():
            position: torch.Tensor = self.module.sam_prompt_encoder.get_dense_pe()
            return position


def _keep_position_embedding(image_encoder: Any) -> None:
    """Let a Hiera trunk resize its position embedding once instead of for every image."""
    trunk = getattr(image_encoder, 'trunk', None)
    if isinstance(trunk, Hiera):
        # Weakly, so that a model that is let go of is freed at once.
        own = functools.partial(_position_embedding, weakref.proxy(trunk))
        trunk._get_pos_embed = functools.lru_cache(maxsize=2)(own)


def _position_embedding(trunk: Hiera, size: tuple[int, int]) -> torch.Tensor:
    with torch.inference_mode():
        return Hiera._get_pos_embed(trunk, size)


def _cast_weights(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Bring weights to the type that autocast would cast them to, the same one, at each call.

    (It keeps what it has cast only of weights that need a gradient.)
    """
    for part in module.modules():
        if isinstance(part, _MATRIX_MODULES):
            part.to(dtype)


@dataclass(frozen=True)
class ModelIdentity:
    """What must agree between a model and a memory bank.

    name: as given to `load_sam2`, for people. sha256: of the weights, hex. image_size: pixels.
    memory_shape: (channels, height, width) of a spatial memory. pointer_dim: length of an
    object pointer.
    """

    name: str
    sha256: str
    image_size: int
    memory_shape: tuple[int, int, int]
    pointer_dim: int
