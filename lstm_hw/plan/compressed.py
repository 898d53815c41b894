"""Cell fusion with compressed weights: all weights of a layer stream in the form that the engine's decoder expands.

As in :mod:`lstm_hw.plan.fusion`, a word of W_x serves the x products of a batch of time steps while W_h serves the
steps before them. A segment of the image is a few columns of all row blocks. Step g of a batch goes through the
segments of W_h, between which come those of W_x that are its part of the next batch's; what is left of W_x is
multiplied when the next batch's sums are started. Sums of all row blocks wait in accumulators; the last column of the
bias finishes them.

Segments of a matrix have the beats of the longest one, so that a program finds them without a table.

In a stack, layers take turns batch by batch. The first one works as above; the others go through their segments of
W_x and then, step by step, through those of W_h. Where somebody reads the h of all steps, a layer keeps that of a
batch, the last one of a run where that of a whole batch's last step is.

Where a model leaves out groups of h that are nearly zero, a segment of W_h is that of a group: it is asked for and
multiplied if its group is kept, once that is known.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import ConfigError
from ..machine.config import EngineConfig
from ..machine.esell import BLOCK_COLUMNS
from ..machine.isa import SPACE_H
from ..machine.layout import Image
from ..machine.limits import H_GROUP
from ..machine.network import LayerShape, Network
from ..machine.pack import interleave
from ..machine.plan import Plan
from .fusion import FusionLayer, FusionPlanner
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


def segment_columns(columns: int, blocks: int, least: int = 1, words: int = SEGMENT_WORDS) -> int:
    """Columns of a segment: the least divisor of all columns that makes it so many words long, or the largest one that
    leaves ``least`` segments, where there are so many columns."""
    divisors = [n for n in range(1, columns + 1) if columns % n == 0]
    enough = next((n for n in divisors if n * blocks >= words), columns)
    return max(n for n in divisors if n == 1 or n <= enough and columns // n >= least)


class CompressedLayer(FusionLayer):
    """A layer. ``columns`` and ``lengths``, in beats, are those of a segment of W_x and W_h, ``counts`` how many.

    ``first_beat`` is where its segments begin in the image. Of the first layer, ``top`` is the last one.
    """

    whole = ends_sums = True
    top: CompressedLayer | None = None

    def __init__(self, planner: CompressedPlanner, shape: LayerShape, number: int) -> None:
        batch, sizes = planner.batch, planner.network.sparse_h
        threshold = sizes[number] if sizes else None
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
        self.of_band = blocks
        self.counts = {"x": shape.inputs // self.columns["x"], "h": length // self.columns["h"]}
        self.chunk, self.rest = divmod(self.counts["x"], batch)  # segments of W_x of a step, and what is left
        self.streamed = tuple(
            tile
            for part, columns in (("x", shape.inputs), ("h", length))
            for tile in self.column_tiles(part, columns, self.columns[part])
        )
        self.lengths = {part: self._length(part) for part in "xh"}
        self.places = batch if self.place else 1
        self.x_tiles = ()  # segments are asked for one by one
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
        if self.threshold is not None and not self.below and 0 < self.each <= self.ahead:
            most = min(EARLY_LOADS // (1 + self.each), self.chunk - 1, (room - self.each * h) // round_)
            self.early = max(0, most)
        if self.early:
            self.shared["ring"] = max(self.shared["ring"], self.early * round_ + self.each * h)

    def _length(self, part, band=None):
        """Beats of the longest segment of a band, or of all; of a layer that does not say which weights are zero, none
        is."""
        shape, form = self.layer, self.config.segment_form
        used = shape.used["xh".index(part)] if shape.used else np.ones((shape.matrix_rows, self.columns[part]), bool)
        blocks = interleave(used, self.config.rows)  # blocks, rows, columns
        words = blocks.reshape(*blocks.shape[:2], -1, self.columns[part]).transpose(2, 0, 3, 1)
        rows = self.of_band if part == "h" else self.blocks  # of a segment
        bands = [words[:, first : first + rows] for first in range(0, self.blocks, rows)]
        bands = bands if band is None else bands[band : band + 1]
        beats = [form.beats(band.reshape(len(band), -1, self.config.rows)).max() for band in bands]
        return int(max(beats))

    @property
    def stored(self) -> tuple[int, ...]:
        """Beats of each streamed tile."""
        return tuple(self.lengths[tile.part] for tile in self.streamed)

    def zero(self) -> int:
        self._ask_last(self.below)
        return self.zero_cells(self.newest_context, self.last_place, **self._size)

    def chunks(self, batch: Sum, coming: Sum | None = None) -> None:
        for at in self.b.each(self.batch):
            self._x_segments(batch, at)
            if coming is not None:
                self._take_some(batch + 1, at, coming)
        self._ask_last(self.below)

    def fused_steps(self, batch: Sum, later: Sum) -> None:
        for at in self.b.each(self.batch):
            self._step_of(self.sums_of(batch, at), at, self.place * at, (batch + 1, at))
            if self.alone:
                self._take_some(batch + 2, at, later)

    def _x_left_over(self, batch):
        for segment in self.b.each(self.rest):
            self._x_segment(batch, segment)

    def steps(self, batch: Sum, count: Sum) -> None:
        """So many steps of a batch on W_h; the last layer counts them down."""
        b, end = self.b, self.batch - 1
        if self.alone:
            for at in b.each(self.batch):
                for _ in b.when(count):
                    b.advance(count, -1)
                    self._step_of(self.sums_of(batch, at), at)
            return
        more = self.counted(count)
        # Of the layers above, x of the last step is where that of a whole batch's is, and so its sums are.
        moving = [(b.variable(0), self.place, self.last_place)] * bool(self.place)
        moving += [(b.variable(0), self.blocks, end * self.blocks)] * bool(self.below)
        for at in b.each(self.batch):
            for _ in b.when(more):
                b.advance(more, -1)
                for _ in b.unless(more):
                    for value, _, last in moving:
                        b.assign(value, last)
                after = moving[0][0] if self.place else 0
                sums = moving[-1][0] + self.sums if self.below else self.sums_of(batch, at)
                self._step_of(sums, at, after)
                for value, each, _ in moving:
                    b.advance(value, each)

    def _settle(self):
        """Behind the round before: all of its h is there, and nobody will ask for its groups."""
        if not self.alone:
            self.await_h()
            self._ask_last(self.top)

    def _ask_last(self, layer):
        """Until it is known which groups of another layer's h are kept: those of the next CELL are counted from then
        on."""
        if self.threshold is not None and layer and layer is not self:
            for _ in self.b.kept((layer.h + layer.last_place + layer.layer.outputs) // H_GROUP - 1):
                pass

    # Segments

    def _load_segment(self, part, segment):
        beats, words = self.lengths[part], self.blocks * self.columns[part]
        first = self.first_beat + (self.counts["x"] * self.lengths["x"] if part == "h" else 0)
        self.b.emit("LOAD", offset=segment * beats + first, beats=beats, words=words, stream=1)

    def _products(self, part, sums, operand, release, **fields):
        """A segment times its columns of a vector, all row blocks."""
        fields |= {"part": part, "columns": self.columns[part], "slots": self.blocks, "release": int(release)}
        self.add(self.mask, sums, operand=operand, stream=1, **fields)

    @property
    def _size(self):
        return {} if self.threshold is None else {"threshold": self.threshold}

    def _before(self, at):
        """Segments from the layer's first h to that of the step before one."""
        return (at + (self.batch - 1)) % self.batch * self.counts["h"] if self.place else as_sum(0)

    def _kept(self, group):
        """What follows is done if the columns of W_h's segment are not left out, of so many groups from its first h
        on."""
        return iter((None,)) if self.threshold is None else self.b.kept(group + self.h // H_GROUP)

    def _ask(self, segment, before):
        """A segment of W_h, if its group is kept."""
        for _ in self._kept(segment + before):
            self._load_segment("h", segment)

    def _ask_all(self, first, count, before):
        for segment in self.b.each(count):
            self._ask(first + segment, before)

    def _x_segment(self, batch, segment, hidden=0, asked=0, before=0):
        """A segment of W_x, for all steps of a batch; so many of W_h, from ``hidden`` on, are asked for behind it."""
        self._load_segment("x", segment)
        self._ask_all(hidden, asked, before)
        self._x_of_segment(batch, segment)

    def _x_of_segment(self, batch, segment):
        for at, last in self.b.peeled(self.batch):
            x = self.x_of(batch, at) + segment * self.columns["x"]
            self._products("x", self.sums_of(batch, at), x, release=last)

    def _x_segments(self, batch, at):
        """Those that are a step's part, in front of nothing else."""
        for number in self.b.each(self.chunk):
            self._x_segment(batch, at * self.chunk + number + self.rest)

    def _h_segments(self, sums, first, count, asked, before):
        """Segments of W_h that follow one another, of which some have been asked for; each asks for a later one."""
        ahead = min(self.ahead, count)
        tokens = {"wait": 1, "take": 1} if self.threshold is None and self.alone else {}  # else it is there
        self._ask_all(first + asked, ahead - asked, before)
        for segment, part in self.b.parts(count - ahead, ahead):
            if part == 0:
                self._ask(first + segment + ahead, before)
            h = (first + segment + before) * self.columns["h"] + self.h
            for _ in self._kept(first + segment + before):
                self._products("h", sums, h, release=1, **tokens)

    def _await_before(self, at, first=0):
        """Of a stack, all of the step before, but for the first one of a frame, which finds it there."""
        for _ in self.b.unless(first):
            for _ in self.b.when(at):
                self.b.await_tokens(SPACE_H, self.layer.outputs)

    def _step_of(self, sums, at, after=0, coming=None):
        """A step, to a place of h; between W_h's products those of W_x that are its part of the ``coming`` batch's."""
        b, done, before = self.b, 0, self._before(at)
        whole = self.threshold is None and not self.alone  # no MAC waits for its part of h
        if coming and self.early:
            self._rounds(*coming, sums, before)
            done = self.each * self.chunk
        elif coming and self.chunk:
            each, (batch, step) = self.each, coming
            asked = min(self.ahead, each)
            for number in b.each(self.chunk):
                first = number * each
                self._x_segment(batch, step * self.chunk + number + self.rest, first, asked, before)
                if whole:
                    self._await_before(at, number)
                self._h_segments(sums, first, each, asked, before)
            done = each * self.chunk
        elif whole:
            self._await_before(at)
        if done < self.counts["h"]:
            self._h_segments(sums, done, self.counts["h"] - done, 0, before)
        if self.threshold is not None:
            if self.alone:
                b.await_tokens(SPACE_H, self.layer.outputs)
            else:
                self._await_before(at)
        self.end_sums(self.mask, sums)
        self.cells(self.layer.outputs, self.mask, state=self.c, target=self.h + after, **self._size)

    def _rounds(self, batch, at, sums, before):
        """A segment of W_x and some of W_h in turn; those of a round are asked for some rounds ahead.

        The first segment of W_x is multiplied before it is known which groups of h are kept.
        """
        b, each, early, first = self.b, self.each, self.early, at * self.chunk + self.rest

        def ask(number):
            self._load_segment("x", first + number)
            self._ask_all(number * each, each, before)

        self._x_segment(batch, first)
        self._ask_all(0, each, before)
        for number in b.each(1, early):
            ask(number)
        for number, part in b.parts(self.chunk - early, early - 1, start=1):
            if part == 0:
                ask(number + early - 1)
            self._h_segments(sums, (number - 1) * each, each, each, before)
            self._x_of_segment(batch, first + number)
        self._h_segments(sums, (self.chunk - 1) * each, each, each, before)


class CompressedPlanner(FusionPlanner):
    """Any stack, one sequence, on an engine with a decoder; a head stays on chip.

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
    least_batch = 2  # of one step, W_x would serve nobody else
    takes, decodes = ("sparse_h",), True
    layer = CompressedLayer

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if config.decoder == "off":
            raise ConfigError("engine.decoder", "'off'", f"must be bitmap or esell for the schedule {self.name}")
        if config.contexts != 1:
            raise ConfigError("engine.contexts", config.contexts, f"must be 1 for the schedule {self.name}")
        if bool(network.sparse_h) != config.sparse_h:
            rule = f"must be {str(bool(network.sparse_h)).lower()} for this model"
            raise ConfigError("engine.sparse_h", config.sparse_h, rule)
        StackPlanner.__init__(self, network, config, batch)

    def _place(self):
        """Heads stay on chip."""
        self._divide()
        beat = self.resident * self.config.beats_per_word
        for layer in self.layers:
            layer.first_beat = beat
            beat += sum(layer.stored)
        self.layers[0].top = self.layers[-1]

    def plan(self) -> Plan:
        return replace(super().plan(), places=tuple(layer.places for layer in self.layers))

    def _image(self):
        """The segments have a form of their own."""
        segments = [tile for layer in self.layers for tile in layer.streamed]
        return Image((*self._kept(), *segments), tuple(beats for layer in self.layers for beats in layer.stored))
