# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The errors a user of the engine can meet; every message names the thing and the way out."""

from __future__ import annotations

from detsam2_ros.results.frames import FrameResult


class EngineError(Exception):
    """Base of all errors that the engine raises on purpose."""


class ConfigError(EngineError, ValueError):
    """A parameter, or a combination of parameters, that cannot work; names the parameter."""


class ImageError(EngineError, ValueError):
    """An image that the stream cannot take; the stream is as it was before the call."""


class PromptError(EngineError, ValueError):
    """A prompt, or a change to an object, that cannot be; the stream is as it was before."""


class ModelError(EngineError):
    """A model that cannot be loaded; names the file or id and what to do."""


class BankError(EngineError):
    """A memory bank that cannot be read, written or used with this model; names both sides."""


class WindowError(EngineError):
    """A window closed with something missing; its frames were segmented all the same.

    `results` holds what `push` or `flush` would have returned, so that no frame is lost:
    publish them, then report the error.
    """

    def __init__(self, message: str, results: list[FrameResult]):
        super().__init__(message)
        self.results = results


class DetectorError(WindowError):
    """The detector failed: the window was tracked from memory, without new detections."""
