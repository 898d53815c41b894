"""Row block after row block, all weights streamed: every word serves all sequences of a batch.

SBE's third case (Que et al., 2020) fetches part of W_h at every time step, because a batch over time
steps cannot share it: step t + 1 needs all of h_t. A batch over *sequences* can. Here the
accumulators of one row block of all sequences stay on chip while its columns stream past, so W_h is
used as often per fetch as W_x, and nothing but a few tiles is kept.

Sequences are G groups of K: K contexts side by side, G groups in turn on the same word. A row block
takes first the vector that has long been there, x or, where x is the h of a layer below, its own h of the step before;
then the other one, its newest elements last: what the cell unit still has to finish hides behind all that lies between.
A plain layer has a row an output and no c; one without an h of its own has only the other vector, x.

A GRU that resets h before its product keeps the sums of all row blocks on chip: their row blocks come with x and h, and
give r*h; then those of W_h for r*h, which finish them.

With one context and one group this is the conventional schedule of a single sequence, which uses a
word once a fetch; the first columns of W_h may stay on chip then (*pinned*).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import MODE_RESET, MODE_ZERO, SPACE_CONSTANT
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .layer import MIN_TILE_CYCLES, Frame, StreamedLayer, check_beat, ring_words
from .stack import StackPlanner
from .sums import Sum, Value, as_sum

MAX_TILE_CYCLES = 128
"""Longest MAC on a tile: longer ones would save nothing."""


class Vector(NamedTuple):
    """What columns of a matrix meet: elements from ``first`` on, of the next group ``stride`` behind. Of the columns so
    many are ``held`` on chip."""

    part: str
    columns: int
    first: Sum
    stride: int
    held: int = 0


class RowBlockLayer(StreamedLayer):
    """A layer whose weights stream once a time step, but for ``pinned`` columns of W_h."""

    buffers = h_buffers = 2

    def __init__(self, planner: RowBlockPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.contexts, self.groups = contexts, groups = planner.contexts, planner.groups
        self.pinned = pinned = min(planner.pinned, old_columns(shape, planner.config))
        self.spread = int(contexts > 1)
        self.sequences, self.mask = contexts * groups, (1 << contexts) - 1
        self.old = shape.outputs - self.newest
        self.tail = groups * self.old, groups * self.newest
        self.resets = shape.outputs if shape.reset_before else 0
        self.h_columns = shape.h_columns - self.resets
        self.x_stride = shape.inputs if self.spread else self.x_stride
        self.h_stride = self.blocks * self.units if shape.is_cell else shape.outputs
        self.bias = sum(columns for _, columns in shape.bias_columns)  # words of one row block
        self.resident = (Tile(number, "h", 0, self.blocks, 0, pinned),) if pinned else ()
        self.streamed = tuple(self._tiles())
        self.elements = elements = groups * self.h_stride
        self.own = {"accumulators": groups, "h_elements": elements, "states": elements * contexts * shape.is_cell}
        if self.resets:
            self.own |= {"accumulators": groups * self.blocks, "h_elements": 2 * elements}
        self.resident += self.start_tiles()

    def _tiles(self):
        """In the order of use: a row block's bias, then the matrix of either vector."""
        x, h = ("x", 0, self.layer.inputs), ("h", self.pinned, self.h_columns - self.pinned)
        for row in range(self.blocks):
            yield from self.bias_tiles(row, 1)
            for part, first, columns in (h, x) if self.number else (x, h):
                if columns:
                    yield Tile(self.number, part, row, 1, first, columns)
        if self.resets:
            yield from (Tile(self.number, "h", row, 1, self.h_columns, self.resets) for row in range(self.blocks))

    def fit(self, room: int) -> None:
        """Columns of a MAC: long enough for the sequencer.

        One group alone waits for its own sums between two tiles, so its tiles are as long as half of the ring allows.
        """
        units = self.config.units_per_block
        self.tile = units * max(1, -(-MIN_TILE_CYCLES // (units * self.groups)))
        if self.groups == 1:
            most = min(MAX_TILE_CYCLES, (room - ring_words(0, self.config)) // 2)
            self.tile = max(self.tile, most // units * units)
        late = self.below or self.projection or self
        self.late_newest = late.newest if self.below or self.h_columns else min(self.tile, self.layer.inputs)
        early = self.h_columns - self.pinned if self.below or not self.h_columns else self.layer.inputs
        self.first = min(self.tile, early)  # columns beside the bias
        self.shared = {
            "ring": ring_words(max(self.tile, self.bias + self.first, self.late_newest), self.config),
            "finish_entries": self.groups,
            "x_elements": 2 * self.groups * self.x_stride,
            "states": self.units if self.layer.start or not self.layer.is_cell else 0,
        }

    def zero(self) -> int:
        for row in self.b.each(self.blocks):
            for group in self.b.each(self.groups):
                self.of_row(row, group, mode=MODE_ZERO)
        if self.layer.start:
            self.b.assign(self.starts, 1)
        return self.groups * self.layer.outputs

    def inputs(self, taken: Callable, first: Sum) -> None:
        for _ in taken():
            self.take_x(self.x_at(first), repeats=self.groups - 1, spread=self.spread)

    def ahead(self, first: Sum) -> None:
        self.load(self.streamed)

    def x_at(self, step: Sum) -> Sum:
        return super().x_at(step) * self.groups

    def frame(self, frame: Frame) -> None:
        frame.following()
        own, below = self.projection or self, self.below
        h = Vector("h", self.h_columns, own.h_before(self.done), own.h_stride, self.pinned)
        if below:
            x = Vector("x", self.layer.inputs, below.h_before(self.done + 1), below.h_stride)
        else:
            x = Vector("x", self.layer.inputs, self.x_at(frame.first), self.x_stride)
            self.await_x(self.groups)
        early, late = (h, x) if below or not self.h_columns else (x, h)
        for row in self.b.each(self.blocks):
            self._first_columns(row, early)
            self._last_columns(row, late, late.held, self.late_newest, self.before)
        self.free_x()
        if self.layer.start:
            self.b.assign(self.starts, 0)
        if self.resets:
            first, columns = self.h_before(self.done) + self.elements - self.h_columns, self.layer.h_columns
            for row in self.b.each(self.blocks):
                reset = Vector("h", columns, first, self.h_stride)
                self._last_columns(row, reset, self.h_columns, self.newest, self, resets=False)

    def _first_columns(self, row, vector):
        """What a row block begins with: the bias, and the products of the vector that has long been there."""
        b, alone = self.b, int(self.groups == 1)
        for group in b.each(self.groups):
            if self.first:
                self._bias()
                if self.layer.start:
                    for _ in b.when(self.starts):
                        self.one_sum(self.mask, self.constants(self.first_digits, row), {"load": 0})
                fields = {"weight": self.bias, "load": 0, "release": alone}
                self._products(row, group, vector, vector.held, self.first, **fields)
            else:
                self._bias({"store": 1, "target": self._entry(row) + group, "release": alone})
        if not alone:
            self.release(self.bias + self.first)
        self._columns(row, vector, vector.held + self.first, vector.columns)

    def _last_columns(self, row, vector, first, newest, before, resets=True):
        """Columns from one on, for which all but the newest elements must be there, and then these; and the units.

        A GRU's r*h, if it ``resets``, has its sums go on.
        """
        b, old = self.b, vector.columns - newest
        for _ in b.unless(row):
            before.settle(self, 0)
        self._columns(row, vector, first, old)
        for _ in b.unless(row):
            before.settle(self, 1)
        resets = resets and self.resets
        for group, last in b.peeled(self.groups):
            products = partial(self._products, row, group, vector, old, newest)
            products(finish=1, release=int(last and not resets))
            if resets:  # sums are handed over, and kept
                products(release=int(last))
                self.of_row(row, group, after=self.elements + self.done % 2 * self.turn, mode=MODE_RESET)
            else:
                self.of_row(row, group, after=(self.done + 1) % 2 * self.turn)

    def _entry(self, row):
        """Of the first group's sums; where they wait for r*h, each row block has its own."""
        return self.sums + row * self.groups if self.resets else as_sum(self.sums)

    def _bias(self, end=None):
        """Sums start from the bias, which stays in the lanes unless ``end`` tells what becomes of it."""
        fields = {"space": SPACE_CONSTANT, "stream": 1}
        digits = [
            fields | {"operand": exponent, "weight": tile.first_column, "columns": tile.columns}
            for tile, exponent in self.bias_digits(0, 1)
        ]
        self.one_sum(self.mask, digits, end=end)

    def _columns(self, row, vector, start, stop):
        """Those on chip, and then tile after tile, each for all groups."""
        if vector.held:
            weight = self.address[self.resident[0]] + row * vector.held
            self._products(row, 0, vector, 0, vector.held, stream=0, weight=weight)
        for first, columns in self.b.tiles(start, stop, self.tile):
            for group, last in self.b.peeled(self.groups):
                self._products(row, group, vector, first, columns, release=int(last))

    def _products(self, row, group, vector, first, columns, **fields):
        """Columns of the row block times elements of a group's vector, added to the group's sum."""
        fields = {"stream": 1, "operand": vector.first + group * vector.stride + first} | fields
        self.add(self.mask, self._entry(row) + group, part=vector.part, columns=columns, **fields)

    def of_row(self, row: Sum, group: Sum, **fields: Value) -> None:
        first, stride = group * self.h_stride, self.groups * self.h_stride
        self.cell(self.mask, row, first=first, **{"state_stride": stride} | fields)


def old_columns(shape: LayerShape, config: EngineConfig) -> int:
    """Columns of W_h that may stay on chip: without those of the last row block's units, whose h is the newest; none
    where h is reset before its product."""
    if shape.reset_before:
        return 0
    units = config.rows if shape.projected else shape.units(config.rows)
    return max(0, shape.h_columns - 1) // units * units


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
    layer = RowBlockLayer
    takes = (
        "an initial state",
        "peepholes",
        "plain layers",
        "a projection",
        "a skip",
        "a GRU that resets h before its product",
    )

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
        if groups > 1 and network.skip:
            found = f"{contexts * groups} sequences for a model with a skip"
            raise ConfigError("plan.sequences", found, f"must be as many as contexts, {contexts}, under rowblock")
        self.groups, self.contexts, self.pinned = groups, contexts, pinned
        most = max(old_columns(shape, config) for shape in network.recurrent)
        if not 0 <= pinned <= most or pinned and groups > 1:
            raise ConfigError("pinned", pinned, f"must be between 0 and {most} columns, with one group only")
        super().__init__(network, config)
