# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine: one model and one detector, any number of streams."""

from __future__ import annotations

import gc
from dataclasses import fields, replace
from typing import Any

import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.config_fields import live_parameters
from detsam2_ros.engine.detector.classes import ClassTable, detector_classes
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.stats import Stats, StatsRecorder
from detsam2_ros.engine.stream import Stream
from detsam2_ros.results.errors import ConfigError, EngineError


class Engine:
    """SAM 2 and a detector, shared by all streams; call it and its streams from one thread.

    detector: None tracks what memory banks know and nothing else.
    """

    def __init__(
        self, model: Sam2Model, detector: Detector | None, config: EngineConfig | None = None
    ):
        if detector is not None and not isinstance(detector, Detector):
            raise ConfigError(
                f'detector must have class_names and detect(images), '
                f'{type(detector).__name__} has not'
            )
        self.model = model
        self.detector = detector
        self.config = config or EngineConfig()
        self._stats = StatsRecorder(model.device)
        self._streams: dict[str, Stream] = {}
        self._closed = False
        names = {} if detector is None else detector_classes(detector.class_names)
        self.classes = ClassTable(names)

    @property
    def streams(self) -> dict[str, Stream]:
        """The open streams by name."""
        return dict(self._streams)

    def open_stream(self, name: str) -> Stream:
        """Start a stream, one a camera. Raises EngineError when the name is open already."""
        if self._closed:
            raise EngineError('the engine is closed; make a new one')
        if name in self._streams:
            raise EngineError(f"stream '{name}' is open already; close it first")
        stream = Stream(name, self.model, self.detector, self.config, self._stats, self.classes)
        self._streams[name] = stream
        return stream

    def close_stream(self, name: str) -> None:
        """Drop a stream and all it holds; `flush` it first to have its last frames."""
        if name not in self._streams:
            raise EngineError(f"stream '{name}' is not open")
        self._streams.pop(name).close()

    def close(self) -> None:
        """Drop all streams, the model and the detector, and give their device memory back.

        Then `stats` can still be asked, streams raise EngineError, and another `close` does
        nothing.
        """
        if self._closed:
            return
        self._closed = True
        for name in list(self._streams):
            self.close_stream(name)
        device = self.model.device
        del self.model, self.detector
        gc.collect()
        if device.type == 'cuda':
            torch.cuda.empty_cache()

    def reconfigure(self, **changes: Any) -> None:
        """Change parameters of EngineConfig between two calls, for all streams.

        While streams are open only live parameters may change. detect_interval acts from the
        next frame on, the others from the next window that closes; in mode online what concerns
        detections acts on the next frame too. Raises ConfigError that names a parameter; then
        nothing has changed.
        """
        known, live = [f.name for f in fields(EngineConfig)], live_parameters(EngineConfig)
        for name in changes:
            if name not in known:
                raise ConfigError(f'{name} is no parameter; there are {", ".join(known)}')
            if self._streams and name not in live:
                raise ConfigError(
                    f'{name} cannot change while streams are open; '
                    f'{", ".join(live)} can, or close the streams first'
                )
        self.config = replace(self.config, **changes)
        for stream in self._streams.values():
            stream.reconfigure(self.config)

    def stats(self) -> Stats:
        """Return counts and times since the engine was made; safe from any thread."""
        return self._stats.snapshot()
