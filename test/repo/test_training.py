# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The training scripts take a step, and the shipped checkpoints are what the card says."""

import copy
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

torch = pytest.importorskip('torch')

from training import looks, losses, network, unroll  # noqa: E402
from training.data import Clip, Layout, Store, augment, boxes_of, pass_layout  # noqa: E402
from training.memory_init import (  # noqa: E402
    balance_memory,
    look_at_the_same_place,
    look_elsewhere_too,
)
from training.shapes import ShapesClip  # noqa: E402

SAM2 = ROOT / 'models' / 'detsam2_demo.pt'
YOLO = ROOT / 'models' / 'detsam2_demo_yolo.pt'


@pytest.fixture(scope='module')
def tiny():
    """The shipped architecture at 128 pixels, untrained."""
    torch.manual_seed(0)
    model = network.build(overrides={'image_size': 128})
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias += 3
    return model, unroll.DecoderTap(model)


def shapes_clip(length=4, size=128):
    """A clip of two shapes that are visible on the first frame."""
    frames = list(ShapesClip(3, size, length).frames())
    images = np.stack([f[0] for f in frames])
    labels = np.stack([f[1] for f in frames])
    count = int(labels.max())
    boxes = np.stack([boxes_of(x, count)[0] for x in labels], 1)
    ids = np.flatnonzero(np.bincount(labels[0].ravel(), minlength=count + 1)[1:] >= 24)[:2]
    targets = labels[None] == (ids + 1)[:, None, None, None]
    return Clip(images, targets, boxes[ids], Layout(list(range(length)), [0]))


def save_clip(folder, **arrays):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f'{name}.npy', array)


def test_shapes_are_deterministic_and_exact():
    first, again = (list(ShapesClip(7, 96, 5).frames()) for _ in range(2))
    for (image, labels), (image2, labels2) in zip(first, again, strict=True):
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8
        assert labels.shape == (96, 96) and labels.dtype == np.uint8
        assert np.array_equal(image, image2) and np.array_equal(labels, labels2)
    other = next(ShapesClip(8, 96, 5).frames())
    assert not np.array_equal(first[0][0], other[0])
    assert any(labels.any() for _, labels in first)
    assert not np.array_equal(first[0][1], first[-1][1])  # they move


def test_boxes_enclose_exactly():
    labels = np.zeros((20, 30), np.uint8)
    labels[4:9, 10:12] = 2
    boxes, areas = boxes_of(labels, 3)
    assert boxes[1].tolist() == [10, 4, 12, 9]
    assert areas.tolist() == [0, 10, 0] and not boxes[[0, 2]].any()


def test_augmentation_keeps_boxes_on_their_objects():
    clip = shapes_clip()
    for seed in range(8):
        out = augment(clip, np.random.default_rng(seed))
        assert out.images.shape == clip.images.shape
        for o in range(len(out.boxes)):
            for t in range(len(out.images)):
                box, area = boxes_of(out.targets[o, t].astype(np.uint8), 1)
                assert np.array_equal(out.boxes[o, t], box[0])
                assert area[0] == clip.targets[o, t].sum()


def test_pass_layouts_are_those_of_users_and_of_reverse_passes():
    rng = np.random.default_rng(0)
    drawn = [pass_layout(rng, 12, 40) for _ in range(300)]
    for layout in drawn:
        assert layout.times == sorted(set(layout.times)) and layout.times[-1] < 40
        assert layout.times[:12] == list(range(12))
        assert set(range(12, len(layout.times))) <= set(layout.conditioned)
        assert len(layout.conditioned) >= 1 and set(layout.conditioned) != set(range(12))
    assert 70 < sum(d.conditioned == [0] for d in drawn) < 140
    assert any(d.conditioned[0] > 3 for d in drawn)  # unprompted newest frames
    assert any(len(d.times) == 14 for d in drawn)  # older detections, remembered only
    assert all(len(pass_layout(rng, 12, 14).times) <= 14 for _ in range(50))


def test_store_draws_visible_objects(tmp_path):
    clip = shapes_clip(6)
    for seed in range(2):
        labels = (clip.targets * np.arange(1, len(clip.targets) + 1)[:, None, None, None]).max(0)
        save_clip(
            tmp_path / f'shapes_{seed:05d}', images=clip.images, labels=labels.astype(np.uint8),
            boxes=clip.boxes.transpose(1, 0, 2),
            areas=clip.targets.sum((2, 3)).T.astype(np.int32))
    store, rng = Store(tmp_path), np.random.default_rng(0)
    for _ in range(6):
        drawn = store.clip(rng, 4, 2)
        assert len(drawn.images) >= 4
        assert drawn.targets[:, drawn.layout.conditioned].any((2, 3)).all()
        assert store.image(rng, 5).targets.any((2, 3)).all()


def draw_scenes(folder):
    """Write four scenes of balls in a row, whose colours are of their classes."""
    for seed, classes in enumerate(([0, 1, 2, 3, 4], [3, 4, 5, 6, 7, 8], [8, 0], [1, 1, 2])):
        labels = np.zeros((8, 128, 128), np.uint8)
        for ball in range(len(classes)):
            labels[:, 40:60, 2 + 14 * ball : 12 + 14 * ball] = ball + 1
        colours = np.array([0, *(20 + 25 * kind for kind in classes)], np.uint8)
        measured = [boxes_of(frame, len(classes)) for frame in labels]
        save_clip(
            folder / f'scene_{seed:05d}', images=np.repeat(colours[labels][..., None], 3, -1),
            labels=labels, class_ids=np.array(classes),
            boxes=np.stack([m[0] for m in measured]), areas=np.stack([m[1] for m in measured]))


def test_banked_clips_are_prompted_in_other_scenes_alone(tmp_path, tiny):
    draw_scenes(tmp_path)
    store, absent = Store(tmp_path), 0
    for seed in range(20):
        clip = store.banked(np.random.default_rng(seed), length=3, objects=3)
        views = clip.rows.shape[1]
        assert clip.layout.conditioned == list(range(3, 3 + views))
        assert clip.targets.shape[1] == len(clip.layout.times) == 3 + views
        assert len(clip.images) == 3 + clip.rows.size
        assert sorted(clip.rows.ravel()) == list(range(3, len(clip.images)))
        assert clip.targets[:, 3:].any((2, 3)).all() and (clip.boxes[:, 3:, 2] > 0).all()
        shown = clip.targets[:, :3].any((1, 2, 3))
        absent += int((~shown).sum())
        assert ((clip.boxes[:, :3, 2] > 0).all(1) == shown).all()
    assert absent  # some objects are not in the scene
    model, tap = tiny
    loss, parts = unroll.clip_step(
        model, tap, clip, np.random.default_rng(1), focus=1.0, track_focus=1.0,
        train_encoder=False)
    assert torch.isfinite(loss) and 'track_score' in parts


def test_looks_are_remembered_on_views_and_searched_in_frames(tmp_path, tiny, monkeypatch):
    draw_scenes(tmp_path)
    store, entries, absent = Store(tmp_path), set(), 0
    for seed in range(30):
        drawn = looks.draw(store, np.random.default_rng(seed), objects=4)
        views = len(drawn.images) - looks.FRAMES
        assert 2 <= views <= 4 and drawn.remembered.max() < views
        entries.add(drawn.remembered.shape[1])
        for own, ids, there in zip(
                drawn.remembered, drawn.view_ids, drawn.frame_ids, strict=True):
            # A ball's colour says what it is: alike in all views and in the frames.
            kinds = {int(drawn.kinds[v, i]) for v, i in zip(own, ids, strict=True)}
            assert len(kinds) == 1 and kinds != {-1}
            for v, i in zip(own, ids, strict=True):
                assert (drawn.labels[v] == i).sum() >= 72
                assert (drawn.kinds[v] == drawn.kinds[v, i]).sum() == 1  # no twin beside it
            frames = drawn.kinds[views:]
            kind = kinds.pop()
            if there == 255:
                assert not (frames == kind).any()
                absent += 1
            else:
                assert ((frames == kind).sum(1) == 1).all()
                assert (frames[:, there] == kind).all()
    assert absent and entries >= {1, 2}
    model, tap = tiny
    attention, reader = looks.AttentionTap(model), looks.LooksReader(128, 9)
    encode, remembered = model._encode_new_memory, []

    def spied(feats, sizes, masks, scores, from_points):
        assert (scores > 0).all()  # seen: not remembered as hidden
        remembered.append((masks[:, 0] > 0).numpy())
        return encode(feats, sizes, masks, scores, from_points)

    monkeypatch.setattr(model, '_encode_new_memory', spied)
    loss, parts = looks.look_step(model, tap, attention, reader, drawn, focus=1.0)
    monkeypatch.undo()
    for j, masks in enumerate(remembered):
        views_of = drawn.labels[drawn.remembered[:, j]]
        assert np.array_equal(masks, views_of == drawn.view_ids[:, j, None, None])
    assert len(remembered) == drawn.remembered.shape[1]
    assert 'forward' not in vars(attention._cross)  # other steps keep their own attention
    loss.backward()
    assert torch.isfinite(loss) and {'look_read', 'look_kind', 'look_score'} <= set(parts)
    for moved in (model.image_encoder, model.memory_encoder, model.memory_attention, reader):
        assert any(p.grad is not None and p.grad.any() for p in moved.parameters())
    model.zero_grad(set_to_none=True)


def test_reading_the_object_is_cheap_and_reading_rivals_dear(tiny):
    attention = looks.AttentionTap(tiny[0])
    remembered = torch.tensor([[1.0, 0.0, 0.0]])
    wanted, rivals = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])

    def cost(*rows):
        attention.weights = torch.tensor(rows)[None, None]
        return float(attention.loss(remembered, wanted, rivals))

    object_, other = [1.0, 0.0, 0.0], [0.0, 0.5, 0.5]
    assert cost(object_, other, other) < 1e-3
    assert cost(other, other, other) > 5  # the object's place does not read it
    assert cost(object_, object_, other) > 5  # a rival's does
    assert cost(object_, other, object_) > 5  # the cloth does


def test_looking_elsewhere_lowers_what_looking_here_raised(tiny):
    attention = copy.deepcopy(tiny[0].memory_attention.layers[-1].cross_attn_image)
    with torch.no_grad():
        for bias in (attention.q_proj.bias, attention.k_proj.bias):
            bias.zero_()
    look_at_the_same_place(attention)
    raised = attention.q_proj.bias.clone()
    look_elsewhere_too(attention, 0.5)
    assert raised.any() and torch.equal(attention.q_proj.bias, raised / 2)
    assert torch.equal(attention.k_proj.bias, raised / 2)


def test_perfect_prediction_costs_nothing_and_gradients_flow():
    target = torch.zeros(2, 32, 32)
    target[0, 4:12, 6:20] = 1
    target[1, 20:24, 2:9] = 1
    for focus in (0.0, 1.0, 2.0):
        assert losses.mask_loss(40 * target - 20, target, focus).max() < 1e-3
        assert losses.mask_loss(20 - 40 * target, target, focus).min() > 2
    assert losses.mask_iou(target - 0.5, target).tolist() == [1, 1]
    logits = torch.zeros(2, 4, 8, 8, requires_grad=True)
    ious = torch.zeros(2, 4, requires_grad=True)
    scores = torch.zeros(2, 1, requires_grad=True)
    loss, parts = losses.decoder_loss(logits, ious, scores, target, 0.5, single=True)
    loss.backward()
    assert set(parts) == {'score', 'mask', 'iou'}
    assert logits.grad[:, 0].abs().sum() > 0 and scores.grad.abs().sum() > 0


def test_hidden_object_teaches_only_the_score():
    logits = torch.ones(1, 4, 8, 8, requires_grad=True)
    scores = torch.full((1, 1), 2.0, requires_grad=True)
    loss, _ = losses.decoder_loss(
        logits, torch.zeros(1, 4), scores, torch.zeros(1, 32, 32), 1.0, single=False)
    loss.backward()
    assert not logits.grad.any() and scores.grad.item() > 0.5  # towards "hidden"


def test_one_step_reduces_the_loss_of_the_same_images(tiny):
    model, tap = tiny
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)
    clip = shapes_clip(1)
    values = []
    for _ in range(4):
        loss, _ = unroll.image_step(model, tap, [clip], np.random.default_rng(1), 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert np.isfinite(values).all() and values[-1] < values[0]


@pytest.mark.parametrize('conditioned', [[0], [1, 3]])
def test_clip_step_trains_memory(tiny, conditioned):
    model, tap = tiny
    clip = shapes_clip(4)
    clip.conditioned = [t for t in conditioned if clip.targets[:, t].any((1, 2)).all()] or [0]
    model.zero_grad()
    loss, parts = unroll.clip_step(model, tap, clip, np.random.default_rng(0), 0.0, 0.0, False)
    loss.backward()
    assert torch.isfinite(loss) and 'track_mask' in parts
    assert model.maskmem_tpos_enc.grad.abs().sum() > 0
    assert model.image_encoder.trunk.patch_embed.proj.weight.grad is None


def test_masks_are_not_lost_in_memories_of_large_features():
    torch.manual_seed(0)
    model = network.build(overrides={'image_size': 128})
    with torch.no_grad():
        for conv in model.image_encoder.neck.convs:
            conv.conv.weight *= 60
    images = network.normalise(shapes_clip(4).images)

    def mask_share():
        masks = torch.full((2, 1, 128, 128), -10.0)
        masks[1, :, 32:64, 32:64] = 10
        with torch.no_grad():
            feature = model.forward_image(images[:1])['backbone_fpn'][-1].expand(2, -1, -1, -1)
            memory = model.memory_encoder(feature, masks, skip_mask_sigmoid=True)
        memory = memory['vision_features']
        return float((memory[1] - memory[0])[:, 2:4, 2:4].abs().mean() / memory.std())

    before = mask_share()
    measured = balance_memory(model, images)
    assert measured['feature_scale'] > 5
    assert mask_share() > 3 * before and mask_share() > 0.2


def shipped(path):
    if not path.exists():
        pytest.skip(f'{path.name} is not in this checkout')
    return path


def test_shipped_sam2_fits_its_yaml_and_limits():
    path = shipped(SAM2)
    assert path.stat().st_size <= 8_000_000
    content = torch.load(path, map_location='cpu', weights_only=True)
    assert set(content) == {'model'}
    assert {v.dtype for v in content['model'].values()} == {torch.float16}
    model = network.build()
    model.load_state_dict(network.load_state(path), strict=True)
    assert sum(p.numel() for p in model.parameters()) <= 4_000_000
    assert model.image_size == 256


def test_shipped_yolo_is_small_and_anonymous():
    path = shipped(YOLO)
    pytest.importorskip('ultralytics')
    content = torch.load(path, map_location='cpu', weights_only=False)
    model = content['model']
    assert sum(p.numel() for p in model.parameters()) <= 1_000_000
    assert next(model.parameters()).dtype == torch.float16
    from detsam2_ros.scene.scene import CLASS_NAMES

    assert dict(model.names) == CLASS_NAMES
    notes = [content['train_args'], model.args, model.yaml, content.get('git')]
    assert '/' not in str(notes) and '\\' not in str(notes)
    with zipfile.ZipFile(path) as archive:
        pickle = next(n for n in archive.namelist() if n.endswith('data.pkl'))
        text = archive.read(pickle)
    for trace in (b'/root', b'/home', b'/tmp', b'/work', b'/Users', b'runs/'):
        assert trace not in text


def test_shipped_sam2_segments_held_out_balls():
    path = shipped(SAM2)
    from training.evaluate import held_out, track

    model = network.predictor(checkpoint=path)
    values = []
    for number in (40, 41):
        frame = held_out(number, 1)
        values += track(model, frame)['box']
    assert len(values) >= 4 and np.mean(values) >= 0.8


def test_engine_score_counts_switches_and_strays():
    from types import SimpleNamespace as Simple

    from detsam2_ros.results.masks import Mask
    from training.engine_score import score, summary

    def frame(index, visible):
        labels = np.zeros((16, 16), np.uint16)
        if visible:
            labels[2:8, 2:8] = 1
        return Simple(index=index, labels=labels, ids=[1], visible=[visible])

    def result(object_id, mask):
        return Simple(objects=[Simple(id=object_id, visible=True, mask=Mask.of(mask))])

    frames = [frame(0, True), frame(1, True), frame(2, False), frame(3, True)]
    good = frames[0].labels == 1
    results = {
        0: result(5, good),
        1: result(6, good),  # the ball changes its id
        2: result(6, good),  # shown although hidden
        3: Simple(objects=[]),  # missed
    }
    clip = score(frames, results)
    one = summary([clip])
    assert one['engine_j'] == one['engine_found'] == pytest.approx(2 / 3)
    assert one['id_switches'] == 1 and one['objects'] == 2
    assert one['false_objects'] == 0 and one['stray_share'] == pytest.approx(1 / 3)
    assert one['hidden_still_shown'] == 1
    # Two clips have objects of their own, whatever their ids.
    assert summary([clip, clip]) == one | {'id_switches': 2, 'objects': 4}
