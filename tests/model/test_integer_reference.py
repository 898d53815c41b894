"""The integer reference against a second one: scalar, in rational numbers, written from the equations."""

import math
import tracemalloc
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import InputError
from lstm_hw.machine.activation import make_activation
from lstm_hw.machine.formats import QFormat
from lstm_hw.model import reference
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.exact import is_exact
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_layer import QuantDense, QuantLstm
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference


def stored(value, number_format):
    """A rational number rounded and bounded as the format says, by the definition of each mode."""
    scaled = value * Fraction(2) ** number_format.fraction
    rounded = {
        "half_up": math.floor(scaled + Fraction(1, 2)),
        "half_even": round(scaled),
        "floor": math.floor(scaled),
    }[number_format.rounding]
    span = number_format.highest - number_format.lowest + 1
    if number_format.overflow == "wrap":
        return (rounded - number_format.lowest) % span + number_format.lowest
    return max(number_format.lowest, min(number_format.highest, rounded))


def real(integer, number_format):
    return Fraction(int(integer)) / Fraction(2) ** number_format.fraction


def scalar_reference(qmodel, x):
    """Outputs for one sequence (T, Lx) of integers."""
    vectors = [list(row) for row in x]
    integer, fraction = (
        max(getattr(layer.preact, part) for layer in qmodel.layers) for part in ("integer", "fraction")
    )
    for layer in qmodel.layers:
        argument = replace(layer.preact, integer=integer, fraction=fraction)
        unit = make_activation(qmodel.activation, argument, layer.activation_format)

        def activate(value, tanh, unit=unit, layer=layer, lift=0):
            return real(unit.compute(value << lift, tanh), layer.activation_format)

        size = layer.w_h.shape[1]
        h, c, outputs = [0] * size, [0] * size, []
        for vector in vectors:
            pre = []
            for row in range(4 * size):
                total = real(layer.bias[row], layer.bias_format)
                for weight, element in zip(layer.w_x[row], vector, strict=True):
                    total += real(weight, layer.w_x_format) * real(element, layer.x_format)
                for weight, element in zip(layer.w_h[row], h, strict=True):
                    total += real(weight, layer.w_h_format) * real(element, layer.h_format)
                pre.append(stored(total, layer.preact))
            new_h = []
            for u in range(size):
                lift = fraction - layer.preact.fraction
                i, f, o = (activate(pre[gate * size + u], False, lift=lift) for gate in (0, 1, 3))
                g = activate(pre[2 * size + u], True, lift=lift)
                total = f * real(c[u], layer.cell) + i * g
                c[u] = stored(total, layer.cell)
                new_h.append(stored(o * activate(stored(total, argument), True), layer.hidden))
            h = new_h
            outputs.append(h)
        vectors = outputs
    head = qmodel.head
    if head is None:
        return vectors
    scores = [
        [
            stored(
                real(bias, head.bias_format)
                + sum(
                    real(weight, head.w_format) * real(element, head.x_format)
                    for weight, element in zip(row, h, strict=True)
                ),
                head.output,
            )
            for row, bias in zip(head.weight, head.bias, strict=True)
        ]
        for h in vectors
    ]
    return scores if qmodel.head_every_step else scores[-1]


def integers(rng, shape, number_format):
    """Random integers of a format, its ends among them more often than by chance."""
    values = rng.integers(number_format.lowest, number_format.highest + 1, shape)
    ends = rng.choice([number_format.lowest, number_format.highest, 0], shape)
    return np.where(rng.random(shape) < 0.2, ends, values)


MODES, OVERFLOWS = ["half_up", "half_even", "floor"], ["saturate", "wrap"]


def random_lstm(rng, x_format, inputs, size, usual=False):
    """A layer in random formats that obey the rule of the common accumulator fraction; ``usual`` ones round half up."""
    modes = MODES[:1] if usual else MODES

    def bounded():
        return {"rounding": str(rng.choice(modes)), "overflow": "saturate" if usual else str(rng.choice(OVERFLOWS))}

    w_x = QFormat(int(rng.integers(0, 4)), int(rng.integers(4, 12)))
    fraction = w_x.fraction + x_format.fraction
    hidden = QFormat(0, int(rng.integers(4, min(16, fraction))), **bounded())
    w_h = QFormat(int(rng.integers(0, 4)), fraction - hidden.fraction)
    bias = QFormat(int(rng.integers(0, 6)), int(rng.integers(2, fraction + 1)))
    preact = QFormat(int(rng.integers(2, 5)), int(rng.integers(6, 13)), **bounded())
    activated = QFormat(int(rng.integers(0, 2)), int(rng.integers(8, 16)), rounding=str(rng.choice(modes)))
    return QuantLstm(
        integers(rng, (4 * size, inputs), w_x),
        integers(rng, (4 * size, size), w_h),
        integers(rng, 4 * size, bias),
        x_format,
        hidden,
        w_x,
        w_h,
        bias,
        fraction,
        preact,
        activated,
        preact if rng.random() < 0.3 else QFormat(int(rng.integers(2, 8)), int(rng.integers(6, 17)), **bounded()),
        hidden,
    )


def random_quant_model(rng, usual=False):
    """A model of random sizes in random formats, not quantised from anything."""
    size, number_format = int(rng.integers(1, 4)), QFormat(int(rng.integers(0, 3)), int(rng.integers(4, 13)))
    layers, head = [], None
    for _ in range(int(rng.integers(1, 3))):
        layers.append(random_lstm(rng, number_format, size, int(rng.integers(1, 4)), usual))
        size, number_format = layers[-1].hidden_size, layers[-1].hidden
    if rng.random() < 0.7:
        outputs, weight = int(rng.integers(1, 4)), QFormat(1, int(rng.integers(4, 15)))
        fraction = weight.fraction + number_format.fraction
        bias, output = QFormat(2, int(rng.integers(0, fraction + 1))), QFormat(2, int(rng.integers(4, 13)))
        head = QuantDense(
            integers(rng, (outputs, size), weight),
            integers(rng, outputs, bias),
            number_format,
            weight,
            bias,
            fraction,
            replace(output, rounding=str(rng.choice(MODES))),
        )
    name = str(rng.choice(["quadratic64", "quadratic128", "pwl"]))
    return QuantModel(tuple(layers), head, head is not None and rng.random() < 0.5, name)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_equals_scalar_reference(seed, usual):
    """In whatever formats, those of float64 steps among them, with and without counting."""
    rng = np.random.default_rng(seed)
    qmodel = random_quant_model(rng, usual)
    assert not usual or all(is_exact(layer, qmodel.argument_of(layer)) for layer in qmodel.layers)
    x = integers(rng, (2, int(rng.integers(1, 4)), qmodel.input_size), qmodel.input_format)
    outputs, after = integer_reference(qmodel, x)
    assert outputs.dtype == np.int64
    assert outputs.tolist() == [scalar_reference(qmodel, sequence) for sequence in x]
    counted, state = integer_reference(qmodel, x, clipped=Counter())
    assert np.array_equal(counted, outputs)
    np.testing.assert_equal(state, after)


@pytest.mark.parametrize("every_step", [False, True])
def test_quantised_model_equals_scalar_reference(random_model, every_step):
    model = random_model(11, 3, (4, 3), outputs=2, every_step=every_step, scale=1.0)
    x = np.random.default_rng(1).standard_normal((2, 5, 3))
    qmodel = quantize(model, x)
    x_int = qmodel.quantize_input(x)
    outputs, _ = integer_reference(qmodel, x_int)
    assert outputs.shape == ((2, 5, 2) if every_step else (2, 2))
    assert outputs.tolist() == [scalar_reference(qmodel, sequence) for sequence in x_int]


@pytest.mark.parametrize("above", [-1, 0])
def test_sums_beyond_float64_are_exact(above):
    """One hidden unit whose sums need 61 bits and round up or down by the lowest of them."""
    weight, operand, preact = QFormat(0, 44), QFormat(0, 15), QFormat(3, 12)
    fraction = weight.fraction + operand.fraction
    products, lsb = 2 * operand.highest * weight.highest, 1 << (fraction - preact.fraction)
    assert int(float(products)) != products
    tie = (lsb // 2 - products) % lsb
    layer = QuantLstm(
        np.full((4, 2), weight.highest),
        np.zeros((4, 1), np.int64),
        np.full(4, tie + above),
        operand,
        operand,
        weight,
        weight,
        QFormat(2, fraction),
        fraction,
        preact,
        QFormat(0, 15),
        preact,
        operand,
    )
    assert not is_exact(layer, layer.preact)
    trace = {}
    integer_reference(QuantModel((layer,)), np.full((1, 1, 2), operand.highest), trace=trace)
    assert trace[0]["pre"].tolist() == [[[(products + tie) // lsb + 1 + above] * 4]]


@pytest.mark.parametrize("config", [{}, {"weight_bits": 6, "fractions": "row"}, {"cell": QFormat(6, 17)}])
def test_float_and_integer_steps_agree(random_model, monkeypatch, config):
    """All of float64, sums of float64, all of integers; where gates and c saturate and rows have shifts."""
    model = random_model(3, 20, (16, 8), outputs=4, scale=3.0)
    x = np.random.default_rng(4).standard_normal((8, 20, 20))
    qmodel = quantize(model, x / 4, QuantConfig(**config))
    x_int, clipped = qmodel.quantize_input(x), Counter()
    assert all(is_exact(layer, qmodel.argument_of(layer)) for layer in qmodel.layers)
    assert config.get("fractions") != "row" or any(layer.row_shift.any() for layer in qmodel.layers)
    all_float, after = integer_reference(qmodel, x_int)
    float_sums, state = integer_reference(qmodel, x_int, clipped=clipped)
    monkeypatch.setattr(reference, "EXACT", 0)
    integers_only, _ = integer_reference(qmodel, x_int, clipped=clipped)
    assert np.array_equal(all_float, float_sums) and np.array_equal(float_sums, integers_only)
    np.testing.assert_equal(state, after)
    assert clipped[0, "i"] and clipped[0, "f"]


def test_float_steps_end_where_a_number_takes_too_many_bits():
    """Sums of one bit more than float64 holds, and half of one for rounding, are not worked on in it."""
    operand, preact = QFormat(0, 15), QFormat(3, 12)

    def layer(bits):
        weight = QFormat(0, bits)
        rest = (np.zeros((4, 1), np.int64), np.zeros(4, np.int64), operand, operand, weight, weight)
        sums = (QFormat(0, bits + 15), bits + 15, preact, QFormat(0, 15), preact, operand)
        return QuantLstm(np.full((4, 1), weight.highest), *rest, *sums)

    assert is_exact(layer(31), preact) and not is_exact(layer(34), preact)


def test_accumulator_bound_is_reached():
    """Full-scale operands of the worst signs reach the bound exactly, and the width holds it."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        qmodel = random_quant_model(rng)
        layer = qmodel.layers[0]
        reached = 0
        for row in range(len(layer.bias)):
            for sign in (1, -1):
                # The most negative operand has the larger magnitude.
                total = int(layer.acc_bias[row])
                total += sum(abs(int(w)) * -layer.x_format.lowest * sign for w in layer.w_x[row])
                total += sum(abs(int(w)) * -layer.h_format.lowest * sign for w in layer.w_h[row])
                reached = max(reached, abs(total))
        assert layer.peak_accumulator == reached < 1 << (layer.accumulator_bits - 1)


@pytest.mark.parametrize("parts", [(1, 8), (4, 5), (8, 1), (1,) * 9])
def test_state_carries_over(random_model, parts):
    model = random_model(6, 3, (5, 4))
    x = np.random.default_rng(7).standard_normal((3, 9, 3))
    qmodel = quantize(model, x)
    x_int = qmodel.quantize_input(x)
    whole, after = integer_reference(qmodel, x_int)
    pieces, state, start = [], None, 0
    for length in parts:
        piece, state = integer_reference(qmodel, x_int[:, start : start + length], state)
        pieces.append(piece)
        start += length
    assert np.array_equal(np.concatenate(pieces, axis=1), whole)
    for (h, c), (h_whole, c_whole) in zip(state, after, strict=True):
        assert np.array_equal(h, h_whole) and np.array_equal(c, c_whole)


def test_sequences_do_not_meet(random_model):
    model = random_model(8, 3, (5,), outputs=2)
    x = np.random.default_rng(9).standard_normal((4, 6, 3))
    qmodel = quantize(model, x)
    together, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    for n in range(4):
        alone, _ = integer_reference(qmodel, qmodel.quantize_input(x[n : n + 1]))
        assert np.array_equal(alone[0], together[n])


def test_saturation(random_model):
    """Pre-activations far beyond the format saturate rather than wrap; c stays in its range."""
    model = random_model(10, 2, (6,), scale=40.0)
    x = np.random.default_rng(11).choice([-1.0, 1.0], (2, 30, 2))
    qmodel, trace = quantize(model, x), {}
    integer_reference(qmodel, qmodel.quantize_input(x), trace=trace)
    pre, layer = trace[0]["pre"], qmodel.layers[0]
    assert pre.min() == layer.preact.lowest and pre.max() == layer.preact.highest
    first = qmodel.dequantize_output(0) + x[:, 0] @ model.layers[0].w_x.T + model.layers[0].bias
    beyond = np.abs(first) > 9
    assert beyond.any()
    assert np.array_equal(np.sign(pre[:, 0][beyond]), np.sign(first[beyond]))
    assert np.abs(trace[0]["c"]).max() <= -layer.cell.lowest


@pytest.fixture
def qmodel(random_model):
    model = random_model(0, 4, (3,), outputs=2)
    return quantize(model, np.random.default_rng(0).standard_normal((2, 3, 4)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4), int), r"x: shape \(2, 4\); must be \(1 or more, 1 or more, 4\)"),
        (np.zeros((2, 3, 5), int), r"x: shape \(2, 3, 5\)"),
        (np.zeros((0, 3, 4), int), r"x: shape \(0, 3, 4\)"),
        (np.zeros((1, 1, 4)), "x: dtype float64; must be integers"),
        (np.full((1, 1, 4), 1 << 15), "x: 32768 to 32768; must fit Q2.13, -32768 to 32767"),
        (np.full((1, 1, 4), -(1 << 15) - 1), "x: -32769 to -32769; must fit"),
        (np.full((1, 1, 4), (1 << 64) - 1, np.uint64), "x: 18446744073709551615 to"),
        ([[1], [1, 2]], "x: .*; must be an array"),
    ],
)
def test_wrong_input(qmodel, x, message):
    with pytest.raises(InputError, match=message):
        integer_reference(qmodel, x)


def test_wrong_state(qmodel):
    x, good = np.zeros((2, 1, 4), int), np.zeros((2, 3), int)
    integer_reference(qmodel, x, [(good, good)])
    for state, message in [
        ([], "state: 0 entries; must be 1 pairs"),
        ([(good, good[:1])], r"state of layer 0: c: shape \(1, 3\); must be \(2, 3\)"),
        ([(good + 40000, good)], "state of layer 0: h: 40000 to 40000; must fit Q0.15"),
        ([(good, good + 0.5)], "state of layer 0: c: dtype float64; must be integers"),
    ]:
        with pytest.raises(InputError, match=message):
            integer_reference(qmodel, x, state)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3)), r"x: shape \(2, 3\); must end with 4"),
        (np.float64(1), r"x: shape \(\); must end with 4"),
        ([0.0, 0.0, np.inf, 0.0], "x: NaN or infinity; must be finite"),
        (["a"] * 4, "x: dtype <U1; must be real numbers"),
        ([[1.0], [1.0, 2.0]], "x: .*; must be an array"),
    ],
)
def test_quantize_input_refuses(qmodel, x, message):
    with pytest.raises(InputError, match=message):
        qmodel.quantize_input(x)


def test_quantize_input(qmodel):
    assert str(qmodel.input_format) == "Q2.13"
    assert qmodel.quantize_input([0, 1, -0.5, 2.0**-14]).tolist() == [0, 1 << 13, -(1 << 12), 1]
    assert qmodel.quantize_input([[100.0, -100.0, 0, 0]]).tolist() == [[32767, -32768, 0, 0]]


def test_blocks_of_sequences_are_one_batch(qmodel, monkeypatch):
    """Outputs, states and traces do not depend on how many sequences are worked on at a time."""
    rng = np.random.default_rng(5)
    x = rng.integers(qmodel.input_format.lowest, qmodel.input_format.highest + 1, (7, 3, qmodel.input_size))
    whole, parts = {}, {}
    outputs, state = integer_reference(qmodel, x, trace=whole)
    monkeypatch.setattr(reference, "BLOCK", 3)
    again, after = integer_reference(qmodel, x, trace=parts)
    assert np.array_equal(outputs, again)
    assert all(
        np.array_equal(a, b) for pair, other in zip(state, after, strict=True) for a, b in zip(pair, other, strict=True)
    )
    assert all(np.array_equal(whole[n][name], parts[n][name]) for n in whole for name in whole[n])


def test_memory_does_not_grow_with_pre_activations(qmodel):
    """Many sequences take what x, h of a layer and outputs take, not the four gates of every step."""
    x = np.zeros((20000, 16, qmodel.input_size), dtype=np.int64)
    integer_reference(qmodel, x[:1])
    tracemalloc.start()
    integer_reference(qmodel, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * x.nbytes + 50_000_000


def counter_model():
    """One unit whose c counts up where x is 1 and down where it is -1; the head reads h, so the sign of c."""
    weights = LstmWeights(np.array([[0.0], [0], [5], [0]]), np.zeros((4, 1)), np.array([12.0, 12, 0, 12]))
    return FloatModel((weights,), DenseWeights(np.ones((1, 1)), np.zeros(1)), True)


def test_c_beyond_50():
    """c up to 60 and back: right in 24 bits, and in 16 bits wrong by the sign and told."""
    model, x = counter_model(), np.concatenate([np.ones((1, 60, 1)), -np.ones((1, 55, 1))], axis=1)
    exact = {}
    expected, _ = float_reference(model, x, trace=exact)
    assert exact[0]["c"].max() > 59 and exact[0]["c"][0, -1, 0] > 4
    wide, narrow = (quantize(model, x, QuantConfig(cell=c)) for c in (QFormat(7, 16), QFormat(3, 12)))
    report, (_, outputs) = quantization_report(model, wide, x)
    assert report["layers"][0]["c"]["clipped"] == 0 and report["output"]["max"] < 2e-3
    report, (_, outputs) = quantization_report(model, narrow, x)
    assert np.sign(narrow.dequantize_output(outputs)[0, -1]) == -np.sign(expected[0, -1])
    assert report["layers"][0]["c"]["clipped"] > 0.3 and report["output"]["max"] > 1.9
