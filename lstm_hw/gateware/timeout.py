"""Timeout: notices that something is waited for too long."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .choice import equal


class Timeout(wiring.Component):
    """Counts the cycles of a wait.

    Members
    -------
    i_cycles : In(32)
        Cycles without progress that are allowed; 0 is any number. Stable while something is waited for.
    i_waiting : In(1)
        Something is waited for.
    i_progress : In(1)
        It comes in this cycle.
    o_expired : Out(1)
        High in the last of ``i_cycles`` successive cycles that wait without progress.

    Timing
    ------
    ``o_expired`` follows the inputs in the same cycle.
    """

    def __init__(self):
        super().__init__({"i_cycles": In(32), "i_waiting": In(1), "i_progress": In(1), "o_expired": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        # Counted up, whose sums take carries alone. In the second cycle of a wait the next one is its third.
        next_cycle = Signal(33, init=2)
        last = Signal()
        waits = self.i_waiting & ~self.i_progress
        with m.If(~waits):
            m.d.sync += [next_cycle.eq(2), last.eq(self.i_cycles == 1)]
        with m.Else():
            m.d.sync += last.eq(equal(next_cycle[:32], self.i_cycles) & ~next_cycle[-1])
            with m.If(~next_cycle[-1]):  # beyond any number of cycles it stays
                m.d.sync += next_cycle.eq(next_cycle + 1)
        m.d.comb += self.o_expired.eq(waits & last)
        return m
