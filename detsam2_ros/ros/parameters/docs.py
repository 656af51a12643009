# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/parameters.md and config/detsam2.yaml from the table of parameters.

python -m detsam2_ros.ros.parameters.docs markdown > docs/parameters.md
python -m detsam2_ros.ros.parameters.docs yaml > config/detsam2.yaml
python -m detsam2_ros.ros.parameters.docs space    # the table of docs/space.md
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence

from detsam2_ros.engine.config_fields import QUALITIES
from detsam2_ros.ros.parameters.spec import ParameterSpec, Value
from detsam2_ros.ros.parameters.table import RUNTIME, SECTIONS
from detsam2_ros.ros.space.table import SPECS

_MADE_BY = 'python -m detsam2_ros.ros.parameters.docs'

_INTRODUCTION = f"""\
# Parameters

<!-- Made by `{_MADE_BY} markdown`; a test compares. -->

The parameters of the node `detsam2`. `config/detsam2.yaml` has them all with their defaults:
copy it, change what you need, and start the node with your copy:

```
ros2 run detsam2_ros detsam2_node --ros-args --params-file my.yaml -p window_size:=5
ros2 launch detsam2_ros detsam2.launch.py params_file:=my.yaml
```

Most parameters are read once, at start. Those with *yes* under "while running" can be set at any
time and act between two passes:

```
ros2 param set /detsam2 new_object_score 0.6
```

The node refuses to start with a value that is out of range or does not fit another one, and
names the parameter. `ros2 param describe /detsam2 NAME` shows the same as this page.
`use_sim_time` is that of every ROS 2 node.
"""

_NOTES = """\
## Values in YAML

- A double may be written as a whole number: `0` means `0.0`.
- An empty list is `[]`; `['']` means the same, for tools that cannot write the former.
- A string that looks like a number needs quotes: `memory_bank: '2026'`. Class ids in
  `detector_classes` need none: `[0, 3]`.

## Values that go together

- `max_propagation` is at least `window_size`; twice is advised, so that every frame of the
  previous window can be corrected. It is at least `window_size` + `detect_interval` x
  (`confirm_detections` - 1), or frames become final before it is known whether their objects are
  there ([ghosts.md](ghosts.md)); the log names the smallest value that will do.
- Names in `cameras` become parts of topic names: lower-case letters, digits and single
  underscores, a letter first. A name that the node itself uses, such as `masks`, is refused.
- `memory_bank` is a path inside `memory_bank_directory`: not absolute, without `..`.
- `encode_batch` above 1 needs mode window.
"""


def markdown() -> str:
    """Return docs/parameters.md."""
    parts = [_INTRODUCTION]
    for title, specs in SECTIONS:
        parts.append(f'## {title}\n\n{_table(specs)}\n')
    parts.append(_NOTES)
    return '\n'.join(parts)


def space() -> str:
    """Return the table of docs/space.md: the parameters of the node detsam2_space."""
    return _table(SPECS) + '\n'


def yaml() -> str:
    """Return config/detsam2.yaml."""
    parts = [
        '# Copyright 2026 detsam2_ros maintainers\n'
        '# SPDX-License-Identifier: Apache-2.0\n'
        '#\n'
        '# Every parameter of the node detsam2 with its default. Copy this file and change what\n'
        '# you need: ros2 launch detsam2_ros detsam2.launch.py params_file:=my.yaml\n'
        f'# These can be set while the node runs: {_wrapped(", ".join(RUNTIME), 42)}.\n'
        f'# Made by {_MADE_BY} yaml; a test compares.\n'
        '/**:\n  ros__parameters:'
    ]
    for title, specs in SECTIONS:
        parts.append(f'\n    # ---- {title}')
        for spec in specs:
            range_text = spec.range_text.replace(', ', ' | ') if spec.choices else spec.range_text
            text = f'{spec.description} [{range_text}]' if range_text else spec.description
            parts += [f'    # {line}' for line in textwrap.wrap(text, 90)]
            if spec.balanced is None:
                parts.append(f'    {spec.name}: {_yaml_value(spec.default)}')
            else:  # a value here would win over quality
                parts.append(
                    f'    # {spec.name}: {_yaml_value(spec.balanced)}'
                    f'  # balanced; exact: {_yaml_value(spec.default)}'
                )
    return '\n'.join(parts) + '\n'


def _table(specs: Sequence[ParameterSpec]) -> str:
    rows = '\n'.join(_row(spec) for spec in specs)
    head = '| name | type | default | range | while running | description |\n'
    return f'{head}|---|---|---|---|---|---|\n{rows}'


def _row(spec: ParameterSpec) -> str:
    cells = (
        f'`{spec.name}`',
        spec.type_name,
        _default(spec) if spec.balanced is not None else f'`{_yaml_value(spec.default)}`',
        spec.range_text,
        'no' if spec.read_only else 'yes',
        spec.description.replace('|', '\\|'),
    )
    return f'| {" | ".join(cells)} |'


def _default(spec: ParameterSpec) -> str:
    """Return the defaults of a parameter that has one for each quality."""
    return ', '.join(f'{_yaml_value(spec.default_of(each))} ({each})' for each in QUALITIES)


def _yaml_value(value: Value) -> str:
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, tuple):
        return f'[{", ".join(value)}]'
    return repr(value) if value == '' else str(value)


def _wrapped(text: str, used: int) -> str:
    return '\n# '.join(textwrap.wrap(text, 97, initial_indent=' ' * used)).strip()


def main() -> int:
    """Print the file that the command line names."""
    files = {'markdown': markdown, 'yaml': yaml, 'space': space}
    if len(sys.argv) != 2 or sys.argv[1] not in files:
        print(f'usage: {_MADE_BY} {"|".join(files)}', file=sys.stderr)
        return 2
    print(files[sys.argv[1]](), end='')
    return 0


if __name__ == '__main__':
    sys.exit(main())
