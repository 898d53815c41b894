"""Blocking-batching: proved by the checker, bit-identical to an integer LSTM, reading memory as often as it says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError, ProgramError
from lstm_hw.plan.layer import words_of
from lstm_hw.plan.sbe import BatchPlanner, h_tiles
from lstm_hw.plan.sbe_model import tail_columns
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.timing import Counters
from tests.builders import config_of, random_network
from tests.sim.scenarios import plan_scenario

SIZES = {
    "two sequences": (24, 8, 4, 2, 8, {"rows": 16, "contexts": 2, "x_per_beat": 2, "x_elements": 128}),
    "one sequence": (40, 10, 6, 3, 7, {"rows": 16, "x_elements": 160}),
    "batch of one": (40, 8, 3, 1, 9, {"rows": 8, "x_elements": 80, "cells": 5}),
    "one batch": (33, 8, 5, 5, 1, {"rows": 32, "contexts": 3, "x_per_beat": 4, "x_elements": 180}),
    "many row blocks": (20, 37, 4, 2, 3, {"rows": 8, "contexts": 2, "x_per_beat": 2, "x_elements": 80}),
}
TILE = 4
"""Columns of a streamed tile in the tests."""


def planned(size, case, words=None, **fields):
    """Model and planner; case 3 has room for about half of W_h unless told otherwise."""
    inputs, hidden, _, batch, pinned, values = SIZES[size]
    model = random_network(np.random.default_rng(7), (inputs, hidden))
    blocks = -(-4 * hidden // values["rows"])
    wanted = {1: blocks * (inputs + hidden), 2: blocks * (inputs + 2 * hidden), 3: blocks * (pinned + TILE + hidden)}
    config = config_of(
        **{**values, "weight_words": (words or wanted[case]) + 80, **fields},
        shifts=model.shifts,
        accumulators=64,
        finish_entries=32,
    )
    return model, BatchPlanner(model.network, config, batch, pinned, case, tile_columns=TILE)


def run(model, plan, *steps, memory=None):
    """Counters of the load entry and of runs of so many steps that follow one another, with the integer LSTM's bits."""
    pieces = [(count, number == 0) for number, count in enumerate(steps)]
    return [Counters(**run.counters) for run in plan_scenario(model, plan, pieces, memory or MemoryModel()).runs]


@pytest.mark.parametrize("case", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_bits_equal_an_integer_lstm(size, case):
    model, planner = planned(size, case)
    plan = planner.plan()
    assert check(plan) > 0
    assert len(plan.program.instructions) <= 128
    steps = SIZES[size][2]
    run(model, plan, steps, steps, 1, steps + 1, memory=MemoryModel(latency=30))


@pytest.mark.parametrize("case", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_reads_memory_as_often_as_the_case_says(size, case):
    model, planner = planned(size, case)
    plan = planner.plan()
    inputs, hidden, steps, batch, _, _ = SIZES[size]
    loaded, counters = run(model, plan, steps)
    (layer,) = planner.layers
    blocks = layer.blocks
    streamed, held = words_of(layer.x_tiles), blocks * (layer.pinned + hidden)
    bias = blocks * sum(columns for _, columns in model.network.layers[0].bias_columns)
    batches = steps // batch
    again = sum(tile.words for tile in layer.passing)
    once = {1: held, 2: 0, 3: held - again}[case]
    words = {1: batches * streamed, 2: batches * (streamed + held), 3: batches * streamed + steps * again}[case]
    assert loaded.read_beats == (bias + once) * plan.config.beats_per_word
    assert counters.read_beats == words * plan.config.beats_per_word
    assert planner.words_read(steps) == words
    assert (again > 0) == (case > 1)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_sizes_are_proved_and_end(data):
    """Down to the smallest ring: no LOAD waits for room that only later MACs make."""
    draw = data.draw
    case, contexts, batch = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    inputs, hidden, rows = draw(st.integers(9, 40)), draw(st.integers(1, 20)), draw(st.sampled_from((4, 8, 16)))
    model = random_network(np.random.default_rng(3), (inputs, hidden))
    config = config_of(
        rows=rows,
        contexts=contexts,
        x_per_beat=1 if contexts == 1 else 4,
        x_elements=160,
        weight_words=1 << 14,
        shifts=model.shifts,
        accumulators=128,
        program_length=256,
        finish_entries=32,
    )
    steps = draw(st.integers(1, 3 * batch))
    pinned, tile = draw(st.integers(1, inputs - 8)), draw(st.integers(1, 4))
    least = least_words(BatchPlanner(model.network, config, batch, pinned, case, tile))
    config = replace(config, weight_words=least + draw(st.integers(0, 100)))
    plan = BatchPlanner(model.network, config, batch, pinned, case, tile).plan()
    check(plan, steps)
    run(model, plan, steps, memory=MemoryModel(draw(st.integers(1, 60)), draw(st.integers(1, 5))))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_random_stacks(data):
    """Layers of different sizes in one run, with a head or without, in pieces of any length."""
    draw = data.draw
    sizes = draw(st.lists(st.integers(1, 24), min_size=2, max_size=4))
    head, every_step = draw(st.sampled_from(((0, False), (3, False), (6, True))))
    model = random_network(np.random.default_rng(draw(st.integers(0, 99))), sizes, head, every_step)
    contexts, batch, tile = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.sampled_from((None, 1, 3)))
    config = config_of(
        rows=draw(st.sampled_from((4, 8, 16))),
        contexts=contexts,
        x_per_beat=contexts,
        x_elements=batch * 48,
        h_elements=512,
        states=256,
        weight_words=draw(st.integers(200, 2000)),
        shifts=model.shifts,
        accumulators=256,
        finish_entries=32,
        program_length=256,
    )
    case, pinned = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    try:
        plan = BatchPlanner(model.network, config, batch, pinned, case, tile).plan()
    except (ConfigError, ProgramError) as error:
        assert error.subject in ("model", "pinned", "engine.weight_words", "program")
        return
    check(plan)
    steps = draw(st.lists(st.integers(1, 2 * batch + 1), min_size=1, max_size=3))
    run(model, plan, *steps, memory=MemoryModel(draw(st.integers(1, 60))))


def least_words(planner):
    """Weight words that the planner's case needs at least."""
    (layer,) = planner.layers
    optional = [tile for tile in layer.step_tiles[1:] if tile in layer.resident and planner.case == 3]
    return planner.needs["weight_words"] - sum(tile.words for tile in optional)


@pytest.mark.parametrize("case", [1, 2, 3])
def test_eight_bit_weights(case):
    model = random_network(np.random.default_rng(5), (24, 10), weight_bits=8)
    config = config_of(rows=16, weight_bits=8, shifts=model.shifts, x_elements=48, weight_words=256, accumulators=64)
    plan = BatchPlanner(model.network, config, 2, 3, case, TILE).plan()
    check(plan)
    run(model, plan, 4)


def test_keeps_as_much_of_w_h_as_fits():
    _, planner = planned("many row blocks", 3)
    (layer,) = planner.layers
    hidden = layer.step_tiles[1:]
    few = [tile for tile in hidden if tile in layer.resident]
    assert 0 < len(few) < len(hidden)
    _, planner = planned("many row blocks", 3, words=4000)
    assert len(planner.layers[0].passing) == 1  # never all
    _, planner = planned("many row blocks", 3, words=least_words(planner) - 80)
    assert planner.layers[0].passing == planner.layers[0].step_tiles[1:]


def test_tail_hides_behind_the_pinned_columns():
    """Steps after the first lose cycles to h with a tile of columns less, and none with those that are asked for."""
    model = random_network(np.random.default_rng(7), (96, 32))
    config = config_of(
        rows=16, contexts=4, x_per_beat=4, x_elements=192, shifts=model.shifts, accumulators=32, weight_words=2048
    )
    layer = model.network.layers[0]
    stalls = {}
    for pinned in (tail_columns(layer, config), tail_columns(layer, config) - 2):
        plan = BatchPlanner(model.network, config, 2, pinned, tile_columns=1).plan()
        stalls[pinned] = run(model, plan, 4)[1].stall_h
    enough, less = stalls.values()
    assert enough == 0 < less


def test_tiles_of_w_h_end_with_the_last_row_block():
    model = random_network(np.random.default_rng(7), (8, 101))
    tiles = h_tiles(model.network.layers[0], config_of(rows=8))
    assert len(tiles) <= 16 and tiles[-1] == (100, 1)
    assert [first for first, _ in tiles] == [0, *np.cumsum([columns for _, columns in tiles])[:-1]]


def test_refuses_what_does_not_fit():
    with pytest.raises(ConfigError, match="engine.weight_words"):
        planned("two sequences", 1, weight_words=40)
    with pytest.raises(ConfigError, match="engine.x_elements"):
        planned("two sequences", 1, x_elements=24)
    with pytest.raises(ConfigError, match="engine.x_per_beat"):
        planned("two sequences", 1, x_per_beat=1)
    with pytest.raises(ConfigError, match=r"case: 4; must be one of \(1, 2, 3\)"):
        planned("two sequences", 4, words=100)
    model = random_network(np.random.default_rng(0), (24, 8))
    config = config_of(rows=16, shifts=model.shifts, accumulators=64)
    with pytest.raises(ConfigError, match="batch: 0; must be at least 1"):
        BatchPlanner(model.network, config, 0, 8)
    with pytest.raises(ConfigError, match="24 inputs for the schedule sbe; must be more than the 32 of a tile"):
        BatchPlanner(model.network, config, 2, 8)
    for pinned in (24, 17, 0):
        with pytest.raises(ConfigError, match=f"pinned: {pinned}; must leave at least a tile of 8"):
            BatchPlanner(model.network, config, 2, pinned, tile_columns=8)
    deep = replace(config, x_elements=1 << 14, accumulators=1024)
    with pytest.raises(ConfigError, match="batch: 256; must be smaller: 256 vectors of x wait, and 255 can"):
        BatchPlanner(model.network, deep, 256, 8, tile_columns=8).plan()
    assert BatchPlanner(model.network, deep, 255, 8, tile_columns=8).plan().batch == 255
    stacked = random_network(np.random.default_rng(0), (24, 8, 8))
    with pytest.raises(ConfigError, match="engine.states: 16; must be at least 24"):
        BatchPlanner(stacked.network, replace(config, states=16), 2, 8, tile_columns=4)


@pytest.mark.parametrize("ports", [2, 4])
def test_ports_in_step_are_one_port_of_their_width_together(ports):
    """The same bits in the same cycles, with as many beats from each port."""
    model = random_network(np.random.default_rng(3), (40, 16))
    found = []
    for fields in ({"axi_ports": ports, "axi_data_bits": 64}, {"axi_data_bits": 64 * ports}):
        config = config_of(rows=64, weight_words=170, x_elements=160, accumulators=64, shifts=model.shifts, **fields)
        plan = BatchPlanner(model.network, config, 2, 8, tile_columns=4).plan()
        _, played = plan_scenario(model, plan, ((4, True),), MemoryModel(latency=80)).runs
        counters = dict(played.counters)
        found.append((played.outputs, counters.pop("read_beats") // config.axi_ports, counters))
    assert found[0] == found[1] and found[0][2]["stall_weights"] > 0
