# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node and objects that are not sure: shown, confirmed or withdrawn; gone, and back."""

from typing import Any

import numpy as np
import pytest
from fakes import scene
from node_colour import colour_engine
from node_running import SECOND, RunningNode
from node_scenes import SIZE, check_same, steady_scene

from detsam2_msgs.msg import ObjectArray
from detsam2_msgs.srv import RemoveObject, SaveMemoryBank
from detsam2_ros.client import ObjectState
from detsam2_ros.engine import EngineConfig, FrameResult, MemoryBank
from detsam2_ros.engine.stream import Stream

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

METHOD: dict[str, Any] = {
    'mode': 'window', 'window_size': 4, 'detect_interval': 4, 'max_propagation': 16,
    'windows': 'plain', 'new_object_score': 0.3, 'withdraw_detections': 2, 'max_lost_frames': 4,
}  # fmt: skip


class Side:
    """A node and an engine without one that are shown the same frames."""

    def __init__(self, node: RunningNode, **config: Any):
        self.node = node
        self.engine = colour_engine(EngineConfig(**{**METHOD, **config}))
        self.stream: Stream = self.engine.open_stream('camera')
        self.results: list[FrameResult] = []
        self._count = self._corrections = self._seen = 0

    def show(self, *images: np.ndarray) -> None:
        """Send images; after each window wait until its pass has corrected what it can."""
        camera, window = self.node.camera, self.engine.config.window_size
        for image in images:
            self._count += 1
            camera.send(image, self._count * SECOND)
            self.results += self.stream.push(image, self._count * SECOND)
            self._corrections += sum(r.revision > 0 for r in self.results[self._seen :])
            self._seen = len(self.results)
            if self._count % window == 0:
                camera.objects.wait(self._count)
                camera.corrections.wait(self._corrections)
                # A pass decides more than it publishes.
                closed = str(self._count // window)
                self.node.wait_status(lambda s, c=closed: s.values['windows'] == c, '')

    def miss(self, confidence: float) -> None:
        """Let the detectors see less from now on."""
        assert all(r.successful for r in self.node.set(detector_confidence=confidence))
        self.engine.detector.confidence = confidence  # type: ignore[union-attr]

    def restart(self) -> list[FrameResult]:
        """Reset the engine's stream; returns the results of the one before."""
        before, self.results, self._seen = self.results + self.stream.flush(), [], 0
        self.stream.reset()
        return before

    def check(self) -> None:
        self.node.finish()
        check_same(self.node.camera, self.results + self.stream.flush())

    def counts(self) -> dict[str, str]:
        """Return the counts of objects in the diagnostics, once all results are out."""
        count = str(self._count)
        camera = self.node.wait_status(lambda s: s.values['published'] == count, '').values
        counts = {**camera, **self.node.status().values}
        return {key.removesuffix('_objects'): value for key, value in counts.items()
                if key.endswith('_objects')}


def away(count: int) -> list[np.ndarray]:
    return [np.zeros((*SIZE, 3), np.uint8)] * count


def at(colour: str, x: float, y: float, count: int = 4) -> list[np.ndarray]:
    return [scene((colour, x, y, 8), size=SIZE)] * count


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_ghost_is_shown_at_once_and_withdrawn(start, mode):
    """The detector sees cyan once and never again, although it is in view."""
    node = start(**{**METHOD, 'mode': mode})
    side = Side(node, mode=mode)
    frames = steady_scene(28, 'red', 'cyan')
    side.show(*frames[:4])
    first = node.camera.objects.messages[0]
    assert dict(zip(first.class_names, first.states, strict=True)) == {
        'red': ObjectArray.TENTATIVE, 'cyan': ObjectArray.TENTATIVE}
    ghost = first.ids[list(first.class_names).index('cyan')]
    assert side.counts() == {
        'tentative': '2', 'confirmed': '0', 'dormant': '0', 'withdrawn': '0', 'recalled': '0'}
    side.miss(0.5)
    side.show(*frames[4:])
    assert side.counts() == {
        'tentative': '0', 'confirmed': '1', 'dormant': '0', 'withdrawn': '1', 'recalled': '0'}
    side.check()
    corrections = node.camera.corrections.messages
    named = {m.frame_index for m in corrections if list(m.withdrawn_ids) == [ghost]}
    shown = {m.frame_index for m in node.camera.objects.messages if ghost in m.ids}
    assert named == shown >= set(range(8))
    for frame in node.camera.timeline.frames():
        assert {thing.state for thing in frame.objects} == {ObjectState.CONFIRMED}
        assert not (frame.labels == ghost).any() and frame.labels.any()
        assert frame.withdrawn_ids == ((ghost,) if frame.index in shown else ())


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_who_returns_keeps_the_id_unless_removed_or_reset(start, tmp_path, mode):
    node = start(**{**METHOD, 'mode': mode}, memory_bank_directory=str(tmp_path))
    side = Side(node, mode=mode)

    def ids() -> list[int]:
        return list(node.camera.objects.messages[-1].ids)

    def saved(dormant: bool) -> int:
        answer = node.call(
            SaveMemoryBank, 'save_memory_bank', path='bank', dormant=dormant, overwrite=True)
        if not answer.success:
            assert answer.message.startswith('nothing to save'), answer
            assert ('1 dormant object would be saved; set dormant' in answer.message) != dormant
            return 0
        bank = MemoryBank.load(tmp_path / 'bank.safetensors')
        assert answer.success and answer.object_count == len(bank.objects()), answer
        return len(bank.objects())

    side.show(*at('red', 20, 20, 8), *away(16))
    assert (ids(), side.counts()['dormant']) == ([], '1')
    assert (saved(False), saved(True)) == (0, 1)
    side.show(*at('red', 70, 40))
    assert ids() == [1]
    counts = side.counts()
    assert (counts['dormant'], counts['recalled']) == ('0', '1')
    side.show(*away(16))
    assert saved(True) == 1
    removed = node.call(RemoveObject, 'remove_object', object_id=1)
    assert removed.success and removed.message == 'object 1 (red) is followed no more'
    side.stream.remove_object(1)
    assert saved(True) == 0
    again = node.call(RemoveObject, 'remove_object', object_id=1)
    assert not again.success and 'has no object 1' in again.message
    side.show(*at('red', 30, 40, 8))
    assert ids() == [2]
    side.show(*away(16))
    assert side.counts()['dormant'] == '1'
    assert node.trigger('reset').success
    before = side.restart()
    side.show(*at('red', 30, 40, 8))
    assert ids() == [3]
    camera = node.wait_status(lambda s: s.values['resets'] == '1', '')
    assert camera.values['dormant_objects'] == '0'
    assert node.status().values['recalled_objects'] == '1'
    node.finish()
    check_same(node.camera, before, side.results + side.stream.flush())


SENTENCE = (
    'max_propagation (7) is too small for window_size (4), detect_interval (4) and '
    'confirm_detections (2): frames become final before later detections confirm or withdraw '
    'their objects, so final frames may show tentative ones; set max_propagation to 8 or more'
)


def test_a_max_propagation_that_is_too_small_is_warned_of(start):
    node = start(max_propagation=7)
    assert len(node.process.lines(SENTENCE)) == 1
    assert all(r.successful for r in node.set(match_iou=0.4))  # of another thing: not said again
    assert all(r.successful for r in node.set(detect_interval=2))
    assert all(r.successful for r in node.set(confirm_detections=4))
    node.process.wait_log('detect_interval (2) and confirm_detections (4)')
    assert node.process.lines('set max_propagation to 10 or more')
    assert all(r.successful for r in node.set(confirm_detections=0))
    assert len(node.process.lines('is too small for window_size')) == 2
