"""What a run has to do at the least: what its counters say."""

import random

import pytest

from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.period import walk
from lstm_hw.proof.timing import Timing
from lstm_hw.proof.work import Work, work
from tests.programs import random_engine, random_program
from tests.proof.test_period import plans


@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed):
    rng = random.Random(seed)
    config = random_engine(rng)
    program, timing, found = random_program(rng, config), Timing(config), Work(config)
    walk(timing, program, "run", 30, True)
    walk(found, program, "run", 30, True)
    assert (found.columns, found.beats) == (timing.counters.busy, timing.counters.read_beats)


def test_plans():
    for plan in plans(random.Random(3)):
        counters, found = count_cycles(plan, 32), work(plan, 32)
        assert (found.columns, found.beats) == (counters.busy, counters.read_beats)
