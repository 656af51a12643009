# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node's cv_bridge and a bag's OpenCV alone: the same pictures."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip('rclpy')

from ros_cases import image_of

from detsam2_ros.messages import pixels
from detsam2_ros.ros.images import to_rgb

pytestmark = pytest.mark.ros


@pytest.mark.parametrize('encoding', sorted(pixels.LAYOUTS))
def test_opencv_alone_gives_the_same(encoding: str) -> None:
    layout = pixels.LAYOUTS[encoding]
    size = 6 * 8 * layout.channels
    values = (np.arange(size) * 7919 % 251).reshape(6, 8, layout.channels)
    if layout.sample_bytes == 2:
        values = values * 251 + 7
    message = image_of(encoding, values.astype(f'u{layout.sample_bytes}'), padding=4)
    assert np.array_equal(to_rgb(message), pixels.to_rgb(message))


@pytest.mark.ros
@pytest.mark.parametrize('module', ['detsam2_ros.ros.images', 'detsam2_ros.demo.camera'])
def test_who_needs_pictures_alone_does_not_load_torch(module):
    program = f'import sys, {module}; print("torch" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.stdout == 'False\n', done.stderr
