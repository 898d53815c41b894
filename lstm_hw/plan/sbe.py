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
slots of the h memory, and these are the vectors of the layer above.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import SPACE_H, VECTORS_BITS
from ..machine.layout import Tile
from ..machine.limits import GATES
from ..machine.network import LayerShape, Network
from .layer import Frame, ResidentBias, check_beat, ring_words, words_of
from .stack import StackPlanner
from .sums import Sum, Value, as_sum

CASES = (1, 2, 3)
TILE_CYCLES = 64
"""Cycles of a MAC on a streamed tile: long enough for the sequencer to keep up, short so that the first tile is soon
there."""
H_TILES = 16
"""Most MACs in which a step goes through the W_h of all layers."""


def h_tiles(layer: LayerShape, config: EngineConfig, most: int = H_TILES) -> tuple[tuple[int, int], ...]:
    """(first column, columns) of the tiles of W_h, whole row blocks' units each.

    The last is exactly the units of the last row block: nothing else of h may be read while the cell unit, which
    takes row blocks in order, writes the new h over the old.
    """
    if not layer.h_columns:
        return ()
    units, blocks = layer.units(config.rows), layer.blocks(config.rows)
    width = units * max(1, -(-(blocks - 1) // (most - 1)))
    last = units * (blocks - 1)
    tiles = [(first, min(width, last - first)) for first in range(0, last, width)]
    return (*tiles, (last, layer.outputs - last))


def tile_of(blocks: int, per_beat: int) -> int:
    """Columns of a tile of W_x of so many row blocks: whole beats of x."""
    return -(-TILE_CYCLES // (blocks * per_beat)) * per_beat


class BatchLayer(ResidentBias):
    """A layer whose W_x serves a batch of steps tile by tile, and whose W_h lives as the planner's case says.

    Attributes
    ----------
    x_tiles : list of Tile
        Those of W_x that stream.
    pinned_tiles, step_tiles : list of Tile
        What every step multiplies by itself: ``pinned`` columns of W_x, and behind them W_h.
    passing : list of Tile
        Those of them that do not stay on chip.
    x_words : int
        Of ``x_tiles``.
    """

    whole = True

    @property
    def slots(self) -> int:
        """Vectors of h that wait for the layer above: 1 or the batch."""
        return self.batch if self.planner.reads_all(self.number) else 1

    def __init__(self, planner: BatchPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.case, self.tail = planner.case, (shape.outputs,)
        self.x_tiles, self.pinned_tiles, hidden = self.cut(planner.asked[number])
        self.x_words, self._x_tile = words_of(self.x_tiles), max((tile.words for tile in self.x_tiles), default=0)
        self.pinned = sum(tile.columns for tile in self.pinned_tiles)
        self.step_tiles = [*self.pinned_tiles, *hidden]
        most = max(self.batch, min(2 * self.batch, (1 << VECTORS_BITS) - 1))
        self.buffers = min(self.config.x_elements // self.x_stride, most)
        states = shape.outputs * self.config.contexts * shape.is_cell
        self.own = {"h_elements": self.slots * shape.outputs, "states": states}
        self.keep({1: self.step_tiles, 2: [], 3: self.pinned_tiles}[self.case])

    @property
    def x_per_beat(self) -> int:
        """Of whose columns tiles of x are a multiple."""
        return self.config.x_per_beat if self.config.contexts == 1 and not self.number else 1

    def cut(self, pinned: int) -> tuple[list[Tile], list[Tile], list[Tile]]:
        """Tiles of W_x that stream, the others of so many columns at least, and those of W_h."""
        shape, number, config, planner = self.layer, self.number, self.config, self.planner
        per_beat = self.x_per_beat
        self.tile = tile = planner.tile_columns or tile_of(self.blocks, per_beat)
        if tile % per_beat:
            raise ConfigError("tile_columns", tile, f"must be whole beats of x_per_beat = {per_beat} elements")
        if shape.inputs <= tile and not number:
            more = shape.inputs > tile_of(shape.blocks(GATES), per_beat)
            rule = f"must be more than the {tile} of a tile on {config.rows} rows"
            rule += "; fewer rows have smaller tiles" if more else ", and there are too few for any number of rows"
            inputs = f"{shape.inputs} inputs" + ", those of both directions," * (shape.directions > 1)
            raise ConfigError("model", f"{inputs} for the schedule {planner.name}", rule)
        if pinned < 1 or pinned > shape.inputs - tile and not number:
            rule = f"must leave at least a tile of {tile} columns and one pinned column of {shape.inputs}"
            raise ConfigError("pinned", pinned, rule)
        streamed = (shape.inputs - pinned) // tile * tile
        kept = Tile(number, "x", 0, self.blocks, streamed, shape.inputs - streamed)
        most = max(2, H_TILES // len(planner.network.recurrent))
        hidden = [Tile(number, "h", 0, self.blocks, *columns) for columns in h_tiles(shape, config, most)]
        return self.column_tiles("x", streamed, tile), [kept], hidden

    def keep(self, tiles: Sequence[Tile]) -> None:
        """Let these tiles stay on chip, besides the bias."""
        self.resident = (*self.bias_tiles(), *tiles, *self.start_tiles())
        self.passing = [tile for tile in self.step_tiles if tile not in tiles]
        self.streamed = (*self.x_tiles, *self.passing)
        again = words_of(self.passing)
        held = again if self.case == 2 else max([0, *(tile.words for tile in self.passing)])
        self.ring = max(2 * self._x_tile, ring_words(max(self._x_tile, held), self.config))
        self.batch_tiles = [*self.x_tiles, *(self.passing if self.case == 2 else ())]  # that stream once a batch
        self.refetched = again if self.case == 3 else 0  # words that stream at every step

    def keep_most(self, room: int) -> None:
        """Let as many tiles of W_h as fit ``room`` words stay on chip, but not all, the others spread between them."""
        hidden = self.step_tiles[len(self.pinned_tiles) :]
        if not hidden:
            return
        count = min(len(hidden) - 1, max(0, room // max(tile.words for tile in hidden)))
        kept = [n for n in range(len(hidden)) if (n + 1) * count // len(hidden) == n * count // len(hidden) + 1]
        self.keep([*self.pinned_tiles, *(hidden[n] for n in kept)])

    def fit(self, room: int) -> None:
        self.shared = {
            "ring": self.ring,
            "finish_entries": self.blocks,
            "accumulators": self.batch * self.blocks,
            "states": 0 if self.before is self and self.layer.is_cell and not self.layer.start else self.layer.outputs,
            "x_elements": self.batch * self.x_stride,
        }

    def words_read(self, steps: int) -> int:
        """Weight words that a run reads from memory."""
        return -(-steps // self.batch) * words_of(self.batch_tiles) + steps * self.refetched

    def x_order(self, steps: int) -> list[tuple[int, int, int]]:
        """Tile by tile, for all steps of a batch."""
        pieces = [(tile.first_column, tile.columns) for tile in self.x_tiles]
        if self.pinned:
            pieces.append((self.pinned_tiles[0].first_column, self.pinned))
        batches = [range(first, min(first + self.batch, steps)) for first in range(0, steps, self.batch)]
        return [(step, *piece) for batch in batches for piece in pieces for step in batch]

    # Where things are

    def x_of(self, frame: Frame, step: Sum, later: int) -> Sum:
        """First element of x of a step: vectors from the stream take turns."""
        if self.below:
            return as_sum(self.below.h_after(step, later))
        return self.x_at(frame.first + step)

    def h_from(self, step: Sum) -> Sum:
        """First element of h that a step of a batch starts from."""
        return self.h + step * (self.layer.outputs if self.slots > 1 else 0)

    def h_after(self, step: Sum, later: int) -> Value:
        """... and of its own: that of the last one is where the first one of the next batch finds it."""
        return self.h_from(step + 1) if later else self.h

    def newest_h(self, step: Sum, later: int, number: Sum) -> Iterator[tuple[int, Value]]:
        yield self.mask, self.h_after(step, later)

    # Instructions

    def zero(self) -> int:
        if self.layer.start:
            self.b.assign(self.starts, 1)
        return self.zero_cells(self.mask, state_stride=self.layer.outputs)

    def ahead(self, first: Sum) -> None:
        self.load(self.batch_tiles, f"layer {self.number}, for a batch")

    def frame(self, frame: Frame) -> None:
        alone = self.before is self
        if not alone:
            self.make_tokens(self.layer.outputs)  # the layer above, for example, took those of the step before
        for step, _ in frame.steps():
            self.start_sums(self.mask, step * self.blocks, finish=False)
        if self.layer.start:
            for _ in self.b.when(self.starts):
                digits = self.constants(self.first_digits, slots=self.blocks)
                self.one_sum(self.mask, digits, {"source": self.sums}, entry=self.sums)
            self.b.assign(self.starts, 0)
        self._batch_products(frame)
        if not alone:
            self.await_h()
        # What comes first in memory order is asked for first: refetched words before what follows.
        if not self.refetched:
            frame.following()
        for step, later in frame.steps():
            self._step(frame, step, later)

    def _batch_products(self, frame):
        """All streamed tiles of W_x for the steps of a batch."""
        b, below, tiles = self.b, self.below, len(self.x_tiles)
        if below and not tiles:
            below.settle(self)
        one, others = min(1, tiles), max(0, tiles - 1)
        # The first tile of x, or the last of the h below, is a part of its own.
        for tile, part in b.parts(others, one) if below else b.parts(one, others):
            for step, later in frame.steps():
                x = self.x_of(frame, step, later) + tile * self.tile
                tokens = {"wait": 1, "take": 1}
                if not below:
                    self._input(x, self.tile, wait=int(part == 0))  # the first tile needs an x vector to be free
                elif later:
                    tokens = {}  # other steps' h has been waited for
                elif part == 1:
                    tokens["offset"] = self.pinned  # pinned columns too
                self._products(step, "x", x, self.tile, stream=1, release=int(not later), **tokens)

    def _refetch(self, frame, later):
        """LOADs of a step, and behind those of the last one what follows."""
        if self.refetched:
            self.load(self.passing, "streamed columns of W_h")
            if not later:
                frame.following()

    def _step(self, frame, step, later):
        """Pinned columns of W_x, and W_h."""
        self._refetch(frame, later)
        x = self.x_of(frame, step, later) + self.step_tiles[0].first_column
        x_tokens = {}
        if not self.below:
            self._input(x, self.pinned, wait=int(not self.x_tiles), last=1)
            x_tokens = {"wait": 1, "take": 1, "free": int(self.frees_x)}
        for tile in self.step_tiles:
            fields = {"wait": 1, "take": 1} if tile.part == "h" else x_tokens
            operand = self.h_from(step) + tile.first_column if tile.part == "h" else x
            end = {"finish": 1} if tile is self.step_tiles[-1] else {}
            self._products(step, tile.part, operand, tile.columns, **end, **self._words(tile, later), **fields)
        if not self.layer.h_columns:
            self.b.await_tokens(SPACE_H, self.layer.outputs)  # of the step before, which no tile has taken
        self.all_cells(self.h_after(step, later))

    def _words(self, tile, later):
        """Where a step finds the words of a tile."""
        if tile in self.resident:
            return {"weight": self.address[tile]}
        if self.case == 2 and later:
            return {"stream": 1, "weight": words_of(self.passing[: self.passing.index(tile)])}
        return {"stream": 1, "release": 1}

    def _products(self, step, part, operand, columns, **fields):
        """Columns of all row blocks, added to the step's sums."""
        fields |= {"part": part, "operand": operand, "columns": columns}
        self.add(self.mask, self.sums + step * self.blocks, slots=self.blocks, **fields)

    def _input(self, target, elements, **fields):
        self.b.emit("INPUT", target=target, elements=elements, spread=int(self.config.contexts > 1), **fields)


class BatchPlanner(StackPlanner):
    """Any stack whose W_x does not stay on chip; K contexts work on K independent sequences.

    Parameters
    ----------
    network : Network
    config : EngineConfig
    batch : int
        B, time steps that share a fetch of W_x.
    pinned : int or sequence of int
        Columns of W_x that live as W_h does, at least 1; of each LSTM layer, or of the first one and of the others as
        far as they have as many.
    case : {1, 2, 3}
        How W_h lives, see above. In case 3 as many of its tiles stay on chip as fit, but never all.
    tile_columns : int, optional
        Streamed columns of W_x in a tile; of whole beats of x where nothing is asked for.
    """

    name = "sbe"
    # No projection: a step's would come before the next step.
    takes = "an initial state", "peepholes", "plain layers", "a skip"
    layer = BatchLayer

    def __init__(
        self,
        network: Network,
        config: EngineConfig,
        batch: int,
        pinned: int | Sequence[int],
        case: int = 1,
        tile_columns: int | None = None,
    ) -> None:
        check_beat(config)
        if case not in CASES:
            raise ConfigError("case", repr(case), f"must be one of {CASES}")
        if isinstance(pinned, int):
            pinned = [pinned, *(min(pinned, shape.inputs) for shape in network.recurrent[1:])]
        elif len(pinned) != len(network.recurrent):
            rule = f"must be one number or {len(network.recurrent)}, one a layer"
            raise ConfigError("pinned", list(pinned), rule)
        self.case, self.asked, self.tile_columns = case, pinned, tile_columns
        super().__init__(network, config, batch)

    @property
    def pinned(self) -> int | tuple[int, ...]:
        """Pinned columns of each LSTM layer, of a single one as a number."""
        columns = tuple(layer.pinned for layer in self.layers)
        return columns[0] if len(columns) == 1 else columns

    def words_read(self, steps: int) -> int:
        """Weight words that a run reads from memory."""
        head = sum(words_of(layer.streamed) for layer in self.heads)
        times = -(-steps // self.batch) if self.network.head_every_step else 1
        return head * times + sum(layer.words_read(steps) for layer in self.layers)

    def _divide(self):
        if self.case == 3:
            for layer in self.layers:
                layer.keep(layer.pinned_tiles)
            ring = max(layer.ring for layer in self.layers)
            room = self.config.weight_words - ring - sum(words_of(layer.resident) for layer in self.all)
            for layer in self.layers:
                before = words_of(layer.resident)
                layer.keep_most(room)
                room -= words_of(layer.resident) - before
        super()._divide()

    def _batches(self):
        """x is taken piece by piece in a frame, so the steps of the next one are counted behind it."""
        b = self.b
        self._first_frame()
        for number in b.forever():
            # Steps of the batch but one, and those that it lacks.
            self.more, self.idle = b.variable(self.batch - 1), b.variable(0)
            b.advance(b.left, -1)
            for _ in b.each(self.batch - 1):  # while the lanes have the last columns of the batch before to do
                for _ in b.unless(b.left):
                    b.advance(self.more, -1)
                    b.advance(self.idle, 1)
                for _ in b.when(b.left):
                    b.advance(b.left, -1)
            self._round(number, as_sum(self.batch))
            for _ in b.unless(b.left):
                self._end()

    def _steps_of(self, layer, count):
        if self.batch == 1:
            yield as_sum(0), 0
            return
        for step, last in self.b.peeled(self.more + 1, idle=self.idle, of=self.batch):
            yield step, int(not last)
