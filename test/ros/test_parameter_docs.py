# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The page of the parameters, made from their table without ROS."""

import os
import subprocess
import sys
from pathlib import Path

from detsam2_ros.ros.parameters import docs as parameter_docs
from detsam2_ros.ros.parameters.table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_made_from_the_table():
    page = (ROOT / 'docs' / 'parameters.md').read_text(encoding='utf-8')
    assert page == parameter_docs.markdown(), (
        'run python -m detsam2_ros.ros.parameters.docs markdown > docs/parameters.md'
    )
    for name in PARAMETERS:
        assert page.count(f'\n| `{name}` | ') == 1
    assert all(max(map(len, spec.description.split())) < 60 for spec in PARAMETERS.values())


def test_the_generator_says_how_it_is_used(capsys, monkeypatch):
    monkeypatch.setattr('sys.argv', ['parameter_docs', 'html'])
    assert parameter_docs.main() == 2
    assert 'markdown|yaml' in capsys.readouterr().err
    monkeypatch.setattr('sys.argv', ['parameter_docs', 'yaml'])
    assert parameter_docs.main() == 0
    assert capsys.readouterr().out == parameter_docs.yaml()


def test_the_table_needs_no_ros():
    """It may be read where there is no ROS: to make the documentation."""
    program = (
        'import sys; sys.modules["rclpy"] = None\n'
        'from detsam2_ros.ros.parameters import docs; print(len(docs.markdown()))'
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    subprocess.run([sys.executable, '-c', program], check=True, env=environment, cwd=ROOT)
