"""Rows of W_h for two time steps: proved, the bits of an integer LSTM, words read as the formula says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read
from tests.builders import config_of, random_network, smallest_buffer
from tests.sim.scenarios import plan_scenario


def engine(model, **fields):
    values = {"rows": 8, "contexts": 2, "accumulators": 64, "program_length": 256}
    return config_of(**values | fields, shifts=model.shifts)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_random_sizes(data):
    """Down to the smallest buffer: two runs, the second goes on from the first; traffic of a pair to the word."""
    draw = data.draw
    rows, inputs, hidden = draw(st.sampled_from((4, 8, 16, 32))), draw(st.integers(1, 40)), draw(st.integers(1, 40))
    model = random_network(np.random.default_rng(3), (inputs, hidden))
    blocks, units = -(-4 * hidden // rows), rows // 4
    window, pairs = draw(st.integers(0, blocks)), draw(st.integers(1, 3))
    config = engine(
        model,
        rows=rows,
        x_per_beat=draw(st.sampled_from((1, 4))),
        cells=draw(st.sampled_from((1, 2, 5))),
        weight_words=16,
    )
    config = smallest_buffer(config, lambda smaller: RowWindowPlanner(model.network, smaller, window))
    plan = RowWindowPlanner(model.network, config, window).plan()
    assert check(plan) > 0
    runs = ((2 * pairs, True), (2 * pairs, False))
    memory = MemoryModel(draw(st.integers(1, 40)), draw(st.integers(1, 4)))
    played = plan_scenario(model, plan, runs, memory).runs[-2:]
    # A row block's columns from h of `window` row blocks after its own on are loaded again.
    again = sum(hidden - (row + window) * units for row in range(blocks - window))
    words = {"x": pairs * blocks * inputs, "h": pairs * (blocks * hidden + again), "bias": 0}
    assert words_read(plan, runs) == [words, words]
    assert [run.counters["read_beats"] for run in played] == 2 * [sum(words.values()) * config.beats_per_word]


@pytest.mark.parametrize(
    "sizes, head, every_step", [((7, 11), 0, False), ((9, 8, 12), 3, True), ((5, 12, 8), 0, False)]
)
def test_steps_without_a_partner(sizes, head, every_step):
    """Runs of odd numbers of steps, of which the last is in a context by itself; also of stacked layers."""
    model = random_network(np.random.default_rng(2), sizes, head, every_step)
    config = engine(model, rows=16, x_per_beat=2, h_elements=64, states=64)
    plan = RowWindowPlanner(model.network, config, 1).plan()
    assert check(plan) > 0
    plan_scenario(model, plan, ((5, True), (1, False), (2, False), (1, True), (3, False)), MemoryModel(20, 2))


@pytest.mark.parametrize("window", range(9))
def test_saving_of_the_published_scheme(window):
    """Tiles of whole row blocks: nt^2 + (nt - w)(nt - w + 1)/2 a pair; between 1/4 and 1/2 is saved."""
    model = random_network(np.random.default_rng(1), (3, 16))
    plan = RowWindowPlanner(model.network, engine(model), window).plan()
    (words,) = words_read(plan, ((2, True),))
    tiles, tile = 8, 2
    left = tiles - window
    assert words["h"] == tile * (tiles**2 + left * (left + 1) // 2)
    saved, share = 1 - words["h"] / (2 * tiles * tile * tiles), window / tiles
    assert 0 <= 1 / 2 - (1 - share) ** 2 / 4 - saved <= 1 / (4 * tiles)


def test_refuses_what_does_not_fit():
    model = random_network(np.random.default_rng(1), (8, 16))
    config = engine(model)
    with pytest.raises(ConfigError, match="window: 9; must be between 0 and 8 row blocks"):
        RowWindowPlanner(model.network, config, 9)
    with pytest.raises(ConfigError, match="engine.contexts: 3; must be 2"):
        RowWindowPlanner(model.network, replace(config, contexts=3), 1)
    with pytest.raises(ConfigError, match="engine.weight_words: 64; must be at least"):
        RowWindowPlanner(model.network, replace(config, weight_words=64), 4)
    with pytest.raises(ConfigError, match="engine.accumulators: 8; must be at least 9"):
        RowWindowPlanner(model.network, replace(config, accumulators=8), 4)
