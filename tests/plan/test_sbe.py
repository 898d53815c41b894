"""Blocking-batching: proved by the checker, bit-identical to an integer LSTM, reading memory as often as it says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_hw.errors import ConfigError
from lstm_hw.plan.sbe import BatchPlanner, h_tiles, tail_columns
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
    inputs, hidden, steps, batch, pinned, values = SIZES[size]
    model = random_network(np.random.default_rng(7), (inputs, hidden))
    blocks = -(-4 * hidden // values["rows"])
    wanted = {1: blocks * (inputs + hidden), 2: blocks * (inputs + 2 * hidden), 3: blocks * (pinned + TILE + hidden)}
    config = config_of(
        **{**values, "weight_words": (words or wanted[case]) + 80, **fields},
        shifts=model.shifts,
        accumulators=64,
        finish_entries=32,
    )
    return model, BatchPlanner(model.network, config, steps, batch, pinned, case, tile_columns=TILE)


def run(model, plan, count=1, memory=None):
    """Counters of each of so many runs that follow one another, with the bits of an integer LSTM."""
    pieces = [(plan.steps, number == 0) for number in range(count)]
    return [Counters(**run.counters) for run in plan_scenario(model, plan, pieces, memory or MemoryModel()).runs]


@pytest.mark.parametrize("case", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_bits_equal_an_integer_lstm(size, case):
    model, planner = planned(size, case)
    plan = planner.plan()
    assert check(plan) > 0
    assert len(plan.program.instructions) <= 128
    run(model, plan, 2, MemoryModel(latency=30))


@pytest.mark.parametrize("case", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_reads_memory_as_often_as_the_case_says(size, case):
    model, planner = planned(size, case)
    plan = planner.plan()
    (counters,) = run(model, plan)
    inputs, hidden, steps, batch, _, _ = SIZES[size]
    blocks = planner.blocks
    streamed, held = blocks * planner.streamed, blocks * (planner.pinned + hidden)
    bias = blocks * sum(columns for _, columns in model.network.layers[0].bias_columns)
    batches = steps // batch
    again = sum(tile.words for tile in planner.passing)
    words = {
        1: held + batches * streamed,
        2: batches * (streamed + held),
        3: held - again + batches * streamed + steps * again,
    }[case]
    assert counters.read_beats == (bias + words) * plan.config.beats_per_word
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
        finish_entries=32,
    )
    steps = batch * draw(st.integers(1, 3))
    pinned, tile = draw(st.integers(1, inputs - 8)), draw(st.integers(1, 4))
    least = least_words(BatchPlanner(model.network, config, steps, batch, pinned, case, tile))
    config = replace(config, weight_words=least + draw(st.integers(0, 100)))
    plan = BatchPlanner(model.network, config, steps, batch, pinned, case, tile).plan()
    check(plan)
    run(model, plan, memory=MemoryModel(draw(st.integers(1, 60)), draw(st.integers(1, 5))))


def least_words(planner):
    """Weight words that the planner's case needs at least."""
    optional = [tile for tile in planner.step_tiles[1:] if tile in planner.address and planner.case == 3]
    return planner.resident_words - sum(tile.words for tile in optional) + planner.ring_words()


@pytest.mark.parametrize("case", [1, 2, 3])
def test_eight_bit_weights(case):
    model = random_network(np.random.default_rng(5), (24, 10), weight_bits=8)
    config = config_of(rows=16, weight_bits=8, shifts=model.shifts, x_elements=48, weight_words=256, accumulators=64)
    plan = BatchPlanner(model.network, config, 4, 2, 3, case, TILE).plan()
    check(plan)
    run(model, plan)


def test_keeps_as_much_of_w_h_as_fits():
    _, planner = planned("many row blocks", 3)
    hidden = planner.step_tiles[1:]
    few = [tile for tile in hidden if tile in planner.address]
    assert 0 < len(few) < len(hidden)
    _, planner = planned("many row blocks", 3, words=4000)
    assert len(planner.passing) == 1  # never all
    _, planner = planned("many row blocks", 3, words=least_words(planner) - 80)
    assert planner.passing == planner.step_tiles[1:]


def test_tail_hides_behind_the_pinned_columns():
    """Steps after the first lose cycles to h with a tile of columns less, and none with those that are asked for."""
    model = random_network(np.random.default_rng(7), (96, 32))
    config = config_of(
        rows=16, contexts=4, x_per_beat=4, x_elements=192, shifts=model.shifts, accumulators=32, weight_words=2048
    )
    layer = model.network.layers[0]
    stalls = {}
    for pinned in (tail_columns(layer, config), tail_columns(layer, config) - 2):
        plan = BatchPlanner(model.network, config, 4, 2, pinned, tile_columns=1).plan()
        stalls[pinned] = run(model, plan)[0].stall_h
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
    with pytest.raises(ConfigError, match="must divide the 5 steps"):
        BatchPlanner(model.network, config, 5, 2, 8)
    with pytest.raises(ConfigError, match="pinned"):
        BatchPlanner(model.network, config, 4, 2, 24)
    with pytest.raises(ConfigError, match="pinned"):
        BatchPlanner(model.network, config, 4, 2, 0)
    stacked = random_network(np.random.default_rng(0), (24, 8, 8))
    with pytest.raises(ConfigError, match="single LSTM layer"):
        BatchPlanner(stacked.network, config, 4, 2, 8)


@pytest.mark.parametrize("ports", [2, 4])
def test_ports_in_step_are_one_port_of_their_width_together(ports):
    """The same bits in the same cycles, with as many beats from each port."""
    model = random_network(np.random.default_rng(3), (40, 16))
    found = []
    for fields in ({"axi_ports": ports, "axi_data_bits": 64}, {"axi_data_bits": 64 * ports}):
        config = config_of(rows=64, weight_words=170, x_elements=160, accumulators=64, shifts=model.shifts, **fields)
        plan = BatchPlanner(model.network, config, 4, 2, 8, tile_columns=4).plan()
        (played,) = plan_scenario(model, plan, ((4, True),), MemoryModel(latency=20)).runs
        counters = dict(played.counters)
        found.append((played.outputs, counters.pop("read_beats") // config.axi_ports, counters))
    assert found[0] == found[1] and found[0][2]["stall_weights"] > 0
