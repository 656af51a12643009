# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Installation of the ament_python package detsam2_ros (called by colcon)."""

from glob import glob
from os.path import isfile

from setuptools import find_packages, setup

PACKAGE = 'detsam2_ros'
# The messages too: whoever reads bags needs their definitions, but no built interfaces.
SHIPPED = ('models', 'config', 'launch', 'detsam2_msgs/msg')


def shipped(folder: str) -> tuple[str, list[str]]:
    """Name the files of one folder and where they are installed (share/detsam2_ros/FOLDER)."""
    return f'share/{PACKAGE}/{folder}', sorted(p for p in glob(f'{folder}/*') if isfile(p))


setup(
    name=PACKAGE,
    version='0.1.0',
    description='Video instance segmentation for ROS 2: a detector prompts SAM 2, which corrects '
    'past frames in reverse passes.',
    author='detsam2_ros maintainers',
    maintainer='detsam2_ros maintainers',
    maintainer_email='maintainers@detsam2-ros.example',
    license='Apache-2.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        *[pair for pair in map(shipped, SHIPPED) if pair[1]],
    ],
    install_requires=['setuptools'],
    python_requires='>=3.10',
    extras_require={
        'viewer': ['rerun-sdk>=0.30'],
        'ray': ['ray[data]>=2.40'],
        'supervision': ['supervision>=0.28'],
    },
    zip_safe=False,
    entry_points={
        'console_scripts': [
            'demo_camera = detsam2_ros.programs:demo_camera',
            'demo_recorder = detsam2_ros.programs:demo_recorder',
            'detsam2_node = detsam2_ros.programs:detsam2_node',
            'detsam2_space = detsam2_ros.programs:detsam2_space',
            'detsam2_viewer = detsam2_ros.programs:detsam2_viewer',
            'evaluate = detsam2_ros.programs:evaluate',
            'memory_bank = detsam2_ros.programs:memory_bank',
            'segment_bag = detsam2_ros.programs:segment_bag',
            'segment_video = detsam2_ros.programs:segment_video',
        ],
    },
)
