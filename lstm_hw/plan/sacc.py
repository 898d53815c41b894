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
blocking-batching; their sums wait in further sets of accumulators.
"""

from ..errors import ConfigError
from ..machine.isa import CLEAR_REGISTER, MODE_LSTM, MODE_ZERO, SPACE_H, SPACE_X, STEPS_REGISTER
from ..machine.layout import Image, Tile
from .dense import MIN_TILE_CYCLES
from .streaming import ResidentBiasPlanner

OPERAND, UNIT, ROW, TILES, PHASE = 1, 2, 3, 4, 5
"""Registers: operand of the next MAC, first unit of the row block, its number, tiles beside the diagonal,
1 if the next pass goes up."""
PAIR = PHASE
"""With a batch of steps: sums of the pair of steps, as a distance of accumulator entries."""
PINNED, STEPS_LEFT = 6, STEPS_REGISTER
"""Registers: next pinned word (CLEAR is not used any more by then), steps or batches behind this one."""


class SaccPlanner(ResidentBiasPlanner):
    """Emits the ``load`` and ``run`` entries for one LSTM layer and one sequence or a few.

    The x stream brings step after step a vector of each sequence. Outputs leave in packets of one row block each: step
    by step, row blocks ascending in steps 0, 2, 4, ... counted from zero state and descending in the others.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
        An even number of contexts, 2 S for S sequences.
    steps : int, optional
        Time steps of every run, a multiple of ``batch``; needed for a batch.
    batch : int
        B, time steps that share a fetch of W_x: 1 or an even number.
    pinned : int
        Row blocks of W_h that stay on chip.
    """

    name = "sacc"

    def __init__(self, network, config, steps=None, batch=1, pinned=0):
        super().__init__(network, config)
        if config.contexts % 2:
            raise ConfigError("engine.contexts", config.contexts, "must be even: two time steps side by side")
        if batch != 1 and (batch % 2 or batch < 2):
            raise ConfigError("batch", batch, "must be 1 or even")
        if batch > 1 and (not steps or steps % batch):
            raise ConfigError("steps", steps, f"must be a multiple of the batch of {batch}")
        self.batch, self.pinned = batch, pinned
        self.steps = steps if batch > 1 else None
        self.sequences = config.contexts // 2
        self.even = (1 << self.sequences) - 1  # masks of contexts
        self.odd = self.even << self.sequences
        self.both = self.even | self.odd
        if not 0 <= pinned <= self.blocks:
            raise ConfigError("pinned", pinned, f"must be between 0 and {self.blocks} row blocks")
        self.width = self.blocks * self.units  # columns of W_h with those that pad the last tile
        self.pairs = max(1, batch // 2)
        self.tile = -(-MIN_TILE_CYCLES // self.blocks)  # columns of a tile of W_x, over all row blocks
        self.stride = -(-self.layer.inputs // config.x_per_beat) * config.x_per_beat
        self._place()

    def _place(self):
        """Image, resident words and ring; ConfigError names what does not fit."""
        layer, blocks, units = self.layer, self.blocks, self.units
        resident = [tile for tile, _ in self.bias]
        resident += self._down(0, self.pinned) + self._up(0, self.pinned)
        x = [
            Tile(0, "x", 0, blocks, first, min(self.tile, layer.inputs - first))
            for first in range(0, layer.inputs, self.tile)
        ]
        down, up = self._down(self.pinned, blocks), self._up(self.pinned, blocks)
        self.image = Image((*resident, *x, *down, *up))
        self.resident_words = sum(tile.words for tile in resident)
        self.pinned_down = self.bias_words
        self.pinned_up = self.pinned_down + sum(tile.words for tile in self._down(0, self.pinned))
        position = self.resident_words
        self.streams = {}  # name -> (first word, words)
        for name, tiles in (("x", x), ("down", down), ("up", up)):
            words = sum(tile.words for tile in tiles)
            self.streams[name] = position, words
            position += words
        self._require(
            weight_words=self.resident_words + 2 * max(units, self.tile * blocks),
            accumulators=1 + self.pairs * blocks,
            finish_entries=2,
            h_elements=self.width,
            states=self.sequences * self.width,
            x_elements=self.pairs * self.stride,
        )

    def _down(self, first, end):
        """Tiles of row blocks ``first`` to ``end - 1`` in the order of a pass down: lower triangle and diagonal."""
        return [Tile(0, "h", row, 1, 0, (row + 1) * self.units) for row in range(first, end)]

    def _up(self, first, end):
        """... and in the order of a pass up: upper triangle."""
        return [
            Tile(0, "h", row, 1, column * self.units, self.units)
            for row in reversed(range(first, end))
            for column in reversed(range(row + 1, self.blocks))
        ]

    def plan(self):
        """The plan; ConfigError when something does not fit."""
        emit, builder = self.builder.emit, self.builder
        self._load_entry(self.resident_words)
        builder.entry("run")
        emit("RING", base=self.resident_words)
        emit("BUFFERS", count=self.sequences * max(2, self.batch))
        with builder.loop(count_reg=CLEAR_REGISTER, comment="only when the run starts from zero state"):
            self._clear()
        if self.batch > 1:
            self._batches()
        else:
            self._single_steps()
        return self._finished(self.sequences, steps=self.steps)

    def _load(self, name):
        first, words = self.streams[name]
        if words:
            per_word = self.config.beats_per_word
            self.builder.emit("LOAD", offset=first * per_word, beats=words * per_word, stream=1, comment=name)

    def _inputs(self, contexts, register=0):
        for context in contexts:
            self.builder.emit("INPUT", bank=context, target_reg=register, elements=self.layer.inputs, wait=1, last=1)

    def _await_x(self):
        """Wait for the x of a step."""
        self._await(SPACE_X, self.sequences * self.layer.inputs)

    def _free_step(self):
        for _ in range(self.sequences):
            self._free_x()

    def _clear(self):
        self.builder.emit(
            "CELL",
            units=self.layer.outputs,
            mask=self.odd,
            mode=MODE_ZERO,
            state_stride=self.width,
            write=1,
            signal=1,
            comment="h and c",
        )
        first = min(self.units, self.layer.outputs)
        if self.layer.outputs > first:
            self._await(SPACE_H, self.layer.outputs - first)  # a pass down waits for the first row block itself
        self._start_sums(self.even)
        self._set(PHASE, 0)

    def _single_steps(self):
        builder = self.builder
        with builder.when(STEPS_LEFT):
            with builder.unless(PHASE):
                self._fetch("down")
            with builder.when(PHASE):
                self._fetch("up")
        with builder.loop(count_reg=STEPS_REGISTER, comment="time steps"):
            self._add(STEPS_LEFT, -1)
            self._add(PHASE, 1, limit=2)
            # PHASE is already the next step's.
            with builder.when(PHASE):
                with builder.when(STEPS_LEFT):
                    self._fetch("up")
                self._pass_down(self._single_inputs)
            with builder.unless(PHASE):
                with builder.when(STEPS_LEFT):
                    self._fetch("down")
                self._pass_up(self._single_inputs)

    def _fetch(self, name):
        """x and weights of a step whose pass goes up or down."""
        first = self.sequences * int(name == "up")
        self._inputs(range(first, first + self.sequences))
        self._load("x")
        self._load(name)

    def _single_inputs(self, now, after):
        """W_x times x of the step of this pass, and the start of the sums of the step after it."""
        self._await_x()
        self._set(OPERAND, 0)

        def tile(columns):
            self._x_tile(now, columns, source=1)
            self._add(OPERAND, columns)

        self._each_tile(self.layer.inputs, self.tile, tile)
        self._free_step()
        self._start_sums(after)

    def _x_tile(self, mask, columns, release=1, **fields):
        self._mac(
            mask,
            space=SPACE_X,
            operand_reg=OPERAND,
            columns=columns,
            slots=self.blocks,
            stream=1,
            release=release,
            store=1,
            target=1,
            **fields,
        )

    def _batches(self):
        builder = self.builder
        self._batch_inputs()
        self._load("x")
        self._load("down")
        self._set(PAIR, 0)
        self._set(STEPS_LEFT, self.steps // self.batch)
        with builder.loop(count=self.steps // self.batch, comment="batches of time steps"):
            self._add(STEPS_LEFT, -1)
            self._start_sums(self.odd)
            with builder.loop(count=self.batch):
                self._await_x()
            self._batch_products()
            with builder.loop(count=self.batch):
                self._free_step()
            with builder.when(STEPS_LEFT):
                self._batch_inputs()
            with builder.repeat(self.pairs):
                self._pass_down(self._sums_of_odd_step)
                self._pass_up(self._sums_of_even_step)

    def _batch_inputs(self):
        self._set(OPERAND, 0)
        with self.builder.repeat(self.pairs):
            self._inputs(range(2 * self.sequences), OPERAND)
            self._add(OPERAND, self.stride)

    def _batch_products(self):
        """W_x times the x of all steps of a batch, pairs of steps side by side.

        The first pair's sums go on where the pass before left those of the even step.
        """

        def next_pair():
            self._add(OPERAND, self.stride)
            self._add(PAIR, self.blocks, limit=self.pairs * self.blocks)

        def tile(columns, first=False):
            more = {"hold": 1} if first else {"source": 1, "source_reg": PAIR}
            self._x_tile(self.both, columns, release=int(self.pairs == 1), source=1)
            next_pair()
            with self.builder.repeat(self.pairs - 2):
                self._x_tile(self.both, columns, release=0, target_reg=PAIR, **more)
                next_pair()
            if self.pairs > 1:
                self._x_tile(self.both, columns, target_reg=PAIR, **more)
                next_pair()
            self._add(OPERAND, columns - self.pairs * self.stride)

        first = min(self.tile, self.layer.inputs)
        self._set(OPERAND, 0)
        tile(first, True)
        self._each_tile(self.layer.inputs - first, self.tile, tile)

    def _sums_of_odd_step(self, now, after):
        """The sums of a pass down's next step: for the first pair they have been started already."""
        self._load("up")
        with self.builder.when(PAIR):
            self._start_sums(after, source=1, source_reg=PAIR)

    def _sums_of_even_step(self, now, after):
        """The sums of a pass up's next step: of the next pair, or none yet if that is in the next batch."""
        self._add(PAIR, self.blocks, limit=self.pairs * self.blocks)
        with self.builder.when(PAIR):
            self._load("down")
            self._start_sums(after, source=1, source_reg=PAIR)
        with self.builder.unless(PAIR):
            with self.builder.when(STEPS_LEFT):
                self._load("x")
                self._load("down")
            self._start_sums(after)

    def _pass_down(self, inputs):
        """L + D: finish an even step, start the odd one behind it."""
        now, after = self.even, self.odd
        inputs(now, after)
        self._await(SPACE_H, min(self.units, self.layer.outputs))
        for register, value in ((UNIT, 0), (ROW, 0), (TILES, 0), (PINNED, self.pinned_down)):
            self._set(register, value)
        # The last row block has fewer units, so it is written out.
        full = self.blocks - int(self.newest < self.units)
        for count, stream in ((min(full, self.pinned), 0), (full - min(full, self.pinned), 1)):
            with self.builder.repeat(count):
                self._row_down(now, after, self.units, stream)
        if full < self.blocks:
            self._row_down(now, after, self.newest, int(self.pinned < self.blocks))

    def _pass_up(self, inputs):
        """U: finish an odd step, start the even one behind it."""
        now, after = self.odd, self.even
        inputs(now, after)
        for register, value in (
            (UNIT, self.width - self.units),
            (ROW, self.blocks - 1),
            (TILES, 0),
            (PINNED, self.pinned_up),
        ):
            self._set(register, value)
        self._finish(now, self.newest)
        pinned = min(self.pinned, self.blocks - 1)
        for count, stream in ((self.blocks - 1 - pinned, 1), (pinned, 0)):
            with self.builder.repeat(count):
                self._row_up(now, stream)

    def _row_down(self, now, after, units, stream):
        self._set(OPERAND, 0)
        with self.builder.loop(count_reg=TILES):
            self._tile(self.both, OPERAND, stream)
            self._add(OPERAND, self.units)
        self._tile(now, UNIT, stream, keep=1)
        self._finish(now, units)
        self._await(SPACE_H, units)
        self._tile(after, UNIT, stream)
        self._add(UNIT, self.units)
        self._add(ROW, 1)
        self._add(TILES, 1)

    def _row_up(self, now, stream):
        self._add(UNIT, -self.units)
        self._add(ROW, -1)
        self._set(OPERAND, self.width - self.units)
        with self.builder.loop(count_reg=TILES, comment="tiles whose h has long been there"):
            self._tile(self.both, OPERAND, stream)
            self._add(OPERAND, -self.units)
        if self.newest < self.units:
            with self.builder.unless(TILES):
                self._await(SPACE_H, self.newest)
            with self.builder.when(TILES):
                self._await(SPACE_H, self.units)
        else:
            self._await(SPACE_H, self.units)
        self._tile(self.both, OPERAND, stream)
        self._finish(now, self.units)
        self._add(TILES, 1)

    def _tile(self, mask, operand, stream, keep=0):
        """The next tile of the row block; ``keep`` leaves it for another MAC."""
        self._mac(
            mask,
            columns=self.units,
            space=SPACE_H,
            operand_reg=operand,
            rotate=self.sequences,
            stream=stream,
            release=int(stream and not keep),
            weight_reg=0 if stream else PINNED,
            source=1,
            source_reg=ROW,
            store=1,
            target=1,
            target_reg=ROW,
        )
        if not stream and not keep:
            self._add(PINNED, self.units)

    def _finish(self, now, units):
        """The last column of the bias, and the hidden units of the row block."""
        self._finish_sums(now, ROW)
        self.builder.emit(
            "CELL",
            units=units,
            mask=now,
            mode=MODE_LSTM,
            state_reg=UNIT,
            state_stride=self.width,
            target_reg=UNIT,
            write=1,
            signal=1,
            emit=1,
            last=1,
        )

    def _y_order(self, steps, first_step):
        rows = range(self.blocks)
        return [
            self._piece(step, row)
            for step in range(steps)
            for row in (reversed(rows) if (first_step + step) % 2 else rows)
        ]
