"""AxiLiteMaster: single accesses to registers, each with an answer."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lstm_hw.gateware.axi import OKAY, Axi4Lite


class AxiLiteMaster(wiring.Component):
    """Performs one access at a time.

    Parameters
    ----------
    address_bits : int

    Members
    -------
    i : stream of {write, address, data}, in
        Taken when the bus is free.
    bus : AXI4-Lite master
    o_done : Out(1)
        The access has been answered; high for one cycle.
    o_data : Out(32)
        Value read, with ``o_done``.
    o_refused : Out(1)
        With ``o_done``: the answer was not OKAY.
    """

    def __init__(self, address_bits):
        self.address_bits = address_bits
        access = data.StructLayout({"write": 1, "address": address_bits, "data": 32})
        super().__init__(
            {
                "i": In(stream.Signature(access)),
                "bus": Out(Axi4Lite(address_bits)),
                "o_done": Out(1),
                "o_data": Out(32),
                "o_refused": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus, wanted = self.bus, self.i.payload
        address, value, waiting = Signal(self.address_bits), Signal(32), Signal()
        m.d.comb += [
            bus.awaddr.eq(address),
            bus.araddr.eq(address),
            bus.wdata.eq(value),
            bus.wstrb.eq(0xF),
            bus.bready.eq(waiting),
            bus.rready.eq(waiting),
            self.i.ready.eq(~waiting),
        ]
        m.d.sync += self.o_done.eq(0)
        with m.If(self.i.valid & ~waiting):
            m.d.sync += [address.eq(wanted.address), value.eq(wanted.data), waiting.eq(1)]
            m.d.sync += [bus.awvalid.eq(wanted.write), bus.wvalid.eq(wanted.write), bus.arvalid.eq(~wanted.write)]
        with m.If(waiting):
            for valid, ready in ((bus.awvalid, bus.awready), (bus.wvalid, bus.wready), (bus.arvalid, bus.arready)):
                with m.If(ready):
                    m.d.sync += valid.eq(0)
            with m.If(bus.bvalid | bus.rvalid):
                m.d.sync += [
                    waiting.eq(0),
                    self.o_done.eq(1),
                    self.o_data.eq(bus.rdata),
                    self.o_refused.eq(Mux(bus.bvalid, bus.bresp, bus.rresp) != OKAY),
                ]
        return m
