"""A linear layer that reads h of all steps, with another one behind it: bits and cycles of the emitted Verilog."""

import numpy as np

from lstm_hw.gateware.top import Top
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.plan.test_all_steps import STEPS, model_of
from tests.simulators import QUICK


def test_bits_and_cycles(tmp_path):
    """Two sequences side by side, several row blocks, and a longer run."""
    x = np.random.default_rng(2).uniform(-1, 1, (4, STEPS, 3))
    values = {"name": "tiny", "model": {"path": "none"}, "engine": {"rows": 4, "contexts": 2}, "plan": {"sequences": 2}}
    model = model_of((6, 2), ("relu", "none"), (5, 3))
    made = convert(ProjectConfig.from_dict(values, "here"), model=model, calibration=x, x=x)
    stored = made.qmodel.quantize_input(made.x)
    scenario = expect(made.plan, made.words, made.qmodel, stored, Stress()).scenario
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine")
    play(scenario, verilog, tmp_path / "scenario", simulator=QUICK)
    assert made.verdict()["within_bound"] and made.estimate().run["cycles"] == scenario.runs[1].counters["cycles"]
