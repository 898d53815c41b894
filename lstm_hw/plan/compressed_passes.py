"""The passes of SACC with compressed weights: down the bands in even steps, up in odd ones.

Each finishes a step and, with the same segments of W_h, starts the one behind it. W_x for the next batch comes beside
the passes of this one, segment by segment (:mod:`lstm_hw.plan.compressed_sacc` says why).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from ..machine.isa import MODE_ZERO, SPACE_H
from ..machine.network import LayerShape
from .compressed_bands import BandLayer
from .layer import Frame
from .sums import Sum, Value, as_sum

if TYPE_CHECKING:
    from .compressed_sacc import CompressedSaccPlanner

EVEN, ODD = 0, 1
"""Where the h of even and of odd steps is, and that of the last step of a run with the odd ones."""
X_BEATS = 256
"""Beats of a segment of W_x that comes between segments of W_h, at most: the first step waits for the words of a long
one, which come slower than lanes take them, unless it follows another one."""


class CompressedSaccLayer(BandLayer):
    """A layer, with a c for the copy of h. One that ``answers`` gives the outputs of a head at every step."""

    def __init__(self, planner: CompressedSaccPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
        self.answers = planner.network.head_every_step and not self.copies
        self.places, self.buffers, self.turns = 2 + self.copies * self.batch, self.batch, 1
        own, length = self.size(False)[2], shape.outputs
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

    def zero(self) -> int:
        length = self.layer.outputs
        for _ in range(self.copies):
            self.cells(length, self.mask, MODE_ZERO, state=self.c + length, target=self.h + length)
        return self.zero_cells(self.mask, length, **self._size) * (1 + self.copies)

    def inputs(self, taken: Callable, first: Sum) -> None:
        for at in self.b.each(self.batch):
            for _ in taken():
                self.take_x(at * self.x_stride)

    def newest_h(self, step: Sum, later: Value, number: Sum) -> Iterator[tuple[int, Value]]:
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
        self._steps_of(pairs, odd, ahead=self.band_units)
        if self.stacked:
            self._take_tokens(self.band_units)

    def _steps_of(self, pairs, odd, ahead):
        """Passes of pairs of steps and of one more, with the outputs behind them; ``ahead`` tokens are then there."""
        for pair, part in self.b.parts(pairs, odd):
            if part == 0:
                self._down(2 * pair)
                self._up(2 * pair + 1)
            else:
                self._single(2 * pair)
            if self.answers:
                self._answer(EVEN if part == 0 else ODD, ahead)

    def _answer(self, first, ahead):
        """The outputs of steps, from that of even ones or odd ones on; their h is there with so many tokens."""
        self.b.await_tokens(SPACE_H, ahead, take=0)
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

    def _between(self):
        """A segment of W_x, once in so many turns, while there are any."""
        if not self.mixes:
            return
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
        self.end_sums(self.mask, sums + row, row, blocks)
        state, target = self.c + of_copy * length, place * length + self.h
        self.cells(units, self.mask, state=unit + state, target=unit + target, **self._size)

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
