"""The integer activations against the real functions, over every input."""

import hashlib
import json
from decimal import localcontext

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, InputError
from lstm_hw.machine.activation import ACTIVATIONS, LinearActivation, QuadraticActivation, column_bits, make_activation
from lstm_hw.machine.formats import QFormat

Q3_12 = QFormat(3, 12)
ALL = np.arange(-32768, 32768)

# sigmoid and tanh error bound in LSB, table bits: as documented on the classes.
DOCUMENTED = [
    (QuadraticActivation(segments=64), 0.857, 1.201, 2880),
    (QuadraticActivation(segments=128), 0.556, 0.993, 5376),
    (LinearActivation(segments=64), 12.76, 25.02, 2176),
    (LinearActivation(segments=256), 1.285, 2.032, 8192),
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
        assert bound - 0.006 < error <= bound
    assert activation.table_bits == bits


def test_quadratic_is_no_worse_than_the_published_tables():
    # 64 segments: 0.889 and 1.264 LSB in 2944 bits; 128 segments: 0.560 and 0.993 LSB in 6272 bits.
    for segments, sigmoid_bound, tanh_bound, bits in ((64, 0.889, 1.264, 2944), (128, 0.560, 0.993, 6272)):
        activation = QuadraticActivation(segments=segments)
        assert activation.max_error(False) <= min(1.0, sigmoid_bound)
        assert activation.max_error(True) <= min(1.5, tanh_bound)
        assert activation.table_bits <= bits


@pytest.mark.parametrize("name", ACTIVATIONS)
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


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_tables_are_pinned(name):
    with localcontext() as context:
        context.prec = 5  # the caller's decimal context must not matter
        table = make_activation(name).coefficients
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
    assert str(error.value) == "activation: 'spline'; must be one of quadratic64, quadratic128, pwl"
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
