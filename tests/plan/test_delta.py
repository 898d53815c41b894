"""Programs that walk lists: bits of the reference, what the checker refuses, and what is assumed of activity."""

import re
from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.machine.isa import SPACE_DELTA, SPACE_X, instruction
from lstm_hw.plan.choose import choose
from lstm_hw.plan.delta import DeltaPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.sizing import engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.work import work
from lstm_hw.verify.runs import ModelReference, Piece, expected_runs, image_words
from tests.delta import STEPS, delta_model, plan_of

STACKS = [
    ((3, 10), 0, False, {}),
    ((1, 1), 0, False, {"rows": 4}),
    ((3, 10, 6), 4, True, {}),
    ((2, 9, 6, 5), 3, False, {"rows": 16, "cells": 5}),
]


def runs_of(plan, qmodel, x):
    """Runs that begin and go on, of the interpreter, which must give the reference's bits."""
    pieces = [Piece(x[:1]), Piece(x[1:2, :4], False), Piece(x[2:3]), Piece(x[2:3, :1], False), Piece(x[3:4, :1])]
    return list(expected_runs(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces))


@pytest.mark.parametrize("sizes, head, every, fields", STACKS)
@pytest.mark.parametrize("threshold", [0, 0.1])
def test_bits_of_the_reference(sizes, head, every, fields, threshold):
    _, qmodel, x = delta_model(1, sizes, head, every, threshold)
    plan = plan_of(qmodel, x, **fields)
    assert plan.schedule == "delta" and check(plan) > 0
    runs_of(plan, qmodel, x)


def test_threshold_zero_is_the_resident_schedule_in_bits():
    dense, qmodel, x = delta_model(2, threshold=0)
    ours, theirs = runs_of(plan_of(qmodel), qmodel, x), runs_of(plan_of(dense), dense, x)
    assert [run.outputs for run in ours[1:]] == [run.outputs for run in theirs[1:]]


def test_fewer_changes_take_fewer_columns():
    """A column for each change and row block, and one for each row block where nothing changes."""
    _, qmodel, x = delta_model(3, (6, 20), threshold=0.1)
    plan = plan_of(qmodel, x)
    changing = runs_of(plan, qmodel, x)[1]
    still = list(expected_runs(plan, image_words(plan, qmodel), ModelReference(qmodel), [Piece(np.zeros_like(x[:1]))]))[
        1
    ]
    blocks, bias = 10, 2 * 10
    assert still.counters["busy"] - bias >= 2 * blocks * STEPS
    assert still.counters["busy"] < changing.counters["busy"] < blocks * 26 * STEPS


def test_estimates_assume_an_activity():
    _, qmodel, x = delta_model(4, (4, 16), threshold=0.1)
    most, measured = plan_of(qmodel), plan_of(qmodel, x)
    slow, fast = (count_cycles(plan, 50).cycles for plan in (most, measured))
    assert fast < slow
    assert work(measured, 50).columns < work(most, 50).columns
    # With everything changing, and as measured: what the interpreter counts is never more, and about as much.
    long = np.concatenate([x] * 5, axis=1)
    found = runs_of(measured, qmodel, long)[1].counters["cycles"]
    assert found <= count_cycles(most, long.shape[1]).cycles
    assert found == pytest.approx(count_cycles(measured, long.shape[1]).cycles, rel=0.15)


def changed(plan, number, op="MAC", edit=None, **fields):
    """The plan with some fields of the number-th of its instructions that walk or make lists changed."""
    instructions = list(plan.program.instructions)
    found = [
        address
        for address, i in enumerate(instructions)
        if i.op == op and (op != "MAC" or i.space in (SPACE_X, SPACE_DELTA)) and (op != "CELL" or i.mode == 0)
    ]
    address = found[number]
    instructions[address] = instruction(op, **(dict(instructions[address].fields) | fields))
    return replace(plan, program=replace(plan.program, instructions=tuple(instructions)))


@pytest.mark.parametrize(
    "number, op, fields, message",
    [
        (0, "MAC", {"columns": 2, "offset": 1}, "must be the latest one, of all 3 elements"),
        (0, "MAC", {"free": 0}, "a list of x; must be walked once, by a MAC that frees the vector"),
        (0, "MAC", {"space": SPACE_DELTA}, "must be the latest one"),
        (0, "MAC", {"store": 0}, "counted 0 times|must be of the step behind"),
        (0, "MAC", {"offset": 1}, "may not exist yet"),
        (1, "MAC", {"list": 1}, "must be the latest one, of all 6 elements"),
        (1, "MAC", {"offset": 8}, "may not exist yet"),
        (1, "MAC", {"weight": 0}, "must be"),
        (2, "MAC", {"load": 0}, "must match|mixes|must be of the step behind"),
        (3, "MAC", {"list": 1, "operand": 10}, "must be the latest one"),
        (3, "MAC", {"mask": 0, "finish": 0}, "must meet resident words, in a context"),
        (0, "CELL", {"units": 9}, "a list of 9 units; must be of all units of layer 0"),
        (0, "CELL", {"scale": 1}, "must be of all units of layer 1"),
        (0, "BUFFERS", {"count": 5}, "5 x vectors; must be at most 4: so many lists may wait"),
        (0, "INPUT", {"elements": 2}, "must be"),
        (0, "INPUT", {"wait": 0}, "must be a whole vector, with wait"),
    ],
)
def test_the_checker_refuses(number, op, fields, message):
    _, qmodel, _ = delta_model(5, (3, 10, 6))
    plan = plan_of(qmodel)
    assert check(plan) > 0
    with pytest.raises(ProgramError, match=message):
        check(changed(plan, number, op, **fields))


def test_sums_must_begin_anew():
    """Without the bias at zero state, sums would be those of the sequence before."""
    _, qmodel, _ = delta_model(6)
    plan = plan_of(qmodel)
    instructions = list(plan.program.instructions)
    run = plan.program.entries["run"]
    for address, i in enumerate(instructions):
        if address > run and i.op == "MAC" and i.space == 2:
            instructions[address] = instruction("MAC", **(dict(i.fields) | {"slots": 0}))
    broken = replace(plan, program=replace(plan.program, instructions=tuple(instructions)))
    with pytest.raises(ProgramError, match="must be written before it is read"):
        check(broken)


def test_schedules_are_for_models_with_thresholds_or_without():
    dense, qmodel, x = delta_model(7)
    fields = {"formats": {"weight_bits": 16, **engine_formats(qmodel)}, "given": {"rows": 8}}
    chosen = choose(network_of(qmodel), STEPS, **fields)
    assert chosen.outcome.name == "delta" and [o.name for o in chosen.tried] == ["delta"]
    assert "all of x and h is taken to change" in chosen.reason
    assert re.search(r"\d+\.\d % of x", choose(plan_of(qmodel, x).network, STEPS, **fields).reason)
    with pytest.raises(ConfigError, match="plan.schedule: 'sacc' for a model with thresholds; must be auto or delta"):
        choose(network_of(qmodel), STEPS, schedule="sacc", **fields)
    fields["formats"] |= {"lists": False}
    told = (
        r"plan.schedule: 'delta' for a model without thresholds; must be auto or res.*; \[delta\] gives it thresholds"
    )
    with pytest.raises(ConfigError, match=told):
        choose(network_of(dense), STEPS, schedule="delta", **fields)


def test_planners_refuse_what_is_not_for_them():
    dense, qmodel, _ = delta_model(8)
    plan = plan_of(qmodel)
    with pytest.raises(ConfigError, match="'resident' for a model with thresholds; must be one that is for it"):
        ResidentPlanner(plan.network, plan.config)
    with pytest.raises(ConfigError, match="'delta' for a model without thresholds; must be one that is for it"):
        DeltaPlanner(network_of(dense), plan.config)
    with pytest.raises(ConfigError, match="engine.lists: False; must be true for a model with thresholds"):
        DeltaPlanner(plan.network, replace(plan.config, lists=False))
