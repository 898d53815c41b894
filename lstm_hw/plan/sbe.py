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

The last batch of a run may have fewer steps. Stacked layers take a batch in turn: the h of its steps waits in as many
slots of the h memory, and these are the vectors of the layer above. A linear head is a layer without W_h.
"""

from ..errors import ConfigError
from ..machine.config import SERIAL_SLOTS
from ..machine.isa import MODE_LINEAR, MODE_LSTM, MODE_ZERO, SPACE_CONSTANT, SPACE_H, SPACE_X
from ..machine.latency import FINISH_DELAY, H_TOKEN_DELAY, CellLatency
from ..machine.layout import Image, Tile
from ..machine.plan import Plan
from .dense import check_beat
from .registers import program
from .tree import FOREVER, Loops

CASES = (1, 2, 3)
TILE_CYCLES = 64
"""Cycles of a MAC on a streamed tile: long enough for the sequencer to keep up, short so that the first tile is soon
there."""
H_TILES = 16
"""Most MACs in which a step goes through the W_h of all layers."""


def h_tiles(layer, config, most=H_TILES):
    """(first column, columns) of the tiles of W_h, whole row blocks' units each.

    The last is exactly the units of the last row block: nothing else of h may be read while the cell unit, which
    takes row blocks in order, writes the new h over the old.
    """
    units, blocks = config.units_per_block, layer.blocks(config.rows)
    width = units * max(1, -(-(blocks - 1) // (most - 1)))
    last = units * (blocks - 1)
    tiles = [(first, min(width, last - first)) for first in range(0, last, width)]
    return (*tiles, (last, layer.outputs - last))


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


class BatchLayer:
    """Tiles of a layer, where they live, and its part of the memories.

    Parameters
    ----------
    number : int
    shape : LayerShape
    config : EngineConfig
    case, pinned, tile : int
        As for :class:`BatchPlanner`.
    slots : int
        Vectors of h that it keeps for the layer above.
    below : BatchLayer or None
    most : int
        Most tiles of W_h.

    Attributes
    ----------
    streamed : int
        Columns of W_x that stream.
    step_tiles : list of Tile
        What every step multiplies by itself: pinned columns of W_x, and W_h.
    passing : list of Tile
        Those of them that do not stay on chip.
    h, states : int
        First element of h and first address of c.
    """

    def __init__(self, number, shape, config, case, pinned, tile, slots, below, most):
        self.number, self.shape, self.case, self.below, self.slots = number, shape, case, below, slots
        self.blocks, self.lstm, self.tile = shape.blocks(config.rows), shape.kind == "lstm", tile
        self.tiles = (shape.inputs - pinned) // tile
        self.streamed = self.tiles * tile
        self.pinned = shape.inputs - self.streamed
        self.h = below.h + below.slots * below.shape.outputs if below else 0
        self.states = below.states + below.shape.outputs * config.contexts if below else 0
        self.bias, column = [], 0
        for exponent, columns in shape.bias_columns:
            self.bias.append((self._tile("bias", column, columns), exponent))
            column += columns
        self.stream = [self._tile("x", n * tile, tile) for n in range(self.tiles)]
        self.step_tiles = [self._tile("x", self.streamed, self.pinned)]
        if self.lstm:
            self.step_tiles += [self._tile("h", *columns) for columns in h_tiles(shape, config, most)]
        self.bias_words, self.stream_words = self.blocks * column, _words(self.stream)
        self.keep({1: self.step_tiles, 2: [], 3: self.step_tiles[:1]}[case])

    def _tile(self, part, first, columns):
        return Tile(self.number, part, 0, self.blocks, first, columns)

    def keep(self, tiles):
        """Let these tiles stay on chip, besides the bias."""
        self.resident = [*(tile for tile, _ in self.bias), *tiles]
        self.passing = [tile for tile in self.step_tiles if tile not in tiles]
        self.resident_words = _words(self.resident)

    def keep_most(self, room):
        """Let as many tiles of W_h as fit ``room`` words stay on chip, but not all, the others spread between them."""
        hidden = self.step_tiles[1:]
        count = min(len(hidden) - 1, max(0, room // max(tile.words for tile in hidden)))
        kept = [n for n in range(len(hidden)) if (n + 1) * count // len(hidden) == n * count // len(hidden) + 1]
        self.keep([self.step_tiles[0], *(hidden[n] for n in kept)])

    def place(self, first_word, base):
        """Addresses in the image, which has this layer from ``first_word`` on, and in the weight buffer."""
        self.first_word, self.base = first_word, base
        tiles = self.resident, self.passing
        self.address, self.window = (dict(zip(part, Image(tuple(part)).offsets, strict=True)) for part in tiles)
        self.address = {tile: base + word for tile, word in self.address.items()}

    @property
    def image(self):
        """Its tiles in memory order."""
        return [*self.resident, *self.stream, *self.passing]

    @property
    def batch_words(self):
        """Words that stream once a batch."""
        return self.stream_words + (_words(self.passing) if self.case == 2 else 0)

    @property
    def refetched(self):
        """Words that stream at every step."""
        return _words(self.passing) if self.case == 3 else 0

    @property
    def held(self):
        """Words of the ring that must be there at once."""
        return max(
            [
                self.tile * self.blocks * bool(self.tiles),
                *([_words(self.passing)] if self.case == 2 else [tile.words for tile in self.passing]),
            ]
        )

    def h_before(self, step):
        """Where h is that a step of a batch starts from."""
        return self.h + step * self.shape.outputs if self.slots > 1 else self.h

    def h_after(self, step, final):
        """... and where it leaves its own: the last step of a batch where the first one of the next finds it."""
        return self.h if final else self.h_before(step + 1)


class BatchPlanner:
    """Emits the ``load`` and ``run`` entries for LSTM layers whose W_x does not stay on chip.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        K contexts work on K independent sequences.
    batch : int
        B, time steps that share a fetch of W_x.
    pinned : int or sequence of int
        Columns of W_x that live as W_h does, at least 1; of each LSTM layer, or of the first one and of the others as
        far as they have as many.
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

    def __init__(self, network, config, batch, pinned, case=1, tile_columns=None):
        check_beat(config)
        if batch < 1:
            raise ConfigError("batch", batch, "must be at least 1")
        if case not in CASES:
            raise ConfigError("case", repr(case), f"must be one of {CASES}")
        self.network, self.config, self.batch, self.case = network, config, batch, case
        self.mask = (1 << config.contexts) - 1
        self.layers = []
        for number, shape in enumerate(network.layers):
            self.layers.append(self._layer(number, shape, pinned, tile_columns))
        self.head = self.layers[-1] if network.head else None
        self.lstm = [layer for layer in self.layers if layer.lstm]
        self.chained = len(self.lstm) > 1 or network.head_every_step
        first = network.layers[0]
        self.stride = -(-first.inputs // config.x_per_beat) * config.x_per_beat
        self.buffers = min(config.x_elements // self.stride, 2 * batch)
        if case == 3:
            self._keep_most()
        words = base = 0
        for layer in self.layers:
            layer.place(words, base)
            words, base = words + _words(layer.image), base + layer.resident_words
        self.resident_words = base
        self.image = Image(tuple(tile for layer in self.layers for tile in layer.image))
        self._require()

    def _layer(self, number, shape, pinned, tile_columns):
        """Where nothing else is asked for, tiles are of whole beats of x; a head pins what is left over."""
        config, below = self.config, self.layers[-1] if number else None
        per_beat = config.x_per_beat if config.contexts == 1 and not number else 1
        tile = tile_columns or -(-TILE_CYCLES // shape.blocks(config.rows))
        tile = tile if tile_columns else -(-tile // per_beat) * per_beat
        if tile % per_beat:
            raise ConfigError("tile_columns", tile, f"must be whole beats of x_per_beat = {per_beat} elements")
        if shape.kind == "linear":
            wanted = 1
        elif not isinstance(pinned, int) and len(pinned) != len(self.network.lstm):
            raise ConfigError("pinned", list(pinned), f"must be one number or {len(self.network.lstm)}, one a layer")
        elif isinstance(pinned, int):
            wanted = min(pinned, shape.inputs) if number else pinned
        else:
            wanted = pinned[number]
        if wanted < 1 or wanted > shape.inputs - tile and not number:
            rule = f"must leave at least a tile of {tile} columns and one pinned column of {shape.inputs}"
            raise ConfigError("pinned", wanted, rule)
        every_step = number < len(self.network.lstm) - 1 or self.network.head_every_step
        slots = self.batch if shape.kind == "lstm" and every_step else 1
        most = max(2, H_TILES // len(self.network.lstm))
        return BatchLayer(number, shape, config, self.case, wanted, tile, slots, below, most)

    def _keep_most(self):
        room = self.config.weight_words - sum(layer.resident_words for layer in self.layers) - self.ring_words()
        for layer in self.lstm:
            before = layer.resident_words
            layer.keep_most(room)
            room -= layer.resident_words - before

    def _require(self):
        """ConfigError unless each field of the engine is at least what is needed."""
        top, blocks = self.lstm[-1], max(layer.blocks for layer in self.layers)
        self.scratch = top.states + top.shape.outputs * self.config.contexts
        longest = max(layer.shape.outputs for layer in self.lstm) if self.chained else 0
        self.needs = {
            "weight_words": self.resident_words + self.ring_words(),
            "accumulators": 1 + self.batch * blocks,
            "h_elements": top.h + top.slots * top.shape.outputs,
            "states": self.scratch + longest,
            "x_elements": self.batch * self.stride,
            "finish_entries": blocks,
        }
        for field, need in self.needs.items():
            found = getattr(self.config, field)
            if found < need:
                raise ConfigError(f"engine.{field}", found, f"must be at least {need} for this schedule")

    @property
    def pinned(self):
        """Pinned columns of each LSTM layer, of a single one as a number."""
        columns = tuple(layer.pinned for layer in self.lstm)
        return columns[0] if len(columns) == 1 else columns

    def ring_words(self):
        """Least words of the ring: what must be held at once, and a burst that has to find room behind it."""
        tiles = max(layer.tile * layer.blocks * bool(layer.tiles) for layer in self.layers)
        burst = -(-self.config.max_burst // self.config.beats_per_word)
        return max(2 * tiles, max(layer.held for layer in self.layers) + burst)

    def words_read(self, steps):
        """Weight words that a run reads from memory."""
        batches, every = -(-steps // self.batch), [*self.lstm, *([self.head] if self.network.head_every_step else [])]
        once = self.head.batch_words + self.head.refetched if self.head and self.head not in every else 0
        return once + sum(batches * layer.batch_words + steps * layer.refetched for layer in every)

    def x_order(self, steps):
        """(step, first column, columns) of every INPUT of a run, in order."""
        order, below = [], self.layers[0]
        for first in range(0, steps, self.batch):
            batch = range(first, min(first + self.batch, steps))
            for tile in range(below.tiles):
                order += [(step, tile * below.tile, below.tile) for step in batch]
            order += [(step, below.streamed, below.pinned) for step in batch]
        return tuple(order)

    def plan(self):
        """The plan; ProgramError when the program is too long."""
        self.b = b = Loops()
        per_word, every_step = self.config.beats_per_word, self.network.head_every_step
        b.entry("load")
        for layer in self.layers:
            b.emit("LOAD", offset=layer.first_word * per_word, beats=layer.resident_words * per_word, base=layer.base)
        b.emit("HALT")
        b.entry("run")
        b.emit("RING", base=self.resident_words)
        b.emit("BUFFERS", count=self.buffers)
        for _ in b.cleared():
            for layer in self.lstm:
                self._cell(layer, MODE_ZERO, target=layer.h, signal=1)
                if layer is not self.lstm[-1] or every_step:
                    b.await_tokens(SPACE_H, layer.shape.outputs)
        for _ in b.when(b.left):
            self._load_batch(self.layers[0])
        for _ in b.unless(b.left):
            b.emit("HALT")
        more, idle = 0, 0
        if self.batch > 1:
            more = b.variable(-1)  # steps of the batch but one
            idle = b.variable(self.batch)  # steps that it could have besides
        self._count(more, idle)
        for batch in b.each(FOREVER):
            self.more, self.idle = more, idle
            self._batch(batch)
            for _ in b.unless(b.left):
                if self.head and not every_step:
                    self._last_output()
                b.emit("HALT")
            if self.batch > 1:
                b.assign(more, -1)
                b.assign(idle, self.batch)
            self._count(more, idle)  # while the lanes have the batch's last columns to do
        return Plan(
            self.config,
            self.network,
            self.name,
            program(b, self.config.program_length),
            self.image,
            self.config.contexts,
            batch=self.batch,
            x_order=self.x_order,
            needs=self.needs,
        )

    def _batch(self, batch):
        """A batch of time steps, layer after layer."""
        b, layers = self.b, self.layers if self.network.head_every_step else self.lstm
        for layer in layers:
            if self.chained and layer.lstm:
                self._tokens(layer)
            for step, _ in self._steps():
                self._bias(layer, step)
            self._stream_phase(layer, batch)
            if layer.below is None and self.chained and not self.network.head_every_step:
                b.await_tokens(SPACE_H, self.lstm[-1].shape.outputs)
            # What comes first in memory order is asked for first: refetched words before what follows.
            if not layer.refetched:
                self._load_behind(layer, layers)
            self._step_phase(layer, batch)
            if layer.refetched:
                self._load_behind(layer, layers)

    def _steps(self):
        """``for step, final in ...``: the steps of the batch."""
        return self.b.peeled(self.more + 1, idle=self.idle, of=self.batch)

    def _count(self, more, idle):
        """Take the steps of a batch, of which there is one at least, from those that are left."""
        b = self.b
        if self.batch == 1:
            b.advance(b.left, -1)
            return
        for _ in b.each(self.batch):
            for _ in b.when(b.left):
                b.advance(b.left, -1)
                b.advance(more, 1)
                b.advance(idle, -1)

    def _tokens(self, layer):
        """Tokens of h for its first step: those of the step before have been taken, by the layer above for example."""
        self.b.emit("CELL", units=layer.shape.outputs, mask=1, mode=MODE_ZERO, state=self.scratch, signal=1)

    def _tiles(self, layer):
        """``for tile, part in ...``: the first tile of x, or the last of the h below, is a part of its own."""
        one, others = min(1, layer.tiles), max(0, layer.tiles - 1)
        return self.b.parts(one, others) if layer.below is None else self.b.parts(others, one)

    def _stream_phase(self, layer, batch, take=1):
        """All streamed tiles of W_x for the steps of a batch."""
        b, below = self.b, layer.below
        if below and take and not layer.tiles:
            b.await_tokens(SPACE_H, below.shape.outputs)
        for tile, part in self._tiles(layer):
            for step, final in self._steps():
                x, columns = self._x(layer, batch, step, final) + tile * layer.tile, layer.tile
                if below is None:
                    self._input(x, columns, wait=int(part == 0))  # the first tile needs an x vector to be free
                    tokens = {"wait": 1, "take": 1}
                else:
                    # The last tile's waits for the pinned columns too. Other steps' h has been waited for.
                    tokens = {"wait": 1, "take": 1, "offset": layer.pinned * (part == 1)} if final and take else {}
                self._mac(layer, step, x, columns, part="x", stream=1, release=int(final), **tokens)

    def _step_phase(self, layer, batch):
        """Pinned columns of W_x and W_h, step by step."""
        below = layer.below
        for step, final in self._steps():
            if layer.refetched:
                first = layer.first_word + layer.resident_words + layer.stream_words
                self._load(first, layer.refetched, "streamed columns of W_h")
            x = self._x(layer, batch, step, final) + layer.streamed
            if below is None:
                self._input(x, layer.pinned, wait=int(not layer.tiles), last=1)
            for tile in layer.step_tiles:
                if tile in layer.address:
                    words = {"weight": layer.address[tile]}
                elif layer.case == 2 and not final:
                    words = {"stream": 1, "weight": layer.window[tile]}
                else:
                    words = {"stream": 1, "release": 1}
                words["finish"] = int(tile is layer.step_tiles[-1])
                if tile.part == "h":
                    operand = layer.h_before(step) + tile.first_column
                    self._mac(layer, step, operand, tile.columns, wait=1, take=1, **words)
                elif below is None:
                    self._mac(layer, step, x, tile.columns, part="x", wait=1, take=1, free=1, **words)
                else:
                    self._mac(layer, step, x, tile.columns, part="x", **words)
            if layer.lstm:
                emit = int(layer is self.layers[-1])
                self._cell(layer, MODE_LSTM, target=layer.h_after(step, final), signal=1, emit=emit, last=emit)
            else:
                self._output(layer)

    def _x(self, layer, batch, step, final):
        """Where x of a step of a batch begins: vectors from the stream take turns in the x memory."""
        if layer.below is None:
            return (batch * self.batch + step) % self.buffers * self.stride
        return layer.below.h_after(step, final)

    def _last_output(self):
        """The head on the h of the last step, whose tokens stay for the next run."""
        self.more, self.idle = 0, 0
        self.b.emit("MAC", space=SPACE_H, columns=1, slots=1, wait=1, offset=self.head.shape.inputs - 1)
        self._bias(self.head, 0)
        self._stream_phase(self.head, 0, take=0)
        self._step_phase(self.head, 0)

    def _sums(self, layer, step):
        """First accumulator entry of a step of a batch."""
        return 1 + step * layer.blocks

    def _load(self, first, words, comment):
        per_word = self.config.beats_per_word
        self.b.emit("LOAD", offset=first * per_word, beats=words * per_word, stream=1, comment=comment)

    def _load_batch(self, layer):
        if layer.batch_words:
            self._load(layer.first_word + layer.resident_words, layer.batch_words, f"layer {layer.number}, for a batch")

    def _load_behind(self, layer, layers):
        """The words that follow those of this layer and batch."""
        if layer is not layers[-1]:
            self._load_batch(layers[layers.index(layer) + 1])
            return
        for _ in self.b.when(self.b.left):
            self._load_batch(layers[0])
        if self.head and not self.network.head_every_step:
            for _ in self.b.unless(self.b.left):
                self._load_batch(self.head)

    def _bias(self, layer, step):
        """Start a step's sums from the bias."""
        sums, source = self._sums(layer, step), {"hold": 1}
        for tile, exponent in layer.bias:
            self.b.emit(
                "MAC",
                weight=layer.address[tile],
                space=SPACE_CONSTANT,
                operand=exponent,
                columns=tile.columns,
                slots=layer.blocks,
                mask=self.mask,
                load=1,
                store=1,
                target=sums,
                **source,
            )
            source = {"source": sums}

    def _input(self, target, elements, **fields):
        self.b.emit("INPUT", target=target, elements=elements, spread=int(self.config.contexts > 1), **fields)

    def _mac(self, layer, step, operand, columns, part="h", finish=0, **fields):
        """Columns of all row blocks, added to the step's sums."""
        sums = self._sums(layer, step)
        end = {"finish": 1} if finish else {"store": 1, "target": sums}
        space = SPACE_X if part == "x" and layer.below is None else SPACE_H
        self.b.emit(
            "MAC",
            columns=columns,
            slots=layer.blocks,
            mask=self.mask,
            space=space,
            operand=operand,
            load=1,
            source=sums,
            **end,
            **fields,
        )

    def _cell(self, layer, mode, **fields):
        units = layer.shape.outputs
        self.b.emit(
            "CELL",
            units=units,
            mask=self.mask,
            mode=mode,
            scale=layer.number,
            state=layer.states,
            state_stride=units,
            write=1,
            **fields,
        )

    def _output(self, layer):
        self.b.emit(
            "CELL", units=layer.shape.outputs, mask=self.mask, mode=MODE_LINEAR, scale=layer.number, emit=1, last=1
        )


def _words(tiles):
    return sum(tile.words for tile in tiles)
