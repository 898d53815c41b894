"""Fixed-point number formats.

``Qm.n`` is a signed two's complement number with ``m`` integer bits, ``n`` fraction bits and one
sign bit (width ``1+m+n``), ``UQm.n`` is the unsigned counterpart (width ``m+n``). A stored integer
``q`` stands for ``q * 2**-n``. Rounding and overflow are part of a format, so every place that
rounds says how: ``Q3.12`` rounds half up and saturates, ``Q3.12/floor/wrap`` truncates and wraps.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FormatError, InputError

ROUNDINGS = ("half_up", "half_even", "floor")
OVERFLOWS = ("saturate", "wrap")
_PATTERN = re.compile(r"(U?)Q(-?\d{1,3})\.(-?\d{1,3})(?:/(\w+))?(?:/(\w+))?")


def shift_round(values: np.ndarray, shift: int | np.ndarray, rounding: str = "half_up") -> np.ndarray:
    """Divide exact integers by ``2**shift`` and round.

    Parameters
    ----------
    values : int array
    shift : int or int array
        Bits to drop, of all values or of each; a negative shift multiplies and is exact.
    rounding : str
        ``half_up`` is floor(v + 1/2), ``half_even`` rounds ties to even, ``floor`` truncates.

    Returns
    -------
    int64 array
    """
    values = np.asarray(values, dtype=np.int64)
    if np.ndim(shift):
        values, shift = values << np.maximum(-shift, 0), np.maximum(shift, 0)
        half = np.left_shift(1, np.maximum(shift - 1, 0)) * (shift > 0)
        if rounding == "floor":
            half = 0
        elif rounding == "half_even":
            half = np.where(shift > 0, half - 1 + (values >> shift & 1), 0)
        return (values + half) >> shift
    if shift <= 0:
        return values << -shift
    if rounding == "floor":
        return values >> shift
    half = np.int64(1) << (shift - 1)
    if rounding == "half_even":
        half = half - 1 + ((values >> shift) & 1)
    return (values + half) >> shift


@dataclass(frozen=True)
class QFormat:
    """A fixed-point format.

    Parameters
    ----------
    integer, fraction : int
        Bits left and right of the binary point, the sign excluded. Either may be negative as long
        as the width is between 1 and 63.
    signed : bool
        Two's complement with one more bit for the sign.
    rounding : str
        One of ``half_up``, ``half_even``, ``floor``.
    overflow : str
        ``saturate`` or ``wrap``.

    Raises
    ------
    FormatError
        Width out of range, unknown rounding or overflow.
    """

    integer: int
    fraction: int
    signed: bool = True
    rounding: str = "half_up"
    overflow: str = "saturate"

    def __post_init__(self):
        if not 1 <= self.width <= 63:
            raise FormatError(self, f"width {self.width}", "must be between 1 and 63 bits")
        if self.rounding not in ROUNDINGS:
            raise FormatError("rounding", repr(self.rounding), f"must be one of {ROUNDINGS}")
        if self.overflow not in OVERFLOWS:
            raise FormatError("overflow", repr(self.overflow), f"must be one of {OVERFLOWS}")

    @classmethod
    def parse(cls, text: str) -> "QFormat":
        """Read ``Qm.n`` or ``UQm.n``, with ``/rounding`` and ``/overflow`` when not the defaults."""
        match = _PATTERN.fullmatch(str(text).strip())
        if match is None:
            raise FormatError("format", repr(text), "must look like Q3.12, UQ0.16 or Q3.12/floor/wrap")
        unsigned, integer, fraction, rounding, overflow = match.groups()
        if overflow is None and rounding in OVERFLOWS:
            rounding, overflow = None, rounding
        return cls(int(integer), int(fraction), not unsigned, rounding or "half_up", overflow or "saturate")

    @classmethod
    def fitting(cls, peak: float, width: int, **kwargs: Any) -> "QFormat":
        """The signed format of ``width`` bits with the most fraction bits that still holds ``±peak``.

        Raises FormatError when ``peak`` is not finite.
        """
        if not np.isfinite(peak):
            raise FormatError("format", f"peak {peak}", "must be finite")
        integer = -width
        while integer < width and peak > (2.0 ** (width - 1) - 1) * 2.0 ** (integer - (width - 1)):
            integer += 1
        return cls(integer, width - 1 - integer, **kwargs)

    @property
    def width(self) -> int:
        return int(self.signed) + self.integer + self.fraction

    @property
    def lowest(self) -> int:
        """Smallest stored integer."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest stored integer."""
        return (1 << (self.width - self.signed)) - 1

    @property
    def lsb(self) -> float:
        """Value of one step."""
        return 2.0**-self.fraction

    def bound(self, integers: np.ndarray) -> np.ndarray:
        """Exact integers of this format's fraction to stored ones: what is beyond the range saturates or wraps."""
        if self.overflow == "saturate":
            return np.clip(integers, self.lowest, self.highest)
        wrapped = integers & ((1 << self.width) - 1)
        return np.where(wrapped > self.highest, wrapped - (1 << self.width), wrapped) if self.signed else wrapped

    def _rounded(self, values):
        scaled = np.asarray(values, dtype=np.float64) * 2.0**self.fraction
        if self.rounding == "half_up":
            return np.floor(scaled + 0.5)
        return np.rint(scaled) if self.rounding == "half_even" else np.floor(scaled)

    def quantize(self, values: np.ndarray | float) -> np.ndarray:
        """Real numbers to stored integers (int64), rounded and bounded as the format says."""
        rounded = self._rounded(values)
        if not np.all(np.isfinite(rounded)):
            raise FormatError(self, "NaN or infinity", "values must be finite")
        limit = 2.0**62
        return self.bound(np.clip(rounded, -limit, limit).astype(np.int64))

    def to_float(self, integers: np.ndarray | int) -> np.ndarray:
        """Stored integers to real numbers (float64)."""
        return np.asarray(integers, dtype=np.float64) * self.lsb

    def requantize(self, integers: np.ndarray, fraction: int | np.ndarray) -> np.ndarray:
        """Exact integers with ``fraction`` fraction bits, all or each, to stored integers of this format."""
        return self.bound(shift_round(integers, fraction - self.fraction, self.rounding))

    def holds(self, values: np.ndarray | float) -> bool:
        """Whether rounding keeps every value inside the range (no saturation)."""
        return self.count_clipped(values) == 0

    def count_clipped(self, values: np.ndarray | float) -> int:
        """How many real numbers are rounded to what is outside the range, or are NaN."""
        rounded = self._rounded(values)
        return int(np.count_nonzero(~((rounded >= self.lowest) & (rounded <= self.highest))))

    def count_beyond(self, integers: np.ndarray) -> int:
        """How many integers of this format's fraction are outside its range."""
        if integers.min() >= self.lowest and integers.max() <= self.highest:  # the usual case takes less time so
            return 0
        return int(np.count_nonzero(integers < self.lowest)) + int(np.count_nonzero(integers > self.highest))

    def __str__(self):
        text = f"{'' if self.signed else 'U'}Q{self.integer}.{self.fraction}"
        if (self.rounding, self.overflow) != ("half_up", "saturate"):
            text += f"/{self.rounding}/{self.overflow}"
        return text


def array_of(x: np.typing.ArrayLike) -> np.ndarray:
    """x as an array; InputError if its rows have unlike lengths."""
    try:
        return np.asarray(x)
    except ValueError as error:
        raise InputError("x", str(error), "must be an array") from error


@dataclass(frozen=True)
class InputCode:
    """How real inputs become the integers that the hardware takes.

    Parameters
    ----------
    format : QFormat
    size : int
        Lx.
    exponents : tuple of int
        For each input the power of two that it is multiplied by first. Empty: by one, all of them.
    """

    format: QFormat
    size: int
    exponents: tuple[int, ...] = ()

    def scaled(self, x: np.ndarray) -> np.ndarray:
        """Real inputs (..., Lx) times their powers of two: what the format holds."""
        return x * np.exp2(self.exponents) if self.exponents else x

    def beyond(self, x: np.ndarray, inputs: int) -> str:
        """How many of real inputs (..., Lx), the first so many of which are the network's, are beyond the format, in
        words; nothing if none is."""
        values = self.scaled(x)[..., :inputs]
        count = self.format.count_clipped(values)
        what = f"{count} of {values.size} inputs are beyond {self.format}, the format of x: outputs may be wrong"
        return what if count else ""

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Real inputs (..., Lx) to stored integers (int64, saturated).

        Raises
        ------
        InputError
            The last dimension is not Lx, or a value is not a finite real number.
        """
        x = array_of(x)
        if x.dtype.kind not in "iuf":
            raise InputError("x", f"dtype {x.dtype}", "must be real numbers")
        if x.ndim == 0 or x.shape[-1] != self.size:
            raise InputError("x", f"shape {x.shape}", f"must end with {self.size}")
        if not np.all(np.isfinite(x)):
            raise InputError("x", "NaN or infinity", "must be finite")
        return self.format.quantize(self.scaled(x))
