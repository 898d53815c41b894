"""One sequence without reuse over time: proved, the bits of an integer LSTM, and every word that streams read once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read
from tests.builders import config_of, random_network, smallest_buffer
from tests.sim.scenarios import plan_scenario

RUNS = ((3, True), (1, False), (2, False), (1, True))


def played(model, plan, memory):
    """Words read in each of RUNS, which must have the bits of an integer LSTM."""
    scenario = plan_scenario(model, plan, RUNS, memory)
    words = words_read(plan, RUNS)
    runs = scenario.runs[-len(RUNS) :]
    assert [run.counters["read_beats"] for run in runs] == [sum(w.values()) * plan.config.beats_per_word for w in words]
    return words


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_random_sizes(data):
    """Down to the smallest buffer; the last row block counts with all its rows."""
    draw = data.draw
    rows, contexts = draw(st.sampled_from((4, 8, 16, 32))), draw(st.integers(1, 3))
    inputs, hidden = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    model = random_network(np.random.default_rng(3), (inputs, hidden))
    blocks = -(-4 * hidden // rows)
    pinned = draw(st.integers(0, (blocks - 1) * (rows // 4)))
    config = config_of(
        rows=rows,
        contexts=contexts,
        x_per_beat=draw(st.sampled_from((1, 4))),
        x_elements=80,
        weight_words=blocks * pinned + 4,
        shifts=model.shifts,
        cells=draw(st.sampled_from((1, 2, 5))),
    )
    config = smallest_buffer(config, lambda smaller: ConventionalPlanner(model.network, smaller, pinned))
    plan = ConventionalPlanner(model.network, config, pinned).plan()
    assert check(plan) > 0
    bias = sum(columns for _, columns in model.network.layers[0].bias_columns)
    words = played(model, plan, MemoryModel(draw(st.integers(1, 40)), draw(st.integers(1, 4))))
    step = {"x": blocks * inputs, "h": blocks * (hidden - pinned), "bias": blocks * bias}
    assert words == [{part: steps * count for part, count in step.items()} for steps, _ in RUNS]


def test_time_is_that_of_the_memory():
    """A word takes two beats: no step after the first takes longer than its words, pinned or not."""
    model = random_network(np.random.default_rng(1), (40, 40))
    config = config_of(rows=16, axi_data_bits=128, x_elements=160, shifts=model.shifts, cells=5)
    for pinned in (0, 16):
        plan = ConventionalPlanner(model.network, config, pinned).plan()
        runs = ((2, True), (6, True))
        short, long = (run.counters["cycles"] for run in plan_scenario(model, plan, runs, MemoryModel(10)).runs[-2:])
        step = sum(words_read(plan, ((1, True),))[0].values()) * config.beats_per_word
        assert 4 * step <= long - short <= 4.04 * step


def test_time_is_that_of_the_lanes():
    """A word takes one beat: no more than 4 % of a step is lost between tiles and row blocks."""
    model = random_network(np.random.default_rng(1), (64, 64))
    config = config_of(rows=16, axi_data_bits=256, x_elements=128, shifts=model.shifts, cells=5, weight_words=512)
    plan = ConventionalPlanner(model.network, config).plan()
    short, long = (run.counters for run in plan_scenario(model, plan, ((2, True), (6, True)), MemoryModel(10)).runs)
    products = 16 * (2 + 64 + 64)  # with the bias
    assert 4 * products <= long["cycles"] - short["cycles"] <= 1.04 * 4 * products


def test_refuses_what_does_not_fit():
    model = random_network(np.random.default_rng(1), (8, 16))
    config = config_of(shifts=model.shifts, contexts=3, x_per_beat=4)
    with pytest.raises(ConfigError, match="pinned: 15; must be between 0 and 14 columns"):
        ConventionalPlanner(model.network, config, 15)
    with pytest.raises(ConfigError, match="engine.weight_words: 100; must be at least"):
        ConventionalPlanner(model.network, replace(config, weight_words=100), 14)
    with pytest.raises(ConfigError, match="with one group only"):
        RowBlockPlanner(model.network, config, groups=2, pinned=2)
    with pytest.raises(ConfigError, match="contexts: 2; must be 1 or the engine's 3"):
        RowBlockPlanner(model.network, config, contexts=2)
