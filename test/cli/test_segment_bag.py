# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""segment_bag from the command line to its bag."""

import sys
from pathlib import Path

import bag_recordings as made
import fakes
import pytest
from bag_recordings import FRAMES, read

from detsam2_ros.bags import stream
from detsam2_ros.cli import bag_command, segment_bag
from detsam2_ros.engine import Engine
from detsam2_ros.engine.stream import Stream

recording = made.recording
SMALL = ['-K', '3', '-D', '6', '-M', '6', '--device', 'cpu']


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list:
    """Let the command run on a SAM 2 that segments by colour; returns the configs asked for."""
    asked: list = []

    def build(given, config):
        asked.append(config)
        return made.engine(config)

    monkeypatch.setattr(bag_command.command_line, 'build_engine', build)
    return asked


def test_a_bag_gets_masks_and_every_frame_is_told(configs, recording, tmp_path, capsys) -> None:
    output = tmp_path / 'out.mcap'
    assert segment_bag.main([str(recording), '-o', str(output), *SMALL]) == 0
    assert len(configs) == 1 and configs[0].max_propagation == 6
    said = capsys.readouterr()
    assert f'/front/image_raw: {FRAMES} read = {FRAMES} segmented + 0 refused; 2 obj' in said.out
    assert '/rear/image/compressed: ' in said.out and f'written {output}' in said.out
    assert f'{2 * FRAMES}/{2 * FRAMES}' in said.err  # the bar
    assert len(read(output)['/rear/image/masks']) == FRAMES


def test_options_reach_the_job(configs, recording, tmp_path, capsys) -> None:
    arguments = ['--topics', '/front/image_raw', '--only-masks', '--final-only', '-q', '--under']
    arguments += ['/d', '--mode', 'online', '--compression', 'none']
    output = tmp_path / 'folder'
    assert segment_bag.main([str(recording), '-o', str(output), *SMALL, *arguments]) == 0
    assert sorted(read(output)) == ['/d/front/image_raw/masks', '/d/front/image_raw/objects']
    assert configs[0].mode == 'online'
    said = capsys.readouterr()
    assert said.out == said.err == ''


def test_what_the_user_can_put_right(configs, recording, tmp_path, capsys) -> None:
    output = ['-o', str(tmp_path / 'out.mcap'), *SMALL]
    for arguments, says in (
        ([str(tmp_path / 'no.mcap'), *output], 'does not exist'),
        ([str(recording), *output, '--topics', '/x'], 'no topic /x'),
        ([str(recording), *output, '-M', '2'], '--max-propagation'),
        ([str(recording), *output, '--no-detector'], '--bank'),
        ([str(recording), *output, '--bank', str(recording)], 'in.mcap'),
    ):
        assert segment_bag.main(arguments) == 2
        said = capsys.readouterr()
        assert said.err.startswith('segment_bag: ') and says in said.err
        assert said.err.count('\n') == 1 and not said.out
    assert not configs  # no model was loaded for it


def test_ctrl_c_and_the_same_command_again(configs, recording, tmp_path, monkeypatch, capsys):
    take = stream.TopicSegmenter._take
    calls = []

    def interrupted(self, *message) -> None:
        calls.append(message)
        if len(calls) == FRAMES + 3:
            raise KeyboardInterrupt
        take(self, *message)

    monkeypatch.setattr(stream.TopicSegmenter, '_take', interrupted)
    command = [str(recording), '-o', str(tmp_path / 'out.mcap'), *SMALL]
    assert segment_bag.main(command) == 130
    assert 'the same command goes on' in capsys.readouterr().err
    assert segment_bag.main(command) == 0
    said = capsys.readouterr()
    assert '/front/image_raw was finished before' in said.out + said.err
    assert len(calls) == FRAMES + 3 + FRAMES


def test_frames_without_masks_are_an_error_at_the_end(configs, recording, tmp_path, monkeypatch,
                                                      capsys):
    def broken(self, image, stamp, tag):
        raise RuntimeError('out of memory')

    monkeypatch.setattr(Stream, 'add', broken)
    assert segment_bag.main([str(recording), '-o', str(tmp_path / 'out.mcap'), *SMALL]) == 1
    said = capsys.readouterr()
    assert f'inference failed on {2 * FRAMES} frames' in said.err
    assert f'{FRAMES} inference_failed' in said.out and 'out of memory' in said.out


def test_a_detector_that_failed_every_time_is_an_error_at_the_end(
    recording, tmp_path, monkeypatch, capsys
) -> None:
    broken = fakes.BrokenDetector(RuntimeError('Got: 2\n Expected: 1'), working=0)
    monkeypatch.setattr(
        bag_command.command_line,
        'build_engine',
        lambda given, config: Engine(fakes.colour_sam2(128), broken, config),
    )
    assert segment_bag.main([str(recording), '-o', str(tmp_path / 'out.mcap'), *SMALL]) == 1
    said = capsys.readouterr()
    assert 'the detector failed every time on /front/image_raw, /rear/image/compressed' in said.err
    assert 'Got: 2 Expected: 1' in said.out and f'{FRAMES} segmented + 0 refused' in said.out


def test_without_the_library_one_sentence(tmp_path, monkeypatch, capsys) -> None:
    for name in [n for n in sys.modules if n.partition('.')[0] == 'rosbags']:
        monkeypatch.delitem(sys.modules, name)
    for name in [n for n in sys.modules if n.startswith('detsam2_ros.bags')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, 'detsam2_ros.cli.bag_command')
    monkeypatch.setitem(sys.modules, 'rosbags.interfaces', None)
    monkeypatch.setitem(sys.modules, 'rosbags', None)
    assert segment_bag.main([str(Path('in.mcap')), '-o', str(tmp_path / 'o.mcap')]) == 2
    said = capsys.readouterr().err
    assert 'pip install rosbags' in said and said.count('\n') == 1


@pytest.mark.parametrize(('images', 'status', 'says'), [
    ([b'no image'] * 4, 1, 'only 0 of 4 messages could be segmented (4 undecodable_message)'),
    ([made.raw(made.drawn(0), 0)] * 3, 1, '(2 repeated_stamp; --stamps bag takes the times of'),
    ([made.raw(made.drawn(0), i // 2) for i in range(4)], 0, ''),  # each one twice
    ([], 0, ''),
])
def test_a_topic_without_masks_is_a_failure_also_when_quiet(
    configs, tmp_path, capsys, images, status, says
) -> None:
    messages = [('/camera', made.IMAGE, made.START + i, data) for i, data in enumerate(images)]
    messages += [('/other', made.IMAGE, made.START, made.raw(made.drawn(0), 0))]
    source = made.write(tmp_path / 'in', messages)
    output = ['-o', str(tmp_path / 'out.mcap'), '-q', *SMALL]
    assert segment_bag.main([str(source), *output]) == status
    said = capsys.readouterr()
    assert not said.out and says in said.err
    assert said.err.count('\n') == (1 if says else 0)


def test_the_times_of_the_bag(configs, tmp_path, capsys) -> None:
    messages = [('/camera', made.IMAGE, made.START + i * made.STEP, made.raw(made.drawn(i), 0))
                for i in range(4)]  # fmt: skip
    source = made.write(tmp_path / 'in', messages)
    for stamps, status, says in (
        ('header', 1, '4 read = 1 segmented + 3 refused (3 repeated_stamp; --stamps bag takes'),
        ('bag', 0, '4 read = 4 segmented + 0 refused; '),
    ):
        output = ['-o', str(tmp_path / f'{stamps}.mcap'), *SMALL]
        assert segment_bag.main([str(source), *output, '--stamps', stamps]) == status
        assert says in capsys.readouterr().out
