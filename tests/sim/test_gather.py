"""Windows in Verilog: bits of the integer LSTM and counters of the interpreter, with pauses of memory and streams."""

import numpy as np
import pytest

from lstm_hw.gateware.top import Top
from lstm_hw.plan.gather import GatherPlanner
from lstm_hw.plan.gather_batch import GatherBatchPlanner
from lstm_hw.plan.gather_sacc import GatherSaccPlanner
from lstm_hw.proof.checker import check
from lstm_hw.verify.scenario import Stress
from lstm_hw.verilog.emit import write_verilog
from sim.play import play
from tests.builders import balanced, config_of, random_network
from tests.sim.scenarios import plan_scenario
from tests.simulators import QUICK

RUNS = ((4, True), (1, False), (2, False), (3, True))


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Two sequences, lifted operands, words of two beats and a bit, windows of which some are not hidden."""
    model = random_network(np.random.default_rng(5), (24, 12), 3, lifts=((0, 3),))
    model = balanced(model, 4, 1)
    fields = {"window": 16, "contexts": 2, "x_per_beat": 2, "x_elements": 128, "accumulators": 64, **model.factors}
    config = config_of(**fields, program_length=512)
    folder = tmp_path_factory.mktemp("gather")
    return model, config, write_verilog(folder / "lstm_engine.v", Top(config), "lstm_engine")


@pytest.mark.parametrize("stress", [None, Stress(0.3, 0.5, 0.3, seed=3)], ids=["", "pauses"])
@pytest.mark.parametrize(
    "make",
    [
        GatherPlanner,
        lambda *engine: GatherBatchPlanner(*engine, 3, 1, 3),
        lambda *engine: GatherSaccPlanner(*engine, 3, 2),
    ],
    ids=["", "sbe", "sacc"],
)
def test_bits_and_cycles(tmp_path, engine, make, stress):
    model, config, verilog = engine
    plan = make(model.network, config).plan()
    check(plan)
    play(plan_scenario(model, plan, RUNS, stress=stress), verilog, tmp_path, image=plan.image)


@pytest.mark.parametrize("planner, options", [(GatherSaccPlanner, (2, 2)), (GatherBatchPlanner, (2, 1, 2))])
def test_a_stack(tmp_path, planner, options):
    """Layers take turns, a head gives the outputs of every step."""
    model = balanced(random_network(np.random.default_rng(6), (4, 8, 8), 2, True), 4, 1)
    config = config_of(window=4, accumulators=64, finish_entries=64, program_length=512, **model.factors)
    plan = planner(model.network, config, *options).plan()
    check(plan)
    verilog = write_verilog(tmp_path / "rtl" / "lstm_engine.v", Top(config), "lstm_engine")
    scenario = plan_scenario(model, plan, RUNS, stress=Stress(0.3, 0.5, 0.3, seed=3))
    play(scenario, verilog, tmp_path / "sim", image=plan.image, simulator=QUICK)


def test_operands_of_8_bits(tmp_path):
    """Each row has a DSP slice and an operand to itself, where rows without windows share them in pairs."""
    model = random_network(np.random.default_rng(5), (8, 8), weight_bits=8, operand_bits=8)
    model = balanced(model, 4, 1)
    config = config_of(window=4, **model.factors)
    assert config.lanes_per_dsp == 1
    plan = GatherPlanner(model.network, config).plan()
    check(plan)
    verilog = write_verilog(tmp_path / "rtl" / "lstm_engine.v", Top(config), "lstm_engine")
    scenario = plan_scenario(model, plan, RUNS, stress=Stress(0.3, 0.5, 0.3, seed=3))
    play(scenario, verilog, tmp_path / "sim", image=plan.image, simulator=QUICK)
