"""OutputHold: keeps an output beat offered that was not taken when its run was given up."""

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class OutputHold(wiring.Component):
    """Stands behind the output queue, which a run that is given up empties.

    Parameters
    ----------
    shape : ShapeLike
        Of a beat.

    Members
    -------
    i : stream, in
    o : stream, out
    i_clear : In(1)
        ``i`` is withdrawn in the next cycle: what ``o`` offers in this one and nobody takes stays offered.

    Timing
    ------
    No latency. A beat that is kept goes before all others.
    """

    def __init__(self, shape: ShapeLike):
        self.shape = shape
        beats = stream.Signature(shape)
        super().__init__({"i": In(beats), "o": Out(beats), "i_clear": In(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        kept = Signal(self.shape)
        keeps = Signal()
        m.d.comb += [
            self.o.valid.eq(keeps | self.i.valid),
            self.o.payload.eq(Mux(keeps, Value.cast(kept), Value.cast(self.i.payload))),
            self.i.ready.eq(self.o.ready & ~keeps),
        ]
        with m.If(self.o.ready):
            m.d.sync += keeps.eq(0)
        with m.Elif(self.i_clear & self.o.valid):
            m.d.sync += [keeps.eq(1), kept.eq(self.o.payload)]
        return m
