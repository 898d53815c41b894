"""Streaming schedules in Verilog: bits of an integer LSTM and counters of the interpreter, run after run."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_hw.plan.conventional import ConventionalPlanner
from lstm_hw.plan.fusion import FusionPlanner
from lstm_hw.plan.row_window import RowWindowPlanner
from lstm_hw.plan.rowblock import RowBlockPlanner
from lstm_hw.plan.sacc import SaccPlanner
from lstm_hw.plan.sbe import BatchPlanner
from lstm_hw.proof.checker import check
from lstm_hw.proof.load_timing import MemoryModel
from lstm_hw.proof.traffic import words_read
from sim.play import play
from tests.builders import config_of, random_network
from tests.sim.engines import emitted
from tests.sim.scenarios import plan_scenario
from tests.simulators import QUICK

PIECES = ((3, True), (1, False), (2, False), (2, True))


def simulate(folder, model, plan, memory, runs=PIECES, simulator=QUICK):
    check(plan, 5)
    scenario = plan_scenario(model, plan, runs, memory)
    return play(scenario, emitted(folder, scenario), folder / "simulation", image=plan.image, simulator=simulator).runs


def test_row_blocks_for_many_sequences(tmp_path):
    model = random_network(np.random.default_rng(3), (21, 11))
    config = config_of(
        rows=16,
        contexts=2,
        x_per_beat=2,
        cells=2,
        shifts=model.shifts,
        x_elements=128,
        h_elements=128,
        states=128,
        weight_words=128,
    )
    simulate(
        tmp_path, model, RowBlockPlanner(model.network, config, 3).plan(), MemoryModel(40, 3), simulator="verilator"
    )


@pytest.mark.parametrize(
    "simulator, memory, pinned",
    [
        ("verilator", MemoryModel(30, 2), 0),
        pytest.param("icarus", MemoryModel(7), 2, marks=pytest.mark.icarus),
    ],
)
def test_sacc_in_pieces(tmp_path, simulator, memory, pinned):
    model = random_network(np.random.default_rng(4), (9, 14))
    config = config_of(rows=16, contexts=2, cells=5, shifts=model.shifts, weight_words=256, program_length=256)
    plan = SaccPlanner(model.network, config, pinned=pinned).plan()
    found = simulate(tmp_path, model, plan, memory, simulator=simulator)
    # Beats that the memory saw being read, by matrix, are those that a replay of the program's LOADs counts.
    words = words_read(plan, PIECES)
    assert [run["beats"] for run in found[1:]] == [
        {part: count * config.beats_per_word for part, count in run.items()} for run in words
    ]


def test_sacc_with_a_batch_of_steps(tmp_path):
    """Of two sequences."""
    model = random_network(np.random.default_rng(5), (10, 12))
    config = config_of(
        rows=8, contexts=4, cells=2, shifts=model.shifts, weight_words=128, program_length=256, x_per_beat=2
    )
    plan = SaccPlanner(model.network, config, 4).plan()
    simulate(tmp_path, model, plan, MemoryModel(25), ((7, True), (8, False), (2, False)))


@pytest.mark.parametrize("pinned", [0, 5])
def test_one_sequence_without_reuse_over_time(tmp_path, pinned):
    """On an engine with two contexts, of which one is idle."""
    model = random_network(np.random.default_rng(4), (10, 11))
    plan = ConventionalPlanner(model.network, config_for_one_sequence(model), pinned).plan()
    simulate(tmp_path, model, plan, MemoryModel(20))


def test_rows_of_w_h_for_two_steps(tmp_path):
    model = random_network(np.random.default_rng(4), (10, 11))
    plan = RowWindowPlanner(model.network, config_for_one_sequence(model), 2).plan()
    simulate(tmp_path, model, plan, MemoryModel(20, 2), ((4, True), (3, False), (1, False)))


def test_stacked_layers_that_share_fetches_over_batches(tmp_path):
    """The last batch of a run is shorter; a head at every step."""
    model = random_network(np.random.default_rng(6), (9, 14, 11), 3, True)
    config = config_of(
        rows=8, contexts=2, x_per_beat=4, cells=2, shifts=model.shifts, weight_words=320, program_length=256
    )
    plan = BatchPlanner(model.network, config, 3, 2, 2, tile_columns=4).plan()
    simulate(tmp_path, model, plan, MemoryModel(20), ((5, True), (1, False), (3, False)))


@pytest.mark.parametrize("fields", [{}, {"block_sums": 4}], ids=["all", "some"])
def test_many_sums(tmp_path, fields):
    """In block RAM, of all rows and of some: bits and cycles do not depend on it."""
    model = random_network(np.random.default_rng(7), (9, 14), 3, True)
    deep = {"accumulators": 64, "finish_entries": 40, **fields}
    config = config_of(
        rows=8,
        contexts=2,
        x_per_beat=4,
        x_elements=96,
        cells=2,
        shifts=model.shifts,
        weight_words=320,
        program_length=256,
        **deep,
    )
    assert config.block_sum_rows and config.finished_in_block_ram
    planner = BatchPlanner(model.network, config, 8, 2, 2, tile_columns=4)
    assert planner.needs["accumulators"] > 40
    simulate(tmp_path, model, planner.plan(), MemoryModel(20), ((9, True), (3, False)))


def test_x_products_of_a_batch_behind_its_steps(tmp_path):
    model = random_network(np.random.default_rng(4), (10, 11))
    config = replace(config_for_one_sequence(model), program_length=512)
    plan = FusionPlanner(model.network, config, 4).plan()
    simulate(tmp_path, model, plan, MemoryModel(20, 2), ((12, True), (7, False), (1, False), (6, True)))


@pytest.mark.parametrize(
    "planner, head, every_step, fields",
    [
        (SaccPlanner, 5, True, {"batch": 4}),
        (FusionPlanner, 3, False, {"batch": 4}),
        (ConventionalPlanner, 3, False, {"pinned": 4}),
        (RowBlockPlanner, 3, True, {"groups": 2}),
    ],
)
def test_stacked_layers(tmp_path, planner, head, every_step, fields):
    """One run: x in, the last layer's outputs or the head's out; pieces go on where the one before ended."""
    sizes = (9, 14) if planner is FusionPlanner else (9, 14, 11)
    model = random_network(np.random.default_rng(6), sizes, head, every_step)
    values = {
        "weight_words": 512,
        "program_length": 512 if "batch" in fields else 256,
        "x_per_beat": 2,
        "h_elements": 256,
        "states": 256,
    }
    config = config_of(rows=16, contexts=2, cells=2, shifts=model.shifts, **values, x_elements=128)
    runs = ((7, True), (1, False), (6, False)) if "batch" in fields else PIECES
    simulate(tmp_path, model, planner(model.network, config, **fields).plan(), MemoryModel(25), runs)


def config_for_one_sequence(model):
    """An engine whose words take two beats and that may do two time steps side by side."""
    return config_of(
        rows=8, contexts=2, x_per_beat=4, cells=2, shifts=model.shifts, weight_words=128, program_length=256
    )
