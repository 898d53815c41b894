import json
from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, FormatError, InputError, ModelError
from lstm_hw.machine.activation import make_activation
from lstm_hw.machine.formats import QFormat
from lstm_hw.machine.pack import bias_digits, stored_bias
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_layer import QuantDense, QuantLstm
from lstm_hw.model.quant_model import QuantModel
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.sizing import lifts_of, row_bits_of


def inputs(seed=0, shape=(6, 8, 4)):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("weight_bits", [8, 16])
@pytest.mark.parametrize("seed", range(4))
def test_formats(random_model, weight_bits, seed):
    scales = 10.0 ** np.random.default_rng(seed).uniform(-2, 0.5, 2)
    model = random_model(seed, 4, (6, 5), outputs=3, scale=scales[0])
    first = model.layers[0]
    model = replace(model, layers=(replace(first, w_x=first.w_x * scales[1]), *model.layers[1:]))
    x = inputs(seed)
    config = QuantConfig(weight_bits=weight_bits, hidden=QFormat(0, 15), fractions="shared", rounding="nearest")
    qmodel = quantize(model, x, config)
    assert qmodel.input_format == QFormat.fitting(np.abs(x).max(), 16)
    assert qmodel.input_format.holds(x) and not QFormat(
        qmodel.input_format.integer - 1, qmodel.input_format.fraction + 1
    ).holds(x)
    for layer, weights in zip(qmodel.layers, model.layers, strict=True):
        best = [
            QFormat.fitting(np.abs(matrix).max(), weight_bits).fraction + operand.fraction
            for matrix, operand in ((weights.w_x, layer.x_format), (weights.w_h, layer.h_format))
        ]
        assert layer.acc_fraction == min(best)
        for name, bits in (("w_x", weight_bits), ("w_h", weight_bits), ("bias", 24)):
            number_format = getattr(layer, f"{name}_format")
            assert number_format.width == bits and number_format.holds(getattr(weights, name))
            error = np.abs(number_format.to_float(getattr(layer, name)) - getattr(weights, name))
            assert error.max() <= number_format.lsb / 2
        assert layer.accumulator_bits <= 44
    assert qmodel.layers[1].x_format == qmodel.layers[0].hidden == QFormat(0, 15)
    assert qmodel.head.x_format == QFormat(0, 15)
    outputs = float_reference(model, x)[0]
    assert qmodel.head.output.holds(outputs) and qmodel.head.output.width == 16


def test_head_format_has_headroom_and_no_more_than_reach():
    layer = LstmWeights(np.ones((8, 1)), np.zeros((8, 2)), np.zeros(8))
    x = np.full((1, 1, 1), 0.5)
    model = FloatModel((layer,), DenseWeights(np.ones((1, 2)), np.zeros(1)))
    peak = np.abs(float_reference(model, x)[0]).max()
    assert quantize(model, x).head.output == QFormat.fitting(2 * peak, 16)
    biased = FloatModel((layer,), DenseWeights(np.full((1, 2), 1e-3), np.full(1, 0.9)))
    # Twice the peak would be 1.8, but |h| <= 1 keeps the output within 0.902.
    assert quantize(biased, x).head.output == QFormat(0, 15)


def test_tiny_weights_give_up_bits_for_the_accumulator(random_model):
    model = random_model(1, 4, (6,), scale=1e-6)
    biased = replace(model, layers=(replace(model.layers[0], bias=np.full(24, 3.0)),))
    unlimited = quantize(biased, inputs(), QuantConfig(accumulator_bits=62)).layers[0].accumulator_bits
    assert unlimited == 34  # what the columns of the bias leave
    for bits in range(32, unlimited):
        layer = quantize(biased, inputs(), QuantConfig(accumulator_bits=bits)).layers[0]
        assert layer.accumulator_bits == bits
        assert layer.bias_format.to_float(layer.bias).tolist() == [3.0] * 24


def test_zero_weights():
    model = FloatModel(
        (LstmWeights(np.zeros((8, 1)), np.zeros((8, 2)), np.zeros(8)),), DenseWeights(np.zeros((1, 2)), np.zeros(1))
    )
    qmodel = quantize(model, np.ones((1, 2, 1)))
    assert integer_reference(qmodel, qmodel.quantize_input(np.ones((1, 2, 1))))[0].tolist() == [[0]]


def test_progress_and_determinism(random_model):
    model, calls = random_model(0, 4, (3, 3), outputs=2), []
    first = quantize(model, inputs(), progress=lambda *done: calls.append(done))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert quantize(model, inputs()).digest() == first.digest()
    assert quantize(model, inputs(), QuantConfig(activation="pwl")).digest() != first.digest()


def test_report(random_model):
    model, x = random_model(2, 4, (6, 5), outputs=3), inputs(3)
    configs = [QuantConfig(weight_bits=bits) for bits in (16, 8)]
    fine, coarse = (quantization_report(model, quantize(model, x, config), x)[0] for config in configs)
    assert json.loads(json.dumps(fine)) == fine
    assert len(fine["layers"]) == 2
    for a, b in zip(fine["layers"], coarse["layers"], strict=True):
        for name in ("h", "c"):
            assert 0 < a[name]["mean"] < a[name]["max"] < 0.01
            assert a[name]["mean"] < b[name]["mean"] / 4
        assert a["pre"]["clipped"] == 0
    assert fine["output"]["max"] < coarse["output"]["max"]
    loud = random_model(2, 4, (6, 5), outputs=3, scale=20.0)
    report, _ = quantization_report(loud, quantize(loud, x, QuantConfig(preact=QFormat(3, 12))), x)
    pre = {}
    float_reference(loud, x, trace=pre)
    beyond = np.mean(np.abs(pre[0]["pre"]) >= 8)
    assert beyond > 0.2 and abs(report["layers"][0]["pre"]["clipped"] - beyond) < 0.02


def test_report_counts_what_is_clipped_and_lost(random_model, monkeypatch):
    """Counts are those of sums in Python's integers, whatever blocks of sequences are worked on."""
    model, x = random_model(2, 4, (6,), outputs=3, scale=6.0), inputs(3, (6, 1, 4)).repeat(20, axis=1) * 3
    usual = {"preact": QFormat(3, 12), "cell": QFormat(3, 12)}
    qmodel = quantize(model, x / 3, QuantConfig(weight_bits=6, fractions="shared", rounding="nearest", **usual))
    curves, in_blocks = {}, {}
    report, (exact, stored) = quantization_report(model, qmodel, x, curves=curves)
    layer, head = qmodel.layers[0], qmodel.head
    x_int, traced = qmodel.quantize_input(x), {}
    integer_reference(qmodel, x_int, trace=traced)
    h = np.concatenate([np.zeros_like(traced[0]["h"][:, :1]), traced[0]["h"][:, :-1]], axis=1)
    c = np.concatenate([np.zeros_like(traced[0]["c"][:, :1]), traced[0]["c"][:, :-1]], axis=1)
    sums = x_int @ layer.w_x.T + h @ layer.w_h.T + layer.acc_bias
    scaled = np.floor(x * 2.0**qmodel.input_format.fraction + 0.5)
    assert report["input"]["clipped"] == np.mean((scaled > 32767) | (scaled < -32768)) > 0
    pre = np.floor(sums * 2.0 ** (layer.preact.fraction - layer.acc_fraction) + 0.5)
    assert report["layers"][0]["pre"]["clipped"] == np.mean((pre > 32767) | (pre < -32768)) > 0
    tables = make_activation(qmodel.activation, layer.preact, layer.activation_format).results
    i, f, g, _ = np.split(traced[0]["pre"] - layer.preact.lowest, 4, axis=2)
    cells = tables[0][f] * c * 8 + tables[0][i] * tables[1][g]
    cells = np.floor(cells / 2.0**18 + 0.5)
    assert report["layers"][0]["c"]["clipped"] == np.mean((cells > 32767) | (cells < -32768)) > 0
    assert report["layers"][0]["zeroed"]["w_h"] == np.mean(layer.w_h == 0) > 0
    worst = np.abs(qmodel.dequantize_output(stored) - exact).max(axis=1)
    assert report["output"]["sequence"] == worst.argmax() and report["output"]["max"] == worst.max()
    assert report["output"]["step"] == x.shape[1] - 1 and head.output_size == 3
    monkeypatch.setattr("lstm_hw.model.error_report.TRACED", 1)
    again, (_, same) = quantization_report(model, qmodel, x, curves=in_blocks)
    np.testing.assert_array_equal(stored, same)
    for place, (largest, rms) in ((place, layers[0]) for place, layers in curves.items()):
        np.testing.assert_allclose(in_blocks[place][0], (largest, rms))
        assert again["layers"][0][place]["rms"] == pytest.approx(np.sqrt(np.square(rms).mean()))
    assert again["layers"][0]["c"]["clipped"] == report["layers"][0]["c"]["clipped"]
    assert again["output"]["max"] == pytest.approx(report["output"]["max"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"input_format": QFormat(0, 15)},
            "quantize.input_format: Q0.15; must hold the calibration set, which reaches",
        ),
        ({"output": QFormat(-6, 21)}, "quantize.output: Q-6.21; must hold the outputs for the calibration set"),
        ({"preact": QFormat(20, 10), "cell": QFormat(20, 10)}, "activation input: Q20.10; must be signed, 8 to 20"),
        ({"activation_format": QFormat(-1, 16)}, "activation output"),
    ],
)
def test_format_that_does_not_hold(random_model, change, message):
    with pytest.raises(FormatError, match=message):
        quantize(random_model(0, 4, (3,), outputs=2), inputs(), QuantConfig(**change))


def test_given_formats_are_used(random_model):
    config = QuantConfig(
        input_format=QFormat(5, 10),
        output=QFormat(7, 8),
        hidden=QFormat(1, 14),
        preact=QFormat(4, 11),
        cell=QFormat(4, 11),
        activation_format=QFormat(0, 17),
    )
    qmodel = quantize(random_model(0, 4, (3,), outputs=2), inputs(), config)
    assert (qmodel.input_format, qmodel.output_format) == (QFormat(5, 10), QFormat(7, 8))
    layer = qmodel.layers[0]
    assert (layer.hidden, layer.preact, layer.activation_format) == (QFormat(1, 14), QFormat(4, 11), QFormat(0, 17))
    assert quantization_report(random_model(0, 4, (3,), outputs=2), qmodel, inputs())[0]["output"]["max"] < 0.02


def test_chosen_output_rounds_as_the_preactivations(random_model):
    preact = QFormat(3, 12, rounding="half_even")
    qmodel = quantize(random_model(0, 4, (3,), outputs=2), inputs(), QuantConfig(preact=preact, cell=preact))
    assert (qmodel.output_format.rounding, qmodel.output_format.overflow) == ("half_even", "saturate")
    assert qmodel.head.w_format.rounding == "half_up"


def test_weights_without_a_format(random_model):
    model = random_model(0, 4, (3,), scale=1e30)
    with pytest.raises(FormatError, match=r"layer 0: (bias|w_x): magnitude .*; must fit a \d+-bit format"):
        quantize(model, inputs())


def test_calibration_refused(random_model):
    model = random_model(0, 4, (3,))
    with pytest.raises(InputError, match=r"calibration: shape \(2, 4\); must be \(1 or more, 1 or more, 4\)"):
        quantize(model, np.zeros((2, 4)))
    with pytest.raises(InputError, match="calibration: NaN or infinity"):
        quantize(model, np.full((1, 1, 4), np.nan))
    with pytest.raises(FormatError, match="calibration: all inputs are 0; .* or input_format must be given"):
        quantize(model, np.zeros((1, 1, 4)))
    quantize(model, np.zeros((1, 1, 4)), QuantConfig(input_format=QFormat(0, 15)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight_bits": 1}, ConfigError, "quantize.weight_bits: 1; must be an integer from 2 to 18"),
        ({"weight_bits": 16.0}, ConfigError, "quantize.weight_bits: 16.0"),
        ({"operand_bits": True}, ConfigError, "quantize.operand_bits: True"),
        ({"bias_bits": 33}, ConfigError, "quantize.bias_bits: 33; must be an integer from 2 to 32"),
        ({"accumulator_bits": 63}, ConfigError, "quantize.accumulator_bits: 63"),
        (
            {"accumulator_bits": 31},
            ConfigError,
            "accumulator_bits: 31; must be at least weight_bits . operand_bits = 32",
        ),
        ({"headroom": 0.9}, ConfigError, "quantize.headroom: 0.9; must be a number from 1 to 1024"),
        ({"cell_bits": 25}, ConfigError, "quantize.cell_bits: 25; must be an integer from 16 to 24, or auto"),
        ({"cell_bits": "wide"}, ConfigError, "quantize.cell_bits: 'wide'; must be an integer from 16 to 24, or auto"),
        ({"preact_bits": 15}, ConfigError, "quantize.preact_bits: 15; must be an integer from 16 to 20, or auto"),
        ({"activation": "spline"}, ConfigError, "quantize.activation: 'spline'; must be one of quadratic64"),
        ({"preact": "Q3.12"}, ConfigError, "quantize.preact: 'Q3.12'; must be a QFormat"),
        ({"hidden": "Q0.15"}, ConfigError, "quantize.hidden: 'Q0.15'; must be a QFormat"),
        (
            {"hidden": QFormat(0, 15), "operand_bits": 8},
            FormatError,
            "quantize.hidden: Q0.15; must be operand_bits = 8 bi",
        ),
        ({"output": QFormat(0, 7), "operand_bits": 8}, FormatError, "quantize.output: Q0.7; must be 16 bits wide"),
        ({"cell": QFormat(4, 11, signed=False)}, FormatError, "quantize.cell: UQ4.11; must be signed"),
        ({"hidden": QFormat(0, 14)}, FormatError, "quantize.hidden: Q0.14; must be operand_bits = 16 bits wide"),
        ({"input_format": QFormat(0, 16)}, FormatError, "quantize.input_format: Q0.16"),
        ({"output": QFormat(0, 16, signed=False)}, FormatError, "quantize.output: UQ0.16; must be signed"),
    ],
)
def test_config_refused(change, error, message):
    with pytest.raises(error, match=message):
        QuantConfig(**change)


@pytest.mark.parametrize("operand_bits", [6, 8, 16])
def test_widths_of_vectors(random_model, operand_bits):
    """x and h have the operands' width; what is between two steps keeps that of the pre-activations."""
    model = random_model(3, 4, (5, 3), 2)
    x = np.random.default_rng(4).normal(0, 1, (2, 3, 4))
    qmodel = quantize(model, x, QuantConfig(weight_bits=8, operand_bits=operand_bits))
    assert qmodel.input_format.width == operand_bits
    for layer in qmodel.layers:
        assert layer.hidden.width == operand_bits and layer.preact.width == layer.cell.width == 16
    assert qmodel.head.output.width == 16


def test_config_as_a_dict():
    config = QuantConfig(weight_bits=8, input_format=QFormat(1, 14), hidden=QFormat(0, 15, rounding="half_even"))
    assert QuantConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert QuantConfig.from_dict({}) == QuantConfig()
    with pytest.raises(ConfigError, match="quantize.bits: unknown key; must be one of weight_bits, "):
        QuantConfig.from_dict({"bits": 8})
    with pytest.raises(FormatError, match="format: 'Q3'"):
        QuantConfig.from_dict({"preact": "Q3"})
    assert all(f.metadata["doc"] for f in QuantConfig.__dataclass_fields__.values())


def lstm(**changes):
    """A layer of 1 input and 2 hidden units."""
    values = {
        "w_x": np.ones((8, 1), int),
        "w_h": np.ones((8, 2), int),
        "bias": np.ones(8, int),
        "x_format": QFormat(1, 14),
        "h_format": QFormat(0, 15),
        "w_x_format": QFormat(1, 14),
        "w_h_format": QFormat(2, 13),
        "bias_format": QFormat(1, 22),
        "acc_fraction": 28,
        "preact": QFormat(3, 12),
        "activation_format": QFormat(0, 15),
        "cell": QFormat(3, 12),
        "hidden": QFormat(0, 15),
    }
    return QuantLstm(**values | changes, source="layer 0")


def dense(**changes):
    values = {
        "weight": np.ones((3, 2), int),
        "bias": np.ones(3, int),
        "x_format": QFormat(0, 15),
        "w_format": QFormat(1, 14),
        "bias_format": QFormat(1, 22),
        "acc_fraction": 29,
        "output": QFormat(3, 12),
    }
    return QuantDense(**values | changes, source="head")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"w_x": np.ones((7, 1), int)}, ModelError, r"layer 0: w_x: shape \(7, 1\); must be \(8, "),
        ({"w_h": np.ones((8, 3), int)}, ModelError, r"layer 0: w_h: shape \(8, 3\); must be \(4H, H\)"),
        ({"bias": np.ones(8)}, ModelError, "layer 0: bias: dtype float64; must be integers"),
        (
            {"w_x": np.full((8, 1), 1 << 15)},
            FormatError,
            "layer 0: w_x: 32768 to 32768; must fit Q1.14, -32768 to 32767",
        ),
        ({"bias": np.full(8, -(1 << 23) - 1)}, FormatError, "layer 0: bias: -8388609"),
        ({"x_format": QFormat(0, 16, signed=False)}, FormatError, "layer 0: x_format: UQ0.16; must be a signed format"),
        (
            {"hidden": QFormat(-50, 65)},
            FormatError,
            "layer 0: hidden: Q-50.65; must be a signed format with at most 64",
        ),
        ({"preact": "Q3.12"}, FormatError, "layer 0: preact: Q3.12; must be a signed format"),
        ({"acc_fraction": 38}, FormatError, "acc_fraction: 38; must be 0 to 9 .* w_x_format and x_format together, 28"),
        (
            {"w_h_format": QFormat(1, 14)},
            FormatError,
            "acc_fraction: 28; must be .* w_h_format and h_format together, 29",
        ),
        ({"acc_fraction": 28.0}, FormatError, "acc_fraction: 28.0; must be an integer"),
        ({"row_shift": np.zeros(7, int)}, ModelError, r"layer 0: row_shift: shape \(7,\); must be \(8\)"),
        ({"row_shift": np.zeros(8)}, ModelError, "layer 0: row_shift: dtype float64; must be integers"),
        ({"row_shift": np.full(8, 8)}, FormatError, "layer 0: row_shift: 8 to 8; must be between 0 and 7"),
        ({"bias_format": QFormat(-6, 29)}, FormatError, "bias_format: Q-6.29; must have at most acc_fraction = 28"),
        ({"hidden": QFormat(1, 14)}, FormatError, "layer 0: h_format: Q0.15; must equal hidden, Q1.14"),
        ({"bias_format": QFormat(45, -20), "bias": np.full(8, 1 << 20)}, FormatError, "sums of 70 bits; must fit 62"),
        ({"cell": QFormat(30, 30), "preact": QFormat(30, 30)}, FormatError, "layer 0: cell: Q30.30; must give"),
    ],
)
def test_lstm_refused(change, error, message):
    lstm()
    with pytest.raises(error, match=message):
        lstm(**change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": np.ones(3, int)}, ModelError, r"head: weight: shape \(3,\)"),
        ({"bias": np.ones(2, int)}, ModelError, r"head: bias: shape \(2,\); must be \(3\)"),
        ({"acc_fraction": 28}, FormatError, "head: acc_fraction: 28; must be .* w_format and x_format together, 29"),
        ({"output": None}, FormatError, "head: output: None; must be a signed format"),
    ],
)
def test_dense_refused(change, error, message):
    dense()
    with pytest.raises(error, match=message):
        dense(**change)


def test_operands_of_a_layer_are_lifted_to_one_fraction():
    """Sums are exact: what each product is worth follows from the formats of its factors."""
    rng = np.random.default_rng(3)
    layer = lstm(w_x=rng.integers(-99, 99, (8, 1)), w_h=rng.integers(-99, 99, (8, 2)), acc_fraction=30)
    assert layer.lifts == (2, 2)
    layer = lstm(w_x=layer.w_x, w_h=layer.w_h, acc_fraction=32, w_h_format=QFormat(-1, 16))
    assert layer.lifts == (4, 1)
    x, h = rng.integers(-(1 << 15), 1 << 15, 1), rng.integers(-(1 << 15), 1 << 15, 2)
    exact = layer.w_x_format.to_float(layer.w_x) @ layer.x_format.to_float(x)
    exact = exact + layer.w_h_format.to_float(layer.w_h) @ layer.h_format.to_float(h)
    assert (np.ldexp(exact, 32) == layer.factors @ np.concatenate([x, h])).all()
    assert np.abs(np.ldexp(exact, 32)).max() <= layer.peak_products.max() < layer.peak_accumulator


@pytest.mark.parametrize("fractions, lifts", [("shared", (0, 0)), ("matrix", (4, 0)), ("auto", (4, 0))])
def test_fraction_bits_of_matrices(fractions, lifts):
    """W_h of at most 1/4 beside W_x of 8: with 8 bits, shared fraction bits leave it three bits."""
    rng = np.random.default_rng(4)
    w_x, w_h = rng.uniform(-8, 8, (32, 3)), rng.uniform(-0.25, 0.25, (32, 8))
    model = FloatModel((LstmWeights(w_x, w_h, rng.uniform(-1, 1, 32)),))
    x = rng.uniform(-1, 1, (9, 12, 3))
    qmodel = quantize(model, x, QuantConfig(weight_bits=8, fractions=fractions))
    layer = qmodel.layers[0]
    assert layer.lifts == lifts and layer.w_x_format == QFormat(3, 4)
    zeroed = np.mean((w_h != 0) & (layer.w_h == 0))
    assert zeroed > 0.1 if fractions == "shared" else zeroed < 0.02
    error = quantization_report(model, qmodel, x)[0]["output"]["mean"]
    assert error > 1.6e-3 if fractions == "shared" else error < 1.4e-3


def test_rows_have_fraction_bits_of_their_own():
    """Rows of unlike range: each is stored with as many bits as it can have, in both matrices and the bias."""
    rng = np.random.default_rng(5)
    scale = np.exp2(rng.integers(-6, 1, 32))[:, None]
    w_x, w_h, bias = rng.uniform(-1, 1, (32, 3)) * scale, rng.uniform(-1, 1, (32, 8)) * scale, rng.uniform(-1, 1, 32)
    model = FloatModel((LstmWeights(w_x, w_h, bias),))
    x = rng.uniform(-1, 1, (20, 12, 3))
    errors = {}
    for fractions in ("matrix", "row"):
        config = QuantConfig(weight_bits=6, fractions=fractions, rounding="nearest")
        layer = (qmodel := quantize(model, x, config)).layers[0]
        errors[fractions] = quantization_report(model, qmodel, x)[0]["layers"][0]["pre"]["mean"]
    assert layer.row_shift.max() > 3 and layer.row_shift.min() == 0
    for stored, exact, number_format in (
        (layer.w_x, w_x, layer.w_x_format),
        (layer.w_h, w_h, layer.w_h_format),
        (layer.bias[:, None], bias[:, None], layer.bias_format),
    ):
        error = np.abs(number_format.to_float(stored) / np.exp2(layer.row_shift)[:, None] - exact)
        step = number_format.lsb / np.exp2(layer.row_shift)[:, None]
        assert (error <= step / 2).mean() > 0.95, "only a few are clipped"
    assert errors["row"] < errors["matrix"] / 3


def test_compensated_rounding_moves_the_error_where_it_does_not_matter():
    """Inputs that nearly follow one another: rounding one weight is made up for by the others."""
    rng = np.random.default_rng(6)
    model = FloatModel((LstmWeights(*(rng.uniform(-1, 1, shape) for shape in ((32, 6), (32, 8), (32,)))),))
    x = rng.uniform(-0.9, 0.9, (40, 30, 1)) + rng.uniform(-0.05, 0.05, (40, 30, 6))
    for fractions in ("shared", "matrix", "row"):
        errors = {
            rounding: quantization_report(
                model,
                quantize(model, x[:20], QuantConfig(weight_bits=5, fractions=fractions, rounding=rounding)),
                x[20:],
            )[0]["output"]["mean"]
            for rounding in ("nearest", "compensated", "auto")
        }
        assert errors["auto"] == errors["compensated"] < errors["nearest"] / 2, "also for inputs that it has not seen"


@pytest.mark.parametrize("fractions", ["shared", "matrix", "row"])
def test_matrices_of_zeros(fractions):
    zeros = LstmWeights(np.zeros((8, 1)), np.zeros((8, 2)), np.ones(8))
    qmodel = quantize(FloatModel((zeros,)), np.ones((2, 3, 1)), QuantConfig(weight_bits=5, fractions=fractions))
    assert not qmodel.layers[0].w_x.any() and (qmodel.layers[0].acc_bias == 1 << qmodel.layers[0].acc_fraction).all()


def test_8_bit_operands_have_no_room_for_a_lift():
    rng = np.random.default_rng(4)
    weights = LstmWeights(rng.uniform(-8, 8, (32, 3)), rng.uniform(-0.25, 0.25, (32, 8)), rng.uniform(-1, 1, 32))
    config = QuantConfig(weight_bits=8, operand_bits=8)
    assert quantize(FloatModel((weights,)), rng.uniform(-1, 1, (9, 12, 3)), config).layers[0].lifts == (0, 0)


def test_the_unit_follows_the_model_s_functions(random_model):
    model = random_model(3, 2, (4,), outputs=2)
    x = np.random.default_rng(1).standard_normal((3, 5, 2))
    for functions, given, unit in (
        (("hard5", "tanh"), "quadratic64", "hard5/quadratic64"),
        (("hard6", "tanh"), "hard6/cubic", "hard6/cubic"),
        (("sigmoid", "hard5"), "pwl", "pwl/hard5"),
        (("hard5", "hard5"), "quadratic64", "hard5"),
        (("sigmoid", "tanh"), "plan/taylor", "plan/taylor"),
    ):
        qmodel = quantize(replace(model, functions=functions), x, QuantConfig(activation=given))
        assert qmodel.activation == unit
        stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
        wanted, _ = float_reference(replace(model, functions=functions), x)
        assert np.abs(qmodel.dequantize_output(stored) - wanted).max() < (0.05 if "plan" in unit else 5e-3)
    with pytest.raises(ConfigError, match="quantize.activation: 'plan/cubic'; must have hard5 for sigmoid"):
        quantize(replace(model, functions=("hard5", "tanh")), x, QuantConfig(activation="plan/cubic"))
    with pytest.raises(ModelError, match="sigmoid: 'hard7'; must be one of sigmoid, hard5, hard6"):
        replace(model, functions=("hard7", "tanh"))
    linear = replace(model.head, activation="sigmoid")
    with pytest.raises(ModelError, match="sigmoid behind a linear layer, and hard5 in the gates"):
        replace(model, head=linear, functions=("hard5", "tanh"))


def test_model_refused():
    QuantModel((lstm(),), dense())
    for arguments, error, message in [
        (((),), ModelError, "quantised model: no recurrent layer"),
        (((lstm(),), None, True), ModelError, "head_every_step: true without a head"),
        (((lstm(), lstm()),), ModelError, "layer 0: 1 inputs; must be 2"),
        (((lstm(),), dense(weight=np.ones((3, 5), int))), ModelError, "head: 5 inputs; must be the 2 hidden units"),
        (
            ((lstm(),), dense(x_format=QFormat(1, 14), acc_fraction=28)),
            FormatError,
            "head: x_format: Q1.14; must be the format of the hidden state it reads, Q0.15",
        ),
        (((lstm(),), None, False, "spline"), ConfigError, "activation: 'spline'"),
    ]:
        with pytest.raises(error, match=message):
            QuantModel(*arguments)


@pytest.mark.parametrize("exponent", [4, 6, 8, 10, 14])
@pytest.mark.parametrize("weight_bits, operand_bits", [(16, 16), (8, 16), (8, 8)])
def test_small_weights_beside_ordinary_biases(random_model, exponent, weight_bits, operand_bits):
    """Keras's forget bias of 1: it costs few columns whatever the weights are, and the outputs are right."""
    model, x = random_model(2, 3, (4,), outputs=2), inputs(3, (6, 8, 3))
    (layer,), scale = model.layers, 2.0**-exponent
    bias = np.repeat([0.0, 1.0, 0.0, 0.0], 4)
    model = replace(model, layers=(LstmWeights(layer.w_x * scale, layer.w_h * scale, bias),))
    qmodel = quantize(model, x, QuantConfig(weight_bits=weight_bits, operand_bits=operand_bits))
    stored = stored_bias(qmodel.layers[0], row_bits_of(qmodel))
    digits, _ = bias_digits(stored, weight_bits, operand_bits, max(lifts_of(qmodel)))
    assert digits[0][1] <= 17
    report, _ = quantization_report(model, qmodel, x)
    assert report["layers"][0]["pre"]["max"] < (4e-3 if operand_bits == 16 else 4e-2)


def unlike(random_model, spread=1e4):
    """A model whose inputs have ranges of ``spread`` : 1, each of which matters, and inputs for it."""
    model, scales = random_model(3, 4, (6,), outputs=3), np.array([1.0, spread, 1.0, 0.1])
    first = model.layers[0]
    model = replace(model, layers=(replace(first, w_x=first.w_x / scales),))
    return model, inputs(3) * scales


@pytest.mark.parametrize("weight_bits", [8, 16])
def test_inputs_of_unlike_range_have_scales_of_their_own(random_model, weight_bits, tmp_path):
    model, x = unlike(random_model)
    ways = {"weight_bits": weight_bits, "fractions": "shared", "rounding": "nearest"}
    shared, scaled = (quantize(model, x, QuantConfig(**ways, scale_inputs=scale)) for scale in (False, True))
    assert shared.input_exponents == () and scaled.input_exponents == (13, 0, 13, 17)
    errors = [quantization_report(model, qmodel, x)[0]["output"]["mean"] for qmodel in (shared, scaled)]
    assert errors[1] < errors[0] / (1000 if weight_bits == 16 else 1)
    # The stored integers are those of the scaled numbers in a model whose matrix is divided.
    exponents = np.array(scaled.input_exponents)
    np.testing.assert_array_equal(scaled.quantize_input(x), scaled.input_format.quantize(x * 2.0**exponents))
    first = scaled.layers[0]
    np.testing.assert_array_equal(first.w_x, first.w_x_format.quantize(model.layers[0].w_x / 2.0**exponents))
    scaled.save(tmp_path / "q.safetensors")
    loaded = QuantModel.load(tmp_path / "q.safetensors")
    assert loaded.input_exponents == scaled.input_exponents and loaded.digest() == scaled.digest()
    assert scaled.digest() != replace(scaled, input_exponents=()).digest()


def test_inputs_of_like_range_are_stored_as_they_are(random_model):
    model, x = unlike(random_model, spread=10)
    assert quantize(model, x).input_exponents == ()


@pytest.mark.parametrize("exponents", [(1, 2), (0, 0, 0, 65), (0, 0, 0, 1.0)])
def test_exponents_that_do_not_fit(random_model, exponents):
    qmodel = quantize(random_model(0, 4, (6,)), inputs())
    with pytest.raises(ModelError, match="input_exponents"):
        replace(qmodel, input_exponents=exponents)


@pytest.mark.parametrize("weight_bits", [8, 16])
def test_weights_of_a_constant_input_are_not_clipped(weight_bits):
    """An input that hardly changes has a mean: a clipped weight of it moves every pre-activation."""
    rng = np.random.default_rng(0)
    w_x = rng.uniform(-0.2, 0.2, (32, 3))
    w_x[:, 1] = rng.uniform(-1.9, 1.9, 32)
    model = FloatModel((LstmWeights(w_x, rng.uniform(-0.2, 0.2, (32, 8)), np.zeros(32)),))
    x = rng.uniform(-1, 1, (20, 15, 3))
    x[:, :, 1] = 0.9
    config = QuantConfig(weight_bits=weight_bits, fractions="row", rounding="nearest")
    layer = quantize(model, x, config).layers[0]
    found = layer.w_x_format.to_float(layer.w_x) / np.exp2(layer.row_shift)[:, None]
    assert np.abs(found - w_x)[:, 1].max() < 2.0 ** (1 - weight_bits) * 1.1
