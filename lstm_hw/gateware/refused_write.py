"""Refused write: keeps the first one until software clears it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..machine.registers import ADDRESS_BITS, Refusal, lookup
from .register_file import layout


class RefusedWrite(wiring.Component):
    """The register REFUSED: where and why a write was refused.

    Members
    -------
    i_write, i_address : In
        Write strobe (1) and word address.
    i_here, i_ok, i_lock : In(1)
        Something can be written at the address, this write is not refused, and a run is in progress; valid in the
        cycle of ``i_write``.
    i_clear : In(1)
        Forget what is kept; such a write is never refused.
    o_refused : Out(layout)
        Value of the register.

    Timing
    ------
    The register changes two cycles after ``i_write``, one after ``i_clear``.
    """

    def __init__(self):
        super().__init__(
            {
                "i_write": In(1),
                "i_address": In(ADDRESS_BITS - 2),
                "i_here": In(1),
                "i_ok": In(1),
                "i_lock": In(1),
                "i_clear": In(1),
                "o_refused": Out(layout(lookup("REFUSED"))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        kept = self.o_refused
        now = Signal()
        reason = Signal.like(kept.code)
        address = Signal.like(self.i_address)
        m.d.sync += [
            now.eq(self.i_write & ~self.i_ok),
            reason.eq(Mux(self.i_here, Mux(self.i_lock, Refusal.RUN, Refusal.VALUE), Refusal.ADDRESS)),
            address.eq(self.i_address),
        ]
        with m.If(self.i_clear):
            m.d.sync += Value.cast(kept).eq(0)
        with m.Elif(now & ~kept.write):
            m.d.sync += [kept.write.eq(1), kept.code.eq(reason), kept.address.eq(Cat(C(0, 2), address))]
        return m
