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
        waits = self.i_waiting & ~self.i_progress
        with m.If(~waits):
            m.d.sync += left.eq(self.i_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.o_expired.eq(waits & (left == 1))
        return m
