"""Fraction bits of the weights of a layer, whose products meet in one sum."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from itertools import product as cartesian
from typing import Any

import numpy as np

from ..errors import FormatError
from ..machine.formats import QFormat
from ..machine.limits import FACTOR_BITS, ROW_BITS, WEIGHT_WIDTHS
from ..machine.pack import top_exponent
from .quant_layer import QuantLayer

FRACTIONS = ("shared", "matrix", "row")
"""Ways to choose them, from the least hardware to the most."""
ROUNDINGS = ("nearest", "compensated")
"""Ways to round weights."""
ROWS = 1 << ROW_BITS
"""Shifts that a row may have."""
COMPENSATED = 1024
"""Columns up to which a rounded weight is made up for by others: the work grows with the square."""
DAMPING = 0.01
"""Share of the mean variance that is added to that of each element of an operand, as for GPTQ."""
BASES = range(-3, 2)
"""Fraction bits of a matrix that are tried, from those on that hold its peak; with one more it is clipped."""
BIAS_COLUMNS = 16
"""Columns of weights that a layer's biases may take, or half of what its matrices take: small weights beside ordinary
biases have fewer fraction bits instead."""


def fitting(subject: str, values: np.ndarray | float, bits: int) -> QFormat:
    """The format of ``bits`` bits with the most fraction bits that holds all values.

    Raises
    ------
    FormatError
        No such format has a step that is a number.
    """
    peak = float(np.max(np.abs(values)))
    number_format = QFormat.fitting(peak, bits)
    if not number_format.holds(peak):
        raise FormatError(subject, f"magnitude {peak:g}", f"must fit a {bits}-bit format, {number_format} at most")
    return number_format


@dataclass(frozen=True)
class Rounding:
    """How a layer's numbers are rounded.

    Parameters
    ----------
    weights : tuple of QFormat
        Of the matrix of each product.
    bias : QFormat
    accumulator : int
        Fraction bits of the sums.
    rows : int array (rows,)
        Fraction bits that each row has beyond those.
    stored : tuple of int arrays
        The matrix of each product, and the bias.
    """

    weights: tuple[QFormat, ...]
    bias: QFormat
    accumulator: int
    rows: np.ndarray
    stored: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Product:
    """A matrix and what it multiplies.

    Parameters
    ----------
    name : str
    bits : int
        Width of a weight.
    matrix : float array (rows, columns)
    operand : QFormat
    vectors : float array (vectors, columns)
        Some of those that it multiplies; of all products of a layer those at the same place meet in one sum.
    moves : bool
        Whether its weights may make up for what rounding others takes.
    """

    name: str
    bits: int
    matrix: np.ndarray
    operand: QFormat
    vectors: np.ndarray
    moves: bool = True


def rounded_layer(
    config: Any, bias: np.ndarray, products: Sequence[Product], subject: str, build: Callable[[Rounding], QuantLayer]
) -> QuantLayer:
    """The layer with the fraction bits that ``config.fractions`` says.

    - "shared": every product has as many: of two matrices the one that could have more gives them up.
    - "matrix": each keeps its own, and operands of the other are lifted, as far as a lane's multiplier is wide.
    - "row": each row has up to 7 more. Those are taken with which pre-activations are nearest to the exact ones in the
      mean square, a clipped weight being an error as a rounded one is.

    With ``config.rounding`` of "compensated", what rounding a weight takes is made up for by those behind it (GPTQ:
    Frantar et al., 2023), and what is left in the mean by the bias. All ways give some bits up where the largest
    possible sum would not fit the accumulator, or where a bias of so many fraction bits would take more columns of
    weights than ``BIAS_COLUMNS``.

    Parameters
    ----------
    config : QuantConfig
    bias : float array (rows,)
    products : list of Product
    subject : str
    build : callable (Rounding) -> QuantLayer
    """
    candidates = _by_row if config.fractions == "row" else _by_matrix
    most_columns = max(BIAS_COLUMNS, sum(product.matrix.shape[1] for product in products) // 2)
    for rounding in candidates(config, bias, products, subject):
        layer, row_bits = build(rounding), int(rounding.rows.max()).bit_length()
        fits = layer.accumulator_bits + row_bits <= config.accumulator_bits
        if fits and _bias_columns(layer, config, row_bits) <= most_columns:
            return layer


def _widest(config, products):
    """Bits of an operand, more where several vectors of unlike formats are read side by side."""
    return max(config.operand_bits, *(product.operand.width for product in products))


def _by_matrix(config, bias, products, subject):
    """Ways to round without shifts of rows, the most fraction bits first, without end."""
    bias_most = fitting(f"{subject}: bias", bias, config.bias_bits).fraction
    own = [fitting(f"{subject}: {p.name}", p.matrix, p.bits).fraction for p in products]
    totals = [fraction + p.operand.fraction for fraction, p in zip(own, products, strict=True)]
    most_lift = 0 if config.fractions == "shared" else FACTOR_BITS - _widest(config, products)
    for total in count(min(max(totals), min(totals) + most_lift), -1):
        formats = tuple(
            _with_fraction(p.bits, min(most, total - p.operand.fraction)) for most, p in zip(own, products, strict=True)
        )
        bias_format = _with_fraction(config.bias_bits, min(total, bias_most))
        rows = np.zeros(len(bias), int)
        stored, added = _stored(config, products, formats, rows)
        yield Rounding(formats, bias_format, total, rows, (*stored, bias_format.quantize(bias + added)))


def _by_row(config, bias, products, subject):
    """Ways to round with shifts of rows, the least error of pre-activations first, then with ever fewer bits."""
    most_lift = FACTOR_BITS - _widest(config, products) - ROW_BITS
    own = [fitting(f"{subject}: {p.name}", p.matrix, p.bits).fraction for p in products]
    least = min(fraction + p.operand.fraction for fraction, p in zip(own, products, strict=True))
    own = [min(fraction, least + most_lift - p.operand.fraction) for fraction, p in zip(own, products, strict=True)]
    for fewer in count(0, len(BASES)):
        bases = [range(fraction - fewer + BASES[0], fraction - fewer + BASES[-1] + 1) for fraction in own]
        for total, fractions, rows in _ways(products, bases, most_lift):
            formats = tuple(_with_fraction(p.bits, fraction) for p, fraction in zip(products, fractions, strict=True))
            stored, added = _stored(config, products, formats, rows)
            scaled = (bias + added) * np.exp2(rows)
            bias_most = fitting(f"{subject}: bias", scaled, config.bias_bits).fraction
            bias_format = _with_fraction(config.bias_bits, min(total, bias_most))
            yield Rounding(formats, bias_format, total, rows, (*stored, bias_format.quantize(scaled)))


def _ways(products, bases, most_lift):
    """(fraction bits of the accumulator, of each matrix, of each row beyond them), the least error first."""
    errors = [
        {fraction: _error(p, fraction) for fraction in range(tried[0], tried[-1] + ROWS)}
        for p, tried in zip(products, bases, strict=True)
    ]
    ways = []
    for fractions in cartesian(*bases):
        totals = [fraction + p.operand.fraction for fraction, p in zip(fractions, products, strict=True)]
        if max(totals) - min(totals) > most_lift:
            continue
        by_row = [sum(e[f + row] for e, f in zip(errors, fractions, strict=True)) for row in range(ROWS)]
        rows = np.argmin(by_row, axis=0)
        common = int(rows.min())  # what all rows have is the matrix's
        fractions = tuple(fraction + common for fraction in fractions)
        ways.append((np.min(by_row, axis=0).sum(), max(totals) + common, fractions, rows - common))
    return [way[1:] for way in sorted(ways, key=lambda way: way[:3])]


def _error(product, fraction):
    """Mean square of what rounding a matrix to so many fraction bits adds to each row's sum (rows,).

    Of an operand that hardly changes, as a constant input, the mean counts: its weights must not be clipped.
    """
    number_format = _with_fraction(product.bits, fraction)
    difference = number_format.to_float(number_format.quantize(product.matrix)) - product.matrix
    return np.square(difference) @ np.square(product.vectors).mean(axis=0)


def _stored(config, products, formats, rows):
    """Stored integers of the matrices, and what to add to the bias (rows,).

    Compensated, column after column is rounded, those that matter most first, and the others move to where the variance
    of the sum's error is least, over the vectors that the products came with. Weights of 0 stay 0: they were pruned.
    """
    scale = np.exp2(rows)[:, None]
    if config.rounding == "nearest":
        return [number_format.quantize(p.matrix * scale) for p, number_format in zip(products, formats, strict=True)], 0
    matrix = np.concatenate([p.matrix for p in products], axis=1) * scale
    vectors = np.concatenate([p.vectors for p in products], axis=1)
    number_formats = [number_format for p, number_format in zip(products, formats, strict=True) for _ in p.matrix.T]
    moving = (matrix != 0) & [p.moves for p in products for _ in p.matrix.T]
    stored, order, others = np.zeros(matrix.shape, np.int64), np.arange(matrix.shape[1]), None
    few = len(order) <= COMPENSATED
    spread = np.cov(vectors, rowvar=False, bias=True).reshape(2 * matrix.shape[1:]) if few else np.zeros((1, 1))
    if total := np.trace(spread):  # not of constant operands
        spread /= total
        spread[np.diag_indices_from(spread)] += DAMPING / len(spread)
        order = np.argsort(-np.diag(spread), kind="stable")
        others = np.linalg.cholesky(np.linalg.inv(spread[np.ix_(order, order)])).T
        others = others / np.diag(others)[:, None]
    rest, moving = matrix.T[order], moving.T[order]  # a column a row, those that come later behind
    for place, column in enumerate(order):
        number_format = number_formats[column]
        stored[:, column] = number_format.quantize(rest[place])
        if others is not None:
            error = rest[place] - number_format.to_float(stored[:, column])
            rest[place + 1 :] -= np.outer(others[place, place + 1 :], error) * moving[place + 1 :]
    rounded = stored * np.array([number_format.lsb for number_format in number_formats])
    added = (matrix - rounded) @ vectors.mean(axis=0) * np.exp2(-rows)
    ends = np.cumsum([p.matrix.shape[1] for p in products])[:-1]
    return np.split(stored, ends, axis=1), added


def _with_fraction(bits, fraction):
    return QFormat(bits - 1 - fraction, fraction)


def _bias_columns(layer, config, row_bits):
    """Columns that the largest bias fills: :func:`~lstm_hw.machine.pack.bias_digits` adds one for what is left over."""
    largest_digit = (1 << (max(WEIGHT_WIDTHS[0], min(config.weight_bits, WEIGHT_WIDTHS[-1])) - 1)) - 1
    top = top_exponent(config.operand_bits + max(layer.lifts) + row_bits)
    return (int(np.abs(layer.acc_bias).max()) << row_bits) // (largest_digit << top)
