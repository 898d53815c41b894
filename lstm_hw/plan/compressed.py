"""Cell fusion with compressed weights: all weights of a layer stream in the form that the engine's decoder expands.

As in :mod:`lstm_hw.plan.fusion`, a word of W_x serves the x products of a batch of time steps while W_h serves the
steps before them. A segment of the image is a few columns of all row blocks. Step g of a batch goes through the
segments of W_h, between which come those of W_x that are its part of the next batch's; what is left of W_x is
multiplied when the next batch's sums are started. Sums of all row blocks wait in accumulators; the last column of the
bias finishes them.

Segments of a matrix have the beats of the longest one, so that a program finds them without a table.

Where a model leaves out groups of h that are nearly zero, a segment of W_h is that of a group: it is asked for and
multiplied if its group is kept, once that is known.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..errors import ConfigError
from ..machine.config import H_GROUP, EngineConfig
from ..machine.esell import BLOCK_COLUMNS
from ..machine.isa import SPACE_H
from ..machine.layout import Image
from ..machine.network import LayerShape, Network
from ..machine.pack import interleave
from .fusion import FusionLayer, FusionPlanner
from .head import HeadLayer
from .layer import Frame, spans_of
from .stack import StackPlanner
from .sums import Sum, as_sum

SEGMENT_WORDS = 128
"""Words of a segment at least, where columns divide so: the sequencer keeps up, and padding costs little."""
AHEAD = 5
"""Segments of W_h that are asked for before their products, where the ring has room for so many: the port works while
x products take the lanes."""
EARLY_LOADS = 10
"""LOADs of segments that are asked for ahead where groups of h are left out: then W_h takes the port by turns, and W_x
the lanes. More would wait in front of the port, and the sequencer with them."""
LEAST_BATCH = 2
"""Of one step, W_x would serve nobody else."""


def segment_columns(columns: int, blocks: int, least: int = 1) -> int:
    """Columns of a segment: the least divisor of all columns that makes it long enough, or the largest one that leaves
    ``least`` segments, where there are so many columns."""
    divisors = [n for n in range(1, columns + 1) if columns % n == 0]
    enough = next((n for n in divisors if n * blocks >= SEGMENT_WORDS), columns)
    return max(n for n in divisors if n == 1 or n <= enough and columns // n >= least)


class CompressedLayer(FusionLayer):
    """The layer. ``columns`` and ``lengths``, in beats, are those of a segment of W_x and W_h, ``counts`` how many."""

    whole = True

    def __init__(self, planner: CompressedPlanner, shape: LayerShape, number: int) -> None:
        batch, threshold = planner.batch, next(iter(planner.network.sparse_h), None)
        super().__init__(planner, shape, number)
        blocks, length, self.threshold = self.blocks, shape.outputs, threshold
        if threshold is not None and length % H_GROUP:
            raise ConfigError("network", f"{length} units", f"must be a multiple of {H_GROUP}, to be left out by fours")
        if self.config.decoder == "esell":
            self._check_block_columns()
            self.columns = dict.fromkeys("xh", BLOCK_COLUMNS)
        else:
            columns = segment_columns(length, blocks) if threshold is None else H_GROUP
            self.columns = {"x": segment_columns(shape.inputs, blocks, batch), "h": columns}
        self.counts = {"x": shape.inputs // self.columns["x"], "h": length // self.columns["h"]}
        self.chunk, self.rest = divmod(self.counts["x"], batch)  # segments of W_x of a step, and what is left
        self.streamed = tuple(
            tile
            for part, columns in (("x", shape.inputs), ("h", length))
            for tile in self.column_tiles(part, columns, self.columns[part])
        )
        self.lengths = {part: self._length(part) for part in "xh"}
        self.spans = spans_of(blocks)
        self.shared |= {"finish_entries": blocks}

    def _check_block_columns(self):
        """eSELL has columns by fours."""
        for name, columns in (("inputs", self.layer.inputs), ("units", self.layer.outputs)):
            if columns % BLOCK_COLUMNS:
                rule = f"must be a multiple of {BLOCK_COLUMNS} for eSELL; engine.decoder = 'bitmap' takes any number"
                raise ConfigError("network", f"{columns} {name}", rule)

    def fit(self, room: int) -> None:
        x, h = (self.blocks * self.columns[part] for part in "xh")
        self.ahead = max(1, min(AHEAD, self.counts["h"], (room - x) // h))
        self.shared["ring"] = x + self.ahead * h
        self.each = self.counts["h"] // self.chunk if self.chunk else 0  # segments of W_h a segment of W_x
        round_, self.early = x + self.each * h, 0
        if self.threshold is not None and 0 < self.each <= self.ahead:
            most = min(EARLY_LOADS // (1 + self.each), self.chunk - 1, (room - self.each * h) // round_)
            self.early = max(0, most)
        if self.early:
            self.shared["ring"] = max(self.shared["ring"], self.early * round_ + self.each * h)

    def _length(self, part):
        """Beats of the longest segment; of a layer that does not say which weights are zero, none is."""
        shape, form = self.layer, self.config.segment_form
        used = shape.used["xh".index(part)] if shape.used else np.ones((shape.matrix_rows, self.columns[part]), bool)
        blocks = interleave(used, self.config.rows)  # blocks, rows, columns
        words = blocks.reshape(*blocks.shape[:2], -1, self.columns[part]).transpose(2, 0, 3, 1)
        return int(form.beats(words.reshape(len(words), -1, self.config.rows)).max())

    @property
    def stored(self) -> tuple[int, ...]:
        """Beats of each streamed tile."""
        return tuple(self.lengths[tile.part] for tile in self.streamed)

    def zero(self) -> int:
        return self.zero_cells(self.newest_context, self.last_place, **self._size)

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

    def _products(self, part, sums, operand, release, **fields):
        """A segment times its columns of a vector, all row blocks."""
        columns = self.columns[part]
        for first, slots in self.spans:
            words = {"weight": first * columns, "release": int(release and first + slots == self.blocks)}
            fields |= {"part": part, "columns": columns, "slots": slots}
            self.add(self.everyone, sums + first, operand=operand, stream=1, **words, **fields)
            fields |= {"wait": 0, "take": 0}  # the first MAC has waited

    @property
    def _size(self):
        return {} if self.threshold is None else {"threshold": self.threshold}

    def _kept(self, group):
        """What follows is done if the columns of W_h's segment are not left out."""
        return iter((None,)) if self.threshold is None else self.b.kept(group)

    def _ask(self, segment):
        """A segment of W_h, if its group is kept."""
        for _ in self._kept(segment):
            self._load_segment("h", segment)

    def _ask_all(self, first, count):
        for segment in self.b.each(count):
            self._ask(first + segment)

    def _x_segment(self, batch, segment, hidden=0, asked=0):
        """A segment of W_x, for all steps of a batch; so many of W_h, from ``hidden`` on, are asked for behind it."""
        self._load_segment("x", segment)
        self._ask_all(hidden, asked)
        self._x_of_segment(batch, segment)

    def _x_of_segment(self, batch, segment):
        for at, last in self.b.peeled(self.batch):
            x = self.x_of(batch, at) + segment * self.columns["x"]
            self._products("x", self.sums_of(batch, at), x, release=last)

    def _x_segments(self, batch, at):
        """Those that are a step's part, in front of nothing else."""
        for number in self.b.each(self.chunk):
            self._x_segment(batch, at * self.chunk + number + self.rest)

    def _h_segments(self, sums, first, count, asked):
        """Segments of W_h that follow one another, of which some have been asked for; each asks for a later one."""
        ahead = min(self.ahead, count)
        tokens = {"wait": 1, "take": 1} if self.threshold is None else {}  # what is kept is there
        self._ask_all(first + asked, ahead - asked)
        for segment, part in self.b.parts(count - ahead, ahead):
            if part == 0:
                self._ask(first + segment + ahead)
            h = (first + segment) * self.columns["h"] + self.h
            for _ in self._kept(first + segment):
                self._products("h", sums, h, release=1, **tokens)

    def _step_of(self, batch, at, ahead=False):
        """A step; with ``ahead`` its part of W_x's products for the next batch, spread between those of W_h."""
        b, sums, done = self.b, self.sums_of(batch, at), 0
        if ahead and self.early:
            self._rounds(batch, at, sums)
            done = self.each * self.chunk
        elif ahead and self.chunk:
            each = self.each
            asked = min(self.ahead, each)
            for number in b.each(self.chunk):
                first = number * each
                self._x_segment(batch + 1, at * self.chunk + number + self.rest, first, asked)
                self._h_segments(sums, first, each, asked)
            done = each * self.chunk
        if done < self.counts["h"]:
            self._h_segments(sums, done, self.counts["h"] - done, 0)
        if self.threshold is not None:
            b.await_tokens(SPACE_H, self.layer.outputs)
        self.end_sums(self.everyone, sums)
        self.cells(self.layer.outputs, self.everyone, state=self.c, target=self.h, **self._size)

    def _rounds(self, batch, at, sums):
        """A segment of W_x and some of W_h in turn; those of a round are asked for some rounds ahead.

        The first segment of W_x is multiplied before it is known which groups of h are kept.
        """
        b, each, early, first = self.b, self.each, self.early, at * self.chunk + self.rest

        def ask(number):
            self._load_segment("x", first + number)
            self._ask_all(number * each, each)

        self._x_segment(batch + 1, first)
        self._ask_all(0, each)
        for number in b.each(1, early):
            ask(number)
        for number, part in b.parts(self.chunk - early, early - 1, start=1):
            if part == 0:
                ask(number + early - 1)
            self._h_segments(sums, (number - 1) * each, each, each)
            self._x_of_segment(batch + 1, first + number)
        self._h_segments(sums, (self.chunk - 1) * each, each, each)


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
    decodes = sparse_h = True

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if config.decoder == "off":
            raise ConfigError("engine.decoder", "'off'", "must be bitmap or esell for the schedule compressed")
        if config.contexts != 1:
            raise ConfigError("engine.contexts", config.contexts, "must be 1 for the schedule compressed")
        if len(network.recurrent) > 1 or network.head_every_step:
            found = "a head at every step" if network.head_every_step else f"{len(network.recurrent)} layers"
            raise ConfigError("network", found, "must be one layer, with a head behind the last step at most")
        if batch < LEAST_BATCH:
            raise ConfigError("batch", batch, f"must be at least {LEAST_BATCH}")

        if bool(network.sparse_h) != config.sparse_h:
            rule = f"must be {str(bool(network.sparse_h)).lower()} for this model"
            raise ConfigError("engine.sparse_h", config.sparse_h, rule)
        StackPlanner.__init__(self, network, config, partial(CompressedLayer, self), batch)

    def _place(self):
        self._divide()

    def _heads(self, shapes, number):
        return [HeadLayer(shapes, number, self.config, self.batch)]

    def _image(self):
        """The segments have a form of their own."""
        (layer,) = self.layers
        return Image((*self._kept(), *layer.streamed), layer.stored)
