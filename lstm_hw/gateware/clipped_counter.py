"""ClippedCounter: how many values of a run were beyond their format."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class ClippedCounter(wiring.Component):
    """Counts events of a run, and stops at the end of its range.

    Parameters
    ----------
    event_bits : int
        Bits of the number of events of a cycle.
    bits : int
        Bits of the count.

    Members
    -------
    i_clear : In(1)
        A run starts; events of this cycle do not count.
    i : In(event_bits)
        Events of this cycle.
    o : Out(bits)
        Events of the run, two cycles later; at most ``2**bits - 1``.
    o_any : Out(1)
        There was one; with ``o``.
    """

    def __init__(self, event_bits: int, bits: int = 32):
        super().__init__({"i_clear": In(1), "i": In(event_bits), "o": Out(bits), "o_any": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        event = Signal.like(self.i)
        total = Signal(len(self.o) + 1)
        full = total[-1]
        with m.If(self.i_clear):
            m.d.sync += [event.eq(0), total.eq(0), self.o_any.eq(0)]
        with m.Else():
            m.d.sync += [event.eq(self.i), self.o_any.eq(self.o_any | event.any())]
            with m.If(~full):
                m.d.sync += total.eq(total + event)
        m.d.comb += self.o.eq(total[:-1] | full.replicate(len(self.o)))
        return m
