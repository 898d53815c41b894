"""GroupJudge: which groups of h are large enough to be multiplied."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..machine.config import EngineConfig
from ..machine.latency import JUDGE
from ..machine.limits import H_GROUP
from .delta_encoder import encoder_input_layout
from .kept_bits import KeptBits, new_vector_layout

PLACE_BITS = exact_log2(H_GROUP)
"""Low bits of an element's address: its place in its group."""


class GroupJudge(wiring.Component):
    """Adds up the sizes of each group of h, and tells the sequencer whether it is kept.

    A group is kept if the sum of its sizes is the threshold at least, or if one of them is larger than half of it.

    Parameters
    ----------
    config : EngineConfig
        With ``sparse_h``.

    Members
    -------
    i : In(encoder_input_layout()), i_valid : In(1)
        An element of h; those of a vector come in ascending order, from a multiple of ``H_GROUP`` on.
    i_new : In(new_vector_layout())
        No group of a vector is known until its elements come.
    i_group : In
        The group that is asked for.
    o_known, o_kept : Out(1)
        Whether it is known, in this cycle, and whether it is kept.

    Timing
    ------
    A group is written ``JUDGE`` cycles after its last element, and known in the cycle behind.
    """

    latency = JUDGE

    def __init__(self, config: EngineConfig):
        self.config = config
        self.groups = -(-config.h_elements // H_GROUP)
        super().__init__(
            {
                "i": In(encoder_input_layout(config, config.states)),
                "i_valid": In(1),
                "i_new": In(new_vector_layout()),
                "i_group": In(range(self.groups)),
                "o_known": Out(1),
                "o_kept": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        # First stage: the size of an element, and whether it is larger than half of the threshold. Second stage: the
        # sum of its group so far. What it says is written in the cycle behind.
        m = Module()
        place, group = self.i.address[:PLACE_BITS], self.i.address[PLACE_BITS:]
        size = Signal(self.config.operand_bits, reset_less=True)
        valid, ends, starts, large = (Signal(name=name) for name in ("valid", "ends", "starts", "large"))
        threshold, number = Signal.like(self.i.threshold, name="threshold"), Signal(range(self.groups), name="number")
        magnitude = abs(self.i.value)
        m.d.sync += [
            valid.eq(self.i_valid),
            size.eq(magnitude),
            large.eq(magnitude << 1 > self.i.threshold),
            starts.eq(place == 0),
            ends.eq(place.all() | self.i.last),
            threshold.eq(self.i.threshold),
            number.eq(group),
        ]

        total, any_large = Signal(len(size) + PLACE_BITS, name="total"), Signal(name="any_large")
        complete, least, written = Signal(name="complete"), Signal.like(threshold, name="least"), Signal.like(number)
        m.d.sync += complete.eq(valid & ends)
        with m.If(valid):
            m.d.sync += [
                total.eq(Mux(starts, 0, total) + size),
                any_large.eq(~starts & any_large | large),
                least.eq(threshold),
                written.eq(number),
            ]

        m.submodules.bits = bits = KeptBits(self.groups)
        m.d.comb += [
            bits.i_new.eq(self.i_new.comes),
            bits.i_first.eq(self.i_new.first >> PLACE_BITS),
            bits.i_count.eq((self.i_new.elements + (H_GROUP - 1)) >> PLACE_BITS),
            bits.i_write.eq(complete),
            bits.i_address.eq(written),
            bits.i_kept.eq(any_large | (total >= least)),
            bits.i_part.eq(self.i_group),
            self.o_known.eq(bits.o_known),
            self.o_kept.eq(bits.o_kept),
        ]
        return m
