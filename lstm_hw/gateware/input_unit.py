"""InputUnit: takes x vectors from the input stream into the x memory."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..machine.config import EngineConfig
from ..machine.isa import ELEMENT_BITS, THRESHOLD_BITS, VECTORS_BITS
from .instruction import command_layout


def x_beat_layout(config: EngineConfig) -> data.StructLayout:
    """One beat of the x stream: ``x_per_beat`` elements and the end-of-vector mark."""
    return data.StructLayout({"data": data.ArrayLayout(signed(config.operand_bits), config.x_per_beat), "last": 1})


class InputUnit(wiring.Component):
    """Runs INPUT commands, one stream beat a cycle.

    Without ``spread`` a beat holds consecutive elements of one context's vector, which starts at a
    word of the x memory. With ``spread`` a beat holds the same element of every context.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i : stream of INPUT commands
    i_x : stream of beats
    i_unmarked : In(1)
        tlast does not end vectors, and is somebody else's business.
    i_buffers : In(1), i_buffers_count : In(8)
        Sets how many x vectors are free.
    i_free : In(1)
        An x vector becomes free.
    o_write, o_address, o_data
        Write port of the x memory, registered (see VectorMemory).
    o_elements : Out
        Elements that become readable, with ``o_write``.
    o_first, o_last : Out(1), o_threshold : Out(16), with lists
        With ``o_write``: the first and the last element of a vector, and the threshold of its command.
    o_misplaced : Out(1)
        Pulse: tlast came early, or was missing at the end of a vector that carries it.
    o_idle : Out(1)

    Timing
    ------
    A command taken in cycle t lets the first beat pass in cycle t + 1; the write follows a beat by
    one cycle. One idle cycle between commands.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        elements = config.contexts * config.x_per_beat
        super().__init__(
            {
                "i": In(stream.Signature(command_layout("INPUT", config))),
                "i_x": In(stream.Signature(x_beat_layout(config))),
                "i_unmarked": In(1),
                "i_buffers": In(1),
                "i_buffers_count": In(VECTORS_BITS),
                "i_free": In(1),
                "o_write": Out(elements),
                "o_address": Out(ELEMENT_BITS),
                "o_data": Out(data.ArrayLayout(signed(config.operand_bits), elements)),
                "o_elements": Out(range(config.x_per_beat + 1)),
                **({"o_first": Out(1), "o_last": Out(1), "o_threshold": Out(THRESHOLD_BITS)} if config.lists else {}),
                "o_misplaced": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        # A command is a walk over the elements of its vectors, a beat at a time; a beat passes unless the command waits
        # for a free vector. Behind the last element of a vector the next one begins, or the command ends.
        m = Module()
        per_beat = self.config.x_per_beat
        command = Signal(self.i.payload.shape())
        held = Signal()
        free = Signal(VECTORS_BITS)
        address = Signal.like(command.target, name="address")
        # What is counted down is kept as its complement: sums up take carries alone.
        not_left, not_repeats = Signal.like(command.elements, name="not_left"), Signal(VECTORS_BITS, name="not_repeats")
        left, repeats = ~not_left, ~not_repeats
        step = Mux(command.spread, 1, per_beat)
        blocked = command.wait & (free == 0)
        beat = Signal()
        ends = Signal()
        takes = Signal()
        m.d.comb += [
            self.i.ready.eq(~held),
            self.o_idle.eq(~held),
            self.i_x.ready.eq(held & ~blocked),
            beat.eq(self.i_x.valid & self.i_x.ready),
            ends.eq(left <= step),
            takes.eq(beat & ends & (repeats == 0) & command.wait),
        ]

        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                command.eq(self.i.payload),
                held.eq(self.i.payload.elements != 0),
                not_left.eq(~self.i.payload.elements),
                address.eq(self.i.payload.target),
                not_repeats.eq(~self.i.payload.repeats),
            ]
        with m.If(beat):
            m.d.sync += [not_left.eq(not_left + step), address.eq(address + step)]
            with m.If(ends):
                m.d.sync += [not_left.eq(~command.elements), not_repeats.eq(not_repeats + 1), held.eq(repeats != 0)]
        with m.If(self.i_buffers):
            m.d.sync += free.eq(self.i_buffers_count)
        with m.Elif(self.i_free ^ takes):
            m.d.sync += free.eq(free + Mux(self.i_free, 1, -1))

        m.d.sync += [
            self.o_write.eq(0),
            self.o_address.eq(address >> exact_log2(per_beat)),
            self.o_elements.eq(Mux(beat, Mux(ends, left, step), 0)),
            self.o_misplaced.eq(beat & ~self.i_unmarked & (self.i_x.payload.last != (ends & command.last))),
        ]
        self._place(m, command, address, beat)
        if self.config.lists:
            first = Signal(init=1, name="first")
            m.d.sync += [self.o_first.eq(first), self.o_last.eq(ends), self.o_threshold.eq(command.threshold)]
            with m.If(beat):
                m.d.sync += first.eq(ends)
        return m

    def _place(self, m, command, address, beat):
        """A beat's elements on their way to the banks: one of each context with ``spread``, else all of one context."""
        per_beat, x = self.config.x_per_beat, self.i_x.payload.data
        lane = address[: exact_log2(per_beat)]

        def write(index, element, here):
            m.d.sync += self.o_data[index].eq(element)
            with m.If(here):
                m.d.sync += self.o_write[index].eq(1)

        for k in range(self.config.contexts):
            for e in range(per_beat):
                index = k * per_beat + e
                with m.If(command.spread):
                    write(index, x[min(k, per_beat - 1)], beat & (lane == e))
                with m.Else():
                    write(index, x[e], beat & (command.bank == k))
