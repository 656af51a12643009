# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
import itertools
import time

import cv2
import numpy as np
import pytest

from detsam2_ros.scene.motion import Motion
from detsam2_ros.scene.scene import CLASS_NAMES, Scene, SceneOptions, render

STILL = SceneOptions(
    occluders=0, shake=0, light_change=0, noise=0, blur=0, motion_blur=0, late_ball=0, pocketing=0
)
BUSY = SceneOptions(occluders=5, occlusion_boost=1)


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


def test_same_seed_same_clip():
    first, second = render(5, 12, options=BUSY), render(5, 12, options=BUSY)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0].image, render(6, 1)[0].image)


def test_iterating_again_restarts():
    scene = Scene(7, 96, 96, 6)
    assert len(scene) == 6
    first, second = list(scene), list(scene)
    assert [f.index for f in first] == list(range(6))
    assert all(same(a, b) for a, b in zip(first, second, strict=True))


def test_interleaved_iterations_do_not_disturb_each_other():
    scene = Scene(7, 96, 96, 5, BUSY)
    pairs = list(zip(scene, scene, strict=True))
    assert all(same(a, b) for a, b in pairs)


def test_length_does_not_change_frames_and_none_is_endless():
    endless = list(itertools.islice(Scene(2, 96, 96), 8))
    assert all(same(a, b) for a, b in zip(endless, render(2, 8, 96, 96), strict=True))
    with pytest.raises(TypeError):
        len(Scene(2))
    assert render(2, 0) == []


@pytest.mark.parametrize('size', [(64, 64), (320, 180), (90, 200), (65, 301), (400, 64)])
def test_any_size(size):
    for frame in render(3, 3, *size, BUSY):
        assert frame.image.shape == (size[1], size[0], 3)
        assert frame.image.dtype == np.uint8 and frame.image.flags.c_contiguous
        assert frame.labels.shape == (size[1], size[0]) and frame.labels.dtype == np.uint16
        assert frame.visible_fraction.max() > 0


def test_truth_is_consistent():
    for seed in range(4):
        frames = render(seed, 40, 128, 128, BUSY)
        count = len(frames[0].ids)
        assert frames[0].ids.tolist() == list(range(1, count + 1))
        for frame in frames:
            assert frame.ids.dtype == frame.class_ids.dtype == np.int32
            assert frame.boxes.dtype == frame.visible_fraction.dtype == np.float32
            assert frame.boxes.shape == (count, 4) and frame.visible.dtype == bool
            assert np.array_equal(frame.class_ids, frames[0].class_ids)
            assert set(frame.class_ids.tolist()) <= set(CLASS_NAMES)
            assert frame.labels.max() <= count
            for row, ball in enumerate(frame.ids):
                mask = frame.labels == ball
                assert frame.visible[row] == mask.any()
                fraction = frame.visible_fraction[row]
                assert 0 <= fraction <= 1 and (fraction > 0) == mask.any()
                if mask.any():
                    y, x = np.nonzero(mask)
                    box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
                    assert frame.boxes[row].tolist() == box
                else:
                    assert not frame.boxes[row].any()


def test_ball_counts():
    counts = {len(Scene(seed, 64, 64).ids) for seed in range(80)}
    assert counts == set(range(3, 10))
    for balls in (1, 5, 9):
        assert len(render(1, 1, options=SceneOptions(balls=balls))[0].ids) == balls


def test_duplicate_colours():
    def repeats(options):
        ids = (Scene(seed, 64, 64, options=options).class_ids for seed in range(40))
        return [len(set(c.tolist())) < len(c) for c in ids]

    assert all(repeats(SceneOptions(duplicate_colours=1)))
    assert not any(repeats(SceneOptions(duplicate_colours=0)))
    assert 0 < sum(repeats(SceneOptions())) < 40
    assert not any(repeats(SceneOptions(duplicate_colours=0, balls=9)))


def test_no_ball_has_the_colour_of_its_cloth():
    for seed in range(40):
        scene = Scene(seed, 64, 64, options=SceneOptions(cloth='green'))
        assert scene.cloth == 'green'
        assert 'green' not in [CLASS_NAMES[int(c)] for c in scene.class_ids]


def test_occlusions_and_full_hides_occur():
    partly = hidden = back = 0
    for seed in range(6):
        fractions = np.stack([f.visible_fraction for f in render(seed, 60, 96, 96, BUSY)])
        partly += int(((fractions > 0.1) & (fractions < 0.9)).sum())
        gone = fractions == 0
        hidden += int(gone.sum())
        back += int((gone[:-1] & ~gone[1:]).sum())
    assert partly > 50 and hidden > 20 and back > 3


def test_nothing_covers_without_occluders():
    options = SceneOptions(occluders=0, pocketing=0, late_ball=0)
    for frame in render(4, 40, 128, 128, options):
        assert frame.visible_fraction.min() == 1


def test_balls_move_on_the_table_and_keep_apart():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        motion = Motion(rng, 7, 0.05, (0.38, 0.38), pocketing=0)
        start, pace = motion.pos.copy(), []
        for _ in range(400):
            motion.step()
            pace.append(np.hypot(*motion.vel.T).max())
            assert (np.abs(motion.pos) <= motion.half - motion.radius + 1e-3).all()
            gaps = np.hypot(*np.moveaxis(motion.pos[:, None] - motion.pos[None], -1, 0))
            assert gaps[~np.eye(7, dtype=bool)].min() > 2 * motion.radius * 0.9
        assert np.hypot(*(motion.pos - start).T).max() > 0.1
        assert np.mean(np.array(pace) > 1e-4) > 0.98
        axes = motion.turn @ motion.turn.transpose(0, 2, 1)
        assert np.allclose(axes, np.eye(3), atol=1e-9)


def test_late_ball_rolls_in():
    options = SceneOptions(occluders=0, pocketing=0, late_ball=True, late_ball_frames=(6, 10))
    for seed in range(4):
        seen = np.stack([f.visible for f in render(seed, 40, 96, 96, options)])
        assert (~seen[0]).sum() == 1
        late = int(np.flatnonzero(~seen[0])[0])
        assert not seen[:5, late].any() and seen[20:, late].all()


def test_pocketed_balls_disappear_and_come_back():
    options = SceneOptions(occluders=0, pocketing=1, late_ball=0, speed=2)
    for seed in range(8):
        seen = np.stack([f.visible for f in render(seed, 160, 64, 64, options)])
        if (~seen[:-1] & seen[1:]).any():
            return
    pytest.fail('no ball fell in and came back')


@pytest.mark.parametrize('field, value', [
    ('balls', 0), ('balls', 10), ('balls', 2.5), ('radius', 0.5), ('cloth', 'pink'),
    ('occluders', -1), ('occlusion_boost', 1.5), ('shake', float('nan')), ('noise', 'much'),
    ('speed', 0), ('late_ball', 2), ('late_ball_frames', (9, 3)), ('late_ball_frames', 8),
])
def test_bad_options_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        SceneOptions(**{field: value})


def test_bad_scenes_are_refused():
    for keywords in ({'width': 63}, {'height': 10}, {'length': -1}, {'seed': -1}):
        with pytest.raises(ValueError, match=next(iter(keywords))):
            Scene(**{'seed': 0, **keywords})
    with pytest.raises(ValueError, match='radius'):
        Scene(0, options=SceneOptions(balls=9, radius=0.1))


@pytest.mark.parametrize('options', [STILL, SceneOptions(noise=0, occluders=0, pocketing=0)])
def test_labels_match_a_supersampled_reference(options):
    # The same story, drawn eight times as large: its pixels count the coverage of each small one.
    factor, side = 8, 96
    small = render(9, 5, side, side, options)
    large = render(9, 5, side * factor, side * factor, options)
    for a, b in zip(small, large, strict=True):
        for ball in a.ids:
            fine = (b.labels == ball).astype(np.float64)
            coverage = fine.reshape(side, factor, side, factor).mean((1, 3))
            mask = a.labels == ball
            # A disc's edge is curved: only pixels that are half covered may go either way.
            assert mask[coverage > 0.58].all() and not mask[coverage < 0.42].any()
            assert mask.sum() == pytest.approx(coverage.sum(), abs=6)


def test_occluded_labels_agree_across_sizes():
    side, least = 128, []
    small, large = render(3, 24, side, side, BUSY), render(3, 24, 512, 512, BUSY)
    for a, b in zip(small, large, strict=True):
        fine = b.labels[2::4, 2::4]  # the pixel nearest to the small one's centre
        shared = (fine == a.labels) & (fine > 0)
        least.append(shared.sum() / max(((fine > 0) | (a.labels > 0)).sum(), 1))
    assert min(least) > 0.85


def test_pictures_show_the_truth():
    # On a plain grey cloth, balls differ from the cloth and every class has its own colour.
    options = SceneOptions(
        balls=9, cloth='grey', occluders=0, shake=0, light_change=0, noise=0, markings=0,
        late_ball=0, pocketing=0, distractors=0, duplicate_colours=0,
    )  # fmt: skip
    frame = render(11, 1, options=options)[0]
    means = np.array([np.median(frame.image[frame.labels == i], axis=0) for i in frame.ids])
    gaps = np.abs(means[:, None] - means[None]).sum(-1) + 999 * np.eye(9)
    assert gaps.min() > 25


def test_knobs_leave_the_motion_alone():
    plain = render(8, 12, 96, 96, SceneOptions(occluders=0, shake=0))
    noisy = render(
        8, 12, 96, 96, SceneOptions(occluders=0, shake=0, noise=3, markings=1, light_change=2))
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(plain, noisy, strict=True))
    assert not np.array_equal(plain[-1].image, noisy[-1].image)


def test_speed(capsys):
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        frames = iter(Scene(1))
        next(frames)
        best = 0.0
        for _ in range(4):
            start = time.process_time()
            for _ in range(25):
                next(frames)
            best = max(best, 25 / (time.process_time() - start))
    finally:
        cv2.setNumThreads(threads)
    with capsys.disabled():
        print(f'\nscene: {best:.0f} frames per CPU second at 256x256')
    assert best > 40
