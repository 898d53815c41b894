"""FillUnit: turns LOAD commands into memory reads and the beats that arrive into weight words."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import WORD_BITS
from ..machine.latency import PENDING_LOADS
from .burst_splitter import load_descriptor
from .instruction import command_layout
from .lane_group import fill_layout
from .queue import Queue


def descriptor_of(config: EngineConfig) -> data.StructLayout:
    """What a weight port's LOADs ask of its memory reader."""
    load = command_layout("LOAD", config)
    return load_descriptor(load["offset"].width, load["beats"].width, config.streams)


def fill_members(config: EngineConfig, descriptor: data.StructLayout) -> dict[str, wiring.Member]:
    """Members of a FillUnit, whose descriptors have such a layout; and of what takes its place."""
    return {
        "i": In(stream.Signature(command_layout("LOAD", config))),
        "o": Out(stream.Signature(descriptor)),
        "i_beat": In(1),
        "i_data": In(config.axi_data_bits),
        **({"i_ring": In(1), "i_ring_base": In(WORD_BITS), "o_ring_word": Out(1)} if config.streams else {}),
        "o_fill": Out(fill_layout(config)),
        "o_fresh": Out(1),
        "o_idle": Out(1),
    }


class FillUnit(wiring.Component):
    """Keeps the destination of every LOAD that is under way on a weight port and addresses its beats.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i : stream of LOAD commands
    o : stream of descriptors for the memory reader
    i_beat : In(1), i_data : In(data bits)
        A beat has arrived; beats come in the order of the descriptors.
    i_ring, i_ring_base, where weights stream
        The ring starts at this word, empty.
    o_fill : Out
        The beat on its way to the lane groups, registered.
    o_fresh, o_ring_word : Out(1)
        With the last beat of a resident word or, where weights stream, of a ring word.
    o_idle : Out(1)
        No LOAD waits for beats.

    Timing
    ------
    ``o_fill`` follows ``i_beat`` by one cycle; a LOAD passes from ``i`` to ``o`` in the same cycle.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(fill_members(config, descriptor_of(config)))

    def elaborate(self, platform) -> Module:
        m = Module()
        config = self.config
        # The beats of a load are counted down; whether the next one is its last was worked out in the beat before, and
        # of the first one when the load came.
        command, streams = self.i.payload, config.streams
        destination = data.StructLayout(
            {
                **({"stream": 1} if streams else {}),
                "base": range(config.weight_words),
                "beats": len(command.beats),
                "one": 1,
                "two": 1,
            }
        )
        m.submodules.pending = pending = Queue(destination, PENDING_LOADS)
        head = pending.o.payload
        new = Signal(destination)
        m.d.comb += [
            new.base.eq(command.base),
            new.beats.eq(command.beats),
            new.one.eq(command.beats == 1),
            new.two.eq(command.beats == 2),
            self.o.payload.offset.eq(command.offset),
            self.o.payload.beats.eq(command.beats),
            self.o.valid.eq(self.i.valid & pending.i.ready & (command.beats != 0)),
            self.i.ready.eq(pending.i.ready & (self.o.ready | (command.beats == 0))),
            pending.i.payload.eq(new),
            pending.i.valid.eq(self.o.valid & self.o.ready),
            self.o_idle.eq(pending.o_empty),
        ]

        chunk = Signal(range(config.beats_per_word))
        left = Signal.like(command.beats, name="left")  # beats of the oldest LOAD, from the second on
        first = Signal(init=1)
        last = Signal()
        ends = Signal()
        word = Signal(range(config.weight_words))  # its next resident word, from the second on
        address = Signal.like(word)
        to_ring = head.stream if streams else C(0)
        resident = Mux(first, head.base, word)
        ends_word = chunk == config.beats_per_word - 1
        m.d.comb += [
            ends.eq(Mux(first, head.one, last)),
            pending.o.ready.eq(self.i_beat & ends),
        ]
        m.d.sync += [
            self.o_fill.valid.eq(self.i_beat),
            self.o_fill.data.eq(self.i_data),
            self.o_fill.address.eq(address),
            self.o_fill.chunk.eq(chunk),
            self.o_fresh.eq(self.i_beat & ends_word & ~to_ring),
        ]
        with m.If(self.i_beat):
            m.d.sync += [
                chunk.eq(Mux(ends_word, 0, chunk + 1)),
                first.eq(ends),
                last.eq(Mux(first, head.two, left == 2)),
                left.eq(Mux(first, head.beats, left) - 1),
            ]
            m.d.sync += word.eq(Mux(ends_word, address + 1, address))
        if not streams:
            m.d.comb += address.eq(resident)
            return m

        ring_word = Signal.like(word)
        ring_base = Signal.like(word)
        m.d.comb += [
            new.stream.eq(command.stream),
            self.o.payload.credited.eq(command.stream),
            address.eq(Mux(to_ring, ring_word, resident)),
        ]
        m.d.sync += self.o_ring_word.eq(self.i_beat & ends_word & to_ring)
        with m.If(self.i_beat & to_ring & ends_word):
            m.d.sync += ring_word.eq(Mux(ring_word == config.weight_words - 1, ring_base, ring_word + 1))
        with m.If(self.i_ring):
            m.d.sync += [ring_word.eq(self.i_ring_base), ring_base.eq(self.i_ring_base)]
        return m
