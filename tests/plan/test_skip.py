"""A head that adds x to its outputs, under every schedule that keeps x: proved, and the bits of an integer LSTM."""

import numpy as np
import pytest

from lstm_hw.errors import ConfigError, ModelError, ProgramError
from lstm_hw.machine.isa import SPACE_H, SPACE_X
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights, skip_matrix
from lstm_hw.plan.choose import choose
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from tests.builders import config_of, pruned, random_network, smallest_buffer
from tests.proof.test_checker import changed, where
from tests.sim.scenarios import plan_scenario

SCHEDULES = {
    "resident": ResidentPlanner,
    "row blocks": RowBlockPlanner,
    "conventional": ConventionalPlanner,
    "pinned": lambda network, config: ConventionalPlanner(network, config, pinned=4),
    "blocking-batching": lambda network, config: BatchPlanner(network, config, 3, 2, tile_columns=2),
    "blocking-batching, case 2": lambda network, config: BatchPlanner(network, config, 3, 2, 2, tile_columns=2),
    "blocking-batching, batch 1": lambda network, config: BatchPlanner(network, config, 1, 2, tile_columns=2),
}


def network(rng=None, sizes=(6, 13), **fields):
    return random_network(rng or np.random.default_rng(3), sizes, 5, True, skip=True, **fields)


def engine(model, **fields):
    values = {"rows": 16, "x_per_beat": 2, "h_elements": 512, "x_elements": 24, "states": 512, "accumulators": 128}
    return config_of(**values | {"contexts": 2, "program_length": 256} | fields, **model.factors)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sizes", [(6, 13), (6, 5, 9)])
@pytest.mark.parametrize("factors", [{}, {"lifts": ((3, 0), (0, 7)), "row_bits": 2}])
def test_bits_in_pieces(schedule, sizes, factors):
    model = network(sizes=sizes, **factors)
    plan = SCHEDULES[schedule](model.network, engine(model)).plan()
    check(plan)
    plan_scenario(model, plan, [(4, True), (1, False), (7, False), (2, True)], MemoryModel(5), len(sizes))


def test_a_head_whose_weights_stream():
    model = network()
    config = smallest_buffer(engine(model, weight_words=64), lambda config: ConventionalPlanner(model.network, config))
    plan = ConventionalPlanner(model.network, config).plan()
    assert any(tile.part == "skip" for tile in plan.image.tiles) and "load" not in plan.program.entries
    check(plan)
    plan_scenario(model, plan, [(3, True), (2, False)])


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"columns": 5}, "mixes words|skip column"),
        ({"slots": 1}, "accumulator entry|skip column"),
        ({"free": 0}, "no x vector is ever free"),
        ({"space": SPACE_H}, "must be of layer -1"),
        ({"operand_reg": 0}, r"network's x of step .* with h of step .*; must be of the same step"),
    ],
)
def test_the_proof_sees_another_x(wrong, error):
    model = network()
    plan = ResidentPlanner(model.network, engine(model, rows=4)).plan()
    check(plan)
    with pytest.raises(ProgramError, match=error):
        check(changed(plan, where(plan, "MAC", free=1), **wrong), 6)


def test_the_proof_sees_an_x_that_is_freed_too_early():
    model = network()
    plan = ResidentPlanner(model.network, engine(model)).plan()
    early = changed(plan, where(plan, "MAC", space=SPACE_X, wait=1), free=1)
    with pytest.raises(ProgramError, match="x of step 4 with h of step 0|may still be read"):
        check(changed(early, where(plan, "MAC", free=1), free=0), 6)


def test_schedules_that_do_not_keep_x_say_so():
    model = network()
    for planner in (SaccPlanner, lambda *a: FusionPlanner(*a, 4)):
        with pytest.raises(ConfigError, match="plan.schedule: '(sacc|fusion)' for a model with a skip; must be one"):
            planner(model.network, engine(model))
    with pytest.raises(ConfigError, match="plan.sequences: . sequences for a model with a skip; must be as many"):
        RowBlockPlanner(model.network, engine(model), 3)
    with pytest.raises(ConfigError, match="with a skip; must be auto or resident or gather or sbe or rowblock or conv"):
        choose(model.network, 5, schedule="sacc")
    shapes = model.network.layers
    with pytest.raises(ConfigError, match="thresholds for a model with a skip"):
        Network(shapes, True, (1, 1))
    found = choose(model.network, 5, compare=True)
    assert found.outcome.name == "resident"
    assert {"resident", "conventional"} <= {tried.name for tried in found.tried if tried.counters}
    assert not {"fusion", "sacc", "compressed"} & {tried.name for tried in found.tried}


def test_what_a_skip_must_be():
    lstm, head = LayerShape("lstm", 4, 6, 15), LayerShape("linear", 6, 3, 14, skip=4)
    assert (head.columns, head.macs, Network((lstm, head), True).skip) == (10, 30, True)
    for layers, every_step, error in (
        ((lstm, LayerShape("linear", 6, 3, 14, skip=3)), True, "must be 0, or the 4 inputs"),
        ((lstm, head), False, "must be with a head on every step"),
    ):
        with pytest.raises(ConfigError, match=error):
            Network(layers, every_step)
    with pytest.raises(ConfigError, match="must be in a linear layer"):
        LayerShape("lstm", 4, 6, 15, skip=4)
    layer = LstmWeights(np.zeros((24, 4)), np.zeros((24, 6)), np.zeros(24))
    head = DenseWeights(np.zeros((3, 6)), np.zeros(3), skip=skip_matrix("m", 3, 4, 3))
    with pytest.raises(ModelError, match="skip: with a head on the last step; must be on every step"):
        FloatModel((layer,), head)
    with pytest.raises(ModelError, match=r"skip: shape \(3, 5\); must be \(3, 4\)"):
        FloatModel((layer,), head, True).with_skip(np.zeros((3, 5)))
    for added, inputs, outputs in ((2, 4, 3), (3, 2, 3)):
        with pytest.raises(ModelError, match="must be 1 or the 3 outputs"):
            skip_matrix("m", added, inputs, outputs)


def test_kept_weights_beside_a_skip():
    """The head of balanced weights frees x too, however many steps there are."""
    model = pruned(network(sizes=(16, 16)), (0.75, 0.75))
    given = {"rows": 8, "weight_words": 512, "x_elements": 32}
    found = choose(model.network, 5, schedule="gather", given=given)
    assert check(found.outcome.plan, 8)
