"""MacUnit: issues one column a cycle to the lanes, and waits where something is not there yet."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..machine.isa import BANK_BITS, COUNT_BITS, ELEMENT_BITS, ENTRY_BITS, OPS, SPACE_CONSTANT, SPACE_X, WORD_BITS
from ..machine.latency import HAZARD_COLUMNS
from .instruction import command_layout

TOKEN_BITS = ELEMENT_BITS + 2
"""Of the numbers of elements of h and x that are there."""


def issue_layout(config):
    """What goes to the lanes for one column (see :class:`MacUnit`)."""
    return data.StructLayout(
        {
            "weight": range(config.weight_words),
            "operand": ELEMENT_BITS,
            "space": OPS["MAC"].fields["space"],
            "rotate": BANK_BITS,
            "mask": config.contexts,
            "first": 1,
            "source": range(config.accumulators),
            "store": 1,
            "finish": 1,
            "target": range(max(config.accumulators, config.finish_entries)),
        }
    )


class TokenCounter(wiring.Component):
    """A counting semaphore: tokens come, are compared with a need, and go.

    Members: ``i_clear`` empties it; ``i_add``/``i_take`` change it in the same cycle; ``o_count``.
    """

    def __init__(self, bits, add_bits=1, take_bits=1):
        super().__init__({"i_clear": In(1), "i_add": In(add_bits), "i_take": In(take_bits), "o_count": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.i_clear):
            m.d.sync += self.o_count.eq(0)
        with m.Else():
            m.d.sync += self.o_count.eq(self.o_count + self.i_add - self.i_take)
        return m


class MacUnit(wiring.Component):
    """Runs MAC commands.

    A command is ``slots`` runs of ``columns`` columns. Every column that can go is issued at once,
    one a cycle, and the next command follows without a gap. Tokens say what is there: elements of
    h and x, words in the ring, fresh resident words, room for finished row blocks. A slot that
    starts from an accumulator entry stored less than ``HAZARD_COLUMNS`` columns ago waits for it.

    Parameters
    ----------
    config : EngineConfig

    Members
    -------
    i : stream of MAC commands
    i_clear : In(1)
        A run starts: tokens of x, of the ring and of fresh words are dropped.
    i_clear_h : In(1)
        Tokens of h are dropped as well (the run starts from zero state).
    i_ring, i_ring_base
        The ring is set up, empty.
    i_h, i_x, i_fresh, i_ring_word
        Tokens that arrive in this cycle: h elements, x elements, resident words, ring words.
    i_finish_free : In(1)
        A finished row block was taken by the cell unit.
    o_issue : Out, o_issued : Out(1)
        The column of this cycle, registered.
    o_finished : Out(1)
        With the last column of a slot that goes to the cell unit (registered like ``o_issue``).
    o_free_x : Out(1)
        An x vector becomes free.
    o_release : Out
        Ring words that become free in this cycle.
    o_busy, o_stall_weights, o_stall_h, o_stall_x, o_stall_output, o_empty : Out(1)
        What the unit does in this cycle; exactly one is high.
    o_idle : Out(1)
        No command is held.

    Timing
    ------
    A command taken in cycle t issues its first column in cycle t + 1 at the earliest; ``o_issue``
    carries it one cycle later. Initiation interval one column a cycle, also across commands.
    """

    def __init__(self, config):
        self.config = config
        words = range(config.weight_words + 1)
        self.finish_tokens = config.finish_entries
        super().__init__(
            {
                "i": In(stream.Signature(command_layout("MAC"))),
                "i_clear": In(1),
                "i_clear_h": In(1),
                "i_ring": In(1),
                "i_ring_base": In(WORD_BITS),
                "i_h": In(1),
                "i_x": In(range(config.x_per_beat + 1)),
                "i_fresh": In(1),
                "i_ring_word": In(1),
                "i_finish_free": In(1),
                "o_issue": Out(issue_layout(config)),
                "o_issued": Out(1),
                "o_finished": Out(1),
                "o_free_x": Out(1),
                "o_release": Out(words),
                "o_busy": Out(1),
                "o_stall_weights": Out(1),
                "o_stall_h": Out(1),
                "o_stall_x": Out(1),
                "o_stall_output": Out(1),
                "o_empty": Out(1),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        words = range(config.weight_words + 1)

        m.submodules.h = h = TokenCounter(TOKEN_BITS, take_bits=TOKEN_BITS)
        m.submodules.x = x = TokenCounter(TOKEN_BITS, add_bits=len(self.i_x), take_bits=TOKEN_BITS)
        m.submodules.fresh = fresh = TokenCounter(len(Signal(words)))
        m.submodules.ring = ring = TokenCounter(len(Signal(words)), take_bits=len(Signal(words)))
        m.d.comb += [
            h.i_clear.eq(self.i_clear_h),
            h.i_add.eq(self.i_h),
            x.i_clear.eq(self.i_clear),
            x.i_add.eq(self.i_x),
            fresh.i_clear.eq(self.i_clear),
            fresh.i_add.eq(self.i_fresh),
            ring.i_clear.eq(self.i_clear | self.i_ring),
            ring.i_add.eq(self.i_ring_word),
        ]
        finish_used = Signal(range(config.finish_entries + 1))
        finish_write = Signal(range(config.finish_entries))

        command = Signal(command_layout("MAC"))
        held = Signal()
        column, slot = Signal(COUNT_BITS), Signal(ENTRY_BITS)
        address = Signal(range(config.weight_words))
        operand = Signal(ELEMENT_BITS)
        need = Signal(TOKEN_BITS)  # operand tokens that the next column waits for
        ring_need = Signal(words)  # ring words that the next column waits for
        ring_base, ring_head = Signal(range(config.weight_words)), Signal(range(config.weight_words))

        first, last = Signal(), Signal()
        m.d.comb += [first.eq(column == 0), last.eq(column + 1 == command.columns)]

        # What the next column waits for.
        lacks_h, lacks_x, lacks_weights, lacks_room, hazard = (
            Signal(name=n) for n in ("lacks_h", "lacks_x", "lacks_weights", "lacks_room", "hazard")
        )
        waits = command.wait & (slot == 0)
        from_x = command.space == SPACE_X
        m.d.comb += [
            lacks_h.eq(waits & ~from_x & (h.o_count < need)),
            lacks_x.eq(waits & from_x & (x.o_count < need)),
            lacks_weights.eq(Mux(command.stream, ring.o_count < ring_need, command.fresh & (fresh.o_count == 0))),
            lacks_room.eq(command.finish & first & (finish_used == config.finish_entries)),
        ]
        recent = [
            (Signal(name=f"stored{n}"), Signal(ENTRY_BITS, name=f"stored_entry{n}")) for n in range(HAZARD_COLUMNS - 1)
        ]
        m.d.comb += hazard.eq(command.load & first & Cat(v & (e == command.source) for v, e in recent).any())

        go, ends = Signal(), Signal()
        m.d.comb += [
            go.eq(held & ~(lacks_h | lacks_x | lacks_weights | lacks_room | hazard)),
            ends.eq(go & last & (slot + 1 == command.slots)),
            self.i.ready.eq(~held | ends),
            self.o_idle.eq(~held),
            self.o_busy.eq(go),
            self.o_empty.eq(~held),
            self.o_stall_weights.eq(held & lacks_weights),
            self.o_stall_h.eq(held & ~lacks_weights & (lacks_h | hazard)),
            self.o_stall_x.eq(held & ~lacks_weights & ~(lacks_h | hazard) & lacks_x),
            self.o_stall_output.eq(held & ~lacks_weights & ~(lacks_h | hazard) & ~lacks_x & lacks_room),
        ]

        # Ring addresses wrap from the end of the buffer to the ring's base.
        def wrapped(sum_):
            over = sum_ >= config.weight_words
            return Mux(over, sum_ - config.weight_words + ring_base, sum_)

        next_address = Signal.like(address)
        m.d.comb += next_address.eq(Mux(address == config.weight_words - 1, ring_base, address + 1))
        start_address = Signal(range(2 * config.weight_words))
        ring_free = go & command.release & ends
        # Where a command that comes now finds the ring: if one is held, it ends in this cycle.
        head_now = Mux(held & command.release, next_address, ring_head)

        with m.If(go):
            m.d.sync += [
                column.eq(column + 1),
                operand.eq(operand + 1),
                address.eq(next_address),
                ring_need.eq(ring_need + 1),
                need.eq(need + 1),
            ]
            with m.If(last):
                m.d.sync += [
                    column.eq(0),
                    slot.eq(slot + 1),
                    operand.eq(command.operand),
                    command.source.eq(command.source + ~command.hold),
                    command.target.eq(command.target + 1),
                ]
            with m.If(command.space == SPACE_CONSTANT):
                m.d.sync += operand.eq(operand)
            with m.If(ends):
                m.d.sync += held.eq(0)
        with m.If(ring_free):
            m.d.sync += ring_head.eq(next_address)
        with m.If(self.i_ring):
            m.d.sync += [ring_base.eq(self.i_ring_base), ring_head.eq(self.i_ring_base)]
        with m.If(self.i.valid & self.i.ready):
            new = self.i.payload
            m.d.comb += start_address.eq(head_now + new.weight)
            m.d.sync += [
                held.eq((new.columns != 0) & (new.slots != 0)),
                command.eq(new),
                column.eq(0),
                slot.eq(0),
                address.eq(Mux(new.stream, wrapped(start_address), new.weight)),
                operand.eq(new.operand),
                need.eq(new.offset + 1),
                ring_need.eq(new.weight + 1),
            ]

        takes = go & waits & last & command.take
        m.d.comb += [
            h.i_take.eq(Mux(takes & ~from_x, need, 0)),
            x.i_take.eq(Mux(takes & from_x, need, 0)),
            fresh.i_take.eq(go & command.fresh & ~command.stream),
            self.o_release.eq(Mux(ring_free, ring_need, 0)),
            ring.i_take.eq(self.o_release),
            self.o_free_x.eq(ends & command.free),
        ]
        m.d.sync += finish_used.eq(finish_used + (go & first & command.finish) - self.i_finish_free)
        finishes = go & last & command.finish
        with m.If(finishes):
            m.d.sync += finish_write.eq(Mux(finish_write == config.finish_entries - 1, 0, finish_write + 1))

        stores = go & last & command.store
        m.d.sync += [recent[0][0].eq(stores), recent[0][1].eq(command.target)]
        for (valid, entry), (next_valid, next_entry) in zip(recent, recent[1:], strict=False):
            m.d.sync += [next_valid.eq(valid), next_entry.eq(entry)]

        issue = self.o_issue
        m.d.sync += [
            self.o_issued.eq(go),
            self.o_finished.eq(finishes),
            issue.weight.eq(address),
            issue.operand.eq(operand),
            issue.space.eq(command.space),
            issue.rotate.eq(command.rotate),
            issue.mask.eq(command.mask),
            issue.first.eq(go & first & command.load),
            issue.source.eq(command.source),
            issue.store.eq(stores),
            issue.finish.eq(finishes),
            issue.target.eq(Mux(command.finish, finish_write, command.target)),
        ]
        return m
