"""Queue: a short first-in first-out memory that knows by flags whether it is empty or full."""

from amaranth import *
from amaranth.hdl import ShapeLike
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2


class Queue(wiring.Component):
    """A queue in LUT memory; an entry can leave in the cycle after it came.

    Parameters
    ----------
    shape : ShapeLike
        Of an entry.
    depth : int
        Entries that fit, a power of two, 2 at least.

    Members
    -------
    i, o : streams of entries, in and out
    o_empty : Out(1)
        There is no entry.

    Timing
    ------
    ``i.ready`` and ``o.valid`` are flip-flops: a full queue takes an entry in the cycle after another has left.
    """

    def __init__(self, shape: ShapeLike, depth: int):
        self.shape, self.depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "o_empty": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.entries = entries = memory.Memory(shape=self.shape, depth=self.depth, init=[])
        writer = entries.write_port()
        reader = entries.read_port(domain="comb")
        # Entries from the place ``oldest`` on to that before ``next_place``: all or none, as the flags say, where they
        # are one.
        bits = exact_log2(self.depth)
        next_place, oldest = Signal(bits, name="next_place"), Signal(bits, name="oldest")
        some, room = Signal(name="some"), Signal(init=1, name="room")
        comes, goes = self.i.valid & room, self.o.ready & some
        m.d.comb += [
            self.i.ready.eq(room),
            self.o.valid.eq(some),
            self.o_empty.eq(~some),
            writer.en.eq(comes),
            writer.addr.eq(next_place),
            writer.data.eq(self.i.payload),
            reader.addr.eq(oldest),
            self.o.payload.eq(reader.data),
        ]
        m.d.sync += [next_place.eq(next_place + comes), oldest.eq(oldest + goes)]
        with m.If(comes ^ goes):
            m.d.sync += [
                some.eq(comes | ((oldest + 1)[:bits] != next_place)),
                room.eq(goes | ((next_place + 1)[:bits] != oldest)),
            ]
        return m
