"""Sigmoid and tanh of the magnitude, rounded there, and only then given their sign: parameters and integer twins.

With ``P(v) = sigmoid(v) - 1/2``, a unit forms ``P`` of a magnitude ``v`` of at least zero: that of ``x`` for sigmoid,
of ``2x`` for tanh. ``P``, for tanh ``2*P``, is rounded as the output's format says; ``sigmoid(x) = 1/2 + s*P(|x|)`` and
``tanh(x) = 2*s*P(|2x|)`` with ``s`` the sign of ``x``. Results of x and -x are opposite to the bit until one saturates;
with ``half_up`` a tie goes away from zero.

A unit finds the row of its table and the position ``u`` in it, and works through the row's polynomial from the highest
degree down, one multiplication a degree. What enters a multiplication has 18 bits, so each is one DSP block of any
family; the last sum is exact.
"""

import abc
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

import numpy as np

from ..errors import ConfigError, FormatError
from .activation_unit import PRECISE, RANGE_BITS, ActivationUnit, centred_sigmoid, column_bits, nearest
from .formats import QFormat, shift_round

OPERAND_BITS = 18
"""Bits of what enters a multiplication, the sign included, where nothing is lost by fewer: a port of a DSP block."""
NEAR, MOST_MOVE = 16, 1 << 24
"""Moves of a row's constant that are tried before its degree is lowered; more than any constant moves."""
WIDEST_SLOPE = 24
"""Most fraction bits that are tried for a slope that is no power of two."""


@dataclass(frozen=True)
class MagnitudeActivation(ActivationUnit):
    """A unit that works on the magnitude; use one of the subclasses.

    A row r of the table and a position t give the sums ``A_d = c_d``, ``A_k = c_k + A_(k+1) * u`` with
    ``u = t * 2**-position_fraction``; ``A_k`` has ``fractions[k]`` fraction bits, rounded half up, ``A_0`` is exact.
    """

    degree: ClassVar[int]
    front: ClassVar[int] = 0
    """Registers between the magnitude and the table: 1 where the row takes more than a choice of bits."""
    guard: ClassVar[int] = 2
    """Fraction bits of the constants beyond the output's."""

    @property
    def latency(self) -> int:
        """Clock cycles: of the front, table, two a degree (one sum without any), sign and saturation."""
        return self.front + (2 + 2 * self.degree if self.degree else 3)

    @property
    def fraction(self) -> int:
        """Fraction bits of the table's coefficients."""
        return self.o_format.fraction + self.guard

    @property
    def magnitude_bits(self) -> int:
        """Bits of the magnitude, in steps of the input's LSB; a greater one is the largest of them."""
        return RANGE_BITS + self.i_format.fraction

    @property
    @abc.abstractmethod
    def position_bits(self) -> int:
        """Bits of the position t, its sign included; 0 where it is of no use."""

    @property
    @abc.abstractmethod
    def position_fraction(self) -> int:
        """Fraction bits of u."""

    @property
    @abc.abstractmethod
    def columns(self) -> tuple[tuple[int, ...], ...]:
        """Coefficients, one tuple a degree, one entry a row."""

    @property
    @abc.abstractmethod
    def fractions(self) -> tuple[int, ...]:
        """Fraction bits of the sums A_0 to A_d."""

    @property
    def coefficient_fractions(self) -> tuple[int, ...]:
        """Fraction bits of each column."""
        return (self.fraction,) * (self.degree + 1)

    @abc.abstractmethod
    def locate(self, magnitude: np.ndarray, tanh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and position of magnitudes (int64 arrays of one shape)."""

    @property
    def tables(self) -> tuple[tuple[int, int], ...]:
        return ((sum(map(_stored_bits, self.columns)), len(self.columns[0])),)

    @property
    def sum_bits(self) -> tuple[int, ...]:
        """Bits of the sums A_0 to A_d, a sign included."""
        peaks = [max(map(abs, column)) for column in self.columns]
        bits = []
        for k, fraction in enumerate(self.fractions):
            peak = sum(
                Fraction(peak, 1 << given)
                for peak, given in zip(peaks[k:], self.coefficient_fractions[k:], strict=True)
            )
            bits.append(int(peak * (1 << fraction) + 1).bit_length() + 1)
        return tuple(bits)

    @property
    def multiplier_bits(self) -> tuple[int, ...]:
        # The last factor is doubled for tanh.
        return tuple(max(self.sum_bits[k], self.position_bits + (k == 1)) for k in range(1, self.degree + 1))

    def _sum(self, columns, row, t):
        """A_0 of rows and positions, exact, with ``fractions[0]`` fraction bits."""
        values = [np.array(column, dtype=np.int64)[row] for column in columns]
        total = values[-1]
        for k in range(self.degree - 1, -1, -1):
            fraction = self.fractions[k + 1] + self.position_fraction
            total = total * t + (values[k] << (fraction - self.coefficient_fractions[k]))
            total = shift_round(total, fraction - self.fractions[k])
        return total

    def _evaluate(self, x, tanh):
        shift = tanh.astype(np.int64)
        magnitude = np.minimum(np.abs(x << shift), (1 << self.magnitude_bits) - 1)
        total = self._sum(self.columns, *self.locate(magnitude, tanh)) << shift
        fraction = self.o_format.fraction
        rounded = shift_round(total, self.fractions[0] - fraction, self.o_format.rounding)
        offset = np.where(tanh, 0, np.int64(1) << (fraction - 1))
        return self.o_format.bound(offset + np.where(x < 0, -rounded, rounded))


@dataclass(frozen=True)
class SegmentActivation(MagnitudeActivation):
    """Segments of ``[0, 16)``, each with a polynomial in the position u from -1 to 1.

    Coefficients are those of :meth:`_fit`, rounded from the highest degree down; what rounding takes from ``u**2`` and
    ``u**3`` goes to the constant (half of it) and to the slope (3/4). Then the table is made to rise, row by row: where
    rounded results fall inside a row or from the row before, or the first results are not those at 0, the row's
    constant is moved to the nearest place where all is well; where there is none within :data:`NEAR` steps, the
    interpolation of the next lower degree is taken.

    Parameters
    ----------
    i_format, o_format : QFormat
        See :class:`.ActivationUnit`.
    segments : int
        A power of two within the limits of the subclass; of :class:`NonuniformLinear` those of each octave.
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

    least: ClassVar[int] = 16
    most: ClassVar[int] = 1024

    def __post_init__(self):
        super().__post_init__()
        counts = [1 << n for n in range(20) if self.least <= 1 << n <= self.most]
        if type(self.segments) is not int or self.segments not in counts:
            raise ConfigError("segments", self.segments, f"must be a power of two from {self.least} to {self.most}")
        if type(self.guard) is not int or not 2 <= self.guard <= 6:
            raise ConfigError("guard", self.guard, "must be from 2 to 6 bits")
        if self.segments > self.finest(self.i_format):
            fraction = self.segments.bit_length() - self.finest(self.i_format).bit_length() + self.i_format.fraction
            rule = f"must have at least {fraction} fraction bits for {self.segments} segments"
            raise FormatError("activation input", self.i_format, rule)

    @classmethod
    def finest(cls, i_format: QFormat) -> int:
        """Most segments for an input format: two inputs or more fall in each."""
        return 1 << max(0, RANGE_BITS + i_format.fraction - 1)

    @property
    def position_bits(self) -> int:
        return RANGE_BITS + self.i_format.fraction - (self.segments.bit_length() - 1)

    @property
    def position_fraction(self) -> int:
        return self.position_bits - 1

    @property
    def bounds(self) -> tuple[tuple[Decimal, Decimal], ...]:
        """Start and width of each segment, exact."""
        width = Decimal(1 << RANGE_BITS) / self.segments
        return tuple((n * width, width) for n in range(self.segments))

    def locate(self, magnitude: np.ndarray, tanh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bits = self.position_bits
        return magnitude >> bits, (magnitude & ((1 << bits) - 1)) - (1 << bits >> 1)

    @cached_property
    def _fitted(self):
        """Columns as they are fitted."""
        with localcontext(PRECISE):
            rows = [self._rounded(self._fit(start, width), self.degree) for start, width in self.bounds]
        return tuple(zip(*rows, strict=True))

    @cached_property
    def fractions(self) -> tuple[int, ...]:
        peaks = [max(map(abs, column)) for column in self._fitted]
        found = [self.fraction]
        for k in range(self.degree - 1, 0, -1):
            room = max(0, OPERAND_BITS - 2 - int(sum(peaks[k:])).bit_length())
            found.append(min(found[-1] + self.position_fraction, self.fraction + room))
        return tuple([found[-1] + self.position_fraction, *found[::-1]] if self.degree else found)

    @cached_property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        reached = min((1 << self.magnitude_bits) - 1, 1 << self.i_format.width)  # that of tanh's lowest x
        magnitude = np.arange(reached + 1)
        row, t = self.locate(magnitude, np.zeros_like(magnitude, dtype=bool))
        results = self._magnitudes(self._sum(self._fitted, row, t))
        # Rows follow each other; of each, whether it rises by itself, and its results at both ends.
        used, first = np.unique(row, return_index=True)
        ends = np.append(first[1:], len(row))
        falls = np.zeros(len(magnitude), dtype=bool)
        falls[1:] = (np.diff(results) < 0).any(axis=0)
        falls[first] = False
        inside = np.add.reduceat(falls, first) == 0
        rows = list(zip(*self._fitted, strict=True))
        before = np.zeros(2, dtype=np.int64)
        for n, start, stop, rises in zip(used.tolist(), first.tolist(), ends.tolist(), inside.tolist(), strict=True):
            found = results[:, start:stop]
            good = np.array_equal(found[:, 0], before) if n == 0 else (found[:, 0] >= before).all()
            if not (rises and good):
                rows[n], found = self._mended(n, rows[n], t[start:stop], before)
            before = found[:, -1]
        return tuple(zip(*rows, strict=True))

    def _magnitudes(self, total):
        """Magnitudes of the results, of sigmoid - 1/2 and of tanh (2, ...), of A_0."""
        drop, rounding = self.fractions[0] - self.o_format.fraction, self.o_format.rounding
        return np.stack([shift_round(total << which, drop, rounding) for which in range(2)])

    def _mended(self, n, row, t, before):
        """A row that rises from what came before on, as near to the fitted one as can be, and its results."""
        start, width = self.bounds[n]
        for degree in range(self.degree, -1, -1):
            if degree < self.degree:
                with localcontext(PRECISE):
                    lower = self._rounded(_interpolated(start, width, degree), degree)
                row = (*lower, *[0] * (self.degree - degree))
            total = self._sum([[value] for value in row], np.zeros_like(t), t)
            unit = 1 << (self.fractions[0] - self.fraction)
            least = self._least(int(total[0]), unit, lambda results: (results >= before).all())
            most = MOST_MOVE
            if n == 0:  # where both results are 0
                most = self._least(int(total[0]), unit, lambda results: (results > 0).any()) - 1
            start_at = min(max(0, least), most)
            moves = range(max(least, start_at - NEAR), min(most, start_at + NEAR) + 1)
            for move in sorted(moves, key=lambda move: abs(move - start_at)):
                results = self._magnitudes(total + move * unit)
                if (np.diff(results) >= 0).all():
                    return (row[0] + move, *row[1:]), results
        raise AssertionError("a constant rises")

    def _least(self, total, unit, holds):
        """The least move of a constant, each of so many steps of A_0, for which something holds of the results."""
        low, high = -MOST_MOVE, MOST_MOVE
        while low < high:
            middle = (low + high) // 2
            if holds(self._magnitudes(np.int64(total + middle * unit))):
                high = middle
            else:
                low = middle + 1
        return low

    def _rounded(self, real, degree):
        """Integers of real coefficients, constant first."""
        real, found = [value * (1 << self.fraction) for value in real], []
        for k in range(degree, -1, -1):
            stored = nearest(real[k])
            if k > 1:
                real[k - 2] += (real[k] - stored) * (Decimal(1) / 2 if k == 2 else Decimal(3) / 4)
            found.insert(0, stored)
        # The last segments would round up to 1/2 itself, for which one more bit would have to be stored.
        found[0] = min(found[0], (1 << (self.fraction - 1)) - 1)
        return found

    def _fit(self, start, width):
        """Real coefficients of a segment (Decimal, constant first)."""
        return _interpolated(start, width, self.degree)


def _at(start, width, u):
    return centred_sigmoid(start + (1 + u) * width / 2)


def _interpolated(start, width, degree):
    """Coefficients of the polynomial through the Chebyshev nodes; of degree 0 the mean of the ends.

    The first segment's line goes through zero, as the best odd one; its nodes of higher degrees are those of an
    interval that begins 1/32 of a segment below zero, which halves the error there.
    """
    half = Decimal(1) / 2
    two = Decimal(2).sqrt()
    if start == 0 and degree == 1:
        slope = centred_sigmoid(width * Decimal(3).sqrt() / 2) / Decimal(3).sqrt()
        return [slope, slope]
    if start == 0 and degree > 1:
        return _moved(_interpolated(-width / 32, width + width / 32, degree))
    nodes = {0: (Decimal(1),), 1: (two / 2,), 2: (Decimal(3).sqrt() / 2,)}
    nodes[3] = ((2 - two).sqrt() / 2, (2 + two).sqrt() / 2)
    values = [(_at(start, width, node), _at(start, width, -node)) for node in nodes[degree]]
    even, odd = ([(a + sign * b) * half for a, b in values] for sign in (1, -1))
    if degree == 0:
        return even
    if degree == 3:
        a, b = nodes[3]
        square = (even[1] - even[0]) / (b * b - a * a)
        cube = (odd[1] / b - odd[0] / a) / (b * b - a * a)
        return [even[0] - square * a * a, odd[0] / a - cube * a * a, square, cube]
    slope = odd[0] / nodes[degree][0]
    if degree == 1:
        return [even[0], slope]
    centre = _at(start, width, Decimal(0))
    return [centre, slope, (even[0] - centre) / (nodes[2][0] * nodes[2][0])]


def _moved(coefficients):
    """A polynomial of an interval that begins 1/32 early, in the position u of the segment: there (32 u + 1) / 33."""
    scale, shift, found = Decimal(32) / 33, Decimal(1) / 33, [Decimal(0)]
    for value in reversed(coefficients):
        found = [a * shift + b * scale for a, b in zip([*found, Decimal(0)], [Decimal(0), *found], strict=True)]
        found[0] += value
    return found[: len(coefficients)]


@dataclass(frozen=True)
class PlainTable(SegmentActivation):
    """One constant for the magnitudes nearest to each multiple of a step, the middle of their range: no multiplier."""

    segments: int = 1024
    guard: int = 2

    degree: ClassVar[int] = 0
    front: ClassVar[int] = 1
    most: ClassVar[int] = 8192

    @classmethod
    def finest(cls, i_format: QFormat) -> int:
        """Most segments for an input format: one for each input."""
        return 1 << (RANGE_BITS + i_format.fraction)

    @property
    def bounds(self) -> tuple[tuple[Decimal, Decimal], ...]:
        step = Decimal(1 << RANGE_BITS) / self.segments
        width = step if self.position_bits else Decimal(0)
        return tuple((n * step - width / 2, width) for n in range(self.segments))

    def locate(self, magnitude: np.ndarray, tanh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bits = self.position_bits
        row = np.minimum((magnitude + (1 << bits >> 1)) >> bits, self.segments - 1)
        return row, np.zeros_like(row)


@dataclass(frozen=True)
class UniformLinear(SegmentActivation):
    """A line a segment, the interpolation at the Chebyshev nodes: one multiplier."""

    segments: int = 256

    degree: ClassVar[int] = 1


@dataclass(frozen=True)
class NonuniformLinear(SegmentActivation):
    """Lines in segments that grow with the magnitude: as many in each of [0, 1), [1, 2), [2, 4), [4, 8), [8, 16)."""

    segments: int = 32

    degree: ClassVar[int] = 1
    front: ClassVar[int] = 1
    least: ClassVar[int] = 2
    most: ClassVar[int] = 256

    @classmethod
    def finest(cls, i_format: QFormat) -> int:
        """Most segments of an octave for an input format: one for each input of the first."""
        return 1 << max(0, i_format.fraction)

    @property
    def position_bits(self) -> int:
        return RANGE_BITS - 1 + self.i_format.fraction - (self.segments.bit_length() - 1)

    @property
    def bounds(self) -> tuple[tuple[Decimal, Decimal], ...]:
        octaves = [(0, 1), *((1 << n, 1 << n) for n in range(RANGE_BITS))]
        return tuple(
            (start + n * (Decimal(size) / self.segments), Decimal(size) / self.segments)
            for start, size in octaves
            for n in range(self.segments)
        )

    def locate(self, magnitude: np.ndarray, tanh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Shifted until its leading one is where that of the last octave is; the first octave has none.
        octave = sum((magnitude >> (self.i_format.fraction + n) > 0).astype(np.int64) for n in range(RANGE_BITS))
        inside = (magnitude << (RANGE_BITS - np.maximum(octave, 1))) & ((1 << (self.magnitude_bits - 1)) - 1)
        bits = self.position_bits
        return octave * self.segments + (inside >> bits), (inside & ((1 << bits) - 1)) - (1 << bits >> 1)


@dataclass(frozen=True)
class UniformQuadratic(SegmentActivation):
    """A parabola a segment, the interpolation at the Chebyshev nodes: two multipliers."""

    segments: int = 128

    degree: ClassVar[int] = 2


@dataclass(frozen=True)
class UniformCubic(SegmentActivation):
    """A cubic a segment, the interpolation at the Chebyshev nodes: three multipliers, and the smallest table."""

    segments: int = 32

    degree: ClassVar[int] = 3


@dataclass(frozen=True)
class Taylor(SegmentActivation):
    """The Taylor polynomial about the middle of each segment, of an order from 1 to 3: a multiplier an order.

    Parameters
    ----------
    order : int
        Degree of the polynomial.
    """

    segments: int = 128
    order: int = 2

    def __post_init__(self):
        if type(self.order) is not int or self.order not in (1, 2, 3):
            raise ConfigError("order", self.order, "must be 1, 2 or 3")
        super().__post_init__()

    @property
    def degree(self) -> int:
        return self.order

    def _fit(self, start, width):
        half = width / 2
        p = _at(start, width, Decimal(0))
        # With s = P + 1/2: P' = s (1 - s) = 1/4 - P^2, and so on.
        first = Decimal(1) / 4 - p * p
        second, third = -2 * p * first, -2 * first * first + 4 * p * p * first
        return [p, first * half, second * half**2 / 2, third * half**3 / 6][: self.order + 1]


@dataclass(frozen=True)
class CatmullRom(SegmentActivation):
    """The Catmull-Rom spline through the values at the segments' ends: three multipliers."""

    segments: int = 64

    degree: ClassVar[int] = 3

    def _fit(self, start, width):
        y = [centred_sigmoid(start + n * width) for n in range(-1, 3)]
        slopes = ((y[2] - y[0]) / 4, (y[3] - y[1]) / 4)  # by u
        rise = (y[2] - y[1]) / 2
        cube = ((slopes[0] + slopes[1]) / 2 - rise) / 2
        square = (slopes[1] - slopes[0]) / 4
        return [(y[1] + y[2]) / 2 - square, rise - cube, square, cube]


@dataclass(frozen=True)
class LinesActivation(MagnitudeActivation):
    """A few lines with given corners, of sigmoid and of tanh; use one of the subclasses."""

    degree: ClassVar[int] = 1
    lines: ClassVar[tuple[tuple[tuple[Fraction, Fraction, Fraction], ...], ...]]
    """Of sigmoid and of tanh: (first v, slope, constant) of each line of P(v), the last one flat."""

    @property
    def magnitude_bits(self) -> int:
        last = max(start for lines in self.lines for start, _, _ in lines)
        return int(last).bit_length() + self.i_format.fraction

    @property
    def position_bits(self) -> int:
        return self.magnitude_bits + 1

    @property
    def position_fraction(self) -> int:
        return self.i_format.fraction

    @property
    def rows(self) -> tuple[tuple[Fraction, Fraction, Fraction], ...]:
        """The lines of both functions, those of sigmoid first; all rows of tanh's where it has the same."""
        sigmoid, tanh = self.lines
        return sigmoid if tanh is sigmoid else (*sigmoid, *tanh)

    def thresholds(self, tanh: bool) -> tuple[int, ...]:
        """Magnitudes from which on the second, third, ... line holds."""
        return tuple(-int(-start * 2**self.i_format.fraction // 1) for start, _, _ in self.lines[tanh][1:])

    def locate(self, magnitude: np.ndarray, tanh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = [sum((magnitude >= n).astype(np.int64) for n in self.thresholds(which)) for which in (False, True)]
        base = len(self.rows) - len(self.lines[1])
        return np.where(tanh, base + counts[1], counts[0]), magnitude

    @property
    def shifts_only(self) -> bool:
        """Whether all slopes are powers of two: the product is a choice of shifts."""
        return all(slope.numerator in (0, 1) and _is_power(slope.denominator) for _, slope, _ in self.rows)

    @property
    def multiplier_bits(self) -> tuple[int, ...]:
        return () if self.shifts_only else super().multiplier_bits

    @property
    def coefficient_fractions(self) -> tuple[int, ...]:
        return self.fraction, self._slopes[0]

    @property
    def fractions(self) -> tuple[int, ...]:
        return self._slopes[0] + self.position_fraction, self._slopes[0]

    @property
    def columns(self) -> tuple[tuple[int, ...], ...]:
        return tuple(int(constant * (1 << self.fraction)) for _, _, constant in self.rows), self._slopes[1]

    @cached_property
    def _slopes(self):
        """Fraction bits and integers of the slopes: as few bits as give every result as the exact line does."""
        least = max(5, self.fraction - self.position_fraction)
        for fraction in range(least, max(least, WIDEST_SLOPE) + 1):
            slopes = tuple(-int(-slope * 2**fraction // 1) for _, slope, _ in self.rows)
            if all(self._is_exact(n, fraction, slopes[n]) for n in range(len(slopes))):
                break
        return fraction, slopes

    def _is_exact(self, n, fraction, slope):
        """Whether a line with a slope of so many bits gives the rounded results of the exact one."""
        exact = self.rows[n][1]
        if exact * 2**fraction == slope:
            return True
        starts = self.thresholds(n >= len(self.lines[0]))
        line = n % len(self.lines[0])
        low, high = (0, *starts)[line], (*starts, 1 << self.magnitude_bits)[line]
        # Some of the values first, since few bits fail soon.
        return all(self._agrees(exact, fraction, slope, np.arange(low, high, step)) for step in (61, 1))

    def _agrees(self, exact, fraction, slope, v):
        """... at magnitudes v."""
        drop = fraction + self.position_fraction - self.o_format.fraction
        over = exact.denominator << max(0, self.position_fraction - self.o_format.fraction)
        wanted = v * (exact.numerator << max(0, self.o_format.fraction - self.position_fraction))
        whole, rest = wanted // over, wanted % over
        if self.o_format.rounding != "floor":
            up = 2 * rest > over if self.o_format.rounding == "half_even" else 2 * rest >= over
            tie = (2 * rest == over) & (whole & 1 == 1) & (self.o_format.rounding == "half_even")
            whole = whole + (up | tie)
        return bool(np.array_equal(shift_round(v * slope, drop, self.o_format.rounding), whole))


def _hard(divisor):
    zero, half = Fraction(0), Fraction(1, 2)
    sigmoid = ((zero, Fraction(1, divisor), zero), (Fraction(divisor, 2), zero, half))
    tanh = ((zero, Fraction(1, 4), zero), (Fraction(2), zero, half))
    return sigmoid, tanh


class Hard5(LinesActivation):
    """Keras 2's hard sigmoid, x/5 + 1/2 held between 0 and 1, and the hard tanh, x held between -1 and 1."""

    lines = _hard(5)


class Hard6(LinesActivation):
    """The hard sigmoid of Keras 3 and torch, x/6 + 1/2 held between 0 and 1, and the hard tanh."""

    lines = _hard(6)


_PLAN = tuple(
    (Fraction(start), Fraction(1, over) if over else Fraction(0), Fraction(constant))
    for start, over, constant in (("0", 4, "0"), ("1", 8, "1/8"), ("19/8", 32, "11/32"), ("5", 0, "1/2"))
)


class Plan(LinesActivation):
    """PLAN (Amin, Curtis and Hayes-Gill, 1997): four lines whose slopes are powers of two, tanh = 2 sigmoid(2x) - 1.

    As published it falls by 1/256 at 2.375, where its lines do not meet: it rises everywhere else.
    """

    lines = (_PLAN, _PLAN)


def _is_power(number):
    return number & (number - 1) == 0


def _stored_bits(column):
    """Bits that a table stores of each entry: none of those that are zero in all of them, at the low end."""
    common = int(np.bitwise_or.reduce(np.abs(np.array(column, dtype=np.int64))))
    zeros = (common & -common).bit_length() - 1 if common else 0
    return column_bits([value >> zeros for value in column])
