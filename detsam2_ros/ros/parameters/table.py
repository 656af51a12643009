# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node: name, default, range and meaning, once; no ROS in here."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from detsam2_ros.engine import EngineConfig
from detsam2_ros.engine.bank.bank import DEFAULT_MAX_BANK_BYTES
from detsam2_ros.engine.config import (
    CHANGEABLE,
    CHOICES,
    FRACTIONS,
    WHOLE_RANGES,
    parameter_texts,
)

Value = bool | int | float | str | tuple[str, ...]


@dataclass(frozen=True)
class ParameterSpec:
    """A parameter of the node; its type is that of the default (a tuple: list of strings).

    minimum, maximum: of a number, inclusive; None where there is none. choices: the words that
    a string may be; empty allows any. read_only: set at start only.
    """

    name: str
    default: Value
    description: str
    minimum: int | float | None = None
    maximum: int | float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = True
    unit: str = ''

    @property
    def type_name(self) -> str:
        """The type as ROS 2 tools write it."""
        if isinstance(self.default, tuple):
            return 'string list'
        return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(self.default)]

    @property
    def range_text(self) -> str:
        """What values are allowed, empty when all of the type are."""
        if self.choices:
            return ', '.join(self.choices)
        if self.minimum is None:
            return ''
        unit = f' {self.unit}' if self.unit else ''
        if self.maximum is None:
            return f'>= {self.minimum:g}{unit}'
        return f'{self.minimum:g}..{self.maximum:g}{unit}'


# Where the node differs from EngineConfig, whose defaults are the plain method of the report: a
# robot wants masks at once, and no objects of a memory bank that are not there (docs/banks.md).
_NODE_DEFAULTS: dict[str, Value] = {'mode': 'online', 'bank_object_frames': 3}


def _engine_specs() -> list[ParameterSpec]:
    """Return the parameters of the method, as EngineConfig has them but for _NODE_DEFAULTS."""
    told = {name: _less_its_range(text) for name, text in parameter_texts().items()}
    specs = []
    for field in dataclasses.fields(EngineConfig):
        least: float | None = None
        most: float | None = None
        if field.name in WHOLE_RANGES:
            least, most = WHOLE_RANGES[field.name]
        elif field.name in FRACTIONS:
            least, most = 0.0, 1.0
        specs.append(
            ParameterSpec(
                field.name,
                _NODE_DEFAULTS.get(field.name, field.default),  # type: ignore[arg-type]
                told[field.name],
                least,
                most,
                CHOICES.get(field.name, ()),
                read_only=field.name not in CHANGEABLE,
            )
        )
    return specs


def _less_its_range(text: str) -> str:
    """Return a description as a sentence, without the range at its end."""
    text = re.sub(r', (>= 1|0\.\.1)(?=\.$)', '', text)
    return text[0].upper() + text[1:]


_NODE = [
    ParameterSpec(
        'autostart',
        True,
        'Configure and activate at start, without a lifecycle manager.',
    ),
    ParameterSpec(
        'cameras',
        (),
        'Names of the cameras: [front, rear] subscribes to ~/front/image and ~/rear/image and '
        'publishes under the same names; empty: one camera without a name, ~/image.',
    ),
    ParameterSpec(
        'image_transport',
        'raw',
        'What to subscribe to: sensor_msgs/Image on image, or sensor_msgs/CompressedImage on '
        'image/compressed.',
        choices=('raw', 'compressed'),
    ),
]
_MODELS = [
    ParameterSpec(
        'sam2_model',
        'demo',
        "SAM 2: 'demo' (shipped, small, knows billiard balls only), a Hugging Face id such as "
        "facebook/sam2.1-hiera-small, or the path of a checkpoint of SAM 2's own form (.pt).",
    ),
    ParameterSpec(
        'sam2_config',
        '',
        'Config of a checkpoint file: a .yaml file, or the name of a config of the sam2 package '
        'such as configs/sam2.1/sam2.1_hiera_t.yaml; empty: the .yaml beside the checkpoint, or '
        'what an official file name stands for.',
    ),
    ParameterSpec(
        'detector',
        'yolo',
        'What leads: yolo, the model of detector_model; topic, the detections of another node, '
        'vision_msgs/Detection2DArray on ~/detections, each of which counts; or none, so that '
        'memory banks and prompts through services alone are followed. Without yolo '
        'detect_interval and detector_* have no effect.',
        choices=('yolo', 'topic', 'none'),
    ),
    ParameterSpec(
        'detector_model',
        'demo',
        "YOLO: 'demo' (shipped), the path of a .pt, .onnx or .engine file, or a published name "
        'such as yolo11n.pt; empty: no detector, the memory bank alone is followed. Needs the '
        'package ultralytics (AGPL-3.0).',
    ),
    ParameterSpec(
        'detector_classes',
        (),
        'Class names or ids of the detector to keep; empty keeps all.',
    ),
    ParameterSpec(
        'detector_confidence',
        0.25,
        'Least confidence of a box that the detector reports. An object starts at '
        'new_object_score; boxes below that only prompt objects that are tracked already.',
        0.0,
        1.0,
        read_only=False,
    ),
    ParameterSpec(
        'detector_iou',
        0.7,
        "Threshold of the detector's non-maximum suppression.",
        0.0,
        1.0,
    ),
    ParameterSpec(
        'detector_half',
        True,
        'The detector computes in float16 on a GPU; on a CPU it always computes in float32.',
    ),
    ParameterSpec(
        'device',
        'auto',
        "Where both models run: 'cpu', 'cuda', 'cuda:N', or 'auto' for cuda when there is a GPU "
        'and cpu otherwise.',
    ),
    ParameterSpec(
        'dtype',
        'auto',
        "Of SAM 2's arithmetic; auto is bfloat16 on a GPU and float32 on a CPU.",
        choices=('auto', 'float32', 'bfloat16'),
    ),
]
_RUNNING = [
    ParameterSpec(
        'queue_size',
        20,
        'Frames of one camera that may wait for the inference thread; beyond that the oldest '
        'is dropped and counted.',
        1,
        10000,
        unit='frames',
    ),
    ParameterSpec(
        'max_window_delay',
        3.0,
        'A window is closed when its oldest frame has waited this long, also when the camera '
        'stops: for its masks in mode window, for its corrections in mode online; a prompt that '
        'no frame follows is acted on then; 0: never.',
        0.0,
        3600.0,
        unit='s',
    ),
    ParameterSpec(
        'memory_bank_directory',
        '',
        'Folder of the memory banks; the services cannot leave it. Empty: detsam2_banks in '
        '$ROS_HOME, which is ~/.ros unless set.',
    ),
    ParameterSpec(
        'memory_bank',
        '',
        'Memory bank for all cameras that configure loads, a path inside memory_bank_directory; '
        'empty: none.',
    ),
    ParameterSpec(
        'max_bank_bytes',
        DEFAULT_MAX_BANK_BYTES,
        'A larger bank file is refused before it is read.',
        1,
        unit='bytes',
    ),
    ParameterSpec(
        'overlay',
        True,
        'Draw and publish the overlay topic while somebody subscribes to it.',
        read_only=False,
    ),
    ParameterSpec(
        'diagnostics_period',
        1.0,
        'Time between two messages on /diagnostics.',
        0.1,
        3600.0,
        unit='s',
    ),
    ParameterSpec(
        'stale_after',
        3.0,
        'The diagnostics warn when no image came for this long.',
        0.1,
        3600.0,
        unit='s',
    ),
]

# Title and parameters of each section, in the order of the documentation.
SECTIONS: tuple[tuple[str, tuple[ParameterSpec, ...]], ...] = (
    ('Cameras and start', tuple(_NODE)),
    ('Models', tuple(_MODELS)),
    ('Method', tuple(_engine_specs())),
    ('Queue, memory banks and output', tuple(_RUNNING)),
)
PARAMETERS: dict[str, ParameterSpec] = {spec.name: spec for _, specs in SECTIONS for spec in specs}
# The names of those that can change while the node runs.
RUNTIME: tuple[str, ...] = tuple(s.name for s in PARAMETERS.values() if not s.read_only)
