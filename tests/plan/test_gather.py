"""Programs that pick operands from windows: bits, cycles, what fits, and what the checker refuses."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError, FormatError, ProgramError
from lstm_hw.machine.config import EngineConfig
from lstm_hw.machine.isa import instruction
from lstm_hw.machine.network import LayerShape, Network
from lstm_hw.machine.pack import pack
from lstm_hw.model.quantize import quantize
from lstm_hw.plan import windows
from lstm_hw.plan.choose import choose
from lstm_hw.plan.dense import ResidentPlanner
from lstm_hw.plan.gather import GatherPlanner
from lstm_hw.plan.gather_batch import GatherBatchPlanner
from lstm_hw.plan.gather_sacc import GatherSaccPlanner
from lstm_hw.plan.sizing import engine_formats, network_of
from lstm_hw.plan.windows import spans, window_tiles
from lstm_hw.proof.checker import check
from lstm_hw.proof.count import count_cycles
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.prune import PruneConfig, prune
from lstm_hw.verify.runs import ModelReference, Piece, expected_runs, image_words
from tests.builders import balanced, config_of, pruned, random_network
from tests.plan.test_chains import engine, runs_of
from tests.plan.test_plain import MODELS, X, model_of
from tests.projects import float_model, with_chain
from tests.sim.scenarios import plan_scenario

RUNS = ((3, True), (1, False), (4, False), (1, True))
AMPLE = {"accumulators": 256, "finish_entries": 128, "x_elements": 256, "states": 256, "weight_words": 4096}
STACKS = {
    "one layer": ((8, 16), 0, False, 8, 2, "xh", {"window": 8}),
    "stack, head at every step": ((16, 16, 24), 3, True, 8, 1, "xh", {"window": 16}),
    "sequences, head at the end": ((8, 16, 16), 3, False, 8, 2, "xh", {"contexts": 2, "x_per_beat": 2, "window": 16}),
    "W_x dense": ((3, 24), 2, True, 8, 2, "h", {"window": 32}),
    "fewer elements than a window": ((4, 4, 8), 0, False, 4, 1, "xh", {"rows": 4, "cells": 5, "window": 64}),
    "bank of no power of two": ((15, 30), 0, False, 15, 2, "xh", {"rows": 4, "window": 64}),
}


def built(sizes, head, every, bank, keep, parts, fields, **kind):
    kind = {"lifts": ((0, 3), (3, 0))} | kind
    model = random_network(np.random.default_rng(7), sizes, head, every, **kind)
    model = balanced(model, bank, keep, parts)
    return model, config_of(**AMPLE | fields, **model.factors)


@pytest.fixture(scope="module")
def small():
    model, config = built((8, 16), 0, False, 8, 2, "xh", {"window": 8})
    return model, GatherPlanner(model.network, config).plan()


@pytest.mark.parametrize("stack", STACKS)
def test_bits(stack):
    """The reference has no windows, and the checker knows nothing of values."""
    model, config = built(*STACKS[stack])
    plan = GatherPlanner(model.network, config).plan()
    assert check(plan) > 0
    plan_scenario(model, plan, RUNS)


OTHERS = {
    "GRU, whose W_x and W_h have rows of zeros": ((8, 16, 8), 3, False, 8, 2, "xh", {"window": 8}, {"kind": "gru"}),
    "operands of 8 bits": (
        (8, 16),
        2,
        True,
        8,
        2,
        "xh",
        {"window": 8},
        {"weight_bits": 8, "operand_bits": 8, "lifts": ((0, 0),)},
    ),
    "skip from x to the output": ((8, 16), 2, True, 8, 2, "xh", {"window": 8}, {"skip": True, "lifts": ((0, 0),)}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_cells_and_outputs(name):
    *given, kind = OTHERS[name]
    model, config = built(*given, **kind)
    plan = GatherPlanner(model.network, config).plan()
    check(plan)
    plan_scenario(model, plan, RUNS)


@pytest.mark.parametrize("schedule, every", [("gather", True), ("gather_sbe", False), ("gather_sacc", True)])
def test_chains_of_linear_layers(schedule, every):
    rng = np.random.default_rng(4)
    dense = with_chain(float_model(rng, inputs=16, hidden=(16,), outputs=0), every, ["relu", "tanh", "none"])
    x = rng.uniform(-1, 1, (2, 6, 16))
    model = quantize(prune(dense, PruneConfig("2:8")).model, x)
    fields = {"rows": 16, "window": 8, "weight_bits": 16, **engine_formats(model)}
    plan = choose(network_of(model), 6, schedule=schedule, given=fields).outcome.plan
    assert check(plan) and plan.config.chains
    x = model.quantize_input(x)
    pieces = [Piece(x[:1, :4]), Piece(x[:1, 4:], False), Piece(x[1:])]
    assert len(list(expected_runs(plan, image_words(plan, model), ModelReference(model), pieces))) == 4


@pytest.mark.parametrize("contexts", [1, 2])
def test_an_initial_state_and_peepholes(contexts):
    rng = np.random.default_rng(4)
    found = prune(float_model(rng, inputs=16, hidden=(16, 16), outputs=3), PruneConfig("2:8")).model
    layers = [
        replace(layer, initial=tuple(rng.uniform(-0.8, 0.8, (2, 16))), peepholes=rng.normal(0, 1, (3, 16)))
        for layer in found.layers
    ]
    x = rng.uniform(-1, 1, (2, 6, 16))
    model = quantize(replace(found, layers=tuple(layers), head_every_step=True), x)
    fields = {"rows": 16, "window": 8, "weight_bits": 16, "contexts": contexts, "x_per_beat": contexts}
    given = fields | engine_formats(model)
    plan = choose(network_of(model), 6, schedule="gather", given=given).outcome.plan
    check(plan)
    x = model.quantize_input(x)[:contexts]
    pieces = [Piece(x[:, :4]), Piece(x[:, 4:], False), Piece(x)]
    assert len(list(expected_runs(plan, image_words(plan, model), ModelReference(model), pieces))) == 4


def test_dense_programs_run_on_an_engine_with_windows():
    model, config = built(*STACKS["one layer"])
    plan = ResidentPlanner(model.network, config).plan()
    check(plan)
    plan_scenario(model, plan, RUNS)


@cache
def layer_of(units, bank, keep):
    """The largest kind of layer: as many inputs as units, banks of both matrices alike."""
    score = np.random.default_rng(units).random((4 * units, units // bank, bank), dtype=np.float32)
    used = (score <= np.partition(score, keep - 1, axis=2)[:, :, keep - 1 : keep]).reshape(4 * units, units)
    return Network((LayerShape("lstm", units, units, 15, used=(used, used)),))


@pytest.mark.parametrize(
    "units, bank, keep, shape",
    [
        (1024, 64, 8, {"rows": 64, "cells": 2}),
        (1024, 64, 8, {"rows": 512, "cells": 5}),
        (1500, 50, 6, {"rows": 64, "cells": 2}),
        (1500, 50, 6, {"rows": 128, "contexts": 4, "x_per_beat": 4, "cells": 5}),
    ],
)
def test_lanes_are_busy_with_what_is_not_zero(units, bank, keep, shape):
    fields = {"weight_words": 1 << 18, "accumulators": 1024, "finish_entries": 128, "states": 1 << 13}
    memories = {"h_elements": 4096, "x_elements": 8192, "window": 64, "program_length": 512}
    config = EngineConfig(**shape, **fields, **memories)
    plan = GatherPlanner(layer_of(units, bank, keep), config).plan()
    cycles = count_cycles(plan, 40).cycles - count_cycles(plan, 20).cycles
    products = 20 * 4 * units * 2 * units * keep / bank * config.contexts
    assert products / (cycles * config.lanes) >= 0.98


def test_no_lane_is_busy_for_longer_than_a_run_takes():
    """An eighth of the weights is kept, of 256 units; products of the model count the others too."""
    outcome = choose(layer_of(256, 64, 8), 8, schedule="gather", given={"rows": 32, "window": 64}).outcome
    assert 0.9 < outcome.busy <= 1
    assert 7 * outcome.plan.config.lanes < outcome.products_per_cycle < 8 * outcome.plan.config.lanes


def test_windows_are_whole_banks():
    config = config_of(rows=64, window=64)
    shape = layer_of(1500, 50, 6).layers[0]
    tiles = window_tiles(shape, 0, "h", config)
    assert {(tile.columns, tile.kept) for tile in tiles} == {(50, 6)} and len(tiles) == 30
    assert window_tiles(replace(shape, used=()), 0, "h", config) == []
    full = np.ones((6000, 1500), bool)
    assert window_tiles(replace(shape, used=(full, full)), 0, "h", config) == []


def test_row_blocks_of_many_macs(monkeypatch):
    """More row blocks than a MAC has slots."""
    assert spans(255) == [(0, 255)]
    assert spans(256) == [(0, 128), (128, 128)]
    monkeypatch.setattr(windows, "MOST_SLOTS", 3)
    model, config = built(*STACKS["stack, head at every step"])
    resident = model, GatherPlanner(model.network, config).plan()
    for network, plan in (resident, batched(*BATCHES["W_h streams, two sequences"])):
        assert any(i.op == "MAC" and i.gather and i.slots == 2 for i in plan.program.instructions)
        check(plan)
        plan_scenario(network, plan, ((3, True), (2, False)))


def test_a_model_with_other_weights_than_the_plan(small):
    model, plan = small
    layer = model.layers[0]
    w_h = layer.w_h.copy()
    w_h[3, 8:16] = 5
    layer = type(layer)(**{**vars(layer), "w_h": w_h})
    with pytest.raises(FormatError, match="layer 0: columns 8 to 15 of w_h, row .* 8 weights; must be at most 2"):
        pack(plan.image, (layer,), plan.config)


def test_what_does_not_fit():
    model, config = built(*STACKS["one layer"])
    with pytest.raises(ConfigError, match="engine.window: 0; must be 4 to 64 for the schedule gather"):
        GatherPlanner(model.network, replace(config, window=0))
    dense = random_network(np.random.default_rng(1), (8, 16))
    with pytest.raises(ConfigError, match="model: weights without enough zeros for the schedule gather; must have"):
        GatherPlanner(dense.network, config)


def changed(plan, number, **fields):
    """The plan with other fields in a MAC, counted from the first with gather if there is any."""
    instructions = list(plan.program.instructions)
    gather = any(i.op == "MAC" and i.gather for i in instructions)
    at = [n for n, i in enumerate(instructions) if i.op == "MAC" and i.gather == gather][number]
    instructions[at] = instruction("MAC", **{**instructions[at].fields, **fields})
    return replace(plan, program=replace(plan.program, instructions=tuple(instructions)))


@pytest.mark.parametrize(
    "number, fields, message",
    [
        (1, {"gather": 0, "fill": 0}, "must be all 2 of a tile of 8 columns, with gather"),
        (1, {"gather": 0}, "gather 0 with fill 8; must be of an engine with windows, which only a MAC with gather"),
        (1, {"columns": 1}, "must be all 2 of a tile of 8 columns, with gather"),
        (0, {"wait": 0, "take": 0}, "the window of context 0; must hold the elements that the columns multiply"),
        (0, {"operand": 1}, "the window of context 0; must hold the elements that the columns multiply"),
        (0, {"fill": 9, "wait": 0, "take": 0}, "9 elements to fill; must be 8 at most: one a column"),
        (1, {"fill": 0, "wait": 1}, "wait without elements to fill; must not be together"),
        (1, {"operand": 3}, "the window of context 0; must hold the elements that the columns multiply"),
    ],
)
def test_what_the_checker_refuses(small, number, fields, message):
    with pytest.raises(ProgramError, match=re.escape(message)):
        check(changed(small[1], number, **fields))


def test_the_checker_wants_windows(small):
    model, plan = small
    dense = ResidentPlanner(model.network, replace(plan.config, window=0)).plan()
    with pytest.raises(ProgramError, match="must be of an engine with windows"):
        check(changed(dense, 0, gather=1))


BATCHES = {
    "W_h on chip": ((16, 16), 0, 8, 2, {"window": 8}, (2, 1, 1)),
    "W_h held for a batch": ((24, 16), 3, 8, 2, {"window": 8, "x_per_beat": 4}, (3, 1, 2)),
    "W_h streams, two sequences": ((24, 16), 3, 8, 2, {"window": 8, "contexts": 2, "x_per_beat": 2}, (3, 9, 3)),
    "windows that nothing hides": ((30, 30), 0, 15, 1, {"rows": 48, "window": 16}, (4, 1, 2)),
    "a head at every step": ((16, 16), 9, 8, 2, {"window": 8, "contexts": 2, "x_per_beat": 2}, (3, 1, 1), True),
    "a head at every step, W_h streams": ((24, 16), 3, 8, 2, {"window": 8}, (2, 1, 3), True),
    "two layers": ((16, 16, 24), 0, 8, 2, {"window": 8}, (2, 1, 1)),
    "two layers, a head behind the last step, W_h held": (
        (24, 16, 8),
        3,
        8,
        2,
        {"window": 8, "x_per_beat": 4},
        (3, 1, 2),
    ),
    "two layers and sequences, a head at every step, W_h streams": (
        (24, 16, 16),
        9,
        8,
        2,
        {"window": 8, "contexts": 2, "x_per_beat": 2},
        (3, 9, 3),
        True,
    ),
    "three layers": ((16, 16, 16, 16), 2, 8, 2, {"window": 8, "accumulators": 512}, (4, 1, 2), True),
    "two layers, windows that nothing hides": ((30, 30, 30), 0, 15, 1, {"rows": 48, "window": 16}, (4, 1, 2)),
}


def batched(sizes, head, bank, keep, fields, arguments, every=False):
    model, config = built(sizes, head, every, bank, keep, "xh", {"finish_entries": 512, "states": 512} | fields)
    config = replace(config, x_elements=512, h_elements=512, program_length=512)
    return model, GatherBatchPlanner(model.network, config, *arguments).plan()


@pytest.mark.parametrize("name", BATCHES)
def test_bits_of_batches(name):
    """Whole batches and shorter ones, from zero state and on from the run before."""
    model, plan = batched(*BATCHES[name])
    assert check(plan, 2 * plan.batch + 1) > 0
    plan_scenario(model, plan, ((5, True), (1, False), (4, False), (3, True)))


@pytest.mark.parametrize(
    "units, bank, keep, shape, arguments",
    [
        (1024, 64, 8, {"rows": 64, "cells": 2}, (4, 1, 2)),
        (1024, 64, 8, {"rows": 512, "cells": 5}, (8, 1, 1)),
    ],
)
def test_batches_keep_lanes_busy_with_what_is_not_zero(units, bank, keep, shape, arguments):
    """SBE's future work: pruning and blocking-batching, with weights from memory."""
    fields = {"weight_words": 1 << 15, "accumulators": 1024, "finish_entries": 128, "states": 1 << 13}
    memories = {"h_elements": 1 << 13, "x_elements": 1 << 15, "window": 64, "axi_data_bits": 1024}
    config = EngineConfig(**shape, **fields, **memories, program_length=512)
    plan = GatherBatchPlanner(layer_of(units, bank, keep), config, *arguments).plan()
    short, long = (count_cycles(plan, steps, memory=MemoryModel(40)).cycles for steps in (40, 80))
    products = 40 * 4 * units * 2 * units * keep / bank * config.contexts
    assert products / ((long - short) * config.lanes) >= 0.98


def test_what_no_batch_can_have():
    model, config = built(*STACKS["one layer"])
    for options, message in (
        ({"batch": 1}, "batch: 1; must be at least 2"),
        ({"case": 4}, "case: 4; must be one of"),
        ({"pinned": 5}, "pinned: 5; must leave at least a window of 4 columns of 8"),
        ({"pinned": 99}, "pinned: 99; must leave at least a window of 4 columns of 8"),
    ):
        with pytest.raises(ConfigError, match=message):
            GatherBatchPlanner(model.network, config, **{"batch": 2, **options})
    with pytest.raises(ConfigError, match="engine.window: 0; must be 4 to 64 for the schedule gather_sbe"):
        GatherBatchPlanner(model.network, replace(config, window=0), 2)
    model, config = built(*STACKS["W_x dense"])
    one = replace(model.network, layers=model.network.layers[:1], head_every_step=False)
    with pytest.raises(ConfigError, match="model: W_x without enough zeros for windows"):
        GatherBatchPlanner(one, config, 2)


HALVES = {
    "two groups": ((16, 16), 0, 8, 2, {"window": 8}, (2, 4)),
    "a head, groups of one row block": ((24, 16), 3, 8, 2, {"window": 8}, (3, 2)),
    "two sequences": ((24, 16), 3, 8, 2, {"window": 8, "contexts": 2, "x_per_beat": 2}, (3, 2)),
    "groups of some windows": ((16, 48), 0, 4, 1, {"window": 4, "x_per_beat": 4}, (4, 4)),
    "a last group of other row blocks": ((40, 40), 2, 8, 2, {"window": 8}, (4, 8)),
    "a last window that units do not fill": ((12, 26), 0, 2, 1, {"window": 16}, (2, 2)),
    "a last group of many windows": ((12, 30), 2, 2, 1, {"window": 16}, (5, 9)),
    "windows that nothing hides": ((32, 32), 0, 8, 1, {"rows": 32, "window": 8}, (3, 1)),
}


def halved(sizes, head, bank, keep, fields, arguments, parts="xh", every=False, **kind):
    model, config = built(sizes, head, every, bank, keep, parts, {"finish_entries": 64, "states": 512} | fields, **kind)
    config = replace(config, x_elements=512, h_elements=512, program_length=512)
    return model, GatherSaccPlanner(model.network, config, *arguments).plan()


@pytest.mark.parametrize("name", HALVES)
def test_bits_of_halves(name):
    """Passes down and up in turn, over whole batches and shorter ones, from zero state and on from the run before."""
    model, plan = halved(*HALVES[name])
    assert check(plan) > 0
    plan_scenario(model, plan, ((5, True), (1, False), (4, False), (2, False), (3, True)))


TURNS = {
    "a head at every step": ((16, 16), 3, 8, 2, {"window": 8}, (2, 4), "xh", True),
    "at every step, a last window that units do not fill": ((12, 26), 9, 2, 1, {"window": 16}, (2, 2), "xh", True),
    "two layers": ((8, 16, 16), 0, 8, 2, {"window": 8}, (2, 4)),
    "two layers, a head behind the last step": ((9, 16, 8), 3, 8, 2, {"window": 8}, (3, 3), "h"),
    "two layers and sequences, a head at every step": (
        (16, 8, 16),
        9,
        8,
        2,
        {"window": 8, "contexts": 2, "x_per_beat": 2},
        (3, 2),
        "xh",
        True,
    ),
    "two layers, last windows that units do not fill": ((12, 26, 30), 2, 2, 1, {"window": 16}, (2, 2)),
    "three layers": ((8, 8, 8, 8), 2, 8, 2, {"window": 8}, (4, 2), "xh", True),
}


@pytest.mark.parametrize("name", TURNS)
def test_bits_of_halves_in_turns(name):
    """Stacks and heads at every step, over whole batches and shorter ones."""
    model, plan = halved(*TURNS[name])
    assert check(plan, 2 * plan.batch + 1) > 0
    plan_scenario(model, plan, ((5, True), (1, False), (4, False), (2, False), (3, True)))


def test_two_layers_of_many_groups_and_windows_are_no_long_program():
    """Loops do not get longer with them, and groups that are alike are in one."""
    model, plan = halved((32, 40, 40), 3, 8, 2, {"window": 8, "accumulators": 512}, (2, 4), "xh", True)
    assert len(plan.program.instructions) < 480
    check(plan)
    plan_scenario(model, plan, ((3, True), (2, False)))


@pytest.mark.parametrize("kind, parts", [({"kind": "gru"}, "xh"), ({}, "h")], ids=["GRU", "W_x dense"])
def test_halves_of_other_layers(kind, parts):
    model, plan = (
        halved((9, 16), 2, 8, 2, {"window": 8}, (3, 4), parts, **kind)
        if parts == "h"
        else halved((8, 16), 2, 8, 2, {"window": 8}, (3, 4), **kind)
    )
    check(plan)
    plan_scenario(model, plan, ((5, True), (2, False)))


def test_what_no_halves_can_have():
    model, config = built(*STACKS["one layer"])
    for options, message in (
        ({"batch": 1}, "batch: 1; must be at least 2"),
        ({"height": 0}, "height: 0; must be 1 to 7, fewer than the 8 row blocks of the layer"),
        ({"height": 8}, "height: 8; must be 1 to 7, fewer than the 8 row blocks of the layer"),
    ):
        with pytest.raises(ConfigError, match=message):
            GatherSaccPlanner(model.network, config, **{"batch": 2, "height": 4, **options})
    with pytest.raises(ConfigError, match="engine.rows: 64: one row block of 16 units; must be two at least"):
        GatherSaccPlanner(model.network, replace(config, rows=64), 2, 1)
    dense = random_network(np.random.default_rng(1), (8, 16)).network
    for network, fields, message in (
        (dense, {"rows": 8}, "model: W_h without enough zeros for windows"),
        (model.network, {"rows": 8, "window": 0}, "engine.window: 0; must be 4 to 64 for the schedule gather_sacc"),
    ):
        with pytest.raises(ConfigError, match=message):
            choose(network, 4, schedule="gather_sacc", given=fields)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_random_plans(data):
    """Zeros anywhere, windows, rows, sequences and pieces of any size, resident or in batches: proved, and the bits."""
    draw = data.draw
    schedule = draw(st.sampled_from(("gather", "gather_sbe", "gather_sacc")))
    batched = schedule != "gather"
    sizes = draw(st.lists(st.integers(6, 24), min_size=2, max_size=3))
    head, every = draw(st.sampled_from(((0, False), (3, False), (3, True))))
    model = random_network(np.random.default_rng(draw(st.integers(0, 99))), sizes, head, every)
    model = pruned(model, draw(st.sampled_from(((0.8, 0.8), (0.9, 0.7), (0.0, 0.9)))), draw(st.integers(0, 9)))
    contexts = draw(st.integers(1, 2))
    fields = {"rows": draw(st.sampled_from((4, 8, 16))), "window": draw(st.sampled_from((4, 16, 64)))}
    config = config_of(**AMPLE | fields, contexts=contexts, x_per_beat=contexts, program_length=512, **model.factors)
    try:
        if schedule == "gather_sbe":
            planner = GatherBatchPlanner(model.network, config, draw(st.integers(2, 4)), case=draw(st.integers(1, 3)))
        elif batched:
            planner = GatherSaccPlanner(model.network, config, draw(st.integers(2, 4)), draw(st.integers(1, 6)))
        else:
            planner = GatherPlanner(model.network, config)
        plan = planner.plan()
    except (ConfigError, ProgramError) as error:
        assert re.search("enough zeros|pinned|height|must be at least|must fit the program memory", str(error))
        return
    check(plan)
    runs = draw(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=2))
    plan_scenario(model, plan, [(draw(st.integers(1, 9)), True), *runs], MemoryModel(draw(st.integers(0, 30))))


def every_third(layer):
    """A layer that keeps a third of each matrix's weights, others in each row."""
    kept = {name: getattr(layer, name) for name in ("w_x", "w_h")}
    return replace(
        layer, **{name: np.where(np.add.outer(*map(np.arange, w.shape)) % 3, 0, w) for name, w in kept.items()}
    )


@pytest.mark.parametrize("contexts", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_layers_without_an_h_of_their_own(name, contexts):
    """Their tokens are taken by nobody else, and their first window waits for the layer below."""
    model = model_of(name)
    qmodel = quantize(replace(model, layers=tuple(map(every_third, model.layers))), X)
    network = network_of(qmodel)
    fields = {"rows": 4, "window": 8, "contexts": contexts, "x_per_beat": contexts}
    plan = GatherPlanner(network, engine(qmodel, network, **fields)).plan()
    check(plan)
    runs_of(plan, qmodel, X)
