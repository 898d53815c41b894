"""UART: bytes to and from one wire each, 8 data bits, no parity, one stop bit, the low bit first."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

DIVISOR_BITS = 20
"""Width of a divisor: down to 300 baud at a clock of 300 MHz."""
MIN_DIVISOR = 2
"""Fewest cycles of a bit."""


class UartReceiver(wiring.Component):
    """Takes bytes from a wire.

    Members
    -------
    i_rx : In(1)
        The wire, of any clock; high at rest.
    i_divisor : In
        Cycles of a bit, at least MIN_DIVISOR; used from the next start bit on.
    o_valid : Out(1)
        ``o_data`` is a byte; high for one cycle.
    o_data : Out(8)
    o_broken : Out(1)
        A character without a stop bit has ended; high for one cycle. Nothing more is taken until the wire is high.
    o_break : Out(1)
        With ``o_broken``: the character was all zeros.

    Timing
    ------
    Each bit is looked at in its middle, a start bit as well, so a shorter pulse is no character.
    """

    def __init__(self):
        super().__init__(
            {
                "i_rx": In(1),
                "i_divisor": In(DIVISOR_BITS),
                "o_valid": Out(1),
                "o_data": Out(8),
                "o_broken": Out(1),
                "o_break": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.i_rx, rx, init=1)
        left, divisor = Signal(DIVISOR_BITS), Signal(DIVISOR_BITS)
        bit = Signal(3)
        m.d.sync += [self.o_valid.eq(0), self.o_broken.eq(0), left.eq(Mux(left == 0, divisor - 1, left - 1))]
        with m.FSM():
            with m.State("rest"):
                m.d.sync += [divisor.eq(self.i_divisor), left.eq((self.i_divisor >> 1) - 1), bit.eq(0)]
                with m.If(~rx):
                    m.next = "start"
            with m.State("start"):
                with m.If(left == 0):
                    m.next = "data"
                    with m.If(rx):
                        m.next = "rest"
            with m.State("data"):
                with m.If(left == 0):
                    m.d.sync += [self.o_data.eq(Cat(self.o_data[1:], rx)), bit.eq(bit + 1)]
                    with m.If(bit == 7):
                        m.next = "stop"
            with m.State("stop"):
                with m.If(left == 0):
                    m.d.sync += [self.o_valid.eq(rx), self.o_broken.eq(~rx), self.o_break.eq(self.o_data == 0)]
                    m.next = "broken"
                    with m.If(rx):
                        m.next = "rest"
            with m.State("broken"):
                with m.If(rx):
                    m.next = "rest"
        return m


class UartTransmitter(wiring.Component):
    """Sends bytes over a wire.

    Members
    -------
    i : stream of 8 bits, in
    i_divisor : In
        Cycles of a bit, at least MIN_DIVISOR; stable while a byte is sent.
    o_tx : Out(1)
    o_idle : Out(1)
        The last bit has been sent.

    Timing
    ------
    A byte every ten bits.
    """

    def __init__(self):
        super().__init__(
            {"i": In(stream.Signature(8)), "i_divisor": In(DIVISOR_BITS), "o_tx": Out(1, init=1), "o_idle": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        bits, number = Signal(9, init=0x1FF), Signal(range(11))
        left = Signal(DIVISOR_BITS)
        m.d.comb += [self.o_tx.eq(bits[0]), self.o_idle.eq(number == 0)]
        with m.If(number == 0):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [bits.eq(Cat(0, self.i.payload)), number.eq(10), left.eq(self.i_divisor - 1)]
        with m.Elif(left == 0):
            m.d.sync += [bits.eq(Cat(bits[1:], 1)), number.eq(number - 1), left.eq(self.i_divisor - 1)]
        with m.Else():
            m.d.sync += left.eq(left - 1)
        return m
