"""FlashReader: bytes of a serial flash memory as a stream."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

READ = 0x03
"""Command of every serial flash: 24 bits of address follow, then bytes come as long as the clock runs."""
PHASES = 4
"""Cycles of a bit, a power of two."""


class FlashReader(wiring.Component):
    """Reads the bytes of a flash from one address on, in SPI mode 0, from its reset on.

    Parameters
    ----------
    base : int
        Address of the first byte, below 1 << 24.

    Members
    -------
    o : stream of 8 bits, out
        The clock of the flash rests while a byte is not taken.
    i_cipo : In(1), o_copi, o_sck, o_cs : Out(1)
        The flash; ``o_cs`` is high while it is selected.

    Timing
    ------
    A byte takes 32 cycles. Before the command there are eight bits without select: a pin that configured the FPGA may
    take some clocks to become the design's, and the flash ends what it was told before.
    """

    def __init__(self, base):
        self.base = base
        super().__init__(
            {
                "o": Out(stream.Signature(8)),
                "i_cipo": In(1),
                "o_copi": Out(1),
                "o_sck": Out(1),
                "o_cs": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cipo = Signal()
        m.submodules.synchronizer = FFSynchronizer(self.i_cipo, cipo)
        phase, left = Signal(range(PHASES)), Signal(range(32), init=7)
        out, came, byte = Signal(32), Signal(7), Signal(8)
        ends, held = Signal(), Signal()
        m.d.comb += [
            self.o_sck.eq(phase[-1]),
            self.o_copi.eq(out[-1]),
            byte.eq(Cat(cipo, came)),
            ends.eq((phase == PHASES - 1) & (left == 0) & ~held),
        ]
        with m.If(~held):
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == PHASES - 1):
                m.d.sync += [left.eq(left - 1), out.eq(out << 1), came.eq(byte)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("wake"):
                with m.If(ends):
                    m.d.sync += [left.eq(31), out.eq(Const(READ << 24 | self.base, 32)), self.o_cs.eq(1)]
                    m.next = "command"
            with m.State("command"):
                with m.If(ends):
                    m.d.sync += left.eq(7)
                    m.next = "read"
            with m.State("read"):
                m.d.comb += held.eq((phase == PHASES - 1) & (left == 0) & self.o.valid & ~self.o.ready)
                with m.If(ends):
                    m.d.sync += [left.eq(7), self.o.payload.eq(byte), self.o.valid.eq(1)]
        return m
