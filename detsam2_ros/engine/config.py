# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the method, with range and default, validated together."""

from __future__ import annotations

import inspect
import logging
import math
import re
from dataclasses import dataclass

from detsam2_ros.results.errors import ConfigError

_log = logging.getLogger(__name__)

MODES = ('window', 'online')
ASSOCIATIONS = ('instance', 'class')
CHOICES = {'mode': MODES, 'association': ASSOCIATIONS}
# Least and greatest value of each number, the greatest None where there is none.
WHOLE_RANGES: dict[str, tuple[int, int | None]] = {
    'window_size': (1, None),
    'detect_interval': (0, None),
    'max_propagation': (1, None),
    'max_objects': (1, 65535),
    'max_lost_frames': (1, None),
    'max_conditioned_memories': (1, None),
    'encode_batch': (1, None),
    'early_stop_frames': (1, None),
    'bank_object_frames': (1, None),
}
FRACTIONS = (
    'match_iou', 'new_object_score', 'merge_iou', 'correction_iou', 'early_stop_iou',
    'confirm_iou', 'bank_object_score',
)  # fmt: skip
# What may change between two passes of a running stream: nothing kept depends on it.
CHANGEABLE = (
    'detect_interval', 'max_lost_frames', 'early_stop_frames', 'bank_object_frames', *FRACTIONS,
)


@dataclass(frozen=True)
class EngineConfig:
    """The parameters of the method (design: K, D, M); raises ConfigError naming the parameter.

    window_size: K, frames that accumulate before inference, >= 1.
    detect_interval: D, every D-th frame reaches the detector; 0 = never.
    max_propagation: M >= K, frames that one reverse pass covers.
    mode: 'window', the report's method: masks come when their window closes. 'online': each frame
    is tracked forward and published on arrival; passes correct what lies before a new prompt.
    association: 'instance', or 'class' for the report's one object per class.
    match_iou: least IoU of a detection with a tracked object's box to be that object, 0..1.
    new_object_score: least detector score that starts an object, 0..1.
    merge_iou: two objects of a class whose masks overlap at least this much are one, 0..1.
    max_objects: objects alive at once in a stream; further detections are counted, not taken.
    max_lost_frames: an object retires after so many frames unseen and undetected.
    max_conditioned_memories: conditioned memories that an object keeps and attends to.
    confirm_iou: a detection whose box agrees at least this much with that of the tracked mask
    conditions nothing, it only tells that the object is there; 1 = all condition. For mode online.
    bank_object_score: least presence probability at which an object that only a memory bank knows
    counts as seen, 0..1; see bank_object_frames.
    bank_object_frames: frames in a row on which it must be seen so before it gets an id and shows
    up; M where that is less. In mode online each of them is searched anew, from the bank alone.
    correction_iou: a past mask is corrected when the IoU with its published one is below
    this; 1 = when any pixel differs.
    encode_batch: images that are encoded in one batch; 1 encodes each on arrival, and mode
    online needs that.
    early_stop_iou: a pass ends for an object when it finds early_stop_frames published masks
    in a row again, with at least this IoU; 0 = never, the plain method.
    early_stop_frames: see early_stop_iou.
    """

    window_size: int = 10
    detect_interval: int = 10
    max_propagation: int = 20
    mode: str = 'window'
    association: str = 'instance'
    match_iou: float = 0.3
    new_object_score: float = 0.5
    merge_iou: float = 0.6
    max_objects: int = 32
    max_lost_frames: int = 60
    max_conditioned_memories: int = 4
    confirm_iou: float = 1.0
    bank_object_score: float = 0.8
    bank_object_frames: int = 1
    correction_iou: float = 1.0
    encode_batch: int = 1
    early_stop_iou: float = 0.0
    early_stop_frames: int = 3

    def __post_init__(self) -> None:
        for name, (least, most) in WHOLE_RANGES.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f'{name} must be a whole number >= {least}, got {value!r}')
            if most is not None and value > most:
                raise ConfigError(f'{name} must be <= {most}, got {value}')
        for name in FRACTIONS:
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
                or not 0 <= value <= 1
            ):
                raise ConfigError(f'{name} must be a number in 0..1, got {value!r}')
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f'{name} must be one of {", ".join(choices)}, got {getattr(self, name)!r}'
                )
        if self.max_propagation < self.window_size:
            raise ConfigError(
                f'max_propagation ({self.max_propagation}) must be >= window_size '
                f'({self.window_size}): a shorter pass would leave new frames without a mask'
            )
        if self.mode == 'online' and self.encode_batch > 1:
            raise ConfigError(
                f'encode_batch ({self.encode_batch}) must be 1 in mode online: each frame is '
                f'encoded on arrival; or choose mode window'
            )
        if self.max_propagation < 2 * self.window_size:
            _log.warning(
                'max_propagation (%d) is below 2 x window_size (%d): not every frame of the '
                'previous window can be corrected',
                self.max_propagation,
                2 * self.window_size,
            )


def frames_to_be_sure(config: EngineConfig) -> int:
    """Return on how many frames in a row a bank object must be seen: no pass sees more than M."""
    return min(config.bank_object_frames, config.max_propagation)


def parameter_texts() -> dict[str, str]:
    """Return what EngineConfig's docstring says of each parameter, by name."""
    texts: dict[str, str] = {}
    name = ''
    for line in (inspect.getdoc(EngineConfig) or '').splitlines():
        match = re.match(r'(\w+): (.*)', line)
        if match:
            name = match[1]
            texts[name] = match[2]
        elif name and line.strip():
            texts[name] += ' ' + line.strip()
        else:
            name = ''
    return texts
