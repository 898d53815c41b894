"""Row block after row block, all weights streamed: every word serves all sequences of a batch.

SBE's third case (Que et al., 2020) fetches part of W_h at every time step, because a batch over time
steps cannot share it: step t + 1 needs all of h_t. A batch over *sequences* can. Here the
accumulators of one row block of all sequences stay on chip while its columns stream past, so W_h is
used as often per fetch as W_x, and nothing but a few tiles is kept.

Sequences are G groups of K: K contexts side by side, G groups in turn on the same word. A row block
takes its x columns first and the newest columns of h last: what the cell unit still has to finish of
the step before hides behind all that lies between.

With one context and one group this is the conventional schedule of a single sequence, which uses a
word once a fetch; the first columns of W_h may stay on chip then (*pinned*).
"""

from ..errors import ConfigError
from ..machine.isa import CLEAR_REGISTER, MODE_ZERO, SPACE_CONSTANT, SPACE_H, SPACE_X, STEPS_REGISTER
from ..machine.layout import Image, Tile
from .dense import MIN_TILE_CYCLES, check_beat
from .streaming import StreamingPlanner

X_READ, H_READ, H_WRITE, UNIT, ENTRY = 1, 2, 3, 4, 5
"""Registers: element of the next MAC on x and on h, first h element of the next CELL, its c, the group's sums."""
MAX_TILE_CYCLES = 128
"""Longest MAC on a tile: longer ones would save nothing."""
PINNED = ENTRY
"""With pinned columns, which go with one group only: the row block's resident words."""
BLOCKS_LEFT, STEPS_LEFT = 6, STEPS_REGISTER
"""Registers: row blocks behind this one (CLEAR is not used any more by then), steps behind this one."""


class RowBlockPlanner(StreamingPlanner):
    """Emits the ``run`` entry for one LSTM layer whose weights stream once a time step.

    With pinned columns there is a ``load`` entry as well, which brings them.

    Outputs leave in packets of one row block and one group each: step by step, row block by row
    block, group by group; in a packet the units, and the contexts inside.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
    groups : int
        G: the batch is ``contexts * groups`` sequences, and a word serves all of them.
    contexts : int, optional
        Contexts that work: 1, or all K of the engine if not given.
    pinned : int
        Columns of W_h that stay on chip: ``pinned`` times row blocks words. Not those of the last row block's units,
        and with one group only.
    """

    name = "rowblock"

    def __init__(self, network, config, groups=1, contexts=None, pinned=0):
        super().__init__(network, config)
        self.contexts, self.groups, self.pinned = contexts or config.contexts, groups, pinned
        if self.contexts not in (1, config.contexts):
            raise ConfigError("contexts", contexts, f"must be 1 or the engine's {config.contexts}")
        self.spread = self.contexts > 1
        if self.spread:
            check_beat(config)
        if groups < 1:
            raise ConfigError("groups", groups, "must be at least 1")
        layer, self.old = self.layer, self.layer.outputs - self.newest
        if not 0 <= pinned <= self.old or pinned and groups > 1:
            raise ConfigError("pinned", pinned, f"must be between 0 and {self.old} columns, with one group only")
        self.mask = (1 << self.contexts) - 1
        self.tile = self._tile_width()
        per_beat = 1 if self.spread else config.x_per_beat
        self.x_stride = -(-layer.inputs // per_beat) * per_beat
        self.h_stride = self.blocks * self.units
        self.x_set, self.h_set = groups * self.x_stride, groups * self.h_stride
        self.bias_words = sum(columns for _, columns in layer.bias_columns)  # of one row block
        self.first = min(self.tile, layer.inputs)
        self.image = Image(tuple(self._tiles()))
        self.resident_words = self.blocks * pinned
        self._require(
            weight_words=self.resident_words + self._ring_words(max(self.tile, self.bias_words + self.first)),
            accumulators=1 + groups,
            finish_entries=groups,
            h_elements=2 * self.h_set,
            x_elements=2 * self.x_set,
            states=self.h_set * self.contexts,
        )

    def _tile_width(self):
        """Streamed columns a MAC: long enough for the sequencer.

        One group alone waits for its own sums between two tiles, so its tiles are as long as half of the ring allows.
        """
        least = self.units * max(1, -(-MIN_TILE_CYCLES // (self.units * self.groups)))
        if self.groups > 1:
            return least
        room = self.config.weight_words - self.blocks * self.pinned - self._ring_words(0)
        return max(least, min(MAX_TILE_CYCLES, room // 2) // self.units * self.units)

    def _tiles(self):
        """Resident words, then the others in the order of use: a row block's bias, its x columns, its h columns."""
        layer = self.layer
        if self.pinned:
            yield Tile(0, "h", 0, self.blocks, 0, self.pinned)
        for block in range(self.blocks):
            column = 0
            for _, columns in layer.bias_columns:
                yield Tile(0, "bias", block, 1, column, columns)
                column += columns
            yield Tile(0, "x", block, 1, 0, layer.inputs)
            yield Tile(0, "h", block, 1, self.pinned, layer.outputs - self.pinned)

    def plan(self):
        """The plan; ConfigError when something does not fit."""
        emit, builder = self.builder.emit, self.builder
        if self.pinned:
            builder.entry("load")
            emit("LOAD", beats=self.resident_words * self.config.beats_per_word, comment="pinned columns of W_h")
            emit("HALT")
        builder.entry("run")
        emit("RING", base=self.resident_words)
        emit("BUFFERS", count=2)
        with builder.loop(count_reg=CLEAR_REGISTER, comment="only when the run starts from zero state"):
            for register in (H_READ, H_WRITE):
                self._set(register, 0)
            self._each_block(self._zero)
            self._add(H_WRITE, self.h_set - self.h_stride)
        for register in (X_READ, UNIT, ENTRY):
            self._set(register, 0)
        with builder.when(STEPS_REGISTER):
            self._fetch("the first step's x and weights")
        with builder.loop(count_reg=STEPS_REGISTER, comment="time steps"):
            self._add(STEPS_LEFT, -1)
            with builder.when(STEPS_LEFT):
                self._toggle(X_READ, self.x_set)
                self._fetch("x and weights of the next step")
                self._toggle(X_READ, self.x_set)
            self._await(SPACE_X, self.groups * self.layer.inputs)
            self._each_block(self._block)
            self._free_x()
            self._toggle(X_READ, self.x_set)
            self._toggle(H_READ, self.h_set)
            self._add(H_WRITE, self.h_set - self.h_stride, limit=2 * self.h_set)
        return self._finished(self.contexts * self.groups, groups=self.groups)

    def _fetch(self, comment):
        emit = self.builder.emit
        emit(
            "INPUT",
            target_reg=X_READ,
            elements=self.layer.inputs,
            repeats=self.groups - 1,
            spread=int(self.spread),
            wait=1,
            last=1,
            comment=comment,
        )
        per_word = self.config.beats_per_word
        words = self.image.words - self.resident_words
        emit("LOAD", offset=self.resident_words * per_word, beats=words * per_word, stream=1)

    def _each_block(self, body):
        """``body`` for every row block: UNIT is its first unit and BLOCKS_LEFT counts down to 0."""
        self._set(UNIT, 0)
        self._set(BLOCKS_LEFT, self.blocks)
        with self.builder.loop(count=self.blocks):
            self._add(BLOCKS_LEFT, -1)
            body()
            self._add(UNIT, self.units)
            self._add(H_WRITE, self.units)
        self._set(UNIT, 0)

    def _each_group(self, body, steps, words=0):
        """``body(release)`` for every group; ``steps`` are (register, distance of groups), put back in the end.

        ``body`` does not release the ring where ``words`` are given: that many are released behind the last group.
        """
        if self.groups == 1:
            body(True)
            return
        peeled = int(not words)  # a short body's last turn is written out, with its release
        with self.builder.loop(count=self.groups - peeled):
            body(False)
            for register, step in steps:
                self._add(register, step)
        if peeled:
            body(True)
        for register, step in steps:
            self._add(register, -(self.groups - peeled) * step)
        if words:
            self.builder.emit("MAC", weight=words - 1, columns=1, slots=1, stream=1, release=1)

    def _zero(self):
        with self.builder.loop(count=self.groups):
            self._units(mode=MODE_ZERO, emit=0, last=0)
            for register in (H_WRITE, UNIT):
                self._add(register, self.h_stride)
        for register in (H_WRITE, UNIT):
            self._add(register, -self.h_set)

    def _block(self):
        """All products of a row block for all groups, and its hidden units."""
        layer = self.layer
        bias, first = self.bias_words, self.first
        sums = [(ENTRY, 1)]
        x, h = [(X_READ, self.x_stride), *sums], [(H_READ, self.h_stride), *sums]
        self._each_group(lambda release: self._first_columns(bias, first, release), x, bias + first)
        self._add(X_READ, first)
        self._columns(SPACE_X, X_READ, x, layer.inputs - first)
        self._add(X_READ, -layer.inputs)
        if self.old:
            with self.builder.unless(UNIT, "first row block of a step: all but the newest units of h must be there"):
                self._await(SPACE_H, self.groups * self.old)
            if self.pinned:
                self._pinned_columns()
            self._columns(SPACE_H, H_READ, h, self.old - self.pinned)
        with self.builder.unless(UNIT, "... and now the newest"):
            self._await(SPACE_H, self.groups * self.newest)
        ends = [*h, (H_WRITE, self.h_stride), (UNIT, self.h_stride)]
        self._each_group(self._last_columns, ends, self.newest)
        self._add(H_READ, -self.old)

    def _mac(self, stream=1, **fields):
        self.builder.emit("MAC", slots=1, mask=self.mask, stream=stream, **fields)

    def _source(self):
        return {"load": 1, "source": 1, "source_reg": ENTRY if self.groups > 1 else 0}

    def _target(self):
        return {"store": 1, "target": 1, "target_reg": ENTRY if self.groups > 1 else 0}

    def _first_columns(self, bias, columns, release):
        """Bias and first x columns: the words stay in the ring until the last group has used them."""
        column = 0
        for exponent, count in self.layer.bias_columns:
            start = {"load": 1, "hold": 1} if column == 0 else {}
            self._mac(weight=column, columns=count, space=SPACE_CONSTANT, operand=exponent, **start)
            column += count
        self._mac(
            weight=bias,
            columns=columns,
            space=SPACE_X,
            operand_reg=X_READ,
            release=int(release),
            **self._target(),
        )

    def _pinned_columns(self):
        self._mac(
            stream=0,
            weight_reg=PINNED,
            columns=self.pinned,
            space=SPACE_H,
            operand_reg=H_READ,
            **self._source(),
            **self._target(),
        )
        self._add(H_READ, self.pinned)
        self._add(PINNED, self.pinned, limit=self.resident_words)

    def _columns(self, space, register, steps, columns):
        """Tile after tile of one row block, each for all groups; ``register`` moves on behind them."""

        def tile(width):
            self._each_group(
                lambda release: self._mac(
                    columns=width,
                    space=space,
                    operand_reg=register,
                    release=int(release),
                    **self._source(),
                    **self._target(),
                ),
                steps,
            )
            self._add(register, width)

        self._each_tile(columns, self.tile, tile)

    def _last_columns(self, release):
        self._mac(
            columns=self.newest,
            space=SPACE_H,
            operand_reg=H_READ,
            finish=1,
            release=int(release),
            **self._source(),
        )
        self._units()

    def _units(self, **fields):
        """Hidden units of a row block and group."""
        group = {"mask": self.mask, "state_reg": UNIT, "state_stride": self.h_set, "target_reg": H_WRITE}
        self._cell(BLOCKS_LEFT, **group | fields)
