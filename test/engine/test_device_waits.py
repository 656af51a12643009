# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""On a GPU the host queues work and goes on: between an image and its masks it waits for nothing.

Runs on a device that computes nothing (`fake_cuda`), so on any machine: every step and the mask
resizing go through as on CUDA, with autocast to bfloat16, and each wait is noted.
"""

from pathlib import Path

import numpy as np
import pytest
import sam2
import torch
from fake_cuda import CUDA, FakeCuda, Wait, fake_cuda
from fakes import Run, ScriptedDetector

from detsam2_ros.engine.sam2 import steps
from detsam2_ros.engine.sam2.attended_memories import ObjectMemory, select_context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import Prompt, decode_boxes, decode_prompt
from detsam2_ros.engine.sam2.resize import MaskResizer

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    'shipped': ROOT / 'models' / 'detsam2_demo.yaml',
    'sam2.1 tiny': Path(sam2.__file__).parent / 'configs' / 'sam2.1' / 'sam2.1_hiera_t.yaml',
    'sam2 tiny': Path(sam2.__file__).parent / 'configs' / 'sam2' / 'sam2_hiera_t.yaml',
}
SIZE = (480, 640)
IMAGE = np.zeros((*SIZE, 3), np.uint8)
BOXES = np.array([[10, 10, 50, 50], [60, 60, 90, 90]], np.float32)
SPOT = np.zeros(SIZE, bool)
SPOT[100:200, 100:200] = True
PROMPTS = [
    Prompt(box=(10, 10, 50, 50)),
    Prompt(points=np.array([[120, 120]]), labels=np.array([1])),
    Prompt(mask=SPOT),
]
COPY = 'aten::_to_copy'
PACE = Wait('cudaEventSynchronize', '')


@pytest.fixture
def cuda(monkeypatch):
    with fake_cuda(monkeypatch) as device:
        yield device


@pytest.fixture(params=CONFIGS)
def model(cuda: FakeCuda, request) -> Sam2Model:
    return cuda.model(CONFIGS[request.param])


# ---- the steps ---------------------------------------------------------------------------------
def encoded(model: Sam2Model) -> steps.ImageFeatures:
    return steps.encode_image(model, model.preprocess(IMAGE)[None])[0]


def conditioned(model: Sam2Model, features: steps.ImageFeatures) -> list[Memory]:
    predicted = decode_boxes(model, features, BOXES, SIZE)
    return steps.encode_memory(model, features, predicted, prompted=True)


def prompted(model: Sam2Model, features: steps.ImageFeatures) -> None:
    for prompt in PROMPTS:
        decode_prompt(model, features, prompt, SIZE, SPOT)


def tracked(model: Sam2Model, features: steps.ImageFeatures, memories: list[Memory]):
    """Track two objects of one layout and one that remembers more, as one frame's step does."""
    contexts = {}
    for number, before in enumerate([{}, {}, {6: memories[0], 5: memories[1]}]):
        memory = ObjectMemory({0: memories[number % 2]}, bank=memories[:1])
        contexts[number] = select_context(model, memory, before, 7, frames_seen=8, reverse=False)
    found = steps.track_objects(model, features, contexts)
    steps.encode_memories(model, features, found)
    return found


def logits_of(found: dict[int, steps.MaskPrediction]) -> torch.Tensor:
    return torch.stack([own.logits for own in found.values()])


def test_no_step_waits_for_the_device(cuda: FakeCuda, model: Sam2Model) -> None:
    with model.inference():
        for _ in range(2):  # the first time constants are made, which are copied
            cuda.clear()
            features = encoded(model)
            memories = conditioned(model, features)
            prompted(model, features)
            found = tracked(model, features, memories)
    assert cuda.waits == []
    for each in (*memories, *found.values()):
        tensors = [value for value in vars(each).values() if isinstance(value, torch.Tensor)]
        assert tensors and all(tensor.device == CUDA for tensor in tensors)


def test_the_steps_compute_in_bfloat16(cuda: FakeCuda, model: Sam2Model) -> None:
    with model.inference():
        features = encoded(model)
        memories = conditioned(model, features)
        for step in (
            lambda: encoded(model),
            lambda: conditioned(model, features),
            lambda: tracked(model, features, memories),
        ):
            step()
            cuda.clear()
            step()
            assert cuda.products == {torch.bfloat16}


def test_masks_and_labels_are_waited_for_once(cuda: FakeCuda, model: Sam2Model) -> None:
    resizer = MaskResizer(*SIZE, model.mask_size, CUDA)
    with model.inference():
        features = encoded(model)
        logits = logits_of(tracked(model, features, conditioned(model, features)))
        cuda.clear()
        masks = resizer.masks(logits)
        assert cuda.waits == [Wait(COPY, 'masks')]
        assert [mask.area for mask in masks] == [SIZE[0] * SIZE[1] // 8] * 3  # a bit in each byte
        cuda.clear()
        assert resizer.labels(logits, [3, 4, 5]).shape == SIZE
        assert cuda.waits == [Wait(COPY, 'labels')]


# ---- the engine --------------------------------------------------------------------------------
# Where the masks are that the host reads, and boxes that fit them.
ROWS = [slice(0, 30), slice(40, 70)]
SEEN = [(0, (0, 0, 640, 30)), (1, (0, 40, 640, 70))]


def stripes(shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Return masks, a bit a pixel, that fill some rows each; other tensors are ones."""
    if len(shape) != 3:
        return torch.ones(shape, dtype=dtype)
    out = torch.zeros(shape, dtype=dtype)
    for bits, rows in zip(out, ROWS, strict=False):
        bits[rows] = 255
    return out


def run(cuda: FakeCuda, **config: object) -> Run:
    cuda.read = stripes
    settings = {'window_size': 4, 'detect_interval': 10, 'max_propagation': 8, **config}
    return Run(ScriptedDetector(lambda frame: SEEN), cuda.model(CONFIGS['shipped']), **settings)


def test_a_frame_waits_for_its_masks_alone(cuda: FakeCuda) -> None:
    online = run(cuda, mode='online')
    online.push(*[IMAGE] * 6)
    cuda.clear()
    [result] = online.stream.add(IMAGE, 6000)
    assert len(result.objects) == 2 and all(thing.visible for thing in result.objects)
    # The masks, how likely they are (in one copy on a real device), and which lies above.
    assert cuda.waits == [
        Wait(COPY, 'masks'), *[Wait('aten::_local_scalar_dense', 'gather')] * 2,
        Wait(COPY, 'labels'),
    ]  # fmt: skip


def test_a_detection_frame_waits_for_the_boxes_of_its_objects_too(cuda: FakeCuda) -> None:
    online = run(cuda, mode='online', detect_interval=5, max_conditioned_memories=1)
    online.push(*[IMAGE] * 10)
    cuda.clear()
    [result] = online.stream.add(IMAGE, 10_000)
    assert [thing.conditioned for thing in result.objects] == [True, True]
    places = [wait.function for wait in cuda.waits]
    # Boxes tell which object a detection is. What the next frames ask of memories is read last.
    assert places == ['masks', 'masks', 'gather', 'gather', 'summary', 'summary', 'labels']
    cuda.clear()
    online.stream.add(IMAGE, 11_000)
    assert [wait.function for wait in cuda.waits] == ['masks', 'gather', 'gather', 'labels']


def test_a_pass_tracks_without_a_wait_but_for_its_pace(cuda: FakeCuda) -> None:
    window = run(cuda, mode='window')
    window.push(*[IMAGE] * 4)
    for at in range(4, 8):
        assert window.stream.add(IMAGE, 1000 * at) == []
    cuda.clear()
    parts: list[set[str]] = []
    results: list = []
    while not results:
        results = window.stream.step()
        parts.append({wait.function for wait in cuda.waits} - {PACE.function})
        assert cuda.waits.count(PACE) <= 1
        cuda.clear()
    # A frame a part; then the masks of each frame are read; then all is labelled.
    assert parts[:8] == [set()] * 8
    assert parts[8:] == [set(), *[{'masks', 'gather'}] * 8, {'labels'}]


# ---- the watch itself --------------------------------------------------------------------------
def on_cuda() -> torch.Tensor:
    return torch.ones(4, device=CUDA)


@pytest.mark.parametrize('ask', [
    lambda: on_cuda().sum().item(), lambda: float(on_cuda()[0]), lambda: bool(on_cuda().any()),
    lambda: on_cuda()[:1].tolist(), lambda: on_cuda().cpu(), lambda: on_cuda().to('cpu'),
    lambda: on_cuda().nonzero(), lambda: on_cuda()[on_cuda() > 0], lambda: on_cuda().unique(),
    lambda: on_cuda().equal(on_cuda()), lambda: torch.tensor([1.0], device=CUDA),
    lambda: torch.ones(4).to(CUDA), lambda: torch.ones(4).to(CUDA, non_blocking=True),
    lambda: torch.ones(4).pin_memory().to(CUDA), lambda: on_cuda().copy_(torch.ones(4)),
    lambda: on_cuda().masked_select(on_cuda() > 0),
], ids=str)  # fmt: skip
@pytest.mark.parametrize('inference', [False, True])
def test_each_kind_of_wait_is_noted(cuda: FakeCuda, ask, inference) -> None:
    with torch.inference_mode(inference):
        try:
            ask()
        except Exception as error:  # what depends on values has no fake answer
            assert 'Output' in type(error).__name__ or 'Dynamic' in type(error).__name__
    assert len(cuda.waits) == 1


def test_what_does_not_wait_is_not_noted(cuda: FakeCuda) -> None:
    here = on_cuda()
    here[torch.arange(2, device=CUDA)] = 0
    torch.where(here > 0, here, 1)
    torch.ones(4).pin_memory().to(CUDA, non_blocking=True)
    here.copy_(torch.ones(4).pin_memory(), non_blocking=True)
    here.to(torch.bfloat16)
    torch.ones(4).sum().item()
    assert cuda.waits == []
