"""The benchmark of the activation units: rows of one unit, of an example, and what fails it."""

import json
from functools import partial

import numpy as np
import pytest

from bench import activations
from lstm_hw.errors import VerificationError
from lstm_hw.machine.formats import QFormat
from lstm_hw.model.quant_config import QuantConfig

COSTS = {
    "table_bits": 36,
    "multipliers": 0,
    "dsp": 0,
    "latency": 4,
    "lut_levels": 6,
}
"""At most, of PLAN."""


def test_rows_of_a_unit(tmp_path):
    rows = activations.unit_rows("plan", tmp_path)
    found = {(row.metric, row.config): row.ours for row in rows}
    for function, error, falls in (("sigmoid", 620.7, 2), ("tanh", 1241.3, 2)):
        assert found["max_lsb", f"{function}/plan"] == pytest.approx(error, abs=0.1)
        assert found["falls", f"{function}/plan"] == falls and found["not_opposite", f"{function}/plan"] == 0
        assert all(found[metric, f"{function}/plan"] <= most for metric, most in COSTS.items())
    assert json.loads(json.dumps([row.ours for row in rows])) == [row.ours for row in rows]


def test_counts_of_the_shared_tables():
    unit = activations.make_activation("quadratic128")
    assert [activations.falls(values) for values in unit.results] == [1, 2]
    assert activations.unlike(activations.make_activation("quadratic64"), True) == 25


def test_a_unit_that_breaks_a_rule_fails(monkeypatch, tmp_path):
    stat = {"lut": 1, "ff": 1, "dsp": 2, "bram36": 0, "lut_levels": 7, "tool": "none"}
    monkeypatch.setattr(activations, "synthesised", lambda *_: stat)
    monkeypatch.setattr(activations, "activation_component", lambda unit: None)
    with pytest.raises(VerificationError, match="quadratic: 7 LUTs in a row; must be at most 6"):
        activations.unit_rows("quadratic", tmp_path)
    with pytest.raises(VerificationError, match="linear: 2 DSP slices; must be 1, one a multiplier"):
        activations.unit_rows("linear", tmp_path)
    monkeypatch.setitem(activations.BOUNDS, "quadratic", (0.5, 1, 5376))
    stat["lut_levels"] = 6
    with pytest.raises(VerificationError, match=r"must be at most \[0.5, 1\] in 5376 bits"):
        activations.unit_rows("quadratic", tmp_path)
    monkeypatch.setattr(activations, "falls", lambda values: 1)
    with pytest.raises(VerificationError, match="sigmoid/quadratic: falls or is not odd-symmetric"):
        activations.unit_rows("quadratic", tmp_path)


def test_rows_of_an_example(monkeypatch):
    given = {"preact": QFormat(3, 12), "cell": QFormat(3, 12), "fractions": "matrix", "rounding": "nearest"}
    monkeypatch.setattr(activations, "QuantConfig", partial(QuantConfig, **given))
    rows = activations.example_rows("vowels", (16,), ("quadratic", "hard5"))
    found = {(row.metric, row.config): row.ours for row in rows}
    assert found["accuracy", "vowels/float"] == pytest.approx(95.68, abs=0.01)
    assert found["accuracy", "vowels/16 bits/quadratic"] > 95
    assert np.isclose(found["mean_error", "vowels/16 bits/quadratic"], 1.4e-4, rtol=0.5)
    assert found["mean_error", "vowels/16 bits/hard5"] > 0.01
