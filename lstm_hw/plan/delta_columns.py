"""Delta networks whose weights are in memory: only columns of what changed are read.

As in EdgeDRNN (Gao et al., "EdgeDRNN: Recurrent Neural Network Accelerator for Edge Inference", JETCAS 2020), weights
lie column by column in memory. The program asks of each element of x and h whether it changed; if so, it asks for the
column and multiplies all row blocks of it, while the next ones come. Sums are those of the references of x and h
without the last column of the bias, which finishes them.

Of a GRU with one cell, row blocks are of one gate (``gate_blocks``): a column of x leaves out those of n_h, and one of
h those of n_x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_DELTA, SPACE_X
from ..machine.layout import Tile
from ..machine.limits import GATES
from ..machine.network import LayerShape, Network
from .layer import Frame, ResidentBias, ring_words
from .stack import StackPlanner
from .sums import Sum, Value, as_sum

AHEAD = 4
"""Columns that the ring has room for, where there is so much: as many as the queue in front of the lanes holds."""


class ColumnLayer(ResidentBias):
    """A layer.

    Attributes
    ----------
    thresholds : tuple of int
        Of x and of each layer's h.
    top : ColumnLayer or None
        Of the first layer, the last one, whose h of the step before may still be coming.
    """

    whole = True
    top: ColumnLayer | None = None

    def __init__(self, planner: ColumnPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        config, self.thresholds = planner.config, planner.network.thresholds
        self.stride = shape.gate_blocks(config.rows) if config.gate_blocks else 0
        self.blocks = GATES * self.stride or self.blocks
        self.resident = tuple(self.bias_tiles())
        parts = ("x", shape.inputs), ("h", shape.outputs)
        self.streamed = tuple(tile for part, columns in parts for n in range(columns) for tile in self._tiles(part, n))
        self.column_words = sum(blocks for _, blocks in self._read_by("x"))
        self.own = {"accumulators": self.blocks, "h_elements": shape.outputs, "states": shape.outputs}
        self.shared = {"x_elements": self.x_stride, "finish_entries": self.blocks}
        self.tail = (shape.outputs,)

    def fit(self, room: int) -> None:
        least = ring_words(self.column_words, self.config)
        self.shared["ring"] = max(least, min(ring_words(AHEAD * self.column_words, self.config), room))

    def _read_by(self, part):
        """(first row block, row blocks) that a column of a part has; of h as many as of x."""
        gates = self.stride
        if not gates:
            return ((0, self.blocks),)
        return {"x": ((0, 3 * gates),), "h": ((0, 2 * gates), (3 * gates, gates))}[part]

    def _tiles(self, part, column):
        return [Tile(self.number, part, first, blocks, column, 1) for first, blocks in self._read_by(part)]

    def zero(self) -> int:
        """Also the sums: all columns of the bias but the last."""
        self.start_sums(1)
        self._await(self.below)
        return self.zero_cells(1)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for _ in taken():
            self.take_x(threshold=self.thresholds[0])

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, int]]:
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
        stride = {"stride": self.stride} if self.stride else {}
        self.cells(self.layer.outputs, 1, state=self.c, target=self.h, threshold=threshold, **stride)

    def _await(self, layer):
        """Until it is known what changed of the h of another layer: that of the next CELL is counted from then on."""
        if layer and layer is not self:
            for _ in self.b.kept(as_sum(layer.h + layer.layer.outputs - 1)):
                pass

    def _columns(self, part, count, space, operand, first_column):
        """Products of what changed of a vector, from an element on; columns follow one another in the image."""
        fields = {"space": space, "lift": self.lift(part), "columns": 1, "stream": 1, "store": 1}
        words = self.column_words
        for column in self.b.each(count):
            for _ in self.b.kept(column + operand, of_x=space == SPACE_X):
                here = self.address[self.streamed[0]] + (column + first_column) * words
                self.load_words(here, words, f"a column of W_{part}")
                weight = 0
                for first, blocks in self._read_by(part):
                    sums = {"source": self.sums + first, "target": self.sums + first, "slots": blocks}
                    release = int(weight + blocks == words)
                    self.mac(1, operand=column + operand, weight=weight, release=release, **sums, **fields)
                    weight += blocks


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
    layer = ColumnLayer
    asks = ("thresholds",)

    def __init__(self, network: Network, config: EngineConfig) -> None:
        if not config.list_loads:
            raise ConfigError("engine.list_loads", config.list_loads, "must be true for the schedule delta_columns")
        super().__init__(network, config)
        self.layers[0].top = self.layers[-1]
