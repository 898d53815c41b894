"""SACC: every loaded tile of W_h serves two time steps, whatever the buffer holds.

Tewari, Kumar, Paul, "SACC: Split and Combine Approach to Reduce the Off-chip Memory Accesses of LSTM
Accelerators", DATE 2021. Passes alternate: a pass down the row blocks streams the lower triangle and the diagonal of
W_h, a pass up streams the upper triangle. Pass k finishes step k and starts step k + 1: when a row
block of step k is finished, its h is at once multiplied for step k + 1 by tiles that step k uses as
well. A step so loads n(n + T)/2 or n(n - T)/2 words of n columns and T units a tile, n^2/2 on
average, which no exact schedule without stored weights can beat.

For S sequences there are 2 S contexts: the first S have the even steps and their h, the others the
odd ones, so both uses of a word happen side by side: context j multiplies by bank j + S (mod 2 S).
Sums wait in one set of accumulators, an entry a row block, in all contexts. What a run leaves there
is carried over: a stream can be fed in pieces.

W_x is streamed at every step (batch 1), or once for a batch of B steps in pairs side by side, SBE's
blocking-batching; their sums wait in further sets of accumulators. In the last batch of a run, which may be
shorter, the places of steps that are missing are multiplied as well: nobody reads those sums.

Both uses of a word read h at one address, in two banks, so h of two steps is there at once and no more. Where a layer
above takes the h of more steps, each row block is finished *twice*: cells work for h and c of the layer's own next
step, and once more, on a c that has gone the same way, for an h that stays where the layer above finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import ELEMENT_BITS, ENTRY_BITS, SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .layer import DOWN, MIN_TILE_CYCLES, UP, Frame, ResidentBias, StreamedLayer, ring_words, words_of
from .stack import StackPlanner
from .sums import Sum, Value, as_sum


class SaccLayer(ResidentBias):
    """A layer whose passes alternate; ``pinned`` row blocks of W_h stay on chip."""

    def __init__(self, planner: SaccPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        config, batch = planner.config, planner.batch
        self.pinned = pinned = min(planner.pinned, self.blocks)
        self.pairs = -(-batch // 2)
        self.times = 2 if planner.reads_all(number) and self.pairs > 1 else 1  # that cells work on each row block
        self.sequences = config.contexts // 2
        self.buffers = self.sequences * max(2, batch)
        even = (1 << self.sequences) - 1
        self.of_step = even, even << self.sequences  # masks: contexts of even and odd steps
        self.width = self.blocks * self.units  # columns of W_h with those that pad the last tile
        self.tile = -(-MIN_TILE_CYCLES // self.blocks)  # columns of a tile of W_x, over all row blocks
        self.first_units = min(self.units, shape.outputs)
        self.tail = (self.times * self.first_units,)  # of a pass up: the row block that it finishes last
        held = self._triangles(0, pinned)
        x, triangles = self.column_tiles("x", shape.inputs, self.tile), self._triangles(pinned, self.blocks)
        self.resident = (*self.bias_tiles(), *held[DOWN], *held[UP])
        self.streamed = (*x, *triangles[DOWN], *triangles[UP])
        self.held = held[DOWN]  # behind these are those of the passes up
        self.x_tiles, self.triangles = x, triangles
        self.own = {
            "accumulators": self.pairs * self.blocks,
            "h_elements": self.width * (1 if self.times == 1 else 1 + self.pairs),
            "states": self.times * self.sequences * self.width,
        }
        most = max(self.units, self.tile * self.blocks)
        self.shared = {
            "ring": max(2 * most, ring_words(most, config)),
            "finish_entries": 2 * self.times,
            "x_elements": self.pairs * self.x_stride,
        }

    def _triangles(self, first, end):
        """Tiles of row blocks in the order of a pass down, the lower triangle with the diagonal, and of a pass up."""
        rows, units = range(first, end), self.units
        down = [Tile(self.number, "h", row, 1, 0, (row + 1) * units) for row in rows]
        up = [
            Tile(self.number, "h", row, 1, column * units, units)
            for row in reversed(rows)
            for column in reversed(range(row + 1, self.blocks))
        ]
        return down, up

    def zero(self) -> int:
        for state in self._states():
            self.zero_cells(self.of_step[UP], state=state, state_stride=self.width)
        self.start_sums(self.of_step[DOWN])
        return self.times * self.layer.outputs

    def settle(self, after: StreamedLayer, part: int | None = None, take: int = 1) -> None:
        """A pass up leaves tokens: that of the step which is done, or of this one if its number is the same."""
        same_step = self.batch == 1 and after.number > self.number
        for _ in self.b.when(self.done % 2, zero=not same_step):
            super().settle(after, part, take)

    def left(self, number: Sum) -> Value:
        return number % 2 * sum(self.tail)

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, Value]]:
        for direction in self.directions(number):
            yield self.of_step[direction], self.h + self._place(step)

    def _states(self):
        """First state of each time that cells work."""
        return [self.c + time * self.sequences * self.width for time in range(self.times)]

    def _place(self, step):
        """From the layer's h to where the h of a step of a batch stays: that of a pair is side by side."""
        return self.width + self._halves(step - 1, self.width, ELEMENT_BITS) if self.times > 1 else as_sum(0)

    def _halves(self, step, stride, bits):
        """``(step + 1) // 2 * stride``, in the bits of a field.

        Above them is 1 behind every odd step: from there the modulus takes both steps on.
        """
        if step.known:
            return as_sum((step.constant + 1) // 2 * stride)
        return step * ((1 << bits) + stride) % ((2 << bits) + stride)

    # x and weights of the next frame

    def _number(self, first):
        """The step ``first`` of the run, counted since zero state. Behind the last layer it is the first one's next."""
        if self.number or first.known or self.batch > 1 and not isinstance(self.before, SaccLayer):
            return self.done
        return self.before.done + 1

    def inputs(self, taken: Callable, first: Sum) -> None:
        for pair, single in self.b.parts(self.batch // 2, self.batch % 2):
            for half in range(2 - single):
                bank = (self._number(first) + half) % 2 * self.sequences
                for _ in taken():
                    for sequence in range(self.sequences):
                        self.take_x(pair * self.x_stride, bank=bank + sequence)

    def ahead(self, first: Sum) -> None:
        self.load(self.x_tiles, "W_x")
        for direction in self.directions(self._number(first)):
            self._load_triangle(direction)

    def _load_triangle(self, direction):
        self.load(self.triangles[direction], ("lower triangle", "upper triangle")[direction])

    # Frames

    def frame(self, frame: Frame) -> None:
        if self.batch > 1:
            self._batch(frame)
            return
        for direction in self.directions(self.done):
            frame.following()
            self.multiply_x(self.of_step[direction], self.tile, self.sequences)
            self.start_sums(self.of_step[1 - direction])
            self.await_h()
            if direction == UP:
                self._finish_last(as_sum(0))
            self._pass(direction, as_sum(0))

    def _batch(self, frame):
        b, alone = self.b, self.before is self
        self._batch_products(frame.count, alone)
        for step, later in frame.steps():
            sums = self._halves(step, self.blocks, ENTRY_BITS) if self.pairs > 1 else 0  # of the step behind this one
            for direction in self.directions(self.done):
                after = self.of_step[1 - direction]
                if direction == UP:  # first, so that its h is on its way meanwhile
                    self._finish_last(step)
                for _ in b.when(later):
                    self._load_triangle(1 - direction)
                    for _ in b.when(sums):
                        self.start_sums(after, source=self.sums + sums)
                for _ in b.unless(later):
                    self.start_sums(after)
                    frame.inputs()
                    frame.following()
                if direction == DOWN:  # tokens of the pass up before; of another frame somebody else takes them
                    for _ in b.when(1 if alone else step):
                        b.await_tokens(SPACE_H, self.times * self.first_units)
                self._pass(direction, step)

    def _batch_products(self, count, alone):
        """W_x times the x of all steps of a batch, pairs of steps side by side.

        The first pair's sums go on where the pass before left those of the first step.
        """
        b = self.b
        for direction in self.directions(self.done):
            self.start_sums(self.of_step[1 - direction])
        self.await_x(self.sequences, count)
        first = min(self.tile, self.layer.inputs)
        self._batch_tile(0, first, begin=True)
        for start, columns in b.tiles(first, self.layer.inputs, self.tile):
            self._batch_tile(start, columns)
        self.free_x(self.sequences, count)
        if not alone:
            self.await_h()

    def _batch_tile(self, start, columns, begin=False):
        """A tile for all pairs of steps; the first one begins their sums, but those of the first pair."""
        x, stride = self.x + start, self.x_stride
        if self.below:
            x, stride = x + self.below._place(as_sum(0)), self.below.width
        fields = {"part": "x", "columns": columns, "slots": self.blocks, "stream": 1}
        self.add(self.mask, self.sums, operand=x, release=int(self.pairs == 1), **fields)
        for pair, last in self.b.peeled(1, self.pairs):
            sums = self.sums + pair * self.blocks
            fields |= {"operand": x + pair * stride, "release": int(last), "store": 1, "target": sums}
            self.mac(self.mask, **fields, **{"hold": 1} if begin else {"source": sums})

    # Passes

    def _pass(self, direction, step):
        word = None
        if self.pinned:
            word = self.b.variable(self.address[self.held[0]] + direction * words_of(self.held))
        if direction == DOWN:
            short = int(self.newest < self.units)  # the last row block has fewer units, so it is written out
            pinned = min(self.pinned, self.blocks - short)
            for row, part in self.b.parts(pinned, self.blocks - short - pinned, short):
                held = part == 0 or self.pinned == self.blocks
                self._row_down(row, step, self.newest if part == 2 else self.units, word if held else None)
        else:
            last = self.blocks - 1
            pinned = min(self.pinned, last)
            for row, part in self.b.parts(last - pinned, pinned, start=last - 1, step=-1):
                self._row_up(row, step, word if part == 1 else None)

    def _row_down(self, row, step, units, word):
        """L + D: finish an even step, start the odd one behind it."""
        for column, diagonal in self.b.peeled(row + 1):
            if not diagonal:
                self._tile(self.mask, row, column, word)
            else:
                self._tile(self.of_step[DOWN], row, column, word, keep=1)
                self._finish(DOWN, step, row, column * self.units, units)
                self._tile(self.of_step[UP], row, column, word, **self._await_units(units))

    def _finish_last(self, step):
        self._finish(UP, step, self.blocks - 1, (self.blocks - 1) * self.units, self.newest)

    def _row_up(self, row, step, word):
        """U: finish an odd step, start the even one behind it."""
        for column, newest in self.b.peeled(self.blocks - 1, row, -1):
            # The newest column is row + 1, whose h is that of the row block in front of this one.
            self._tile(self.mask, row, column, word, **(self._await_newest(row) if newest else {}))
            if newest:
                self._finish(UP, step, row, (column - 1) * self.units, self.units)

    def _await_newest(self, row):
        if self.newest == self.units:
            return self._await_units(self.units)
        for units, zero in ((self.newest, True), (self.units, False)):
            for _ in self.b.when(self.blocks - 2 - row, zero):
                self.b.await_tokens(SPACE_H, self.times * units)
        return {}

    def _await_units(self, units):
        """Fields of a tile whose columns wait for the h of a row block; of fewer units, it is waited for before."""
        if units == self.units:
            return {"wait": 1, "take": 1, "offset": (self.times - 1) * units}
        self.b.await_tokens(SPACE_H, self.times * units)
        return {}

    # Instructions

    def _tile(self, mask, row, column, word, keep=0, **fields):
        """A tile of W_h, pinned at ``word`` or the next of the ring; ``keep`` leaves it there for another MAC."""
        words = {"stream": 1, "release": 1 - keep} if word is None else {"weight": word}
        operand = self.h + column * self.units
        words |= {"part": "h", "columns": self.units, "rotate": self.sequences}
        self.add(mask, self.sums + row, operand=operand, **words, **fields)
        if word is not None and not keep:
            self.b.advance(word, self.units)

    def _finish(self, direction, step, row, unit, units):
        """The last column of the bias, and the hidden units of the row block; their h for the layer above as well."""
        mask = self.of_step[direction]
        for state, place in zip(self._states(), (0, self._place(step)), strict=False):
            self.finish_sums(mask, row)
            self.cells(units, mask, state=state + unit, state_stride=self.width, target=self.h + place + unit)

    def rows_of(self, step: int, steps: int, first_step: int) -> Iterable[int]:
        return range(self.blocks)[:: -1 if (first_step + step) % 2 else 1]


class SaccPlanner(StackPlanner):
    """Any stack; one sequence or a few.

    The x stream brings step after step a vector of each sequence. Outputs leave in packets of one row block each: step
    by step, row blocks ascending in steps 0, 2, 4, ... counted from zero state and descending in the others.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        An even number of contexts, 2 S for S sequences.
    batch : int
        B, time steps that share a fetch of W_x. An odd number takes the memory of the next even one.
    pinned : int
        Row blocks of W_h that stay on chip, of each layer as far as it has them.
    """

    name = "sacc"
    layer = SaccLayer

    def __init__(self, network: Network, config: EngineConfig, batch: int = 1, pinned: int = 0) -> None:
        if config.contexts % 2:
            raise ConfigError("engine.contexts", config.contexts, "must be even: two time steps side by side")
        most = max(shape.blocks(config.rows) for shape in network.recurrent)
        if not 0 <= pinned <= most:
            raise ConfigError("pinned", pinned, f"must be between 0 and {most} row blocks")
        self.pinned = pinned
        super().__init__(network, config, batch)
