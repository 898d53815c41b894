"""The recorded cycles add up to the counters of the cycle model."""

import numpy as np
import pytest

from lstm_hw.errors import ProgramError
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sizing import size_engine
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.proof.timeline import STATES, timeline
from tests.plan.test_sizing import random_network


@pytest.mark.parametrize("seed", range(12))
def test_states_add_up_to_the_counters(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    config = size_engine(network, rows=8, contexts=int(rng.integers(1, 3)), cells=int(rng.choice([1, 2, 5])))
    plan = ResidentPlanner(network, config).plan()
    for entry, steps in (("load", 1), ("run", 1), ("run", 5)):
        counters, states = count_cycles(plan, steps, entry=entry), timeline(plan, steps, entry=entry)
        assert len(states) == counters.cycles
        assert {name: int((states == n).sum()) for n, name in enumerate(STATES)} == {
            name: getattr(counters, name) for name in STATES
        }


def test_counters_are_the_interpreters():
    network = random_network(np.random.default_rng(3))
    config = size_engine(network, rows=4)
    plan = ResidentPlanner(network, config).plan()
    interpreter = Interpreter(config, plan.program, np.zeros((plan.image.words, 4)))
    interpreter.run("load")
    assert count_cycles(plan, 1, clear=False, entry="load") == interpreter.timing.counters
    interpreter.run("run", 3, True, np.zeros((3 * network.layers[0].inputs, 1), dtype=int))
    assert count_cycles(plan, 3) == interpreter.timing.counters


def test_unknown_entry():
    network = random_network(np.random.default_rng(3))
    plan = ResidentPlanner(network, size_engine(network, rows=4)).plan()
    with pytest.raises(ProgramError, match="entry: 'walk'"):
        timeline(plan, 1, entry="walk")
