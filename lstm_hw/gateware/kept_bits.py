"""KeptBits: what is known of the parts of vectors, one after the other."""

from amaranth import *
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from ..machine.isa import COUNT_BITS, ELEMENT_BITS


def new_vector_layout() -> data.StructLayout:
    """Whether a vector comes, and which elements of its memory it is."""
    return data.StructLayout({"comes": 1, "first": ELEMENT_BITS, "elements": COUNT_BITS})


class KeptBits(wiring.Component):
    """A bit for each part of the vectors in a memory: whether a program goes through its columns.

    Parameters
    ----------
    parts : int
        Of all vectors.

    Members
    -------
    i_new : In(1), i_first : In, i_count : In
        A vector of so many parts, from one on, comes: they are not known until they do. All others are.
    i_write : In(1), i_address : In, i_kept : In(1)
        The next part of it is known from the cycle behind on; they come in ascending order, two cycles behind ``i_new``
        or later.
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
                "i_first": In(range(parts)),
                "i_count": In(range(parts + 1)),
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
        known, end, count = (Signal(range(self.parts + 1), name=name) for name in ("known", "end", "count"))
        begun = Signal()
        m.d.comb += [
            writer.en.eq(self.i_write),
            writer.addr.eq(self.i_address),
            writer.data.eq(self.i_kept),
            reader.addr.eq(self.i_part),
            self.o_known.eq((known > self.i_part) | (end <= self.i_part)),
            self.o_kept.eq(reader.data),
        ]
        m.d.sync += begun.eq(self.i_new)
        with m.If(begun):
            m.d.sync += end.eq(known + count)
        with m.If(self.i_new):
            m.d.sync += [known.eq(self.i_first), count.eq(self.i_count)]
        with m.Elif(self.i_write):
            m.d.sync += known.eq(known + 1)
        return m
