"""A GRU that resets h before its product: what the checker proves of r*h, and who refuses one."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.isa import MODE_CELL, MODE_RESET
from lstm_hw.machine.network import LayerShape
from lstm_hw.plan.choose import choose
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.schedules import SCHEDULES
from lstm_hw.proof.checker import check
from tests.builders import config_of, random_network
from tests.proof.test_checker import changed

SHAPE = LayerShape("gru", 3, 5, 15, reads=10)


@pytest.fixture(scope="module")
def model():
    return random_network(np.random.default_rng(1), (4, 6, 5), 2, kind="gru", reset_before=True)


@pytest.fixture(scope="module")
def plan(model):
    engine = config_of(weight_words=512, **{**model.widths, **model.factors})
    plan = ResidentPlanner(model.network, engine).plan()
    check(plan, 4)
    return plan


def found(plan, op, last=False, **fields):
    """Address of the first, or last, instruction of such a kind."""
    instructions = enumerate(plan.program.instructions)
    at = [n for n, i in instructions if i.op == op and all(i.fields[f] == v for f, v in fields.items())]
    return at[-1 if last else 0]


def test_products_that_count(model):
    """Three matrices of x and three of h, whatever the lanes multiply by zeros."""
    assert [layer.macs for layer in model.network.recurrent] == [3 * 6 * 10, 3 * 5 * 11]
    assert model.network.reset_before and not replace(SHAPE, reads=None).reset_before
    with pytest.raises(
        ConfigError, match="layer reads: 7; must be its own 5 outputs, or of a plain layer 0, or of a gru"
    ):
        replace(SHAPE, reads=7)


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"mode": MODE_CELL}, "must be the elements that the columns multiply"),
        ({"target": 0}, "may still be read|must be the elements that the columns multiply"),
        ({"target": 7}, "may still be read|must be the elements that the columns multiply"),
        ({"write": 0}, "may not exist yet|must be of|must be the elements"),
        ({"signal": 0}, "may not exist yet|must not wait for what no earlier command produces"),
        ({"state": 6}, "c of layer 0 .*must be separated by the h that was written after it"),
        ({"emit": 1}, r"r\*h; must be of a step, and not be sent"),
        ({"units": 5}, "must be handed|must hand all|may not exist|must not wait|must be one row block"),
    ],
)
def test_the_proof_sees_a_wrong_reset(plan, wrong, error):
    at = found(plan, "CELL", mode=MODE_RESET)
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, at, **wrong), 4)


def test_the_proof_sees_a_cell_that_resets(plan):
    """c of the step is missing."""
    at = found(plan, "CELL", mode=MODE_CELL, write=1)
    with pytest.raises(ProgramError, match=r"columns of r\*h in row block 0 of layer 0; must follow the CELL"):
        check(changed(plan, at, mode=MODE_RESET), 4)


def test_the_proof_sees_products_of_h_where_r_h_belongs(plan):
    comments = plan.program.comments
    at = next(n for n, comment in comments.items() if comment.startswith("layer 0, h columns 6"))
    before = plan.program.instructions[at].fields
    with pytest.raises(ProgramError, match="must be the elements that the columns multiply"):
        check(changed(plan, at, operand=before["operand"] - 6), 4)


def test_an_engine_without_the_means(model, plan):
    without = replace(plan.config, reset_before=False)
    with pytest.raises(ConfigError, match="engine.reset_before: False; must be true for a GRU that resets h before"):
        ResidentPlanner(model.network, without)
    with pytest.raises(ProgramError, match="mode of CELL; must be in an engine with the means for it"):
        check(replace(plan, config=without))
    with pytest.raises(ConfigError, match="engine.reset_before: True; must be false but for kind gru"):
        EngineConfig(reset_before=True)


def test_other_schedules_refuse_it(model):
    assert choose(model.network, 8, compare=True).outcome.name == "resident"
    for name in sorted({*SCHEDULES} - {"resident", "conventional", "rowblock"}):
        rule = "with a GRU that resets h before its product.*; must be auto or resident or rowblock or conventional for"
        with pytest.raises(ConfigError, match=rule):
            choose(model.network, 8, schedule=name)
    rule = "plan.pinned: 4; must be between 0 and 0 columns"
    with pytest.raises(ConfigError, match=rule):
        choose(model.network, 8, schedule="conventional", options={"pinned": 4})


def test_what_does_not_fit_streams(model):
    """Sums of all row blocks wait on chip; all words are read once a step, and each serves all sequences."""
    for sequences in (1, 3):
        choice = choose(model.network, 8, sequences=sequences, given={"weight_words": 64, "rows": 8})
        plan = choice.outcome.plan
        assert choice.outcome.name == ("conventional" if sequences == 1 else "rowblock") and check(plan)
        words = plan.image.words - sum(tile.words for tile in plan.image.tiles if tile.layer == 2)
        assert choice.outcome.counters.read_beats >= 8 * words * plan.config.beats_per_word
        blocks = sum(shape.blocks(plan.config.rows) for shape in plan.network.recurrent)
        assert plan.needs["accumulators"] == 1 + plan.groups * blocks


def test_the_proof_sees_r_h_of_another_step(model):
    """Row blocks that go on before r*h has come, and r*h that is not stored in its place."""
    plan = choose(model.network, 8, schedule="conventional", given={"weight_words": 96, "rows": 8}).outcome.plan
    check(plan)
    at = found(plan, "CELL", mode=MODE_RESET)
    target = plan.program.instructions[at].target
    with pytest.raises(ProgramError, match="may still be read|must be the elements|may not exist"):
        check(changed(plan, at, target=target + 1))
    with pytest.raises(ProgramError, match="may not exist yet|must not wait for what no earlier command produces"):
        check(changed(plan, at, signal=0))
