"""MacUnit: issues one column a cycle to the lanes, and waits where something is not there yet."""

from itertools import pairwise
from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from ..machine.config import EngineConfig
from ..machine.isa import (
    BANK_BITS,
    COUNT_BITS,
    LIFT_BITS,
    OPS,
    SLOT_BITS,
    SPACE_CONSTANT,
    SPACE_DELTA,
    SPACE_X,
    WORD_BITS,
)
from ..machine.latency import HAZARD_COLUMNS
from ..machine.limits import PLACES
from .instruction import command_layout
from .lane_group import picking_fields, target_fields


def issue_layout(config: EngineConfig) -> data.StructLayout:
    """What goes to the lanes for one column (see :class:`MacUnit`)."""
    return data.StructLayout(
        {
            "weight": range(config.weight_words),
            "operand": command_layout("MAC", config)["operand"].width,
            "space": OPS["MAC"].fields["space"],
            "rotate": BANK_BITS,
            "mask": config.contexts,
            "first": 1,
            "source": range(config.accumulators),
            "store": 1,
            "finish": 1,
            **target_fields(config),
            **({"lift": LIFT_BITS} if len(config.lifts) > 1 else {}),
            **picking_fields(config),
        }
    )


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
    i_ring, i_ring_base, where weights stream
        The ring is set up, empty.
    i_h, i_x, i_fresh, i_ring_word
        Tokens that arrive in this cycle: h elements, x elements, resident words, ring words if
        weights stream.
    i_finish_free : In(1)
        A finished row block was taken by the cell unit.
    i_x_length, i_h_lengths, o_x_taken, where MACs walk lists
        Entries of the oldest list of x, and of the latest of each layer's h; the one of x has been walked.
    o_issue : Out, o_issued : Out(1)
        The column of this cycle, registered; that of an empty list has no operand, and is not issued.
    o_finished : Out(1)
        With the last column of a slot that goes to the cell unit (registered like ``o_issue``).
    o_free_x : Out(1)
        An x vector becomes free.
    o_release : Out, where weights stream
        Ring words that become free in this cycle.
    o_busy, o_stall_weights, o_stall_h, o_stall_x, o_stall_output, o_empty : Out(1)
        What the unit does in this cycle; exactly one is high.
    o_idle : Out(1)
        No command is held.

    Timing
    ------
    A command taken in cycle t issues its first column in cycle t + 1 at the earliest, one that walks a list
    ``OPEN_LIST`` cycles later; ``o_issue`` carries it one cycle later. Initiation interval one column a cycle, also
    across commands.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        words = range(config.weight_words + 1)
        super().__init__(
            {
                "i": In(stream.Signature(command_layout("MAC", config))),
                "i_clear": In(1),
                "i_clear_h": In(1),
                "i_h": In(1),
                "i_x": In(range(config.x_per_beat + 1)),
                "i_fresh": In(1),
                **(
                    {"i_ring": In(1), "i_ring_base": In(WORD_BITS), "i_ring_word": In(1), "o_release": Out(words)}
                    if config.streams
                    else {}
                ),
                **(
                    {
                        "i_x_length": In(range(config.x_elements + 1)),
                        "i_h_lengths": In(data.ArrayLayout(range(config.h_elements + 1), len(config.shifts))),
                        "o_x_taken": Out(1),
                    }
                    if config.walks
                    else {}
                ),
                "i_finish_free": In(1),
                "o_issue": Out(issue_layout(config)),
                "o_issued": Out(1),
                "o_finished": Out(1),
                "o_free_x": Out(1),
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
        # ends, and the next one can begin in the same cycle. Whatever decides is a flag or a sign that was worked out
        # in the cycle before, for all that this one may bring. Where no command is left, whatever the queue shows is
        # loaded: only ``held`` and ``releases`` ask whether it is one.
        m = Module()
        walk, command = _Walk(self.config), self.i.payload
        go, loads = Signal(name="go"), Signal(name="loads")
        ends, slot_ends = Signal(name="ends"), Signal(name="slot_ends")
        tokens = self._tokens(m, walk, go, loads, ends, slot_ends)
        room = self._room(m, walk, go)
        hazard = self._hazard(m, walk, go, loads, slot_ends)
        lacks = SimpleNamespace(
            **{name: Signal(name=f"lacks_{name}") for name in ("h", "x", "weights", "room", "sum")},
        )
        m.d.comb += [
            lacks.h.eq(~walk.from_x & tokens.behind),
            lacks.x.eq(walk.from_x & tokens.behind),
            lacks.weights.eq(tokens.unfilled | (walk.takes_fresh & tokens.stale)),
            lacks.room.eq(walk.begins_block & ~room),
            lacks.sum.eq(hazard),
            go.eq(walk.held & ~(tokens.behind | lacks.weights | lacks.room | lacks.sum)),
            slot_ends.eq(go & walk.last),
            ends.eq(go & walk.last & walk.last_slot),
            loads.eq(~walk.held | ends),
            self.i.ready.eq(loads),
        ]

        start = self._follow(m, walk, ends)
        with m.If(go):
            walk.step(m)
            with m.If(walk.last):
                walk.next_slot(m)
        if self.config.window:
            with m.If(ends & (walk.filled | walk.last_fill)):
                m.d.sync += walk.half.eq(~walk.half)
        if self.config.walks:
            with m.If(walk.unsized & ~tokens.absent):
                walk.open_list(m, self.i_x_length, self.i_h_lengths)
            m.d.comb += self.o_x_taken.eq(ends & walk.walks & walk.from_x)
        with m.If(loads):
            walk.load(m, command, self.i.valid, start)

        self._tell(m, walk, lacks, go)
        self._give_back(m, walk, ends)
        self._issue(m, walk, go, slot_ends)
        return m

    def _follow(self, m, walk, ends):
        """The word behind the next column's; returns where the command of the queue would begin in the ring."""
        if not self.config.streams:
            m.d.comb += walk.following.eq(walk.address + 1)
            return None
        ring = _Ring(self.config)
        ring.follow(m, walk)
        with m.If(ends & walk.releases):
            ring.release(m, walk.following)
        with m.If(self.i_ring):
            ring.set_up(m, self.i_ring_base)
        return ring.place(m, walk, self.i.payload.weight)

    def _tokens(self, m, walk, go, loads, ends, slot_ends):
        """Tokens of h, x and weights that are there, and by how many they are ahead of what the next column needs.

        Where it needs none they are ahead by 0.
        """
        command, new = walk.command, self.i.payload
        words = range(self.config.weight_words + 1)
        bits = self.config.token_bits
        h, x = Signal(bits, name="h_tokens"), Signal(bits, name="x_tokens")
        ahead = Signal(signed(bits + 1), name="operands_ahead")
        takes_at_end = walk.waits & command.take
        supplied = slot_ends  # no column behind this one waits
        if self.config.window:
            supplied = Signal(name="supplied")
            m.d.comb += supplied.eq(Mux(command.gather, go & walk.last_fill, slot_ends))
        takes = Signal(name="takes")
        m.d.comb += takes.eq(supplied & takes_at_end)
        m.d.sync += [
            h.eq(Mux(takes & ~walk.from_x, ahead[:-1], h) + self.i_h),
            x.eq(Mux(takes & walk.from_x, ahead[:-1], x) + self.i_x),
            ahead.eq(ahead + (Mux(walk.from_x, self.i_x, self.i_h) - (go & ~walk.walks if self.config.walks else go))),
        ]
        with m.If(~walk.waits | supplied):
            m.d.sync += ahead.eq(0)
        # Of both spaces what would be there stands ready when the queue names one; behind that is a single carry.
        held_takes = walk.held & takes_at_end
        there_h = Mux(held_takes & ~walk.from_x, ahead, h)
        there_x = Mux(held_takes & walk.from_x, ahead, x)
        token, one = Signal(name="token"), C(1, 1)
        if self.config.x_per_beat > 1:
            there_x, arrives_x = there_x + self.i_x, 0
        else:
            arrives_x = self.i_x
        new_x = new.space == SPACE_X
        there, needed = Signal(signed(bits + 1), name="there"), Signal(bits + 2, name="needed")
        # Deep memories have more tokens than an offset can name: its complement has ones above.
        above = max(0, bits - len(new.offset))
        complement = Cat(~new.offset[:bits], C((1 << above) - 1, above))
        m.d.comb += [
            there.eq(Mux(new_x, there_x, there_h)),
            token.eq(Mux(new_x, arrives_x, self.i_h)),
            # there - offset - 1, and one more with a token, which comes in as the carry.
            needed.eq(Cat(one, there) + Cat(token, complement, one)),
        ]
        with m.If(loads):
            m.d.sync += ahead.eq(Mux(new.wait, needed[1:].as_signed(), 0))
        with m.If(self.i_clear_h):
            m.d.sync += h.eq(0)
        with m.If(self.i_clear):
            m.d.sync += x.eq(0)

        unfilled = self._ring_tokens(m, walk, go, loads, ends) if self.config.streams else C(0)
        fresh, stale = Signal(words, name="fresh_words"), Signal(init=1, name="stale")
        takes_fresh = Signal(name="takes_fresh_word")
        m.d.comb += takes_fresh.eq(go & walk.takes_fresh)
        with m.If(self.i_clear):
            m.d.sync += [fresh.eq(0), stale.eq(1)]
        with m.Elif(self.i_fresh ^ takes_fresh):
            m.d.sync += [fresh.eq(fresh + Mux(self.i_fresh, 1, -1)), stale.eq(~self.i_fresh & (fresh == 1))]
        absent = ahead[-1]
        behind = absent | walk.unsized if self.config.walks else absent
        return SimpleNamespace(behind=behind, absent=absent, unfilled=unfilled, stale=stale)

    def _ring_tokens(self, m, walk, go, loads, ends):
        """Words of the ring that are there; returns whether that of the next column is not."""
        command, new, words = walk.command, self.i.payload, range(self.config.weight_words + 1)
        ring, ring_ahead = Signal(words, name="ring_words"), Signal(signed(len(self.o_release) + 1), name="ring_ahead")
        m.d.sync += [
            ring.eq(Mux(ends & walk.releases, ring_ahead[:-1], ring) + self.i_ring_word),
            ring_ahead.eq(Mux(command.stream, ring_ahead + (self.i_ring_word - go), 0)),
        ]
        there = Mux(walk.releases, ring_ahead, ring)
        with m.If(loads):
            needed = there - new.weight[: len(ring)] + (self.i_ring_word - 1)
            m.d.sync += ring_ahead.eq(Mux(new.stream, needed, 0))
        with m.If(self.i_clear | self.i_ring):
            m.d.sync += ring.eq(0)
        return ring_ahead[-1]

    def _room(self, m, walk, go):
        """Whether a row block may be begun."""
        entries = self.config.finish_entries
        used, room = Signal(range(entries + 1), name="finish_used"), Signal(init=1, name="room")
        takes = Signal(name="takes_room")
        m.d.comb += takes.eq(go & walk.begins_block)
        with m.If(takes ^ self.i_finish_free):
            m.d.sync += [
                used.eq(used + Mux(takes, 1, -1)),
                room.eq(~takes | (used != entries - 1)),
            ]
        return room

    def _hazard(self, m, walk, go, loads, slot_ends):
        """Whether the next column starts from a sum that is not stored yet."""
        command, new = walk.command, self.i.payload
        recent = [
            (Signal(name=f"stored{n}"), Signal.like(new.source, name=f"stored_entry{n}"))
            for n in range(HAZARD_COLUMNS - 1)
        ]
        stored = [(slot_ends & command.store, command.target), *recent]
        for (valid, entry), (next_valid, next_entry) in pairwise(stored):
            m.d.sync += [next_valid.eq(valid), next_entry.eq(entry)]

        def among(stores, source):
            return Cat(valid & (entry == source) for valid, entry in stores).any()

        # What this cycle stores is the last column of a slot, so it counts if a command or a slot begins.
        # Whether it goes comes last, so that all cases are worked out beside it.
        kept, hazard = recent[:-1], Signal(name="hazard")
        rests = command.load & walk.first & among(kept, command.source)
        steps = walk.last & command.load & among([(command.store, command.target), *kept], walk.next_source)
        begins = new.load & among([(walk.held & command.store, command.target), *kept], new.source)
        behind = Mux(walk.last & walk.last_slot, begins, steps)
        m.d.sync += hazard.eq(Mux(go, behind, Mux(walk.held, rests, begins)))
        return hazard

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

    def _give_back(self, m, walk, ends):
        """What becomes free with the end of a command."""
        m.d.comb += [
            self.o_free_x.eq(ends & walk.command.free),
        ]
        if self.config.streams:
            m.d.comb += self.o_release.eq(Mux(ends & walk.releases, walk.ring_need, 0))

    def _issue(self, m, walk, go, slot_ends):
        """The column of this cycle, on its way to the lanes in the next one."""
        command, issue, entries = walk.command, self.o_issue, self.config.finish_entries
        stores, finishes = slot_ends & command.store, slot_ends & command.finish
        finish_write = Signal(range(entries))
        with m.If(finishes):
            m.d.sync += finish_write.eq(Mux(finish_write == entries - 1, 0, finish_write + 1))
        m.d.sync += [
            self.o_issued.eq(go & ~walk.empty if self.config.walks else go),
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
        ]
        if self.config.lists:
            m.d.sync += [issue.target.eq(command.target), issue.place.eq(finish_write)]
        else:
            m.d.sync += issue.target.eq(Mux(command.finish, finish_write, command.target))
        if len(self.config.lifts) > 1:
            m.d.sync += issue.lift.eq(command.lift)
        if self.config.window:
            m.d.sync += [
                issue.gather.eq(go & command.gather),
                issue.half.eq(walk.half),
                issue.fill.eq(go & walk.fills),
                issue.into.eq(walk.into),
            ]
        if self.config.split > 1:
            m.d.sync += [
                issue.gather.eq(go & command.gather),
                issue.fill.eq(go & walk.fills),
                issue.into.eq(walk.into),
                issue.partial.eq(finishes & command.gather),
            ]


class _Walk:
    """Where the unit stands: the command that it holds, and the next column of it."""

    def __init__(self, config):
        self.words, self.streams = config.weight_words, config.streams
        self.command, self.held = Signal(command_layout("MAC", config), name="command"), Signal(name="held")
        # Of the slot, with the next one. What is counted down is kept as its complement: sums up take carries alone.
        self.not_left = Signal(COUNT_BITS, name="columns_not_left")
        self.first, self.last = Signal(name="first"), Signal(name="last")
        self.single = Signal(name="single")  # slots have one column
        self.last_slot, self.slots_not_left = Signal(name="last_slot"), Signal(SLOT_BITS, name="slots_not_left")
        self.waits = Signal(name="waits")  # for operand tokens
        self.releases = Signal(name="releases")  # at its end
        self.takes_fresh, self.begins_block = Signal(name="takes_fresh"), Signal(name="begins_block")
        self.address = Signal(range(config.weight_words), name="address")
        self.at_end = Signal(name="at_end")  # of the weight buffer
        self.following = Signal.like(self.address, name="next_address")
        self.following_at_end = Signal(name="next_at_end")
        self.operand = Signal.like(self.command.operand, name="operand")
        self.ring_need = Signal(range(config.weight_words + 1), name="ring_need")  # ring words that it waits for
        self.from_x = self.command.space == SPACE_X
        self.next_source = Signal.like(self.command.source, name="next_source")  # of the slot behind this one
        self.window = config.window
        if config.window:
            self.fills, self.last_fill = Signal(name="fills"), Signal(name="last_fill")  # the next column, and the last
            self.filled = Signal(name="filled")  # columns before have been the last
            self.half = Signal(name="half")  # the window in use
            self.into = Signal(range(config.window), name="into")  # place in the window
        self.split = config.split
        if config.split > 1:
            self.fills = Signal(name="fills")  # the next column's operand is kept
            self.into = Signal(range(PLACES), name="into")  # its place, or that of all parts' operands
        self.lists = config.walks
        self.columns = self.command.columns  # of each slot
        if config.walks:
            # It walks a list, whose length is not known yet, or is zero.
            self.walks, self.unsized, self.empty = (Signal(name=name) for name in ("walks", "unsized", "empty"))
            self.columns = Signal(COUNT_BITS, name="columns")
            self.next_base = Signal.like(self.address, name="next_base")  # first word of the slot behind this one

    def open_list(self, m, x_length, h_lengths):
        """The list is complete: so many columns has each slot."""
        latest = Signal.like(h_lengths[0], name="latest_length")
        with m.Switch(self.command.list):
            for number, length in enumerate(h_lengths):
                with m.Case(number):
                    m.d.comb += latest.eq(length)
        length = Mux(self.from_x, x_length, latest)
        short = ~length[1:].any()  # one entry, or none, which is walked as one
        opened = Signal.like(self.not_left, name="opened")
        m.d.comb += opened.eq(Mux(short, 1, length))
        m.d.sync += [
            self.unsized.eq(0),
            self.empty.eq(length == 0),
            self.columns.eq(opened),
            self.not_left.eq(~opened),
            self.last.eq(short),
            self.single.eq(short),
        ]

    def load(self, m, command, valid, start):
        alone, there = command.weight[: len(self.address)], valid & (command.columns != 0) & (command.slots != 0)
        m.d.sync += [
            self.held.eq(there),
            self.command.eq(command),
            self.not_left.eq(~command.columns),
            self.slots_not_left.eq(~command.slots),
            self.first.eq(1),
            self.last.eq(command.columns == 1),
            self.single.eq(command.columns == 1),
            self.last_slot.eq(command.slots == 1),
            self.waits.eq(command.wait),
            self.takes_fresh.eq(command.fresh & ~command.stream if self.streams else command.fresh),
            self.begins_block.eq(command.finish),
            self.address.eq(Mux(command.stream, start.address, alone) if self.streams else alone),
            self.operand.eq(command.operand),
            self.next_source.eq(command.source + ~command.hold),
        ]
        if self.streams:
            m.d.sync += [
                self.releases.eq(there & command.release),
                self.at_end.eq(Mux(command.stream, start.at_end, alone == self.words - 1)),
                self.ring_need.eq(command.weight + 1),
            ]
        if self.window:
            m.d.sync += [
                self.fills.eq(there & (command.fill != 0)),
                self.last_fill.eq(there & (command.fill == 1)),
                self.filled.eq(0),
                self.into.eq(0),
            ]
        if self.split > 1:
            place = command.fill[: len(self.into)]
            m.d.sync += [
                self.fills.eq(there & command.fill[-1] & ~command.gather),
                self.into.eq(Mux(command.gather, place >> exact_log2(self.split), place)),
            ]
        if self.lists:
            walks = (command.space == SPACE_X) | (command.space == SPACE_DELTA)
            m.d.sync += [
                self.walks.eq(there & walks),
                self.unsized.eq(there & walks),
                self.empty.eq(0),
                self.columns.eq(command.columns),
                self.next_base.eq(alone + command.columns),
            ]

    def step(self, m):
        m.d.sync += [
            self.not_left.eq(self.not_left + 1),
            self.first.eq(0),
            self.begins_block.eq(0),
            self.last.eq(~self.not_left == 2),
            self.address.eq(self.following),
        ]
        if self.streams:
            m.d.sync += [self.at_end.eq(self.following_at_end), self.ring_need.eq(self.ring_need + 1)]
        if self.window:
            m.d.sync += [
                self.into.eq(self.into + 1),
                self.last_fill.eq(self.into + 2 == self.command.fill),
            ]
            with m.If(self.last_fill):
                m.d.sync += [self.fills.eq(0), self.filled.eq(1), self.waits.eq(0)]
        if self.split > 1:
            m.d.sync += [self.into.eq(self.into + 1), self.fills.eq(self.fills & ~self.last)]  # of the first slot
        if self.lists:
            with m.If(self.walks):  # a word's place in its slot is that of its entry
                m.d.sync += self.address.eq(Mux(self.last, self.next_base, self.address))
        with m.If(self.command.space != SPACE_CONSTANT):
            repeats = self.last & ~self.command.gather if self.window else self.last
            m.d.sync += self.operand.eq(Mux(repeats, self.command.operand, self.operand + 1))

    def next_slot(self, m):
        m.d.sync += [
            self.not_left.eq(~self.columns),
            self.first.eq(1),
            self.begins_block.eq(self.command.finish),
            self.last.eq(self.single),
            self.last_slot.eq(~self.slots_not_left == 2),
            self.slots_not_left.eq(self.slots_not_left + 1),
            self.waits.eq(self.waits & self.command.gather & ~self.last_fill if self.window else 0),
            self.command.source.eq(self.next_source),
            self.next_source.eq(self.next_source + ~self.command.hold),
            self.command.target.eq(self.command.target + 1),
        ]
        if self.lists:
            m.d.sync += self.next_base.eq(self.next_base + self.command.columns)


class _Ring:
    """The stream ring: addresses wrap from the end of the weight buffer to its base."""

    def __init__(self, config):
        self.words = config.weight_words
        # ``rest`` is the number of words behind the base.
        self.base, self.head, self.rest = (
            Signal(range(self.words), name=f"ring_{name}") for name in ("base", "head", "rest")
        )

    def set_up(self, m, base):
        m.d.sync += [self.base.eq(base), self.head.eq(base), self.rest.eq(self.words - 1 - base)]

    def release(self, m, head):
        m.d.sync += self.head.eq(head)

    def follow(self, m, walk):
        """The address behind that of the next column, and whether it is the last of the buffer."""
        ends = Mux(walk.at_end, self.rest == 0, walk.address == self.words - 2)
        m.d.comb += [walk.following.eq(Mux(walk.at_end, self.base, walk.address + 1)), walk.following_at_end.eq(ends)]

    def place(self, m, walk, offset):
        """Where a command begins, so many words behind the head, fewer than the ring has; whether it is the last word.

        If a command is held, it ends in the cycle in which the next one begins, and may move the head.
        """
        bits = len(self.head)
        offset = offset[:bits]
        # All sums and comparisons stand side by side: whether the start is beyond the buffer's end, where it is then
        # and else, and whether it is the last word.
        head = Mux(walk.releases, walk.following, self.head)
        to_end, wrapped = Signal(signed(bits + 1), name="to_end"), Signal(bits, name="wrapped")
        beyond, last = Signal(signed(bits + 2), name="beyond"), Signal(bits, name="last_start")
        place = SimpleNamespace(address=Signal(bits, name="start_address"), at_end=Signal(name="starts_at_end"))
        is_last = Mux(walk.at_end, self.rest == offset, walk.address == (last - 1)[:bits])
        m.d.comb += [
            to_end.eq(offset - self.words),
            wrapped.eq(offset + self.base - self.words),
            beyond.eq(head + to_end),
            place.address.eq(Mux(beyond[-1], (head + offset)[:bits], (head + wrapped)[:bits])),
            last.eq(self.words - 1 - offset),
            place.at_end.eq(Mux(walk.releases, is_last, self.head == last)),
        ]
        return place
