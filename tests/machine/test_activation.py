"""The integer activations against the real functions, over every input."""

import hashlib
import json
import math
from decimal import localcontext
from fractions import Fraction

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, InputError
from lstm_hw.machine.activation import METHODS, NAMES, SHARED, make_activation
from lstm_hw.machine.activation_unit import column_bits
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.shared_activation import LinearActivation, QuadraticActivation

Q3_12 = QFormat(3, 12)
ALL = np.arange(-32768, 32768)

# sigmoid and tanh error bound in LSB, table bits: as documented on the classes.
DOCUMENTED = [
    (QuadraticActivation(segments=64), 0.857, 1.201, 2880),
    (QuadraticActivation(segments=128), 0.556, 0.993, 5376),
    (LinearActivation(segments=64), 12.76, 25.02, 2176),
    (LinearActivation(segments=256), 1.285, 2.032, 8192),
    (make_activation("hard5"), 2485.722, 7812.084, 72),
    (make_activation("hard6"), 2267.295, 7812.084, 72),
    (make_activation("plan"), 620.673, 1241.346, 36),
    (make_activation("table"), 64.434, 128.48, 16384),
    (make_activation("table(segments=8192)"), 8.581, 16.676, 131072),
    (make_activation("linear"), 1.255, 2.032, 8192),
    (make_activation("nonuniform"), 1.118, 1.695, 5120),
    (make_activation("quadratic(segments=64)"), 0.857, 1.201, 2880),
    (make_activation("quadratic"), 0.556, 0.993, 5376),
    (make_activation("cubic"), 0.597, 0.993, 1856),
    (make_activation("taylor"), 0.662, 0.993, 5376),
    (make_activation("taylor(segments=64, order=3)"), 0.547, 0.993, 3328),
    (make_activation("catmull_rom"), 1.547, 2.554, 3392),
]
DIGESTS = {
    "quadratic64": "d52fbf4d0d59bcd80fd1f37b7c7aa7739d2df274f651ce3adbb5d027f5a78ae5",
    "quadratic128": "9b02e4a2916bac9afaf0eccbeec0bf5f01bb7b354186da9161534c99f9dd4597",
    "pwl": "e35c7574e15595ff699a6997d692dff9af5338fbca2af52065c0be4fb3b983f3",
}


def real(tanh, formatted=Q3_12, integers=ALL):
    x = formatted.to_float(integers)
    return np.tanh(x) if tanh else 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("activation, sigmoid_bound, tanh_bound, bits", DOCUMENTED)
def test_documented_errors_hold_for_every_input(activation, sigmoid_bound, tanh_bound, bits):
    for tanh, bound in ((False, sigmoid_bound), (True, tanh_bound)):
        error = np.abs(activation.compute(ALL, tanh) - real(tanh) * 2**15).max()
        assert error == activation.max_error(tanh)
        assert bound - 0.007 < error <= bound
    assert activation.table_bits == bits


def test_quadratic_is_no_worse_than_the_published_tables():
    # 64 segments: 0.889 and 1.264 LSB in 2944 bits; 128 segments: 0.560 and 0.993 LSB in 6272 bits.
    for segments, sigmoid_bound, tanh_bound, bits in ((64, 0.889, 1.264, 2944), (128, 0.560, 0.993, 6272)):
        activation = QuadraticActivation(segments=segments)
        assert activation.max_error(False) <= min(1.0, sigmoid_bound)
        assert activation.max_error(True) <= min(1.5, tanh_bound)
        assert activation.table_bits <= bits


@pytest.mark.parametrize("name", SHARED)
def test_shape_of_the_functions(name):
    activation = make_activation(name)
    sigmoid, tanh = activation.compute(ALL, False), activation.compute(ALL, True)
    assert sigmoid.dtype == tanh.dtype == np.int64
    assert activation.compute(0, True) == 0 and activation.compute(0, False) == 1 << 14
    assert (tanh.min(), tanh.max()) == (-32768, 32767)
    assert sigmoid.min() >= 0 and sigmoid.max() < 32768
    # A step down between neighbours is never more than rounding.
    assert np.diff(sigmoid).min() >= -1 and np.diff(tanh).min() >= -1
    # Odd symmetry to one code: half up treats the two signs differently.
    assert np.abs(tanh[1:] + tanh[1:][::-1]).max() <= 1
    assert np.abs(sigmoid[1:] + sigmoid[1:][::-1] - 32768).max() <= 1


def opposite(activation):
    """Whether results of x and -x are opposite wherever neither is at the end of the format."""
    lowest, highest = activation.i_format.lowest, activation.o_format.highest
    for which, values in enumerate(activation.results):
        below, above = values[1:-lowest][::-1], values[1 - lowest :]
        one = 0 if which else 1 << activation.o_format.fraction
        if not np.all((below + above == one) | (above == highest)) or values[-lowest] != one // 2:
            return False
    return True


FAITHFUL = [name for name in METHODS if name != "plan"]
SHAPED = ["quadratic(segments=64)", "quadratic(segments=16)", "cubic(segments=16)", "linear(segments=16)"]
SHAPED += ["taylor(segments=16, order=3)"]
SHAPED += ["taylor(segments=64, order=1)", "catmull_rom(segments=16)", "nonuniform(segments=2)", "hard6/quadratic"]


@pytest.mark.parametrize("name", [*FAITHFUL, *SHAPED])
def test_magnitudes_rise_and_are_opposite(name):
    activation = make_activation(name)
    assert np.diff(activation.results).min() >= 0
    assert opposite(activation)


@pytest.mark.parametrize("i_text", ["Q3.4", "Q0.17", "Q3.14", "Q6.1", "Q7.10"])
@pytest.mark.parametrize("o_text", ["Q0.7", "Q0.17", "Q2.9/half_even/saturate", "Q0.15/floor/saturate"])
def test_magnitudes_rise_in_every_format(i_text, o_text):
    for name in [*FAITHFUL[:2], *FAITHFUL[3:]]:  # the table takes longest, and its rows are constants
        activation = make_activation(name, QFormat.parse(i_text), QFormat.parse(o_text))
        assert np.diff(activation.results).min() >= 0, name
        assert opposite(activation), name


def test_plan_falls_where_its_lines_do_not_meet():
    sigmoid, tanh = make_activation("plan").results
    assert ALL[1:][np.diff(sigmoid) < 0].tolist() == [1 - 9728, 9728]
    assert ALL[1:][np.diff(tanh) < 0].tolist() == [1 - 4864, 4864]
    assert opposite(make_activation("plan"))


@pytest.mark.parametrize("divisor", [5, 6])
@pytest.mark.parametrize("i_text, o_text", [("Q3.12", "Q0.15"), ("Q3.16", "Q0.17"), ("Q4.11", "Q0.15/floor/saturate")])
def test_hard_functions_are_rounded_exactly(divisor, i_text, o_text):
    i_format, o_format = QFormat.parse(i_text), QFormat.parse(o_text)
    activation = make_activation(f"hard{divisor}", i_format, o_format)
    x = np.random.default_rng(divisor).integers(i_format.lowest, i_format.highest, 400)
    half, one = Fraction(1, 2), 1 << o_format.fraction
    round_half = 0 if o_format.rounding == "floor" else half
    for q, sigmoid, tanh in zip(x.tolist(), activation.compute(x, False), activation.compute(x, True), strict=True):
        value = Fraction(q, 1 << i_format.fraction)
        hard = [min(half, abs(value) / divisor), min(Fraction(1), abs(value))]
        hard = [int(math.copysign(1, q)) * math.floor(part * one + round_half) for part in hard]
        assert sigmoid == min(one // 2 + hard[0], o_format.highest)
        assert tanh == max(o_format.lowest, min(hard[1], o_format.highest))


def test_plan_is_the_published_one():
    # Amin, Curtis and Hayes-Gill, 1997: table of the lines.
    def published(x):
        v = abs(x)
        y = 1 if v >= 5 else 0.03125 * v + 0.84375 if v >= 2.375 else 0.125 * v + 0.625 if v >= 1 else 0.25 * v + 0.5
        return y if x >= 0 else 1 - y

    x = np.arange(-8, 8, 1 / 32)
    wanted = np.array([published(value) for value in x])
    found = Q3_12.quantize(x)
    assert np.array_equal(make_activation("plan").compute(found, False), np.minimum(wanted * 2**15, 32767))
    doubled = np.array([2 * published(2 * value) - 1 for value in x])
    assert np.array_equal(make_activation("plan").compute(found, True), np.minimum(doubled * 2**15, 32767))


def test_a_plain_table_may_have_a_row_for_every_input():
    activation = make_activation("table(segments=4096)", QFormat(3, 8), QFormat(0, 8))
    x = np.arange(-2048, 2048)
    for tanh in (False, True):
        exact = np.abs(real(tanh, QFormat(3, 8), x) - (0 if tanh else 0.5)) * 256
        wanted = np.sign(x) * np.floor(exact + 0.5) + (0 if tanh else 128)
        # The table's own two bits round first.
        assert np.abs(activation.compute(x, tanh) - np.minimum(wanted, 255)).max() <= 1
        assert activation.max_error(tanh) < 1.001 if tanh else 0.64


def test_spline_passes_through_the_values_at_the_ends_of_segments():
    activation = make_activation("catmull_rom")
    v = np.arange(1, 64) * 1024
    assert np.abs(activation.compute(v[:31], False) - real(False, integers=v[:31]) * 2**15).max() < 0.6


def test_taylor_of_a_higher_order_is_nearer():
    errors = [make_activation(f"taylor(segments=64, order={order})").max_error(True) for order in (1, 2, 3)]
    assert errors[0] > 5 * errors[1] > 5 * errors[2]


def test_two_units_side_by_side():
    pair, hard, fine = (make_activation(name) for name in ("hard5/quadratic", "hard5", "quadratic"))
    assert np.array_equal(pair.results, [hard.results[0], fine.results[1]])
    assert (pair.latency, pair.multipliers) == (6, 3)
    assert pair.table_bits == hard.table_bits + fine.table_bits


def test_default_segments_follow_a_coarse_input():
    coarse = make_activation("quadratic", QFormat(6, 1))
    assert coarse.segments == 16 and coarse.position_bits == 1
    assert make_activation("nonuniform", QFormat(9, 2)).segments == 4


def test_errors_have_no_bias():
    # A bias would add up in the cell state; truncation would give -0.5 here.
    for segments in (64, 128):
        activation = QuadraticActivation(segments=segments)
        for tanh in (False, True):
            core = np.abs(ALL) < 3 * 4096  # beyond, tanh leans on the clipped +1.0
            assert abs(np.mean((activation.compute(ALL, tanh) - real(tanh) * 2**15)[core])) < 0.05


def test_tanh_broadcasts():
    activation = make_activation("quadratic64")
    x = np.arange(-1000, 1000, 7).reshape(-1, 2)
    which = np.array([True, False])
    mixed = activation.compute(x, which)
    assert mixed.shape == x.shape
    assert np.array_equal(mixed[:, 0], activation.compute(x[:, 0], True))
    assert np.array_equal(mixed[:, 1], activation.compute(x[:, 1], False))
    assert activation.compute(np.zeros(0, dtype=np.int64), True).shape == (0,)


@pytest.mark.parametrize("name", [*DIGESTS])
def test_tables_are_pinned(name):
    with localcontext() as context:
        context.prec = 5  # the caller's decimal context must not matter
        unit = make_activation(name)
        table = unit.coefficients if name in SHARED else unit.columns
    assert hashlib.sha256(json.dumps(table).encode()).hexdigest() == DIGESTS[name]


@pytest.mark.parametrize("i_text", ["Q3.4", "Q0.7", "Q0.17", "Q3.14", "Q3.16", "Q5.12", "Q7.10"])
@pytest.mark.parametrize("o_text", ["Q0.7", "Q0.17", "Q1.14", "Q2.9/half_even/saturate", "Q0.15/floor/saturate"])
def test_other_formats(i_text, o_text):
    i_format, o_format = QFormat.parse(i_text), QFormat.parse(o_text)
    floor = 0.5 if o_format.rounding == "floor" else 0
    activation = make_activation("quadratic128", i_format, o_format)
    # 0.5 to round, 0.05 LSB at 15 fraction bits (four times that at 17) to approximate, 1 where +1.0 clips.
    assert activation.max_error(False) <= 1.0 + floor
    assert activation.max_error(True) <= 1.1 + floor
    assert activation.compute(0, True) in ((-1, 0) if floor else (0,))


@pytest.mark.parametrize("rounding", ["half_up", "half_even", "floor"])
def test_rounding_is_the_output_formats(rounding):
    wide = QuadraticActivation(Q3_12, QFormat(0, 17), guard=3)
    narrow = QuadraticActivation(Q3_12, QFormat(0, 15, rounding=rounding), guard=5)
    # The same table (20 fraction bits), so the only difference is where the last bits go.
    assert wide.coefficients == narrow.coefficients
    bias = np.mean(narrow.compute(ALL, False) - wide.compute(ALL, False) / 4)
    assert abs(bias - (-0.5 if rounding == "floor" else 0)) < 0.02


def test_column_bits():
    assert [column_bits(c) for c in ([0], [1], [255, 0], [256], [-1], [-128, 127], [-129], [-1, 128])] == [
        1, 1, 8, 9, 1, 8, 9, 9]  # fmt: skip


def test_errors():
    with pytest.raises(ConfigError) as error:
        make_activation("spline")
    assert str(error.value) == f"activation: 'spline'; must be one of {', '.join(NAMES)}"
    with pytest.raises(FormatError, match="activation input: Q3.3; must be signed, 8 to 20 bits, with no negative"):
        make_activation("pwl", QFormat(3, 3))
    with pytest.raises(FormatError, match="activation input: UQ4.12; must be signed"):
        make_activation("pwl", QFormat(4, 12, signed=False))
    with pytest.raises(FormatError, match="activation input: Q-1.12; must be signed"):
        make_activation("pwl", QFormat(-1, 12))
    with pytest.raises(FormatError, match="activation output: Q2.16; must be signed, 8 to 18 bits"):
        make_activation("pwl", Q3_12, QFormat(2, 16))
    with pytest.raises(FormatError, match="activation output: Q0.15/half_up/wrap; must saturate"):
        make_activation("pwl", Q3_12, QFormat(0, 15, overflow="wrap"))
    with pytest.raises(FormatError, match="activation output: Q8.3; must have at least 4 fraction bits"):
        make_activation("pwl", Q3_12, QFormat(8, 3))
    with pytest.raises(FormatError, match="activation input: Q9.2; must have at least 3 fraction bits for 64 segments"):
        make_activation("quadratic64", QFormat(9, 2))
    with pytest.raises(ConfigError, match="segments: 48; must be a power of two from 16 to 1024"):
        QuadraticActivation(segments=48)
    with pytest.raises(ConfigError, match="guard: 1; must be from 2 to 6 bits"):
        QuadraticActivation(guard=1)
    with pytest.raises(InputError, match="activation input: 0 to 32768; must fit Q3.12, -32768 to 32767"):
        make_activation("pwl").compute([0, 32768], True)


@pytest.mark.parametrize("text, message", [
    ("quadratic(", "activation: 'quadratic('; must be one of quadratic64"),
    ("hard5/plan/plan", "activation: 'hard5/plan/plan'; must be one unit, or sigmoid's and tanh's as hard5/quadratic"),
    ("hard5/", "activation: ''; must be one of quadratic64"),
    ("quadratic(nodes=64)", "activation quadratic: 'nodes=64'; must be one of its parameters segments, guard, as"),
    ("quadratic(64)", "activation quadratic: '64'; must be one of its parameters"),
    ("hard5(segments=64)", "activation hard5: 'segments=64'; has no parameters"),
    ("pwl(segments=64)", "activation pwl: 'segments=64'; has no parameters"),
    ("linear(segments=64, segments=64)", "activation linear: segments: '64'; must be given once"),
    ("linear(segments=-64)", "activation linear: segments: '-64'; must be a whole number"),
    ("linear(segments=٣٢)", "activation linear: segments: '٣٢'; must be a whole number"),
    ("linear(segments=48)", "activation linear: segments: 48; must be a power of two from 16 to 1024"),
    ("table(segments=16384)", "activation table: segments: 16384; must be a power of two from 16 to 8192"),
    ("quadratic(guard=7)", "activation quadratic: guard: 7; must be from 2 to 6 bits"),
    ("taylor(order=4)", "activation taylor: order: 4; must be 1, 2 or 3"),
])  # fmt: skip
def test_errors_of_names(text, message):
    with pytest.raises(ConfigError) as error:
        make_activation(text)
    assert str(error.value).startswith(message)


def test_errors_of_segments_and_formats():
    rule = "must have at least 6 fraction bits for 512 segments"
    with pytest.raises(FormatError, match=f"activation input: Q5.5; {rule}"):
        make_activation("quadratic(segments=512)", QFormat(5, 5))
    with pytest.raises(FormatError, match="activation input: Q5.5; must have at least 6 fraction bits for 64 segments"):
        make_activation("nonuniform(segments=64)", QFormat(5, 5))
    with pytest.raises(FormatError, match="activation output: Q0.15/half_up/wrap; must saturate"):
        make_activation("plan", Q3_12, QFormat(0, 15, overflow="wrap"))
    assert make_activation("quadratic(segments=256)", QFormat(5, 5)).position_bits == 1
