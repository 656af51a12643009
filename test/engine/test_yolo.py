# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The YOLO detector, on the small model that is shipped and a drawn scene."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detsam2_ros.engine import ConfigError, Detections, Detector, ModelError, YoloDetector
from detsam2_ros.results.masks import box_iou
from detsam2_ros.scene.scene import CLASS_NAMES, Scene

pytest.importorskip('ultralytics', reason='the YOLO detector needs ultralytics')

from ultralytics.utils import downloads


@pytest.fixture(scope='module')
def detector() -> YoloDetector:
    return YoloDetector('demo', device='cpu')


@pytest.fixture(scope='module')
def frames() -> list:
    scene = iter(Scene(seed=5, width=256, height=256, length=24))
    return [frame for frame in scene if frame.index % 4 == 0]


@pytest.fixture(scope='module')
def images(frames: list) -> list[np.ndarray]:
    return [frame.image for frame in frames]


def same(a: Detections, b: Detections) -> None:
    assert a.class_ids.tolist() == b.class_ids.tolist()
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.05)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)


def correct(found: Detections, frame) -> float:
    """Return the share of clearly visible balls that have a box of their class."""
    wanted = np.flatnonzero(frame.visible_fraction > 0.8)
    iou = box_iou(frame.boxes[wanted], found.boxes)
    fits = (iou > 0.5) & (frame.class_ids[wanted][:, None] == found.class_ids[None])
    return float(fits.any(axis=1).mean())


def test_is_a_detector_and_takes_its_names_from_the_model(detector: YoloDetector) -> None:
    assert isinstance(detector, Detector)
    assert detector.class_names == CLASS_NAMES


def test_finds_the_balls_where_the_scene_says_they_are(detector, frames, images) -> None:
    found = detector.detect(images)
    shares = [correct(boxes, frame) for boxes, frame in zip(found, frames, strict=True)]
    assert np.mean(shares) > 0.8
    for boxes in found:
        assert ((boxes.scores >= 0.25) & (boxes.scores <= 1)).all()
        assert (boxes.boxes >= 0).all() and (boxes.boxes <= 256).all()


def test_takes_rgb_and_not_bgr(detector, frames, images) -> None:
    # ultralytics takes BGR arrays: with the channels forgotten, red balls become blue ones.
    swapped = [np.ascontiguousarray(image[..., ::-1]) for image in images]
    right = np.mean([correct(*pair) for pair in zip(detector.detect(images), frames, strict=True)])
    wrong = np.mean(
        [correct(*pair) for pair in zip(detector.detect(swapped), frames, strict=True)])
    assert right > wrong + 0.2


def test_the_confidence_may_change_between_two_calls(images) -> None:
    detector = YoloDetector('demo', device='cpu', confidence=0.25)
    before = detector.detect(images)
    scores = np.sort(np.concatenate([found.scores for found in before]))
    gap = int(np.diff(scores).argmax())
    middle = float(scores[gap : gap + 2].mean())
    detector.confidence = middle
    for found, all_of_them in zip(detector.detect(images), before, strict=True):
        assert (found.scores >= middle).all()
        assert len(found) == (all_of_them.scores >= middle).sum()
    with pytest.raises(ConfigError, match=r'confidence must be a number in 0\.\.1, got 1\.5'):
        detector.confidence = 1.5
    assert detector.confidence == middle
    detector.confidence = 0.25
    for found, first in zip(detector.detect(images), before, strict=True):
        same(found, first)


def test_a_batch_gives_what_single_images_give(detector, images) -> None:
    batch = detector.detect(images)
    assert len(batch) == len(images) and any(len(found) for found in batch)
    for image, found in zip(images, batch, strict=True):
        same(detector.detect([image])[0], found)


def test_images_of_several_sizes_keep_their_order_and_their_boxes(detector, images) -> None:
    small = cv2.resize(images[1], (320, 200))
    batch = detector.detect([images[0], small, images[2]])
    for image, found in zip([images[0], small, images[2]], batch, strict=True):
        same(detector.detect([image])[0], found)


def test_more_images_than_one_batch(detector, images) -> None:
    many = [images[i % len(images)] for i in range(35)]
    found = detector.detect(many)
    assert len(found) == 35
    same(found[0], found[len(images) * 5])


def test_an_empty_batch_and_an_empty_table(detector) -> None:
    assert detector.detect([]) == []
    nothing = detector.detect([np.full((120, 160, 3), 90, np.uint8)])[0]
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4)


def test_a_view_of_an_image_is_as_good_as_a_copy(detector, images) -> None:
    wide = np.concatenate([images[0], images[0]], axis=1)
    same(detector.detect([wide[:, :256]])[0], detector.detect([images[0]])[0])


def test_what_is_no_image_is_refused(detector) -> None:
    with pytest.raises(ValueError, match='image 0 must be uint8'):
        detector.detect([np.zeros((32, 32), np.uint8)])
    with pytest.raises(ValueError, match='float64'):
        detector.detect([np.zeros((32, 32, 3))])


def test_classes_by_name_and_by_id(detector, images) -> None:
    everything = detector.detect(images)[0]
    wanted = int(everything.class_ids[0])
    name = detector.class_names[wanted]
    for classes in ([name], [wanted], [str(wanted)], name.upper()):
        only = YoloDetector('demo', classes=classes, device='cpu')
        found = only.detect(images[:1])[0]
        assert set(found.class_ids.tolist()) == {wanted}
        assert only.class_names == detector.class_names


def test_confidence_and_number_of_boxes(images) -> None:
    few = YoloDetector('demo', device='cpu', max_detections=1).detect(images)
    assert max(len(found) for found in few) == 1
    sure = YoloDetector('demo', device='cpu', confidence=0.999).detect(images)
    assert sum(len(found) for found in sure) < len(images)


@pytest.mark.parametrize(('options', 'part'), [
    ({'classes': ['unicorn']}, "knows no class 'unicorn'; it knows 0 white"),
    ({'classes': [77]}, 'knows no class 77'),
    ({'classes': []}, 'classes is empty'),
    ({'confidence': 1.5}, 'confidence must be a number in 0..1'),
    ({'confidence': float('nan')}, 'confidence must be'),
    ({'iou': -1}, 'iou must be'),
    ({'max_detections': 0}, 'max_detections must be'),
    ({'image_size': 8}, 'image_size must be'),
])
def test_bad_parameters_are_named(options: dict, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        YoloDetector('demo', device='cpu', **options)


def one_line(error: pytest.ExceptionInfo) -> str:
    assert '\n' not in str(error.value)
    return str(error.value)


def test_a_missing_file_is_named_and_nothing_is_downloaded(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (str(tmp_path / 'no.pt'), 'no_such_model.pt', 'folder/yolo11n.pt'):
        with pytest.raises(ModelError) as error:
            YoloDetector(name)
        assert name in one_line(error) and 'do not exist' in one_line(error)
    assert not list(tmp_path.iterdir())


def test_a_published_name_without_network_says_so(tmp_path, monkeypatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise ConnectionError('no route to host')

    monkeypatch.setattr(downloads, 'attempt_download_asset', offline)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as error:
        YoloDetector('yolo11n.pt')
    assert 'yolo11n.pt' in one_line(error) and 'no route to host' in one_line(error)
    assert not list(tmp_path.glob('*.pt'))


def test_a_published_name_goes_to_the_cache_and_not_to_the_working_directory(
    detector, tmp_path, monkeypatch
) -> None:
    def fetch(file: Path, **_: object) -> str:
        Path(file).write_bytes(detector.path.read_bytes())
        return str(file)

    monkeypatch.setattr(downloads, 'attempt_download_asset', fetch)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    work = tmp_path / 'work'
    work.mkdir()
    monkeypatch.chdir(work)
    assert YoloDetector('yolo11n.pt', device='cpu').class_names == CLASS_NAMES
    assert (tmp_path / 'hub' / 'checkpoints' / 'yolo11n.pt').is_file()
    assert not list(work.iterdir())


def test_files_that_are_no_model_are_named(tmp_path) -> None:
    text = tmp_path / 'text.pt'
    text.write_text('not a model')
    tensors = tmp_path / 'tensors.pt'
    torch.save({'model': {'weight': torch.zeros(2)}}, tensors)
    script = tmp_path / 'yolo.py'
    script.write_text('')
    for path in (text, tensors, script, tmp_path):
        with pytest.raises(ModelError) as error:
            YoloDetector(path, device='cpu')
        assert str(path) in one_line(error)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match='cuda:7'):
        YoloDetector('demo', device='cuda:7')
    with pytest.raises(ModelError, match='nonsense'):
        YoloDetector('demo', device='nonsense')


def test_only_who_chooses_this_detector_imports_ultralytics(tmp_path) -> None:
    # AGPL-3.0: it must not come into the process of somebody who uses another detector.
    script = """
import sys
import detsam2_ros.engine
print([name for name in sys.modules if 'ultralytics' in name])
sys.modules['ultralytics'] = None  # as if it were not installed
try:
    detsam2_ros.engine.YoloDetector('demo')
except detsam2_ros.engine.ModelError as error:
    print(error)
"""
    done = python(script, tmp_path)
    imported, message = done.stdout.splitlines()
    assert imported == '[]', done.stderr
    assert 'pip install' in message and 'AGPL-3.0' in message


def test_leaves_the_process_as_it_was_writes_nothing_and_runs_no_code(tmp_path) -> None:
    script = f"""
import os, cv2, numpy as np, torch
torch.set_num_threads(2); cv2.setNumThreads(2)
state = lambda: (torch.get_num_threads(), cv2.getNumThreads(), dict(os.environ),
                 str(np.array([1 / 3])))
before = state()
from detsam2_ros.engine import ModelError, YoloDetector
found = YoloDetector('demo', device='cpu').detect([np.zeros((64, 64, 3), np.uint8)])
after = state()
from ultralytics.utils import SETTINGS
from ultralytics.utils.events import events
print(before == after, SETTINGS['sync'], events.enabled)

# A .pt file is a pickle; an allow-list keeps it from calling what it likes.
class Bomb:
    def __reduce__(self):
        return (os.mkdir, ({str(tmp_path / 'gone_off')!r},))
torch.save({{'model': Bomb()}}, {str(tmp_path / 'bomb.pt')!r})
try:
    YoloDetector({str(tmp_path / 'bomb.pt')!r}, device='cpu')
except ModelError as error:
    print('refused', error)
"""
    work = tmp_path / 'work'
    work.mkdir()
    done = python(script, work)
    # Nothing else on either stream: no banner, no settings message.
    state, refusal = done.stdout.splitlines()
    assert (state, done.stderr) == ('True False False', '')
    assert refusal.startswith('refused') and 'bomb.pt' in refusal
    assert not (tmp_path / 'gone_off').exists()
    assert not list(work.iterdir())


def python(script: str, folder: Path) -> subprocess.CompletedProcess:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, 'PYTHONPATH': str(root), 'HOME': str(folder.parent)}
    for name in ('XDG_CONFIG_HOME', 'YOLO_CONFIG_DIR'):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, '-c', script], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=120, check=False,
    )
