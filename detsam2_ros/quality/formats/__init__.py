# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Segmented videos in and out: DAVIS, KITTI MOTS, YouTube-VIS, our own results, and scenes.

Readers raise InputError, one sentence that names the file, for what cannot be used as a whole. What
is left out of the rest is counted, and logged as one warning for each reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from detsam2_ros.quality.segments import RevisedVideo, SegmentedVideo


def read_truth(path: Path | str, format: str = 'auto') -> list[SegmentedVideo]:
    """Read the videos of a truth: DAVIS, KITTI MOTS, YouTube-VIS, or scene:SEED[:FRAMES].

    format: 'auto', 'davis', 'kitti-mots' or 'youtube-vis'. Raises InputError.
    """
    raise NotImplementedError


def read_results(path: Path | str) -> list[RevisedVideo]:
    """Read what a tracker said: segment_video, a bag, revisions.jsonl, or a standard format.

    Raises InputError.
    """
    raise NotImplementedError


def write_davis(videos: Iterable[SegmentedVideo], target: Path) -> None:
    """Write a folder of palette PNGs for each video into a folder; raises InputError."""
    raise NotImplementedError


def write_kitti_mots(videos: Iterable[SegmentedVideo], target: Path) -> None:
    """Write a text file for each video, and a seqmap, into a folder; raises InputError."""
    raise NotImplementedError


def write_youtube_vis(videos: Iterable[SegmentedVideo], target: Path) -> None:
    """Write a JSON file; raises InputError."""
    raise NotImplementedError
