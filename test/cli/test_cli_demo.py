# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The offline demo: its scores, and that it leaves what it says."""

import cv2
import fakes
import numpy as np
import pytest

from detsam2_ros.cli import segment_video
from detsam2_ros.demo import offline
from detsam2_ros.engine import Engine
from detsam2_ros.scene.scene import Scene
from detsam2_ros.scene.score import Score, pairs

LEFT, RIGHT = (slice(2, 6), slice(2, 6)), (slice(2, 6), slice(12, 16))


def labels(**squares: tuple) -> np.ndarray:
    image = np.zeros((8, 20), np.uint16)
    for name, where in squares.items():
        image[where] = int(name.removeprefix('id'))
    return image


def test_pairs_are_one_to_one_and_the_best_together() -> None:
    truth = labels(id1=LEFT, id2=RIGHT)
    half = (slice(2, 6), slice(12, 14))
    found = labels(id9=LEFT, id5=half)
    own = pairs(truth, np.array([1, 2]), found)
    assert own.ious == {1: 1.0, 2: 0.5} and own.partners == {1: 9, 2: 5}
    # One object over both balls is the object of one of them.
    own = pairs(truth, np.array([1, 2]), labels(id3=(slice(2, 6), slice(2, 16))))
    assert list(own.partners.values()) == [3] and sorted(own.ious.values())[0] == 0
    own = pairs(truth, np.array([1, 2]), labels())
    assert own.ious == {1: 0, 2: 0} and own.partners == {}
    assert pairs(truth, np.array([], int), found).ious == {}


def test_id_switches_are_counted_once_each_also_across_gaps() -> None:
    score, truth, ball = Score(), labels(id1=LEFT), np.array([1])
    for found in ({'id4': LEFT}, {'id4': LEFT}, {}, {'id6': LEFT}, {'id6': LEFT}, {'id4': LEFT}):
        score.add(truth, ball, labels(**found))
    assert score.switches == 2
    assert score.mean == pytest.approx(5 / 6)
    assert Score().mean == 0.0
    assert Score().add(truth, np.array([], int), truth) == 1.0


def test_the_demo_leaves_a_scene_its_truth_and_a_sheet(tmp_path, monkeypatch, capsys) -> None:
    class Oracle:
        """A detector that knows the truth, by the picture's place in the film."""

        def __init__(self) -> None:
            scene = Scene(3, 96, 96, 14)
            self.class_names = scene.class_names
            self.frames = [frame for frame in scene if frame.index % 5 == 0]

        def detect(self, images: list) -> list:
            frames = [self.frames.pop(0) for _ in images]
            return [
                fakes.detections([
                    (int(frame.class_ids[i]), tuple(frame.boxes[i]))
                    for i in np.flatnonzero(frame.visible)
                ])
                for frame in frames
            ]

    made = []

    def make(given: object, config: object) -> Engine:
        made.append(given)
        config = segment_video.EngineConfig(window_size=5, detect_interval=5, max_propagation=10)
        return Engine(fakes.colour_sam2(64), Oracle(), config)

    monkeypatch.setattr(segment_video.command_line, 'build_engine', make)
    out = tmp_path / 'demo'
    run = ['-o', str(out), '--seed', '3', '--frames', '14', '--size', '96', '--quiet']
    assert offline.main(run) == 0
    assert (made[0].sam2, made[0].yolo) == ('demo', 'demo')
    said = capsys.readouterr().out
    assert 'mean IoU' in said and 'id switches' in said and str(out / 'sheet.png') in said

    truth = np.load(out / 'scene_truth.npz')
    assert truth['labels'].shape == (14, 96, 96)
    assert set(truth['ids']) >= set(np.unique(truth['labels'])) - {0}
    assert truth['visible_fraction'].shape == (14, len(truth['ids']))
    sheet = cv2.imread(str(out / 'sheet.png'))
    assert sheet.shape[1] == 4 * 368 + 8
    capture = cv2.VideoCapture(str(out / 'scene.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 14
    assert len(list((out / 'segmented' / 'masks').iterdir())) == 14

    assert offline.main(run) == 0  # again, over what is there


def test_bad_arguments_are_named(tmp_path, capsys) -> None:
    for more, part in ((['--frames', '0'], '--frames'), (['--size', '10'], '10x10')):
        assert offline.main(['-o', str(tmp_path / 'd'), *more]) == 2
        err = capsys.readouterr().err
        assert part in err and 'Traceback' not in err
