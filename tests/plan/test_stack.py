"""Stacked layers under streaming schedules: bits of an integer LSTM, whatever the pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.stack import stack
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import config_of, random_network
from tests.sim.scenarios import plan_scenario


def engine(model, **fields):
    values = {
        "rows": 16,
        "contexts": 2,
        "x_per_beat": 2,
        "h_elements": 256,
        "x_elements": 256,
        "states": 256,
        "weight_words": 1024,
        "accumulators": 128,
        "program_length": 256,
    }
    return config_of(**values | fields, shifts=model.shifts)


ANY_STEPS = {
    "sacc": lambda network, config: SaccPlanner(network, config).plan(),
    "conventional": lambda network, config: ConventionalPlanner(network, config).plan(),
    "pinned": lambda network, config: ConventionalPlanner(
        network, config, (network.layers[0].outputs - 1) // 4 * 4
    ).plan(),
    "row blocks": lambda network, config: RowBlockPlanner(network, config, 1).plan(),
}


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 18), min_size=2, max_size=3),
    schedule=st.sampled_from(sorted(ANY_STEPS)),
    pieces=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_bits_in_pieces(sizes, schedule, pieces, seed):
    model = random_network(np.random.default_rng(seed), sizes)
    joined = stack(model.network, engine(model), ANY_STEPS[schedule])
    for plan in joined.plans:
        check(plan)
    plan_scenario(model, joined, [(pieces[0][0], True), *pieces[1:]], MemoryModel(5), seed)


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 18), min_size=2, max_size=3), seed=st.integers(0, 99))
def test_bits_of_a_fixed_number_of_steps(sizes, seed):
    model = random_network(np.random.default_rng(seed), sizes)
    joined = stack(model.network, engine(model), lambda network, config: RowWindowPlanner(network, config, 4, 1).plan())
    plan_scenario(model, joined, [(4, True), (4, False), (4, True)], MemoryModel(5), seed)


def test_layers_with_schedules_of_their_own():
    model = random_network(np.random.default_rng(3), (7, 12, 9))
    makers = iter(2 * (ANY_STEPS["conventional"], ANY_STEPS["sacc"]))
    joined = stack(model.network, engine(model), lambda network, config: next(makers)(network, config))
    assert [plan.schedule for plan in joined.plans] == ["conventional", "sacc"]
    plan_scenario(model, joined, [(3, True), (2, False), (1, False)], MemoryModel(5))


def test_layers_have_memory_of_their_own():
    """The second layer's part begins where the first one's ends; the ring is behind all resident words."""
    model = random_network(np.random.default_rng(3), (7, 12, 9))
    joined = stack(model.network, engine(model), ANY_STEPS["sacc"])
    below, above = (plan.needs for plan in joined.plans)
    assert joined.phases == (2, 2)
    assert joined.entry(1, 3) == "layer1_1"
    cells = [c for c in joined.program.run(joined.entry(1), 1, True) if c.op == "CELL"]
    assert min(c.target for c in cells) == below["h_elements"]
    assert min(c.state for c in cells) == below["states"]
    stored = {c.target for c in joined.program.run(joined.entry(1), 1, True) if c.op == "MAC" and c.store}
    assert min(stored) == below["accumulators"]
    assert max(stored) <= below["accumulators"] + above["accumulators"] - 1
    per_word = joined.config.beats_per_word
    resident = max(c.base + c.beats // per_word for c in joined.program.run("load", 0, False) if c.op == "LOAD")
    assert {c.base for c in joined.program.run(joined.entry(0), 1, True) if c.op == "RING"} == {resident}


def test_refuses_what_does_not_fit():
    model = random_network(np.random.default_rng(3), (7, 12, 9))
    with pytest.raises(ConfigError, match="engine.states"):
        stack(model.network, engine(model, states=20), ANY_STEPS["sacc"])
    with pytest.raises(ConfigError, match="engine.h_elements"):
        stack(model.network, engine(model, h_elements=12), ANY_STEPS["sacc"])
    with pytest.raises(ProgramError, match="program memory"):
        stack(model.network, engine(model, program_length=160), ANY_STEPS["sacc"])
    headed = random_network(np.random.default_rng(3), (7, 12), head=3)
    with pytest.raises(ConfigError, match="head"):
        stack(headed.network, engine(headed), ANY_STEPS["sacc"])
