"""Chains of linear layers with activations: bits, cycles and counts of the emitted Verilog."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.machine.registers import CLIPPED_PLACES
from lstm_hw.model.float_model import GruWeights
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.projects import float_model, with_chain
from tests.simulators import QUICK

PAIRS = {"weight_bits": 8, "operand_bits": 8, "accumulator_bits": 32, "input_format": "Q0.7"}
FUSION = {"schedule": "fusion", "sequences": 1}
WIDE = {"preact": "Q3.16", "activation_format": "Q0.17"}
OWN = {"activation": "hard5/quadratic64", "preact": ("Q1.14", "Q3.12")}


@pytest.mark.parametrize(
    "kind, every_step, quantize, engine, sections, stress, simulator",
    [
        ("lstm", True, OWN, {"cells": 2}, {"delta": {"x": 0.1, "h": 0.01}}, None, QUICK),
        ("lstm", False, {**PAIRS, **WIDE, "activation": "pwl"}, {"cells": 5}, {}, Stress(0.3, 0.3, 0.3), "verilator"),
        (
            "lstm",
            True,
            WIDE,
            {"contexts": 2, "weight_words": 140},
            {"plan": {"schedule": "fusion", "sequences": 1}},
            None,
            QUICK,
        ),
        ("gru", True, OWN, {"cells": 2}, {}, Stress(0.3, 0.3, 0.3), QUICK),
        ("lstm", True, OWN, {"cells": 5, "parallel": True, "elu": True}, {}, None, QUICK),
    ],
    ids=["two cells, lists", "pairs, five cells, under stress", "streamed", "GRU", "a parallel cell"],
)
def test_bits_cycles_and_clipped_values(tmp_path, kind, every_step, quantize, engine, sections, stress, simulator):
    rng = np.random.default_rng(6)
    model = float_model(rng, inputs=5, hidden=(5, 6) if quantize is OWN else (6,), outputs=0)
    if kind == "gru":
        matrices = [[rng.uniform(-1, 1, (3 * units, columns)) for columns in (5, units)] for units in (5, 6)]
        layers = (GruWeights.of_gates(*pair, *np.zeros((2, len(pair[0]))), "layer") for pair in matrices)
        model = replace(model, layers=tuple(layers))
    model = replace(model, layers=tuple(replace(layer, bias=0 * layer.bias) for layer in model.layers))
    model = with_chain(model, every_step, sizes=(9, 5, 6, 4, 3, 5), bias=0)
    x = rng.uniform(-1, 1, (3, 3, 5))
    engine = {"rows": 8, "count_clipped": True, **engine}
    # Formats are those of calibration inputs near zero, so that values are clipped.
    config = ProjectConfig.from_dict({"name": "tiny", "model": {"path": "none"}, "engine": engine, **sections}, "here")
    made = convert(config, model=model, calibration=x / 100, x=x, quantize={"input_format": "Q0.15"} | quantize)
    scenario = expect(made.plan, made.words, made.qmodel, made.qmodel.quantize_input(made.x), stress).scenario
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine")
    played = play(scenario, verilog, tmp_path / "scenario", simulator=simulator)
    found = [run["clipped"] for run in played.runs]
    assert found == [run.clipped for run in scenario.runs]
    assert set(found[-1]) == set(CLIPPED_PLACES) and found[-1]["output"] > 0
