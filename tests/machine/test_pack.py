"""Bias digits, row blocks, words and bytes, against definitions that are written out element by element."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_hw.errors import FormatError
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.layout import Image, Tile
from lstm_hw.machine.pack import bias_digits, interleave, layer_parts, pack, stored_bias, to_blocks, to_bytes
from tests.builders import config_of

LIMIT = {8: 127, 16: 32767}
WIDTHS = [(16, 16), (8, 16), (8, 8)]
"""Bits of a weight and of an operand."""
EXPONENTS = {(16, 16): (14, 0), (8, 16): (14, 7, 0), (8, 8): (6, 0)}


@given(st.sampled_from(WIDTHS), st.data())
def test_bias_digits(widths, data):
    """The digits sum to the bias exactly, each fits a weight, and the top takes no more columns than needed."""
    weight_bits, operand_bits = widths
    top = operand_bits - 2
    most = data.draw(st.integers(1, 40)) * LIMIT[weight_bits] << top
    corners = st.sampled_from([most, -most, 0, 1 << top - 1, -1 << top - 1, 64, -64])
    biases = data.draw(st.lists(st.integers(-most, most) | corners, min_size=1, max_size=12))
    structure, digits = bias_digits(np.array(biases), *widths)
    assert tuple(exponent for exponent, _ in structure) == EXPONENTS[widths]
    assert all(columns == 1 for _, columns in structure[1:])
    exponents = [exponent for exponent, columns in structure for _ in range(columns)]
    assert digits.shape == (len(biases), len(exponents))
    assert -LIMIT[weight_bits] - 1 <= digits.min() and digits.max() <= LIMIT[weight_bits]
    for bias, row in zip(biases, digits.tolist(), strict=True):
        assert sum(digit << exponent for digit, exponent in zip(row, exponents, strict=True)) == bias
    # What the lower digits cannot hold is at most half a step of the top one.
    assert structure[0][1] <= max(abs(bias) + (1 << top - 1) for bias in biases) // (LIMIT[weight_bits] << top) + 1


@given(st.sampled_from((8, 16)), st.integers(1, 9), st.lists(st.integers(-1 << 29, 1 << 29), min_size=1, max_size=5))
def test_lifted_operands_take_fewer_bias_columns(weight_bits, lift, biases):
    structure, digits = bias_digits(np.array(biases), weight_bits, 16, lift)
    assert 14 <= structure[0][0] <= 14 + lift
    exponents = [exponent for exponent, columns in structure for _ in range(columns)]
    assert (digits.astype(object) @ [1 << exponent for exponent in exponents] == biases).all()
    assert -LIMIT[weight_bits] - 1 <= digits.min() and digits.max() <= LIMIT[weight_bits]
    try:
        _, unlifted = bias_digits(np.array(biases), weight_bits, 16)
        assert digits.shape[1] <= unlifted.shape[1]
    except FormatError:
        pass
    assert bias_digits(np.array([127 << 23]), 8, 16, 9)[0][0] == (23, 1)


@pytest.mark.parametrize("weight_bits, operand_bits", WIDTHS)
def test_a_bias_that_is_too_large(weight_bits, operand_bits):
    top = operand_bits - 2
    most = 255 * LIMIT[weight_bits] << top
    structure, digits = bias_digits(np.array([most, -most]), weight_bits, operand_bits)
    assert structure[0] == (top, 255) and digits.shape[1] == 255 + len(structure) - 1
    for bias in (most + (1 << top), -most - (1 << top)):
        with pytest.raises(FormatError, match=f"bias: {abs(bias)}; must be at most {most}"):
            bias_digits(np.array([0, bias]), weight_bits, operand_bits)


@pytest.mark.parametrize("units, rows", [(1, 4), (1, 8), (5, 8), (6, 8), (7, 16), (4, 16)])
def test_row_4u_plus_g_is_gate_g_of_unit_u(units, rows):
    matrix = np.arange(1, 4 * units * 3 + 1).reshape(4 * units, 3)
    blocks = interleave(matrix, rows)
    assert blocks.shape == (-(-4 * units // rows), rows, 3)
    flat = blocks.reshape(-1, 3)
    for unit in range(units):
        for gate in range(4):
            assert flat[4 * unit + gate].tolist() == matrix[gate * units + unit].tolist()
    assert not flat[4 * units :].any()


def test_rows_of_a_linear_layer_stay_in_order():
    matrix = np.arange(1, 31).reshape(10, 3)
    blocks = to_blocks(matrix, 4)
    assert blocks.shape == (3, 4, 3)
    assert blocks.reshape(-1, 3)[:10].tolist() == matrix.tolist() and not blocks[2, 2:].any()


def random_layer(rng, inputs, outputs):
    """An LSTM layer with biases at the fraction of the accumulator."""
    return SimpleNamespace(
        w_x=rng.integers(-100, 101, (4 * outputs, inputs)),
        w_h=rng.integers(-100, 101, (4 * outputs, outputs)),
        bias=rng.integers(-1 << 20, 1 << 20, 4 * outputs),
        acc_fraction=20,
        bias_format=QFormat(3, 18),
        row_shift=np.zeros(4 * outputs, int),
    )


def test_a_row_s_shift_stands_below_its_bias():
    """The bias columns times their constants: the bias, and in the low bits the shift."""
    rng = np.random.default_rng(2)
    config = config_of(rows=8, weight_bits=8, lifts=(3, 5), row_bits=3)
    layer = random_layer(rng, 3, 2)
    layer.row_shift = rng.integers(0, 8, 8)
    structure, _ = bias_digits(stored_bias(layer, 3), 8, 16, 5)
    exponents = [exponent for exponent, columns in structure for _ in range(columns)]
    sums = interleave((layer.bias << 5) + layer.row_shift, 8)[..., 0]
    assert (layer_parts([layer], 0, config)["bias"] @ [1 << exponent for exponent in exponents] == sums).all()
    assert (sums & 7 == interleave(layer.row_shift, 8)[..., 0]).all()


@pytest.mark.parametrize("weight_bits", [8, 16])
def test_pack_walks_through_tiles(weight_bits):
    """Word after word: tiles in order, in each its row blocks, in each its columns."""
    rng = np.random.default_rng(weight_bits)
    config = config_of(rows=8, weight_bits=weight_bits)
    layers = [random_layer(rng, 5, 3), random_layer(rng, 3, 7)]
    tiles = (Tile(1, "h", 1, 3, 2, 4), Tile(0, "x", 0, 2, 0, 5), Tile(1, "bias", 0, 4, 1, 1), Tile(0, "h", 1, 1, 0, 1))
    image = Image(tiles)
    words = pack(image, layers, config)
    assert image.offsets == (0, 12, 22, 26) and len(words) == image.words == 27
    assert image.beats(config) == 27 * config.beats_per_word
    position = 0
    for tile in tiles:
        layer = layers[tile.layer]
        digits = bias_digits(np.asarray(layer.bias) << 2, weight_bits)[1]
        matrix = {"x": layer.w_x, "h": layer.w_h, "bias": digits}[tile.part]
        units = matrix.shape[0] // 4
        for block in range(tile.first_block, tile.first_block + tile.blocks):
            for column in range(tile.first_column, tile.first_column + tile.columns):
                for row in range(8):
                    unit, gate = divmod(8 * block + row, 4)
                    expected = matrix[gate * units + unit, column] if unit < units else 0
                    assert words[position, row] == expected
                position += 1


def test_weights_that_do_not_fit():
    rng = np.random.default_rng(1)
    layer = random_layer(rng, 2, 2)
    layer.w_x[3, 1] = 128
    image, config = Image((Tile(0, "x", 0, 1, 0, 2),)), config_of(rows=8, weight_bits=8)
    with pytest.raises(FormatError, match="weights: .* to 128; must be between -128 and 127"):
        pack(image, [layer], config)
    layer.w_x[3, 1] = -128
    assert pack(image, [layer], config).min() == -128


@pytest.mark.parametrize(
    "rows, weight_bits, axi_data_bits, word_bytes",
    [(4, 16, 64, 8), (4, 8, 64, 8), (8, 8, 64, 8), (48, 16, 512, 128), (48, 8, 256, 64)]
    + [(8, 5, 64, 8), (16, 4, 64, 8), (48, 6, 128, 48), (48, 12, 512, 128)],
)
def test_bytes_are_little_endian_and_padded_to_whole_beats(rows, weight_bits, axi_data_bits, word_bytes):
    config = config_of(rows=rows, weight_bits=weight_bits, axi_data_bits=axi_data_bits)
    limit = 1 << weight_bits - 1
    words = np.random.default_rng(rows).integers(-limit, limit, (5, rows))
    raw = to_bytes(words, config)
    assert config.word_bytes == word_bytes and len(raw) == 5 * word_bytes
    for n, word in enumerate(words.tolist()):
        bits = int.from_bytes(raw[n * word_bytes : (n + 1) * word_bytes], "little")
        assert bits == sum(value % (1 << weight_bits) << row * weight_bits for row, value in enumerate(word))


@pytest.mark.parametrize(
    "rows, weight_bits, axi_data_bits, ports", [(32, 16, 64, 2), (32, 8, 128, 2), (64, 16, 256, 4), (96, 16, 512, 2)]
)
def test_every_port_has_an_image_of_its_rows(rows, weight_bits, axi_data_bits, ports):
    config = config_of(rows=rows, weight_bits=weight_bits, axi_data_bits=axi_data_bits, axi_ports=ports)
    alone = config_of(rows=rows // ports, weight_bits=weight_bits, axi_data_bits=axi_data_bits)
    limit = 1 << weight_bits - 1
    words = np.random.default_rng(rows).integers(-limit, limit, (7, rows))
    parts = np.split(words, ports, axis=1)
    assert to_bytes(words, config) == b"".join(to_bytes(part, alone) for part in parts)
