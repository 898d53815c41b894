"""The one road: runs of any plan, piece by piece, and the verdict on what was measured."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import InputError, VerificationError
from lstm_hw.machine.pack import pack
from lstm_hw.machine.registers import CLIPPED_PLACES
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.verify.runs import Piece, expected_runs, judge, scenario_of
from lstm_hw.verify.scenario import Stress
from tests.builders import IntegerReference, config_of, random_network, random_x


def made(planner=ResidentPlanner, head=0, pieces=((3, True), (1, False), (2, True)), **fields):
    """Plan, words, reference and pieces."""
    model = random_network(np.random.default_rng(1), (5, 7), head)
    plan = planner(model.network, config_of(shifts=model.shifts, **fields)).plan()
    rng = np.random.default_rng(2)
    pieces = [Piece(random_x(rng, plan.sequences, steps, 5), clear) for steps, clear in pieces]
    return plan, pack(plan.image, model.layers, plan.config), IntegerReference(model, plan), pieces


@pytest.mark.parametrize("planner", [ResidentPlanner, lambda *args: ConventionalPlanner(*args, pinned=2)])
def test_runs_of_pieces(planner):
    plan, words, reference, pieces = made(planner, contexts=2, x_per_beat=2)
    told = []
    runs = list(expected_runs(plan, words, reference, pieces, progress=lambda *done: told.append(done)))
    assert [(run.steps, run.clear) for run in runs] == [(1, False), (3, True), (1, False), (2, True)]
    assert told == sorted(told) and told[-1] == (6, 6)
    assert not len(runs[0].x) and runs[0].outputs == []
    for run, piece, first_step in zip(runs[1:], pieces, (0, 3, 0), strict=True):
        beats, lasts = plan.beats(piece.x)
        np.testing.assert_array_equal(run.x, beats)
        np.testing.assert_array_equal(run.lasts, lasts)
        assert plan.outputs(run.outputs, run.steps, first_step).shape == (plan.sequences, run.steps, 7)


def test_state_goes_on_from_piece_to_piece():
    """A sequence in pieces has the outputs of the whole one."""
    plan, words, reference, (piece,) = made(pieces=((5, True),))
    parts = [Piece(piece.x[:, :2]), Piece(piece.x[:, 2:], False)]
    whole, *split = [
        sum((run.outputs for run in expected_runs(plan, words, reference, found)), []) for found in ([piece], parts)
    ]
    assert split == [whole]


def test_a_wrong_weight_is_found():
    plan, words, reference, pieces = made(head=3)
    words[len(words) // 2] += 1000
    with pytest.raises(VerificationError, match=r"run 1, packet 0, element 0: interpreter gives -?\d+; must be -?\d+"):
        list(expected_runs(plan, words, reference, pieces))


def test_refuses_to_go_on_from_nothing():
    plan, words, reference, pieces = made(pieces=((2, False),))
    for found in (pieces, []):
        with pytest.raises(InputError, match="must begin with a piece from zero state"):
            list(expected_runs(plan, words, reference, found))


@pytest.fixture(scope="module")
def scenario():
    return scenario_of(*made(head=3))


def measured(scenario):
    return [
        {"outputs": [list(p) for p in run.outputs], "counters": dict(run.counters), "clipped": run.clipped}
        for run in scenario.runs
    ]


def test_judge_accepts_what_was_expected(scenario):
    judge(scenario, measured(scenario))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: m.pop(), "simulation: 3 runs; must be 4"),
        (lambda m: m[3]["outputs"][0].__setitem__(1, 9999), "run 3, packet 0, element 1: Verilog gives 9999; must be"),
        (lambda m: m[3]["outputs"][0].pop(), "run 3: Verilog sends packets of"),
        (lambda m: m[3]["outputs"].append([1]), "run 3: Verilog sends packets of"),
        (lambda m: m[0]["outputs"].append([1]), "run 0: Verilog sends packets of"),
        (lambda m: m[2]["counters"].update(cycles=1), "run 2: counters .*must be"),
    ],
    ids=["run", "element", "short", "packet", "load", "counter"],
)
def test_judge_finds_every_difference(scenario, change, message):
    found = measured(scenario)
    change(found)
    with pytest.raises(VerificationError, match=message):
        judge(scenario, found)


@pytest.mark.parametrize("place", CLIPPED_PLACES)
def test_clipped_values_count_under_stress_too(scenario, place):
    """And not at all where the engine does not count them."""
    clipped = dict.fromkeys(CLIPPED_PLACES, 3)
    runs = [replace(run, clipped=clipped) for run in scenario.runs]
    counting = replace(scenario, config=replace(scenario.config, count_clipped=True), runs=runs)
    counting = replace(counting, stress=Stress(y_stall=0.5))
    found = measured(counting)
    judge(counting, found)
    for wrong in ({**clipped, place: 4}, None):
        found[2]["clipped"] = wrong
        with pytest.raises(VerificationError, match="run 2: values clipped .*; must be .* as in the integer reference"):
            judge(counting, found)
        judge(replace(counting, config=scenario.config), found)


def test_counters_do_not_matter_under_stress(scenario):
    found = measured(scenario)
    found[1]["counters"]["cycles"] = 1
    judge(replace(scenario, stress=Stress(y_stall=0.5)), found)
