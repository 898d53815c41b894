"""UnpackUnit: the FillUnit of a weight port with a decoder."""

from amaranth import *
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import BEATS_BITS, WORD_BITS
from ..machine.latency import DECODE, PENDING_LOADS
from .bitmap_decoder import BitmapDecoder
from .burst_splitter import load_descriptor
from .esell_decoder import EsellDecoder
from .fill_unit import fill_members

DECODERS = {"bitmap": BitmapDecoder, "esell": EsellDecoder}
"""``config.decoder`` -> the decoder of a weight port."""


class UnpackUnit(wiring.Component):
    """Keeps the destination of every LOAD that is under way, expands its beats to words and addresses these.

    What a LOAD brings into the ring is a segment in the decoder's form, which waits until all of its words have room;
    resident words lie in memory as they are. Of a segment of so many words a word counts as there with each of its last
    beats, whenever it came.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i, o, i_beat, i_data, i_ring, i_ring_base, o_fill, o_fresh, o_ring_word, o_idle
        As of :class:`lstm_hw.gateware.fill_unit.FillUnit`; no descriptor asks for credit.
    i_release : In
        Ring words that become free in this cycle.
    i_address : In(address bits)
        Byte address of the beat.
    o_bad : Out(1)
        The decoder has met a beat that is none of a segment.
    o_bad_address : Out(address bits)
        The address of the first one.

    Timing
    ------
    As of FillUnit, :data:`lstm_hw.machine.latency.DECODE` cycles later. A segment can be taken in the cycle behind the
    one that releases the last word it needs.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                **fill_members(config, load_descriptor()),
                "i_address": In(config.axi_address_bits),
                "i_release": In(range(config.weight_words + 1)),
                "o_bad": Out(1),
                "o_bad_address": Out(config.axi_address_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.decoder = decoder = DECODERS[self.config.decoder](self.config)
        head = self._loads(m, decoder)
        self._words(m, decoder, head)
        address = self.i_address
        for stage in range(DECODE):
            delayed = Signal.like(address, name=f"address{stage}", reset_less=True)
            m.d.sync += delayed.eq(address)
            address = delayed
        with m.If(decoder.o_bad & ~self.o_bad):
            m.d.sync += [self.o_bad.eq(1), self.o_bad_address.eq(address)]
        return m

    def _loads(self, m, decoder):
        """LOADs on their way to memory, and their beats to the decoder; returns the oldest LOAD."""
        config = self.config
        destination = data.StructLayout(
            {
                "stream": 1,
                "base": range(config.weight_words),
                "beats": BEATS_BITS,
                "words": WORD_BITS,
                "silent": BEATS_BITS,  # beats of a segment in front of its first token
            }
        )
        m.submodules.pending = pending = fifo.SyncFIFO(width=destination.size, depth=PENDING_LOADS)
        command, head = self.i.payload, destination(pending.r_data)
        new = Signal(destination)
        room = Signal(range(config.weight_words + 1))  # words of the ring that nobody has asked for
        fits = Signal()
        taken, some = Signal(BEATS_BITS), Signal()
        m.d.comb += [
            new.stream.eq(command.stream),
            new.base.eq(command.base),
            new.beats.eq(command.beats),
            new.words.eq(command.words),
            new.silent.eq(command.beats - command.words),
            fits.eq(~command.stream | (room >= command.words)),
            some.eq(command.beats != 0),
            self.o.payload.offset.eq(command.offset),
            self.o.payload.beats.eq(command.beats),
            self.o.valid.eq(self.i.valid & pending.w_rdy & some & fits),
            self.i.ready.eq(pending.w_rdy & fits & (self.o.ready | ~some)),
            pending.w_data.eq(new),
            pending.w_en.eq(self.o.valid & self.o.ready),
            self.o_idle.eq(~pending.r_rdy & ~decoder.o_busy),
            decoder.i_valid.eq(self.i_beat),
            decoder.i_data.eq(self.i_data),
            decoder.i_first.eq(taken == 0),
            decoder.i_last.eq(taken + 1 == head.beats),
            decoder.i_packed.eq(head.stream),
            decoder.i_words.eq(head.words),
        ]
        with m.If(self.i_ring):
            m.d.sync += room.eq(config.weight_words - self.i_ring_base)
        with m.Elif(pending.w_en & command.stream):
            m.d.sync += room.eq(room + self.i_release - command.words)
        with m.Else():
            m.d.sync += room.eq(room + self.i_release)
        with m.If(self.i_beat):
            m.d.sync += taken.eq(taken + 1)
            with m.If(decoder.i_last):
                m.d.comb += pending.r_en.eq(1)
                m.d.sync += taken.eq(0)

        # Tokens, as late as words that end with their beats.
        chunk = Signal(range(config.beats_per_word))
        ends_word = chunk == config.beats_per_word - 1
        with m.If(self.i_beat & ~head.stream):
            m.d.sync += chunk.eq(Mux(ends_word, 0, chunk + 1))
        for name, output, event in (
            ("fresh", self.o_fresh, ~head.stream & ends_word),
            ("ring_word", self.o_ring_word, head.stream & (taken >= head.silent)),
        ):
            delayed = Signal(DECODE, name=name)
            m.d.sync += [delayed.eq(Cat(self.i_beat & event, delayed)), output.eq(delayed[-1])]
        return head

    def _words(self, m, decoder, head):
        """Words from the decoder to their places."""
        config = self.config
        first = Signal(data.StructLayout({"valid": 1, "stream": 1, "base": range(config.weight_words)}))
        m.d.comb += [
            first.valid.eq(self.i_beat & decoder.i_first),
            first.stream.eq(head.stream),
            first.base.eq(head.base),
        ]
        for stage in range(DECODE):
            delayed = Signal.like(first, name=f"first{stage}")
            m.d.sync += delayed.eq(first)
            first = delayed
        word = Signal(range(config.weight_words))
        ring_word, ring_base, resident, address = (
            Signal.like(word, name=name) for name in ("ring_word", "ring_base", "resident", "address")
        )
        was_stream, is_stream = Signal(), Signal()
        m.d.comb += [
            is_stream.eq(Mux(first.valid, first.stream, was_stream)),
            resident.eq(Mux(first.valid, first.base, word)),
            address.eq(Mux(is_stream, ring_word, resident)),
        ]
        m.d.sync += [
            was_stream.eq(is_stream),
            word.eq(resident + (decoder.o_valid & ~is_stream)),
            self.o_fill.valid.eq(decoder.o_valid),
            self.o_fill.data.eq(decoder.o_word),
            self.o_fill.address.eq(address),
        ]
        with m.If(decoder.o_valid & is_stream):
            m.d.sync += ring_word.eq(Mux(ring_word == config.weight_words - 1, ring_base, ring_word + 1))
        with m.If(self.i_ring):
            m.d.sync += [ring_word.eq(self.i_ring_base), ring_base.eq(self.i_ring_base)]
