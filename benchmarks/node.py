# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the node costs around the engine: a real graph with an engine that does nothing.

The node runs as a process of its own, with an engine that answers at once, or with `--mode` the
real one and the shipped models; this process is camera and subscriber. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

REPORT = 'DETSAM2_BENCHMARK_REPORT'
MODE = 'DETSAM2_BENCHMARK_MODE'  # of the real engine; without it, the one that does nothing
WINDOW = 10


def serve() -> int:
    """Run the node with the null engine, and write down what its own code took."""
    import psutil

    from detsam2_ros.engine.stats import Stats
    from detsam2_ros.results.frames import FrameResult, Object
    from detsam2_ros.results.masks import PackedMasks
    from detsam2_ros.ros import camera
    from detsam2_ros.ros.node import main

    class NullStream:
        """One square object on every frame; each window corrects the one before."""

        bank = None

        def __init__(self, name: str) -> None:
            self.name, self.index, self.window = name, 0, []

        @property
        def pending(self) -> int:
            return len(self.window)

        @property
        def horizon(self) -> int:
            return max(0, self.index - 2 * WINDOW)

        def push(self, image: np.ndarray, stamp: int) -> list[FrameResult]:
            height, width = image.shape[:2]
            self.window.append((self.index, stamp, height, width))
            self.index += 1
            return self.flush() if self.index % WINDOW == 0 else []

        def flush(self) -> list[FrameResult]:
            past = [(i - WINDOW, s, h, w) for i, s, h, w in self.window if i >= WINDOW]
            results = [self._result(1, 40, *f) for f in past]
            results += [self._result(0, 0, *f) for f in self.window]
            self.window = []
            return results

        def _result(self, revision: int, shift: int, index: int, stamp: int, height: int,
                    width: int) -> FrameResult:
            side, x = height // 4, width // 3 + shift
            labels = np.zeros((height, width), np.uint16)
            labels[side : 2 * side, x : x + side] = 1
            box = (float(x), float(side), float(x + side), 2.0 * side)
            return FrameResult(
                self.name, index, stamp, revision, revision > 0,
                (Object(1, 0, 'square', 0.9, box, True, False),),
                PackedMasks.pack(labels[None] == 1), labels, (1,))

        def reset(self) -> None:
            self.index, self.window = 0, []

    class NullEngine:
        def __init__(self) -> None:
            self.model = SimpleNamespace(identity=None, device='none')
            self.detector = None
            self.config = SimpleNamespace(mode='window', window_size=WINDOW)
            self.streams: dict[str, NullStream] = {}

        def open_stream(self, name: str) -> NullStream:
            return self.streams.setdefault(name, NullStream(name))

        def reconfigure(self, **changes: Any) -> None:
            pass

        def stats(self) -> Stats:
            return Stats()

        def close(self) -> None:
            pass

    times: dict[str, list[tuple[float, float]]] = {}

    def timed(name: str, method: Any) -> Any:
        def call(*args: Any) -> None:
            wall, cpu = time.perf_counter(), time.thread_time()
            method(*args)
            times.setdefault(name, []).append(
                (time.perf_counter() - wall, time.thread_time() - cpu))

        return call

    camera.Camera._on_image = timed('arrival_to_hand_over', camera.Camera._on_image)
    camera.Camera.publish = timed('result_to_publication', camera.Camera.publish)
    process, begin = psutil.Process(), None
    offered = camera.Camera._on_image

    def first(self: Any, message: Any) -> None:
        nonlocal begin
        if begin is None:
            begin = time.perf_counter(), sum(process.cpu_times()[:2])
        offered(self, message)

    camera.Camera._on_image = first
    options = ['--ros-args', '-p', 'diagnostics_period:=1.0']
    if mode := os.environ.get(MODE):
        code = main(args=[*options, '-p', f'mode:={mode}'])
    else:
        code = main(
            args=options,
            engine_factory=lambda parameters: NullEngine())  # type: ignore[arg-type,return-value]
    wall, cpu = begin or (0.0, 0.0)
    report = {
        'core_share': (sum(process.cpu_times()[:2]) - cpu) / (time.perf_counter() - wall),
        'rss_mb': process.memory_info().rss / 1e6,
        **{f'{name}_ms': {
            'median': 1e3 * statistics.median(w for w, _ in pairs),
            'p99': 1e3 * float(np.quantile([w for w, _ in pairs], 0.99)),
            'cpu_median': 1e3 * statistics.median(c for _, c in pairs),
            'count': len(pairs),
        } for name, pairs in times.items()},
    }
    Path(os.environ[REPORT]).write_text(json.dumps(report), encoding='utf-8')
    return code


def measure(
    width: int, height: int, encoding: str, rate: float, seconds: float, mode: str = ''
) -> dict[str, Any]:
    """Run the node against a camera of this size and rate; mode: of the real engine."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    environment = os.environ | {'FASTDDS_BUILTIN_TRANSPORTS': os.environ.get(
        'FASTDDS_BUILTIN_TRANSPORTS', 'LARGE_DATA')}
    environment[MODE] = mode
    os.environ.update(environment)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.json'
        node_process = subprocess.Popen(
            [sys.executable, __file__, '--serve'], env=environment | {REPORT: str(report)})
        rclpy.init()
        node = rclpy.create_node('benchmark_camera')
        received = {'masks': 0, 'corrections': 0}
        latencies: list[float] = []

        def on_masks(message: Image) -> None:
            stamp = message.header.stamp
            received['masks'] += 1
            latencies.append(time.time() - stamp.sec - stamp.nanosec / 1e9)

        def on_correction(message: Any) -> None:
            received['corrections'] += 1

        from detsam2_msgs.msg import MaskCorrection

        publisher = node.create_publisher(
            Image, '/detsam2/image', qos_profile_sensor_data)
        node.create_subscription(Image, '/detsam2/masks', on_masks, 20)
        node.create_subscription(MaskCorrection, '/detsam2/corrections', on_correction, 40)
        film = pictures(width, height, scene=bool(mode))
        message = Image(height=height, width=width, encoding=encoding, step=3 * width)
        message.header.frame_id = 'camera'
        deadline = time.monotonic() + 120
        while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
            rclpy.spin_once(node, timeout_sec=0.1)
        period = max(2 * len(film) - 2, 1)  # to and fro
        sent, begin = 0, time.perf_counter()
        while sent < rate * seconds:
            message.data = film[min(sent % period, period - sent % period)]
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
            sent += 1
            while (left := begin + sent / rate - time.perf_counter()) > 0:
                rclpy.spin_once(node, timeout_sec=left)
        end = time.monotonic() + 5
        while received['masks'] < sent and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
        node_process.send_signal(signal.SIGINT)
        node_process.wait(20)
        node.destroy_node()
        rclpy.shutdown()
        result = json.loads(report.read_text(encoding='utf-8'))
    # Frames of a window wait for its newest, which waits for nothing.
    newest = latencies[WINDOW - 1 :: WINDOW]
    late = latencies[len(latencies) // 4 :]  # the first frames find everything cold
    quantiles = {f'p{q}': 1e3 * float(np.quantile(late, q / 100)) for q in (50, 99) if late}
    return {
        'mode': mode or 'no engine', 'latency_ms': quantiles,
        'size': f'{width}x{height} {encoding}', 'rate_hz': rate, 'sent': sent, **received,
        'newest_frame_latency_ms': 1e3 * statistics.median(newest) if newest else None, **result}


def pictures(width: int, height: int, scene: bool) -> list[array.array]:
    """Return the bytes of the images to send: of a scene with one ball, else one of noise."""
    if scene:
        from detsam2_ros.scene.scene import SceneOptions, render

        frames = render(1, 40, width, height, SceneOptions(balls=1, late_ball=0, pocketing=0))
        images = [frame.image for frame in frames]
    else:
        images = [np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)]
    return [array.array('B', image.tobytes()) for image in images]


def table(results: list[dict[str, Any]]) -> str:
    """Format the results as a markdown table."""
    rows = ['| images | engine | rate | arrival to hand-over (CPU) | '
            'result to publication (CPU) | newest frame of a window to its mask | '
            'all frames, p50, p99 | share of a core | masks of sent |',
            '|---|---|---|---|---|---|---|---|---|']
    for r in results:
        parts = [r.get(f'{name}_ms', {'median': 0, 'cpu_median': 0})
                 for name in ('arrival_to_hand_over', 'result_to_publication')]
        rows.append(
            f'| {r["size"]} | {r["mode"]} | {r["rate_hz"]:g} Hz | '
            + ' | '.join(f'{p["median"]:.2f} ms ({p["cpu_median"]:.2f})' for p in parts)
            + f' | {r["newest_frame_latency_ms"]:.1f} ms | '
              f'{", ".join(f"{each:.0f} ms" for each in r["latency_ms"].values())} | '
              f'{r["core_share"]:.2f} | '
              f'{r["masks"]}/{r["sent"]} |')
    return '\n'.join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--width', type=int, default=1280)
    parser.add_argument('--height', type=int, default=720)
    parser.add_argument('--encodings', nargs='+', default=['rgb8', 'bgr8'])
    parser.add_argument('--rate', type=float, default=30.0, help='Hz')
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument(
        '--mode', choices=('window', 'online'), default='',
        help='the real engine with the shipped models in this mode')
    parser.add_argument('--json', action='store_true', help='one JSON object a line instead')
    given = parser.parse_args()
    if given.serve:
        return serve()
    # Not ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST: Fast DDS then ignores LARGE_DATA, and most large
    # images are lost.
    os.environ.setdefault('ROS_DOMAIN_ID', str(101 + os.getpid() % 100))
    results = [measure(given.width, given.height, encoding, given.rate, given.seconds, given.mode)
               for encoding in given.encodings]
    print('\n'.join(map(json.dumps, results)) if given.json else table(results))
    return 0


if __name__ == '__main__':
    sys.exit(main())
