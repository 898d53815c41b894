"""Weights to words to bytes, and the digits that carry a bias."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import FormatError
from .activation_unit import ActivationUnit
from .config import EngineConfig
from .formats import QFormat
from .layout import Image, Tile
from .limits import GATE_NAMES, GATES, PEEPHOLES
from .network import Start
from .priming import priming

MOST_BIAS_COLUMNS = 255
"""Columns of weights that a bias may take at its top exponent."""


class QuantisedLayer(Protocol):
    """What is read of a layer besides its matrices: ``w_x`` and ``w_h`` of an LSTM layer, else ``weight``, and ``skip``
    where x is added."""

    @property
    def bias(self) -> np.ndarray:
        """Stored integers (rows,) of ``bias_format``."""

    @property
    def bias_format(self) -> QFormat:
        """Format of the bias."""

    @property
    def acc_fraction(self) -> int:
        """Fraction bits of the accumulator."""

    @property
    def row_shift(self) -> np.ndarray:
        """Fraction bits that each row has beyond that (rows,)."""


def top_exponent(factor_bits: int) -> int:
    """Exponent of the largest constant operand, the largest power of two in so many signed bits."""
    return factor_bits - 2


def bias_digits(
    bias: np.ndarray, weight_bits: int, operand_bits: int = 16, lift: int = 0
) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """Split exact biases into weights that are multiplied by constants.

    ``bias = sum of 2**exponent * digit`` over all digit columns; every digit fits a weight. The top
    exponent takes as many columns as the largest bias needs. It is the one with the fewest columns of those that
    lifted operands make room for.

    Parameters
    ----------
    bias : int array (rows,)
        At the fraction of the accumulator.
    weight_bits, operand_bits : int
    lift : int
        The highest lift of the engine.

    Returns
    -------
    tuple of (exponent, columns), int array (rows, total columns)
    """
    limit, step = (1 << (weight_bits - 1)) - 1, weight_bits - 1
    tops = range(top_exponent(operand_bits), top_exponent(operand_bits + lift) + 1)
    splits = [(*_digits(bias, largest, step), largest) for largest in tops]

    def top_columns(rest):
        return max(1, -(-int(np.abs(rest).max(initial=0)) // limit))

    def cost(split):
        columns = top_columns(split[1])
        return columns > MOST_BIAS_COLUMNS, len(split[0]) + columns

    low, rest, largest = min(splits, key=cost)
    columns = top_columns(rest)
    if columns > MOST_BIAS_COLUMNS:
        raise FormatError(
            "bias",
            int(np.abs(bias).max()),
            f"must be at most {MOST_BIAS_COLUMNS * limit << tops[-1]} at the accumulator's fraction",
        )
    top = [
        np.clip(rest - n * limit * np.sign(rest), -limit, limit) * (np.abs(rest) > n * limit) for n in range(columns)
    ]
    structure = ((largest, columns), *((exponent, 1) for exponent, _ in reversed(low)))
    return structure, np.stack(top + [digit for _, digit in reversed(low)], axis=1)


def _digits(bias, largest, step):
    """Digits of at most ``step`` bits below the top exponent, as (exponent, digit), and what is left for that one."""
    rest, low = np.asarray(bias, dtype=np.int64), []
    for exponent in range(0, largest, step):
        bits = min(step, largest - exponent)
        half = 1 << (bits - 1)
        digit = (rest + half & (1 << bits) - 1) - half
        low.append((exponent, digit))
        rest = rest - digit >> bits
    return low, rest


def interleave(matrix: np.ndarray, rows: int) -> np.ndarray:
    """Gate-major rows of an LSTM matrix to unit-major row blocks, padded with zero rows.

    Parameters
    ----------
    matrix : int array (4H, columns)
    rows : int
        R.

    Returns
    -------
    int array (blocks, R, columns)
    """
    units = matrix.shape[0] // GATES
    unit_major = matrix.reshape(GATES, units, -1).transpose(1, 0, 2).reshape(GATES * units, -1)
    return to_blocks(unit_major, rows)


def by_gate(matrix: np.ndarray, rows: int) -> np.ndarray:
    """Gate-major rows to row blocks (blocks, R, columns) of one gate each, padded with zero rows."""
    return np.concatenate([to_blocks(gate, rows) for gate in np.split(matrix, GATES)])


def to_blocks(matrix: np.ndarray, rows: int) -> np.ndarray:
    """Rows in order to row blocks (blocks, R, columns), padded with zero rows."""
    blocks = -(-matrix.shape[0] // rows)
    padded = np.zeros((blocks * rows, matrix.shape[1]), dtype=np.int64)
    padded[: matrix.shape[0]] = matrix
    return padded.reshape(blocks, rows, -1)


def stored_bias(layer: QuantisedLayer, row_bits: int) -> np.ndarray:
    """What a sum gets beside its products: the bias at the accumulator's fraction, and in the low bits the row's shift.

    Returns
    -------
    int64 array (rows,)
    """
    bias = np.asarray(layer.bias, dtype=np.int64) << (layer.acc_fraction - layer.bias_format.fraction)
    return (bias << row_bits) + layer.row_shift


def start_of(
    layer: QuantisedLayer,
    h: np.ndarray,
    unit: ActivationUnit,
    weight_bits: int,
    operand_bits: int,
    lift: int,
    row_bits: int,
) -> tuple[Start, np.ndarray, np.ndarray]:
    """How a quantised recurrent layer with an ``initial`` state begins, whose sums read an h, and the digits for it.

    Returns
    -------
    Start, int array (rows, stages * columns), int array (rows, columns)
        The digits of ``prime`` are those of one stage behind those of another.

    Raises
    ------
    FormatError
        The state is one that no stages lead to, or digits do not fit.
    """
    plain = layer.KIND == "plain"
    found = None if plain else priming(layer.initial[1], unit, layer.preact, layer.cell, layer.KIND)
    if found and found.repeats and layer.KIND == "lstm" and layer.peepholes is not None:
        c = f"c of {np.abs(layer.cell.to_float(layer.initial[1])).max():g}"
        rule = "must be what a single cell step from zero leads to, about 0.9 at most, in a layer with peepholes"
        raise FormatError("initial state", c, rule)
    shift = layer.acc_fraction - layer.preact.fraction
    if shift < 0 and not plain:
        rule = (
            f"must have at least the {layer.preact.fraction} fraction bits of pre-activations to begin from a state: "
            "give quantize.preact fewer fraction bits, or weights or operands more bits"
        )
        raise FormatError("accumulator", f"{layer.acc_fraction} fraction bits", rule)
    widths = weight_bits, operand_bits, lift
    try:
        # What a GRU resets before its product is c, which is as it must be.
        of_h = layer.w_h[:, : len(h)] << layer.lifts[1]
        first, others = bias_digits((of_h @ h) << row_bits, *widths)
        if plain:
            return Start(0, (), first), np.zeros((len(others), 0), np.int64), others
        stages, rows = found.pre.shape
        prime, digits = bias_digits(found.pre.ravel() << shift + row_bits, *widths)
    except FormatError as error:
        rule = (
            "must be sums that constants give: give quantize.preact fewer integer bits, or begin with "
            'model.initial_state = "zero"'
        )
        raise FormatError("initial state", f"weights of {layer.acc_fraction} fraction bits in sums", rule) from error
    return (
        Start(found.repeats, prime, first),
        digits.reshape(stages, rows, -1).transpose(1, 0, 2).reshape(rows, -1),
        others,
    )


def peephole_digits(
    layer: QuantisedLayer, weight_bits: int, operand_bits: int, lift: int, row_bits: int
) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """Columns and digits, as of a bias, of sums that are rounded to a layer's peepholes: those of i, f and o.

    Raises
    ------
    FormatError
        Digits do not fit.
    """
    shift = layer.acc_fraction - layer.preact.fraction
    if shift < 0:
        rule = (
            f"must have at least the {layer.preact.fraction} fraction bits of pre-activations where there are peepholes"
        )
        raise FormatError("accumulator", f"{layer.acc_fraction} fraction bits", rule)
    weights = np.zeros((GATES, layer.peepholes.shape[1]), np.int64)
    weights[[GATE_NAMES.index(name) for name in PEEPHOLES]] = layer.peepholes
    return bias_digits(weights.ravel() << shift + row_bits, weight_bits, operand_bits, lift)


def start_h(layers: Sequence[QuantisedLayer], number: int) -> np.ndarray:
    """h of the state that the first sums of a layer read: its own, or that of its projection."""
    return layers[number + layers[number].projected].initial[0]


def layer_parts(layers: Sequence[QuantisedLayer], number: int, config: EngineConfig) -> dict[str, np.ndarray]:
    """Row blocks of the matrices of one of the quantised layers: dict part -> int array (blocks, R, columns)."""
    layer = layers[number]
    bias = stored_bias(layer, config.row_bits)
    _, digits = bias_digits(bias, config.weight_bits, config.operand_bits, max(config.lifts))
    if hasattr(layer, "w_x"):
        matrices = {"x": layer.w_x, "h": layer.w_h, "bias": digits}
        if getattr(layer, "initial", None) is not None and layer.w_h.size:
            widths = config.weight_bits, config.operand_bits, max(config.lifts), config.row_bits
            _, matrices["prime"], matrices["first"] = start_of(layer, start_h(layers, number), config.unit, *widths)
        if getattr(layer, "peepholes", None) is not None:
            widths = config.weight_bits, config.operand_bits, max(config.lifts), config.row_bits
            _, matrices["peephole"] = peephole_digits(layer, *widths)
        of_cell = by_gate if config.gate_blocks else interleave
        blocks = to_blocks if getattr(layer, "KIND", "") == "plain" else of_cell
        return {part: blocks(matrix, config.rows) for part, matrix in matrices.items()}
    matrices = {"x": layer.weight, "bias": digits} | ({"skip": layer.skip} if hasattr(layer, "skip") else {})
    return {part: to_blocks(matrix, config.rows) for part, matrix in matrices.items()}


def pack(image: Image, layers: Sequence[QuantisedLayer], config: EngineConfig) -> np.ndarray:
    """The image's words.

    Parameters
    ----------
    image : Image
    layers : sequence of quantised layers
    config : EngineConfig

    Returns
    -------
    int64 array (words, R)
        Of an engine with windows the bits as they are stored, with the places of operands above the weights;
        :func:`separate` tells both.

    Raises
    ------
    FormatError
        A weight does not fit ``weight_bits``, or a row has more weights that are not zero than its tile has words.
    """
    parts = [layer_parts(layers, number, config) for number in range(len(layers))]
    words, places = np.zeros((2, image.words, config.rows), dtype=np.int64)
    for tile, offset in zip(image.tiles, image.offsets, strict=True):
        blocks = parts[tile.layer][tile.part][tile.first_block : tile.first_block + tile.blocks]
        columns = blocks[:, :, tile.first_column : tile.first_column + tile.columns]
        padding = tile.columns - columns.shape[2]
        columns = np.pad(columns, ((0, 0), (0, 0), (0, padding)))
        if tile.kept:
            where = kept_columns(columns, tile)
            places[offset : offset + tile.words] = where.transpose(0, 2, 1).reshape(-1, config.rows)
            columns = np.take_along_axis(columns, where, axis=2)
        if tile.split > 1:
            columns = split_columns(columns, tile.split)
        words[offset : offset + tile.words] = columns.transpose(0, 2, 1).reshape(-1, config.rows)
    low, high = -(1 << (config.weight_bits - 1)), (1 << (config.weight_bits - 1)) - 1
    if words.size and (words.min() < low or words.max() > high):
        raise FormatError("weights", f"{words.min()} to {words.max()}", f"must be between {low} and {high}")
    return words & (1 << config.weight_bits) - 1 | places << config.weight_bits if config.window else words


def kept_columns(columns: np.ndarray, tile: Tile) -> np.ndarray:
    """Which columns of a tile each row's words hold: those that are not zero, then others.

    Parameters
    ----------
    columns : int array (blocks, R, columns)
    tile : Tile

    Returns
    -------
    int array (blocks, R, kept)

    Raises
    ------
    FormatError
        A row has more weights that are not zero.
    """
    most = (columns != 0).sum(axis=2)
    if most.max(initial=0) > tile.kept:
        block, row = np.unravel_index(most.argmax(), most.shape)
        where = f"columns {tile.first_column} to {tile.first_column + tile.columns - 1} of w_{tile.part}"
        raise FormatError(
            f"layer {tile.layer}: {where}, row {row} of row block {tile.first_block + block}",
            f"{most.max()} weights",
            f"must be at most {tile.kept} that are not zero, as in the model that the plan was made for",
        )
    return np.argsort(columns == 0, axis=2, kind="stable")[:, :, : tile.kept]


def split_columns(columns: np.ndarray, parts: int) -> np.ndarray:
    """Columns (blocks, R, columns) of the first part's rows, split over all parts: (blocks, R, columns / parts)."""
    blocks, rows, count = columns.shape
    if columns[:, rows // parts :].any():
        raise FormatError(f"columns split over {parts} parts", "weights in rows of another", "must be of the first one")
    first = np.pad(columns[:, : rows // parts], ((0, 0), (0, 0), (0, -count % parts)))
    return first.reshape(blocks, rows // parts, -1, parts).transpose(0, 3, 1, 2).reshape(blocks, rows, -1)


def separate(words: np.ndarray, config: EngineConfig) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights of stored words, and the places of their operands; None of an engine without windows."""
    if not config.window:
        return words, None
    low, sign = (1 << config.weight_bits) - 1, 1 << config.weight_bits - 1
    return ((words & low) ^ sign) - sign, words >> config.weight_bits


def to_bytes(words: np.ndarray, config: EngineConfig, image: Image | None = None) -> bytes:
    """Words to the bytes of the memory image.

    Rows ascending, little-endian, each word padded to whole beats. With several weight ports, the image of one port
    after the other, each of which holds its rows of every word. Of an ``image`` with segments, these follow in the form
    of the engine's decoder.

    Raises
    ------
    FormatError
        A segment does not fit its beats: its weights have fewer zeros than the plan was made for.
    """
    if image is not None and image.stored:
        parts = [to_bytes(words[: image.plain_words], config)]
        for tile, first, _, beats in image.segments:
            parts.append(config.segment_form.encode(words[first : first + tile.words], beats).tobytes())
        return b"".join(parts)
    port_bytes, block = config.word_bytes // config.axi_ports, max(1, (1 << 24) // config.word_bits)
    packed = np.zeros((config.axi_ports, len(words), port_bytes), dtype=np.uint8)
    for first in range(0, len(words), block):
        part = words[first : first + block, :, None] >> np.arange(config.stored_bits) & 1
        bits = part.astype(np.uint8).reshape(len(part), config.axi_ports, -1).transpose(1, 0, 2)
        filled = np.packbits(bits, axis=2, bitorder="little")
        packed[:, first : first + block, : filled.shape[2]] = filled
    return packed.tobytes()
