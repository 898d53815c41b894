"""The error budget: the model between the float and the integer one."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.machine.formats import QFormat
from lstm_hw.model.budget import PLACES, error_budget, partly_rounded, places_of
from lstm_hw.model.float_model import HEAD
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.model.reference import float_reference, integer_reference
from tests.projects import float_model, with_chain

MODELS = [
    ({}, {}),
    ({"hidden": (5, 4), "head_every_step": True}, {"weight_bits": 6}),
    ({"hidden": (4,), "outputs": 0}, {"activation": "pwl", "cell": QFormat(6, 12)}),
    ({"hidden": (3, 5)}, {"preact": QFormat(2, 13), "cell": QFormat(2, 13)}),
    ({"chain": True}, {}),
    ({"functions": ("hard5", "tanh")}, {"activation": "pwl"}),
    ({"functions": ("hard6", "hard5")}, {}),
    ({"chain": False}, {"weight_bits": 8, "preact": QFormat(3, 16)}),
]


def made(model, config, seed=1, unlike=False):
    rng = np.random.default_rng(seed)
    model = dict(model)
    chain, functions = model.pop("chain", None), model.pop("functions", ("sigmoid", "tanh"))
    model = replace(float_model(rng, scale=1.5, **model), functions=functions)
    if chain is not None:
        model = with_chain(model, chain)
    x = rng.uniform(-1, 1, (7, 6, 3)) * ([1, 30, 1000] if unlike else 1)
    return model, quantize(model, x, QuantConfig(**config)), x * 1.3


@pytest.mark.parametrize("model, config", MODELS)
@pytest.mark.parametrize("unlike", [False, True])
def test_all_places_together_are_the_integer_reference(model, config, unlike):
    model, qmodel, x = made(model, config, unlike=unlike)
    outputs, _ = integer_reference(qmodel, qmodel.quantize_input(x))
    found = partly_rounded(model, qmodel, x, places_of(qmodel))
    np.testing.assert_array_equal(found, qmodel.dequantize_output(outputs))


@pytest.mark.parametrize("model, config", MODELS)
def test_no_place_is_the_float_reference(model, config):
    model, qmodel, x = made(model, config, unlike=True)
    np.testing.assert_allclose(partly_rounded(model, qmodel, x, ()), float_reference(model, x)[0], atol=1e-12)


@pytest.mark.parametrize(
    "places, config",
    [
        ({"w_x", "w_h", "weight"}, {"weight_bits": 3, "fractions": "shared", "rounding": "nearest"}),
        ({"x", "w_h"}, {"input_format": QFormat(13, 2)}),
        ({"pre", "c"}, {"preact": QFormat(11, 4), "cell": QFormat(11, 4)}),
        ({"c"}, {"cell": QFormat(0, 15)}),
        ({"h"}, {"hidden": QFormat(12, 3)}),
    ],
)
def test_the_coarse_place_is_named(places, config):
    model, qmodel, x = made({"hidden": (4, 4)}, config)
    budget = error_budget(model, qmodel, x / 1.3)
    ordered = sorted(budget["by_place"], key=lambda entry: -entry["rms"])
    assert ordered[0]["place"] in places
    assert {entry["place"] for entry in ordered[: len(places)]} == places


def test_budget_has_every_place_and_counts_runs():
    model, qmodel, x = made({"hidden": (4, 3)}, {"weight_bits": 8})
    calls = []
    budget = error_budget(model, qmodel, x, lambda *call: calls.append(call))
    assert [(entry["layer"], entry["place"]) for entry in budget["places"]] == places_of(qmodel)
    assert {entry["place"] for entry in budget["by_place"]} == set(PLACES) - {"skip"}
    assert [entry["layer"] for entry in budget["together"]] == [0, 1, HEAD]
    assert calls == [(n, len(calls)) for n in range(1, len(calls) + 1)]
    exact = float_reference(model, x)[0]
    outputs = qmodel.dequantize_output(integer_reference(qmodel, qmodel.quantize_input(x))[0])
    assert budget["all"]["max"] == pytest.approx(np.abs(outputs - exact).max())
    assert budget["all"]["ratio_db"] == pytest.approx(10 * np.log10(((outputs - exact) ** 2).sum() / (exact**2).sum()))
    assert budget["sequences"] == 7
