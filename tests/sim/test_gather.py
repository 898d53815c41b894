"""Windows in Verilog: bits of the integer LSTM and counters of the interpreter, with pauses of memory and streams."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.plan.gather import GatherPlanner
from lstm_hw.proof.checker import check
from lstm_hw.verify.scenario import Stress
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.builders import balanced, config_of, random_network
from tests.sim.scenarios import plan_scenario

RUNS = ((3, True), (1, False), (2, False), (2, True))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Two layers for two sequences, a head on every step, lifted operands, windows that are hidden or not."""
    model = random_network(np.random.default_rng(5), (8, 16, 12), 3, True, lifts=((0, 3), (3, 0)))
    model = balanced(model, 4, 1)
    fields = {"window": 16, "contexts": 2, "x_per_beat": 2, "accumulators": 64, **model.factors}
    plan = GatherPlanner(model.network, config_of(**fields)).plan()
    check(plan)
    folder = tmp_path_factory.mktemp("gather")
    return model, plan, write_verilog(folder / "lstm_engine.v", Top(plan.config), "lstm_engine")


@pytest.mark.parametrize("stress", [None, Stress(0.3, 0.5, 0.3, seed=3), Stress(0.0, 0.9, 0.0, seed=4)])
def test_bits_and_cycles(tmp_path, stack, stress):
    model, plan, verilog = stack
    play(plan_scenario(model, plan, RUNS, stress=stress), verilog, tmp_path, image=plan.image)
