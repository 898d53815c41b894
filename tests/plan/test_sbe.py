"""Blocking-batching: proved by the checker, bit-identical to the resident schedule, reading memory once a batch."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.image.pack import pack
from lstm_hw.plan.checker import check
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.interpreter import Interpreter
from lstm_hw.plan.load_timing import MemoryModel
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.scenario import pack_beats
from tests.builders import config_of, random_network, random_x

CASES = {
    "two sequences": (
        24,
        8,
        4,
        2,
        8,
        {"rows": 16, "contexts": 2, "x_per_beat": 2, "x_elements": 128, "weight_words": 256},
    ),
    "one sequence": (40, 10, 6, 3, 7, {"rows": 16, "x_elements": 160, "weight_words": 400}),
    "batch of one": (40, 8, 3, 1, 9, {"rows": 8, "x_elements": 80, "weight_words": 400, "cells": 5}),
    "one batch": (33, 8, 5, 5, 1, {"rows": 32, "contexts": 3, "x_per_beat": 4, "x_elements": 180, "weight_words": 200}),
}


def planned(case, **fields):
    inputs, hidden, steps, batch, pinned, values = CASES[case]
    model = random_network(np.random.default_rng(7), (inputs, hidden))
    config = config_of(**values | fields, shifts=model.shifts, accumulators=64)
    return model, config, steps, BatchPlanner(model.network, config, steps, batch, pinned).plan()


@pytest.mark.parametrize("case", CASES)
def test_bits_equal_the_resident_schedule(case):
    model, config, steps, plan = planned(case)
    assert check(plan) > 0
    large = replace(config, weight_words=4096, x_elements=512)
    resident = ResidentPlanner(model.network, large).plan()
    reference = Interpreter(large, resident.program, pack(resident.image, model.layers, large))
    reference.run("load")
    interpreter = Interpreter(config, plan.program, pack(plan.image, model.layers, config), MemoryModel(latency=30))
    rng = np.random.default_rng(1)
    for clear in (True, False):
        x = random_x(rng, config.contexts, steps, model.network.layers[0].inputs)
        expected = reference.run("run", steps, clear, pack_beats(x, large)[0])
        assert interpreter.run("run", steps, clear, pack_beats(x, config, plan.x_order)[0]) == expected


@pytest.mark.parametrize("case", CASES)
def test_streams_the_tiles_once_a_batch(case):
    model, config, steps, plan = planned(case)
    batch = CASES[case][3]
    interpreter = Interpreter(config, plan.program, pack(plan.image, model.layers, config))
    x = random_x(np.random.default_rng(2), config.contexts, steps, model.network.layers[0].inputs)
    interpreter.run("run", steps, True, pack_beats(x, config, plan.x_order)[0])
    streamed = sum(t.words for t in plan.image.tiles if t.part == "x" and t.first_column + t.columns < CASES[case][0])
    resident = plan.image.words - streamed
    assert interpreter.timing.counters.read_beats == (resident + steps // batch * streamed) * config.beats_per_word


def test_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="engine.weight_words"):
        planned("two sequences", weight_words=40)
    with pytest.raises(ConfigError, match="engine.x_elements"):
        planned("two sequences", x_elements=24)
    with pytest.raises(ConfigError, match="engine.x_per_beat"):
        planned("two sequences", x_per_beat=1)
    model = random_network(np.random.default_rng(0), (24, 8))
    config = config_of(rows=16, shifts=model.shifts, accumulators=64)
    with pytest.raises(ConfigError, match="must divide the 5 steps"):
        BatchPlanner(model.network, config, 5, 2, 8)
    with pytest.raises(ConfigError, match="pinned"):
        BatchPlanner(model.network, config, 4, 2, 24)
    stacked = random_network(np.random.default_rng(0), (24, 8, 8))
    with pytest.raises(ConfigError, match="single LSTM layer"):
        BatchPlanner(stacked.network, config, 4, 2, 8)
