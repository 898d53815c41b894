"""W_h in bands of row blocks, each cut into segments of four columns, for SACC with compressed weights.

A segment comes for the steps that need it, one or two, and is freed by the last one. Where a model leaves out groups of
h, a step needs a segment if its own group is kept. Those of a band's own units are needed at two times in a pass: they
come twice, or stay in between.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..machine.esell import BLOCK_COLUMNS
from ..machine.isa import SPACE_H
from ..machine.layout import Tile
from ..machine.limits import H_GROUP
from ..machine.network import LayerShape
from .compressed import SEGMENT_WORDS, CompressedLayer, segment_columns
from .sums import as_sum

if TYPE_CHECKING:
    from .compressed_sacc import CompressedSaccPlanner

LEAST_BANDS, MOST_BLOCKS = 4, 24
"""Bands of a layer, about, and row blocks of a band: of longer segments fewer serve two steps, of shorter ones the
sequencer, which asks twice of each, would be slower than the lanes."""
X_WORDS = 32
"""Words of a segment of W_x at least."""


class BandLayer(CompressedLayer):
    """A layer in ``bands`` of ``band_blocks`` row blocks and ``band_units`` units; the last one may have fewer.

    Each has ``parts`` groups of columns, of which ``own`` are of its own units. Those ``stay`` in the ring from their
    first use to the second, where they fit and most would be asked for twice. ``copies`` of h, 1 or 0, are for the
    layer above, each with tokens of its own.
    """

    brief = False
    """Whether bands are chosen for few instructions."""

    def __init__(self, planner: CompressedSaccPlanner, shape: LayerShape, number: int) -> None:
        super().__init__(planner, shape, number)
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
                self._between()
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

    def _between(self):
        """In front of a segment that may serve two steps."""

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
