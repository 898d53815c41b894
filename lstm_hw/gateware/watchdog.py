"""Watchdog: notices that a run has come to rest without having ended."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Watchdog(wiring.Component):
    """Counts the cycles in which nothing moves and nothing outside of the engine is waited for.

    Parameters
    ----------
    cycles : int
        How many in succession mean that nothing will move any more; more than any pipeline holds.

    Members
    -------
    i_running : In(1)
        A run is in progress.
    i_moves : In(1)
        Some unit does something in this cycle.
    i_outside : In(1)
        A stream or the memory is waited for, which may take as long as it likes.
    o_expired : Out(1)
        High in the last of ``cycles`` such cycles, and on until one of the inputs changes.

    Timing
    ------
    ``o_expired`` follows the inputs in the same cycle.
    """

    def __init__(self, cycles: int):
        self.cycles = cycles
        super().__init__({"i_running": In(1), "i_moves": In(1), "i_outside": In(1), "o_expired": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        # Counted up, whose sums take carries alone; the cycle before says which is the last.
        rested, last = Signal(range(self.cycles), name="rested"), Signal(init=self.cycles == 1, name="last")
        rests = self.i_running & ~self.i_moves & ~self.i_outside
        m.d.comb += self.o_expired.eq(rests & last)
        with m.If(~rests):
            m.d.sync += [rested.eq(0), last.eq(self.cycles == 1)]
        with m.Elif(~last):
            m.d.sync += [rested.eq(rested + 1), last.eq(rested == self.cycles - 2)]
        return m
