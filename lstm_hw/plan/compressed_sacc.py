"""SACC with compressed weights: a segment of W_h serves two time steps, and is left out if neither needs its columns.

As in :mod:`lstm_hw.plan.sacc`, passes alternate. W_h is cut into *bands*, a few row blocks each, and their columns into
groups of four; a segment is a group of a band. A pass down the bands goes through the segments in front of a band's
own units and finishes an even step: with the h of band after band, the same segments serve the odd step behind it. A
pass up goes through the segments behind them, finishes the odd step and starts the next even one. The segments of a
band's own units come twice in a pass down, as the h of these units is there only behind the first time.

Where a model leaves out groups of h that are nearly zero, each step multiplies a segment if its own group is kept, and
the segment is asked for if one of both is. Of both steps that is known: a group is asked about behind the CELL of its
band.

W_x is fetched once for a batch of steps, beside the passes of the batch before: its products wait in sums of their own,
and a batch starts by adding the bias to them. Short segments of W_x come one by one between those of W_h, long ones
behind the passes. What a run leaves is h and c alone: a run begins with the upper segments for its first step, and ends
with a single step where it has an odd number of them.

In a stack, layers take turns batch by batch. Those above the first one go through their segments of W_x in front of the
passes. Of a layer below another one cells work twice on each band, as in :mod:`lstm_hw.plan.sacc`: once for the layer's
own next step, and once for a copy of h that stays until the layer above has taken it for its x, with a c of its own. A
head at every step comes behind the passes of a pair of steps, whose h is both there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from math import gcd

from ..errors import ConfigError
from ..machine.config import H_GROUP, EngineConfig
from ..machine.esell import BLOCK_COLUMNS
from ..machine.isa import MODE_ZERO, SPACE_H
from ..machine.layout import Tile
from ..machine.network import LayerShape, Network
from .compressed import SEGMENT_WORDS, CompressedLayer, CompressedPlanner, segment_columns
from .layer import Frame
from .stack import StackPlanner
from .sums import Sum, as_sum

EVEN, ODD = 0, 1
"""Where the h of even and of odd steps is, and that of the last step of a run with the odd ones."""
LEAST_BANDS, MOST_BLOCKS = 4, 24
"""Bands of a layer, about, and row blocks of a band: of longer segments fewer serve two steps, of shorter ones the
sequencer, which asks twice of each, would be slower than the lanes."""

X_WORDS, X_BEATS = 32, 256
"""Words of a segment of W_x at least, and beats of those that come between segments of W_h, at most: the first step
waits for the words of a long one, which come slower than lanes take them, unless it follows another one."""


class CompressedSaccLayer(CompressedLayer):
    """A layer in ``bands`` of ``band_blocks`` row blocks and ``band_units`` units; the last one may have fewer.

    Each has ``parts`` groups of columns, of which ``own`` are of its own units. Those ``stay`` in the ring from their
    first use to the second, where they fit and most would be asked for twice. ``copies`` of h, 1 or 0, are for the
    layer above, each with a c. A layer that ``answers`` gives the outputs of a head at every step.
    """

    brief = False
    """Whether bands are chosen for few instructions."""

    def __init__(self, planner: CompressedSaccPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.planner, count = planner, len(planner.network.recurrent)
        self.stacked, self.copies = count > 1, int(number + 1 < count)
        self.answers = planner.network.head_every_step and not self.copies
        length = shape.outputs
        if length % H_GROUP:
            raise ConfigError("network", f"{length} units", f"must be a multiple of {H_GROUP} for {planner.name}")
        step = H_GROUP // gcd(H_GROUP, self.units)
        least = min(MOST_BLOCKS, -(-self.blocks // LEAST_BANDS))
        self.band_blocks = -(-least // step) * step
        if self.stacked:  # bands that are alike need no instructions of their own for the last one
            alike = [
                n for n in range(step, min(MOST_BLOCKS, self.blocks - 1) + 1, step) if length % (n * self.units) == 0
            ]
            unlike = -(-self.blocks // (2 * step)) * step if self.brief else self.band_blocks
            self.band_blocks = min(alike, key=lambda n: abs(n - least), default=unlike)
        self.of_band, self.band_units = self.band_blocks, self.band_blocks * self.units
        self.alike = self.stacked and length % self.band_units == 0 and length > (2 - self.brief) * self.band_units
        self.bands, self.parts = -(-self.blocks // self.band_blocks), length // H_GROUP
        if self.bands < 2:
            rule = f"must be more than {self.band_units} for {planner.name}, which takes bands of so many"
            raise ConfigError("network", f"{length} units", rule)
        self.asked = min(planner.network.activity, default=1)  # share of the groups that are kept
        self.places, self.buffers, self.turns = 2 + self.copies * self.batch, self.batch, 1
        x_columns = segment_columns(shape.inputs, self.blocks, words=SEGMENT_WORDS if number else X_WORDS)
        self.columns = {"x": BLOCK_COLUMNS if self.config.decoder == "esell" else x_columns, "h": H_GROUP}
        self.counts = {"x": shape.inputs // self.columns["x"], "h": self.bands * self.parts}
        self.in_memory = list(self._in_memory())
        of_h = (
            Tile(number, "h", band * self.band_blocks, self.size(band == self.bands - 1)[0], H_GROUP * group, H_GROUP)
            for band, group in self.in_memory
        )
        self.streamed = (*self.column_tiles("x", shape.inputs, self.columns["x"]), *of_h)
        self.lengths = {"x": self._length("x"), "h": self._length("h")}
        self.lengths["last"] = self.lengths["h"] if self.alike else self._length("h", self.bands - 1)
        own = self.size(False)[2]
        shared = [self.parts - band * own for band in range(1, self.bands)], [band * own for band in range(self.bands)]
        turns = sum(shared[1]) * (self.batch // 2) + sum(shared[0]) * (self.batch // 2 - 1)
        short = self.lengths["x"] <= X_BEATS and (self.counts["x"] > 1 or not self.stacked)
        self.mixes = not number and short
        self.every = max(1, turns // self.counts["x"])  # segments of W_h that two steps share, a segment of W_x
        self.tail = () if self.stacked else (self.band_units,)  # of a pass up: the band that it finishes last
        self.own = {
            "accumulators": (self.batch + (1 if number else self.batch)) * self.blocks,
            "h_elements": (2 + self.copies * self.batch) * length,
            "states": (1 + self.copies) * length,
        }
        finished = (1 + self.copies) * self.band_blocks
        self.shared |= {"x_elements": self.batch * self.x_stride, "finish_entries": finished}
        if self.stacked:
            self.shared["states"] = (1 + self.copies) * self.band_units

    def size(self, last: bool) -> tuple[int, int, int]:
        """Row blocks, units and groups of own units of a band, or of the last one."""
        before = (self.bands - 1) * last
        blocks = self.blocks - before * self.band_blocks if last else self.band_blocks
        units = self.layer.outputs - before * self.band_units if last else self.band_units
        return blocks, units, units // H_GROUP

    def _in_memory(self):
        """(band, group) in the order of memory: of a band those of its own units, then those before and behind them."""
        for band in range(self.bands):
            first = band * self.size(False)[2]
            end = first + self.size(band == self.bands - 1)[2]
            yield from ((band, group) for group in (*range(first, end), *range(first), *range(end, self.parts)))

    def fit(self, room: int) -> None:
        x, h = self.blocks * self.columns["x"], self.band_blocks * H_GROUP
        own = self.band_units // H_GROUP * h
        self.stay = 2 * self.asked > 1 and own <= room
        self.shared["ring"] = 2 * x + max(own if self.stay else 0, 6 * h)

    @property
    def stored(self) -> tuple[int, ...]:
        """Beats of each streamed tile."""
        of_h = (self._beats(band == self.bands - 1) for band, _ in self.in_memory)
        return (*[self.lengths["x"]] * self.counts["x"], *of_h)

    def zero(self) -> int:
        length = self.layer.outputs
        for _ in range(self.copies):
            self.cells(length, self.mask, MODE_ZERO, state=self.c + length, target=self.h + length)
        return self.zero_cells(self.mask, length, **self._size) * (1 + self.copies)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for at in self.b.each(self.batch):
            for _ in taken():
                self.take_x(at * self.x_stride)

    def newest_h(self, step: Sum, later: Sum | int, number: Sum) -> Iterator[tuple[int, Sum | int]]:
        yield self.mask, self.h + self.layer.outputs

    def y_order(self, steps: int, first_step: int) -> list[tuple[int, int, int]]:
        bands = [(band * self.band_units, self.size(band == self.bands - 1)[1]) for band in range(self.bands)]
        return [(step, *band) for step in range(steps) for band in (reversed(bands) if step % 2 else bands)]

    # Frames

    def first_frame(self) -> None:
        """Nothing: x of a run's first batch is taken as any other's, beside the batch before, which has no steps."""

    def begin(self) -> None:
        b = self.b
        if self.number:
            return
        self.left_x, self.left_beats = b.variable(0), b.variable(0)
        if not self.stacked or self.mixes:
            self.turns_left = b.variable(0)
        if not self.stacked or not self.mixes:
            self.missing = b.variable(0)

    def frame(self, frame: Frame) -> None:
        """A batch, beside W_x for the next one. In front of a run's first there is one without steps."""
        b, coming = self.b, frame.count
        if self.stacked:  # tokens for the first pass, of a band that others have waited for
            self.make_tokens(self.band_units * (1 + self.copies))
        if self.below:
            self._frame_above(frame)
            return
        self.steps = self._pairs(coming)
        frame.inputs()
        for _ in b.when(coming):
            self._begin_x(coming)
        for _ in b.unless(coming):  # nobody's: products for the step behind the last one go there
            self.start_sums(self.mask, self.batch * self.blocks)
        self._passes(*self.steps)
        for _ in b.when(coming):
            self._rest_of_x(coming)
            for at in b.each(self.batch):
                self.start_sums(self.mask, at * self.blocks, source=self._sums(self.batch + at))
        frame.following()

    def _frame_above(self, frame):
        """Of a layer above the first one: W_x for this batch, and its passes."""
        b = self.b
        for _ in b.when(frame.number):
            for at in b.each(1, self.batch):
                self.start_sums(self.mask, at * self.blocks)
            for segment, part in b.parts(1, self.counts["x"] - 1):
                self._load_segment("x", segment)
                self._x_of_step(segment, as_sum(0), self._sums(0 if part else self.batch), release=0)
                for at, last in b.peeled(1, self.batch):
                    self._x_of_step(segment, at, self._sums(at), release=int(last))
        self.start_sums(self.mask, self.batch * self.blocks)
        self._passes(*self.planner.layers[0].steps)
        frame.following()

    def _x_of_step(self, segment, at, source, release):
        """The products of a step with a segment of W_x, added to sums, into those of the step."""
        below, columns = self.below, self.columns["x"]
        x = below.h + (at + 2) * below.layer.outputs if below else at * self.x_stride
        x += segment * columns
        fields = {"operand": x, "columns": columns, "slots": self.blocks, "stream": 1, "release": release}
        self.mac(self.mask, part="x", source=source, store=1, target=self._sums(at), **fields)

    def _passes(self, pairs, odd):
        b = self.b
        for _ in b.unless(pairs):
            for _ in b.unless(odd):
                self._first()
        for pair, part in b.parts(pairs, odd):
            if part == 0:
                self._down(2 * pair)
                self._up(2 * pair + 1)
            else:
                self._single(2 * pair)
            if self.answers:
                self._answer(EVEN if part == 0 else ODD, self.band_units)
        if self.stacked:
            self._take_tokens(self.band_units)

    def _answer(self, first, ahead=0):
        """The outputs of steps, from that of even ones or odd ones on; their h is there with so many tokens."""
        if ahead:
            self.b.emit("MAC", space=SPACE_H, columns=1, slots=1, wait=1, offset=ahead - 1)
        for place in self.b.each(first, ODD + 1):
            h = self.h + place * self.layer.outputs
            self.planner.heads[0].outputs(self.mask, h, ahead=ahead)

    # W_x for the next batch, whose sums wait behind those of the present one; with them the first step's part of W_h

    def _begin_x(self, count):
        """Of so many steps, with the last segment."""
        b = self.b
        self.await_x(steps=count)
        b.assign(self.left_x, self.counts["x"] * self.columns["x"])
        b.assign(self.left_beats, self.counts["x"] * self.lengths["x"])
        if not self.stacked or self.mixes:
            b.assign(self.turns_left, self.every)
        if not self.stacked or not self.mixes:
            b.assign(self.missing, self.batch)
            for _ in b.each(count):
                b.advance(self.missing, -1)
        self._last_x(hold=1)

    def _rest_of_x(self, count):
        b = self.b
        for _ in b.each(self.counts["x"] - 1):
            for _ in b.when(self.left_x):
                self._last_x()
        self.free_x(steps=count)

    def _some_x(self):
        """A segment, once in so many turns, while there are any."""
        b = self.b
        b.advance(self.turns_left, -1)
        for _ in b.unless(self.turns_left):
            b.assign(self.turns_left, self.every)
            for _ in b.when(self.left_x):
                self._last_x()

    def _last_x(self, hold=0):
        """The last segment that is left, for all steps; the first time it begins their sums."""
        b, columns, beats = self.b, self.columns["x"], self.lengths["x"]
        b.emit(
            "LOAD",
            offset=self.left_beats + (self.first_beat - beats),
            beats=beats,
            words=self.blocks * columns,
            stream=1,
        )
        for at in (self.batch - 1, *range(self.batch - 1)):
            sums, x = self._sums(self.batch + at), self.left_x + (at * self.x_stride - columns)
            fields = {"part": "x", "operand": x, "columns": columns, "slots": self.blocks, "stream": 1}
            fields |= {"hold": 1} if hold else {"source": sums}
            for _ in b.unless(self.missing if at == self.batch - 1 and not self.mixes else 0):
                self.mac(self.mask, store=1, target=sums, release=int(at == self.batch - 2), **fields)
        b.advance(self.left_x, -columns)
        b.advance(self.left_beats, -beats)

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

    def _first(self):
        """The upper segments for the first step of a run."""
        self.settle(self, take=0)
        for band in self.b.each(self.bands - 1):
            first = (band + 1) * self.size(False)[2]
            self._segments(band, False, first, self.parts - first, (self._sums(self.batch), ODD))

    def _down(self, step):
        """Finish an even step, and start the odd one behind it."""
        first, second = (self._sums(step), ODD), (self._sums(step + 1), EVEN)
        self._take_tokens(self.band_units)
        bands = self._each_band(0) if self.alike else chain([(as_sum(0), False)], self._each_band(1))
        for band, last in bands:  # of the first one none is shared
            _, units, own = self.size(last)
            before = band * self.size(False)[2]
            self._segments(band, last, as_sum(0), before, first, second, behind=own)
            self._own(band, last, before, first)
            self._finish(band, last, step, first[0], EVEN)
            self._early(units)
            self._own(band, last, before, second, again=True)
            self._late(units)

    def _up(self, step):
        """Finish an odd step, and start the even one behind it, which may be the next batch's first."""
        first, second = self._sums(step), self._next_sums(step)
        self._finish(self.bands - 1, True, step, first, ODD)
        for number in self.b.each(self.bands - 1):
            band, count = self.bands - 2 - number, self.size(True)[2] + number * self.size(False)[2]
            if self.threshold is None:
                self._newest(number)
            self._segments(band, False, self.parts - 1, count, (first, EVEN), (second, ODD), step=-1)
            self._finish(band, False, step, first, ODD)
        self._late(self.layer.outputs - self.band_units)

    def _single(self, step):
        """The last step of a run, an even one, whose h goes where that of the step before is."""
        sums, each = self._sums(step), self.size(False)[2]
        self._take_tokens(self.band_units)
        for band, last in self._each_band(0):
            before, own = band * each, self.size(last)[2]
            self._segments(band, last, before, own, (sums, ODD), behind=-before)
            self._segments(band, last, as_sum(0), before, (sums, ODD), behind=own)
        for band, last in self._each_band(0):
            self._finish(band, last, step, sums, ODD)
            if not last:  # asked about before the next CELL
                self._ask(ODD, (band + 1) * each)
        self._take_tokens(self.layer.outputs - self.band_units)

    def _each_band(self, first):
        """``for band, last in ...``, from one on; the last one is written out if it is unlike the others."""
        for band in self.b.each(first, self.bands - (not self.alike)):
            yield band, False
        if not self.alike:
            yield as_sum(self.bands - 1), True

    # Segments of a band, for one or two steps: (first sum, place of the h that it multiplies) each

    def _segments(self, band, last, first, count, *steps, step=1, behind=0):
        """So many groups, whose segments are ``behind`` their number in the band's part of memory."""
        for at in self.b.each(count):
            group = first + at * step
            if len(steps) > 1:
                if self.mixes:
                    self._some_x()
                self._shared(band, last, group, group + behind, *steps)
            else:
                for _ in self._kept_at(steps[0][1], group):
                    self._load_group(band, last, group + behind)
                    self._group(band, last, group, *steps[0], release=1)
            self._passed(last)

    def _shared(self, band, last, group, where, first, second):
        """A segment for the steps that need it, the last of which frees its words."""
        b, asks = self.b, self.threshold is not None
        alone = b.variable(1) if asks else as_sum(0)
        for _ in self._kept_at(second[1], group):
            self._load_group(band, last, where)
            for _ in self._kept_at(first[1], group):
                self._group(band, last, group, *first)
            self._group(band, last, group, *second, release=1)
            if asks:
                b.assign(alone, 0)
        for _ in b.when(alone):
            for _ in self._kept_at(first[1], group):
                self._load_group(band, last, where)
                self._group(band, last, group, *first, release=1)

    def _own(self, band, last, first, step, again=False):
        """Segments of a band's own units, whose groups are from ``first`` on, for the first or the second time."""
        if self.stay:
            self._staying(band, last, first, step, load=not again)
        else:
            self._segments(band, last, first, self.size(last)[2], step, behind=-first)

    def _staying(self, band, last, first, step, load=False):
        """Those of its own units, which stay in the ring: all of them come, and the second time they are freed."""
        blocks, _, own = self.size(last)
        words = blocks * H_GROUP
        for at in self.b.each(own):
            if load:
                self._load_group(band, last, at)
            for _ in self._kept_at(step[1], first + at):
                self._group(band, last, first + at, *step, word=at * words)
            if load:
                self._passed(last)
        if not load:
            self.release(own * words)

    def _passed(self, last):
        """Behind a segment."""

    @property
    def _first_of_h(self):
        """First beat of W_h in the image."""
        return self.first_beat + self.counts["x"] * self.lengths["x"]

    def _beats(self, last):
        """Of a segment of a band, or of the last one."""
        return self.lengths["last" if last else "h"]

    def _load_group(self, band, last, where):
        self._load(last, band * (self.parts * self._beats(False)) + where * self._beats(last) + self._first_of_h)

    def _load(self, last, offset):
        words = self.size(last)[0] * H_GROUP
        self.b.emit("LOAD", offset=offset, beats=self._beats(last), words=words, stream=1)

    def _group(self, band, last, group, sums, place, word=0, release=0):
        """The products of a segment."""
        blocks = self.size(last)[0]
        h, row = group * H_GROUP + (self.h + place * self.layer.outputs), sums + band * self.band_blocks
        fields = {"part": "h", "columns": H_GROUP, "slots": blocks, "operand": h, "stream": 1, "release": release}
        self.add(self.mask, row, weight=word, **fields)

    def _sums(self, step):
        """First accumulator entry of a step of the batch."""
        return as_sum(step) * self.blocks + self.sums

    def _next_sums(self, step):
        """... and of the step behind an odd one."""
        return self._sums(step + 1)

    def _finish(self, band, last, step, sums, place):
        """The hidden units of a band; those of the copy first."""
        for _ in range(self.copies):
            self._hidden(band, last, sums, step + 2, of_copy=True)
        self._hidden(band, last, sums, place)

    def _hidden(self, band, last, sums, place, of_copy=False):
        """The last column of the bias, and the units of a band, with the c of the copy or the layer's own."""
        blocks, units, _ = self.size(last)
        row, unit, length = band * self.band_blocks, band * self.band_units, self.layer.outputs
        self._bias(self.mask, -1, row, slots=blocks, source=sums + row, finish=1)
        state, target = self.c + of_copy * length, place * length + self.h
        self.cells(units, self.mask, state=unit + state, target=unit + target, **self._size)

    def _ask(self, place, end):
        """Until it is known which groups of the h at a place are kept, up to one."""
        for _ in self._kept_at(place, end - 1):
            pass

    def _kept_at(self, place, group):
        """What follows is done if a group of the h at a place is kept."""
        return self._kept(as_sum(place) * self.parts + group)

    # Tokens of h: where programs ask, what they have asked about is there.

    def _take_tokens(self, units):
        self.b.await_tokens(SPACE_H, units * (1 + self.copies))

    def _early(self, units):
        if self.threshold is None:
            self._take_tokens(units)

    def _late(self, units):
        if self.threshold is not None:
            self._take_tokens(units)

    def _newest(self, number):
        """The tokens of the band that a pass up has finished before."""
        number *= -self.band_blocks if self.stacked else 1  # which a register holds already
        for _ in self.b.when(number):
            self._take_tokens(self.band_units)
        for _ in self.b.unless(number):
            self._take_tokens(self.size(True)[1])


class TurningLayer(CompressedSaccLayer):
    """A layer of a stack that leaves out groups of h.

    Of what a CELL brings it must be known which groups are kept before there is another one. So a band's units for the
    layer above come when those of the band itself are known, in a pass up of all bands together. W_x has its turn in
    front of the passes. ``at`` is where the next segment of W_h is in the image, which has them in the order of use.
    The sums of a step behind a batch are those of its first one.
    """

    brief = True

    def __init__(self, planner: CompressedSaccPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.mixes = False
        self.own["accumulators"] = self.batch * self.blocks
        self.shared["finish_entries"] = self.blocks if self.copies else self.band_blocks
        self.shared.pop("states")

    def _in_memory(self):
        for band in range(self.bands):
            yield from ((band, group) for group in range(self._end(band)))
        for band in reversed(range(self.bands - 1)):
            yield from ((band, group) for group in reversed(range(self._end(band), self.parts)))

    def _end(self, band):
        """Behind the last group of a band's own units."""
        return self.parts if band == self.bands - 1 else (band + 1) * self.size(False)[2]

    def zero(self) -> int:
        """Both c at once, beside h an h that nobody has yet."""
        units = (1 + self.copies) * self.layer.outputs
        self.cells(units, self.mask, MODE_ZERO, state=self.c, target=self.h + self.layer.outputs, **self._size)
        self._ask(ODD + self.copies, self.parts)
        return units

    def begin(self) -> None:
        return

    def first_frame(self) -> None:
        """x of a run's first batch, sums of a batch, and the upper segments for the first step."""
        b = self.b
        if not self.below:
            self.inputs(self.planner._taken, as_sum(0))
        for at in b.each(self.batch):
            self.start_sums(self.mask, at * self.blocks)
        down = sum(self._end(band) for band in range(self.bands - 1)) * self._beats(False)
        self.at = b.variable(down + self.parts * self._beats(True) + self._first_of_h)
        for number in b.each(self.bands - 1):
            band, count = self.bands - 2 - number, self.size(True)[2] + number * self.size(False)[2]
            self._segments(band, False, self.parts - 1, count, (self._sums(0), ODD), step=-1)

    def frame(self, frame: Frame) -> None:
        b, first = self.b, self.planner.layers[0]
        if not self.below:
            self.await_x(steps=frame.count)
        for segment in b.each(self.counts["x"]):
            self._load_segment("x", segment)
            for at, last in b.peeled(self.batch):
                self._x_of_step(segment, at, self._sums(at), release=int(last))
        if not self.below:
            self.free_x(steps=frame.count)
            self.steps = self._pairs(frame.count)
            frame.inputs()
        for pair, part in b.parts(*first.steps):
            if part == 0:
                self._down(2 * pair)
                self._up(2 * pair + 1)
            else:
                self._single(2 * pair)
            if self.answers:
                self._answer(EVEN if part == 0 else ODD)
        frame.following()

    def _down(self, step):
        first, second = (self._sums(step), ODD), (self._sums(step + 1), EVEN)
        self.at = self.b.variable(self._first_of_h)
        for band, last in self._each_band(0):
            own, before = self.size(last)[2], band * self.size(False)[2]
            self._segments(band, last, as_sum(0), before, first, second)
            self._own(band, last, before, first)
            self._ask_of_copy(step, before)
            self._hidden(band, last, first[0], EVEN)
            if not self.stay:
                self.b.advance(self.at, -own * self._beats(last))
            self._own(band, last, before, second, again=True)
            for _ in range(self.copies):
                self._hidden(band, last, first[0], step + 2, of_copy=True)
        self._ask_of_copy(step, self.parts)
        self._take_tokens(self.layer.outputs)
        self.start_sums(self.mask, step * self.blocks)

    def _up(self, step):
        super()._up(step)
        self._ask(ODD, self.size(False)[2])
        self._rest(step)
        self.start_sums(self.mask, step * self.blocks)

    def _finish(self, band, last, step, sums, place):
        self._hidden(band, last, sums, place)

    def _single(self, step):
        sums, self.at = self._sums(step), self.b.variable(self._first_of_h)
        for band, last in self._each_band(0):
            self._segments(band, last, as_sum(0), band * self.size(False)[2] + self.size(last)[2], (sums, ODD))
        for band, last in self._each_band(0):
            self._hidden(band, last, sums, ODD)
            self._ask(ODD, self.parts if last else (band + 1) * self.size(False)[2])
        self._rest(step)

    def _rest(self, step):
        """Of an odd step or a last one, of which it is known what is kept: the h for the layer above, and tokens."""
        length = self.layer.outputs
        for _ in range(self.copies):
            self.end_sums(self.mask, self._sums(step))
            target = (step + 2) * length + self.h
            self.cells(length, self.mask, state=self.c + length, target=target, **self._size)
        self._ask_of_copy(step, self.parts)
        self._take_tokens(length)

    def _ask_of_copy(self, step, end):
        for _ in range(self.copies):
            self._ask(step + 2, end)

    def _next_sums(self, step):
        return self._sums((step + 1) % self.batch)

    def _load_group(self, band, last, where):
        self._load(last, self.at)

    def _passed(self, last):
        self.b.advance(self.at, self._beats(last))

    def _late(self, units):
        """Passes take them behind their last CELL."""


class CompressedSaccPlanner(CompressedPlanner):
    """Any stack, one sequence, on an engine with a decoder; a head stays on chip.

    Outputs leave band by band, ascending in even steps of a run and descending in odd ones.

    Parameters
    ----------
    network, config, batch
        As of :class:`CompressedPlanner`, the batch an even number.
    """

    name = "compressed_sacc"
    layer, answers = CompressedSaccLayer, True

    def __init__(self, network: Network, config: EngineConfig, batch: int) -> None:
        if batch % 2:
            raise ConfigError("batch", batch, f"must be even for the schedule {self.name}")
        if len(network.recurrent) > 1 and network.sparse_h:
            self.layer = TurningLayer
        super().__init__(network, config, batch)

    def _batches(self):
        StackPlanner._batches(self)

    def _inputs(self, after, first):
        """The first layer multiplies x of the next batch in its frame, whoever comes behind it."""
        self.layers[0].inputs(self._taken, first + self.batch)

    def _first_frame(self):
        for layer in self.layers:
            layer.first_frame()
