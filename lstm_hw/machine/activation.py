"""Sigmoid and tanh from one table of piecewise polynomials: parameters and integer twin.

One parameter object stands for one approximation. ``compute()`` is the bit-true reference on numpy
integers; ``lstm_hw.gateware.activation.Activation`` is the component that gives the same bits.

Both functions come from ``P(v) = sigmoid(v) - 1/2``, tabulated for ``0 <= v < 16`` in equal segments:
``sigmoid(x) = 1/2 + s*P(|x|)`` and ``tanh(x) = 2*s*P(|2x|)`` with ``s`` the sign of ``x``; beyond 16,
``P`` is 1/2 to within 2**-23. With ``t`` the position in the segment, -1/2 to 1/2, a segment holds the
polynomial that interpolates ``P`` at the Chebyshev nodes of that interval, which is within a few per
cent of the minimax polynomial. Coefficients are derived in decimal arithmetic, which is correctly
rounded everywhere, so tables do not depend on a platform's libm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from ..errors import ConfigError, FormatError, InputError
from .formats import QFormat, shift_round

DEFAULT_INPUT, DEFAULT_OUTPUT = QFormat(3, 12), QFormat(0, 15)

RANGE_BITS = 4
"""The table covers ``[0, 2**RANGE_BITS)``."""

INPUT_WIDTHS, OUTPUT_WIDTHS = range(8, 21), range(8, 19)
"""Supported widths of the input and output formats, bits (18 is the narrow port of a DSP block)."""

_FIRST_SEGMENT_STRETCH = Decimal(1) / 32
"""The first segment's nodes are those of an interval that starts this share of a segment below zero. It
brings the error at zero under half of the segment's maximum, so that tanh(0) rounds to 0."""


@dataclass(frozen=True)
class PolynomialActivation:
    """A piecewise polynomial for sigmoid and tanh; use one of the subclasses, which fix the degree.

    Parameters
    ----------
    i_format, o_format : QFormat
        Signed, the input of 8 to 20 bits, the output of 8 to 18, at least zero integer bits; the output saturates.
        The output's rounding mode is the only rounding that is a choice. The output has at least four fraction bits.
    segments : int
        Equal segments over ``[0, 16)``, a power of two from 16 to 1024, at most
        ``2**(i_format.fraction + 3)`` so that two inputs or more fall in each.
    guard : int
        Fraction bits of the table beyond the output's, 2 to 6.

    Raises
    ------
    FormatError
        A format is outside these limits.
    ConfigError
        The number of segments or guard bits is outside these limits.
    """

    i_format: QFormat = DEFAULT_INPUT
    o_format: QFormat = DEFAULT_OUTPUT
    segments: int = 64
    guard: int = 5

    degree: ClassVar[int]

    def __post_init__(self):
        for subject, number_format, widths in (
            ("activation input", self.i_format, INPUT_WIDTHS),
            ("activation output", self.o_format, OUTPUT_WIDTHS),
        ):
            if not number_format.signed or number_format.width not in widths or number_format.integer < 0:
                rule = f"must be signed, {widths[0]} to {widths[-1]} bits, with no negative integer bits"
                raise FormatError(subject, number_format, rule)
        if self.o_format.overflow != "saturate":
            raise FormatError("activation output", self.o_format, "must saturate, since tanh reaches +1.0")
        if self.o_format.fraction < 4:
            raise FormatError("activation output", self.o_format, "must have at least 4 fraction bits")
        if self.segments not in (1 << n for n in range(4, 11)):
            raise ConfigError("segments", self.segments, "must be a power of two from 16 to 1024")
        if not 2 <= self.guard <= 6:
            raise ConfigError("guard", self.guard, "must be from 2 to 6 bits")
        if self.position_bits < 1:
            fraction = self.segments.bit_length() - RANGE_BITS
            rule = f"must have at least {fraction} fraction bits for {self.segments} segments"
            raise FormatError("activation input", self.i_format, rule)

    @property
    def latency(self) -> int:
        """Clock cycles from input to output of the component: table, two a degree, saturation."""
        return 2 + 2 * self.degree

    @property
    def position_bits(self) -> int:
        """Bits of the position inside a segment, in steps of the input's LSB."""
        return RANGE_BITS + self.i_format.fraction - (self.segments.bit_length() - 1)

    @property
    def fraction(self) -> int:
        """Fraction bits of the constant coefficient; a coefficient of degree k has k fewer."""
        return self.o_format.fraction + self.guard

    @cached_property
    def coefficients(self) -> tuple[tuple[int, ...], ...]:
        """Tuples of integers, one a segment: ``coefficients[k]`` multiplies ``t**k``."""
        precise = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999, traps=[], clamp=0)
        with localcontext(precise):
            rows = [self._fit(n) for n in range(self.segments)]
        return tuple(zip(*rows, strict=True))

    def _fit(self, segment):
        """Quantised coefficients of one segment (integers, constant first)."""
        width = Decimal(1 << RANGE_BITS) / self.segments
        half = Decimal(1) / 2

        def probability(t):
            return 1 / (1 + (-(segment + half + t) * width).exp()) - half

        stretch = _FIRST_SEGMENT_STRETCH if segment == 0 and self.degree == 2 else Decimal(0)
        middle = -stretch / 2
        # Chebyshev nodes: cos(pi/6) of half the interval for a quadratic, cos(pi/4) for a line.
        offset = (Decimal(3 if self.degree == 2 else 2).sqrt() / 2) * (1 + stretch) / 2
        low, high = probability(middle - offset), probability(middle + offset)
        slope, scale = (high - low) / (2 * offset), 1 << self.fraction
        if self.degree == 1:
            return self._constant((low + high) / 2 * scale), _nearest(slope * (scale >> 1))

        centre = probability(middle)
        curve = (high + low - 2 * centre) / (2 * offset * offset)
        constant, slope = centre - slope * middle + curve * middle * middle, slope - 2 * curve * middle
        square = _nearest(curve * (scale >> 2))
        # What rounding takes from the curvature, e*t**2 over |t| <= 1/2, is best made up for by e/8.
        constant += (curve - Decimal(square) / (scale >> 2)) / 8
        return self._constant(constant * scale), _nearest(slope * (scale >> 1)), square

    def _constant(self, value):
        # The last segments would round up to 1/2 itself, for which one more bit would have to be stored.
        return min(_nearest(value), (1 << (self.fraction - 1)) - 1)

    @cached_property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Smallest and largest integer of each Horner operand, degree 0 to ``degree``, as pairs.

        Entry ``degree`` is the range of the leading coefficient; the entries between are those of the
        intermediate sums; entry 0 is that of the constant coefficient, as stored.
        """
        half = 1 << (self.position_bits - 1)
        pairs = [(min(column), max(column)) for column in self.coefficients]
        if self.degree == 2:
            # The sum is linear in t, hence extreme at the ends of a segment.
            _, slope, square = (np.array(column, dtype=np.int64) for column in self.coefficients)
            ends = np.concatenate([self._inner(slope, square, np.int64(t)) for t in (-half, half)])
            pairs[1] = (int(ends.min()), int(ends.max()))
        return tuple(pairs)

    @property
    def table_bits(self) -> int:
        """Stored bits of the table."""
        return self.segments * sum(column_bits(column) for column in self.coefficients)

    def _inner(self, slope, square, t):
        """``slope + t*square``, rounded half up to the slope's fraction bits."""
        shift = self.position_bits - 1
        return shift_round((slope << shift) + square * t, shift)

    def compute(self, x: np.ndarray, tanh: np.ndarray | bool) -> np.ndarray:
        """Approximate sigmoid, or tanh where ``tanh`` is true.

        Parameters
        ----------
        x : int array
            Stored integers of ``i_format``.
        tanh : bool or bool array
            Broadcast against ``x``.

        Returns
        -------
        int64 array
            Stored integers of ``o_format``, of the broadcast shape.

        Raises
        ------
        InputError
            An ``x`` is outside the range of ``i_format``.
        """
        x, tanh = np.asarray(x, dtype=np.int64), np.asarray(tanh, dtype=bool)
        if x.size and (x.min() < self.i_format.lowest or x.max() > self.i_format.highest):
            rule = f"must fit {self.i_format}, {self.i_format.lowest} to {self.i_format.highest}"
            raise InputError("activation input", f"{x.min()} to {x.max()}", rule)
        index = x - self.i_format.lowest
        if tanh.ndim == 0:
            return self.results[int(tanh)].take(index)
        return np.where(tanh, self.results[1].take(index), self.results[0].take(index))

    @cached_property
    def results(self) -> np.ndarray:
        """All values there are: int64 array (2, 2**width of the input), of sigmoid and of tanh, from the lowest on."""
        x = np.arange(self.i_format.lowest, self.i_format.highest + 1)
        return np.stack([self._evaluate(x, np.full(x.shape, tanh)) for tanh in (False, True)])

    def _evaluate(self, x, tanh):
        """The polynomial, step by step as the component does."""
        shift = tanh.astype(np.int64)
        bits = self.position_bits
        v = x << shift
        negative = v < 0
        # One's complement: the magnitude less one, which never overflows; the one comes back in t.
        magnitude = np.minimum(np.where(negative, ~v, v), (1 << (RANGE_BITS + self.i_format.fraction)) - 1)
        row = magnitude >> bits
        t = (magnitude & ((1 << bits) - 1)) - (1 << (bits - 1)) + negative
        constant, slope, *rest = (np.array(column, dtype=np.int64)[row] for column in self.coefficients)
        if rest:
            slope = self._inner(slope, rest[0], t)
        total = (constant << (bits - 1)) + slope * t
        total = np.where(negative, -total, total) << shift
        fraction = self.fraction + bits - 1
        total = total + np.where(tanh, 0, np.int64(1) << (fraction - 1))
        return self.o_format.requantize(total, fraction)

    def max_error(self, tanh: bool) -> float:
        """Largest error over all inputs, in LSB of the output, against the real-valued function.

        A clipped +1.0 is not excused: with no integer bits in the output, tanh cannot be better than
        just under one LSB.
        """
        x = np.arange(self.i_format.lowest, self.i_format.highest + 1)
        real = self.i_format.to_float(x)
        exact = np.tanh(real) if tanh else 1 / (1 + np.exp(-real))
        return float(np.max(np.abs(self.compute(x, tanh) - exact / self.o_format.lsb)))


@dataclass(frozen=True)
class QuadraticActivation(PolynomialActivation):
    """Second-order segments: two multiplies, latency 6.

    Largest error over all Q3.12 inputs at Q0.15 output, rounded half up, and stored bits:

    ======== ============ ========= ==========
    segments sigmoid, LSB tanh, LSB table bits
    ======== ============ ========= ==========
    64       0.857        1.201     2880
    128      0.556        0.993     5376
    ======== ============ ========= ==========

    tanh(0) is exactly 0 and sigmoid(0) exactly 1/2 at up to 15 fraction bits of output; with 64 segments and
    17 bits, tanh(0) is one LSB off.
    """

    degree: ClassVar[int] = 2


@dataclass(frozen=True)
class LinearActivation(PolynomialActivation):
    """Linear segments: one multiply, latency 4.

    Largest error over all Q3.12 inputs at Q0.15 output, rounded half up, and stored bits:

    ======== ============ ========= ==========
    segments sigmoid, LSB tanh, LSB table bits
    ======== ============ ========= ==========
    64       12.76        25.02     2176
    256      1.285        2.032     8192
    ======== ============ ========= ==========
    """

    segments: int = 256

    degree: ClassVar[int] = 1


def column_bits(column: Sequence[int]) -> int:
    """Bits that store a column of integers: unsigned if none is negative, else two's complement."""
    low, high = min(column), max(column)
    if low >= 0:
        return max(1, high.bit_length())
    return 1 + max((~low).bit_length(), high.bit_length() if high >= 0 else 0)


def _nearest(value):
    """Nearest integer of a decimal, ties up."""
    return int((value + Decimal(1) / 2).to_integral_value(ROUND_FLOOR))


def _piecewise_linear(i_format, o_format):
    # A coarse input format has fewer values than the default has segments.
    segments = min(LinearActivation.segments, 1 << max(RANGE_BITS, i_format.fraction + RANGE_BITS - 1))
    return LinearActivation(i_format, o_format, segments)


ACTIVATIONS = {
    "quadratic64": lambda i_format, o_format: QuadraticActivation(i_format, o_format, 64),
    "quadratic128": lambda i_format, o_format: QuadraticActivation(i_format, o_format, 128),
    "pwl": _piecewise_linear,
}
"""Constructors by name: functions of the input and the output format."""


@lru_cache(maxsize=16)
def make_activation(
    name: str, i_format: QFormat = DEFAULT_INPUT, o_format: QFormat = DEFAULT_OUTPUT
) -> PolynomialActivation:
    """The activation of a name in :data:`ACTIVATIONS`.

    Raises
    ------
    ConfigError
        Unknown name.
    FormatError
        A format that the activation does not support.
    """
    if name not in ACTIVATIONS:
        raise ConfigError("activation", repr(name), f"must be one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](i_format, o_format)
