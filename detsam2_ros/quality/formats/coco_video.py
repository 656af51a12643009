# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO for videos, with images and an annotation for each of them, in the form of YouTube-VIS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from detsam2_ros.media.notes import Notes
from detsam2_ros.media.tables import identifier
from detsam2_ros.quality.formats.reading import MAX_FRAMES, MAX_ID


class ByFrame(dict[int, Any]):
    """The segmentations of an object by frame, in place of a list with null for all others."""


def is_coco_video(table: dict[str, Any]) -> bool:
    """Return whether a file has images of videos."""
    images = table.get('images')
    return isinstance(images, list) and any(
        isinstance(row, dict) and 'video_id' in row for row in images
    )


def as_youtube_vis(table: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Return the same truth as YouTube-VIS has it.

    The number of a frame is the frame_id of its image where all images of the video have one of
    their own, else the place of the image among those of its video. An object is what has one
    instance_id, or track_id, in a video. What cannot be used is left out and counted.
    """
    images = _images(table['images'], notes)
    frames: dict[str, tuple[str, int]] = {}  # video and frame number by the id of an image
    videos = []
    for place, row in enumerate(table['videos']):
        id_ = identifier(row.get('id')) if isinstance(row, dict) else ''
        own = images.get(id_, {})
        if not own:
            notes.add('video', 'it has no id, or no image', f'videos[{place}]')
            continue
        numbers = _numbers(list(own.values()))
        frames |= {image: (id_, n) for image, n in zip(own, numbers, strict=True)}
        first = next(iter(own.values()))
        videos.append({
            'height': first.get('height'), 'width': first.get('width'), **row,
            'length': max(numbers) + 1, 'file_names': None,
            'missing_frames': sorted(set(range(max(numbers) + 1)) - set(numbers)),
        })  # fmt: skip
    annotations = _annotations(table['annotations'], frames, notes)
    return {**table, 'videos': videos, 'annotations': annotations}


def _images(rows: list[Any], notes: Notes) -> dict[str, dict[str, dict[str, Any]]]:
    """Return images by video and id."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or row.get('id') is None or row.get('video_id') is None:
            notes.add('image', 'it has no id or video_id', f'images[{place}]')
            continue
        there = found.setdefault(identifier(row['video_id']), {})
        if there.setdefault(identifier(row['id']), row) is not row:
            notes.add('image', 'another one has its id', f'images[{place}]')
    return found


def _numbers(images: list[dict[str, Any]]) -> list[int]:
    stated = [image.get('frame_id') for image in images]
    numbers = [n for n in stated if type(n) is int and 0 <= n < MAX_FRAMES]
    is_usable = len(set(numbers)) == len(stated)
    return numbers if is_usable else list(range(min(len(images), MAX_FRAMES)))


def _annotations(
    rows: list[Any], frames: dict[str, tuple[str, int]], notes: Notes
) -> list[dict[str, Any]]:
    """Return an annotation for each object, with its segmentations."""
    tracks: dict[tuple[str, str], dict[str, Any]] = {}
    for place, row in enumerate(rows):
        example = f'annotations[{place}]'
        image = identifier(row.get('image_id')) if isinstance(row, dict) else ''
        if image not in frames:
            notes.add('annotation', 'its image is not in the file', example)
            continue
        video, number = frames[image]
        instance = row.get('instance_id', row.get('track_id'))
        is_crowd = identifier(row.get('iscrowd')) in ('1', 'True')
        if is_crowd:
            key = video, f'crowd {place}'
        elif type(instance) is int and 0 <= instance <= MAX_ID:
            key = video, str(instance)
        else:
            notes.add('annotation', 'it has no instance_id or track_id from 0', example)
            continue
        segmentation = row.get('segmentation')
        if not segmentation:
            notes.add('annotation', 'it has no segmentation', example)
            continue
        track = tracks.setdefault(key, {
            'video_id': video, 'category_id': row.get('category_id'), 'iscrowd': int(is_crowd),
            'instance': instance, 'segmentations': ByFrame(),
        })  # fmt: skip
        if number in track['segmentations']:
            notes.add('annotation', 'another one of its object is on the frame', example)
        else:
            track['segmentations'][number] = segmentation
    return _with_ids(tracks.values())


def _with_ids(tracks: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give annotations ids that no instance has; things whose instance is 0 take theirs."""
    kept = list(tracks)
    own = [track['instance'] for track in kept if type(track['instance']) is int]
    first = max([0, *(number for number in own if number <= MAX_ID)]) + 1
    return [{**track, 'id': (first + place) % MAX_ID} for place, track in enumerate(kept)]
