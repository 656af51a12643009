# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Start the detsam2 node on one or several cameras, and detsam2_space beside it if asked to.

An argument that names a parameter of the node overrides the parameter file only when it is given:
'' stands for "not given". `ros2 launch detsam2_ros detsam2.launch.py --show-args` lists them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import EnvironmentVariable, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
# Shared memory segments of 16 MB instead of 0.5 MB: with those, most large images are lost. Unlike
# LARGE_DATA it leaves the node visible to participants without it; see docs/transport.md.
TRANSPORTS_DEFAULT = 'DEFAULT?sockets_size=8MB'

# Arguments that override a parameter of the same name, and the type that the parameter has.
OVERRIDES: dict[str, type] = {
    'autostart': bool,
    'bond': bool,
    'use_sim_time': bool,
    'image_transport': str,
    'image_reliability': str,
    'sam2_model': str,
    'detector': str,
    'detector_model': str,
    'device': str,
    'mode': str,
    'quality': str,
    'window_size': int,
    'detect_interval': int,
    'max_propagation': int,
    'memory_bank_directory': str,
}
# Those of them that the node detsam2_space has too, and those that it alone has.
SHARED = ('autostart', 'bond', 'use_sim_time', 'window_size', 'max_propagation')
OF_SPACE: dict[str, type] = {'depth_transport': str, 'rectified': bool}


def arguments() -> list[DeclareLaunchArgument]:
    """Declare everything that can be set from the command line."""
    return [
        DeclareLaunchArgument(
            'namespace', default_value='', description='Namespace of the node, such as robot1.'
        ),
        DeclareLaunchArgument('name', default_value='detsam2', description='Name of the node.'),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution(
                [FindPackageShare('detsam2_ros'), 'config', 'detsam2.yaml']
            ),
            description='YAML file with the parameters of the node.',
        ),
        DeclareLaunchArgument(
            'cameras',
            default_value='',
            description='Names of several cameras, separated by commas: front,rear. '
            "'' = one camera without a name, or those of the parameter file.",
        ),
        DeclareLaunchArgument(
            'image',
            default_value='',
            description='Image topic to subscribe to; with several cameras one for each, '
            "separated by commas in the order of 'cameras'. '' = ~/image, or ~/CAMERA/image. "
            "With image_transport compressed give the topic without '/compressed'.",
        ),
        DeclareLaunchArgument(
            'image_transport',
            default_value='',
            description="'raw' (sensor_msgs/Image) or 'compressed' (sensor_msgs/CompressedImage).",
        ),
        DeclareLaunchArgument(
            'image_reliability',
            default_value='',
            description="Of the subscription to images: 'auto' as their publishers offer, "
            "'reliable' or 'best_effort'.",
        ),
        DeclareLaunchArgument(
            'sam2_model',
            default_value='',
            description='SAM 2: an id such as facebook/sam2.1-hiera-tiny, the path of a '
            "checkpoint, or 'demo'.",
        ),
        DeclareLaunchArgument(
            'detector',
            default_value='',
            description="Detection source: 'yolo' (detector_model), 'topic' (another node) "
            "or 'none' (memory banks and prompts).",
        ),
        DeclareLaunchArgument(
            'detections',
            default_value='',
            description="With detector 'topic': the other node's topic (Detection2DArray); with "
            "several cameras one for each, as in 'image'. '' = ~/detections, or "
            '~/CAMERA/detections.',
        ),
        DeclareLaunchArgument(
            'detector_model',
            default_value='',
            description="YOLO weights: a path, an official name such as yolo11n.pt, or 'demo'.",
        ),
        DeclareLaunchArgument(
            'device',
            default_value='',
            description="Where inference runs: 'auto', 'cpu', 'cuda' or 'cuda:N'.",
        ),
        DeclareLaunchArgument(
            'mode',
            default_value='',
            description="'online': masks as each frame arrives, corrected when its window closes; "
            "'window': masks when the window closes.",
        ),
        DeclareLaunchArgument(
            'quality',
            default_value='',
            description="'balanced': leaves out work that changes masks little; 'exact': the "
            'plain method.',
        ),
        DeclareLaunchArgument(
            'window_size',
            default_value='',
            description='K: how many frames make a window, which a pass closes.',
        ),
        DeclareLaunchArgument(
            'detect_interval',
            default_value='',
            description='D: every D-th frame reaches the detector; 0 = never.',
        ),
        DeclareLaunchArgument(
            'max_propagation',
            default_value='',
            description='M: how many frames back from the newest one a pass corrects.',
        ),
        *space_arguments(),
        DeclareLaunchArgument(
            'memory_bank_directory',
            default_value='',
            description='Folder that the memory bank services read and write.',
        ),
        DeclareLaunchArgument(
            'autostart',
            default_value='',
            description="'true': the node configures and activates itself; 'false': a lifecycle "
            'manager or ros2 lifecycle does.',
        ),
        DeclareLaunchArgument(
            'bond',
            default_value='',
            description="'true': keep a bond with nav2's lifecycle manager; needs bondpy.",
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='',
            description="'true': time comes from /clock (simulation, ros2 bag play --clock).",
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            description='debug, info, warn, error or fatal; NAME:=debug for one logger only.',
        ),
        DeclareLaunchArgument(
            'respawn',
            default_value='false',
            description="'true': start the node again, 2 s after its process ended.",
        ),
    ]


def space_arguments() -> list[DeclareLaunchArgument]:
    """Declare what is about the node detsam2_space."""
    return [
        DeclareLaunchArgument(
            'space',
            default_value='false',
            description="'true': start detsam2_space too, which says where the objects are.",
        ),
        DeclareLaunchArgument(
            'depth',
            default_value='',
            description='Depth topic, registered to the image; with several cameras one for each, '
            "as in 'image'. '' = ~/depth, or ~/CAMERA/depth, of detsam2_space.",
        ),
        DeclareLaunchArgument(
            'camera_info',
            default_value='',
            description="Calibration of the image, as 'depth'.",
        ),
        DeclareLaunchArgument(
            'depth_transport',
            default_value='',
            description="'raw', 'compressed' or 'compressedDepth', the latter two as PNG.",
        ),
        DeclareLaunchArgument(
            'rectified',
            default_value='',
            description="'true': image and depth are rectified, so P of camera_info holds.",
        ),
    ]


def listed(text: str) -> list[str]:
    """Split a comma separated argument."""
    return [part.strip() for part in text.split(',') if part.strip()]


def converted(name: str, text: str, kind: type) -> Any:
    """Read an argument as the type of its parameter; raises ValueError with a sentence."""
    if kind is bool:
        if text.lower() not in ('true', 'false', '1', '0'):
            raise ValueError(f"launch argument '{name}' must be true or false, got '{text}'")
        return text.lower() in ('true', '1')
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(
                f"launch argument '{name}' must be a whole number, got '{text}'"
            ) from None
    return text


def remappings(
    cameras: list[str],
    given: Mapping[str, str],
    names: tuple[str, ...] = ('image', 'detections'),
) -> list[tuple[str, str]]:
    """Connect a node's inputs, images raw and compressed; raises ValueError with a sentence."""
    pairs = []
    for name in names:
        topics = listed(given[name])
        inputs = [f'~/{camera}/{name}' for camera in cameras] or [f'~/{name}']
        if topics and len(topics) != len(inputs):
            raise ValueError(
                f"launch argument '{name}' names {len(topics)} topics ({', '.join(topics)}) for "
                f"{len(inputs)} cameras; name the cameras with 'cameras', one for each topic"
            )
        for own, topic in zip(inputs, topics):  # noqa: B905
            pairs.append((own, topic))
            if name == 'image':
                pairs.append((f'{own}/compressed', f'{topic}/compressed'))
    return pairs


def overrides(given: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the parameters that arguments override, those that are given."""
    cameras = listed(given['cameras'])
    found: dict[str, Any] = {'cameras': cameras} if cameras else {}
    for name, kind in kinds.items():
        if given[name]:
            value = converted(name, given[name], kind)
            # Text stays text, also where it looks like a number.
            found[name] = ParameterValue(value, value_type=str) if kind is str else value
    return found


def start_space(context: LaunchContext) -> list[LifecycleNode]:
    """Make the node detsam2_space, if asked to."""
    given = context.launch_configurations
    if not converted('space', given['space'], bool):
        return []
    kinds = {**{name: OVERRIDES[name] for name in SHARED}, **OF_SPACE}
    own = {'detsam2': ParameterValue(given['name'], value_type=str), **overrides(given, kinds)}
    return [
        LifecycleNode(
            package='detsam2_ros',
            executable='detsam2_space',
            name=f'{given["name"]}_space',
            namespace=given['namespace'],
            parameters=[ParameterFile(Path(given['params_file']).expanduser()), own],
            remappings=remappings(listed(given['cameras']), given, ('depth', 'camera_info')),
            ros_arguments=['--log-level', given['log_level']],
            respawn=converted('respawn', given['respawn'], bool),
            respawn_delay=2.0,
            output='screen',
            emulate_tty=True,
        )
    ]


def start_node(context: LaunchContext) -> list[LifecycleNode]:
    """Make the node from the arguments, once their values are known."""
    given = context.launch_configurations
    params_file = Path(given['params_file']).expanduser()
    if not params_file.is_file():
        # launch_ros only warns, and the node would run with the defaults.
        raise FileNotFoundError(f"launch argument 'params_file': there is no file {params_file}")
    cameras = listed(given['cameras'])
    return [
        LifecycleNode(
            package='detsam2_ros',
            executable='detsam2_node',
            name=given['name'],
            namespace=given['namespace'],
            parameters=[ParameterFile(params_file), overrides(given, OVERRIDES)],
            remappings=remappings(cameras, given),
            ros_arguments=['--log-level', given['log_level']],
            respawn=converted('respawn', given['respawn'], bool),
            respawn_delay=2.0,
            # It publishes the masks of unfinished windows, which takes time on a loaded machine.
            sigterm_timeout='10',
            output='screen',
            emulate_tty=True,
        )
    ]


def generate_launch_description() -> LaunchDescription:
    transports = EnvironmentVariable(TRANSPORTS, default_value=TRANSPORTS_DEFAULT)
    return LaunchDescription(
        [
            *arguments(),
            SetEnvironmentVariable(TRANSPORTS, transports),
            OpaqueFunction(function=start_node),
            OpaqueFunction(function=start_space),
        ]
    )
