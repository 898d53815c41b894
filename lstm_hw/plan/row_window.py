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
multiplies by bank j + 1 (mod 2), and what serves both steps at the same moment does so side by side.
"""

from ..errors import ConfigError
from ..machine.isa import CLEAR_REGISTER, ELEMENT_BITS, ENTRY_BITS, MODE_ZERO, SPACE_H, SPACE_X
from ..machine.layout import Image, Tile
from .dense import MIN_TILE_CYCLES
from .streaming import ResidentBiasPlanner

UNIT, REST, ROW, HEAD, LOWER, PAIRS_LEFT = 1, 2, 3, 4, 5, 6
"""Registers: first unit of the row block, its distance to that of the last one, its number, ring offsets of the row
block and of its lower triangle, pairs of steps behind this one (CLEAR is not used any more by then)."""
AGAIN, AGAIN_BEATS = HEAD, LOWER
"""Registers of the odd step: what is loaded again for the next row block, and how much."""
EVEN, ODD, BOTH = 1, 2, 3
"""Masks: the contexts of the two steps."""


class RowWindowPlanner(ResidentBiasPlanner):
    """Emits the ``load`` and ``run`` entries for one LSTM layer and one sequence.

    Outputs leave in packets of one row block each: those of an even step in ascending order; of an
    odd step first the row blocks of the window, then the others, both ascending.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
        Two contexts.
    steps : int
        Time steps of every run, an even number.
    window : int
        w, row blocks of W_h that stay on chip behind the one that passes.

    Raises
    ------
    ConfigError
        Something does not fit; the message names the field and what it needs.
    """

    name = "row_window"

    def __init__(self, network, config, steps, window):
        super().__init__(network, config)
        if config.contexts != 2:
            raise ConfigError("engine.contexts", config.contexts, "must be 2: two time steps side by side")
        if steps < 2 or steps % 2:
            raise ConfigError("steps", steps, "must be an even number: steps go in pairs")
        if not 0 <= window <= self.blocks:
            raise ConfigError("window", window, f"must be between 0 and {self.blocks} row blocks")
        self.steps, self.window = steps, window
        self.tile = -(-MIN_TILE_CYCLES // self.blocks)  # columns of a tile of W_x, over all row blocks
        self.again = self.blocks - window  # row blocks of which something is loaded again
        self._place()

    def _place(self):
        """Image and ring; ConfigError names what does not fit."""
        layer, units = self.layer, self.units
        x = [
            Tile(0, "x", 0, self.blocks, first, min(self.tile, layer.inputs - first))
            for first in range(0, layer.inputs, self.tile)
        ]
        # A row block from its diagonal on, and then what is left of it: the order of use.
        rows = [
            Tile(0, "h", row, 1, *columns)
            for row in range(self.blocks)
            for columns in ((row * units, layer.outputs - row * units), (0, row * units))
        ]
        self.image = Image((*(tile for tile, _ in self.bias), *x, *rows))
        self.row_base = self.image.words - self.blocks * layer.outputs
        self._require(
            weight_words=self.bias_words
            + self._ring_words(max(self.tile * self.blocks, min(self.window + 1, self.blocks) * layer.outputs)),
            accumulators=1 + self.blocks,
            finish_entries=2,
            h_elements=layer.outputs,
            states=layer.outputs,
            x_elements=layer.inputs,
        )

    def plan(self):
        """The plan; ConfigError when something does not fit."""
        emit, builder, pairs = self.builder.emit, self.builder, self.steps // 2
        self._load_entry(self.bias_words)
        builder.entry("run")
        emit("RING", base=self.bias_words)
        emit("BUFFERS", count=2)
        with builder.loop(count_reg=CLEAR_REGISTER, comment="only when the run starts from zero state"):
            emit("CELL", units=self.layer.outputs, mask=ODD, mode=MODE_ZERO, write=1, signal=1)
        self._inputs()
        self._load_rows()
        self._set(PAIRS_LEFT, pairs)
        with builder.repeat(pairs):
            self._add(PAIRS_LEFT, -1)
            self._x_products()
            with builder.when(PAIRS_LEFT, "x of the next pair"):
                self._inputs()
            self._await(SPACE_H, self.layer.outputs)
            self._even_step()
            self._odd_step()
        return self._finished(steps=self.steps)

    def _y_order(self, steps, first_step):
        rows = range(self.blocks)
        order = []
        for step in range(0, steps, 2):
            order += [(step, row) for row in rows]
            order += [(step + 1, row) for row in (*rows[self.again :], *rows[: self.again])]
        return [self._piece(step, row) for step, row in order]

    def _inputs(self):
        for bank in (0, 1):
            self.builder.emit("INPUT", bank=bank, elements=self.layer.inputs, wait=1, last=1)

    def _load_rows(self):
        per_word = self.config.beats_per_word
        words = self.image.words - self.bias_words
        self.builder.emit(
            "LOAD", offset=self.bias_words * per_word, beats=words * per_word, stream=1, comment="W_x and W_h"
        )

    def _x_products(self):
        """Sums of both steps: bias, all but its last column, and W_x."""
        self._start_sums(BOTH)
        for _ in range(2):
            self._await(SPACE_X, self.layer.inputs)
        self._set(UNIT, 0)

        def tile(columns):
            fields = {"slots": self.blocks, "source": 1, "store": 1, "target": 1, "stream": 1, "release": 1}
            self._mac(BOTH, space=SPACE_X, operand_reg=UNIT, columns=columns, **fields)
            self._add(UNIT, columns)

        self._each_tile(self.layer.inputs, self.tile, tile)
        for _ in range(2):
            self._free_x()

    def _row_registers(self, row, last):
        self._set(UNIT, row * self.units)
        self._set(REST, (last - row) * self.units)
        self._set(ROW, row)

    def _next_row(self):
        self._add(UNIT, self.units)
        self._add(REST, -self.units)
        self._add(ROW, 1)

    def _even_step(self):
        """Row block after row block for step k; for step k + 1 what h of step k allows."""
        length = self.layer.outputs
        self._row_registers(0, self.blocks - 1)
        self._set(HEAD, 0)
        self._set(LOWER, length - self.newest)
        with self.builder.repeat(self.window):
            self._row({"weight_reg": HEAD}, {"weight": self.newest, "weight_reg": LOWER})
            self._next_row()
            self._add(HEAD, length)
            self._add(LOWER, length - self.units)
        ahead = self.window * length
        with self.builder.repeat(self.again):
            self._row({"weight": ahead}, {"weight": ahead + self.newest, "weight_reg": REST})
            self._leaving_row()
            self._next_row()

    def _row(self, upper, lower):
        self._h_products(EVEN, columns=self.newest, columns_reg=REST, operand_reg=UNIT, **upper)
        # In the order in which the step's h is finished; the newest is waited for last.
        self._h_products(BOTH, columns_reg=UNIT, wait=1, **lower)
        self._finish_row(EVEN, may_be_last=True)

    def _leaving_row(self):
        """The row block that leaves the window meets h of the row blocks that came since."""
        if self.window:
            columns = self.window * self.units
            self._h_products(
                ODD, columns=columns, operand=-columns % (1 << ELEMENT_BITS), operand_reg=UNIT, back=self.window
            )
        self._release_row()

    def _release_row(self):
        self.builder.emit("MAC", weight=self.layer.outputs - 1, columns=1, slots=1, stream=1, release=1)

    def _odd_step(self):
        """What is left of step k + 1: first the window, then the row blocks that have left it."""
        per_word, builder, units = self.config.beats_per_word, self.builder, self.units
        if self.again:
            again = self.row_base + self.window * units
            self._set(AGAIN, again * per_word)
            self._set(AGAIN_BEATS, (self.layer.outputs - self.window * units) * per_word)
            self._load_again()
        else:
            with builder.when(PAIRS_LEFT):
                self._load_rows()
        self._await(SPACE_H, self.layer.outputs)
        if self.window:
            self._row_registers(self.again, self.blocks - 1)
            with builder.repeat(self.window):
                self._h_products(ODD, columns=self.newest, columns_reg=REST, operand_reg=UNIT)
                self._finish_row(ODD, may_be_last=True)
                self._release_row()
                self._next_row()
        if not self.again:
            return
        self._row_registers(0, self.again - 1)
        with builder.repeat(self.again):
            with builder.when(REST):
                self._load_again()
            with builder.unless(REST):
                with builder.when(PAIRS_LEFT):
                    self._load_rows()
            self._h_products(
                ODD, columns=self.newest, columns_reg=REST, operand=self.window * units, operand_reg=UNIT, release=1
            )
            self._finish_row(ODD, may_be_last=not self.window)
            self._next_row()

    def _load_again(self):
        per_word = self.config.beats_per_word
        self.builder.emit("LOAD", offset_reg=AGAIN, beats_reg=AGAIN_BEATS, stream=1, comment="columns for step k + 1")
        self._add(AGAIN, self.layer.outputs * per_word)
        self._add(AGAIN_BEATS, -self.units * per_word)

    def _h_products(self, mask, back=0, **fields):
        """Columns of W_h in the ring, added to the sums of this row block or of one ``back``."""
        entry = (1 - back) % (1 << ENTRY_BITS)
        self._mac(
            mask,
            space=SPACE_H,
            rotate=1,
            stream=1,
            source=entry,
            source_reg=ROW,
            store=1,
            target=entry,
            target_reg=ROW,
            **fields,
        )

    def _finish_row(self, mask, may_be_last):
        self._finish_sums(mask, ROW)
        self._cell(REST if may_be_last else None, mask=mask, state_reg=UNIT, target_reg=UNIT)
