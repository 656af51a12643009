# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Broken, hostile and mistaken files: one sentence, or a count of what was left out."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from segment_cases import CLIP, folder, record_clip

from detsam2_ros.quality import formats
from detsam2_ros.quality.formats import InputError, read_results, read_truth

RLE = '04'  # of 2 x 2 pixels, all set
GOOD = f'0 1001 1 2 2 {RLE}'


def png(path: Path, pixels: list[list[int]], mode: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(pixels, mode)).save(path)


def frames_of(path: Path, form: str = 'auto') -> dict[int, dict[int, int]]:
    """Return class by id of each frame of the only video."""
    (video,) = read_truth(path, form)
    return {
        number: {thing.id: thing.class_id for thing in frame.segments}
        for number, frame in video.frames.items()
    }


# ---- what a path is -----------------------------------------------------------------------------

def text_of(name: str, text: str) -> Callable[[Path], None]:
    return lambda path: (path / name).write_text(text) and None


@pytest.mark.parametrize('make, name, says', [
    (lambda path: None, 'no', '/no do(es)? not exist'),
    (lambda path: None, '.', 'is not DAVIS .*; it is an empty folder'),
    (text_of('a.jpg', 'x'), '.', 'is not DAVIS .*; it holds 1 .jpg'),
    (text_of('a.xml', 'x'), 'a.xml', "it is a file of type '.xml'"),
    (text_of('a.txt', 'hello'), 'a.txt', "a.txt has no line 'frame id class height width rle'"),
    (text_of('a.txt', ''), 'a.txt', "a.txt has no line 'frame id class height width rle'"),
    (text_of('a.json', '{"a": 1'), 'a.json', 'a.json: this is not valid'),
    (text_of('a.json', '[' * 100_000), 'a.json', 'a.json: this is not valid'),
    (text_of('a.json', '{"a": 1}'), 'a.json', "a.json has no list 'videos'; .*, this has a"),
    (text_of('a.json', '[]'), 'a.json', 'is a list, as YouTube-VIS has for results'),
    (text_of('a.json', '3'), 'a.json', "has no list 'videos'; .*this has int"),
    (text_of('a.json', '{"images": [], "annotations": []}'), 'a.json', 'COCO for single images'),
    (text_of('a.json', '{"videos": [], "annotations": [], "categories": []}'), 'a.json',
     'none of its 0 videos can be used'),
    (lambda path: (path / 'a').symlink_to(path / 'a'), 'a', 'a do(es)? not exist|cannot be read'),
    (lambda path: (path / 'a').symlink_to(path), '.', 'is not DAVIS .*; it holds 1 folder'),
    (lambda path: png(path / 'v' / '0.png', [[[1, 2, 3]]]), '.', 'it is a picture in colour'),
    (lambda path: [png(path / 'Annotations' / part / 'v' / '0.png', [[1]])
                   for part in ('480p', 'Full')], '.', 'several sets of label images, .*; give'),
    (lambda path: None, 'scene:x', 'give a seed'),
    (lambda path: None, 'scene:1:0', 'give a seed'),
    (lambda path: None, 'demo:1:2:63', 'give a seed'),
    (lambda path: None, 'demo:1:2:64:5', 'give a seed'),
])  # fmt: skip
def test_what_is_no_truth_is_named(tmp_path: Path, make, name: str, says: str) -> None:
    make(tmp_path)
    path = name if name.startswith(('scene:', 'demo:')) else tmp_path / name
    for read in (read_truth, read_results):
        with pytest.raises(InputError, match=says) as caught:
            read(path)
        assert '\n' not in str(caught.value)


def test_a_format_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    formats.write_davis([CLIP], tmp_path / 'out')
    with pytest.raises(InputError, match='out is not a truth as youtube-vis; it holds 1 folder'):
        read_truth(tmp_path / 'out', 'youtube-vis')
    with pytest.raises(InputError, match="there is no format 'voc'; give auto or davis"):
        read_truth(tmp_path / 'out', 'voc')


# ---- label images -------------------------------------------------------------------------------

def test_frames_are_numbered_by_name_and_missing_ones_stay_missing(tmp_path: Path) -> None:
    png(tmp_path / 'Annotations' / '480p' / 'bear' / '00005.png', [[3, 0], [255, 254]])
    png(tmp_path / 'Annotations' / '480p' / 'bear' / 'frame_10.png', [[0, 0], [0, 0]])
    (video,) = read_truth(tmp_path)
    assert (video.name, video.size) == ('bear', (2, 2))
    assert frames_of(tmp_path / 'Annotations' / '480p' / 'bear') == {5: {3: 0, 254: 0}, 10: {}}
    ignored = video.frames[5].ignored
    assert ignored is not None and ignored.pixels().tolist() == [[0, 0], [1, 0]]


def test_a_grey_video_of_0_and_255_alone_is_one_object(tmp_path: Path) -> None:
    png(tmp_path / 'v' / '0.png', [[0, 255]])
    png(tmp_path / 'v' / '1.png', [[0, 0]])
    assert frames_of(tmp_path) == {0: {1: 0}, 1: {}}
    png(tmp_path / 'v' / '1.png', [[0, 7]])  # now 255 is void
    assert frames_of(tmp_path) == {0: {}, 1: {7: 0}}


def test_kitti_numbers_are_told_from_other_labels(tmp_path: Path) -> None:
    kitti = tmp_path / 'instances' / '0002' / '000000.png'
    png(kitti, [[0, 0]], np.uint16)
    png(kitti.with_name('000001.png'), [[1000, 2007], [10000, 10000]], np.uint16)
    (video,) = read_truth(tmp_path)
    assert frames_of(tmp_path) == {0: {}}  # the other one has another size
    png(kitti, [[0, 0], [0, 0]], np.uint16)
    (video,) = read_truth(tmp_path)
    assert frames_of(tmp_path) == {0: {}, 1: {1000: 1, 2007: 2}}
    assert video.class_names == {1: 'car', 2: 'pedestrian'}
    assert video.frames[1].ignored.pixels().tolist() == [[0, 0], [1, 1]]
    assert frames_of(tmp_path, 'davis')[1] == {1000: 0, 2007: 0, 10000: 0}
    plain = tmp_path / 'plain' / '0.png'
    png(plain, [[7, 1007]], np.uint16)
    assert frames_of(plain.parent) == {0: {7: 0, 1007: 0}}


def bomb(path: Path, side: int) -> None:
    """Write the header of a PNG with far more pixels than bytes."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', zlib.crc32(kind + data))  # fmt: skip

    head = struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    data = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(b'\0' * 99)) + chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + data)


def test_images_that_cannot_be_used_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        png(tmp_path / 'v' / f'{number}.png', [[1, 0], [0, 2]])
    whole = (tmp_path / 'v' / '1.png').read_bytes()
    (tmp_path / 'v' / '1.png').write_bytes(whole[:-30])
    bomb(tmp_path / 'v' / '2.png', 2**30)
    png(tmp_path / 'v' / '03.png', [[1, 0], [0, 2]])
    png(tmp_path / 'v' / 'x.png', [[1, 0], [0, 2]])
    png(tmp_path / 'v' / '7.png', np.arange(5100).reshape(2, -1).tolist(), np.uint16)
    png(tmp_path / 'v' / '9.png', [[1, 0, 0]])
    (tmp_path / 'v' / '5.png').symlink_to(tmp_path / 'v' / '5.png')
    (tmp_path / 'v' / '99999999999.png').write_bytes(whole)
    assert frames_of(tmp_path) == {0: {1: 0, 2: 0}, 3: {1: 0, 2: 0}}
    for says in ('2 images left out: unreadable or cut short (first: v/1.png)',
                 '1 image left out: another one has its number',
                 '2 images left out: of another size than those before (first: v/7.png)',
                 '2 images left out: its name has no number of a frame'):  # fmt: skip
        assert says in caplog.text
    png(tmp_path / 'depth' / '7.png', np.arange(5100).reshape(2, -1).tolist(), np.uint16)
    with pytest.raises(InputError, match='none of its 1 PNGs is a label image'):
        read_truth(tmp_path / 'depth')
    assert '1 image left out: more than 5000 values: it shows no labels' in caplog.text
    (tmp_path / 'depth' / '7.png').unlink()
    for file in (tmp_path / 'v').iterdir():
        file.unlink()
    (tmp_path / 'v' / '0.png').write_bytes(whole[:20])
    with pytest.raises(InputError, match=r'none of its 1 PNGs .*, the first is v/0\.png; export'):
        read_truth(tmp_path)


# ---- KITTI MOTS text ----------------------------------------------------------------------------

@pytest.mark.parametrize('line, says', [
    ('1 1001 1 2 2', "it is no 'frame id class height width rle'"),
    ('x 1001 1 2 2 04', "it is no 'frame id class height width rle'"),
    (f'1 1001 1 2 3 {RLE}', 'its image size is not that of the lines before'),
    ('1 1001 1 2 2 0', 'run lengths that do not fill the image'),
    ('1 1001 1 2 2 P', 'compressed run lengths that are cut short'),
    (f'1 -7 1 2 2 {RLE}', 'its id is below 1 or its class below 0'),
    (f'1 1001 -1 2 2 {RLE}', 'its id is below 1 or its class below 0'),
    (f'-1 1001 1 2 2 {RLE}', 'its frame is not in 0..999999'),
    (f'999999999 1001 1 2 2 {RLE}', 'its frame is not in 0..999999'),
    (GOOD, 'another one of its id is on the frame'),
    ('0 1002 1 2 2 4', 'empty'),
])  # fmt: skip
def test_lines_that_cannot_be_used_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str, says: str
) -> None:
    (tmp_path / '0001.txt').write_text(f'{GOOD}\n{line}\n')
    found = frames_of(tmp_path)
    assert found[0] == {1001: 1} and not any(found[number] for number in found if number)
    assert '1 ' in caplog.text and says in caplog.text


def test_frames_without_a_line_are_empty_up_to_the_last_of_the_seqmap(tmp_path: Path) -> None:
    text = f'\ufeff2 1001 1 2 2 {RLE}\r\n2 10000 10 2 2 {RLE}\r\n'
    (tmp_path / '0002.txt').write_text(text, encoding='utf-8')
    assert frames_of(tmp_path / '0002.txt') == {0: {}, 1: {}, 2: {1001: 1}}
    (tmp_path / 'evaluate_mots.seqmap.val').write_text('0002 empty 000000 000004\n')
    assert list(frames_of(tmp_path)) == [0, 1, 2, 3, 4]


# ---- YouTube-VIS --------------------------------------------------------------------------------

def youtube(**changed: Any) -> dict[str, Any]:
    """Make a file of a video of two frames of 2 x 3 pixels with one object."""
    square = {'size': [2, 3], 'counts': [0, 2, 4]}
    row = {
        'id': 5, 'video_id': 1, 'category_id': 3, 'iscrowd': 0, 'segmentations': [square, None]}
    video = {'id': 1, 'height': 2, 'width': 3, 'file_names': ['bear/0.jpg', 'bear/5.jpg']}
    table: dict[str, Any] = {
        'videos': [video], 'annotations': [row], 'categories': [{'id': 3, 'name': 'bear'}]}
    for key, value in changed.items():
        which = {'video': video, 'more': table}.get(key.partition('_')[0], row)
        which[key.partition('_')[2]] = value
    return table


def test_segmentations_of_all_kinds(tmp_path: Path) -> None:
    kinds = [
        [[0, 0, 1, 0, 1, 2, 0, 2]], {'size': [2, 3], 'counts': [0, 2, 4]},
        {'size': [2, 3], 'counts': '024'},
    ]  # fmt: skip
    names = [f'bear/{5 * number}.jpg' for number in range(5)]
    table = youtube(row_segmentations=[*kinds, None, []], video_file_names=names)
    (tmp_path / 'a.json').write_bytes('\ufeff'.encode() + json.dumps(table).encode())
    (video,) = read_truth(tmp_path / 'a.json')
    assert (video.name, video.size, video.class_names) == ('bear', (2, 3), {3: 'bear'})
    assert list(video.frames) == [0, 1, 2, 3, 4]
    for number in range(3):
        (thing,) = video.frames[number].segments
        assert (thing.id, thing.class_id) == (5, 3)
        assert thing.mask.pixels().tolist() == [[1, 0, 0], [1, 0, 0]]
    assert not video.frames[3].segments and not video.frames[4].segments
    assert read_truth(tmp_path) == [video]  # the only JSON file of a folder


def coco_video(**changed: Any) -> dict[str, Any]:
    """Make a file of three images of a video, the last one missing, with one object."""
    square = {'size': [2, 3], 'counts': [0, 2, 4]}
    images = [
        {'id': 10 + n, 'video_id': 1, 'frame_id': n, 'height': 2, 'width': 3} for n in (0, 1, 3)]
    rows = [
        {'id': n, 'image_id': image, 'instance_id': 0, 'category_id': 3, 'segmentation': square}
        for n, image in enumerate((10, 13))
    ]
    rows[1] |= changed
    return {'videos': [{'id': 1, 'name': 'bear'}], 'images': images, 'annotations': rows,
            'categories': [{'id': 3, 'name': 'bear'}]}  # fmt: skip


def test_coco_for_videos(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(coco_video()))
    (video,) = read_truth(tmp_path / 'a.json')
    assert (video.name, video.size, video.class_names) == ('bear', (2, 3), {3: 'bear'})
    assert frames_of(tmp_path / 'a.json') == {0: {1: 3}, 1: {}, 3: {1: 3}}
    table = coco_video()
    for image in table['images']:
        del image['frame_id']  # then the place counts
    (tmp_path / 'a.json').write_text(json.dumps(table))
    assert frames_of(tmp_path / 'a.json') == {0: {1: 3}, 1: {}, 2: {1: 3}}
    (tmp_path / 'a.json').write_text(json.dumps(coco_video(iscrowd=1)))
    (video,) = read_truth(tmp_path / 'a.json')
    assert not video.frames[3].segments
    assert video.frames[3].ignored.pixels().tolist() == [[1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize('changed, says', [
    ({'image_id': 99}, 'its image is not in the file'),
    ({'image_id': 10}, 'another one of its object is on the frame'),
    ({'instance_id': None}, 'it has no instance_id or track_id from 0'),
    ({'segmentation': None}, 'it has no segmentation'),
])  # fmt: skip
def test_annotations_of_images_that_cannot_be_used_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: dict, says: str
) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(coco_video(**changed)))
    assert frames_of(tmp_path / 'a.json') == {0: {1: 3}, 1: {}, 3: {}}
    assert f'1 annotation left out: {says}' in caplog.text


def test_crowds_are_ignored_pixels(tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(youtube(row_iscrowd=1, row_category_id=99)))
    (video,) = read_truth(tmp_path / 'a.json')
    assert not video.frames[0].segments and video.frames[1].ignored is None
    assert video.frames[0].ignored.pixels().tolist() == [[1, 0, 0], [1, 0, 0]]


@pytest.mark.parametrize('changed, says', [
    ({'row_id': -4}, 'its id is no whole number from 0'),
    ({'row_id': 'x'}, 'its id is no whole number from 0'),
    ({'row_video_id': 9}, 'its video is not in the file'),
    ({'row_category_id': 9}, 'its category is not in the file'),
    ({'row_segmentations': 3}, "it has no list 'segmentations'"),
    ({'row_segmentations': [{'size': [3, 2], 'counts': [6]}]}, 'run lengths of another image'),
    ({'row_segmentations': [{'size': [2, 3], 'counts': [-1, 7]}]}, 'do not fill the image'),
    ({'row_segmentations': [{'size': [2, 3], 'counts': [10**30]}]}, 'do not fill the image'),
    ({'row_segmentations': [None, None, [[0, 0, 1, 0, 1, 1]]]}, 'its video has no such frame'),
    ({'row_segmentations': [[[0, 0, 1e9, 0, 1e9, 1e9]]]}, 'far outside the image'),
    ({'row_segmentations': [[[0, 0, 1]]]}, 'less than three points'),
    ({'more_annotations': [7]}, "it has no list 'segmentations'"),
])  # fmt: skip
def test_annotations_that_cannot_be_used_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changed: dict, says: str
) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(youtube(**changed)))
    assert frames_of(tmp_path / 'a.json') == {0: {}, 1: {}}
    assert says in caplog.text and '1 ' in caplog.text


@pytest.mark.parametrize('changed', [
    {'video_height': 10**9}, {'video_width': -1}, {'video_height': 'x'}, {'video_id': None},
    {'video_file_names': None}, {'video_file_names': 'x', 'video_length': 10**12},
])  # fmt: skip
def test_videos_that_cannot_be_used_are_refused(tmp_path: Path, changed: dict) -> None:
    (tmp_path / 'a.json').write_text(json.dumps(youtube(**changed)))
    with pytest.raises(InputError, match='none of its 1 videos can be used'):
        read_truth(tmp_path / 'a.json')


def test_ids_of_things_begin_with_1_and_are_there_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = youtube()
    (row,) = table['annotations']
    table['annotations'] = [{**row, 'id': 0}, {**row, 'id': 5}, {**row, 'id': 5}]
    (tmp_path / 'a.json').write_text(json.dumps(table))
    assert frames_of(tmp_path / 'a.json')[0] == {6: 3, 5: 3}
    assert '1 annotation left out: its id is no whole number from 0, or is twice' in caplog.text


# ---- anything at all ----------------------------------------------------------------------------

def damaged(data: bytes, cuts: list[tuple[int, bytes]]) -> bytes:
    for place, piece in cuts:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + len(piece) :]
    return data


def run_folder(path: Path) -> None:
    """Write what segment_video leaves of a frame without --revisions."""
    png(path / 'masks' / '000000.png', [[1, 1, 0], [0, 2, 0]], np.uint16)
    thing = {'id': 1, 'class_id': 5, 'class_name': 'cup', 'score': 1.0}
    record = {
        'frame': 0, 'stamp': 0, 'revision': 0, 'newest': 4, 'final': False, 'changed_ids': [],
        'withdrawn_ids': [3], 'objects': [thing, {**thing, 'id': 2}],
    }  # fmt: skip
    last = {**record, 'revision': 1, 'final': True}
    (path / 'objects.jsonl').write_text(json.dumps(record) + '\n' + json.dumps(last) + '\n')


WRITE: dict[str, Callable[[Path], object]] = {
    'davis': lambda path: formats.write_davis([CLIP], path / 'out'),
    'kitti-mots': lambda path: formats.write_kitti_mots([CLIP], path / 'out'),
    'youtube-vis': lambda path: formats.write_youtube_vis([CLIP], path / 'out'),
    'revisions': lambda path: record_clip(path / 'out' / 'revisions.jsonl'),
    'run': lambda path: run_folder(path / 'out'),
}


@pytest.mark.parametrize('kind', WRITE)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damage_is_an_input_error_or_counted(kind: str, data: st.DataObject) -> None:
    """Whatever the bytes are, only InputError is raised, and masks have the size of the images."""
    with folder() as path:
        WRITE[kind](path)
        files = sorted(file for file in path.rglob('*') if file.is_file())
        file = data.draw(st.sampled_from(files))
        pieces = st.tuples(st.integers(0, 5000), st.binary(max_size=6))
        cuts = data.draw(st.lists(pieces, min_size=1, max_size=4))
        file.write_bytes(damaged(file.read_bytes(), cuts))
        try:
            found = read_results(path / 'out')
        except InputError as error:
            assert str(path) in str(error) and '\n' not in str(error)
            return
        for video in found:
            for revision in video.revisions:
                assert all(thing.mask.size == video.size for thing in revision.shown.segments)
                ids = [thing.id for thing in revision.shown.segments]
                assert len(set(ids)) == len(ids) and min([1, *ids]) >= 1
