"""Cell fusion: W_x serves the x products of a batch of time steps while W_h serves the steps before them.

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019, here
for dense weights. A word of W_x is held while it is multiplied by x of G time steps, and for that time memory is
free for words of W_h, which a single sequence uses once. So the two are interleaved: the G steps of a batch
go through W_h row block after row block, and in front of each row block comes a chunk of W_x for the G
steps of the *next* batch. Over a batch the time is that of the lanes or that of the memory, whichever is
longer, not the time of a phase bound by lanes plus that of a phase bound by memory.

K contexts form the x products of K steps side by side; step t of a batch is in context t mod K, with its h in
bank t mod K. Row block r of step g of a batch goes with columns g * chunk .. (g + 1) * chunk - 1 of W_x's
row block r. What is left of the columns is multiplied when the next batch's sums are started.

The last step of a run is in context K - 1, however few steps are before it in its batch, and its h goes where that of
the last step of a whole batch goes: every run begins and ends with h in bank K - 1. Of the contexts between nobody
finishes the sums.

In a stack, layers take turns batch by batch. The first one's W_h streams beside its W_x for the next batch; the others
take the h of the one below, which waits in as many places as x does, and go through W_x and W_h one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .head import HeadLayer
from .layer import Frame, ResidentBias, ring_words
from .stack import StackPlanner
from .sums import Sum, Value, as_sum


class FusionLayer(ResidentBias):
    """A layer whose x products are formed for a batch; the first one's, a batch ahead.

    ``alone`` says whether no other layer's frame is between two of its own. Only then x of a batch is taken before that
    of the one in front of it is free.
    """

    ends_sums = False
    """Whether the last column of the bias finishes the sums of a step."""

    def __init__(self, planner: FusionPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        config, batch = planner.config, planner.batch
        blocks, contexts, length = self.blocks, config.contexts, shape.outputs
        self.sequences, self.contexts, self.tail = 1, contexts, (length,)
        kept = planner.reads_all(number)
        self.alone = not number and not kept
        self.sets = batch // contexts  # accumulator entries a row block and batch
        self.chunk, self.rest = divmod(shape.inputs, batch)
        self.place = length if kept else 0  # from the h of K steps to that of the next ones
        self.last_place = self.place * (self.sets - 1)
        self.turns = 1 + self.alone  # batches whose x is there at once
        self.buffers = self.turns * batch
        self.newest_context = 1 << contexts - 1
        rest = Tile(number, "x", 0, blocks, batch * self.chunk, self.rest)
        chunks = [
            Tile(number, "x", row, 1, step * self.chunk, self.chunk) for step in range(batch) for row in range(blocks)
        ]
        hidden = Tile(number, "h", 0, blocks, 0, length)
        self.x_tiles, self.h_tiles = (rest, *chunks), (hidden,)
        self.resident, self.streamed = tuple(self.bias_tiles()), (*self.x_tiles, *self.h_tiles)
        self.own = {
            "accumulators": (1 if number else 2) * self.sets * blocks,
            "h_elements": self.last_place + length,
            "states": length,
        }
        self.shared = {
            "x_elements": self.turns * self.sets * self.x_stride,
            "finish_entries": 2,
            "ring": ring_words(max(rest.words, self.chunk, length), config),
        }

    # Where things are: batches of the first layer take turns

    def sums_of(self, batch: Sum, at: Value) -> Sum:
        """First accumulator entry of K steps of a batch."""
        turn = as_sum(0) if self.below else batch % 2 * (self.sets * self.blocks)
        return self.sums + turn + at * self.blocks

    def x_of(self, batch: Sum, at: Value) -> Sum:
        """First element of their x."""
        if self.below:
            return self.x + as_sum(at) * self.below.place
        return batch % self.turns * (self.sets * self.x_stride) + at * self.x_stride

    def zero(self) -> int:
        return self.zero_cells(self.newest_context, self.last_place)

    def take(self, batch: Sum, taken: Sum) -> None:
        """Take the x of a batch, as far as the run has steps; ``taken`` counts them."""
        for at in self.b.each(self.sets):
            self._take_some(batch, at, taken)

    def _take_some(self, batch, at, taken):
        """x of K steps; that of the last step of a run goes to the last bank."""
        b, x = self.b, self.x_of(batch, at)
        for bank, last in b.peeled(self.contexts):
            for _ in b.when(b.left):
                b.advance(b.left, -1)
                b.advance(taken, 1)
                for more in b.either(0 if last else b.left):
                    self.take_x(x, bank=bank if more else self.contexts - 1)

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, Value]]:
        yield self.newest_context, self.h + self.last_place

    def first_batch(self) -> None:
        """x and x products of the first batch, and x of the next one."""
        b = self.b
        # Steps of this batch, of the next one, and of the one behind that. Of these all but the last one are full.
        self.count, self.coming, self.later = b.variable(0), b.variable(0), b.variable(0)
        self.load(self.x_tiles, "W_x for the first batch")
        self.start(as_sum(0), self.count, take=True)
        self.chunks(as_sum(0), self.coming if self.alone else None)
        self.free_x(steps=self.count)
        if not self.alone:
            self.take(as_sum(1), self.coming)

    def frame(self, frame: Frame) -> None:
        if self.below:
            self.load(self.x_tiles, "W_x")
            self.start(frame.number, frame.count)
            self.chunks(frame.number)
            self.steps(frame.number, frame.count)
            return
        b, number = self.b, frame.number
        for _ in b.when(self.coming):
            self.load(self.x_tiles[:1], "what is left of W_x")
            self.start(number + 1, self.coming)
            self._settle()
            b.assign(self.later, 0)
            self.fused_steps(number, self.later)
            if not self.alone:
                self.free_x(steps=self.coming)
                self.take(number + 2, self.later)
        for _ in b.unless(self.coming):
            self._settle()
            self.steps(number, self.count)

    def next_batch(self) -> None:
        """The batch that was coming is the present one."""
        b = self.b
        b.assign(self.count, 0)
        for _ in b.each(self.coming):
            if self.alone:
                self.free_x()
            b.advance(self.count, 1)
        for _ in b.unless(b.left):  # else all three are full
            b.assign(self.coming, 0, self.later)
            b.assign(self.later, 0)

    def _settle(self):
        if not self.alone:
            self.await_h()

    # x products

    def start(self, batch: Sum, count: Sum, take: bool = False) -> None:
        """Sums of a batch: bias and what is left of W_x's columns. ``take`` its x, and set the count."""
        b = self.b
        for at in b.each(self.sets):
            self.start_sums(self.mask, self.sums_of(batch, at) - self.sums, finish=self.ends_sums)
        if take:
            self.take(batch, count)
        self.await_x(steps=count)
        self._x_left_over(batch)

    def _x_left_over(self, batch):
        """Columns of W_x that are no step's part."""
        if self.rest:
            self._x_products(batch, 0, self.batch * self.chunk, columns=self.rest, slots=self.blocks)

    def chunks(self, batch: Sum, coming: Sum | None = None) -> None:
        """All other x products of a batch: nothing else can be done meanwhile, but to take the x of the next one."""
        b = self.b
        for at in b.each(self.sets):
            for step in b.each(self.contexts * bool(self.chunk)):
                for row in b.each(self.blocks):
                    self._x_products(batch, row, (at * self.contexts + step) * self.chunk, columns=self.chunk)
            if coming is not None:
                self._take_some(batch + 1, at, coming)

    def _x_products(self, batch, row, column, **fields):
        """Words of W_x for all steps of a batch; the last use releases them."""
        for at, last in self.b.peeled(self.sets):
            sums, x = self.sums_of(batch, at) + row, self.x_of(batch, at) + column
            fields |= {"part": "x", "stream": 1, "release": int(last)}
            self.add(self.mask, sums, operand=x, **fields)

    # Steps

    def fused_steps(self, batch: Sum, later: Sum) -> None:
        """All steps of a batch on W_h, with the x products of the next batch; x of the one behind that is taken."""
        b = self.b
        for at in b.each(self.sets):
            for context in range(self.contexts):
                if not self.alone:
                    column = at * (self.contexts * max(1, self.chunk))  # not zero behind the first steps
                    for _ in b.when(context or column):
                        b.await_tokens(SPACE_H, self.layer.outputs)
                sums, before = self.sums_of(batch, at), self._before(at, context)
                ahead = (batch + 1, at * self.contexts + context) if self.chunk else None
                self._step(1 << context, sums, before, self.place * at, ahead=ahead)
                if self.alone and not context:
                    self._take_some(batch + 2, at, later)

    def steps(self, batch: Sum, count: Sum) -> None:
        """So many steps of a batch on W_h; the last layer counts them down."""
        b, end = self.b, self.sets - 1
        until_last = b.variable(-1, count)
        more = self.counted(count, 1)
        for at in b.each(self.sets):
            for context in range(self.contexts):
                before = self._before(at, context)
                for _ in b.unless(until_last):
                    sums = self.sums_of(batch, end if self.below else at)
                    self._step(self.newest_context, sums, before, self.last_place, context, in_place=not context)
                b.advance(until_last, -1)
                if end or context < self.contexts - 1:
                    for _ in b.when(more):
                        b.advance(more, -1)
                        self._step(1 << context, self.sums_of(batch, at), before, self.place * at)
                        if not self.alone:
                            b.await_tokens(SPACE_H, self.layer.outputs)

    def _before(self, at, context):
        """The place of the h of the step before one."""
        return self.place * (at if context else (at + (self.sets - 1)) % self.sets)

    def _step(self, mask, sums, before, after, rotate=-1, ahead=None, in_place=False):
        """A step, from and to a place of h, with the x products of a step of the next batch if it is told which.

        ``in_place`` it is from and to the same bank: all sums but for the newest column, and only then hidden units.
        The tokens of the step before are still there if the layer is alone.
        """
        length, first = self.layer.outputs, (self.layer.outputs - 1) * in_place
        batch, step = ahead or (None, 0)
        word = self.address[self.h_tiles[0]]
        for row in self.b.each(self.blocks if first else 0):
            self.load_words(word + row * length, first)
            self._h_products(mask, sums + row, before, first, rotate)
        if not (in_place or ahead):
            self.load(self.h_tiles)
        for row, left in self.rows():
            if ahead:
                self.load_words(self.address[self.x_tiles[1]] + (step * self.blocks + row) * self.chunk, self.chunk)
            if in_place or ahead:
                self.load_words(word + first + row * length, length - first)
            if ahead:
                self._x_products(batch, row, step * self.chunk, columns=self.chunk)
            self._h_products(mask, sums + row, before, length - first, rotate, first=first, finish=1)
            self.cell(mask, row, after, left)
        if self.alone:
            self.b.await_tokens(SPACE_H, length)

    def _h_products(self, mask, sums, place, columns, rotate, first=0, **fields):
        if self.alone:
            fields |= {"wait": 1, "offset": first}
        vector = {"part": "h", "operand": self.h + place + first, "rotate": rotate % self.contexts}
        self.add(mask, sums, columns=columns, stream=1, release=1, **vector, **fields)


class FusionHead(HeadLayer):
    """A head at every step: the h of steps waits in banks and places."""

    def frame(self, frame: Frame) -> None:
        b, last, count = self.b, self.before, frame.count
        self.ahead()
        last.settle(self)
        b.advance(count, -1)
        for at in b.each(last.sets):
            for context in range(last.contexts):
                for _ in b.when(count):
                    b.advance(count, -1)
                    self.outputs(1 << context, last.h + last.place * at)
        self.outputs(last.newest_context, last.h + last.last_place)
        self.free_words()


class FusionPlanner(StackPlanner):
    """Any stack; one sequence.

    Outputs leave in packets of one row block each, step by step.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        At least two contexts.
    batch : int
        G, time steps that share a fetch of W_x, a multiple of the contexts.
    """

    name = "fusion"
    layer, head = FusionLayer, FusionHead

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if config.contexts < 2:
            raise ConfigError("engine.contexts", config.contexts, "must be at least 2: h of two steps at a time")
        if batch < 1 or batch % config.contexts:
            raise ConfigError("batch", batch, f"must be a multiple of the {config.contexts} contexts")
        super().__init__(network, config, batch)

    def _batches(self):
        """x of a batch is taken two batches ahead of its steps, its products formed one ahead."""
        b, first = self.b, self.layers[0]
        first.first_batch()
        for number in b.forever():
            self._round(number, first.count)
            for _ in b.unless(first.coming):
                for head in self.heads_behind:
                    head.ahead()
                self._end()
            first.next_batch()
