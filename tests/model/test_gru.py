"""A GRU in numbers: its formats, where accuracy goes, the record of its places, and fine-tuning."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ModelError
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.budget import error_budget, partly_rounded, places_of
from lstm_hw.model.calibrate import survey
from lstm_hw.model.error_report import quantization_report
from lstm_hw.model.float_model import DenseWeights, FloatModel, GruWeights, LstmWeights
from lstm_hw.model.load import load
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quant_layer import QuantGru
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.sizing import network_of
from lstm_hw.project.start import Sizes


def gru(rng, inputs, units, scale=0.8, bias=1.0, **form):
    matrices = (rng.uniform(-scale, scale, (3 * units, columns)) for columns in (inputs, units))
    return GruWeights.of_gates(*matrices, *rng.uniform(-bias, bias, (2, 3 * units)), "layer", **form)


@pytest.fixture(scope="module", params=[False, True], ids=["reset after", "reset before"])
def model(request):
    rng, form = np.random.default_rng(2), {"reset_before": request.param}
    head = DenseWeights(rng.uniform(-1, 1, (2, 5)), rng.uniform(-1, 1, 2))
    return FloatModel((gru(rng, 3, 6, **form), gru(rng, 6, 5, **form)), head, True)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(3).standard_normal((12, 20, 3))


def test_weights_that_a_gru_does_not_have():
    layer = gru(np.random.default_rng(2), 3, 6)
    for name, rows in (("w_x", "18 to 23"), ("w_h", "12 to 17")):
        with pytest.raises(
            ModelError, match=f"{name}: weights; must be zero in rows {rows}, which a gru does not have"
        ):
            GruWeights(**{"w_x": layer.w_x, "w_h": layer.w_h, "bias": layer.bias} | {name: getattr(layer, name) + 1})
    other = LstmWeights(np.ones((24, 6)), np.ones((24, 6)), np.ones(24))
    with pytest.raises(ModelError, match="layers of gru and of lstm; must be of one kind"):
        FloatModel((layer, other))
    before = gru(np.random.default_rng(2), 3, 6, reset_before=True)
    assert before.reset_before and not layer.reset_before and before.hidden_size == 6
    for row, column, where in (
        (0, 6, "0 to 11 and columns 6 to 11"),
        (12, 0, "12 to 17 and columns 0 to 5"),
        (23, 11, "18 to 23"),
    ):
        w_h = before.w_h.copy()
        w_h[row, column] = 1
        with pytest.raises(ModelError, match=f"w_h: weights; must be zero in rows {where}, which a gru does not have"):
            GruWeights(before.w_x, w_h, before.bias)


def test_reset_before_the_product():
    """n = tanh(W x + b + U (r*h)), written out."""
    rng = np.random.default_rng(6)
    (w_x, w_h), (b, more) = (rng.normal(size=(12, n)) for n in (3, 4)), rng.normal(size=(2, 12))
    layer = GruWeights.of_gates(w_x, w_h, b, more, "layer", reset_before=True)
    (w_r, w_z, w_n), (u_r, u_z, u_n), (b_r, b_z, b_n) = (np.split(part, 3) for part in (w_x, w_h, b + more))
    x, h, expected = rng.normal(size=(9, 3)), np.zeros(4), []
    for v in x:
        r, z = (1 / (1 + np.exp(-(w @ v + u @ h + c))) for w, u, c in ((w_r, u_r, b_r), (w_z, u_z, b_z)))
        h = (1 - z) * np.tanh(w_n @ v + b_n + u_n @ (r * h)) + z * h
        expected.append(h)
    np.testing.assert_allclose(float_reference(FloatModel((layer,)), x[None])[0][0], expected, atol=1e-12)


@pytest.mark.parametrize("what", ["thresholds", "sparse_h"])
def test_lists_are_refused_where_h_is_reset_before_its_product(what, x):
    model = FloatModel((gru(np.random.default_rng(2), 3, 4, reset_before=True),))
    qmodel = quantize(model, x)
    with pytest.raises(ConfigError, match="for a GRU that resets h before its product; must be for LSTM layers, or"):
        replace(qmodel, **{what: (1,) * (1 + (what == "thresholds"))})
    with pytest.raises(ConfigError, match=f"network: {what} for gru; must be none: a GRU that resets h before"):
        replace(network_of(qmodel), **{what: (1,) * (1 + (what == "thresholds"))})


def test_formats_hold_what_is_added(x):
    """n_x and n_h beyond 8 are held, though sigmoid and tanh are flat there; c has no integer bit."""
    rng = np.random.default_rng(4)
    layer = gru(rng, 3, 5, scale=0.5, bias=25.0)
    model = FloatModel((layer,))
    peak = max(spread.peak for spread in survey(model, x, 1).of("candidate"))
    assert peak > 16
    found = quantize(model, x).layers[0]
    assert isinstance(found, QuantGru)
    assert found.preact.holds(peak) and found.cell.integer == found.hidden.integer == 0
    outputs, _ = float_reference(model, x)
    qmodel = quantize(model, x)
    error = np.abs(qmodel.dequantize_output(integer_reference(qmodel, qmodel.quantize_input(x))[0]) - outputs)
    assert error.mean() < 2e-3


def test_a_wide_c_keeps_slow_changes(x):
    """z near 1: h moves by less than a bit of 16 a step, which a c of 24 bits holds."""
    rng = np.random.default_rng(5)
    layer = gru(rng, 3, 5, scale=0.05, bias=0.1)
    bias = layer.bias.copy()
    bias[5:10] += 9.0
    model = FloatModel((GruWeights(layer.w_x, layer.w_h, bias),))
    outputs, _ = float_reference(model, np.tile(x[:2], (1, 40, 1)))
    errors = []
    for cell in (QFormat(0, 15), QFormat(0, 23)):
        qmodel = quantize(model, x, QuantConfig(cell=cell, preact=QFormat(4, 15), activation_format=QFormat(0, 17)))
        found, _ = integer_reference(qmodel, qmodel.quantize_input(np.tile(x[:2], (1, 40, 1))))
        errors.append(np.abs(qmodel.dequantize_output(found) - outputs).mean())
    assert errors[1] < errors[0] / 3


def test_places_and_budget(model, x):
    qmodel = quantize(model, x, QuantConfig(weight_bits=8))
    stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    assert np.array_equal(partly_rounded(model, qmodel, x, places_of(qmodel)), qmodel.dequantize_output(stored))
    assert {entry["place"] for entry in error_budget(model, qmodel, x[:2])["by_place"]} >= {"pre", "c", "h"}
    report, _ = quantization_report(model, qmodel, x)
    assert {"r", "z", "n_x", "n_h", "pre", "c", "h"} <= report["layers"][1].keys() and "g" not in report["layers"][1]


def test_state_goes_from_call_to_call(model, x):
    qmodel = quantize(model, x)
    stored = qmodel.quantize_input(x)
    whole, after = integer_reference(qmodel, stored)
    first, state = integer_reference(qmodel, stored[:, :7])
    second, last = integer_reference(qmodel, stored[:, 7:], state)
    assert np.array_equal(np.concatenate([first, second], axis=1), whole)
    assert all(
        np.array_equal(a, b) for one, two in zip(after, last, strict=True) for a, b in zip(one, two, strict=True)
    )


def test_fine_tuning_has_the_bits_and_keeps_the_zeros(model, x):
    torch = pytest.importorskip("torch")
    from lstm_hw.model.fine_tune import FineTune

    qmodel = quantize(model, x, QuantConfig(weight_bits=5, rounding="nearest"))
    tuned = FineTune(model, qmodel)
    x = x[:4, :8]
    stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    outputs = tuned(torch.as_tensor(x))
    assert np.array_equal(outputs.detach().numpy(), qmodel.dequantize_output(stored))
    wanted = torch.as_tensor(float_reference(model, x)[0])
    errors = [(outputs - wanted).square().mean()]
    for _ in range(4):
        gradients = torch.autograd.grad(errors[-1], list(tuned.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(tuned.parameters(), gradients, strict=True):
                parameter -= 0.05 * gradient
        errors.append((tuned(torch.as_tensor(x)) - wanted).square().mean())
    assert errors[-1].item() < errors[0].item()
    assert tuned.quantized().kind == tuned.float_model().kind == "gru"


def test_sizes_without_a_model(tmp_path):
    """What `lstm-hw plan --kind gru` plans is what it writes."""
    sizes = Sizes(3, (5, 4), 2, True, kind="gru")
    model, read = sizes.model(), load(sizes.write(tmp_path))
    assert sizes.name == "gru_3_5_4_2" and read.kind == model.kind == "gru" and read.head_every_step
    for one, other in zip(model.layers, read.layers, strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("w_x", "w_h", "bias"))
