# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is written is read back as it was, by our readers and by the tools of each format."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from pycocotools import mask as coco
from segment_cases import VOID, content, names_used, video_of, videos

from detsam2_ros.quality import formats
from detsam2_ros.quality.formats.davis_out import palette
from detsam2_ros.quality.segments import Segment, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask

WRITERS = {
    'davis': formats.write_davis,
    'kitti-mots': formats.write_kitti_mots,
    'youtube-vis': formats.write_youtube_vis,
}
TWO = video_of('two', {
    0: np.array([[1, 1, 0, 2], [0, 0, 0, 2], [VOID, 0, 0, 2]]),
    1: np.array([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, VOID]]),
    3: np.array([[0, 0, 0, 0], [2, 2, 0, 0], [0, 0, 0, 0]]),
}, {1: 1, 2: 5})  # fmt: skip
_RLE = '04'  # of 2 x 2 pixels, all set


@pytest.mark.parametrize('kind', WRITERS)
@settings(max_examples=60, deadline=None)
@given(wanted=videos())
def test_read_back_as_written(kind: str, wanted: list[SegmentedVideo]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        WRITERS[kind](wanted, Path(folder, 'out'))
        found = formats.read_truth(Path(folder, 'out'))
    assert content(found) == content(wanted)
    used = names_used(wanted)
    assert names_used(found) == used


def test_davis_pictures_have_the_palette_of_davis(tmp_path: Path) -> None:
    formats.write_davis([TWO], tmp_path / 'out')
    files = sorted((tmp_path / 'out' / 'two').iterdir())
    assert [file.name for file in files] == ['00000.png', '00001.png', '00003.png']
    with Image.open(files[0]) as image:
        assert image.mode == 'P'
        assert np.array(image).tolist() == [[1, 1, 0, 2], [0, 0, 0, 2], [255, 0, 0, 2]]
        colours = np.array(image.getpalette()).reshape(-1, 3)
        assert np.array(image.convert('RGB'))[0, [0, 2, 3]].tolist() == [
            [128, 0, 0], [0, 0, 0], [0, 128, 0]]  # fmt: skip
    assert (colours == palette()).all()
    assert colours[[9, 13, 18, 21, 22, 255]].tolist() == [
        [191, 0, 0], [191, 0, 128], [0, 191, 0], [128, 64, 128], [22, 22, 22], [255, 255, 255]
    ]  # fmt: skip


def test_kitti_mots_lines(tmp_path: Path) -> None:
    formats.write_kitti_mots([TWO], tmp_path / 'out')
    lines = [line.split() for line in (tmp_path / 'out' / 'two.txt').read_text().splitlines()]
    assert [line[:5] for line in lines] == [
        ['0', '1001', '1', '3', '4'], ['0', '2002', '2', '3', '4'], ['0', '10000', '10', '3', '4'],
        ['1', '1001', '1', '3', '4'], ['1', '10000', '10', '3', '4'], ['3', '2002', '2', '3', '4'],
    ]  # fmt: skip
    runs = {'size': [3, 4], 'counts': lines[1][5].encode()}
    assert coco.decode(runs).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
    seqmap = (tmp_path / 'out' / 'evaluate_mots.seqmap.all').read_text()
    assert seqmap == 'two empty 000000 000003\n'


@pytest.mark.parametrize('info, frames', [
    ('[Sequence]\nname=MOTS20-02\nseqLength=5\n', 5),
    ('[Sequence]\nseqLength=many\n', 3),
    ('no section', 3),
    (None, 3),
])  # fmt: skip
def test_frames_of_mots_challenge_count_from_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, info: str | None, frames: int
) -> None:
    folder = tmp_path / 'train' / 'MOTS20-02'
    (folder / 'gt').mkdir(parents=True)
    (folder / 'gt' / 'gt.txt').write_text(
        f'1 2001 2 2 2 {_RLE}\n3 2002 2 2 2 {_RLE}\n0 2001 2 2 2 {_RLE}\n'
    )
    if info is not None:
        (folder / 'seqinfo.ini').write_text(info)
    for path in (folder.parent, folder, folder / 'gt', folder / 'gt' / 'gt.txt'):
        (video,) = formats.read_truth(path)
        assert video.name == 'MOTS20-02'
        shown = {n: {own.id for own in frame.segments} for n, frame in video.frames.items()}
        assert shown == {0: {2001}, 2: {2002}} | {
            number: set() for number in range(frames) if number not in (0, 2)
        }
    assert 'its frame is not in 1..' in caplog.text


def test_youtube_vis_files(tmp_path: Path) -> None:
    formats.write_youtube_vis([TWO], tmp_path / 'out')
    table = json.loads((tmp_path / 'out' / 'instances.json').read_text())
    assert table['videos'] == [{
        'id': 1, 'name': 'two', 'height': 3, 'width': 4, 'length': 4,
        'file_names': [f'two/0000{n}.jpg' for n in range(4)], 'missing_frames': [2],
    }]  # fmt: skip
    assert table['categories'] == [{'id': 1, 'name': 'car'}, {'id': 5, 'name': 'person'}]
    first = table['annotations'][0]
    assert (first['bboxes'], first['areas']) == (
        [[0, 0, 2, 1], [1, 0, 2, 1], None, None], [2, 2, None, None])
    runs = coco.frPyObjects(first['segmentations'][1], 3, 4)
    assert coco.decode(runs).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    results = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert [row['category_id'] for row in results] == [1, 5]
    assert coco.area(results[1]['segmentations'][0]) == 3


def trackeval_datasets() -> Any:
    sys_path = pytest.importorskip('trackeval', reason='trackeval is not installed')
    return sys_path.datasets


def test_trackeval_reads_kitti_mots(tmp_path: Path) -> None:
    datasets = trackeval_datasets()
    formats.write_kitti_mots([TWO], tmp_path / 'gt')
    formats.write_kitti_mots([TWO], tmp_path / 'trackers' / 'ours' / 'data')
    (tmp_path / 'trackers' / 'ours' / 'data.detsam2.json').unlink()
    dataset = datasets.KittiMOTS({
        'GT_FOLDER': str(tmp_path / 'gt'), 'TRACKERS_FOLDER': str(tmp_path / 'trackers'),
        'SEQ_INFO': {'two': 4}, 'GT_LOC_FORMAT': '{gt_folder}/{seq}.txt', 'PRINT_CONFIG': False,
    })  # fmt: skip
    raw = dataset.get_raw_seq_data('ours', 'two')
    assert [ids.tolist() for ids in raw['gt_ids']] == [[1001, 2002], [1001], [], [2002]]
    assert [coco.area(mask) for mask in raw['gt_ignore_region'][:2]] == [1, 1]
    data = dataset.get_preprocessed_seq_data(raw, 'pedestrian')
    assert (data['num_gt_ids'], data['num_gt_dets'], data['num_tracker_dets']) == (1, 2, 2)
    assert data['similarity_scores'][3].tolist() == [[1.0]]


def test_trackeval_reads_youtube_vis(tmp_path: Path) -> None:
    datasets = trackeval_datasets()
    formats.write_youtube_vis([TWO], tmp_path / 'out')
    for kind, name in (('gt', 'instances'), ('trackers', 'results')):
        place = tmp_path / kind / 'youtube_vis_all'
        place = place / 'ours' / 'data' if kind == 'trackers' else place
        place.mkdir(parents=True)
        (tmp_path / 'out' / f'{name}.json').rename(place / f'{name}.json')
    dataset = datasets.YouTubeVIS({
        'GT_FOLDER': f'{tmp_path}/gt/', 'TRACKERS_FOLDER': f'{tmp_path}/trackers/',
        'SPLIT_TO_EVAL': 'all', 'PRINT_CONFIG': False,
    })  # fmt: skip
    raw = dataset.get_raw_seq_data('ours', 'two')
    data = dataset.get_preprocessed_seq_data(raw, 'person')
    assert (data['num_gt_dets'], data['num_tracker_dets'], data['num_timesteps']) == (2, 2, 4)
    assert data['similarity_scores'][3].tolist() == [[1.0]]


def test_where_masks_overlap_the_first_object_keeps_the_pixels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = np.zeros((2, 2, 3), bool)
    a[0], b[:, 0] = True, True
    frame = SegmentedFrame((Segment(3, 1, Mask.of(a)), Segment(4, 1, Mask.of(b))), Mask.of(a | b))
    for kind, write in WRITERS.items():
        write([SegmentedVideo('v', (2, 3), {0: frame}, {1: 'car'})], tmp_path / kind)
        (found,) = formats.read_truth(tmp_path / kind)
        assert [thing.mask for thing in found.frames[0].segments] == [
            Mask.of(a), Mask.of(b & ~a)]  # fmt: skip
        assert found.frames[0].ignored is None
        assert '1 mask cut: an object named before it has some pixels' in caplog.text
        caplog.clear()


@pytest.mark.parametrize('kind, room, why', [
    ('davis', 254, 'DAVIS has room for 254'), ('kitti-mots', 1000, 'room for 1000 of a class'),
])  # fmt: skip
def test_what_a_format_has_no_room_for_is_counted(
    kind: str, room: int, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.arange(1, room + 3).reshape(1, -1) * 7
    video = video_of('many', {0: labels}, dict.fromkeys(labels.ravel().tolist(), 0))
    WRITERS[kind]([video], tmp_path / 'out')
    (found,) = formats.read_truth(tmp_path / 'out')
    assert [thing.id for thing in found.frames[0].segments] != []
    assert {thing.id for thing in found.frames[0].segments} == set(range(7, 7 * room + 1, 7))
    assert '2 objects left out' in caplog.text
    assert why in caplog.text


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    other = SegmentedVideo('t/w/o', TWO.size, {})
    with pytest.raises(formats.InputError, match='two videos would be called t_w_o; rename one'):
        formats.write_davis([other, other], tmp_path / 'out')


def test_pictures_that_lie_there_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    formats.write_davis([TWO], tmp_path / 'out')
    with pytest.raises(formats.InputError, match='two holds PNGs already; give another folder'):
        formats.write_davis([TWO], tmp_path / 'out')


def record_of(**changed: Any) -> str:
    """Make the file beside a folder, with something in it that no writer says."""
    row = {'file': 'two', 'name': 'two', 'size': [3, 4], 'frames': [[0, 1]], 'objects': []}
    return json.dumps({'videos': [{**row, **changed}], 'classes': []})


@pytest.mark.parametrize('text', [
    '{"videos": [3]}', record_of(size=[-1, 0]), record_of(frames=[[-9, 3]]),
    record_of(frames=[[3, 1]]), record_of(frames=[[0, 10**20]]), record_of(objects=[[1, 0, 5]]),
    record_of(objects=[[1, 10**20, 5]]), record_of(objects=[[1, 1, -5]]),
])  # fmt: skip
def test_a_file_of_others_beside_a_folder_is_left_alone(tmp_path: Path, text: str) -> None:
    formats.write_davis([TWO], tmp_path / 'out')
    (tmp_path / 'out.json').write_text('{"videos": [3]}')
    assert content(formats.read_truth(tmp_path / 'out')) == content([TWO])
    (tmp_path / 'out.detsam2.json').write_text(text)
    with pytest.raises(formats.InputError, match='does not say what out beside it holds'):
        formats.read_truth(tmp_path / 'out')
