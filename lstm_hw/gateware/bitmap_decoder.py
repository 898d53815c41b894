"""BitmapDecoder: from the beats of a weight port to whole weight words, a beat a cycle."""

from amaranth import *
from amaranth.lib import data
from amaranth.utils import bits_for, exact_log2

from ..machine.bitmap import COUNT_BITS
from ..machine.isa import WORD_BITS
from ..machine.latency import DECODE
from .port_decoder import PortDecoder

GROUP = 12
"""Rows of a mask that are counted a cycle before the others, and together with them."""
LUT_COLUMNS = 4
"""Bits of a sum whose carry is plain gates; the carry chain is the longer way for so few."""


class BitmapDecoder(PortDecoder):
    """Expands segments of the bit map, as :mod:`lstm_hw.machine.bitmap` says, and gathers the beats of other words.

    A block's masks are counted in front of its weights; then each row of the word that is being made takes its weight
    from the beat in which it is, or from the beat before if the word began there: at most one word ends in a beat.

    Parameters, members and timing are those of :class:`lstm_hw.gateware.port_decoder.PortDecoder`.
    """

    def elaborate(self, platform) -> Module:
        # Stage 1 files masks, stage 2 counts those of the first word, stage 3 takes it up, or takes weights: so the
        # first weights find the first word ready, and the mask of the next one counted.
        m = Module()
        layout = data.StructLayout(
            {
                "valid": 1,
                "mask": 1,
                "number": range(self.form.mask_beats),
                "words": range(self.form.block_words + 1),
                "ready": 1,  # the last masks of a block
                "weights": 1,
                "raw": 1,
                "start": 1,  # the first beat of a raw word
                "final": 1,  # the last weights of a block
                "bad": 1,
                "padding": 1,  # behind the last weights: bad unless it is zero
            }
        )
        stages = [Signal(layout, name=f"stage{n}") for n in range(1, DECODE)]
        beats = [Signal(self.config.axi_data_bits, name=f"beat{n}", reset_less=True) for n in range(1, DECODE)]
        for before, after in zip((self._sorted(m, layout), *stages), stages, strict=False):
            m.d.sync += after.eq(before)
        m.d.sync += stages[1].bad.eq(stages[0].bad | stages[0].padding & beats[0].any())
        for before, after in zip((self.i_data, *beats), beats, strict=False):
            m.d.sync += after.eq(before)
        m.d.comb += self.o_busy.eq(Cat(stage.valid for stage in stages).any())
        self._expand(m, stages, beats)
        return m

    def _sorted(self, m, layout):
        """What kind of beat is coming in."""
        config, form = self.config, self.form
        kind = Signal(layout)
        m.d.comb += kind.valid.eq(self.i_valid)
        left = Signal(WORD_BITS)  # words of the segment behind this block
        now, behind = Signal(WORD_BITS), Signal(WORD_BITS)
        number = Signal(range(form.mask_beats))  # of the next beat of masks; 0 behind the last one
        weights = Signal(COUNT_BITS)  # beats of weights to come
        block, over = Signal(), Signal()
        count = self.i_data[:COUNT_BITS]
        m.d.comb += [
            now.eq(Mux(self.i_first, self.i_words, left)),
            behind.eq(Mux(now > form.block_words, now - form.block_words, 0)),
            # Whether a block begins.
            block.eq(self.i_first | ((number == 0) & (weights == 0) & (left != 0))),
        ]
        words = Signal(range(form.block_words + 1))  # of the block
        chunk = Signal(range(config.beats_per_word))
        ends_word = chunk == config.beats_per_word - 1
        with m.If(self.i_valid & ~self.i_packed):
            m.d.comb += [kind.weights.eq(1), kind.raw.eq(1), kind.start.eq(chunk == 0)]
            m.d.sync += chunk.eq(Mux(ends_word, 0, chunk + 1))
        with m.Elif(self.i_valid):
            with m.If(block):
                m.d.comb += [kind.mask.eq(1), kind.bad.eq(count == 0)]
                m.d.sync += [
                    number.eq(1),
                    weights.eq(count),
                    left.eq(behind),
                    words.eq(Mux(now > form.block_words, form.block_words, now)),
                ]
            with m.Elif(number != 0):
                ready = number == form.mask_beats - 1
                m.d.comb += [kind.mask.eq(1), kind.number.eq(number), kind.ready.eq(ready), kind.words.eq(words)]
                m.d.sync += number.eq(Mux(ready, 0, number + 1))
            with m.Elif(weights != 0):
                m.d.comb += [kind.weights.eq(1), kind.final.eq(weights == 1)]
                m.d.comb += over.eq((weights == 1) & (left == 0))
                m.d.sync += weights.eq(weights - 1)
            with m.Else():
                m.d.comb += [over.eq(1), kind.padding.eq(1)]
            with m.If(self.i_last & ~over):
                m.d.comb += kind.bad.eq(1)
        return kind

    def _expand(self, m, stages, beats):
        """Masks and weights to words."""
        filing, counting, taking = stages
        masks, word = _Masks(self.config, self.form), _Word(self.config, self.form)
        self._count_next(m, masks)
        per_beat = self.form.per_beat
        m.d.comb += [
            word.ends.eq(word.left <= per_beat),
            word.room.eq(per_beat - word.left),
            word.fresh.eq(taking.ready | (word.left == per_beat) | (masks.next.count <= word.room)),
            word.take.eq(taking.weights),
            word.advance.eq(taking.ready | (word.take & word.ends & masks.has_next)),
        ]
        self._file(m, masks, filing, beats[0], counting.ready | word.advance)
        self._begin(m, word, masks.next, counting.start, beats[2])
        self._gather(m, word, beats[2])
        self._judge(m, word, masks, taking, beats[1])

    def _count_next(self, m, masks):
        """Count the ones of the next mask, all of them and those in front of each row."""
        rows, new = self.config.rows, masks.new
        inside, groups = masks.inside, list(masks.groups)
        m.d.comb += [
            new.mask.eq(masks.filed[:rows]),
            new.count.eq(_sum(m, groups)),
            *(new.ranks[row].eq(_sum(m, [*groups[: row // GROUP], inside[row]])) for row in range(1, rows)),
        ]

    def _file(self, m, masks, filing, beat, moves):
        """Masks in, and on by a word."""
        rows, filed, queued = self.config.rows, masks.filed, masks.queued
        with m.If(filing.mask):
            with m.Switch(filing.number):
                for n in range(self.form.mask_beats):
                    with m.Case(n):
                        held = beat if n else beat[COUNT_BITS:]
                        m.d.sync += filed[max(0, n * len(beat) - COUNT_BITS) :][: len(held)].eq(held)
        with m.Elif(moves & (queued != 0)):
            m.d.sync += [filed.eq(filed[rows:]), queued.eq(queued - 1)]
        # What will be the first mask: the one behind, or, while others are filed, the one that is there since before.
        mask = Mux(filing.mask, filed, filed[rows:])[:rows]
        with m.If(filing.mask | moves & (queued != 0)):
            for first in range(0, rows, GROUP):
                held = mask[first : min(first + GROUP, rows)]
                m.d.sync += masks.groups[first // GROUP].eq(_sum(m, held))
                m.d.sync += [masks.inside[first + n].eq(_sum(m, held[:n])) for n in range(1, len(held))]
        m.d.sync += masks.surplus.eq(filed.any())
        with m.If(filing.ready):
            m.d.sync += queued.eq(filing.words)
        with m.If(moves):
            m.d.sync += [masks.next.eq(masks.new), masks.has_next.eq(queued != 0)]

    def _begin(self, m, word, next_, raw, beat):
        """The word that is being made: what is left of it after a beat, or the next one."""
        rows, per_beat = self.config.rows, self.form.per_beat
        base = Mux(word.fresh, per_beat, word.left[: len(word.room)])
        with m.If(word.take):
            m.d.sync += [word.before.eq(beat), word.turn.eq(word.turn + 1), word.left.eq(word.left - per_beat)]
        with m.If(word.take & word.ends):
            m.d.sync += word.active.eq(0)
        with m.If(word.advance):
            m.d.sync += [
                word.active.eq(1),
                word.current.eq(next_.mask),
                word.left.eq(Mux(word.fresh, next_.count, next_.count - word.room)),
                word.turn.eq(1),
                *(word.places[row].eq(base + next_.ranks[row]) for row in range(rows)),
            ]
        with m.If(raw):
            m.d.sync += [
                word.active.eq(1),
                word.current.eq(-1),
                word.left.eq(rows),
                word.turn.eq(1),
                *(word.places[row].eq(per_beat + row) for row in range(rows)),
            ]

    def _gather(self, m, word, beat):
        """Each row's weight, out of the beat in which it is or the one before."""
        rows, width, unit_bits = self.config.rows, self.config.weight_bits, exact_log2(self.form.per_beat)
        made = Signal(rows)
        for row in range(rows):
            held, place = Signal(width, name=f"held{row}", reset_less=True), word.places[row]
            unit, in_turn = place[:unit_bits], place[unit_bits:]
            with m.If((in_turn == word.turn) | ((in_turn == 0) & (word.turn == 1))):
                m.d.sync += held.eq(Mux(in_turn == 0, word.before, beat).word_select(unit, width))
            m.d.comb += self.o_word.word_select(row, width).eq(Mux(made[row], held, 0))
        m.d.sync += [made.eq(word.current), self.o_valid.eq(word.take & word.ends & word.active)]

    def _judge(self, m, word, masks, taking, beat):
        """A block has the weights that its masks tell of, and nothing between or behind them."""
        per_beat, width = self.form.per_beat, self.config.weight_bits
        idle = Signal(per_beat)
        m.d.sync += idle.eq(Cat(beat.word_select(unit, width).any() for unit in range(per_beat)))
        unused = Signal(per_beat)
        m.d.comb += unused.eq(Cat(idle[unit] & (word.left <= unit) for unit in range(per_beat)))
        # Whether the next word starts in a beat of its own is known last.
        last_word, packed, left_over = Signal(), Signal(), Signal()
        m.d.comb += [
            last_word.eq(word.ends & ~masks.has_next),
            packed.eq(word.take & ~taking.raw),
            left_over.eq(packed & word.ends & unused.any()),
        ]
        m.d.sync += self.o_bad.eq(
            taking.bad
            | packed & (~word.active | (last_word != taking.final) | (taking.final & masks.surplus))
            | left_over & ~masks.has_next
            | left_over & word.fresh
        )


class _Masks:
    """A block's masks: those filed, without the count in front of them, how many words they are of, and the counted one
    of the next word."""

    def __init__(self, config, form):
        rows = config.rows
        following = data.StructLayout(
            {"mask": rows, "count": range(rows + 1), "ranks": data.ArrayLayout(range(rows), rows)}
        )
        self.filed = Signal(form.mask_beats * config.axi_data_bits - COUNT_BITS, name="masks", reset_less=True)
        # Of the first of them: ones in each group of rows, and in front of each row inside its group.
        self.groups = Signal(data.ArrayLayout(range(GROUP + 1), -(-rows // GROUP)), name="groups", reset_less=True)
        self.inside = Signal(data.ArrayLayout(range(GROUP), rows), name="inside", reset_less=True)
        self.queued = Signal(range(form.block_words + 1))
        self.new, self.next = Signal(following), Signal(following, reset_less=True)
        self.has_next, self.surplus = Signal(), Signal(name="surplus")


class _Word:
    """The word that is being made; places of its weights are counted from the beat before on."""

    def __init__(self, config, form):
        rows, per_beat = config.rows, form.per_beat
        place_bits = bits_for(per_beat + rows - 1)
        self.before = Signal(config.axi_data_bits, reset_less=True)
        self.active = Signal()
        self.current, self.left = Signal(rows, reset_less=True), Signal(range(rows + 1), reset_less=True)
        self.places = Signal(data.ArrayLayout(place_bits, rows), reset_less=True)
        self.turn = Signal(place_bits - exact_log2(per_beat))
        self.ends, self.fresh, self.take, self.advance = Signal(), Signal(), Signal(), Signal()
        self.room = Signal(range(per_beat + 1))


def _sum(m, numbers):
    """The sum of numbers, by counters of six bits of plain gates and a carry for what they leave."""
    columns = [[] for _ in range(max((len(number) for number in numbers), default=0))]
    for number in numbers:
        for weight, bit in enumerate(number):
            columns[weight].append(bit)
    while any(len(column) > 2 for column in columns):
        fewer = [[] for _ in range(len(columns) + 2)]
        for weight, column in enumerate(columns):
            for first in range(0, len(column), 6):
                some = column[first : first + 6]
                if len(some) < 3:
                    fewer[weight] += some
                    continue
                for up, bit in enumerate(_count_six(m, some)):
                    fewer[weight + up].append(bit)
        columns = [column for column in fewer if column]
    if len(columns) > LUT_COLUMNS:
        a, b = (Cat((*column, C(0, 1))[n] for column in columns) for n in (0, 1))
        return a + b
    result, carry = [], C(0, 1)
    for column in columns:
        total, carry = _add(m, *(*column, C(0, 1))[:2], carry)
        result.append(total)
    return Cat(*result, carry)


def _count_six(m, bits):
    """The number of ones among three to six bits, lowest bit first."""
    count = Signal(bits_for(len(bits)))
    bits = (*bits, C(0, 1), C(0, 1), C(0, 1))
    (low, first), (high, second) = _add(m, *bits[:3]), _add(m, *bits[3:6])
    total, third = _add(m, low, high, C(0, 1))
    m.d.comb += count.eq(Cat(total, *_add(m, first, second, third)))
    return list(count)


def _add(m, a, b, c):
    """Sum and carry of three bits."""
    total, carry = Signal(), Signal()
    m.d.comb += [total.eq(a ^ b ^ c), carry.eq((a & b) | (c & (a ^ b)))]
    return total, carry
