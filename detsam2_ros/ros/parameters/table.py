# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node: name, default, range and meaning, once; no ROS in here."""

from __future__ import annotations

from dataclasses import replace

from detsam2_ros.engine import EngineConfig
from detsam2_ros.engine.bank.bank import DEFAULT_MAX_BANK_BYTES
from detsam2_ros.engine.config_fields import QUALITIES, parameters
from detsam2_ros.ros.parameters.spec import AUTOSTART, BOND, DIAGNOSTICS_PERIOD, ParameterSpec


def _engine_specs() -> list[ParameterSpec]:
    """Return the parameters of the method, as the lines of EngineConfig say."""
    return [
        replace(
            ParameterSpec(name, each.default, each.description),
            minimum=each.allowed.minimum,
            maximum=each.allowed.maximum,
            choices=each.allowed.choices,
            read_only=not each.live,
            balanced=each.balanced,
        )
        for name, each in parameters(EngineConfig).items()
    ]


_NODE = [
    AUTOSTART,
    BOND,
    ParameterSpec(
        'cameras',
        (),
        'Names of the cameras. [front, rear] subscribes to ~/front/image and ~/rear/image and '
        'publishes under the same names. Empty: one camera without a name, ~/image.',
    ),
    ParameterSpec(
        'image_transport',
        'raw',
        'Message to subscribe to: sensor_msgs/Image on image, or sensor_msgs/CompressedImage on '
        'image/compressed.',
        choices=('raw', 'compressed'),
    ),
    ParameterSpec(
        'image_reliability',
        'auto',
        'Reliability of the subscription to images. auto: reliable while all publishers of the '
        'topic are, else best effort; it follows publishers that come and go. qos_overrides of '
        'the topic win.',
        choices=('auto', 'reliable', 'best_effort'),
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
        'such as configs/sam2.1/sam2.1_hiera_t.yaml. Empty: the .yaml beside the checkpoint, or '
        'the config that belongs to an official file name.',
    ),
    ParameterSpec(
        'detector',
        'yolo',
        'Source of detections. yolo: the model of detector_model. topic: another node, which '
        'publishes vision_msgs/Detection2DArray on ~/detections; each message counts. none: the '
        'node follows memory banks and prompts through services alone. Without yolo '
        'detect_interval and detector_* have no effect.',
        choices=('yolo', 'topic', 'none'),
    ),
    ParameterSpec(
        'detector_model',
        'demo',
        "YOLO: 'demo' (shipped), the path of a .pt, .onnx or .engine file, or a published name "
        'such as yolo11n.pt. Empty: no detector, the node follows the memory bank alone. Needs '
        'the package ultralytics (AGPL-3.0).',
    ),
    ParameterSpec(
        'detector_classes', (), 'Class names or ids of the detector to keep. Empty keeps all.'
    ),
    ParameterSpec(
        'detector_confidence',
        0.25,
        'Minimum confidence of a box that the detector reports. A box starts an object from '
        'new_object_score on; a box below that only prompts an object that is tracked already.',
        0.0,
        1.0,
        read_only=False,
    ),
    ParameterSpec(
        'detector_iou', 0.7, "Threshold of the detector's non-maximum suppression.", 0.0, 1.0
    ),
    ParameterSpec(
        'detector_image_size',
        0,
        'Longer side of the images that the detector sees, at least 32 and rounded up to a '
        'multiple of 32. 0: that of its training or, for an exported file, of its export.',
        0,
        8192,
        unit='pixels',
    ),
    ParameterSpec(
        'detector_half',
        True,
        'The detector computes in float16 on a GPU. On a CPU it always computes in float32.',
    ),
    ParameterSpec(
        'device',
        'auto',
        "Device of both models: 'cpu', 'cuda', 'cuda:N', or 'auto' for cuda when there is a GPU "
        'and cpu otherwise.',
    ),
    ParameterSpec(
        'dtype',
        'auto',
        'Number format in which SAM 2 computes. auto is bfloat16 on a GPU that computes in it, '
        'with quality balanced also on such a CPU, else float32.',
        choices=('auto', 'float32', 'bfloat16'),
    ),
    ParameterSpec(
        'cpu_threads',
        0,
        'Threads on which PyTorch and OpenCV compute on the CPU. 0 = OMP_NUM_THREADS where that '
        'is set, otherwise half of the cores that the process may use, so that inference leaves '
        'room for other processes; at least 1, and 2 for a model of 512 pixels or more. Matters '
        'little where the device is a GPU.',
        0,
        1024,
    ),
]
_METHOD = [
    ParameterSpec(
        'quality',
        'balanced',
        'exact runs every pass in full. balanced leaves out work where that hardly changes masks: '
        'it gives some parameters another default, as their lines say. A parameter that is set '
        'by itself wins. dtype follows when the node is configured.',
        choices=QUALITIES,
        read_only=False,
    ),
    *_engine_specs(),
]
_RUNNING = [
    ParameterSpec(
        'queue_size',
        0,
        'Maximum number of frames of one camera that wait for the inference thread. Beyond that '
        'the oldest frame is dropped and counted. 0 = by mode. In mode window that is 20: frames '
        'wait for their window anyway. In mode online it is 2, and the freshest frame counts: '
        'once one had to be dropped, the newest one is next.',
        0,
        10000,
        unit='frames',
    ),
    ParameterSpec(
        'max_window_delay',
        3.0,
        'A window that is not full is closed when its oldest frame has waited this long, also '
        'when the camera stops. The frames get masks then in mode window, corrections in mode '
        'online, and a prompt that no frame follows takes effect. 0 = never.',
        0.0,
        3600.0,
        unit='s',
    ),
    ParameterSpec(
        'memory_bank_directory',
        '',
        'Folder of the memory banks. The services cannot leave this folder. Empty: '
        'detsam2_banks in $ROS_HOME, which is ~/.ros unless set.',
    ),
    ParameterSpec(
        'memory_bank',
        '',
        'Memory bank that is loaded for all cameras when the node is configured, a path inside '
        'memory_bank_directory. Empty: none.',
    ),
    ParameterSpec(
        'max_bank_bytes',
        DEFAULT_MAX_BANK_BYTES,
        'Maximum size of a bank file. A larger file is refused before it is read.',
        1,
        unit='bytes',
    ),
    ParameterSpec(
        'overlay',
        True,
        'Draw and publish the overlay topic while somebody subscribes to it.',
        read_only=False,
    ),
    DIAGNOSTICS_PERIOD,
    ParameterSpec(
        'stale_after',
        3.0,
        'Diagnostics and log explain why, when no image could be used for this long.',
        0.1,
        3600.0,
        unit='s',
    ),
]

# Title and parameters of each section, in the order of the documentation.
SECTIONS: tuple[tuple[str, tuple[ParameterSpec, ...]], ...] = (
    ('Cameras and start', tuple(_NODE)),
    ('Models', tuple(_MODELS)),
    ('Method', tuple(_METHOD)),
    ('Queue, memory banks and output', tuple(_RUNNING)),
)
PARAMETERS: dict[str, ParameterSpec] = {spec.name: spec for _, specs in SECTIONS for spec in specs}
# The names of the parameters that can change while the node runs.
RUNTIME: tuple[str, ...] = tuple(s.name for s in PARAMETERS.values() if not s.read_only)
# Those whose default depends on the quality.
BY_QUALITY: tuple[str, ...] = tuple(s.name for s in PARAMETERS.values() if s.balanced is not None)
