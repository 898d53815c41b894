"""PacketJoin: makes one packet of all outputs of a run, as a DMA transfer wants them."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .cell_unit import output_beat_layout


class PacketJoin(wiring.Component):
    """Stands between the cell unit and the output stream.

    The last beat of a packet is held back until the next packet begins, and goes on without tlast then; or until the
    run has nothing more to send, and goes on with tlast.

    Members
    -------
    i, o : streams of output beats, in and out
    i_join : In(1)
        The outputs of the run are one packet; stable while there are any. 0: packets pass as they are.
    i_ended : In(1)
        Nothing is on its way to ``i`` any more.
    o_empty : Out(1)
        No beat is held back.

    Timing
    ------
    No latency. A packet that is joined to the next costs a cycle of the stream.
    """

    def __init__(self):
        beats = stream.Signature(output_beat_layout())
        super().__init__({"i": In(beats), "o": Out(beats), "i_join": In(1), "i_ended": In(1), "o_empty": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        kept = Signal.like(self.i.payload.data)
        keeps = Signal()
        holds = self.i_join & self.i.payload.last
        m.d.comb += [
            self.o_empty.eq(~keeps),
            self.o.valid.eq(Mux(keeps, self.i.valid | self.i_ended, self.i.valid & ~holds)),
            self.o.payload.data.eq(Mux(keeps, kept, self.i.payload.data)),
            self.o.payload.last.eq(Mux(keeps, ~self.i.valid, self.i.payload.last)),
            self.i.ready.eq(~keeps & (self.o.ready | holds)),
        ]
        with m.If(keeps):
            m.d.sync += keeps.eq(~(self.o.valid & self.o.ready))
        with m.Elif(self.i.valid & holds):
            m.d.sync += [keeps.eq(1), kept.eq(self.i.payload.data)]
        return m
