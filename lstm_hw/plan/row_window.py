"""TSI-WR: a row of W_h serves two neighbouring time steps while it is on chip, always in forward order.

Park et al., "Time-Step Interleaved Weight Reuse for LSTM Neural Network Computing", ISLPED 2020. Rows
of W_h pass through the ring, which holds a window of them. For a pair of steps (k, k + 1), row block i
serves step k at once, and step k + 1 as far as h of step k exists: row blocks 0 .. i - 1. What is right of
that, the upper triangle, waits in the window: when row block i - w leaves, it has met h of row blocks
up to i - 1. Columns further to the right are loaded again, for step k + 1 alone.

With nt row blocks of nt tiles, a pair so loads nt^2 + (nt - w)(nt - w + 1)/2 tiles instead of 2 nt^2: with a
share m = w/nt of the matrix on chip it saves about 1/2 - (1 - m)^2/4 of the words. W_x serves both
steps of a pair at once.

The even step of a pair is in context 0, with its h in bank 0, the odd one in context 1: context j
multiplies by bank j + 1 (mod 2), and what serves both steps at the same moment does so side by side. A last step
without a partner is in context 1, with the h before it in its own bank: every run begins and ends with h in bank 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .layer import MIN_TILE_CYCLES, Frame, ResidentBias, ring_words
from .stack import StackPlanner
from .sums import Sum, Value

EVEN, ODD, BOTH = 1, 2, 3
"""Masks: the contexts of the two steps."""


class RowWindowLayer(ResidentBias):
    """A layer of which ``window`` row blocks of W_h stay on chip behind the one that passes."""

    buffers = 2

    def __init__(self, planner: RowWindowPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        length, units, blocks = shape.outputs, self.units, self.blocks
        self.window = window = min(planner.window, blocks)
        self.again = blocks - window  # row blocks of which something is loaded again
        self.sequences, self.tail = 1, (length,)
        self.tile = -(-MIN_TILE_CYCLES // blocks)  # columns of a tile of W_x, over all row blocks
        x = self.column_tiles("x", shape.inputs, self.tile)
        # A row block from its diagonal on, and then what is left of it: the order of use.
        self.h_tiles = [
            Tile(number, "h", row, 1, *columns)
            for row in range(blocks)
            for columns in ((row * units, length - row * units), (0, row * units))
        ]
        self.resident, self.streamed = tuple(self.bias_tiles()), (*x, *self.h_tiles)
        self.own = {"accumulators": blocks, "h_elements": length, "states": length}
        self.shared = {
            "ring": ring_words(max(self.tile * blocks, min(window + 1, blocks) * length), self.config),
            "finish_entries": 2,
            "x_elements": shape.inputs,
        }

    def zero(self) -> int:
        return self.zero_cells(ODD)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for bank in (0, 1):
            for _ in taken():
                self.take_x(bank=bank)

    def ahead(self, first: Sum) -> None:
        self.load(self.streamed, "W_x and W_h")

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, Value]]:
        for _ in self.b.when(step):
            yield ODD, self.h
        for _ in self.b.unless(step):
            for even in self.b.either(0 if step.known else self.pair):
                yield EVEN if even else ODD, self.h

    def frame(self, frame: Frame) -> None:
        b = self.b
        self.start_sums(BOTH)  # of a single step too: nobody reads those of the other context
        self.pair = self.counted(frame.count, 1)  # whether there are two steps
        for _ in b.unless(self.pair):
            frame.inputs()
            frame.following()
            self._x_products(ODD)
            self._single_step()
        for _ in b.when(self.pair):
            if self.last:
                b.advance(frame.count, -1)
            self._x_products(BOTH)
            frame.inputs()
            self._even_step()
            self._odd_step(frame)

    def _x_products(self, mask):
        """W_x times x of the steps."""
        alone = mask == ODD and not self.below  # x is in the bank of the other context
        self.multiply_x(mask, self.tile, 2 if mask == BOTH else 1, rotate=int(alone))
        self.await_h()

    def _even_step(self):
        """Row block after row block for step k; for step k + 1 what h of step k allows."""
        length, units = self.layer.outputs, self.units
        ahead = self.window * length
        for row, part in self.b.parts(self.window, self.again):
            head = row * length if part == 0 else ahead  # where the row block is in the ring
            lower = row * (length - units) + length if part == 0 else ahead + length - row * units
            self._row_products(EVEN, row, row, weight=head)
            # In the order in which the step's h is finished; the newest is waited for last.
            self._products(BOTH, row, row * units, self.h, weight=lower, wait=1)
            self._finish(EVEN, row, (self.blocks - 1 - row) * self.units)
            if part == 1:
                self._leaving(row)

    def _leaving(self, row):
        """The row block that leaves the window meets h of the row blocks that came since."""
        before = row - self.window
        if self.window:
            self._products(ODD, before, self.window * self.units, self.h + before * self.units)
        self.release(self.layer.outputs)

    def _odd_step(self, frame):
        """What is left of step k + 1: first the window, then the row blocks that have left it."""
        b = self.b
        if self.again:
            self._load_again(0)
        else:
            frame.following()
        b.await_tokens(SPACE_H, self.layer.outputs)
        for row, left in self.rows(self.again):
            self._row_products(ODD, row, row)
            self._finish(ODD, row, left)
            self.release(self.layer.outputs)
        for row, last in b.peeled(self.again):
            frame.following() if last else self._load_again(row + 1)
            self._row_products(ODD, row, row + self.window, release=1)
            self._finish(ODD, row, self.window or int(not last))

    def _load_again(self, row):
        """Columns for step k + 1 of a row block: from the window's last row block on."""
        first = self.window * self.units
        words = self.layer.outputs - first - row * self.units
        here = self.address[self.h_tiles[0]] + first + row * self.layer.outputs
        self.load_words(here, words, "columns for step k + 1")

    def _single_step(self):
        """A step without a partner: all sums, then all hidden units."""
        for row in self.b.each(self.blocks):
            self._row_products(ODD, row, row, rotate=0, release=1)
            self._products(ODD, row, row * self.units, self.h, rotate=0, release=1)
        for row, left in self.rows():
            self._finish(ODD, row, left)

    def _row_products(self, mask, row, first, **fields):
        """Columns of a row block from the units of row block ``first`` on."""
        self._products(mask, row, self.layer.outputs - first * self.units, self.h + first * self.units, **fields)

    def _products(self, mask, row, columns, operand, **fields):
        """Columns of a row block in the ring, added to its sums."""
        fields = {"part": "h", "rotate": 1, "stream": 1} | fields
        self.add(mask, self.sums + row, columns=columns, operand=operand, **fields)

    def _finish(self, mask, row, left):
        """The hidden units of a row block."""
        self.finish_sums(mask, row)
        self.cell(mask, row, left=left)

    def rows_of(self, step: int, steps: int, first_step: int) -> Iterable[int]:
        rows = range(self.blocks)
        return (*rows[self.again :], *rows[: self.again]) if step % 2 else rows


class RowWindowPlanner(StackPlanner):
    """Any stack; one sequence.

    Outputs leave in packets of one row block each: those of an even step of a run in ascending order; of an odd step
    first the row blocks of the window, then the others, both ascending.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        Two contexts.
    window : int
        w, row blocks of W_h that stay on chip behind the one that passes, of each layer as far as it has them.
    """

    name = "row_window"
    layer = RowWindowLayer

    def __init__(self, network: Network, config: EngineConfig, window: int) -> None:
        if config.contexts != 2:
            raise ConfigError("engine.contexts", config.contexts, "must be 2: two time steps side by side")
        most = max(shape.blocks(config.rows) for shape in network.recurrent)
        if not 0 <= window <= most:
            raise ConfigError("window", window, f"must be between 0 and {most} row blocks")
        self.window = window
        super().__init__(network, config, batch=2)
