# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YOLO as the detector, through the optional package `ultralytics`.

`ultralytics` is licensed under the AGPL-3.0, this package is not. It is therefore no dependency:
it is imported only when somebody chooses this detector, inside the constructor. Whoever ships a
product with it has to meet the AGPL-3.0 or hold an Ultralytics enterprise licence; any other
object with `class_names` and `detect` can take its place.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from detsam2_ros.engine.detector.classes import name_fault
from detsam2_ros.engine.detector.exported import check_size, exported_size, fixed_shape
from detsam2_ros.engine.detector.yolo_files import (
    find_model,
    gist,
    half_option,
    import_yolo,
    open_model,
    undisturbed,
)
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.errors import ConfigError, ModelError

_log = logging.getLogger(__name__)

# A window of many detection frames is split, so that its size never decides about memory.
_MAX_BATCH = 16
MIN_IMAGE_SIZE = 32  # pixels: one place of the coarsest level


class YoloDetector:
    """Finds boxes with a YOLO model; a Detector (design: detection frames of a window at once).

    weights: a `.pt` file, an exported `.onnx` or `.engine` file, 'demo' for the small model
    that is shipped, or the name of a model that Ultralytics publishes ('yolo11n.pt'), which is
    downloaded once into torch's cache folder. classes: names or ids to keep; None keeps all.
    confidence, iou: thresholds of detection and of non-maximum suppression, 0..1. device: a
    torch device; None takes CUDA when there is one. half: float16; None takes it on CUDA.
    image_size: longer side in pixels that the network sees, rounded up to a multiple of 32; None
    takes that of the training, of an exported file the one it was exported for.
    max_detections: most boxes an image. Needs `ultralytics` (AGPL-3.0). Raises ModelError when
    the package or the model is missing or not usable, ConfigError for a bad parameter. A model
    that refuses a batch gets smaller ones from then on, down to one image at a time.
    """

    class_names: dict[int, str]

    def __init__(
        self,
        weights: str | os.PathLike[str],
        classes: Sequence[int | str] | None = None,
        confidence: float = 0.25,
        iou: float = 0.7,
        device: str | torch.device | None = None,
        half: bool | None = None,
        image_size: int | None = None,
        max_detections: int = 100,
    ) -> None:
        _check_fraction('confidence', confidence)
        _check_fraction('iou', iou)
        if max_detections < 1:
            raise ConfigError(f'max_detections must be >= 1, got {max_detections!r}')
        if image_size is not None and image_size < MIN_IMAGE_SIZE:
            raise ConfigError(f'image_size must be >= {MIN_IMAGE_SIZE} pixels, got {image_size!r}')
        self._batch = _MAX_BATCH
        self._fixed_batch = 1  # images that a call must have; fewer are filled up
        self.device = _usable_device(device)
        if half is None:
            half = self.device.type == 'cuda'

        with undisturbed():
            yolo_class = import_yolo()
            self.path = find_model(weights)
            self._model = open_model(yolo_class, self.path)
            self._options: dict[str, Any] = {
                'conf': confidence,
                'iou': iou,
                # As an object: a string makes ultralytics set threads and CUDA_VISIBLE_DEVICES.
                'device': self.device,
                'max_det': max_detections,
                'save': False,
                'verbose': False,
            }
            if half:
                self._options.update(half_option())
            if image_size is not None:
                self._options['imgsz'] = image_size
            names = self._start()
        check_size(self._model.predictor.model, image_size, self.path.name)
        self.class_names = {int(key): str(name).strip() for key, name in names.items()}
        kept = list(self.class_names) if classes is None else self._class_ids(classes)
        if classes is not None:
            self._options['classes'] = kept
        self._check_names(kept)

    @property
    def confidence(self) -> float:
        """Least confidence of a box, 0..1; may be set between two calls of `detect`."""
        return float(self._options['conf'])

    @confidence.setter
    def confidence(self, value: float) -> None:
        _check_fraction('confidence', value)
        self._options['conf'] = float(value)

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Find boxes in a batch of uint8 [H, W, 3] RGB images; one Detections an image.

        Sizes may differ. An image gets the same boxes alone and in a batch, up to rounding.
        """
        found: list[Detections | None] = [None] * len(images)
        # Images of one size share a batch: ultralytics pads mixed sizes to a square, which would
        # make an image's boxes depend on its company.
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, image in enumerate(images):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f'detector: image {i} must be uint8 [H, W, 3] RGB, '
                    f'got {image.dtype} {image.shape}'
                )
            by_size.setdefault(image.shape, []).append(i)
        for indices in by_size.values():
            for i, boxes in zip(
                indices, self._in_batches([images[i] for i in indices]), strict=False
            ):
                found[i] = boxes
        return [detections for detections in found if detections is not None]

    def _start(self) -> dict[int, Any]:
        """Build the network on the device and return its class names; raises ModelError.

        A missing runtime for an exported model shows here, not in the first window of a running
        robot.
        """
        probe = [np.zeros((64, 64, 3), np.uint8)]
        try:
            try:
                self._predict(probe)
            except Exception:
                # Without metadata ultralytics takes any export for one of 640 pixels, batch 1.
                self._fixed_batch, size = fixed_shape(self.path)
                if self._fixed_batch > 1:
                    self._batch = self._fixed_batch
                if size is not None:
                    self._options.setdefault('imgsz', size)
                self._predict(probe)
            backend = self._model.predictor.model
            size = exported_size(backend)
            if size is not None and getattr(backend, 'dynamic', False):
                self._options.setdefault('imgsz', size)
            names: dict[int, Any] = self._model.names
        except Exception as error:
            raise ModelError(
                f'the detector {self.path} was loaded but cannot run on {self.device}: '
                f'{gist(error)}'
            ) from error
        if not getattr(backend, 'metadata', True) and names.get(0) == 'class0':
            _log.warning(
                '%s holds no metadata as Ultralytics exports it: its classes are called class0, '
                'class1, ...; images go in at %s pixels, where image_size sets nothing else',
                self.path, self._options.get('imgsz', 640),
            )  # fmt: skip
        return names

    def _in_batches(self, images: list[np.ndarray]) -> list[Detections]:
        """Run the network in batches as large as it takes, which is found out once."""
        size, done, found = self._batch, 0, []
        while done < len(images):
            batch = images[done : done + size]
            try:
                found += self._predict(batch)
            except Exception as error:
                if len(batch) == 1:
                    raise
                size = len(batch) // 2
                refusal = error
                continue
            done += len(batch)
            if size < self._batch:
                _log.warning(
                    '%s takes at most %d image%s at once (%s)',
                    self.path, size, '' if size == 1 else 's', gist(refusal),
                )  # fmt: skip
                self._batch = size
        return found

    def _predict(self, images: list[np.ndarray]) -> list[Detections]:
        """Run the network on uint8 [H, W, 3] RGB images of one size."""
        # ultralytics takes arrays for what cv2.imread returns: BGR.
        bgr = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        bgr += [bgr[-1]] * (self._fixed_batch - len(bgr))
        results = self._model.predict(bgr, **self._options)[: len(images)]
        return [
            Detections(
                result.boxes.xyxy.float().cpu().numpy(),
                result.boxes.cls.cpu().numpy(),
                result.boxes.conf.float().cpu().numpy(),
            )
            for result in results
        ]

    def _class_ids(self, classes: Sequence[int | str]) -> list[int]:
        """Translate names and ids to ids; raises ConfigError that lists what the model knows."""
        names = self.class_names
        ids: list[int] = []
        for wanted in [classes] if isinstance(classes, (int, str)) else classes:
            text = str(wanted).strip()
            # A class may be named '1': names go first.
            found = []
            if isinstance(wanted, str):
                found = [key for key, name in names.items() if name == text] or [
                    key for key, name in names.items() if name.casefold() == text.casefold()
                ]
            if not found and text.isdecimal() and int(text) in names:
                found = [int(text)]
            if not found:
                known = [f'{key} {name}' for key, name in names.items()]
                more = f' and {len(known) - 20} more' if len(known) > 20 else ''
                raise ConfigError(
                    f'classes: {self.path.name} knows no class {wanted!r}; '
                    f'it knows {", ".join(known[:20])}{more}'
                )
            ids += found
        if not ids:
            raise ConfigError('classes is empty: leave it out to keep all classes')
        return sorted(set(ids))

    def _check_names(self, kept: Sequence[int]) -> None:
        """Raise ModelError for kept classes without a name of their own; drop other such names."""
        owners: dict[str, int] = {}
        faults = []
        for key in [*kept, *(key for key in list(self.class_names) if key not in kept)]:
            name = self.class_names[key]
            fault = name_fault(name)
            if fault is None and owners.setdefault(name, key) != key:
                fault = f'is that of class {owners[name]} too: {name!r:.40}'
            if fault is not None and key in kept:
                faults.append(f'the name of class {key} {fault}')
            elif fault is not None:
                del self.class_names[key]
        if faults:
            more = f'; and {len(faults) - 3} more' if len(faults) > 3 else ''
            raise ModelError(
                f'{self.path}: {"; ".join(faults[:3])}{more}: give the classes of the model other '
                f'names, or leave these out with classes'
            )


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f'{name} must be a number in 0..1, got {value!r}')


def _usable_device(device: str | torch.device | None) -> torch.device:
    """Return the device to run on; raises ModelError when there is no such device."""
    if device is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device {device!r} is unknown; use 'cuda', 'cuda:0' or 'cpu'") from error
    if wanted.type == 'cuda' and (wanted.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"device '{wanted}' was asked for the detector but PyTorch sees "
            f"{torch.cuda.device_count()} CUDA GPU(s); use the device 'cpu', or check the driver"
        )
    return wanted
