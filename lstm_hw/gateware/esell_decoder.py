"""EsellDecoder: from the beats of a weight port in eSELL to whole weight words, a beat a cycle."""

from amaranth import *
from amaranth.lib import data, memory
from amaranth.utils import bits_for

from ..machine.esell import (
    BLOCK_COLUMNS,
    BLOCK_ROWS,
    BUFFERS,
    CHUNK_ROWS,
    CHUNKS,
    CODE_BITS,
    CODES_AT,
    COLUMN_CODES,
    HALF_BITS,
    ROW_BITS,
    ROWS_AT,
    TAIL,
    WEIGHT_BITS,
    WIDTH_BITS,
)
from ..machine.esell import WORD_BITS as BEAT_BITS
from ..machine.isa import WORD_BITS
from .port_decoder import PortDecoder

_COLUMN_BITS = bits_for(BLOCK_COLUMNS - 1)
_EACH = range(BLOCK_COLUMNS)
_HALF = BEAT_BITS // CHUNKS
# Of a row with some code, where its k-th weight is, or a column that is not read where it has none; whether it has one.
_COLUMNS = [[*code, *[c for c in _EACH if c not in code]][k] for code in COLUMN_CODES for k in _EACH]
_THERE = [k < len(code) for code in COLUMN_CODES for k in _EACH]
# Columns of the weights that a row with some code has in a chunk of some width.
_MASKS = [sum(1 << c for c in code[:width]) for width in range(1 << WIDTH_BITS) for code in COLUMN_CODES]


class EsellDecoder(PortDecoder):
    """Expands segments of eSELL, as :class:`lstm_hw.machine.esell.Esell` says, and gathers the beats of other words.

    Each row of a word has a small memory for its weights of four columns, of four row blocks: a beat has at most one
    for each row, and the header says at which of the beat's places and of which column it is. With the header, a row
    also learns which columns it has weights of; the others are zero when a word is read. When a row block is whole, its
    words are read one after the other.

    A word that lies in memory as it is passes as a row block of one column, each of its beats as the header and the
    weights of four rows.

    Parameters, members and timing are those of :class:`lstm_hw.gateware.port_decoder.PortDecoder`.
    """

    def elaborate(self, platform) -> Module:
        # Stage 1 looks into headers and finds the columns of weights, stage 2 writes, stage 3 reads.
        m = Module()
        kind = data.StructLayout(
            {
                "valid": 1,
                "header": 1,
                "weights": 1,
                "raw": 1,
                "tail": 1,
                "chunk": range(CHUNKS),
                "place": range(BLOCK_COLUMNS),
                "quad": range(self.form.quads),  # four rows of a word: those of the block's first rows
                "buffer": range(BUFFERS),
                "ends": 1,  # a row block is whole
                "over": 1,  # the block's last four rows are behind the segment's
                "bad": 1,
            }
        )
        first, second, third = Signal(kind), Signal(kind), Signal()
        beat, before = (Signal(BEAT_BITS, name=name, reset_less=True) for name in ("beat", "before"))
        m.d.sync += [first.eq(self._sorted(m, kind)), second.eq(first), third.eq(second.valid)]
        m.d.sync += [beat.eq(self.i_data), before.eq(beat)]
        header, wrong_header = self._header(m, first, beat)
        places = self._places(m, first, beat, header)
        ports, wrong_weight = self._write(m, second, before, header, places)
        active = self._read(m, second, ports)
        m.d.comb += self.o_busy.eq(first.valid | second.valid | third | active)

        bad = [Signal(name=f"bad{stage}") for stage in (2, 3)]
        m.d.sync += [
            bad[0].eq(first.bad | (first.tail & beat.any()) | (first.header & wrong_header)),
            bad[1].eq(bad[0] | (second.weights & ~second.raw & wrong_weight)),
            self.o_bad.eq(bad[1]),
        ]
        return m

    def _sorted(self, m, layout):
        """What kind of beat is coming in."""
        quads = self.form.quads
        kind = Signal(layout)
        words = Signal(WORD_BITS)  # of the segment, from the row block on that is not whole yet
        left = [Signal(WIDTH_BITS, name=f"left{chunk}") for chunk in range(CHUNKS)]  # beats of the block
        place, quad, buffer = (Signal.like(kind[name], name=name) for name in ("place", "quad", "buffer"))
        since = Signal(range(BLOCK_COLUMNS))  # beats since a row block was whole, as far as they matter
        done = Signal()  # all row blocks are
        now_words, now_quad, now_since = Signal.like(words), Signal.like(quad), Signal.like(since)
        m.d.comb += [
            now_words.eq(Mux(self.i_first, self.i_words, words)),
            now_quad.eq(Mux(self.i_first, 0, quad)),
            now_since.eq(Mux(self.i_first, 0, since)),
        ]
        widths = [self.i_data.word_select(chunk, _HALF)[:WIDTH_BITS] for chunk in range(CHUNKS)]
        packed, between, whole, last = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            packed.eq(self.i_valid & self.i_packed),
            between.eq(self.i_first | ((left[0] == 0) & (left[1] == 0))),
            last.eq(now_words == BLOCK_COLUMNS),
            kind.valid.eq(self.i_valid),
            kind.raw.eq(self.i_valid & ~self.i_packed),
            kind.tail.eq(packed & done & ~self.i_first),
            kind.header.eq(packed & ~kind.tail & between),
            kind.weights.eq(kind.raw | (packed & ~kind.tail & ~between)),
            kind.chunk.eq(packed & (left[0] == 0)),
            kind.place.eq(Mux(packed, place, 0)),
            kind.quad.eq(now_quad),
            kind.buffer.eq(buffer),
            kind.over.eq(last & (now_quad == quads - 1)),
            # The block is whole.
            whole.eq(Mux(kind.header, (widths[0] == 0) & (widths[1] == 0), Cat(*left) == Mux(left[0] == 0, 8, 1))),
        ]
        with m.If(kind.raw):
            m.d.comb += kind.ends.eq(now_quad == quads - 1)
            m.d.sync += quad.eq(Mux(kind.ends, 0, now_quad + 1))
        with m.Elif(packed & ~kind.tail):
            m.d.comb += kind.ends.eq(whole & (now_quad >= quads - CHUNKS if quads > CHUNKS else 1))
            m.d.sync += quad.eq(now_quad)
            with m.If(whole):
                m.d.sync += quad.eq(Mux(kind.ends, now_quad + CHUNKS - quads, now_quad + CHUNKS))
        with m.If(kind.header):
            m.d.sync += [place.eq(0), *(count.eq(width) for count, width in zip(left, widths, strict=True))]
        with m.Elif(kind.weights & self.i_packed):
            m.d.sync += place.eq(Mux(left[0] == 1, 0, place + 1))
            with m.If(left[0] != 0):
                m.d.sync += left[0].eq(left[0] - 1)
            with m.Else():
                m.d.sync += left[1].eq(left[1] - 1)
        with m.If(kind.ends):
            m.d.sync += buffer.eq(buffer + 1)
        with m.If(packed):
            m.d.comb += kind.bad.eq(
                (kind.ends & (now_since != BLOCK_COLUMNS - 1)) | (self.i_last & ~(kind.tail & (now_since >= TAIL - 1)))
            )
            m.d.sync += [
                done.eq(kind.tail | (kind.ends & last)),
                words.eq(Mux(kind.ends, now_words - BLOCK_COLUMNS, now_words)),
                since.eq(Mux(kind.ends, 0, now_since + (now_since != BLOCK_COLUMNS - 1))),
            ]
        return kind

    def _header(self, m, kind, beat):
        """What a header says, from the cycle behind it on; and whether the one that is coming is none.

        A word that lies in memory as it is has the rows of chunk 0 in their order, and weights in the first column.
        """
        layout = data.StructLayout(
            {
                "codes": data.ArrayLayout(CODE_BITS, BLOCK_ROWS),  # by position
                "masks": data.ArrayLayout(BLOCK_COLUMNS, BLOCK_ROWS),  # columns with weights, by position
                "at": data.ArrayLayout(BLOCK_ROWS.bit_length() - 1, BLOCK_ROWS),  # position of each row
            }
        )
        header, new = Signal(layout, reset_less=True), Signal(layout, name="new_header")
        halves = [beat.word_select(chunk, _HALF) for chunk in range(CHUNKS)]
        widths, named, codes = [], [], []
        for half in halves:
            widths.append(half[:WIDTH_BITS])
            codes += [half[CODES_AT + n * CODE_BITS :][:CODE_BITS] for n in range(CHUNK_ROWS)]
            named += [half[ROWS_AT + n * ROW_BITS :][:ROW_BITS] for n in range(CHUNK_ROWS)]
        found = Signal(BLOCK_ROWS)
        for row in range(BLOCK_ROWS):
            matches = Cat(name == row for name in named)
            m.d.comb += found[row].eq(matches.any())
            for bit in range(len(new.at[row])):
                of_bit = Cat(matches[position] for position in range(BLOCK_ROWS) if position >> bit & 1)
                m.d.comb += new.at[row][bit].eq(Mux(kind.raw, row >> bit & 1, of_bit.any()))
        masks = Array(_MASKS)
        for position, code in enumerate(codes):
            mask = masks[Cat(code, widths[position // CHUNK_ROWS])]
            m.d.comb += [new.codes[position].eq(code), new.masks[position].eq(Mux(kind.raw, 1, mask))]
        with m.If(kind.header | kind.raw):
            m.d.sync += header.eq(new)
        wide = Cat((width > BLOCK_COLUMNS) | half[HALF_BITS:].any() for width, half in zip(widths, halves, strict=True))
        return header, ~found.all() | wide.any()

    def _places(self, m, kind, beat, header):
        """The column of each weight of a beat, whether it is one, and whether it has none; a cycle later."""
        layout = data.StructLayout(
            {"columns": data.ArrayLayout(_COLUMN_BITS, CHUNK_ROWS), "there": CHUNK_ROWS, "wrong": CHUNK_ROWS}
        )
        places = Signal(layout, reset_less=True)
        columns, there = Array(_COLUMNS), Array(_THERE)
        for n in range(CHUNK_ROWS):
            code = Mux(kind.chunk, header.codes[CHUNK_ROWS + n], header.codes[n])
            weight, place = beat.word_select(n, WEIGHT_BITS).any(), Cat(kind.place, code)
            m.d.sync += [
                places.columns[n].eq(Mux(kind.raw, 0, columns[place])),
                places.there[n].eq(weight),
                places.wrong[n].eq(weight & ~there[place]),
            ]
        return places

    def _write(self, m, kind, beat, header, places):
        """Weights and columns to the rows of a word; returns their read ports, and whether weights are behind the
        segment's last row."""
        quads, position_bits = self.form.quads, _COLUMN_BITS
        rows = []  # of the block: enable, column, weight, columns with weights
        for row in range(BLOCK_ROWS):
            at = header.at[row]
            n, chunk = at[:position_bits], at[position_bits]
            rows.append(
                (
                    kind.weights & (chunk == kind.chunk),
                    places.columns.as_value().word_select(n, _COLUMN_BITS),
                    beat.word_select(n, WEIGHT_BITS),
                    header.masks.as_value().word_select(at, BLOCK_COLUMNS),
                )
            )
        ports = []
        for row in range(self.config.rows):
            quad, n = divmod(row, CHUNK_ROWS)
            lower, upper = kind.quad == quad, kind.quad == (quad - 1) % quads  # of the block's rows
            enable, column, weight, mask = (
                Mux(upper, theirs, ours) for ours, theirs in zip(rows[n], rows[CHUNK_ROWS + n], strict=True)
            )
            buffer = kind.buffer if quad else Mux(upper, kind.buffer + 1, kind.buffer)[: len(kind.buffer)]
            m.submodules[f"weights{row}"] = weights = memory.Memory(
                shape=WEIGHT_BITS, depth=BUFFERS * BLOCK_COLUMNS, init=[]
            )
            m.submodules[f"masks{row}"] = masks = memory.Memory(shape=BLOCK_COLUMNS, depth=BUFFERS, init=[])
            to_weights, to_masks = weights.write_port(), masks.write_port()
            m.d.comb += [
                to_weights.en.eq((lower | upper) & enable),
                to_weights.addr.eq(Cat(column, buffer)),
                to_weights.data.eq(weight),
                to_masks.en.eq((lower | upper) & (kind.header | kind.raw)),
                to_masks.addr.eq(buffer),
                to_masks.data.eq(mask),
            ]
            ports.append((weights.read_port(domain="comb"), masks.read_port(domain="comb")))
        behind = Cat(
            rows[CHUNK_ROWS + n][0] & places.there.bit_select(header.at[CHUNK_ROWS + n][:position_bits], 1)
            for n in range(CHUNK_ROWS)
        )
        return ports, kind.over & behind.any() | places.wrong.any()

    def _read(self, m, kind, ports):
        """The words of a row block that is whole, one after the other; returns whether there are some."""
        active, single = Signal(), Signal()
        buffer, column = Signal(range(BUFFERS)), Signal(range(BLOCK_COLUMNS))
        with m.If(kind.ends):
            m.d.sync += [active.eq(1), single.eq(kind.raw), buffer.eq(kind.buffer), column.eq(0)]
        with m.Elif(active):
            m.d.sync += [active.eq(~single & (column != BLOCK_COLUMNS - 1)), column.eq(column + 1)]
        for row, (weights, masks) in enumerate(ports):
            m.d.comb += [weights.addr.eq(Cat(column, buffer)), masks.addr.eq(buffer)]
            weight = Mux(masks.data.bit_select(column, 1), weights.data, 0)
            m.d.sync += self.o_word.word_select(row, WEIGHT_BITS).eq(weight)
        m.d.sync += self.o_valid.eq(active)
        return active
