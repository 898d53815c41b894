"""WeightMemory: an AXI4 read slave in block RAM whose bytes a host writes and reads."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from lstm_hw.errors import ConfigError
from lstm_hw.gateware.axi import DECERR, OKAY, Axi4Read


def byte_access(address_bits):
    """An access to a byte of memory."""
    return data.StructLayout({"write": 1, "address": address_bits, "byte": 8})


class WeightMemory(wiring.Component):
    """Answers INCR bursts of full words, one burst at a time, and single accesses to bytes between two bursts.

    Parameters
    ----------
    address_bits, data_bits : int
        Widths of the AXI4 port.
    base : int
        Byte address of the first word, a multiple of ``size``.
    size : int
        Bytes, a power of two.
    image : bytes
        The first bytes when the FPGA is configured; the others are 0.

    Members
    -------
    bus : AXI4 read slave
        A burst that does not lie inside the memory is answered with DECERR, beat by beat.
    i : stream of byte_access, in
        Writes are taken at once; reads when no burst is in progress.
    o_done : Out(1)
        ``o_byte`` is what was read; high for one cycle, two cycles after the access was taken.
    o_byte : Out(8)

    Timing
    ------
    The first beat comes two cycles after the handshake of its burst, then one beat a cycle.

    Raises
    ------
    ConfigError
        ``size`` is no power of two of at least two words, ``base`` is not aligned, or the image is too long.
    """

    def __init__(self, address_bits, data_bits, base, size, image=b""):
        self.word_bytes = data_bits // 8
        if size & (size - 1) or size < 2 * self.word_bytes:
            raise ConfigError("weight memory", f"{size} bytes", f"must be a power of two from {2 * self.word_bytes} on")
        if base % size:
            raise ConfigError("base of the weight memory", hex(base), f"must be a multiple of {size}")
        if len(image) > size:
            raise ConfigError("weight image", f"{len(image)} bytes", f"must fit the memory of {size}")
        self.data_bits, self.base, self.size = data_bits, base, size
        padded = image + bytes(-len(image) % self.word_bytes)
        self.words = [
            int.from_bytes(padded[at : at + self.word_bytes], "little") for at in range(0, len(padded), self.word_bytes)
        ]
        super().__init__(
            {
                "bus": In(Axi4Read(address_bits, data_bits)),
                "i": In(stream.Signature(byte_access(exact_log2(size)))),
                "o_done": Out(1),
                "o_byte": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        depth, low = self.size // self.word_bytes, exact_log2(self.word_bytes)
        m.submodules.ram = ram = memory.Memory(shape=self.data_bits, depth=depth, init=self.words)
        reads, writes = ram.read_port(), ram.write_port(granularity=8)
        access = self.i.payload
        word, byte = access.address[low:], access.address[:low]

        # A burst: the address that is read next, the beats left to be read, and the beat that is on the bus.
        address, left = Signal(range(depth)), Signal.like(bus.arlen)
        reading, valid, last, inside, arid = Signal(), Signal(), Signal(), Signal(), Signal.like(bus.arid)
        advance, by_host = Signal(), Signal()
        m.d.comb += [
            advance.eq(reading & (~valid | bus.rready)),
            bus.arready.eq(~reading & ~valid),
            bus.rvalid.eq(valid),
            bus.rdata.eq(reads.data),
            bus.rlast.eq(last),
            bus.rid.eq(arid),
            bus.rresp.eq(Mux(inside, OKAY, DECERR)),
            by_host.eq(self.i.valid & ~access.write & ~reading & ~valid),
            reads.en.eq(advance | by_host),
            reads.addr.eq(Mux(reading, address, word)),
            self.i.ready.eq(access.write | by_host),
            writes.addr.eq(word),
            writes.data.eq(access.byte.replicate(self.word_bytes)),
            writes.en.eq((self.i.valid & access.write) << byte),
        ]
        with m.If(valid & bus.rready):
            m.d.sync += valid.eq(0)
        with m.If(advance):
            m.d.sync += [valid.eq(1), last.eq(left == 0), address.eq(address + 1), left.eq(left - 1)]
            with m.If(left == 0):
                m.d.sync += reading.eq(0)
        with m.If(bus.arvalid & bus.arready):
            offset = bus.araddr - self.base
            # Bursts cross no page, so the end is inside where it does not carry out.
            ends = (offset >> low)[: len(address)] + bus.arlen
            m.d.sync += [
                address.eq(offset >> low),
                left.eq(bus.arlen),
                reading.eq(1),
                arid.eq(bus.arid),
                inside.eq((bus.araddr >> exact_log2(self.size) == self.base // self.size) & (ends < depth)),
            ]

        # The word that a host reads lies on the port in the cycle after; its byte is kept.
        came, chosen = Signal(), Signal(low)
        m.d.sync += [came.eq(by_host), chosen.eq(byte), self.o_done.eq(came)]
        with m.If(came):
            m.d.sync += self.o_byte.eq(reads.data.word_select(chosen, 8))
        return m
