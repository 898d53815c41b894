"""AXI4-Lite slave front end: five channels in, one write strobe and one read strobe out."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import OKAY, SLVERR, Axi4Lite


class AxiLiteSlave(wiring.Component):
    """Turns the transactions of an AXI4-Lite master into single-cycle accesses to 32-bit words.

    One write and one read can be outstanding, each independent of the other. The address and the data of a write
    may come in either order or together. No path leads from a bus input to a bus output.

    Parameters
    ----------
    address_bits : int
        Width of a byte address, at least 3. The two low bits are ignored.

    Members
    -------
    bus : In(Axi4Lite(address_bits))
        The slave port. VALIDs are low from reset on, READYs rise in the first cycle after it. The protection bits
        are ignored.
    o_write, o_read : Out(1)
        Access in this cycle; each is high for one cycle a transaction.
    o_write_address, o_read_address : Out(address_bits - 2)
        Word address, valid with the strobe.
    o_write_data : Out(32)
        Data of the write, valid with ``o_write``.
    o_write_mask : Out(4)
        Bytes that the write changes; may be 0.
    i_write_ok : In(1)
        Answer in the cycle of the strobe: OKAY if 1, SLVERR if 0.
    i_read_data : In(32)
        Answer, from the cycle behind ``o_read`` until the next one; a read is always OKAY.

    Timing
    ------
    ``o_write`` comes one cycle after the later one of the address and the data handshake and ``bvalid`` one cycle
    after that; ``o_read`` one cycle after the address handshake and ``rvalid`` one cycle after that. READYs rise
    one cycle after the handshake of the response: a transaction every 3 cycles without back-pressure.
    """

    def __init__(self, address_bits: int):
        super().__init__(
            {
                "bus": In(Axi4Lite(address_bits)),
                "o_write": Out(1),
                "o_write_address": Out(address_bits - 2),
                "o_write_data": Out(32),
                "o_write_mask": Out(4),
                "i_write_ok": In(1),
                "o_read": Out(1),
                "o_read_address": Out(address_bits - 2),
                "i_read_data": In(32),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        self._writes(m)
        self._reads(m)
        return m

    def _writes(self, m):
        bus = self.bus
        # READY of a channel is high for as long as its half of the transaction is missing.
        with m.FSM(name="write"):
            with m.State("OPEN"):
                m.d.sync += [bus.awready.eq(1), bus.wready.eq(1)]
                m.next = "COLLECT"
            with m.State("COLLECT"):
                with m.If(bus.awvalid & bus.awready):
                    m.d.sync += [bus.awready.eq(0), self.o_write_address.eq(bus.awaddr[2:])]
                with m.If(bus.wvalid & bus.wready):
                    m.d.sync += [bus.wready.eq(0), self.o_write_data.eq(bus.wdata), self.o_write_mask.eq(bus.wstrb)]
                with m.If((bus.awvalid | ~bus.awready) & (bus.wvalid | ~bus.wready)):
                    m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.comb += self.o_write.eq(1)
                m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(Mux(self.i_write_ok, OKAY, SLVERR))]
                m.next = "RESPOND"
            with m.State("RESPOND"):
                with m.If(bus.bready):
                    m.d.sync += [bus.bvalid.eq(0), bus.awready.eq(1), bus.wready.eq(1)]
                    m.next = "COLLECT"

    def _reads(self, m):
        bus = self.bus
        m.d.comb += bus.rdata.eq(self.i_read_data)
        with m.FSM(name="read"):
            with m.State("OPEN"):
                m.d.sync += bus.arready.eq(1)
                m.next = "COLLECT"
            with m.State("COLLECT"):
                with m.If(bus.arvalid):
                    m.d.sync += [bus.arready.eq(0), self.o_read_address.eq(bus.araddr[2:])]
                    m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.comb += self.o_read.eq(1)
                m.d.sync += bus.rvalid.eq(1)
                m.next = "RESPOND"
            with m.State("RESPOND"):
                with m.If(bus.rready):
                    m.d.sync += [bus.rvalid.eq(0), bus.arready.eq(1)]
                    m.next = "COLLECT"
