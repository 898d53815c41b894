"""Cell fusion with compressed weights: all weights of a layer stream in the form that the engine's decoder expands.

As in :mod:`lstm_hw.plan.fusion`, a word of W_x serves the x products of a batch of time steps while W_h serves the
steps before them. A segment of the image is a few columns of all row blocks. Step g of a batch goes through the
segments of W_h, between which come those of W_x that are its part of the next batch's; what is left of W_x is
multiplied when the next batch's sums are started. Sums of all row blocks wait in accumulators; the last column of the
bias finishes them.

Segments of a matrix have the beats of the longest one, so that a program finds them without a table.
"""

from __future__ import annotations

import numpy as np

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.isa import ENTRY_BITS, SPACE_CONSTANT
from ..machine.layout import Image
from ..machine.network import LayerShape, Network
from ..machine.pack import interleave
from .fusion import FusionLayer, FusionPlanner
from .layer import Frame
from .stack import HeadLayer, StackPlanner
from .sums import Sum, as_sum

SEGMENT_WORDS = 128
"""Words of a segment at least, where columns divide so: the sequencer keeps up, and padding costs little."""
LEAST_BATCH = 2
"""Of one step, W_x would serve nobody else."""
MOST_SLOTS = (1 << ENTRY_BITS) - 1


def segment_columns(columns: int, blocks: int) -> int:
    """Columns of a segment: the least divisor of all columns that makes it long enough."""
    return next(n for n in range(1, columns + 1) if columns % n == 0 and (n * blocks >= SEGMENT_WORDS or n == columns))


class CompressedLayer(FusionLayer):
    """The layer. ``columns`` and ``lengths``, in beats, are those of a segment of W_x and W_h, ``counts`` how many."""

    whole = True

    def __init__(self, shape: LayerShape, number: int, config: EngineConfig, batch: int) -> None:
        super().__init__(shape, number, config, batch, kept=False, alone=True)
        blocks, length = self.blocks, shape.outputs
        self.columns = {"x": segment_columns(shape.inputs, blocks), "h": segment_columns(length, blocks)}
        self.counts = {"x": shape.inputs // self.columns["x"], "h": length // self.columns["h"]}
        self.chunk, self.rest = divmod(self.counts["x"], batch)  # segments of W_x of a step, and what is left
        self.streamed = tuple(
            tile
            for part, columns in (("x", shape.inputs), ("h", length))
            for tile in self.column_tiles(part, columns, self.columns[part])
        )
        self.lengths = {part: self._length(part) for part in "xh"}
        self.spans = [(n, min(MOST_SLOTS, blocks - n)) for n in range(0, blocks, MOST_SLOTS)]
        words = blocks * max(self.columns.values())
        self.shared |= {"finish_entries": blocks, "ring": 2 * words}

    def _length(self, part):
        """Beats of the longest segment; of a layer that does not say which weights are zero, none is."""
        shape, form = self.layer, self.config.bitmap
        used = shape.used["xh".index(part)] if shape.used else np.ones((shape.matrix_rows, self.columns[part]), bool)
        blocks = interleave(used, self.config.rows)  # blocks, rows, columns
        words = blocks.reshape(*blocks.shape[:2], -1, self.columns[part]).transpose(2, 0, 3, 1)
        return int(form.beats(words.reshape(len(words), -1, self.config.rows)).max())

    @property
    def stored(self) -> tuple[int, ...]:
        """Beats of each streamed tile."""
        return tuple(self.lengths[tile.part] for tile in self.streamed)

    def first_batch(self) -> None:
        b = self.b
        self.count, self.coming, self.later = b.variable(0), b.variable(0), b.variable(0)
        self.start(as_sum(0), self.count, take=True)
        for at in b.each(self.batch):
            self._x_segments(as_sum(0), at)
            self._take_some(as_sum(1), at, self.coming)
        self.free_x(steps=self.count)

    def frame(self, frame: Frame) -> None:
        b, number = self.b, frame.number
        for _ in b.when(self.coming):
            self.start(number + 1, self.coming)
            b.assign(self.later, 0)
            for at in b.each(self.batch):
                self._step_of(number, at, ahead=True)
                self._take_some(number + 2, at, self.later)
        for _ in b.unless(self.coming):
            for at in b.each(self.batch):
                for _ in b.when(self.count):
                    b.advance(self.count, -1)
                    self._step_of(number, at)

    def start(self, batch: Sum, count: Sum, take: bool = False) -> None:
        b = self.b
        for at in b.each(self.batch):
            self.start_sums(self.everyone, self.sums_of(batch, at) - self.sums)
        if take:
            self.take(batch, count)
        self.await_x(steps=count)
        for segment in b.each(self.rest):
            self._x_segment(batch, segment)

    # Segments

    def _load_segment(self, part, segment):
        beats, words = self.lengths[part], self.blocks * self.columns[part]
        first = self.image * self.config.beats_per_word + (self.counts["x"] * self.lengths["x"] if part == "h" else 0)
        self.b.emit("LOAD", offset=segment * beats + first, beats=beats, words=words, stream=1)

    def _products(self, part, sums, operand, release, **first_fields):
        """A segment times its columns of a vector, all row blocks; fields of the first MAC."""
        columns = self.columns[part]
        for first, slots in self.spans:
            last = first == self.spans[-1][0]
            words = {"weight": first * columns, "release": int(release and last)}
            self.add(
                self.everyone,
                sums + first,
                part=part,
                operand=operand,
                columns=columns,
                slots=slots,
                stream=1,
                **words,
                **({} if first else first_fields),
            )

    def _x_segment(self, batch, segment):
        """A segment of W_x, for all steps of a batch."""
        self._load_segment("x", segment)
        for at, last in self.b.peeled(self.batch):
            x = self.x_of(batch, at) + segment * self.columns["x"]
            self._products("x", self.sums_of(batch, at), x, release=last)

    def _x_segments(self, batch, at):
        """Those that are a step's part, in front of nothing else."""
        for number in self.b.each(self.chunk):
            self._x_segment(batch, at * self.chunk + number + self.rest)

    def _h_segment(self, sums, segment):
        self._load_segment("h", segment)
        self._products("h", sums, segment * self.columns["h"] + self.h, release=1, wait=1, take=1)

    def _step_of(self, batch, at, ahead=False):
        """A step; with ``ahead`` its part of W_x's products for the next batch, spread between those of W_h."""
        b, sums, done = self.b, self.sums_of(batch, at), 0
        if ahead and self.chunk:
            each = self.counts["h"] // self.chunk
            for number in b.each(self.chunk):
                self._x_segment(batch + 1, at * self.chunk + number + self.rest)
                for segment in b.each(each):
                    self._h_segment(sums, number * each + segment)
            done = each * self.chunk
        for segment in b.each(done, self.counts["h"]):
            self._h_segment(sums, segment)
        self._finish(sums)
        self.cells(self.layer.outputs, self.everyone, state=self.c, target=self.h)

    def _finish(self, sums):
        """The last column of the bias, added to the sums of all row blocks."""
        exponent, columns = self.layer.bias_columns[-1]
        weight = self.weights + self.blocks * self.bias_tiles()[-1].first_column
        for first, slots in self.spans:
            fields = {"columns": columns, "slots": slots, "weight": weight + first * columns}
            self.mac(self.everyone, space=SPACE_CONSTANT, operand=exponent, source=sums + first, finish=1, **fields)


class CompressedPlanner(FusionPlanner):
    """One layer, one sequence, on an engine with a decoder; a head behind the last step stays on chip.

    Outputs leave in whole vectors.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        One context.
    batch : int
        G, time steps that share a fetch of W_x, at least 2.
    """

    name = "compressed"
    decodes = True

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if config.decoder == "off":
            raise ConfigError("engine.decoder", "'off'", "must be bitmap for the schedule compressed")
        if config.contexts != 1:
            raise ConfigError("engine.contexts", config.contexts, "must be 1 for the schedule compressed")
        if len(network.lstm) > 1 or network.head_every_step:
            found = "a head at every step" if network.head_every_step else f"{len(network.lstm)} layers"
            raise ConfigError("network", found, "must be one layer, with a head behind the last step at most")
        if batch < LEAST_BATCH:
            raise ConfigError("batch", batch, f"must be at least {LEAST_BATCH}")

        def layer(shape, number):
            return CompressedLayer(shape, number, config, batch)

        StackPlanner.__init__(self, network, config, layer, batch)

    def _place(self):
        self._divide()

    def _head(self, shape, number):
        return HeadLayer(shape, number, self.config, self.batch)

    def _image(self):
        """The segments have a form of their own."""
        (layer,) = self.layers
        return Image((*self._kept(), *layer.streamed), layer.stored)
