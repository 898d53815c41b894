"""Columns of what changed, in Verilog: bits and cycles of the interpreter, with pauses and a memory that fails."""

import numpy as np
import pytest

from lstm_hw.plan.delta_columns import ColumnPlanner
from lstm_hw.verify.runs import ModelReference, Piece, image_words, scenario_of
from lstm_hw.verify.scenario import BENCH_MEMORY, Stress
from tests.delta import delta_model, plan_of
from tests.sim.engines import bench, play
from tests.simulators import QUICK

PIECES = ((0, 9, True), (1, 4, False), (2, 9, True), (2, 1, False))


def column_scenario(stress=None, pieces=None, runs=PIECES, sizes=(5, 10), kind="lstm", **engine):
    """Runs of layers on 5 inputs, with a head on every step."""
    _, qmodel, x = delta_model(1, sizes, 3, True, threshold=0.1, kind=kind)
    plan = plan_of(qmodel, x, ColumnPlanner, list_loads=True, axi_data_bits=64, **engine)
    assert plan.config.gate_blocks == (kind == "gru" and plan.config.cells == 1)
    pieces = pieces or [Piece(x[n : n + 1, :steps], clear) for n, steps, clear in runs]
    return scenario_of(plan, image_words(plan, qmodel), ModelReference(qmodel), pieces, BENCH_MEMORY, stress)


@pytest.mark.parametrize(
    "stress, sizes, kind, engine",
    [
        (None, (5, 10), "lstm", {}),
        (Stress(0.3, 0.5, 0.3, seed=3, memory_latency=30), (5, 10), "lstm", {}),
        (None, (5, 4, 20, 6), "gru", {"finish_entries": 37}),
        (Stress(0.3, 0.5, 0.3, seed=3, memory_latency=30), (5, 18, 9), "gru", {"rows": 16, "count_clipped": True}),
    ],
)
def test_bits_and_cycles(tmp_path, stress, sizes, kind, engine):
    """Of EdgeDRNN's own kind too: a GRU in several layers, with entries that wrap around within a layer."""
    simulator = QUICK if "finish_entries" in engine else "verilator"
    play(tmp_path, column_scenario(stress, sizes=sizes, kind=kind, **engine), simulator=simulator)


def test_nothing_changes_and_everything_does(tmp_path):
    """No column of x and of h is read, or all of x are in every step."""
    still, wild = np.zeros((1, 5, 5), dtype=np.int64), np.where(np.arange(5)[:, None] % 2, -32_768, 32_767)
    play(tmp_path, column_scenario(pieces=[Piece(still), Piece(wild * np.ones((1, 1, 5), dtype=np.int64))]))


def test_faults_of_the_memory(tmp_path):
    """In the middle of a vector, whatever changed: the run ends, and the next one from zero state is right."""
    scenario = column_scenario(runs=((0, 4, True), (1, 2, False)))
    bench(tmp_path, scenario, "sim.bench_streaming_faults")
