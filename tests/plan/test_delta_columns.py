"""Columns of what changed, read from memory: proved, the bits of the reference, and fewer beats where less changes."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.machine.isa import MODE_CELL, SPACE_DELTA, SPACE_X
from lstm_hw.model.reference import integer_reference
from lstm_hw.plan import layer as layers
from lstm_hw.plan.delta import DeltaPlanner
from lstm_hw.plan.delta_columns import ColumnPlanner
from lstm_hw.plan.sizing import network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read
from lstm_hw.verify.runs import ModelReference, Piece, expected_runs, image_words
from tests.delta import delta_model, plan_of
from tests.proof.test_checker import changed

MEMORY = MemoryModel(20, 1)


def column_plan(qmodel, x=None, **given):
    return plan_of(qmodel, x, ColumnPlanner, list_loads=True, axi_data_bits=64, **given)


def counters(plan, qmodel, pieces):
    """Of each run, whose outputs are the reference's."""
    found = list(expected_runs(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, MEMORY))
    return [run.counters for run in found[1:]]


@pytest.mark.parametrize("head, every, words", [(0, False, 1024), (3, False, 1024), (3, True, 1024), (60, True, 202)])
@pytest.mark.parametrize("threshold", [0, 0.1])
def test_runs_that_go_on(head, every, words, threshold):
    """Also with a head that streams."""
    dense, qmodel, x = delta_model(2, (5, 12), head, every, threshold)
    if not threshold:
        np.testing.assert_array_equal(integer_reference(dense, x)[0], integer_reference(qmodel, x)[0])
    plan = column_plan(qmodel, x, weight_words=words)
    assert check(plan) > 0 and ("head" in plan.program.comments.values()) == (head == 60)
    pieces = [Piece(x[:1]), Piece(x[1:2, :4], False), Piece(x[2:3]), Piece(x[2:3, :1], False), Piece(x[3:4, :1])]
    counters(plan, qmodel, pieces)


@pytest.mark.parametrize(
    "kind, sizes, head, every",
    [("gru", (5, 12), 3, True), ("gru", (5, 9, 12), 3, False), ("lstm", (3, 9, 4, 6), 5, True)],
)
@pytest.mark.parametrize("threshold", [0, 0.1])
def test_stacks(kind, sizes, head, every, threshold):
    """A GRU in two layers is EdgeDRNN's own."""
    dense, qmodel, x = delta_model(2, sizes, head, every, threshold, kind=kind)
    if not threshold:
        np.testing.assert_array_equal(integer_reference(dense, x)[0], integer_reference(qmodel, x)[0])
    plan = column_plan(qmodel, x)
    assert check(plan) > 0 and plan.network.kind == kind
    counters(plan, qmodel, [Piece(x[:1]), Piece(x[1:2, :4], False), Piece(x[2:3]), Piece(x[3:4, :1])])


def test_only_columns_of_what_changed_are_read():
    _, qmodel, x = delta_model(2, (5, 12))
    plan = column_plan(qmodel, x)
    column = plan.network.recurrent[0].blocks(8) * plan.config.beats_per_word
    still, wild = np.zeros((1, 6, 5), dtype=np.int64), np.where(np.arange(6)[:, None] % 2, -30_000, 30_000)
    quiet, busy = counters(plan, qmodel, [Piece(still), Piece(wild * np.ones((1, 1, 5), dtype=np.int64))])
    assert quiet["read_beats"] < busy["read_beats"] <= 6 * (5 + 12) * column
    assert not quiet["read_beats"] % column and busy["read_beats"] >= 6 * 5 * column


@pytest.mark.parametrize("units, blocks", [(12, 3 * 2), (17, 3 * 3), (8, 3)])
def test_a_gru_leaves_out_the_rows_that_a_column_does_not_have(units, blocks):
    """Three matrices of x and three of h; with two cells, whose requests bring two rows of a row block, four."""
    _, qmodel, x = delta_model(2, (5, units), kind="gru")
    still, wild = np.zeros((1, 6, 5), dtype=np.int64), np.where(np.arange(6)[:, None] % 2, -30_000, 30_000)
    pieces = [Piece(still), Piece(wild * np.ones((1, 1, 5), dtype=np.int64))]
    for cells, words in ((1, blocks), (2, -(-4 * units // 8))):
        plan = column_plan(qmodel, x, cells=cells)
        assert plan.config.gate_blocks == (cells == 1) and check(plan)
        column = words * plan.config.beats_per_word
        for found in counters(plan, qmodel, pieces):
            assert not found["read_beats"] % column and found["read_beats"] <= 6 * (5 + units) * column
        assert found["read_beats"] >= 6 * 5 * column


@pytest.mark.parametrize(
    "find, wrong, error",
    [
        (("CELL", {"mode": MODE_CELL}), {"stride": 1}, "4 row blocks from 0 on for 12 units; must be the 8 of all 12"),
        (("CELL", {"mode": MODE_CELL}), {"stride": 3}, "8 finished row blocks; must be the 12 of 12 units"),
        (("CELL", {"mode": MODE_CELL}), {"units": 11}, "must be the 8 of all 12 units"),
        (("MAC", {"space": SPACE_X, "stream": 1}), {"source": 2, "target": 2}, "row block 0 .* added to row block 1"),
        (("MAC", {"space": SPACE_DELTA, "slots": 2}), {"source": 5, "target": 5}, "row block 6 .* row block 4"),
    ],
)
def test_the_proof_sees_wrong_row_blocks_of_gates(find, wrong, error):
    _, qmodel, x = delta_model(2, (5, 12), kind="gru")
    plan = column_plan(qmodel, x)
    op, fields = find
    instructions = enumerate(plan.program.instructions)
    matching = [n for n, i in instructions if i.op == op and all(i.fields[f] == v for f, v in fields.items())]
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, matching[0], **wrong))


def test_the_proof_sees_a_gate_without_its_h():
    """The columns of n_h are left out."""
    _, qmodel, x = delta_model(2, (5, 12), kind="gru")
    plan = column_plan(qmodel, x)
    last = [n for n, i in enumerate(plan.program.instructions) if i.op == "MAC" and i.space == SPACE_DELTA][-1]
    with pytest.raises(ProgramError, match="must be counted exactly once|must be taken up to step"):
        check(changed(plan, last, mask=0))


def test_an_estimate_takes_its_activity_for_granted():
    _, qmodel, x = delta_model(2, (5, 12))
    found = []
    for share in (1.0, 0.5, 0.0):
        plan = column_plan(qmodel)
        plan = replace(plan, network=replace(plan.network, activity=(share, share)))
        found.append(count_cycles(plan, 8, memory=MEMORY))
        words = sum(words_read(plan, ((8, True),))[0].values())
        assert words * plan.config.beats_per_word == found[-1].read_beats
    beats = [run.read_beats for run in found]
    assert beats[0] == 8 * (5 + 12) * 6 * plan.config.beats_per_word and beats[2] == 0
    assert beats[0] > beats[1] > 0 and found[0].cycles > found[1].cycles > found[2].cycles


def test_more_row_blocks_than_slots(monkeypatch):
    monkeypatch.setattr(layers, "MOST_SLOTS", 4)
    _, qmodel, x = delta_model(2, (3, 12))
    plan = column_plan(qmodel, x)
    assert max(instr.slots for instr in plan.program.instructions if instr.op == "MAC") == 4
    check(plan)
    counters(plan, qmodel, [Piece(x[:1]), Piece(x[1:2], False)])


def test_refuses_what_does_not_fit():
    _, qmodel, _ = delta_model(2, (5, 12))
    network, config = network_of(qmodel), column_plan(qmodel).config
    with pytest.raises(ConfigError, match="engine.list_loads: False; must be true"):
        ColumnPlanner(network, replace(config, list_loads=False))
    with pytest.raises(ConfigError, match="engine.list_loads: True; must be false for the schedule delta"):
        DeltaPlanner(network, config)
    with pytest.raises(ConfigError, match="engine.list_loads: True; must be false in an engine without lists"):
        replace(config, lists=False)
