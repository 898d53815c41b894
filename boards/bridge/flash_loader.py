"""FlashLoader: brings a model from a serial flash memory to the engine, without a host."""

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from boards.flash_image import ACCESS_BYTES, CRC_BYTES, HEAD_BYTES, IDENTITY_BYTES, MAGIC, MAX_ACCESSES, identity
from boards.script import ACCESS, ScriptMaster
from lstm_hw.gateware.axi import Axi4Lite
from lstm_hw.host.protocol import FlashState
from lstm_hw.machine.registers import ADDRESS_BITS

from .flash_reader import FlashReader
from .weight_memory import byte_access

RESET_CYCLES = 16
"""Cycles for which the engine is reset when a load has failed half-way."""


class FlashLoader(wiring.Component):
    """Reads an image (:mod:`boards.flash_image`) twice: first all of it to see that it is whole and for this engine,
    then to load it. Nothing is touched before the first has ended well, and what fails in the second is undone by a
    reset of the engine.

    Parameters
    ----------
    base : int
        Address of the image in the flash.
    content_id : int
        Of the engine.
    memory_bytes : int
        Size of the weight memory, a power of two.
    patience : int
        Cycles that one access of the image may take, the run that loads weights included.

    Members
    -------
    i_start : In(1)
        Begin; nothing may be in progress.
    i_cipo, o_copi, o_sck, o_cs
        As of :class:`boards.bridge.flash_reader.FlashReader`.
    bus : AXI4-Lite master
        Registers of the engine.
    memory : stream of accesses to bytes, out
        Writes, which are taken at once.
    o_running : Out(1)
        From ``i_start`` to the verdict; bus and memory must be the loader's.
    o_reset : Out(1)
        Reset of the engine.
    o_state : Out(FlashState)
        What has become of it; NONE before the first start.
    """

    def __init__(self, base, content_id, memory_bytes, patience):
        self.base, self.content_id, self.memory_bytes, self.patience = base, content_id, memory_bytes, patience
        super().__init__(
            {
                "i_start": In(1),
                "i_cipo": In(1),
                "o_copi": Out(1),
                "o_sck": Out(1),
                "o_cs": Out(1),
                "bus": Out(Axi4Lite(ADDRESS_BITS)),
                "memory": Out(stream.Signature(byte_access(exact_log2(memory_bytes)))),
                "o_running": Out(1),
                "o_reset": Out(1),
                "o_state": Out(FlashState),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self.on = on = Signal()  # the flash is read
        self.again = again = Signal()  # for the second time
        self.reader = reader = ResetInserter(~on)(FlashReader(self.base))
        self.master = master = ResetInserter(~again)(ScriptMaster())
        self.crc = crc = CRC32_ISO_HDLC(8).create()
        m.submodules.reader, m.submodules.master, m.submodules.crc = reader, master, crc
        wiring.connect(m, wiring.flipped(self.bus), master.bus)
        self.byte = byte = reader.o.payload
        self.taken = taken = Signal()
        self.place = place = Signal(range(max(self.memory_bytes, HEAD_BYTES)))
        self.sizes = Signal(64)  # of the weights in bytes, then of the accesses
        self.record = Signal(8 * ACCESS_BYTES)
        self.left = Signal(range(MAX_ACCESSES + 1))
        self.waits = Signal(range(self.patience + 1), name="patience")
        self.strange = Signal()  # no image
        self.other = Signal()  # an image for another engine
        self.ones = Signal()  # what an empty flash reads as
        self.zeros = Signal()  # ... and none
        self.verdict = Signal(FlashState)
        m.d.comb += [
            self.o_copi.eq(reader.o_copi),
            self.o_sck.eq(reader.o_sck),
            self.o_cs.eq(reader.o_cs),
            self.o_running.eq(self.o_state == FlashState.RUNNING),
            reader.i_cipo.eq(self.i_cipo),
            taken.eq(reader.o.valid & reader.o.ready),
            crc.start.eq(~on),
            crc.data.eq(byte),
            crc.valid.eq(taken),
            self.memory.payload.write.eq(1),
            self.memory.payload.address.eq(place),
            self.memory.payload.byte.eq(byte),
            master.i.payload.eq(self.record[: ACCESS.size]),
        ]
        with m.If(taken):
            m.d.sync += place.eq(place + 1)
        with m.FSM():
            with m.State("rest"):
                with m.If(self.i_start):
                    m.d.sync += self.o_state.eq(FlashState.RUNNING)
                    m.next = "begin"
            with m.State("begin"):
                m.d.sync += [on.eq(1), place.eq(0), self.strange.eq(0), self.other.eq(0)]
                m.d.sync += [self.ones.eq(1), self.zeros.eq(1)]
                m.next = "head"
            self._head(m)
            self._weights(m)
            self._accesses(m)
            self._checksum(m)
            with m.State("end"):
                m.d.comb += self.o_reset.eq(again & (self.verdict != FlashState.LOADED))
                m.d.sync += place.eq(place + 1)
                with m.If(place == RESET_CYCLES - 1):
                    m.d.sync += [again.eq(0), self.o_state.eq(self.verdict)]
                    m.next = "rest"
        return m

    def _end(self, m, state):
        m.d.sync += [self.verdict.eq(state), self.on.eq(0), self.place.eq(0)]
        m.next = "end"

    def _head(self, m):
        """What the image is of, and how many bytes and accesses it has."""
        byte, taken, place, sizes = self.byte, self.taken, self.place, self.sizes
        expected = Const(int.from_bytes(identity(self.content_id), "little"), 8 * IDENTITY_BYTES)
        with m.State("head"):
            m.d.comb += self.reader.o.ready.eq(1)
            with m.If(taken & (place < IDENTITY_BYTES)):
                wrong = byte != expected.word_select(place[: exact_log2(IDENTITY_BYTES)], 8)
                with m.If(place < len(MAGIC)):
                    m.d.sync += self.strange.eq(self.strange | wrong)
                with m.Else():
                    m.d.sync += self.other.eq(self.other | wrong)
            with m.If(taken):
                m.d.sync += [
                    sizes.eq(Cat(sizes[8:], byte)),
                    self.ones.eq(self.ones & byte.all()),
                    self.zeros.eq(self.zeros & ~byte.any()),
                ]
                with m.If(place == HEAD_BYTES - 1):
                    m.next = "sizes"
        memory_bytes, accesses = sizes[:32], sizes[32:]
        with m.State("sizes"):
            m.d.sync += [place.eq(0), self.left.eq(accesses)]
            m.next = "memory"
            with m.If(self.strange):
                self._end(m, Mux(self.ones | self.zeros, FlashState.NONE, FlashState.DAMAGED))
            with m.Elif(
                (memory_bytes > self.memory_bytes) | (memory_bytes == 0) | (accesses > MAX_ACCESSES) | (accesses == 0)
            ):
                self._end(m, FlashState.DAMAGED)

    def _weights(self, m):
        with m.State("memory"):
            m.d.comb += [self.reader.o.ready.eq(1), self.memory.valid.eq(self.taken & self.again)]
            with m.If(self.taken & (self.place == self.sizes[:32] - 1)):
                m.d.sync += self.place.eq(0)
                m.next = "accesses"

    def _accesses(self, m):
        """Accesses to registers, which are made as they come when the image is read for the second time."""
        place, left, waits, master = self.place, self.left, self.waits, self.master
        with m.State("accesses"):
            m.d.comb += self.reader.o.ready.eq(1)
            m.d.sync += waits.eq(self.patience)
            with m.If(self.taken):
                m.d.sync += self.record.eq(Cat(self.record[8:], self.byte))
                with m.If(place[: exact_log2(ACCESS_BYTES)] == ACCESS_BYTES - 1):
                    m.d.sync += [left.eq(left - 1), place.eq(0)]
                    with m.If(self.again):
                        m.next = "access"
                    with m.Elif(left == 1):
                        m.next = "crc"
        with m.State("access"):
            m.d.comb += master.i.valid.eq(1)
            m.d.sync += waits.eq(waits - 1)
            with m.If(master.i.ready):
                m.next = "accesses"
                with m.If(left == 0):
                    m.next = "crc"
            with m.If(master.o_failed | (waits == 0)):
                self._end(m, FlashState.REFUSED)

    def _checksum(self, m):
        with m.State("crc"):
            m.d.comb += self.reader.o.ready.eq(1)
            with m.If(self.taken & (self.place == CRC_BYTES - 1)):
                m.next = "judge"
        with m.State("judge"):
            with m.If(~self.crc.match_detected):
                self._end(m, FlashState.DAMAGED)
            with m.Elif(self.other):
                self._end(m, FlashState.OTHER)
            with m.Elif(self.master.o_failed):
                self._end(m, FlashState.REFUSED)
            with m.Elif(self.again):
                self._end(m, FlashState.LOADED)
            with m.Else():
                m.d.sync += [self.on.eq(0), self.again.eq(1)]
                m.next = "begin"
