"""Expectations of a simulation: groups, and outputs and counters from its runs."""

import numpy as np
import pytest

from lstm_hw.errors import InputError
from lstm_hw.project.api import convert
from lstm_hw.proof.count import count_cycles
from lstm_hw.verify.scenario import Stress
from lstm_hw.verify.simulate import Measured, expect, grouped
from tests.projects import float_model


def project(seed=1, engine=None, head_every_step=False, outputs=3, **shape):
    rng = np.random.default_rng(seed)
    model = float_model(rng, outputs=outputs, head_every_step=head_every_step, **shape)
    x = rng.uniform(-1, 1, (5, 3, model.input_size))
    return convert(model, calibration=x, x=x, engine={"rows": 4, **(engine or {})}, name="tiny")


def expected_of(made, **options):
    return expect(made.plan, made.words, made.qmodel, made.qmodel.quantize_input(made.x), **options)


def test_last_group_is_filled_up():
    x = np.arange(5)[:, None, None]
    np.testing.assert_array_equal(grouped(x, 2)[..., 0, 0], [[0, 1], [2, 3], [4, 4]])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"engine": {"contexts": 2, "cells": 2}},
        {"outputs": 0},
        {"head_every_step": True},
        {"hidden": (4, 3), "engine": {"contexts": 3, "cells": 5}, "head_every_step": True},
    ],
)
def test_outputs_are_the_references(options):
    made = project(**options)
    told = []
    expected = expected_of(made, progress=lambda *done: told.append(done))
    runs, groups = expected.scenario.runs, -(-5 // made.engine.contexts)
    outputs = expected.outputs([run.outputs for run in runs])
    np.testing.assert_array_equal(outputs, made.predict(made.x, stored=True))
    assert len(runs) == groups + 2 and told[-1] == (3 * groups + 8, 3 * groups + 8)
    assert [run.steps for run in runs] == [1, *[3] * groups, 8]
    assert runs[1].counters == count_cycles(made.plan, 3).to_dict()
    assert runs[-1].counters == count_cycles(made.plan, 8).to_dict() == made.estimate(3).long


def test_no_sequence():
    made = project()
    with pytest.raises(InputError, match="must have at least one"):
        expect(made.plan, made.words, made.qmodel, np.zeros((0, 3, 3), dtype=int))


@pytest.mark.parametrize("count_clipped", [False, True])
def test_measured_outputs_are_those_of_the_packets(count_clipped):
    expected = expected_of(project(engine={"count_clipped": count_clipped}))
    clipped = {"preact": 1, "c": 0, "h": 2, "output": 5}
    runs = [
        {"outputs": run.outputs, "counters": run.counters, "clipped": clipped if count_clipped else None}
        for run in expected.scenario.runs
    ]
    measured = Measured.of(expected, "verilator", runs)
    assert measured.cycles_equal and measured.outputs.shape == (5, 3)
    np.testing.assert_array_equal(measured.outputs, expected.outputs([run["outputs"] for run in runs]))
    assert (measured.load, measured.run, measured.long) == tuple(runs[n]["counters"] for n in (0, 1, -1))
    total = {place: count * len(runs) for place, count in clipped.items()}
    assert measured.clipped == (total if count_clipped else None)
    assert Measured.from_dict(measured.to_dict()).to_dict() == measured.to_dict()
    with pytest.raises(InputError, match="clipped: .*; must be as it was written: simulate again"):
        Measured.from_dict({**measured.to_dict(), "clipped": {"preact": 1}})
    expected.scenario.stress = Stress(y_stall=0.5)
    assert Measured.of(expected, "verilator", runs).cycles_equal is None
