# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small planner that uses corrections: it withdraws plans that were made on wrong masks.

It subscribes to the masks of a detsam2 node, estimates which parts of the view are free, and
steers to where the view is free furthest ahead. The estimate remembers the last frames. When the
node corrects the masks of one of them, that frame's evidence is replaced and the estimate is made
again. So the estimate is what it would have been with the right masks at once, and a plan that
was made on a wrong mask is withdrawn.

What a detection has just started is tentative. Such an object blocks nothing yet: the planner goes
around it where that costs nothing, and passes it slowly elsewhere. Once it is confirmed, it blocks
its cells on the frames before, too. When it is withdrawn, it leaves all of them.

    python examples/planner.py --ros-args -p detsam2:=/detsam2

Topics:
    ~/free_space  nav_msgs/OccupancyGrid  belief that a cell of the image is occupied, 0..100;
                                          tentative objects count half
    ~/plan        std_msgs/String         one line for each change

The grid lies over the image, not on the ground: a robot would project the masks first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from std_msgs.msg import String

from detsam2_ros.client import MaskTimeline, ObjectState, TimelineFrame, subscribe
from detsam2_ros.shutdown_race import run_node


def occupied_share(labels: np.ndarray, cell: int) -> np.ndarray:
    """Return which share of each cell is covered by objects, float32 [rows, columns].

    labels: uint16 [H, W], 0 = background. cell: side of a cell in pixels; the last row and
    column may be smaller.
    """
    rows = np.arange(0, labels.shape[0], cell)
    columns = np.arange(0, labels.shape[1], cell)

    def summed(pixels: np.ndarray) -> np.ndarray:
        return np.add.reduceat(np.add.reduceat(pixels, rows, axis=0), columns, axis=1)

    return summed((labels != 0).astype(np.float32)) / summed(np.ones(labels.shape, np.float32))


@dataclass(frozen=True)
class Change:
    """The effect of one frame, or of one correction, on the estimate."""

    freed: int  # cells that became free
    taken: int  # cells that became occupied
    doubtful: int  # cells that only tentative objects occupy
    before: int | None  # the planned column; None when no column is free
    after: int | None
    slowly: bool  # the planned column passes a tentative object

    def __str__(self) -> str:
        cells = f'{self.freed} cells freed, {self.taken} newly occupied, {self.doubtful} doubtful'
        pace = ', slowly' if self.slowly else ''
        if self.before == self.after:
            return f'{cells}; plan stays at {_column(self.after)}{pace}'
        change = f'from {_column(self.before)} to {_column(self.after)}'
        return f'{cells}; plan changed {change}{pace}'


def _ids(ids: tuple[int, ...]) -> str:
    return ', '.join(map(str, ids))


def _column(column: int | None) -> str:
    return 'standing still' if column is None else f'column {column}'


class FreeSpace:
    """Which cells of the view are free, from the masks of the last frames. Needs no ROS.

    cell: side of a cell, pixels. memory: frames that count. To use all corrections it must reach
    back as far as they do: max_propagation of the node, plus window_size in mode online. decay:
    weight of a frame relative to the next newer one. share: a cell is seen as occupied on a frame
    when objects cover more than this share of it.
    """

    def __init__(
        self, cell: int = 32, memory: int = 30, decay: float = 0.8, share: float = 0.1
    ) -> None:
        self.cell, self.memory, self.decay, self.share = cell, memory, decay, share
        # Float64 [rows, columns], 0..1: by confirmed objects, and by tentative ones too.
        self.belief: np.ndarray | None = None
        self.caution: np.ndarray | None = None
        self.newest: TimelineFrame | None = None
        self._stream: int | None = None
        # By stamp and object id: float32 [rows, columns], which share of each cell it covers.
        self._seen: dict[int, dict[int, np.ndarray]] = {}
        self._confirmed: set[int] = set()  # ids
        self._withdrawn: set[int] = set()

    @property
    def occupied(self) -> np.ndarray:
        """Cells that are believed to be occupied, bool [rows, columns]."""
        assert self.belief is not None, 'no frame has come yet'
        return self.belief > 0.5

    @property
    def doubtful(self) -> np.ndarray:
        """Cells that only tentative objects are believed to occupy, bool [rows, columns]."""
        assert self.caution is not None, 'no frame has come yet'
        return (self.caution > 0.5) & ~self.occupied

    def plan(self) -> int | None:
        """Return the column that is free furthest up from the bottom of the view.

        Of several, one with the fewest doubtful cells on the way, and of these the one nearest to
        the middle. None when all are blocked at the bottom.
        """
        if self.belief is None:
            return None
        reach, doubts = self._reach(), self._doubts()
        if not reach.any():
            return None
        middle = (len(reach) - 1) / 2
        columns = range(len(reach))
        return min(columns, key=lambda i: (-reach[i], doubts[i], abs(i - middle)))

    def _reach(self) -> np.ndarray:
        """Return how many cells of each column are free from the bottom up, int [columns]."""
        blocked = self.occupied[::-1]
        return np.where(blocked.any(axis=0), blocked.argmax(axis=0), len(blocked))

    def _doubts(self) -> np.ndarray:
        """Return how many of these cells are doubtful, int [columns]."""
        rows = np.arange(len(self.occupied))[:, None]
        return (self.doubtful[::-1] & (rows < self._reach())).sum(axis=0)

    def update(self, frame: TimelineFrame) -> Change | None:
        """Take a new frame, or a corrected one; None when it is too old to matter.

        The belief is a function of the evidence that is held, and of nothing else. So whether
        masks were right at once or were corrected makes no difference to it.
        """
        nothing = occupied_share(np.zeros_like(frame.labels), self.cell)
        of_other_size = self.belief is not None and nothing.shape != self.belief.shape
        if frame.stream != self._stream or of_other_size:
            # The camera or the node restarted: earlier frames are of another stream.
            self._seen, self.belief, self.caution, self.newest = {}, None, None, None
            self._confirmed, self._withdrawn = set(), set()
            self._stream = frame.stream
        full = len(self._seen) >= self.memory and frame.stamp not in self._seen
        if full and frame.stamp < min(self._seen):
            return None
        plan_before = self.plan()
        occupied_before = self.occupied if self.belief is not None else nothing > 0
        # What becomes of an object counts on all frames.
        self._confirmed |= {o.id for o in frame.objects if o.state is ObjectState.CONFIRMED}
        self._withdrawn |= set(frame.withdrawn_ids)
        self._seen[frame.stamp] = {
            thing.id: occupied_share(frame.mask(thing.id), self.cell) for thing in frame.objects
        }
        if full:
            del self._seen[min(self._seen)]
        if self.newest is None or frame.stamp >= self.newest.stamp:
            self.newest = frame
        there = {id_ for shares in self._seen.values() for id_ in shares} - self._withdrawn
        self.belief = self._average(there & self._confirmed, nothing)
        self.caution = self._average(there, nothing)
        occupied, after = self.occupied, self.plan()
        return Change(
            freed=int((occupied_before & ~occupied).sum()),
            taken=int((occupied & ~occupied_before).sum()),
            doubtful=int(self.doubtful.sum()),
            before=plan_before,
            after=after,
            slowly=after is not None and bool(self._doubts()[after]),
        )

    def _average(self, ids: set[int], nothing: np.ndarray) -> np.ndarray:
        """Return in how many of the frames, newer ones counting more, objects cover each cell."""
        newest_first = [self._seen[stamp] for stamp in sorted(self._seen, reverse=True)]
        covered = [
            sum((shares[id_] for id_ in sorted(ids & shares.keys())), nothing) > self.share
            for shares in newest_first
        ]
        weights = self.decay ** np.arange(len(newest_first))
        return np.average(np.array(covered, np.float64), axis=0, weights=weights)


class Planner(Node):
    """Feeds the estimate with masks and corrections, and publishes it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('planner', **kwargs)
        detsam2 = self.declare_parameter('detsam2', 'detsam2').value  # full name of the node
        camera = self.declare_parameter('camera', '').value
        cell = self.declare_parameter('cell', 32).value
        memory = self.declare_parameter('memory', 30).value
        self.free_space = FreeSpace(cell, memory)
        self.grids = self.create_publisher(OccupancyGrid, '~/free_space', 10)
        self.plans = self.create_publisher(String, '~/plan', 10)
        subscribe(
            self,
            self.on_frame,
            namespace=detsam2,
            camera=camera,
            timeline=MaskTimeline(length=memory),
        )

    def on_frame(self, frame: TimelineFrame) -> None:
        """Take a frame that is new (revision 0) or was corrected (revision 1 and up)."""
        change = self.free_space.update(frame)
        if change is None:
            return
        if frame.revision:
            gone = f', withdrawn {_ids(frame.withdrawn_ids)}' if frame.withdrawn_ids else ''
            line = f'frame {frame.index} corrected (revision {frame.revision}{gone}): {change}'
        else:
            line = f'frame {frame.index}: {change}'
        if change.freed or change.taken or change.doubtful or change.before != change.after:
            self.get_logger().info(line)
            self.plans.publish(String(data=line))
        self.grids.publish(self.grid())

    def grid(self) -> OccupancyGrid:
        """Make the message; row 0 of an OccupancyGrid is at the bottom."""
        space = self.free_space
        newest, belief, caution = space.newest, space.belief, space.caution
        assert newest is not None and belief is not None and caution is not None
        message = OccupancyGrid()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(newest.stamp, 10**9)
        message.header.frame_id = newest.frame_id
        message.info.map_load_time = message.header.stamp
        message.info.resolution = float(self.free_space.cell)  # pixels, for want of metres
        message.info.height, message.info.width = belief.shape
        message.info.origin.orientation.w = 1.0
        shown = np.maximum(belief, caution / 2)
        message.data = np.rint(shown[::-1] * 100).astype(np.int8).ravel().tolist()
        return message


def main() -> None:
    """Run the node until it is interrupted."""
    run_node(Planner)


if __name__ == '__main__':
    main()
