"""Layers that wait for h of all steps: bits and cycles of the emitted Verilog, with and without pauses."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.plan.test_waits import models
from tests.simulators import QUICK

STRESS = Stress(x_idle=0.3, y_stall=0.4, memory_stall=0.2, seed=3)


@pytest.mark.parametrize(
    "kind, name, rows, sequences, stress, simulator",
    [
        ("lstm", "every step", 8, 1, STRESS, "verilator"),
        ("gru", "three steps", 16, 2, Stress(), QUICK),
    ],
)
def test_bits_and_cycles(tmp_path, kind, name, rows, sequences, stress, simulator):
    """A run, and one of more steps than are kept; outputs of as many steps as x has, or of others."""
    x = np.random.default_rng(2).uniform(-1, 1, (4, 5, 3))
    engine = {"rows": rows, "contexts": sequences}
    values = {"name": "tiny", "model": {"path": "none"}, "engine": engine, "plan": {"sequences": sequences}}
    made = convert(ProjectConfig.from_dict(values, "here"), model=models(kind)[name], calibration=x, x=x)
    stored = made.qmodel.quantize_input(made.x)
    scenario = expect(made.plan, made.words, made.qmodel, stored, stress).scenario
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine")
    play(scenario, verilog, tmp_path / "scenario", simulator=simulator)
    assert made.verdict()["within_bound"] and made.estimate().run["cycles"] == scenario.runs[1].counters["cycles"]
