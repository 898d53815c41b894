"""The resident planner of balanced weights: zeros take neither words nor cycles.

Columns are cut into windows (:mod:`lstm_hw.plan.windows`). All row blocks go through the weights that are kept of a
window, each lane with the elements that its own weights name, while the elements of the next window come. The window
that a step begins with comes while the layer below, or the step before, multiplies its last one; that of a layer which
has no h of its own, whose elements are made last of all, comes once they are there.

Matrices without enough zeros, and heads, are multiplied column by column, as in :mod:`lstm_hw.plan.dense`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .dense import ResidentLayer, ResidentPlanner
from .layer import Frame
from .sums import Sum
from .windows import ZEROS, Windows, window_tiles


class GatherLayer(Windows, ResidentLayer):
    """A layer, or the head.

    Attributes
    ----------
    behind : GatherLayer or None
        Whose first window comes behind the last one of this layer, in the same step.
    first : GatherLayer
        Whose first window comes behind the last one of a step.
    """

    leaves_out = False
    behind: GatherLayer | None = None
    first: GatherLayer

    def __init__(self, planner: GatherPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        if not self.linear:
            self.shared["x_elements"] = 2 * self.x_stride  # the next step's x comes while this one's is in use

    def column_tiles(self, part: str, columns: int, width: int) -> list[Tile]:
        windows = [] if self.layer.kind == "linear" else window_tiles(self.layer, self.number, part, self.config)
        return windows or super().column_tiles(part, columns, width)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for _ in taken():
            self.take_x(self.x_at(first), spread=int(self.config.contexts > 1))

    def ahead(self, first: Sum) -> None:
        """The window that a run begins with."""
        if self.order[0].kept:
            self.fill_window(self._elements(self.order[0], first, self.done))

    def frame(self, frame: Frame) -> None:
        self._step(frame.first, self.done)

    @property
    def _late(self):
        """Whether the first window has to wait for what the layer below has yet to make."""
        return self.number > 0 and not self.own_h and not self.linear

    def _walk(self, step, number):
        if not self.linear and not self.own_h:
            self.b.await_tokens(SPACE_H, self.layer.outputs)
        if self._late and self.order[0].kept:
            self.fill_window(self._elements(self.order[0], step, number))
        for tile, after in zip(self.order, (*self.order[1:], None), strict=True):
            if after:
                self._multiply(tile, step, number, self._elements(after, step, number))
            elif self.behind and not self.behind._late:
                self._multiply(tile, step, number, self.behind._elements(self.behind.order[0], step, number))
            elif self.behind or self.linear:
                self._multiply(tile, step, number)
            else:
                for _ in self.b.when(self.b.left):
                    self.first.inputs(partial(iter, (None,)), step + 1)
                    window = self.first._elements(self.first.order[0], step + 1, number + 1)
                    self._multiply(tile, step, number, window)
                for _ in self.b.unless(self.b.left):
                    self._multiply(tile, step, number)
        if self.layer.start:
            self.b.assign(self.started, self.sums)

    def _elements(self, tile, step, number):
        """Fields of a MAC that brings the elements of a tile, if it is a window."""
        if not tile.kept:
            return None
        vector = self._vector(tile, step, number)
        if "free" in vector:
            vector["free"] &= tile is [tile for tile in self.order if tile.part == "x"][-1]
        return {"fill": tile.columns, "lift": self.lift(tile.part), **vector}

    def _multiply(self, tile, step, number, window=None):
        """Products of a tile, and the elements of the window behind it."""
        sums, shown = self._entries(tile), self._named(tile)
        if tile.kept:
            self.multiply_window(tile, shown, window, weight=self.address[tile], **sums)
            return
        self._products(tile, shown, **sums, **self._vector(tile, step, number))
        if window:
            self.fill_window(window)

    def _entries(self, tile):
        """Windows between the products of a row block leave nothing in the lanes: sums wait in entries always."""
        work = self.sums + self.blocks
        end = {"finish": 1} if tile is self.order[-1] else {"store": 1, "target": work}
        begin = self.started if self.layer.start else self.sums
        return {"load": 1, "source": begin if tile is self.order[0] else work, **end}


class GatherPlanner(ResidentPlanner):
    """Any stack whose weights fit the weight buffer without their zeros.

    Parameters
    ----------
    network : Network
        Says which weights are zero.
    config : EngineConfig
        With windows. All K contexts work on independent sequences.
    """

    name = "gather"
    layer = head = GatherLayer
    takes = ("an initial state", "peepholes", "plain layers", "a projection", "a skip")

    def __init__(self, network: Network, config: EngineConfig) -> None:
        if not config.window:
            raise ConfigError("engine.window", config.window, "must be 4 to 64 for the schedule gather")
        super().__init__(network, config)
        windows = [tile for layer in self.layers for tile in layer.resident if tile.kept]
        if not windows:
            raise ConfigError("model", "weights without enough zeros for the schedule gather", ZEROS)
        for layer, behind in zip(self.layers, self.layers[1:], strict=False):
            layer.behind = behind
        for layer in self.layers:
            layer.first = self.layers[0]
