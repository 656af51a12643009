# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""/diagnostics says how the node fares, and what to do where it does not."""

import importlib.util

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_control import DETECTING, ENCODING
from node_graph import quality, wait_until
from node_running import SECOND, RunningNode
from node_scenes import check_same, engine_results, hold, scene, steady_scene

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

OK, WARN, ERROR = (level[0] for level in (
    DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR))


def send(node: RunningNode, count: int, first: int = 1, camera: str | None = None) -> None:
    """Send frames without waiting for masks."""
    side = node.camera if camera is None else node.cameras[camera]
    side.send_all(steady_scene(count, 'red', 'green'), first * SECOND)


def test_what_a_healthy_node_says(start):
    node = start(stale_after=600.0)
    status = node.status()
    assert (status.level, status.message) == (OK, 'active')
    stamp = node.graph.node.get_clock().now().nanoseconds
    for i, image in enumerate(scene(24)):
        if i >= 8:
            node.camera.objects.wait(i - 7)
        node.camera.send(image, stamp + i)
    status = node.wait_status(lambda s: s.values['published'] == '24', '')
    values = status.values
    assert status.level == OK and status.message == 'images are segmented'
    assert values['topic'] == node.camera.input_topic
    assert values['received'] == values['processed'] == '24'
    assert values['waiting'] == values['dropped'] == values['queue'] == values['resets'] == '0'
    assert int(values['corrections']) == len(node.camera.corrections)
    assert 0 < float(values['latency_p50_s']) <= float(values['latency_p99_s']) < 60
    assert 0 <= float(values['last_mask_age_s']) < 60
    engine = node.status().values
    assert engine['frames'] == engine['encodings'] == '24'
    assert engine['passes'] == '6' and engine['device'] == 'cpu'
    assert engine['sam2_model'] == 'demo' and engine['memory_bank'] == 'none'
    assert engine['device_bytes'] == '0'


def test_rates(start):
    node = start()
    seen_in, seen_out = [], []

    def note(status) -> bool:
        count = len(node.camera.sent)
        if count < 400:
            send(node, 4, first=count + 1)
        seen_in.append(float(status.values['rate_in_hz']))
        seen_out.append(float(status.values['rate_out_hz']))
        return seen_in[-1] > 0 and seen_out[-1] > 0

    node.wait_status(note, '')
    node.finish()
    status = node.status('')
    assert status.values['rate_in_hz'] == status.values['rate_out_hz'] == '0.0'


def test_nobody_publishes(start, graph):
    node = start(stale_after=0.3)
    graph.node.destroy_publisher(node.camera.publisher)
    status = node.wait_status(lambda s: s.level == WARN, '')
    assert f'nobody publishes {node.camera.input_topic}' in status.message
    assert 'remap' in status.message
    assert node.change_state('deactivate')
    status = node.status('')
    assert (status.level, status.message) == (OK, 'inactive: no images are taken')


def test_a_publisher_that_says_nothing(start):
    node = start(stale_after=0.3)
    status = node.wait_status(lambda s: s.level == WARN, '')
    assert f'nothing arrives on {node.camera.input_topic}, which /tester offers' in status.message
    node.process.wait_log(status.message)

    def better(status) -> bool:
        send(node, 1, first=len(node.camera.sent) + 1)
        return status.level == OK

    node.wait_status(better, '')
    node.process.wait_log(f'images arrive on {node.camera.input_topic}')


def test_a_publisher_of_another_quality(start):
    # The node asks for reliable images (by LOSSLESS), the camera sends best effort.
    node = start(up=False, qos=quality(reliable=False), stale_after=0.3)
    node.wait_started()
    assert node.change_state('configure') and node.change_state('activate')
    status = node.wait_status(lambda s: s.level == WARN and 'qos' in s.message, '')
    assert f'qos_overrides.{node.camera.input_topic}.subscription.reliability' in status.message
    node.process.wait_log('best effort, and qos_overrides')
    node.camera.sent.clear()


def test_inference_that_is_too_slow(start, control):
    node = start(queue_size=5)
    hold(node, control, steady_scene(4, 'red', 'green'))
    send(node, 12, first=5)
    status = node.wait_status(lambda s: s.values['dropped'] == '7', '')
    assert status.values['dropped_queue_full'] == '7'
    assert status.values['queue'] == '5' and status.values['waiting'] == '9'
    assert node.process.lines('inference is slower than the camera')
    # The oldest went: what is new is worth more.
    control.release(DETECTING)
    node.finish()
    node.camera.expected_drops = {'queue_full': 7}
    kept = [1, 2, 3, 4, 12, 13, 14, 15, 16]
    check_same(node.camera, engine_results(
        [(stamp * SECOND, node.camera.frames[stamp * SECOND]) for stamp in kept]))


def test_a_detector_that_fails_costs_no_frame(start, control):
    node = start()
    send(node, 4)
    node.camera.objects.wait(4)
    control.fail(DETECTING, 'the engine file is broken')
    send(node, 8, first=5)
    node.camera.objects.wait(12)
    status = node.wait_status(lambda s: s.level == ERROR, '')
    assert 'the detector failed' in status.message and 'is broken' in status.message
    assert len(node.process.lines('[ERROR]')) <= 2  # not one a window, for ever
    assert int(node.status().values['detector_failures']) == 2
    control.recover(DETECTING)
    send(node, 4, first=13)
    node.finish()
    names = {frozenset(message.class_names) for message in node.camera.objects.messages}
    assert names == {frozenset({'red', 'green'})}  # tracked all the time
    node.process.check_log()


def test_inference_that_fails_drops_frames_and_recovers(start, control):
    node = start()
    send(node, 4)
    node.camera.objects.wait(4)
    control.fail(ENCODING, 'out of memory')
    send(node, 5, first=5)
    node.wait_status(lambda s: s.values['dropped'] == '5', '')
    status = node.wait_status(lambda s: s.level == ERROR, '')
    assert 'inference failed' in status.message and 'out of memory' in status.message
    assert node.process.lines('the stream restarts: inference failed 3 times in a row')
    control.recover(ENCODING)
    send(node, 8, first=10)
    node.finish()
    node.camera.expected_drops = {'inference_failed': 5}
    assert len(node.camera.objects.wait(12)) == 12
    node.process.check_log()


def test_one_camera_that_fails_does_not_touch_the_other(start, graph):
    node = start(cameras=['front', 'rear'], stale_after=0.3)
    graph.node.destroy_publisher(node.cameras['rear'].publisher)

    def judged(status) -> bool:
        count = len(node.cameras['front'].sent)
        send(node, 4, first=count + 1, camera='front')
        return status.level == WARN

    assert 'nobody publishes' in node.wait_status(judged, 'rear').message
    node.cameras['front'].objects.wait(4)
    assert node.wait_status(lambda s: s.values['published'] != '0', 'front')


@pytest.mark.skipif(
    importlib.util.find_spec('vision_msgs') is not None, reason='vision_msgs is installed')
def test_without_vision_msgs_there_is_no_class_table(start, graph):
    node = start()
    wait_until(lambda: graph.node.count_publishers(f'{node.name}/masks') == 1, 'masks')
    assert graph.node.count_publishers(f'{node.name}/label_info') == 0
    node.process.check_log()


@pytest.mark.skipif(
    importlib.util.find_spec('vision_msgs') is None, reason='needs vision_msgs')
def test_the_class_table_is_there_for_late_subscribers(start, graph):
    from vision_msgs.msg import LabelInfo

    node = start()
    box = graph.inbox(LabelInfo, f'{node.name}/label_info', quality(depth=1, transient=True))
    (table,) = box.wait(1)
    assert {c.class_id: c.class_name for c in table.class_map}[0] == 'red'
