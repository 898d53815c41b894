"""Mixed precision: what the search finds is within the bound, and no bit more can go."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.model import quantize as quantize_module
from lstm_hw.model.precision import Trials, search
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import matrix_sizes, quantize
from lstm_hw.model.reference import float_reference, integer_reference
from lstm_hw.plan.sizing import network_of, stored_weight_bits
from tests.projects import float_model

WIDTHS = range(4, 10)
BOUND = 0.005


def case(hidden=(4,), outputs=3, seed=1):
    """A model, inputs, and the largest error of its outputs as a function of a quantised model."""
    rng = np.random.default_rng(seed)
    model, x = float_model(rng, hidden=hidden, outputs=outputs), rng.uniform(-1, 1, (6, 5, 3))
    exact = float_reference(model, x)[0]

    def measure(qmodel):
        stored, _ = integer_reference(qmodel, qmodel.quantize_input(x))
        return float(np.abs(qmodel.dequantize_output(stored) - exact).max())

    return model, x, measure


@pytest.mark.parametrize("fractions", ["shared", "matrix", "row"])
def test_every_matrix_has_its_own_width(fractions):
    model, x, _ = case((4, 3))
    bits = {"0.w_x": 6, "1.w_h": 3, "head": 5}
    qmodel = quantize(model, x, QuantConfig(weight_bits=8, matrix_bits=bits, fractions=fractions))
    widths = [f.width for layer in qmodel.layers for f in (layer.w_x_format, layer.w_h_format)]
    assert [*widths, qmodel.head.w_format.width] == [6, 8, 8, 3, 5]
    assert stored_weight_bits(qmodel) == 8
    assert qmodel.digest() != quantize(model, x, QuantConfig(weight_bits=8, fractions=fractions)).digest()


def test_widths_of_all_matrices_are_the_engines():
    """Named or not: the same model, whose engine is as wide as its widest matrix."""
    model, x, _ = case()
    named = QuantConfig(weight_bits=16, matrix_bits=dict.fromkeys(matrix_sizes(model), 6))
    qmodel = quantize(model, x, named)
    assert qmodel.digest() == quantize(model, x, QuantConfig(weight_bits=6)).digest()
    assert stored_weight_bits(qmodel) == 6
    assert network_of(qmodel).layers == network_of(quantize(model, x, QuantConfig(weight_bits=6))).layers


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        ({"0.w_x": 9}, "matrix_bits: 0.w_x: 9; must be an integer from 2 to weight_bits = 8"),
        ({"head": 1}, "matrix_bits: head: 1; must"),
        ({"head": True}, "matrix_bits: head: True; must"),
        ([6], r"matrix_bits: \[6\]; must be a table of integers"),
        ({"1.w_x": 4}, "matrix_bits: '1.w_x'; must be one of 0.w_x, 0.w_h, head"),
    ],
)
def test_widths_that_are_refused(bits, found):
    model, x, _ = case()
    with pytest.raises(ConfigError, match=found):
        quantize(model, x, QuantConfig(weight_bits=8, matrix_bits=bits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wider", [0, 2])
def test_no_single_bit_more_can_go(seed, wider):
    model, x, measure = case((4, 3), seed=seed)
    found = search(model, x, QuantConfig(), BOUND, measure, WIDTHS, wider=wider)
    assert found.finished and found.figure <= BOUND and found.uniform_figure <= BOUND
    assert found.engine_bits <= found.uniform + wider
    assert WIDTHS[0] < found.uniform and min(found.bits.values()) < found.uniform
    qmodel = quantize(model, x, found.config)
    assert qmodel.digest() == found.qmodel.digest() and measure(qmodel) == found.figure
    assert stored_weight_bits(qmodel) == found.engine_bits
    assert found.total == sum(size * found.bits[name] for name, size in matrix_sizes(model).items())
    assert found.total <= found.uniform_total
    for name in found.bits:
        if found.bits[name] > WIDTHS[0]:
            fewer = found.bits | {name: found.bits[name] - 1}
            config = replace(found.config, weight_bits=max(fewer.values()), matrix_bits=fewer)
            assert measure(quantize(model, x, config)) > BOUND, name
    for width in range(WIDTHS[0], found.uniform):
        assert measure(quantize(model, x, replace(found.config, weight_bits=width, matrix_bits=None))) > BOUND


@pytest.mark.parametrize("wider", [0, 3])
def test_fewest_of_all_in_a_tiny_case(wider):
    model, x, measure = case(outputs=0)
    config = QuantConfig(fractions="matrix")
    found = search(model, x, config, 0.02, measure, WIDTHS, wider=wider)
    trials = Trials(model, x, config, measure, 0.02, widths=WIDTHS)
    every = product(range(WIDTHS[0], found.uniform + wider + 1), repeat=2)
    mixed = [dict(zip(trials.sizes, bits, strict=True)) for bits in every]
    assert found.total == min(trials.total(bits) for bits in mixed if trials.loss(bits, 0) <= 0)
    assert found.total < found.uniform_total


def test_a_figure_to_be_high_is_the_same_search():
    model, x, measure = case()
    low = search(model, x, QuantConfig(), BOUND, measure, WIDTHS)
    high = search(model, x, QuantConfig(), -BOUND, lambda qmodel: -measure(qmodel), WIDTHS, higher=True)
    assert high.bits == low.bits and high.figure == -low.figure


def test_a_bound_that_no_width_meets():
    model, x, measure = case()
    with pytest.raises(
        ConfigError, match=r"bound of the precision: 1e-09; must be at least 0\.\d+, the best that .* 4 to 9 bits"
    ):
        search(model, x, QuantConfig(), 1e-9, measure, WIDTHS)


def test_evaluations_are_bounded_and_told():
    model, x, measure = case((4, 3))
    calls, told = [], []

    def counted(qmodel):
        calls.append(qmodel.digest())
        return measure(qmodel)

    whole = search(model, x, QuantConfig(), BOUND, counted, WIDTHS, progress=lambda *of: told.append(of))
    assert whole.evaluations == len(calls) and whole.evaluations > len(whole.bits)
    assert all(0 < done <= total for done, total in told)
    cut = search(model, x, QuantConfig(), BOUND, measure, WIDTHS, evaluations=whole.evaluations - 1)
    assert not cut.finished and cut.figure <= BOUND and cut.evaluations < whole.evaluations


def test_the_float_model_runs_once(monkeypatch):
    """Whatever the number of models that are tried."""
    runs, real = [], quantize_module._vectors
    monkeypatch.setattr(quantize_module, "_vectors", lambda *of: runs.append(of) or real(*of))
    model, x, measure = case()
    assert search(model, x, QuantConfig(), BOUND, measure, WIDTHS).evaluations > 3
    assert len(runs) == 1
