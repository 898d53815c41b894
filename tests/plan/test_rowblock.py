"""Row blocks for many sequences: proved by the checker, the bits of an integer LSTM, every word read once a step."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError
from lstm_hw.machine.pack import pack
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.interpreter import Interpreter
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.verify.scenario import pack_beats
from tests.builders import IntegerNetwork, config_of, random_network, random_x

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


def reference(model, config, x, networks):
    """h of every sequence (sequences, steps, Lh); ``networks`` keep their state."""
    return np.array([network.run(sequence) for network, sequence in zip(networks, x, strict=True)])


@pytest.mark.parametrize("case", CASES)
def test_bits_and_traffic(case):
    model, config, plan = planned(case)
    assert check(plan) > 0
    interpreter = Interpreter(config, plan.program, pack(plan.image, model.layers, config), MemoryModel(latency=30))
    rng = np.random.default_rng(1)
    networks = [IntegerNetwork(model, config) for _ in range(plan.sequences)]
    for steps, clear in ((4, True), (1, False), (2, False), (3, True)):
        x = random_x(rng, plan.sequences, steps, model.network.layers[0].inputs)
        if clear:
            [network.clear() for network in networks]
        expected = plan.packets(reference(model, config, x, networks))
        assert interpreter.run("run", steps, clear, pack_beats(x, config)[0]) == expected
        assert interpreter.timing.counters.read_beats == steps * plan.image.beats(config)


def test_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="engine.h_elements"):
        planned("whole row blocks", h_elements=64)
    with pytest.raises(ConfigError, match="engine.states"):
        planned("whole row blocks", states=64)
