# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Loading SAM 2: by Hugging Face id, from an official checkpoint, or one that ships here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from detsam2_ros.engine.sam2.checkpoint import read_weights
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.precision import default_dtype
from detsam2_ros.paths import shared_file
from detsam2_ros.results.errors import ModelError

# What sam2.build_sam's build_sam2_video_predictor sets by default, less the hole filling: that
# needs a compiled extension and fails silently without it.
_POSTPROCESSING = {
    'sam_mask_decoder_extra_args': {
        'dynamic_multimask_via_stability': True,
        'dynamic_multimask_stability_delta': 0.05,
        'dynamic_multimask_stability_thresh': 0.98,
    },
    'binarize_mask_from_pts_for_mem_enc': True,
}

# The engine implements SAM 2's memory rules for these values, which every shipped config has;
# another value would change masks silently, so it is refused.
_REQUIRED = {
    'directly_add_no_mem_embed': True,
    'memory_temporal_stride_for_eval': 1,
    'max_cond_frames_in_attn': -1,
    'non_overlap_masks_for_mem_enc': False,
    'use_high_res_features_in_sam': True,
    'use_obj_ptrs_in_encoder': True,
}

SHIPPED = {'demo': 'models/detsam2_demo.pt'}
_DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}


def load_sam2(
    name_or_path: str | Path,
    config: str | Path | None = None,
    device: str | torch.device = 'cpu',
    dtype: torch.dtype | str | None = None,
    quality: str = 'exact',
) -> Sam2Model:
    """Load a SAM 2 or 2.1 model for inference.

    name_or_path: a shipped name ('demo'), a Hugging Face id ('facebook/sam2.1-hiera-tiny'), or
    the path of a checkpoint in SAM 2's own form. config: for a checkpoint, a yaml file or the
    name of a config of the sam2 package ('configs/sam2.1/sam2.1_hiera_t.yaml'); by default the
    .yaml beside the checkpoint, or the config that an official file name stands for. dtype:
    float32 or bfloat16 (autocast); by default bfloat16 on a GPU that computes in it, with quality
    'balanced' on such a CPU too, float32 elsewhere.
    Raises ModelError with one sentence when anything is missing or does not fit.
    """
    device = _usable_device(device)
    name = str(name_or_path)
    checkpoint, config_path = _find(name, config)
    module = build_sam2(config_path)
    _load_weights(module, checkpoint, config_path)
    return Sam2Model(module, name, device, _usable_dtype(dtype, device, quality))


def default_device() -> str:
    """Name the device to run on where none is asked for: 'cuda' if there is a GPU, else 'cpu'."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def build_sam2(config_path: Path) -> torch.nn.Module:
    """Build the SAM2Base of a config in SAM 2's own form, with untrained weights.

    Raises ModelError when the file is no such config or asks for what the engine lacks.
    """
    from hydra.utils import instantiate
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(config_path), resolve=True)
        model_config = dict(config['model'])
    except FileNotFoundError as error:
        raise ModelError(f'SAM 2 config {config_path} does not exist') from error
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise ModelError(f'SAM 2 config {config_path} cannot be read: {error}') from error
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"SAM 2 config {config_path} has no 'model:' section as SAM 2's own configs have"
        ) from error
    _refuse_foreign_targets(model_config, config_path)
    model_config.update(_POSTPROCESSING)
    model_config['compile_image_encoder'] = False
    try:
        module: torch.nn.Module = instantiate(model_config, _recursive_=True)
    except Exception as error:  # hydra wraps whatever a constructor raises
        raise ModelError(f'SAM 2 config {config_path} does not build: {error}') from error
    for key, value in _REQUIRED.items():
        if getattr(module, key, value) != value:
            raise ModelError(
                f'SAM 2 config {config_path} sets {key}={getattr(module, key)!r}; '
                f'this engine supports {value!r} only'
            )
    return module


def _find(name: str, config: str | Path | None) -> tuple[Path, Path]:
    """Return the checkpoint and the config file that a name stands for."""
    if name in SHIPPED:
        try:
            checkpoint = shared_file(SHIPPED[name])
        except FileNotFoundError as error:
            raise ModelError(f"the shipped model '{name}' is not installed: {error}") from error
        return checkpoint, _find_config(checkpoint, config)
    path = Path(name).expanduser()
    if path.exists():
        if not path.is_file():
            raise ModelError(f'SAM 2 checkpoint {path} is not a file')
        return path, _find_config(path, config)
    if path.suffix not in ('.pt', '.pth') and name.count('/') == 1:
        return _download(name, config)
    raise ModelError(
        f'SAM 2 checkpoint {name} does not exist; give an existing .pt file, a Hugging Face id '
        f'such as facebook/sam2.1-hiera-tiny, or one of the shipped names: {", ".join(SHIPPED)}'
    )


def _find_config(checkpoint: Path, config: str | Path | None) -> Path:
    if config is not None:
        path = Path(config).expanduser()
        return path if path.exists() else _packaged_config(str(config))
    beside = checkpoint.with_suffix('.yaml')
    if beside.exists():
        return beside
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    official = {file: yaml for yaml, file in HF_MODEL_ID_TO_FILENAMES.values()}
    if checkpoint.name in official:
        return _packaged_config(official[checkpoint.name])
    raise ModelError(
        f'no config known for SAM 2 checkpoint {checkpoint}: put {beside.name} beside it, or name '
        f'its config (--sam2-config, the parameter sam2_config, config= in Python)'
    )


def _packaged_config(name: str) -> Path:
    import sam2

    path = Path(sam2.__file__).parent / name
    if not path.is_file():
        raise ModelError(
            f'SAM 2 config {name} is neither a file nor a config of the sam2 package '
            f'(those look like configs/sam2.1/sam2.1_hiera_t.yaml)'
        )
    return path


def _download(model_id: str, config: str | Path | None) -> tuple[Path, Path]:
    """Fetch an official checkpoint from the Hugging Face hub, or find it in its cache."""
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    if model_id not in HF_MODEL_ID_TO_FILENAMES:
        raise ModelError(
            f"'{model_id}' is no SAM 2 model on Hugging Face; known are "
            f'{", ".join(HF_MODEL_ID_TO_FILENAMES)}'
        )
    config_name, file = HF_MODEL_ID_TO_FILENAMES[model_id]
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ModelError(
            f'SAM 2 model {model_id} is fetched with the package huggingface_hub, which is not '
            f'installed; install it with pip, or download {file} by hand and give its path'
        ) from error
    try:
        checkpoint = Path(hf_hub_download(repo_id=model_id, filename=file))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise ModelError(
            f'SAM 2 model {model_id} could not be downloaded ({reason}); connect to the '
            f'network once, or download {file} by hand and give its path'
        ) from error
    return checkpoint, (_packaged_config(config_name) if config is None else Path(config))


def _load_weights(module: torch.nn.Module, checkpoint: Path, config_path: Path) -> None:
    state = read_weights(checkpoint)
    try:
        # Shipped files hold float16; everything computes from float32.
        module.load_state_dict({key: value.float() for key, value in state.items()})
    except RuntimeError as error:
        raise ModelError(
            f'SAM 2 checkpoint {checkpoint} does not fit config {config_path}: '
            f'{_first_difference(module, state)}'
        ) from error


def _first_difference(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> str:
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state]
    surplus = [key for key in state if key not in wanted]
    wrong = [
        f'{key} is {list(state[key].shape)} instead of {list(wanted[key].shape)}'
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    parts = []
    if missing:
        parts.append(f'{len(missing)} weights are missing, first {missing[0]}')
    if surplus:
        parts.append(f'{len(surplus)} are unknown, first {surplus[0]}')
    if wrong:
        parts.append(f'{len(wrong)} have another shape, first {wrong[0]}')
    return '; '.join(parts)


def _refuse_foreign_targets(node: Any, config_path: Path) -> None:
    """Refuse configs that would make hydra call anything but sam2's own classes."""
    if isinstance(node, dict):
        target = node.get('_target_')
        if target is not None and not str(target).startswith('sam2.modeling.'):
            raise ModelError(
                f'SAM 2 config {config_path} names {target!r}; only classes of sam2.modeling '
                f'are allowed there'
            )
        for value in node.values():
            _refuse_foreign_targets(value, config_path)
    elif isinstance(node, list):
        for value in node:
            _refuse_foreign_targets(value, config_path)


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device {device!r} is unknown; use 'cuda', 'cuda:0' or 'cpu'") from error
    if wanted.type == 'cuda' and not torch.cuda.is_available():
        raise ModelError(
            f"device '{wanted}' was asked for but PyTorch sees no CUDA GPU; use the device 'cpu', "
            f'or check the driver and that PyTorch was built with CUDA'
        )
    if wanted.type == 'cuda' and (wanted.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device '{wanted}' does not exist; PyTorch sees {torch.cuda.device_count()} GPU(s)"
        )
    return wanted


def _usable_dtype(
    dtype: torch.dtype | str | None, device: torch.device, quality: str
) -> torch.dtype:
    if dtype is None:
        return default_dtype(device, quality)
    wanted = _DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted is None or wanted not in _DTYPES.values():
        raise ModelError(f"dtype must be 'float32' or 'bfloat16', got {dtype!r}")
    return wanted
