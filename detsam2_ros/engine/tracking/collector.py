# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The results of a call that does several things, none of them lost when a later one fails."""

from __future__ import annotations

from collections.abc import Callable

from detsam2_ros.results.errors import DetectorError, WindowError
from detsam2_ros.results.frames import FrameResult


class ResultCollector:
    """Collects results of a stream's steps, and what went wrong with the detector."""

    def __init__(self, stream: str):
        self._stream = stream
        self._results: list[FrameResult] = []
        self._failures: list[str] = []

    def add(self, step: Callable[[], list[FrameResult]]) -> None:
        """Do a step. What it raises passes through, in a WindowError where results came before."""
        try:
            self._results += step()
        except DetectorError as error:
            self._results += error.results
            self._failures.append(str(error))
        except Exception as error:
            if not self._results:
                raise
            self._failures.append(f"stream '{self._stream}': a later window failed: {error}")
            raise WindowError('; '.join(self._failures), self._sorted()) from error

    def results_or_error(self) -> list[FrameResult]:
        """Return all results, by frame and revision; DetectorError with them if it failed."""
        if self._failures:
            raise DetectorError('; '.join(self._failures), self._sorted())
        return self._sorted()

    def _sorted(self) -> list[FrameResult]:
        return sorted(self._results, key=lambda result: (result.index, result.revision))
