# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How long a frame waits for its masks: the node as a process, by mode, rate and number of balls.

This process is camera and subscriber. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

WARM_UP = 10  # frames that do not count
SEED = 1_000_031  # of the scene; the shipped models were trained on seeds below 1,000,000


def measure(
    mode: str, balls: int, rate: float, seconds: float, size: int, options: list[str]
) -> dict[str, Any]:
    """Show the node a scene at a rate; returns latencies and what the node says of itself."""
    import rclpy
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    from detsam2_ros.scene.options import SceneOptions
    from detsam2_ros.scene.scene import Scene

    count = WARM_UP + int(rate * seconds)
    images = [f.image for f in Scene(SEED, size, size, count, SceneOptions(balls=balls))]
    came: dict[int, int] = {}
    said: dict[str, str] = {}

    def on_masks(message: Image) -> None:
        came[nanoseconds(message)] = time.time_ns()

    def on_diagnostics(message: DiagnosticArray) -> None:
        for status in message.status:
            said.update({pair.key: pair.value for pair in status.values})

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / 'log'
        with log.open('wb') as output:
            process = subprocess.Popen(
                [sys.executable, '-m', 'detsam2_ros.ros.node', '--ros-args',
                 '-p', f'mode:={mode}', '-p', 'diagnostics_period:=0.5',
                 *itertools.chain.from_iterable(('-p', option) for option in options)],
                stdout=output, stderr=output)
        rclpy.init(args=[])
        node = rclpy.create_node('benchmark_camera')
        publisher = node.create_publisher(Image, '/detsam2/image', QoSProfile(depth=20))
        node.create_subscription(Image, '/detsam2/masks', on_masks, QoSProfile(depth=100))
        node.create_subscription(DiagnosticArray, '/diagnostics', on_diagnostics, 10)

        def spin(until: float) -> None:
            while (left := until - time.monotonic()) > 0:
                rclpy.spin_once(node, timeout_sec=left)

        try:
            deadline = time.monotonic() + 180
            while not (publisher.get_subscription_count() and said):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f'the node did not start:\n{log.read_text()}')
                spin(time.monotonic() + 0.1)
            message = Image(height=size, width=size, encoding='rgb8', step=3 * size)
            begin, sent = time.monotonic() + 0.2, []
            for i, image in enumerate(images):
                spin(begin + i / rate)
                message.data = image.tobytes()
                now = time.time_ns()
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
                publisher.publish(message)
                sent.append(now)
            end = time.monotonic() + 10
            while len(came) + int(said.get('dropped', 0)) < count and time.monotonic() < end:
                spin(time.monotonic() + 0.2)
            spin(time.monotonic() + 1.0)  # the last diagnostics
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
            node.destroy_node()
            rclpy.shutdown()
    latencies = [(came[stamp] - stamp) / 1e6 for stamp in sent[WARM_UP:] if stamp in came]
    p50, p99 = np.percentile(latencies, [50, 99]) if latencies else (np.nan, np.nan)
    return {
        'mode': mode, 'balls': balls, 'rate_hz': rate, 'sent': count, 'masks': len(came),
        'dropped': int(said['dropped']),
        'latency_p50_ms': round(p50), 'latency_p99_ms': round(p99),
        **{key: said[key] for key in ('pass_lag_p50_s', 'pass_lag_p99_s', 'corrections')},
    }


def nanoseconds(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def table(results: list[dict[str, Any]]) -> str:
    """Format the results as a markdown table."""
    names = list(results[0])
    lines = [names, ['---'] * len(names), *([str(v) for v in r.values()] for r in results)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--modes', nargs='+', default=['online', 'window'])
    parser.add_argument('--balls', nargs='+', type=int, default=[1, 3])
    parser.add_argument('--rates', nargs='+', type=float, default=[2.0, 10.0], help='Hz')
    parser.add_argument('--seconds', type=float, default=15.0, help='for each run')
    parser.add_argument('--size', type=int, default=256, help='pixels')
    parser.add_argument('--parameters', nargs='*', default=['device:=cpu', 'dtype:=float32'],
                        help='of the node, NAME:=VALUE')
    parser.add_argument('--json', action='store_true', help='one JSON object a line instead')
    given = parser.parse_args()
    os.environ.setdefault('ROS_DOMAIN_ID', str(101 + os.getpid() % 100))
    results = []
    for rate, balls, mode in itertools.product(given.rates, given.balls, given.modes):
        results.append(measure(mode, balls, rate, given.seconds, given.size, given.parameters))
        if given.json:
            print(json.dumps(results[-1]), flush=True)
    if not given.json:
        print(table(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
