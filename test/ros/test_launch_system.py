# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The launch files, really launched; needs launch_pytest, which a ROS 2 installation has."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

launch_pytest = pytest.importorskip(
    'launch_pytest', reason='launch_pytest is not installed; a ROS 2 installation has it')
pytest.importorskip('rclpy')

from camera_process import camera  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from launch.actions import IncludeLaunchDescription, RegisterEventHandler  # noqa: E402
from launch.event_handlers import OnProcessExit  # noqa: E402
from launch.launch_description import LaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from lifecycle_msgs.msg import Transition  # noqa: E402
from lifecycle_msgs.srv import ChangeState, GetState  # noqa: E402
from node_graph import Graph, wait_until  # noqa: E402
from rcl_interfaces.srv import GetParameters  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds, for machines with something else to do
pytestmark = [pytest.mark.ros, pytest.mark.slow]

Exits = dict[str, int]


def description(launch_file: str, **arguments: str) -> tuple[LaunchDescription, Exits]:
    """Include a launch file, and keep the return codes of its processes by executable."""
    exits: Exits = {}

    def ended(event: Any, context: Any) -> None:
        exits[Path(event.cmd[0]).name] = event.returncode

    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(ROOT / 'launch' / launch_file)),
        launch_arguments=arguments.items(),
    )
    return LaunchDescription([RegisterEventHandler(OnProcessExit(on_exit=ended)), included]), exits


def state(graph: Graph, node: str) -> str:
    """Ask for a lifecycle state, once the node is there."""

    def is_there() -> bool:
        found = graph.node.get_node_names_and_namespaces()
        return node in [f'{space}/{name}'.replace('//', '/') for name, space in found]

    wait_until(is_there, node, PATIENCE)
    return graph.call(GetState, f'{node}/get_state').current_state.label


@pytest.fixture
def graph() -> Iterator[Graph]:
    """Return a node of the test, in a context of its own: launch has one in this process too."""
    made = Graph('launch_test')
    yield made
    made.close()


@pytest.fixture
def quick(tmp_path: Path) -> str:
    """A parameter file without a detector, which takes long to import."""
    path = tmp_path / 'quick.yaml'
    path.write_text(
        "/**:\n  ros__parameters:\n    detector_model: ''\n    window_size: 7\n"
        '    max_propagation: 14\n    detect_interval: 3\n    device: cpu\n'
    )
    return str(path)


# ---- detsam2.launch.py
@launch_pytest.fixture
def several(quick: str) -> tuple[LaunchDescription, Exits]:
    return description(
        'detsam2.launch.py', params_file=quick, namespace='robot', name='eyes',
        cameras='front,rear', image='/f/image_raw,/r/image_raw', max_propagation='21',
    )  # fmt: skip


@pytest.mark.launch(fixture=several)
def test_arguments_reach_the_node(several: tuple, graph: Graph) -> Iterator[None]:
    node = '/robot/eyes'
    wait_until(lambda: state(graph, node) == 'active', 'active', PATIENCE)
    asked = ['window_size', 'max_propagation', 'cameras', 'detector_model', 'autostart']
    found = graph.call(GetParameters, f'{node}/get_parameters', names=asked).values
    assert [found[0].integer_value, found[1].integer_value] == [7, 21]
    assert found[2].string_array_value == ['front', 'rear']
    assert (found[3].string_value, found[4].bool_value) == ('', True)
    topics = dict(graph.node.get_subscriber_names_and_types_by_node('eyes', '/robot'))
    assert {'/f/image_raw', '/r/image_raw'} <= set(topics)
    published = dict(graph.node.get_publisher_names_and_types_by_node('eyes', '/robot'))
    assert {f'{node}/front/masks', f'{node}/rear/corrections'} <= set(published)
    yield
    assert several[1] == {'detsam2_node': 0}


@launch_pytest.fixture
def by_hand(quick: str) -> tuple[LaunchDescription, Exits]:
    return description('detsam2.launch.py', params_file=quick, autostart='false')


@pytest.mark.launch(fixture=by_hand)
def test_a_lifecycle_manager_can_take_over(by_hand: tuple, graph: Graph) -> Iterator[None]:
    assert state(graph, '/detsam2') == 'unconfigured'
    for number, leads_to in ((1, 'inactive'), (3, 'active'), (4, 'inactive'), (2, 'unconfigured')):
        answer = graph.call(
            ChangeState, '/detsam2/change_state', transition=Transition(id=number))
        assert answer.success, leads_to
        assert state(graph, '/detsam2') == leads_to
    yield
    assert by_hand[1] == {'detsam2_node': 0}


# ---- demo.launch.py
@launch_pytest.fixture(auto_shutdown=False)
def demo(tmp_path: Path) -> tuple[LaunchDescription, Exits]:
    return description('demo.launch.py', output=str(tmp_path / 'out'), length='30', size='256')


@pytest.mark.launch(fixture=demo, shutdown=True)
def test_the_demo_ends_by_itself(demo: tuple, tmp_path: Path) -> None:
    """It writes a video, and every process ends cleanly."""
    assert demo[1] == {'demo_camera': 0, 'detsam2_node': 0, 'demo_recorder': 0}
    video = tmp_path / 'out' / 'overlay.mp4'
    assert video.stat().st_size > 10_000


@launch_pytest.fixture(auto_shutdown=False)
def broken_demo(tmp_path: Path) -> tuple[LaunchDescription, Exits]:
    (tmp_path / 'a_file').write_text('')
    return description('demo.launch.py', output=str(tmp_path / 'a_file'), length='30')


@pytest.mark.launch(fixture=broken_demo, shutdown=True)
def test_the_demo_ends_when_the_recorder_fails(broken_demo: tuple) -> None:
    assert broken_demo[1]['demo_recorder'] != 0
    assert set(broken_demo[1]) == {'demo_camera', 'detsam2_node', 'demo_recorder'}


# ---- images, with the transports that the launch file sets for the node alone
@launch_pytest.fixture
def looking(quick: str) -> tuple[LaunchDescription, Exits]:
    return description('detsam2.launch.py', params_file=quick, image='/cam/image_raw')


@pytest.mark.launch(fixture=looking)
@pytest.mark.parametrize('size', [(256, 256), (1280, 720)], ids=['256', '720p'])
@pytest.mark.parametrize('reliable', [True, False], ids=['reliable', 'best_effort'])
def test_images_are_received_or_explained(
    looking: tuple, graph: Graph, reliable: bool, size: tuple[int, int]
) -> None:
    box = graph.inbox(DiagnosticArray, '/diagnostics')

    def camera_status() -> Any:
        found = [s for m in box.messages[-3:] for s in m.status if ': camera' in s.name]
        return found[-1] if found else None

    def received() -> int:
        status = camera_status()
        return int({v.key: v.value for v in status.values}['received']) if status else 0

    with camera('/cam/image_raw', *size, reliable):
        wait_until(lambda: state(graph, '/detsam2') == 'active', 'active', PATIENCE)
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline and received() < 10:
            time.sleep(0.1)
        count, said = received(), camera_status().message
    if reliable or size == (256, 256):
        assert count >= 10, said
    else:
        assert count >= 10 or 'FASTDDS_BUILTIN_TRANSPORTS' in said
