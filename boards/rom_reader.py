"""RomReader: words of a read-only memory as a stream."""

from amaranth import Module, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out


class RomReader(wiring.Component):
    """Streams runs of consecutive words of a block memory with fixed content.

    Parameters
    ----------
    bits : int
        Width of a word.
    words : sequence of int
        The content, at least one word.
    max_words : int, optional
        Longest run; the whole memory without it.

    Members
    -------
    i : stream of {address, extra}, in
        A run: its first word and the number of words that follow the first.
    o : stream of {data, last}, out
        The words; ``last`` marks the end of the run. A word behind the end of the memory reads as one of the others.

    Timing
    ------
    The first word is on ``o`` two cycles after the handshake of its run, then one word a cycle; a run is accepted
    in the cycle after the last word of the one before has left the memory.
    """

    def __init__(self, bits, words, max_words=None):
        self.words = list(words)
        self.bits, self.max_words = bits, max_words or len(self.words)
        super().__init__(
            {
                "i": In(
                    stream.Signature(
                        data.StructLayout({"address": range(len(self.words)), "extra": range(self.max_words)})
                    )
                ),
                "o": Out(stream.Signature(data.StructLayout({"data": bits, "last": 1}))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.rom = rom = memory.Memory(shape=self.bits, depth=len(self.words), init=self.words)
        port = rom.read_port()
        address, left = Signal.like(self.i.payload.address), Signal.like(self.i.payload.extra)
        reading, valid, last = Signal(), Signal(), Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~valid | self.o.ready),
            self.i.ready.eq(~reading),
            port.en.eq(advance),
            port.addr.eq(address),
            self.o.valid.eq(valid),
            self.o.payload.data.eq(port.data),
            self.o.payload.last.eq(last),
        ]
        with m.If(advance):
            m.d.sync += [valid.eq(reading), last.eq(left == 0), address.eq(address + 1), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += reading.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [address.eq(self.i.payload.address), left.eq(self.i.payload.extra), reading.eq(1)]
        return m


class RomSource(wiring.Component):
    """Streams the whole of a :class:`RomReader` once after reset.

    Parameters
    ----------
    bits, words
        As there.

    Members
    -------
    o : stream of bits, out
    o_done : Out(1)
        Every word has been taken.

    Timing
    ------
    The first word is on ``o`` in the third cycle after reset, then one word a cycle.
    """

    def __init__(self, bits, words):
        self.reader = RomReader(bits, words)
        super().__init__({"o": Out(stream.Signature(bits)), "o_done": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self.reader
        requested, done = Signal(), Signal()
        m.d.comb += [
            reader.i.valid.eq(~requested),
            reader.i.payload.extra.eq(len(reader.words) - 1),
            self.o.valid.eq(reader.o.valid),
            self.o.payload.eq(reader.o.payload.data),
            reader.o.ready.eq(self.o.ready),
            self.o_done.eq(done),
        ]
        m.d.sync += requested.eq(requested | reader.i.ready)
        with m.If(reader.o.valid & reader.o.ready & reader.o.payload.last):
            m.d.sync += done.eq(1)
        return m
