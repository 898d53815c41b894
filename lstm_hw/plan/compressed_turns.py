"""A layer of a stack that leaves out groups of h, under SACC with compressed weights.

Of what a CELL brings it must be known which groups are kept before there is another one. So a band's units for the
layer above come when those of the band itself are known, in a pass up of all bands together. W_x has its turn in front
of the passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..machine.isa import MODE_ZERO
from ..machine.network import LayerShape
from .compressed_passes import EVEN, ODD, CompressedSaccLayer
from .layer import Frame
from .sums import as_sum

if TYPE_CHECKING:
    from .compressed_sacc import CompressedSaccPlanner


class TurningLayer(CompressedSaccLayer):
    """The layer.

    ``at`` is where the next segment of W_h is in the image, which has them in the order of use. The sums of a step
    behind a batch are those of its first one.
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
        b = self.b
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
        self._steps_of(*self.planner.layers[0].steps, ahead=0)
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
