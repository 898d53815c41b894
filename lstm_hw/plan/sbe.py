"""Blocking-batching (SBE): W_x streams from memory and every tile of it serves a batch of time steps.

Que et al., "Efficient Weight Reuse for Large LSTMs", ASAP 2019, on K sequences side by side:

- a batch of B time steps: each tile of W_x is used for all B before the next (B sets of
  accumulators), so memory brings one word every B cycles;
- then the B steps one after the other on W_h, which lives in one of three ways:
  case 1, it stays on chip; case 2, it streams once a batch and is held in the ring for the B steps;
  case 3, some of its columns stay on chip and the others stream again at every step.

Some columns of W_x live as W_h does (*pinned*; in case 3 they stay on chip). They are multiplied
step by step, first: while they are, the cell unit finishes the step before, so its tail costs no
lane-cycle. The paper has no such columns: its tail hides behind W_x columns of the same step.
"""

from ..errors import ConfigError
from ..machine.config import SERIAL_SLOTS
from ..machine.isa import BEATS_BITS, CLEAR_REGISTER, MODE_LSTM, MODE_ZERO, SPACE_CONSTANT, SPACE_H, SPACE_X
from ..machine.latency import FINISH_DELAY, H_TOKEN_DELAY, CellLatency
from ..machine.layout import Image, Tile
from ..machine.plan import Plan
from ..machine.program import ProgramBuilder
from .dense import check_beat
from .streaming import StreamingPlanner

CASES = (1, 2, 3)
OPERAND, SUMS, FIRST, STREAM, STEPS_LEFT = 1, 2, 3, 4, 5
"""Registers: x element of the next MAC, first accumulator entry of the step, 1 in the first batch, beats of the next
batch (and the batches so far, above them), steps of the batch that need no fresh words."""
PIECES = 3
"""Pieces in which the first batch's words are loaded, resident and streamed ones in turn: what the queue of LOADs
takes before the first MAC."""
TILE_CYCLES = 64
"""Cycles of a MAC on a streamed tile: long enough for the sequencer to keep up, short so that the first tile is soon
there."""
H_TILES = 16
"""Most MACs in which a step goes through W_h."""


def h_tiles(layer, config):
    """(first column, columns) of the tiles of W_h, whole row blocks' units each.

    The last is exactly the units of the last row block: nothing else of h may be read while the cell unit, which
    takes row blocks in order, writes the new h over the old.
    """
    units, blocks = config.units_per_block, layer.blocks(config.rows)
    width = units * max(1, -(-(blocks - 1) // (H_TILES - 1)))
    last = units * (blocks - 1)
    tiles = [(first, min(width, last - first)) for first in range(0, last, width)]
    return (*tiles, (last, layer.outputs - last))


def tile_width(blocks, config):
    """Streamed columns of W_x in a tile, whole beats of x."""
    width = -(-TILE_CYCLES // blocks)
    return width if config.contexts > 1 else -(-width // config.x_per_beat) * config.x_per_beat


def tail_columns(layer, config):
    """Pinned columns behind which the cell unit's work on the step before hides; at least one.

    Row block b is finished with slot b of a step's last MAC. Its units follow one another in the cell unit, K
    contexts each; the new h must be there when the next step's W_h columns, behind the pinned ones, read it.
    """
    blocks, units = layer.blocks(config.rows), config.units_per_block
    per_unit = SERIAL_SLOTS * config.contexts / config.cells
    latency = FINISH_DELAY + SERIAL_SLOTS + CellLatency(config).total + H_TOKEN_DELAY
    tiles = h_tiles(layer, config)
    finished = [(slot + 1 - blocks) * tiles[-1][1] for slot in range(blocks)]  # 0: the step's last MAC ends
    need = 1
    for first, columns in tiles:
        for column in (first, first + columns - 1):
            block = column // units
            ready = latency + max(
                cycle + (column + 1 - b * units) * per_unit for b, cycle in enumerate(finished[: block + 1])
            )
            need = max(need, ready - blocks * first - (column - first))
    return -int(-need // blocks)


class BatchPlanner(StreamingPlanner):
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
        Columns of W_x that live as W_h does, at least 1.
    case : {1, 2, 3}
        How W_h lives, see above. In case 3 as many of its tiles stay on chip as fit, but never all.
    tile_columns : int, optional
        Streamed columns of W_x in a tile.

    Raises
    ------
    ConfigError
        Something does not fit; the message names the field and what it needs.
    """

    name = "sbe"

    def __init__(self, network, config, steps, batch, pinned, case=1, tile_columns=None):
        super().__init__(network, config)
        check_beat(config)
        layer = self.layer
        if batch < 1 or steps % batch:
            raise ConfigError("batch", batch, f"must divide the {steps} steps")
        if case not in CASES:
            raise ConfigError("case", repr(case), f"must be one of {CASES}")
        self.steps, self.batch, self.case = steps, batch, case
        self.tile = tile_columns or tile_width(self.blocks, config)
        self.tiles = (layer.inputs - pinned) // self.tile
        self.streamed = self.tiles * self.tile
        self.pinned = layer.inputs - self.streamed
        if pinned < 1 or self.tiles < 2:
            raise ConfigError(
                "pinned",
                pinned,
                f"must leave at least two tiles of {self.tile} columns and one pinned column of {layer.inputs}",
            )
        if config.contexts == 1 and self.tile % config.x_per_beat:
            raise ConfigError(
                "tile_columns", self.tile, f"must be whole beats of x_per_beat = {config.x_per_beat} elements"
            )
        self.mask = (1 << config.contexts) - 1
        stride = -(-layer.inputs // config.x_per_beat) * config.x_per_beat
        self.stride, self.buffers = stride, min(config.x_elements // stride, 2 * batch)
        self._place()

    def _place(self):
        """Image, resident words and ring; ConfigError names what does not fit."""
        config, layer, blocks = self.config, self.layer, self.blocks
        bias = [
            Tile(0, "bias", 0, blocks, sum(n for _, n in layer.bias_columns[:i]), columns)
            for i, (_, columns) in enumerate(layer.bias_columns)
        ]
        pinned = Tile(0, "x", 0, blocks, self.streamed, self.pinned)
        hidden = [Tile(0, "h", 0, blocks, first, columns) for first, columns in h_tiles(layer, config)]
        stream = [Tile(0, "x", 0, blocks, n * self.tile, self.tile) for n in range(self.tiles)]
        self.bias_words, self.stream_words = _words(bias), _words(stream)
        self.step_tiles = [pinned, *hidden]
        if self.case == 1:
            resident = self.step_tiles
        elif self.case == 2:
            resident = []
        else:
            resident = [pinned, *self._resident(hidden, self.bias_words + pinned.words)]
        self.passing = [tile for tile in self.step_tiles if tile not in resident]
        self.image = Image((*bias, *resident, *stream, *self.passing))
        self.address = dict(zip((*bias, *resident), self.image.offsets, strict=False))
        self.window = dict(zip(self.passing, Image(tuple(self.passing)).offsets, strict=True))
        self.bias_tiles = bias
        self.resident_words = self.bias_words + _words(resident)
        self._require(
            weight_words=self.resident_words + self.ring_words(),
            accumulators=1 + self.batch * blocks,
            h_elements=layer.outputs,
            states=layer.outputs * config.contexts,
            x_elements=self.batch * self.stride,
            finish_entries=blocks,
        )

    def _resident(self, hidden, others):
        """The tiles of W_h that stay on chip in case 3: as many as fit, the others spread evenly between them."""
        room = self.config.weight_words - others - self.ring_words()
        count = min(len(hidden) - 1, max(0, room // max(tile.words for tile in hidden)))
        return [tile for n, tile in enumerate(hidden) if (n + 1) * count // len(hidden) == n * count // len(hidden) + 1]

    def ring_words(self):
        """Least words of the ring: what must be held at once, and a burst that has to find room behind it."""
        tile = self.tile * self.blocks
        if self.case == 1:
            held = tile
        elif self.case == 2:
            held = max(tile, _words(self.step_tiles))
        else:
            held = max(tile, *(t.words for t in self.step_tiles[1:]))
        return max(2 * tile, self._ring_words(held))

    def words_read(self):
        """Weight words that a run reads from memory."""
        batches = self.steps // self.batch
        return self.resident_words + batches * self._batch_words() + self.steps * self._refetched()

    def x_order(self, steps):
        """(step, first column, columns) of every INPUT of a run, in order."""
        order = []
        for first in range(0, steps, self.batch):
            for tile in range(self.tiles):
                order += [(step, tile * self.tile, self.tile) for step in range(first, first + self.batch)]
            order += [(step, self.streamed, self.pinned) for step in range(first, first + self.batch)]
        return order

    def plan(self):
        """The plan; ProgramError when the program is too long."""
        self.builder = ProgramBuilder()
        emit, per_word = self.builder.emit, self.config.beats_per_word
        batches = self.steps // self.batch
        self.builder.entry("run")
        emit("RING", base=self.resident_words)
        emit("BUFFERS", count=self.buffers)
        with self.builder.loop(count_reg=CLEAR_REGISTER, comment="only when the run starts from zero state"):
            self._cell(MODE_ZERO)
        emit("LOAD", beats=self.bias_words * per_word, comment="bias, resident")
        self._first_loads()
        self._set(OPERAND, 0)
        self._bias(fresh=1)
        self._set(FIRST, 1)
        self._set(STEPS_LEFT, self.batch - 1)
        total = self._batch_words() * per_word
        self._set(STREAM, total if batches > 1 else 0)
        with self.builder.loop(count=batches, comment="batches of time steps"):
            self._stream_phase()
            # What comes first in memory order is asked for first: refetched words before the next batch's.
            if not self._refetched():
                self._next_batch(batches, total)
            self._step_phase()
            if self._refetched():
                self._next_batch(batches, total)
            # It stands behind the streamed columns of the next batch's first step.
            ring = self.buffers * self.stride
            self._add(OPERAND, ring - self.streamed, limit=ring)
        emit("HALT")
        return Plan(
            self.config,
            self.network,
            self.name,
            self.builder.build(self.config.program_length),
            self.image,
            self.config.contexts,
            self.steps,
            self.x_order,
        )

    def _batch_words(self):
        """Words that stream once a batch."""
        return self.stream_words + (_words(self.passing) if self.case == 2 else 0)

    def _refetched(self):
        """Words that stream at every step."""
        return _words(self.passing) if self.case == 3 else 0

    def _first_loads(self):
        """Words of the first batch, streamed and resident ones in turn: the latter are needed by its first step."""
        per_word, resident, stream = self.config.beats_per_word, self.bias_words, self.resident_words
        for piece in range(PIECES):
            end = self.resident_words + self._batch_words() * (piece + 1) // PIECES
            self._load(stream, end - stream, "first batch")
            stream = end
            end = self.bias_words + (self.resident_words - self.bias_words) * (piece + 1) // PIECES
            if end > resident:
                self.builder.emit(
                    "LOAD",
                    offset=resident * per_word,
                    beats=(end - resident) * per_word,
                    base=resident,
                    comment="resident",
                )
            resident = end

    def _load(self, first, words, comment):
        per_word = self.config.beats_per_word
        self.builder.emit("LOAD", offset=first * per_word, beats=words * per_word, stream=1, comment=comment)

    def _next_batch(self, batches, total):
        offset = self.resident_words * self.config.beats_per_word
        self.builder.emit("LOAD", offset=offset, beats_reg=STREAM, stream=1, comment="the next batch's words")
        # The register counts batches above the field; it wraps to no beats before the last batch.
        if batches > 1:
            self._add(STREAM, 1 << BEATS_BITS, limit=total + (batches - 1 << BEATS_BITS))

    def _next_step(self):
        """To x and sums of the batch's next step; from the last one, sums go back to the first."""
        self._add(OPERAND, self.stride, limit=self.buffers * self.stride)
        self._add(SUMS, self.blocks, limit=self.batch * self.blocks)

    def _bias(self, fresh=0):
        """Start a step's sums from the bias."""
        for tile, (exponent, columns) in zip(self.bias_tiles, self.layer.bias_columns, strict=True):
            begin = {"hold": 1} if tile.first_column == 0 else {"source": 1, "source_reg": SUMS}
            self.builder.emit(
                "MAC",
                weight=self.address[tile],
                fresh=fresh,
                space=SPACE_CONSTANT,
                operand=exponent,
                columns=columns,
                slots=self.blocks,
                mask=self.mask,
                load=1,
                **begin,
                store=1,
                target=1,
                target_reg=SUMS,
            )

    def _input(self, elements, **fields):
        self.builder.emit(
            "INPUT", target_reg=OPERAND, elements=elements, spread=int(self.config.contexts > 1), **fields
        )

    def _stream_phase(self):
        """Bias and all streamed tiles for the steps of a batch."""
        with self.builder.loop(count=self.batch, comment="sums of the batch start from the bias"):
            self._bias()
            self._add(SUMS, self.blocks, limit=self.batch * self.blocks)
        self._tile(wait=1)
        with self.builder.loop(count=self.tiles - 1, comment="streamed tiles of W_x"):
            self._tile()

    def _tile(self, wait=0):
        """One tile for the steps of a batch; the first needs an x vector to be free for each."""
        with self.builder.repeat(self.batch - 1):
            self._tile_step(wait)
        self._tile_step(wait, release=1)
        # From behind the last step of the batch to its first step, one tile of columns further.
        ring = self.buffers * self.stride
        self._add(OPERAND, (ring - self.batch * self.stride + self.tile) % ring, limit=ring)

    def _tile_step(self, wait, release=0):
        self._input(self.tile, wait=wait)
        self._mac(SPACE_X, self.tile, stream=1, release=release, operand_reg=OPERAND)
        self._next_step()

    def _step_phase(self):
        """Pinned columns of W_x and W_h, step by step."""
        if self.case == 2:
            with self.builder.repeat(self.batch - 1):
                self._step()
            self._step(release=1)
            return
        with self.builder.loop(count_reg=FIRST, comment="first step of all: the resident words are new"):
            self._step(fresh=1, release=1)
        with self.builder.loop(count_reg=STEPS_LEFT, comment="steps of the batch"):
            self._step(release=1)
        self._set(FIRST, 0)
        self._set(STEPS_LEFT, self.batch)

    def _step(self, fresh=0, release=0):
        if self._refetched():
            self._load(self.resident_words + self.stream_words, self._refetched(), "streamed columns of W_h")
        self._input(self.pinned, last=1)
        for tile in self.step_tiles:
            if tile in self.address:
                words = {"weight": self.address[tile], "fresh": fresh}
            else:
                words = {"stream": 1, "release": release, "weight": 0 if release else self.window[tile]}
            if tile.part == "x":
                self._mac(SPACE_X, tile.columns, operand_reg=OPERAND, free=1, comment="pinned columns of W_x", **words)
            else:
                self._mac(
                    SPACE_H,
                    tile.columns,
                    finish=int(tile is self.step_tiles[-1]),
                    operand=tile.first_column,
                    comment=f"h columns {tile.first_column}..{tile.first_column + tile.columns - 1}",
                    **words,
                )
        self._cell(MODE_LSTM, emit=1)
        self._next_step()

    def _mac(self, space, columns, finish=0, **fields):
        """Columns of all row blocks, added to the step's sums."""
        if finish:
            fields |= {"finish": 1}
        else:
            fields |= {"store": 1, "target": 1, "target_reg": SUMS}
        self.builder.emit(
            "MAC",
            columns=columns,
            slots=self.blocks,
            mask=self.mask,
            space=space,
            wait=1,
            take=1,
            load=1,
            source=1,
            source_reg=SUMS,
            **fields,
        )

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


def _words(tiles):
    return sum(tile.words for tile in tiles)
