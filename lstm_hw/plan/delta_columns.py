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
from .layer import Frame, ResidentBias, ring_words, spans_of
from .stack import StackPlanner
from .sums import Sum

AHEAD = 4
"""Columns that the ring has room for, where there is so much: as many as the queue in front of the lanes holds."""


class ColumnLayer(ResidentBias):
    """The layer.

    Parameters
    ----------
    thresholds : tuple of int
        Of x and of its h.
    """

    whole = True

    def __init__(self, shape: LayerShape, config: EngineConfig, thresholds: tuple[int, ...]) -> None:
        super().__init__(shape, 0, config)
        self.thresholds, self.spans = thresholds, spans_of(self.blocks)
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
        return self.zero_cells(1)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for _ in taken():
            self.take_x(threshold=self.thresholds[0])

    def newest_h(self, step: Sum, later: Sum | int, number: Sum) -> Iterator[tuple[int, int]]:
        yield 1, self.h

    def frame(self, frame: Frame) -> None:
        self._columns("x", self.layer.inputs, SPACE_X, 0)
        self.await_x()
        self.free_x()
        self._columns("h", self.layer.outputs, SPACE_DELTA, self.layer.inputs)
        frame.following()
        self.before.settle(self)
        self.end_sums(1, self.sums)
        self.cells(self.layer.outputs, 1, state=self.c, target=self.h, threshold=self.thresholds[1])

    def _columns(self, part, count, space, first_column):
        """Products of what changed of a vector; columns follow one another in the image."""
        fields = {"space": space, "lift": self.lift(part), "columns": 1, "stream": 1, "mask": 1, "load": 1, "store": 1}
        for column in self.b.each(count):
            for _ in self.b.kept(column, of_x=space == SPACE_X):
                self.load((column + first_column) * self.blocks, self.blocks, f"a column of W_{part}")
                for first, slots in self.spans:
                    sums = {"source": self.sums + first, "target": self.sums + first, "slots": slots}
                    last = int(first + slots == self.blocks)
                    self.b.emit("MAC", operand=column, weight=first, release=last, **sums, **fields)


class ColumnPlanner(StackPlanner):
    """One layer with thresholds, one sequence; any head, whose weights stay on chip where there is room.

    Parameters
    ----------
    network : Network
        With thresholds.
    config : EngineConfig
        With lists and ``list_loads``.
    """

    name = "delta_columns"
    lists = True

    def __init__(self, network: Network, config: EngineConfig) -> None:
        if not config.list_loads:
            raise ConfigError("engine.list_loads", config.list_loads, "must be true for the schedule delta_columns")
        if len(network.recurrent) > 1:
            raise ConfigError(
                "network", f"{len(network.recurrent)} layers", "must be one for the schedule delta_columns"
            )
        super().__init__(network, config, lambda shape, number: ColumnLayer(shape, config, network.thresholds))
