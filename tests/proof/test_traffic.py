"""Words that a run reads, counted by matrix; columns that the lanes work on, counted by layer."""

import numpy as np
import pytest

from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.proof.traffic import columns_by_layer, words_read
from tests.builders import config_of, random_network


def test_every_word_once_a_step():
    model = random_network(np.random.default_rng(1), (5, 7))
    config = config_of(shifts=model.shifts)
    bias = sum(columns for _, columns in model.network.layers[0].bias_columns)
    step = {"x": 4 * 5, "h": 4 * 7, "bias": 4 * bias}  # four row blocks of two units, the last half empty
    runs = ((3, True), (2, False), (1, False))
    expected = [{part: steps * words for part, words in step.items()} for steps, _ in runs]
    assert words_read(RowBlockPlanner(model.network, config).plan(), runs) == expected


def test_a_load_entry():
    model = random_network(np.random.default_rng(1), (5, 7), head=9)
    config = config_of(shifts=model.shifts)
    plan = ResidentPlanner(model.network, config).plan()
    (counts,) = words_read(plan, ((1, False),), "load")
    assert sum(counts.values()) == plan.image.words
    assert counts["x"] == 4 * 5 + 2 * 7 and counts["h"] == 4 * 7  # W_x and the head's two row blocks; W_h
    interpreter = Interpreter(config, plan.program, np.zeros((plan.image.words, config.rows)))
    interpreter.run("load")
    assert interpreter.timing.counters.read_beats == sum(counts.values()) * config.beats_per_word
    assert words_read(plan, ((4, True),)) == [{"x": 0, "h": 0, "bias": 0}]


@pytest.mark.parametrize("steps", [1, 4])
def test_columns_of_resident_layers(steps):
    model = random_network(np.random.default_rng(2), (5, 7, 6), head=9, head_every_step=True)
    plan = ResidentPlanner(model.network, config_of(shifts=model.shifts)).plan()
    *layers, waits = columns_by_layer(plan, steps)
    assert layers == [steps * 4 * (5 + 7), steps * 3 * (7 + 6), steps * 2 * 6]  # row blocks of two units
    assert sum(layers) + waits == count_cycles(plan, steps).busy


def test_columns_through_the_ring():
    model = random_network(np.random.default_rng(3), (5, 12))
    config = config_of(shifts=model.shifts, contexts=2, accumulators=128, program_length=256)
    plan = SaccPlanner(model.network, config, pinned=1).plan()
    layer, waits = columns_by_layer(plan, 6)
    assert layer >= 6 * 6 * (5 + 12) // 2 and layer + waits == count_cycles(plan, 6).busy
