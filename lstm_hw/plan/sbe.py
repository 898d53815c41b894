"""Blocking-batching (SBE): W_x streams from memory and every tile of it serves a batch of time steps.

Que et al., "Efficient Weight Reuse for Large LSTMs", ASAP 2019, on K sequences side by side:

- a batch of B time steps: each tile of W_x is used for all B before the next (B sets of
  accumulators), so memory brings one word every B cycles;
- then the B steps one after the other on the resident W_h (case 1).

Some columns of W_x are resident as well (*pinned*). They are multiplied step by step, first: while
they are, the cell unit finishes the step before, so its tail costs no lane-cycle. Case 1 has no
such columns in the paper, whose tail hides behind W_x columns of the same step.
"""

from ..errors import ConfigError
from ..image.layout import Image, Tile
from .dense import Plan, check_beat
from .isa import CLEAR_REGISTER, MODE_LSTM, MODE_ZERO, SPACE_CONSTANT, SPACE_H, SPACE_X
from .program import ProgramBuilder

OPERAND, INPUT, SUMS, BASE, OFFSET, FIRST, STREAM = 1, 2, 3, 4, 5, 6, 7
"""Registers: x element of the next MAC, of the next INPUT, first accumulator entry of the step, next resident word,
its place in memory, 1 in the first batch, beats of the next batch (and the batches so far, above them)."""
STEPS_LEFT = BASE
"""Steps of the batch that need no fresh words; BASE is not used any more by then."""
BEATS_BITS = 24
SEGMENTS = 4
"""Pieces in which resident words are loaded between the streamed ones of the first batch."""


class BatchPlanner:
    """Emits the ``run`` entry for one LSTM layer whose W_x does not stay on chip.

    Parameters
    ----------
    network : Network
        One LSTM layer.
    config : EngineConfig
        K contexts work on K independent sequences.
    steps : int
        Time steps of the run, a multiple of ``batch``.
    batch : int
        B, time steps that share a fetch of W_x.
    pinned : int
        Columns of W_x that stay on chip.
    tile_columns : int, optional
        Streamed columns in a tile.
    """

    name = "sbe"

    def __init__(self, network, config, steps, batch, pinned, tile_columns=None):
        layer = network.layers[0]
        check_beat(config)
        if len(network.layers) != 1:
            raise ConfigError(
                "network", f"{len(network.layers)} layers", "must be a single LSTM layer for this schedule"
            )
        if batch < 1 or steps % batch:
            raise ConfigError("batch", batch, f"must divide the {steps} steps")
        self.network, self.config, self.steps, self.batch = network, config, steps, batch
        self.blocks = layer.blocks(config.rows)
        self.units = config.units_per_block
        self.tile = tile_columns or self.units
        self.tiles = (layer.inputs - pinned) // self.tile
        self.streamed = self.tiles * self.tile
        self.pinned = layer.inputs - self.streamed
        if self.tiles < 2 or self.pinned < 1:
            raise ConfigError(
                "pinned",
                pinned,
                f"must leave at least two tiles of {self.tile} columns and one pinned column of {layer.inputs}",
            )
        if config.contexts == 1 and self.tile % config.x_per_beat:
            raise ConfigError(
                "tile_columns", self.tile, f"must be whole beats of x_per_beat = {config.x_per_beat} elements"
            )
        self.layer = layer
        self.mask = (1 << config.contexts) - 1
        self.stride = -(-layer.inputs // config.x_per_beat) * config.x_per_beat
        self.buffers = min(config.x_elements // self.stride, 2 * batch)
        self.builder = ProgramBuilder()
        self._place()

    def _place(self):
        """Image, resident words and ring; ConfigError names what does not fit."""
        config, layer, blocks = self.config, self.layer, self.blocks
        bias = sum(columns for _, columns in layer.bias_columns)
        self.h_tiles = [
            (first, min(self.units, layer.outputs - first)) for first in range(0, layer.outputs, self.units)
        ]
        resident = [
            Tile(0, "bias", 0, blocks, sum(n for _, n in layer.bias_columns[:i]), columns)
            for i, (_, columns) in enumerate(layer.bias_columns)
        ]
        resident.append(Tile(0, "x", 0, blocks, self.streamed, self.pinned))
        resident += [Tile(0, "h", 0, blocks, first, columns) for first, columns in self.h_tiles]
        stream = [Tile(0, "x", 0, blocks, n * self.tile, self.tile) for n in range(self.tiles)]
        self.image = Image(tuple(resident + stream))
        self.address = dict(zip([(t.part, t.first_column) for t in resident], self.image.offsets, strict=False))
        self.bias_words = bias * blocks
        self.resident_words = sum(t.words for t in resident)
        self.stream_words = sum(t.words for t in stream)
        ring = config.weight_words - self.resident_words
        for field, need in (
            ("weight_words", self.resident_words + 2 * self.tile * blocks),
            ("accumulators", 1 + self.batch * blocks),
            ("h_elements", layer.outputs),
            ("states", layer.outputs * config.contexts),
            ("x_elements", self.batch * self.stride),
            ("finish_entries", blocks),
        ):
            if getattr(config, field) < need:
                raise ConfigError(
                    f"engine.{field}", getattr(config, field), f"must be at least {need} for this schedule"
                )
        self.ring_base = config.weight_words - ring
        # Resident words come in pieces; the ring must last while one is loaded.
        rest = self.resident_words - self.bias_words
        self.segments = next(n for n in range(SEGMENTS, 0, -1) if rest % n == 0 and self.tiles % n == 0)

    def x_order(self):
        """(step, first column, columns) of every INPUT of a run, in order."""
        order = []
        for first in range(0, self.steps, self.batch):
            for tile in range(self.tiles):
                order += [(step, tile * self.tile, self.tile) for step in range(first, first + self.batch)]
            order += [(step, self.streamed, self.pinned) for step in range(first, first + self.batch)]
        return tuple(order)

    def plan(self):
        """The plan; ConfigError when something does not fit."""
        emit, config, per_word = self.builder.emit, self.config, self.config.beats_per_word
        batches = self.steps // self.batch
        self.builder.entry("run")
        emit("RING", base=self.ring_base)
        emit("BUFFERS", count=self.buffers)
        with self.builder.loop(count_reg=CLEAR_REGISTER, comment="only when the run starts from zero state"):
            self._cell(MODE_ZERO)
        emit("LOAD", beats=self.bias_words * per_word, comment="bias, resident")
        segment = (self.resident_words - self.bias_words) // self.segments
        stream = self.stream_words // self.segments
        self._set(BASE, self.bias_words)
        self._set(OFFSET, self.bias_words * per_word)
        self._set(STREAM, self.resident_words * per_word)
        with self.builder.loop(count=self.segments, comment="first batch: streamed and resident words in turn"):
            emit("LOAD", offset_reg=STREAM, beats=stream * per_word, stream=1)
            emit("LOAD", offset_reg=OFFSET, beats=segment * per_word, base_reg=BASE)
            self._add(STREAM, stream * per_word)
            self._add(OFFSET, segment * per_word)
            self._add(BASE, segment)
        for register in (OPERAND, INPUT):
            self._set(register, 0)
        self._bias(0, fresh=1)
        self._set(FIRST, 1)
        self._set(STEPS_LEFT, self.batch - 1)
        total = self.stream_words * per_word
        self._set(STREAM, total if batches > 1 else 0)
        with self.builder.loop(count=batches, comment="batches of time steps"):
            self._stream_phase()
            emit(
                "LOAD",
                offset=self.resident_words * per_word,
                beats_reg=STREAM,
                stream=1,
                comment="the next batch's words",
            )
            # The register counts batches above the field; it wraps to no beats before the last batch.
            if batches > 1:
                self._add(STREAM, 1 << BEATS_BITS, limit=total + (batches - 1 << BEATS_BITS))
            self._step_phase()
            # Both stand behind the streamed columns: of the next batch's first step, and of this one's.
            ring = self.buffers * self.stride
            self._add(OPERAND, ring - self.streamed, limit=ring)
            self._add(INPUT, (self.batch * self.stride - self.streamed) % ring, limit=ring)
        emit("HALT")
        return Plan(
            config,
            self.network,
            self.name,
            self.builder.build(config.program_length),
            self.image,
            config.contexts,
            self.steps,
            self.x_order(),
        )

    def _set(self, register, value):
        self.builder.emit("SET", register=register, value=value)

    def _add(self, register, value, limit=0):
        self.builder.emit("ADD", register=register, value=value, limit=limit)

    def _bias(self, entry, fresh=0):
        """Start a step's sums from the bias."""
        column = 0
        for exponent, columns in self.layer.bias_columns:
            self.builder.emit(
                "MAC",
                weight=self.address["bias", column],
                fresh=fresh,
                space=SPACE_CONSTANT,
                operand=exponent,
                columns=columns,
                slots=self.blocks,
                mask=self.mask,
                load=1,
                hold=int(column == 0),
                source=1 if column else 0,
                source_reg=SUMS if column else 0,
                store=1,
                target=1,
                target_reg=SUMS,
            )
            column += columns

    def _inputs(self, wait=0):
        """The next tile's columns of x for every step of the batch."""
        ring = self.buffers * self.stride
        with self.builder.loop(count=self.batch):
            self.builder.emit(
                "INPUT", target_reg=INPUT, elements=self.tile, spread=int(self.config.contexts > 1), wait=wait
            )
            self._add(INPUT, self.stride, limit=ring)
        self._next_tile(INPUT)

    def _next_tile(self, register):
        """From behind the last step of the batch to its first step, one tile of columns further."""
        ring = self.buffers * self.stride
        self._add(register, (ring - self.batch * self.stride + self.tile) % ring, limit=ring)

    def _stream_phase(self):
        """Bias and all streamed tiles for the steps of a batch."""
        with self.builder.loop(count=self.batch, comment="sums of the batch start from the bias"):
            self._bias(0)
            self._add(SUMS, self.blocks, limit=self.batch * self.blocks)
        self._inputs(wait=1)
        with self.builder.loop(count=self.tiles - 1, comment="streamed tiles of W_x"):
            self._inputs()
            self._tile()
        self._tile()

    def _tile(self):
        ring = self.buffers * self.stride
        fields = {
            "operand_reg": OPERAND,
            "columns": self.tile,
            "slots": self.blocks,
            "mask": self.mask,
            "space": SPACE_X,
            "load": 1,
            "source": 1,
            "source_reg": SUMS,
            "store": 1,
            "target": 1,
            "target_reg": SUMS,
            "stream": 1,
            "wait": 1,
            "take": 1,
        }

        def advance():
            self._add(OPERAND, self.stride, limit=ring)
            self._add(SUMS, self.blocks, limit=self.batch * self.blocks)

        if self.batch > 1:
            with self.builder.loop(count=self.batch - 1):
                self.builder.emit("MAC", **fields)
                advance()
        self.builder.emit("MAC", release=1, **fields)
        advance()
        self._next_tile(OPERAND)

    def _step_phase(self):
        """Pinned columns of W_x and W_h, step by step."""
        with self.builder.loop(count_reg=FIRST, comment="first step of all: the resident words are new"):
            self._step(fresh=1)
        with self.builder.loop(count_reg=STEPS_LEFT, comment="steps of the batch"):
            self._step()
        self._set(FIRST, 0)
        self._set(STEPS_LEFT, self.batch)

    def _step(self, fresh=0):
        sums = {"slots": self.blocks, "mask": self.mask, "load": 1, "source": 1, "source_reg": SUMS, "fresh": fresh}
        keep = {"store": 1, "target": 1, "target_reg": SUMS}
        emit = self.builder.emit
        emit("INPUT", target_reg=OPERAND, elements=self.pinned, spread=int(self.config.contexts > 1), last=1)
        emit(
            "MAC",
            weight=self.address["x", self.streamed],
            operand_reg=OPERAND,
            columns=self.pinned,
            space=SPACE_X,
            wait=1,
            take=1,
            free=1,
            comment="pinned columns of W_x",
            **sums,
            **keep,
        )
        self._add(OPERAND, self.stride, limit=self.buffers * self.stride)
        for first, columns in self.h_tiles:
            end = {"finish": 1} if first + columns == self.layer.outputs else keep
            emit(
                "MAC",
                weight=self.address["h", first],
                operand=first,
                columns=columns,
                space=SPACE_H,
                wait=1,
                take=1,
                comment=f"h columns {first}..{first + columns - 1}",
                **sums,
                **end,
            )
        self._cell(MODE_LSTM, emit=1)
        self._add(SUMS, self.blocks, limit=self.batch * self.blocks)

    def _cell(self, mode, emit=0):
        self.builder.emit(
            "CELL",
            units=self.layer.outputs,
            mask=self.mask,
            mode=mode,
            state_stride=self.layer.outputs,
            write=1,
            signal=1,
            emit=emit,
            last=emit,
        )
