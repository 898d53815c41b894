"""Cell fusion: proved, the bits of an integer LSTM, W_x once a batch, the time of the slower of lanes and memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.response import response
from lstm_hw.proof.traffic import words_read
from tests.builders import config_of, random_network, smallest_buffer
from tests.sim.scenarios import plan_scenario


def engine(model, **fields):
    values = {"rows": 8, "contexts": 2, "x_elements": 512, "accumulators": 256, "program_length": 512}
    return config_of(**values | fields, shifts=model.shifts)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_sizes(data):
    """Down to the smallest buffer, any number of steps: runs that go on from one another; traffic to the word."""
    draw = data.draw
    rows, inputs, hidden = draw(st.sampled_from((8, 16, 32))), draw(st.integers(1, 40)), draw(st.integers(1, 30))
    contexts, sets = draw(st.integers(2, 3)), draw(st.integers(1, 3))
    model = random_network(np.random.default_rng(3), (inputs, hidden))
    config = engine(
        model,
        rows=rows,
        contexts=contexts,
        x_per_beat=draw(st.sampled_from((1, 4))),
        cells=draw(st.sampled_from((1, 2, 5))),
        weight_words=16,
    )
    batch = contexts * sets
    config = smallest_buffer(config, lambda smaller: FusionPlanner(model.network, smaller, batch))
    plan = FusionPlanner(model.network, config, batch).plan()
    assert check(plan) > 0
    runs = [(draw(st.integers(1, 4 * batch)), clear) for clear in (True, False, False)]
    memory = MemoryModel(draw(st.integers(1, 40)), draw(st.integers(1, 4)))
    played = plan_scenario(model, plan, runs, memory).runs[-3:]
    blocks = -(-4 * hidden // rows)
    words = [{"x": -(-steps // batch) * blocks * inputs, "h": steps * blocks * hidden, "bias": 0} for steps, _ in runs]
    assert words_read(plan, runs) == words
    assert [run.counters["read_beats"] for run in played] == [sum(w.values()) * config.beats_per_word for w in words]


@pytest.mark.parametrize(
    "contexts, batch, sizes, head, every_step",
    [
        (2, 4, (7, 11), 0, False),
        (4, 8, (9, 12), 0, False),
        (2, 4, (7, 11), 3, False),
        (2, 6, (3, 1), 9, True),
        (2, 4, (7, 11, 5), 0, False),
        (2, 2, (5, 9, 12), 9, True),
        (2, 4, (7, 12, 8), 3, True),
        (3, 3, (7, 4, 9), 3, False),
        (2, 4, (3, 8, 12, 4), 5, False),
        (4, 4, (5, 9, 8), 3, True),
    ],
)
def test_every_length_of_the_last_batch(contexts, batch, sizes, head, every_step):
    """Runs of each number of steps up to three batches, from zero state and on; of one layer, stacks and heads."""
    model = random_network(np.random.default_rng(2), sizes, head, every_step)
    config = engine(model, contexts=contexts, x_per_beat=2, h_elements=256, states=64)
    plan = FusionPlanner(model.network, config, batch).plan()
    assert check(plan) > 0
    lengths = np.random.default_rng(5).permutation(np.arange(1, 3 * batch + 2)).tolist()
    plan_scenario(model, plan, [(steps, number % 4 == 0) for number, steps in enumerate(lengths)], MemoryModel(20, 2))


@pytest.mark.parametrize("interval", [1, 2, 4])
def test_time_of_the_slower_of_lanes_and_memory(interval):
    """A further batch: lanes take G (Lx / K + Lh) cycles a row block, memory ``interval`` times Lx + G Lh."""
    inputs, hidden, batch = 96, 32, 8
    model = random_network(np.random.default_rng(1), (inputs, hidden))
    config = engine(model, rows=8, axi_data_bits=128, x_per_beat=8, x_elements=1024, cells=5, weight_words=512)

    def cycles(batches):
        plan = FusionPlanner(model.network, config, batch).plan()
        return (
            plan_scenario(model, plan, ((batch * batches, True),), MemoryModel(10, interval))
            .runs[-1]
            .counters["cycles"]
        )

    blocks = 16
    lanes, memory = blocks * batch * (inputs / 2 + hidden), blocks * interval * (inputs + batch * hidden)
    assert (lanes > memory) == (interval == 1)
    further = (cycles(4) - cycles(2)) / 2
    assert max(lanes, memory) <= further < 1.08 * max(lanes, memory)
    if interval == 2:  # one after the other, the x products would wait for no memory and W_h for nothing else
        assert further < 0.85 * (blocks * batch * inputs / 2 + blocks * interval * batch * hidden)


def test_refuses_what_does_not_fit():
    model = random_network(np.random.default_rng(1), (20, 16))
    config = engine(model)
    with pytest.raises(ConfigError, match="batch: 3; must be a multiple of the 2 contexts"):
        FusionPlanner(model.network, config, 3)
    with pytest.raises(ConfigError, match="engine.contexts: 1; must be at least 2"):
        FusionPlanner(model.network, replace(config, contexts=1), 4)
    with pytest.raises(ConfigError, match="engine.accumulators: 32; must be at least 33"):
        FusionPlanner(model.network, replace(config, accumulators=32), 4)
    with pytest.raises(ConfigError, match="engine.x_elements: 64; must be at least 80"):
        FusionPlanner(model.network, replace(config, x_elements=64), 4)
    three = random_network(np.random.default_rng(1), (7, 5, 12, 9))
    with pytest.raises(ProgramError, match="must fit the program memory of 512"):
        FusionPlanner(three.network, engine(three, contexts=4), 8).plan()


def test_a_batch_waits_for_x_of_the_next_one():
    """So behind late x come the steps of two batches, where other schedules have done those of the first."""
    model = random_network(np.random.default_rng(3), (8, 16))
    batches = []
    for planner in (FusionPlanner, SaccPlanner):
        plan = planner(model.network, engine(model, weight_words=256), 4).plan()
        batch = count_cycles(plan, 8).cycles - count_cycles(plan, 4).cycles
        batches.append(min(response(plan)) / batch)
    assert batches[0] > 1.7 and batches[1] < 1.3
