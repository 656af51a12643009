# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YOLO models as people export them: sizes, batches and class names of the file."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from detsam2_ros.engine import ConfigError, Detections, ModelError, YoloDetector
from detsam2_ros.paths import shared_file
from detsam2_ros.scene.scene import CLASS_NAMES, Scene

pytest.importorskip('ultralytics', reason='the YOLO detector needs ultralytics')


@pytest.fixture(scope='module')
def images() -> list[np.ndarray]:
    return [frame.image for frame in Scene(7, 256, 192, 6)]


@pytest.fixture(scope='module')
def expected(images: list[np.ndarray]) -> list[Detections]:
    return YoloDetector('demo', device='cpu').detect(images)


def exported(folder: Path, metadata: bool = True, **options: object) -> Path:
    """Export the shipped detector as ONNX for 256 pixels, as a user does."""
    onnx = pytest.importorskip('onnx', reason='exporting needs onnx')
    pytest.importorskip('onnxruntime', reason='running an export needs onnxruntime')
    from ultralytics import YOLO

    weights = folder / 'balls.pt'
    shutil.copy(shared_file('models/detsam2_demo_yolo.pt'), weights)
    path = YOLO(weights).export(format='onnx', imgsz=256, simplify=False, **options)
    if not metadata:
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
    return Path(path)


def same(found: list[Detections], expected: list[Detections]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.class_ids.tolist() == other.class_ids.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.5)


@pytest.mark.parametrize('options', [
    {'dynamic': True}, {}, {'metadata': False}, {'metadata': False, 'batch': 4},
])  # fmt: skip
def test_an_export_finds_what_the_model_finds(options, images, expected, tmp_path, caplog) -> None:
    detector = YoloDetector(exported(tmp_path, **options), device='cpu')
    same(detector.detect(images), expected)
    first = len(caplog.records)
    same(detector.detect(images), expected)
    assert len(caplog.records) == first  # what it found out, it remembers
    if options.get('metadata', True):
        assert not first and detector.class_names == CLASS_NAMES
    else:
        assert 'its classes are called class0' in caplog.text
        assert ('takes at most 1 image at once' in caplog.text) == ('batch' not in options)


def test_a_size_that_an_export_cannot_take_is_refused(images, expected, tmp_path) -> None:
    with pytest.raises(ConfigError, match='image_size 128 cannot be: balls.onnx .* 256x256'):
        YoloDetector(exported(tmp_path), device='cpu', image_size=128)
    same(YoloDetector(tmp_path / 'balls.onnx', device='cpu', image_size=256).detect(images),
         expected)  # fmt: skip
    bare = exported(tmp_path, metadata=False)
    with pytest.raises(ModelError, match='Got: 128 Expected: 256') as caught:
        YoloDetector(bare, device='cpu', image_size=128)
    assert '\n' not in str(caught.value)


def test_the_size_that_is_asked_for_is_used(images, expected, tmp_path) -> None:
    path = exported(tmp_path, metadata=False, dynamic=True)
    same(YoloDetector(path, device='cpu', image_size=256).detect(images), expected)
    other = YoloDetector(path, device='cpu').detect(images)  # the file does not say: 640
    assert [len(found) for found in other] != [len(found) for found in expected]


# ---- batches and names, with any file


@pytest.mark.parametrize(('most', 'calls'), [
    (1, [6, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    (2, [6, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    (4, [6, 3, 3, 3, 3]),
    (6, [6, 6]),
])  # fmt: skip
def test_a_refused_batch_is_tried_in_smaller_ones_and_that_is_remembered(
    most, calls, images, expected, monkeypatch, caplog
) -> None:
    detector = YoloDetector('demo', device='cpu')
    predict, asked = detector._model.predict, []

    def refuse(batch: list, **options: object) -> object:
        asked.append(len(batch))
        if len(batch) > most:
            raise RuntimeError(f'got {len(batch)}\nexpected {most}')
        return predict(batch, **options)

    monkeypatch.setattr(detector._model, 'predict', refuse)
    for _ in range(2):
        same(detector.detect(images), expected)
    assert asked == calls
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == (most < 6)


def test_a_detector_that_fails_with_one_image_too_is_asked_in_whole_batches(
    images, monkeypatch
) -> None:
    detector, asked = YoloDetector('demo', device='cpu'), []

    def fail(batch: list, **_: object) -> None:
        asked.append(len(batch))
        raise RuntimeError('no memory')

    monkeypatch.setattr(detector._model, 'predict', fail)
    for _ in range(2):
        with pytest.raises(RuntimeError, match='no memory'):
            detector.detect(images[:2])
    assert asked == [2, 1, 2, 1]


def named(folder: Path, **changes: str) -> Path:
    """Write the shipped detector with other class names: c0='white' and so on."""
    from ultralytics import YOLO

    model = YOLO(shared_file('models/detsam2_demo_yolo.pt'))
    names = {**model.model.names, **{int(key[1:]): name for key, name in changes.items()}}
    model.model.names = names
    model.save(folder / 'named.pt')
    return folder / 'named.pt'


def test_class_names_come_without_blanks_around_them(images, tmp_path) -> None:
    path = named(tmp_path, **{f'c{i}': f' {name}\r' for i, name in CLASS_NAMES.items()})
    assert YoloDetector(path, device='cpu').class_names == CLASS_NAMES
    purple = YoloDetector(path, device='cpu', classes=['purple'])
    assert {int(i) for found in purple.detect(images) for i in found.class_ids} <= {4}


@pytest.mark.parametrize(('changes', 'fault'), [
    ({'c3': ' '}, 'the name of class 3 is empty'),
    ({'c3': 'a\x07b'}, r"the name of class 3 is not printable: 'a\\x07b'"),
    ({'c3': 'blue\r'}, "the name of class 3 is that of class 2 too: 'blue'"),
    ({'c3': '', 'c5': ''}, 'the name of class 3 is empty; the name of class 5 is empty: give'),
])  # fmt: skip
def test_names_that_cannot_be_are_named_and_can_be_left_out(changes, fault, tmp_path) -> None:
    path = named(tmp_path, **changes)
    with pytest.raises(ModelError, match=fault) as caught:
        YoloDetector(path, device='cpu')
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    detector = YoloDetector(path, device='cpu', classes=['0', 'purple'])
    bad = {int(key[1:]) for key in changes}
    assert detector.class_names == {i: n for i, n in CLASS_NAMES.items() if i not in bad}
