"""What every activation unit is: sigmoid and tanh of one format in another, bit-true, at a declared latency.

An object stands for one approximation with its formats. ``compute()`` is the bit-true reference on numpy integers; the
component of the same approximation in ``lstm_hw.gateware`` gives the same bits.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from functools import cached_property

import numpy as np

from ..errors import FormatError, InputError
from .formats import QFormat

DEFAULT_INPUT, DEFAULT_OUTPUT = QFormat(3, 12), QFormat(0, 15)

RANGE_BITS = 4
"""Tables cover ``[0, 2**RANGE_BITS)``; beyond it sigmoid is 1 to within 2**-23."""

INPUT_WIDTHS, OUTPUT_WIDTHS = range(8, 21), range(8, 19)
"""Supported widths of the input and output formats, bits (18 is the narrow port of a DSP block)."""

LOGIC_ROWS = 256
"""Most rows of a table that is LUTs whatever a tool thinks: they are faster than block RAM into the multiplier."""

PRECISE = Context(prec=40, rounding=ROUND_HALF_EVEN, Emin=-999, Emax=999, traps=[], clamp=0)
"""Tables are computed in decimals, correctly rounded everywhere: they do not depend on a platform's libm."""


@dataclass(frozen=True)
class ActivationUnit(abc.ABC):
    """Sigmoid and tanh in integers.

    Parameters
    ----------
    i_format, o_format : QFormat
        Signed, the input of 8 to 20 bits, the output of 8 to 18, at least zero integer bits; the output saturates and
        has at least four fraction bits.

    Raises
    ------
    FormatError
        A format is outside these limits.
    """

    i_format: QFormat = DEFAULT_INPUT
    o_format: QFormat = DEFAULT_OUTPUT

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

    @property
    @abc.abstractmethod
    def latency(self) -> int:
        """Clock cycles from input to output of the component."""

    @property
    @abc.abstractmethod
    def multiplier_bits(self) -> tuple[int, ...]:
        """Of each multiplier of the component, the bits of its wider signed operand."""

    @property
    @abc.abstractmethod
    def tables(self) -> tuple[tuple[int, int], ...]:
        """Bits of a word and words of each table."""

    @property
    def multipliers(self) -> int:
        """Multipliers of the component."""
        return len(self.multiplier_bits)

    @property
    def table_bits(self) -> int:
        """Stored bits of all tables."""
        return sum(width * depth for width, depth in self.tables)

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

    @property
    def inputs(self) -> np.ndarray:
        """All inputs there are, from the lowest on (int64)."""
        return np.arange(self.i_format.lowest, self.i_format.highest + 1)

    @cached_property
    def results(self) -> np.ndarray:
        """All values there are: int64 array (2, 2**width of the input), of sigmoid and of tanh, from the lowest on."""
        x = self.inputs
        return np.stack([self._evaluate(x, np.full(x.shape, tanh)) for tanh in (False, True)])

    def results_for(self, number_format: QFormat) -> np.ndarray:
        """``results`` for the values of a format that has no more integer or fraction bits than ``i_format``: int64
        array (2, 2**width of the format), from the lowest on."""
        lift = self.i_format.fraction - number_format.fraction
        if (lift, number_format.width) == (0, self.i_format.width):
            return self.results
        x = np.arange(number_format.lowest, number_format.highest + 1) << lift
        return self.results[:, x - self.i_format.lowest]

    @abc.abstractmethod
    def _evaluate(self, x, tanh):
        """The approximation, step by step as the component does."""

    def errors(self, tanh: bool) -> np.ndarray:
        """Error for every input, in LSB of the output, against the real-valued function (float64).

        A clipped +1.0 is not excused: with no integer bits in the output, tanh cannot be better than just under one
        LSB.
        """
        real = self.i_format.to_float(self.inputs)
        exact = np.tanh(real) if tanh else 1 / (1 + np.exp(-real))
        return self.results[int(tanh)] - exact / self.o_format.lsb

    def max_error(self, tanh: bool) -> float:
        """Largest magnitude of :meth:`errors`."""
        return float(np.max(np.abs(self.errors(tanh))))

    def mean_error(self, tanh: bool) -> float:
        """Mean magnitude of :meth:`errors`, all inputs alike."""
        return float(np.mean(np.abs(self.errors(tanh))))


def column_bits(column: Sequence[int]) -> int:
    """Bits that store a column of integers: unsigned if none is negative, else two's complement."""
    low, high = min(column), max(column)
    if low >= 0:
        return max(1, high.bit_length())
    return 1 + max((~low).bit_length(), high.bit_length() if high >= 0 else 0)


def nearest(value: Decimal) -> int:
    """Nearest integer of a decimal, ties up."""
    return int((value + Decimal(1) / 2).to_integral_value(ROUND_FLOOR))


def centred_sigmoid(v: Decimal) -> Decimal:
    """``sigmoid(v) - 1/2``, the odd function that all tables hold."""
    return 1 / (1 + (-v).exp()) - Decimal(1) / 2
