"""Burst splitter: cuts load descriptors into AXI bursts."""

from types import SimpleNamespace

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, exact_log2

from ..machine.isa import BEATS_BITS, OFFSET_BITS
from ..machine.latency import SPLIT_BURSTS, SPLIT_DELAY, SPLIT_OUT
from .axi import PAGE_BYTES
from .queue import Queue


def load_descriptor(
    offset_bits: int = OFFSET_BITS, beats_bits: int = BEATS_BITS, credited: bool = True
) -> data.StructLayout:
    """What to load: ``beats`` words from word ``offset`` of the weight image, ``credited`` with or without credit."""
    return data.StructLayout({"offset": offset_bits, "beats": beats_bits, **({"credited": 1} if credited else {})})


class BurstSplitter(wiring.Component):
    """Cuts descriptors into the longest bursts that stay within ``max_burst`` and one 4 KiB page.

    A word is ``data_bits`` wide, and all addresses here are word addresses. A burst ends at the
    first of: ``max_burst`` words, the end of its page, the end of its descriptor. The word address
    of a descriptor is ``i_base + offset`` modulo the address space.

    Parameters
    ----------
    address_bits : int
        Width of a byte address.
    data_bits : int
        Width of a word, a power of two from 64 to 1024.
    max_burst : int
        Longest burst in words, at most one page. :class:`LoadUnit` checks all three.
    descriptor : StructLayout
        Of :func:`load_descriptor`.

    Members
    -------
    i : stream of descriptors, in
        A descriptor of 0 beats is taken and has no effect.
    i_base : In(word_bits)
        Word address of offset 0, stable while a descriptor is inside.
    i_flush : In(1)
        Take nothing and drop everything inside; ``o.valid`` is withdrawn.
    o : stream of {word, length, credited, first, last}, out
        One burst: its word address, its length of 1 to ``max_burst`` words, whether it waits for
        credit if descriptors say so, whether it is the first and the last of its descriptor.
    o_idle : Out(1)
        Nothing inside.

    Attributes
    ----------
    latency : int
        Cycles from the acceptance of a descriptor to its first ``o.valid``: 3.
    word_bits, page_bits : int
        Width of a word address, and of a word's place in its page.

    Timing
    ------
    One burst a cycle, also across descriptors, hence one single-burst descriptor a cycle. There is
    room for four: a descriptor in the adder, one in the splitter, two bursts in the output buffer,
    which keeps ``o.ready`` from reaching back into the splitter. With ``s`` the cycle in which the
    first burst of descriptor d stands in the splitter, ``e`` the cycle in which a burst leaves it
    and ``x`` the cycle in which it is taken from ``o``::

        accepted[d] >= s[d-1] - 1           e[k] = max(cycle it stands in the splitter, x[k-2] + 1)
        s[d] = max(accepted[d] + 2, e[last burst of d-1] + 1)
        next burst of d stands in the splitter in e[k] + 1
        o.valid of burst k from max(e[k], x[k-1]) + 1

    Base and offset are added in two steps of at most 32 bits; the longest paths are the increment of
    the page number and the 24-bit comparison that recognises the last burst.
    """

    latency = SPLIT_DELAY + SPLIT_OUT

    def __init__(self, address_bits: int, data_bits: int, max_burst: int, descriptor: data.StructLayout | None = None):
        self.max_burst, self.descriptor = max_burst, descriptor or load_descriptor()
        self.credited = "credited" in self.descriptor.members
        self.word_bits = address_bits - exact_log2(data_bits // 8)
        self.page_bits = exact_log2(PAGE_BYTES * 8 // data_bits)
        self.low_bits = min(OFFSET_BITS, self.word_bits)
        self.whole_pages = max_burst == 1 << self.page_bits  # a burst ends with its page, or its descriptor
        super().__init__(
            {
                "i": In(stream.Signature(self.descriptor)),
                "i_base": In(self.word_bits),
                "i_flush": In(1),
                "o": Out(
                    stream.Signature(
                        data.StructLayout(
                            {
                                "word": self.word_bits,
                                "length": bits_for(max_burst),
                                **({"credited": 1} if self.credited else {}),
                                "first": 1,
                                "last": 1,
                            }
                        )
                    )
                ),
                "o_idle": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        # Three stages: the adder takes a descriptor, the splitter makes one burst of it after the other, the buffer
        # hands them out. The next descriptor enters the splitter with the last burst of the one before.
        m = Module()
        add, split = self._stages()
        out = Queue(self.o.payload.shape(), SPLIT_BURSTS)
        m.submodules.out = ResetInserter(self.i_flush)(out)
        last = split.remaining <= split.limit
        fills = C(1) if self.whole_pages else split.room <= self.max_burst
        step = split.valid & out.i.ready
        enter = add.valid & (~split.valid | (step & last))
        accept = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~self.i_flush & (~add.valid | enter)),
            out.i.valid.eq(split.valid),
            self.o_idle.eq(~(add.valid | split.valid) & out.o_empty),
        ]
        connect(m, out.o, flipped(self.o))
        self._follow(m, add, split, out, last, fills)

        with m.If(self.i.ready):  # whether it is a descriptor, ``valid`` says
            m.d.sync += [
                add.low.eq(self.i_base[: self.low_bits] + self.i.payload.offset),
                add.added.eq(self.i.payload),
            ]
        with m.If(enter):
            self._begin(m, add, split)
        with m.Elif(step):
            self._advance(m, split, fills)
        m.d.sync += [
            add.valid.eq(~self.i_flush & ((accept & (self.i.payload.beats != 0)) | (add.valid & ~enter))),
            split.valid.eq(~self.i_flush & (enter | (split.valid & ~(step & last)))),
        ]
        return m

    def _stages(self):
        """Registers of adder and splitter."""
        # The lower part of base + offset with its carry.
        add_valid = Signal()
        low = Signal(min(self.low_bits + 1, self.word_bits), reset_less=True)
        added = Signal(self.descriptor, reset_less=True)
        start = Signal(self.word_bits)
        add = SimpleNamespace(valid=add_valid, low=low, added=added, start=start)

        # `room` words are left in the page, from `place` on; `limit` is the smaller of room and longest. What follows a
        # burst depends on `room` only, since a burst that the descriptor ends has no successor in it.
        split_valid = Signal()
        page = Signal(self.word_bits - self.page_bits, reset_less=True)
        room = Signal(range((1 << self.page_bits) + 1), reset_less=True)
        place = Signal(self.page_bits, reset_less=True)
        room_first = Signal.like(room)
        room_after = Signal.like(room)
        limit = Signal(range(self.max_burst + 1), reset_less=True)
        remaining = Signal.like(added.beats, name="remaining", reset_less=True)
        credited = Signal(reset_less=True)
        first = Signal(reset_less=True)
        split = SimpleNamespace(
            valid=split_valid,
            page=page,
            room=room,
            place=place,
            room_first=room_first,
            room_after=room_after,
            limit=limit,
            remaining=remaining,
            credited=credited,
            first=first,
        )

        return add, split

    def _follow(self, m, add, split, out, last, fills):
        """What follows from the registers: where a descriptor starts, the room behind a burst, the burst."""
        page_words, made = 1 << self.page_bits, out.i.payload
        m.d.comb += [
            add.start.eq(Cat(add.low[: self.low_bits], self.i_base[self.low_bits :] + add.low[self.low_bits :])),
            split.room_first.eq(page_words - add.start[: self.page_bits]),
            split.room_after.eq(Mux(fills, page_words, split.room - self.max_burst)),
            made.word.eq(Cat(split.place, split.page)),
            made.length.eq(Mux(last, split.remaining, split.limit)),
            made.first.eq(split.first),
            made.last.eq(last),
        ]
        if self.credited:
            m.d.comb += made.credited.eq(split.credited)

    def _limit(self, room):
        """The words of a burst in so much room of its page."""
        return room if self.whole_pages else Mux(room < self.max_burst, room, self.max_burst)

    def _begin(self, m, add, split):
        m.d.sync += [
            split.room.eq(split.room_first),
            split.place.eq(add.start),
            split.limit.eq(self._limit(split.room_first)),
            split.page.eq(add.start[self.page_bits :]),
            split.remaining.eq(add.added.beats),
            split.first.eq(1),
        ]
        if self.credited:
            m.d.sync += split.credited.eq(add.added.credited)

    def _advance(self, m, split, fills):
        m.d.sync += [
            split.room.eq(split.room_after),
            split.place.eq(Mux(fills, 0, split.place + self.max_burst)),
            split.limit.eq(self._limit(split.room_after)),
            split.page.eq(split.page + fills),
            split.remaining.eq(split.remaining - split.limit),
            split.first.eq(0),
        ]
