"""Formats that follow the data: proposals against plain counts, choices against the error of the outputs."""

import numpy as np
import pytest

from bench.accuracy import unlike_stack, unlike_sums
from lstm_hw.errors import ConfigError, FormatError
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.calibrate import RARE, Spread, survey
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights, PlainWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference
from lstm_hw.plan.sizing import engine_formats


def one_unit(gates, head=1.0):
    """A unit whose gates i, f, g, o are (weight of x, bias), and a head on every step."""
    weights, bias = zip(*gates, strict=True)
    layer = LstmWeights(np.array(weights)[:, None], np.zeros((4, 1)), np.array(bias, dtype=float))
    return FloatModel((layer,), DenseWeights(np.full((1, 1), head), np.zeros(1)), True)


COUNTER = one_unit([(0, 12), (0, 12), (5, 0), (0, 12)])
"""c counts up where x is 1 and down where it is -1."""
UP_AND_DOWN = np.concatenate([np.ones((1, 60, 1)), -np.ones((1, 55, 1))], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_spread_counts_and_errors(seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(2, 5000) * 10.0 ** rng.uniform(-2, 1)
    values = np.clip(values, -200, 200)
    values[:10] = 0, 1, -1, 0.5, 2, 4, -8, 0.25, 0, 16
    spread = Spread()
    for part in np.array_split(values, 7):
        spread.add(part)
    assert spread.peak == np.abs(values).max()
    for integer in range(-4, 8):
        assert spread.beyond(integer) == np.mean(np.abs(values) >= 2.0**integer)
        number_format = QFormat(integer, 11 - integer)
        rounded = number_format.to_float(number_format.quantize(values))
        assert spread.squared_error(number_format) == pytest.approx(np.mean((rounded - values) ** 2), rel=0.1)
    by_peak, by_percentile, by_error = (spread.proposals(12, 1.0, -4, 8) * 3)[:3]
    assert by_peak.holds(spread.peak) and not QFormat(by_peak.integer - 1, by_peak.fraction + 1).holds(spread.peak)
    formats = spread.proposals(12, 1.0, -4, 8)
    assert all(f.width == 12 for f in formats) and by_error in formats
    rare = next(i for i in range(-4, 9) if np.mean(np.abs(values) >= 2.0**i) <= RARE)
    assert rare in {f.integer for f in formats}
    assert spread.proposals(12, 4.0, -4, 12)[0].integer == by_peak.integer + 2


def test_survey_does_not_depend_on_blocks(random_model, monkeypatch):
    model, x = random_model(1, 3, (4, 5)), np.random.default_rng(0).standard_normal((9, 6, 3))
    whole = survey(model, x, 4)
    monkeypatch.setattr("lstm_hw.model.calibrate.TRACED", 1)
    parts = survey(model, x, 4)
    outputs, _ = float_reference(model, x)
    for found in (whole, parts):
        np.testing.assert_allclose(found.outputs, outputs[:4], atol=1e-12)
        assert (found.low, found.high) == pytest.approx((outputs.min(), outputs.max()))
    for places, others in zip(whole.layers, parts.layers, strict=True):
        for place in ("pre", "c", "h"):
            assert places[place].peak == pytest.approx(others[place].peak)
            assert [places[place].beyond(i) for i in range(-9, 4)] == [others[place].beyond(i) for i in range(-9, 4)]
    trace = {}
    float_reference(model, x, trace=trace)
    assert whole.layers[1]["c"].peak == np.abs(trace[1]["c"]).max()


def test_c_takes_the_bits_that_it_needs():
    """c to 60 and back takes more than 16 bits by itself; a c within 6 takes 16 of the usual format."""
    lines = []
    qmodel = quantize(COUNTER, UP_AND_DOWN, tell=lines.append)
    assert qmodel.layers[0].cell.integer == 7 and qmodel.layers[0].cell.width > 16
    report, _ = quantization_report(COUNTER, qmodel, UP_AND_DOWN)
    assert report["layers"][0]["c"]["clipped"] == 0 and report["output"]["max"] < 0.01
    assert any(line.startswith("c: Q7.12, for values up to 60; rms error") for line in lines)
    assert quantize(COUNTER, UP_AND_DOWN[:, :4]).layers[0].cell == QFormat(3, 12)
    fixed = quantize(COUNTER, UP_AND_DOWN, QuantConfig(cell_bits=16)).layers[0].cell
    assert fixed.width == 16 and fixed.integer >= 6


def test_pre_activations_and_h_take_what_pays():
    """Small values have more fraction bits, and the outputs are nearer to the float model for it."""
    rng = np.random.default_rng(0)
    shapes = (80, 8), (80, 20), (80,)
    model = FloatModel((LstmWeights(*(rng.uniform(-0.22, 0.22, shape) for shape in shapes)),))
    x, lines, trace = rng.uniform(-1, 1, (20, 50, 8)), [], {}
    qmodel = quantize(model, x, tell=lines.append)
    layer = qmodel.layers[0]
    float_reference(model, x, trace=trace)
    for place, number_format in (("pre", layer.preact), ("c", layer.cell), ("h", layer.hidden)):
        assert number_format.width == 16 and number_format.holds(1.25 * np.abs(trace[0][place]).max())
    assert layer.hidden.integer < 0 and layer.preact.integer < 3 and layer.cell.integer < 3
    assert [line.split(":")[0] for line in lines] == ["x", "c", "pre-activations", "h"]
    usual = QuantConfig(preact=QFormat(3, 12), cell=QFormat(3, 12), hidden=QFormat(0, 15))
    found, before = (quantization_report(model, q, x)[0]["output"]["mean"] for q in (qmodel, quantize(model, x, usual)))
    assert found < before / 2


def test_pre_activations_are_clipped_only_where_sigmoid_is_flat():
    """A few large pre-activations do not cost the many their fraction bits, but none that matters is clipped."""
    x = np.random.default_rng(1).uniform(-1, 1, (8, 60, 1))
    x[0, 0, 0] = 10
    for weight, integer in ((0.2, 2), (3.0, 3)):  # up to 2, and up to 30
        model = one_unit([(weight, 0), (weight, 1), (weight, 0), (weight, 0)])
        preact = quantize(model, x).layers[0].preact
        assert preact.integer >= integer and (preact.integer == 3 or preact.holds(1.25 * (10 * weight + 1)))


def test_formats_of_cells_of_a_model_without_cells():
    """They are told as not used, and no list has as many formats."""
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3, 2))
    model, lines = FloatModel((PlainWeights(np.eye(2), np.eye(2), np.zeros(2), activation="relu"),)), []
    qmodel = quantize(model, x, QuantConfig(hidden=QFormat(0, 15), cell=QFormat(3, 12)), tell=lines.append)
    assert qmodel.layers[0].hidden.integer > 0
    assert [line.split()[0] for line in lines if "not used" in line] == ["quantize.cell", "quantize.hidden"]
    with pytest.raises(ConfigError, match="quantize.hidden: 1 formats; must be one: there are no cells"):
        quantize(model, x, QuantConfig(hidden=(QFormat(0, 15),)))


@pytest.mark.parametrize("place", ["front", "between", "dense", "head"])
@pytest.mark.parametrize("cell", [LstmWeights, GruWeights])
def test_an_elu_passes_on_what_is_beyond_sigmoid(place, cell):
    """Its sums are outputs: 100 is not 8, wherever the layer stands."""
    rng = np.random.default_rng(3)

    def recurrent(inputs):
        rows = 12 if cell is LstmWeights else 9
        w_x, w_h, bias = (0.1 * rng.standard_normal(size) for size in ((rows, inputs), (rows, 3), (rows,)))
        return cell(w_x, w_h, bias) if cell is LstmWeights else cell.of_gates(w_x, w_h, bias, bias, "gru")

    def linear(inputs, factor=1.0, activation="none"):
        return DenseWeights(factor * rng.standard_normal((3, inputs)), np.zeros(3), activation=activation)

    x = rng.uniform(-1, 1, (4, 8, 2))
    first, *_ = float_reference(FloatModel((recurrent(2),)), x)
    of_x, of_h = linear(2, 30, "elu"), linear(3, 30 / np.abs(first).max(), "elu")
    layers = {
        "front": (PlainWeights.of_dense(of_x), recurrent(3)),
        "between": (recurrent(2), PlainWeights.of_dense(of_h), recurrent(3)),
    }.get(place, (recurrent(2),))
    linears = {"dense": (of_h, linear(3)), "head": (of_h,)}.get(place, (linear(3),))
    model = FloatModel(layers, linears[-1], True, dense=linears[:-1])
    outputs, _ = float_reference(model, x)
    errors = quantization_report(model, quantize(model, x), x)[0]["output"]
    assert errors["max"] < 0.03 * np.abs(outputs).max()


def test_widths_of_pre_activations(random_model):
    model, x = random_model(3, 4, (6,), outputs=2), np.random.default_rng(2).standard_normal((8, 20, 4))
    errors = {}
    for bits in (16, 20, "auto"):
        qmodel = quantize(model, x, QuantConfig(preact_bits=bits, fractions="shared", rounding="nearest"))
        errors[bits] = quantization_report(model, qmodel, x)[0]["output"]["mean"]
        assert bits == "auto" or qmodel.layers[0].preact.width == bits
    assert errors[20] < 0.7 * errors[16]


def test_few_values_of_h_are_clipped_where_bits_are_few():
    """With 8 bits the outputs are nearer when a rare large h is clipped; with 16 bits h keeps its margin."""
    rng = np.random.default_rng(0)
    shapes = (80, 8), (80, 20), (80,)
    model = FloatModel((LstmWeights(*(rng.uniform(-0.22, 0.22, shape) for shape in shapes)),))
    x, errors, trace = rng.standard_normal((16, 28, 8)), {}, {}
    float_reference(model, x, trace=trace)
    assert 0.4 < np.abs(trace[0]["h"]).max() < 0.7
    for name, more in (("auto", {}), ("whole", {"hidden": QFormat(0, 7)})):
        qmodel = quantize(model, x, QuantConfig(weight_bits=8, operand_bits=8, accumulator_bits=32, **more))
        errors[name] = quantization_report(model, qmodel, x)[0]["output"]["mean"]
        assert qmodel.layers[0].hidden == (QFormat(0, 7) if more else QFormat(-1, 8))
    assert errors["auto"] < 0.75 * errors["whole"]
    assert quantize(model, x).layers[0].hidden == QFormat(0, 15)


def test_c_of_a_layer():
    """Beside a c of several hundred, which leaves few fraction bits, a small one has more: the outputs are nearer."""
    model, x = unlike_stack(5)
    rest = {"preact": QFormat(3, 12), "hidden": QFormat(0, 15), "fractions": "shared", "rounding": "nearest"}
    qmodel, trace = quantize(model, x, QuantConfig(**rest)), {}
    float_reference(model, x, trace=trace)
    peaks = [np.abs(trace[n]["c"]).max() for n in (0, 1)]
    below, above = (layer.cell for layer in qmodel.layers)
    assert peaks[0] > 400 > 8 > peaks[1] and above.width == below.width == 24 and above.integer <= 4 < below.integer
    assert below.holds(1.25 * peaks[0]) and above.holds(1.25 * peaks[1])
    formats = engine_formats(qmodel)
    assert (formats["cell"], formats["c_shifts"]) == (below, (0, below.integer - above.integer))
    one = quantize(model, x, QuantConfig(**rest, cell=below))
    assert engine_formats(one)["c_shifts"] == ()
    own, common = (quantization_report(model, q, x)[0]["output"]["rms"] for q in (qmodel, one))
    assert own < 0.7 * common
    given = QuantConfig(cell=(below, above))
    assert QuantConfig.from_dict(given.to_dict()).cell == (below, above)
    assert quantize(model, x[:, :50], given).layers[1].cell == above
    with pytest.raises(ConfigError, match="quantize.cell: 1 formats; must be one, or one for each of 2 layers"):
        quantize(model, x[:, :50], QuantConfig(cell=(below,)))
    with pytest.raises(FormatError, match=r"quantize.cell: formats of \[24, 16\] bits; must be .* of one width"):
        QuantConfig(cell=(below, QFormat(3, 12)))


def test_preactivations_of_a_layer():
    """Under sums that reach 16 those that stay below 1 have their own fraction bits: the outputs are nearer."""
    model, x = unlike_sums(3)
    rest = {"cell": QFormat(3, 14), "hidden": QFormat(0, 15), "fractions": "shared", "rounding": "nearest"}
    qmodel, trace = quantize(model, x, QuantConfig(**rest)), {}
    float_reference(model, x, trace=trace)
    peaks = [np.abs(trace[n]["pre"]).max() for n in (0, 1)]
    below, above = (layer.preact for layer in qmodel.layers)
    assert peaks[0] > 12 and peaks[1] < 0.8 and above == QFormat(0, 15) and below.width == 16 and below.integer >= 3
    assert qmodel.unit.i_format == QFormat(below.integer, 15) and qmodel.preact == below
    formats = engine_formats(qmodel)
    assert (formats["preact"], formats["preact_shifts"]) == (below, (0, below.integer))
    one = quantize(model, x, QuantConfig(**rest, preact=below))
    assert engine_formats(one)["preact_shifts"] == ()
    own, common = (quantization_report(model, q, x)[0]["output"]["rms"] for q in (qmodel, one))
    assert own < 0.5 * common
    given = QuantConfig(preact=(QFormat(4, 11), QFormat(1, 14)))
    assert QuantConfig.from_dict(given.to_dict()).preact == given.preact
    assert [layer.preact for layer in quantize(model, x[:2], given).layers] == list(given.preact)
    for formats, error, message in (
        ((below,), ConfigError, "quantize.preact: 1 formats; must be one, or one for each of 2 layers"),
        ((below, QFormat(3, 16)), FormatError, r"quantize.preact: formats of \[16, 20\] bits; must be .* of one width"),
        (
            (QFormat(4, 11), QFormat(-1, 16)),
            FormatError,
            "quantize.preact: Q4.11 Q-1.16, 21 bits together; must",
        ),
    ):
        with pytest.raises(error, match=message):
            quantize(model, x[:2], QuantConfig(preact=formats))


def test_large_models_are_not_measured(monkeypatch):
    """Without measured errors the usual formats are taken where they hold the values, and no coarser c where not."""
    monkeypatch.setattr("lstm_hw.model.quantize.MEASURED_WEIGHTS", 1)
    lines = []
    layer = quantize(COUNTER, UP_AND_DOWN, tell=lines.append).layers[0]
    assert (layer.cell, layer.preact, layer.hidden) == (QFormat(7, 12), QFormat(3, 12), QFormat(0, 15))
    assert not any("rms" in line for line in lines)


def test_headroom_of_inputs(random_model):
    model, x = random_model(0, 4, (3,)), np.random.default_rng(0).uniform(-1, 1, (4, 5, 4))
    x[0, 0, 0] = 0.95
    lines = []
    assert quantize(model, x, tell=lines.append).input_format == QFormat(0, 15)
    assert quantize(model, x, QuantConfig(headroom=4.0)).input_format == QFormat(2, 13)
    assert lines[0].startswith("x: Q0.15, for values up to ") and lines[0].endswith("times as much")


def test_h_of_a_layer():
    """A layer whose h stays small has more fraction bits than the one above it, where the outputs are better for it."""
    rng = np.random.default_rng(2)
    quiet = LstmWeights(rng.uniform(-0.05, 0.05, (32, 3)), rng.uniform(-0.3, 0.3, (32, 8)), np.zeros(32))
    loud = LstmWeights(rng.uniform(-9, 9, (16, 8)), rng.uniform(-0.3, 0.3, (16, 4)), np.full(16, 1.5))
    model, x = FloatModel((quiet, loud)), rng.uniform(-1, 1, (30, 40, 3))
    fine = QuantConfig(preact=QFormat(3, 16), activation_format=QFormat(0, 17), activation="quadratic128")
    qmodel, trace = quantize(model, x, fine), {}
    float_reference(model, x, trace=trace)
    below, above = (layer.hidden for layer in qmodel.layers)
    assert below.integer < above.integer == 0 and below.width == above.width == 16
    assert below.holds(1.25 * np.abs(trace[0]["h"]).max()) and qmodel.layers[1].x_format == below
    formats = engine_formats(qmodel)
    assert (formats["hidden"], formats["h_shifts"]) == (above, (-below.integer, 0))
    given = quantize(model, x, QuantConfig(hidden=(QFormat(-1, 16), QFormat(0, 15))))
    assert [layer.hidden for layer in given.layers] == [QFormat(-1, 16), QFormat(0, 15)]
    with pytest.raises(ConfigError, match="quantize.hidden: 1 formats; must be one, or one for each of 2 layers"):
        quantize(model, x, QuantConfig(hidden=(QFormat(0, 15),)))
    with pytest.raises(FormatError, match="quantize.hidden: Q0.7; must be operand_bits = 16 bits wide"):
        QuantConfig(hidden=(QFormat(0, 15), QFormat(0, 7)))
    assert QuantConfig.from_dict(QuantConfig(hidden=(below, above)).to_dict()).hidden == (below, above)
