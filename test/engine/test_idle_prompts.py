# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts on frames that no other frame follows: a camera that paused, a bag that was stopped."""

import pytest
import torch
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask
from stream_cases import USUAL, film, red

from detsam2_ros.engine import EngineConfig, Prompt
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.engine.tracking.window_pass import WindowPass

MODES = pytest.mark.parametrize('mode', ['window', 'online'])


def finish(run: Run, flush: bool) -> list:
    """Let the stream do what is left without another frame."""
    if flush:
        return run.flush()
    out = []
    while run.stream.backlog.corrections or run.stream.backlog.due:
        out += run.stream.step(early=True)
    run.results += out
    return out


@MODES
@pytest.mark.parametrize('flush', [True, False])
def test_a_prompt_after_the_last_frame_corrects_what_is_in_reach(mode, flush):
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(12))
    assert not run.stream.backlog.frames and not run.stream.backlog.corrections
    assert finish(run, flush) == []
    run.stream.prompt(9, Prompt(box=disc_box(21, 24)), 'ball')
    assert run.stream.backlog.corrections
    horizon = run.stream.horizon
    out = finish(run, flush)
    assert [(r.index, r.revision, r.final) for r in out] == [(i, 1, False) for i in range(8, 12)]
    assert run.stream.horizon == horizon == 8
    for result in out:
        assert iou(mask(result, 1), colour_mask(run.images[result.index], 'red')) > 0.5
    assert not run.stream.backlog.corrections and finish(run, flush) == []
    run.push(*film(16)[12:])  # and all goes on
    assert run.ids(15) == [1]


@MODES
def test_what_was_removed_after_the_last_frame_vanishes(mode):
    run = Run(ColourDetector(['red']), mode=mode, **USUAL)
    run.push(*film(8))
    run.stream.remove_object(1)
    assert run.stream.backlog.corrections
    out = run.flush()
    assert out and not any(result.labels.any() for result in out)
    assert not run.stream.backlog.corrections and run.flush() == []


@MODES
def test_detections_of_a_window_are_not_used_again(mode):
    """One that started nothing when its window closed starts nothing now."""
    script = {4: [(0, disc_box(16, 24)), (0, disc_box(50, 10), 0.3)]}
    run = Run(ScriptedDetector(script, 4), mode=mode, **{**USUAL, 'new_object_score': 0.5})
    run.push(*[red(16, ('green', 50, 10))] * 8)
    run.stream.prompt(6, Prompt(box=disc_box(16, 24)), object_id=1)
    before = run.engine.stats()
    finish(run, flush=True)
    after = run.engine.stats()
    assert (after.detections, after.objects) == (before.detections, before.objects) == (2, 1)
    assert after.frames == after.encodings == 8


def test_options_that_leave_work_out_do_not_keep_a_late_prompt_from_the_past():
    """A pass ends early before all prompts that no pass has read, and goes back for them."""
    config = EngineConfig(window_size=4, max_propagation=8, mode='window')
    seen = torch.ones(2, 2, dtype=torch.bool)
    frames = {i: Frame(i, 1000 * i, None, published_masks={1: seen}) for i in range(8)}
    tools = Toolbox('front', None, None, config, None, None, None)
    window = [frames[i] for i in range(4, 8)]
    run = WindowPass(tools=tools, frames=frames, window=window, objects=[], oldest=0)
    obj = TrackedObject(1, 0, 'ball', born=2, last_seen=7)
    obj.prompts = {
        at: ConditioningFrame(None, None, None, 1000 * at, at, read=at == 2) for at in (2, 3, 6)
    }
    assert sorted(run._published_masks(obj, 7)) == [0, 1, 2]
    obj.read(7)
    assert sorted(run._published_masks(obj, 7)) == list(range(8))
