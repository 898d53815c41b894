"""Timeout: notices that something is waited for too long."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Timeout(wiring.Component):
    """Counts the cycles of a wait.

    Members
    -------
    i_cycles : In(32)
        Cycles without progress that are allowed; 0 is any number. A change counts from the next progress.
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
        left = Signal(32)
        last = Signal()
        waits = self.i_waiting & ~self.i_progress
        never = Signal(init=1)  # the count wraps below 0
        with m.If(~waits):
            m.d.sync += [last.eq(self.i_cycles == 1), never.eq(self.i_cycles == 0)]
        with m.Else():
            m.d.sync += last.eq(~never & (left == 2))
        m.d.sync += left.eq(waits.replicate(len(left)) + Mux(waits, left, self.i_cycles))  # one LUT a bit
        m.d.comb += self.o_expired.eq(waits & last)
        return m
