# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Configs of small SAM 2 models, in the form of sam2's own yaml files, and how to build them."""

import copy
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

_SAM = 'sam2.modeling'

# What differs between the kinds: `sam21` has the flags of the SAM 2.1 configs, `sam20` those
# of SAM 2.0, `odd` those that no published config has, with other sizes and depths.
KINDS: dict[str, dict[str, Any]] = {
    'sam21': {'hidden': 64, 'memory': 16, 'layers': 2, 'fuser_layers': 1, 'flags': {}},
    'sam20': {
        'hidden': 64, 'memory': 16, 'layers': 2, 'fuser_layers': 2,
        'flags': {
            'no_obj_embed_spatial': False, 'add_tpos_enc_to_obj_ptrs': False,
            'proj_tpos_enc_in_obj_ptrs': False, 'use_signed_tpos_enc_to_obj_ptrs': False,
        },
    },
    'odd': {
        'hidden': 32, 'memory': 32, 'layers': 1, 'fuser_layers': 2,
        'flags': {
            'num_maskmem': 4, 'max_obj_ptrs_in_encoder': 6,
            'no_obj_embed_spatial': False,
            'proj_tpos_enc_in_obj_ptrs': False,
            'use_signed_tpos_enc_to_obj_ptrs': False,
            'only_obj_ptrs_in_the_past_for_eval': False,
            'fixed_no_obj_ptr': False,
            'multimask_output_for_tracking': False,
            'use_mlp_for_obj_ptr_proj': False,
            'pred_obj_scores_mlp': False,
        },
    },
}

# Those of SAM 2.1.
_FLAGS = {
    'num_maskmem': 7, 'backbone_stride': 16,
    'sigmoid_scale_for_mem_enc': 20.0, 'sigmoid_bias_for_mem_enc': -10.0,
    'multimask_min_pt_num': 0, 'multimask_max_pt_num': 1, 'compile_image_encoder': False,
    **dict.fromkeys((
        'use_mask_input_as_output_without_sam', 'directly_add_no_mem_embed',
        'use_high_res_features_in_sam', 'multimask_output_in_sam', 'iou_prediction_use_sigmoid',
        'use_obj_ptrs_in_encoder', 'pred_obj_scores', 'pred_obj_scores_mlp',
        'multimask_output_for_tracking', 'use_multimask_token_for_obj_ptr',
        'use_mlp_for_obj_ptr_proj', 'no_obj_embed_spatial', 'add_tpos_enc_to_obj_ptrs',
        'proj_tpos_enc_in_obj_ptrs', 'use_signed_tpos_enc_to_obj_ptrs',
        'only_obj_ptrs_in_the_past_for_eval', 'fixed_no_obj_ptr',
    ), True),
}  # fmt: skip

_POSTPROCESSING = {
    'dynamic_multimask_via_stability': True,
    'dynamic_multimask_stability_delta': 0.05,
    'dynamic_multimask_stability_thresh': 0.98,
}


def _sine(width: int) -> dict[str, Any]:
    return {
        '_target_': f'{_SAM}.position_encoding.PositionEmbeddingSine',
        'num_pos_feats': width,
        'normalize': True,
        'scale': None,
        'temperature': 10000,
    }


def _attention(hidden: int, side: int, **extra: Any) -> dict[str, Any]:
    return {
        '_target_': f'{_SAM}.sam.transformer.RoPEAttention', 'rope_theta': 10000.0,
        'feat_sizes': [side, side], 'embedding_dim': hidden, 'num_heads': 1,
        'downsample_rate': 1, 'dropout': 0.1, **extra,
    }


def config(kind: str = 'sam21', image_size: int = 128) -> dict[str, Any]:
    """Return the config of a small model, in the form of sam2's own yaml files."""
    sizes = KINDS[kind]
    hidden, memory = sizes['hidden'], sizes['memory']
    side = image_size // 16
    encoder = {
        '_target_': f'{_SAM}.backbones.image_encoder.ImageEncoder',
        'scalp': 1,
        'trunk': {
            '_target_': f'{_SAM}.backbones.hieradet.Hiera', 'embed_dim': 16, 'num_heads': 1,
            'stages': [1, 1, 2, 1], 'window_spec': [8, 4, 8, 4], 'global_att_blocks': [],
            'window_pos_embed_bkg_spatial_size': [4, 4],
        },
        'neck': {
            '_target_': f'{_SAM}.backbones.image_encoder.FpnNeck',
            'position_encoding': _sine(hidden), 'd_model': hidden,
            'backbone_channel_list': [128, 64, 32, 16], 'fpn_top_down_levels': [2, 3],
            'fpn_interp_model': 'nearest',
        },
    }
    attention = {
        '_target_': f'{_SAM}.memory_attention.MemoryAttention',
        'd_model': hidden,
        'pos_enc_at_input': True,
        'layer': {
            '_target_': f'{_SAM}.memory_attention.MemoryAttentionLayer',
            'activation': 'relu',
            'dim_feedforward': 2 * hidden,
            'dropout': 0.1,
            'pos_enc_at_attn': False,
            'self_attention': _attention(hidden, side),
            'd_model': hidden,
            'pos_enc_at_cross_attn_keys': True,
            'pos_enc_at_cross_attn_queries': False,
            'cross_attention': _attention(hidden, side, rope_k_repeat=True, kv_in_dim=memory),
        },
        'num_layers': sizes['layers'],
    }
    memory_encoder = {
        '_target_': f'{_SAM}.memory_encoder.MemoryEncoder',
        'in_dim': hidden,
        'out_dim': memory,
        'position_encoding': _sine(memory),
        'mask_downsampler': {
            '_target_': f'{_SAM}.memory_encoder.MaskDownSampler', 'embed_dim': hidden,
            'kernel_size': 3, 'stride': 2, 'padding': 1,
        },
        'fuser': {
            '_target_': f'{_SAM}.memory_encoder.Fuser',
            'layer': {
                '_target_': f'{_SAM}.memory_encoder.CXBlock', 'dim': hidden, 'kernel_size': 7,
                'padding': 3, 'layer_scale_init_value': 1e-6, 'use_dwconv': True,
            },
            'num_layers': sizes['fuser_layers'],
        },
    }
    return {
        'model': {
            '_target_': f'{_SAM}.sam2_base.SAM2Base', 'image_encoder': encoder,
            'memory_attention': attention, 'memory_encoder': memory_encoder,
            'image_size': image_size, **_FLAGS, **sizes['flags'],
        }
    }


def with_postprocessing(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the config as sam2's builder makes it for video, without hole filling."""
    settings = copy.deepcopy(settings)
    model = settings['model']
    model['sam_mask_decoder_extra_args'] = {
        **(model.get('sam_mask_decoder_extra_args') or {}), **_POSTPROCESSING}
    model['binarize_mask_from_pts_for_mem_enc'] = True
    return settings


def build(settings: dict[str, Any], target: str | None = None) -> torch.nn.Module:
    """Build the module of a config, in eval mode; target replaces the class it names."""
    settings = copy.deepcopy(settings)
    if target is not None:
        settings['model']['_target_'] = target
    resolved = OmegaConf.create(settings)
    OmegaConf.resolve(resolved)
    return instantiate(resolved.model, _recursive_=True).eval()
