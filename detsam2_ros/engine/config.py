# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the method, one line each; the values are validated together."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from detsam2_ros.engine.config_fields import (
    QUALITIES,
    at_least,
    between,
    fraction,
    one_of,
    parameter,
    parameters,
)
from detsam2_ros.results.errors import ConfigError

_log = logging.getLogger(__name__)


# A live parameter may change between two passes: nothing that a stream keeps depends on it.
@dataclass(frozen=True)
class EngineConfig:
    """The parameters of the method; raises ConfigError that names the one to change.

    K, D and M are the letters of the design. The defaults are those of quality exact; see `of`.
    """

    window_size: int = parameter(
        10,
        'K: number of frames in a window. A reverse pass runs when the window is full.',
        at_least(1),
    )
    detect_interval: int = parameter(
        10, 'D: every D-th frame reaches the detector. 0 = none does.', at_least(0), live=True
    )
    max_propagation: int = parameter(
        40, 'M: number of frames that one reverse pass covers, at least K.', at_least(1)
    )
    mode: str = parameter(
        'online',
        "'online' tracks each frame forward and publishes its masks on arrival; reverse passes "
        "correct the frames before a new prompt. 'window', the method of the report, "
        'publishes the masks of a window when the window closes.',
        one_of('window', 'online'),
    )
    windows: str = parameter(
        'aligned',
        "'aligned' ends a window with a frame whose number is a multiple of K. Where D is a "
        'multiple of K, each detection frame ends one, and corrects the past at once. '
        "'plain', as in the report, takes K frames each time, from the first on.",
        one_of('aligned', 'plain'),
    )
    association: str = parameter(
        'instance',
        "'instance' tracks any number of objects of a class. 'class' tracks one object per "
        'class, as the report does.',
        one_of('instance', 'class'),
    )
    match_iou: float = parameter(
        0.3,
        "Minimum IoU of a detection's box with a tracked object's box for the detection to be "
        'of that object.',
        fraction,
        live=True,
    )
    new_object_score: float = parameter(
        0.5, 'Minimum detector score that starts an object.', fraction, live=True
    )
    merge_iou: float = parameter(
        0.6,
        'Two objects of a class are merged when the IoU of their masks is at least this.',
        fraction,
        live=True,
    )
    max_objects: int = parameter(
        32,
        'Maximum number of objects alive at once in a stream, those included that a memory bank '
        'looks for. Further detections are counted and start no object.',
        between(1, 65535),
    )
    max_lost_frames: int = parameter(
        60,
        'An object retires after this many frames without being visible or detected.',
        at_least(1),
        live=True,
    )
    confirm_detections: int = parameter(
        2,
        'Detection frames on which detections must have been an object, the first included, for '
        'it to be confirmed; until then it is tentative. 0 = it is at once.',
        at_least(0),
        live=True,
    )
    confirm_score: float = parameter(
        1.0, 'A detection with at least this score confirms its object.', fraction, live=True
    )
    withdraw_detections: int = parameter(
        3,
        'A tentative object is withdrawn once it was visible on this many detection frames '
        'without being detected.',
        at_least(1),
        live=True,
    )
    max_dormant_objects: int = parameter(
        16,
        'Objects unseen for max_lost_frames that keep their id for their return; the longest '
        'unseen go first. 0 = who returns is new.',
        at_least(0),
    )
    recall_score: float = parameter(
        0.9,
        'A detection that matches no object is a dormant one when that one is found there with at '
        'least this presence probability, and clearly better than the others of its class.',
        fraction,
        live=True,
    )
    max_conditioned_memories: int = parameter(
        4, 'Maximum number of conditioned memories that an object keeps and reads.', at_least(1)
    )
    confirm_iou: float = parameter(
        1.0,
        "A detection starts no pass when the IoU of its box with the tracked mask's box is at "
        'least this and the mask kept its size since the last prompt: it prompts its object for '
        'the frames to come, and the frames before stay. 1 = each detection starts a pass. Mode '
        'online only.',
        fraction,
        live=True,
        balanced=0.9,
    )
    bank_object_score: float = parameter(
        0.8,
        'Minimum presence probability at which an object that only a memory bank knows counts as '
        'seen; see bank_object_frames.',
        fraction,
        live=True,
    )
    bank_object_frames: int = parameter(
        3,
        'An object that only a memory bank knows gets an id and shows up once it was seen on this '
        'many frames in a row, or on M if M is less. In mode online each of these frames is '
        'searched from the bank alone.',
        at_least(1),
        live=True,
    )
    correction_iou: float = parameter(
        1.0,
        'A published mask is corrected when the IoU of the new mask with it is below this. 1 = '
        'when any pixel differs.',
        fraction,
        live=True,
    )
    encode_batch: int = parameter(
        1,
        'Images that are encoded in one batch. 1 = each image is encoded on arrival, which mode '
        'online needs.',
        at_least(1),
    )
    early_stop_iou: float = parameter(
        0.0,
        'A pass ends for an object once it has found early_stop_frames published masks in a row '
        'again, by at least this IoU, before the prompt before the new one. 0 = never, as in '
        'the report.',
        fraction,
        live=True,
        balanced=0.95,
    )
    early_stop_frames: int = parameter(
        3,
        'Masks in a row that must agree before a pass ends early; see early_stop_iou.',
        at_least(1),
        live=True,
    )

    @classmethod
    def of(cls, quality: str, **given: Any) -> EngineConfig:
        """Return the parameters of a quality, one of QUALITIES; those that are given win."""
        one_of(*QUALITIES).check('quality', quality)
        defaults = {name: each.default_of(quality) for name, each in parameters(cls).items()}
        return cls(**{**defaults, **given})

    def __post_init__(self) -> None:
        for name, each in parameters(self).items():
            each.allowed.check(name, getattr(self, name))
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
