# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""HOTA, CLEAR MOT and IDF1: how well ids stay with things, by the kept library motrics.

motrics computes what TrackEval does, and needs numpy alone; TrackEval wants numpy 2.3 and another
OpenCV, which no ROS distribution has. A test holds the values to those of TrackEval's own KITTI
MOTS evaluation. Sums over videos are ours: counts add up as TrackEval adds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detsam2_ros.quality.alignment import FramePair, MeasureError, aligned
from detsam2_ros.quality.overlap import iou_table, share_within
from detsam2_ros.quality.scoring import FOUND_IOU, pair
from detsam2_ros.quality.segments import SegmentedVideo

_IGNORED = 0.5  # a mask that finds nothing does not count with more of it than this ignored


@dataclass(frozen=True)
class Identity:
    """Counts of one video or more; the measures follow from them.

    Arrays have an element for each IoU threshold of HOTA, 0.05 to 0.95.
    """

    matched: np.ndarray  # masks of a true thing with at least this IoU
    missed: np.ndarray  # true masks without one
    false: np.ndarray  # masks without a true one
    associated: np.ndarray  # sum over matched masks of the agreement of both tracks
    located: np.ndarray  # sum over matched masks of their IoU
    clear: np.ndarray  # of CLEAR at IoU 0.5: matched, missed, false, switches of id, sum of IoU
    ids: np.ndarray  # of the best pairing of whole tracks: matched, missed, false

    def __add__(self, other: Identity) -> Identity:
        return Identity(
            self.matched + other.matched, self.missed + other.missed, self.false + other.false,
            self.associated + other.associated, self.located + other.located,
            self.clear + other.clear, self.ids + other.ids,
        )  # fmt: skip

    @property
    def hota(self) -> float:
        """Higher order tracking accuracy: of detection and association alike."""
        return float(np.mean(np.sqrt(self._detection() * self._association())))

    @property
    def deta(self) -> float:
        """Detection accuracy, mean over IoU thresholds."""
        return float(np.mean(self._detection()))

    @property
    def assa(self) -> float:
        """Association accuracy, mean over IoU thresholds."""
        return float(np.mean(self._association()))

    @property
    def loca(self) -> float:
        """Localisation accuracy: mean IoU of matched masks, mean over IoU thresholds."""
        return float(np.mean(_ratio(self.located, self.matched, 1.0)))

    @property
    def idf1(self) -> float:
        """F1 of masks that keep the id of their thing over the whole video."""
        matched, missed, false = self.ids
        return float(matched / max(matched + 0.5 * missed + 0.5 * false, 1.0))

    @property
    def mota(self) -> float:
        """CLEAR's accuracy: 1 less the misses, false masks and switches a true mask."""
        matched, missed, false, switches, _ = self.clear
        return float((matched - false - switches) / max(matched + missed, 1.0))

    @property
    def smotsa(self) -> float:
        """Return sMOTSA of KITTI MOTS: like MOTA, but a matched mask counts its IoU."""
        matched, missed, false, switches, iou = self.clear
        return float((iou - false - switches) / max(matched + missed, 1.0))

    @property
    def switches(self) -> int:
        """Switches of id, as CLEAR counts them."""
        return int(self.clear[3])

    def _detection(self) -> np.ndarray:
        return self.matched / np.maximum(self.matched + self.missed + self.false, 1)

    def _association(self) -> np.ndarray:
        return _ratio(self.associated, self.matched, 0.0)


def identity(truth: SegmentedVideo, shown: SegmentedVideo) -> Identity:
    """Return the identity measures of a view, whatever the classes of its things.

    `alignment.of_class` leaves one class, as KITTI MOTS scores. Raises MeasureError, also where
    the package motrics is missing.
    """
    library = _library()
    true_ids, shown_ids, tables = [], [], []
    for frame in aligned(truth, shown):
        table, own = _counted(frame)
        true_ids.append(list(frame.truth))
        shown_ids.append(own)
        tables.append(table.tolist())
    hota = library.compute_hota_from_similarity(true_ids, shown_ids, tables)
    clear = library.compute_clear_from_similarity(true_ids, shown_ids, tables, FOUND_IOU)
    ids = library.compute_identity_from_similarity(true_ids, shown_ids, tables, FOUND_IOU)
    matched = np.array(hota.hota_tp_alphas)
    return Identity(
        matched,
        np.array(hota.hota_fn_alphas),
        np.array(hota.hota_fp_alphas),
        np.array(hota.assa_alphas) * matched,
        np.array(hota.loca_alphas) * matched,
        np.array([
            clear.num_matches, clear.num_misses, clear.num_false_positives, clear.num_switches,
            clear.motp * clear.num_matches if clear.num_matches else 0.0,
        ], float),
        np.array([ids.idtp, ids.idfn, ids.idfp], float),
    )  # fmt: skip


def _counted(frame: FramePair) -> tuple[np.ndarray, list[int]]:
    """Return the IoUs of a frame and the ids shown, without what lies in ignored pixels."""
    ids = list(frame.shown)
    table = iou_table(list(frame.truth.values()), list(frame.shown.values()))
    if not frame.ignored or not ids:
        return table, ids
    # As KITTI MOTS does: what finds a true thing counts wherever it lies.
    strays = pair(np.where(table >= FOUND_IOU, table, 0.0), list(frame.truth), ids).strays
    inside = share_within(list(frame.shown.values()), frame.ignored) > _IGNORED
    kept = [i for i, id_ in enumerate(ids) if not (inside[i] and id_ in strays)]
    return table[:, kept], [ids[i] for i in kept]


def _ratio(part: np.ndarray, whole: np.ndarray, nothing: float) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), nothing)


def _library() -> Any:
    try:
        import motrics
    except ImportError as error:
        raise MeasureError(
            'HOTA, IDF1 and sMOTSA need the package motrics: pip install motrics'
        ) from error
    return motrics
