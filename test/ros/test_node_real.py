# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The program as it is installed, with the shipped models, against the engine alone."""

import sys

import pytest
from node_running import SECOND
from node_scenes import check_same, check_timeline

from detsam2_ros.engine import Engine, EngineConfig, YoloDetector, load_sam2
from detsam2_ros.scene.scene import Scene

pytestmark = [pytest.mark.ros, pytest.mark.slow]
pytest_plugins = ['node_fixtures']


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_shipped_models_give_the_same_masks_as_without_the_node(start, mode):
    method = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'mode': mode}
    node = start(command=[sys.executable, '-m', 'detsam2_ros.ros.node'], device='cpu', **method)
    frames = [frame.image for frame in Scene(1, 160, 120, 10)]
    stamps = node.camera.stream(frames, ahead=8 if mode == 'window' else 1)
    node.finish()
    stream = Engine(
        load_sam2('demo', None, 'cpu', None), YoloDetector('demo', device='cpu'),
        EngineConfig(**method)).open_stream('camera')
    results = []
    for stamp, image in zip(stamps, frames, strict=True):
        results += stream.push(image, stamp)
    results += stream.flush()
    node.camera.corrections.wait(sum(result.revision > 0 for result in results))
    if mode == 'window':
        check_same(node.camera, results)
    else:  # masks may come before the corrections of the frames before them
        check_timeline(node.camera, results)
    assert node.camera.objects.messages[-1].ids
    assert stamps[0] == SECOND
    loaded = node.process.lines('is loaded')
    assert len(loaded) == 2 and all(' s' in line for line in loaded)
