# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for tests: detectors that follow a script, and a SAM 2 that segments by colour."""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.sam2.load import load_sam2
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.frames import FrameResult

Box = tuple[float, float, float, float]
Found = tuple[int, Box] | tuple[int, Box, float]
Script = Mapping[int, Sequence[Found]] | Callable[[int], Sequence[Found]]

COLOURS = {
    'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255), 'yellow': (255, 255, 0),
    'cyan': (0, 255, 255), 'magenta': (255, 0, 255), 'white': (255, 255, 255),
}


class ScriptedDetector:
    """Finds what a script says, by detection frame: every interval-th frame from `first`.

    script: frame index -> (class id, box, score = 0.9) of what is found there; or a function of
    the frame index. It must be shown every detection frame of one stream, in order.
    """

    def __init__(self, script: Script, interval: int = 1, classes: int = 8):
        self.class_names = {i: f'class {i}' for i in range(classes)}
        self.frames: list[int] = []
        self.calls: list[int] = []
        self._script = script if callable(script) else lambda frame: script.get(frame, ())
        self._interval = interval

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return what the script says for the next detection frames."""
        self.calls.append(len(images))
        answers = []
        for _ in images:
            frame = len(self.frames) * self._interval
            self.frames.append(frame)
            answers.append(detections(self._script(frame)))
        return answers


class ColourDetector:
    """Finds one box around each colour, class i = i-th colour, in whatever image it is shown."""

    def __init__(self, colours: Sequence[str]):
        self.class_names = dict(enumerate(colours))

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return a box around the pixels of each colour, one pixel wider on each side."""
        return [
            detections([
                (i, box) for i, name in self.class_names.items()
                if (box := colour_box(image, name)) is not None
            ])
            for image in images
        ]


class BrokenDetector:
    """Answers with what it was given: raises an exception, returns anything else."""

    def __init__(self, answer: object, working: int = 0):
        self.class_names = {0: 'disc'}
        self.answer = answer
        self.working = working
        self.calls = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Find nothing `working` times, then break."""
        self.calls += 1
        if self.calls <= self.working:
            return [Detections.empty() for _ in images]
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]


def detections(found: Sequence[Found]) -> Detections:
    """Make Detections of (class id, box) or (class id, box, score) tuples."""
    return Detections(
        np.array([item[1] for item in found], np.float32),
        np.array([item[0] for item in found]),
        np.array([item[2] if len(item) > 2 else 0.9 for item in found]),
    )


def disc(
    image: np.ndarray, colour: str | tuple[int, int, int], x: float, y: float, radius: float = 8
) -> np.ndarray:
    """Draw a disc into an image; returns the image."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    inside = (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2
    image[inside] = COLOURS[colour] if isinstance(colour, str) else colour
    return image


def scene(
    *discs: tuple[str, float, float] | tuple[str, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """Return a black image of (height, width) with discs (colour, x, y, radius = 8)."""
    image = np.zeros((*size, 3), np.uint8)
    for drawn in discs:
        disc(image, *drawn)
    return image


def disc_box(x: float, y: float, radius: float = 8) -> Box:
    return (x - radius, y - radius, x + radius, y + radius)


def colour_mask(image: np.ndarray, colour: str) -> np.ndarray:
    """Return the pixels of a colour, bool [H, W]."""
    return (image == COLOURS[colour]).all(axis=2)


def colour_box(image: np.ndarray, colour: str) -> Box | None:
    """Return the box around the pixels of a colour, one pixel wider, or None."""
    rows, columns = np.nonzero(colour_mask(image, colour))
    if not len(rows):
        return None
    edges = columns.min() - 1, rows.min() - 1, columns.max() + 2, rows.max() + 2
    return tuple(float(edge) for edge in edges)  # type: ignore[return-value]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the IoU of two masks, bool [H, W]; two empty ones agree."""
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0


@functools.cache
def tiny_sam2(seed: int = 0, image_size: int = 64) -> Sam2Model:
    """Return a small SAM 2 with random weights that react to memory."""
    from oracle import random_sam2

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, _ = random_sam2.save(Path(folder), 'sam21', seed, image_size)
        return load_sam2(checkpoint)


def colour_sam2(image_size: int = 64, seed: int = 0) -> Sam2Model:
    """Return a Sam2Model that segments by colour, so that every right mask is known.

    A box prompt takes the pixels in the box that have the colour of its centre, points those of
    the colour of the first one inside, anywhere; a memory keeps that colour; a tracked frame
    shows all pixels of the remembered colour. On a black scene the object is absent where its
    colour is. seed makes models of other identity.
    """
    module = _ColourModule(image_size, seed)
    return Sam2Model(module, f'colour-{seed}', torch.device('cpu'), torch.float32)


# Colours are compared after normalisation, where black to full is about 4.4 in each channel.
_NEAR = 1.2
_PIXELS = 48  # 4 x 4 pixels of 3 channels: a cell of the top features is a piece of image
_PROMPT, _COLOUR, _TRACKED = 48, slice(52, 55), 55  # channels of the fused features
_WIDTH, _MEMORY, _POINTER_TOKENS = 64, 8, 8


class _ColourModule(torch.nn.Module):
    """Has the parts of SAM2Base that the engine uses; shapes as in sam2/steps.py."""

    # Read by the engine, with the values of the SAM 2.1 configs.
    backbone_stride = 16
    num_feature_levels = 3
    num_maskmem = 7
    max_obj_ptrs_in_encoder = 16
    sigmoid_scale_for_mem_enc = 20.0
    sigmoid_bias_for_mem_enc = -10.0
    no_obj_embed_spatial = None
    binarize_mask_from_pts_for_mem_enc = True
    only_obj_ptrs_in_the_past_for_eval = True
    use_signed_tpos_enc_to_obj_ptrs = True
    add_tpos_enc_to_obj_ptrs = True
    proj_tpos_enc_in_obj_ptrs = False
    pred_obj_scores = True
    soft_no_obj_ptr = False
    fixed_no_obj_ptr = True

    def __init__(self, image_size: int, seed: int):
        super().__init__()
        self.image_size = image_size
        self.mem_dim, self.hidden_dim = _MEMORY, _WIDTH
        self.register_buffer('seed', torch.tensor(float(seed)))
        self.register_buffer('maskmem_tpos_enc', torch.zeros(7, 1, 1, _MEMORY))
        self.register_buffer('no_mem_embed', torch.zeros(1, 1, _WIDTH))
        self.register_buffer('no_obj_ptr', torch.zeros(1, _WIDTH))
        self.obj_ptr_proj = torch.nn.Identity()
        self.obj_ptr_tpos_proj = torch.nn.Identity()
        self.image_encoder = torch.nn.Module()
        self.image_encoder.neck = torch.nn.Module()
        self.image_encoder.neck.position_encoding = torch.nn.Identity()
        self.memory_encoder = _ColourMemory()
        self.memory_attention = _ColourAttention()
        self.sam_prompt_encoder = _ColourPrompt(image_size)
        self.sam_mask_decoder = _ColourDecoder()

    def forward_image(self, images: torch.Tensor) -> dict[str, list[torch.Tensor]]:
        small = images[:, :, 2::4, 2::4]  # nearest: no mixed colours at edges
        top = F.pad(F.pixel_unshuffle(small, 4), (0, 0, 0, 0, 0, _WIDTH - _PIXELS))
        return {'backbone_fpn': [small, small[:, :, ::2, ::2], top]}

    def _use_multimask(self, is_init_cond_frame: bool, points: object) -> bool:
        return False

    def _use_mask_as_output(
        self, top: torch.Tensor, high_res: list[torch.Tensor], masks: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        small = F.interpolate(masks * 20 - 10, scale_factor=0.25, mode='bilinear', antialias=True)
        score = torch.where(masks.flatten(1).any(1), 5.0, -5.0)[:, None]
        return small, None, None, None, None, torch.zeros(len(masks), _WIDTH), score


class _ColourPrompt(torch.nn.Module):
    def __init__(self, image_size: int):
        super().__init__()
        self.cells = image_size // 16

    def forward(
        self, points: tuple[torch.Tensor, torch.Tensor], boxes: None, masks: None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        places, labels = points
        dense = torch.zeros(len(places), _WIDTH, self.cells, self.cells)
        if labels[0, 0] == 2:  # the corners of a box
            places = torch.cat([places[:, :2], places[:, :2].mean(1, keepdim=True)], dim=1)
        else:  # points: all that has the colour of the first one inside
            first = places[0, labels[0] == 1][:1]
            side = 16.0 * self.cells
            places = torch.cat([torch.tensor([[0.0, 0.0], [side, side]]), first])[None]
        return F.pad(places, (0, _WIDTH - 2)), dense

    def get_dense_pe(self) -> torch.Tensor:
        return torch.zeros(1, _WIDTH, self.cells, self.cells)


class _ColourAttention(torch.nn.Module):
    def forward(
        self, curr: list[torch.Tensor], curr_pos: list[torch.Tensor], memory: torch.Tensor,
        memory_pos: torch.Tensor, num_obj_ptr_tokens: int,
    ) -> torch.Tensor:
        spatial = memory[: len(memory) - num_obj_ptr_tokens]
        weight = spatial[:, :, 3:4]  # 1 where the memory saw the object
        colour = (spatial[:, :, :3] * weight).sum(0) / weight.sum(0).clamp_min(1e-6)
        colour = torch.where(weight.sum(0) > 0, colour, 100.0)  # 100: like nothing
        fused = curr[0].clone()
        fused[:, :, _COLOUR] = colour
        fused[:, :, _TRACKED] = 1.0
        return fused


class _ColourDecoder(torch.nn.Module):
    def forward(
        self, image_embeddings: torch.Tensor, image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor, dense_prompt_embeddings: torch.Tensor,
        multimask_output: bool, repeat_image: bool, high_res_features: list[torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        small = high_res_features[0]
        if bool(image_embeddings[0, _TRACKED, 0, 0] > 0):
            colour, allowed = image_embeddings[:, _COLOUR, 0, 0], torch.tensor(True)
        else:
            corners = sparse_prompt_embeddings[:, :2, :2] / 4
            centre = (sparse_prompt_embeddings[:, 2, :2] / 4).long().clamp(0, small.shape[-1] - 1)
            colour = small[torch.arange(len(small)), :, centre[:, 1], centre[:, 0]]
            at = torch.arange(small.shape[-1]) + 0.5
            inside = (at >= corners[:, 0, :, None]) & (at <= corners[:, 1, :, None])
            allowed = inside[:, 1, :, None] & inside[:, 0, None, :]
        distance = (small - colour[:, :, None, None]).norm(dim=1)
        # Of background there is no object: black is about -2 in each channel.
        present = (colour.sum(1) > -5.5)[:, None, None] & allowed
        logits = torch.where(present, 5.0 * (_NEAR - distance), -10.0).clamp(-10, 10)
        score = torch.where((logits > 0).flatten(1).any(1), 5.0, -5.0)[:, None]
        tokens = torch.zeros(len(small), 1, _WIDTH)
        return logits[:, None], torch.ones(len(small), 1), tokens, score


class _ColourMemory(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position_encoding = torch.nn.Identity()

    def forward(
        self, top: torch.Tensor, masks: torch.Tensor, skip_mask_sigmoid: bool
    ) -> dict[str, torch.Tensor]:
        small = F.pixel_shuffle(top[:, :_PIXELS], 4)
        mask = (masks[:, :, 2::4, 2::4] > 0).float()
        count = mask.sum((2, 3))
        colour = (small * mask).sum((2, 3)) / count.clamp_min(1.0)
        token = torch.cat([colour, (count > 0).float()], dim=1)
        token = F.pad(token, (0, _MEMORY - 4))
        return {'vision_features': token[:, :, None, None].expand(-1, -1, *top.shape[-2:])}


class Run:
    """An engine with one stream that is shown images, and all the results that come out."""

    # Unless config says otherwise; the fixture both_modes changes it.
    mode = 'window'

    def __init__(
        self, detector: Detector | None, model: Sam2Model | None = None, name: str = 'front',
        **config: object,
    ):
        # What a bank knows shows up on the first frame: tests count fewer frames. A detection is
        # trusted, and who returns is new: tests of ghosts and returns say otherwise. Windows of K
        # frames begin with frame 0: tests of windows say otherwise.
        settings = {
            'mode': self.mode, 'bank_object_frames': 1, 'confirm_detections': 0,
            'max_dormant_objects': 0, 'windows': 'plain', **config,
        }
        self.config = EngineConfig(**settings)  # type: ignore[arg-type]
        self.engine = Engine(model or colour_sam2(), detector, self.config)
        self.stream = self.engine.open_stream(name)
        self.images: list[np.ndarray] = []
        self.results: list[FrameResult] = []

    def push(self, *images: np.ndarray) -> list[FrameResult]:
        """Show images, frame i stamped 1000 * i; returns what came out of these."""
        out = []
        for image in images:
            stamp = 1000 * len(self.images)
            self.images.append(image)
            out += self.stream.push(image, stamp)
        self.results += out
        return out

    def take(self, image: np.ndarray, parts: int) -> list[FrameResult]:
        """Show an image without waiting for passes; do some parts of what is due."""
        out = []
        while self.stream.backlog.frames >= self.config.window_size + self.config.max_propagation:
            out += self.stream.step()
        out += self.stream.add(image, 1000 * len(self.images))
        self.images.append(image)
        for _ in range(parts):
            out += self.stream.step()
        self.results += out
        return out

    def work(self) -> None:
        """Do all parts that are due."""
        while self.stream.backlog.due:
            self.results += self.stream.step()

    def flush(self) -> list[FrameResult]:
        out = self.stream.flush()
        self.results += out
        return out

    def latest(self) -> dict[int, FrameResult]:
        """Return the last revision of each frame, by index."""
        return {result.index: result for result in self.results}

    def first(self) -> dict[int, FrameResult]:
        """Return revision 0 of each frame, by index."""
        return {result.index: result for result in self.results if result.revision == 0}

    def ids(self, index: int, visible: bool = True) -> list[int]:
        """Return the ids on a frame as last published: the visible ones, or all."""
        return [o.id for o in self.latest()[index].objects if o.visible or not visible]


def mask(result: FrameResult, object_id: int) -> np.ndarray:
    """Return an object's mask, bool [H, W]; KeyError when the result does not list it."""
    for shown in result.objects:
        if shown.id == object_id:
            return shown.mask.pixels()
    raise KeyError(f'frame {result.index} has no object {object_id}')
