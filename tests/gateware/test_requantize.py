"""The requantiser against QFormat.requantize, its definition."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from lstm_hw.errors import ConfigError, FormatError
from lstm_hw.gateware.requantize import Requantize
from lstm_hw.machine.formats import OVERFLOWS, ROUNDINGS, QFormat, shift_round


def stream(component, values, select, output=None):
    """The output (or another) in every cycle from the one in which the first value is applied; one value a cycle."""
    outputs = []

    async def testbench(context):
        for cycle in range(len(values) + component.latency):
            if cycle < len(values):
                context.set(component.i, int(values[cycle]))
                context.set(component.i_select, int(select[cycle]))
            outputs.append(context.get(component.o if output is None else output))
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return np.array(outputs)


def stimulus(i_width, fractions, o_format, rng, count):
    """Uniform, small, tie and bound-straddling inputs, each with a random fraction."""
    low, high = -(1 << (i_width - 1)), (1 << (i_width - 1)) - 1
    select = rng.integers(0, len(fractions), count)
    values = rng.integers(low, high, count, endpoint=True) >> rng.integers(0, i_width, count)
    for n in range(count):
        drop = fractions[select[n]] - o_format.fraction
        if n % 3 == 1 and drop > 0:  # a tie, or one beside it
            values[n] = (values[n] >> drop << drop) + (1 << (drop - 1)) + rng.integers(-1, 2)
        if n % 3 == 2:  # around either end of the output's range, in units of half an output LSB
            end = (o_format.lowest, o_format.highest)[int(rng.integers(2))]
            doubled = 2 * end + int(rng.integers(-3, 4))
            values[n] = max(low, min(high, doubled << (drop - 1) if drop > 0 else doubled >> (1 - drop)))
    values[:4] = low, high, 0, -1
    return np.clip(values, low, high), select


def expected(values, select, fractions, o_format):
    return np.array([o_format.requantize(v, fractions[s]) for v, s in zip(values, select, strict=True)])


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("i_width, fractions, integer, fraction, is_signed", [
    (42, (27, 24, 30), 3, 12, True),  # accumulators of layers with different weights
    (32, (27,), 3, 12, True),
    (32, (30,), 0, 15, True),
    (20, (8, 15, 12, 11), 3, 12, True),  # fractions on both sides of the output's
    (9, (4, 2), 3, 12, True),  # only ever raised
    (16, (12,), 3, 12, True),  # nothing to do
    (24, (20, 18), -2, 9, True),
    (24, (20, 10), 0, 8, False),
    (12, (-3, 2), 9, -2, True),  # negative fractions
    (8, (7,), 0, 0, True),
    (8, (20,), 4, 3, True),  # all bits go, and more than there are
    (8, (20, 9), 4, 3, True),
])  # fmt: skip
def test_equals_the_definition(i_width, fractions, integer, fraction, is_signed, rounding, overflow):
    o_format = QFormat(integer, fraction, is_signed, rounding, overflow)
    component = Requantize(i_width, fractions, o_format)
    assert component.latency == 3
    values, select = stimulus(i_width, fractions, o_format, np.random.default_rng(i_width), 300)
    outputs = stream(component, values, select)
    np.testing.assert_array_equal(outputs[3:], expected(values, select, fractions, o_format))


@pytest.mark.parametrize("seed", range(40))
def test_random_formats(seed):
    """Every third with what is rounded and bounded at once, which signed formats have."""
    rng = np.random.default_rng(seed)
    direct = seed % 3 == 2
    signed = bool(rng.integers(4)) or direct
    width, i_width = int(rng.integers(2, 25)), int(rng.integers(2, 36))
    fraction = int(rng.integers(-4, 24))
    o_format = QFormat(
        width - signed - fraction, fraction, signed, ROUNDINGS[int(rng.integers(3))], OVERFLOWS[int(rng.integers(2))]
    )
    fractions = tuple(int(n) + fraction for n in rng.integers(-8, 12, int(rng.integers(1, 6))))
    values, select = stimulus(i_width, fractions, o_format, rng, 150)
    component = Requantize(i_width, fractions, o_format, direct=direct)
    assert component.latency == 3 - direct * (1 + (len(set(fractions)) == 1))
    outputs = stream(component, values, select)
    np.testing.assert_array_equal(outputs[component.latency :], expected(values, select, fractions, o_format))


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_every_input(rounding, direct):
    o_format, fractions = QFormat(1, 3, rounding=rounding), (6, 4, 2)
    values = np.tile(np.arange(-256, 256), 3)
    select = np.repeat([0, 1, 2], 512)
    outputs = stream(Requantize(9, fractions, o_format, direct=direct), values, select)[3 - direct :]
    np.testing.assert_array_equal(outputs, expected(values, select, fractions, o_format))
    assert (outputs.min(), outputs.max()) == (-16, 15)


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("o_format, fractions, direct", [
    (QFormat(1, 3), (6, 4, 2), False),
    (QFormat(1, 3), (6, 4, 2), True),
    (QFormat(3, 1, signed=False), (3, 2, 1), False),
    (QFormat(9, 4), (5, 2), False),  # nothing is beyond
    (QFormat(9, 4), (5, 2), True),
])  # fmt: skip
def test_flag_of_every_input(o_format, fractions, direct, rounding, overflow):
    """High where rounding leaves a value that the reference counts."""
    o_format = QFormat(o_format.integer, o_format.fraction, o_format.signed, rounding, overflow)
    values = np.tile(np.arange(-256, 256), len(fractions))
    select = np.repeat(range(len(fractions)), 512)
    component = Requantize(9, fractions, o_format, flagged=True, direct=direct)
    found = stream(component, values, select, component.o_beyond)[3 - direct :]
    wanted = [
        o_format.count_beyond(shift_round(np.array([v]), fractions[s] - o_format.fraction, rounding))
        for v, s in zip(values, select, strict=True)
    ]
    np.testing.assert_array_equal(found, wanted)


def test_flag_in_numbers():
    # By hand: 1 fraction bit to none, 4 bits out; 7.5 is rounded to 8, -8.5 to -8 or -9.
    values = [0, 14, 15, 16, -16, -17, -18, 31, -32]
    for rounding, flags in {"half_up": [0, 0, 1, 1, 0, 0, 1, 1, 1], "floor": [0, 0, 0, 1, 0, 1, 1, 1, 1]}.items():
        component = Requantize(6, (1,), QFormat(3, 0, rounding=rounding), flagged=True)
        assert stream(component, values, [0] * len(values), component.o_beyond)[3:].tolist() == flags


def test_ties_and_ends_in_numbers():
    # By hand, not by the definition: 1 fraction bit to none, 4 bits out.
    values = [3, 5, -3, -5, 15, 16, -16, -17, -18]
    results = {"half_up": [2, 3, -1, -2, 7, 7, -8, -8, -8],
               "half_even": [2, 2, -2, -2, 7, 7, -8, -8, -8],
               "floor": [1, 2, -2, -3, 7, 7, -8, -8, -8]}  # fmt: skip
    for rounding, result in results.items():
        component = Requantize(6, (1,), QFormat(3, 0, rounding=rounding))
        assert stream(component, values, [0] * len(values))[3:].tolist() == result


def test_latency_is_exact_and_select_travels_with_its_value():
    component = Requantize(16, (12, 8), QFormat(7, 8))
    values, select = np.full(20, 16), np.zeros(20, dtype=np.int64)
    select[7] = 1
    outputs = stream(component, values, select)
    assert outputs[3:].tolist() == [1] * 7 + [16] + [1] * 12


def test_a_select_beyond_the_last_takes_the_last():
    component = Requantize(16, (12, 10, 8), QFormat(7, 8))
    assert len(component.i_select) == 2
    assert stream(component, [64], [3])[3:].tolist() == [64]


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_errors():
    with pytest.raises(ConfigError) as error:
        Requantize(16, (), QFormat(3, 12))
    assert str(error.value) == "i_fractions: (); must list at least one fraction"
    with pytest.raises(FormatError) as error:
        Requantize(50, (24, 10), QFormat(3, 12))
    assert str(error.value) == (
        "requantize: 50-bit input with fractions (24, 10); must reach Q3.12 within 63 bits, a carry included"
    )
    assert Requantize(48, (24, 10), QFormat(3, 12)).sum_width == 63
