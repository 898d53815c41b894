"""Cell fusion: proved, the bits of an integer LSTM, W_x once a batch, the time of the slower of lanes and memory."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read
from tests.builders import config_of, random_network, smallest_buffer
from tests.sim.scenarios import plan_scenario


def engine(model, **fields):
    values = {"rows": 8, "contexts": 2, "x_elements": 512, "accumulators": 256, "program_length": 256}
    return config_of(**values | fields, shifts=model.shifts)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_sizes(data):
    """Down to the smallest buffer: two runs, the second goes on from the first; traffic of a run to the word."""
    draw = data.draw
    rows, inputs, hidden = draw(st.sampled_from((8, 16, 32))), draw(st.integers(1, 40)), draw(st.integers(1, 30))
    contexts, sets, batches = draw(st.integers(2, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
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
    steps = batch * batches
    config = smallest_buffer(config, lambda smaller: FusionPlanner(model.network, smaller, steps, batch))
    plan = FusionPlanner(model.network, config, steps, batch).plan()
    assert check(plan) > 0
    runs = ((steps, True), (steps, False))
    memory = MemoryModel(draw(st.integers(1, 40)), draw(st.integers(1, 4)))
    played = plan_scenario(model, plan, runs, memory).runs[-2:]
    blocks = -(-4 * hidden // rows)
    words = {"x": batches * blocks * inputs, "h": steps * blocks * hidden, "bias": 0}
    assert words_read(plan, runs) == [words, words]
    assert [run.counters["read_beats"] for run in played] == 2 * [sum(words.values()) * config.beats_per_word]


@pytest.mark.parametrize("interval", [1, 2, 4])
def test_time_of_the_slower_of_lanes_and_memory(interval):
    """A further batch: lanes take G (Lx / K + Lh) cycles a row block, memory ``interval`` times Lx + G Lh."""
    inputs, hidden, batch = 96, 32, 8
    model = random_network(np.random.default_rng(1), (inputs, hidden))
    config = engine(model, rows=8, axi_data_bits=128, x_per_beat=8, x_elements=1024, cells=5, weight_words=512)

    def cycles(batches):
        plan = FusionPlanner(model.network, config, batch * batches, batch).plan()
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
        FusionPlanner(model.network, config, 6, 3)
    with pytest.raises(ConfigError, match="steps: 6; must be a multiple of the batch of 4"):
        FusionPlanner(model.network, config, 6, 4)
    with pytest.raises(ConfigError, match="engine.contexts: 1; must be at least 2"):
        FusionPlanner(model.network, replace(config, contexts=1), 4, 4)
    with pytest.raises(ConfigError, match="engine.accumulators: 32; must be at least 33"):
        FusionPlanner(model.network, replace(config, accumulators=32), 8, 4)
    with pytest.raises(ConfigError, match="engine.x_elements: 64; must be at least 80"):
        FusionPlanner(model.network, replace(config, x_elements=64), 8, 4)
