# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Score the engine's final masks, detector in the loop, against the scene's truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from detsam2_ros.engine import Engine, FrameResult, finals
from detsam2_ros.quality.overlap import iou_table
from detsam2_ros.quality.scoring import Tally, pair
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import SceneFrame


def score(frames: Iterable[SceneFrame], results: Mapping[int, FrameResult]) -> Tally:
    """Score one result of each frame of a clip; every ball with a visible pixel counts."""
    tally = Tally()
    for frame in frames:
        balls = [int(b) for b, seen in zip(frame.ids, frame.visible, strict=True) if seen]
        truth = [Mask.of(frame.labels == ball) for ball in balls]
        shown = {o.id: o.mask for o in results[frame.index].objects if o.visible}
        tally.add_frame(pair(iou_table(truth, list(shown.values())), balls, list(shown)))
    return tally


def run_clip(engine: Engine, frames: list[SceneFrame]) -> Tally:
    """Push a clip through a fresh stream and score its final revisions."""
    shown = ((frame.image, frame.index * 33_333_333) for frame in frames)
    results = {result.index: result for result in finals(engine.open_stream('clip'), shown)}
    return score(frames, results)


def summary(clips: Sequence[Tally]) -> dict[str, float]:
    """Return what evaluate.py prints, over all clips."""
    ious = [iou for clip in clips for iou in clip.ious]

    def share(part: Iterable[int], whole: Iterable[int]) -> float:
        return sum(part) / max(sum(whole), 1)

    return {
        'engine_j': float(np.mean(ious)),
        'engine_found': share((clip.found_count for clip in clips), (len(ious),)),
        'id_switches': sum(clip.switches for clip in clips),
        'false_objects': sum(len(clip.false_objects) for clip in clips),
        'objects': sum(len(clip.shown) for clip in clips),
        'stray_share': share(
            (clip.stray.total() for clip in clips), (clip.shown.total() for clip in clips)
        ),
        'hidden_still_shown': share(
            (clip.lingering for clip in clips), (clip.hidden for clip in clips)
        ),
    }
