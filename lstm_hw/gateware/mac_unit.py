"""MacUnit: issues one column a cycle to the lanes, and waits where something is not there yet."""

from itertools import pairwise
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..machine.config import EngineConfig
from ..machine.isa import (
    BANK_BITS,
    COUNT_BITS,
    ELEMENT_BITS,
    ENTRY_BITS,
    LIFT_BITS,
    OPS,
    SPACE_CONSTANT,
    SPACE_X,
    WORD_BITS,
)
from ..machine.latency import HAZARD_COLUMNS
from .instruction import command_layout

TOKEN_BITS = ELEMENT_BITS + 2
"""Of the numbers of elements of h and x that are there."""


def issue_layout(config: EngineConfig) -> data.StructLayout:
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
            **({"lift": LIFT_BITS} if len(config.lifts) > 1 else {}),
        }
    )


class TokenCounter(wiring.Component):
    """A counting semaphore: tokens come, are compared with a need, and go.

    Members: ``i_clear`` empties it; ``i_add``/``i_take`` change it in the same cycle; ``o_count``.
    """

    def __init__(self, bits: int, add_bits: int = 1, take_bits: int = 1):
        super().__init__({"i_clear": In(1), "i_add": In(add_bits), "i_take": In(take_bits), "o_count": Out(bits)})

    def elaborate(self, platform) -> Module:
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

    def __init__(self, config: EngineConfig):
        self.config = config
        words = range(config.weight_words + 1)
        self.finish_tokens = config.finish_entries
        super().__init__(
            {
                "i": In(stream.Signature(command_layout("MAC", len(config.lifts)))),
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

    def elaborate(self, platform) -> Module:
        # A command is a walk over columns, slot after slot. The next column goes in the first cycle in which nothing
        # that it needs is lacking: it is issued to the lanes, and the walk steps on. With its last column the command
        # ends, and the next one can begin in the same cycle.
        m = Module()
        walk, ring = _Walk(self.config), _Ring(self.config)
        go, ends = Signal(), Signal()
        lacks = self._lacks(m, walk)
        m.d.comb += [
            go.eq(walk.held & ~(lacks.h | lacks.x | lacks.weights | lacks.room | lacks.sum)),
            ends.eq(go & walk.last & (walk.slot + 1 == walk.command.slots)),
            self.i.ready.eq(~walk.held | ends),
        ]
        next_address = ring.after(m, walk.address)

        with m.If(go):
            walk.step(m, next_address)
            with m.If(walk.last):
                walk.next_slot(m)
            with m.If(ends):
                walk.end(m)
        with m.If(ends & walk.command.release):
            ring.release(m, next_address)
        with m.If(self.i_ring):
            ring.set_up(m, self.i_ring_base)
        with m.If(self.i.valid & self.i.ready):
            # If a command is held, it ends in this cycle and may move the head.
            head = Mux(walk.held & walk.command.release, next_address, ring.head)
            walk.begin(m, self.i.payload, ring.place(m, head, self.i.payload.weight))

        self._tell(m, walk, lacks, go)
        self._take(m, walk, go, ends)
        self._issue(m, walk, go)
        return m

    def _lacks(self, m, walk):
        """What the next column waits for: tokens of h, x and weights, room for its sum, the sum it starts from."""
        config, command = self.config, walk.command
        words = range(config.weight_words + 1)
        m.submodules.h = self.h = h = TokenCounter(TOKEN_BITS, take_bits=TOKEN_BITS)
        m.submodules.x = self.x = x = TokenCounter(TOKEN_BITS, add_bits=len(self.i_x), take_bits=TOKEN_BITS)
        m.submodules.fresh = self.fresh = fresh = TokenCounter(len(Signal(words)))
        m.submodules.ring = self.ring = ring = TokenCounter(len(Signal(words)), take_bits=len(Signal(words)))
        for counter, clear, add in (
            (h, self.i_clear_h, self.i_h),
            (x, self.i_clear, self.i_x),
            (fresh, self.i_clear, self.i_fresh),
            (ring, self.i_clear | self.i_ring, self.i_ring_word),
        ):
            m.d.comb += [counter.i_clear.eq(clear), counter.i_add.eq(add)]
        self.finish_used = Signal(range(config.finish_entries + 1))
        self.recent = [
            (Signal(name=f"stored{n}"), Signal(ENTRY_BITS, name=f"stored_entry{n}")) for n in range(HAZARD_COLUMNS - 1)
        ]

        lacks = SimpleNamespace(
            **{name: Signal(name=f"lacks_{name}") for name in ("h", "x", "weights", "room")}, sum=Signal(name="hazard")
        )
        full, starts = self.finish_used == config.finish_entries, command.load & walk.first
        m.d.comb += [
            lacks.h.eq(walk.waits & ~walk.from_x & (h.o_count < walk.need)),
            lacks.x.eq(walk.waits & walk.from_x & (x.o_count < walk.need)),
            lacks.weights.eq(Mux(command.stream, ring.o_count < walk.ring_need, command.fresh & (fresh.o_count == 0))),
            lacks.room.eq(command.finish & walk.first & full),
            lacks.sum.eq(starts & Cat(valid & (entry == command.source) for valid, entry in self.recent).any()),
        ]
        return lacks

    def _tell(self, m, walk, lacks, go):
        """What the unit does in this cycle: the first of what it waits for counts."""
        h = lacks.h | lacks.sum
        m.d.comb += [
            self.o_idle.eq(~walk.held),
            self.o_empty.eq(~walk.held),
            self.o_busy.eq(go),
            self.o_stall_weights.eq(walk.held & lacks.weights),
            self.o_stall_h.eq(walk.held & ~lacks.weights & h),
            self.o_stall_x.eq(walk.held & ~lacks.weights & ~h & lacks.x),
            self.o_stall_output.eq(walk.held & ~lacks.weights & ~h & ~lacks.x & lacks.room),
        ]

    def _take(self, m, walk, go, ends):
        """What a column takes of the tokens, and what it gives back."""
        command = walk.command
        takes = go & walk.waits & walk.last & command.take
        m.d.comb += [
            self.h.i_take.eq(Mux(takes & ~walk.from_x, walk.need, 0)),
            self.x.i_take.eq(Mux(takes & walk.from_x, walk.need, 0)),
            self.fresh.i_take.eq(go & command.fresh & ~command.stream),
            self.o_release.eq(Mux(ends & command.release, walk.ring_need, 0)),
            self.ring.i_take.eq(self.o_release),
            self.o_free_x.eq(ends & command.free),
        ]
        m.d.sync += self.finish_used.eq(self.finish_used + (go & walk.first & command.finish) - self.i_finish_free)

    def _issue(self, m, walk, go):
        """The column of this cycle, on its way to the lanes in the next one."""
        command, issue, entries = walk.command, self.o_issue, self.config.finish_entries
        stores, finishes = go & walk.last & command.store, go & walk.last & command.finish
        finish_write = Signal(range(entries))
        with m.If(finishes):
            m.d.sync += finish_write.eq(Mux(finish_write == entries - 1, 0, finish_write + 1))
        m.d.sync += [
            self.o_issued.eq(go),
            self.o_finished.eq(finishes),
            issue.weight.eq(walk.address),
            issue.operand.eq(walk.operand),
            issue.space.eq(command.space),
            issue.rotate.eq(command.rotate),
            issue.mask.eq(command.mask),
            issue.first.eq(go & walk.first & command.load),
            issue.source.eq(command.source),
            issue.store.eq(stores),
            issue.finish.eq(finishes),
            issue.target.eq(Mux(command.finish, finish_write, command.target)),
        ]
        if len(self.config.lifts) > 1:
            m.d.sync += issue.lift.eq(command.lift)
        stored = [(stores, command.target), *self.recent]
        for (valid, entry), (next_valid, next_entry) in pairwise(stored):
            m.d.sync += [next_valid.eq(valid), next_entry.eq(entry)]


class _Walk:
    """Where the unit stands: the command that it holds, and the next column of it."""

    def __init__(self, config):
        self.command, self.held = Signal(command_layout("MAC", len(config.lifts)), name="command"), Signal(name="held")
        self.column, self.slot = Signal(COUNT_BITS, name="column"), Signal(ENTRY_BITS, name="slot")
        self.address = Signal(range(config.weight_words), name="address")
        self.operand = Signal(ELEMENT_BITS, name="operand")
        self.need = Signal(TOKEN_BITS, name="need")  # operand tokens that it waits for
        self.ring_need = Signal(range(config.weight_words + 1), name="ring_need")  # ring words that it waits for
        self.first, self.last = self.column == 0, self.column + 1 == self.command.columns
        self.waits = self.command.wait & (self.slot == 0)
        self.from_x = self.command.space == SPACE_X

    def begin(self, m, command, address):
        m.d.sync += [
            self.held.eq((command.columns != 0) & (command.slots != 0)),
            self.command.eq(command),
            self.column.eq(0),
            self.slot.eq(0),
            self.address.eq(Mux(command.stream, address, command.weight)),
            self.operand.eq(command.operand),
            self.need.eq(command.offset + 1),
            self.ring_need.eq(command.weight + 1),
        ]

    def step(self, m, next_address):
        m.d.sync += [
            self.column.eq(self.column + 1),
            self.address.eq(next_address),
            self.ring_need.eq(self.ring_need + 1),
            self.need.eq(self.need + 1),
        ]
        with m.If(self.command.space != SPACE_CONSTANT):
            m.d.sync += self.operand.eq(Mux(self.last, self.command.operand, self.operand + 1))

    def next_slot(self, m):
        m.d.sync += [
            self.column.eq(0),
            self.slot.eq(self.slot + 1),
            self.command.source.eq(self.command.source + ~self.command.hold),
            self.command.target.eq(self.command.target + 1),
        ]

    def end(self, m):
        m.d.sync += self.held.eq(0)


class _Ring:
    """The stream ring: addresses wrap from the end of the weight buffer to its base."""

    def __init__(self, config):
        self.words = config.weight_words
        self.base, self.head = (Signal(range(self.words), name=f"ring_{name}") for name in ("base", "head"))

    def set_up(self, m, base):
        m.d.sync += [self.base.eq(base), self.head.eq(base)]

    def release(self, m, head):
        m.d.sync += self.head.eq(head)

    def after(self, m, address):
        """The address behind one."""
        following = Signal.like(address, name="next_address")
        m.d.comb += following.eq(Mux(address == self.words - 1, self.base, address + 1))
        return following

    def place(self, m, head, offset):
        """The address so many words behind the head."""
        start = Signal(range(2 * self.words), name="start_address")
        m.d.comb += start.eq(head + offset)
        return Mux(start >= self.words, start - self.words + self.base, start)
