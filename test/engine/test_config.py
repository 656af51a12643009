# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Parameters are refused by name, alone and together."""

import dataclasses
import logging

import pytest

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.config_fields import parameters
from detsam2_ros.results.errors import ConfigError

WHOLE = {
    'window_size': 1, 'detect_interval': 0, 'max_propagation': 1, 'max_objects': 1,
    'max_lost_frames': 1, 'max_conditioned_memories': 1, 'encode_batch': 1,
    'early_stop_frames': 1, 'bank_object_frames': 1, 'confirm_detections': 0,
    'withdraw_detections': 1, 'max_dormant_objects': 0,
}
FRACTIONS = (
    'match_iou', 'new_object_score', 'merge_iou', 'correction_iou', 'early_stop_iou',
    'confirm_iou', 'bank_object_score', 'confirm_score', 'recall_score',
)  # fmt: skip


def test_the_defaults_are_a_valid_combination_without_warnings(caplog):
    config = EngineConfig()
    assert (config.window_size, config.detect_interval, config.max_propagation) == (10, 10, 40)
    assert (config.mode, config.association) == ('online', 'instance')
    assert not caplog.records


def test_each_line_has_a_default_a_description_and_allowed_values():
    listed = parameters(EngineConfig)
    assert list(listed) == [field.name for field in dataclasses.fields(EngineConfig)]
    for name, each in listed.items():
        assert each.default == getattr(EngineConfig(), name)
        each.allowed.check(name, each.default)
        assert each.description.endswith('.') and str(each.allowed) not in each.description
    assert str(listed['window_size'].allowed) == '>= 1'
    assert str(listed['max_objects'].allowed) == '1..65535'
    assert str(listed['match_iou'].allowed) == '0..1'
    assert str(listed['mode'].allowed) == 'window, online'
    # An instance lists the defaults too, not its values.
    assert parameters(EngineConfig(window_size=5)) == listed


def test_a_quality_gives_defaults_and_what_is_given_wins():
    assert EngineConfig.of('exact') == EngineConfig()
    balanced = {name: each.balanced for name, each in parameters(EngineConfig).items()
                if each.balanced is not None}
    assert balanced == {'confirm_iou': 0.9, 'early_stop_iou': 0.95}
    assert EngineConfig.of('balanced') == EngineConfig(**balanced)
    assert EngineConfig.of('balanced', confirm_iou=1.0, window_size=5) == EngineConfig(
        window_size=5, early_stop_iou=0.95)
    with pytest.raises(ConfigError, match='^quality must be one of exact, balanced, got .best.'):
        EngineConfig.of('best')


def test_every_number_is_checked():
    numbers = {f.name for f in dataclasses.fields(EngineConfig) if f.type in ('int', 'float')}
    assert numbers == {*WHOLE, *FRACTIONS}


@pytest.mark.parametrize(('name', 'minimum'), WHOLE.items())
@pytest.mark.parametrize('value', ['below', 2.0, '3', True, None, float('nan')])
def test_whole_numbers(name: str, minimum: int, value: object):
    value = minimum - 1 if value == 'below' else value
    with pytest.raises(ConfigError, match=f'^{name} must be a whole number >= {minimum}, got '):
        EngineConfig(**{name: value})


@pytest.mark.parametrize(('name', 'minimum'), WHOLE.items())
def test_the_minimum_works(name: str, minimum: int):
    EngineConfig(**{'window_size': 1, 'max_propagation': 2, name: minimum})


@pytest.mark.parametrize('name', FRACTIONS)
@pytest.mark.parametrize(
    'value', [-0.01, 1.01, float('nan'), float('inf'), True, '0.5', None, 1 + 0j])
def test_fractions(name: str, value: object):
    with pytest.raises(ConfigError, match=f'^{name} must be a number in 0..1, got '):
        EngineConfig(**{name: value})


@pytest.mark.parametrize('name', FRACTIONS)
@pytest.mark.parametrize('value', [0, 1, 0.0, 0.5, 1.0])
def test_fractions_include_their_ends(name: str, value: float):
    assert getattr(EngineConfig(**{name: value}), name) == value


@pytest.mark.parametrize('name', ['mode', 'association'])
@pytest.mark.parametrize('value', ['other', '', None, 3])
def test_words(name: str, value: object):
    with pytest.raises(ConfigError, match=f'^{name} must be one of .*, got {value!r}'):
        EngineConfig(**{name: value})


def test_a_pass_shorter_than_the_window_is_refused():
    with pytest.raises(ConfigError, match=r'max_propagation \(9\) must be >= window_size \(10\)'):
        EngineConfig(max_propagation=9)
    EngineConfig(window_size=10, max_propagation=10)


def test_a_pass_shorter_than_two_windows_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        EngineConfig(max_propagation=19)
    assert 'max_propagation (19) is below 2 x window_size (20)' in caplog.text
    caplog.clear()
    EngineConfig(max_propagation=20)
    assert not caplog.records


def test_a_batch_of_images_needs_mode_window():
    EngineConfig(mode='window', encode_batch=2)
    sentence = r'^encode_batch \(2\) must be 1 in mode online: .*; or choose mode window$'
    with pytest.raises(ConfigError, match=sentence):
        EngineConfig(encode_batch=2)


def test_more_objects_than_ids_are_refused():
    EngineConfig(max_objects=65535)
    with pytest.raises(ConfigError, match='max_objects must be <= 65535, got 65536'):
        EngineConfig(max_objects=65536)


def test_a_config_error_is_a_value_error():
    with pytest.raises(ValueError):
        EngineConfig(window_size=0)
