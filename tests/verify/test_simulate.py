"""Expectations of a simulation: packets, groups, and references that must agree."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import InputError, VerificationError
from lstm_hw.project.api import convert
from lstm_hw.proof.timeline import timeline
from lstm_hw.verify.simulate import Measured, _judge, expect, from_packets, grouped, packet_order, to_packets
from tests.projects import float_model


def project(seed=1, engine=None, head_every_step=False, outputs=3, **shape):
    rng = np.random.default_rng(seed)
    model = float_model(rng, outputs=outputs, head_every_step=head_every_step, **shape)
    x = rng.uniform(-1, 1, (5, 3, model.input_size))
    return convert(model, calibration=x, x=x, engine={"rows": 4, **(engine or {})}, name="tiny")


def expected_of(made, **options):
    return expect(made.plan, made.words, made.qmodel, made.qmodel.quantize_input(made.x), **options)


@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("contexts", [1, 3])
def test_packets_round_trip(contexts, every_step, head):
    shape = (contexts, 4, 5) if every_step else (contexts, 5)
    outputs = np.arange(np.prod(shape)).reshape(shape)
    packets = to_packets(outputs, head)
    assert [len(packet) for packet in packets] == [5 * contexts] * (4 if every_step else 1)
    np.testing.assert_array_equal(from_packets(packets, contexts, head, every_step), outputs)


def test_order_of_contexts():
    assert packet_order(2, 3, head=False).tolist() == [0, 3, 1, 4, 2, 5]
    assert packet_order(2, 6, head=True).tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 4, 5, 10, 11]


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
    np.testing.assert_array_equal(expected.outputs, made.predict(made.x, stored=True))
    runs, groups = expected.scenario.runs, -(-5 // made.engine.contexts)
    assert len(runs) == len(expected.counters) == groups + 2 and told[-1] == (groups + 1, groups + 1)
    assert [run.steps for run in runs] == [1, *[3] * groups, 8]
    assert runs[1].counters == timeline(made.plan, 3)[0].to_dict()
    assert runs[-1].counters == timeline(made.plan, 8)[0].to_dict() == made.estimate(3).long


def test_a_wrong_weight_is_found():
    made = project()
    made.words[made.words.shape[0] // 2] += 1000
    with pytest.raises(VerificationError, match=r"run 1, packet 0, element 0: interpreter gives -?\d+; must be -?\d+"):
        expected_of(made)


def test_no_sequence():
    made = project()
    with pytest.raises(InputError, match="must have at least one"):
        expect(made.plan, made.words, made.qmodel, np.zeros((0, 3, 3), dtype=int))


class Result:
    run_seconds, waves = 1.0, None


def judged(change):
    """What the judge says about the expected measurement after ``change``."""
    expected = expected_of(project())
    measured = [
        {"outputs": [list(p) for p in run.outputs], "counters": dict(counters)}
        for run, counters in zip(expected.scenario.runs, expected.counters, strict=True)
    ]
    change(measured)
    return _judge(expected, measured, "verilator", Result)


def test_judge_accepts_what_was_expected():
    measured = judged(lambda measured: None)
    assert measured.cycles_equal and measured.outputs.shape == (5, 3)
    assert Measured.from_dict(measured.to_dict()).to_dict() == measured.to_dict()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: m.pop(), "simulation: 6 runs; must be 7"),
        (lambda m: m[3]["outputs"][0].__setitem__(1, 9999), "run 3, packet 0, element 1: Verilog gives 9999; must be"),
        (lambda m: m[3]["outputs"][0].pop(), "run 3: Verilog sends packets of"),
        (lambda m: m[3]["outputs"].append([1]), "run 3: Verilog sends packets of"),
        (lambda m: m[6]["counters"].update(cycles=1), "run 6: counters .*must be"),
    ],
    ids=["run", "element", "short", "packet", "counter"],
)
def test_judge_finds_every_difference(change, message):
    with pytest.raises(VerificationError, match=message):
        judged(change)


def test_counters_do_not_matter_under_stress():
    expected = expected_of(project())
    expected.scenario.stress = replace(expected.scenario.stress, y_stall=0.5)
    measured = [
        {"outputs": run.outputs, "counters": {**counters, "cycles": 1}}
        for run, counters in zip(expected.scenario.runs, expected.counters, strict=True)
    ]
    assert _judge(expected, measured, "verilator", Result).cycles_equal is None
