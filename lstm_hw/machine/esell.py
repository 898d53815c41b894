"""eSELL, the sparse format of E-LSTM: matrices of 16-bit weights as a stream of 64-bit words.

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019. Block columns of 4
columns follow one another, in each of them blocks of 8 rows. The rows of a block are sorted by falling count of
non-zeros; the first four are chunk 0, the others chunk 1, and a chunk is as wide as its first row has non-zeros. A
block is a header, with chunk 1 in its high half, and a word for each place of either chunk: the non-zeros of a row
follow one another, the k-th one of each of the four rows in the k-th word, the chunk's first row lowest.

Of a chunk's half of the header, bits 0 to 2 are its width, then come four 3-bit column codes and four row numbers.

A weight port reads eSELL in segments, see :class:`Esell`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FormatError

BLOCK_ROWS, BLOCK_COLUMNS, CHUNK_ROWS = 8, 4, 4
CHUNKS = BLOCK_ROWS // CHUNK_ROWS
WEIGHT_BITS, WORD_BITS = 16, 64
WIDTH_BITS, CODE_BITS, ROW_BITS = 3, 3, 3
COLUMN_CODES = ((0, 1, 2, 3), (0, 1, 3), (0, 2, 3), (0, 3), (1, 2, 3), (1, 3), (2, 3), (3,))
"""Columns of the first, second, ... non-zero of a row, by code."""
CODES_AT = WIDTH_BITS
ROWS_AT = CODES_AT + CHUNK_ROWS * CODE_BITS
HALF_BITS = ROWS_AT + CHUNK_ROWS * ROW_BITS
"""Bits of a half of the header that say something; the others are zero."""
BUFFERS = 4
"""Row blocks that a decoder holds at once: words of one are read while rows of the next two are written."""
TAIL = BLOCK_COLUMNS - 1
"""Zero beats at least behind the last block of a segment: the words that are whole with its last beat are written
meanwhile."""

_PLACES = np.array([[*columns, *[-1] * (BLOCK_COLUMNS - len(columns))] for columns in COLUMN_CODES])


def _code_of(columns):
    """The least code that begins with these columns."""
    return next((code for code, listed in enumerate(COLUMN_CODES) if listed[: len(columns)] == columns), None)


_CODE_OF_MASK = np.array(
    [_code_of(tuple(c for c in range(BLOCK_COLUMNS) if mask >> c & 1)) for mask in range(1 << BLOCK_COLUMNS)]
)


class _Blocks:
    """Blocks as they are stored; leading axes (...) are the blocks'.

    Parameters
    ----------
    weights : int64 array (..., BLOCK_ROWS, BLOCK_COLUMNS)

    Attributes
    ----------
    widths : int array (..., CHUNKS)
        Those of chunks; whoever wants wider ones, with zeros at their end, raises them.
    """

    def __init__(self, weights):
        if weights.size and not -(1 << WEIGHT_BITS - 1) <= weights.min() <= weights.max() < 1 << WEIGHT_BITS - 1:
            rule = f"must fit {WEIGHT_BITS} bits"
            raise FormatError("eSELL weights", f"{weights.min()} to {weights.max()}", rule)
        bits = (weights & (1 << WEIGHT_BITS) - 1).astype(np.uint64)
        used = weights != 0
        counts = used.sum(axis=-1)
        self.order = np.argsort(-counts, axis=-1, kind="stable")
        masks = (used << np.arange(BLOCK_COLUMNS)).sum(axis=-1)
        left = np.argsort(~used, axis=-1, kind="stable")  # non-zeros first, in the order of their columns
        bits = np.take_along_axis(bits, left, axis=-1)
        self.bits = np.take_along_axis(bits, self.order[..., None], axis=-2)
        self.masks = np.take_along_axis(masks, self.order, axis=-1)
        self.widths = self._by_chunk(np.take_along_axis(counts, self.order, axis=-1))[..., 0]

    def _by_chunk(self, rows):
        return rows.reshape(*rows.shape[:-1], CHUNKS, CHUNK_ROWS)

    @property
    def lengths(self):
        """Words of each block."""
        return 1 + self.widths.sum(axis=-1)

    def words(self):
        """The words (all of them,), block after block."""
        places = np.arange(CHUNK_ROWS)
        halves = (
            self.widths
            + (self._by_chunk(_CODE_OF_MASK[self.masks].astype(int)) << CODES_AT + places * CODE_BITS).sum(axis=-1)
            + (self._by_chunk(self.order) << ROWS_AT + places * ROW_BITS).sum(axis=-1)
        ).astype(np.uint64)
        header = (halves << np.arange(CHUNKS, dtype=np.uint64) * np.uint64(WORD_BITS // CHUNKS)).sum(
            axis=-1, dtype=np.uint64
        )
        shifts = places.astype(np.uint64) * np.uint64(WEIGHT_BITS)
        bits = self.bits.reshape(*halves.shape, CHUNK_ROWS, BLOCK_COLUMNS)
        data = (bits << shifts[:, None]).sum(axis=-2, dtype=np.uint64)  # a word a place of a chunk
        kept = np.arange(BLOCK_COLUMNS) < self.widths[..., None]
        words = np.concatenate([header[..., None], data.reshape(*header.shape, -1)], axis=-1)
        return words[np.concatenate([np.ones((*header.shape, 1), bool), kept.reshape(*header.shape, -1)], axis=-1)]


class _Reader:
    """Takes words of a stream one by one, and blocks."""

    def __init__(self, words: Sequence[int] | np.ndarray):
        self.left = np.asarray(words, dtype=np.uint64)
        self.at = 0  # of the next word

    def take(self, subject: str) -> int:
        """The next word, which must be there."""
        if self.at == len(self.left):
            raise FormatError(f"eSELL word {self.at}", "end of the stream", f"must be {subject}: the stream is cut")
        self.at += 1
        return int(self.left[self.at - 1])

    def block(self) -> np.ndarray:
        """The next block (BLOCK_ROWS, BLOCK_COLUMNS)."""
        header, where, weights = self.take("a header"), self.at - 1, np.zeros((BLOCK_ROWS, BLOCK_COLUMNS), np.int64)
        halves = [header & (1 << WORD_BITS // CHUNKS) - 1, header >> WORD_BITS // CHUNKS]
        named = [half >> ROWS_AT + n * ROW_BITS & 7 for half in halves for n in range(CHUNK_ROWS)]
        if sorted(named) != list(range(BLOCK_ROWS)):
            raise FormatError(f"eSELL word {where}", f"rows {named}", "must name each row of the block once")
        for chunk, half in enumerate(halves):
            width = half & (1 << WIDTH_BITS) - 1
            if width > BLOCK_COLUMNS or half >> HALF_BITS:
                rule = f"must be at most {BLOCK_COLUMNS} wide, and zero behind its rows"
                raise FormatError(f"eSELL word {where}", f"chunk {chunk}: {half:#010x}", rule)
        for chunk, half in enumerate(halves):
            codes = [half >> CODES_AT + n * CODE_BITS & 7 for n in range(CHUNK_ROWS)]
            for place in range(half & (1 << WIDTH_BITS) - 1):
                word = self.take(f"place {place} of chunk {chunk}")
                for n, code in enumerate(codes):
                    value = word >> n * WEIGHT_BITS & (1 << WEIGHT_BITS) - 1
                    if value and _PLACES[code][place] < 0:
                        rule = f"must be at most {len(COLUMN_CODES[code])}, as column code {code} says"
                        found = f"weight {place + 1} of row {n} of chunk {chunk}"
                        raise FormatError(f"eSELL word {self.at - 1}", found, rule)
                    if value:
                        signed = value - (value >> WEIGHT_BITS - 1 << WEIGHT_BITS)
                        weights[named[chunk * CHUNK_ROWS + n], _PLACES[code][place]] = signed
        return weights


def encode(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix as eSELL.

    Parameters
    ----------
    matrix : int array (rows, columns)
        Stored weights of 16 bits; rows and columns that are no multiple of 8 and 4 are filled up with zeros.

    Returns
    -------
    uint64 array (words,), int64 array (block columns,)
        The stream, and the words of each block column, with which a reader skips those whose operands are zero.

    Raises
    ------
    FormatError
        A weight that does not fit 16 bits.
    """
    matrix = np.asarray(matrix, dtype=np.int64)
    matrix = np.pad(matrix, ((0, -matrix.shape[0] % BLOCK_ROWS), (0, -matrix.shape[1] % BLOCK_COLUMNS)))
    shape = matrix.shape[0] // BLOCK_ROWS, BLOCK_ROWS, matrix.shape[1] // BLOCK_COLUMNS, BLOCK_COLUMNS
    blocks = _Blocks(matrix.reshape(shape).transpose(2, 0, 1, 3))  # block column, block, row, column
    return blocks.words(), blocks.lengths.sum(axis=1)


def decode(words: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Inverse of :func:`encode`.

    Parameters
    ----------
    words : uint64 array (words,)
    rows, columns : int
        Shape of the matrix.

    Returns
    -------
    int64 array (rows, columns)

    Raises
    ------
    FormatError
        A stream that is cut or goes on behind the matrix, a chunk that is too wide, rows of a block that are not each
        named once, a column code that has no place for a weight, or bits that must be zero; the message names the word.
    """
    blocks, across, reader = -(-rows // BLOCK_ROWS), -(-columns // BLOCK_COLUMNS), _Reader(words)
    matrix = np.zeros((blocks * BLOCK_ROWS, across * BLOCK_COLUMNS), dtype=np.int64)
    for block in range(blocks * across):
        column, first = block // blocks * BLOCK_COLUMNS, block % blocks * BLOCK_ROWS
        where, part = reader.at, reader.block()
        if part[rows - first :].any() or part[:, columns - column :].any():
            raise FormatError(f"eSELL word {where}", "weights behind the matrix", f"must be of {rows} x {columns}")
        matrix[first : first + BLOCK_ROWS, column : column + BLOCK_COLUMNS] = part
    if reader.at != len(reader.left):
        raise FormatError(f"eSELL word {reader.at}", f"{len(words) - reader.at} words more", "must end with the matrix")
    return matrix[:rows, :columns]


@dataclass(frozen=True)
class Esell:
    """The form of segments for words of ``rows`` weights of 16 bits on beats of 64.

    A segment is the words of one LOAD, those of four columns of some row blocks: a block column of eSELL, whose blocks
    of 8 rows go on from row block to row block and end behind the last one. Behind them come :data:`TAIL` zero beats at
    least, up to the segment's length.

    Whoever expands a beat a cycle makes the four words of a row block in the four cycles behind the beat with which
    it is whole. So that it never holds a beat back, a row block is whole four beats behind the one before, or behind
    the segment's beginning, at the least: chunks are made wider for that, with zeros. Hence of a segment of so many
    words and beats, word ``n`` is there with beat ``beats - words + n``, whatever its weights are.
    """

    rows: int

    @property
    def quads(self) -> int:
        """Rows of a word, in chunks' rows."""
        return self.rows // CHUNK_ROWS

    def _blocks_of(self, words):
        """Segments (segments, words, rows) as blocks."""
        count, length, _ = words.shape
        if length % BLOCK_COLUMNS:
            raise FormatError("eSELL segment", f"{length} words", f"must be a multiple of {BLOCK_COLUMNS}, its columns")
        matrix = words.reshape(count, -1, BLOCK_COLUMNS, self.rows).swapaxes(2, 3).reshape(count, -1, BLOCK_COLUMNS)
        matrix = np.pad(matrix, ((0, 0), (0, -matrix.shape[1] % BLOCK_ROWS), (0, 0)))
        blocks = _Blocks(matrix.reshape(count, -1, BLOCK_ROWS, BLOCK_COLUMNS))
        lengths, ends = blocks.lengths, np.flatnonzero(self._ends(blocks.widths.shape[1]))
        starts = np.concatenate([[0], ends[:-1] + 1])
        short = BLOCK_COLUMNS - np.add.reduceat(lengths, starts, axis=1) if len(ends) else np.zeros((count, 0), int)
        blocks.widths[:, ends, 0] += np.maximum(short, 0)
        return blocks

    def _ends(self, blocks):
        """Whether a row block is whole with each block (blocks,)."""
        return np.arange(blocks) * CHUNKS % self.quads + CHUNKS >= self.quads

    def beats(self, words: np.ndarray) -> np.ndarray:
        """Least beats of segments.

        Parameters
        ----------
        words : int array (segments, words, rows)
            Stored weights, or whether they are not zero.

        Returns
        -------
        int array (segments,)
        """
        return self._blocks_of(np.asarray(words, dtype=np.int64)).lengths.sum(axis=1) + TAIL

    def encode(self, words: np.ndarray, beats: int | None = None) -> np.ndarray:
        """A segment.

        Parameters
        ----------
        words : int array (words, rows)
            Stored weights, row block after row block, four columns each.
        beats : int, optional
            Its length; the least one without it.

        Returns
        -------
        uint8 array (beats, WORD_BITS / 8)

        Raises
        ------
        FormatError
            A weight that does not fit, words of other than four columns, or a segment that is longer than ``beats``.
        """
        stored = self._blocks_of(np.asarray(words, dtype=np.int64).reshape(1, -1, self.rows)).words()
        least = len(stored) + TAIL
        beats = least if beats is None else beats
        if least > beats:
            raise FormatError("eSELL segment", f"{least} beats", f"must be at most {beats}")
        return np.pad(stored, (0, beats - len(stored))).astype("<u8").view(np.uint8).reshape(beats, -1)

    def decode(self, beats: np.ndarray, words: int) -> np.ndarray:
        """Inverse of :meth:`encode`.

        Parameters
        ----------
        beats : uint8 array (beats, WORD_BITS / 8)
        words : int
            Words of the segment.

        Returns
        -------
        int64 array (words, rows)

        Raises
        ------
        FormatError
            As :func:`decode`; also row blocks that follow one another too fast, and a segment whose end is missing or
            not zero. The message names the word.
        """
        beats = np.ascontiguousarray(beats, dtype=np.uint8).reshape(-1, WORD_BITS // 8)
        reader = _Reader(beats.view("<u8").ravel())
        count = -(-words // BLOCK_COLUMNS * self.rows // BLOCK_ROWS)
        blocks, whole = [], 0  # beats in front of the row block that is being read
        for number, ends in enumerate(self._ends(count)):
            blocks.append(reader.block())
            if number == count - 1 and blocks[-1][words // BLOCK_COLUMNS * self.rows - number * BLOCK_ROWS :].any():
                raise FormatError(f"eSELL word {reader.at - 1}", "weights behind the last row", "must be none")
            if ends and reader.at - whole < BLOCK_COLUMNS:
                rule = f"must be {BLOCK_COLUMNS} at least: chunks are to be wider, with zeros"
                raise FormatError(f"eSELL word {reader.at - 1}", f"{reader.at - whole} words of a row block", rule)
            whole = reader.at if ends else whole
        behind = reader.left[reader.at :]
        if len(behind) < TAIL or behind.any():
            rule = f"must be {TAIL} zero words at least: the segment is cut, or goes on behind its last row"
            raise FormatError(f"eSELL word {reader.at}", f"{len(behind)} words behind the last block", rule)
        matrix = np.concatenate([*blocks, np.zeros((0, BLOCK_COLUMNS), np.int64)])
        matrix = matrix[: words // BLOCK_COLUMNS * self.rows].reshape(-1, self.rows, BLOCK_COLUMNS)
        return matrix.swapaxes(1, 2).reshape(words, self.rows)
