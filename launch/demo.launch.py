# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""See it work without a camera: a rendered scene, the node, and a recorder that writes a video.

When the scene ends the node is deactivated, which publishes the masks of unfinished windows. Then
the recorder writes its files, and the launch ends.
"""

from __future__ import annotations

import os

from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare
from lifecycle_msgs.msg import Transition

# As in detsam2.launch.py, which gives the reason.
TRANSPORTS = 'FASTDDS_BUILTIN_TRANSPORTS'
TRANSPORTS_DEFAULT = 'DEFAULT?sockets_size=8MB'


def arguments() -> list[DeclareLaunchArgument]:
    """Declare everything that can be set from the command line."""
    return [
        DeclareLaunchArgument(
            'output', default_value='demo_out', description='Folder for what the recorder writes.'
        ),
        DeclareLaunchArgument(
            'length', default_value='240', description='How many frames the scene has.'
        ),
        DeclareLaunchArgument(
            'rate', default_value='10.0', description='Frames a second of the scene.'
        ),
        DeclareLaunchArgument(
            'size', default_value='512', description='Width and height of the frames in pixels.'
        ),
        DeclareLaunchArgument(
            'seed', default_value='1000012', description='Seed of the scene.'
        ),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution(
                [FindPackageShare('detsam2_ros'), 'config', 'demo.yaml']
            ),
            description='YAML file with the parameters of the node.',
        ),
        DeclareLaunchArgument(
            'log_level', default_value='info', description='debug, info, warn, error or fatal.'
        ),
    ]


def number(name: str, kind: type) -> ParameterValue:
    """Return an argument as a number."""
    return ParameterValue(LaunchConfiguration(name), value_type=kind)


def generate_launch_description() -> LaunchDescription:
    log_level = ['--log-level', LaunchConfiguration('log_level')]
    camera = Node(
        package='detsam2_ros',
        executable='demo_camera',
        namespace='camera',
        parameters=[
            {
                'length': number('length', int),
                'rate': number('rate', float),
                'width': number('size', int),
                'height': number('size', int),
                'seed': number('seed', int),
                # The recorder and the node, which subscribes after its models are loaded.
                'wait_for_subscribers': 2,
            }
        ],
        ros_arguments=log_level,
        output='screen',
    )
    node = LifecycleNode(
        package='detsam2_ros',
        executable='detsam2_node',
        name='detsam2',
        namespace='',
        parameters=[
            ParameterFile(LaunchConfiguration('params_file')),
            # Every frame counts here, also where large images are lost: see docs/transport.md.
            {'qos_overrides./camera/image.subscription.reliability': 'reliable'},
        ],
        remappings=[('~/image', '/camera/image')],
        ros_arguments=log_level,
        output='screen',
        sigterm_timeout='10',
    )
    recorder = Node(
        package='detsam2_ros',
        executable='demo_recorder',
        parameters=[
            {
                'output': ParameterValue(LaunchConfiguration('output'), value_type=str),
                'video_rate': number('rate', float),
                'phase': 'the scene',
            }
        ],
        remappings=[
            ('image', '/camera/image'),
            ('truth', '/camera/truth'),
            ('truth_objects', '/camera/truth_objects'),
            ('masks', '/detsam2/masks'),
            ('objects', '/detsam2/objects'),
            ('corrections', '/detsam2/corrections'),
        ],
        ros_arguments=log_level,
        output='screen',
        # Writing the last frames and the report takes a while.
        sigterm_timeout='60',
        sigkill_timeout='60',
    )
    finish = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state='deactivating',
            goal_state='inactive',
            entities=[
                EmitEvent(event=ShutdownProcess(process_matcher=matches_action(recorder)))
            ],
        )
    )

    def after_camera(event: ProcessExited, context: LaunchContext) -> list[Action]:
        if context.is_shutdown:
            return []
        if event.returncode:
            return [EmitEvent(event=Shutdown(reason='the scene failed'))]
        deactivate = ChangeState(
            lifecycle_node_matcher=matches_action(node),
            transition_id=Transition.TRANSITION_DEACTIVATE,
        )
        return [LogInfo(msg='The scene is over.'), EmitEvent(event=deactivate)]

    def after_recorder(event: ProcessExited, context: LaunchContext) -> list[Action]:
        if context.is_shutdown:
            return []
        if event.returncode:
            return [EmitEvent(event=Shutdown(reason='the recorder failed'))]
        output = LaunchConfiguration('output').perform(context)
        return [
            LogInfo(msg=f'The demo is over: see {output}'),
            EmitEvent(event=Shutdown(reason='the demo is over')),
        ]

    def after_node(event: ProcessExited, context: LaunchContext) -> list[Action]:
        if context.is_shutdown:
            return []
        return [EmitEvent(event=Shutdown(reason='the node ended'))]

    # With a thread on every core, inference would wait for the cores that camera and recorder use.
    threads = str(min(4, max(1, (os.cpu_count() or 2) // 2)))
    return LaunchDescription(
        [
            *arguments(),
            SetEnvironmentVariable(
                TRANSPORTS, EnvironmentVariable(TRANSPORTS, default_value=TRANSPORTS_DEFAULT)
            ),
            SetEnvironmentVariable(
                'OMP_NUM_THREADS', EnvironmentVariable('OMP_NUM_THREADS', default_value=threads)
            ),
            finish,
            RegisterEventHandler(OnProcessExit(target_action=camera, on_exit=after_camera)),
            RegisterEventHandler(OnProcessExit(target_action=recorder, on_exit=after_recorder)),
            RegisterEventHandler(OnProcessExit(target_action=node, on_exit=after_node)),
            camera,
            node,
            recorder,
        ]
    )
