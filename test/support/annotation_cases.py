# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The same drawn objects as label masks, COCO JSON and YOLO labels; images on the disk."""

import json
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image

from detsam2_ros.banks.annotations import Annotations
from detsam2_ros.banks.pictures import open_pictures
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.notes import Notes
from detsam2_ros.scene.scene import CLASS_NAMES, render

SIZE = (60, 40)  # width, height


def write_image(path: Path, image: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = np.zeros((SIZE[1], SIZE[0], 3), np.uint8) if image is None else image
    assert cv2.imwrite(str(path), given[..., ::-1])
    return path


def write_labels(path: Path, labels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels)
    if mode == 'P':
        picture.putpalette([255, 0, 0] * 256)
    picture.save(path)
    return path


def labelled(*boxes: tuple[int, int, int, int, int], dtype: type = np.uint8) -> np.ndarray:
    """Draw (value, x0, y0, x1, y1)."""
    labels = np.zeros((SIZE[1], SIZE[0]), dtype)
    for value, x0, y0, x1, y1 in boxes:
        labels[y0:y1, x0:x1] = value
    return labels


def coco(annotations: list[dict]) -> dict:
    """Return a COCO table with one image a.png and two classes."""
    return {
        'images': [{'id': 1, 'file_name': 'a.png', 'width': SIZE[0], 'height': SIZE[1]}],
        'annotations': [{'id': i, 'image_id': 1, **a} for i, a in enumerate(annotations)],
        'categories': [{'id': 3, 'name': 'cup'}, {'id': 5, 'name': 'bowl'}],
    }


def write_coco(folder: Path, table: object, encoding: str = 'utf-8') -> Path:
    path = folder / 'coco.json'
    path.write_text(json.dumps(table), encoding=encoding)
    return path


def read(annotations: Annotations, images: Path) -> tuple[dict[str, list[Mark]], list[str]]:
    """Return the marks of each picture that has any annotation, and what was noted."""
    notes = Notes()
    marks = {}
    for picture in open_pictures(images):
        if annotations.has(picture):
            image = picture.load()
            assert image is not None
            marks[picture.name] = annotations.marks(picture, image, notes)
    annotations.unused(notes)
    return marks, list(notes.sentences())


def write_scene(folder: Path, seed: int, frames: int, every: int) -> list:
    """Write a demo scene with all kinds of annotation; returns all its frames.

    images, masks with names.yaml, labels with data.yaml, coco.json (boxes, run lengths of both
    kinds, polygons by turns).
    """
    clip = render(seed=seed, length=frames)
    table: dict = {'images': [], 'annotations': [], 'categories': []}
    table['categories'] = [{'id': i, 'name': name} for i, name in CLASS_NAMES.items()]
    (folder / 'labels').mkdir(parents=True)
    for frame in clip[::every]:
        name, lines = f'{frame.index:06d}', []
        height, width = frame.labels.shape
        write_image(folder / 'images' / f'{name}.png', frame.image)
        write_labels(folder / 'masks' / f'{name}.png', frame.labels)
        table['images'].append({'id': frame.index, 'file_name': f'{name}.png'})
        for i in np.flatnonzero(frame.visible):
            x0, y0, x1, y1 = map(float, frame.boxes[i])
            mask, class_id = frame.labels == frame.ids[i], int(frame.class_ids[i])
            annotation = {
                'id': len(table['annotations']), 'image_id': frame.index,
                'category_id': class_id, 'bbox': [x0, y0, x1 - x0, y1 - y0],
            }
            segmentation = segmentation_of(mask, i % 4)
            if segmentation is not None:
                annotation['segmentation'] = segmentation
            table['annotations'].append(annotation)
            centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
            shares = (*centre, (x1 - x0) / width, (y1 - y0) / height)
            lines.append(' '.join([str(class_id), *(f'{v:.6f}' for v in shares)]))
        (folder / 'labels' / f'{name}.txt').write_text('\n'.join(lines))
    names = {
        int(i): {'class': CLASS_NAMES[int(c)], 'id': int(c)}
        for i, c in zip(clip[0].ids, clip[0].class_ids, strict=True)
    }
    (folder / 'masks' / 'names.yaml').write_text(yaml.safe_dump(names))
    (folder / 'data.yaml').write_text(yaml.safe_dump({'names': dict(CLASS_NAMES)}))
    write_coco(folder, table)
    return clip


def counts_of(mask: np.ndarray) -> list[int]:
    """Return COCO's run lengths of a mask."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int), [0]])
    turns = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.concatenate([[0], turns, [mask.size]])).tolist()
    return runs if sum(runs[:-1]) != mask.size or runs[-1] else runs[:-1]


def segmentation_of(mask: np.ndarray, kind: int) -> object:
    """Return a mask as compressed (0) or plain (1) run lengths, as polygons (2), or None."""
    size = list(mask.shape)
    if kind == 0:
        from pycocotools import mask as library

        encoded = library.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {'size': size, 'counts': encoded['counts'].decode()}
    if kind == 1:
        return {'size': size, 'counts': counts_of(mask)}
    if kind == 2:
        found, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        return [part.ravel().tolist() for part in found if len(part) > 2] or None
    return None
