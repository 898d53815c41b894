"""AxiRom: an AXI4 read slave whose memory has fixed content."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from amaranth.utils import exact_log2

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import DECERR, OKAY, Axi4Read
from lstm_hw.machine.limits import MAX_BURST

from .rom_reader import RomReader


class AxiRom(wiring.Component):
    """Answers INCR bursts of full words from a read-only block memory, one burst at a time.

    Parameters
    ----------
    address_bits, data_bits : int
        Widths of the port.
    base : int
        Byte address of the first word, a multiple of the word.
    image : bytes
        The content, little-endian; the last word is filled up with zeros.

    Members
    -------
    bus : AXI4 read slave
        A burst that does not lie inside the memory is answered with DECERR, beat by beat.

    Timing
    ------
    The first beat comes two cycles after the handshake of its burst, then one beat a cycle; the next burst is
    accepted in the cycle after the last beat was taken.

    Raises
    ------
    ConfigError
        ``image`` is empty or ``base`` is not aligned.
    """

    def __init__(self, address_bits, data_bits, base, image):
        self.word_bytes = data_bits // 8
        if not image:
            raise ConfigError("ROM image", "no bytes", "must hold at least one word")
        if base % self.word_bytes:
            raise ConfigError("ROM base", hex(base), f"must be a multiple of {self.word_bytes}")
        self.first = base // self.word_bytes
        padded = image + bytes(-len(image) % self.word_bytes)
        words = [
            int.from_bytes(padded[at : at + self.word_bytes], "little") for at in range(0, len(padded), self.word_bytes)
        ]
        self.reader = RomReader(data_bits, words, max_words=MAX_BURST)
        super().__init__({"bus": In(Axi4Read(address_bits, data_bits))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self.reader
        bus = self.bus
        # The low address bits are ignored, as AXI has it for a full-width burst.
        word = bus.araddr[exact_log2(self.word_bytes) :]
        offset = Signal(len(word))
        inside, arid = Signal(), Signal.like(bus.arid)
        m.d.comb += [
            offset.eq(word - self.first),
            reader.i.payload.address.eq(offset),
            reader.i.payload.extra.eq(bus.arlen),
            reader.i.valid.eq(bus.arvalid & ~bus.rvalid),
            bus.arready.eq(reader.i.ready & ~bus.rvalid),
            bus.rvalid.eq(reader.o.valid),
            reader.o.ready.eq(bus.rready),
            bus.rdata.eq(reader.o.payload.data),
            bus.rlast.eq(reader.o.payload.last),
            bus.rresp.eq(OKAY),
            bus.rid.eq(arid),
        ]
        with m.If(~inside):
            m.d.comb += bus.rresp.eq(DECERR)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [arid.eq(bus.arid), inside.eq((word >= self.first) & (offset + bus.arlen < len(reader.words)))]
        return m
