"""Fraction bits of the weights of a layer, whose products meet in one sum."""

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import FormatError
from ..machine.config import FACTOR_BITS
from ..machine.formats import QFormat
from ..machine.pack import top_exponent
from .quant_layer import QuantLayer

FRACTIONS = ("shared", "matrix")
"""Ways to choose them, from the least hardware to the most."""
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


def widest(
    config,
    bias: np.ndarray,
    products: Sequence[tuple[str, np.ndarray, QFormat]],
    subject: str,
    build: Callable[[list[QFormat], QFormat, int], QuantLayer],
) -> QuantLayer:
    """The layer with the most fraction bits in its accumulator.

    With ``config.fractions`` of "shared" every product has that many: of two matrices the one that could have more
    fraction bits gives them up. With "matrix" each keeps its own, and the operand of the other is lifted, as far as a
    lane's multiplier is wide. All give some up where the largest possible sum would not fit the accumulator, or where a
    bias of so many fraction bits would take more columns of weights than ``BIAS_COLUMNS``.

    Parameters
    ----------
    config : QuantConfig
    bias : float array
    products : list of (name, float array, QFormat)
        Matrices and the format of what each multiplies.
    subject : str
    build : callable
        Makes the layer from the weight formats, the bias format and the accumulator's fraction.
    """
    bias_most = fitting(f"{subject}: bias", bias, config.bias_bits).fraction
    own = [fitting(f"{subject}: {name}", matrix, config.weight_bits).fraction for name, matrix, _ in products]
    totals = [fraction + operand.fraction for fraction, (_, _, operand) in zip(own, products, strict=True)]
    most_lift = 0 if config.fractions == "shared" else FACTOR_BITS - config.operand_bits
    most_columns = max(BIAS_COLUMNS, sum(matrix.shape[1] for _, matrix, _ in products) // 2)
    fraction = min(max(totals), min(totals) + most_lift)
    while True:
        formats = [
            _with_fraction(config.weight_bits, min(most, fraction - operand.fraction))
            for most, (_, _, operand) in zip(own, products, strict=True)
        ]
        layer = build(formats, _with_fraction(config.bias_bits, min(fraction, bias_most)), fraction)
        if layer.accumulator_bits <= config.accumulator_bits and _bias_columns(layer, config) <= most_columns:
            return layer
        fraction -= 1


def _with_fraction(bits, fraction):
    return QFormat(bits - 1 - fraction, fraction)


def _bias_columns(layer, config):
    """Columns that the largest bias fills: :func:`~lstm_hw.machine.pack.bias_digits` adds one for what is left over."""
    largest_digit = (1 << ((8 if config.weight_bits <= 8 else 16) - 1)) - 1
    return int(np.abs(layer.acc_bias).max()) // (largest_digit << top_exponent(config.operand_bits + max(layer.lifts)))
