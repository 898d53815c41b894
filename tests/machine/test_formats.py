"""Number formats against exact fractions: rounding, ties, saturation, wrapping, texts."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lstm_hw.errors import FormatError
from lstm_hw.machine.formats import OVERFLOWS, ROUNDINGS, QFormat, shift_round


def rounded(value, rounding):
    """A fraction to an integer, by definition."""
    if rounding == "floor":
        return math.floor(value)
    if rounding == "half_up":
        return math.floor(value + Fraction(1, 2))
    return round(value)  # Python rounds ties of fractions to even


def bounded(value, number_format):
    """An integer into the range of a format, by definition."""
    low, high = number_format.lowest, number_format.highest
    if number_format.overflow == "saturate":
        return max(low, min(high, value))
    return (value - low) % (high - low + 1) + low


@st.composite
def formats(draw, widest=32):
    signed = draw(st.booleans())
    fraction = draw(st.integers(-8, 30))
    width = draw(st.integers(1, widest))
    return QFormat(
        width - signed - fraction, fraction, signed, draw(st.sampled_from(ROUNDINGS)), draw(st.sampled_from(OVERFLOWS))
    )


@given(formats(), st.lists(st.integers(-1 << 40, 1 << 40), min_size=1), st.integers(0, 40))
def test_requantize(number_format, integers, fraction):
    """Against exact fractions. Left shifts stay below 2**62, the range of the integers behind it."""
    assume(number_format.fraction - fraction <= 20)
    step = Fraction(2) ** (number_format.fraction - fraction)
    expected = [bounded(rounded(v * step, number_format.rounding), number_format) for v in integers]
    assert number_format.requantize(integers, fraction).tolist() == expected


@given(formats(), st.lists(st.tuples(st.integers(-1 << 40, 1 << 40), st.integers(0, 40)), min_size=1))
def test_requantize_each_from_a_fraction_of_its_own(number_format, values):
    integers, fractions = map(np.array, zip(*values, strict=True))
    assume(number_format.fraction - fractions.min() <= 20)
    expected = [int(number_format.requantize(value, int(fraction))) for value, fraction in values]
    assert number_format.requantize(integers, fractions).tolist() == expected


@given(formats(), st.integers(-1 << 20, 1 << 20), st.integers(1, 20))
def test_ties(number_format, integer, drop):
    """Halves exactly: up, to even, or down."""
    value = (2 * integer + 1) << drop - 1
    up = {"half_up": 1, "half_even": integer & 1, "floor": 0}[number_format.rounding]
    assert shift_round(value, drop, number_format.rounding) == integer + up
    expected = bounded(integer + up, number_format)
    assert number_format.requantize(value, number_format.fraction + drop) == expected


@given(formats(widest=24), st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_quantize(number_format, values):
    """Real numbers, exactly: every float is a fraction."""
    exact = [Fraction(v) * Fraction(2) ** number_format.fraction for v in values]
    # floor(v + 1/2) in floats is off by one unit where v + 1/2 is not a float; those are no ties.
    assume(all(abs(v) < 1 << 40 and v.denominator <= 1 << 10 or number_format.rounding == "floor" for v in exact))
    assert number_format.quantize(values).tolist() == [
        bounded(rounded(v, number_format.rounding), number_format) for v in exact
    ]


@given(formats())
def test_range_and_step(number_format):
    count = number_format.highest - number_format.lowest + 1
    assert count == 1 << number_format.width
    assert number_format.lowest == (-count // 2 if number_format.signed else 0)
    ends = [number_format.lowest, number_format.highest]
    assert number_format.quantize(number_format.to_float(ends)).tolist() == ends
    assert number_format.to_float(1) == number_format.lsb == 2.0**-number_format.fraction


@given(formats())
def test_text_round_trip(number_format):
    assert QFormat.parse(str(number_format)) == number_format
    assert QFormat.parse(f"  {number_format} ") == number_format


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Q3.12", QFormat(3, 12)),
        ("UQ0.16", QFormat(0, 16, False)),
        ("Q-2.17", QFormat(-2, 17)),
        ("Q19.-4", QFormat(19, -4)),
        ("Q3.12/floor", QFormat(3, 12, rounding="floor")),
        ("Q3.12/wrap", QFormat(3, 12, overflow="wrap")),
        ("Q3.12/half_even/wrap", QFormat(3, 12, True, "half_even", "wrap")),
    ],
)
def test_parse(text, expected):
    assert QFormat.parse(text) == expected


@pytest.mark.parametrize("text", ["", "3.12", "Q3", "Q3.", "Q3,12", "SQ3.12", "Q3.12/", "Q3.12/up/down/left"])
def test_malformed_texts(text):
    with pytest.raises(FormatError, match="must look like Q3.12"):
        QFormat.parse(text)


@pytest.mark.parametrize(
    "text, message",
    [
        ("Q3.12/nearest", "rounding: 'nearest'; must be one of"),
        ("Q3.12/floor/clip", "overflow: 'clip'; must be one of"),
        ("Q3.12/wrap/floor", "rounding: 'wrap'; must be one of"),
        ("UQ0.0", "width 0; must be between 1 and 63"),
        ("Q40.23", "width 64; must be between 1 and 63"),
    ],
)
def test_formats_that_are_not_allowed(text, message):
    with pytest.raises(FormatError, match=message):
        QFormat.parse(text)


@given(st.floats(1e-6, 1e6), st.integers(2, 32))
def test_fitting_is_the_finest_that_holds_the_peak(peak, width):
    assume(peak < 1 << width - 1)
    number_format = QFormat.fitting(peak, width)
    assert number_format.width == width
    assert peak <= number_format.highest * Fraction(2) ** -number_format.fraction
    finer = Fraction(number_format.highest) * Fraction(2) ** -(number_format.fraction + 1)
    assert number_format.integer == -width or peak > finer


def test_values_that_are_not_finite():
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(FormatError, match="must be finite"):
            QFormat.fitting(value, 16)
        with pytest.raises(FormatError, match="NaN or infinity; values must be finite"):
            QFormat(3, 12).quantize([0.0, value])


@given(formats(widest=20), st.integers(-1 << 22, 1 << 22))
def test_holds_means_no_saturation(number_format, eighths):
    value = Fraction(eighths, 8)
    number_format = replace(number_format, rounding="half_up")
    inside = number_format.lowest <= rounded(value, "half_up") <= number_format.highest
    assert number_format.holds(float(value) * number_format.lsb) == inside
