"""A layer with all of its weights on chip: which tiles it has, and how a step walks them.

A step of a layer runs through its columns in the order in which they exist: first those that have long been there, last
those that the step before (or the layer below) is still producing. The tail of a step so hides behind the first columns
of the next.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from ..machine.arrangement import OF_X
from ..machine.isa import MODE_RESET, SPACE_H, SPACE_X, VECTORS_BITS
from ..machine.latency import QUEUE_DEPTH
from ..machine.layout import Tile
from ..machine.limits import PLACES
from ..machine.network import LayerShape, Source
from .in_turn import in_turn
from .layer import MIN_TILE_CYCLES, MOST_SLOTS, ZERO, Frame, StreamedLayer
from .sums import Sum

if TYPE_CHECKING:
    from .waits import PhasePlanner

MOST_TILES = 32
"""Tiles of a matrix whose tiles take several MACs each."""

MOST_IN_TURN = 16
"""Row blocks that walk h each for itself: each has an instruction of its own."""


def tile_columns(blocks: int, units: int, columns: int) -> int:
    """Columns of a tile, of so many in all: whole row blocks' units, and long enough for the sequencer."""
    least = units * max(1, -(-MIN_TILE_CYCLES // (blocks * units)))
    return least if blocks <= MOST_SLOTS else least * -(-columns // (least * MOST_TILES))


def in_parts(columns: int, parts: int) -> int:
    """Places of so many columns, of each part as many."""
    return -(-columns // parts) * parts


def may_split(shape: LayerShape, rows: int, parts: int) -> bool:
    """Whether the columns of a layer's last row block can be split over so many parts of the lanes."""
    last = shape.matrix_rows - (shape.blocks(rows) - 1) * rows
    fits = last * parts <= rows < shape.matrix_rows
    fits &= in_parts(shape.inputs, parts) + in_parts(shape.h_columns, parts) <= PLACES
    plain = shape.directions == 1 and not (shape.projected or shape.reset_before or shape.sources or shape.waits)
    return fits and plain and shape.is_cell and shape.h_columns > 0


class ResidentLayer(StreamedLayer):
    """A layer, or the head, with all of its weights on chip.

    Its bias is formed once, by the ``load`` entry, in entries ``sums`` + row block; the sums of a step are behind it.
    Tokens of h stay where they are until the layer's own next step takes them: a layer above only waits for them, and a
    projected one for those of its projection. A layer that has no h of its own takes its tokens all at once.

    A GRU that resets h before its product walks all columns but those of r*h, hands a copy of its sums to the cell unit
    for r*h, whose tokens stay in front of those of its h, and goes on with the columns of r*h, which lies behind h.

    Of two directions whose units share no row block, each walks its own columns: the others are zeros.

    Where the layer above waits for h of all steps, h of two steps does not take turns: it is kept in as many places.

    Row blocks of the only recurrent layer walk the columns of h each for itself where lanes would wait for h longer
    otherwise.

    In an engine that splits columns, lane groups keep operands of x and h as they pass, from place 0 and ``h_place``
    on. Behind all others comes the last row block, if its rows fit a part of the groups.
    """

    h_buffers, whole = 2, True
    leaves_out = True
    """Whether row blocks may walk columns by themselves: of one direction alone, in turn, or split over the lanes."""

    def __init__(self, planner: PhasePlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        config, self.linear = planner.config, shape.kind == "linear"
        self.own_h = not shape.projected and shape.h_columns > 0
        self.resets = shape.outputs if shape.reset_before else 0
        self.parts = shape.directions if self._is_apart(shape) else 1
        sizes, place, self.kept = planner.among(number)
        self._count_tokens(*sizes, place)
        self.sources = self._sources()
        self._cut(shape, number, place)
        self.resident, self.streamed = (*self.bias_tiles(), *self.start_tiles(), *self.order), ()
        self.buffers = min((1 << VECTORS_BITS) - 1, config.x_elements // self.x_stride)
        sums, states = (3 if shape.start else 2) * self.blocks, shape.outputs * config.contexts * shape.is_cell
        self.stride = shape.outputs + self.resets if self.written else 0
        self.aside, self.zero_at = self.kept * self.stride, max(0, self.kept - 1) * self.stride
        self.own = {"accumulators": sums, "h_elements": 0 if self.kept else self.stride, "states": states}
        zeroed = shape.outputs if shape.kind == "plain" or shape.start else self.resets
        self.shared = {"finish_entries": self.blocks, "x_elements": self.x_stride, "states": zeroed}

    def _count_tokens(self, recurrent, linear, place):
        """Tokens of a step, and those in front of some, of layers that make so many and take their steps together.

        In front of those of a layer below are older ones of the layers above, and newer ones of those below it.
        Linear layers make theirs behind those of all h, and have none of the step before.
        """
        above = [] if self.linear else recurrent[place + 1 :]
        ends = accumulate((recurrent + linear)[:place], initial=sum(above))
        self.tokens_to = dict(enumerate(ends, self.number - place - 1))  # the last one of each layer below
        self.tail = (sum(recurrent),)
        self.written = not self.linear or place < len(recurrent + linear)  # its outputs, to the h memory
        self.made = 0 if self.written else sum(linear)

    def _cut(self, shape, number, place):
        """Tiles in the order in which a step walks them."""
        last = self._split_tiles(shape)
        blocks = self.blocks // self.parts - bool(last)  # that walk columns side by side
        columns = max(shape.inputs, shape.h_columns) // self.parts
        width = columns if last and blocks == 1 else tile_columns(blocks, self.config.units_per_block, columns)
        units = shape.h_columns - self.resets
        old, x = self._x_tiles(width)
        h, reset = self._of_parts(self.column_tiles("h", units // self.parts, width), units // self.parts), []
        if self.resets:
            reset = [replace(tile, first_column=units + tile.first_column) for tile in h]
        skip = [Tile(number, "skip", 0, self.blocks, 0, shape.skip)] * bool(shape.skip)
        if last:
            h, old, x = ([replace(tile, blocks=blocks) for tile in tiles] for tiles in (h, old, x))
        if self._takes_turns():
            h = in_turn(self, h, last)
        self.in_turn = any(tile.blocks < blocks for tile in h)
        self.order = (skip + h + old + x if place else x + h) + reset + last
        self.last_h, self.splits = h[-1] if h else None, bool(last)
        # Of row blocks, the first tile starts from the bias and the last one finishes the sums.
        slots = [(tile.first_block + slot, tile) for tile in self.order for slot in range(tile.blocks)]
        self.starting, self.finishing = dict(reversed(slots)).values(), dict(slots).values()
        self.last_x = next((tile for tile in reversed(self.order) if self._is_of_x(tile) and tile.split == 1), None)
        self.of_reset = reset[0] if reset else None

    def _sources(self):
        """The vectors that x consists of: x of the network, or the h of layers below."""
        shape = self.layer
        return shape.sources or (Source(self.number - 1, shape.inputs, shape.lift("x")),)

    def _x_tiles(self, width):
        """Tiles of W_x, each for one source: of what has long been there, and of the h of the layer below.

        x of the network comes whole.
        """
        old, newest, end, parts = [], [], 0, 1 if self.layer.sources else self.parts
        for source in self.sources:
            columns, first = source.elements // parts, end
            tiles = self.column_tiles("x", columns, columns if source.layer == OF_X else width)
            tiles = [replace(tile, first_column=first + tile.first_column) for tile in tiles]
            (newest if source.layer == self.number - 1 else old).extend(tiles)
            end += columns
        return old, newest if parts == 1 else self._of_parts(newest, end)

    def _source_of(self, column):
        """The source that a column of W_x is for, and the first column that is."""
        return self.layer.source_of(column) if self.layer.sources else (self.sources[0], 0)

    def _split_tiles(self, shape):
        """Tiles of the last row block, whose columns are split over the lanes; none where they are not."""
        parts = self.config.split
        self.h_place = in_parts(shape.inputs, parts)
        if parts == 1 or not self.leaves_out or not may_split(shape, self.config.rows, parts):
            return []
        columns = {"x": shape.inputs, "h": shape.h_columns}
        return [Tile(self.number, part, self.blocks - 1, 1, 0, count, split=parts) for part, count in columns.items()]

    def _takes_turns(self):
        """Whether row blocks may walk h each for itself: the only recurrent layer, which takes all of it."""
        shape, alone = self.layer, len(self.planner.network.recurrent) == 1 and self.leaves_out
        few = 1 < self.blocks <= MOST_IN_TURN
        return alone and few and shape.is_cell and self.own_h and not self.resets and self.parts == 1

    def _is_of_x(self, tile):
        """Whether a tile is for x of the network."""
        return tile.part == "x" and self._source_of(tile.first_column)[0].layer == OF_X

    def _is_apart(self, shape):
        """Whether no row block has units of two directions: then each walks the columns of its own alone."""
        alone = self.leaves_out and shape.is_recurrent and not self.resets
        return alone and not shape.outputs // shape.directions % self.units

    def _of_parts(self, tiles, columns):
        """Tiles of so many columns for the row blocks of each direction, which has columns and blocks of its own."""
        if self.parts == 1:
            return tiles
        blocks = self.blocks // self.parts
        return [
            replace(tile, first_block=n * blocks, blocks=blocks, first_column=n * columns + tile.first_column)
            for n in range(self.parts)
            for tile in tiles
        ]

    def loaded(self) -> None:
        self._bias(fresh=1)

    def _bias(self, fresh=0):
        self._constants(f"bias of layer {self.number}", self.bias_digits(), self.sums, fresh=fresh)

    def begin(self) -> None:
        """A register tells the entry that sums of a step start from: in the first one of a sequence it is another."""
        if self.layer.start:
            self.started = self.b.variable(self.sums)

    def zero(self) -> int:
        if self.linear:
            return 0
        units = self.layer.outputs
        firsts = range(self.zero_at, self.zero_at + self.stride, units)  # of h, and of r*h
        tokens = sum(self.zero_cells(self.mask, first, state_stride=units) for first in firsts)
        if self.layer.start:
            entry = self.sums + 2 * self.blocks
            self._constants(f"start of layer {self.number}", self.first_digits, entry, {"source": self.sums})
            self.b.assign(self.started, entry)
        return tokens

    def _constants(self, comment, digits, entry, begin=ZERO, **fields):
        """Digits times their constants, from zero or from a source, to an entry."""
        macs = self.constants(digits, slots=self.blocks, comment=comment, **fields)
        self.one_sum(self.mask, macs, begin, entry=entry)

    def frame(self, frame: Frame) -> None:
        if not self.number:
            self.take_x(self.x_at(frame.first), spread=int(self.config.contexts > 1))
        self._step(frame.first, self.done)

    def h_before(self, number: Sum) -> Sum:
        if self.kept:
            return self.h + (number - 1) % self.kept * self.stride
        return super().h_before(number)

    def behind_last_step(self) -> None:
        """Of a head: its outputs."""
        self._step(None, self.done - 1)

    def _step(self, step, number):
        """All columns of a step, and its h or outputs; ``number`` counts since zero state."""
        self._walk(step, number)
        if self.linear:
            self._outputs()
        elif not self.in_turn:
            self.all_cells(self.h_before(number + 1))

    def _outputs(self):
        """Those of a linear layer, to the stream or to the next one."""
        self.plain_cell(self.layer, self.number, self.mask, self.h if self.written else None)
        self.b.await_tokens(SPACE_H, self.made)

    def _walk(self, step, number):
        """All columns of a step."""
        if not self.linear and not self.own_h:
            self.b.await_tokens(SPACE_H, self.layer.outputs)
        for before, tile, following in zip((None, *self.order), self.order, (*self.order[1:], None), strict=False):
            sums, vector = self._entries(before, tile, following), self._vector(tile, step, number)
            if self.resets and following is self.of_reset:
                self._reset(tile, sums, vector, number)
            else:
                self._products(tile, self._named(tile), **sums, **vector)
            if self.in_turn and "finish" in sums:
                self._cells_behind(tile.first_block, number)
        if self.layer.start:
            self.b.assign(self.started, self.sums)

    def _cells_behind(self, block, number):
        """Of row blocks in turn, CELL of as many as MACs wait in the queue: it is there when the first is finished."""
        last = block == self.blocks - 1
        if last or block % QUEUE_DEPTH == QUEUE_DEPTH - 1:
            first, outputs = block // QUEUE_DEPTH * QUEUE_DEPTH * self.units, self.layer.outputs
            state = {"state": self.c + first, "state_stride": outputs, "target": self.h_before(number + 1) + first}
            units = min((block + 1) * self.units, outputs) - first
            self.cells(units, self.mask, **state, **({} if last else {"last": 0}))

    def _reset(self, tile, sums, vector, number):
        """The last tile in front of the columns of r*h, and r*h."""
        store = {name: sums.pop(name) for name in ("store", "target") if name in sums}
        self._products(tile, self._named(tile), **sums, **vector, finish=1)
        if store:  # while the cell unit is busy: a sum is stored or handed over
            operands = {name: vector[name] for name in ("space", "operand")}
            self._products(tile, f"{self._named(tile)} again", **sums, **store, **operands)
        self.all_cells(self.h_before(number) + self.layer.outputs, MODE_RESET)

    def _named(self, tile):
        columns = f"{tile.first_column}..{tile.first_column + tile.columns - 1}"
        return f"layer {self.number}, {tile.part} columns {columns}"

    def _entries(self, before, tile, following):
        """Where the sums of a tile between two others start, and where they go."""
        work = self.sums + self.blocks + tile.first_block
        if any(tile is one for one in self.starting):
            sums = {"source": (self.started if self.layer.start else self.sums) + tile.first_block}
        else:
            sums = {"load": 0} if self._goes_on(before, tile) else {"source": work}
        if any(tile is one for one in self.finishing):
            sums["finish"] = 1
        elif not self._goes_on(tile, following):
            sums |= {"store": 1, "target": work}
        return sums

    @staticmethod
    def _goes_on(tile, following):
        """Whether the sums of a tile stay in the lanes, where the one behind it is of the same row block."""
        both = tile and following and tile.blocks == following.blocks == 1
        return both and tile.first_block == following.first_block

    def _vector(self, tile, step, number):
        """What the columns of a tile multiply, and what they wait for."""
        column = tile.first_column
        kept = {"fill": PLACES + (self.h_place if tile.part == "h" else 0) + column} if self.splits else {}
        if tile.split > 1:
            return {"gather": 1, **kept}
        return ({} if tile.first_block else kept) | self._passing(tile, step, number)

    def _passing(self, tile, step, number):
        """What passes the lanes."""
        column = tile.first_column
        if tile.part == "skip":
            return {"space": SPACE_X, "operand": self.planner.layers[0].x_at(step), "free": 1}
        if tile.part == "h":
            source = self if self.own_h else self.projection
            return {"space": SPACE_H, "operand": source.h_before(number) + column, "wait": 1} | self._taking(tile)
        return self._x_vector(tile, step, column, number)

    def _x_vector(self, tile, step, column, number):
        """That of a tile of W_x, from a column on."""
        source, first = self._source_of(column)
        column -= first
        if source.layer == OF_X:  # the first layer waits for it
            waits = {} if self.number else {"wait": 1, "take": 1}
            free = int(tile is self.last_x and self.frees_x)
            return {"space": SPACE_X, "operand": self.planner.layers[0].x_at(step) + column, "free": free} | waits
        below = self.planner.all[source.layer]
        h = below.h if below.linear else below.h_before(number + 1)
        return {"space": SPACE_H, "operand": h + column, "wait": 1, "offset": self.tokens_before(source) + column}

    def tokens_before(self, source: Source) -> int:
        """Tokens in front of those of the elements of a source."""
        return self.tokens_to[source.layer] - source.elements

    def _taking(self, tile):
        """Of columns of h, what is done with tokens: those of a projection, behind its own, are left to it, and those
        of r*h are taken with the h behind them."""
        column, units = tile.first_column, self.layer.outputs
        if self.resets and column >= units:
            return {"offset": self.tokens_to[self.number - 1] + column - units}
        if not self.own_h:
            return {"offset": column}
        if self.in_turn:
            return {"offset": column, "take": int(tile is self.last_h)}
        return {"take": 1, "offset": 0 if column else self.resets}

    def _products(self, tile, comment, **fields):
        fields = {"weight": self.address[tile], "columns": tile.words_of_block, "slots": tile.blocks} | fields
        part, of_x = tile.part, tile.part == "x"
        lift = self.config.lift_of(self._source_of(tile.first_column)[0].lift) if of_x else self.lift(part)
        self.mac(self.mask, comment=comment, lift=lift, **fields)
