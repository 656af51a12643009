# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node over DDS: what it costs around the engine, and how long a frame waits for its masks.

python -m benchmarks.speed.node                  # 720p, 30 Hz; an engine that answers at once
python -m benchmarks.speed.node --modes online window --balls 1 3 --rates 2 10 \
    --width 256 --height 256 --encodings rgb8    # the real engine with the shipped models
python -m benchmarks.speed.node --modes online --rates 10 --encodings rgb8 --seconds 8 \
    --beside 0 1 2 --threads 1 2 --docs          # beside busy processes: docs/measured/load.md

The node runs as a process of its own (`node_process`), on one thread unless OMP_NUM_THREADS says
otherwise; this process is camera and subscriber.

Beside busy processes, each of which would take a core, the node is held against its *fair share*:
the masks a second that it has alone, times the share of its processor time that it would still get
if all processes shared the cores fairly. Fairly is: who wants less than an equal share of the
cores gets that, and what is left is shared equally by the others. The node wants what it took
alone, this process too, and a busy process one core.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import importlib.util
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.harness.pages import MEASURED, markdown, write
from benchmarks.harness.place import ROOT, Place
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.ros.threads import usable_cores
from detsam2_ros.scene.scene import SceneOptions, render

START_S = 240.0  # for two processes, models and discovery
WINDOW = 10  # frames; the last of a window waits for nothing but the node
FILM = 60  # frames of the scene, shown to and fro
SEED = 1_000_031  # of the scene; the shipped models were trained on seeds below 1,000,000
SAID = ('dropped', 'pass_lag_p50_s', 'pass_lag_p99_s')  # of the diagnostics


@dataclass(frozen=True)
class Setting:
    """What the node is shown. mode: of the real engine, '' for one that answers at once."""

    width: int
    height: int
    encoding: str
    rate: float  # Hz
    seconds: float
    mode: str = ''
    balls: int = 1
    parameters: tuple[str, ...] = ()  # of the node, NAME:=VALUE
    beside: int = 0  # busy processes


@dataclass
class Heard:
    """What the subscriber has got."""

    masks: dict[int, int] = field(default_factory=dict)  # stamp: time of arrival, both ns
    corrections: int = 0
    said: dict[str, str] = field(default_factory=dict)  # of the diagnostics

    def on_masks(self, message: Any) -> None:
        stamp = message.header.stamp
        self.masks[nanoseconds(stamp)] = time.time_ns()

    def on_correction(self, message: Any) -> None:
        self.corrections += 1

    def on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            self.said.update({pair.key: pair.value for pair in status.values})


def available() -> bool:
    """Tell whether ROS 2 is there."""
    return importlib.util.find_spec('rclpy') is not None


def measure_apart(
    job: dict[str, Any], place: Place, limit_s: float = float('inf')
) -> dict[str, Any]:
    """Measure in a process of its own. job: as `Setting`, without balls and parameters."""
    command = [sys.executable, '-m', 'benchmarks.speed.node', '--json']
    for name in ('width', 'height'):
        command += [f'--{name}', str(job[name])]
    command += ['--rates', str(job['rate']), '--seconds', str(job['seconds'])]
    command += ['--encodings', job['encoding'], *(['--modes', job['mode']] if job['mode'] else [])]
    limit = START_S + job['seconds']
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f'benchmarks.speed.node ended with {done.returncode}: {done.stderr.strip()[-2000:]}'
        )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@contextlib.contextmanager
def running(setting: Setting, report: Path) -> Iterator[subprocess.Popen]:
    """Start the node, and end it; it writes its report then."""
    parameters = ['diagnostics_period:=0.5', *setting.parameters]
    parameters += [f'mode:={setting.mode}'] if setting.mode else []
    command = [sys.executable, '-m', 'benchmarks.speed.node_process', str(report)]
    command += [] if setting.mode else ['--no-engine']
    command += ['--ros-args', *itertools.chain(*(('-p', each) for each in parameters))]
    process = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep cores busy with some processes."""
    command = [sys.executable, '-c', 'while True: pass']
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def fair_shares(wanted: list[float], cores: float) -> list[float]:
    """Share cores fairly: nobody gets more than wanted; the others share equally what is left."""
    got, others = [0.0] * len(wanted), len(wanted)
    for which in sorted(range(len(wanted)), key=lambda i: wanted[i]):
        got[which] = min(wanted[which], cores / others)
        cores, others = cores - got[which], others - 1
    return got


def compare_with_alone(results: list[dict[str, Any]]) -> None:
    """Add to each result its part of the fair share; the first one is of the node alone."""
    alone = results[0]
    wanted = [alone['node_cores'], alone['camera_cores']]
    for each in results:
        got = fair_shares([*wanted, *[1.0] * each['beside']], usable_cores())
        fair = alone['masks_per_s'] * got[0] / wanted[0]
        each['fair_masks_per_s'], each['of_fair'] = fair, each['masks_per_s'] / fair


def measure(setting: Setting) -> dict[str, Any]:
    """Run the node against a camera; returns latencies and what the node took."""
    import rclpy

    # Not ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST: Fast DDS then ignores LARGE_DATA, and most large
    # images are lost.
    os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')
    os.environ.setdefault('ROS_DOMAIN_ID', str(101 + os.getpid() % 100))
    heard, film = Heard(), pictures(setting)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.json'
        rclpy.init(args=[])
        node = rclpy.create_node('benchmark_camera')
        try:
            with running(setting, report) as process:
                sent, own = shown(node, setting, film, heard, process)
        finally:
            node.destroy_node()
            rclpy.shutdown()
        took = json.loads(report.read_text(encoding='utf-8'))
    late = sent[len(sent) // 4 :]  # the first frames find everything cold
    waits, newest = waited(heard, late), waited(heard, sent[WINDOW - 1 :: WINDOW])
    return {
        'mode': setting.mode or 'no engine', 'balls': setting.balls, 'beside': setting.beside,
        **own,
        'size': f'{setting.width}x{setting.height} {setting.encoding}',
        'rate_hz': setting.rate, 'sent': len(sent), 'masks': len(heard.masks),
        'corrections': heard.corrections,
        'latency_ms': {f'p{q}': float(np.quantile(waits, q / 100)) for q in (50, 99) if waits},
        'newest_frame_latency_ms': statistics.median(newest) if newest else None,
        **{name: heard.said.get(name) for name in SAID}, **took,
    }  # fmt: skip


def waited(heard: Heard, stamps: list[int]) -> list[float]:
    """Return how long masks took, ms, of the frames that got some."""
    return [(heard.masks[stamp] - stamp) / 1e6 for stamp in stamps if stamp in heard.masks]


def shown(
    node: Any,
    setting: Setting,
    film: list[array.array],
    heard: Heard,
    process: subprocess.Popen,
) -> tuple[list[int], dict[str, float]]:
    """Send images at the rate, until all have their masks or were dropped.

    Returns the stamps, and of the time of sending: masks a second, and the cores that were taken.
    """
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from detsam2_msgs.msg import MaskCorrection

    publisher = node.create_publisher(Image, '/detsam2/image', qos_profile_sensor_data)
    node.create_subscription(Image, '/detsam2/masks', heard.on_masks, 100)
    node.create_subscription(MaskCorrection, '/detsam2/corrections', heard.on_correction, 100)
    node.create_subscription(DiagnosticArray, '/diagnostics', heard.on_diagnostics, 10)

    def spin(until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            rclpy.spin_once(node, timeout_sec=left)

    deadline = time.monotonic() + START_S
    while not (publisher.get_subscription_count() and heard.said):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit('the node did not start; what it said is above')
        spin(time.monotonic() + 0.1)
    message = Image(height=setting.height, width=setting.width, encoding=setting.encoding)
    message.step = 3 * setting.width
    message.header.frame_id = 'camera'
    period = max(2 * len(film) - 2, 1)  # to and fro
    served = psutil.Process(process.pid)
    with busy(setting.beside):
        begin, sent = time.monotonic() + 0.2, []
        cpu, node_cpu = time.process_time(), sum(served.cpu_times()[:2])
        for number in range(int(setting.rate * setting.seconds)):
            spin(begin + number / setting.rate)
            message.data = film[min(number % period, period - number % period)]
            sent.append(time.time_ns())
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(sent[-1], 10**9)
            publisher.publish(message)
        spin(begin + len(sent) / setting.rate)
        seconds = time.monotonic() - begin
        own = {
            'masks_per_s': len(heard.masks) / seconds,
            'camera_cores': (time.process_time() - cpu) / seconds,
            'node_cores': (sum(served.cpu_times()[:2]) - node_cpu) / seconds,
        }
    end = time.monotonic() + 10
    while len(heard.masks) + int(heard.said['dropped']) < len(sent) and time.monotonic() < end:
        spin(time.monotonic() + 0.2)
    spin(time.monotonic() + 1.0)  # the last diagnostics
    return sent, own


def pictures(setting: Setting) -> list[array.array]:
    """Return the bytes of the images to send: of a scene, without an engine one of noise."""
    width, height = setting.width, setting.height
    if setting.mode:
        options = SceneOptions(balls=setting.balls, late_ball=0, pocketing=0)
        images = [frame.image for frame in render(SEED, FILM, width, height, options)]
    else:
        images = [np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)]
    return [array.array('B', image.tobytes()) for image in images]


HEAD = (
    'images', 'engine', 'balls', 'rate', 'arrival to hand-over (CPU)',
    'result to publication (CPU)', 'newest frame of a window to its mask', 'all frames, p50, p99',
    'end of a pass after its frame, p50, p99', 'share of a core', 'masks of sent', 'dropped',
)  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    """Format the results as a markdown table."""
    rows = []
    for r in results:
        parts = [
            r.get(f'{name}_ms', {'median': 0, 'cpu_median': 0})
            for name in ('arrival_to_hand_over', 'result_to_publication')
        ]
        newest = r['newest_frame_latency_ms']
        rows.append([
            r['size'], r['mode'], str(r['balls']), f'{r["rate_hz"]:g} Hz',
            *(f'{p["median"]:.2f} ms ({p["cpu_median"]:.2f})' for p in parts),
            'none' if newest is None else f'{newest:.1f} ms',
            ', '.join(f'{each:.0f} ms' for each in r['latency_ms'].values()),
            f'{r["pass_lag_p50_s"]} s, {r["pass_lag_p99_s"]} s', f'{r["core_share"]:.2f}',
            f'{r["masks"]}/{r["sent"]}', str(r['dropped']),
        ])  # fmt: skip
    return markdown(HEAD, rows)


def beside_table(results: list[dict[str, Any]]) -> str:
    """Format what the node does beside busy processes as a markdown table."""
    head = (
        'threads', 'busy processes', 'masks of sent', 'masks a second', 'fair',
        'of the fair share', 'first masks p50, p99',
    )  # fmt: skip
    return markdown(head, [
        [
            str(r['threads']), str(r['beside']), f'{r["masks"]}/{r["sent"]}',
            f'{r["masks_per_s"]:.1f}', f'{r["fair_masks_per_s"]:.1f}', f'{r["of_fair"]:.2f}',
            ', '.join(f'{each:.0f} ms' for each in r['latency_ms'].values()),
        ]
        for r in results
    ])  # fmt: skip


def measure_beside(given: argparse.Namespace) -> str:
    """Measure the node alone and beside busy processes, by number of threads; returns a table."""
    results = []
    for threads in given.threads:
        parameters = (*given.parameters, f'cpu_threads:={threads}')
        own = [
            measure(
                Setting(
                    given.width, given.height, given.encodings[0], given.rates[0], given.seconds,
                    given.modes[0], given.balls[0], parameters, beside,
                )
            )
            for beside in sorted({0, *given.beside})
        ]  # fmt: skip
        compare_with_alone(own)
        results += [{**each, 'threads': threads} for each in own]
    return beside_table(results)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--width', type=int, default=1280)
    parser.add_argument('--height', type=int, default=720)
    parser.add_argument('--encodings', nargs='+', default=['rgb8', 'bgr8'])
    parser.add_argument('--rates', nargs='+', type=float, default=[30.0], help='Hz')
    parser.add_argument('--seconds', type=float, default=20.0, help='for each run')
    parser.add_argument(
        '--modes', nargs='+', choices=('window', 'online'), default=[''],
        help='the real engine with the shipped models in these modes',
    )  # fmt: skip
    parser.add_argument('--balls', nargs='+', type=int, default=[1], help='with --modes')
    parser.add_argument(
        '--parameters', nargs='*', default=[], help='of the node, NAME:=VALUE', metavar='P'
    )
    parser.add_argument(
        '--beside', nargs='+', type=int, help='numbers of busy processes; the first of each option'
    )
    parser.add_argument(
        '--threads', nargs='+', type=int, default=[0], help='with --beside: cpu_threads'
    )
    parser.add_argument('--docs', action='store_true', help='with --beside: write the page')
    parser.add_argument('--json', action='store_true', help='one JSON object a line instead')
    given = parser.parse_args()
    if given.beside:
        text = measure_beside(given)
        print(text)
        if given.docs:
            write(MEASURED / 'load.md', {'beside': text})
        return 0
    results = []
    for rate, balls, mode, encoding in itertools.product(
        given.rates, given.balls, given.modes, given.encodings
    ):
        size = given.width, given.height
        results.append(
            measure(
                Setting(*size, encoding, rate, given.seconds, mode, balls, tuple(given.parameters))
            )
        )
        if given.json:
            print(json.dumps(results[-1]), flush=True)
    if not given.json:
        print(table(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
