"""StreamFork: one stream to several takers, each at its own pace."""

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class StreamFork(wiring.Component):
    """Offers each payload to every output until that one has taken it; the last to take it lets the next one come.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.
    ways : int
        Number of outputs, 1 or more.

    Members
    -------
    i : stream, in
    o : list of streams, out

    Timing
    ------
    No latency: an output that is ready takes a payload in the cycle in which it is offered. One payload a cycle while
    all outputs are ready.
    """

    def __init__(self, shape: ShapeLike, ways: int):
        self.ways = ways
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)).array(ways)})

    def elaborate(self, platform) -> Module:
        m = Module()
        taken = Signal(self.ways)
        takes = Signal(self.ways)
        m.d.comb += self.i.ready.eq((taken | takes).all())
        for n, output in enumerate(self.o):
            m.d.comb += [
                output.payload.eq(self.i.payload),
                output.valid.eq(self.i.valid & ~taken[n]),
                takes[n].eq(~taken[n] & output.ready),
            ]
        with m.If(self.i.valid):
            m.d.sync += taken.eq(Mux(self.i.ready, 0, taken | takes))
        return m
