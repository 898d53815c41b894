"""KeptBits: what is known of the parts of a vector, one after the other."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class KeptBits(wiring.Component):
    """A bit for each part of a vector: whether a program goes through its columns.

    Parameters
    ----------
    parts : int
        Most parts of a vector.

    Members
    -------
    i_new : In(1)
        No part is known until those of the next vector come.
    i_write : In(1), i_address : In, i_kept : In(1)
        The next part is known from the cycle behind on; they come in ascending order, from 0 on.
    i_part : In
        The part that is asked for.
    o_known, o_kept : Out(1)
        Whether it is known, in the same cycle, and whether it is kept.
    """

    def __init__(self, parts: int):
        self.parts = parts
        super().__init__(
            {
                "i_new": In(1),
                "i_write": In(1),
                "i_address": In(range(parts)),
                "i_kept": In(1),
                "i_part": In(range(parts)),
                "o_known": Out(1),
                "o_kept": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.kept = kept = memory.Memory(shape=1, depth=self.parts, init=[])
        writer, reader = kept.write_port(), kept.read_port(domain="comb")
        known = Signal(range(self.parts + 1))
        m.d.comb += [
            writer.en.eq(self.i_write),
            writer.addr.eq(self.i_address),
            writer.data.eq(self.i_kept),
            reader.addr.eq(self.i_part),
            self.o_known.eq(known > self.i_part),
            self.o_kept.eq(reader.data),
        ]
        with m.If(self.i_new):
            m.d.sync += known.eq(0)
        with m.Elif(self.i_write):
            m.d.sync += known.eq(known + 1)
        return m
