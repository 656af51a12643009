# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The detector as annotator: its boxes are the marks."""

from __future__ import annotations

import numpy as np

from detsam2_ros.banks.annotations import check_distinct, check_name, object_key
from detsam2_ros.banks.pictures import Picture
from detsam2_ros.banks.views import Mark
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.media.notes import Notes
from detsam2_ros.results.detections import usable


class Detected:
    """Boxes that a detector finds in each picture.

    Grouped by instance, each box is an object of its own, named by class, picture and number: a
    detector alone does not re-identify objects.
    """

    def __init__(self, detector: Detector, name: str, group: str = 'class') -> None:
        self._detector = detector
        self._group = group
        self.what = f'detections of {name}'
        self._names = {
            class_id: check_name(text, f'class {class_id} of the detector')
            for class_id, text in detector.class_names.items()
        }
        check_distinct(self._names, f'the detector {name}')

    def has(self, picture: Picture) -> bool:
        """Return True: the detector can look at every picture."""
        return True

    def marks(self, picture: Picture, image: np.ndarray, notes: Notes) -> list[Mark]:
        """Return a mark for each box, best score first."""
        found, dropped = usable(self._detector.detect([image])[0], *image.shape[:2])
        for _ in range(dropped):
            notes.add('detection', 'not finite, or outside the image', picture.name)
        marks = []
        for number, (box, class_id) in enumerate(zip(found.boxes, found.class_ids, strict=True)):
            name = self._names.get(int(class_id))
            if name is None:
                notes.add('detection', f'class {class_id} has no name', picture.name)
                continue
            key = object_key(self._group, name, f'{picture.stem}-{number}')
            x0, y0, x1, y1 = (float(v) for v in box)
            marks.append(Mark(key, int(class_id), name, box=(x0, y0, x1, y1)))
        if not marks:
            notes.add('image', 'nothing detected', picture.name)
        return marks

    def unused(self, notes: Notes) -> None:
        """Do nothing: a detector has no annotations without a picture."""
