"""SACC with compressed weights: a segment of W_h serves two time steps, and is left out if neither needs its columns.

As in :mod:`lstm_hw.plan.sacc`, passes alternate. W_h is cut into *bands*, a few row blocks each, and their columns into
groups of four; a segment is a group of a band. A pass down the bands goes through the segments in front of a band's
own units and finishes an even step: with the h of band after band, the same segments serve the odd step behind it. A
pass up goes through the segments behind them, finishes the odd step and starts the next even one. The segments of a
band's own units come twice in a pass down, as the h of these units is there only behind the first time.

Where a model leaves out groups of h that are nearly zero, each step multiplies a segment if its own group is kept, and
the segment is asked for if one of both is. Of both steps that is known: a group is asked about behind the CELL of its
band.

W_x is fetched once for a batch of steps, in front of their passes. What a run leaves is h and c alone: a run begins
with the upper segments for its first step, and ends with a single step where it has an odd number of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import gcd

from ..errors import ConfigError
from ..machine.config import H_GROUP, EngineConfig
from ..machine.esell import BLOCK_COLUMNS
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .compressed import CompressedLayer, CompressedPlanner, segment_columns
from .layer import Frame
from .stack import StackPlanner
from .sums import Sum, as_sum

EVEN, ODD = 0, 1
"""Where the h of even and of odd steps is, and that of the last step of a run with the odd ones."""
LEAST_BANDS, MOST_BLOCKS = 4, 24
"""Bands of a layer, about, and row blocks of a band: of longer segments fewer serve two steps, of shorter ones the
sequencer, which asks twice of each, would be slower than the lanes."""


class CompressedSaccLayer(CompressedLayer):
    """A layer in ``bands`` of ``band_blocks`` row blocks and ``band_units`` units; the last one may have fewer.

    Each has ``parts`` groups of columns, of which ``own`` are of its own units. Those ``stay`` in the ring from their
    first use to the second, where they fit and most would be asked for twice.
    """

    def __init__(self, planner: CompressedSaccPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        length = shape.outputs
        if length % H_GROUP:
            raise ConfigError("network", f"{length} units", f"must be a multiple of {H_GROUP} for {planner.name}")
        step = H_GROUP // gcd(H_GROUP, self.units)
        least = min(MOST_BLOCKS, -(-self.blocks // LEAST_BANDS))
        self.band_blocks = self.of_band = -(-least // step) * step
        self.band_units = self.band_blocks * self.units
        self.bands, self.parts = -(-self.blocks // self.band_blocks), length // H_GROUP
        if self.bands < 2:
            rule = f"must be more than {self.band_units} for {planner.name}, which takes bands of so many"
            raise ConfigError("network", f"{length} units", rule)
        self.asked = min(planner.network.activity, default=1)  # share of the groups that are kept
        self.places, self.buffers, self.turns = 2, self.batch, 1
        x_columns = segment_columns(shape.inputs, self.blocks)
        self.columns = {"x": BLOCK_COLUMNS if self.config.decoder == "esell" else x_columns, "h": H_GROUP}
        self.counts = {"x": shape.inputs // self.columns["x"], "h": self.bands * self.parts}
        of_h = (
            Tile(number, "h", band * self.band_blocks, self.size(last)[0], H_GROUP * group, H_GROUP)
            for band, last in zip(range(self.bands), [*[False] * (self.bands - 1), True], strict=True)
            for group in range(self.parts)
        )
        self.streamed = (*self.column_tiles("x", shape.inputs, self.columns["x"]), *of_h)
        self.lengths = {"x": self._length("x"), "h": self._length("h"), "last": self._length("h", self.bands - 1)}
        self.tail = (self.band_units,)  # of a pass up: the band that it finishes last
        self.own = {"accumulators": self.batch * self.blocks, "h_elements": 2 * length, "states": length}
        self.shared |= {"x_elements": self.batch * self.x_stride, "finish_entries": self.band_blocks}

    def size(self, last: bool) -> tuple[int, int, int]:
        """Row blocks, units and groups of own units of a band, or of the last one."""
        before = (self.bands - 1) * last
        blocks = self.blocks - before * self.band_blocks if last else self.band_blocks
        units = self.layer.outputs - before * self.band_units if last else self.band_units
        return blocks, units, units // H_GROUP

    def fit(self, room: int) -> None:
        x, h = self.blocks * self.columns["x"], self.band_blocks * H_GROUP
        own = self.band_units // H_GROUP * h
        self.stay = 2 * self.asked > 1 and own <= room
        self.shared["ring"] = max(min(2, self.counts["x"]) * x, own if self.stay else 3 * h)

    @property
    def stored(self) -> tuple[int, ...]:
        """Beats of each streamed tile."""
        kinds = ["x"] * self.counts["x"] + ["h"] * (self.counts["h"] - self.parts) + ["last"] * self.parts
        return tuple(map(self.lengths.get, kinds))

    def zero(self) -> int:
        return self.zero_cells(self.everyone, self.layer.outputs, **self._size)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for at in self.b.each(self.batch):
            for _ in taken():
                self.take_x(at * self.x_stride)

    def newest_h(self, step: Sum, later: Sum | int, number: Sum) -> Iterator[tuple[int, Sum | int]]:
        yield self.everyone, self.h + self.layer.outputs

    def y_order(self, steps: int, first_step: int) -> list[tuple[int, int, int]]:
        bands = [(band * self.band_units, self.size(band == self.bands - 1)[1]) for band in range(self.bands)]
        return [(step, *band) for step in range(steps) for band in (reversed(bands) if step % 2 else bands)]

    # Frames

    def first_sums(self) -> None:
        """The upper segments for the first step of a run."""
        sums = self._sums(0)
        self.start_sums(self.everyone, 0)
        self.settle(self, take=0)
        for band in self.b.each(self.bands - 1):
            first = (band + 1) * self.size(False)[2]
            self._segments(band, False, first, self.parts - first, (sums, ODD))

    def frame(self, frame: Frame) -> None:
        b = self.b
        for at in b.each(1, self.batch):
            self.start_sums(self.everyone, at * self.blocks)
        pairs, odd = self._pairs(frame.count)
        self._all_x(pairs, odd)
        frame.inputs()
        for pair, part in b.parts(pairs, odd):
            if part == 0:
                self._down(2 * pair)
                after = self._sums((2 * pair + 2) % self.batch)
                for _ in b.unless(after - self.sums):
                    self.start_sums(self.everyone, 0)
                self._up(self._sums(2 * pair + 1), after)
            else:
                self._single(2 * pair)
        frame.following()

    def _all_x(self, pairs, odd):
        """W_x times x of all steps of a batch; that of an odd number of them has no last one."""
        b, last = self.b, self.batch - 1
        self.await_x(2, pairs)
        for _ in b.when(odd):
            self.await_x()
        for segment in b.each(self.counts["x"]):
            self._load_segment("x", segment)
            x = segment * self.columns["x"]
            for _ in b.unless(odd):
                self._products("x", self._sums(last), x + last * self.x_stride, release=0)
            for at, end in b.peeled(last):
                self._products("x", self._sums(at), x + at * self.x_stride, release=end)
        self.free_x(2, pairs)
        for _ in b.when(odd):
            self.free_x()

    def _pairs(self, count):
        """Pairs of steps of so many, and whether there is one more; the count becomes 0."""
        b = self.b
        pairs, odd = b.variable(0), b.variable(0)
        for _ in b.each(self.batch // 2):
            for _ in b.when(count):
                b.advance(count, -1)
                b.assign(odd, 1)
                for _ in b.when(count):
                    b.advance(count, -1)
                    b.assign(odd, 0)
                    b.advance(pairs, 1)
        return pairs, odd

    # Passes

    def _down(self, step):
        """Finish an even step, and start the odd one behind it."""
        first, second = (self._sums(step), ODD), (self._sums(step + 1), EVEN)
        self._take_tokens(self.band_units)
        for band, last in self._each_band():
            _, units, own = self.size(last)
            before = band * self.size(False)[2]
            self._segments(band, last, as_sum(0), before, first, second)
            if self.stay:
                self._staying(band, last, before, first, load=True)
            else:
                self._segments(band, last, before, own, first)
            self._finish(band, last, first[0], EVEN)
            self._early(units)
            if self.stay:
                self._staying(band, last, before, second)
            else:
                self._segments(band, last, before, own, second)
            self._late(units)

    def _up(self, first, second):
        """Finish an odd step, and start the even one behind it, of such sums."""
        self._finish(self.bands - 1, True, first, ODD)
        for number in self.b.each(self.bands - 1):
            band, count = self.bands - 2 - number, self.size(True)[2] + number * self.size(False)[2]
            self._newest(self._early, number)
            self._segments(band, False, self.parts - 1, count, (first, EVEN), (second, ODD), step=-1)
            self._newest(self._late, number)
            self._finish(band, False, first, ODD)

    def _single(self, step):
        """The last step of a run, an even one, whose h goes where that of the step before is."""
        sums, each = self._sums(step), self.size(False)[2]
        self._take_tokens(self.band_units)
        for band, last in self.b.peeled(self.bands):
            self._segments(band, last, as_sum(0), band * each + self.size(last)[2], (sums, ODD))
        for band, last in self.b.peeled(self.bands):
            self._finish(band, last, sums, ODD)
            if not last:  # asked about before the next CELL
                for _ in self._kept_at(ODD, (band + 1) * each - 1):
                    pass
        self._take_tokens(self.layer.outputs - self.band_units)

    def _each_band(self) -> Iterator[tuple[Sum, bool]]:
        """``for band, last in ...``: the first one, which has no segments before its own, is written out too."""
        yield as_sum(0), False
        yield from self.b.peeled(1, self.bands)

    # Segments of a band, for one or two steps: (first sum, place of the h that it multiplies) each

    def _segments(self, band, last, first, count, *steps, step=1):
        for at in self.b.each(count):
            group = first + at * step
            if len(steps) > 1:
                self._shared(band, last, group, *steps)
                continue
            for _ in self._kept_at(steps[0][1], group):
                self._load_group(band, last, group)
                self._group(band, last, group, *steps[0], release=1)

    def _shared(self, band, last, group, first, second):
        """A segment for the steps that need it, the last of which frees its words."""
        b, asks = self.b, self.threshold is not None
        alone = b.variable(1) if asks else as_sum(0)
        for _ in self._kept_at(second[1], group):
            self._load_group(band, last, group)
            for _ in self._kept_at(first[1], group):
                self._group(band, last, group, *first)
            self._group(band, last, group, *second, release=1)
            if asks:
                b.assign(alone, 0)
        for _ in b.when(alone):
            for _ in self._kept_at(first[1], group):
                self._load_group(band, last, group)
                self._group(band, last, group, *first, release=1)

    def _staying(self, band, last, first, step, load=False):
        """Those of its own units, which stay in the ring: all of them come, and the second time they are freed."""
        blocks, _, own = self.size(last)
        words = blocks * H_GROUP
        for at in self.b.each(own):
            if load:
                self._load_group(band, last, first + at)
            for _ in self._kept_at(step[1], first + at):
                self._group(band, last, first + at, *step, word=at * words)
        if not load:
            self.release(own * words)

    def _load_group(self, band, last, group):
        each, first = self.lengths["h"], self.first_beat + self.counts["x"] * self.lengths["x"]
        beats = self.lengths["last"] if last else each
        offset = band * (self.parts * each) + group * beats + first
        self.b.emit("LOAD", offset=offset, beats=beats, words=self.size(last)[0] * H_GROUP, stream=1)

    def _group(self, band, last, group, sums, place, word=0, release=0):
        """The products of a segment."""
        blocks = self.size(last)[0]
        h, row = group * H_GROUP + (self.h + place * self.layer.outputs), sums + band * self.band_blocks
        fields = {"part": "h", "columns": H_GROUP, "slots": blocks, "operand": h, "stream": 1, "release": release}
        self.add(self.everyone, row, weight=word, **fields)

    def _sums(self, step):
        """First accumulator entry of a step of the batch."""
        return as_sum(step) * self.blocks + self.sums

    def _finish(self, band, last, sums, place):
        """The last column of the bias, and the hidden units of a band."""
        blocks, units, _ = self.size(last)
        row, unit = band * self.band_blocks, band * self.band_units
        self._bias(self.everyone, -1, row, slots=blocks, source=sums + row, finish=1)
        target = unit + (self.h + place * self.layer.outputs)
        self.cells(units, self.everyone, state=unit + self.c, target=target, **self._size)

    def _kept_at(self, place, group):
        """What follows is done if a group of the h at a place is kept."""
        return self._kept(as_sum(group) + place * self.parts)

    # Tokens of h: where programs ask, what they have asked about is there.

    def _take_tokens(self, units):
        self.b.await_tokens(SPACE_H, units)

    def _early(self, units):
        if self.threshold is None:
            self._take_tokens(units)

    def _late(self, units):
        if self.threshold is not None:
            self._take_tokens(units)

    def _newest(self, take, number):
        """The tokens of the band that a pass up has finished before."""
        last = self.size(True)[1]
        for _ in self.b.when(number):
            take(self.band_units)
        for _ in self.b.unless(number):
            take(last)


class CompressedSaccPlanner(CompressedPlanner):
    """One recurrent layer, one sequence, on an engine with a decoder; a head behind the last step stays on chip.

    Outputs leave band by band, ascending in even steps of a run and descending in odd ones.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        One context.
    batch : int
        Time steps that share a fetch of W_x, an even number.
    """

    name = "compressed_sacc"
    layer_class = CompressedSaccLayer

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if batch % 2:
            raise ConfigError("batch", batch, f"must be even for the schedule {self.name}")
        if len(network.recurrent) > 1 or network.head_every_step:
            found = f"{len(network.recurrent)} recurrent layers" + ", a head on every step" * network.head_every_step
            raise ConfigError("network", found, f"must be one, a head behind the last step, for {self.name}")
        super().__init__(network, config, batch)

    def _batches(self):
        StackPlanner._batches(self)

    def _first_frame(self):
        super()._first_frame()
        self.layers[0].first_sums()
