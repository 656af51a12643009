# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a window's pass does to objects that were lost, that are back, or that find no room."""

from typing import Any

import torch

from detsam2_ros.engine import EngineConfig
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking import window_pass
from detsam2_ros.engine.tracking.dormant import Look
from detsam2_ros.engine.tracking.frame_masks import FoundMask, FrameMasks
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.engine.tracking.window_pass import WindowPass

CPU = torch.device('cpu')
RESIZER = MaskResizer(16, 16, 16, CPU)
LEFT, RIGHT = 1, 9


def logits(x: int) -> torch.Tensor:
    out = torch.full((16, 16), -10.0)
    out[4:10, x : x + 6] = 10.0
    return out


def prompts(places: dict[int, int]) -> dict[int, ConditioningFrame]:
    memory = Memory(torch.zeros(1, 4, 4), torch.zeros(4), torch.tensor(5.0))
    return {at: ConditioningFrame(memory, logits(x), 1000 * at, at) for at, x in places.items()}


def closing(objects: list[TrackedObject], **config: Any) -> WindowPass:
    """Return the pass of a window of frames 4 to 7, which reaches back to frame 0."""
    settings = EngineConfig(window_size=4, max_propagation=8, **config)
    stats = StatsRecorder(CPU)
    tools = Toolbox('front', None, None, settings, RESIZER, stats, None)  # type: ignore[arg-type]
    frames = {i: Frame(i, 1000 * i, None) for i in range(8)}
    window = [frames[i] for i in range(4, 8)]
    return WindowPass(tools=tools, frames=frames, window=window, objects=objects, oldest=0)


def test_one_that_is_lost_gives_back_the_prompts_that_it_took():
    stays = TrackedObject(1, 0, 'ball', born=0, prompts=prompts({0: RIGHT}))
    lost = TrackedObject(2, 0, 'ball', born=0, prompts=prompts({0: LEFT, 6: RIGHT}))
    run = closing([stays, lost])
    places = [{stays: RIGHT, lost: LEFT if i < 4 else RIGHT} for i in range(8)]
    run.masks = {
        i: FrameMasks({
            obj: FoundMask(logits(x), 0.9, RESIZER.masks(logits(x)[None])[0])
            for obj, x in there.items()
        }) for i, there in enumerate(places)
    }  # fmt: skip
    run._lose((stays, lost))
    assert (sorted(stays.prompts), sorted(lost.prompts)) == ([0, 6], [0])
    assert run.objects == [stays] and run.retired == [lost] and run.lost_since == {2: 4}


def test_where_there_is_no_room_who_is_back_stays_before_who_is_new():
    known = TrackedObject(1, 0, 'ball', prompts=prompts({0: LEFT}))
    new = TrackedObject(None, 0, 'ball', prompts=prompts({4: LEFT}))
    back = TrackedObject(5, 0, 'ball', prompts=prompts({4: RIGHT}))
    run = closing([known, new, back], max_objects=2)
    run._make_room({known.serial})
    assert run.objects == [known, back] and run.dormant == []
    run = closing([known, back], max_objects=1)
    run._make_room({known.serial})
    assert run.objects == [known] and run.dormant == [back]


def test_a_confirmed_object_without_a_mask_is_unseen():
    seen, unseen, prompted, tentative = (
        TrackedObject(i, 0, 'ball', prompts=prompts({0: LEFT}), confirmed=True)
        for i in range(1, 5)
    )
    prompted.prompts = prompts({0: LEFT, 5: LEFT})
    tentative.confirmed = False
    run = closing([seen, unseen, prompted, tentative])
    mask = RESIZER.masks(logits(LEFT)[None])[0]
    run.masks = {5: FrameMasks({seen: FoundMask(logits(LEFT), 0.9, mask)})}
    assert [obj for obj in run.objects if run._is_unseen(obj, 5)] == [unseen]


def test_what_was_tracked_as_somebody_new_is_tracked_again_for_who_is_back(monkeypatch):
    older = TrackedObject(3, 0, 'ball', prompts=prompts({0: LEFT}))
    young = TrackedObject(7, 0, 'ball', born=4, prompts=prompts({4: LEFT, 6: LEFT}))
    run = closing([young])
    run.dormant = [older]
    monkeypatch.setattr(window_pass, 'recalled', lambda *given: {0: Look(older, contested=False)})
    united: list[tuple[TrackedObject, TrackedObject]] = []
    monkeypatch.setattr(run, '_unite', lambda pairs, tracked: united.extend(pairs) or iter(()))
    assert list(run._recall({})) == []
    [(back, own)] = united
    assert own is young and back.serial == older.serial and run.dormant == []
    # Forward tracking went on to frame 7 as somebody else: the next pass begins there.
    assert not young.prompts[6].read and young.prompts[6].tracked_until == 7


def test_what_was_confirmed_while_the_window_was_closing_stays_so():
    obj = TrackedObject(1, 0, 'ball', born=0, prompts=prompts({0: LEFT}))
    run = closing([obj.draft()])
    run._known = {obj.serial: obj.prompts}
    obj.confirmed = True
    run._rejoin([obj])
    assert [own.confirmed for own in run.objects] == [True]
