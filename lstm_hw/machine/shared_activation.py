"""Sigmoid and tanh from one table of piecewise polynomials whose sign leaves before the table: parameters and twin.

Both functions come from ``P(v) = sigmoid(v) - 1/2``, tabulated for ``0 <= v < 16`` in equal segments:
``sigmoid(x) = 1/2 + s*P(|x|)`` and ``tanh(x) = 2*s*P(|2x|)`` with ``s`` the sign of ``x``; beyond 16,
``P`` is 1/2 to within 2**-23. With ``t`` the position in the segment, -1/2 to 1/2, a segment holds the
polynomial that interpolates ``P`` at the Chebyshev nodes of that interval, which is within a few per
cent of the minimax polynomial.

The sign comes back in the last product, and the rounding of the output's format sees a signed sum. So results of x and
-x may differ by one LSB, and neighbours may step down by one: :mod:`.magnitude_activation` has the units that do not.
"""

from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from ..errors import ConfigError, FormatError
from .activation_unit import PRECISE, RANGE_BITS, ActivationUnit, centred_sigmoid, column_bits, nearest
from .formats import QFormat, shift_round

_FIRST_SEGMENT_STRETCH = Decimal(1) / 32
"""The first segment's nodes are those of an interval that starts this share of a segment below zero. It
brings the error at zero under half of the segment's maximum, so that tanh(0) rounds to 0."""


@dataclass(frozen=True)
class PolynomialActivation(ActivationUnit):
    """A piecewise polynomial for sigmoid and tanh; use one of the subclasses, which fix the degree.

    Parameters
    ----------
    i_format, o_format : QFormat
        See :class:`.ActivationUnit`. The output's rounding mode is the only rounding that is a choice.
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

    segments: int = 64
    guard: int = 5

    degree: ClassVar[int]

    def __post_init__(self):
        super().__post_init__()
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
        with localcontext(PRECISE):
            rows = [self._fit(n) for n in range(self.segments)]
        return tuple(zip(*rows, strict=True))

    def _fit(self, segment):
        """Quantised coefficients of one segment (integers, constant first)."""
        width = Decimal(1 << RANGE_BITS) / self.segments
        half = Decimal(1) / 2

        def probability(t):
            return self._function((segment + half + t) * width)

        stretch = _FIRST_SEGMENT_STRETCH if segment == 0 and self.degree == 2 else Decimal(0)
        middle = -stretch / 2
        # Chebyshev nodes: cos(pi/6) of half the interval for a quadratic, cos(pi/4) for a line.
        offset = (Decimal(3 if self.degree == 2 else 2).sqrt() / 2) * (1 + stretch) / 2
        low, high = probability(middle - offset), probability(middle + offset)
        slope, scale = (high - low) / (2 * offset), 1 << self.fraction
        if self.degree == 1:
            return self._constant((low + high) / 2 * scale), nearest(slope * (scale >> 1))

        centre = probability(middle)
        curve = (high + low - 2 * centre) / (2 * offset * offset)
        constant, slope = centre - slope * middle + curve * middle * middle, slope - 2 * curve * middle
        square = nearest(curve * (scale >> 2))
        # What rounding takes from the curvature, e*t**2 over |t| <= 1/2, is best made up for by e/8.
        constant += (curve - Decimal(square) / (scale >> 2)) / 8
        return self._constant(constant * scale), nearest(slope * (scale >> 1)), square

    def _function(self, v):
        """``P``, the odd function that the table holds; it reaches 1/2."""
        return centred_sigmoid(v)

    def _constant(self, value):
        # The last segments would round up to 1/2 itself, for which one more bit would have to be stored.
        return min(nearest(value), (1 << (self.fraction - 1)) - 1)

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
    def tables(self) -> tuple[tuple[int, int], ...]:
        return ((sum(column_bits(column) for column in self.coefficients), self.segments),)

    @property
    def multiplier_bits(self) -> tuple[int, ...]:
        position = self.position_bits + 1
        operands = [self.ranges[degree] for degree in range(1, self.degree + 1)]
        # The last factor is doubled for tanh.
        return tuple(
            max(column_bits((-1, *pair)), position + (degree == 1)) for degree, pair in enumerate(operands, start=1)
        )

    def _inner(self, slope, square, t):
        """``slope + t*square``, rounded half up to the slope's fraction bits."""
        shift = self.position_bits - 1
        return shift_round((slope << shift) + square * t, shift)

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
class ExponentialActivation(QuadraticActivation):
    """``exp(x) / 2`` for x of at most zero, as the sigmoid of a table of ``P(v) = (1 - exp(-v)) / 2``.

    ELU is twice that less one. The tanh of this unit means nothing.
    """

    def _function(self, v):
        return (1 - (-v).exp()) / 2

    def elu(self, x: np.ndarray) -> np.ndarray:
        """ELU of stored integers below zero: with the fraction bits of the output, exact twice the result less one."""
        return 2 * self.compute(x, False) - (1 << self.o_format.fraction)


@lru_cache(maxsize=32)
def make_exponential(i_format: QFormat, o_format: QFormat) -> ExponentialActivation:
    """The unit behind ELU for formats of pre-activations and of results."""
    segments = min(64, 1 << max(RANGE_BITS, i_format.fraction + RANGE_BITS - 1))
    return ExponentialActivation(i_format, o_format, segments)


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
