"""From the last beat of x to the last beat of the outputs: the cycle model and the emitted Verilog agree."""

import numpy as np
import pytest

import sim.play
from lstm_hw.machine.limits import SERIAL_SLOTS
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.response import late_beats, response
from lstm_hw.proof.timing import SETTLED
from lstm_hw.verify.scenario import Stress
from tests.builders import config_of, random_network
from tests.sim.engines import emitted
from tests.sim.scenarios import plan_scenario
from tests.simulators import QUICK

CASES = {
    "resident, head that adds x": (ResidentPlanner, {"head": 3, "head_every_step": True, "skip": True}),
    "resident, no head, two sequences": (ResidentPlanner, {}),
    "sbe": (lambda network, config: BatchPlanner(network, config, 2, 2, tile_columns=2), {"head": 5}),
    "sacc": (SaccPlanner, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_verilog_takes_as_long(tmp_path, name):
    """x of each run comes in another slot of the cell unit, so that each of the latencies is seen."""
    make, fields = CASES[name]
    model = random_network(np.random.default_rng(3), (4, 9), **fields)
    contexts = 2 if name in ("sacc", "resident, no head, two sequences") else 1
    config = config_of(rows=8, x_per_beat=2, contexts=contexts, weight_words=512, accumulators=16, **model.factors)
    plan = make(model.network, config).plan()
    expected = response(plan)
    late = count_cycles(plan, 2 * plan.batch).cycles + SETTLED + 100
    scenario = plan_scenario(model, plan, [(2 * plan.batch, True)] * SERIAL_SLOTS, stress=Stress(x_late=late))
    assert late_beats(plan) == len(scenario.runs[-1].x) // 2
    played = sim.play.play(scenario, emitted(tmp_path, scenario), tmp_path / "scenario", simulator=QUICK)
    found = [run["response"] for run in played.runs[-SERIAL_SLOTS:]]
    assert sorted(found) == sorted(expected) and min(found) > 20
