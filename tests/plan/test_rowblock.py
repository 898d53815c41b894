"""Row blocks for many sequences: proved by the checker, the bits of an integer LSTM, every word read once a step."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import config_of, random_network
from tests.sim.scenarios import plan_scenario

CASES = {
    "whole row blocks": (24, 16, 3, {"rows": 16, "contexts": 2, "x_per_beat": 2}),
    "one group": (9, 12, 1, {"rows": 16, "contexts": 4, "x_per_beat": 4}),
    "last row block not full": (21, 11, 2, {"rows": 16, "contexts": 2, "x_per_beat": 2, "cells": 5}),
    "one row block": (7, 3, 4, {"rows": 16, "contexts": 3, "x_per_beat": 4, "cells": 2}),
    "one context": (13, 10, 3, {"rows": 8, "contexts": 1, "x_per_beat": 4}),
}


def planned(case, **fields):
    inputs, hidden, groups, values = CASES[case]
    model = random_network(np.random.default_rng(7), (inputs, hidden))
    values = {"x_elements": 256, "h_elements": 256, "states": 256, "weight_words": 128} | values | fields
    config = config_of(**values, shifts=model.shifts)
    return model, config, RowBlockPlanner(model.network, config, groups).plan()


@pytest.mark.parametrize("case", CASES)
def test_bits_and_traffic(case):
    model, config, plan = planned(case)
    assert check(plan) > 0
    runs = plan_scenario(model, plan, ((4, True), (1, False), (2, False), (3, True)), MemoryModel(latency=30)).runs
    assert [run.counters["read_beats"] for run in runs] == [run.steps * plan.image.beats(config) for run in runs]


def test_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="engine.h_elements"):
        planned("whole row blocks", h_elements=64)
    with pytest.raises(ConfigError, match="engine.states"):
        planned("whole row blocks", states=64)
