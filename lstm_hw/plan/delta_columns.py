"""Delta networks whose weights are in memory: only columns of what changed are read.

As in EdgeDRNN (Gao et al., "EdgeDRNN: Recurrent Neural Network Accelerator for Edge Inference", JETCAS 2020), weights
lie column by column in memory. The program asks of each element of x and h whether it changed; if so, it asks for the
column and multiplies all row blocks of it, while the next ones come. Sums are those of the references of x and h
without the last column of the bias, which finishes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_DELTA, SPACE_X
from ..machine.network import LayerShape, Network
from .layer import Frame, ResidentBias, ring_words
from .stack import StackPlanner
from .sums import Sum, as_sum

AHEAD = 4
"""Columns that the ring has room for, where there is so much: as many as the queue in front of the lanes holds."""


class ColumnLayer(ResidentBias):
    """A layer.

    Parameters
    ----------
    thresholds : tuple of int
        Of x and of each layer's h.

    Attributes
    ----------
    top : ColumnLayer or None
        Of the first layer, the last one, whose h of the step before may still be coming.
    """

    whole = True
    top: ColumnLayer | None = None

    def __init__(self, shape: LayerShape, number: int, config: EngineConfig, thresholds: tuple[int, ...]) -> None:
        super().__init__(shape, number, config)
        self.thresholds = thresholds
        self.resident = tuple(self.bias_tiles())
        parts = ("x", shape.inputs), ("h", shape.outputs)
        self.streamed = tuple(tile for part, columns in parts for tile in self.column_tiles(part, columns, 1))
        self.own = {"accumulators": self.blocks, "h_elements": shape.outputs, "states": shape.outputs}
        self.shared = {"x_elements": self.x_stride, "finish_entries": self.blocks}
        self.tail = (shape.outputs,)

    def fit(self, room: int) -> None:
        least = ring_words(self.blocks, self.config)
        self.shared["ring"] = max(least, min(ring_words(AHEAD * self.blocks, self.config), room))

    def zero(self) -> int:
        """Also the sums: all columns of the bias but the last."""
        self.start_sums(1)
        self._await(self.below)
        return self.zero_cells(1)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for _ in taken():
            self.take_x(threshold=self.thresholds[0])

    def newest_h(self, step: Sum, later: Sum | int, number: Sum) -> Iterator[tuple[int, int]]:
        yield 1, self.h

    def frame(self, frame: Frame) -> None:
        """The h that the cell unit is still writing comes last: that of the layer below, or of the step before."""
        h = self.layer.outputs, SPACE_DELTA, self.h, self.layer.inputs
        if self.below:
            self._columns("h", *h)
            self._columns("x", self.layer.inputs, SPACE_DELTA, self.below.h, 0)
        else:
            self._columns("x", self.layer.inputs, SPACE_X, 0, 0)
            self.await_x()
            self.free_x()
            self._columns("h", *h)
            self._await(self.top)
        frame.following()
        self.before.settle(self)
        self.end_sums(1, self.sums)
        threshold = self.thresholds[self.number + 1]
        self.cells(self.layer.outputs, 1, state=self.c, target=self.h, threshold=threshold)

    def _await(self, layer):
        """Until it is known what changed of the h of another layer: that of the next CELL is counted from then on."""
        if layer and layer is not self:
            for _ in self.b.kept(as_sum(layer.h + layer.layer.outputs - 1)):
                pass

    def _columns(self, part, count, space, operand, first_column):
        """Products of what changed of a vector, from an element on; columns follow one another in the image."""
        fields = {
            "space": space,
            "lift": self.lift(part),
            "columns": 1,
            "slots": self.blocks,
            "stream": 1,
            "release": 1,
        }
        fields |= {"store": 1, "source": self.sums, "target": self.sums}
        for column in self.b.each(count):
            for _ in self.b.kept(column + operand, of_x=space == SPACE_X):
                self.load((column + first_column) * self.blocks, self.blocks, f"a column of W_{part}")
                self.mac(1, operand=column + operand, **fields)


class ColumnPlanner(StackPlanner):
    """Any stack with thresholds, one sequence; any head, whose weights stay on chip where there is room.

    Parameters
    ----------
    network : Network
        With thresholds.
    config : EngineConfig
        With lists and ``list_loads``.
    """

    name = "delta_columns"
    asks = ("thresholds",)

    def __init__(self, network: Network, config: EngineConfig) -> None:
        if not config.list_loads:
            raise ConfigError("engine.list_loads", config.list_loads, "must be true for the schedule delta_columns")
        thresholds = network.thresholds
        super().__init__(network, config, lambda shape, number: ColumnLayer(shape, number, config, thresholds))
        self.layers[0].top = self.layers[-1]
