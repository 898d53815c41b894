"""Plain layers among recurrent ones: bits, cycles and counts of the emitted Verilog."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.model.float_model import FloatModel
from lstm_hw.project.api import convert
from lstm_hw.project.settings import ProjectConfig
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import expect
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.plan.test_plain import cells, plain, rnn
from tests.simulators import QUICK


@pytest.mark.parametrize(
    "schedule, sequences, activation, simulator",
    [("resident", 2, "tanh", "verilator"), ("rowblock", 4, "tanh", QUICK), ("conventional", 1, "relu", QUICK)],
)
def test_a_projected_lstm(tmp_path, schedule, sequences, activation, simulator):
    """A layer in front, a projected LSTM and a plain RNN whose h is kept and sent."""
    rng = np.random.default_rng(6)
    model = FloatModel((*plain(rng, 5, 6, "elu"), *cells(rng, 6, 7, projection=3), *rnn(rng, 3, 6, activation)))
    bits_cycles_and_clipped_values(tmp_path, model, rng.uniform(-1, 1, (sequences, 3, 5)), schedule, simulator)


def test_batches_of_steps(tmp_path):
    """The same without a projection."""
    rng = np.random.default_rng(6)
    model = FloatModel((*plain(rng, 17, 36, "relu"), *cells(rng, 36, 7), *rnn(rng, 7, 6, "relu")))
    bits_cycles_and_clipped_values(tmp_path, model, rng.uniform(-1, 1, (1, 3, 17)), "sbe", QUICK)


def bits_cycles_and_clipped_values(tmp_path, model, x, schedule, simulator):
    """Of 8 bits, on as many contexts as sequences, but two at most."""
    engine = {"rows": 8, "contexts": min(2, len(x)), "count_clipped": True}
    quantize = {"weight_bits": 8, "operand_bits": 8, "accumulator_bits": 32, "input_format": "Q0.7"}
    values = {"name": "tiny", "model": {"path": "none"}, "engine": engine}
    values["plan"] = {"schedule": schedule, "sequences": len(x)}
    config = ProjectConfig.from_dict(values, "here")
    made = convert(config, model=model, calibration=x / 4, x=x, quantize=quantize)  # so that values are clipped
    stored = made.qmodel.quantize_input(made.x)
    scenario = expect(made.plan, made.words, made.qmodel, stored, Stress(0.3, 0.3, 0.3)).scenario
    verilog = write_verilog(tmp_path / "lstm_engine.v", Top(scenario.config), "lstm_engine")
    played = play(scenario, verilog, tmp_path / "scenario", simulator=simulator)
    found = [run["clipped"] for run in played.runs]
    assert found == [run.clipped for run in scenario.runs] and found[-1]["output"] > 0
