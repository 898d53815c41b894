"""Words that a run reads, counted by matrix."""

import numpy as np

from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.proof.traffic import words_read
from tests.builders import config_of, random_network


def test_every_word_once_a_step():
    model = random_network(np.random.default_rng(1), (5, 7))
    config = config_of(shifts=model.shifts)
    bias = sum(columns for _, columns in model.network.layers[0].bias_columns)
    step = {"x": 4 * 5, "h": 4 * 7, "bias": 4 * bias}  # four row blocks of two units, the last half empty
    runs = ((3, True), (0, False), (1, False))
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
