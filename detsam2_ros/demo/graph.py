# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo: camera, node and recorder as processes, and a story run through real services.

The detector finds the balls, and they are saved to a memory bank. Then the detector is switched
off, and nothing is found. Then the bank is loaded, and the balls are found from memory alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from detsam2_ros.demo.camera import SEED
from detsam2_ros.demo.driver import Driver, StoryError
from detsam2_ros.demo.processes import ProcessError, Processes
from detsam2_ros.paths import shared_file

DETECTOR, NOTHING = 'detector on', 'detector off'
BEFORE, BANK = 'just before the bank', 'memory bank only'
IMAGE, BANK_FILE = '/camera/image', 'table.safetensors'
_START_SECONDS = 180.0  # until the models are loaded, on a machine that may be busy
_END_SECONDS = 90.0


@dataclass(frozen=True)
class Plan:
    """How many images the parts of the story have."""

    detector: int = 160
    nothing: int = 10
    # The first pass with the bank reaches these. It closes the window before the loading where the
    # pass of that window had not ended.
    before: int = 20
    bank: int = 120
    node: tuple[str, ...] = ()  # parameters of the node beyond config/demo.yaml
    entries: int = 6  # of the memory bank, for each object


QUICK = Plan(
    20, 5, 10, 15, ('window_size:=5', 'detect_interval:=5', 'max_propagation:=10')
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0, 1 when something broke, 2 for bad arguments."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.offline:
        parser.error('--offline must be the first argument of scripts/demo')
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.monotonic()

    def report(text: str) -> None:
        clear = '\r\033[K' if sys.stdout.isatty() else ''
        print(f'{clear}[{time.monotonic() - start:5.1f} s] {text}', flush=True)

    try:
        run(given, report)
    except KeyboardInterrupt:
        print('\ndemo: interrupted', file=sys.stderr)
        return 130
    except (StoryError, ProcessError, OSError) as error:
        print(f'\ndemo: {error}', file=sys.stderr)
        return 1
    return 0


def run(given: argparse.Namespace, report: Any) -> None:
    """Start the processes, run the story, end them; raises StoryError or ProcessError."""
    plan = QUICK if given.quick else Plan()
    output = given.output.absolute()
    banks, logs = output / 'banks', output / 'logs'
    for folder in (banks, logs):
        shutil.rmtree(folder, ignore_errors=True)
    environment = _environment(given)
    os.environ.update(environment)
    with Processes(logs, environment) as processes:
        for name, command in _commands(given, plan, output, banks).items():
            processes.start(name, command)
        report(
            f'camera, node and recorder started (ROS_DOMAIN_ID {environment["ROS_DOMAIN_ID"]}); '
            f'the models load')
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        driver = Driver(processes.check, report)
        try:
            _check_alone(driver)
            _run_story(driver, plan, processes)
            processes.stop('recorder', _END_SECONDS)
            processes.stop('node', 15.0)
            _finish(output, driver)
        except StoryError as error:
            raise StoryError(f'{error}{processes.tail("node")}') from error
        finally:
            driver.destroy_node()
            rclpy.try_shutdown()


def _run_story(driver: Driver, plan: Plan, processes: Processes) -> None:
    """Run the parts of the story one after the other."""
    driver.wait(driver.all_are_there, 'node, camera and recorder', _START_SECONDS)
    driver.log_event('the node is active')
    driver.go_on(plan.detector, DETECTOR)
    driver.save_bank(BANK_FILE, plan.entries)
    driver.set_parameter('detect_interval', 0)
    driver.reset()
    driver.phase(NOTHING)
    driver.go_on(plan.nothing, NOTHING)
    # The first pass with the bank reaches back to images from before it was loaded.
    driver.phase(BEFORE)
    driver.go_on(plan.before, BEFORE)
    driver.load_bank(BANK_FILE)
    driver.phase(BANK)
    driver.go_on(plan.bank, BANK)
    processes.stop('camera', 10.0)
    driver.deactivate()


def _finish(output: Path, driver: Driver) -> None:
    """Add the events to the report, and print the results and where the files are."""
    file = output / 'report.json'
    numbers = json.loads(file.read_text('utf-8'))
    numbers['events'] = driver.events
    file.write_text(json.dumps(numbers, indent=2) + '\n', 'utf-8')
    lines = ['', '## What happened', '']
    for event in driver.events:
        answered = f' (answered in {event["answer_ms"]:.0f} ms)' if 'answer_ms' in event else ''
        lines.append(f'- image {event["image"]}: {event["text"]}{answered}')
    with (output / 'report.md').open('a', encoding='utf-8') as report:
        report.write('\n'.join(lines) + '\n')
    print(summary(numbers))
    print(f'look at {output / "sheet.png"}, chart.png, overlay.mp4 and report.md beside it')


def summary(numbers: dict[str, Any]) -> str:
    """Return the numbers of the phases as lines for a terminal."""
    lines = [f'  {"":<27}images  masks  corrected  latency    IoU first > final  '
             'balls found  right name']  # fmt: skip
    for name, own in numbers['phases'].items():
        def text(key: str, form: str, own: dict[str, Any] = own) -> str:
            return '-' if own[key] is None else format(own[key], form)

        lines.append(
            f'  {name:<27}{own["frames"]:>6} {own["frames_with_masks"]:>6} '
            f'{own["frames_corrected"]:>10}  {text("latency_p50_s", ".2f"):>5} s    '
            f'{text("iou_first", ".3f"):>9} > {text("iou_final", ".3f")}  '
            f'{text("found_final", ".0%"):>11} {text("right_name", ".0%"):>11}'
        )
    return '\n'.join(lines)


def _commands(
    given: argparse.Namespace, plan: Plan, output: Path, banks: Path
) -> dict[str, list[str]]:
    """Return the command of each process by its name."""
    def ros(module: str, *arguments: str) -> list[str]:
        return [sys.executable, '-m', module, '--ros-args', *arguments]

    def parameters(**values: Any) -> list[str]:
        return [part for name, value in values.items() for part in ('-p', f'{name}:={value}')]

    # With this queue a machine that is slower than the camera lags, but drops no frame.
    longest = max(plan.detector, plan.nothing, plan.bank)
    node = [*parameters(memory_bank_directory=banks, queue_size=longest)]
    # Reliable, so that no image is lost, even a large one on a busy machine.
    qos = f'qos_overrides.{IMAGE}.subscription'
    node += ['-p', f'{qos}.reliability:=reliable', '-p', f'{qos}.depth:=50']
    if given.device:
        node += parameters(device=given.device)
    node += [part for text in plan.node for part in ('-p', text)]
    camera = [
        *parameters(seed=given.seed, width=given.size, height=given.size, rate=given.rate,
                    wait_for_subscribers=2, pause_after=-1),
    ]  # fmt: skip
    topics = {
        'image': IMAGE, 'truth': '/camera/truth',
        'truth_objects': '/camera/truth_objects', 'masks': '/detsam2/masks',
        'objects': '/detsam2/objects', 'corrections': '/detsam2/corrections',
    }  # fmt: skip
    remaps = [part for name, topic in topics.items() for part in ('-r', f'{name}:={topic}')]
    return {
        'recorder': ros(
            'detsam2_ros.demo.recorder.node', *remaps,
            *parameters(output=output, video_rate=given.rate, phase=f'"{DETECTOR}"')),
        'node': ros(
            'detsam2_ros.ros.node', '--params-file', str(shared_file('config/demo.yaml')),
            *node, '-r', f'~/image:={IMAGE}'),
        'camera': ros('detsam2_ros.demo.camera', '-r', '__ns:=/camera', *camera),
    }


def _environment(given: argparse.Namespace) -> dict[str, str]:
    """Return the environment of all processes: local discovery only, and a domain of their own."""
    environment = dict(os.environ)
    domain = given.domain
    if domain is None:
        theirs = environment.get('ROS_DOMAIN_ID', '0')
        domain = random.choice([i for i in range(20, 100) if str(i) != theirs])
    environment['ROS_DOMAIN_ID'] = str(domain)
    environment['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    environment.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'DEFAULT?sockets_size=8MB')
    environment['PYTHONUNBUFFERED'] = '1'
    # With a thread on every core, inference would wait for the cores that camera and recorder use.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else 2
    environment.setdefault('OMP_NUM_THREADS', str(min(4, max(1, cores // 2))))
    environment.setdefault('RCUTILS_COLORIZED_OUTPUT', '0')
    return environment


def _check_alone(driver: Driver) -> None:
    """Raise StoryError if other nodes of the same names are in the domain."""
    end = time.monotonic() + 2.0
    driver.wait(lambda: time.monotonic() > end, 'others', 10.0)
    names = [name for name, _ in driver.get_node_names_and_namespaces()]
    for name in ('detsam2', 'demo_camera', 'demo_recorder', 'demo_graph'):
        if names.count(name) > 1:
            raise StoryError(
                f'another {name} runs in ROS_DOMAIN_ID {os.environ["ROS_DOMAIN_ID"]}; choose '
                f'another one with --domain')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='scripts/demo',
        description='A billiards scene as a camera, the node with the shipped models, and a '
        'recorder that applies corrections: what is corrected, and what a memory bank finds '
        'with the detector off. Needs no GPU and no network.',
    )
    parser.add_argument('-o', '--out', '--output', dest='output', type=Path,
                        default=Path('demo_out'), help='default demo_out')
    parser.add_argument('--offline', action='store_true',
                        help='first argument: the demo without ROS')
    parser.add_argument('--quick', action='store_true', help='a short story, for tests')
    parser.add_argument('--seed', type=int, default=SEED, help='another scene')
    parser.add_argument('--size', type=int, default=512, help='pixels; default 512')
    parser.add_argument('--rate', type=float, default=10.0, help='images a second; default 10')
    parser.add_argument('--device', help='cpu, cuda or auto; default as config/demo.yaml says')
    parser.add_argument('--domain', type=int, help='ROS_DOMAIN_ID; default: one by chance')
    return parser


if __name__ == '__main__':
    sys.exit(main())
