# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where something is measured: device, precision, threads; the clock, and models to run there."""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from omegaconf import OmegaConf

from detsam2_ros.engine import load_sam2
from detsam2_ros.engine.sam2.load import build_sam2
from detsam2_ros.engine.sam2.model import Sam2Model
from oracle.configs import config as small_config

ROOT = Path(__file__).resolve().parents[2]
# Configs of the sam2 package, with random weights here; 'demo' is the shipped model, 'rehearsal'
# a model of the tests that is good for nothing but trying the benchmarks out.
CONFIGS = {
    'tiny': 'configs/sam2.1/sam2.1_hiera_t.yaml',
    'small': 'configs/sam2.1/sam2.1_hiera_s.yaml',
    'base_plus': 'configs/sam2.1/sam2.1_hiera_b+.yaml',
    'large': 'configs/sam2.1/sam2.1_hiera_l.yaml',
}
MODELS = ('demo', *CONFIGS, 'rehearsal')
NATIVE = {'demo': 256, 'rehearsal': 64}  # px; the others: 1024


@dataclass(frozen=True)
class Place:
    """A device, 'float32' or 'bfloat16' on it, and threads of the host."""

    device: str = 'cpu'
    dtype: str = 'float32'
    threads: int = 1

    @property
    def cuda(self) -> bool:
        return self.device.startswith('cuda')

    @property
    def clock_name(self) -> str:
        if self.cuda:
            return 'wall time, device synchronised'
        return 'processor time' if self.threads == 1 else 'wall time'

    def clock(self) -> float:
        """Return seconds; of the processor where one thread does all: others disturb that less."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
            return time.perf_counter()
        return time.process_time() if self.threads == 1 else time.perf_counter()

    @contextlib.contextmanager
    def stage_clock(self) -> Iterator[None]:
        """Let engines time their stages by the same clock; on CUDA they use events."""
        if self.cuda or self.threads != 1:
            yield
            return
        with mock.patch(
            'detsam2_ros.engine.stats.time', SimpleNamespace(perf_counter=time.process_time)
        ):
            yield

    def bytes(self) -> dict[str, int]:
        """Return bytes held: of the process, and by PyTorch on a GPU."""
        import psutil

        found = {'rss': psutil.Process().memory_info().rss}
        if self.cuda:
            found['allocated'] = torch.cuda.memory_allocated(self.device)
            found['reserved'] = torch.cuda.memory_reserved(self.device)
            found['peak'] = torch.cuda.max_memory_allocated(self.device)
        return found

    def settle(self, stats: Any) -> None:
        """Let a StatsRecorder read all its events; for that the device must have passed them."""
        if self.cuda:
            torch.cuda.synchronize(self.device)
        stats.settle()


def machine(place: Place) -> dict[str, Any]:
    """Describe the machine without naming it."""
    described = {
        **asdict(place),
        'cpu': _cpu_name(),
        'cores': os.cpu_count(),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'clock': place.clock_name,
    }
    try:
        described['sam2'] = version('sam2')
    except PackageNotFoundError:
        described['sam2'] = 'not installed as a package'
    if place.cuda:
        properties = torch.cuda.get_device_properties(place.device)
        described['gpu'] = properties.name
        described['gpu_bytes'] = properties.total_memory
        described['cuda'] = torch.version.cuda
    return described


def _cpu_name() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def code_version() -> str:
    """Return a digest of the code that is measured: results of another one are stale."""
    digest = hashlib.sha256()
    files = [*(ROOT / 'detsam2_ros' / 'engine').rglob('*.py')]
    runtime = ROOT / 'detsam2_ros' / 'runtime'
    files += [runtime / name for name in ('worker.py', 'camera_stream.py')]
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


@functools.lru_cache(maxsize=2)
def load(name: str, size: int | None, place: Place) -> tuple[Sam2Model, dict[str, Any]]:
    """Return a model and the config that sam2's predictor is built from.

    size: px; None = the model's own. Only the last two are kept.
    """
    if name == 'demo':
        if size not in (None, NATIVE['demo']):
            raise ValueError(f'the shipped model runs at {NATIVE["demo"]} px only, not {size}')
        settings = OmegaConf.load(ROOT / 'models' / 'detsam2_demo.yaml')
        model = load_sam2('demo', device=place.device, dtype=place.dtype)
        return model, OmegaConf.to_container(settings, resolve=True)
    if name == 'rehearsal':
        return load_random(small_config('sam21', size or NATIVE[name]), place)
    if name not in CONFIGS:
        raise ValueError(f'there is no model {name}; there are {", ".join(MODELS)}')
    return load_random(settings_of(CONFIGS[name], size), place)


def settings_of(config: str, size: int | None = None) -> dict[str, Any]:
    """Read a config: a file, or one of the sam2 package."""
    import sam2

    path = Path(config)
    path = path if path.exists() else Path(sam2.__file__).parent / config
    settings = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    settings['model']['image_size'] = size or settings['model']['image_size']
    return settings


def load_random(settings: dict[str, Any], place: Place) -> tuple[Sam2Model, dict[str, Any]]:
    """Return a model of a config with random weights: as fast as a trained one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'random.yaml'
        OmegaConf.save(OmegaConf.create(settings), path)
        torch.manual_seed(0)
        module = build_sam2(path)
    dtype = torch.bfloat16 if place.dtype == 'bfloat16' else torch.float32
    return Sam2Model(module, 'random', torch.device(place.device), dtype), settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --device, --dtype and --threads."""
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--dtype', choices=('float32', 'bfloat16'), help='default: bfloat16 on CUDA, else float32'
    )
    parser.add_argument('--threads', type=int, default=1)


def place_of(options: argparse.Namespace) -> Place:
    """Return the place that the options name, and let PyTorch have its threads."""
    torch.set_num_threads(options.threads)
    dtype = options.dtype or ('float32' if options.device == 'cpu' else 'bfloat16')
    return Place(options.device, dtype, options.threads)
