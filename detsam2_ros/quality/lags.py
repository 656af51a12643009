# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What was known of a video so many frames later: the views of a revised video."""

from __future__ import annotations

from detsam2_ros.quality.segments import RevisedVideo, Revision, SegmentedFrame, SegmentedVideo

Lag = int | None  # frames; None: in the end


def view(video: RevisedVideo, lag: Lag) -> SegmentedVideo:
    """Return what was known of each frame `lag` frames later.

    Lag 0 is what was first published, whenever that was: a frame has no masks before. Lag None is
    what was said last. A frame of which nothing was ever said is not in the view.
    """
    known: dict[int, Revision] = {}
    for revision in video.revisions:
        late = lag is not None and revision.newest > revision.frame + lag
        if revision.frame not in known or not late:
            known[revision.frame] = revision
    frames = {number: shown(known[number]) for number in sorted(known)}
    return SegmentedVideo(video.name, video.size, frames, video.class_names)


def shown(revision: Revision) -> SegmentedFrame:
    """Return what a revision shows, less the ids that it withdraws."""
    if not revision.withdrawn:
        return revision.shown
    kept = (each for each in revision.shown.segments if each.id not in revision.withdrawn)
    return SegmentedFrame(tuple(kept), revision.shown.ignored)


def reach(video: RevisedVideo) -> int:
    """Return the lag from which on the view is the last one."""
    return max((each.newest - each.frame for each in video.revisions), default=0)


def by_frame(video: RevisedVideo) -> dict[int, list[Revision]]:
    """Return the revisions of each frame, in the order in which they were said."""
    revisions: dict[int, list[Revision]] = {}
    for revision in video.revisions:
        revisions.setdefault(revision.frame, []).append(revision)
    return revisions
