# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The reference: sam2's own video predictor, driven with the same prompts over a live stream.

The predictor is made for a file of known length, forward or backward. Here frames are appended
to its state and each window is propagated backward from the newest frame. Nothing of sam2 is
changed for it, with two things done from outside: the memory is cast to float32 where no
autocast does it, and the frames that may be attended to can be narrowed.
"""

import functools
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import sam2.sam2_video_predictor as reference
import torch
from tqdm import tqdm

from oracle.configs import build, with_postprocessing

# The predictor draws a progress bar for each pass.
reference.tqdm = functools.partial(tqdm, disable=True)

# Frames from here on stand for another recording.
FUTURE = 1 << 40

# An object: its id, or its key in a memory bank.
Name = int | str

PREDICTOR = 'sam2.sam2_video_predictor.SAM2VideoPredictor'


def build_predictor(
    settings: dict[str, Any], weights: dict[str, torch.Tensor], device: str = 'cpu'
) -> reference.SAM2VideoPredictor:
    """Build the predictor as sam2's builder does, without hole filling.

    Hole filling needs a compiled extension, and without it fails with a mere warning.
    """
    module = build(with_postprocessing(settings), PREDICTOR)
    module.load_state_dict(weights)
    module.to(device).eval()
    module.memory_attention.register_forward_pre_hook(_float_memory, with_kwargs=True)
    return module


def _float_memory(_module, args, kwargs):
    # Memories are stored in bfloat16. Concatenated with a float pointer they become float,
    # but the first tracked frame of a reverse pass has no pointer, and stops.
    if not torch.is_autocast_enabled(kwargs['memory'].device.type):
        kwargs['memory'] = kwargs['memory'].float()
    return args, kwargs


class Oracle:
    """One stream of frames through the reference predictor, window by window."""

    def __init__(self, predictor: reference.SAM2VideoPredictor, height: int, width: int):
        self.predictor = predictor
        self.height = height
        self.width = width
        self.state: dict[str, Any] | None = None
        # What each object may attend to, by object id: conditioned frames; None = all.
        self.attended: dict[Name, set[int]] = {}
        self._images: list[torch.Tensor] = []
        self._prepare = type(predictor)._prepare_memory_conditioned_features

    @property
    def newest(self) -> int:
        return len(self._images) - 1

    def append(self, image: torch.Tensor) -> None:
        """Append a frame, as the model's `preprocess` makes it: float32 [3, S, S]."""
        self._images.append(image)
        if self.state is None:
            loaded = (self._images, self.height, self.width)
            with mock.patch.object(reference, 'load_video_frames', lambda **_: loaded):
                self.state = self.predictor.init_state('')
        # The list grows in the state by itself.
        self.state['num_frames'] = len(self._images)

    def prompt(self, object_id: Name, frame: int, box: Sequence[float]) -> None:
        """Prompt an object with a box, xyxy in pixels of the original image."""
        self.predictor.add_new_points_or_box(self.state, frame, object_id, box=list(box))

    def remember(self, object_id: Name, memories: Iterable[Any], ahead: bool = False) -> None:
        """Give an object conditioned memories of another recording, before frame 0.

        memories have spatial [C, h, w], pointer [D] and score []. ahead: far in the future
        instead. On the side that a propagation goes to, their pointers are not read.
        """
        predictor, state = self.predictor, self.state
        outputs = self._outputs(object_id, create=True)['cond_frame_outputs']
        for memory in memories:
            spatial = memory.spatial[None].to(predictor.device, torch.bfloat16)
            position = predictor.memory_encoder.position_encoding(spatial.float())
            encoded = predictor._get_maskmem_pos_enc(state, {'maskmem_pos_enc': [position]})
            at = max([*outputs, FUTURE]) + 1 if ahead else min([*outputs, 0]) - 1
            outputs[at] = {
                'maskmem_features': spatial,
                'maskmem_pos_enc': encoded,
                'pred_masks': None,
                'obj_ptr': memory.pointer[None].to(predictor.device),
                'object_score_logits': memory.score.reshape(1, 1).to(predictor.device),
            }

    def track(self) -> dict[Name, torch.Tensor]:
        """Track the newest frame forward; returns its logits as `propagate` does."""
        if self.state is None or not self.state['obj_ids']:
            return {}
        with mock.patch.object(
            self.predictor, '_prepare_memory_conditioned_features', self._narrowed
        ):
            for _ in self.predictor.propagate_in_video(self.state, self.newest, 0):
                pass
        return self._logits(self.newest)

    def forget_tracked(self) -> None:
        """Forget what was tracked of all objects; their prompts take effect first."""
        self.predictor.propagate_in_video_preflight(self.state)
        for object_id in self.state['obj_ids']:
            self._outputs(object_id)['non_cond_frame_outputs'].clear()

    def remove(self, object_id: Name) -> None:
        self.predictor.remove_object(self.state, object_id, need_output=False)
        self.attended.pop(object_id, None)

    def propagate(
        self, frames: int, start: int | None = None
    ) -> dict[int, dict[Name, torch.Tensor]]:
        """Run one reverse pass over `frames` frames from the newest one, or from `start`.

        Returns the low-resolution mask logits, float32 [S/4, S/4], by frame and object id.
        """
        return {frame: self._logits(frame) for frame in self.segment(frames, start)}

    def segment(self, frames: int, start: int | None = None) -> dict[int, np.ndarray]:
        """Run one reverse pass; returns the masks at video size, bool [n, H, W], by frame.

        Row i belongs to the i-th object that was prompted. This is what the predictor is
        called for outside of tests.
        """
        start = self.newest if start is None else start
        if self.state is None or not self.state['obj_ids']:
            return {}
        with mock.patch.object(
            self.predictor, '_prepare_memory_conditioned_features', self._narrowed
        ):
            masks = {
                frame: (logits[:, 0] > 0).cpu().numpy()
                for frame, _, logits in self.predictor.propagate_in_video(
                    self.state,
                    start_frame_idx=start,
                    # It visits one frame more than it is asked for.
                    max_frame_num_to_track=frames - 1,
                    reverse=True,
                )
            }
            if start == 0:
                # Its reverse loop is empty there.
                self._track_first()
                found = self._logits(0).values()
                masks = {0: torch.stack([self.masks(logits) for logits in found]).cpu().numpy()}
        return masks

    def conditioned(self, object_id: Name) -> set[int]:
        """Return the frames on which an object was prompted."""
        frames = self._outputs(object_id)['cond_frame_outputs']
        return {frame for frame in frames if 0 <= frame < FUTURE}

    def masks(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the mask of low-resolution logits at video resolution, bool [H, W]."""
        _, resized = self.predictor._get_orig_video_res_output(self.state, logits[None, None])
        return resized[0, 0] > 0

    def _outputs(self, object_id: Name, create: bool = False) -> dict[str, Any]:
        if create:
            index = self.predictor._obj_id_to_idx(self.state, object_id)
        else:
            index = self.state['obj_id_to_idx'][object_id]
        return self.state['output_dict_per_obj'][index]

    def _logits(self, frame: int) -> dict[Name, torch.Tensor]:
        found = {}
        for object_id in self.state['obj_ids']:
            outputs = self._outputs(object_id)
            for kind in ('cond_frame_outputs', 'non_cond_frame_outputs'):
                if frame in outputs[kind]:
                    found[object_id] = outputs[kind][frame]['pred_masks'][0, 0].float()
                    break
        return found

    @torch.inference_mode()
    def _track_first(self) -> None:
        for object_id in self.state['obj_ids']:
            outputs = self._outputs(object_id)
            if 0 not in outputs['cond_frame_outputs']:
                tracked, _ = self.predictor._run_single_frame_inference(
                    self.state, outputs, 0, 1, False, None, None, True, True)
                outputs['non_cond_frame_outputs'][0] = tracked

    def _narrowed(self, *args: Any, output_dict: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        for object_id, frames in self.attended.items():
            outputs = self._outputs(object_id)
            if outputs is output_dict:
                output_dict = _narrow(outputs, frames)
        return self._prepare(self.predictor, *args, output_dict=output_dict, **kwargs)


def _narrow(outputs: dict[str, Any], frames: Collection[int]) -> dict[str, Any]:
    """Leave only some conditioned frames; the others count by their nearness.

    That is what sam2 itself does with conditioned frames beyond `max_cond_frames_in_attn`.
    """
    kept, others = {}, {}
    for t, out in outputs['cond_frame_outputs'].items():
        (kept if t < 0 or t > FUTURE or t in frames else others)[t] = out
    return {
        'cond_frame_outputs': kept,
        'non_cond_frame_outputs': {**outputs['non_cond_frame_outputs'], **others},
    }
