# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Segmented videos in and out: DAVIS, KITTI MOTS, YouTube-VIS, our own results, and scenes.

Readers raise InputError, one sentence that names the file, for what cannot be used as a whole.
What is left out of the rest is counted, and logged as one warning for each reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.davis_out import DavisWriter
from detsam2_ros.quality.formats.kitti_mots_out import KittiMotsWriter
from detsam2_ros.quality.formats.results import read_results
from detsam2_ros.quality.formats.truth import read_truth
from detsam2_ros.quality.formats.writing import write_videos
from detsam2_ros.quality.formats.youtube_vis_out import YouTubeVisWriter
from detsam2_ros.quality.segments import SegmentedVideo

__all__ = [
    'InputError', 'read_results', 'read_truth', 'write_davis', 'write_kitti_mots',
    'write_youtube_vis',
]  # fmt: skip


def write_davis(videos: Iterable[SegmentedVideo], target: Path) -> None:
    """Write a folder of palette PNGs for each video into a folder; raises InputError."""
    write_videos(videos, DavisWriter(target))


def write_kitti_mots(videos: Iterable[SegmentedVideo], target: Path) -> None:
    """Write a text file for each video, and a seqmap, into a folder; raises InputError."""
    write_videos(videos, KittiMotsWriter(target))


def write_youtube_vis(videos: Iterable[SegmentedVideo], target: Path) -> None:
    """Write instances.json and results.json into a folder; raises InputError."""
    write_videos(videos, YouTubeVisWriter(target))
