"""Values beyond their format: what the Verilog counts in each run is what the integer reference counts."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.machine.registers import CLIPPED_PLACES
from lstm_hw.project.api import convert
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.projects import float_model
from tests.simulators import QUICK

FORMATS = {"preact": "Q0.15", "cell": "Q-1.16", "hidden": "Q-2.17", "output": "Q-1.16", "input_format": "Q0.15"}


def scenario_of(quantize, stress=None, hidden=(7, 6), head_every_step=True, **engine):
    """Layers and a head in formats that are too small everywhere: those of the calibration inputs are near zero."""
    rng = np.random.default_rng(3)
    model = float_model(rng, inputs=5, hidden=hidden, outputs=5, head_every_step=head_every_step, scale=1.5)
    layers = tuple(replace(layer, bias=0 * layer.bias) for layer in model.layers)
    model = replace(model, layers=layers, head=replace(model.head, bias=0 * model.head.bias))
    x = rng.uniform(-1, 1, (3, 3, 5))
    engine = {"rows": 8, "count_clipped": True, **engine}
    made = convert(model, calibration=x / 1000, x=x, engine=engine, quantize={**FORMATS, **quantize}, name="tiny")
    return expect(made.plan, made.words, made.qmodel, made.qmodel.quantize_input(made.x), stress).scenario


@pytest.mark.parametrize(
    "quantize, fields, simulator",
    [
        # Outputs are bounded twice where pre-activations are wider; weights stream.
        ({"preact": "Q1.16"}, {"cells": 1, "hidden": (7,), "weight_words": 40}, QUICK),
        ({"preact": ("Q0.15", "Q2.13")}, {"cells": 2, "contexts": 2}, QUICK),
        ({}, {"cells": 5, "contexts": 2, "head_every_step": False, "stress": Stress(0.3, 0.3, 0.3)}, "verilator"),
    ],
    ids=["one cell, wide pre-activations, streamed", "two cells, pre-activations of layers", "five cells under stress"],
)
def test_counts_are_the_references(tmp_path, quantize, fields, simulator):
    scenario = scenario_of(quantize, **fields)
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine")
    played = play(scenario, verilog, tmp_path / "scenario", simulator=simulator)
    found = [run["clipped"] for run in played.runs]
    assert found == [run.clipped for run in scenario.runs]
    loads, *groups = found if not scenario.runs[0].outputs else (dict.fromkeys(CLIPPED_PLACES, 0), *found)
    assert not any(loads.values())
    assert all(min(run.values()) > 0 for run in groups), f"a place is not tested: {found}"
    assert len({str(run) for run in groups}) > 1
