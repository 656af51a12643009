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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from detsam2_ros.paths import shared_file
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.errors import ConfigError, ModelError

_log = logging.getLogger(__name__)

# A window of many detection frames is split, so that its size never decides about memory.
_BATCH = 16
# Tasks whose results carry upright boxes.
_TASKS = ('detect', 'segment', 'pose')


class YoloDetector:
    """Finds boxes with a YOLO model; a Detector (design: detection frames of a window at once).

    weights: a `.pt` file, an exported `.onnx` or `.engine` file, 'demo' for the small model
    that is shipped, or the name of a model that Ultralytics publishes ('yolo11n.pt'), which is
    downloaded once into torch's cache folder. classes: names or ids to keep; None keeps all.
    confidence, iou: thresholds of detection and of non-maximum suppression, 0..1. device: a
    torch device; None takes CUDA when there is one. half: float16; None takes it on CUDA.
    image_size: longer side in pixels that the network sees; None takes that of the training.
    max_detections: most boxes an image. Needs `ultralytics` (AGPL-3.0). Raises ModelError when
    the package or the model is missing or not usable, ConfigError for a bad parameter.
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
        if image_size is not None and image_size < 32:
            raise ConfigError(f'image_size must be >= 32 pixels, got {image_size!r}')
        self.device = _usable_device(device)
        if half is None:
            half = self.device.type == 'cuda'

        with _undisturbed():
            yolo_class = _ultralytics()
            self.path = _find(weights)
            self._model = _load(yolo_class, self.path)
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
                self._options.update(_half_option())
            if image_size is not None:
                self._options['imgsz'] = image_size
            # The first call builds the network on the device. A missing runtime for an exported
            # model shows here, not in the first window of a running robot.
            try:
                self._predict([np.zeros((64, 64, 3), np.uint8)])
                names = self._model.names
            except Exception as error:
                raise ModelError(
                    f'the detector {self.path} was loaded but cannot run on {self.device}: '
                    f'{_first_line(error)}'
                ) from error
        self.class_names = {int(key): str(name) for key, name in names.items()}
        if classes is not None:
            self._options['classes'] = self._class_ids(classes)

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
            for start in range(0, len(indices), _BATCH):
                chunk = indices[start : start + _BATCH]
                for i, boxes in zip(
                    chunk, self._predict([images[i] for i in chunk]), strict=False
                ):
                    found[i] = boxes
        return [detections for detections in found if detections is not None]

    def _predict(self, images: list[np.ndarray]) -> list[Detections]:
        """Run the network on uint8 [H, W, 3] RGB images of one size."""
        # ultralytics takes arrays for what cv2.imread returns: BGR.
        bgr = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        results = self._model.predict(bgr, **self._options)
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
        by_name = {name.casefold(): key for key, name in self.class_names.items()}
        ids: list[int] = []
        for wanted in [classes] if isinstance(classes, (int, str)) else classes:
            text = str(wanted).strip()
            # A class may be named '1': names go first.
            key = by_name.get(text.casefold()) if isinstance(wanted, str) else None
            if key is None and text.isdecimal() and int(text) in self.class_names:
                key = int(text)
            if key is None:
                known = [f'{key} {name}' for key, name in self.class_names.items()]
                more = f' and {len(known) - 20} more' if len(known) > 20 else ''
                raise ConfigError(
                    f'classes: {self.path.name} knows no class {wanted!r}; '
                    f'it knows {", ".join(known[:20])}{more}'
                )
            ids.append(key)
        if not ids:
            raise ConfigError('classes is empty: leave it out to keep all classes')
        return sorted(set(ids))


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
            f"{torch.cuda.device_count()} CUDA GPU(s); use device='cpu', or check the driver"
        )
    return wanted


def _ultralytics() -> type:
    """Import ultralytics and return its YOLO class; switches its telemetry and logging off."""
    # Read at import only: no log lines, no `pip install` behind the back of a robot, and weights
    # are unpickled with an allow-list of known classes. A user's own setting stands.
    for name, value in (
        ('YOLO_VERBOSE', 'false'),
        ('YOLO_AUTOINSTALL', 'false'),
        ('ULTRALYTICS_SAFE_LOAD', 'true'),
    ):
        os.environ.setdefault(name, value)
    try:
        from ultralytics import YOLO
        from ultralytics.utils import LOGGER, SETTINGS
    except ImportError as error:
        raise ModelError(
            'the YOLO detector needs the package ultralytics (AGPL-3.0): pip install '
            f'ultralytics-opencv-headless, or use another detector ({_first_line(error)})'
        ) from error
    LOGGER.setLevel(logging.ERROR)
    # Usage statistics off for this process; the user's settings file stays as it is.
    dict.__setitem__(SETTINGS, 'sync', False)
    try:
        from ultralytics.utils.events import events
    except ImportError:
        pass  # older versions keep them elsewhere, and ask SETTINGS when it is imported
    else:
        events.enabled = False
    return YOLO  # type: ignore[no-any-return]


def _find(weights: str | os.PathLike[str]) -> Path:
    """Return the file of a model, downloaded if Ultralytics publishes one of that name."""
    text = os.fspath(weights)
    if text == 'demo':
        try:
            return shared_file('models/detsam2_demo_yolo.pt')
        except FileNotFoundError as error:
            raise ModelError(f"the shipped detector 'demo' is not installed: {error}") from error
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise ModelError(f'detector weights {path} is a folder; give a .pt, .onnx or .engine file')
    from ultralytics.utils import downloads

    published: frozenset[str] = getattr(downloads, 'GITHUB_ASSETS_NAMES', frozenset())
    if path.name != text or text not in published:
        raise ModelError(
            f'detector weights {path} do not exist, and are no model that Ultralytics publishes '
            "(such as yolo11n.pt); give the path of a file, or 'demo' for the shipped one"
        )
    # Not into the working directory, where ultralytics would put it.
    cached = Path(torch.hub.get_dir()) / 'checkpoints' / text
    if not cached.is_file():
        _log.info('downloading %s to %s', text, cached)
        cause = 'no such file came'
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            downloads.attempt_download_asset(cached, progress=False)
        except Exception as error:
            cause = _first_line(error)
        if not cached.is_file():
            raise ModelError(
                f'detector weights {text} are not here and could not be downloaded ({cause}); '
                f'fetch the file elsewhere and give its path, or copy it to {cached}'
            )
    return cached


def _load(yolo_class: type, path: Path) -> Any:
    """Open a model file with ultralytics; raises ModelError that names it."""
    if path.suffix.lower() not in ('.pt', '.onnx', '.engine'):
        raise ModelError(f'detector weights {path} must be a .pt, .onnx or .engine file')
    try:
        model = yolo_class(str(path))
    except Exception as error:
        raise ModelError(
            f'{path} is not a YOLO model that ultralytics can read ({_first_line(error)}); '
            'give an Ultralytics YOLO .pt, .onnx or .engine file'
        ) from error
    if model.task not in _TASKS:
        raise ModelError(
            f'{path} is a YOLO model for {model.task}, which gives no boxes; '
            f'use one for {", ".join(_TASKS)}'
        )
    return model


def _half_option() -> dict[str, Any]:
    """Return how this version of ultralytics is asked for half precision."""
    from ultralytics.utils import DEFAULT_CFG_DICT

    return {'half': True} if 'half' in DEFAULT_CFG_DICT else {'quantize': 16}


def _first_line(error: BaseException) -> str:
    """Return the gist of an error, without the advice and emojis of longer texts."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].encode('ascii', 'ignore').decode().replace('ERROR ', '').strip()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep what ultralytics sets for the whole process as it was.

    On import and on choosing a device it sets the number of torch and OpenCV threads, numpy's
    print format and variables such as OMP_NUM_THREADS: SAM 2 in the same process would lose cores.
    """
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    printing, environment = np.get_printoptions(), dict(os.environ)
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if cv2.getNumThreads() != cv_threads:
            cv2.setNumThreads(cv_threads)
        if np.get_printoptions() != printing:
            np.set_printoptions(**printing)
        if dict(os.environ) != environment:
            for name in set(os.environ) - set(environment):
                del os.environ[name]
            os.environ.update(environment)
