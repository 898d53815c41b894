"""Engines with memories whose counters go beyond powers of two, and operands that come late: what a counter that is too
narrow takes to be there already changes the outputs."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.projects import float_model, with_chain
from tests.sim.scenarios import streaming_scenario

LATE = Stress(0.5, 0.3, 0.3, memory_latency=40, x_late=3000)


def many_operands():
    """A vector of x, and one of outputs that is read again, of more elements than an offset of a command can name."""
    rng = np.random.default_rng(3)
    model = with_chain(
        float_model(rng, inputs=4100, hidden=(1,), outputs=0), sizes=(4100, 2), activations=("relu", "none")
    )
    depths = {"weight_words": 18460, "x_elements": 8200, "h_elements": 8204, "states": 4097, "accumulators": 2060}
    engine = {"rows": 4, **depths, "finish_entries": 1030, "program_length": 512}
    sections = {"model": {"path": "none"}, "engine": engine, "plan": {"schedule": "resident", "sequences": 1}}
    x = rng.uniform(-1, 1, (1, 2, 4100))
    made = convert(ProjectConfig.from_dict({"name": "deep"} | sections, "here"), model=model, calibration=x, x=x)
    return expect(made.plan, made.words, made.qmodel, made.qmodel.quantize_input(made.x), LATE).scenario


def many_sums():
    """Sums of a batch whose entries are more than a byte can name, and a ring that wraps at no power of two."""
    shape = {"inputs": 6, "units": 8, "steps": 200, "batch": 200, "pinned": 2, "tile_columns": 2, "rows": 16}
    depths = {"x_elements": 4098, "h_elements": 4096, "states": 4096, "accumulators": 402, "weight_words": 100}
    return streaming_scenario(5, **shape, **depths, finish_entries=300, stress=LATE)


@pytest.mark.parametrize("made", [many_operands, many_sums])
def test_bits_of_late_operands(tmp_path, made):
    scenario = made()
    play(
        scenario, write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine"), tmp_path / "scenario"
    )
