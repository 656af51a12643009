# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A run that was broken off: the same command goes on, and the output is the same."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import bag_recordings as made
import pytest
from bag_recordings import FRAMES, engine

from detsam2_ros import bags
from detsam2_ros.bags.job import Watcher

ROOT = Path(__file__).resolve().parents[2]

recording = made.recording


class Breaker(Watcher):
    """Raises at the n-th frame; notes the topics that were finished before."""

    def __init__(self, at: int | None = None, error: BaseException | None = None):
        self.frames, self.skipped, self.notes = 0, [], []
        self._at, self._error = at, error

    def begin(self, topics, notes) -> None:
        self.notes = notes

    def skip(self, topic, report) -> None:
        self.skipped.append((topic.name, report.messages))

    def frame(self) -> None:
        self.frames += 1
        if self.frames == self._at:
            raise self._error or KeyboardInterrupt


@pytest.mark.parametrize('at', [FRAMES, FRAMES + 5, 2 * FRAMES])
def test_ctrl_c_at_any_frame(recording, tmp_path, at) -> None:
    whole, output = tmp_path / 'whole' / 'out.mcap', tmp_path / 'out.mcap'
    whole.parent.mkdir()
    job = bags.Job(recording, output)
    with pytest.raises(KeyboardInterrupt):
        bags.segment(job, engine(), watcher=Breaker(at))
    assert not output.exists()
    watcher = Breaker()
    report = bags.segment(job, engine(), watcher=watcher)
    done = [('/front/image_raw', FRAMES)] if at > FRAMES else []
    assert watcher.skipped == done
    assert watcher.frames == 2 * FRAMES - FRAMES * len(done)
    assert report == bags.segment(bags.Job(recording, whole), engine())
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['in', 'out.mcap', 'whole']


def test_other_options_restart(recording, tmp_path) -> None:
    output = tmp_path / 'out.mcap'
    with pytest.raises(KeyboardInterrupt):
        bags.segment(bags.Job(recording, output), engine(), watcher=Breaker(FRAMES + 2))
    watcher = Breaker()
    job = bags.Job(recording, output, settings={'sam2': 'another one'})
    bags.segment(job, engine(), watcher=watcher)
    assert not watcher.skipped and 'restarted' in watcher.notes[0]


def test_a_bag_that_changed_restarts(recording, tmp_path) -> None:
    output = tmp_path / 'out.mcap'
    job = bags.Job(recording, output)
    with pytest.raises(KeyboardInterrupt):
        bags.segment(job, engine(), watcher=Breaker(FRAMES + 2))
    os.utime(recording, (1, 1))
    watcher = Breaker()
    bags.segment(job, engine(), watcher=watcher)
    assert not watcher.skipped


@pytest.mark.parametrize('lost', ['report.json', 'cut'])
def test_results_that_the_disk_lost_are_made_again(recording, tmp_path, lost) -> None:
    output = tmp_path / 'out.mcap'
    job = bags.Job(recording, output)
    with pytest.raises(KeyboardInterrupt):
        bags.segment(job, engine(), watcher=Breaker(FRAMES + 2))
    folder = tmp_path / 'out.mcap.part' / 'topic_000'
    if lost == 'cut':
        file = next(folder.glob('*.mcap'))
        file.write_bytes(file.read_bytes()[:-100])
    else:
        (folder / lost).unlink()
    watcher = Breaker()
    report = bags.segment(job, engine(), watcher=watcher)
    assert not watcher.skipped
    assert [topic.segmented for topic in report.topics] == [FRAMES, FRAMES]


def test_one_run_at_a_time(recording, tmp_path) -> None:
    part = tmp_path / 'out.mcap.part'
    part.mkdir()
    with (part / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(bags.BagError, match='another segment_bag is writing'):
            bags.segment(bags.Job(recording, tmp_path / 'out.mcap'), engine())
        assert part.is_dir()
    assert bags.segment(bags.Job(recording, tmp_path / 'out.mcap'), engine()).segmented


def test_nothing_stays_of_a_run_that_could_not_begin(recording, tmp_path) -> None:
    error = bags.BagError('the disk is full')
    with pytest.raises(bags.BagError, match='the disk is full'):
        bags.segment(
            bags.Job(recording, tmp_path / 'out.mcap'), engine(), watcher=Breaker(2, error))
    assert [path.name for path in tmp_path.iterdir()] == ['in']


def test_kill_9_and_again(recording, tmp_path) -> None:
    """In a process of its own, which also shows that no ROS is needed."""
    script = f"""
import os, signal, sys
sys.path[:0] = {[str(ROOT), str(ROOT / 'test' / 'support')]!r}
import bag_recordings as made
from pathlib import Path
from detsam2_ros import bags
from detsam2_ros.bags.job import Watcher

class Killed(Watcher):
    left = {FRAMES + 6}
    def frame(self):
        self.left -= 1
        if not self.left:
            ros = [n for n in sys.modules if n.split('.')[0] in ('rclpy', 'sensor_msgs')]
            print('ros:', ros, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

bags.segment(bags.Job(*map(Path, sys.argv[1:])), made.engine(), watcher=Killed())
"""
    whole, output = tmp_path / 'whole' / 'out.mcap', tmp_path / 'out.mcap'
    whole.parent.mkdir()
    killed = subprocess.run(
        [sys.executable, '-c', script, str(recording), str(output)],
        capture_output=True, text=True, check=False,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert killed.stdout.strip() == 'ros: []'
    assert not output.exists()
    watcher = Breaker()
    bags.segment(bags.Job(recording, output), engine(), watcher=watcher)
    assert watcher.skipped == [('/front/image_raw', FRAMES)]
    bags.segment(bags.Job(recording, whole), engine())
    assert output.read_bytes() == whole.read_bytes()
