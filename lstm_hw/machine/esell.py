"""eSELL, the sparse format of E-LSTM: matrices of 16-bit weights as a stream of 64-bit words.

Shi et al., "E-LSTM: Efficient Inference of Sparse LSTM on Embedded Heterogeneous System", DAC 2019. Block columns of 4
columns follow one another, in each of them blocks of 8 rows. The rows of a block are sorted by falling count of
non-zeros; the first four are chunk 0, the others chunk 1, and a chunk is as wide as its first row has non-zeros. A
block is a header, with chunk 1 in its high half, and a word for each place of either chunk: the non-zeros of a row
follow one another, the k-th one of each of the four rows in the k-th word, the chunk's first row lowest.

Of a chunk's half of the header, bits 0 to 2 are its width, then come four 3-bit column codes and four row numbers.
"""

import numpy as np

from ..errors import FormatError

BLOCK_ROWS, BLOCK_COLUMNS, CHUNK_ROWS = 8, 4, 4
WEIGHT_BITS, WORD_BITS = 16, 64
WIDTH_BITS, CODE_BITS = 3, 3
COLUMN_CODES = ((0, 1, 2, 3), (0, 1, 3), (0, 2, 3), (0, 3), (1, 2, 3), (1, 3), (2, 3), (3,))
"""Columns of the first, second, ... non-zero of a row, by code."""
CODES_AT = WIDTH_BITS
ROWS_AT = CODES_AT + CHUNK_ROWS * CODE_BITS
HALF_BITS = ROWS_AT + CHUNK_ROWS * CODE_BITS
"""Bits of a half of the header that say something; the others are zero."""

_PLACES = np.array([[*columns, *[-1] * (BLOCK_COLUMNS - len(columns))] for columns in COLUMN_CODES])


def _code_of(columns):
    """The least code that begins with these columns."""
    return next((code for code, listed in enumerate(COLUMN_CODES) if listed[: len(columns)] == columns), None)


_CODE_OF_MASK = np.array(
    [_code_of(tuple(c for c in range(BLOCK_COLUMNS) if mask >> c & 1)) for mask in range(1 << BLOCK_COLUMNS)]
)


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
    if matrix.size and not -(1 << WEIGHT_BITS - 1) <= matrix.min() <= matrix.max() < 1 << WEIGHT_BITS - 1:
        rule = f"must fit {WEIGHT_BITS} bits"
        raise FormatError("eSELL weights", f"{matrix.min()} to {matrix.max()}", rule)
    matrix = np.pad(matrix, ((0, -matrix.shape[0] % BLOCK_ROWS), (0, -matrix.shape[1] % BLOCK_COLUMNS)))
    shape = matrix.shape[0] // BLOCK_ROWS, BLOCK_ROWS, matrix.shape[1] // BLOCK_COLUMNS, BLOCK_COLUMNS
    blocks = matrix.reshape(shape).transpose(2, 0, 1, 3)  # block column, block, row, column
    bits = (blocks & (1 << WEIGHT_BITS) - 1).astype(np.uint64)
    used = blocks != 0
    counts = used.sum(axis=3)
    order = np.argsort(-counts, axis=2, kind="stable")
    masks = (used << np.arange(BLOCK_COLUMNS)).sum(axis=3)
    left = np.argsort(~used, axis=3, kind="stable")  # non-zeros first, in the order of their columns
    bits, masks, counts = (
        np.take_along_axis(np.take_along_axis(bits, left, axis=3), order[..., None], axis=2),
        np.take_along_axis(masks, order, axis=2),
        np.take_along_axis(counts, order, axis=2),
    )
    halves = blocks.shape[:2] + (BLOCK_ROWS // CHUNK_ROWS, CHUNK_ROWS)
    bits = bits.reshape(*halves, BLOCK_COLUMNS)
    widths = counts.reshape(halves)[..., 0]
    places = np.arange(CHUNK_ROWS) * CODE_BITS
    header = (
        widths
        + (_CODE_OF_MASK[masks].astype(int).reshape(halves) << CODES_AT + places).sum(axis=3)
        + (order.reshape(halves) << ROWS_AT + places).sum(axis=3)
    )
    header = (header.astype(np.uint64) << np.arange(halves[2], dtype=np.uint64) * np.uint64(WORD_BITS // 2)).sum(
        axis=2, dtype=np.uint64
    )
    shifts = np.arange(CHUNK_ROWS, dtype=np.uint64) * np.uint64(WEIGHT_BITS)
    data = (bits << shifts[:, None]).sum(axis=3, dtype=np.uint64)  # a word a place of a chunk
    kept = np.arange(BLOCK_COLUMNS) < widths[..., None]
    words = np.concatenate([header[..., None], data.reshape(*header.shape, -1)], axis=2)
    kept = np.concatenate([np.ones((*header.shape, 1), bool), kept.reshape(*header.shape, -1)], axis=2)
    return words[kept], kept.sum(axis=(1, 2))


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
    words = np.asarray(words, dtype=np.uint64)
    blocks, across = -(-rows // BLOCK_ROWS), -(-columns // BLOCK_COLUMNS)
    matrix = np.zeros((blocks * BLOCK_ROWS, across * BLOCK_COLUMNS), dtype=np.int64)
    at = 0

    def take(subject):
        nonlocal at
        if at == len(words):
            raise FormatError(f"eSELL word {at}", "end of the stream", f"must be {subject}: the stream is cut")
        at += 1
        return int(words[at - 1])

    for block in range(blocks * across):
        column, first = block // blocks * BLOCK_COLUMNS, block % blocks * BLOCK_ROWS
        header, where = take("a header"), at - 1
        halves = [header & (1 << WORD_BITS // 2) - 1, header >> WORD_BITS // 2]
        named = [half >> ROWS_AT + n * CODE_BITS & 7 for half in halves for n in range(CHUNK_ROWS)]
        if sorted(named) != list(range(BLOCK_ROWS)):
            raise FormatError(f"eSELL word {where}", f"rows {named}", "must name each row of the block once")
        for chunk, half in enumerate(halves):
            width = half & (1 << WIDTH_BITS) - 1
            if width > BLOCK_COLUMNS or half >> HALF_BITS:
                rule = f"must be at most {BLOCK_COLUMNS} wide, and zero behind its rows"
                raise FormatError(f"eSELL word {where}", f"chunk {chunk}: {half:#010x}", rule)
            codes = [half >> CODES_AT + n * CODE_BITS & 7 for n in range(CHUNK_ROWS)]
            for place in range(width):
                word = take(f"place {place} of chunk {chunk}")
                for n, code in enumerate(codes):
                    value = word >> n * WEIGHT_BITS & (1 << WEIGHT_BITS) - 1
                    if value and _PLACES[code][place] < 0:
                        rule = f"must be at most {len(COLUMN_CODES[code])}, as column code {code} says"
                        raise FormatError(
                            f"eSELL word {at - 1}", f"weight {place + 1} of row {n} of chunk {chunk}", rule
                        )
                    if value:
                        row = first + named[chunk * CHUNK_ROWS + n]
                        matrix[row, column + _PLACES[code][place]] = value - (value >> WEIGHT_BITS - 1 << WEIGHT_BITS)
    if at != len(words):
        raise FormatError(f"eSELL word {at}", f"{len(words) - at} words more", "must end with the matrix")
    return matrix[:rows, :columns]
