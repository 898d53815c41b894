"""A layer of a stack under a schedule that streams weights: what :mod:`lstm_hw.plan.stack` makes programs of.

A schedule is a subclass of :class:`StreamedLayer`. It says what a layer keeps on chip and what it streams, and emits
the instructions of a *frame*: one time step, or a batch of steps that share a fetch of weights. Layers take turns,
frame by frame, so they share lanes, x memory and the ring; sums, h, c and resident words each has for itself, from
``sums``, ``h``, ``c`` and ``weights`` on. A schedule keeps four rules:

- *x.* ``below`` is the layer whose h is x, or None where x comes from the stream. All of its h of a frame is there once
  the tokens behind ``before`` have been taken.
- *Tokens.* Of the h of a frame a layer may leave ``tail`` tokens, in parts, in the order in which they come. The next
  layer, or the first one in the next frame, takes them by ``before.settle(self)``. So its own h of the frame before has
  long been there for every layer, but for one that is alone.
- *Weights.* ``ahead`` loads what a frame needs first. A layer calls ``frame.inputs()`` once a frame, and then
  ``frame.following()``, as soon as the last of its own LOADs is out: then memory works for the next layer while this
  one computes. With single steps ``following`` does both.
- *Steps.* A batch has ``frame.count`` steps, a register: the last one of a run may be shorter. Loops over its steps are
  those of ``frame.steps()``, inside of which these are called, unless the count is a number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import (
    ACTIVATIONS,
    MODE_CELL,
    MODE_KEEP,
    MODE_LINEAR,
    MODE_ZERO,
    SLOT_BITS,
    SPACE_CONSTANT,
    SPACE_H,
    SPACE_X,
)
from ..machine.layout import Tile
from ..machine.network import LayerShape
from .sums import Sum, Value

if TYPE_CHECKING:
    from .stack import StackPlanner

Digits = list[tuple[Tile, int]]
"""Columns that meet constants: tiles, and the exponent of two of each constant."""
Ends = dict[str, Value]
"""Fields of a MAC that say what its sum begins from, or what becomes of it."""
ZERO: Ends = {"hold": 1}
MOST_SLOTS = (1 << SLOT_BITS) - 1
"""Row blocks that a MAC goes through."""
DOWN, UP = 0, 1
"""Directions of passes that alternate, which are the parities of their steps."""
MIN_TILE_CYCLES = 16
"""Shortest MAC that hides the sequencer's work."""


@dataclass(frozen=True)
class Frame:
    """A time step or a batch of steps, as a layer sees it.

    Parameters
    ----------
    number : Sum
        Its own number in the run.
    first : Sum
        That of its first step.
    count : Sum
        Steps of it: a variable that is the batch but for the last frame of a run, and to which the last layer's
        ``following`` adds the next frame's. A number where it adds nothing, so may be called at any time.
    inputs : callable
        Behind the last layer's frame: take the x of the next one. In front of ``following``.
    following : callable
        Load what comes behind this layer's frame.
    steps : callable
        ``for step, later in frame.steps()``: ``later`` is zero if no step of the frame is behind this one.
    """

    number: Sum
    first: Sum
    count: Sum
    inputs: Callable
    following: Callable
    steps: Callable


class StreamedLayer(ABC):
    """A layer on an engine, and the short sequences of instructions that every schedule needs.

    Parameters
    ----------
    planner : StackPlanner
        With its network, engine and batch, the steps of a frame.
    shape : LayerShape
    number : int
        Its place in the stack.

    Attributes
    ----------
    mask : int
        All contexts.
    blocks, units, newest : int
        Row blocks, outputs of a row block, and those of the last one, which may be fewer: hidden units, or rows of a
        plain or linear layer.
    x_stride : int
        Elements from an x vector to the next one.
    resident, streamed : tuple of Tile
        What stays on chip, and the rest of the image; set by the schedule, like those that follow.
    own : dict of str to int
        Entries that the layer has to itself of ``accumulators``, ``h_elements`` and ``states``.
    shared : dict of str to int
        Least ``finish_entries``, words of the ring (``ring``) and, where x comes from the stream, ``x_elements``. Also
        entries of ``accumulators`` and ``states`` that any layer may use in its frame: then these are behind all
        layers' own.
    buffers : int
        x vectors that fit.
    x_order : callable or None
        As that of a plan.
    h_buffers, turn, h_stride : int
        Buffers of h that take turns, all layers' next to one another, and their distance; and that of groups in one.
    tail : tuple of int
        Tokens of h that a frame leaves, in parts.
    sequences, groups : int
    whole : bool
        Whether the outputs of a step are one packet, and not a packet a row block.
    sums, h, c : int
        First accumulator entry, h element and state of the layer.
    scratch : int
        First state that is nobody's own.
    address : dict of Tile to int
        First words of all tiles in the image, in which those that stay on chip are where they are in the weight buffer.
    aside : int
        Elements of h that the layer has besides those that take turns.
    x : int
        First element of x in its memory: the x memory, or that of h where another layer is below.
    b : Loops
    done : Sum
        Time steps of this layer since zero state.
    below, before : StreamedLayer
        Whose h is x, if not the stream's; and the one whose frame is in front of this one's.
    projection : StreamedLayer or None
        Of a projected layer, the one above it, whose h it reads.
    last, sends : bool
        Whether its frame is the last in a round, and whether its h is the output.
    frees_x : bool
        Whether nobody reads x from the stream behind it.
    stacked : bool
        Whether layers take turns.
    copies : int
        Of its h that a layer above it needs, beside its own: 1 or 0.
    starts : Sum
        Of one that begins from a state where weights stream: whether its next step is the first one.
    """

    tail: tuple[int, ...] = ()
    groups = 1
    whole = False
    buffers = 1
    h_buffers, h_stride = 1, 0
    x_order = below = projection = None
    own: dict[str, int] = {}
    aside = 0

    def __init__(self, planner: StackPlanner, shape: LayerShape, number: int) -> None:
        self.planner, self.layer, self.number = planner, shape, number
        self.config, self.batch, self.b = planner.config, planner.batch, planner.b
        config = self.config
        self.blocks, self.units = shape.blocks(config.rows), shape.units(config.rows)
        self.newest = shape.outputs - (self.blocks - 1) * self.units
        self.x_stride = -(-shape.inputs // config.x_per_beat) * config.x_per_beat
        self.sequences, self.mask = config.contexts, (1 << config.contexts) - 1
        self.frees_x = number == planner.network.last_of_x
        self.stacked, self.copies = len(planner.network.recurrent) > 1, int(number + 1 < len(planner.network.recurrent))

    # What a schedule adds

    def fit(self, room: int) -> None:
        """Choose what depends on the words of the ring, of which there are ``room``, as ``shared``."""
        return

    def loaded(self) -> None:
        """Emit what the ``load`` entry does with resident words as they arrive."""
        return

    def of_row(self, row: Sum, group: Sum, **fields: Value) -> None:
        """CELL of the units of a row block and group."""
        self.cell(self.mask, row, state_stride=self.layer.outputs, **fields)

    @abstractmethod
    def frame(self, frame: Frame) -> None:
        """All products of a frame, and its h."""

    def begin(self) -> None:
        """Emit what every run begins with."""
        if self.layer.start:
            self.starts = self.b.variable(0)

    @abstractmethod
    def zero(self) -> int:
        """Emit what sets h = c = 0; the tokens of h that it makes."""

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, Value]]:
        """Where a head finds h of a step of the frame: (mask, first element), inside the loops that this opens.

        ``later`` is that of ``frame.steps()``; ``number`` counts steps since zero state, to be used modulo something.
        """
        for group in self.b.each(self.groups):
            yield self.mask, self.h_before(number + 1) + group * self.h_stride

    def inputs(self, taken: Callable, first: Sum) -> None:
        """Take the x of a frame from the stream: an INPUT for each step, each in a ``for _ in taken():``.

        ``first`` is the number of its first step in the run. A layer that takes x piece by piece in its frame does
        nothing here.
        """
        return

    def ahead(self, first: Sum) -> None:
        """Load the words that a frame needs first; ``first`` is the number of its first step in the run."""
        return

    def y_order(self, steps: int, first_step: int) -> list[tuple[int, int, int]]:
        """Pieces of h, (step, first unit, units), in the order in which a run sends them."""
        if self.whole:
            return [(step, 0, self.layer.outputs) for step in range(steps)]
        firsts = [(n, row * self.units) for n in range(steps) for row in self.rows_of(n, steps, first_step)]
        return [(step, first, min(self.units, self.layer.outputs - first)) for step, first in firsts]

    def rows_of(self, step: int, steps: int, first_step: int) -> Iterable[int]:
        """Row blocks in the order in which a step of a run sends them."""
        return range(self.blocks)

    # What schedules use

    def h_before(self, number: Sum) -> Sum:
        """First element of h of the step before one, whose number counts since zero state, where buffers take turns."""
        return self.h + number % self.h_buffers * self.turn

    def x_at(self, step: Sum) -> Sum:
        """First element of x of a step of the run, where whole vectors from the stream take turns."""
        return step % self.buffers * self.x_stride

    def settle(self, after: StreamedLayer, part: int | None = None, take: int = 1) -> None:
        """Wait for the tokens that this layer's frame left, or a part of them; ``after`` is the layer that waits."""
        tokens = sum(self.tail) if part is None else sum(self.tail[part : part + 1])
        self.b.await_tokens(SPACE_H, tokens, take)

    def left(self, number: Sum) -> Value:
        """Tokens that are left of the frame of a step, whose number counts since zero state."""
        return sum(self.tail)

    def lift(self, part: str) -> int:
        """Field ``lift`` of a MAC with the weights of a part, ``x``, ``h`` or ``bias``; constants have none."""
        return 0 if part in ("bias", "prime", "first", "peephole") else self.config.lift_of(self.layer.lift(part))

    def load(self, tiles: Sequence[Tile], comment: str | None = None) -> None:
        """Stream tiles that follow one another in the image."""
        if words := words_of(tiles):
            self.load_words(self.address[tiles[0]], words, comment)

    def load_words(self, first: Value, words: Value, comment: str | None = None) -> None:
        """Stream so many words from one of the image on."""
        per_word = self.config.beats_per_word
        self.b.emit("LOAD", comment, offset=first * per_word, beats=words * per_word, stream=1)

    def take_x(self, target: Value = 0, **fields: Value) -> None:
        """INPUT of an x vector, where one is free."""
        self.b.emit("INPUT", target=target, elements=self.layer.inputs, wait=1, last=1, **fields)

    def release(self, words: int) -> None:
        """So many words of the ring are free."""
        self.b.emit("MAC", weight=words - 1, columns=1, slots=1, stream=1, release=1)

    def await_x(self, vectors: int = 1, steps: Value = 1) -> None:
        """Wait for the x of so many steps, of so many vectors each, or for the h of a frame of the layer below."""
        if self.below:
            self.before.settle(self)
        else:
            for _ in self.b.each(steps):
                self.b.await_tokens(SPACE_X, vectors * self.layer.inputs)

    def await_h(self) -> None:
        """Wait for the tokens of the frame in front of this one, if :meth:`await_x` has not done it."""
        if not self.below:
            self.before.settle(self)

    def free_x(self, vectors: int = 1, steps: Value = 1) -> None:
        """So many x vectors from the stream are free, once a step."""
        if self.frees_x:
            for _ in self.b.each(steps):
                for _ in range(vectors):
                    self.b.emit("MAC", columns=1, slots=1, free=1)

    def counted(self, count: Sum, less: int = 0) -> Sum:
        """A variable, less a number, to count the steps of a frame down: the last layer's count itself, or a copy."""
        if not self.last:
            return self.b.variable(-less, count)
        self.b.advance(count, -less)
        return count

    def mac(self, mask: int, part: str | None = None, comment: str | None = None, **fields: Value) -> None:
        """A MAC of any number of row blocks; of a matrix, ``x`` or ``h``, on the memory that its vector is in, where x
        of an upper layer is h."""
        if part:
            fields |= {"space": SPACE_X if part == "x" and not self.below else SPACE_H, "lift": self.lift(part)}
        for some in spans_of({"slots": 1, "load": 1} | fields):
            self.b.emit("MAC", comment, mask=mask, **some)

    def add(self, mask: int, sums: Value, **fields: Value) -> None:
        """Products added to the sums from an entry on, which stay there unless they are finished.

        With ``load=0`` they are added to what the MAC in front has left in the lanes.
        """
        source = {"source": sums} if fields.get("load", 1) else {}
        self.mac(mask, **source, **{} if "finish" in fields else {"store": 1, "target": sums}, **fields)

    def multiply_x(self, mask: int, tile: int, vectors: int = 1, **fields: Value) -> None:
        """Products of a step's x, of so many vectors side by side: tiles of so many columns, of all row blocks."""
        self.await_x(vectors)
        words = {"slots": self.blocks, "stream": 1, "release": 1}
        for first, columns in self.b.tiles(0, self.layer.inputs, tile):
            self.add(mask, self.sums, part="x", operand=self.x + first, columns=columns, **words, **fields)
        self.free_x(vectors)

    def one_sum(
        self, mask: int, macs: list[dict], begin: Ends = ZERO, end: Ends | None = None, entry: Value | None = None
    ) -> None:
        """MACs whose products are one sum: what it begins from, and what becomes of it in the end.

        Between them, and behind the last one where nothing else is said, it is in the lanes, or in an entry.
        """
        keep, go_on = ({}, {"load": 0}) if entry is None else ({"store": 1, "target": entry}, {"source": entry})
        for n, fields in enumerate(macs):
            last = n == len(macs) - 1 and end is not None
            self.mac(mask, **fields, **(go_on if n else begin), **(end if last else keep))

    def start_tiles(self) -> tuple[Tile, ...]:
        """Tiles of what a layer that begins from a state multiplies by constants; they stay on chip."""
        start, digits = self.layer.start, partial(digits_of, self.number, blocks=self.blocks)
        self.peephole_digits = digits("peephole", self.layer.peephole_columns)
        self.first_digits = digits("first", start.first_columns) if start else []
        self.prime_digits = digits("prime", start.prime_columns * start.stages) if start else []
        return tuple(tile for tile, _ in (*self.first_digits, *self.prime_digits, *self.peephole_digits))

    def prime(self) -> None:
        """Emit what keeps a layer's peepholes, and what leads from zero to the c that it begins from: its h is zeroed
        behind it. Takes its tokens."""
        shape = self.layer
        if shape.peephole_columns:
            self._stage(self.peephole_digits, MODE_KEEP)
        if shape.start and shape.start.stages:
            each = len(shape.start.prime_columns)
            self._stage([], MODE_ZERO)
            for _ in self.b.each(shape.start.repeats):
                self._stage(self.prime_digits[:each])
            self._stage(self.prime_digits[-each:])

    def _stage(self, digits, mode=MODE_CELL):
        """A cell step of all units from sums of constants, which writes no h."""
        for row in self.b.each(self.blocks):
            for group in self.b.each(self.groups):
                self.one_sum(self.mask, self.constants(digits, row), end={"finish": 1})
                self.of_row(row, group, mode=mode, write=0)
        self.b.await_tokens(SPACE_H, self.groups * self.layer.outputs)

    def constants(self, digits: Digits, row: Value = 0, slots: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """MACs of digits, whose words stay on chip, of so many row blocks from one on, times their constants."""
        fields |= {"space": SPACE_CONSTANT, "slots": slots}
        return [
            {"operand": exponent, "weight": self.address[tile] + row * tile.columns, "columns": tile.columns} | fields
            for tile, exponent in digits
        ]

    def cells(self, units: int, mask: int, mode: int = MODE_CELL, **fields: Value) -> None:
        """CELL of hidden units, or outputs of a plain layer, that follow one another; sends them if h is the output and
        is written.

        With h that is zeroed so is c: nobody's where a plain layer has none, or where it is that of a state to begin
        from.
        """
        fields = {"write": 1} | fields
        if mode == MODE_CELL and self.sends and fields["write"]:
            fields = {"emit": 1, "last": 1} | fields
        if not self.layer.is_cell:
            fields = {name: value for name, value in fields.items() if name not in ("state", "state_stride")}
            if mode == MODE_CELL:
                mode, fields["activation"] = MODE_LINEAR, ACTIVATIONS.index(self.layer.activation)
            else:
                fields["state"] = self.scratch
        elif mode == MODE_ZERO and self.layer.start and fields["write"]:
            fields |= {"state": self.scratch, "state_stride": 0}
        self.b.emit("CELL", units=units, mask=mask, mode=mode, scale=self.number, signal=1, **fields)

    def plain_cell(self, shape: LayerShape, number: int, mask: int, target: Value | None = None) -> None:
        """CELL of a linear layer: its outputs to the stream, or to an element of h and those behind it."""
        where = {"emit": 1, "last": 1} if target is None else {"write": 1, "signal": 1, "target": target}
        where["activation"] = ACTIVATIONS.index(shape.activation)
        self.b.emit("CELL", units=shape.outputs, mask=mask, mode=MODE_LINEAR, scale=number, **where)

    def all_cells(self, target: Value, mode: int = MODE_CELL, **fields: Value) -> None:
        """CELL of all units, in all contexts side by side, h to an element and those behind it."""
        units = self.layer.outputs
        self.cells(units, self.mask, mode, state=self.c, state_stride=units, target=target, **fields)

    def zero_cells(self, mask: int, after: int = 0, **fields: int) -> int:
        """h = c = 0 of the whole layer, h from element ``after`` of its own on; the tokens that it makes."""
        self.cells(self.layer.outputs, mask, MODE_ZERO, **{"state": self.c, "target": self.h + after} | fields)
        return self.layer.outputs

    def make_tokens(self, count: int) -> None:
        """So many tokens of h that is there, for MACs that would wait for those that others have taken."""
        self.b.emit("CELL", units=count, mask=1, mode=MODE_ZERO, state=self.scratch, signal=1)

    def cell(
        self, mask: int, row: Value, after: Value = 0, left: Value | None = None, first: Value = 0, **fields: Value
    ) -> None:
        """CELL of a row block; the last one, for which ``left`` is zero, may have fewer units.

        ``first`` is the layer's state and h element from which on its units are counted; h is written ``after`` behind.
        """
        unit = row * self.units + first
        fields = {"state": self.c + unit, "target": self.h + after + unit} | fields
        if left is None or self.newest == self.units:
            left = self.blocks - 1 - row if self.newest < self.units else 1
        for whole in self.b.either(left):
            self.cells(self.units if whole else self.newest, mask, **fields)

    def directions(self, number: Sum) -> Iterator[int]:
        """Of passes that alternate, the direction of that of a step: the body is for either, done for one."""
        yield from (DOWN for _ in self.b.unless(number % 2))
        yield from (UP for _ in self.b.when(number % 2))

    def rows(self, first: int = 0) -> Iterator[tuple[Sum, int]]:
        """``for row, left in rows()``: ``left`` is that of :meth:`cell`; a short last row block is written out."""
        if self.newest == self.units:
            yield from ((row, 1) for row in self.b.each(first, self.blocks))
        else:
            yield from ((row, int(not last)) for row, last in self.b.peeled(first, self.blocks))

    def column_tiles(self, part: str, columns: int, width: int) -> list[Tile]:
        """Tiles of all row blocks."""
        whole, rest = divmod(columns, width)
        tiles = _even_tiles(self.number, part, self.blocks, width, _most(whole))[:whole]
        return [*tiles, *([Tile(self.number, part, 0, self.blocks, columns - rest, rest)] if rest else [])]

    def bias_digits(self, row: int = 0, blocks: int | None = None) -> Digits:
        """The bias, of all row blocks or of some."""
        return digits_of(self.number, "bias", self.layer.bias_columns, blocks or self.blocks, row)

    def bias_tiles(self, row: int = 0, blocks: int | None = None) -> list[Tile]:
        """Tiles of the bias, of all row blocks or of some."""
        return [tile for tile, _ in self.bias_digits(row, blocks)]


class ResidentBias(StreamedLayer):
    """A layer whose bias stays on chip, in its first words, and whose sums wait in entry ``sums`` + row block.

    The last column of the bias can finish the sums of a row block: then no other MAC has to be the last one.
    """

    def start_sums(self, mask: int, target: Value = 0, finish: bool = True, fresh: int = 0, **source: Value) -> None:
        """Sums of all row blocks, in entries from ``target`` on: bias, on zero or on ``source``.

        Without the last column of the bias if that is to finish the sums.
        """
        digits = self.constants(self.bias_digits(), slots=self.blocks, fresh=fresh)
        self.one_sum(mask, digits[: len(digits) - finish], source or ZERO, entry=self.sums + target)

    def end_sums(self, mask: int, sums: Value, row: Value = 0, blocks: int | None = None) -> None:
        """The last column of the bias, added to the sums of so many row blocks from one on, or of all, in entries from
        ``sums`` on."""
        digit = self.constants(self.bias_digits()[-1:], row, blocks or self.blocks)
        self.one_sum(mask, digit, {"source": sums}, {"finish": 1})

    def finish_sums(self, mask: int, row: Value) -> None:
        """The last column of the bias, added to the sums of a row block."""
        self.end_sums(mask, self.sums + row, row, 1)


def _most(tiles):
    """So many tiles, or more: planners that are tried one after the other need about as many."""
    return 1 << (tiles - 1).bit_length() if tiles else 0


@lru_cache(maxsize=256)
def _even_tiles(number, part, blocks, width, count):
    """Tiles of equal width of all row blocks."""
    return tuple(Tile(number, part, 0, blocks, width * n, width) for n in range(count))


def digits_of(number: int, part: str, structure: Sequence[tuple[int, int]], blocks: int, row: int = 0) -> Digits:
    """Columns that meet constants, (exponent, columns) each, of so many row blocks of a layer."""
    firsts = accumulate((columns for _, columns in structure), initial=0)
    parts = zip(structure, firsts, strict=False)
    return [(Tile(number, part, row, blocks, first, columns), exponent) for (exponent, columns), first in parts]


def spans_of(mac: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of the MACs that do the work of one: its slots may be more than those of a command."""
    slots, begins, ends = mac["slots"], ("wait", "take", "offset"), ("release", "free")
    for first in range(0, slots, MOST_SLOTS):
        some = mac | {"slots": min(MOST_SLOTS, slots - first)}
        if first:
            some |= {"weight": mac.get("weight", 0) + first * mac["columns"]}
            entries = ("target",) if mac.get("hold") else ("source", "target")
            some |= {name: mac[name] + first for name in entries if name in mac}
        left_out = (*begins * bool(first), *ends * (first + MOST_SLOTS < slots))
        yield {name: value for name, value in some.items() if name not in left_out}


def check_beat(config: EngineConfig) -> None:
    """Sequences side by side need a beat that holds one element of each."""
    if 1 < config.contexts and config.x_per_beat < config.contexts:
        rule = f"must be at least contexts = {config.contexts}: a beat holds one element of each"
        raise ConfigError("engine.x_per_beat", config.x_per_beat, rule)


def words_of(tiles: Iterable[Tile]) -> int:
    """Words of tiles."""
    return sum(tile.words for tile in tiles)


def ring_words(held: int, config: EngineConfig) -> int:
    """Least words of a ring of which ``held`` must be there at once: a burst has to find room behind them."""
    return held + -(-config.max_burst // config.beats_per_word)
