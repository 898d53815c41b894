"""Stacked layers and a head in one program, under every streaming schedule: proved, and the bits of an integer LSTM."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.model.float_model import DenseWeights, FloatModel, LstmWeights
from lstm_hw.model.quant_config import QuantConfig
from lstm_hw.model.quantize import quantize
from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.plan.sizing import accumulator_bits, engine_formats, network_of
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from tests.builders import config_of, random_network, smallest_buffer
from tests.sim.scenarios import plan_scenario


def engine(model, **fields):
    values = {
        "rows": 16,
        "contexts": 2,
        "x_per_beat": 2,
        "h_elements": 512,
        "x_elements": 256,
        "states": 512,
        "weight_words": 1024,
        "accumulators": 128,
        "program_length": 256,
    }
    return config_of(**values | fields, **model.factors)


SCHEDULES = {
    "sacc": lambda network, config: SaccPlanner(network, config),
    "sacc, pinned": lambda network, config: SaccPlanner(network, config, pinned=1),
    "sacc, batch 2": lambda network, config: SaccPlanner(network, config, batch=2),
    "sacc, batch 6": lambda network, config: SaccPlanner(network, replace(config, program_length=512), 6),
    "sacc, batch 5, pinned": lambda network, config: SaccPlanner(network, replace(config, program_length=512), 5, 1),
    "row window": lambda network, config: RowWindowPlanner(network, config, max(row_blocks(network, config))),
    "fusion": lambda network, config: FusionPlanner(network, replace(config, program_length=512), 4),
    "conventional": lambda network, config: ConventionalPlanner(network, config),
    "pinned": lambda network, config: ConventionalPlanner(network, config, pinned=pinned_columns(network)),
    "row blocks": lambda network, config: RowBlockPlanner(network, config),
    "row blocks, 3 groups": lambda network, config: RowBlockPlanner(network, config, 3),
}


def row_blocks(network, config):
    return [layer.blocks(config.rows) for layer in network.recurrent]


def pinned_columns(network):
    return max((layer.outputs - 1) // 4 * 4 for layer in network.recurrent)


@pytest.mark.parametrize("schedule", SCHEDULES)
@settings(max_examples=6, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 18), min_size=2, max_size=3),
    head=st.sampled_from((0, 3, 9)),
    every_step=st.booleans(),
    words=st.sampled_from((300, 1024)),
    pieces=st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    factors=st.sampled_from(({}, {"lifts": ((3, 0), (0, 7), (4, 4))}, {"lifts": ((0, 2), (1, 0)), "row_bits": 3})),
)
def test_bits_in_pieces(schedule, sizes, head, every_step, words, pieces, seed, factors):
    """Any number of steps a run, from zero state and on; a head on chip, or streamed where the buffer is small."""
    if schedule in ("sacc, batch 2", "row window", "fusion"):
        sizes = sizes[:2]  # more would not fit the program memory
    model = random_network(np.random.default_rng(seed), sizes, head, every_step, **factors)
    try:
        plan = SCHEDULES[schedule](model.network, engine(model, weight_words=words)).plan()
    except ConfigError as error:
        assert error.subject == "engine.weight_words" and words == 300
        return
    check(plan)
    plan_scenario(model, plan, [(pieces[0][0], True), *pieces[1:]], MemoryModel(5), seed)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("head_every_step", [False, True])
def test_a_quantised_model_in_pieces(schedule, head_every_step):
    """The package's own reference: two layers of other sizes and a head, as a user has them."""
    rng = np.random.default_rng(4)
    sizes = (6, 13) if schedule in ("sacc, batch 2", "fusion") else (6, 13, 10)
    layers = tuple(
        LstmWeights(*(rng.normal(0, 0.3, shape) for shape in ((4 * b, a), (4 * b, b), (4 * b,))))
        for a, b in pairwise(sizes)
    )
    head = DenseWeights(rng.normal(0, 0.3, (5, sizes[-1])), rng.normal(0, 0.3, 5))
    x = rng.uniform(-1, 1, (6, 9, sizes[0]))
    model = quantize(FloatModel(layers, head, head_every_step), x, QuantConfig())
    network = network_of(model)
    shifts, width = tuple(shape.shift for shape in network.layers), accumulator_bits(network, 16)
    config = engine(SimpleNamespace(factors={"shifts": shifts}))
    config = replace(config, accumulator_bits=width, **engine_formats(model))
    plan = SCHEDULES[schedule](network, config).plan()
    check(plan)
    x = model.quantize_input(x[: plan.sequences])
    pieces = [Piece(x[:, :4]), Piece(x[:, 4:5], False), Piece(x[:, 5:], False), Piece(x[:, :3])]
    scenario_of(plan, image_words(plan, model), ModelReference(model), pieces)


@pytest.mark.parametrize("schedule", ["sacc", "conventional", "row blocks, 3 groups"])
def test_three_layers(schedule):
    model = random_network(np.random.default_rng(3), (7, 5, 12, 9))
    plan = SCHEDULES[schedule](model.network, engine(model)).plan()
    check(plan)
    plan_scenario(model, plan, [(3, True), (2, False), (1, False), (4, True)], MemoryModel(30, 2))


@pytest.mark.parametrize("schedule", ["sacc", "fusion", "conventional", "row blocks, 3 groups", "resident", "sbe"])
def test_more_row_blocks_than_a_mac_has_slots(schedule):
    planners = SCHEDULES | {"resident": ResidentPlanner, "sbe": partial(BatchPlanner, batch=2, pinned=1, case=3)}
    model = random_network(np.random.default_rng(3), (5, 260), 3, True)
    depths = {"weight_words": 1 << 17, "h_elements": 2048, "states": 2048, "accumulators": 2048, "finish_entries": 520}
    config = engine(model, rows=4, x_elements=64, program_length=512, **depths)
    plan = planners[schedule](model.network, config).plan()
    plan_scenario(model, plan, [(3, True)], MemoryModel(5))


@pytest.mark.parametrize("batch", [2, 4, 8])
def test_sacc_reads_w_x_of_every_layer_once_a_batch(batch):
    """Whatever it holds of h for the layer above, and half of W_h a step; the last of 10 steps make a batch too."""
    model = random_network(np.random.default_rng(3), (7, 12, 16))
    plan = SaccPlanner(model.network, engine(model, program_length=512), batch).plan()
    (words,) = words_read(plan, ((10, True),))
    down, up = ([tiles * 4 for tiles in counts] for counts in ((6, 10), (3, 6)))  # of 4 columns each
    assert words["x"] == -(-10 // batch) * (3 * 7 + 4 * 12) and words["h"] == 5 * sum(down + up)


@pytest.mark.parametrize("schedule", ["sacc", "pinned", "row blocks"])
def test_layers_have_memory_of_their_own(schedule):
    """What a layer writes begins where that of the one below ends; the ring is behind all resident words."""
    model = random_network(np.random.default_rng(3), (7, 12, 9))
    plan = SCHEDULES[schedule](model.network, engine(model)).plan()
    commands = list(plan.program.run("run", 2, True))
    states = [
        {c.state + unit for c in commands if c.op == "CELL" and c.scale == layer for unit in range(c.units)}
        for layer in (0, 1)
    ]
    assert states[0] and states[1] and not states[0] & states[1]
    loaded = plan.program.run("load", 0, False) if "load" in plan.program.entries else ()
    resident = sum(c.beats for c in loaded if c.op == "LOAD")
    assert [c.base for c in commands if c.op == "RING"] == [resident // plan.config.beats_per_word]


def test_weights_are_read_as_often_as_for_each_layer_alone():
    model = random_network(np.random.default_rng(3), (7, 12, 9), 5, True)
    plan = SCHEDULES["conventional"](model.network, engine(model)).plan()
    (words,) = words_read(plan, ((4, True),))
    blocks = 3, 3
    assert words == {"x": 4 * (blocks[0] * 7 + blocks[1] * 12), "h": 4 * (blocks[0] * 12 + blocks[1] * 9), "bias": 48}
    least = smallest_buffer(engine(model, weight_words=16), lambda config: ConventionalPlanner(model.network, config))
    (words,) = words_read(ConventionalPlanner(model.network, least).plan(), ((4, True),))
    assert words["x"] == 4 * (blocks[0] * 7 + blocks[1] * 12 + 9)  # the head streams as well


def test_refuses_what_does_not_fit():
    model = random_network(np.random.default_rng(3), (7, 12, 9))
    for field, few in (("states", 20), ("h_elements", 12), ("accumulators", 5), ("weight_words", 20)):
        with pytest.raises(ConfigError, match=f"engine.{field}: {few}; must be at least"):
            SCHEDULES["sacc"](model.network, engine(model, **{field: few}))
    with pytest.raises(ProgramError, match="program memory of 128"):
        SCHEDULES["sacc"](model.network, engine(model, program_length=128)).plan()
    with pytest.raises(ConfigError, match="pinned: 5; must be between 0 and 3 row blocks"):
        SaccPlanner(model.network, engine(model), pinned=5)
