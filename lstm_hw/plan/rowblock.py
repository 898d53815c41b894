"""Row block after row block, all weights streamed: every word serves all sequences of a batch.

SBE's third case (Que et al., 2020) fetches part of W_h at every time step, because a batch over time
steps cannot share it: step t + 1 needs all of h_t. A batch over *sequences* can. Here the
accumulators of one row block of all sequences stay on chip while its columns stream past, so W_h is
used as often per fetch as W_x, and nothing but a few tiles is kept.

Sequences are G groups of K: K contexts side by side, G groups in turn on the same word. A row block
takes first the vector that has long been there, x or, where x is the h of a layer below, its own h of the step before;
then the other one, its newest elements last: what the cell unit still has to finish hides behind all that lies between.

With one context and one group this is the conventional schedule of a single sequence, which uses a
word once a fetch; the first columns of W_h may stay on chip then (*pinned*).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import MODE_CELL, MODE_ZERO, SPACE_CONSTANT
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .layer import MIN_TILE_CYCLES, Frame, StreamedLayer, check_beat, ring_words, words_of
from .stack import StackPlanner
from .sums import Sum

MAX_TILE_CYCLES = 128
"""Longest MAC on a tile: longer ones would save nothing."""


class RowBlockLayer(StreamedLayer):
    """A layer whose weights stream once a time step, but for ``pinned`` columns of W_h."""

    buffers = h_buffers = 2

    def __init__(self, planner: RowBlockPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(shape, number, planner.config)
        self.contexts, self.groups = contexts, groups = planner.contexts, planner.groups
        self.pinned = pinned = min(planner.pinned, shape.outputs - self.newest)
        self.spread = int(contexts > 1)
        self.sequences, self.mask = contexts * groups, (1 << contexts) - 1
        self.old = shape.outputs - self.newest
        self.tail = groups * self.old, groups * self.newest
        self.x_stride = shape.inputs if self.spread else self.x_stride
        self.h_stride = self.blocks * self.units
        self.bias = sum(columns for _, columns in shape.bias_columns)  # words of one row block
        self.resident = (Tile(number, "h", 0, self.blocks, 0, pinned),) if pinned else ()
        self.streamed = tuple(self._tiles())
        states = groups * self.h_stride
        self.own = {"accumulators": groups, "h_elements": states, "states": states * contexts}

    def _tiles(self):
        """In the order of use: a row block's bias, then the matrix of either vector."""
        x, h = ("x", 0, self.layer.inputs), ("h", self.pinned, self.layer.outputs - self.pinned)
        for row in range(self.blocks):
            yield from self.bias_tiles(row, 1)
            for part, first, columns in (h, x) if self.number else (x, h):
                yield Tile(self.number, part, row, 1, first, columns)

    def fit(self, room: int) -> None:
        """Columns of a MAC: long enough for the sequencer.

        One group alone waits for its own sums between two tiles, so its tiles are as long as half of the ring allows.
        """
        self.tile = self.units * max(1, -(-MIN_TILE_CYCLES // (self.units * self.groups)))
        if self.groups == 1:
            most = min(MAX_TILE_CYCLES, (room - ring_words(0, self.config)) // 2)
            self.tile = max(self.tile, most // self.units * self.units)
        early = self.layer.outputs - self.pinned if self.number else self.layer.inputs
        self.first = min(self.tile, early)  # columns beside the bias
        self.shared = {
            "ring": ring_words(max(self.tile, self.bias + self.first), self.config),
            "finish_entries": self.groups,
            "x_elements": 2 * self.groups * self.x_stride,
        }

    def zero(self) -> int:
        for row in self.b.each(self.blocks):
            for group in self.b.each(self.groups):
                self._units(row, group, mode=MODE_ZERO)
        return self.groups * self.layer.outputs

    def inputs(self, taken: Callable, first: Sum) -> None:
        for _ in taken():
            self.take_x(self._x(first), repeats=self.groups - 1, spread=self.spread)

    def ahead(self, first: Sum) -> None:
        self.load(0, words_of(self.streamed))

    def newest_h(self, step: Sum, later: Sum | int, number: Sum) -> Iterator[tuple[int, Sum | int]]:
        for group in self.b.each(self.groups):
            yield self.mask, self._h(number + 1) + group * self.h_stride

    def x_at(self, step: Sum) -> Sum:
        return self._x(step) if self.groups == 1 else super().x_at(step)

    def _x(self, step):
        """Where x of a step begins."""
        return step % 2 * (self.groups * self.x_stride)

    def _h(self, number):
        """Where h of the step before a step begins."""
        return self.h + number % 2 * self.turn

    def frame(self, frame: Frame) -> None:
        frame.following()
        own = "h", self._h(self.done), self.h_stride
        if self.below:
            early, late = own, ("x", self.below._h(self.done + 1), self.below.h_stride)
            old, newest = self.below.old, self.below.newest
        else:
            early, late = ("x", self._x(frame.first), self.x_stride), own
            old, newest = self.old, self.newest
            self.await_x(self.groups)
        for row in self.b.each(self.blocks):
            self._row_block(row, early, late, old, newest)
        self.free_x()

    def _row_block(self, row, early, late, old, newest):
        """All products of a row block for all groups, and its hidden units."""
        b, held = self.b, self.pinned
        whole, begin = (self.layer.outputs, held) if self.below else (self.layer.inputs, 0)
        for group in b.each(self.groups):
            self._bias()
            self._products(group, early, begin, self.first, weight=self.bias, load=0, release=int(self.groups == 1))
        if self.groups > 1:
            self.release(self.bias + self.first)
        if self.below and held:
            self._products(0, early, 0, held, stream=0, weight=self.weights + row * held)
        self._columns(early, begin + self.first, whole)
        for _ in b.unless(row):  # all but the newest elements must be there
            self.before.settle(self, 0)
        if not self.below and held:
            self._products(0, late, 0, held, stream=0, weight=self.weights + row * held)
        self._columns(late, 0 if self.below else held, old)
        for _ in b.unless(row):  # ... and now the newest
            self.before.settle(self, 1)
        for group, last in b.peeled(self.groups):
            self._products(group, late, old, newest, finish=1, release=int(last))
            self._units(row, group, (self.done + 1) % 2 * self.turn)

    def _bias(self):
        for tile, (exponent, _) in zip(self.bias_tiles(0, 1), self.layer.bias_columns, strict=True):
            words = {"stream": 1, "weight": tile.first_column, "columns": tile.columns}
            start = {"load": 0} if tile.first_column else {"hold": 1}
            self.mac(self.mask, space=SPACE_CONSTANT, operand=exponent, **words, **start)

    def _columns(self, vector, start, stop):
        """Tile after tile, each for all groups."""
        for first, columns in self.b.tiles(start, stop, self.tile):
            for group, last in self.b.peeled(self.groups):
                self._products(group, vector, first, columns, release=int(last))

    def _products(self, group, vector, first, columns, **fields):
        """Columns of the row block times elements of a group's vector, added to the group's sum."""
        part, base, stride = vector
        fields = {"stream": 1, "operand": base + group * stride + first} | fields
        self.add(self.mask, self.sums + group, part=part, columns=columns, **fields)

    def _units(self, row, group, after=0, mode=MODE_CELL):
        """Hidden units of a row block and group."""
        first, stride = group * self.h_stride, self.groups * self.h_stride
        self.cell(self.mask, row, after, first=first, mode=mode, state_stride=stride)


class RowBlockPlanner(StackPlanner):
    """Any stack whose weights stream once a time step.

    Outputs leave in packets of one row block and one group each: step by step, row block by row
    block, group by group; in a packet the units, and the contexts inside.

    Parameters
    ----------
    network : Network
    config : EngineConfig
    groups : int
        G: the batch is ``contexts * groups`` sequences, and a word serves all of them.
    contexts : int, optional
        Contexts that work: 1, or all K of the engine if not given.
    pinned : int
        Columns of W_h that stay on chip: ``pinned`` times row blocks words. Not those of the last row block's units,
        of each layer as far as it has them, and with one group only.
    """

    name = "rowblock"

    def __init__(
        self, network: Network, config: EngineConfig, groups: int = 1, contexts: int | None = None, pinned: int = 0
    ) -> None:
        contexts = contexts or config.contexts
        if contexts not in (1, config.contexts):
            raise ConfigError("contexts", contexts, f"must be 1 or the engine's {config.contexts}")
        if contexts > 1:
            check_beat(config)
        if groups < 1:
            raise ConfigError("groups", groups, "must be at least 1")
        self.groups, self.contexts, self.pinned = groups, contexts, pinned
        most = max(shape.blocks(config.rows) - 1 for shape in network.recurrent) * config.units_per_block
        if not 0 <= pinned <= most or pinned and groups > 1:
            raise ConfigError("pinned", pinned, f"must be between 0 and {most} columns, with one group only")
        super().__init__(network, config, partial(RowBlockLayer, self))
