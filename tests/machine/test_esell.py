"""eSELL: the published block, any matrix there and back, and streams that are none."""

import numpy as np
import pytest

from lstm_hw.errors import FormatError
from lstm_hw.machine.esell import COLUMN_CODES, decode, encode

GOLDEN = [
    [1, 0, 0, -2],
    [0, 0, 0, 0],
    [0.5, 0.25, 0, 0],
    [0, 0, 0, 3],
    [1.5, 2.5, -0.5, 0],
    [0, 0, 0.125, 0],
    [4, 1, 2, -1],
    [0, -0.75, 0, 0],
]
WORDS = [
    0x01F589B902130604,
    0x38003C003E004400,
    0x3400C00041003C00,
    0x00000000B8004000,
    0x000000000000BC00,
    0x0000BA0030004200,
]


@pytest.fixture
def golden():
    return np.array(GOLDEN, np.float16).view(np.int16)


def test_the_published_block(golden):
    words, table = encode(golden)
    assert [int(word) for word in words] == WORDS
    assert table.tolist() == [6]
    assert (decode(words, 8, 4) == golden).all()


@pytest.mark.parametrize("shape", [(8, 4), (24, 12), (22, 15), (1, 1)])
@pytest.mark.parametrize("zeros", [0, 0.3, 0.8, 1])
def test_there_and_back(shape, zeros):
    rng = np.random.default_rng(shape[0])
    matrix = rng.integers(-(1 << 15), 1 << 15, shape) * (rng.random(shape) >= zeros)
    words, table = encode(matrix)
    assert (decode(words, *shape) == matrix).all()
    assert table.sum() == len(words)
    assert len(table) == -(-shape[1] // 4)


def test_every_mask_of_a_row(golden):
    """Columns come back wherever the zeros are, and dense blocks cost a word more than dense storage."""
    matrix = np.array([[mask >> column & 1 for column in range(4)] for mask in range(16)])
    assert (decode(encode(matrix)[0], 16, 4) == matrix).all()
    assert len(encode(np.ones((8, 4), int))[0]) == 8 + 1
    assert [len(set(columns)) for columns in COLUMN_CODES] == [4, 3, 3, 2, 3, 2, 2, 1]


def changed(words, at, value):
    return np.array([*words[:at], value, *words[at + 1 :]], dtype=np.uint64)


@pytest.mark.parametrize(
    "words, found",
    [
        (WORDS[:-1], "end of the stream"),
        ([], "end of the stream"),
        ([*WORDS, 0], "1 words more"),
        (changed(WORDS, 0, WORDS[0] ^ 1 << 15), "rows"),
        (changed(WORDS, 0, WORDS[0] | 7), "chunk 0"),
        (changed(WORDS, 0, WORDS[0] | 1 << 27), "chunk 0"),
        (changed(WORDS, 0, WORDS[0] ^ 1 << 3), "weight 4 of row 0 of chunk 0"),
    ],
)
def test_malformed_streams(words, found):
    with pytest.raises(FormatError, match=found):
        decode(np.array(words, np.uint64), 8, 4)


def test_weights_of_more_bits():
    with pytest.raises(FormatError, match="16 bits"):
        encode(np.array([[1 << 15]]))
